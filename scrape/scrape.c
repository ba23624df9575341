/* scrape: the scraper's life and what the API sees of it. */
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "scraper.h"

static uint64_t random_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = hash64_mix((uint64_t)clock_mono_ns(), (uint64_t)getpid());
    return seed;
}

/* Two servers with other external labels, or on other hosts, scrape at other instants. */
static uint64_t offset_seed(const struct config *config)
{
    char host[256] = "";
    struct buf text;

    (void)gethostname(host, sizeof(host) - 1);
    buf_init(&text, (size_t)1 << 20);
    buf_add_str(&text, str_of(host));
    if (config && config->global.external_labels)
        labels_print(&text, config->global.external_labels);
    uint64_t seed = hash_fnv1a(HASH_FNV1A_INIT, buf_str(&text));
    buf_deinit(&text);
    return seed;
}

struct scraper *scraper_open(const struct scraper_options *options)
{
    struct scraper *scraper = MEM_NEW(struct scraper);

    scraper->loop = options->loop;
    scraper->client = options->client;
    scraper->storage = options->storage;
    scraper->user_agent = str_dup(options->user_agent);
    scraper->on_quiet = options->on_quiet;
    scraper->quiet_ctx = options->ctx;
    scraper->tolerance_ms = options->tolerance_ms;
    scraper->hash_seed = random_seed();
    scraper->offset_seed = offset_seed(NULL);
    family_table_init(&scraper->families);
    list_init(&scraper->fetches);
    list_init(&scraper->waiting);
    list_init(&scraper->released);
    map_init(&scraper->retiring_map);
    schedule_open(scraper);
    return scraper;
}

void scraper_attach_storage(struct scraper *scraper, struct storage *storage)
{
    ENSURE(!scraper->storage && storage);
    scraper->storage = storage;
    fetch_release_held(scraper);
}

static struct pool *pool_find(const struct scraper *scraper, struct str name)
{
    for (size_t i = 0; i < scraper->pools.count; i++)
        if (str_eq(str_of(scraper->pools.items[i]->name), name))
            return scraper->pools.items[i];
    return NULL;
}

static int pool_compare(const void *a, const void *b)
{
    return strcmp((*(struct pool *const *)a)->name, (*(struct pool *const *)b)->name);
}

static const struct config_scrape *options_find(const struct config *config, struct str name)
{
    for (size_t i = 0; i < config->scrape_count; i++)
        if (str_eq(config->scrapes[i].job_name, name))
            return &config->scrapes[i];
    return NULL;
}

void scraper_apply(struct scraper *scraper, struct config *config)
{
    VEC(struct pool *) gone = {0};
    size_t kept = 0;

    pools_leave_now(scraper);
    schedule_set_seed(scraper, offset_seed(config));
    failure_logs_apply(&scraper->failure_logs, config);
    for (size_t i = 0; i < scraper->pools.count; i++) {
        struct pool *pool = scraper->pools.items[i];
        if (options_find(config, str_of(pool->name)))
            scraper->pools.items[kept++] = pool;
        else
            VEC_PUSH(&gone, pool);
    }
    scraper->pools.count = kept;
    VEC_EACH (pool, &gone)
        pool_leave(*pool);
    VEC_FREE(&gone);
    for (size_t i = 0; i < config->scrape_count; i++) {
        const struct config_scrape *options = &config->scrapes[i];
        struct pool *pool = pool_find(scraper, options->job_name);
        if (pool)
            pool_set_config(pool, config, options);
        else
            VEC_PUSH(&scraper->pools, pool_new(scraper, config, options));
    }
    VEC_SORT(&scraper->pools, pool_compare);
    schedule_rebuild(scraper);
}

void scraper_set_groups(struct scraper *scraper, struct str job, struct target_group *const *groups,
                        size_t count)
{
    struct pool *pool = pool_find(scraper, job);

    if (pool && !scraper->stopping)
        pool_set_groups(pool, groups, count);
}

/* A connection for each of them. */
void scraper_targets_changed(struct scraper *scraper)
{
    size_t targets = 0;

    VEC_EACH (each, &scraper->pools)
        targets += (*each)->targets.count;
    http_client_set_connections_max(scraper->client, (unsigned)(targets < 16 ? 16 : targets));
}

void scraper_stop(struct scraper *scraper, void (*done)(void *ctx), void *ctx)
{
    ENSURE(!scraper->stopping);
    scraper->stopping = true;
    uv_timer_stop(&scraper->due_timer);
    pools_leave_now(scraper);
    VEC_EACH (pool, &scraper->pools) {
        pool_sync_cancel(*pool);
        VEC_EACH (target, &(*pool)->targets)
            fetch_cancel(*target);
    }
    uv_idle_stop(&scraper->drain_idle);
    uv_idle_stop(&scraper->sync_idle);
    scraper->on_stopped = done;
    scraper->stopped_ctx = ctx;
    if (list_empty(&scraper->fetches))
        schedule_tell_stopped(scraper);
}

