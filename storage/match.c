/* match: from matchers to series.
 *
 *     the cheapest matcher that needs its label -> postings of the pairs that match -> refs
 *     the others: asked once per distinct value (struct memo), for the candidates only */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "select.h"

int ref_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void refs_add(struct ref_vec *refs, struct id_view view)
{
    VEC_RESERVE(refs, view.count);
    if (view.count)
        memcpy(refs->items + refs->count, view.items, view.count * sizeof(uint32_t));
    refs->count += view.count;
}

void refs_unique(struct ref_vec *refs)
{
    size_t kept = 0;
    VEC_SORT(refs, ref_compare);
    for (size_t i = 0; i < refs->count; i++) {
        if (kept == 0 || refs->items[kept - 1] != refs->items[i])
            refs->items[kept++] = refs->items[i];
    }
    refs->count = kept;
}

/* How many series a matcher that cannot match the empty value leaves at most; cheap to say. */
static uint64_t matcher_cost(const struct index *index, const struct matcher *matcher,
                             uint32_t name)
{
    if (name == INDEX_NONE)
        return 0;
    if (matcher->type != MATCH_EQUAL)
        return UINT64_MAX / 2;
    uint32_t pair = index_pair_find(index, name, matcher->value);
    return pair == INDEX_NONE ? 0 : id_list_view(&index_pair(index, pair)->postings).count;
}

/* The series with a value of `name` that matches. Regexes run once per distinct value; literal sets
 * not at all. */
static void matcher_refs(const struct index *index, const struct matcher *matcher, uint32_t name,
                         struct ref_vec *refs)
{
    struct arena arena;
    struct str *literals;
    size_t literal_count;
    if (name == INDEX_NONE)
        return;
    if (matcher->type == MATCH_EQUAL) {
        uint32_t pair = index_pair_find(index, name, matcher->value);
        if (pair != INDEX_NONE)
            refs_add(refs, id_list_view(&index_pair(index, pair)->postings));
        return;
    }
    arena_init(&arena, 0);
    if (matcher->type == MATCH_REGEX &&
        regex_literals(matcher->regex, &arena, &literals, &literal_count)) {
        for (size_t i = 0; i < literal_count; i++) {
            uint32_t pair = index_pair_find(index, name, literals[i]);
            if (pair != INDEX_NONE)
                refs_add(refs, id_list_view(&index_pair(index, pair)->postings));
        }
    } else {
        struct id_view pairs = id_list_view(&index_name(index, name)->pairs);
        for (uint32_t i = 0; i < pairs.count; i++) {
            const struct pair_entry *pair = index_pair(index, pairs.items[i]);
            if (matcher_matches(matcher, pair->value))
                refs_add(refs, id_list_view(&pair->postings));
        }
    }
    arena_deinit(&arena);
    refs_unique(refs);
}

/* A matcher's answer for each value of its name, asked once: 0 not asked, 1 no, 2 yes. */
struct memo {
    const struct matcher *matcher;
    uint32_t name;
    uint32_t value_count;
    uint8_t *answers;
    bool empty_matches;
};

static bool memo_ask(struct memo *memo, const struct pair_entry *pair)
{
    if (pair->ordinal >= memo->value_count)
        return matcher_matches(memo->matcher, pair->value);
    if (!memo->answers[pair->ordinal])
        memo->answers[pair->ordinal] = matcher_matches(memo->matcher, pair->value) ? 2 : 1;
    return memo->answers[pair->ordinal] == 2;
}

static bool series_passes(const struct storage *storage, const struct series *series,
                          struct memo *memos, size_t count)
{
    for (size_t m = 0; m < count; m++) {
        bool found = false;
        for (uint32_t i = 0; i < series->pair_count && memos[m].name != INDEX_NONE; i++) {
            const struct pair_entry *pair = index_pair(storage->index, series->pairs[i]);
            if (pair->name != memos[m].name)
                continue;
            if (!memo_ask(&memos[m], pair))
                return false;
            found = true;
            break;
        }
        if (!found && !memos[m].empty_matches)
            return false;
    }
    return true;
}

/* Refs of the series that match all, ascending, within the time range as far as the series' bounds
 * tell. */
void match_refs(struct storage *storage, const struct matcher *matchers, size_t count,
                int64_t from_ms, int64_t to_ms, struct ref_vec *out)
{
    const struct index *index = storage->index;
    struct memo *memos = mem_zalloc((count + 1) * sizeof(*memos));
    struct ref_vec candidates = {0};
    size_t best = count;
    uint64_t best_cost = UINT64_MAX;
    for (size_t m = 0; m < count; m++) {
        memos[m].matcher = &matchers[m];
        memos[m].name = index_name_find(index, matchers[m].name);
        memos[m].empty_matches = matcher_matches_empty(&matchers[m]);
        if (memos[m].empty_matches)
            continue;
        uint64_t cost = matcher_cost(index, &matchers[m], memos[m].name);
        if (cost < best_cost) {
            best = m;
            best_cost = cost;
        }
    }
    if (best < count) {
        matcher_refs(index, &matchers[best], memos[best].name, &candidates);
        memos[best] = memos[count - 1];
        count--;
    } else {
        uint32_t all = segments_count(&storage->series);
        VEC_RESERVE(&candidates, all);
        for (uint32_t ref = 0; ref < all; ref++)
            candidates.items[candidates.count++] = ref;
    }
    for (size_t m = 0; m < count; m++) {
        memos[m].value_count = memos[m].name == INDEX_NONE
                                   ? 0
                                   : id_list_view(&index_name(index, memos[m].name)->pairs).count;
        memos[m].answers = mem_zalloc(memos[m].value_count + 1);
    }
    for (size_t i = 0; i < candidates.count; i++) {
        const struct series *series = series_at(&storage->series, candidates.items[i]);
        if (atomic_load_explicit(&series->gone, memory_order_acquire) ||
            atomic_load_explicit(&series->time_first_ms, memory_order_relaxed) > to_ms ||
            atomic_load_explicit(&series->time_last_ms, memory_order_relaxed) < from_ms)
            continue;
        if (series_passes(storage, series, memos, count))
            VEC_PUSH(out, candidates.items[i]);
    }
    for (size_t m = 0; m < count; m++)
        mem_free(memos[m].answers);
    mem_free(memos);
    VEC_FREE(&candidates);
}
