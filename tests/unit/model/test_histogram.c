/* Copies, equality and validation of native histograms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/histogram.h"

/* (1,2]:1 (2,4]:2 gap (8,16]:3; [-1,-0.5):4; zero bucket 2. */
static const struct histogram_span positive_spans[] = {{1, 2}, {1, 1}};
static const struct histogram_span negative_spans[] = {{0, 1}};
static const double positive[] = {1, 2, 3}, negative[] = {4};

static struct histogram sample(void)
{
    return (struct histogram){.is_integer = true,
                              .zero_threshold = 0.25,
                              .zero_count = 2,
                              .count = 12,
                              .sum = 20,
                              .positive_spans = positive_spans,
                              .positive_span_count = 2,
                              .positive = positive,
                              .positive_count = 3,
                              .negative_spans = negative_spans,
                              .negative_span_count = 1,
                              .negative = negative,
                              .negative_count = 1};
}

static const struct histogram_span custom_spans[] = {{0, 3}};
static const double bounds[] = {1, 5};

static struct histogram custom(void)
{
    return (struct histogram){.schema = HISTOGRAM_SCHEMA_CUSTOM,
                              .is_integer = true,
                              .count = 6,
                              .sum = 20,
                              .positive_spans = custom_spans,
                              .positive_span_count = 1,
                              .positive = positive,
                              .positive_count = 3,
                              .bounds = bounds,
                              .bound_count = 2};
}

/* The copy is equal and has nothing of the original's. */
static void test_histogram_copy__copies_all_arrays(void **state)
{
    (void)state;
    struct arena arena;
    struct histogram originals[] = {sample(), custom()};
    arena_init(&arena, 0);
    for (size_t i = 0; i < 2; i++) {
        struct histogram *copy = histogram_copy(&arena, &originals[i]);
        assert_true(histogram_same(copy, &originals[i]));
        assert_ptr_not_equal(copy->positive, originals[i].positive);
        assert_ptr_not_equal(copy->positive_spans, originals[i].positive_spans);
    }
    struct histogram empty = {0};
    assert_true(histogram_same(histogram_copy(&arena, &empty), &empty));
    arena_deinit(&arena);
}

/* A storage decides by it whether a sample came twice: any bit counts. */
static void test_histogram_same__sees_every_field(void **state)
{
    (void)state;
    static const double others[] = {1, 2, 4};
    struct histogram original = sample();
    struct histogram variants[] = {original, original, original, original, original,
                                   original, original, original, original};
    variants[0].schema = 1;
    variants[1].hint = HISTOGRAM_GAUGE;
    variants[2].is_integer = false;
    variants[3].zero_threshold = 0.5;
    variants[4].zero_count = 3;
    variants[5].sum = -20;
    variants[6].positive = others;
    variants[7].positive_span_count = 1;
    variants[8].negative_count = 0;
    for (size_t i = 0; i < COUNT_OF(variants); i++)
        assert_false(histogram_same(&original, &variants[i]));
    struct histogram nan = original;
    nan.sum = original.sum = sample_nan();
    assert_true(histogram_same(&nan, &original));
    original.sum = sample_stale();
    assert_false(histogram_same(&nan, &original));
    assert_true(histogram_is_stale(&original));
}

static void assert_invalid(const struct histogram *histogram, const char *text)
{
    struct err err;
    assert_false(histogram_validate(histogram, &err));
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, ERR_BAD_DATA);
}

static void test_histogram_validate__takes_good_ones(void **state)
{
    (void)state;
    struct err err;
    struct histogram good[] = {sample(), custom(), {0}, {.schema = 8}, {.schema = -4}};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(histogram_validate(&good[i], &err));
    /* The first offset may be negative: buckets below 1. */
    struct histogram below = sample();
    static const struct histogram_span spans[] = {{-5, 2}, {1, 1}};
    below.positive_spans = spans;
    assert_true(histogram_validate(&below, &err));
    /* Observations of NaN are in no bucket. */
    struct histogram nan = sample();
    nan.sum = sample_nan();
    nan.count = 15;
    assert_true(histogram_validate(&nan, &err));
    /* Floats need not add up. */
    struct histogram floats = sample();
    floats.is_integer = false;
    floats.count = 11.5;
    assert_true(histogram_validate(&floats, &err));
}

