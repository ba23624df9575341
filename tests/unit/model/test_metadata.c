/* The metric types' names are part of the HTTP API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/metadata.h"

static void test_metric_type_text__is_the_apis_name(void **state)
{
    (void)state;
    assert_string_equal(metric_type_text(METRIC_UNKNOWN), "unknown");
    assert_string_equal(metric_type_text(METRIC_COUNTER), "counter");
    assert_string_equal(metric_type_text(METRIC_GAUGEHISTOGRAM), "gaugehistogram");
    assert_string_equal(metric_type_text(METRIC_STATESET), "stateset");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metric_type_text__is_the_apis_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
