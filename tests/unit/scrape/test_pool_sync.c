/* Targets made to match discovery, in slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "scrape_rig.h"

#define MANY 20000 /* More than any machine relabels in one slice. */

/* One group with targets 127.0.0.1:1/n, from <= n < to; nobody asks them within the test's hour-long interval. */
static struct target_group *group_of(unsigned from, unsigned to)
{
    struct group_writer writer;
    struct labels_builder labels = {0};

    group_writer_init(&writer);
    for (unsigned i = from; i < to; i++) {
        char instance[16];
        (void)snprintf(instance, sizeof(instance), "i%06u", i);
        labels_builder_clear(&labels);
        labels_builder_set(&labels, STR("__address__"), STR("127.0.0.1:1"));
        labels_builder_set(&labels, STR("instance"), str_of(instance));
        group_writer_add(&writer, &labels);
    }
    labels_builder_clear(&labels);
    struct target_group *group = group_writer_end(&writer, STR("many"), &labels);
    labels_builder_deinit(&labels);
    return group;
}

static void set_range(struct rig *rig, unsigned from, unsigned to)
{
    struct target_group *group = group_of(from, to);

    scraper_set_groups(rig->scraper, STR("j"), &group, 1);
    target_group_unref(group);
}

static struct pool *pool_of(struct rig *rig)
{
    return rig->scraper->pools.items[0];
}

static bool synced(struct rig *rig)
{
    return !pool_of(rig)->sync;
}

static void begin(struct rig *rig)
{
    rig_open(rig);
    rig->interval = "1h";
    rig_configure(rig, "");
}

/* The instances of the pool's targets are those from .. to - 1, in order. */
static void expect_range(struct rig *rig, unsigned from, unsigned to)
{
    const struct target_list *targets = &pool_of(rig)->targets;

    assert_int_equal(targets->count, to - from);
    for (unsigned i = from; i < to; i++) {
        char instance[16];
        (void)snprintf(instance, sizeof(instance), "i%06u", i);
        struct str found = labels_get(targets->items[i - from]->labels, STR("instance"));
        assert_true(str_eq(found, str_of(instance)));
        assert_int_equal(targets->items[i - from]->state, TARGET_ACTIVE);
    }
}

/* The loop goes on between slices; until the end the pool has what it had. */
static void test_pool_sync__takes_turns(void **state)
{
    struct rig rig;

    (void)state;
    begin(&rig);
    const struct target *before = pool_of(&rig)->targets.items[0];
    set_range(&rig, 0, MANY);
    assert_non_null(pool_of(&rig)->sync);
    assert_int_equal(pool_of(&rig)->targets.count, 1);
    assert_ptr_equal(pool_of(&rig)->targets.items[0], before);
    assert_true(rig_until(&rig, synced));
    expect_range(&rig, 0, MANY);
    assert_int_equal(rig.scraper->schedule.count, MANY + 1); /* One retires. */
    assert_int_equal(pool_of(&rig)->syncs, 2); /* The first one was that of the configuration. */
    assert_int_equal(pool_of(&rig)->sync_length.count, 2);
    assert_true(pool_of(&rig)->sync_length.sum > 0);
    assert_int_equal(pool_of(&rig)->sync_failures, 0);
    rig_close(&rig);
}

/* What comes while a sync runs waits, and only the last of it counts. */
static void test_pool_sync__ends_with_the_newest_groups(void **state)
{
    struct rig rig;

    (void)state;
    begin(&rig);
    set_range(&rig, 0, MANY);
    set_range(&rig, 0, 10);
    set_range(&rig, MANY / 2, MANY + 7);
    assert_true(rig_until(&rig, synced));
    expect_range(&rig, MANY / 2, MANY + 7);
    assert_int_equal(rig.scraper->retiring.count, MANY / 2 + 1);
    rig_close(&rig);
}

/* The same targets stay the same; those that go and come back are taken back with their series. */
static void test_pool_sync__keeps_and_takes_back(void **state)
{
    struct rig rig;

    (void)state;
    begin(&rig);
    set_range(&rig, 0, 1000);
    rig_settle(&rig);
    struct target *kept = pool_of(&rig)->targets.items[700],
                  *gone = pool_of(&rig)->targets.items[3];
    set_range(&rig, 500, 1500);
    rig_settle(&rig);
    assert_ptr_equal(pool_of(&rig)->targets.items[200], kept);
    assert_int_equal(gone->state, TARGET_RETIRING);
    assert_int_equal(rig.scraper->retiring.count, 501);
    set_range(&rig, 0, 1000);
    rig_settle(&rig);
    assert_ptr_equal(pool_of(&rig)->targets.items[3], gone);
    expect_range(&rig, 0, 1000);
    assert_int_equal(rig.scraper->retiring.count, 501);
    rig_close(&rig);
}

