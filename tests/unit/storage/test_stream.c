/* stream, bundle, slot: what goes in comes out bit for bit, from memory as from a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/epoch.h"
#include "bundle.h"
#include "slot.h"
#include "stream.h"

#define ROWS 400

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t random_below(uint64_t bound)
{
    return random_next() % bound;
}

/* Values of every kind that a series has, and those that trouble codecs. */
static double next_value(unsigned kind, double before)
{
    static const uint64_t odd[] = {SAMPLE_STALE_BITS,
                                   SAMPLE_NORMAL_BITS,
                                   UINT64_C(0x7ff8dead00000001),
                                   UINT64_C(0x8000000000000000),
                                   UINT64_C(0x7ff0000000000000),
                                   UINT64_C(0xfff0000000000000),
                                   UINT64_C(1),
                                   UINT64_C(0x433fffffffffffff),
                                   UINT64_C(0x4340000000000001),
                                   UINT64_C(0x7fefffffffffffff)};
    if (random_below(40) == 0)
        return sample_from_bits(odd[random_below(sizeof(odd) / sizeof(odd[0]))]);
    switch (kind % 7) {
    case 0:
        return random_below(8) ? before : (double)random_below(100);
    case 1:
        return isfinite(before) ? floor(before) + (double)random_below(50) : 0;
    case 2:
        return (double)random_below(100000) / 100;
    case 3:
        return (double)random_below(1000000007) / 1e9;
    case 4:
        return sample_from_bits(random_next());
    case 5:
        return (double)(int64_t)random_next();
    default:
        return (double)random_below(4096) * 4096;
    }
}

static void check_equal(const struct samples *got, const struct samples *wanted)
{
    assert_int_equal(got->count, wanted->count);
    for (size_t i = 0; i < wanted->count; i++) {
        assert_int_equal(got->time_ms[i], wanted->time_ms[i]);
        assert_true(sample_bits(got->value[i]) == sample_bits(wanted->value[i]));
    }
}

/* Any values on any rows of a column come back with the same bits. */
static void test_stream_read__inverts_stream_write(void **state)
{
    (void)state;
    int64_t times[ROWS];
    struct samples wanted, got;
    struct buf bytes;
    samples_init(&wanted);
    samples_init(&got);
    buf_init(&bytes, 1 << 20);
    for (random_state = 1; random_state < 2000;) {
        uint64_t seed = random_state;
        uint32_t rows = 1 + (uint32_t)random_below(ROWS), first, last;
        double value = 0;
        int64_t time = (int64_t)random_below(1000000) - 500000;
        samples_clear(&wanted);
        samples_clear(&got);
        buf_clear(&bytes);
        samples_reserve(&wanted, rows);
        for (uint32_t row = 0; row < rows; row++) {
            times[row] = time += 1 + (int64_t)random_below(30000);
            value = next_value((unsigned)seed, value);
            if (seed % 3 == 0 && random_below(5) == 0 && wanted.count + 1 < rows)
                continue;
            samples_add(&wanted, time, value);
        }
        if (wanted.count > 0) {
            stream_write(&wanted, 0, wanted.count, times, rows, &bytes, &first, &last);
            assert_true(stream_read(buf_str(&bytes), first, last, times, rows, &got));
            check_equal(&got, &wanted);
            size_t len = bytes.len; /* Again amid other bytes, as in a bundle. */
            for (int i = 0; i < STREAM_BEYOND_MAX; i++)
                buf_add_char(&bytes, (char)random_next());
            samples_clear(&got);
            assert_true(stream_read_amid(str_from(bytes.ptr, len), STREAM_BEYOND_MAX, first, last,
                                         times, rows, &got));
            check_equal(&got, &wanted);
        }
        random_state = seed + 1;
    }
    samples_deinit(&wanted);
    samples_deinit(&got);
    buf_deinit(&bytes);
}

/* What the value before repeats costs no byte at all. */
static void test_stream_write__spends_nothing_on_what_stays(void **state)
{
    (void)state;
    int64_t times[120];
    struct samples samples;
    struct buf bytes;
    uint32_t first, last;
    samples_init(&samples);
    samples_reserve(&samples, 120);
    buf_init(&bytes, 1000);
    for (int i = 0; i < 120; i++) {
        times[i] = i * 15000;
        samples_add(&samples, times[i], 0.25);
    }
    stream_write(&samples, 0, 120, times, 120, &bytes, &first, &last);
    assert_int_equal(first, 0);
    assert_int_equal(last, 119);
    assert_in_range(bytes.len, 1, 4);
    samples_deinit(&samples);
    buf_deinit(&bytes);
}

