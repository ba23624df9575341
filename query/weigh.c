/* weigh: about how much a query would do, from its tree and the index: enough to tell those that are done sooner than a thread
 * could be woken for them. What cannot be said cheaply is heavy. */
#include "eval.h"

#define SERIES_WEIGHT                                                                              \
    100 /* To select one, to evaluate it and to print it; a sample weighs 1, some 10 ns. */

static uint64_t weigh(const struct query *query, struct storage *storage, struct expr *expr);

static uint64_t add_weights(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t weigh_selector(const struct query *query, struct storage *storage,
                               const struct expr *selector, int64_t range_ms)
{
    const struct modifiers *mod = &selector->as.vector.mod;
    const struct matchers *matchers = &selector->as.vector.matchers;
    if (selector->as.vector.anchored || selector->as.vector.smoothed)
        return UINT64_MAX;
    for (size_t i = 0; i < matchers->count; i++)
        if (matchers->items[i].type == MATCH_REGEX || matchers->items[i].type == MATCH_NOT_REGEX)
            return UINT64_MAX;
    int64_t at_ms = mod->at != AT_NONE ? mod->at_ms : query->options.start_ms;
    int64_t from_ms = time_sub(time_sub(at_ms, mod->offset_ms), range_ms);
    uint64_t series = storage_select_weight(storage, matchers->items, matchers->count, from_ms);
    uint64_t each = SERIES_WEIGHT + (uint64_t)range_ms / FEED_INTERVAL_MS;
    return series > UINT64_MAX / each ? UINT64_MAX : series * each;
}

static uint64_t weigh_call(const struct query *query, struct storage *storage,
                           const struct expr *call)
{
    enum function_id id = call->as.call.function->id;
    uint64_t weight = 0;
    if (id == FN_INFO || id == FN_LABEL_REPLACE)
        return UINT64_MAX;
    for (size_t i = 0; i < call->as.call.arg_count; i++)
        weight = add_weights(weight, weigh(query, storage, call->as.call.args[i]));
    return weight;
}

static uint64_t weigh(const struct query *query, struct storage *storage, struct expr *expr)
{
    expr = expr_unwrap(expr);
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_STRING:
    case EXPR_DURATION:
        return 0;
    case EXPR_VECTOR_SELECTOR:
        return weigh_selector(query, storage, expr, query->options.lookback_ms);
    case EXPR_MATRIX_SELECTOR:
        return weigh_selector(query, storage, expr->as.matrix.vector, expr->as.matrix.range_ms);
    case EXPR_SUBQUERY:
        return UINT64_MAX;
    case EXPR_PAREN:
        break; /* Unwrapped. */
    case EXPR_UNARY:
        return weigh(query, storage, expr->as.unary.expr);
    case EXPR_BINARY:
        return add_weights(weigh(query, storage, expr->as.binary.lhs),
                           weigh(query, storage, expr->as.binary.rhs));
    case EXPR_CALL:
        return weigh_call(query, storage, expr);
    case EXPR_AGGREGATE:
        return add_weights(
            weigh(query, storage, expr->as.aggregate.expr),
            expr->as.aggregate.param ? weigh(query, storage, expr->as.aggregate.param) : 0);
    }
    UNREACHABLE();
}

uint64_t query_weight(const struct query *query, struct storage *storage)
{
    if (query->options.step_ms > 0)
        return UINT64_MAX;
    return weigh(query, storage, query->expr);
}
