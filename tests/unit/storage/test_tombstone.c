/* Deletes: what was written before one is gone wherever it lies, what is written after it lives, over restarts, kills,
 * builds and cleans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "file.h"
#include "store_fixture.h"
#include "tombstone.h"

#define DAY  (INT64_C(24) * 60 * 60 * 1000)
#define HOUR (INT64_C(60) * 60 * 1000)
#define T0   (DAY * 19000 + 5 * HOUR)
#define STEP 15000

struct told {
    int count;
    struct err err;
};

static void tell(void *ctx, const struct err *err)
{
    struct told *told = ctx;
    told->count++;
    told->err = *err;
}

static int setup(void **state)
{
    struct store_fixture *f = MEM_NEW(struct store_fixture);
    store_setup(f);
    store_close(f);
    f->options.build_delay_ms = 90 * 60 * 1000;
    store_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct store_fixture *f = *state;
    file_faults = NULL;
    store_teardown(f);
    mem_free(f);
    return 0;
}

static struct matchers matchers_of(const char *name, const char *value, enum matcher_type type)
{
    struct matchers set = {.items = mem_zalloc(sizeof(struct matcher)), .count = 1};
    struct err err = {0};
    if (!matcher_init(&set.items[0], type, str_of(name), str_of(value), &err))
        abort();
    return set;
}

/* Deletes name{} in [from, to]; nothing is committed before lane_now_run. */
static void begin_delete(struct store_fixture *f, const char *name, int64_t from_ms, int64_t to_ms,
                         struct told *told)
{
    struct matchers set = matchers_of("__name__", name, MATCH_EQUAL);
    struct err err = {0};
    *told = (struct told){0};
    if (!storage_delete(f->storage, &set, 1, from_ms, to_ms, tell, told, &err))
        abort();
    matchers_deinit(&set);
}

static void delete_now(struct store_fixture *f, const char *name, int64_t from_ms, int64_t to_ms)
{
    struct told told;
    begin_delete(f, name, from_ms, to_ms, &told);
    lane_now_run(&f->lane);
    if (told.count != 1 || told.err.code != ERR_NONE)
        abort();
}

static void fill(struct store_fixture *f, series_ref ref, int64_t from_ms, int count)
{
    for (int i = 0; i < count; i++)
        (void)store_add(f, ref, from_ms + i * STEP, i);
}

static size_t count_of(struct store_fixture *f, const char *name, int64_t from_ms, int64_t to_ms)
{
    struct store_samples samples = store_read(f, name, 0, from_ms, to_ms);
    size_t count = samples.count;
    store_samples_free(&samples);
    return count;
}

static size_t count_all(struct store_fixture *f, const char *name)
{
    return count_of(f, name, INT64_MIN / 4, INT64_MAX / 4);
}

static size_t series_all(struct store_fixture *f, const char *name)
{
    struct store_samples samples = store_read(f, name, 0, INT64_MIN / 4, INT64_MAX / 4);
    store_samples_free(&samples);
    return samples.series;
}

static uint64_t tombstones(struct store_fixture *f)
{
    struct storage_stats stats;
    storage_get_stats(f->storage, &stats);
    return stats.tombstones;
}

static size_t days(struct store_fixture *f)
{
    size_t count = 0;
    char folder[128];
    snprintf(folder, sizeof(folder), "%s/narthex", f->dir);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct str name = str_of(entry->d_name);
        count += str_ends(name, STR("Z.mdb"));
    }
    closedir(dir);
    return count;
}

static void run_all(struct store_fixture *f)
{
    static int64_t ahead_ms; /* Time does not go back. */
    for (int i = 0; i < 12; i++, ahead_ms += 2000)
        store_tick(f, 3 * HOUR + ahead_ms);
}

