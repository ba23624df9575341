/* storage: append, select, seal, restart, retention and damage, in one process with a lane that the test drives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "file.h"
#include "store_fixture.h"

#define T0 INT64_C(1700000000000)
#define HOUR (INT64_C(60) * 60 * 1000)
#define DAY (24 * HOUR)
#define FOREVER INT64_MIN, INT64_MAX

static void check_count(struct store_fixture *f, const char *name, int number, size_t count)
{
    struct store_samples samples = store_read(f, name, number, FOREVER);
    assert_int_equal(samples.count, count);
    store_samples_free(&samples);
}

/* A sample that was taken is seen by the next select, with its exact value. */
static void test_append__is_selected(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(store_add(&f, a, T0 + i * 15000, i), SAMPLE_STORED);
        assert_int_equal(store_add(&f, b, T0 + i * 15000, -i * 0.5), SAMPLE_STORED);
    }
    struct store_samples samples = store_read(&f, "b", 1, T0 + 15000, T0 + 499 * 15000 - 1);
    assert_int_equal(samples.series, 1);
    assert_int_equal(samples.count, 498);
    for (size_t i = 0; i < samples.count; i++) {
        assert_int_equal(samples.time_ms[i], T0 + (int64_t)(i + 1) * 15000);
        assert_true(samples.value[i] == -(double)(i + 1) * 0.5);
    }
    store_samples_free(&samples);
    store_teardown(&f);
}

/* Prometheus' rules for samples that do not go on: they are what clients see as errors. */
static void test_append__judges_old_and_equal_samples(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    assert_int_equal(store_add(&f, a, 1000, 1), SAMPLE_STORED); /* 1970 is fine in an empty store. */
    assert_int_equal(store_add(&f, a, T0, 2), SAMPLE_STORED);
    assert_int_equal(store_add(&f, a, T0, 2), SAMPLE_SAME);
    assert_int_equal(store_add(&f, a, T0, 3), SAMPLE_DUPLICATE);
    assert_int_equal(store_add(&f, a, T0 - 1, 3), SAMPLE_OUT_OF_ORDER);
    assert_int_equal(store_add(&f, b, T0 - HOUR, 1), SAMPLE_STORED);
    assert_int_equal(store_add(&f, b, T0 - HOUR - 1, 1), SAMPLE_OUT_OF_BOUNDS);
    check_count(&f, "a", 1, 2);
    store_teardown(&f);
}

