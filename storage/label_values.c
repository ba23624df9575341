/* label_values: the distinct names, and values of a name, of the series that match. */
#include <stdlib.h>
#include <string.h>

#include "select.h"

/* Marks the refs of the series that match any set; NULL when there are no sets (all series). */
static struct ref_vec sets_refs(struct storage *storage, const struct matchers *sets,
                                size_t set_count, int64_t from_ms, int64_t to_ms)
{
    struct ref_vec refs = {0};
    if (set_count == 0)
        match_refs(storage, NULL, 0, from_ms, to_ms, &refs);
    for (size_t i = 0; i < set_count; i++)
        match_refs(storage, sets[i].items, sets[i].count, from_ms, to_ms, &refs);
    if (set_count > 1)
        refs_unique(&refs);
    return refs;
}

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Texts of the marked entries, copied, sorted and cut. */
static void collect_texts(const uint8_t *marks, uint32_t count,
                          struct str (*text_of)(const struct index *, uint32_t),
                          const struct index *index, size_t limit, struct arena *arena,
                          struct str **out, size_t *out_count, bool *cut)
{
    size_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += marks[i];
    *out = arena_alloc_array(arena, found ? found : 1, sizeof(**out));
    *out_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (marks[i])
            (*out)[(*out_count)++] = text_of(index, i);
    }
    if (found > 1)
        qsort(*out, found, sizeof(**out), compare_str);
    *cut = limit && found > limit;
    *out_count = *cut ? limit : found;
    for (size_t i = 0; i < *out_count; i++)
        (*out)[i] = arena_str(arena, (*out)[i]);
}

static struct str name_text(const struct index *index, uint32_t name)
{
    return index_name(index, name)->text;
}
static struct str pair_text(const struct index *index, uint32_t pair)
{
    return index_pair(index, pair)->value;
}

bool storage_label_names(struct storage *storage, const struct matchers *sets, size_t set_count,
                         int64_t from_ms, int64_t to_ms, size_t limit, struct arena *arena,
                         struct str **out, size_t *count, bool *cut, struct err *err)
{
    uint32_t pin = epoch_pin(&storage->epoch);
    struct ref_vec refs = sets_refs(storage, sets, set_count, from_ms, to_ms);
    uint32_t name_count = index_name_count(storage->index);
    uint8_t *marks = mem_zalloc(name_count + 1);
    (void)err;
    VEC_EACH (ref, &refs) {
        const struct series *series = series_at(&storage->series, *ref);
        for (uint32_t i = 0; i < series->pair_count; i++) {
            uint32_t name = index_pair(storage->index, series->pairs[i])->name;
            if (name < name_count)
                marks[name] = 1;
        }
    }
    collect_texts(marks, name_count, name_text, storage->index, limit, arena, out, count, cut);
    mem_free(marks);
    VEC_FREE(&refs);
    epoch_unpin(&storage->epoch, pin);
    return true;
}

bool storage_label_values(struct storage *storage, struct str name, const struct matchers *sets,
                          size_t set_count, int64_t from_ms, int64_t to_ms, size_t limit,
                          struct arena *arena, struct str **out, size_t *count, bool *cut,
                          struct err *err)
{
    uint32_t pin = epoch_pin(&storage->epoch);
    uint32_t number = index_name_find(storage->index, name);
    struct ref_vec refs = {0};
    uint32_t pair_count = index_pair_count(storage->index);
    uint8_t *marks = mem_zalloc(pair_count + 1);
    (void)err;
    if (number != INDEX_NONE)
        refs = sets_refs(storage, sets, set_count, from_ms, to_ms);
    VEC_EACH (ref, &refs) {
        const struct series *series = series_at(&storage->series, *ref);
        for (uint32_t i = 0; i < series->pair_count; i++) {
            if (series->pairs[i] < pair_count &&
                index_pair(storage->index, series->pairs[i])->name == number)
                marks[series->pairs[i]] = 1;
        }
    }
    collect_texts(marks, pair_count, pair_text, storage->index, limit, arena, out, count, cut);
    mem_free(marks);
    VEC_FREE(&refs);
    epoch_unpin(&storage->epoch, pin);
    return true;
}