/* Both ends belong to the range, the neighbours do not; other series stay. */
static void test_storage_delete__takes_a_range_out_of_memory(void **state)
{
    struct store_fixture *f = *state;
    series_ref a = store_series(f, "a", 0), b = store_series(f, "b", 0);
    fill(f, a, T0, 10);
    fill(f, b, T0, 10);
    delete_now(f, "a", T0 + 2 * STEP, T0 + 4 * STEP);
    struct store_samples left = store_read(f, "a", 0, T0, T0 + 10 * STEP);
    assert_int_equal(left.count, 7);
    assert_int_equal(left.time_ms[1], T0 + STEP);
    assert_int_equal(left.time_ms[2], T0 + 5 * STEP);
    store_samples_free(&left);
    assert_int_equal(count_all(f, "b"), 10);
    assert_int_equal(count_of(f, "a", T0 + 2 * STEP, T0 + 4 * STEP), 0);
    storage_series_release(f->storage, a);
    storage_series_release(f->storage, b);
}

/* A series of which nothing is left is not shown, and comes back with its next sample. */
static void test_storage_delete__lets_later_writes_live(void **state)
{
    struct store_fixture *f = *state;
    series_ref a = store_series(f, "a", 0);
    fill(f, a, T0, 10);
    delete_now(f, "a", INT64_MIN / 2, INT64_MAX / 2);
    assert_int_equal(series_all(f, "a"), 0);
    fill(f, a, T0 + 10 * STEP, 3);
    assert_int_equal(series_all(f, "a"), 1);
    assert_int_equal(count_all(f, "a"), 3);
    run_all(f); /* Sealed. */
    assert_int_equal(count_all(f, "a"), 3);
    storage_series_release(f->storage, a);
}

/* Before the commit nothing is deleted: what has not been acknowledged may be lost. */
static void test_storage_delete__is_in_force_when_it_is_told(void **state)
{
    struct store_fixture *f = *state;
    series_ref a = store_series(f, "a", 0);
    struct told told;
    fill(f, a, T0, 10);
    begin_delete(f, "a", T0, T0 + 100 * STEP, &told);
    fill(f, a, T0 + 10 * STEP, 2);
    assert_int_equal(told.count, 0);
    assert_int_equal(count_all(f, "a"), 12);
    lane_now_run(&f->lane);
    assert_int_equal(told.count, 1);
    assert_int_equal(count_all(f, "a"), 2);
    storage_series_release(f->storage, a);
}

static void delete_in_child(struct store_fixture *f)
{
    struct told told;
    series_ref a = store_series(f, "a", 0);
    fill(f, a, T0, 10);
    storage_tick(f->storage, clock_mono_ms() + 100);
    lane_now_run(&f->lane);
    begin_delete(f, "a", T0, T0 + 4 * STEP, &told);
    lane_now_run(&f->lane);
    STORE_REQUIRE(told.count == 1 && told.err.code == ERR_NONE);
}

/* The slots that replay opens anew were there before the delete; what is appended to them later was not. */
static void test_storage_delete__holds_over_a_kill(void **state)
{
    struct store_fixture *f = *state;
    store_close(f);
    assert_true(store_killed_after(f, delete_in_child));
    store_open(f);
    assert_int_equal(count_all(f, "a"), 5);
    assert_int_equal(tombstones(f), 1);
    series_ref a = store_series(f, "a", 0);
    fill(f, a, T0 + 10 * STEP, 5);
    delete_now(f, "a", T0 + 12 * STEP, T0 + 12 * STEP);
    assert_int_equal(count_all(f, "a"), 9);
    storage_series_release(f->storage, a);
    store_close(f);
    store_open(f);
    assert_int_equal(count_all(f, "a"), 9);
}

/* Samples that are written into the range after the delete, late ones too, are not touched by it, before and after the
 * day is built. */
