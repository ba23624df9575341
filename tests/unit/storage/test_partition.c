/* partition: what open makes of files that are damaged, copied or away for a while, and what
 * retention may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "store.h"
#include "store_fixture.h"

#define T0      INT64_C(1700000000000) /* 2023-11-14 */
#define HOUR    (INT64_C(60) * 60 * 1000)
#define DAY     (24 * HOUR)
#define FOREVER INT64_MIN, INT64_MAX

static void check_count(struct store_fixture *f, const char *name, int number, size_t count)
{
    struct store_samples samples = store_read(f, name, number, FOREVER);
    if (samples.count != count || samples.series > 1)
        fail_msg("%s %d: %zu samples in %zu series instead of %zu", name, number, samples.count,
                 samples.series, count);
    store_samples_free(&samples);
}

/* Two days, each with a slot of ten series. */
static void fill_two_days(struct store_fixture *f)
{
    for (int day = 0; day < 2; day++) {
        for (int i = 0; i < 10; i++) {
            series_ref ref = store_series(f, "a", i);
            for (int row = 0; row < 50; row++)
                assert_int_equal(store_add(f, ref, T0 + day * DAY + row * 1000, row * 0.3 + i),
                                 SAMPLE_STORED);
            storage_series_release(f->storage, ref);
        }
        store_tick(f, (day + 1) * 2 * HOUR);
    }
}

static char *read_file(const char *path, size_t *len)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    *len = (size_t)info.st_size;
    char *bytes = mem_alloc(*len);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* One flipped bit in a bundle's times must not make the store believe in a far future: it would
 * refuse all that comes, and retention would take all that is there. */
static void test_load__does_not_believe_wild_times(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    char path[512];
    size_t len;
    store_setup(&f);
    fill_two_days(&f);
    store_close(&f);
    assert_true(store_last_file(&f, "", ".open.mdb", path));
    char *bytes = read_file(path, &len);
    char *bundle = memmem(bytes, len, "NXB2", 4);
    assert_non_null(bundle);
    for (int bit = 24; bit < 63; bit += 3) {
        uint64_t time_max;
        memcpy(&time_max, bundle + 32, 8);
        uint64_t wild = time_max ^ UINT64_C(1) << bit;
        memcpy(bundle + 32, &wild, 8);
        write_file(path, bytes, len);
        memcpy(bundle + 32, &time_max, 8);
        store_open(&f);
        storage_set_retention(f.storage, 10 * DAY, 0);
        store_tick(&f, 2 * HOUR);
        storage_get_stats(f.storage, &stats);
        assert_int_equal(stats.partitions, 2);
        assert_true(stats.time_max_ms < T0 + 2 * DAY);
        assert_int_equal(store_add(&f, store_series(&f, "b", 1), T0 + DAY + HOUR + bit, 1),
                         SAMPLE_STORED);
        store_close(&f);
    }
    mem_free(bytes);
    store_teardown(&f);
}

/* Any flipped bit in bundles: an error or the right values. */
static void test_cursor_next__shows_no_wrong_value_of_a_damaged_bundle(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512];
    size_t len;
    store_setup(&f);
    fill_two_days(&f);
    store_close(&f);
    assert_true(store_last_file(&f, "", ".open.mdb", path));
    char *bytes = read_file(path, &len);
    char *bundle = memmem(bytes, len, "NXB2", 4);
    assert_non_null(bundle);
    size_t errors = 0;
    for (size_t at = 0; at < 1500; at += 37) {
        struct selection *selection;
        struct sample_block block;
        struct err err = {0};
        bundle[at] = (char)(bundle[at] ^ 4);
        write_file(path, bytes, len);
        bundle[at] = (char)(bundle[at] ^ 4);
        store_open(&f);
        assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selection, &err));
        struct cursor *cursor = cursor_new(selection);
        for (size_t i = 0; i < selection_count(selection); i++) {
            int number = -1;
            const struct labels *labels = selection_labels(selection, i);
            for (size_t k = 0; k < labels->count; k++) {
                if (str_eq(labels->items[k].name, STR("i")))
                    number = labels->items[k].value.ptr[0] - '0';
            }
            cursor_seek(cursor, i);
            do {
                if (!cursor_next(cursor, &block, &err)) {
                    assert_int_equal(err.code, ERR_CORRUPT);
                    assert_false(cursor_next(cursor, &block, &err)); /* It stays so. */
                    errors++;
                    break;
                }
                for (size_t k = 0; k < block.count; k++) {
                    int64_t row = (block.time_ms[k] - T0) % DAY / 1000;
                    assert_true(row >= 0 && row < 50 &&
                                block.value[k] == (double)row * 0.3 + number);
                }
            } while (block.count);
        }
        cursor_free(cursor);
        selection_free(selection);
        store_close(&f);
    }
    assert_true(errors > 0);
    mem_free(bytes);
    store_teardown(&f);
}

