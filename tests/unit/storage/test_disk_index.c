/* The index of a file, against label sets kept in memory: order, labels, lookups, lists, and bytes that went bad. */
#include "disk_index_world.h"

/* A file's order is what families and metrics' ranges stand on; it is part of the format. */
static void test_series_order__is_metric_then_labels_then_bound_from_the_highest_down(void **state)
{
    static const char *const ordered[] = {
        "a=1",
        "__name__=h,a=1",
        "__name__=h,a=1,z=1",
        "__name__=h,a=2",
        "__name__=h,a=2,le=+Inf",
        "__name__=h,a=2,le=Inf",
        "__name__=h,a=2,le=1000",
        "__name__=h,a=2,le=1e3",
        "__name__=h,a=2,le=9",
        "__name__=h,a=2,le=1",
        "__name__=h,a=2,le=1.0",
        "__name__=h,a=2,le=0.5",
        "__name__=h,a=2,le=-1",
        "__name__=h,a=2,le=NaN",
        "__name__=h,a=2,le=few",
        "__name__=h,a=2,le=1,m=1",
        "__name__=h2,a=1",
    };
    struct world world;
    (void)state;
    world_init(&world, 1);
    for (size_t i = 0; i < COUNT_OF(ordered); i++)
        world_add_text(&world, ordered[i]);
    for (size_t i = 0; i < COUNT_OF(ordered); i++) {
        for (size_t j = 0; j < COUNT_OF(ordered); j++) {
            int order = set_compare(&world.sets.items[i], &world.sets.items[j]);
            if ((order > 0) - (order < 0) != (i > j) - (i < j))
                fail_msg("%s against %s: %d", ordered[i], ordered[j], order);
        }
    }
    world_write(&world);
    world_open(&world);
    check_all_series(&world);
    world_deinit(&world);
}

/* A file without series, and one with a series without labels, are files. */
static void test_disk_index__holds_nothing_and_the_empty_label_set(void **state)
{
    struct world world;
    struct matcher matcher;
    struct err err;
    (void)state;
    for (int with_set = 0; with_set < 2; with_set++) {
        world_init(&world, 1);
        if (with_set)
            world_add(&world, &(struct set){0});
        world_write(&world);
        world_open(&world);
        check_all_series(&world);
        assert_true(matcher_init(&matcher, MATCH_EQUAL, STR("a"), STR_EMPTY, &err));
        for (size_t count = 0; count < 2; count++) {
            struct ordinal_vec found = {0};
            assert_true(disk_index_match(world.index, &matcher, count, &found, &err));
            assert_int_equal(found.count, with_set);
            VEC_FREE(&found);
        }
        matcher_deinit(&matcher);
        world_deinit(&world);
    }
}

/* All of it comes back, whatever the mix of labels, over many groups and restarts. */
static void test_disk_index__gives_back_each_label_set(void **state)
{
    struct world world;
    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        world_init(&world, seed);
        random_world(&world, seed * seed * 130);
        check_all_series(&world);
        world_deinit(&world);
    }
}

/* More names than a group keeps partitions for, and label sets that have nothing in common. */
static void test_disk_index__bears_many_names(void **state)
{
    struct world world;
    (void)state;
    world_init(&world, 3);
    for (size_t i = 0; i < 300; i++) {
        struct set set = {0};
        set_add(&set, STR("id"), arena_strf(&world.arena, "%zu", i));
        for (size_t n = 0; n < 30; n++)
            set_add(&set,
                    arena_strf(&world.arena, "label_%03zu", random_below(&world, 25) * 30 + n),
                    arena_strf(&world.arena, "%zu", random_below(&world, 3)));
        world_add(&world, &set);
    }
    world_write(&world);
    world_open(&world);
    check_all_series(&world);
    world_deinit(&world);
}

/* What is not there is not found, though its neighbours are. */
static void test_disk_index_find__tells_strangers(void **state)
{
    struct world world;
    struct err err;
    bool found = true;
    uint32_t ordinal;
    (void)state;
    world_init(&world, 9);
    random_world(&world, 500);
    for (size_t i = 0; i < world.sets.count; i++) {
        struct set set = world.sets.items[i];
        set_add(&set, STR("zzz"), STR("1"));
        assert_true(disk_index_find(world.index, set.items, set.count, &found, &ordinal, &err));
        assert_false(found);
    }
    world_deinit(&world);
}

struct told {
    struct arena *arena;
    VEC(struct str) texts;
};

static bool tell(void *ctx, struct str text, struct err *err)
{
    struct told *told = ctx;
    (void)err;
    VEC_PUSH(&told->texts, arena_str(told->arena, text));
    return true;
}

/* Sorted, each once. */
static void told_check(struct told *told,
                       bool (*wanted)(struct world *, struct str, struct str, bool),
                       struct world *world, struct str name, bool half)
{
    for (size_t i = 1; i < told->texts.count; i++)
        assert_true(str_cmp(told->texts.items[i - 1], told->texts.items[i]) < 0);
    VEC_EACH (text, &told->texts)
        assert_true(wanted(world, name, *text, half));
}

