/* summary: quantiles look back so far and no farther, sums and buckets for ever. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/summary.h"

static const double quantiles[] = {0, 0.5, 0.99, 1};

static void test_summary_add__counts_by_bucket(void **state)
{
    (void)state;
    struct summary summary = {0};
    static const double values[] = {0.005, 0.01, 0.011, 1, 5, 100};

    for (size_t i = 0; i < 6; i++)
        summary_add(&summary, values[i], 1000);
    assert_int_equal(summary.count, 6);
    assert_int_equal(summary.buckets[0], 2);
    assert_int_equal(summary.buckets[1], 1);
    assert_int_equal(summary.buckets[2], 1);
    assert_int_equal(summary.buckets[3], 1);
    assert_true(fabs(summary.sum - 106.026) < 1e-9);
}

/* The ring holds the last ones only; a rank is of what is there. */
static void test_summary_quantiles__are_of_the_last_values(void **state)
{
    (void)state;
    struct summary summary = {0};
    double out[4];

    for (int i = 1; i <= 3; i++)
        summary_add(&summary, i, 1000);
    summary_quantiles(&summary, 1000, quantiles, 4, out);
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 2 && out[3] == 3);
    for (int i = 1; i <= SUMMARY_WINDOW; i++)
        summary_add(&summary, 1000 + i, 1000);
    summary_quantiles(&summary, 1000, quantiles, 4, out);
    assert_true(out[0] == 1001 && out[3] == 1000 + SUMMARY_WINDOW);
    assert_int_equal(summary.count, 3 + SUMMARY_WINDOW);
}

/* As with Prometheus' own summaries: what nothing was measured of lately has no quantiles. */
static void test_summary_quantiles__forget_after_ten_minutes(void **state)
{
    (void)state;
    struct summary summary = {0};
    double out[4];

    summary_quantiles(&summary, 5, quantiles, 4, out);
    assert_true(isnan(out[0]) && isnan(out[3]));
    summary_add(&summary, 7, 1000000);
    summary_add(&summary, 9, 1300000);
    summary_quantiles(&summary, 1600000, quantiles, 4, out);
    assert_true(out[0] == 7 && out[3] == 9);
    summary_quantiles(&summary, 1700000, quantiles, 4, out);
    assert_true(out[0] == 9);
    summary_quantiles(&summary, 2000000, quantiles, 4, out);
    assert_true(isnan(out[1]));
    assert_true(summary.sum == 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary_add__counts_by_bucket),
        cmocka_unit_test(test_summary_quantiles__are_of_the_last_values),
        cmocka_unit_test(test_summary_quantiles__forget_after_ten_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
