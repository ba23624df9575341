/* pool_sync: a pool's targets made to match what discovery says. What is the same target before and
 * after keeps running; what is new starts; what is gone retires, and is taken back if it returns
 * before its markers are written.
 *
 *     index the old targets -> build those of the groups -> order -> swap -> retire what is gone -> let go of the groups
 *
 * Relabelling ten thousand targets takes longer than the loop may stand still: a sync goes on in
 * slices, a few milliseconds a turn for all pools together, and the pool has its old targets until
 * the swap. Groups that come meanwhile wait for its end, so that news every second cannot starve it. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "scraper.h"

#define STEPS_PER_LOOK 16 /* Small steps between two looks at the clock. */

enum sync_phase { SYNC_INDEX, SYNC_BUILD, SYNC_ORDER, SYNC_RETIRE, SYNC_LET_GO, SYNC_DONE };

struct pool_sync {
    struct pool *pool;
    int64_t begin_ns;
    enum sync_phase phase;
    struct arena arena;
    struct target_group **groups; /* References. */
    size_t group_count;
    size_t group, index;        /* What is next, by phase. */
    struct map old_map;         /* Key to index of pool->targets. */
    struct map new_map;         /* Key to index of targets. */
    struct target_list targets; /* In the order of the groups. */
    struct heap order;          /* The same by labels. */
    struct target_list sorted;
    struct target_list fresh; /* Those of `targets` that the pool did not have. */
    struct target_list old;   /* After the swap. */
    struct found_list dropped;
    size_t dropped_count;
};

static bool has_key(const void *ctx, const void *key, uint32_t value)
{
    struct target *const *targets = ctx;

    return target_is(targets[value], key);
}

static bool comes_before(const void *a, const void *b)
{
    const struct target *x = a, *y = b;
    int order = labels_cmp(x->labels, y->labels);

    return (order ? order : strcmp(x->url, y->url)) < 0;
}

/* --- retiring --- */

void target_unlist(struct target *target)
{
    struct scraper *scraper = target->scraper;
    uint32_t index = target->retiring_index;
    struct target *last = VEC_POP(&scraper->retiring);

    ENSURE(map_remove(&scraper->retiring_map, target->key, index));
    if (last == target)
        return;
    ENSURE(scraper->retiring.items[index] == target);
    ENSURE(map_remove(&scraper->retiring_map, last->key, last->retiring_index));
    last->retiring_index = index;
    scraper->retiring.items[index] = last;
    map_insert(&scraper->retiring_map, last->key, index);
}

void target_retire(struct target *target)
{
    struct scraper *scraper = target->scraper;

    fetch_cancel(target);
    target->state = TARGET_RETIRING;
    schedule_retire(target);
    target->pool = NULL;
    target->retiring_index = (uint32_t)scraper->retiring.count;
    map_insert(&scraper->retiring_map, target->key, target->retiring_index);
    VEC_PUSH(&scraper->retiring, target);
}

static struct target *take_retiring(struct pool *pool, const struct target_spec *spec)
{
    struct scraper *scraper = pool->scraper;
    uint32_t index =
        map_find(&scraper->retiring_map, spec->key, spec, has_key, scraper->retiring.items);

    if (index == MAP_NONE)
        return NULL;
    struct target *target = scraper->retiring.items[index];
    target_unlist(target);
    target->state = TARGET_NEW;
    target->pool = pool;
    return target;
}

/* --- one target that discovery says --- */

static void sync_keep(struct pool_sync *sync, struct target_spec *spec, struct found_target found)
{
    struct pool *pool = sync->pool;
    struct target *target;

    if (map_find(&sync->new_map, spec->key, spec, has_key, sync->targets.items) != MAP_NONE) {
        target_spec_deinit(spec);
        return;
    }
    uint64_t key = spec->key;
    uint32_t old = map_find(&sync->old_map, key, spec, has_key, pool->targets.items);
    if (old != MAP_NONE)
        target = pool->targets.items[old];
    else
        target = take_retiring(pool, spec);
    if (target)
        target_update(target, spec, found);
    else
        target = target_new(pool, spec, found);
    if (old == MAP_NONE)
        VEC_PUSH(&sync->fresh, target);
    target->sync_round = pool->sync_round;
    map_insert(&sync->new_map, key, (uint32_t)sync->targets.count);
    VEC_PUSH(&sync->targets, target);
    heap_push(&sync->order, target);
}

