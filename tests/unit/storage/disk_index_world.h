/* disk_index_world: label sets in memory and the index that was written from them. */
#ifndef DISK_INDEX_WORLD_H
#define DISK_INDEX_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "disk_index_private.h"

#define LABELS_MAX 40

struct set {
    size_t count;
    struct label items[LABELS_MAX];
};

struct world {
    struct arena arena;
    VEC(struct set) sets;
    struct buf sections[DISK_INDEX_SECTIONS];
    struct str strs[DISK_INDEX_SECTIONS];
    unsigned section_next;
    struct disk_index *index;
    uint64_t random;
};

static inline uint64_t random_next(struct world *world)
{
    uint64_t z = (world->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline size_t random_below(struct world *world, size_t bound)
{
    return (size_t)(random_next(world) % bound);
}

static inline void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed};
    arena_init(&world->arena, 0);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        buf_init(&world->sections[i], UINT32_MAX);
}

static inline void world_deinit(struct world *world)
{
    disk_index_close(world->index);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        buf_deinit(&world->sections[i]);
    VEC_FREE(&world->sets);
    arena_deinit(&world->arena);
}

static inline int label_compare(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static inline int set_compare(const void *a, const void *b)
{
    const struct set *x = a, *y = b;
    return series_order(x->items, x->count, y->items, y->count);
}

static inline void set_add(struct set *set, struct str name, struct str value)
{
    assert_true(set->count < LABELS_MAX);
    set->items[set->count++] = (struct label){name, value};
}

static inline void world_add(struct world *world, struct set *set)
{
    qsort(set->items, set->count, sizeof(set->items[0]), label_compare);
    VEC_PUSH(&world->sets, *set);
}

/* a=x,b=y */
static inline void world_add_text(struct world *world, const char *text)
{
    struct set set = {0};
    struct str rest = arena_str(&world->arena, str_of(text));
    while (rest.len > 0) {
        struct str value, name = str_cut(str_cut(rest, ',', &rest), '=', &value);
        set_add(&set, name, value);
    }
    world_add(world, &set);
}

static inline bool keep_section(void *ctx, unsigned section, struct str bytes, struct err *err)
{
    struct world *world = ctx;
    (void)err;
    assert_int_equal(section, world->section_next++);
    buf_add_str(&world->sections[section], bytes);
    return true;
}

static inline void world_write(struct world *world)
{
    struct disk_index_writer *writer = disk_index_writer_new();
    struct err err;
    size_t kept = 0;
    VEC_SORT(&world->sets, set_compare);
    for (size_t i = 0; i < world->sets.count; i++) {
        if (kept == 0 || set_compare(&world->sets.items[kept - 1], &world->sets.items[i]) != 0)
            world->sets.items[kept++] = world->sets.items[i];
    }
    world->sets.count = kept;
    VEC_EACH (set, &world->sets)
        disk_index_writer_add(writer, set->items, set->count);
    assert_true(disk_index_writer_finish(writer, keep_section, world, &err));
    disk_index_writer_free(writer);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        world->strs[i] = buf_str(&world->sections[i]);
}

static inline void world_open(struct world *world)
{
    struct err err;
    if (!disk_index_open(&world->index, world->strs, &err))
        fail_msg("%s", err.text);
}

static inline bool labels_equal(const struct label *a, size_t a_count, const struct set *b)
{
    bool equal = a_count == b->count;
    for (size_t i = 0; equal && i < a_count; i++)
        equal = str_eq(a[i].name, b->items[i].name) && str_eq(a[i].value, b->items[i].value);
    return equal;
}

static inline void check_all_series(struct world *world)
{
    struct label labels[LABELS_MAX];
    struct arena arena;
    struct err err;
    size_t count;
    arena_init(&arena, 0);
    assert_int_equal(disk_index_count(world->index), world->sets.count);
    for (uint32_t i = 0; i < world->sets.count; i++) {
        const struct set *set = &world->sets.items[i];
        bool found;
        uint32_t ordinal = 0;
        arena_reset(&arena);
        if (!disk_index_labels(world->index, i, &arena, labels, LABELS_MAX, &count, &err))
            fail_msg("%s", err.text);
        assert_true(labels_equal(labels, count, set));
        assert_true(disk_index_hash(world->index, i) == labels_hash(set->items, set->count));
        assert_true(disk_index_find(world->index, set->items, set->count, &found, &ordinal, &err));
        assert_true(found);
        assert_int_equal(ordinal, i);
    }
    arena_deinit(&arena);
}

/* ---- A random world ---- */

static const char *const prefixes[] = {"web-", "api-", "",    "db",  "é",
                                       "日本", "we",   "a.b", "x\n", "W"};
static const char *const middles[] = {"foo", "", "-1", "ü", "bar", "fo", "|", "*", "oo"};
static const char *const suffixes[] = {"-x", "", "-prod", "é", "7", "\xff", "$", "c"};

#define PICK(world, table) (table)[random_below((world), COUNT_OF(table))]

static inline struct str random_value(struct world *world)
{
    struct str value = arena_strf(&world->arena, "%s%s%s", PICK(world, prefixes),
                                  PICK(world, middles), PICK(world, suffixes));
    return value.len ? value : STR("empty");
}

static const char *const names[] = {"job", "pod", "zone", "Über", "a", "le", "uid", "Upper"};

static inline void random_world(struct world *world, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct set set = {0};
        if (random_below(world, 20))
            set_add(&set, LABEL_NAME,
                    arena_strf(&world->arena, "metric_%zu", random_below(world, 6)));
        for (size_t n = 0; n < COUNT_OF(names); n++) {
            if (random_below(world, 3) == 0)
                continue;
            struct str value = random_value(world);
            if (n == 5)
                value = arena_strf(&world->arena, "%zu", random_below(world, 12));
            if (n == 6)
                value =
                    arena_strf(&world->arena, "%016llx", (unsigned long long)random_next(world));
            set_add(&set, str_of(names[n]), value);
        }
        world_add(world, &set);
    }
    world_write(world);
    world_open(world);
}

#endif
