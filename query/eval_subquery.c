/* eval_subquery: an instant vector evaluated over a range of its own, at multiples of its step. */
#include "eval.h"

/* The smallest multiple of the step after `after_ms`. */
static int64_t first_multiple(int64_t after_ms, int64_t step_ms)
{
    int64_t multiple = after_ms / step_ms * step_ms;
    return multiple <= after_ms ? time_add(multiple, step_ms) : multiple;
}

bool eval_subquery(const struct frame *frame, struct expr *subquery, struct frame *sub,
                   struct vector *out, uint64_t *samples, struct err *err)
{
    struct query *query = frame->query;
    const struct modifiers *mod = &subquery->as.subquery.mod;
    struct query_stats outside;
    int64_t first_ms = mod->at != AT_NONE ? mod->at_ms : frame->start_ms;
    int64_t last_ms = mod->at != AT_NONE ? mod->at_ms : frame_time(frame, frame->steps - 1);
    struct value value;

    *sub = (struct frame){.query = query, .step_ms = plan_subquery_step_ms(query, subquery)};
    int64_t after_ms = time_sub(time_sub(first_ms, mod->offset_ms), subquery->as.subquery.range_ms);
    int64_t end_ms = time_sub(last_ms, mod->offset_ms);
    sub->start_ms = first_multiple(after_ms, sub->step_ms);
    if (sub->start_ms <= end_ms)
        sub->steps = (size_t)(time_sub(end_ms, sub->start_ms) / sub->step_ms) + 1;
    sub->is_range = sub->start_ms != end_ms;
    if (!query_allows_steps(query, sub->steps, err))
        return false;
    bool has_gaps = frame->steps > 1 && frame->step_ms > subquery->as.subquery.range_ms;
    step_stats_enter(sub, has_gaps, &outside);
    if (!eval_expr(sub, subquery->as.subquery.expr, &value, err))
        return false;
    *samples = query->result.stats.samples_total - outside.samples_total;
    /* The caller counts the samples that it takes from the windows. */
    step_stats_leave(frame, &outside, mod->offset_ms, subquery->as.subquery.range_ms);
    *out = value.vector;
    if (value.type == TYPE_SCALAR) {
        *out = vector_new(sub, 1);
        if (sub->steps)
            out->items[out->count++] = (struct series){.labels = query_own(query, labels_empty()),
                                                       .to = sub->steps,
                                                       .values = value.scalar};
    }
    return true;
}
