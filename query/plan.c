/* plan: what can be known of a tree before it is evaluated.
 *
 * plan_tree runs in query_new: it computes duration expressions (they may name the query's step and
 * range), resolves
 * @ start() and @ end(), and marks the parts whose value is the same at every step. plan_select
 * runs in query_run: it selects all series up front, each selector over just the times that it can
 * look at. */
#include "eval.h"
#include "model/math_go.h"

#define DURATION_SECONDS_MAX 9223372036.854775807

/* --- duration expressions --- */

static bool duration_fail(struct err *err, const struct expr *expr, const char *text)
{
    return err_set(err, ERR_BAD_DATA, "%zu:%zu: %s", expr->start, expr->end, text);
}

static bool duration_binary(const struct expr *expr, double lhs, double rhs, double *out,
                            struct err *err)
{
    switch (expr->as.duration.op) {
    case OP_ADD:
        *out = lhs + rhs;
        return true;
    case OP_SUB:
        *out = lhs - rhs;
        return true;
    case OP_MUL:
        *out = lhs * rhs;
        return true;
    case OP_DIV:
        if (rhs == 0)
            return duration_fail(err, expr, "division by zero");
        *out = lhs / rhs;
        return true;
    case OP_MOD:
        if (rhs == 0)
            return duration_fail(err, expr, "modulo by zero");
        *out = fmod(lhs, rhs);
        return true;
    case OP_POW:
        *out = go_pow(lhs, rhs);
        return true;
    default:
        return err_set(err, ERR_BAD_DATA, "unexpected duration expression operator \"%s\"",
                       binary_op_text(expr->as.duration.op));
    }
}

/* In seconds. */
static bool duration_value(const struct query *query, const struct expr *expr, double *out,
                           struct err *err)
{
    double lhs = 0, rhs = 0;
    expr = expr_unwrap((struct expr *)expr);
    if (expr->kind == EXPR_NUMBER) {
        *out = expr->as.number.value;
        return true;
    }
    if (expr->kind != EXPR_DURATION)
        return err_set(err, ERR_BAD_DATA, "unexpected duration expression type");
    if (expr->as.duration.lhs && !duration_value(query, expr->as.duration.lhs, &lhs, err))
        return false;
    if (expr->as.duration.rhs && !duration_value(query, expr->as.duration.rhs, &rhs, err))
        return false;
    switch (expr->as.duration.what) {
    case DUR_BINARY:
        return duration_binary(expr, lhs, rhs, out, err);
    case DUR_UNARY:
        *out = expr->as.duration.op == OP_SUB ? -rhs : rhs;
        return true;
    case DUR_STEP:
        *out = (double)query->options.step_ms / 1000;
        return true;
    case DUR_RANGE:
        *out = (double)(query->options.end_ms - query->options.start_ms) / 1000;
        return true;
    case DUR_MIN_OF:
        *out = min_go(lhs, rhs);
        return true;
    case DUR_MAX_OF:
        *out = max_go(lhs, rhs);
        return true;
    }
    UNREACHABLE();
}

/* Leaves *out_ms as it is when there is no expression. */
static bool duration_ms(const struct query *query, const struct expr *expr, bool may_be_negative,
                        int64_t *out_ms, struct err *err)
{
    double seconds;
    if (!expr)
        return true;
    if (!duration_value(query, expr, &seconds, err))
        return false;
    if (!isfinite(seconds))
        return duration_fail(err, expr, "duration is NaN or infinite");
    if (seconds <= 0 && !may_be_negative)
        return duration_fail(err, expr, "duration must be greater than 0");
    if (fabs(seconds) > DURATION_SECONDS_MAX)
        return duration_fail(err, expr, "duration is out of range");
    *out_ms = (int64_t)(seconds * 1000);
    return true;
}

static bool plan_modifiers(const struct query *query, struct modifiers *mod, struct err *err)
{
    if (!duration_ms(query, mod->offset_expr, true, &mod->offset_ms, err))
        return false;
    if (mod->at == AT_START)
        mod->at_ms = query->options.start_ms;
    else if (mod->at == AT_END)
        mod->at_ms = query->options.end_ms;
    return true;
}

