/* eval_match: operators between two vectors, one to one or many to one.
 *
 *     match_groups -> pairs (many series, one series) of the same group -> values of each pair ->
 * merge equal labels
 *
 * Prometheus matches anew at each step. Here series are paired once; two series of the "one" side
 * may share a group as long as they never have a value at the same step, and that is what the
 * checks on bitmaps find out. A fill value is a series of its own that is there whenever no series
 * of its group is.
 *
 * "Many" is the left side unless group_right; with group_right the sides are swapped for pairing
 * and swapped back for the value. */
#include <stdlib.h>

#include "eval.h"

struct pair {
    const struct series *many, *one;
    struct labels *labels;
    uint32_t group;
    size_t order;    /* Results come in the order of the many side. */
    uint64_t *taken; /* The steps of all pairs with its result labels; NULL: it is the only one. */
};

struct matcher_state {
    const struct frame *frame;
    const struct expr *binary;
    const struct vector_matching *matching;
    struct vector many, one;
    uint32_t *many_ids, *one_ids;
    size_t group_count;
    struct group_lists many_lists, one_lists;
    size_t steps; /* Matched are those before it: all but for errors. */
    /* Of the group that is being paired: which of its "one" series has a value at each step, and for each of those series the number
     * of the many series that it was paired with last. */
    const struct series **owners;
    size_t *paired;
    struct binary_notes notes;
    VEC(struct pair) pairs;
};

static bool meet(const struct series *a, const struct series *b, size_t steps)
{
    size_t from = a->from > b->from ? a->from : b->from, to = a->to < b->to ? a->to : b->to;
    for (size_t t = from; t < to && t < steps; t++) {
        if (series_has(a, t) && series_has(b, t))
            return true;
    }
    return false;
}

static void lists_of_ids(struct group_lists *lists, struct arena *arena,
                         const struct vector *vector, uint32_t *ids, size_t group_count)
{
    lists->first = arena_alloc_array(arena, group_count + 1, sizeof(uint32_t));
    lists->next = arena_alloc_array(arena, vector->count + 1, sizeof(uint32_t));
    lists->id = ids;
    lists->count = group_count;
    for (size_t g = 0; g < group_count; g++)
        lists->first[g] = MAP_NONE;
    for (size_t i = vector->count; i-- > 0;) {
        lists->next[i] = lists->first[ids[i]];
        lists->first[ids[i]] = (uint32_t)i;
    }
}

/* --- the labels of results --- */

/* Those that the two sides were matched by. */
static struct labels *matched_labels(const struct matcher_state *state, const struct labels *labels)
{
    const struct vector_matching *matching = state->matching;
    struct grouping grouping;
    grouping_init(&grouping, state->frame->query, matching->labels, matching->label_count,
                  matching->on);
    struct labels *kept = grouping_labels(&grouping, state->frame->query, labels);
    grouping_deinit(&grouping);
    return kept;
}

static bool names_have(const struct str *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

static struct labels *result_labels(const struct matcher_state *state, struct labels *many,
                                    struct labels *one)
{
    const struct vector_matching *matching = state->matching;
    struct query *query = state->frame->query;
    bool drops =
        binary_drops_name(state->binary->as.binary.op) ||
        (state->binary->as.binary.return_bool && !(query->options.features & QUERY_DELAYED_NAMES));
    struct labels *base = drops ? labels_without_name(query, many) : many;
    if (matching->card != CARD_ONE_TO_ONE && matching->include_count == 0)
        return base;
    if (matching->card == CARD_ONE_TO_ONE && matching->label_count == 0 && !matching->on)
        return base;
    struct labels_builder builder;
    labels_builder_init(&builder);
    labels_builder_load(&builder, base);
    for (size_t i = 0; matching->card == CARD_ONE_TO_ONE && i < base->count; i++) {
        struct str name = base->items[i].name;
        if (names_have(matching->labels, matching->label_count, name) != matching->on)
            labels_builder_del(&builder, name);
    }
    for (size_t i = 0; i < matching->include_count; i++)
        labels_builder_set(&builder, matching->include[i], labels_get(one, matching->include[i]));
    struct labels *labels = query_own(query, labels_build(&builder));
    labels_builder_deinit(&builder);
    return labels;
}

/* --- what must not happen --- */

static bool fail_many_to_many(const struct matcher_state *state, const struct series *first,
                              const struct series *second, struct err *err)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, "found duplicate series for the match group ");
    labels_print(&text, matched_labels(state, second->labels));
    buf_addf(&text, " on the %s hand-side of the operation: [",
             state->matching->card == CARD_ONE_TO_MANY ? "left" : "right");
    labels_print(&text, second->labels);
    BUF_ADD(&text, ", ");
    labels_print(&text, first->labels);
    BUF_ADD(&text,
            "];many-to-many matching not allowed: matching labels must be unique on one side");
    err_set_str(err, ERR_EXECUTION, buf_str(&text));
    buf_deinit(&text);
    return false;
}