/* A file that was away (a disk, a backup) while its series were made anew: one entry shows both
 * parts. */
static void test_storage_select__joins_a_label_set_with_two_ids(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char command[1024], path[512];
    store_setup(&f);
    fill_two_days(&f);
    store_close(&f);
    assert_true(store_last_file(&f, "", ".open.mdb", path));
    snprintf(command, sizeof(command),
             "cd %s && mkdir away && mv narthex/*.open.mdb away/ && rm -f narthex/log/*", f.dir);
    assert_int_equal(system(command), 0);
    store_open(&f);
    check_count(&f, "a", 3, 0);
    for (int i = 9; i >= 0; i--)
        store_add(&f, store_series(&f, "a", i), T0 + 5 * DAY, i);
    store_tick(&f, 2 * HOUR);
    store_close(&f);
    snprintf(command, sizeof(command), "mv %s/away/*.open.mdb %s/narthex/", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    store_open(&f);
    for (int i = 0; i < 10; i++)
        check_count(&f, "a", i, 101);
    store_teardown(&f);
}

/* A file of another store: its ids mean other series here, so it may not be mixed in. */
static void test_load__refuses_a_file_of_another_store(void **state)
{
    (void)state;
    struct store_fixture f = {0}, other = {0};
    char command[1024];
    store_setup(&f);
    fill_two_days(&f);
    store_close(&f);
    store_setup(&other);
    store_add(&other, store_series(&other, "foreign", 1), T0 + 9 * DAY, 4711);
    store_tick(&other, 2 * HOUR);
    store_close(&other);
    snprintf(command, sizeof(command), "cp %s/narthex/*.open.mdb %s/narthex/", other.dir, f.dir);
    assert_int_equal(system(command), 0);
    store_open(&f);
    for (int i = 0; i < 10; i++)
        check_count(&f, "a", i, 100);
    store_teardown(&f);
    store_teardown(&other);
}

/* Files of no length, of rubbish, cut at any page, renamed, folders: set aside, and the rest
 * serves. */
static void test_open__survives_damaged_files(void **state)
{
    (void)state;
    static const char *const damage[] = {
        "truncate -s 0 FILE",
        "truncate -s 1 FILE",
        "truncate -s 4096 FILE",
        "truncate -s 8192 FILE",
        "truncate -s 12288 FILE",
        "echo rubbish > FILE",
        "head -c 9000 /dev/zero > FILE",
        "rm FILE && mkdir FILE",
        "mv FILE X.open.mdb",
        "truncate -s 0 head.mdb",
        "echo rubbish > head.mdb",
        "truncate -s 4096 head.mdb",
        "rm head.mdb",
        "truncate -s 20000 head.mdb && head -c 9000 /dev/zero > head.mdb",
    };
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        struct store_fixture f = {0};
        char path[512], command[2048];
        store_setup(&f);
        fill_two_days(&f);
        store_close(&f);
        assert_true(store_last_file(&f, "", ".open.mdb", path));
        snprintf(command, sizeof(command), "cd %s/narthex && FILE=%s && %s", f.dir,
                 strrchr(path, '/') + 1, damage[i]);
        for (char *at; (at = strstr(strstr(command, "&& FILE=") + 8, " FILE")) != NULL;) {
            memmove(at + 2, at + 1, strlen(at));
            at[1] = '$';
        }
        assert_int_equal(system(command), 0);
        store_open(&f);
        struct store_samples samples = store_read(&f, "a", 5, FOREVER);
        assert_true(samples.count == 50 || samples.count == 100);
        assert_true(strstr(damage[i], "FILE") ? samples.count == 50 : samples.count == 100);
        store_samples_free(&samples);
        assert_int_equal(store_add(&f, store_series(&f, "b", 1), T0 + 3 * DAY, 1), SAMPLE_STORED);
        store_tick(&f, 2 * HOUR);
        store_close(&f);
        store_open(&f);
        check_count(&f, "b", 1, 1);
        store_teardown(&f);
    }
}