/* One bad sample of a remote write and nothing of it is stored; the text is the one that Prometheus answers. */
static void test_append__all_or_nothing_stores_nothing(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    struct append_options options = {.all_or_nothing = true, .now_ms = T0};
    struct append_result result;
    struct err err = {0};
    store_setup(&f);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    batch_add(&batch, a, T0, 1);
    batch_add(&batch, b, T0, 1);
    batch_add(&batch, b, T0 - 5, 1);
    assert_false(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_string_equal(err.text, "out of order sample");
    assert_int_equal(result.bad_index, 2);
    check_count(&f, "a", 1, 0);
    batch.samples.items[2].time_ms = T0;
    batch.samples.items[2].value = 7.5;
    assert_false(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_string_equal(err.text,
                        "duplicate sample for timestamp 1700000000000; overrides not allowed: existing 1, new value 7.5");
    batch.samples.items[2].time_ms = T0 + 10 * 60 * 1000 + 1;
    assert_false(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_string_equal(err.text, "out of bounds: timestamp is too far in the future");
    batch.samples.items[2].time_ms = T0 + 1;
    assert_true(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    check_count(&f, "b", 1, 2);
    batch_deinit(&batch);
    store_teardown(&f);
}

/* Rows [row, row_end) of a pattern that check_fill knows. */
static void fill(struct store_fixture *f, int series_count, int row, int row_end, int64_t from_ms)
{
    for (; row < row_end; row++) {
        struct batch batch = {0};
        struct append_options options = {.now_ms = INT64_MAX};
        struct append_result result;
        struct err err = {0};
        for (int i = 0; i < series_count; i++) {
            series_ref ref = store_series(f, "fill", i);
            batch_add(&batch, ref, from_ms + row * 15000, i * 1000 + row * 0.25);
            storage_series_release(f->storage, ref);
        }
        assert_true(storage_append(f->storage, f->group, &batch, &options, &result, &err));
        assert_int_equal(result.outcome_count[SAMPLE_STORED], series_count);
        batch_deinit(&batch);
    }
}

static void check_fill(struct store_fixture *f, int series_count, int rows, int64_t from_ms)
{
    for (int i = 0; i < series_count; i++) {
        struct store_samples samples = store_read(f, "fill", i, FOREVER);
        assert_int_equal(samples.count, rows);
        for (int row = 0; row < rows; row++) {
            assert_int_equal(samples.time_ms[row], from_ms + row * 15000);
            if (samples.value[row] != i * 1000 + row * 0.25)
                fail_msg("series %d row %d: %g", i, row, samples.value[row]);
        }
        store_samples_free(&samples);
    }
}

/* What the lane has written is there after a kill (nothing is closed) and after a clean end, once and in order. */
static void test_restart__replays_the_log(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    fill(&f, 30, 0, 300, T0);
    store_tick(&f, 1000);
    store_close(&f);
    store_open(&f);
    check_fill(&f, 30, 300, T0);
    fill(&f, 30, 300, 350, T0); /* Goes on in the replayed chunks. */
    store_tick(&f, 1000);
    store_close(&f);
    store_open(&f);
    check_count(&f, "fill", 29, 350);
    store_teardown(&f);
}

/* Sealed slots leave the head and the log, and are read back from the partition files, also across the partition's edge. */
static void test_seal__moves_samples_to_partitions(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    int64_t from_ms = (T0 / DAY + 1) * DAY - 100 * 15000; /* 100 rows before midnight */
    store_setup(&f);
    fill(&f, 300, 0, 200, from_ms);
    store_tick(&f, 1000);
    store_tick(&f, 2 * HOUR);
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.slots_sealed, 1);
    assert_int_equal(stats.chunks, 0);
    assert_int_equal(stats.partitions, 2);
    check_fill(&f, 300, 200, from_ms);
    fill(&f, 300, 200, 220, from_ms);
    check_fill(&f, 300, 220, from_ms);
    store_tick(&f, 1000);
    store_close(&f);
    store_open(&f);
    check_fill(&f, 300, 220, from_ms);
    store_tick(&f, 4 * HOUR);
    check_fill(&f, 300, 220, from_ms);
    store_teardown(&f);
}

/* A selection shows the moment it was made, also when the slot under it is sealed and the head's chunks are dropped. */
static void test_select__is_stable_while_slots_are_sealed(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    size_t count = 0;
    store_setup(&f);
    fill(&f, 3, 0, 250, T0);
    assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selection, &err));
    store_tick(&f, 2 * HOUR);
    fill(&f, 3, 250, 260, T0);
    assert_int_equal(selection_count(selection), 3);
    struct cursor *cursor = cursor_new(selection);
    cursor_seek(cursor, 2);
    do {
        assert_true(cursor_next(cursor, &block, &err));
        count += block.count;
    } while (block.count);
    assert_int_equal(count, 250);
    cursor_free(cursor);
    selection_free(selection);
    store_teardown(&f);
}

/* Retention counts back from the newest sample and drops whole partition files; their series leave the index. */
static void test_retention__drops_partitions(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    struct arena arena;
    struct str *names;
    size_t count;
    bool cut;
    struct err err = {0};
    store_setup(&f);
    series_ref old = store_series(&f, "old", 1);
    store_add(&f, old, T0, 1);
    store_tick(&f, 2 * HOUR);
    storage_series_release(f.storage, old);
    series_ref fresh = store_series(&f, "fresh", 1);
    for (int hour = 24; hour <= 20 * 24; hour++)
        store_add(&f, fresh, T0 + hour * HOUR, hour);
    store_tick(&f, 4 * HOUR);
    storage_set_retention(f.storage, 10 * DAY, 0);
    store_tick(&f, 6 * HOUR);
    storage_get_stats(f.storage, &stats);
    assert_in_range(stats.partitions, 10, 12);
    check_count(&f, "old", 1, 0);
    struct store_samples samples = store_read(&f, "fresh", 1, FOREVER);
    assert_in_range(samples.count, 10 * 24, 11 * 24);
    size_t left = samples.count;
    assert_int_equal(samples.time_ms[samples.count - 1], T0 + 20 * DAY);
    store_samples_free(&samples);
    arena_init(&arena, 0);
    assert_true(storage_label_values(f.storage, LABEL_NAME, NULL, 0, FOREVER, 0, &arena, &names, &count, &cut, &err));
    assert_int_equal(count, 1);
    assert_true(str_eq(names[0], STR("fresh")));
    arena_deinit(&arena);
    store_close(&f);
    store_open(&f);
    check_count(&f, "fresh", 1, left);
    store_teardown(&f);
}

static void last_segment(const struct store_fixture *f, char out[512])
{
    char dir_path[256];
    char best[256] = "";
    snprintf(dir_path, sizeof(dir_path), "%s/narthex/log", f->dir);
    DIR *dir = opendir(dir_path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, best) > 0)
            snprintf(best, sizeof(best), "%s", entry->d_name);
    }
    closedir(dir);
    snprintf(out, 512, "%s/%s", dir_path, best);
}

