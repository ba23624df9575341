/* bundle: whatever runs go into one, they come out bit for bit, in any order of reading; of the format before, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "bundle.h"
#include "codec_private.h"
#include "stream.h"

#define ROWS_MAX 300
#define RUNS_MAX 400

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

struct world {
    int64_t times_ms[3][ROWS_MAX];
    uint32_t rows[3];
    uint32_t column_count, run_count;
    uint64_t ids[RUNS_MAX];
    uint32_t columns[RUNS_MAX];
    struct samples samples[RUNS_MAX];
    struct bundle_writer writer;
    struct buf value;
};

static struct world *world_new(uint64_t seed)
{
    struct world *world = MEM_NEW(struct world);
    random_state = seed * 2654435761u + 1;
    bundle_writer_init(&world->writer);
    buf_init(&world->value, 1 << 24);
    bundle_writer_begin(&world->writer, 77, 5);
    world->column_count = 1 + (uint32_t)random_below(3);
    for (uint32_t c = 0; c < world->column_count; c++) {
        int64_t time_ms = (int64_t)random_below(1u << 30);
        world->rows[c] = random_below(4) ? 120 : 1 + (uint32_t)random_below(ROWS_MAX);
        for (uint32_t row = 0; row < world->rows[c]; row++)
            world->times_ms[c][row] = time_ms +=
                random_below(8) ? 15000 : 1 + (int64_t)random_below(40000);
        assert_int_equal(bundle_writer_column(&world->writer, world->times_ms[c], world->rows[c]),
                         c);
    }
    return world;
}

static void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->run_count; i++)
        samples_deinit(&world->samples[i]);
    bundle_writer_deinit(&world->writer);
    buf_deinit(&world->value);
    mem_free(world);
}

/* A run of samples that the caller has put into world->samples[run_count]. */
static void world_add(struct world *world, uint64_t id, uint32_t column)
{
    struct samples *samples = &world->samples[world->run_count];
    uint32_t first, last;
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    stream_write(samples, 0, samples->count, world->times_ms[column], world->rows[column], &bytes,
                 &first, &last);
    bundle_writer_run(&world->writer, id, (uint16_t)column, first, last, samples->time_ms[0],
                      samples->time_ms[samples->count - 1], buf_str(&bytes));
    buf_deinit(&bytes);
    world->ids[world->run_count] = id;
    world->columns[world->run_count++] = column;
}

static double next_value(uint64_t kind, double last, const struct samples *before, uint32_t i)
{
    bool has_before = before && i < before->count;
    switch (kind) {
    case 0:
        return last;
    case 1:
        return random_below(30) ? last : floor(last) + 1;
    case 2:
        return floor(last) + (double)random_below(6);
    case 3: /* The next bucket, or a copy of the run before. */
        return has_before ? before->value[i] + (double)i : (double)i;
    case 4:
        return has_before ? before->value[i] : 0;
    case 5:
        return (double)random_below(100000) / 100;
    case 6:
        return sample_from_bits(random_next());
    case 7:
        return random_below(20) ? floor(last) + 7 : sample_stale();
    case 8:
        return random_below(3) ? 4096 * (double)random_below(100000) : -0.0;
    default:
        return random_below(9) ? last + (double)random_below(1000) / 7 : INFINITY;
    }
}

static void fill_run(struct world *world, uint32_t column, bool has_holes)
{
    struct samples *samples = &world->samples[world->run_count];
    const struct samples *before = world->run_count ? samples - 1 - random_below(2) : NULL;
    uint32_t rows = world->rows[column], first = 0;
    uint64_t kind = random_below(10);
    double value = (double)random_below(1000);
    if (before < world->samples)
        before = NULL;
    samples_init(samples);
    samples_reserve(samples, rows);
    if (random_below(5) == 0) {
        first = (uint32_t)random_below(rows);
        rows = first + 1 + (uint32_t)random_below(rows - first);
    }
    for (uint32_t row = first; row < rows; row++) {
        value = next_value(kind, value, before, (uint32_t)samples->count);
        if (!has_holes || row + 1 == rows || random_below(4) > 0)
            samples_add(samples, world->times_ms[column][row], value);
        value = isfinite(value) && fabs(value) < 1e15 ? value : 1;
    }
}

