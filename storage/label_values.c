/* label_values: the distinct names, and values of a name, of the series that match: of memory and of the files that touch
 * the time range. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "select.h"

/* Distinct texts, copied into the arena. */
struct texts {
    struct arena *arena;
    struct map map;
    VEC(struct str) items;
};

static bool text_equal(const void *ctx, const void *key, uint32_t at)
{
    const struct texts *texts = ctx;
    return str_eq(texts->items.items[at], *(const struct str *)key);
}

static bool texts_add(void *ctx, struct str text, struct err *err)
{
    struct texts *texts = ctx;
    uint64_t hash = hash64(text);
    (void)err;
    if (text.len == 0 || map_find(&texts->map, hash, &text, text_equal, texts) != MAP_NONE)
        return true;
    map_insert(&texts->map, hash, (uint32_t)texts->items.count);
    VEC_PUSH(&texts->items, arena_str(texts->arena, text));
    return true;
}

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct question {
    struct storage *storage;
    struct str name; /* Whose values; empty: the names are wanted. */
    const struct matchers *sets;
    size_t set_count;
    int64_t from_ms;
    struct texts texts;
};

/* True when a series of the pair may have samples from this time on. */
static bool pair_is_used(const struct storage *storage, uint32_t pair, int64_t from_ms,
                         struct ref_vec *refs)
{
    VEC_CLEAR(refs);
    index_postings(storage->index, pair, refs);
    for (size_t i = 0; i < refs->count; i++) {
        const struct series *series = series_at(&storage->series, refs->items[i]);
        if (!atomic_load_explicit(&series->gone, memory_order_acquire) &&
            series_may_have(series, from_ms))
            return true;
    }
    return false;
}

/* All names of the memory's index, or all values of a name. */
static bool ask_whole_memory(struct question *question, struct err *err)
{
    const struct index *index = question->storage->index;
    struct ref_vec pairs = {0}, refs = {0};
    if (question->name.len > 0) {
        uint32_t name = index_name_find(index, question->name);
        if (name != INDEX_NONE)
            index_name_pairs(index, name, &pairs);
        VEC_EACH (pair, &pairs) {
            if (pair_is_used(question->storage, *pair, question->from_ms, &refs))
                (void)texts_add(&question->texts, index_pair_value(index, *pair), err);
        }
    } else {
        for (uint32_t name = 0; name < index_name_bound(index); name++) {
            VEC_CLEAR(&pairs);
            index_name_pairs(index, name, &pairs);
            bool used = false;
            for (size_t i = 0; i < pairs.count && !used; i++)
                used = pair_is_used(question->storage, pairs.items[i], question->from_ms, &refs);
            if (used)
                (void)texts_add(&question->texts, index_name_text(index, name), err);
        }
    }
    VEC_FREE(&pairs);
    VEC_FREE(&refs);
    return true;
}

static bool ask_memory(struct question *question, struct err *err)
{
    struct storage *storage = question->storage;
    struct ref_vec refs = {0};
    uint32_t bound = index_pair_bound(storage->index);
    if (question->set_count == 0)
        return ask_whole_memory(question, err);
    uint8_t *seen = mem_zalloc(bound + 1);
    for (size_t i = 0; i < question->set_count; i++)
        match_refs(storage, question->sets[i].items, question->sets[i].count, &refs);
    VEC_EACH (ref, &refs) {
        const struct series *series = series_at(&storage->series, *ref);
        struct series_set set = series_pairs(storage, series);
        if (!series_may_have(series, question->from_ms))
            continue;
        for (uint32_t i = 0; i < set.count; i++) {
            uint32_t pair = series_pair_next(&set.pairs);
            if (pair >= bound || seen[pair])
                continue;
            seen[pair] = 1;
            struct str name =
                index_name_text(storage->index, index_pair_name(storage->index, pair));
            if (question->name.len == 0)
                (void)texts_add(&question->texts, name, err);
            else if (str_eq(name, question->name))
                (void)texts_add(&question->texts, index_pair_value(storage->index, pair), err);
        }
    }
    VEC_FREE(&refs);
    mem_free(seen);
    return true;
}

