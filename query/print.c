/* print: a tree as text again: on one line, or split over lines of about LINE_BYTES_MAX.
 *
 * Both read back as the same tree. What was written is not kept where it does not matter: durations
 * print in their largest units, matchers sorted, `by` before the parenthesis. The form is that of
 * Prometheus but where that would read back as something else: it loses a millisecond now and then,
 * the parentheses of `a offset (5m) * 2` and [(-2) ^ 2], the quotes of a label that is called
 * "without" and the braces of info(foo, {}). */
#include <math.h>
#include <stdlib.h>

#include "ast.h"
#include "base/mem.h"
#include "base/number.h"
#include "functions.h"
#include "model/duration.h"
#include "model/labels.h"

#define LINE_BYTES_MAX 100

static void print_text(struct buf *out, const char *text)
{
    buf_add_str(out, str_of(text));
}

static void print_number(struct buf *out, double value, bool is_duration)
{
    if (!is_duration) {
        buf_add_number(out, value, NUMBER_F);
        return;
    }
    if (value < 0)
        buf_add_char(out, '-');
    double ns = round(fabs(value) * 1e9);
    duration_print(out, ns < 0x1p63 ? (int64_t)ns / 1000000 : INT64_MAX / 1000000);
}

/* --- durations --- */

static void print_duration_expr(struct buf *out, const struct expr *expr);

/* -2 ^ 2 is -(2 ^ 2), but the literal of [(-2) ^ 2] has swallowed its sign. */
static void print_duration_base(struct buf *out, const struct expr *expr, enum binary_op op)
{
    bool signed_base = op == OP_POW && expr->kind == EXPR_NUMBER && signbit(expr->as.number.value);

    if (signed_base)
        BUF_ADD(out, "(");
    print_duration_expr(out, expr);
    if (signed_base)
        BUF_ADD(out, ")");
}

static void print_duration_operation(struct buf *out, const struct expr *expr)
{
    const struct expr *lhs = expr->as.duration.lhs, *rhs = expr->as.duration.rhs;

    switch (expr->as.duration.what) {
    case DUR_STEP:
        BUF_ADD(out, "step()");
        return;
    case DUR_RANGE:
        BUF_ADD(out, "range()");
        return;
    case DUR_MIN_OF:
    case DUR_MAX_OF:
        print_text(out, expr->as.duration.what == DUR_MIN_OF ? "min_of(" : "max_of(");
        print_duration_expr(out, lhs);
        BUF_ADD(out, ", ");
        print_duration_expr(out, rhs);
        BUF_ADD(out, ")");
        return;
    case DUR_UNARY:
        if (expr->as.duration.op == OP_SUB)
            BUF_ADD(out, "-");
        print_duration_expr(out, rhs);
        return;
    case DUR_BINARY:
        print_duration_base(out, lhs, expr->as.duration.op);
        buf_addf(out, " %s ", binary_op_text(expr->as.duration.op));
        print_duration_expr(out, rhs);
        return;
    }
}

static void print_duration_expr(struct buf *out, const struct expr *expr)
{
    if (expr->kind == EXPR_NUMBER) {
        print_number(out, expr->as.number.value, expr->as.number.is_duration);
        return;
    }
    if (expr->parens_around)
        BUF_ADD(out, "(");
    print_duration_operation(out, expr);
    if (expr->parens_around)
        BUF_ADD(out, ")");
}

/* A literal or an expression. */
static void print_duration(struct buf *out, int64_t ms, const struct expr *expr)
{
    if (expr)
        print_duration_expr(out, expr);
    else
        duration_print(out, ms);
}

static void print_at(struct buf *out, const struct modifiers *mod)
{
    switch (mod->at) {
    case AT_NONE:
        return;
    case AT_TIME:
        BUF_ADD(out, " @ ");
        buf_add_number_fixed(out, (double)mod->at_ms / 1000.0, 3);
        return;
    case AT_START:
        BUF_ADD(out, " @ start()");
        return;
    case AT_END:
        BUF_ADD(out, " @ end()");
        return;
    }
}

