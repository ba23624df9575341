/* open_histograms: see open_histograms.h. */
#include "open_histograms.h"

#include "base/arena.h"
#include "base/hash.h"
#include "base/mem.h"

struct open_histogram {
    series_ref ref;
    struct histogram *histogram;
    struct arena arena;
};

void open_histograms_init(struct open_histograms *all)
{
    *all = (struct open_histograms){0};
    map_init(&all->by_ref);
}

static void item_free(struct open_histogram *item)
{
    arena_deinit(&item->arena);
    mem_free(item);
}

void open_histograms_deinit(struct open_histograms *all)
{
    VEC_EACH (item, &all->items) {
        item_free(*item);
    }
    VEC_FREE(&all->items);
    map_deinit(&all->by_ref);
}

static bool ref_equal(const void *ctx, const void *key, uint32_t at)
{
    const struct open_histograms *all = ctx;
    return all->items.items[at]->ref == *(const series_ref *)key;
}

static uint32_t place_of(const struct open_histograms *all, series_ref ref)
{
    return map_find(&all->by_ref, hash64_mix(ref, 5), &ref, ref_equal, all);
}

const struct histogram *open_histograms_find(const struct open_histograms *all, series_ref ref)
{
    uint32_t at = place_of(all, ref);
    return at == MAP_NONE ? NULL : all->items.items[at]->histogram;
}

static void item_add(struct open_histograms *all, struct open_histogram *item)
{
    map_insert(&all->by_ref, hash64_mix(item->ref, 5), (uint32_t)all->items.count);
    VEC_PUSH(&all->items, item);
}

void open_histograms_set(struct open_histograms *all, series_ref ref,
                         const struct histogram *histogram)
{
    uint32_t at = place_of(all, ref);
    struct open_histogram *item = at == MAP_NONE ? NULL : all->items.items[at];
    struct arena arena;
    if (!item) {
        item = MEM_NEW(struct open_histogram);
        item->ref = ref;
        item_add(all, item);
    }
    arena_init(&arena, 0);
    item->histogram = histogram_copy(&arena, histogram);
    arena_deinit(&item->arena);
    item->arena = arena;
}

void open_histograms_forget(struct open_histograms *all, series_ref ref)
{
    uint32_t at = place_of(all, ref);
    if (at == MAP_NONE)
        return;
    struct open_histogram *item = all->items.items[at], *moved;
    map_remove(&all->by_ref, hash64_mix(ref, 5), at);
    moved = VEC_POP(&all->items);
    if (moved != item) {
        map_remove(&all->by_ref, hash64_mix(moved->ref, 5), (uint32_t)all->items.count);
        map_insert(&all->by_ref, hash64_mix(moved->ref, 5), at);
        all->items.items[at] = moved;
    }
    item_free(item);
}

void open_histograms_move(struct open_histograms *all, struct open_histograms *from)
{
    VEC_EACH (item, &from->items) {
        uint32_t at = place_of(all, (*item)->ref);
        if (at == MAP_NONE) {
            item_add(all, *item);
        } else {
            item_free(all->items.items[at]);
            all->items.items[at] = *item;
        }
    }
    VEC_CLEAR(&from->items);
    map_clear(&from->by_ref);
}
