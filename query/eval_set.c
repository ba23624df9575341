/* eval_set: and, or, unless: which steps stay is worked out on bitmaps, values are not looked at.
 */
#include "eval.h"

size_t match_groups(const struct frame *frame, const struct vector_matching *matching,
                    const struct vector *lhs, const struct vector *rhs, uint32_t **lhs_ids,
                    uint32_t **rhs_ids)
{
    struct arena *arena = &frame->query->arena;
    struct grouping grouping;
    grouping_init(&grouping, frame->query, matching->labels, matching->label_count, matching->on);
    *lhs_ids = arena_alloc_array(arena, lhs->count + 1, sizeof(uint32_t));
    *rhs_ids = arena_alloc_array(arena, rhs->count + 1, sizeof(uint32_t));
    for (size_t i = 0; i < lhs->count; i++)
        (*lhs_ids)[i] = grouping_id(&grouping, lhs->items[i].labels);
    for (size_t i = 0; i < rhs->count; i++)
        (*rhs_ids)[i] = grouping_id(&grouping, rhs->items[i].labels);
    size_t count = grouping.first.count;
    grouping_deinit(&grouping);
    return count;
}

/* For each group the steps at which one of the vector's series has a value; NULL for groups without
 * any. */
static uint64_t **steps_of_groups(const struct frame *frame, const struct vector *vector,
                                  const uint32_t *ids, size_t group_count)
{
    struct arena *arena = &frame->query->arena;
    size_t words = bitmap_words(frame->steps);
    uint64_t **groups = arena_zalloc(arena, (group_count + 1) * sizeof(uint64_t *));
    for (size_t i = 0; i < vector->count; i++) {
        const struct series *series = &vector->items[i];
        uint64_t **steps = &groups[ids[i]];
        if (!*steps)
            *steps = arena_zalloc(arena, words * sizeof(uint64_t));
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                bitmap_add(*steps, t);
    }
    return groups;
}

/* Keeps the steps that `steps` has, or those that it has not. */
static void keep_steps(const struct frame *frame, struct series *series, const uint64_t *steps,
                       bool those)
{
    if (!steps) {
        if (those)
            series->to = series->from;
        return;
    }
    series_need_bitmap(frame, series);
    for (size_t t = series->from; t < series->to; t++)
        if (bitmap_has(steps, t) != those)
            bitmap_del(series->present, t - series->from);
}

bool eval_set(const struct frame *frame, struct expr *binary, struct vector *lhs,
              struct vector *rhs, struct vector *out, struct err *err)
{
    uint32_t *lhs_ids, *rhs_ids;
    enum binary_op op = binary->as.binary.op;
    size_t groups = match_groups(frame, &binary->as.binary.matching, lhs, rhs, &lhs_ids, &rhs_ids);

    if (op == OP_OR) {
        uint64_t **steps = steps_of_groups(frame, lhs, lhs_ids, groups);
        *out = vector_new(frame, lhs->count + rhs->count);
        for (size_t i = 0; i < lhs->count; i++)
            out->items[out->count++] = lhs->items[i];
        for (size_t i = 0; i < rhs->count; i++) {
            keep_steps(frame, &rhs->items[i], steps[rhs_ids[i]], false);
            out->items[out->count++] = rhs->items[i];
        }
    } else {
        uint64_t **steps = steps_of_groups(frame, rhs, rhs_ids, groups);
        for (size_t i = 0; i < lhs->count; i++)
            keep_steps(frame, &lhs->items[i], steps[lhs_ids[i]], op == OP_AND);
        *out = *lhs;
    }
    vector_drop_empty(out);
    return query_check(frame->query, err) && vector_merge_same(frame, out, err);
}