static void fill(struct world *world)
{
    static const uint64_t strides[] = {1, 1, 2, 1000, 100000, UINT64_C(1) << 40};
    uint64_t stride = strides[random_below(6)], id = 1 + random_below(1u << 20);
    uint32_t count = 1 + (uint32_t)random_below(40), column = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (random_below(10) == 0)
            column = (uint32_t)random_below(world->column_count);
        fill_run(world, column, random_below(4) == 0);
        world_add(world, id, column);
        id += stride > 1 && random_below(6) == 0 ? 0 : stride; /* A series may have two runs. */
    }
}

static void check_run(const struct bundle *bundle, const struct world *world, uint32_t at,
                      struct bundle_reader *reader)
{
    const struct samples *wanted = &world->samples[at];
    struct bundle_run run = bundle_run_at(bundle, at);
    struct samples got;
    struct time_vec times = {0};
    samples_init(&got);
    assert_true(run.id == world->ids[at] && bundle_id_at(bundle, at) == run.id);
    assert_int_equal(run.column, world->columns[at]);
    assert_true(bundle_column(bundle, run.column, &times));
    assert_memory_equal(times.items, world->times_ms[run.column], times.count * sizeof(int64_t));
    assert_true(times.items[run.first_row] == wanted->time_ms[0] &&
                times.items[run.last_row] == wanted->time_ms[wanted->count - 1]);
    assert_true(bundle_read(bundle, &run, &times, reader, &got));
    assert_int_equal(got.count, wanted->count);
    assert_memory_equal(got.time_ms, wanted->time_ms, got.count * sizeof(int64_t));
    assert_memory_equal(got.value, wanted->value, got.count * sizeof(double));
    for (size_t i = 0; wanted->histogram && i < wanted->count; i++)
        assert_true(wanted->histogram[i] ? histogram_same(got.histogram[i], wanted->histogram[i])
                                         : !got.histogram[i]);
    VEC_FREE(&times);
    samples_deinit(&got);
}

static void check(const struct world *world, struct bundle *bundle)
{
    struct bundle_reader reader = {0};
    assert_true(bundle_verify(buf_str(&world->value)));
    assert_true(bundle_open(bundle, buf_str(&world->value)));
    assert_int_equal(bundle->run_count, world->run_count);
    for (uint32_t i = 0; i < world->run_count; i++)
        check_run(bundle, world, i, &reader);
    for (uint32_t i = 0; i < world->run_count; i++) {
        uint32_t at = (uint32_t)random_below(world->run_count);
        uint32_t found = bundle_find(bundle, world->ids[at]);
        check_run(bundle, world, at, &reader);
        assert_true(found <= at && world->ids[found] == world->ids[at]);
        assert_true(found == 0 || world->ids[found - 1] < world->ids[at]);
    }
    bundle_reader_deinit(&reader);
}

/* Every kind of run beside every other: chains of buckets, copies, holes, parts of a column, odd values. */
static void test_bundle__returns_any_runs_in_any_order(void **state)
{
    (void)state;
    struct bundle bundle;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct world *world = world_new(seed);
        fill(world);
        bundle_writer_finish(&world->writer, &world->value);
        check(world, &bundle);
        world_free(world);
    }
}

