/* Unit tests of base/vec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/vec.h"

static int compare_ints(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

static void test_vec_reserve__keeps_items_through_growth(void **state)
{
    (void)state;
    VEC(int) vec = {0};
    int wanted = 0;

    VEC_SORT(&vec, compare_ints);
    for (int i = 0; i < 1000; i++)
        VEC_PUSH(&vec, 999 - i);
    VEC_SORT(&vec, compare_ints);
    VEC_EACH (item, &vec)
        assert_int_equal(*item, wanted++);
    assert_int_equal(wanted, 1000);
    assert_int_equal(VEC_POP(&vec), 999);
    assert_int_equal(vec.count, 999);
    size_t capacity = vec.capacity;
    VEC_CLEAR(&vec);
    assert_int_equal(vec.capacity, capacity);
    VEC_RESERVE(&vec, 5000);
    assert_true(vec.capacity >= 5000);
    VEC_FREE(&vec);
    assert_null(vec.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vec_reserve__keeps_items_through_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