/* Bytes of LMDB's own pages flipped one by one: the start sets the file aside, or reads end in an error or in right
 * values; never in a crash. */
static void test_open__survives_damaged_tree_pages(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    char path[512];
    size_t len, errors = 0;
    store_setup(&f);
    fill_two_days(&f);
    store_close(&f);
    assert_true(store_last_file(&f, "", ".open.mdb", path));
    char *bytes = read_file(path, &len);
    for (size_t at = 2 * 4096; at < len; at += at % 4096 < 160 ? 11 : 1021) {
        struct selection *selection;
        struct sample_block block;
        struct err err = {0};
        bytes[at] = (char)(bytes[at] ^ 0x41);
        write_file(path, bytes, len);
        bytes[at] = (char)(bytes[at] ^ 0x41);
        if (!store_try_open(&f, &err)) {
            errors++;
            continue;
        }
        if (storage_select(f.storage, NULL, 0, FOREVER, &selection, &err)) {
            struct cursor *cursor = cursor_new(selection);
            for (size_t i = 0; i < selection_count(selection); i++) {
                cursor_seek(cursor, i);
                while (cursor_next(cursor, &block, &err) && block.count > 0) {
                    for (size_t k = 0; k < block.count; k++)
                        assert_true((block.time_ms[k] - T0) % DAY / 1000 < 50);
                }
            }
            cursor_free(cursor);
            selection_free(selection);
        }
        errors += err.code != ERR_NONE;
        store_close(&f);
    }
    assert_true(errors > 0);
    mem_free(bytes);
    store_teardown(&f);
}

static void retire_under_a_waiting_slot(struct store_fixture *f)
{
    char path[256];
    series_ref a = store_series(f, "a", 1);
    store_add(f, a, T0, 1);
    store_tick(
        f, 2 * HOUR); /* Sealed: its labels are in the file of T0, the segment goes next time. */
    for (int i = 0; i < 4; i++) {
        store_add(f, store_series(f, "other", 1), T0 + i, 1);
        store_tick(f, (4 + i * 2) * HOUR);
    }
    snprintf(path, sizeof(path), "%s/narthex/20231204T00Z-20231205T00Z.open.mdb", f->dir);
    STORE_REQUIRE(mkdir(path, 0755) == 0);
    for (int hour = 30; hour > 0; hour--) /* Else retention would not trust the time. */
        store_add(f, store_series(f, "other", 1), T0 + 20 * DAY - hour * HOUR, 1);
    store_add(f, a, T0 + 20 * DAY, 2);
    store_tick(f, 14 * HOUR); /* The slot is cut and cannot be sealed. */
    storage_set_retention(f->storage, 5 * DAY, 0);
    store_tick(f, 14 * HOUR);
    store_tick(f, 14 * HOUR + 100);
    STORE_REQUIRE(rmdir(path) == 0);
}

/* Retention takes the file with a series' labels while its newest slot waits to be sealed: a kill
 * then must not lose that slot. */
static void test_retention__keeps_labels_of_slots_that_wait(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    store_close(&f);
    assert_true(store_killed_after(&f, retire_under_a_waiting_slot));
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, T0 + DAY, INT64_MAX);
    assert_int_equal(samples.count, 1);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* Everything goes while selections and cursors look at it: they keep their view, nothing of it is
 * freed. */