/* A power cut leaves a torn tail: whatever its length, the store opens and has every whole record before it. */
static void test_replay__cuts_a_torn_tail(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512], command[2048];
    struct stat info;
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 40; i++) {
        store_add(&f, ref, T0 + i * 1000, i);
        store_tick(&f, 100);
    }
    store_close(&f);
    last_segment(&f, path);
    assert_int_equal(stat(path, &info), 0);
    snprintf(command, sizeof(command), "cp %s %s.copy && mv %s.copy %s/saved", path, path, path, f.dir);
    assert_int_equal(system(command), 0);
    for (off_t cut = 1; cut < 200; cut += 7) {
        snprintf(command, sizeof(command), "rm -f %s/narthex/log/* && cp %s/saved %s", f.dir, f.dir, path);
        assert_int_equal(system(command), 0);
        assert_int_equal(truncate(path, info.st_size - cut), 0);
        store_open(&f);
        struct store_samples samples = store_read(&f, "a", 1, FOREVER);
        assert_in_range(samples.count, 25, 39);
        for (size_t i = 0; i < samples.count; i++)
            assert_true(samples.value[i] == (double)i);
        /* And goes on from there. */
        assert_int_equal(store_add(&f, store_series(&f, "a", 1), T0 + HOUR, 5), SAMPLE_STORED);
        store_samples_free(&samples);
        store_close(&f);
    }
    store_teardown(&f);
}

/* A flipped bit anywhere in the log must not crash, nor show a value that was never written. */
static void test_replay__survives_flipped_bytes(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512], command[2048];
    struct stat info;
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 60; i++) {
        store_add(&f, ref, T0 + i * 1000, i);
        store_tick(&f, 100);
    }
    store_close(&f);
    last_segment(&f, path);
    assert_int_equal(stat(path, &info), 0);
    snprintf(command, sizeof(command), "cp %s %s/saved", path, f.dir);
    assert_int_equal(system(command), 0);
    for (off_t at = 0; at < info.st_size; at += 11) {
        struct err err = {0};
        snprintf(command, sizeof(command), "rm -rf %s/narthex/* && mkdir %s/narthex/log && cp %s/saved %s", f.dir, f.dir,
                 f.dir, path);
        assert_int_equal(system(command), 0);
        int fd = open(path, O_RDWR);
        char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (char)(byte ^ 0x10);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        if (!store_try_open(&f, &err))
            fail_msg("byte %ld: %s", (long)at, err.text);
        struct store_samples samples = store_read(&f, "a", 1, FOREVER);
        for (size_t i = 0; i < samples.count; i++)
            assert_int_equal(samples.time_ms[i], T0 + (int64_t)samples.value[i] * 1000);
        store_samples_free(&samples);
        store_close(&f);
    }
    store_teardown(&f);
}

/* A second process (here: a second open) on one directory would destroy it. */
static void test_open__refuses_a_locked_directory(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage *second;
    struct err err = {0};
    store_setup(&f);
    assert_false(storage_open(&second, &f.options, &err));
    assert_non_null(strstr(err.text, "another process uses this data directory"));
    store_teardown(&f);
}

static int fail_writes;
static int fault_no_space(enum file_op op, const char *path, size_t *len)
{
    (void)path;
    if (!fail_writes || (op != FILE_WRITE && op != FILE_OPEN))
        return 0;
    if (op == FILE_WRITE)
        *len = *len / 2; /* A torn write, then the error. */
    return ENOSPC;
}

static struct err commit_err;
static int commit_calls;
static void on_commit(void *ctx, const struct err *err)
{
    (void)ctx;
    commit_err = *err;
    commit_calls++;
}

