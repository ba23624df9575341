/* quantity: numbers as Kubernetes reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "quantity.h"

typedef bool (*add_fn)(struct buf *out, double value);

static void check(add_fn add, double value, const char *wanted)
{
    struct buf out;

    buf_init(&out, 100);
    assert_true(add(&out, value));
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
}

/* A fraction is thousandths; whole numbers have no suffix; the rest is cut off as the adapter does. */
static void test_quantity_add_milli__writes_whole_numbers_and_thousandths(void **state)
{
    (void)state;
    check(quantity_add_milli, 0, "0");
    check(quantity_add_milli, 450, "450");
    check(quantity_add_milli, 100.5, "100500m");
    check(quantity_add_milli, 150.5, "150500m");
    check(quantity_add_milli, 0.29, "290m");
    check(quantity_add_milli, 0.0009, "0");
    check(quantity_add_milli, 1.9999, "1999m");
    check(quantity_add_milli, -1.9999, "-1999m");
    check(quantity_add_milli, -3, "-3");
    check(quantity_add_milli, 1e15, "1000000000000000");
}

/* What is no quantity is not written: a 0 in its place would scale down. */
static void test_quantity_add_milli__refuses_what_is_no_quantity(void **state)
{
    const double bad[] = {NAN, INFINITY, -INFINITY, 1e19, -1e19, 9.3e15};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(quantity_add_milli(&out, bad[i]));
        assert_false(quantity_is_possible(bad[i]));
    }
    assert_int_equal(out.len, 0);
    assert_true(quantity_is_possible(9.2e15));
    buf_deinit(&out);
}

/* As the metrics server writes them. */
static void test_quantity_add_nano__and_bytes_have_their_suffixes(void **state)
{
    (void)state;
    check(quantity_add_nano, 0.0125, "12500000n");
    check(quantity_add_nano, 2, "2");
    check(quantity_add_bytes, 20480 * 1024.0, "20480Ki");
    check(quantity_add_bytes, 1000, "1000");
    check(quantity_add_bytes, 0, "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantity_add_milli__writes_whole_numbers_and_thousandths),
        cmocka_unit_test(test_quantity_add_milli__refuses_what_is_no_quantity),
        cmocka_unit_test(test_quantity_add_nano__and_bytes_have_their_suffixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
