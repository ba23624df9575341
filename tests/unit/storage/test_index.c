/* index: names, pairs and postings under many values, sweeps, and a reader beside the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "index.h"

#define SERIES_COUNT 40000

static uint32_t add(struct index *index, uint32_t ref)
{
    char text[16];
    uint32_t pairs[2];
    snprintf(text, sizeof(text), "%u", ref);
    pairs[0] = index_pair_intern(index, STR("all"), STR("same"));
    pairs[1] = index_pair_intern(index, STR("each"), str_of(text));
    index_add_series(index, pairs, 2, ref);
    return pairs[0];
}

static bool odd_is_gone(void *ctx, uint32_t ref)
{
    (void)ctx;
    return ref % 2 == 1;
}

static void test_index__finds_each_value_again(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    for (uint32_t ref = 0; ref < SERIES_COUNT; ref++)
        add(index, ref);
    uint32_t name = index_name_find(index, STR("each"));
    assert_int_equal(id_list_view(&index_name(index, name)->pairs).count, SERIES_COUNT);
    for (uint32_t ref = 0; ref < SERIES_COUNT; ref += 7) {
        char text[16];
        snprintf(text, sizeof(text), "%u", ref);
        uint32_t pair = index_pair_find(index, name, str_of(text));
        assert_int_not_equal(pair, INDEX_NONE);
        struct id_view view = id_list_view(&index_pair(index, pair)->postings);
        assert_int_equal(view.count, 1);
        assert_int_equal(view.items[0], ref);
    }
    assert_int_equal(index_pair_find(index, name, STR("none")), INDEX_NONE);
    assert_int_equal(index_name_find(index, STR("")), INDEX_NONE);
    uint64_t bytes = index_bytes(index);
    index_sweep(index, odd_is_gone, NULL);
    epoch_collect(&epoch);
    assert_int_equal(epoch.retired_count, 0);
    assert_true(index_bytes(index) < bytes);
    uint32_t same = index_pair_find(index, index_name_find(index, STR("all")), STR("same"));
    struct id_view view = id_list_view(&index_pair(index, same)->postings);
    assert_int_equal(view.count, SERIES_COUNT / 2);
    for (uint32_t i = 0; i < view.count; i++)
        assert_int_equal(view.items[i], 2 * i);
    add(index, SERIES_COUNT); /* A swept list grows again. */
    view = id_list_view(&index_pair(index, same)->postings);
    assert_int_equal(view.items[view.count - 1], SERIES_COUNT);
    index_free(index);
    epoch_deinit(&epoch);
}

struct looker {
    struct index *index;
    struct epoch *epoch;
    atomic_bool stop;
    size_t wrong;
};

static void *look(void *ctx)
{
    struct looker *looker = ctx;
    while (!atomic_load(&looker->stop)) {
        uint32_t pin = epoch_pin(looker->epoch);
        uint32_t name = index_name_find(looker->index, STR("all"));
        uint32_t pair =
            name == INDEX_NONE ? INDEX_NONE : index_pair_find(looker->index, name, STR("same"));
        if (pair != INDEX_NONE) {
            struct id_view view = id_list_view(&index_pair(looker->index, pair)->postings);
            for (uint32_t i = 1; i < view.count; i++)
                looker->wrong += view.items[i - 1] >= view.items[i];
        }
        epoch_unpin(looker->epoch, pin);
    }
    return NULL;
}

/* Lists and tables are replaced under a reader that holds on to the old ones. */
static void test_index__readers_see_ascending_postings(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct looker looker = {.index = index_new(&epoch), .epoch = &epoch};
    pthread_t thread;
    pthread_create(&thread, NULL, look, &looker);
    for (uint32_t ref = 0; ref < SERIES_COUNT / 4; ref++) {
        add(looker.index, ref);
        if (ref % 500 == 0)
            index_sweep(looker.index, odd_is_gone, NULL);
        epoch_collect(&epoch);
    }
    atomic_store(&looker.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(looker.wrong, 0);
    index_free(looker.index);
    epoch_deinit(&epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index__finds_each_value_again),
        cmocka_unit_test(test_index__readers_see_ascending_postings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