/* Bytes that were damaged may say anything, but not more than they have room for. */
static void test_bundle__reads_damaged_bytes_without_harm(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *world = world_new(seed);
        struct bundle bundle;
        struct time_vec times = {0};
        struct samples got;
        samples_init(&got);
        fill(world);
        bundle_writer_finish(&world->writer, &world->value);
        for (int attempt = 0; attempt < 200; attempt++) {
            struct bundle_reader reader = {0};
            struct str bytes = buf_str(&world->value);
            size_t at = random_below(4) ? random_below(bytes.len) : random_below(BUNDLE_HEAD);
            char kept = world->value.ptr[at];
            world->value.ptr[at] = (char)(kept ^ (1 << random_below(8)));
            bytes.len -= random_below(4) ? 0 : random_below(bytes.len);
            bool opens = bundle_open(&bundle, bytes);
            for (uint32_t i = 0; opens && i < bundle.run_count && i < 50; i++) {
                struct bundle_run run = bundle_run_at(&bundle, i);
                VEC_CLEAR(&times);
                samples_clear(&got);
                if (bundle_column(&bundle, run.column, &times) &&
                    bundle_read(&bundle, &run, &times, &reader, &got))
                    assert_true(got.count > 0 && got.count <= times.count);
            }
            world->value.ptr[at] = kept;
            bundle_reader_deinit(&reader);
        }
        VEC_FREE(&times);
        samples_deinit(&got);
        world_free(world);
    }
}

/* Native histograms, and floats between them, are neither values nor what values are coded against. */
static void test_bundle__keeps_histograms(void **state)
{
    (void)state;
    struct bundle bundle;
    struct world *world = world_new(3);
    struct histogram_span spans[] = {{0, 2}};
    double buckets[ROWS_MAX][2];
    struct histogram histograms[ROWS_MAX];
    for (uint32_t run = 0; run < 9; run++) {
        struct samples *samples = &world->samples[run];
        samples_init(samples);
        samples_reserve(samples, world->rows[0]);
        for (uint32_t row = 0; row < world->rows[0]; row++) {
            buckets[row][0] = row;
            buckets[row][1] = 2.0 * row;
            histograms[row] = (struct histogram){.schema = 2,
                                                 .is_integer = true,
                                                 .count = 3.0 * row,
                                                 .sum = row * 0.1,
                                                 .positive_spans = spans,
                                                 .positive_span_count = 1,
                                                 .positive = buckets[row],
                                                 .positive_count = 2};
            if (run % 2)
                samples_add_histogram(samples, world->times_ms[0][row], &histograms[row]);
            else
                samples_add(samples, world->times_ms[0][row], row * 0.5);
        }
        world_add(world, 10 + run, 0);
    }
    bundle_writer_finish(&world->writer, &world->value);
    check(world, &bundle);
    world_free(world);
}

/* Buckets of a histogram cost what each adds to the one before; a count that is the last bucket again costs next to nothing. */
static void test_bundle__codes_buckets_against_each_other(void **state)
{
    (void)state;
    struct bundle bundle;
    struct world *world = world_new(1);
    double totals[12] = {0};
    for (uint32_t run = 0; run < 14; run++) {
        samples_init(&world->samples[run]);
        samples_reserve(&world->samples[run], world->rows[0]);
    }
    for (uint32_t row = 0; row < world->rows[0]; row++) {
        double sum = 0;
        for (uint32_t run = 0; run < 12; run++) {
            totals[run] += run == 5 ? (double)random_below(1000) : 0;
            sum += totals[run];
            samples_add(&world->samples[run], world->times_ms[0][row], sum);
        }
        samples_add(&world->samples[12], world->times_ms[0][row], sum * 0.37);
        samples_add(&world->samples[13], world->times_ms[0][row], sum);
    }
    for (uint32_t run = 0; run < 14; run++)
        world_add(world, 100 + run, 0);
    bundle_writer_finish(&world->writer, &world->value);
    check(world, &bundle);
    for (uint32_t run = 6; run < 14; run++)
        assert_true(run == 12 || bundle_run_at(&bundle, run).len <= 1);
    assert_int_equal(bundle.id_bytes, 0);
    world_free(world);
}

