/* codec_histogram: every field comes back bit for bit, alone or after another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "codec_private.h"
#include "model/sample.h"

static uint64_t seed = 99;

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void assert_doubles_same(const double *a, const double *b, uint32_t count)
{
    if (count > 0)
        assert_memory_equal(a, b, count * sizeof(*a));
}

static void assert_spans_same(const struct histogram_span *a, const struct histogram_span *b,
                              uint32_t count)
{
    if (count > 0)
        assert_memory_equal(a, b, count * sizeof(*a));
}

static void assert_same(const struct histogram *a, const struct histogram *b)
{
    assert_int_equal(a->schema, b->schema);
    assert_int_equal(a->hint, b->hint);
    assert_int_equal(a->is_integer, b->is_integer);
    assert_doubles_same(&a->zero_threshold, &b->zero_threshold, 1);
    assert_doubles_same(&a->zero_count, &b->zero_count, 1);
    assert_doubles_same(&a->count, &b->count, 1);
    assert_doubles_same(&a->sum, &b->sum, 1);
    assert_int_equal(a->positive_span_count, b->positive_span_count);
    assert_int_equal(a->negative_span_count, b->negative_span_count);
    assert_int_equal(a->positive_count, b->positive_count);
    assert_int_equal(a->negative_count, b->negative_count);
    assert_int_equal(a->bound_count, b->bound_count);
    assert_spans_same(a->positive_spans, b->positive_spans, a->positive_span_count);
    assert_spans_same(a->negative_spans, b->negative_spans, a->negative_span_count);
    assert_doubles_same(a->positive, b->positive, a->positive_count);
    assert_doubles_same(a->negative, b->negative, a->negative_count);
    assert_doubles_same(a->bounds, b->bounds, a->bound_count);
}

/* Returns the length; the histogram must read back from exactly those bytes, whatever follows them. */
static size_t round_trip(const struct histogram *histogram, const struct histogram *previous)
{
    struct buf out;
    struct arena arena;
    struct histogram *back;
    buf_init(&out, 1 << 20);
    arena_init(&arena, 0);
    codec_histogram_encode(histogram, previous, &out);
    size_t len = out.len;
    write_u32(&out, UINT32_C(0xdeadbeef));
    struct reader in = reader_over(buf_str(&out));
    assert_true(codec_histogram_decode(&in, previous, &arena, &back));
    assert_int_equal(in.at - in.begin, len);
    assert_same(histogram, back);
    for (size_t cut = 0; cut < len; cut++) {
        char *copy = mem_dup(out.ptr, cut);
        in = reader_over(str_from(copy, cut));
        assert_false(codec_histogram_decode(&in, previous, &arena, &back));
        mem_free(copy);
    }
    arena_deinit(&arena);
    buf_deinit(&out);
    return len;
}

static const struct histogram_span SPANS[] = {{-3, 4}, {2, 3}};

static struct histogram latency(const double *positive)
{
    return (struct histogram){.schema = 3,
                              .is_integer = true,
                              .zero_threshold = 0x1p-128,
                              .zero_count = 5,
                              .count = 100,
                              .sum = 12.75,
                              .positive_spans = SPANS,
                              .positive_span_count = 2,
                              .positive = positive,
                              .positive_count = 7};
}

/* A scrape changes a few buckets: the layout is not written again and untouched buckets cost nothing. */
static void test_codec_histogram__writes_changes_against_the_one_before(void **state)
{
    (void)state;
    double before[] = {10, 20, 30, 20, 10, 5, 0}, after[] = {10, 20, 31, 20, 10, 5, 0};
    struct histogram first = latency(before), second = latency(after);
    second.count++;
    second.sum += 0.5;
    assert_true(round_trip(&first, NULL) < 40);
    assert_true(round_trip(&second, &first) < 12);
    assert_true(round_trip(&first, &second) < 12); /* A reset is nothing special. */
    assert_true(round_trip(&first, &first) < 4);
}

