/* Buckets of native histograms, and what is computed with them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/histogram_math.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

/* One span of positive buckets from `offset` on; count is their sum and the zero bucket's. */
static struct histogram *made(int32_t schema, int32_t offset, const double *values, uint32_t count)
{
    struct histogram *histogram = ARENA_NEW(&arena, struct histogram);
    struct histogram_span *span = ARENA_NEW(&arena, struct histogram_span);
    *span = (struct histogram_span){.offset = offset, .length = count};
    *histogram = (struct histogram){.schema = schema,
                                    .positive_spans = span,
                                    .positive_span_count = 1,
                                    .positive = values,
                                    .positive_count = count};
    for (uint32_t i = 0; i < count; i++)
        histogram->count += values[i];
    return histogram;
}
#define MADE(schema, offset, ...)                                                                  \
    made(schema, offset, (const double[]){__VA_ARGS__}, COUNT_OF(((const double[]){__VA_ARGS__})))

static struct histogram *custom(const double *bounds, uint32_t bound_count, const double *values,
                                uint32_t count)
{
    struct histogram *histogram = made(HISTOGRAM_SCHEMA_CUSTOM, 0, values, count);
    histogram->bounds = bounds;
    histogram->bound_count = bound_count;
    return histogram;
}

static void assert_text(const struct histogram *histogram, const char *text)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    histogram_print(&out, histogram);
    buf_add_char(&out, 0);
    assert_string_equal(out.ptr, text);
    buf_deinit(&out);
}

static const struct histogram *added(const struct histogram *a, const struct histogram *b,
                                     struct histogram_added *how)
{
    struct histogram_sum sum = {0};
    histogram_sum_set(&sum, a);
    assert_true(histogram_sum_add(&sum, b, how));
    const struct histogram *out = histogram_sum_take(&sum, false, &arena);
    histogram_sum_deinit(&sum);
    return out;
}

/* Bucket i of schema s ends at 2^(i * 2^-s); the last one before the infinities at the largest
 * float. */
