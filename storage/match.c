/* match: from matchers to series in memory.
 *
 *     the cheapest matcher that needs its label -> postings of the pairs that match -> refs
 *     the others: asked once per distinct value (struct question), for the candidates only */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "select.h"

#define MEMO_CANDIDATES_MIN   64
#define NARROW_CANDIDATES_MIN 256
#define NARROW_RATIO          8 /* Postings may be so many times the candidates. */

/* How many series a matcher that cannot match the empty value leaves at most; cheap to say. */
static uint64_t matcher_cost(const struct index *index, const struct matcher *matcher,
                             uint32_t name)
{
    if (name == INDEX_NONE)
        return 0;
    if (matcher->type != MATCH_EQUAL)
        return UINT64_MAX / 2;
    uint32_t pair = index_pair_find(index, name, matcher->value);
    return pair == INDEX_NONE ? 0 : index_postings_count(index, pair);
}

/* The series with a value of `name` that matches. Regexes run once per distinct value; literal sets not at all. */
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
            index_postings(index, pair, refs);
        return;
    }
    arena_init(&arena, 0);
    if (matcher->type == MATCH_REGEX &&
        regex_literals(matcher->regex, &arena, &literals, &literal_count)) {
        for (size_t i = 0; i < literal_count; i++) {
            uint32_t pair = index_pair_find(index, name, literals[i]);
            if (pair != INDEX_NONE)
                index_postings(index, pair, refs);
        }
    } else {
        struct ref_vec pairs = {0};
        index_name_pairs(index, name, &pairs);
        VEC_EACH (pair, &pairs) {
            if (matcher_matches(matcher, index_pair_value(index, *pair)))
                index_postings(index, *pair, refs);
        }
        VEC_FREE(&pairs);
    }
    arena_deinit(&arena);
}

/* What a matcher asks of a series; its answers by pair: 0 not asked, 1 no, 2 yes. */
struct question {
    const struct matcher *matcher;
    uint32_t name;
    uint32_t pair; /* MATCH_EQUAL: the one that is wanted. */
    uint32_t answer_count;
    uint8_t *answers; /* NULL: not worth it. */
    bool empty_matches;
};

static bool question_ask(struct question *question, const struct index *index, uint32_t pair)
{
    if (question->matcher->type == MATCH_EQUAL && question->pair != INDEX_NONE)
        return pair == question->pair;
    if (!question->answers || pair >= question->answer_count)
        return matcher_matches(question->matcher, index_pair_value(index, pair));
    if (!question->answers[pair])
        question->answers[pair] =
            matcher_matches(question->matcher, index_pair_value(index, pair)) ? 2 : 1;
    return question->answers[pair] == 2;
}

static bool series_passes(const struct storage *storage, const struct series *series,
                          struct question *questions, size_t count)
{
    struct series_set set = series_pairs(storage, series);
    for (size_t m = 0; m < count; m++) {
        bool found = false;
        const uint8_t *at = set.pairs;
        for (uint32_t i = 0; i < set.count && questions[m].name != INDEX_NONE; i++) {
            uint32_t pair = series_pair_next(&at);
            if (index_pair_name(storage->index, pair) != questions[m].name)
                continue;
            if (!question_ask(&questions[m], storage->index, pair))
                return false;
            found = true;
            break;
        }
        if (!found && !questions[m].empty_matches)
            return false;
    }
    return true;
}

static void questions_prepare(const struct index *index, struct question *questions, size_t count,
                              size_t candidate_count)
{
    for (size_t m = 0; m < count; m++) {
        struct question *question = &questions[m];
        if (question->name == INDEX_NONE)
            continue;
        if (question->matcher->type == MATCH_EQUAL) {
            question->pair = index_pair_find(index, question->name, question->matcher->value);
        } else if (candidate_count >= MEMO_CANDIDATES_MIN) {
            question->answer_count = index_pair_bound(index);
            question->answers = mem_zalloc(question->answer_count + 1);
        }
    }
}

/* How many refs a matcher's own postings are; UINT64_MAX: not known without a look at all values. */
static uint64_t postings_cost(const struct index *index, const struct question *question)
{
    const struct matcher *matcher = question->matcher;
    struct arena arena;
    struct str *literals;
    size_t literal_count;
    uint64_t cost = 0;

    if (question->empty_matches || question->name == INDEX_NONE)
        return UINT64_MAX;
    if (matcher->type == MATCH_EQUAL)
        return matcher_cost(index, matcher, question->name);
    arena_init(&arena, 0);
    if (matcher->type != MATCH_REGEX ||
        !regex_literals(matcher->regex, &arena, &literals, &literal_count)) {
        literal_count = 0;
        cost = UINT64_MAX;
    }
    for (size_t i = 0; i < literal_count; i++) {
        uint32_t pair = index_pair_find(index, question->name, literals[i]);
        cost += pair == INDEX_NONE ? 0 : index_postings_count(index, pair);
    }
    arena_deinit(&arena);
    return cost;
}

/* Both sorted and unique; what is in both stays. */
static void refs_intersect(struct ref_vec *refs, const struct ref_vec *with)
{
    size_t kept = 0, at = 0;

    for (size_t i = 0; i < refs->count; i++) {
        while (at < with->count && with->items[at] < refs->items[i])
            at++;
        if (at < with->count && with->items[at] == refs->items[i])
            refs->items[kept++] = refs->items[i];
    }
    refs->count = kept;
}