static void test_retention__leaves_open_selections_alone(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct selection *selections[20];
    struct sample_block block;
    struct err err = {0};
    store_setup(&f);
    fill_two_days(&f);
    for (int i = 0; i < 20; i++)
        assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selections[i], &err));
    struct cursor *early = cursor_new(selections[0]);
    cursor_seek(early, 0);
    storage_set_retention(f.storage, 1, 0);
    for (int minute = 0; minute < 60; minute++)
        store_add(&f, store_series(&f, "b", 1), T0 + 30 * DAY + minute * 60000, 1);
    storage_set_retention(f.storage, HOUR, 0);
    store_tick(&f, 6 * HOUR);
    store_tick(&f, 8 * HOUR);
    check_count(&f, "a", 1, 0);
    for (int i = 0; i < 20; i++) {
        struct cursor *cursor = i ? cursor_new(selections[i]) : early;
        size_t count = 0;
        cursor_seek(cursor, 9);
        cursor_seek(cursor, 9);
        do {
            assert_true(cursor_next(cursor, &block, &err));
            count += block.count;
        } while (block.count);
        assert_int_equal(count, 100);
        cursor_free(cursor);
        selection_free(selections[i]);
    }
    storage_set_retention(f.storage, 0, 0);
    store_tick(&f, 10 * HOUR);
    check_count(&f, "b", 1, 60);
    char path[512];
    assert_true(
        store_last_file(&f, "", ".open.mdb", path)); /* Of `b` alone: the others are unlinked. */
    assert_non_null(strstr(path, "20231214T22Z"));
    assert_int_equal(store_file_count(&f, ""), 6);
    store_teardown(&f);
}

/* A file that is on its way out is not there to be freed again: each look, and each reload of the configuration, would take
 * another one until it has gone, which a reader or a snapshot may hold up for minutes. */
static void test_retention__takes_no_more_than_the_size_asks_for(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    struct selection *selection;
    struct err err = {0};
    store_setup(&f);
    for (int day = 0; day < 8; day++) {
        series_ref ref = store_series(&f, "a", 1);
        assert_int_equal(store_add(&f, ref, T0 + day * DAY, day), SAMPLE_STORED);
        storage_series_release(f.storage, ref);
        store_tick(&f, (day + 1) * 2 * HOUR);
    }
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.partitions, 8);
    uint64_t one = stats.partition_bytes / 8, limit = stats.partition_bytes + one;
    assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selection, &err));
    for (int i = 0; i < 10;
         i++) { /* Room for a build is kept free, and the log and head.mdb count. */
        storage_set_retention(f.storage, 0, limit - one);
        store_tick(&f, 17 * HOUR + i * 120000);
    }
    storage_get_stats(f.storage, &stats);
    uint64_t left = stats.partitions;
    assert_in_range(left, 4, 7);
    assert_int_equal(stats.size_retentions, 1);
    selection_free(selection);
    for (int i = 0; i < 10; i++) {
        storage_set_retention(f.storage, 0, limit - one);
        store_tick(&f, 18 * HOUR + i * 120000);
    }
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.partitions, left);
    assert_int_equal(stats.size_retentions, 1);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load__does_not_believe_wild_times),
        cmocka_unit_test(test_cursor_next__shows_no_wrong_value_of_a_damaged_bundle),
        cmocka_unit_test(test_storage_select__joins_a_label_set_with_two_ids),
        cmocka_unit_test(test_load__refuses_a_file_of_another_store),
        cmocka_unit_test(test_open__survives_damaged_files),
        cmocka_unit_test(test_open__survives_damaged_tree_pages),
        cmocka_unit_test(test_retention__takes_no_more_than_the_size_asks_for),
        cmocka_unit_test(test_retention__keeps_labels_of_slots_that_wait),
        cmocka_unit_test(test_retention__leaves_open_selections_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