static void test_histogram_bound__follows_the_schema(void **state)
{
    (void)state;
    static const struct {
        int32_t schema, index;
        double bound;
    } cases[] = {
        {0, 0, 1},
        {0, 1, 2},
        {0, -1, 0.5},
        {0, 10, 1024},
        {1, 2, 2},
        {1, 4, 4},
        {-1, 1, 4},
        {-1, -1, 0.25},
        {-4, 1, 65536},
        {8, 256, 2},
        {8, -256, 0.5},
        {8, 0, 1},
        {0, 1024, 1.7976931348623157e308},
        {-4, 64, 1.7976931348623157e308},
        {8, 262144, 1.7976931348623157e308},
        {0, 1025, INFINITY},
        {-4, 65, INFINITY},
        {0, -1074, 4.9406564584124654e-324},
        {0, 1 << 29, INFINITY},
        {8, -(1 << 29), 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct histogram histogram = {.schema = cases[i].schema};
        assert_true(histogram_bound(&histogram, cases[i].index) == cases[i].bound);
    }
    struct histogram root = {.schema = 1};
    assert_true(fabs(histogram_bound(&root, 1) - 1.4142135623730951) < 1e-15);
}

static void test_histogram_bound__of_custom_buckets(void **state)
{
    (void)state;
    static const double bounds[] = {1, 5};
    struct histogram histogram = {
        .schema = HISTOGRAM_SCHEMA_CUSTOM, .bounds = bounds, .bound_count = 2};
    assert_true(histogram_bound(&histogram, -1) == -INFINITY);
    assert_true(histogram_bound(&histogram, 0) == 1);
    assert_true(histogram_bound(&histogram, 1) == 5);
    assert_true(histogram_bound(&histogram, 2) == INFINITY);
    assert_true(histogram_bound(&histogram, INT32_MAX) == INFINITY);
}

/* Backward gives the same as forward, the other way round. */
static void test_histogram_walk__goes_both_ways(void **state)
{
    (void)state;
    static const struct histogram_span positive_spans[] = {{0, 1}, {0, 0}, {2, 2}};
    static const struct histogram_span negative_spans[] = {{-1, 2}};
    static const double positive[] = {1, 2, 3}, negative[] = {4, 5};
    struct histogram histogram = {.zero_threshold = 0.001,
                                  .zero_count = 7,
                                  .positive_spans = positive_spans,
                                  .positive_span_count = 3,
                                  .positive = positive,
                                  .positive_count = 3,
                                  .negative_spans = negative_spans,
                                  .negative_span_count = 1,
                                  .negative = negative,
                                  .negative_count = 2};
    static const double lowers[] = {-1, -0.5, -0.001, 0.5, 4, 8};
    static const double counts[] = {5, 4, 7, 1, 2, 3};
    for (int backward = 0; backward < 2; backward++) {
        struct histogram_walk walk;
        struct histogram_bucket bucket;
        histogram_walk_init(&walk, &histogram, backward);
        for (size_t i = 0; i < 6; i++) {
            size_t at = backward ? 5 - i : i;
            assert_true(histogram_walk_next(&walk, &bucket));
            assert_true(bucket.lower == lowers[at]);
            assert_true(bucket.count == counts[at]);
        }
        assert_false(histogram_walk_next(&walk, &bucket));
        assert_false(histogram_walk_next(&walk, &bucket));
    }
}

/* Spans that lie about the values do not lead outside of them. */
static void test_histogram_walk__survives_bad_spans(void **state)
{
    (void)state;
    static const struct histogram_span spans[] = {{INT32_MAX, UINT32_MAX}, {INT32_MAX, UINT32_MAX}};
    static const double values[] = {1, 2};
    struct histogram histogram = {
        .positive_spans = spans, .positive_span_count = 2, .positive = values, .positive_count = 2};
    for (int backward = 0; backward < 2; backward++) {
        struct histogram_walk walk;
        struct histogram_bucket bucket;
        size_t count = 0;
        histogram_walk_init(&walk, &histogram, backward);
        while (histogram_walk_next(&walk, &bucket))
            count++;
        assert_int_equal(count, 2);
    }
    struct histogram_sum sum = {0};
    histogram_sum_set(&sum, &histogram);
    assert_true(histogram_sum_add(&sum, &histogram, NULL));
    assert_non_null(histogram_sum_take(&sum, false, &arena));
    histogram_sum_deinit(&sum);
}

static void test_histogram_print__shows_populated_buckets(void **state)
{
    (void)state;
    static const double bounds[] = {1, 5};
    static const double values[] = {1, 0, 2.5};
    struct histogram *histogram = MADE(0, 0, 1, 0, 1e6);
    histogram->zero_threshold = 0.001;
    histogram->zero_count = 2;
    histogram->sum = -0.25;
    assert_text(histogram, "{count:1.000001e+06, sum:-0.25, [-0.001,0.001]:2, (0.5,1]:1, "
                           "(2,4]:1e+06}");
    assert_text(custom(bounds, 2, values, 3), "{count:3.5, sum:0, [-Inf,1]:1, (5,+Inf]:2.5}");
    assert_text(&(struct histogram){0}, "{count:0, sum:0}");
}

static void test_histogram_print_json__tells_which_bounds_belong(void **state)
{
    (void)state;
    static const struct histogram_span spans[] = {{0, 1}};
    static const double negative[] = {3};
    struct histogram *histogram = MADE(0, 1, 5);
    struct buf out;
    histogram->negative_spans = spans;
    histogram->negative_span_count = 1;
    histogram->negative = negative;
    histogram->negative_count = 1;
    histogram->zero_threshold = 0.75;
    histogram->zero_count = 1;
    buf_init(&out, 1 << 16);
    histogram_print_json(&out, histogram);
    buf_add_char(&out, 0);
    /* The negative bucket [-1,-0.5) is cut by the zero bucket. */
    assert_string_equal(out.ptr, "{\"count\":\"5\",\"sum\":\"0\",\"buckets\":[[1,\"-1\",\"-0.75\","
                                 "\"3\"],[3,\"-0.75\",\"0.75\",\"1\"],[0,\"1\",\"2\",\"5\"]]}");
    buf_deinit(&out);
}

static void test_histogram_sum_add__meets_at_the_lower_resolution(void **state)
{
    (void)state;
    struct histogram_added how;
    /* Buckets 1..4 of schema 1 are buckets 1, 1, 2, 2 of schema 0. */
    const struct histogram *sum = added(MADE(1, 1, 1, 2, 3, 4), MADE(0, 1, 10, 20), &how);
    assert_int_equal(sum->schema, 0);
    assert_text(sum, "{count:40, sum:0, (1,2]:13, (2,4]:27}");
    assert_false(how.reset_collision || how.bounds_reconciled);
    assert_text(added(MADE(0, 1, 10, 20), MADE(1, 1, 1, 2, 3, 4), &how),
                "{count:40, sum:0, (1,2]:13, (2,4]:27}");
    /* Indexes from below zero round down, too. */
    assert_text(added(MADE(1, -3, 1, 2, 3, 4), MADE(-1, 0, 5), &how),
                "{count:15, sum:0, (0.25,1]:15}");
}

static void test_histogram_sum_add__merges_layouts(void **state)
{
    (void)state;
    struct histogram_added how;
    assert_text(added(MADE(0, 0, 1, 2), MADE(0, 5, 3), &how),
                "{count:6, sum:0, (0.5,1]:1, (1,2]:2, (16,32]:3}");
    assert_text(added(MADE(0, 5, 3), MADE(0, 0, 1, 2), &how),
                "{count:6, sum:0, (0.5,1]:1, (1,2]:2, (16,32]:3}");
    const struct histogram *sum = added(MADE(0, 0, 1, 2), MADE(0, 5, 3), &how);
    assert_int_equal(sum->positive_span_count, 2);
    assert_int_equal(sum->positive_spans[1].offset, 3);
}

/* A wider zero bucket takes in the buckets that it covers, and all of one that it cuts. */
static void test_histogram_sum_add__widens_the_zero_bucket(void **state)
{
    (void)state;
    struct histogram_added how;
    struct histogram *narrow = MADE(0, 0, 1, 2, 4), *wide = MADE(0, 3, 8);
    narrow->zero_threshold = 0.001;
    narrow->zero_count = 1;
    wide->zero_threshold = 1;
    wide->zero_count = 16;
    assert_text(added(narrow, wide, &how), "{count:15, sum:0, [-1,1]:18, (1,2]:2, (2,4]:4, "
                                           "(4,8]:8}");
    assert_text(added(wide, narrow, &how), "{count:15, sum:0, [-1,1]:18, (1,2]:2, (2,4]:4, "
                                           "(4,8]:8}");
    wide->zero_threshold = 1.5;
    const struct histogram *sum = added(wide, narrow, &how);
    assert_text(sum, "{count:15, sum:0, [-2,2]:20, (2,4]:4, (4,8]:8}");
}

static void test_histogram_sum_add__keeps_the_bounds_that_both_have(void **state)
{
    (void)state;
    static const double few[] = {2, 4, 6}, many[] = {1, 2, 3, 4, 5, 6};
    static const double of_few[] = {1, 2, 5, 7}, of_many[] = {10, 20, 30, 40, 50, 60, 70};
    struct histogram_added how;
    const struct histogram *sum =
        added(custom(few, 3, of_few, 4), custom(many, 6, of_many, 7), &how);
    assert_true(how.bounds_reconciled);
    assert_text(sum, "{count:295, sum:0, [-Inf,2]:31, (2,4]:72, (4,6]:115, (6,+Inf]:77}");
    assert_text(added(custom(many, 6, of_many, 7), custom(few, 3, of_few, 4), &how),
                "{count:295, sum:0, [-Inf,2]:31, (2,4]:72, (4,6]:115, (6,+Inf]:77}");
    /* And again with what has been reconciled. */
    static const double other[] = {4};
    static const double of_other[] = {1, 1};
    assert_text(added(sum, custom(other, 1, of_other, 2), &how),
                "{count:297, sum:0, [-Inf,4]:104, (4,+Inf]:193}");
    /* Nothing in common: all in one bucket. */
    static const double strange[] = {7};
    assert_text(added(custom(strange, 1, of_other, 2), custom(other, 1, of_other, 2), &how),
                "{count:4, sum:0, [-Inf,+Inf]:4}");
}

static void test_histogram_sum_add__refuses_a_mix(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    static const double values[] = {1, 2};
    struct histogram_sum sum = {0};
    histogram_sum_set(&sum, MADE(0, 0, 1));
    assert_false(histogram_sum_add(&sum, custom(bounds, 1, values, 2), NULL));
    assert_text(histogram_sum_take(&sum, false, &arena), "{count:1, sum:0, (0.5,1]:1}");
    histogram_sum_deinit(&sum);
}

static void test_histogram_sum_add__settles_hints(void **state)
{
    (void)state;
    enum {
        U = HISTOGRAM_UNKNOWN_RESET,
        R = HISTOGRAM_RESET,
        N = HISTOGRAM_NOT_RESET,
        G = HISTOGRAM_GAUGE
    };
    static const struct {
        uint8_t a, b, sum;
        bool collides;
    } cases[] = {{U, U, U, false}, {R, R, R, false}, {N, N, N, false}, {G, G, G, false},
                 {G, R, G, false}, {N, G, G, false}, {U, R, U, false}, {N, U, U, false},
                 {R, N, U, true},  {N, R, U, true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct histogram_added how;
        struct histogram *a = MADE(0, 0, 1), *b = MADE(0, 0, 1);
        a->hint = cases[i].a;
        b->hint = cases[i].b;
        assert_int_equal(added(a, b, &how)->hint, cases[i].sum);
        assert_int_equal(how.reset_collision, cases[i].collides);
    }
}

/* 1 + 1e100 + 1 - 1e100 is 2, not 0. */
static void test_histogram_sum_add_kahan__keeps_small_terms(void **state)
{
    (void)state;
    static const double terms[] = {1, 1e100, 1, -1e100};
    struct histogram_sum sum = {0};
    for (size_t i = 0; i < COUNT_OF(terms); i++) {
        struct histogram *term = MADE(0, 0, 1);
        ((double *)term->positive)[0] = terms[i];
        term->count = term->sum = terms[i];
        if (i == 0)
            histogram_sum_set(&sum, term);
        else
            assert_true(histogram_sum_add_kahan(&sum, term, 1, NULL));
    }
    histogram_sum_settle(&sum);
    assert_text(histogram_sum_take(&sum, false, &arena), "{count:2, sum:2, (0.5,1]:2}");
    histogram_sum_deinit(&sum);
}

static void test_histogram_sum_divide__by_zero_leaves_no_buckets(void **state)
{
    (void)state;
    struct histogram_sum sum = {0};
    struct histogram *histogram = MADE(0, 0, 4, 2);
    histogram->sum = 3;
    histogram_sum_set(&sum, histogram);
    histogram_sum_divide(&sum, 2);
    assert_text(histogram_sum_take(&sum, false, &arena), "{count:3, sum:1.5, (0.5,1]:2, (1,2]:1}");
    histogram_sum_divide(&sum, -1);
    assert_int_equal(histogram_sum_take(&sum, false, &arena)->hint, HISTOGRAM_GAUGE);
    histogram_sum_divide(&sum, 0);
    assert_text(histogram_sum_take(&sum, false, &arena), "{count:-Inf, sum:-Inf, [-0,0]:NaN}");
    histogram_sum_deinit(&sum);
}

static void test_histogram_was_reset__looks_at_all_counts(void **state)
{
    (void)state;
    const struct histogram *before = MADE(0, 0, 1, 2, 0, 4);
    assert_false(histogram_was_reset(MADE(0, 0, 1, 2, 0, 4), before));
    assert_false(histogram_was_reset(MADE(0, -1, 7, 1, 2, 5, 5, 6), before));
    assert_true(histogram_was_reset(MADE(0, 0, 0, 3, 0, 4), before));
    assert_true(histogram_was_reset(MADE(0, 0, 1, 9), before)); /* Lost the last bucket. */
    assert_true(histogram_was_reset(MADE(0, 0, 1, 1, 0, 4), before));
    /* A lower resolution is fine, a higher one is not. */
    assert_false(histogram_was_reset(MADE(-1, 0, 1, 2, 4), before));
    assert_true(histogram_was_reset(MADE(-1, 0, 1, 1, 5), before));
    assert_true(histogram_was_reset(MADE(1, 0, 9, 9, 9, 9, 9, 9, 9, 9), before));
    /* A hint decides. */
    struct histogram *hinted = MADE(0, 0, 1, 2, 0, 4);
    hinted->hint = HISTOGRAM_RESET;
    assert_true(histogram_was_reset(hinted, before));
    struct histogram *less = MADE(0, 0, 1);
    less->hint = HISTOGRAM_NOT_RESET;
    assert_false(histogram_was_reset(less, before));
}

static void test_histogram_was_reset__knows_grown_zero_buckets(void **state)
{
    (void)state;
    struct histogram *before = MADE(0, 0, 1, 2), *after = MADE(0, 1, 2);
    before->zero_threshold = 0.5;
    after->zero_threshold = 1;
    after->zero_count = 1;
    after->count = 3;
    assert_false(histogram_was_reset(after, before));
    after->zero_count = 0; /* The bucket (0.5, 1] went into the zero bucket and was lost. */
    assert_true(histogram_was_reset(after, before));
    after->zero_count = 3;
    after->zero_threshold = 0.75; /* Within a populated bucket. */
    assert_true(histogram_was_reset(after, before));
    after->zero_threshold = 0.25;
    assert_true(histogram_was_reset(after, before));
}

static void test_histogram_was_reset__compares_custom_buckets_where_bounds_meet(void **state)
{
    (void)state;
    static const double few[] = {2, 4}, many[] = {1, 2, 3, 4};
    static const double of_few[] = {3, 7, 5}, same[] = {1, 2, 3, 4, 5}, less[] = {1, 1, 9, 9, 9};
    const struct histogram *before = custom(few, 2, of_few, 3);
    assert_false(histogram_was_reset(custom(many, 4, same, 5), before));
    assert_true(histogram_was_reset(custom(many, 4, less, 5), before));
    assert_true(histogram_was_reset(before, MADE(0, 0, 1)));
    assert_true(histogram_was_reset(MADE(0, 0, 99), before));
}

static void test_histogram_trimmed__splits_buckets(void **state)
{
    (void)state;
    struct histogram *histogram = MADE(0, 1, 4, 8);
    histogram->sum = 30;
    /* Nothing to cut: all stays. */
    assert_text(histogram_trimmed(&arena, histogram, 4, true),
                "{count:12, sum:30, (1,2]:4, (2,4]:8}");
    assert_text(histogram_trimmed(&arena, histogram, 1, false),
                "{count:12, sum:30, (1,2]:4, (2,4]:8}");
    const struct histogram *below = histogram_trimmed(&arena, histogram, 2, true);
    assert_int_equal(below->positive_count, 1);
    assert_true(fabs(below->count - 4) < 1e-12);
    assert_true(fabs(below->sum - 4 * sqrt(2)) < 1e-12);
    /* The middle of (2, 4] on the logarithm is sqrt(8). */
    below = histogram_trimmed(&arena, histogram, sqrt(8), true);
    assert_true(fabs(below->count - 8) < 1e-9);
    const struct histogram *above = histogram_trimmed(&arena, histogram, sqrt(8), false);
    assert_true(fabs(above->count - 4) < 1e-9);
    static const double bounds[] = {10, 20};
    static const double values[] = {4, 8, 2};
    assert_text(histogram_trimmed(&arena, custom(bounds, 2, values, 3), 15, true),
                "{count:8, sum:70, [-Inf,10]:4, (10,20]:4}");
    assert_text(histogram_trimmed(&arena, custom(bounds, 2, values, 3), 5, true),
                "{count:2, sum:5, [-Inf,10]:2}");
}

static void test_histogram_samples__counts_sixteen_bytes_as_one(void **state)
{
    (void)state;
    assert_int_equal(histogram_samples(&(struct histogram){0}), 11);
    assert_int_equal(histogram_samples(MADE(0, 0, 1, 2, 3)), 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_bound__follows_the_schema),
        cmocka_unit_test(test_histogram_bound__of_custom_buckets),
        cmocka_unit_test(test_histogram_walk__goes_both_ways),
        cmocka_unit_test(test_histogram_walk__survives_bad_spans),
        cmocka_unit_test(test_histogram_print__shows_populated_buckets),
        cmocka_unit_test(test_histogram_print_json__tells_which_bounds_belong),
        cmocka_unit_test(test_histogram_sum_add__meets_at_the_lower_resolution),
        cmocka_unit_test(test_histogram_sum_add__merges_layouts),
        cmocka_unit_test(test_histogram_sum_add__widens_the_zero_bucket),
        cmocka_unit_test(test_histogram_sum_add__keeps_the_bounds_that_both_have),
        cmocka_unit_test(test_histogram_sum_add__refuses_a_mix),
        cmocka_unit_test(test_histogram_sum_add__settles_hints),
        cmocka_unit_test(test_histogram_sum_add_kahan__keeps_small_terms),
        cmocka_unit_test(test_histogram_sum_divide__by_zero_leaves_no_buckets),
        cmocka_unit_test(test_histogram_was_reset__looks_at_all_counts),
        cmocka_unit_test(test_histogram_was_reset__knows_grown_zero_buckets),
        cmocka_unit_test(test_histogram_was_reset__compares_custom_buckets_where_bounds_meet),
        cmocka_unit_test(test_histogram_trimmed__splits_buckets),
        cmocka_unit_test(test_histogram_samples__counts_sixteen_bytes_as_one),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
