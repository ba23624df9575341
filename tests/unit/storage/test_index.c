/* index: names, pairs and postings against a plain model, through sweeps and numbers that are used again, with texts of
 * all lengths; memory that must not grow with churn; readers beside the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "index.h"
#include "index_list.h"

#define SERIES_COUNT 40000

static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(random_next(state) % bound);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t find(const struct index *index, const char *name, const char *value)
{
    uint32_t number = index_name_find(index, str_of(name));
    return number == INDEX_NONE ? INDEX_NONE : index_pair_find(index, number, str_of(value));
}

/* --- sorting --- */

/* Sizes on both sides of each way to sort, dense and wide numbers, with and without doubles. */
static void test_refs_sort_unique__agrees_with_qsort(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 63, 64, 65, 500, 5000, 100000};
    static const uint32_t bounds[] = {1, 7, 2048, 100000, 5000000, UINT32_MAX};
    uint64_t random = 1;
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
            struct ref_vec refs = {0}, wanted = {0};
            for (size_t i = 0; i < counts[c]; i++) {
                uint32_t ref = random_below(&random, bounds[b]);
                VEC_PUSH(&refs, ref);
                VEC_PUSH(&wanted, ref);
            }
            VEC_SORT(&wanted, compare_u32);
            size_t kept = 0;
            for (size_t i = 0; i < wanted.count; i++) {
                if (i == 0 || wanted.items[i] != wanted.items[kept - 1])
                    wanted.items[kept++] = wanted.items[i];
            }
            refs_sort_unique(&refs);
            assert_int_equal(refs.count, kept);
            if (kept)
                assert_memory_equal(refs.items, wanted.items, kept * sizeof(uint32_t));
            refs_sort_unique(&refs); /* What is sorted stays. */
            assert_int_equal(refs.count, kept);
            VEC_FREE(&refs);
            VEC_FREE(&wanted);
        }
    }
}

/* --- lists --- */

/* Runs, jumps of each length ahead and back, from 0 to the highest number: read back as they came. */
static void test_index_list_push__keeps_order_and_all_numbers(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0,
                                     UINT32_MAX - 1,
                                     1,
                                     65,
                                     130,
                                     131,
                                     197,
                                     2000000,
                                     2000001,
                                     2000002,
                                     2000003,
                                     500,
                                     501,
                                     502,
                                     64,
                                     8000,
                                     8001,
                                     16386,
                                     16452,
                                     UINT32_MAX - 3,
                                     UINT32_MAX - 2,
                                     3,
                                     0x7fffffff,
                                     0x80000000,
                                     0x80000001};
    struct epoch epoch;
    epoch_init(&epoch);
    struct index_heap heap = {.epoch = &epoch};
    struct index_list list = {0};
    struct ref_vec read = {0};
    size_t count = sizeof(edges) / sizeof(edges[0]);
    assert_int_equal(index_list_count(&list), 0);
    for (size_t i = 0; i < count; i++) {
        index_list_push(&list, &heap, edges[i]);
        VEC_CLEAR(&read);
        index_list_read(&list, &read);
        assert_int_equal(read.count, i + 1);
        assert_int_equal(index_list_count(&list), i + 1);
        assert_memory_equal(read.items, edges, (i + 1) * sizeof(uint32_t));
    }
    struct index_block *old = index_list_replace(&list, &heap, edges, count);
    assert_non_null(old);
    index_block_free(old, &heap);
    index_list_push(&list, &heap, 0x80000002); /* Goes on with the open run. */
    VEC_CLEAR(&read);
    index_list_read(&list, &read);
    assert_int_equal(read.count, count + 1);
    assert_memory_equal(read.items, edges, count * sizeof(uint32_t));
    assert_int_equal(read.items[count], 0x80000002);
    index_block_free(index_list_replace(&list, &heap, NULL, 0), &heap);
    VEC_FREE(&read);
    epoch_deinit(&epoch);
    assert_int_equal(heap.bytes, 0);
}