/* One head, by hand, as programs before this one wrote it. */
static void write_old(const struct world *world, struct buf *out)
{
    struct buf columns, payload;
    buf_init(&columns, 1 << 20);
    buf_init(&payload, 1 << 24);
    buf_clear(out);
    write_u32(out, BUNDLE_MAGIC_1);
    write_u32(out, 0);
    write_u64(out, 77);
    write_u64(out, 5);
    write_u64(out, 0);
    write_u64(out, INT64_MAX);
    write_u32(out, world->run_count);
    write_u32(out, world->column_count);
    for (uint32_t i = 0; i < world->run_count; i++) {
        uint32_t first, last, column = world->columns[i];
        size_t start = payload.len;
        stream_write(&world->samples[i], 0, world->samples[i].count, world->times_ms[column],
                     world->rows[column], &payload, &first, &last);
        write_u64(out, world->ids[i]);
        write_u32(out, (uint32_t)start);
        write_u32(out, (uint32_t)(payload.len - start));
        write_u16(out, (uint16_t)column);
        write_u16(out, (uint16_t)first);
        write_u16(out, (uint16_t)last);
        write_u16(out, 0);
    }
    for (uint32_t c = 0; c < world->column_count; c++) {
        size_t start = columns.len;
        int64_t delta = 0;
        for (uint32_t row = 0; row < world->rows[c]; row++) {
            int64_t before = row ? world->times_ms[c][row - 1] : 0;
            int64_t step = world->times_ms[c][row] - before;
            write_zigzag(&columns, row > 1 ? step - delta : step);
            delta = row > 0 ? step : 0;
        }
        write_u32(out, world->rows[c]);
        write_u32(out, (uint32_t)(columns.len - start));
    }
    buf_add_str(out, buf_str(&columns));
    buf_add_str(out, buf_str(&payload));
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 8));
    memcpy(out->ptr + 4, &crc, 4);
    buf_deinit(&columns);
    buf_deinit(&payload);
}

/* Open files that were begun by the program before have such bundles. */
static void test_bundle_open__reads_the_format_before(void **state)
{
    (void)state;
    struct bundle bundle;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world *world = world_new(seed);
        fill(world);
        write_old(world, &world->value);
        check(world, &bundle);
        assert_true(bundle.is_old);
        world_free(world);
    }
}

/* A run that is damaged must not be read with another's values, and a reader goes on after one that failed. */
static void test_bundle_read__refuses_chains_that_are_too_long(void **state)
{
    (void)state;
    struct world *world = world_new(1);
    struct bundle bundle;
    struct bundle_reader reader = {0};
    struct samples got;
    struct time_vec times = {0};
    samples_init(&got);
    for (uint32_t run = 0; run < 30; run++) {
        samples_init(&world->samples[run]);
        samples_reserve(&world->samples[run], world->rows[0]);
        for (uint32_t row = 0; row < world->rows[0]; row++)
            samples_add(&world->samples[run], world->times_ms[0][row],
                        floor(row * row / 3.0) + run * row);
        world_add(world, 1 + run, 0);
    }
    bundle_writer_finish(&world->writer, &world->value);
    check(world, &bundle);
    uint32_t alone = 0, last = 0;
    for (uint32_t run = 0; run < 30; run++) {
        if (bundle_run_at(&bundle, run).flags >> BUNDLE_DISTANCE_SHIFT == 0) {
            assert_true(run - last <= BUNDLE_CHAIN_MAX);
            last = run;
            alone++;
        }
    }
    assert_true(alone > 1 && alone < 15); /* Both kinds are there. */
    assert_true(bundle_column(&bundle, 0, &times));
    struct bundle_run run = bundle_run_at(&bundle, 3);
    run.index = 0;
    run.flags |= 1 << BUNDLE_DISTANCE_SHIFT; /* There is none before. */
    assert_false(bundle_read(&bundle, &run, &times, &reader, &got));
    run = bundle_run_at(&bundle, 3);
    assert_true(bundle_read(&bundle, &run, &times, &reader, &got));
    assert_memory_equal(got.value, world->samples[3].value, got.count * sizeof(double));
    VEC_FREE(&times);
    bundle_reader_deinit(&reader);
    samples_deinit(&got);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bundle__returns_any_runs_in_any_order),
        cmocka_unit_test(test_bundle__reads_damaged_bytes_without_harm),
        cmocka_unit_test(test_bundle__keeps_histograms),
        cmocka_unit_test(test_bundle__codes_buckets_against_each_other),
        cmocka_unit_test(test_bundle_open__reads_the_format_before),
        cmocka_unit_test(test_bundle_read__refuses_chains_that_are_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
