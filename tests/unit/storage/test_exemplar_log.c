/* exemplar_log: what a restart keeps of the exemplars: after a kill, when the segments they came in are gone, of damaged
 * records, and of more than the ring takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "file.h"
#include "log_format.h"
#include "store_fixture.h"

#define T0 INT64_C(1700000000000)

static enum exemplar_outcome put(struct store_fixture *f, series_ref ref, int64_t time_ms,
                                 double value, const char *trace)
{
    struct label labels[] = {{STR("empty"), STR("")}, {STR("trace"), str_of(trace)}};
    struct exemplar exemplar = {time_ms, value, labels, 2, false};
    return storage_exemplar_add(f->storage, ref, &exemplar);
}

/* name:time=value/trace of each, as they are listed. */
static void expect(struct store_fixture *f, const char *want)
{
    struct exemplar_list *list = storage_exemplars(f->storage, INT64_MIN, INT64_MAX);
    char text[4096] = "";
    size_t len = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct exemplar_item *item = &list->items[i];
        assert_int_equal(item->labels->count, 1);
        len += (size_t)snprintf(text + len, sizeof(text) - len, STR_FMT ":%lld=%g/" STR_FMT " ",
                                STR_ARG(labels_get(item->series, LABEL_NAME)),
                                (long long)(item->time_ms - T0), item->value,
                                STR_ARG(item->labels->items[0].value));
    }
    exemplar_list_free(list);
    assert_string_equal(text, want);
}

static size_t stored(struct store_fixture *f)
{
    struct exemplar_stats stats;
    storage_get_exemplar_stats(f->storage, &stats);
    return stats.stored;
}

static void begin(struct store_fixture *f, size_t max)
{
    store_setup(f);
    store_close(f);
    f->options.exemplars_max = max;
}

static void reopen(struct store_fixture *f)
{
    store_close(f);
    store_open(f);
}

/* Two of one time in the order of their values, a series without a sample, one that came late and is not there. */
static void add_some(struct store_fixture *f)
{
    series_ref a = store_series(f, "a", 1), b = store_series(f, "b", 1);
    store_add(f, a, T0, 1);
    STORE_REQUIRE(put(f, a, T0 + 5, 1, "x") == EXEMPLAR_STORED);
    STORE_REQUIRE(put(f, a, T0 + 5, 2, "y") == EXEMPLAR_STORED);
    STORE_REQUIRE(put(f, b, T0 + 1, 7, "z") == EXEMPLAR_STORED);
    STORE_REQUIRE(put(f, a, T0 + 4, 9, "late") == EXEMPLAR_OUT_OF_ORDER);
    store_tick(f, 100);
}

/* The ring's size is known before the log is read, and set again afterwards, as a server does. */
static void test_exemplar_log__survives_a_kill(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f, 10);
    assert_true(store_killed_after(&f, add_some));
    for (int start = 0; start < 3; start++) {
        struct exemplar_stats stats;
        store_open(&f);
        storage_set_exemplars_max(f.storage, 10);
        expect(&f, "b:1=7/z a:5=1/x a:5=2/y ");
        storage_get_exemplar_stats(f.storage, &stats);
        assert_int_equal(stats.out_of_order, 0);
        store_close(&f);
    }
    store_open(&f);
    assert_int_equal(put(&f, store_series(&f, "a", 1), T0 + 5, 2, "y"), EXEMPLAR_SAME);
    store_teardown(&f);
}

/* A log that has more than the ring takes gives the newest; without a ring it gives none, and no harm is done. */
static void test_exemplar_log__gives_the_newest_to_a_small_ring(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f, 5000);
    store_open(&f);
    series_ref ref = store_series(&f, "a", 1);
    store_add(&f, ref, T0, 1);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(put(&f, ref, T0 + i, i, "x"), EXEMPLAR_STORED);
    f.options.exemplars_max = 3;
    reopen(&f);
    expect(&f, "a:4997=4997/x a:4998=4998/x a:4999=4999/x ");
    f.options.exemplars_max = 0;
    reopen(&f);
    expect(&f, "");
    f.options.exemplars_max = 10000;
    reopen(&f);
    assert_int_equal(stored(&f), 5000);
    store_teardown(&f);
}

/* Samples in the next segments, until the one that the exemplars came in is gone. */
static void seal_all(struct store_fixture *f, int rounds)
{
    series_ref ref = store_series(f, "clock", 1);
    static int64_t time_ms = T0;
    for (int i = 1; i <= rounds; i++) {
        store_add(f, ref, time_ms += 1000, i);
        store_tick(f, (int64_t)i * 2 * f->options.slot_ms);
    }
}

/* When a segment's slots are sealed it goes; what the ring still has of it stays in the log all the same, its labels with
 * it, also when there is more than one tick writes. */
static void test_exemplar_log__outlives_its_segment(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    begin(&f, 3000);
    store_open(&f);
    for (int round = 0; round < 2; round++) {
        store_close(&f);
        store_open(&f);
        series_ref ref = store_series(&f, round ? "b" : "a", 1);
        store_add(&f, ref, T0 + round, 1);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(put(&f, ref, T0 + i, i, "x"), EXEMPLAR_STORED);
        store_tick(&f, 100);
        storage_get_stats(f.storage, &stats);
        uint64_t segment = stats.log_segment_current;
        seal_all(&f, 6);
        char path[256];
        snprintf(path, sizeof(path), "%s/narthex/log/%08llu", f.dir, (unsigned long long)segment);
        assert_int_equal(access(path, F_OK), -1);
        storage_get_stats(f.storage, &stats);
        assert_in_range(stats.log_segments, 1, 4);
    }
    assert_int_equal(stored(&f), 2000);
    reopen(&f);
    assert_int_equal(stored(&f), 2000);
    seal_all(&f, 6);
    reopen(&f);
    assert_int_equal(stored(&f), 2000);
    store_teardown(&f);
}

