/* pool: one job's targets, made to match what discovery says. What is the same target before and
 * after keeps running; what is new starts; what is gone retires, and is taken back if it returns
 * before its markers are written. */
#include <stdlib.h>

#include "base/log.h"
#include "request.h"
#include "scraper.h"

struct pool *pool_new(struct scraper *scraper, struct config *config,
                      const struct config_scrape *options)
{
    struct pool *pool = MEM_NEW(struct pool);

    pool->scraper = scraper;
    pool->config = config_ref(config);
    pool->options = options;
    pool->name = str_dup(options->job_name);
    pool->request_lines = request_lines(options, str_of(scraper->user_agent));
    return pool;
}

struct sync {
    struct pool *pool;
    struct arena arena;
    struct map old_map; /* Key to index of pool->targets; taken ones are NULL there. */
    struct map new_map; /* Key to index of targets. */
    VEC(struct target *) targets;
};

static bool sync_equal(const void *ctx, const void *key, uint32_t value)
{
    struct target *const *targets = ctx;

    return targets[value] && target_is(targets[value], key);
}

static struct target *take_retiring(struct pool *pool, const struct target_spec *spec)
{
    struct scraper *scraper = pool->scraper;

    for (size_t i = 0; i < scraper->retiring.count; i++) {
        struct target *target = scraper->retiring.items[i];
        if (!target_is(target, spec))
            continue;
        scraper->retiring.items[i] = scraper->retiring.items[--scraper->retiring.count];
        target->state = TARGET_ACTIVE;
        target->pool = pool;
        schedule_target(target);
        return target;
    }
    return NULL;
}

/* One target that the rules keep. */
static void sync_keep(struct sync *sync, struct target_spec *spec)
{
    struct pool *pool = sync->pool;
    struct target *target = NULL;

    if (sync->targets.count > 0 &&
        map_find(&sync->new_map, spec->key, spec, sync_equal, sync->targets.items) != MAP_NONE) {
        target_spec_deinit(spec);
        return;
    }
    uint64_t key = spec->key;
    uint32_t old = pool->targets.count > 0
                       ? map_find(&sync->old_map, key, spec, sync_equal, pool->targets.items)
                       : MAP_NONE;
    if (old != MAP_NONE) {
        target = pool->targets.items[old];
        pool->targets.items[old] = NULL;
        target_update(target, spec);
    } else {
        target = take_retiring(pool, spec);
        if (target) {
            target_update(target, spec);
        } else {
            target = target_new(pool, spec);
            schedule_target(target);
        }
    }
    map_insert(&sync->new_map, key, (uint32_t)sync->targets.count);
    VEC_PUSH(&sync->targets, target);
}

static void sync_one(struct sync *sync, const struct target_group *group, size_t index)
{
    struct pool *pool = sync->pool;
    struct target_spec spec;
    struct err err;
    uint64_t limit = pool->options->limits.keep_dropped_targets;

    switch (target_build(&spec, pool->options, group, index, &sync->arena, &err)) {
    case TARGET_KEEP:
        sync_keep(sync, &spec);
        return;
    case TARGET_DROP:
        pool->dropped_count++;
        if (limit == 0 || pool->dropped.count < limit)
            VEC_PUSH(&pool->dropped, labels_ref(spec.discovered));
        break;
    case TARGET_BAD:
        pool->scraper->stats.sync_failed++;
        LOG_E("Creating target failed", "scrape_pool", pool->name, "err",
              log_fmt("instance %zu in group %s: %s", index, group->source, err.text));
        break;
    }
    target_spec_deinit(&spec);
}

static void target_retire(struct target *target)
{
    struct scraper *scraper = target->scraper;

    fetch_cancel(target);
    target->state = TARGET_RETIRING;
    schedule_retire(target);
    target->pool = NULL;
    VEC_PUSH(&scraper->retiring, target);
}

static int target_compare(const void *a, const void *b)
{
    const struct target *x = *(struct target *const *)a, *y = *(struct target *const *)b;
    int order = labels_cmp(x->labels, y->labels);

    return order ? order : strcmp(x->url, y->url);
}

