/* Unit tests of storage/series: label sets in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define SETS   20000 /* Each has a value of its own: pair numbers of one, two and three bytes. */
#define WIDEST 400   /* Labels. */

static struct store_fixture f;

static int setup(void **state)
{
    (void)state;
    f = (struct store_fixture){0};
    store_setup(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_teardown(&f);
    return 0;
}

/* Set `number`: most have three labels, some hundreds. */
static size_t make_labels(uint32_t number, struct label *labels, char (*texts)[2][16])
{
    size_t count = number % 1000 == 999 ? WIDEST - number / 1000 : 3;
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i][0], sizeof(texts[i][0]), "l%03zu", i);
        snprintf(texts[i][1], sizeof(texts[i][1]), "%zu", i == 1 ? number : i * 7 % 5);
        labels[i] = (struct label){str_of(texts[i][0]), str_of(texts[i][1])};
    }
    return count;
}

/* What a series is called comes back whole, whatever its pairs' numbers and however many there are, and it is found by it. */
static void test_storage_series__keeps_label_sets(void **state)
{
    static char texts[WIDEST][2][16];
    struct label labels[WIDEST];
    struct err err;
    (void)state;
    series_ref *refs = mem_alloc_array(SETS, sizeof(*refs));
    for (uint32_t i = 0; i < SETS; i++) {
        size_t count = make_labels(i, labels, texts);
        refs[i] =
            storage_series(f.storage, f.group, labels, count, labels_hash(labels, count), &err);
        assert_true(refs[i] != SERIES_REF_NONE);
    }
    for (uint32_t i = 0; i < SETS; i++) {
        size_t count = make_labels(i, labels, texts);
        assert_int_equal(
            storage_series(f.storage, f.group, labels, count, labels_hash(labels, count), &err),
            refs[i]);
        struct labels *kept = storage_series_labels(f.storage, refs[i]);
        assert_int_equal(kept->count, count);
        for (size_t l = 0; l < count; l++) {
            assert_true(str_eq(kept->items[l].name, labels[l].name));
            assert_true(str_eq(kept->items[l].value, labels[l].value));
        }
        labels_unref(kept);
    }
    mem_free(refs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_storage_series__keeps_label_sets, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