/* Layouts may change from one to the next in any part. */
static void test_codec_histogram__writes_another_layout(void **state)
{
    (void)state;
    double counts[] = {1, 2, 3, 4, 5, 6, 7}, bounds[] = {0.1, 0.5, 1, INFINITY};
    struct histogram first = latency(counts), other = first;
    other.schema = 2;
    round_trip(&other, &first);
    other = first;
    other.zero_threshold = 0.001;
    round_trip(&other, &first);
    other = first;
    other.negative_spans = SPANS;
    other.negative_span_count = 2;
    other.negative = counts;
    other.negative_count = 7;
    round_trip(&other, &first);
    round_trip(&first, &other);
    other = first;
    other.schema = HISTOGRAM_SCHEMA_CUSTOM;
    other.bounds = bounds;
    other.bound_count = 4;
    round_trip(&other, &first);
    struct histogram next = other;
    bounds[3] = 2;
    round_trip(&next, &first);
    round_trip(&next, &other);
}

/* Float histograms, odd values, all hints. */
static void test_codec_histogram__keeps_each_bit(void **state)
{
    (void)state;
    double counts[] = {0.5, -0.0, NAN, INFINITY, 1e300, 5e-324, 0x1p53};
    double plain[] = {1, 2, 3, 4, 5, 6, 7};
    struct histogram first = latency(plain), odd = latency(counts);
    odd.is_integer = false;
    for (uint8_t hint = 0; hint <= HISTOGRAM_GAUGE; hint++) {
        odd.hint = hint;
        round_trip(&odd, NULL);
        round_trip(&odd, &first);
        round_trip(&first, &odd);
    }
    odd.sum = sample_nan();
    round_trip(&odd, &odd);
}

/* A stale marker is one byte, and the run goes on after it. */
static void test_codec_histogram__writes_a_stale_marker_in_a_byte(void **state)
{
    (void)state;
    double counts[] = {1, 2, 3, 4, 5, 6, 7};
    struct histogram first = latency(counts), stale = {.sum = sample_stale()};
    assert_int_equal(round_trip(&stale, &first), 1);
    assert_int_equal(round_trip(&stale, NULL), 1);
    assert_int_equal(round_trip(&stale, &stale), 1);
    round_trip(&first, &stale);
    first.sum = sample_stale(); /* Stale, but with buckets. */
    round_trip(&first, &stale);
    struct histogram empty = {.schema = 0};
    round_trip(&empty, &stale);
    round_trip(&empty, NULL);
}

/* Damaged bytes must neither crash nor ask for more memory than a histogram may have. */
static void test_codec_histogram_decode__survives_any_bytes(void **state)
{
    (void)state;
    double counts[] = {1, 2, 3, 4, 5, 6, 7}, more[] = {1.5, 2, 3, 9, 5, 6, 7};
    struct histogram first = latency(counts), second = latency(more);
    struct buf out;
    buf_init(&out, 1 << 20);
    for (uint32_t round = 0; round < 20000; round++) {
        buf_clear(&out);
        codec_histogram_encode(round % 2 ? &second : &first, round % 3 ? &first : NULL, &out);
        size_t len = random_u64() % 4 ? out.len : random_u64() % (out.len + 1);
        char *copy = mem_dup(out.ptr, len);
        for (uint64_t edits = random_u64() % 4; len > 0 && edits > 0; edits--)
            copy[random_u64() % len] = (char)random_u64();
        struct arena arena;
        struct histogram *back = NULL;
        arena_init(&arena, 0);
        struct reader in = reader_over(str_from(copy, len));
        bool good = codec_histogram_decode(&in, round % 3 ? &first : NULL, &arena, &back);
        assert_int_equal(good, back != NULL);
        assert_true(arena.bytes < 4 * 8 * (size_t)HISTOGRAM_BUCKETS_MAX + 65536);
        arena_deinit(&arena);
        mem_free(copy);
    }
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_histogram__writes_changes_against_the_one_before),
        cmocka_unit_test(test_codec_histogram__writes_another_layout),
        cmocka_unit_test(test_codec_histogram__keeps_each_bit),
        cmocka_unit_test(test_codec_histogram__writes_a_stale_marker_in_a_byte),
        cmocka_unit_test(test_codec_histogram_decode__survives_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