/* A list of one run, as each target's labels have, owns no memory. */
static void test_index_list_push__run_takes_no_heap(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index_heap heap = {.epoch = &epoch};
    struct index_list list = {0};
    for (uint32_t i = 0; i < 500; i++)
        index_list_push(&list, &heap, 77 + i);
    assert_int_equal(heap.bytes, 0);
    assert_int_equal(index_list_count(&list), 500);
    uint64_t words[16] = {0};
    struct index_bits bits = {.words = words, .word_count = 16};
    index_bits_set(&bits, 76);
    index_bits_set(&bits, 577);
    assert_false(index_list_meets(&list, &bits));
    index_bits_set(&bits, 576);
    assert_true(index_list_meets(&list, &bits));
    epoch_deinit(&epoch);
}

/* --- one thread --- */

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

static bool all_are_gone(void *ctx, uint32_t ref)
{
    (void)ctx;
    (void)ref;
    return true;
}

static bool none_is_gone(void *ctx, uint32_t ref)
{
    (void)ctx;
    (void)ref;
    return false;
}

/* Many values of one name: each is found, and a sweep takes exactly those whose series are gone. */
static void test_index__finds_each_value_again(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    struct ref_vec refs = {0};
    for (uint32_t ref = 0; ref < SERIES_COUNT; ref++)
        add(index, ref);
    uint32_t name = index_name_find(index, STR("each"));
    index_name_pairs(index, name, &refs);
    assert_int_equal(refs.count, SERIES_COUNT);
    for (uint32_t ref = 0; ref < SERIES_COUNT; ref += 7) {
        char text[16];
        snprintf(text, sizeof(text), "%u", ref);
        uint32_t pair = index_pair_find(index, name, str_of(text));
        assert_int_not_equal(pair, INDEX_NONE);
        VEC_CLEAR(&refs);
        index_postings(index, pair, &refs);
        assert_int_equal(refs.count, 1);
        assert_int_equal(refs.items[0], ref);
    }
    assert_int_equal(index_pair_find(index, name, STR("none")), INDEX_NONE);
    assert_int_equal(index_name_find(index, STR("")), INDEX_NONE);
    uint64_t bytes = index_bytes(index);
    index_sweep(index, odd_is_gone, NULL);
    epoch_collect(&epoch);
    assert_int_equal(epoch.retired_count, 0);
    assert_true(index_bytes(index) < bytes);
    assert_int_equal(index_pair_total(index), SERIES_COUNT / 2 + 1);
    assert_int_equal(find(index, "each", "1"), INDEX_NONE);
    VEC_CLEAR(&refs);
    index_postings(index, find(index, "all", "same"), &refs);
    assert_int_equal(refs.count, SERIES_COUNT / 2);
    for (uint32_t i = 0; i < refs.count; i++)
        assert_int_equal(refs.items[i], 2 * i);
    add(index, SERIES_COUNT); /* A swept list grows again. */
    assert_int_equal(index_postings_count(index, find(index, "all", "same")), SERIES_COUNT / 2 + 1);
    VEC_FREE(&refs);
    index_free(index);
    epoch_deinit(&epoch);
}

/* Texts of every kind of storage, up to 64 KiB; empty values are values. */
static void test_index_pair_intern__takes_texts_of_all_lengths(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 7, 8, 9, 100, 254, 255, 256, 1000, 65535, 65536};
    size_t count = sizeof(lens) / sizeof(lens[0]);
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    char *text = malloc(65536);
    memset(text, 'x', 65536);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t pair = index_pair_intern(index, str_from(text, lens[i]), str_from(text, lens[i]));
        assert_int_equal(pair, i);
        assert_int_equal(index_pair_intern(index, str_from(text, lens[i]), str_from(text, lens[i])),
                         i);
        index_add_series(index, &pair, 1, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct str wanted = str_from(text, lens[i]);
        uint32_t name = index_name_find(index, wanted);
        assert_int_equal(index_pair_find(index, name, wanted), i);
        assert_int_equal(index_pair_name(index, i), name);
        assert_true(str_eq(index_pair_value(index, i), wanted));
        assert_true(str_eq(index_name_text(index, name), wanted));
    }
    assert_true(index_has_room(index, 64));
    assert_int_equal(index_pair_bound(index), count);
    index_sweep(index, all_are_gone, NULL);
    epoch_collect(&epoch);
    assert_int_equal(index_pair_total(index), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(index_pair_name(index, i), INDEX_NONE);
        assert_int_equal(index_pair_value(index, i).len, 0);
        assert_int_equal(index_name_text(index, i).len, 0);
        assert_int_equal(index_postings_count(index, i), 0);
    }
    free(text);
    index_free(index);
    epoch_deinit(&epoch);
}