void scraper_free(struct scraper *scraper)
{
    if (!scraper)
        return;
    ENSURE(list_empty(&scraper->fetches));
    VEC_EACH (pool, &scraper->pools)
        pool_free(*pool);
    VEC_FREE(&scraper->pools);
    VEC_FREE(&scraper->leaving);
    VEC_EACH (target, &scraper->retiring)
        target_free(*target);
    VEC_FREE(&scraper->retiring);
    map_deinit(&scraper->retiring_map);
    family_table_deinit(&scraper->families);
    while (scraper->spare_inflate_count > 0)
        inflate_free(scraper->spare_inflates[--scraper->spare_inflate_count]);
    failure_logs_deinit(&scraper->failure_logs);
    VEC_FREE(&scraper->intervals);
    mem_free(scraper->user_agent);
    schedule_close(scraper);
}

static struct target_view target_view(const struct target *target)
{
    return (struct target_view){
        .labels = target->labels,
        .pool = str_of(target->pool->name),
        .url = str_of(target->url),
        .error = target->error ? str_of(target->error) : STR_EMPTY,
        .last_scrape_ms = target->last_scrape_ms,
        .last_duration_seconds = target->last_duration_seconds,
        .health = target->health,
        .interval_ms = target->interval_ms,
        .timeout_ms = target->timeout_ms,
    };
}

static bool pool_wanted(const struct pool *pool, struct str name)
{
    return name.len == 0 || str_eq(str_of(pool->name), name);
}

void scraper_each_active(struct scraper *scraper, struct str pool_name, target_view_fn fn,
                         void *ctx)
{
    VEC_EACH (pool, &scraper->pools) {
        if (!pool_wanted(*pool, pool_name))
            continue;
        VEC_EACH (target, &(*pool)->targets) {
            struct target_view view = target_view(*target);
            const struct found_target *found = &(*target)->found;
            struct labels *discovered =
                target_discovered((*pool)->options, found->group, found->index);
            view.discovered = discovered;
            fn(ctx, &view);
            labels_unref(discovered);
        }
    }
}

void scraper_each_dropped(struct scraper *scraper, struct str pool_name, target_view_fn fn,
                          void *ctx)
{
    VEC_EACH (pool, &scraper->pools) {
        if (!pool_wanted(*pool, pool_name))
            continue;
        VEC_EACH (found, &(*pool)->dropped) {
            struct labels *discovered =
                target_discovered((*pool)->options, found->group, found->index);
            struct target_view view = {.discovered = discovered,
                                       .pool = str_of((*pool)->name),
                                       .url = STR_EMPTY,
                                       .error = STR_EMPTY};
            fn(ctx, &view);
            labels_unref(discovered);
        }
    }
}

static struct pool_view pool_view(const struct pool *pool)
{
    struct pool_view view = {
        .name = str_of(pool->name),
        .active_count = pool->targets.count,
        .dropped_count = pool->dropped_count,
        .target_limit = pool->options->limits.targets,
        .syncs = pool->syncs,
        .sync_failures = pool->sync_failures,
        .sync_length = &pool->sync_length,
    };

    for (size_t i = 0; i < pool->targets.count; i++) {
        const struct family_list *families = &pool->targets.items[i]->families;
        view.metadata_entries += families->items.count;
        view.metadata_bytes += families->bytes;
    }
    return view;
}

void scraper_each_pool(struct scraper *scraper, pool_view_fn fn, void *ctx)
{
    VEC_EACH (pool, &scraper->pools) {
        struct pool_view view = pool_view(*pool);
        fn(ctx, &view);
    }
}

void scraper_each_interval(const struct scraper *scraper, interval_view_fn fn, void *ctx)
{
    for (size_t i = 0; i < scraper->intervals.count; i++)
        fn(ctx, scraper->intervals.items[i].interval_ms, &scraper->intervals.items[i].length);
}

bool scraper_has_pool(const struct scraper *scraper, struct str pool)
{
    return pool_find(scraper, pool) != NULL;
}

static void target_metadata(const struct target *target, struct str metric, metadata_view_fn fn,
                            void *ctx)
{
    struct target_view view = target_view(target);

    for (size_t i = 0; i < target->families.items.count; i++) {
        uint32_t id = target->families.items.items[i].id;
        const struct metadata *metadata = family_table_get(&target->scraper->families, id);
        if (metric.len == 0 || str_eq(metadata->metric, metric))
            fn(ctx, &view, metadata);
    }
}

void scraper_each_metadata(struct scraper *scraper, struct str metric, metadata_view_fn fn,
                           void *ctx)
{
    VEC_EACH (pool, &scraper->pools)
        VEC_EACH (target, &(*pool)->targets)
            target_metadata(*target, metric, fn, ctx);
}

void scraper_get_stats(const struct scraper *scraper, struct scraper_stats *out)
{
    *out = scraper->stats;
    for (size_t i = 0; i < scraper->pools.count; i++) {
        const struct pool *pool = scraper->pools.items[i];
        out->targets += pool->targets.count;
        for (size_t j = 0; j < pool->targets.count; j++)
            out->cache_entries += pool->targets.items[j]->cache.entries.count;
    }
}
