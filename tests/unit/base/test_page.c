/* Pages: each is its own, the lowest is taken first, and trimming leaves used ones as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/page.h"

#define COUNT 2000

static void fill(unsigned char **pages, size_t i)
{
    pages[i] = page_alloc();
    memset(pages[i], (int)(i % 251), PAGE_BYTES);
}

static void check(unsigned char *const *pages, size_t i)
{
    assert_int_equal(pages[i][0], i % 251);
    assert_int_equal(pages[i][PAGE_BYTES - 1], i % 251);
}

/* Pages of several chunks come and go with trims between: none is given twice, none loses its bytes. */
static void test_page_alloc__gives_each_page_once(void **state)
{
    (void)state;
    unsigned char **pages = mem_alloc_array(COUNT, sizeof(*pages));
    for (size_t i = 0; i < COUNT; i++)
        fill(pages, i);
    for (size_t round = 1; round < 6; round++) {
        for (size_t i = 0; i < COUNT; i += round)
            page_free(pages[i]);
        if (round % 2)
            page_trim();
        for (size_t i = 0; i < COUNT; i += round)
            fill(pages, i);
        for (size_t i = 0; i < COUNT; i++)
            check(pages, i);
    }
    for (size_t i = 0; i < COUNT; i++)
        page_free(pages[i]);
    page_trim();
    mem_free(pages);
}

/* What was freed is taken again before fresh memory: half of the pages leave no more behind than there were. */
static void test_page_in_use__counts(void **state)
{
    (void)state;
    size_t before = page_in_use();
    void *one = page_alloc(), *other = page_alloc();
    size_t between = page_in_use();
    page_free(one);
    page_free(other);
    assert_true(between == before || between == before + (size_t)2 * PAGE_BYTES);
    assert_int_equal(page_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_alloc__gives_each_page_once),
        cmocka_unit_test(test_page_in_use__counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