/* Refs that are used again make jumps back; a sweep writes what it touches in order, where it takes less room. */
static void test_index_sweep__leaves_lists_in_order(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    struct ref_vec refs = {0};
    for (uint32_t i = 0; i < 1000; i++)
        add(index, i * 7 % 1000);
    index_postings(index, find(index, "all", "same"), &refs);
    assert_int_equal(refs.count, 1000);
    for (uint32_t i = 0; i < refs.count; i++)
        assert_int_equal(refs.items[i], i * 7 % 1000);
    index_sweep(index, odd_is_gone, NULL);
    VEC_CLEAR(&refs);
    index_postings(index, find(index, "all", "same"), &refs);
    assert_int_equal(refs.count, 500);
    for (uint32_t i = 0; i < refs.count; i++)
        assert_int_equal(refs.items[i], 2 * i);
    VEC_FREE(&refs);
    index_free(index);
    epoch_deinit(&epoch);
}

/* Pods come and go: numbers are used again and memory stays where it was. */
static void test_index_sweep__churn_does_not_grow(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    uint64_t settled = 0;
    uint32_t bound = 0;
    for (int round = 0; round < 60; round++) {
        for (uint32_t ref = 0; ref < 2000; ref++) {
            char pod[64], family[16];
            snprintf(pod, sizeof(pod), "a-workload-with-a-name-%d-%u", round, ref / 10);
            snprintf(family, sizeof(family), "m%u", ref % 10);
            uint32_t pairs[] = {index_pair_intern(index, STR("family"), str_of(family)),
                                index_pair_intern(index, STR("pod"), str_of(pod)),
                                index_pair_intern(index, str_of(pod), str_of("once"))};
            index_add_series(index, pairs, 3, ref);
        }
        index_sweep(index, all_are_gone, NULL);
        epoch_collect(&epoch);
        if (round == 4) {
            settled = index_bytes(index);
            bound = index_pair_bound(index);
        }
    }
    assert_true(index_bytes(index) <= settled);
    assert_int_equal(index_pair_bound(index), bound);
    assert_true(index_name_bound(index) <= 3 * 202);
    index_free(index);
    epoch_deinit(&epoch);
}

/* Who holds a pin keeps name and value of what it found, however often the writer sweeps; numbers are not used again. */
static void test_index_sweep__pinned_reader_keeps_its_pairs(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    uint32_t old = index_pair_intern(index, STR("pod"), STR("one-with-a-long-name"));
    index_add_series(index, &old, 1, 0);
    uint32_t pin = epoch_pin(&epoch);
    assert_int_equal(find(index, "pod", "one-with-a-long-name"), old);
    for (uint32_t i = 0; i < 5; i++) {
        index_sweep(index, all_are_gone, NULL);
        epoch_collect(&epoch);
        uint32_t pair = index_pair_intern(index, STR("pod"), STR("another"));
        assert_int_not_equal(pair, old);
        index_add_series(index, &pair, 1, 0);
    }
    assert_int_equal(find(index, "pod", "one-with-a-long-name"), INDEX_NONE);
    assert_true(str_eq(index_pair_value(index, old), STR("one-with-a-long-name")));
    assert_true(str_eq(index_name_text(index, index_pair_name(index, old)), STR("pod")));
    assert_int_equal(index_postings_count(index, old), 0);
    epoch_unpin(&epoch, pin);
    epoch_collect(&epoch);
    assert_int_equal(index_pair_value(index, old).len, 0); /* Buried. */
    index_sweep(index, none_is_gone, NULL);
    epoch_collect(&epoch);
    bool again = false; /* It comes back among the next few. */
    for (int i = 0; i < 8; i++) {
        char text[16];
        snprintf(text, sizeof(text), "new-%d", i);
        again |= index_pair_intern(index, STR("pod"), str_of(text)) == old;
    }
    assert_true(again);
    index_free(index);
    epoch_deinit(&epoch);
}

