/* replay: what a start makes of the log, also after kills, holes, other versions and files that are
 * not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "log_format.h"
#include "store.h"
#include "store_fixture.h"
#include "stream.h"

#define T0      INT64_C(1700000000000)
#define HOUR    (INT64_C(60) * 60 * 1000)
#define FOREVER INT64_MIN, INT64_MAX

static int add_from, add_to;

/* Samples add_from..add_to of series a, each in the log file when it ends. */
static void add_rows(struct store_fixture *f)
{
    series_ref ref = store_series(f, "a", 1);
    for (int i = add_from; i < add_to; i++)
        STORE_REQUIRE(store_add(f, ref, T0 + i * 1000, i) == SAMPLE_STORED);
    store_tick(f, 100);
}

static void add_rows_killed(struct store_fixture *f, int from, int to)
{
    add_from = from;
    add_to = to;
    assert_true(store_killed_after(f, add_rows));
}

static void check_rows(struct store_fixture *f, size_t count)
{
    struct store_samples samples = store_read(f, "a", 1, FOREVER);
    assert_int_equal(samples.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(samples.time_ms[i], T0 + (int64_t)i * 1000);
        assert_true(samples.value[i] == (double)i);
    }
    store_samples_free(&samples);
}

static void begin(struct store_fixture *f)
{
    store_setup(f);
    store_close(f);
}

static void append_bytes(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* Samples of series in several targets, also histograms, and of one that moves from one target to another. */
static void add_moving(struct store_fixture *f)
{
    struct storage_group *other = storage_group_open(f->storage, 43), *first = f->group;
    series_ref moving = store_series(f, "moving", 1);
    for (int i = 0; i < 10; i++)
        STORE_REQUIRE(store_add(f, moving, T0 + i * 1000, i * 10) == SAMPLE_STORED);
    seal_cut_all(f->storage); /* The next target may have it. */
    store_tick(f, 100);
    f->group = other;
    for (int i = 10; i < 20; i++)
        STORE_REQUIRE(store_add(f, moving, T0 + i * 1000, i * 10) == SAMPLE_STORED);
    f->group = first;
    series_ref stays = store_series(f, "stays", 1);
    for (int i = 0; i < 20; i++)
        STORE_REQUIRE(store_add(f, stays, T0 + i * 1000, i * 3) == SAMPLE_STORED);
    store_tick(f, 100);
    series_ref late = store_series(f, "late", 1);
    STORE_REQUIRE(store_add(f, late, T0 + 5000, 1) == SAMPLE_STORED);
    STORE_REQUIRE(store_add(f, late, T0 + 3000, 1) == SAMPLE_LATE);
    store_tick(f, 6 * 60 * 1000); /* In the next segment. */
}

static void check_late(struct store_fixture *f)
{
    struct store_samples samples = store_read(f, "late", 1, FOREVER);
    assert_int_equal(samples.count, 2);
    store_samples_free(&samples);
}

static void do_nothing(struct store_fixture *f)
{
    (void)f;
}

static void check_steps(struct store_fixture *f, const char *name, double step)
{
    struct store_samples samples = store_read(f, name, 1, FOREVER);
    assert_int_equal(samples.count, 20);
    for (size_t i = 0; i < samples.count; i++) {
        assert_int_equal(samples.time_ms[i], T0 + (int64_t)i * 1000);
        assert_true(samples.value[i] == (double)i * step);
    }
    store_samples_free(&samples);
}

/* Sealed slots come back when head.mdb is lost, so a series may be in two targets' slots, at that start and, as nothing is
 * sealed yet, at the next one too: threads may not meet on it. */
static void test_log_replay__of_a_series_in_two_targets(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512];
    begin(&f);
    f.options.out_of_order_ms = HOUR;
    assert_true(store_killed_after(&f, add_moving));
    store_open(&f);
    check_steps(&f, "moving", 10);
    check_steps(&f, "stays", 3);
    store_close(&f);
    snprintf(path, sizeof(path), "%s/narthex/head.mdb", f.dir);
    assert_int_equal(unlink(path), 0);
    for (int start = 0; start < 2; start++) {
        assert_true(store_killed_after(&f, do_nothing));
        store_open(&f);
        check_steps(&f, "moving", 10);
        check_steps(&f, "stays", 3);
        check_late(&f);
        struct storage_stats stats;
        storage_get_stats(f.storage, &stats);
        assert_int_equal(stats.log_corruptions, 0);
        store_close(&f);
    }
    store_teardown(&f);
}

