/* Unit tests of storage/budget: the memory budget and the limits on series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define MINUTE INT64_C(60000)
#define BUDGET UINT64_C(1000000000)

static struct store_fixture f;
static uint64_t used_bytes;

static uint64_t fake_used(void *ctx)
{
    (void)ctx;
    return used_bytes;
}

static int setup(void **state)
{
    (void)state;
    f = (struct store_fixture){0};
    used_bytes = 0;
    store_setup(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_teardown(&f);
    return 0;
}

static void reopen(void)
{
    store_close(&f);
    store_open(&f);
}

static void reopen_with_budget(void)
{
    f.options.memory_budget = BUDGET;
    f.options.memory_used = fake_used;
    reopen();
}

static series_ref try_series(const char *job, int number, struct err *err)
{
    char text[32];
    *err = (struct err){0};
    snprintf(text, sizeof(text), "%d", number);
    struct label labels[3] = {
        {LABEL_NAME, STR("m")}, {STR("i"), str_of(text)}, {STR("job"), str_of(job)}};
    return storage_series(f.storage, f.group, labels, 3, labels_hash(labels, 3), err);
}

static struct storage_stats stats(void)
{
    struct storage_stats out;
    storage_get_stats(f.storage, &out);
    return out;
}

/* The point of the budget: the new wait, the old go on, and nothing has to be restarted. */
static void test_budget__refuses_new_series_and_takes_samples_of_old_ones(void **state)
{
    struct err err;
    (void)state;
    reopen_with_budget();
    series_ref old = store_series(&f, "m", 1);
    used_bytes = BUDGET;
    store_tick(&f, 2000);
    assert_true(stats().memory_refusing);
    assert_true(try_series("test", 2, &err) == SERIES_REF_NONE);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.text, "memory budget of 1000000000 bytes is used up"));
    assert_int_equal(store_add(&f, old, MINUTE, 1), SAMPLE_STORED);
    assert_true(try_series("test", 1, &err) == old);
    storage_series_release(f.storage, old);
    assert_int_equal(stats().refused[STORAGE_REFUSED_MEMORY], 1);
    assert_int_equal(stats().series_refused, 1);
    storage_series_release(f.storage, old);
}

/* Without the gap a store at its edge would take and refuse by turns. */
static void test_budget__takes_series_again_well_below_the_edge(void **state)
{
    struct err err;
    (void)state;
    reopen_with_budget();
    used_bytes = BUDGET;
    store_tick(&f, 2000);
    used_bytes = BUDGET - BUDGET / 32;
    store_tick(&f, 4000);
    assert_true(stats().memory_refusing);
    used_bytes = BUDGET - BUDGET / 8;
    store_tick(&f, 6000);
    assert_false(stats().memory_refusing);
    series_ref ref = try_series("test", 2, &err);
    assert_true(ref != SERIES_REF_NONE);
    storage_series_release(f.storage, ref);
}

/* A storm of new series between two looks must not run past the budget. */
static void test_budget__looks_again_when_series_come_fast(void **state)
{
    struct err err;
    (void)state;
    f.options.memory_budget = 4 << 20;
    f.options.memory_used = fake_used;
    reopen();
    store_tick(&f, 0);
    used_bytes = 5 << 20; /* Nobody has looked since. */
    int taken = 0;
    for (series_ref ref; taken < 10000 && (ref = try_series("a", taken, &err)) != SERIES_REF_NONE;
         taken++)
        storage_series_release(f.storage, ref);
    assert_in_range(taken, 1, 1000);
    assert_true(stats().memory_refusing);
}

/* What queries may take ends where the kernel's limit comes near, not where series end. */
static void test_storage_memory_share__leaves_some_to_queries(void **state)
{
    (void)state;
    assert_true(storage_memory_share(f.storage, 1) == UINT64_MAX);
    reopen_with_budget();
    used_bytes = BUDGET / 2;
    assert_int_equal(storage_memory_share(f.storage, 1), BUDGET / 2 + BUDGET / 8);
    used_bytes = BUDGET;
    store_tick(&f, 2000);
    assert_int_equal(storage_memory_share(f.storage, 1), BUDGET / 8);
    used_bytes = 2 * BUDGET;
    store_tick(&f, 4000);
    assert_int_equal(storage_memory_share(f.storage, 1), 0);
}