/* The steps at which the many side has any value at all: without one Prometheus does not look at
 * the other side. */
static uint64_t *steps_of_many(const struct matcher_state *state)
{
    const struct frame *frame = state->frame;
    uint64_t *steps =
        arena_zalloc(&frame->query->arena, bitmap_words(frame->steps) * sizeof(uint64_t));
    for (size_t i = 0; i < state->many.count; i++) {
        const struct series *series = &state->many.items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                bitmap_add(steps, t);
    }
    return steps;
}

/* Two series of a group on the "one" side that have a value at the same step: the first such step,
 * and the first series there, as Prometheus finds it step by step. */
struct duplicate {
    size_t step;
    const struct series *first, *second; /* second NULL: none. */
};

static void find_duplicate(const struct matcher_state *state, uint32_t group,
                           const uint64_t *steps_checked, const struct series **seen,
                           struct duplicate *found)
{
    const struct group_lists *lists = &state->one_lists;

    memset(seen, 0, state->frame->steps * sizeof(*seen));
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        const struct series *series = &state->one.items[i];
        for (size_t t = series->from; t < series->to; t++) {
            if (!series_has(series, t) || (steps_checked && !bitmap_has(steps_checked, t)))
                continue;
            if (seen[t] &&
                (!found->second || t < found->step || (t == found->step && series < found->second)))
                *found = (struct duplicate){t, seen[t], series};
            if (!seen[t])
                seen[t] = series;
        }
    }
}

static bool fail_many_to_one(bool one_to_one, struct err *err)
{
    return err_set(err, ERR_EXECUTION, "multiple matches for labels: %s",
                   one_to_one ? "many-to-one matching must be explicit (group_left/group_right)"
                              : "grouping labels must ensure unique matches");
}

/* Two series of one group on the "one" side may not have a value at the same step. */
static bool find_duplicates(struct matcher_state *state, struct duplicate *found, struct err *err)
{
    const struct frame *frame = state->frame;
    const struct group_lists *lists = &state->one_lists;
    bool fills = state->matching->has_fill_left || state->matching->has_fill_right;
    const struct series **seen = NULL;
    uint64_t *steps_checked = NULL;

    for (size_t g = 0; g < state->group_count; g++) {
        uint32_t first = lists->first[g];
        if (first == MAP_NONE || lists->next[first] == MAP_NONE)
            continue;
        if (!seen) {
            steps_checked = fills ? NULL : steps_of_many(state);
            seen = arena_alloc_array(&frame->query->arena, frame->steps, sizeof(*seen));
        }
        find_duplicate(state, (uint32_t)g, steps_checked, seen, found);
        if (!query_check(frame->query, err))
            return false;
    }
    return true;
}