/* Damaged bytes end in false or in values of the rows: never beyond them. */
static void test_stream_read__survives_any_bytes(void **state)
{
    (void)state;
    int64_t times[ROWS];
    struct samples got, amid;
    uint8_t bytes[80];
    samples_init(&got);
    samples_init(&amid);
    for (int i = 0; i < ROWS; i++)
        times[i] = i;
    random_state = 7;
    for (int round = 0; round < 200000; round++) {
        size_t len = random_below(sizeof(bytes) - STREAM_BEYOND_MAX);
        uint32_t first = (uint32_t)random_below(ROWS), last = (uint32_t)random_below(ROWS);
        for (size_t i = 0; i < len + STREAM_BEYOND_MAX; i++)
            bytes[i] = (uint8_t)(random_below(3) ? random_next() : random_below(8) | 128);
        samples_clear(&got);
        bool good = stream_read(str_from((const char *)bytes, len), first, last, times, ROWS, &got);
        assert_true(got.count <= (first <= last ? last - first + 1 : 0));
        assert_true(!good || (got.count > 0 && first <= last));
        for (size_t i = 0; i < got.count; i++)
            assert_in_range(got.time_ms[i], first, last);
        samples_clear(&amid); /* What follows them does not count. */
        assert_true(stream_read_amid(str_from((const char *)bytes, len), STREAM_BEYOND_MAX, first,
                                     last, times, ROWS, &amid) == good);
        if (good)
            check_equal(&amid, &got);
    }
    samples_deinit(&amid);
    samples_deinit(&got);
}

/* Runs that grow sample by sample in a slot read as those that are written at once, and go to a bundle as they are. */
static void test_slot__gives_back_what_was_added(void **state)
{
    (void)state;
    enum { SERIES = 100, STEPS = 130 };
    struct epoch epoch;
    epoch_init(&epoch);
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct slot *slot = slot_new(3, seed);
        struct run *runs[SERIES] = {NULL};
        uint64_t bits[SERIES] = {0};
        struct samples wanted[SERIES], got;
        struct time_vec times = {0};
        uint8_t bytes[8192];
        random_state = seed * 7919;
        samples_init(&got);
        for (int i = 0; i < SERIES; i++) {
            samples_init(&wanted[i]);
            samples_reserve(&wanted[i], STEPS);
        }
        for (int step = 0; step < STEPS; step++) {
            for (int i = 0; i < SERIES; i++) {
                struct column *column;
                uint32_t row;
                uint8_t entry[STREAM_ENTRY_MAX];
                if (random_below(30) == 0)
                    continue;
                size_t count = wanted[i].count;
                double value = next_value((unsigned)i, count ? wanted[i].value[count - 1] : 0);
                int64_t time = 1000000 + step * 15000 + (i % 10 == 9 ? i : 0);
                assert_true(
                    slot_place(slot, &epoch, runs[i], time, (uint64_t)step + 1, &column, &row));
                bool joins = !runs[i] || runs[i]->column != column;
                if (joins && runs[i])
                    continue; /* A run of its own: another test's matter. */
                if (joins)
                    runs[i] = slot_add_run(slot, column, row, (series_ref)i);
                struct stream_state stream = {
                    .bits = bits[i], .exponent = runs[i]->exponent, .wanted = runs[i]->exponent};
                samples_add(&wanted[i], time, value);
                if (!joins && sample_bits(value) == bits[i]) {
                    run_repeat(runs[i], row);
                } else {
                    size_t len = stream_encode(&stream, sample_bits(value), entry);
                    runs[i]->exponent = stream.exponent;
                    run_add(runs[i], row, str_from((const char *)entry, len));
                }
                bits[i] = sample_bits(value);
            }
        }
        for (int i = 0; i < SERIES; i++) {
            uint32_t len = atomic_load(&runs[i]->len), last = atomic_load(&runs[i]->last_row);
            assert_true(len <= sizeof(bytes));
            assert_int_equal(slot_member_ref(slot, runs[i]->member), i);
            assert_ptr_equal(slot_member(slot, runs[i]->member), runs[i]);
            run_read(runs[i], len, bytes);
            VEC_CLEAR(&times);
            column_read(runs[i]->column, last, &times);
            samples_clear(&got);
            assert_true(stream_read(str_from((const char *)bytes, len), runs[i]->first_row, last,
                                    times.items, (uint32_t)times.count, &got));
            check_equal(&got, &wanted[i]);
            samples_deinit(&wanted[i]);
        }
        samples_deinit(&got);
        VEC_FREE(&times);
        slot_free(slot);
    }
    epoch_deinit(&epoch);
}

