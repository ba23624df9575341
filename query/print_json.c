/* print_json: a tree as /api/v1/parse_query shows it to the tree view of the pages. Keys are in
 * byte order. */
#include <math.h>

#include "ast.h"
#include "base/number.h"
#include "functions.h"

/* What the API calls the types; errors say "instant vector" instead. */
static const char *type_word(enum value_type type)
{
    static const char *const words[] = {"none", "scalar", "vector", "matrix", "string"};
    return words[type];
}

/* Between the items of a list. */
static void json_separator(struct buf *out, size_t index)
{
    if (index > 0)
        BUF_ADD(out, ",");
}

static void json_text(struct buf *out, const char *key, const char *value)
{
    buf_addf(out, "\"%s\":", key);
    buf_add_json_string(out, str_of(value));
}

static void json_bool(struct buf *out, const char *key, bool value)
{
    buf_addf(out, "\"%s\":%s", key, value ? "true" : "false");
}

static void json_labels(struct buf *out, const char *key, const struct str *labels, size_t count)
{
    buf_addf(out, "\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        json_separator(out, i);
        buf_add_json_string(out, labels[i]);
    }
    BUF_ADD(out, "]");
}

static void json_number_text(struct buf *out, double value)
{
    BUF_ADD(out, "\"");
    buf_add_number(out, value, NUMBER_F);
    BUF_ADD(out, "\"");
}

static void json_child(struct buf *out, const char *key, const struct expr *expr)
{
    buf_addf(out, "\"%s\":", key);
    if (expr)
        expr_json(out, expr);
    else
        BUF_ADD(out, "null");
}

/* --- durations --- */

static const char *duration_word(const struct expr *expr)
{
    switch (expr->as.duration.what) {
    case DUR_STEP:
        return "step";
    case DUR_RANGE:
        return "range";
    case DUR_MIN_OF:
        return "min_of";
    case DUR_MAX_OF:
        return "max_of";
    case DUR_UNARY:
    case DUR_BINARY:
        break;
    }
    return binary_op_text(expr->as.duration.op);
}

static void json_duration(struct buf *out, const char *key, const struct expr *expr)
{
    buf_addf(out, "\"%s\":", key);
    if (!expr) {
        BUF_ADD(out, "null");
    } else if (expr->kind == EXPR_NUMBER) {
        BUF_ADD(out, "{");
        json_bool(out, "duration", expr->as.number.is_duration);
        BUF_ADD(out, ",\"type\":\"numberLiteral\",\"val\":");
        json_number_text(out, expr->as.number.value);
        BUF_ADD(out, "}");
    } else {
        BUF_ADD(out, "{");
        json_duration(out, "lhs", expr->as.duration.lhs);
        BUF_ADD(out, ",");
        json_text(out, "op", duration_word(expr));
        BUF_ADD(out, ",");
        json_duration(out, "rhs", expr->as.duration.rhs);
        BUF_ADD(out, ",\"type\":\"durationExpr\",");
        json_bool(out, "wrapped", expr->parens_around);
        BUF_ADD(out, "}");
    }
}

/* --- selectors --- */

static void json_matchers(struct buf *out, const struct matchers *matchers)
{
    BUF_ADD(out, "\"matchers\":[");
    for (size_t i = 0; i < matchers->count; i++) {
        const struct matcher *matcher = &matchers->items[i];
        json_separator(out, i);
        BUF_ADD(out, "{\"name\":");
        buf_add_json_string(out, matcher->name);
        BUF_ADD(out, ",");
        json_text(out, "type", matcher_type_text(matcher->type));
        BUF_ADD(out, ",\"value\":");
        buf_add_json_string(out, matcher->value);
        BUF_ADD(out, "}");
    }
    BUF_ADD(out, "]");
}

static void json_offset(struct buf *out, const struct modifiers *mod)
{
    BUF_ADD(out, "\"offset\":");
    buf_add_i64(out, mod->offset_expr ? 0 : mod->offset_ms);
    BUF_ADD(out, ",");
    json_duration(out, "offsetExpr", mod->offset_expr);
}