static bool ask_index(struct question *question, const struct disk_index *index, struct err *err)
{
    struct ordinal_vec of = {0}, one = {0};
    bool good = true;
    for (size_t i = 0; good && i < question->set_count; i++) {
        VEC_CLEAR(&one);
        good = disk_index_match(index, question->sets[i].items, question->sets[i].count, &one, err);
        VEC_RESERVE(&of, one.count);
        if (one.count > 0)
            memcpy(of.items + of.count, one.items, one.count * sizeof(one.items[0]));
        of.count += one.count;
    }
    if (question->set_count > 1) {
        struct ref_vec refs = {of.items, of.count, of.capacity};
        refs_sort_unique(&refs);
        of = (struct ordinal_vec){refs.items, refs.count, refs.capacity};
    }
    const struct ordinal_vec *only = question->set_count ? &of : NULL;
    if (good && question->name.len > 0)
        good = disk_index_values(index, question->name, only, texts_add, &question->texts, err);
    else if (good)
        good = disk_index_names(index, only, texts_add, &question->texts, err);
    VEC_FREE(&of);
    VEC_FREE(&one);
    return good;
}

static bool ask_file(struct question *question, const struct store_file *file, struct err *err)
{
    if (file->day)
        return day_file_judge(file->day, ask_index(question, day_file_index(file->day), err), err);
    const struct segment_list *list =
        atomic_load_explicit(&file->open->spilled, memory_order_acquire);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (!index_segment_judge(list->items[i], ask_index(question, list->items[i]->index, err),
                                 err))
            return false;
    }
    return true;
}

/* What is in memory has samples in memory or in the open files. */
static bool memory_touches(const struct storage *storage, int64_t from_ms, int64_t to_ms)
{
    int64_t oldest = atomic_load_explicit(&storage->time_min_ms, memory_order_relaxed);
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (list->items[i].open)
            break;
        oldest = list->items[i].to_ms > oldest ? list->items[i].to_ms : oldest;
    }
    int64_t newest = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    return from_ms <= newest && to_ms >= oldest;
}

static bool ask(struct question *question, int64_t from_ms, int64_t to_ms, size_t limit,
                struct str **out, size_t *count, bool *cut, struct err *err)
{
    struct storage *storage = question->storage;
    struct selection files = {.storage = storage, .from_ms = from_ms, .to_ms = to_ms};
    uint32_t pin = epoch_pin(&storage->epoch);
    question->from_ms = from_ms;
    bool good = !memory_touches(storage, from_ms, to_ms) || ask_memory(question, err);
    select_files(&files);
    for (size_t i = 0; good && i < files.files.count; i++)
        good = ask_file(question, &files.files.items[i].file, err);
    select_files_free(&files);
    epoch_unpin(&storage->epoch, pin);
    struct texts *texts = &question->texts;
    VEC_SORT(&texts->items, compare_str);
    *cut = limit && texts->items.count > limit;
    *count = *cut ? limit : texts->items.count;
    *out = arena_alloc_array(texts->arena, *count ? *count : 1, sizeof(**out));
    if (*count)
        memcpy(*out, texts->items.items, *count * sizeof(**out));
    map_deinit(&texts->map);
    VEC_FREE(&texts->items);
    return good;
}

bool storage_label_names(struct storage *storage, const struct matchers *sets, size_t set_count,
                         int64_t from_ms, int64_t to_ms, size_t limit, struct arena *arena,
                         struct str **out, size_t *count, bool *cut, struct err *err)
{
    struct question question = {
        .storage = storage, .sets = sets, .set_count = set_count, .texts.arena = arena};
    return ask(&question, from_ms, to_ms, limit, out, count, cut, err);
}

bool storage_label_values(struct storage *storage, struct str name, const struct matchers *sets,
                          size_t set_count, int64_t from_ms, int64_t to_ms, size_t limit,
                          struct arena *arena, struct str **out, size_t *count, bool *cut,
                          struct err *err)
{
    struct question question = {.storage = storage,
                                .name = name,
                                .sets = sets,
                                .set_count = set_count,
                                .texts.arena = arena};
    if (name.len == 0) {
        *out = NULL;
        *count = 0;
        *cut = false;
        return true;
    }
    return ask(&question, from_ms, to_ms, limit, out, count, cut, err);
}
