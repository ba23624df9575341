/* retention_edge: a wall clock that jumps costs no samples, neither those before nor those after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define T0      INT64_C(1700000000000)
#define MINUTE  INT64_C(60000)
#define HOUR    (60 * MINUTE)
#define DAY     (24 * HOUR)
#define YEAR    (365 * DAY)
#define FOREVER INT64_MIN, INT64_MAX
#define SERIES  3

struct world {
    struct store_fixture f;
    series_ref refs[SERIES];
    int64_t now_ms;   /* Of the wall clock, which may be wrong. */
    int64_t ahead_ms; /* Of the monotonic clock. */
    size_t stored;    /* Of each series. */
};

static void world_pin(struct world *world)
{
    for (int i = 0; i < SERIES; i++)
        world->refs[i] = store_series(&world->f, "a", i);
}

static void world_setup(struct world *world)
{
    store_setup(&world->f);
    world->now_ms = T0;
    storage_set_retention(world->f.storage, 15 * DAY, 0);
    world->f.options.retention_ms = 15 * DAY;
    world_pin(world);
}

static void world_teardown(struct world *world)
{
    clock_set_wall_ms(INT64_MIN);
    store_teardown(&world->f);
}

static void world_restart(struct world *world)
{
    store_close(&world->f);
    store_open(&world->f);
    world_pin(world);
}

static void set_clock(struct world *world, int64_t now_ms)
{
    world->now_ms = now_ms;
    clock_set_wall_ms(now_ms);
}

/* Scrapes each `step_ms` until both clocks are `span_ms` further; every sample must be taken. */
static void scrape(struct world *world, int64_t span_ms, int64_t step_ms)
{
    struct append_options options = {0};
    struct append_result result;
    struct err err = {0};
    for (int64_t past = 0; past < span_ms; past += step_ms) {
        struct batch batch = {0};
        set_clock(world, world->now_ms + step_ms);
        world->ahead_ms += step_ms;
        options.now_ms = world->now_ms;
        for (int i = 0; i < SERIES; i++)
            batch_add(&batch, world->refs[i], world->now_ms, (double)i);
        assert_true(
            storage_append(world->f.storage, world->f.group, &batch, &options, &result, &err));
        assert_int_equal(result.outcome_count[SAMPLE_STORED] + result.outcome_count[SAMPLE_LATE],
                         SERIES);
        world->stored++;
        batch_deinit(&batch);
        for (int i = 0; i < 2; i++) { /* Retention waits while slots are sealed. */
            storage_tick(world->f.storage, clock_mono_ms() + world->ahead_ms + i * 61000);
            lane_now_run(&world->f.lane);
        }
    }
}

static void check_all_there(struct world *world)
{
    for (int i = 0; i < SERIES; i++) {
        struct store_samples samples = store_read(&world->f, "a", i, FOREVER);
        assert_int_equal(samples.series, 1);
        assert_int_equal(samples.count, world->stored);
        for (size_t k = 0; k < samples.count; k++)
            assert_true(samples.value[k] == (double)i);
        store_samples_free(&samples);
    }
}

/* A year on for ten minutes, then right again: nothing is dropped, and what follows is taken at once. */
static void test_retention_edge__bears_a_jump_on_and_back(void **state)
{
    struct world world = {0};
    (void)state;
    world_setup(&world);
    scrape(&world, 3 * DAY, 20 * MINUTE);
    int64_t right_ms = world.now_ms;
    set_clock(&world, right_ms + YEAR);
    scrape(&world, 10 * MINUTE, MINUTE);
    check_all_there(&world);
    set_clock(&world, right_ms + 10 * MINUTE);
    scrape(&world, 10 * MINUTE, MINUTE);
    set_clock(&world, right_ms + 2 * YEAR);
    scrape(&world, 10 * MINUTE, MINUTE);
    check_all_there(&world);
    set_clock(&world, right_ms + 30 * MINUTE);
    scrape(&world, 2 * DAY, 20 * MINUTE);
    check_all_there(&world);
    world_restart(&world);
    scrape(&world, 3 * HOUR, 20 * MINUTE);
    check_all_there(&world);
    world_teardown(&world);
}

/* A restart while the clock is wrong, and one after it is right again. */
static void test_retention_edge__bears_a_start_with_a_wrong_clock(void **state)
{
    struct world world = {0};
    (void)state;
    world_setup(&world);
    scrape(&world, 2 * DAY, 20 * MINUTE);
    int64_t right_ms = world.now_ms;
    set_clock(&world, right_ms + YEAR);
    scrape(&world, 2 * HOUR, 5 * MINUTE);
    world_restart(&world);
    scrape(&world, 2 * HOUR, 5 * MINUTE);
    check_all_there(&world);
    world_restart(&world);
    set_clock(&world, right_ms + 4 * HOUR);
    scrape(&world, 4 * HOUR, 5 * MINUTE);
    check_all_there(&world);
    world_restart(&world);
    check_all_there(&world);
    world_teardown(&world);
}

/* A machine that starts in 1970, until it is told the time; and one that goes back by two hours. */
static void test_retention_edge__bears_a_jump_back(void **state)
{
    struct world world = {0};
    (void)state;
    world_setup(&world);
    scrape(&world, DAY, 20 * MINUTE);
    int64_t right_ms = world.now_ms;
    set_clock(&world, right_ms - 2 * HOUR - 7);
    scrape(&world, HOUR, 5 * MINUTE);
    check_all_there(&world);
    set_clock(&world, right_ms + HOUR);
    scrape(&world, HOUR, 5 * MINUTE);
    check_all_there(&world);
    set_clock(&world, HOUR);
    scrape(&world, HOUR, 5 * MINUTE);
    check_all_there(&world);
    world_restart(&world);
    scrape(&world, HOUR, 5 * MINUTE);
    check_all_there(&world);
    set_clock(&world, right_ms + 4 * HOUR);
    world.stored -= 24; /* Those of 1970 are past retention. */
    scrape(&world, 26 * HOUR, 20 * MINUTE);
    check_all_there(&world);
    world_teardown(&world);
}

/* A server that was off for a month: old days go, a day later. */
static void test_retention_edge__follows_when_the_time_is_trusted(void **state)
{
    struct world world = {0};
    struct storage_stats stats;
    (void)state;
    world_setup(&world);
    scrape(&world, 3 * DAY, 20 * MINUTE);
    set_clock(&world, world.now_ms + 30 * DAY);
    scrape(&world, 20 * HOUR, 20 * MINUTE);
    check_all_there(&world);
    scrape(&world, 8 * HOUR, 20 * MINUTE);
    storage_get_stats(world.f.storage, &stats);
    assert_true(stats.partitions_retired >= 3);
    struct store_samples samples = store_read(&world.f, "a", 0, FOREVER);
    assert_int_equal(samples.count, 28 * 3);
    store_samples_free(&samples);
    world_teardown(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retention_edge__bears_a_jump_on_and_back),
        cmocka_unit_test(test_retention_edge__bears_a_start_with_a_wrong_clock),
        cmocka_unit_test(test_retention_edge__bears_a_jump_back),
        cmocka_unit_test(test_retention_edge__follows_when_the_time_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