static void test_histogram_validate__refuses_bad_spans_and_counts(void **state)
{
    (void)state;
    static const struct histogram_span backward[] = {{1, 2}, {-1, 1}};
    static const double minus[] = {1, 2, -3};
    struct histogram bad = sample();
    bad.positive_count = 2;
    assert_invalid(&bad, "positive side: spans need 3 buckets, have 2 buckets: histogram spans "
                         "specify different number of buckets than provided");
    bad = sample();
    bad.negative_span_count = 0;
    assert_invalid(&bad, "negative side: spans need 0 buckets, have 1 buckets: histogram spans "
                         "specify different number of buckets than provided");
    bad = sample();
    bad.positive_spans = backward;
    assert_invalid(&bad, "positive side: span number 2 with offset -1: histogram has a span whose "
                         "offset is negative");
    bad = sample();
    bad.positive = minus;
    assert_invalid(&bad, "positive side: bucket number 3 has observation count of -3: histogram "
                         "has a bucket whose observation count is negative");
    bad = sample();
    bad.zero_count = -0.5;
    assert_invalid(&bad, "zero bucket has observation count of -0.5: histogram has a bucket whose "
                         "observation count is negative");
    bad = sample();
    bad.count = -1;
    bad.is_integer = false;
    assert_invalid(&bad, "observation count is  -1: histogram's observation count is negative");
    bad = sample();
    bad.count = 11;
    assert_invalid(&bad, "12 observations found in buckets, but the Count field is 11: histogram's "
                         "observation count should equal the number of observations found in the "
                         "buckets (in absence of NaN)");
    bad.sum = sample_nan();
    assert_invalid(&bad,
                   "12 observations found in buckets, but the Count field is 11: histogram's "
                   "observation count should be at least the number of observations found in the "
                   "buckets");
}

static void test_histogram_validate__refuses_bad_schemas_and_bounds(void **state)
{
    (void)state;
    static const double falling[] = {5, 5}, endless[] = {1, INFINITY}, one[] = {1};
    double nan[] = {1, NAN};
    struct histogram bad = sample();
    bad.schema = 9;
    assert_invalid(&bad, "histogram has an invalid schema, which must be between -4 and 8 for "
                         "exponential buckets, or -53 for custom buckets, got schema 9");
    bad = sample();
    bad.bounds = bounds;
    bad.bound_count = 2;
    assert_invalid(&bad, "histogram with exponential schema must not have custom bounds");
    bad = custom();
    bad.bounds = falling;
    assert_invalid(&bad, "custom buckets: previous bound is 5.000000 and current is 5.000000: "
                         "histogram custom bounds must be in strictly increasing order");
    bad.bounds = endless;
    assert_invalid(&bad, "custom buckets: last +Inf bound must not be explicitly defined: "
                         "histogram custom bounds must be finite");
    bad.bounds = nan;
    assert_invalid(&bad, "custom buckets: histogram custom bounds must not be NaN");
    bad.bounds = one;
    bad.bound_count = 1;
    assert_invalid(&bad,
                   "custom buckets: only 1 custom bounds defined which is insufficient to cover "
                   "total span length of 3: histogram custom bounds are too few");
    bad = custom();
    bad.zero_count = 1;
    assert_invalid(&bad, "custom buckets: must have zero count of 0");
    bad = custom();
    bad.zero_threshold = 1;
    assert_invalid(&bad, "custom buckets: must have zero threshold of 0");
    bad = custom();
    bad.negative_span_count = 1;
    bad.negative_spans = negative_spans;
    assert_invalid(&bad, "custom buckets: must not have negative spans");
    bad.negative_span_count = 0;
    bad.negative_count = 1;
    assert_invalid(&bad, "custom buckets: must not have negative buckets");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_copy__copies_all_arrays),
        cmocka_unit_test(test_histogram_same__sees_every_field),
        cmocka_unit_test(test_histogram_validate__takes_good_ones),
        cmocka_unit_test(test_histogram_validate__refuses_bad_spans_and_counts),
        cmocka_unit_test(test_histogram_validate__refuses_bad_schemas_and_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