/* The storage may end its epoch before the index or after it, with a sweep's leavings on their way. */
static void test_index_free__in_either_order(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct epoch epoch;
        epoch_init(&epoch);
        struct index *index = index_new(&epoch);
        for (int round = 0; round < 3; round++) {
            for (uint32_t ref = 0; ref < 100; ref++)
                add(index, ref);
            index_sweep(index, all_are_gone, NULL);
            if (round == 0)
                epoch_collect(&epoch);
        }
        if (order == 0) {
            index_free(index);
            epoch_deinit(&epoch);
        } else {
            epoch_deinit(&epoch);
            index_free(index);
        }
    }
}

/* --- against a model --- */

#define MODEL_REFS   3000
#define MODEL_NAMES  12
#define MODEL_VALUES 400

struct model {
    struct epoch epoch;
    struct index *index;
    uint64_t random;
    bool live[MODEL_REFS], gone[MODEL_REFS];
    int16_t values[MODEL_REFS][MODEL_NAMES]; /* -1: without that label. */
    char *texts[MODEL_VALUES];
    struct ref_vec unused; /* Refs; taken from the end. */
};

static struct str model_value(const struct model *model, int value)
{
    return str_of(model->texts[value]);
}

static struct str model_name(int name)
{
    static const char *const names[MODEL_NAMES] = {
        "a",   "job",     "instance", "namespace", "__name__", "le",
        "pod", "node_id", "12345678", "123456789", "x_y_z",    "a_name_that_is_rather_long"};
    return str_of(names[name]);
}

static void model_open(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof(*model));
    model->random = seed;
    epoch_init(&model->epoch);
    model->index = index_new(&model->epoch);
    for (uint32_t i = 0; i < MODEL_VALUES; i++) {
        size_t len = i == 0 ? 0 : 3 + (i * i) % (i % 50 == 0 ? 2000 : 30);
        model->texts[i] = malloc(len + 8);
        memset(model->texts[i], 'v', len + 8);
        model->texts[i][len] = 0;
        if (i)
            memcpy(model->texts[i],
                   (char[]){(char)('a' + i % 20), (char)('a' + i / 20 % 20), (char)('A' + i / 400)},
                   3);
    }
    for (uint32_t i = MODEL_REFS; i > 0; i--)
        VEC_PUSH(&model->unused, i - 1);
}

static void model_close(struct model *model)
{
    index_free(model->index);
    epoch_deinit(&model->epoch);
    for (size_t i = 0; i < MODEL_VALUES; i++)
        free(model->texts[i]);
    VEC_FREE(&model->unused);
}

/* A target's worth of series: some labels are the same for all, some differ. */
static void model_add(struct model *model, uint32_t count)
{
    int16_t shared[MODEL_NAMES];
    for (int name = 0; name < MODEL_NAMES; name++)
        shared[name] = (int16_t)random_below(&model->random, MODEL_VALUES);
    for (uint32_t i = 0; i < count && model->unused.count > 0; i++) {
        uint32_t ref = VEC_POP(&model->unused), pairs[MODEL_NAMES];
        size_t pair_count = 0;
        for (int name = 0; name < MODEL_NAMES; name++) {
            int value = name % 3 == 0   ? shared[name]
                        : name % 3 == 1 ? (int)(i % 10)
                                        : (int)random_below(&model->random, MODEL_VALUES);
            if (name && random_below(&model->random, 5) == 0)
                value = -1;
            model->values[ref][name] = (int16_t)value;
            if (value >= 0)
                pairs[pair_count++] =
                    index_pair_intern(model->index, model_name(name), model_value(model, value));
        }
        index_add_series(model->index, pairs, pair_count, ref);
        model->live[ref] = true;
    }
}

static bool model_is_gone(void *ctx, uint32_t ref)
{
    const struct model *model = ctx;
    assert_true(model->live[ref]); /* Only refs that are there are asked for. */
    return model->gone[ref];
}