/* --- what does not change from step to step --- */

/* Also functions of the time of their argument count: it moves with the evaluation time. */
static bool function_sees_time(enum function_id id)
{
    switch (id) {
    case FN_DAYS_IN_MONTH:
    case FN_DAY_OF_MONTH:
    case FN_DAY_OF_WEEK:
    case FN_DAY_OF_YEAR:
    case FN_HOUR:
    case FN_MINUTE:
    case FN_MONTH:
    case FN_YEAR:
    case FN_PREDICT_LINEAR:
    case FN_TIME:
    case FN_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

static bool plan_node(struct query *query, struct expr *expr, struct err *err);

static bool plan_call(struct query *query, struct expr *call, struct err *err)
{
    enum function_id id = call->as.call.function->id;
    bool same = !function_sees_time(id);
    bool pinned_timestamp = id == FN_TIMESTAMP;
    if (id == FN_INFO)
        call->as.call.info_index = query->selector_count++;
    for (size_t i = 0; i < call->as.call.arg_count; i++) {
        struct expr *arg = call_arg(call, i);
        if (!plan_node(query, arg, err))
            return false;
        same = same && arg->step_invariant;
        if (!arg->step_invariant || arg->kind != EXPR_VECTOR_SELECTOR)
            pinned_timestamp = false;
    }
    call->step_invariant = same || pinned_timestamp;
    return true;
}

static bool plan_subquery(struct query *query, struct expr *expr, struct err *err)
{
    struct modifiers *mod = &expr->as.subquery.mod;
    if (!plan_modifiers(query, mod, err) ||
        !duration_ms(query, expr->as.subquery.step_expr, false, &expr->as.subquery.step_ms, err) ||
        !duration_ms(query, expr->as.subquery.range_expr, false, &expr->as.subquery.range_ms, err))
        return false;
    expr->step_invariant = mod->at != AT_NONE;
    return plan_node(query, expr->as.subquery.expr, err);
}

static bool plan_node(struct query *query, struct expr *expr, struct err *err)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_STRING:
        expr->step_invariant = true;
        return true;
    case EXPR_VECTOR_SELECTOR:
        expr->as.vector.index = query->selector_count++;
        expr->step_invariant = expr->as.vector.mod.at != AT_NONE;
        return plan_modifiers(query, &expr->as.vector.mod, err);
    case EXPR_MATRIX_SELECTOR:
        if (!duration_ms(query, expr->as.matrix.range_expr, false, &expr->as.matrix.range_ms,
                         err) ||
            !plan_node(query, expr->as.matrix.vector, err))
            return false;
        expr->step_invariant = expr->as.matrix.vector->step_invariant;
        return true;
    case EXPR_SUBQUERY:
        return plan_subquery(query, expr, err);
    case EXPR_PAREN:
        if (!plan_node(query, expr->as.paren.expr, err))
            return false;
        expr->step_invariant = expr->as.paren.expr->step_invariant;
        return true;
    case EXPR_UNARY:
        if (!plan_node(query, expr->as.unary.expr, err))
            return false;
        expr->step_invariant = expr->as.unary.expr->step_invariant;
        return true;
    case EXPR_BINARY:
        if (!plan_node(query, expr->as.binary.lhs, err) ||
            !plan_node(query, expr->as.binary.rhs, err))
            return false;
        expr->step_invariant =
            expr->as.binary.lhs->step_invariant && expr->as.binary.rhs->step_invariant;
        return true;
    case EXPR_CALL:
        return plan_call(query, expr, err);
    case EXPR_AGGREGATE:
        if (!plan_node(query, expr->as.aggregate.expr, err))
            return false;
        if (expr->as.aggregate.param && !plan_node(query, expr->as.aggregate.param, err))
            return false;
        /* Prometheus does not look at the parameter here, so neither do we. */
        expr->step_invariant = expr->as.aggregate.expr->step_invariant;
        return true;
    case EXPR_DURATION:
        break;
    }
    UNREACHABLE();
}

bool plan_tree(struct query *query, struct err *err)
{
    query->selector_count = 0;
    return plan_node(query, query->expr, err);
}

