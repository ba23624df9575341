/* Unit tests of base/heap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"

static bool int_less(const void *a, const void *b)
{
    return *(const int *)a < *(const int *)b;
}

static void test_heap_pop__gives_items_in_order(void **state)
{
    (void)state;
    struct heap heap;
    int values[1000];

    heap_init(&heap, int_less);
    assert_null(heap_pop(&heap));
    for (int i = 0; i < 1000; i++) {
        values[i] = i * 7919 % 1000;
        heap_push(&heap, &values[i]);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(*(int *)heap_pop(&heap), i);
    assert_null(heap_pop(&heap));
    heap_deinit(&heap);
    heap_deinit(NULL);
}

/* A merge moves the least cursor on and asks for the next. */
static void test_heap_fix_top__moves_a_changed_key_down(void **state)
{
    (void)state;
    struct heap heap;
    int values[] = {0, 1, 2};
    int last = -1;

    heap_init(&heap, int_less);
    for (int i = 0; i < 3; i++)
        heap_push(&heap, &values[i]);
    for (int step = 0; step < 300; step++) {
        int *least = heap.items[0];
        assert_int_equal(*least, last + 1);
        last = *least;
        *least += 3;
        heap_fix_top(&heap);
    }
    heap_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_pop__gives_items_in_order),
        cmocka_unit_test(test_heap_fix_top__moves_a_changed_key_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