static void model_sweep(struct model *model)
{
    uint32_t kind = random_below(&model->random, 4);
    uint32_t from = random_below(&model->random, MODEL_REFS);
    for (uint32_t ref = 0; ref < MODEL_REFS; ref++) {
        bool hit = kind == 0   ? random_below(&model->random, 10) == 0
                   : kind == 1 ? ref >= from && ref < from + 500
                   : kind == 2 ? random_below(&model->random, 10) > 0
                               : false;
        model->gone[ref] = model->live[ref] && hit;
    }
    index_sweep(model->index, model_is_gone, model);
    for (uint32_t ref = 0; ref < MODEL_REFS; ref++) {
        if (!model->gone[ref])
            continue;
        model->live[ref] = false;
        VEC_PUSH(&model->unused, ref);
    }
    /* Not always in order. */
    for (size_t i = 0; kind == 0 && i < model->unused.count; i++) {
        uint32_t other = random_below(&model->random, (uint32_t)model->unused.count);
        uint32_t swap = model->unused.items[i];
        model->unused.items[i] = model->unused.items[other];
        model->unused.items[other] = swap;
    }
}

static void model_check_pair(const struct model *model, int name, int value, uint32_t *pair)
{
    struct ref_vec refs = {0}, wanted = {0};
    const struct index *index = model->index;
    uint32_t number = index_name_find(index, model_name(name));
    *pair = number == INDEX_NONE ? INDEX_NONE
                                 : index_pair_find(index, number, model_value(model, value));
    for (uint32_t ref = 0; ref < MODEL_REFS; ref++) {
        if (model->live[ref] && model->values[ref][name] == value)
            VEC_PUSH(&wanted, ref);
    }
    assert_int_equal(*pair != INDEX_NONE, wanted.count > 0);
    if (*pair != INDEX_NONE) {
        index_postings(index, *pair, &refs);
        assert_int_equal(refs.count, wanted.count);
        assert_int_equal(index_postings_count(index, *pair), wanted.count);
        refs_sort_unique(&refs);
        assert_int_equal(refs.count, wanted.count);
        assert_memory_equal(refs.items, wanted.items, wanted.count * sizeof(uint32_t));
        assert_true(str_eq(index_pair_value(index, *pair), model_value(model, value)));
        assert_int_equal(index_pair_name(index, *pair), number);
        assert_true(*pair < index_pair_bound(index));
    }
    VEC_FREE(&refs);
    VEC_FREE(&wanted);
}

static void model_check(const struct model *model)
{
    size_t total = 0;
    for (int name = 0; name < MODEL_NAMES; name++) {
        struct ref_vec pairs = {0}, wanted = {0};
        for (int value = 0; value < MODEL_VALUES; value++) {
            uint32_t pair;
            model_check_pair(model, name, value, &pair);
            if (pair != INDEX_NONE)
                VEC_PUSH(&wanted, pair);
        }
        VEC_SORT(&wanted, compare_u32);
        uint32_t number = index_name_find(model->index, model_name(name));
        assert_int_equal(number != INDEX_NONE, wanted.count > 0);
        if (number != INDEX_NONE)
            index_name_pairs(model->index, number, &pairs);
        assert_int_equal(pairs.count, wanted.count);
        if (wanted.count)
            assert_memory_equal(pairs.items, wanted.items, wanted.count * sizeof(uint32_t));
        total += wanted.count;
        VEC_FREE(&pairs);
        VEC_FREE(&wanted);
    }
    assert_int_equal(index_pair_total(model->index), total);
}

/* Everything that can be asked, after each of many adds and sweeps, with readers that keep numbers from being used again
 * for a while. */
static void test_index__agrees_with_a_model(void **state)
{
    (void)state;
    struct model *model = malloc(sizeof(*model));
    for (uint64_t seed = 1; seed <= 3; seed++) {
        bool pinned = false;
        uint32_t pin = 0;
        model_open(model, seed);
        for (int step = 0; step < 60; step++) {
            for (uint32_t i = random_below(&model->random, 6); i > 0; i--)
                model_add(model, 1 + random_below(&model->random, 300));
            if (step % 3 == 2)
                model_sweep(model);
            if (random_below(&model->random, 3) > 0)
                epoch_collect(&model->epoch);
            if (random_below(&model->random, 4) == 0) {
                if (pinned)
                    epoch_unpin(&model->epoch, pin);
                else
                    pin = epoch_pin(&model->epoch);
                pinned = !pinned;
            }
            if (step % 10 == 9)
                model_check(model);
        }
        if (pinned)
            epoch_unpin(&model->epoch, pin);
        model_check(model);
        model_close(model);
    }
    free(model);
}