/* --- selecting --- */

/* What the subqueries around a selector add up to; @ on one of them starts afresh. */
struct around {
    int64_t offset_ms, range_ms;
    bool pinned;
    int64_t at_ms;
    bool wants_figures; /* Inside of histogram_count, _sum, _avg, */
    bool wants_buckets; /* ... or of what looks at buckets: then they are read. */
};

struct planner {
    struct query *query;
    struct storage *storage;
};

int64_t plan_subquery_step_ms(const struct query *query, const struct expr *subquery)
{
    return subquery->as.subquery.step_ms > 0 ? subquery->as.subquery.step_ms
                                             : query->options.default_step_ms;
}

static bool select_one(struct planner *planner, struct expr *expr, int64_t range_ms,
                       struct around around, struct err *err)
{
    struct query *query = planner->query;
    const struct modifiers *mod = &expr->as.vector.mod;
    expr->as.vector.no_buckets = around.wants_figures && !around.wants_buckets;
    int64_t from_ms = around.pinned ? around.at_ms : query->options.start_ms;
    int64_t to_ms = around.pinned ? around.at_ms : query->options.end_ms;

    if (mod->at != AT_NONE) {
        from_ms = to_ms = mod->at_ms;
    } else {
        from_ms = time_sub(time_sub(from_ms, around.offset_ms), around.range_ms);
        to_ms = time_sub(to_ms, around.offset_ms);
    }
    /* A sample exactly one range or lookback away is outside. */
    from_ms = time_add(time_sub(from_ms, range_ms ? range_ms : query->options.lookback_ms), 1);
    from_ms = time_sub(from_ms, mod->offset_ms);
    to_ms = time_sub(to_ms, mod->offset_ms);
    if (range_ms && (expr->as.vector.anchored || expr->as.vector.smoothed))
        from_ms = time_sub(from_ms, query->options.lookback_ms);
    if (expr->as.vector.smoothed)
        to_ms = time_add(to_ms, query->options.lookback_ms);
    struct selection **slot = &query->selections[expr->as.vector.index];
    if (from_ms > to_ms)
        from_ms = to_ms;
    if (!storage_select(planner->storage, expr->as.vector.matchers.items,
                        expr->as.vector.matchers.count, from_ms, to_ms, slot, err)) {
        *slot = NULL;
        return err_wrap(err, "expanding series");
    }
    query->owned_bytes += selection_bytes(*slot);
    return query_check(query, err);
}

/* What the functions on the way down to a selector want of native histograms. */
static void look_at_call(enum function_id id, struct around *around)
{
    switch (id) {
    case FN_HISTOGRAM_COUNT:
    case FN_HISTOGRAM_SUM:
    case FN_HISTOGRAM_AVG:
        around->wants_figures = true;
        return;
    case FN_HISTOGRAM_QUANTILE:
    case FN_HISTOGRAM_QUANTILES:
    case FN_HISTOGRAM_FRACTION:
        around->wants_buckets = true;
        return;
    default:
        return;
    }
}

/* The first selector in an expression, as it is written. */
static const struct expr *first_selector(const struct expr *expr)
{
    const struct expr *found = NULL;
    switch (expr->kind) {
    case EXPR_VECTOR_SELECTOR:
        return expr;
    case EXPR_MATRIX_SELECTOR:
        return expr->as.matrix.vector;
    case EXPR_SUBQUERY:
        return first_selector(expr->as.subquery.expr);
    case EXPR_PAREN:
        return first_selector(expr->as.paren.expr);
    case EXPR_UNARY:
        return first_selector(expr->as.unary.expr);
    case EXPR_BINARY:
        found = first_selector(expr->as.binary.lhs);
        return found ? found : first_selector(expr->as.binary.rhs);
    case EXPR_AGGREGATE:
        return first_selector(expr->as.aggregate.expr);
    case EXPR_CALL:
        for (size_t i = 0; !found && i < expr->as.call.arg_count; i++)
            found = first_selector(expr->as.call.args[i]);
        return found;
    case EXPR_NUMBER:
    case EXPR_STRING:
    case EXPR_DURATION:
        break;
    }
    return NULL;
}

