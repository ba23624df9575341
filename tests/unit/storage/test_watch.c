/* watch: a reader of an open file that does not end is told of. And what one request may bring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"
#include "store_fixture.h"

#define T0 INT64_C(1700000000000)

static uint64_t stuck_after(struct store_fixture *f, int64_t ahead_ms)
{
    struct storage_stats stats;
    storage_tick(f->storage, clock_mono_ms() + ahead_ms);
    lane_now_run(&f->lane);
    storage_get_stats(f->storage, &stats);
    return stats.stuck_readers;
}

/* Only one that stays for minutes while the file is written; and no longer than it lasts. */
static void test_watch_tick__tells_of_a_reader_that_stays(void **state)
{
    struct store_fixture f = {0};
    struct kv_read *read;
    struct err err = {0};
    int64_t ahead_ms = 0, minute_ms = 60000;
    (void)state;
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    assert_int_equal(store_add(&f, ref, T0, 1), SAMPLE_STORED);
    store_tick(&f, ahead_ms += 2 * f.options.slot_ms);
    struct partition *partition = file_list_now(f.storage)->items[0].open;
    assert_true(kv_read_begin(partition->kv, &read, &err));
    assert_int_equal(stuck_after(&f, ahead_ms += minute_ms), 0);
    assert_int_equal(store_add(&f, ref, T0 + 1000, 1), SAMPLE_STORED);
    store_tick(&f, ahead_ms += 2 * f.options.slot_ms);
    assert_int_equal(stuck_after(&f, ahead_ms += minute_ms), 0);
    assert_int_equal(stuck_after(&f, ahead_ms += 6 * minute_ms), 1);
    kv_read_end(read);
    assert_int_equal(stuck_after(&f, ahead_ms += minute_ms), 0);
    store_teardown(&f);
}

#define LARGE_COUNT 18
#define LARGE_BYTES ((size_t)15 << 20)

/* The log's buffer has a bound: a request that would burst it is refused in words, and nothing of it is stored. */
static void test_storage_append__refuses_too_many_bytes_of_labels(void **state)
{
    struct store_fixture f = {0};
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    char *text = mem_alloc(LARGE_BYTES);
    (void)state;
    store_setup(&f);
    memset(text, 'x', LARGE_BYTES);
    for (int i = 0; i < LARGE_COUNT; i++) {
        text[0] = (char)('a' + i);
        struct label labels[2] = {{LABEL_NAME, STR("large")},
                                  {STR("text"), str_from(text, LARGE_BYTES)}};
        series_ref ref =
            storage_series(f.storage, f.group, labels, 2, labels_hash(labels, 2), &err);
        assert_true(ref != SERIES_REF_NONE);
        batch_add(&batch, ref, T0, i);
    }
    assert_false(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text, "the new series of one request have more than 256 MiB of labels");
    batch.samples.count = 2;
    assert_true(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED], 2);
    batch_deinit(&batch);
    mem_free(text);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_tick__tells_of_a_reader_that_stays),
        cmocka_unit_test(test_storage_append__refuses_too_many_bytes_of_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