static void test_storage_delete__spares_late_samples_that_come_after(void **state)
{
    struct store_fixture *f = *state;
    storage_set_out_of_order(f->storage, 10 * DAY);
    f->options.out_of_order_ms = 10 * DAY;
    series_ref a = store_series(f, "a", 0);
    fill(f, a, T0, 10);
    assert_int_equal(store_add(f, a, T0 + 1, 7), SAMPLE_LATE);
    delete_now(f, "a", T0, T0 + 9 * STEP);
    assert_int_equal(count_all(f, "a"), 0);
    assert_int_equal(store_add(f, a, T0 + 2, 8), SAMPLE_LATE);
    assert_int_equal(count_all(f, "a"), 1);
    assert_int_equal(store_add(f, a, T0 + 2 * DAY, 9), SAMPLE_STORED);
    run_all(f);
    assert_int_equal(days(f), 1);
    struct store_samples left = store_read(f, "a", 0, T0, T0 + DAY);
    assert_int_equal(left.count, 1);
    assert_int_equal(left.time_ms[0], T0 + 2);
    assert_true(left.value[0] == 8);
    store_samples_free(&left);
    assert_int_equal(tombstones(f), 0); /* The build has applied it, nothing else needs it. */
    storage_series_release(f->storage, a);
}

/* A published day: hidden at once, rebuilt by a clean, and the file that the clean has made is there after a restart. */
static void test_storage_clean_tombstones__rebuilds_days(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    series_ref a = store_series(f, "a", 0), b = store_series(f, "b", 0);
    fill(f, a, T0, 10);
    fill(f, b, T0, 10);
    assert_int_equal(store_add(f, b, T0 + 2 * DAY, 1), SAMPLE_STORED);
    run_all(f);
    assert_int_equal(days(f), 1);
    delete_now(f, "a", T0 + STEP, T0 + 3 * STEP);
    delete_now(f, "c", INT64_MIN / 2, T0 + HOUR);
    assert_int_equal(count_all(f, "a"), 7);
    assert_int_equal(tombstones(f), 2);
    storage_clean_tombstones(f->storage, tell, &told);
    run_all(f);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.err.code, ERR_NONE);
    assert_int_equal(count_all(f, "a"), 7);
    assert_int_equal(days(f), 1);
    assert_int_equal(tombstones(f), 0);
    store_close(f);
    store_open(f);
    assert_int_equal(days(f), 1);
    assert_int_equal(count_all(f, "a"), 7);
    assert_int_equal(count_all(f, "b"), 11);
    assert_int_equal(tombstones(f), 0);
    /* The numbers of dropped ones are not given again: the day would not know the new one. */
    delete_now(f, "a", T0 + 4 * STEP, T0 + 4 * STEP);
    assert_int_equal(count_all(f, "a"), 6);
}

/* A day of which all is deleted goes as a file. */
static void test_storage_clean_tombstones__drops_a_day_without_samples(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    series_ref a = store_series(f, "a", 0), b = store_series(f, "b", 0);
    fill(f, a, T0, 10);
    assert_int_equal(store_add(f, b, T0 + 2 * DAY, 1), SAMPLE_STORED);
    run_all(f);
    assert_int_equal(days(f), 1);
    delete_now(f, "a", INT64_MIN / 2, INT64_MAX / 2);
    assert_int_equal(series_all(f, "a"), 0);
    storage_clean_tombstones(f->storage, tell, &told);
    run_all(f);
    assert_int_equal(told.count, 1);
    assert_int_equal(days(f), 0);
    storage_series_release(f->storage, a);
    storage_series_release(f->storage, b);
}

/* With nothing to do it still answers. */
static void test_storage_clean_tombstones__answers_at_once_without_deletes(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    storage_clean_tombstones(f->storage, tell, &told);
    store_tick(f, 0);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.err.code, ERR_NONE);
}

/* Who waits is told when the server ends. */
static void test_storage_clean_tombstones__is_told_of_the_end(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    storage_clean_tombstones(f->storage, tell, &told);
    storage_stop(f->storage);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.err.code, ERR_CANCELED);
}

