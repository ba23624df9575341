/* Unit tests of base/clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_clock_set_wall_ms__freezes_the_wall_only(void **state)
{
    (void)state;
    clock_set_wall_ms(1435781451781);
    assert_true(clock_wall_ms() == 1435781451781);
    assert_true(clock_wall_ns() == 1435781451781 * INT64_C(1000000));
    int64_t mono = clock_mono_ns();
    assert_true(clock_mono_ns() >= mono);
    assert_true(clock_mono_ms() >= mono / 1000000);
    clock_set_wall_ms(INT64_MIN);
    assert_true(clock_wall_ms() > 1600000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_set_wall_ms__freezes_the_wall_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