static void print_offset(struct buf *out, const struct modifiers *mod)
{
    if (!mod->offset_expr && !mod->has_offset)
        return;
    BUF_ADD(out, " offset ");
    if (!mod->offset_expr && mod->offset_is_negative)
        BUF_ADD(out, "-");
    const struct expr *expr = mod->offset_expr;
    bool bare = expr && expr->as.duration.what == DUR_BINARY && !expr->parens_around;
    if (bare)
        BUF_ADD(out, "(");
    print_duration(out, mod->offset_ms < 0 ? -mod->offset_ms : mod->offset_ms, expr);
    if (bare)
        BUF_ADD(out, ")");
}

/* --- selectors --- */

static int str_compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Is it the matcher that stands for the name before the braces? */
static bool matcher_is_name(const struct expr *expr, const struct matcher *matcher)
{
    return matcher->type == MATCH_EQUAL && matcher->value.len > 0 &&
           str_eq(matcher->name, LABEL_NAME) && str_eq(matcher->value, expr->as.vector.name);
}

/* {a="b",c="d"}, sorted by its printed form; nothing when there is only the name. */
static void print_matchers(struct buf *out, const struct expr *expr)
{
    const struct matchers *matchers = &expr->as.vector.matchers;
    struct buf texts;
    size_t count = 0;

    if (matchers->count == 0) { /* In info(foo, {}), and where the last one was taken away. */
        if (expr->as.vector.name.len == 0)
            BUF_ADD(out, "{}");
        return;
    }
    buf_init(&texts, SIZE_MAX / 2);
    struct str *sorted = mem_alloc_array(matchers->count, sizeof(*sorted));
    for (size_t i = 0; i < matchers->count; i++) {
        if (matcher_is_name(expr, &matchers->items[i]))
            continue;
        size_t begin = texts.len;
        matcher_print(&texts, &matchers->items[i]);
        sorted[count++] = (struct str){NULL, texts.len - begin};
    }
    /* The buffer may have moved while it grew: only now do the places hold. */
    const char *at = texts.ptr;
    for (size_t i = 0; i < count; at += sorted[i].len, i++)
        sorted[i].ptr = at;
    if (count > 1)
        qsort(sorted, count, sizeof(*sorted), str_compare);
    for (size_t i = 0; i < count; i++) {
        buf_add_char(out, i == 0 ? '{' : ',');
        buf_add_str(out, sorted[i]);
    }
    if (count > 0)
        BUF_ADD(out, "}");
    mem_free(sorted);
    buf_deinit(&texts);
}

static void print_extended(struct buf *out, const struct expr *expr)
{
    if (expr->as.vector.anchored)
        BUF_ADD(out, " anchored");
    else if (expr->as.vector.smoothed)
        BUF_ADD(out, " smoothed");
}

static void print_vector(struct buf *out, const struct expr *expr)
{
    buf_add_str(out, expr->as.vector.name);
    print_matchers(out, expr);
    print_at(out, &expr->as.vector.mod);
    print_extended(out, expr);
    print_offset(out, &expr->as.vector.mod);
}

static void print_matrix(struct buf *out, const struct expr *expr)
{
    const struct expr *vector = expr->as.matrix.vector;

    buf_add_str(out, vector->as.vector.name);
    print_matchers(out, vector);
    BUF_ADD(out, "[");
    print_duration(out, expr->as.matrix.range_ms, expr->as.matrix.range_expr);
    BUF_ADD(out, "]");
    print_extended(out, vector);
    print_at(out, &vector->as.vector.mod);
    print_offset(out, &vector->as.vector.mod);
}

/* [range:step] and modifiers. */
static void print_subquery_suffix(struct buf *out, const struct expr *expr)
{
    BUF_ADD(out, "[");
    print_duration(out, expr->as.subquery.range_ms, expr->as.subquery.range_expr);
    BUF_ADD(out, ":");
    if (expr->as.subquery.step_ms != 0 || expr->as.subquery.step_expr)
        print_duration(out, expr->as.subquery.step_ms, expr->as.subquery.step_expr);
    BUF_ADD(out, "]");
    print_at(out, &expr->as.subquery.mod);
    print_offset(out, &expr->as.subquery.mod);
}

/* --- operators, calls, aggregations --- */

/* Words that are no label names between parentheses unless they are quoted. */
static bool label_needs_quotes(struct str label)
{
    return !label_name_is_legacy(label) || str_eq_nocase(label, STR("without")) ||
           str_eq_nocase(label, STR("inf")) || str_eq_nocase(label, STR("nan"));
}