/* Does a series (of every third ones, if `some`) have it? An empty value stands for any. */
static bool has_pair(struct world *world, struct str name, struct str value, bool some)
{
    for (size_t i = 0; i < world->sets.count; i += some ? 3 : 1) {
        const struct set *set = &world->sets.items[i];
        for (size_t j = 0; j < set->count; j++) {
            if (str_eq(set->items[j].name, name) &&
                (value.len == 0 || str_eq(set->items[j].value, value)))
                return true;
        }
    }
    return false;
}

static bool has_name(struct world *world, struct str unused, struct str name, bool some)
{
    (void)unused;
    return has_pair(world, name, STR_EMPTY, some);
}

static size_t count_distinct(struct world *world, struct str name, bool some)
{
    size_t count = 0;
    VEC(struct str) seen = {0};
    for (size_t i = 0; i < world->sets.count; i += some ? 3 : 1) {
        const struct set *set = &world->sets.items[i];
        for (size_t j = 0; j < set->count; j++) {
            struct str text = name.len ? set->items[j].value : set->items[j].name;
            size_t k = 0;
            if (name.len && !str_eq(set->items[j].name, name))
                continue;
            while (k < seen.count && !str_eq(seen.items[k], text))
                k++;
            if (k == seen.count)
                VEC_PUSH(&seen, text);
        }
    }
    count = seen.count;
    VEC_FREE(&seen);
    return count;
}

/* /labels and /label/x/values, of all series and of some. */
static void test_disk_index_names_and_values__tell_each_once(void **state)
{
    struct world world;
    struct err err;
    struct ordinal_vec some = {0};
    (void)state;
    world_init(&world, 13);
    random_world(&world, 400);
    for (uint32_t i = 0; i < world.sets.count; i += 3)
        VEC_PUSH(&some, i);
    for (int half = 0; half < 2; half++) {
        const struct ordinal_vec *of = half ? &some : NULL;
        struct told told = {.arena = &world.arena};
        assert_true(disk_index_names(world.index, of, tell, &told, &err));
        assert_int_equal(told.texts.count, count_distinct(&world, STR_EMPTY, half));
        told_check(&told, has_name, &world, STR_EMPTY, half);
        for (size_t n = 0; n < COUNT_OF(names); n++) {
            VEC_CLEAR(&told.texts);
            assert_true(disk_index_values(world.index, str_of(names[n]), of, tell, &told, &err));
            assert_int_equal(told.texts.count, count_distinct(&world, str_of(names[n]), half));
            told_check(&told, has_pair, &world, str_of(names[n]), half);
        }
        VEC_CLEAR(&told.texts);
        assert_true(disk_index_values(world.index, STR("nowhere"), of, tell, &told, &err));
        assert_int_equal(told.texts.count, 0);
        VEC_FREE(&told.texts);
    }
    VEC_FREE(&some);
    world_deinit(&world);
}

struct pair_sum {
    struct world *world;
    size_t pairs, labels;
};

static void tell_pair(void *ctx, struct str name, struct str value, uint32_t series_count)
{
    struct pair_sum *sum = ctx;
    uint32_t count = 0;
    VEC_EACH (set, &sum->world->sets) {
        for (size_t i = 0; i < set->count; i++)
            count += str_eq(set->items[i].name, name) && str_eq(set->items[i].value, value);
    }
    assert_int_equal(count, series_count);
    sum->pairs++;
    sum->labels += series_count;
}

/* What analyze shows is counted, not guessed. */
static void test_disk_index_pairs__counts_series(void **state)
{
    struct world world;
    struct err err;
    size_t labels = 0;
    (void)state;
    world_init(&world, 17);
    random_world(&world, 300);
    struct pair_sum sum = {.world = &world};
    assert_true(disk_index_pairs(world.index, tell_pair, &sum, &err));
    VEC_EACH (set, &world.sets)
        labels += set->count;
    assert_int_equal(sum.labels, labels);
    world_deinit(&world);
}

/* ---- Bad bytes ---- */

/* Everything that the index answers, as one hash; false on an error. */
static bool answers(const struct disk_index *index, const struct matcher *matchers, size_t count,
                    uint64_t *hash, struct err *err)
{
    struct arena arena;
    struct told told = {.arena = &arena};
    struct label labels[LABELS_MAX];
    bool good = true;
    arena_init(&arena, 0);
    *hash = disk_index_count(index);
    for (size_t m = 0; m < count && good; m++) {
        struct ordinal_vec found = {0};
        good = disk_index_match(index, &matchers[m], 1, &found, err);
        VEC_EACH (ordinal, &found)
            *hash = hash64_mix(*hash, *ordinal);
        VEC_FREE(&found);
    }
    for (uint32_t i = 0; i < disk_index_count(index) && good; i++) {
        size_t label_count;
        good = disk_index_labels(index, i, &arena, labels, LABELS_MAX, &label_count, err);
        if (good)
            *hash = hash64_mix(*hash, labels_hash(labels, label_count));
        *hash = hash64_mix(*hash, disk_index_hash(index, i));
    }
    good = good && disk_index_names(index, NULL, tell, &told, err) &&
           disk_index_values(index, STR("pod"), NULL, tell, &told, err);
    VEC_EACH (text, &told.texts)
        *hash = hash64_mix(*hash, hash64(*text));
    VEC_FREE(&told.texts);
    arena_deinit(&arena);
    return good;
}