static void add_and_move(struct store_fixture *f)
{
    add_some(f);
    seal_all(f, 3);
    series_ref ref = store_series(f, "a", 1);
    STORE_REQUIRE(put(f, ref, T0 + 5, 3, "w") == EXEMPLAR_STORED);
    STORE_REQUIRE(put(f, ref, T0 + 6, 0, "v") == EXEMPLAR_STORED);
    seal_all(f, 3);
}

/* Of one time some were written anew and some not: their order in the log is not theirs. */
static void test_exemplar_log__sorts_what_was_written_anew(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f, 10);
    assert_true(store_killed_after(&f, add_and_move));
    store_open(&f);
    expect(&f, "b:1=7/z a:5=1/x a:5=2/y a:5=3/w a:6=0/v ");
    store_teardown(&f);
}

static int fail_write(enum file_op op, const char *path, size_t *len)
{
    (void)path;
    if (op != FILE_WRITE)
        return 0;
    *len = 0;
    return ENOSPC;
}

/* A log that cannot be written refuses samples, not exemplars; they come into it with the next segment's end. */
static void test_exemplar_log__of_a_log_that_fails(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f, 10);
    store_open(&f);
    series_ref ref = store_series(&f, "a", 1);
    store_add(&f, ref, T0, 1);
    file_faults = fail_write;
    store_tick(&f, 100);
    assert_int_equal(put(&f, ref, T0, 1, "x"), EXEMPLAR_STORED);
    file_faults = NULL;
    store_tick(&f, 5000);
    assert_int_equal(put(&f, ref, T0 + 1, 1, "y"), EXEMPLAR_STORED);
    seal_all(&f, 6);
    reopen(&f);
    expect(&f, "a:0=1/x a:1=1/y ");
    store_teardown(&f);
}

static void append_record(const char *path, struct buf *payload)
{
    uint32_t head[2] = {(uint32_t)payload->len, hash_crc32c(0, buf_str(payload))};
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_int_equal(fwrite(head, 1, sizeof(head), file), sizeof(head));
    assert_int_equal(fwrite(payload->ptr, 1, payload->len, file), payload->len);
    fclose(file);
    buf_clear(payload);
}

static void write_exemplar(struct buf *out, uint64_t id, const char *series, int64_t time_ms,
                           uint64_t label_count)
{
    write_varint(out, id);
    if (id == 0) {
        write_varint(out, 1);
        write_varint_str(out, LABEL_NAME);
        write_varint_str(out, str_of(series));
    }
    write_zigzag(out, time_ms);
    write_u64(out, sample_bits(1));
    write_varint(out, label_count);
    for (uint64_t i = 0; i < label_count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "l%08llu", (unsigned long long)i);
        write_varint_str(out, str_of(name));
        write_varint_str(out, STR("v"));
    }
}

/* Records that are whole and make no sense are stepped over; what is good in front of the bad part of one is taken. */
static void test_exemplar_log__steps_over_bad_records(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    struct buf payload;
    char path[512];
    begin(&f, 10);
    assert_true(store_killed_after(&f, add_some));
    assert_true(store_last_file(&f, "log", "", path));
    buf_init(&payload, 1 << 20);
    const struct {
        uint64_t id;
        int64_t time_ms;
        uint64_t label_count;
    } bad[] = {{UINT64_MAX, T0, 1}, {0, INT64_MAX, 1},   {0, INT64_MIN, 1},
               {0, T0, 129},        {0, T0, UINT16_MAX}, {1, T0, 200}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        write_u8(&payload, LOG_EXEMPLARS);
        write_exemplar(&payload, bad[i].id, "bad", bad[i].time_ms, bad[i].label_count);
        append_record(path, &payload);
    }
    write_u8(&payload, LOG_EXEMPLARS); /* A series that nobody knows is no damage. */
    write_exemplar(&payload, 999999, NULL, T0, 1);
    write_exemplar(&payload, 0, "other", T0 + 8, 1);
    write_exemplar(&payload, 0, "other", T0 + 9, 1);
    payload.len -= 3;
    append_record(path, &payload);
    write_u8(&payload, LOG_EXEMPLARS);
    append_record(path, &payload);
    write_u8(&payload, LOG_EXEMPLARS + 1); /* Of a later program. */
    append_record(path, &payload);
    buf_deinit(&payload);
    store_open(&f);
    expect(&f, "b:1=7/z a:5=1/x a:5=2/y other:8=1/v ");
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.log_corruptions, COUNT_OF(bad) + 2);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exemplar_log__survives_a_kill),
        cmocka_unit_test(test_exemplar_log__gives_the_newest_to_a_small_ring),
        cmocka_unit_test(test_exemplar_log__outlives_its_segment),
        cmocka_unit_test(test_exemplar_log__sorts_what_was_written_anew),
        cmocka_unit_test(test_exemplar_log__of_a_log_that_fails),
        cmocka_unit_test(test_exemplar_log__steps_over_bad_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