/* info(): the info series over the times at which the first selector of its argument looks. */
static bool select_info(struct planner *planner, struct expr *call, struct around around,
                        struct err *err)
{
    struct query *query = planner->query;
    struct matchers matchers = {0};
    int64_t from_ms = around.pinned ? around.at_ms : query->options.start_ms;
    int64_t to_ms = around.pinned ? around.at_ms : query->options.end_ms;
    const struct expr *first = first_selector(call->as.call.args[0]);
    const struct modifiers *mod = first ? &first->as.vector.mod : NULL;

    from_ms = time_sub(time_sub(from_ms, around.offset_ms), around.range_ms);
    to_ms = time_sub(to_ms, around.offset_ms);
    if (mod && mod->at != AT_NONE)
        from_ms = to_ms = mod->at_ms;
    from_ms = time_add(time_sub(from_ms, query->options.lookback_ms), 1);
    if (mod) {
        from_ms = time_sub(from_ms, mod->offset_ms);
        to_ms = time_sub(to_ms, mod->offset_ms);
    }
    if (!info_matchers(query, call, &matchers, err))
        return false;
    struct selection **slot = &query->selections[call->as.call.info_index];
    if (!storage_select(planner->storage, matchers.items, matchers.count,
                        from_ms > to_ms ? to_ms : from_ms, to_ms, slot, err)) {
        *slot = NULL;
        return err_wrap(err, "expanding series");
    }
    query->owned_bytes += selection_bytes(*slot);
    return query_check(query, err);
}

static bool select_below(struct planner *planner, struct expr *expr, struct around around,
                         struct err *err)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_STRING:
    case EXPR_DURATION:
        return true;
    case EXPR_VECTOR_SELECTOR:
        return select_one(planner, expr, 0, around, err);
    case EXPR_MATRIX_SELECTOR:
        return select_one(planner, expr->as.matrix.vector, expr->as.matrix.range_ms, around, err);
    case EXPR_SUBQUERY:
        around.offset_ms = time_add(around.offset_ms, expr->as.subquery.mod.offset_ms);
        around.range_ms = time_add(around.range_ms, expr->as.subquery.range_ms);
        if (expr->as.subquery.mod.at != AT_NONE)
            around = (struct around){.offset_ms = expr->as.subquery.mod.offset_ms,
                                     .range_ms = expr->as.subquery.range_ms,
                                     .pinned = true,
                                     .at_ms = expr->as.subquery.mod.at_ms};
        around.wants_buckets = true;
        return select_below(planner, expr->as.subquery.expr, around, err);
    case EXPR_PAREN:
        return select_below(planner, expr->as.paren.expr, around, err);
    case EXPR_UNARY:
        return select_below(planner, expr->as.unary.expr, around, err);
    case EXPR_BINARY:
        if (expr->as.binary.op == OP_TRIM_UPPER || expr->as.binary.op == OP_TRIM_LOWER)
            around.wants_buckets = true;
        return select_below(planner, expr->as.binary.lhs, around, err) &&
               select_below(planner, expr->as.binary.rhs, around, err);
    case EXPR_CALL:
        look_at_call(expr->as.call.function->id, &around);
        if (expr->as.call.function->id == FN_INFO)
            return select_below(planner, expr->as.call.args[0], around, err) &&
                   select_info(planner, expr, around, err);
        for (size_t i = 0; i < expr->as.call.arg_count; i++)
            if (!select_below(planner, expr->as.call.args[i], around, err))
                return false;
        return true;
    case EXPR_AGGREGATE:
        return (!expr->as.aggregate.param ||
                select_below(planner, expr->as.aggregate.param, around, err)) &&
               select_below(planner, expr->as.aggregate.expr, around, err);
    }
    UNREACHABLE();
}

bool plan_select(struct query *query, struct storage *storage, struct err *err)
{
    struct planner planner = {.query = query, .storage = storage};
    query->selections =
        arena_zalloc(&query->arena, (query->selector_count + 1) * sizeof(struct selection *));
    return select_below(&planner, query->expr, (struct around){0}, err);
}