/* Have both a value at this step, with which the operator can do something? */
static bool matches_at(const struct matcher_state *state, const struct series *many,
                       const struct series *one, size_t t)
{
    enum binary_op op = state->binary->as.binary.op;
    if (!series_has(many, t) || !series_has(one, t))
        return false;
    bool trims = op == OP_TRIM_UPPER || op == OP_TRIM_LOWER;
    if (!many->histograms && !one->histograms && !trims)
        return true;
    const struct histogram *first = series_histogram(many, t), *second = series_histogram(one, t);
    bool swapped = state->matching->card == CARD_ONE_TO_MANY;
    return !binary_fails(op, swapped ? second : first, swapped ? first : second);
}

static bool pair_labels_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct matcher_state *state = ctx;
    const struct pair *pair = key, *other = &state->pairs.items[value];
    return pair->group == other->group && labels_eq(pair->labels, other->labels);
}

/* False when one of its steps is taken. */
static bool take_steps(const struct matcher_state *state, const struct pair *pair, uint64_t *taken)
{
    size_t to = pair->many->to < state->steps ? pair->many->to : state->steps;
    for (size_t t = pair->many->from; t < to; t++) {
        if (!matches_at(state, pair->many, pair->one, t))
            continue;
        if (bitmap_has(taken, t))
            return false;
        bitmap_add(taken, t);
    }
    return true;
}

/* May the pair have the same result labels as the one that had them first? */
static bool join_pair(const struct matcher_state *state, const struct pair *pair,
                      struct pair *first)
{
    if (!first->taken) {
        size_t words = bitmap_words(state->frame->steps);
        first->taken = arena_zalloc(&state->frame->query->arena, words * sizeof(uint64_t));
        take_steps(state, first, first->taken);
    }
    return take_steps(state, pair, first->taken);
}

/* Within a group the results of one step must differ; for one to one there may be a single one. */
static bool check_pairs(struct matcher_state *state, struct err *err)
{
    bool one_to_one = state->matching->card == CARD_ONE_TO_ONE;
    uint32_t first = MAP_NONE;
    struct map map;
    bool ok = true;
    map_init(&map);
    for (uint32_t i = 0; ok && i < state->pairs.count; i++) {
        struct pair *pair = &state->pairs.items[i];
        uint64_t hash = (pair->group * UINT64_C(0x9e3779b97f4a7c15)) ^ pair->labels->hash;
        if (!one_to_one)
            first = map_find(&map, hash, pair, pair_labels_equal, state);
        else if (first != MAP_NONE && state->pairs.items[first].group != pair->group)
            first = MAP_NONE;
        if (first != MAP_NONE)
            ok = join_pair(state, pair, &state->pairs.items[first]) ||
                 fail_many_to_one(one_to_one, err);
        else if (one_to_one)
            first = i;
        else
            map_insert(&map, hash, i);
        if (ok && (first != MAP_NONE || i % 64 == 0))
            ok = query_check(state->frame->query, err);
    }
    map_deinit(&map);
    return ok;
}

/* --- pairing --- */

/* The steps at which the "one" side has something. */
static uint64_t *steps_with_one(const struct matcher_state *state, uint32_t group)
{
    const struct group_lists *lists = &state->one_lists;
    size_t words = bitmap_words(state->frame->steps);
    uint64_t *taken = arena_zalloc(&state->frame->query->arena, words * sizeof(uint64_t));
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        const struct series *series = &state->one.items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                bitmap_add(taken, t);
    }
    return taken;
}

/* The steps at which some of the "many" side has matched. */
static uint64_t *steps_matched(const struct matcher_state *state, uint32_t group)
{
    const struct group_lists *many = &state->many_lists;
    size_t words = bitmap_words(state->frame->steps);
    uint64_t *taken = arena_zalloc(&state->frame->query->arena, words * sizeof(uint64_t));
    for (uint32_t i = many->first[group]; i != MAP_NONE; i = many->next[i]) {
        const struct series *series = &state->many.items[i];
        for (size_t t = series->from; t < series->to && t < state->steps; t++)
            if (state->owners[t] && matches_at(state, series, state->owners[t], t))
                bitmap_add(taken, t);
    }
    return taken;
}