#define MANY_TARGETS 40
#define MANY_SERIES  30
#define MANY_ROWS    50

static double many_value(int target, int series, int row)
{
    return series % 3 == 0 ? target : series % 3 == 1 ? row * series : row / 7.0 + series;
}

static void add_many(struct store_fixture *f)
{
    struct storage_group *first = f->group;
    series_ref refs[MANY_TARGETS][MANY_SERIES];
    for (int row = 0; row < MANY_ROWS; row++) {
        for (int target = 0; target < MANY_TARGETS; target++) {
            f->group = storage_group_open(f->storage, 100 + (uint64_t)target);
            for (int i = 0; i < MANY_SERIES; i++) {
                if (row == 0)
                    refs[target][i] = store_series(f, "many", target * MANY_SERIES + i);
                STORE_REQUIRE(store_add(f, refs[target][i], T0 + row * 1000,
                                        many_value(target, i, row)) == SAMPLE_STORED);
            }
            if (row < MANY_ROWS - 1)
                storage_group_close(f->group);
        }
        store_tick(f, 100);
    }
    f->group = first;
}

/* Targets are replayed by several threads: each has its own samples, and what is counted over the store is right. */
static void test_log_replay__takes_targets_on_several_threads(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    begin(&f);
    assert_true(store_killed_after(&f, add_many));
    store_open(&f);
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.series, MANY_TARGETS * MANY_SERIES);
    assert_int_equal(stats.chunks, MANY_TARGETS * MANY_SERIES);
    assert_int_equal(stats.replay_samples, MANY_TARGETS * MANY_SERIES * MANY_ROWS);
    assert_int_equal(stats.log_corruptions, 0);
    assert_int_equal(stats.time_min_ms, T0);
    assert_int_equal(stats.time_max_ms, T0 + (MANY_ROWS - 1) * 1000);
    for (int target = 0; target < MANY_TARGETS; target++) {
        for (int i = 0; i < MANY_SERIES; i += 7) {
            struct store_samples samples =
                store_read(&f, "many", target * MANY_SERIES + i, FOREVER);
            assert_int_equal(samples.count, MANY_ROWS);
            for (int row = 0; row < MANY_ROWS; row++)
                assert_true(samples.value[row] == many_value(target, i, row));
            store_samples_free(&samples);
        }
    }
    store_teardown(&f);
}

/* The wall clock goes back an hour, or on by a day: what was stored stays, and a start finds it all. */
static void test_log_replay__when_the_clock_jumped(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f);
    store_open(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(store_add(&f, ref, T0 + i * 1000, i), SAMPLE_STORED);
    for (int i = 0; i < 10; i++) /* Told as Prometheus does; nothing is overwritten. */
        assert_int_equal(store_add(&f, ref, T0 - HOUR / 2 + i * 1000, -1), SAMPLE_OUT_OF_ORDER);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_add(&f, ref, T0 + 24 * HOUR + i * 1000, i), SAMPLE_STORED);
    store_tick(&f, 2 * f.options.slot_ms);
    for (int start = 0; start < 2; start++) {
        struct store_samples samples = store_read(&f, "a", 1, FOREVER);
        assert_int_equal(samples.count, 110);
        assert_int_equal(samples.time_ms[0], T0);
        assert_int_equal(samples.time_ms[109], T0 + 24 * HOUR + 9000);
        store_samples_free(&samples);
        store_close(&f);
        store_open(&f);
    }
    store_teardown(&f);
}

/* A kill in the middle of a write, a start, another kill: what the second life wrote must outlive
 * the third start. */
static void test_log_replay__keeps_what_follows_a_cut_tail(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512];
    begin(&f);
    add_rows_killed(&f, 0, 10);
    assert_true(store_last_file(&f, "log", "", path));
    append_bytes(path, "\x30\0\0\0torn", 8);
    add_rows_killed(&f, 10, 20);
    add_rows_killed(&f, 20, 30);
    store_open(&f);
    check_rows(&f, 30);
    store_teardown(&f);
}