static bool select_all(struct err *err)
{
    struct selection *selection;
    struct matcher matcher;
    *err = (struct err){0};
    assert_true(matcher_init(&matcher, MATCH_EQUAL, LABEL_NAME, STR("m"), err));
    bool good = storage_select(f.storage, &matcher, 1, 0, 2 * MINUTE, &selection, err);
    if (good) {
        assert_int_equal(selection_count(selection), 300);
        assert_in_range(selection_bytes(selection), 300 * 100, 300 * 1000);
        selection_free(selection);
    }
    matcher_deinit(&matcher);
    return good;
}

/* A query for everything takes its memory here first: it must end and not the server. */
static void test_storage_select__ends_where_the_share_of_a_query_ends(void **state)
{
    struct err err;
    (void)state;
    reopen_with_budget();
    for (int i = 0; i < 300; i++) {
        series_ref ref = store_series(&f, "m", i);
        assert_int_equal(store_add(&f, ref, MINUTE, i), SAMPLE_STORED);
        storage_series_release(f.storage, ref);
    }
    assert_true(select_all(&err));
    used_bytes = BUDGET + BUDGET / 8 - 20000;
    store_tick(&f, 2000);
    assert_false(select_all(&err));
    assert_int_equal(err.code, ERR_EXECUTION);
    assert_non_null(strstr(err.text, "more than 20000 bytes"));
    used_bytes = 0;
    store_tick(&f, 4000);
    assert_true(select_all(&err));
}

/* One job that explodes must not take the places of the others. */
static void test_budget__limits_the_series_of_one_job(void **state)
{
    series_ref refs[3];
    struct err err;
    (void)state;
    f.options.job_series_max = 2;
    reopen();
    refs[0] = try_series("a", 0, &err);
    refs[1] = try_series("a", 1, &err);
    assert_true(refs[0] != SERIES_REF_NONE && refs[1] != SERIES_REF_NONE);
    assert_true(try_series("a", 2, &err) == SERIES_REF_NONE);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text,
                        "job \"a\" has reached its series limit of 2: new series are refused");
    refs[2] = try_series("b", 0, &err);
    assert_true(refs[2] != SERIES_REF_NONE);
    storage_series_release(f.storage, refs[0]); /* Never had a sample: dead at once. */
    refs[0] = try_series("a", 2, &err);
    assert_true(refs[0] != SERIES_REF_NONE);
    assert_int_equal(stats().refused[STORAGE_REFUSED_JOB_LIMIT], 1);
    for (int i = 0; i < 3; i++)
        storage_series_release(f.storage, refs[i]);
}

/* Series that the start finds in the log count like those that came since. */
static void test_budget__counts_series_of_a_job_after_a_restart(void **state)
{
    struct err err;
    (void)state;
    f.options.job_series_max = 2;
    reopen();
    for (int i = 0; i < 2; i++) {
        series_ref ref = try_series("a", i, &err);
        assert_int_equal(store_add(&f, ref, MINUTE, i), SAMPLE_STORED);
        storage_series_release(f.storage, ref);
    }
    reopen();
    assert_true(try_series("a", 2, &err) == SERIES_REF_NONE);
    series_ref old = try_series("a", 1, &err);
    assert_true(old != SERIES_REF_NONE);
    storage_series_release(f.storage, old);
}

/* Whoever reads the log wants to know which job and which label to look at. */
static void test_budget_refused__names_the_guilty(void **state)
{
    series_ref refs[8];
    struct err err;
    (void)state;
    f.options.series_max = 8;
    reopen();
    for (int i = 0; i < 8; i++)
        refs[i] = try_series(i < 3 ? "small" : "large", i, &err);
    assert_false(stats().guilty.known);
    assert_true(try_series("small", 99, &err) == SERIES_REF_NONE);
    struct storage_stats now = stats();
    assert_int_equal(now.refused[STORAGE_REFUSED_SERIES_LIMIT], 1);
    assert_true(now.guilty.known);
    assert_string_equal(now.guilty.job, "large");
    assert_int_equal(now.guilty.job_series, 5);
    assert_string_equal(now.guilty.label, "i");
    assert_int_equal(now.guilty.label_values, 8);
    for (int i = 0; i < 8; i++)
        storage_series_release(f.storage, refs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_budget__refuses_new_series_and_takes_samples_of_old_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget__takes_series_again_well_below_the_edge, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_budget__looks_again_when_series_come_fast, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_storage_memory_share__leaves_some_to_queries, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_storage_select__ends_where_the_share_of_a_query_ends,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget__limits_the_series_of_one_job, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget__counts_series_of_a_job_after_a_restart, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_budget_refused__names_the_guilty, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