/* A hundred thousand pairs in the table, half of them taken out and put in again. */
static void test_index__many_pairs(void **state)
{
    (void)state;
    struct epoch epoch;
    epoch_init(&epoch);
    struct index *index = index_new(&epoch);
    for (int round = 0; round < 3; round++) {
        for (uint32_t ref = round ? 1 : 0; ref < 100000; ref += round ? 2 : 1)
            add(index, ref);
        assert_int_equal(index_pair_total(index), 100001);
        for (uint32_t ref = 0; ref < 100000; ref++) {
            char text[16];
            snprintf(text, sizeof(text), "%u", ref);
            uint32_t pair = find(index, "each", text);
            struct ref_vec refs = {0};
            assert_int_not_equal(pair, INDEX_NONE);
            index_postings(index, pair, &refs);
            assert_int_equal(refs.count, 1);
            assert_int_equal(refs.items[0], ref);
            VEC_FREE(&refs);
        }
        index_sweep(index, odd_is_gone, NULL);
        epoch_collect(&epoch);
        assert_int_equal(index_pair_total(index), 50001);
    }
    assert_true(index_pair_bound(index) <= 200000);
    index_free(index);
    epoch_deinit(&epoch);
}

/* --- readers beside the writer --- */

#define READERS     3
#define ROUNDS      40
#define ROUND_STEPS 250

/* Even refs are for ever, odd ones go with the next sweep and are given again. */
struct watch {
    struct index *index;
    struct epoch epoch;
    _Atomic uint32_t even_bound; /* Even refs below are in. */
    atomic_bool stop;
    _Atomic uint32_t wrong, looks;
};

/* Texts say themselves how they go on: "<number>", then 'p' as often as number % 40. */
static size_t watch_text(char *text, size_t bytes, uint32_t number)
{
    int len = snprintf(text, bytes, "%u", number);
    for (uint32_t i = 0; i < number % 40; i++)
        text[len++] = 'p';
    return (size_t)len;
}

static bool text_is_whole(struct str text)
{
    uint32_t number = 0;
    char wanted[64];
    for (size_t i = 0; i < text.len && text.ptr[i] != 'p'; i++)
        number = number * 10 + (uint32_t)(text.ptr[i] - '0');
    return str_eq(text, str_from(wanted, watch_text(wanted, sizeof(wanted), number)));
}

/* All even refs that had been published before are there, and nothing twice. */
static bool watch_postings(struct watch *watch, struct ref_vec *refs)
{
    uint32_t bound = atomic_load_explicit(&watch->even_bound, memory_order_acquire);
    uint32_t pair = find(watch->index, "all", "same");
    if (pair == INDEX_NONE)
        return bound == 0;
    VEC_CLEAR(refs);
    index_postings(watch->index, pair, refs);
    size_t count = refs->count;
    refs_sort_unique(refs);
    if (refs->count != count)
        return false;
    uint32_t even = 0;
    for (size_t i = 0; i < count; i++)
        even += refs->items[i] % 2 == 0 && refs->items[i] < bound;
    return even == (bound + 1) / 2;
}

/* Pairs that were found keep their texts until the pin ends. */
static bool watch_pairs(struct watch *watch, struct ref_vec *pairs, struct ref_vec *lens)
{
    uint32_t name = index_name_find(watch->index, STR("each"));
    if (name == INDEX_NONE)
        return true;
    VEC_CLEAR(pairs);
    VEC_CLEAR(lens);
    index_name_pairs(watch->index, name, pairs);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < pairs->count; i++) {
            struct str text = index_pair_value(watch->index, pairs->items[i]);
            if (round == 0)
                VEC_PUSH(lens, (uint32_t)text.len);
            if (i > 0 && pairs->items[i - 1] >= pairs->items[i])
                return false;
            if (text.len == 0 || text.len != lens->items[i] || !text_is_whole(text))
                return false;
            if (index_pair_name(watch->index, pairs->items[i]) != name)
                return false;
        }
    }
    return true;
}