/* A log of a newer program must be left as it is: cutting it would destroy what the newer program
 * can still read. */
static void test_log_replay__refuses_another_version(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct err err = {0};
    struct stat before, after;
    char path[512];
    begin(&f);
    add_rows_killed(&f, 0, 10);
    assert_true(store_last_file(&f, "log", "", path));
    store_poke(path, 4, "\x02\0\0\0", 4);
    assert_int_equal(stat(path, &before), 0);
    assert_false(store_try_open(&f, &err));
    assert_non_null(strstr(err.text, "format version 2"));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    store_poke(path, 4, "\x01\0\0\0", 4);
    store_open(&f);
    check_rows(&f, 10);
    store_teardown(&f);
}

/* A segment whose head is damaged is kept for a person to look at, not cut to nothing. */
static void test_log_replay__keeps_a_segment_with_a_bad_head(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct stat before, after;
    char path[512];
    begin(&f);
    add_rows_killed(&f, 0, 10);
    assert_true(store_last_file(&f, "log", "", path));
    store_poke(path, 0, "X", 1);
    assert_int_equal(stat(path, &before), 0);
    add_rows_killed(&f, 10, 20);
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 10);
    store_samples_free(&samples);
    /* Where it was, or set aside as <name>.damaged-<ms>. */
    bool kept = stat(path, &after) == 0 && after.st_size == before.st_size;
    glob_t found;
    char pattern[600];
    snprintf(pattern, sizeof(pattern), "%s.damaged-*", path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        kept = kept || (stat(found.gl_pathv[0], &after) == 0 && after.st_size == before.st_size);
        globfree(&found);
    }
    assert_true(kept);
    store_teardown(&f);
}

/* Names that only look like ours, folders and far numbers must neither stop the start nor make it
 * count to them. */
static void test_log_replay__leaves_foreign_files_alone(void **state)
{
    (void)state;
    static const char *const names[] = {
        "5", "0000001", "README", "99999999999999", "18446744073709551615", "00000002.bak"};
    struct store_fixture f = {0};
    struct storage_stats stats;
    char path[512];
    begin(&f);
    add_rows_killed(&f, 0, 10);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/narthex/log/%s", f.dir, names[i]);
        append_bytes(path, "foreign", 7);
    }
    snprintf(path, sizeof(path), "%s/narthex/log/00000777", f.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    add_rows_killed(&f, 10, 20);
    store_open(&f);
    check_rows(&f, 20);
    storage_get_stats(f.storage, &stats);
    assert_in_range(stats.log_segments, 1, 10);
    store_tick(&f, 2 * HOUR);
    check_rows(&f, 20);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/narthex/log/%s", f.dir, names[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    store_teardown(&f);
}

static size_t record_write(struct buf *out, const struct buf *payload)
{
    write_u32(out, (uint32_t)payload->len);
    write_u32(out, hash_crc32c(0, buf_str(payload)));
    buf_add(out, payload->ptr, payload->len);
    return out->len;
}

/* A record with a good checksum and wild numbers must not use up the numbers of ids or slots. */
static void test_log_replay__survives_wild_ids_and_slots(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct buf payload, bytes;
    char path[512];
    for (int kind = 0; kind < 3; kind++) {
        begin(&f);
        add_rows_killed(&f, 0, 10);
        assert_true(store_last_file(&f, "log", "", path));
        buf_init(&payload, 1000);
        buf_init(&bytes, 1000);
        write_u8(&payload, kind == 0 ? LOG_SERIES : LOG_ROWS);
        if (kind == 0) {
            write_varint(&payload, UINT64_MAX);
            write_u64(&payload, 42);
            write_varint(&payload, 1);
            write_varint_str(&payload, STR("__name__"));
            write_varint_str(&payload, STR("wild"));
        } else {
            write_u64(&payload, 4711);
            write_varint(&payload, kind == 1 ? UINT64_MAX : UINT64_MAX - 1);
            write_varint(&payload, 0);
            write_u8(&payload, LOG_ROW);
            write_varint(&payload, 0);
            write_zigzag(&payload, T0);
            write_u8(&payload, LOG_JOIN);
            write_zigzag(&payload, 1);
            write_u8(&payload, STREAM_STEP_FIRST);
        }
        record_write(&bytes, &payload);
        append_bytes(path, bytes.ptr, bytes.len);
        buf_deinit(&payload);
        buf_deinit(&bytes);
        add_rows_killed(&f, 10, 20);
        add_rows_killed(&f, 20, 21);
        store_open(&f);
        assert_int_equal(store_add(&f, store_series(&f, "b", kind), T0 + HOUR, 1), SAMPLE_STORED);
        store_tick(&f, 100);
        store_tick(&f, 2 * HOUR);
        check_rows(&f, 21);
        store_close(&f);
        store_open(&f);
        check_rows(&f, 21);
        struct store_samples samples = store_read(&f, "b", kind, FOREVER);
        assert_int_equal(samples.count, 1);
        store_samples_free(&samples);
        store_teardown(&f);
    }
}