/* A job that goes, or a stop, in the middle of a sync: nothing is left behind. rig_close counts the groups. */
static void test_pool_sync__is_called_off(void **state)
{
    struct rig rig;
    struct config *none;
    struct err err;

    (void)state;
    begin(&rig);
    set_range(&rig, 0, 1000);
    rig_settle(&rig);
    set_range(&rig, 500, MANY);
    assert_non_null(pool_of(&rig)->sync);
    assert_true(config_parse(&none, STR("scrape_configs: []\n"), STR("none.yml"), &err));
    scraper_apply(rig.scraper, none);
    assert_int_equal(rig.scraper->pools.count, 0);
    rig_settle(&rig);
    assert_int_equal(rig.scraper->leaving.count, 0);
    assert_true(rig.scraper->retiring.count > 1000); /* The old ones and what was new. */
    config_unref(none);
    rig_configure(&rig, "");
    set_range(&rig, 0, MANY);
    assert_non_null(pool_of(&rig)->sync);
    rig_close(&rig);
}

static bool has_scraped(struct rig *rig)
{
    return rig->scraper->stats.scrapes > 0;
}

/* A start with thousands of targets: the store is there before all of them are. Each can store. */
static void test_pool_sync__takes_the_storage_in_the_middle(void **state)
{
    struct rig rig;

    (void)state;
    rig_open_early(&rig);
    rig.interval = "1h";
    rig_configure(&rig, "");
    set_range(&rig, 0, MANY);
    assert_non_null(pool_of(&rig)->sync);
    rig_attach(&rig);
    assert_true(rig_until(&rig, synced));
    struct target *first = pool_of(&rig)->targets.items[0];
    fetch_start(first, clock_wall_ms());
    assert_true(rig_until(&rig, has_scraped));
    assert_non_null(first->group);
    assert_true(rig.storage.open_groups < MANY / 4); /* A few others may have had their turn. */
    rig_close(&rig);
}

/* Other rules in the middle of a sync: it starts anew with them. */
static void test_pool_sync__starts_anew_with_other_rules(void **state)
{
    struct rig rig;

    (void)state;
    begin(&rig);
    set_range(&rig, 0, MANY);
    assert_non_null(pool_of(&rig)->sync);
    rig_configure(&rig, "  metrics_path: /other\n");
    assert_true(rig_until(&rig, synced));
    assert_int_equal(pool_of(&rig)->targets.count, 1);
    assert_non_null(strstr(pool_of(&rig)->targets.items[0]->url, "/other"));
    set_range(&rig, 0, MANY);
    rig_settle(&rig);
    expect_range(&rig, 0, MANY);
    assert_non_null(strstr(pool_of(&rig)->targets.items[5]->url, "/other"));
    rig_close(&rig);
}

/* A time within the tolerance is the schedule's, but never by more than a hundredth of the interval. */
static void test_schedule_snap__keeps_to_the_tolerance(void **state)
{
    static const struct {
        int64_t interval_ms, tolerance_ms, off_ms, shown_ms;
    } rows[] = {
        {15000, 2, 2, 0},    {15000, 2, 3, 3},       {15000, 2, -2, 0},     {15000, 2, -3, -3},
        {15000, 0, 1, 1},    {15000, 0, 0, 0},       {15000, -1, 0, 0},     {15000, -1, 1, 1},
        {15000, 100, 99, 0}, {15000, 100, 101, 101}, {15000, 5000, 150, 0}, {15000, 5000, 151, 151},
        {100, 2, 1, 0},      {100, 2, 2, 2},
    };
    struct rig rig;

    (void)state;
    begin(&rig);
    struct target *target = pool_of(&rig)->targets.items[0];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        target->interval_ms = rows[i].interval_ms;
        int64_t before = 1700000000000;
        rig.scraper->tolerance_ms = INT64_MAX;
        while (schedule_snap(target, before) == before)
            before++; /* Until just before a point of the grid. */
        int64_t point = schedule_snap(target, before);
        rig.scraper->tolerance_ms = rows[i].tolerance_ms;
        assert_int_equal(schedule_snap(target, point + rows[i].off_ms), point + rows[i].shown_ms);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_sync__takes_turns),
        cmocka_unit_test(test_pool_sync__ends_with_the_newest_groups),
        cmocka_unit_test(test_pool_sync__keeps_and_takes_back),
        cmocka_unit_test(test_pool_sync__is_called_off),
        cmocka_unit_test(test_pool_sync__takes_the_storage_in_the_middle),
        cmocka_unit_test(test_pool_sync__starts_anew_with_other_rules),
        cmocka_unit_test(test_schedule_snap__keeps_to_the_tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