/* A target's one scrape makes one row, lines with their own times make columns, and no more than one for each source. */
static void test_slot_place__finds_the_column_of_a_source(void **state)
{
    (void)state;
    enum { CONTAINERS = 12, METRICS = 9 };
    struct epoch epoch;
    struct slot *slot = slot_new(0, 1);
    struct run *runs[CONTAINERS][METRICS] = {{NULL}};
    epoch_init(&epoch);
    for (int scrape = 0; scrape < 40; scrape++) {
        /* The order of storage: by time; each container has its own. */
        for (int c = 0; c < CONTAINERS; c++) {
            for (int m = 0; m < METRICS; m++) {
                struct column *column;
                uint32_t row;
                int64_t time = 5000 + scrape * 15000 + c * 100;
                assert_true(slot_place(slot, &epoch, runs[c][m], time, (uint64_t)scrape + 1,
                                       &column, &row));
                assert_int_equal(row, scrape);
                if (!runs[c][m])
                    runs[c][m] = slot_add_run(slot, column, row, 0);
                assert_ptr_equal(runs[c][m]->column, column);
                run_repeat(runs[c][m], row);
            }
        }
    }
    assert_int_equal(slot->columns.count, CONTAINERS);
    slot_free(slot);
    epoch_deinit(&epoch);
}

/* Series of a remote writer that lag behind join the rows that are there. */
static void test_slot_place__joins_rows_that_are_there(void **state)
{
    (void)state;
    struct epoch epoch;
    struct slot *slot = slot_new(0, 1);
    struct run *runs[2] = {NULL};
    epoch_init(&epoch);
    for (uint64_t batch = 0; batch < 20; batch++) {
        int i = (int)(batch / 10);
        struct column *column;
        uint32_t row;
        assert_true(slot_place(slot, &epoch, runs[i], 1000 + (int64_t)(batch % 10) * 500, batch + 1,
                               &column, &row));
        assert_int_equal(row, batch % 10);
        if (!runs[i])
            runs[i] = slot_add_run(slot, column, row, 0);
        run_repeat(runs[i], row);
    }
    assert_ptr_equal(runs[0]->column, runs[1]->column);
    slot_free(slot);
    epoch_deinit(&epoch);
}

/* A bundle shows each run as it went in, and every flipped byte is seen by its checksum. */
static void test_bundle__gives_back_its_runs(void **state)
{
    (void)state;
    struct bundle_writer writer;
    struct bundle bundle;
    struct buf value;
    struct time_vec times = {0};
    struct samples samples, got;
    struct bundle_reader reader = {0};
    int64_t column_times[3] = {100, 115, 130};
    samples_init(&samples);
    samples_init(&got);
    samples_reserve(&samples, 3);
    for (int i = 0; i < 3; i++)
        samples_add(&samples, column_times[i], i * 1.5);
    buf_init(&value, 1 << 20);
    bundle_writer_init(&writer);
    bundle_writer_begin(&writer, 42, 7);
    uint16_t column = bundle_writer_column(&writer, column_times, 3);
    for (uint64_t id = 10; id < 20; id++) {
        struct buf bytes;
        uint32_t first, last;
        buf_init(&bytes, 1000);
        stream_write(&samples, 0, 3, column_times, 3, &bytes, &first, &last);
        bundle_writer_run(&writer, id * 3, column, first, last, 100, 130, buf_str(&bytes));
        buf_deinit(&bytes);
    }
    bundle_writer_finish(&writer, &value);
    assert_true(bundle_verify(buf_str(&value)));
    assert_true(bundle_open(&bundle, buf_str(&value)));
    assert_int_equal(bundle.slot, 7);
    assert_int_equal(bundle.time_max_ms, 130);
    assert_true(bundle_column(&bundle, 0, &times));
    for (uint64_t id = 10; id < 20; id++) {
        struct bundle_run run = bundle_run_at(&bundle, bundle_find(&bundle, id * 3));
        assert_int_equal(run.id, id * 3);
        samples_clear(&got);
        assert_true(bundle_read(&bundle, &run, &times, &reader, &got));
        check_equal(&got, &samples);
    }
    assert_int_equal(bundle_find(&bundle, 31), 1);
    for (size_t at = 4; at < value.len; at++) {
        value.ptr[at] ^= 16;
        assert_false(bundle_verify(buf_str(&value)));
        if (bundle_open(&bundle, buf_str(&value))) { /* Whatever it says, it can be looked at. */
            for (uint32_t i = 0; i < bundle.run_count; i++) {
                struct bundle_run run = bundle_run_at(&bundle, i);
                VEC_CLEAR(&times);
                samples_clear(&got);
                if (bundle_column(&bundle, run.column, &times))
                    (void)!bundle_read(&bundle, &run, &times, &reader, &got);
            }
        }
        value.ptr[at] ^= 16;
    }
    bundle_writer_deinit(&writer);
    buf_deinit(&value);
    VEC_FREE(&times);
    bundle_reader_deinit(&reader);
    samples_deinit(&samples);
    samples_deinit(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_read__inverts_stream_write),
        cmocka_unit_test(test_stream_write__spends_nothing_on_what_stays),
        cmocka_unit_test(test_stream_read__survives_any_bytes),
        cmocka_unit_test(test_slot__gives_back_what_was_added),
        cmocka_unit_test(test_slot_place__finds_the_column_of_a_source),
        cmocka_unit_test(test_slot_place__joins_rows_that_are_there),
        cmocka_unit_test(test_bundle__gives_back_its_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