static void clear_dropped(struct pool *pool)
{
    VEC_EACH (labels, &pool->dropped)
        labels_unref(*labels);
    VEC_CLEAR(&pool->dropped);
    pool->dropped_count = 0;
}

static void check_limit(struct pool *pool)
{
    uint64_t limit = pool->options->limits.targets;
    bool exceeded = limit > 0 && pool->targets.count > limit;

    mem_free(pool->forced_error);
    pool->forced_error = NULL;
    if (!exceeded)
        return;
    struct err err;
    (void)err_set(&err, ERR_LIMIT, "target_limit exceeded (number of targets: %zu, limit: %llu)",
                  pool->targets.count, (unsigned long long)limit);
    pool->scraper->stats.exceeded_target_limit++;
    pool->forced_error = str_dup(str_of(err.text));
}

static void pool_sync(struct pool *pool)
{
    struct sync sync = {.pool = pool};

    arena_init(&sync.arena, 0);
    map_init(&sync.old_map);
    map_init(&sync.new_map);
    for (size_t i = 0; i < pool->targets.count; i++)
        map_insert(&sync.old_map, pool->targets.items[i]->key, (uint32_t)i);
    clear_dropped(pool);
    for (size_t i = 0; i < pool->group_count; i++) {
        for (size_t j = 0; j < pool->groups[i]->target_count; j++)
            sync_one(&sync, pool->groups[i], j);
        arena_reset(&sync.arena);
    }
    VEC_EACH (target, &pool->targets) {
        if (*target)
            target_retire(*target);
    }
    VEC_FREE(&pool->targets);
    VEC_SORT(&sync.targets, target_compare);
    pool->targets.items = sync.targets.items;
    pool->targets.count = sync.targets.count;
    pool->targets.capacity = sync.targets.capacity;
    map_deinit(&sync.old_map);
    map_deinit(&sync.new_map);
    arena_deinit(&sync.arena);
    check_limit(pool);
    schedule_rebuild(pool->scraper);
}

static void groups_clear(struct pool *pool)
{
    for (size_t i = 0; i < pool->group_count; i++)
        target_group_unref(pool->groups[i]);
    mem_free(pool->groups);
    pool->groups = NULL;
    pool->group_count = 0;
}

void pool_set_groups(struct pool *pool, struct target_group *const *groups, size_t count)
{
    struct target_group **copy = mem_alloc_array(count ? count : 1, sizeof(*copy));

    for (size_t i = 0; i < count; i++)
        copy[i] = target_group_ref(groups[i]);
    groups_clear(pool);
    pool->groups = copy;
    pool->group_count = count;
    pool_sync(pool);
}

/* A line may mean another series under the new rules: caches start anew, without losing who lives.
 */
void pool_set_config(struct pool *pool, struct config *config, const struct config_scrape *options)
{
    bool same = str_eq(pool->options->key, options->key);
    struct config *old = pool->config;

    pool->config = config_ref(config);
    pool->options = options;
    mem_free(pool->request_lines);
    pool->request_lines = request_lines(options, str_of(pool->scraper->user_agent));
    if (!same) {
        VEC_EACH (target, &pool->targets) {
            struct line_cache_ops ops;
            fetch_cancel(*target);
            line_cache_invalidate(&(*target)->cache, target_release_ops(*target, &ops));
        }
        pool_sync(pool);
    }
    config_unref(old);
}

void pool_retire(struct pool *pool)
{
    VEC_EACH (target, &pool->targets)
        target_retire(*target);
    VEC_FREE(&pool->targets);
    schedule_rebuild(pool->scraper);
    pool_free(pool);
}

void pool_free(struct pool *pool)
{
    VEC_EACH (target, &pool->targets)
        target_free(*target);
    VEC_FREE(&pool->targets);
    clear_dropped(pool);
    VEC_FREE(&pool->dropped);
    groups_clear(pool);
    config_unref(pool->config);
    mem_free(pool->forced_error);
    mem_free(pool->request_lines);
    mem_free(pool->name);
    mem_free(pool);
}