/* A hole in an older segment costs what was in it, and never gives a sample a wrong value. */
static void test_log_replay__shows_nothing_wrong_after_a_hole(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct stat info;
    char first[512];
    for (off_t at = 20; at < 600; at += 29) {
        begin(&f);
        f.options.slot_ms = 4 * HOUR; /* The slot is open all the while. */
        store_open(&f);
        add_from = 0;
        add_to = 50;
        add_rows(&f);
        assert_true(store_last_file(&f, "log", "", first));
        store_tick(&f, 6 * 60 * 1000);
        add_from = 50;
        add_to = 110;
        add_rows(&f);
        store_tick(&f, 12 * 60 * 1000);
        store_close(&f);
        assert_int_equal(stat(first, &info), 0);
        store_poke(first, at % info.st_size, "\x55", 1);
        store_open(&f);
        struct store_samples samples = store_read(&f, "a", 1, FOREVER);
        for (size_t i = 0; i < samples.count; i++) {
            assert_true(i == 0 || samples.time_ms[i] > samples.time_ms[i - 1]);
            assert_int_equal(samples.time_ms[i], T0 + (int64_t)samples.value[i] * 1000);
        }
        store_samples_free(&samples);
        store_teardown(&f);
    }
}

static void add_slots(struct store_fixture *f)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/narthex/20231114T00Z-20231115T00Z.open.mdb", f->dir);
    STORE_REQUIRE(mkdir(path, 0755) == 0); /* No slot can be sealed. */
    series_ref ref = store_series(f, "a", 1);
    for (int i = 0; i < 1000; i++) {
        STORE_REQUIRE(store_add(f, ref, T0 + i * 1000, i) == SAMPLE_STORED);
        if (i % 150 == 149)
            store_tick(f, (i / 150 + 1) * 2 * HOUR);
    }
    store_tick(f, 15 * HOUR);
    STORE_REQUIRE(rmdir(path) == 0);
}

/* Slots that were cut but not sealed at the kill come back slot by slot, are sealed, and are read
 * once. */
static void test_log_replay__takes_several_slots_of_a_group(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    begin(&f);
    assert_true(store_killed_after(&f, add_slots));
    store_open(&f);
    check_rows(&f, 1000);
    store_tick(&f, 2 * HOUR);
    store_tick(&f, 3 * HOUR); /* One slot of a group at a time. */
    storage_get_stats(f.storage, &stats);
    assert_true(stats.slots_sealed >= 6);
    assert_int_equal(stats.chunks, 0);
    check_rows(&f, 1000);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_replay__of_a_series_in_two_targets),
        cmocka_unit_test(test_log_replay__takes_targets_on_several_threads),
        cmocka_unit_test(test_log_replay__when_the_clock_jumped),
        cmocka_unit_test(test_log_replay__keeps_what_follows_a_cut_tail),
        cmocka_unit_test(test_log_replay__refuses_another_version),
        cmocka_unit_test(test_log_replay__keeps_a_segment_with_a_bad_head),
        cmocka_unit_test(test_log_replay__leaves_foreign_files_alone),
        cmocka_unit_test(test_log_replay__survives_wild_ids_and_slots),
        cmocka_unit_test(test_log_replay__shows_nothing_wrong_after_a_hole),
        cmocka_unit_test(test_log_replay__takes_several_slots_of_a_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