/* A wider delete by the same matchers takes the place of those before it: loops of deletes do not add up. */
static void test_storage_delete__replaces_what_it_covers(void **state)
{
    struct store_fixture *f = *state;
    series_ref a = store_series(f, "a", 0);
    fill(f, a, T0, 10);
    for (int i = 1; i < 6; i++)
        delete_now(f, "a", T0, T0 + i * STEP);
    assert_int_equal(tombstones(f), 1);
    assert_int_equal(count_all(f, "a"), 4);
    storage_series_release(f->storage, a);
}

static int fail_nothing_but_the_map(enum file_op op, const char *path, size_t *len)
{
    (void)len;
    return op == FILE_RENAME && str_ends(str_of(path), STR(".mdb.tmp")) ? 28 /* ENOSPC */ : 0;
}

/* A rebuild that cannot be written is told to who waits, and the delete stays in force. */
static void test_storage_clean_tombstones__tells_of_a_failed_build(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    series_ref a = store_series(f, "a", 0), b = store_series(f, "b", 0);
    fill(f, a, T0, 10);
    assert_int_equal(store_add(f, b, T0 + 2 * DAY, 1), SAMPLE_STORED);
    run_all(f);
    delete_now(f, "a", T0, T0);
    file_faults = fail_nothing_but_the_map;
    storage_clean_tombstones(f->storage, tell, &told);
    run_all(f);
    assert_int_equal(told.count, 1);
    assert_int_not_equal(told.err.code, ERR_NONE);
    file_faults = NULL;
    assert_int_equal(count_all(f, "a"), 9);
    assert_int_equal(tombstones(f), 1);
    storage_series_release(f->storage, a);
    storage_series_release(f->storage, b);
}

/* What comes back is what went in; each damaged byte is seen. */
static void test_tombstone_decode__refuses_damage(void **state)
{
    struct tombstone tombstone = {.sequence = 3, .slot = 9, .from_ms = -5, .to_ms = 77};
    struct tombstone *back;
    struct buf bytes;
    struct err err = {0};
    (void)state;
    tombstone.matchers = matchers_of("job", "a.*", MATCH_REGEX);
    buf_init(&bytes, 1000);
    tombstone_encode(&tombstone, &bytes);
    assert_true(tombstone_decode(&back, 3, buf_str(&bytes), &err));
    assert_int_equal(back->slot, 9);
    assert_int_equal(back->from_ms, -5);
    assert_int_equal(back->to_ms, 77);
    struct label labels[1] = {{STR("job"), STR("abc")}};
    assert_true(tombstone_matches(back, labels, 1));
    assert_false(tombstone_matches(back, labels, 0));
    tombstone_unref(back);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.ptr[i] = (char)(bytes.ptr[i] ^ 0x10);
        err_clear(&err);
        assert_false(tombstone_decode(&back, 3, buf_str(&bytes), &err));
        assert_int_equal(err.code, ERR_CORRUPT);
        bytes.ptr[i] = (char)(bytes.ptr[i] ^ 0x10);
        err_clear(&err);
        assert_false(tombstone_decode(&back, 3, str_from(bytes.ptr, i), &err));
    }
    buf_deinit(&bytes);
    matchers_deinit(&tombstone.matchers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_storage_delete__takes_a_range_out_of_memory),
        T(test_storage_delete__lets_later_writes_live),
        T(test_storage_delete__is_in_force_when_it_is_told),
        T(test_storage_delete__holds_over_a_kill),
        T(test_storage_delete__spares_late_samples_that_come_after),
        T(test_storage_clean_tombstones__rebuilds_days),
        T(test_storage_clean_tombstones__drops_a_day_without_samples),
        T(test_storage_clean_tombstones__answers_at_once_without_deletes),
        T(test_storage_clean_tombstones__is_told_of_the_end),
        T(test_storage_delete__replaces_what_it_covers),
        T(test_storage_clean_tombstones__tells_of_a_failed_build),
        cmocka_unit_test(test_tombstone_decode__refuses_damage),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