/* A walk along two lists costs less than a look at each candidate's labels. */
static size_t narrow_by_postings(const struct index *index, struct question *questions,
                                 size_t count, struct ref_vec *candidates)
{
    struct ref_vec refs = {0};

    for (size_t m = 0; m < count;) {
        if (candidates->count < NARROW_CANDIDATES_MIN ||
            postings_cost(index, &questions[m]) / NARROW_RATIO > candidates->count) {
            m++;
            continue;
        }
        VEC_CLEAR(&refs);
        matcher_refs(index, questions[m].matcher, questions[m].name, &refs);
        refs_sort_unique(&refs);
        refs_intersect(candidates, &refs);
        questions[m] = questions[--count];
    }
    VEC_FREE(&refs);
    return count;
}

/* Of what was sealed a moment ago the kernel still has the pages. */
#define LATELY_SLOTS  1
#define SEGMENT_WORTH 4 /* A look into an index on disk, in series. */

static uint64_t files_weight(struct storage *storage, int64_t from_ms)
{
    const struct file_list *list = file_list_now(storage);
    uint64_t weight = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (list->items[i].to_ms <= from_ms)
            continue;
        if (list->items[i].day)
            return UINT64_MAX;
        const struct segment_list *spilled =
            atomic_load_explicit(&list->items[i].open->spilled, memory_order_acquire);
        weight += spilled ? (uint64_t)spilled->count * SEGMENT_WORTH : 0;
    }
    return weight;
}

uint64_t storage_select_weight(struct storage *storage, const struct matcher *matchers,
                               size_t matcher_count, int64_t from_ms)
{
    int64_t newest_ms = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    uint64_t least = UINT64_MAX / 2;
    if (newest_ms == INT64_MIN || from_ms < newest_ms - LATELY_SLOTS * storage->options.slot_ms)
        return UINT64_MAX;
    uint32_t pin = epoch_pin(&storage->epoch);
    for (size_t m = 0; m < matcher_count; m++) {
        if (matchers[m].type != MATCH_EQUAL || matcher_matches_empty(&matchers[m]))
            continue;
        uint32_t name = index_name_find(storage->index, matchers[m].name);
        uint64_t cost = matcher_cost(storage->index, &matchers[m], name);
        least = cost < least ? cost : least;
    }
    uint64_t files = files_weight(storage, from_ms);
    epoch_unpin(&storage->epoch, pin);
    return least == UINT64_MAX / 2 || files == UINT64_MAX ? UINT64_MAX : least + files;
}

static struct question *questions_new(const struct index *index, const struct matcher *matchers,
                                      size_t count)
{
    struct question *questions = mem_zalloc((count + 1) * sizeof(*questions));
    for (size_t m = 0; m < count; m++) {
        questions[m].matcher = &matchers[m];
        questions[m].pair = INDEX_NONE;
        questions[m].name = index_name_find(index, matchers[m].name);
        questions[m].empty_matches = matcher_matches_empty(&matchers[m]);
    }
    return questions;
}

/* The candidates that pass, to *out; frees the questions. */
static void questions_put(struct storage *storage, struct question *questions, size_t count,
                          const struct ref_vec *candidates, struct ref_vec *out)
{
    questions_prepare(storage->index, questions, count, candidates->count);
    for (size_t i = 0; i < candidates->count; i++) {
        uint32_t ref = candidates->items[i];
        const struct series *series = series_at(&storage->series, ref);
        if (!atomic_load_explicit(&series->gone, memory_order_acquire) &&
            series_passes(storage, series, questions, count))
            VEC_PUSH(out, ref);
    }
    for (size_t m = 0; m < count; m++)
        mem_free(questions[m].answers);
    mem_free(questions);
}

void match_among(struct storage *storage, const struct matcher *matchers, size_t count,
                 const struct ref_vec *candidates, struct ref_vec *out)
{
    questions_put(storage, questions_new(storage->index, matchers, count), count, candidates, out);
}

void match_refs(struct storage *storage, const struct matcher *matchers, size_t count,
                struct ref_vec *out)
{
    const struct index *index = storage->index;
    struct question *questions = questions_new(index, matchers, count);
    struct ref_vec candidates = {0};
    size_t best = count;
    uint64_t best_cost = UINT64_MAX;
    for (size_t m = 0; m < count; m++) {
        if (questions[m].empty_matches)
            continue;
        uint64_t cost = matcher_cost(index, &matchers[m], questions[m].name);
        if (cost < best_cost) {
            best = m;
            best_cost = cost;
        }
    }
    if (best < count) {
        matcher_refs(index, &matchers[best], questions[best].name, &candidates);
        refs_sort_unique(&candidates);
        questions[best] = questions[count - 1];
        count = narrow_by_postings(index, questions, count - 1, &candidates);
    } else {
        uint32_t all = segments_count(&storage->series);
        VEC_RESERVE(&candidates, all);
        for (uint32_t ref = 0; ref < all; ref++)
            candidates.items[candidates.count++] = ref;
    }
    questions_put(storage, questions, count, &candidates, out);
    VEC_FREE(&candidates);
}
