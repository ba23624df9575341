/* pool: one job's targets. pool_sync.c makes them match what discovery says. */
#include <stdlib.h>

#include "request.h"
#include "scraper.h"

struct pool *pool_new(struct scraper *scraper, struct config *config,
                      const struct config_scrape *options)
{
    struct pool *pool = MEM_NEW(struct pool);

    pool->scraper = scraper;
    scraper->stats.pools_created++;
    pool->config = config_ref(config);
    pool->options = options;
    pool->name = str_dup(options->job_name);
    pool->dialer = http_dialer(scraper->client, options->job_name);
    pool->rules_round = ++scraper->rules_rounds;
    pool->request_lines = request_lines(options, str_of(scraper->user_agent));
    return pool;
}

/* The sync that follows lets go of them. */
static void groups_set_aside(struct pool *pool)
{
    for (size_t i = 0; i < pool->group_count; i++)
        VEC_PUSH(&pool->old_groups, pool->groups[i]);
    mem_free(pool->groups);
    pool->groups = NULL;
    pool->group_count = 0;
}

void pool_set_groups(struct pool *pool, struct target_group *const *groups, size_t count)
{
    struct target_group **copy = mem_alloc_array(count ? count : 1, sizeof(*copy));

    for (size_t i = 0; i < count; i++)
        copy[i] = target_group_ref(groups[i]);
    groups_set_aside(pool);
    pool->groups = copy;
    pool->group_count = count;
    pool_sync_start(pool);
}

/* A line may mean another series under the new rules: caches start anew, without losing who lives, each with its target's
 * next scrape. */
void pool_set_config(struct pool *pool, struct config *config, const struct config_scrape *options)
{
    bool same = str_eq(pool->options->key, options->key);
    struct config *old = pool->config;

    pool->config = config_ref(config);
    pool->options = options;
    mem_free(pool->request_lines);
    pool->request_lines = request_lines(options, str_of(pool->scraper->user_agent));
    if (!same) {
        pool->scraper->stats.pool_reloads++;
        pool_sync_cancel(pool);
        pool->rules_round = ++pool->scraper->rules_rounds;
        VEC_EACH (target, &pool->targets)
            fetch_cancel(*target);
        pool_sync_start(pool);
    }
    config_unref(old);
}

void pool_leave(struct pool *pool)
{
    struct scraper *scraper = pool->scraper;

    pool_sync_cancel(pool);
    groups_set_aside(pool);
    VEC_PUSH(&scraper->leaving, pool);
    pool_sync_start(pool);
}

void pools_leave_now(struct scraper *scraper)
{
    VEC_EACH (pool, &scraper->leaving) {
        pool_sync_finish(*pool);
        pool_free(*pool);
    }
    VEC_CLEAR(&scraper->leaving);
}

void pool_free(struct pool *pool)
{
    pool_sync_cancel(pool);
    VEC_EACH (target, &pool->targets)
        target_free(*target);
    VEC_FREE(&pool->targets);
    VEC_EACH (found, &pool->dropped)
        target_group_unref(found->group);
    VEC_FREE(&pool->dropped);
    groups_set_aside(pool);
    VEC_EACH (group, &pool->old_groups)
        target_group_unref(*group);
    VEC_FREE(&pool->old_groups);
    config_unref(pool->config);
    mem_free(pool->forced_error);
    mem_free(pool->request_lines);
    mem_free(pool->name);
    mem_free(pool);
}
