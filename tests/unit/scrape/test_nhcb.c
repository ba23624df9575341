/* Classic histograms of texts as native ones with custom buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "text_dump.h"

static size_t one_byte(void *ctx)
{
    (void)ctx;
    return 1;
}

/* Whole, in bytes, and both again with what the cache has learnt. */
static void expect(enum text_format format, bool keep_classic, const char *text, const char *want)
{
    for (int round = 0; round < 2; round++) {
        struct text_dump dump;
        text_dump_init(&dump);
        dump.format = format;
        dump.nhcb = true;
        dump.keep_classic = keep_classic;
        for (int again = 0; again < 2; again++) {
            buf_clear(&dump.out);
            (void)text_dump_run(&dump, str_of(text), PARSE_LINE_BYTES_MAX, round ? one_byte : NULL,
                                NULL);
            if (!str_eq(buf_str(&dump.out), str_of(want)))
                fail_msg("got\n" STR_FMT "not\n%s", STR_ARG(buf_str(&dump.out)), want);
        }
        text_dump_deinit(&dump);
    }
}

/* One histogram a run of equal labels, whatever their order; what is no part of it passes. */
static void test_nhcb__gathers_runs(void **state)
{
    (void)state;
    expect(TEXT_PROMETHEUS, false,
           "# TYPE h histogram\n"
           "h_bucket{a=\"1\",b=\"2\",le=\"1\"} 1\nh_bucket{le=\"+Inf\",b=\"2\",a=\"1\"} 3\n"
           "h_sum{b=\"2\",a=\"1\"} 4\nh_count{a=\"1\",b=\"2\"} 3\n"
           "h_bucket{a=\"2\",le=\"1\"} 1.5\nh_sum{a=\"2\"} 4\nh_count{a=\"2\"} 3 123\n"
           "h_created{a=\"2\"} 5\nother_count 6\nh 7\n"
           "# TYPE s summary\ns_count 1\n",
           "type h histogram\n"
           "{__name__=\"h\", a=\"1\", b=\"2\"} {count:3, sum:4, [-Inf,1]:1, (1,+Inf]:2}\n"
           "{__name__=\"h\", a=\"2\"} {count:3, sum:4, [-Inf,1]:1.5, (1,+Inf]:1.5} @123\n"
           "{__name__=\"h_created\", a=\"2\"} 5\n{__name__=\"other_count\"} 6\n{__name__=\"h\"} 7\n"
           "type s summary\n{__name__=\"s_count\"} 1\n");
}

/* At the end of the input, too; and the classic lines beside it when they are wanted. */
static void test_nhcb__ends_and_keeps_classic(void **state)
{
    (void)state;
    expect(TEXT_OPENMETRICS, true,
           "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {t=\"x\"} 0.5 9.5\n"
           "h_bucket{le=\"+Inf\"} 1 # {t=\"y\"} 2\nh_count 1\nh_sum 0.5\n# EOF\n",
           "type h histogram\n{__name__=\"h_bucket\", le=\"1.0\"} 1\n"
           "{__name__=\"h_bucket\", le=\"+Inf\"} 1\n{__name__=\"h_count\"} 1\n{__name__=\"h_sum\"} "
           "0.5\n"
           "{__name__=\"h\"} {count:1, sum:0.5, [-Inf,1]:1}\n"
           "exemplar {t=\"x\"} 0.5 @9500\nexemplar {t=\"y\"} 2\n");
}

/* From the first histogram on OpenMetrics' _created lines are start times, not series; under a type
 * that has none they are what they say. */
static void test_nhcb__takes_created_for_start_times(void **state)
{
    (void)state;
    expect(TEXT_OPENMETRICS, false,
           "# TYPE a counter\na_total 1\na_created 2\n"
           "# TYPE h histogram\nh_bucket{le=\"-0\"} 1\nh_count 1\nh_sum 0.5\nh_created 3\n"
           "# TYPE b counter\nb_total 1\nb_created 2\n# TYPE c gauge\nc_created 4\n# EOF\n",
           "type a counter\n{__name__=\"a_total\"} 1\n{__name__=\"a_created\"} 2\n"
           "type h histogram\n{__name__=\"h\"} {count:1, sum:0.5, [-Inf,0]:1}\n"
           "type b counter\n{__name__=\"b_total\"} 1\n"
           "type c gauge\n{__name__=\"c_created\"} 4\n");
}

/* Buckets that make no histogram are gone; bounds that are none make the line an ordinary one. */
static void test_nhcb__refuses_what_is_no_histogram(void **state)
{
    (void)state;
    expect(
        TEXT_PROMETHEUS, false,
        "# TYPE h histogram\n"
        "h_bucket{a=\"falls\",le=\"1\"} 3\nh_bucket{a=\"falls\",le=\"2\"} 1\nh_count{a=\"falls\"} "
        "3\n"
        "h_count{a=\"other count\"} 2\nh_bucket{a=\"other count\",le=\"+Inf\"} 3\n"
        "h_count{a=\"negative\"} -2\n"
        "h_bucket{a=\"word\",le=\"x\"} 1\nh_bucket{a=\"none\"} 1\n"
        "h_count{a=\"alone\"} 2\n"
        "# TYPE g gaugehistogram_is_no_word_here\n",
        "type h histogram\n"
        "{__name__=\"h_bucket\", a=\"word\", le=\"x\"} 1\n{__name__=\"h_bucket\", a=\"none\"} 1\n"
        "line 11: invalid metric type \"gaugehistogram_is_no_word_here\"\n");
}

/* Any order of buckets, and each bound once. */
static void test_nhcb_build__sorts_buckets(void **state)
{
    struct nhcb_build build = {0};
    struct arena arena;

    (void)state;
    arena_init(&arena, 0);
    nhcb_build_bucket(&build, 4, 5);
    nhcb_build_bucket(&build, 1, 2);
    nhcb_build_bucket(&build, 4, 99);
    nhcb_build_bucket(&build, 2, 2);
    const struct histogram *histogram = nhcb_build_take(&build, HISTOGRAM_GAUGE, &arena);
    assert_non_null(histogram);
    assert_true(histogram->is_integer && histogram->count == 5);
    assert_int_equal(histogram->bound_count, 3);
    assert_int_equal(histogram->positive_count, 2);
    assert_true(histogram->positive[1] == 3);
    assert_int_equal(histogram->hint, HISTOGRAM_GAUGE);
    nhcb_build_reset(&build);
    nhcb_build_bucket(&build, INFINITY, NAN);
    assert_null(nhcb_build_take(&build, HISTOGRAM_GAUGE, &arena));
    nhcb_build_deinit(&build);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nhcb__gathers_runs),
        cmocka_unit_test(test_nhcb__ends_and_keeps_classic),
        cmocka_unit_test(test_nhcb__takes_created_for_start_times),
        cmocka_unit_test(test_nhcb__refuses_what_is_no_histogram),
        cmocka_unit_test(test_nhcb_build__sorts_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