static void json_range(struct buf *out, int64_t range_ms, const struct expr *range_expr)
{
    BUF_ADD(out, "\"range\":");
    buf_add_i64(out, range_expr ? 0 : range_ms);
    BUF_ADD(out, ",");
    json_duration(out, "rangeExpr", range_expr);
}

static void json_start_or_end(struct buf *out, const struct modifiers *mod)
{
    BUF_ADD(out, "\"startOrEnd\":");
    if (mod->at == AT_START)
        BUF_ADD(out, "\"start\"");
    else if (mod->at == AT_END)
        BUF_ADD(out, "\"end\"");
    else
        BUF_ADD(out, "null");
}

static void json_timestamp(struct buf *out, const struct modifiers *mod)
{
    BUF_ADD(out, "\"timestamp\":");
    if (mod->at == AT_TIME)
        buf_add_i64(out, mod->at_ms);
    else
        BUF_ADD(out, "null");
}

/* Of a vector selector, or of the matrix selector around it. */
static void json_selector(struct buf *out, const struct expr *expr, const struct expr *matrix)
{
    const struct modifiers *mod = &expr->as.vector.mod;

    BUF_ADD(out, "{");
    json_bool(out, "anchored", expr->as.vector.anchored);
    BUF_ADD(out, ",");
    json_matchers(out, &expr->as.vector.matchers);
    BUF_ADD(out, ",\"name\":");
    buf_add_json_string(out, expr->as.vector.name);
    BUF_ADD(out, ",");
    json_offset(out, mod);
    BUF_ADD(out, ",");
    if (matrix) {
        json_range(out, matrix->as.matrix.range_ms, matrix->as.matrix.range_expr);
        BUF_ADD(out, ",");
    }
    json_bool(out, "smoothed", expr->as.vector.smoothed);
    BUF_ADD(out, ",");
    json_start_or_end(out, mod);
    BUF_ADD(out, ",");
    json_timestamp(out, mod);
    BUF_ADD(out, ",");
    json_text(out, "type", matrix ? "matrixSelector" : "vectorSelector");
    BUF_ADD(out, "}");
}

static void json_subquery(struct buf *out, const struct expr *expr)
{
    const struct modifiers *mod = &expr->as.subquery.mod;

    BUF_ADD(out, "{");
    json_child(out, "expr", expr->as.subquery.expr);
    BUF_ADD(out, ",");
    json_offset(out, mod);
    BUF_ADD(out, ",");
    json_range(out, expr->as.subquery.range_ms, expr->as.subquery.range_expr);
    BUF_ADD(out, ",");
    json_start_or_end(out, mod);
    BUF_ADD(out, ",\"step\":");
    buf_add_i64(out, expr->as.subquery.step_expr ? 0 : expr->as.subquery.step_ms);
    BUF_ADD(out, ",");
    json_duration(out, "stepExpr", expr->as.subquery.step_expr);
    BUF_ADD(out, ",");
    json_timestamp(out, mod);
    BUF_ADD(out, ",\"type\":\"subquery\"}");
}

/* --- operators, calls, aggregations --- */

static void json_fill(struct buf *out, const char *key, bool present, double value)
{
    buf_addf(out, "\"%s\":", key);
    if (present && isfinite(value))
        buf_add_number(out, value, NUMBER_API);
    else
        BUF_ADD(out, "null");
}

static void json_matching(struct buf *out, const struct expr *expr)
{
    const struct vector_matching *m = &expr->as.binary.matching;

    BUF_ADD(out, "\"matching\":");
    if (expr->as.binary.lhs->type != TYPE_VECTOR || expr->as.binary.rhs->type != TYPE_VECTOR) {
        BUF_ADD(out, "null");
        return;
    }
    BUF_ADD(out, "{");
    json_text(out, "card", match_cardinality_text(m->card));
    BUF_ADD(out, ",\"fillValues\":{");
    json_fill(out, "lhs", m->has_fill_left, m->fill_left);
    BUF_ADD(out, ",");
    json_fill(out, "rhs", m->has_fill_right, m->fill_right);
    BUF_ADD(out, "},");
    json_labels(out, "include", m->include, m->include_count);
    BUF_ADD(out, ",");
    json_labels(out, "labels", m->labels, m->label_count);
    BUF_ADD(out, ",");
    json_bool(out, "on", m->on);
    BUF_ADD(out, "}");
}