static void print_labels(struct buf *out, const struct str *labels, size_t count)
{
    BUF_ADD(out, " (");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            BUF_ADD(out, ", ");
        if (label_needs_quotes(labels[i]))
            buf_add_go_quoted(out, labels[i]);
        else
            buf_add_str(out, labels[i]);
    }
    BUF_ADD(out, ")");
}

static void print_fill(struct buf *out, const char *word, double value)
{
    buf_addf(out, " %s (", word);
    buf_add_number(out, value, NUMBER_G);
    BUF_ADD(out, ")");
}

/* The operator with everything behind it: == bool on (a) group_left (b) */
static void print_operator(struct buf *out, const struct expr *expr)
{
    const struct vector_matching *m = &expr->as.binary.matching;
    bool group = m->card == CARD_MANY_TO_ONE || m->card == CARD_ONE_TO_MANY;

    print_text(out, binary_op_text(expr->as.binary.op));
    if (expr->as.binary.return_bool)
        BUF_ADD(out, " bool");
    if (m->label_count > 0 || m->on || group) {
        print_text(out, m->on ? " on" : " ignoring");
        print_labels(out, m->labels, m->label_count);
    }
    if (group) {
        print_text(out, m->card == CARD_MANY_TO_ONE ? " group_left" : " group_right");
        print_labels(out, m->include, m->include_count);
    }
    if (m->has_fill_left && m->has_fill_right && m->fill_left == m->fill_right) {
        print_fill(out, "fill", m->fill_left);
        return;
    }
    if (m->has_fill_left)
        print_fill(out, "fill_left", m->fill_left);
    if (m->has_fill_right)
        print_fill(out, "fill_right", m->fill_right);
}

/* sum by (a) ; the parenthesis comes next. */
static void print_aggregate_head(struct buf *out, const struct expr *expr)
{
    print_text(out, aggregate_op_text(expr->as.aggregate.op));
    if (!expr->as.aggregate.without && expr->as.aggregate.grouping_count == 0)
        return;
    print_text(out, expr->as.aggregate.without ? " without" : " by");
    print_labels(out, expr->as.aggregate.grouping, expr->as.aggregate.grouping_count);
    BUF_ADD(out, " ");
}

static void print_aggregate(struct buf *out, const struct expr *expr)
{
    print_aggregate_head(out, expr);
    BUF_ADD(out, "(");
    if (expr->as.aggregate.param) {
        expr_print(out, expr->as.aggregate.param);
        BUF_ADD(out, ", ");
    }
    expr_print(out, expr->as.aggregate.expr);
    BUF_ADD(out, ")");
}

static void print_call(struct buf *out, const struct expr *expr)
{
    print_text(out, expr->as.call.function->name);
    BUF_ADD(out, "(");
    for (size_t i = 0; i < expr->as.call.arg_count; i++) {
        if (i > 0)
            BUF_ADD(out, ", ");
        expr_print(out, expr->as.call.args[i]);
    }
    BUF_ADD(out, ")");
}

void expr_print(struct buf *out, const struct expr *expr)
{
    if (out->overflow) /* pretty only wants to know whether it fits. */
        return;
    switch (expr->kind) {
    case EXPR_NUMBER:
        print_number(out, expr->as.number.value, expr->as.number.is_duration);
        return;
    case EXPR_STRING:
        buf_add_go_quoted(out, expr->as.string.value);
        return;
    case EXPR_VECTOR_SELECTOR:
        print_vector(out, expr);
        return;
    case EXPR_MATRIX_SELECTOR:
        print_matrix(out, expr);
        return;
    case EXPR_SUBQUERY:
        expr_print(out, expr->as.subquery.expr);
        print_subquery_suffix(out, expr);
        return;
    case EXPR_PAREN:
        BUF_ADD(out, "(");
        expr_print(out, expr->as.paren.expr);
        BUF_ADD(out, ")");
        return;
    case EXPR_UNARY:
        print_text(out, expr->as.unary.minus ? "-" : "+");
        expr_print(out, expr->as.unary.expr);
        return;
    case EXPR_BINARY:
        expr_print(out, expr->as.binary.lhs);
        BUF_ADD(out, " ");
        print_operator(out, expr);
        BUF_ADD(out, " ");
        expr_print(out, expr->as.binary.rhs);
        return;
    case EXPR_CALL:
        print_call(out, expr);
        return;
    case EXPR_AGGREGATE:
        print_aggregate(out, expr);
        return;
    case EXPR_DURATION:
        print_duration_expr(out, expr);
        return;
    }
}