/* A byte that the disk has changed is an error or makes no difference: never another answer. */
static void test_disk_index__survives_each_changed_byte(void **state)
{
    struct matcher matchers[3];
    struct world world;
    struct err err;
    uint64_t right, hash;
    size_t errors = 0, bytes = 0;
    (void)state;
    world_init(&world, 23);
    random_world(&world, 70);
    assert_true(matcher_init(&matchers[0], MATCH_EQUAL, LABEL_NAME, STR("metric_1"), &err));
    assert_true(matcher_init(&matchers[1], MATCH_REGEX, STR("pod"), STR("web-.*[x7]"), &err));
    assert_true(matcher_init(&matchers[2], MATCH_NOT_REGEX, STR("uid"), STR(".*a.*"), &err));
    assert_true(answers(world.index, matchers, 3, &right, &err));
    for (unsigned section = 0; section < DISK_INDEX_SECTIONS; section++) {
        for (size_t at = 0; at < world.sections[section].len; at++, bytes++) {
            struct disk_index *index;
            world.sections[section].ptr[at] ^= (char)(1 << at % 8);
            bool good = disk_index_open(&index, world.strs, &err);
            good = good && answers(index, matchers, 3, &hash, &err);
            if (good && hash != right)
                fail_msg("section %u byte %zu: another answer", section, at);
            if (!good)
                assert_int_equal(err.code, ERR_CORRUPT);
            errors += !good;
            disk_index_close(index);
            world.sections[section].ptr[at] ^= (char)(1 << at % 8);
        }
    }
    assert_true(errors > bytes / 2);
    for (size_t m = 0; m < 3; m++)
        matcher_deinit(&matchers[m]);
    world_deinit(&world);
}

/* Sections that were cut short, or swapped, or are missing, are refused. */
static void test_disk_index_open__refuses_sections_of_another_length(void **state)
{
    struct world world;
    struct disk_index *index;
    struct err err;
    (void)state;
    world_init(&world, 29);
    random_world(&world, 70);
    for (unsigned section = 0; section < DISK_INDEX_SECTIONS; section++) {
        struct str whole = world.strs[section];
        for (size_t len = 0; len < whole.len; len += 1 + len / 3) {
            world.strs[section].len = len;
            assert_false(disk_index_open(&index, world.strs, &err));
            assert_int_equal(err.code, ERR_CORRUPT);
            assert_null(index);
        }
        world.strs[section] = STR_EMPTY;
        assert_false(disk_index_open(&index, world.strs, &err));
        world.strs[section] = whole;
    }
    world_deinit(&world);
}

/* An index is small beside what it stands for: texts once, labels that change together once. */
static void test_disk_index_writer__is_small_for_targets(void **state)
{
    struct world world;
    size_t bytes = 0;
    (void)state;
    world_init(&world, 31);
    for (size_t i = 0; i < 20000; i++) {
        struct set set = {0};
        size_t target = i / 200, metric = i % 200;
        set_add(&set, LABEL_NAME, arena_strf(&world.arena, "metric_%03zu_total", metric));
        set_add(&set, LABEL_INSTANCE, arena_strf(&world.arena, "10.0.%zu.7:9100", target));
        set_add(&set, LABEL_JOB, STR("node"));
        set_add(&set, STR("namespace"), STR("monitoring"));
        set_add(&set, STR("pod"), arena_strf(&world.arena, "node-exporter-%05zx", target * 7919));
        world_add(&world, &set);
    }
    world_write(&world);
    world_open(&world);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        bytes += world.sections[i].len;
    assert_true(bytes < 20000 * 14);
    assert_true(disk_index_heap_bytes(world.index) < 4096);
    check_all_series(&world); /* Over many chunks. */
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_order__is_metric_then_labels_then_bound_from_the_highest_down),
        cmocka_unit_test(test_disk_index__holds_nothing_and_the_empty_label_set),
        cmocka_unit_test(test_disk_index__gives_back_each_label_set),
        cmocka_unit_test(test_disk_index__bears_many_names),
        cmocka_unit_test(test_disk_index_find__tells_strangers),
        cmocka_unit_test(test_disk_index_names_and_values__tell_each_once),
        cmocka_unit_test(test_disk_index_pairs__counts_series),
        cmocka_unit_test(test_disk_index__survives_each_changed_byte),
        cmocka_unit_test(test_disk_index_open__refuses_sections_of_another_length),
        cmocka_unit_test(test_disk_index_writer__is_small_for_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