static void json_binary(struct buf *out, const struct expr *expr)
{
    BUF_ADD(out, "{");
    json_bool(out, "bool", expr->as.binary.return_bool);
    BUF_ADD(out, ",");
    json_child(out, "lhs", expr->as.binary.lhs);
    BUF_ADD(out, ",");
    json_matching(out, expr);
    BUF_ADD(out, ",");
    json_text(out, "op", binary_op_text(expr->as.binary.op));
    BUF_ADD(out, ",");
    json_child(out, "rhs", expr->as.binary.rhs);
    BUF_ADD(out, ",\"type\":\"binaryExpr\"}");
}

static void json_call(struct buf *out, const struct expr *expr)
{
    const struct function *function = expr->as.call.function;

    BUF_ADD(out, "{\"args\":[");
    for (size_t i = 0; i < expr->as.call.arg_count; i++) {
        json_separator(out, i);
        expr_json(out, expr->as.call.args[i]);
    }
    BUF_ADD(out, "],\"func\":{\"argTypes\":[");
    for (int i = 0; i < function->arg_count; i++) {
        json_separator(out, (size_t)i);
        buf_add_json_string(out, str_of(type_word(function->args[i])));
    }
    BUF_ADD(out, "],");
    json_text(out, "name", function->name);
    BUF_ADD(out, ",");
    json_text(out, "returnType", type_word(function->returns));
    BUF_ADD(out, ",\"variadic\":");
    buf_add_i64(out, function->variadic);
    BUF_ADD(out, "},\"type\":\"call\"}");
}

static void json_aggregate(struct buf *out, const struct expr *expr)
{
    BUF_ADD(out, "{");
    json_child(out, "expr", expr->as.aggregate.expr);
    BUF_ADD(out, ",");
    json_labels(out, "grouping", expr->as.aggregate.grouping, expr->as.aggregate.grouping_count);
    BUF_ADD(out, ",");
    json_text(out, "op", aggregate_op_text(expr->as.aggregate.op));
    BUF_ADD(out, ",");
    json_child(out, "param", expr->as.aggregate.param);
    BUF_ADD(out, ",\"type\":\"aggregation\",");
    json_bool(out, "without", expr->as.aggregate.without);
    BUF_ADD(out, "}");
}

void expr_json(struct buf *out, const struct expr *expr)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
        BUF_ADD(out, "{\"type\":\"numberLiteral\",\"val\":");
        json_number_text(out, expr->as.number.value);
        BUF_ADD(out, "}");
        return;
    case EXPR_STRING:
        BUF_ADD(out, "{\"type\":\"stringLiteral\",\"val\":");
        buf_add_json_string(out, expr->as.string.value);
        BUF_ADD(out, "}");
        return;
    case EXPR_VECTOR_SELECTOR:
        json_selector(out, expr, NULL);
        return;
    case EXPR_MATRIX_SELECTOR:
        json_selector(out, expr->as.matrix.vector, expr);
        return;
    case EXPR_SUBQUERY:
        json_subquery(out, expr);
        return;
    case EXPR_PAREN:
        BUF_ADD(out, "{");
        json_child(out, "expr", expr->as.paren.expr);
        BUF_ADD(out, ",\"type\":\"parenExpr\"}");
        return;
    case EXPR_UNARY:
        BUF_ADD(out, "{");
        json_child(out, "expr", expr->as.unary.expr);
        BUF_ADD(out, ",");
        json_text(out, "op", expr->as.unary.minus ? "-" : "+");
        BUF_ADD(out, ",\"type\":\"unaryExpr\"}");
        return;
    case EXPR_BINARY:
        json_binary(out, expr);
        return;
    case EXPR_CALL:
        json_call(out, expr);
        return;
    case EXPR_AGGREGATE:
        json_aggregate(out, expr);
        return;
    case EXPR_DURATION: /* Only inside selectors and subqueries. */
        return;
    }
}