static void sync_one(struct pool_sync *sync, struct target_group *group, size_t index)
{
    struct found_target found = {group, index};
    struct pool *pool = sync->pool;
    struct target_spec spec;
    struct err err;
    uint64_t limit = pool->options->limits.keep_dropped_targets;

    switch (target_build(&spec, pool->options, group, index, &sync->arena, &err)) {
    case TARGET_KEEP:
        sync_keep(sync, &spec, found);
        return;
    case TARGET_DROP:
        sync->dropped_count++;
        if (limit == 0 || sync->dropped.count < limit) {
            target_group_ref(group);
            VEC_PUSH(&sync->dropped, found);
        }
        break;
    case TARGET_BAD:
        pool->sync_failures++;
        LOG_E("Creating target failed", "scrape_pool", pool->name, "err",
              log_fmt("instance %zu in group %s: %s", index, group->source, err.text));
        break;
    }
    target_spec_deinit(&spec);
}

/* --- the swap --- */

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

/* From here on the pool has its new targets; those that are gone wait in sync->old. */
static void sync_swap(struct pool_sync *sync)
{
    struct pool *pool = sync->pool;
    struct target_list targets = pool->targets;
    struct found_list dropped = pool->dropped;

    ENSURE(sync->sorted.count == sync->targets.count);
    pool->targets = sync->sorted;
    sync->sorted = (struct target_list){0};
    sync->old = targets;
    pool->dropped = sync->dropped;
    sync->dropped = dropped;
    pool->dropped_count = sync->dropped_count;
    check_limit(pool);
    schedule_rebuild(pool->scraper);
    scraper_targets_changed(pool->scraper);
}

/* --- slices --- */

static void step_index(struct pool_sync *sync)
{
    const struct target_list *targets = &sync->pool->targets;

    if (sync->index == targets->count) {
        sync->phase = SYNC_BUILD;
        sync->group = sync->index = 0;
        return;
    }
    map_insert(&sync->old_map, targets->items[sync->index]->key, (uint32_t)sync->index);
    sync->index++;
}

static void step_build(struct pool_sync *sync)
{
    if (sync->group == sync->group_count) {
        sync->phase = SYNC_ORDER;
        return;
    }
    struct target_group *group = sync->groups[sync->group];
    if (sync->index == group->target_count) {
        sync->group++;
        sync->index = 0;
        return;
    }
    sync_one(sync, group, sync->index++);
    arena_reset(&sync->arena);
}

/* What is new is due from now on, not from when its turn in a long sync was. */
static void step_order(struct pool_sync *sync)
{
    struct target *target = heap_pop(&sync->order);

    if (!target) {
        sync_swap(sync);
        sync->phase = SYNC_RETIRE;
        sync->index = 0;
        return;
    }
    if (target->state == TARGET_NEW) {
        target->state = TARGET_ACTIVE;
        schedule_target(target);
    }
    VEC_PUSH(&sync->sorted, target);
}

static void step_retire(struct pool_sync *sync)
{
    if (sync->index == sync->old.count) {
        sync->phase = SYNC_LET_GO;
        return;
    }
    struct target *target = sync->old.items[sync->index++];
    if (target->sync_round != sync->pool->sync_round)
        target_retire(target);
}

static void step_let_go(struct pool_sync *sync)
{
    struct pool *pool = sync->pool;

    if (sync->group_count > 0)
        target_group_unref(sync->groups[--sync->group_count]);
    else if (pool->old_groups.count > 0)
        target_group_unref(VEC_POP(&pool->old_groups));
    else
        sync->phase = SYNC_DONE;
}

static void sync_step(struct pool_sync *sync)
{
    switch (sync->phase) {
    case SYNC_INDEX:
        step_index(sync);
        break;
    case SYNC_BUILD:
        step_build(sync);
        break;
    case SYNC_ORDER:
        step_order(sync);
        break;
    case SYNC_RETIRE:
        step_retire(sync);
        break;
    case SYNC_LET_GO:
        step_let_go(sync);
        break;
    case SYNC_DONE:
        break;
    }
}