/* A series that has the fill value at all other steps; NULL when there are none. */
static struct series *fill_series(struct matcher_state *state, const uint64_t *taken, double value,
                                  struct labels *like)
{
    const struct frame *frame = state->frame;
    struct steps steps;
    steps_init(&steps, frame);
    for (size_t t = 0; t < frame->steps; t++)
        if (!bitmap_has(taken, t))
            steps_set(&steps, t, value);
    struct series *series = ARENA_NEW(&frame->query->arena, struct series);
    return steps_take(&steps, frame, matched_labels(state, like), series) ? series : NULL;
}

static void add_pair(struct matcher_state *state, const struct series *many,
                     const struct series *one, uint32_t group, size_t order)
{
    if (!many || !one || !meet(many, one, state->steps))
        return;
    struct pair pair = {.many = many, .one = one, .group = group, .order = order};
    pair.labels = result_labels(state, many->labels, one->labels);
    VEC_PUSH(&state->pairs, pair);
}

/* No two of the "one" side have a value at a step that matters, so that each step has one owner at most. */
static void find_owners(struct matcher_state *state, uint32_t group)
{
    const struct group_lists *lists = &state->one_lists;
    memset(state->owners, 0, state->steps * sizeof(*state->owners));
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        const struct series *series = &state->one.items[i];
        for (size_t t = series->from; t < series->to && t < state->steps; t++)
            if (series_has(series, t))
                state->owners[t] = series;
    }
}

/* Pairs a series with those that own a step of its. */
static void pair_owners(struct matcher_state *state, size_t index, uint32_t group)
{
    const struct series *many = &state->many.items[index];
    for (size_t t = many->from; t < many->to && t < state->steps; t++) {
        const struct series *one = state->owners[t];
        if (!one || !series_has(many, t) || state->paired[one - state->one.items] == index + 1)
            continue;
        state->paired[one - state->one.items] = index + 1;
        add_pair(state, many, one, group, index);
    }
}

static bool pair_group(struct matcher_state *state, uint32_t group, struct err *err)
{
    const struct vector_matching *matching = state->matching;
    uint32_t many = state->many_lists.first[group], one = state->one_lists.first[group];
    bool several = one != MAP_NONE && state->one_lists.next[one] != MAP_NONE;
    struct series *fill_one = NULL, *fill_many = NULL;

    if (several || matching->has_fill_left)
        find_owners(state, group);
    if (matching->has_fill_right && many != MAP_NONE)
        fill_one = fill_series(state, steps_with_one(state, group), matching->fill_right,
                               state->many.items[many].labels);
    if (matching->has_fill_left && one != MAP_NONE)
        fill_many = fill_series(state, steps_matched(state, group), matching->fill_left,
                                state->one.items[one].labels);
    for (uint32_t i = many; i != MAP_NONE; i = state->many_lists.next[i]) {
        if (several)
            pair_owners(state, i, group);
        else if (one != MAP_NONE)
            add_pair(state, &state->many.items[i], &state->one.items[one], group, i);
        add_pair(state, &state->many.items[i], fill_one, group, i);
        if (several && !query_check(state->frame->query, err))
            return false;
    }
    for (uint32_t j = one; fill_many && j != MAP_NONE; j = state->one_lists.next[j])
        add_pair(state, fill_many, &state->one.items[j], group, state->many.count + j);
    return group % 64 || query_check(state->frame->query, err);
}

/* --- values --- */

static void pair_histograms(struct matcher_state *state, const struct series *lhs,
                            const struct series *rhs, size_t t, struct steps *steps)
{
    struct binary_operand left = {*series_at(lhs, t), series_histogram(lhs, t)};
    struct binary_operand right = {*series_at(rhs, t), series_histogram(rhs, t)};
    struct binary_result result = binary_histograms(state->frame, state->binary, left, right);
    binary_notes_add(&state->notes, state->frame, t, result.note);
    if (!result.keep)
        return;
    if (result.histogram)
        steps_set_histogram(steps, t, result.histogram);
    else
        steps_set(steps, t, result.value);
}