/* All numbers below the bound may be asked for: free ones are empty. */
static bool watch_numbers(struct watch *watch)
{
    uint32_t bound = index_pair_bound(watch->index);
    for (uint32_t pair = 0; pair < bound; pair++) {
        struct str text = index_pair_value(watch->index, pair);
        if (text.len > 0 && !str_eq(text, STR("same")) && !text_is_whole(text))
            return false;
        if (index_postings_count(watch->index, pair) > 0 &&
            index_pair_name(watch->index, pair) == INDEX_NONE)
            return false;
    }
    bound = index_name_bound(watch->index);
    for (uint32_t name = 0; name < bound; name++) {
        struct str text = index_name_text(watch->index, name);
        if (text.len > 0 && !str_eq(text, STR("all")) && !str_eq(text, STR("each")) &&
            !text_is_whole(text))
            return false;
    }
    return true;
}

static void *watch_run(void *ctx)
{
    struct watch *watch = ctx;
    struct ref_vec refs = {0}, lens = {0};
    while (!atomic_load(&watch->stop)) {
        uint32_t pin = epoch_pin(&watch->epoch);
        bool good = watch_postings(watch, &refs);
        good = watch_pairs(watch, &refs, &lens) && good;
        good = watch_numbers(watch) && good;
        if (!good)
            atomic_fetch_add(&watch->wrong, 1);
        atomic_fetch_add(&watch->looks, 1);
        epoch_unpin(&watch->epoch, pin);
    }
    VEC_FREE(&refs);
    VEC_FREE(&lens);
    return NULL;
}

static void watch_add(struct watch *watch, uint32_t ref, uint32_t number)
{
    char text[64];
    struct str own = str_from(text, watch_text(text, sizeof(text), number));
    uint32_t pairs[] = {index_pair_intern(watch->index, STR("all"), STR("same")),
                        index_pair_intern(watch->index, STR("each"), own),
                        index_pair_intern(watch->index, own, STR("same"))};
    index_add_series(watch->index, pairs, number % 7 == 0 ? 3 : 2, ref);
}

/* Lists, tables, entries and texts come and go under readers that must never see a piece of them. */
static void test_index__readers_beside_the_writer(void **state)
{
    (void)state;
    static struct watch watch;
    memset(&watch, 0, sizeof(watch));
    epoch_init(&watch.epoch);
    watch.index = index_new(&watch.epoch);
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, watch_run, &watch);
    uint32_t even = 0, number = 0, extra = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t step = 0; step < ROUND_STEPS; step++) {
            if (step % 3 == 0) {
                watch_add(&watch, even, number++);
                even += 2;
                atomic_store_explicit(&watch.even_bound, even - 1, memory_order_release);
            } else {
                watch_add(&watch, step * 2 + 1, number++);
            }
            epoch_collect(&watch.epoch);
        }
        index_sweep(watch.index, odd_is_gone, NULL);
        /* On a machine of few cores the writer alone would be through in one slice. */
        uint32_t looks = atomic_load(&watch.looks);
        while (atomic_load(&watch.looks) < looks + READERS) {
            watch_add(&watch, 2 * ROUND_STEPS + 1 + 2 * extra++, number++);
            if (extra % 16 == 0)
                index_sweep(watch.index, odd_is_gone, NULL);
            epoch_collect(&watch.epoch);
        }
    }
    atomic_store(&watch.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&watch.wrong), 0);
    index_free(watch.index);
    epoch_deinit(&watch.epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refs_sort_unique__agrees_with_qsort),
        cmocka_unit_test(test_index_list_push__keeps_order_and_all_numbers),
        cmocka_unit_test(test_index_list_push__run_takes_no_heap),
        cmocka_unit_test(test_index__finds_each_value_again),
        cmocka_unit_test(test_index_pair_intern__takes_texts_of_all_lengths),
        cmocka_unit_test(test_index_sweep__leaves_lists_in_order),
        cmocka_unit_test(test_index_sweep__churn_does_not_grow),
        cmocka_unit_test(test_index_sweep__pinned_reader_keeps_its_pairs),
        cmocka_unit_test(test_index_free__in_either_order),
        cmocka_unit_test(test_index__agrees_with_a_model),
        cmocka_unit_test(test_index__many_pairs),
        cmocka_unit_test(test_index__readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