/* A full disk: the waiter is told, new samples are refused, old ones stay, and all goes on when there is room again. */
static void test_log__recovers_from_a_full_disk(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct storage_stats stats;
    struct err err = {0};
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    store_add(&f, ref, T0, 1);
    store_tick(&f, 100);
    file_faults = fault_no_space;
    fail_writes = 1;
    store_add(&f, ref, T0 + 1000, 2);
    storage_commit(f.storage, on_commit, NULL);
    lane_now_run(&f.lane);
    assert_int_equal(commit_calls, 1);
    assert_int_equal(commit_err.code, ERR_NO_SPACE);
    batch_add(&batch, ref, T0 + 2000, 3);
    assert_false(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_int_equal(err.code, ERR_NO_SPACE);
    storage_get_stats(f.storage, &stats);
    assert_true(stats.degraded);
    fail_writes = 0;
    store_tick(&f, 5000);
    storage_get_stats(f.storage, &stats);
    assert_false(stats.degraded);
    assert_true(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    storage_commit(f.storage, on_commit, NULL);
    lane_now_run(&f.lane);
    assert_int_equal(commit_err.code, ERR_NONE);
    file_faults = NULL;
    batch_deinit(&batch);
    store_close(&f);
    store_open(&f);
    check_count(&f, "a", 1, 3);
    store_teardown(&f);
}

/* Matchers of all kinds, on present and absent labels, as PromQL defines them. */
static void test_select__matches_as_promql_does(void **state)
{
    (void)state;
    static const struct {
        enum matcher_type type;
        const char *name, *value;
        size_t count;
    } cases[] = {
        {MATCH_EQUAL, "i", "7", 1},          {MATCH_NOT_EQUAL, "i", "7", 19},   {MATCH_REGEX, "i", "1|2|3", 3},
        {MATCH_REGEX, "i", "1.", 10},        {MATCH_NOT_REGEX, "i", "1.*", 9},  {MATCH_EQUAL, "absent", "", 20},
        {MATCH_NOT_EQUAL, "absent", "", 0},  {MATCH_REGEX, "absent", ".*", 20}, {MATCH_REGEX, "absent", ".+", 0},
        {MATCH_EQUAL, "i", "none", 0},       {MATCH_REGEX, "i", "", 0},         {MATCH_NOT_REGEX, "absent", "x", 20},
        {MATCH_NOT_EQUAL, "i", "", 20},
    };
    struct store_fixture f = {0};
    store_setup(&f);
    fill(&f, 20, 0, 1, T0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct matcher matchers[2];
        struct selection *selection;
        struct err err = {0};
        assert_true(matcher_init(&matchers[0], MATCH_EQUAL, LABEL_NAME, STR("fill"), &err));
        assert_true(matcher_init(&matchers[1], cases[i].type, str_of(cases[i].name), str_of(cases[i].value), &err));
        for (size_t from = 0; from < 2; from++) { /* With the name and without. */
            assert_true(storage_select(f.storage, matchers + from, 2 - from, FOREVER, &selection, &err));
            if (selection_count(selection) != cases[i].count)
                fail_msg("case %zu: %zu series instead of %zu", i, selection_count(selection), cases[i].count);
            selection_free(selection);
        }
        matcher_deinit(&matchers[0]);
        matcher_deinit(&matchers[1]);
    }
    store_teardown(&f);
}

/* The limit is on live series: old ones go on, new ones are refused with words, and room comes back when series end. */
static void test_series__limit_refuses_new_ones(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct err err = {0};
    struct storage_stats stats;
    struct label labels[1] = {{LABEL_NAME, STR("third")}};
    store_setup(&f);
    store_close(&f);
    f.options.series_max = 2;
    store_open(&f);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    store_add(&f, a, T0, 1);
    assert_int_equal(storage_series(f.storage, f.group, labels, 1, labels_hash(labels, 1), &err), SERIES_REF_NONE);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(store_add(&f, a, T0 + 1, 1), SAMPLE_STORED);
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.series, 2);
    storage_series_release(f.storage, b);
    err_clear(&err);
    assert_int_not_equal(storage_series(f.storage, f.group, labels, 1, labels_hash(labels, 1), &err), SERIES_REF_NONE);
    storage_series_release(f.storage, a);
    store_tick(&f, 2 * HOUR);
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.series, 1); /* `a` is sealed and nobody holds it. */
    check_count(&f, "a", 1, 2);
    store_teardown(&f);
}

/* A damaged partition is set aside and the rest serves. */
static void test_open__sets_a_truncated_partition_aside(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char command[2048];
    store_setup(&f);
    fill(&f, 10, 0, 10, T0);
    store_tick(&f, 2 * HOUR);
    fill(&f, 10, 0, 10, T0 + 2 * DAY);
    store_tick(&f, 4 * HOUR);
    store_close(&f);
    snprintf(command, sizeof(command), "for f in $(ls %s/narthex/*.open.mdb | head -1); do truncate -s 5000 $f; done", f.dir);
    assert_int_equal(system(command), 0);
    store_open(&f);
    check_count(&f, "fill", 3, 10);
    snprintf(command, sizeof(command), "ls %s/narthex/*damaged* >/dev/null", f.dir);
    assert_int_equal(system(command), 0);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append__is_selected),
        cmocka_unit_test(test_append__judges_old_and_equal_samples),
        cmocka_unit_test(test_append__all_or_nothing_stores_nothing),
        cmocka_unit_test(test_restart__replays_the_log),
        cmocka_unit_test(test_seal__moves_samples_to_partitions),
        cmocka_unit_test(test_select__is_stable_while_slots_are_sealed),
        cmocka_unit_test(test_retention__drops_partitions),
        cmocka_unit_test(test_replay__cuts_a_torn_tail),
        cmocka_unit_test(test_replay__survives_flipped_bytes),
        cmocka_unit_test(test_open__refuses_a_locked_directory),
        cmocka_unit_test(test_log__recovers_from_a_full_disk),
        cmocka_unit_test(test_select__matches_as_promql_does),
        cmocka_unit_test(test_series__limit_refuses_new_ones),
        cmocka_unit_test(test_open__sets_a_truncated_partition_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