static void pair_values(struct matcher_state *state, const struct pair *pair, struct steps *steps)
{
    enum binary_op op = state->binary->as.binary.op;
    bool return_bool = state->binary->as.binary.return_bool;
    bool swapped = state->matching->card == CARD_ONE_TO_MANY;
    const struct series *lhs = swapped ? pair->one : pair->many;
    const struct series *rhs = swapped ? pair->many : pair->one;
    size_t from = lhs->from > rhs->from ? lhs->from : rhs->from;
    size_t to = lhs->to < rhs->to ? lhs->to : rhs->to;
    for (size_t t = from; t < to; t++) {
        if (!series_has(lhs, t) || !series_has(rhs, t))
            continue;
        if (series_histogram(lhs, t) || series_histogram(rhs, t)) {
            pair_histograms(state, lhs, rhs, t, steps);
            continue;
        }
        double left = *series_at(lhs, t), right = *series_at(rhs, t);
        if (op == OP_TRIM_UPPER || op == OP_TRIM_LOWER)
            binary_notes_add(&state->notes, state->frame, t, NOTE_FLOAT_FLOAT);
        bool keeps = binary_keeps(op, left, right);
        if (return_bool)
            steps_set(steps, t, keeps ? 1 : 0);
        else if (keeps)
            steps_set(steps, t, binary_value(op, left, right));
    }
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *left = a, *right = b;
    return (left->order > right->order) - (left->order < right->order);
}

static bool pairs_values(struct matcher_state *state, struct vector *out, struct err *err)
{
    struct steps steps;
    *out = vector_new(state->frame, state->pairs.count);
    VEC_SORT(&state->pairs, compare_pairs);
    steps_init(&steps, state->frame);
    VEC_EACH (pair, &state->pairs) {
        struct series *series = &out->items[out->count];
        pair_values(state, pair, &steps);
        if (!query_check(state->frame->query, err))
            return false;
        if (!steps_take(&steps, state->frame, pair->labels, series))
            continue;
        series->drop_name = (state->frame->query->options.features & QUERY_DELAYED_NAMES) &&
                            state->binary->as.binary.return_bool;
        out->count++;
    }
    binary_notes_annotate(&state->notes, state->frame, state->binary);
    return vector_merge_same(state->frame, out, err);
}

bool eval_match(const struct frame *frame, struct expr *binary, struct vector *lhs,
                struct vector *rhs, struct vector *out, struct err *err)
{
    const struct vector_matching *matching = &binary->as.binary.matching;
    bool swapped = matching->card == CARD_ONE_TO_MANY;
    struct matcher_state state = {
        .frame = frame,
        .binary = binary,
        .matching = matching,
        .many = swapped ? *rhs : *lhs,
        .one = swapped ? *lhs : *rhs,
    };
    struct arena *arena = &frame->query->arena;

    state.group_count =
        match_groups(frame, matching, &state.many, &state.one, &state.many_ids, &state.one_ids);
    lists_of_ids(&state.many_lists, arena, &state.many, state.many_ids, state.group_count);
    lists_of_ids(&state.one_lists, arena, &state.one, state.one_ids, state.group_count);
    /* Errors come as Prometheus finds them, step by step: pairs may be wrong at an earlier one. */
    struct duplicate duplicate = {.step = frame->steps};
    bool ok = find_duplicates(&state, &duplicate, err);
    state.steps = duplicate.step;
    state.owners = arena_alloc_array(arena, state.steps + 1, sizeof(*state.owners));
    state.paired = arena_zalloc(arena, (state.one.count + 1) * sizeof(*state.paired));
    for (uint32_t g = 0; ok && g < state.group_count; g++)
        ok = pair_group(&state, g, err);
    ok = ok && check_pairs(&state, err);
    if (ok && duplicate.second)
        ok = fail_many_to_many(&state, duplicate.first, duplicate.second, err);
    ok = ok && pairs_values(&state, out, err);
    VEC_FREE(&state.pairs);
    return ok;
}