/* --- over several lines --- */

static void print_indent(struct buf *out, int level)
{
    for (int i = 0; i < level && !out->overflow; i++)
        BUF_ADD(out, "  ");
}

static bool fits_on_line(const struct expr *expr)
{
    struct buf line;

    buf_init(&line, LINE_BYTES_MAX);
    expr_print(&line, expr);
    bool fits = !line.overflow;
    buf_deinit(&line);
    return fits;
}

static void pretty(struct buf *out, const struct expr *expr, int level);

static void pretty_closing(struct buf *out, int level)
{
    BUF_ADD(out, "\n");
    print_indent(out, level);
    BUF_ADD(out, ")");
}

static void pretty_aggregate(struct buf *out, const struct expr *expr, int level)
{
    print_indent(out, level);
    print_aggregate_head(out, expr);
    BUF_ADD(out, "(\n");
    if (expr->as.aggregate.param) {
        pretty(out, expr->as.aggregate.param, level + 1);
        BUF_ADD(out, ",\n");
    }
    pretty(out, expr->as.aggregate.expr, level + 1);
    pretty_closing(out, level);
}

static void pretty_call(struct buf *out, const struct expr *expr, int level)
{
    print_indent(out, level);
    print_text(out, expr->as.call.function->name);
    BUF_ADD(out, "(\n");
    for (size_t i = 0; i < expr->as.call.arg_count; i++) {
        if (i > 0)
            BUF_ADD(out, ",\n");
        pretty(out, expr->as.call.args[i], level + 1);
    }
    pretty_closing(out, level);
}

static void pretty_binary(struct buf *out, const struct expr *expr, int level)
{
    pretty(out, expr->as.binary.lhs, level + 1);
    BUF_ADD(out, "\n");
    print_indent(out, level);
    print_operator(out, expr);
    BUF_ADD(out, "\n");
    pretty(out, expr->as.binary.rhs, level + 1);
}

/* The sign goes before the operand's own first line: it prints unindented first, then is moved
 * behind the sign. */
static void pretty_unary(struct buf *out, const struct expr *expr, int level)
{
    struct buf operand;

    buf_init(&operand, out->len_max);
    pretty(&operand, expr->as.unary.expr, level);
    print_indent(out, level);
    print_text(out, expr->as.unary.minus ? "-" : "+");
    buf_add_str(out, str_trim(buf_str(&operand)));
    out->overflow = out->overflow || operand.overflow;
    buf_deinit(&operand);
}

static void pretty(struct buf *out, const struct expr *expr, int level)
{
    if (out->overflow)
        return;
    if (expr->kind == EXPR_UNARY) {
        pretty_unary(out, expr, level);
        return;
    }
    if (expr->kind == EXPR_SUBQUERY) { /* One that fits is not indented: a quirk of Prometheus. */
        if (fits_on_line(expr)) {
            expr_print(out, expr);
            return;
        }
        pretty(out, expr->as.subquery.expr, level);
        print_subquery_suffix(out, expr);
        return;
    }
    bool may_split = expr->kind == EXPR_AGGREGATE || expr->kind == EXPR_CALL ||
                     expr->kind == EXPR_BINARY || expr->kind == EXPR_PAREN;
    if (!may_split || fits_on_line(expr)) {
        print_indent(out, level);
        expr_print(out, expr);
        return;
    }
    if (expr->kind == EXPR_AGGREGATE) {
        pretty_aggregate(out, expr, level);
    } else if (expr->kind == EXPR_CALL) {
        pretty_call(out, expr, level);
    } else if (expr->kind == EXPR_BINARY) {
        pretty_binary(out, expr, level);
    } else {
        print_indent(out, level);
        BUF_ADD(out, "(\n");
        pretty(out, expr->as.paren.expr, level + 1);
        pretty_closing(out, level);
    }
}

void expr_pretty(struct buf *out, const struct expr *expr)
{
    pretty(out, expr, 0);
}