static void sync_free(struct pool_sync *sync)
{
    VEC_EACH (found, &sync->dropped)
        target_group_unref(found->group);
    VEC_FREE(&sync->dropped);
    for (size_t i = 0; i < sync->group_count; i++)
        target_group_unref(sync->groups[i]);
    mem_free(sync->groups);
    VEC_FREE(&sync->targets);
    VEC_FREE(&sync->sorted);
    VEC_FREE(&sync->fresh);
    VEC_FREE(&sync->old);
    heap_deinit(&sync->order);
    map_deinit(&sync->old_map);
    map_deinit(&sync->new_map);
    arena_deinit(&sync->arena);
    mem_free(sync);
}

/* The heap of the schedule may hold one that was retiring twice, or as retiring: it is made anew. */
static void sync_end(struct pool *pool)
{
    struct pool_sync *sync = pool->sync;

    pool->sync = NULL;
    sync_free(sync);
    schedule_rebuild(pool->scraper);
}

static void sync_run(struct pool *pool)
{
    struct scraper *scraper = pool->scraper;
    struct pool_sync *sync = pool->sync;
    int64_t from_ns = clock_mono_ns(), spent_ns = 0;

    while (sync->phase != SYNC_DONE && spent_ns < scraper->sync_left_ns) {
        unsigned steps = sync->phase == SYNC_BUILD ? 1 : STEPS_PER_LOOK;
        while (steps-- > 0)
            sync_step(sync);
        spent_ns = clock_mono_ns() - from_ns;
    }
    scraper->sync_left_ns -= spent_ns;
    if (sync->phase != SYNC_DONE)
        return;
    pool->syncs++;
    summary_add(&pool->sync_length, (double)(clock_mono_ns() - sync->begin_ns) / 1e9,
                clock_mono_ms());
    sync_end(pool);
    if (pool->sync_again)
        pool_sync_start(pool);
}

/* Whether there are more. */
static bool leave_some(struct scraper *scraper)
{
    size_t kept = 0;

    for (size_t i = 0; i < scraper->leaving.count; i++) {
        struct pool *pool = scraper->leaving.items[i];
        if (pool->sync)
            sync_run(pool);
        if (pool->sync)
            scraper->leaving.items[kept++] = pool;
        else
            pool_free(pool);
    }
    scraper->leaving.count = kept;
    return kept > 0;
}

bool pool_sync_some(struct scraper *scraper)
{
    bool waiting = false;

    VEC_EACH (pool, &scraper->pools) {
        if ((*pool)->sync)
            sync_run(*pool);
        waiting |= (*pool)->sync != NULL;
    }
    return leave_some(scraper) || waiting;
}

static void on_idle(uv_idle_t *idle)
{
    if (!pool_sync_some(CONTAINER_OF(idle, struct scraper, sync_idle)))
        uv_idle_stop(idle);
}

/* As much as this turn has time for is done at once. */
void pool_sync_start(struct pool *pool)
{
    pool->sync_again = pool->sync != NULL;
    if (pool->sync)
        return;
    struct pool_sync *sync = MEM_NEW(struct pool_sync);
    sync->pool = pool;
    sync->begin_ns = clock_mono_ns();
    arena_init(&sync->arena, 0);
    map_init(&sync->old_map);
    map_init(&sync->new_map);
    heap_init(&sync->order, comes_before);
    sync->group_count = pool->group_count;
    sync->groups =
        mem_alloc_array(pool->group_count ? pool->group_count : 1, sizeof(*sync->groups));
    for (size_t i = 0; i < pool->group_count; i++)
        sync->groups[i] = target_group_ref(pool->groups[i]);
    pool->sync = sync;
    pool->sync_round++;
    sync_run(pool);
    if (pool->sync || pool->scraper->leaving.count > 0)
        uv_idle_start(&pool->scraper->sync_idle, on_idle);
}

void pool_sync_finish(struct pool *pool)
{
    struct scraper *scraper = pool->scraper;
    int64_t left_ns = scraper->sync_left_ns;

    while (pool->sync) {
        scraper->sync_left_ns = INT64_MAX / 2;
        sync_run(pool);
    }
    scraper->sync_left_ns = left_ns;
}

/* Before the swap what is new goes; after it what is gone retires at once. */
void pool_sync_cancel(struct pool *pool)
{
    struct pool_sync *sync = pool->sync;

    pool->sync_again = false;
    if (!sync)
        return;
    while (sync->phase == SYNC_RETIRE)
        step_retire(sync);
    for (size_t i = 0; sync->phase < SYNC_RETIRE && i < sync->fresh.count; i++)
        target_retire(sync->fresh.items[i]);
    sync_end(pool);
}
