/* parse_duration: what stands in [ ] and behind `offset`: literals and arithmetic on them.
 *
 *     [5m]  [5m:30s]  [2 * step() + 1m]  offset -5m  offset (range() / 2)
 *
 * Behind `offset` only a parenthesis or a double sign starts an expression: in `a offset 5m * 2`
 * the offset is 5m. */
#include "parse.h"

#include <math.h>

#include "query.h"

/* time.Duration ends at 2^63 ns. */
#define NS_END               9223372036854775808.0
#define DURATION_SECONDS_MAX (NS_END / 1e9)

int64_t seconds_to_ns(double seconds)
{
    double ns = round(seconds * 1e9);
    if (ns >= NS_END)
        return INT64_MAX;
    return ns < -NS_END ? INT64_MIN : (int64_t)ns;
}

static bool is_literal(enum token_kind kind)
{
    return kind == TOKEN_NUMBER || kind == TOKEN_DURATION;
}

static bool out_of_range(const struct expr *literal)
{
    return literal->as.number.value > DURATION_SECONDS_MAX ||
           literal->as.number.value < -DURATION_SECONDS_MAX;
}

static struct expr *duration_unexpected(struct parser *parser)
{
    return parser_unexpected(parser, parser->duration_context, parser->duration_expected);
}

static struct expr *duration_literal(struct parser *parser)
{
    struct expr *literal = parser_number(parser, parser_take(parser));
    if (literal && out_of_range(literal))
        return parser_fail(parser, literal->start, "duration out of range");
    return literal;
}

static struct expr *duration_node(struct parser *parser, enum duration_op what, enum binary_op op,
                                  struct expr *lhs, struct expr *rhs)
{
    struct expr *expr = parser_node(parser, EXPR_DURATION, TYPE_SCALAR, 0, 0);

    expr->as.duration.what = what;
    expr->as.duration.op = op;
    expr->as.duration.lhs = lhs;
    expr->as.duration.rhs = rhs;
    if (lhs) {
        expr->start = lhs->start;
        if (!parser_link(parser, expr, lhs))
            return NULL;
    }
    if (rhs) {
        expr->end = rhs->end;
        if (!parser_link(parser, expr, rhs))
            return NULL;
    }
    return expr;
}

static struct expr *duration_climb(struct parser *parser, struct expr *lhs,
                                   enum precedence at_least);

static struct expr *duration_expr(struct parser *parser, enum precedence at_least);

/* step(), range(), max_of(a, b), min_of(a, b) */
static struct expr *duration_call(struct parser *parser)
{
    struct token name = parser_take(parser), close;
    struct expr *lhs = NULL, *rhs = NULL;
    enum duration_op what = name.kind == TOKEN_STEP     ? DUR_STEP
                            : name.kind == TOKEN_RANGE  ? DUR_RANGE
                            : name.kind == TOKEN_MIN_OF ? DUR_MIN_OF
                                                        : DUR_MAX_OF;

    if (!parser_accept(parser, TOKEN_LEFT_PAREN, NULL))
        return duration_unexpected(parser);
    if (what == DUR_MIN_OF || what == DUR_MAX_OF) {
        lhs = duration_expr(parser, PREC_NONE);
        if (lhs && !parser_accept(parser, TOKEN_COMMA, NULL))
            return duration_unexpected(parser);
        rhs = lhs ? duration_expr(parser, PREC_NONE) : NULL;
        if (!rhs)
            return NULL;
    }
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN, &close))
        return duration_unexpected(parser);
    struct expr *expr = duration_node(parser, what, OP_ADD, lhs, rhs);
    if (expr && !rhs) {
        expr->start = name.position;
        expr->end = close.position + 1;
    }
    return expr;
}

static struct expr *duration_paren(struct parser *parser)
{
    parser_take(parser);
    struct expr *inner = duration_expr(parser, PREC_NONE);
    if (!inner)
        return NULL;
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN, NULL))
        return duration_unexpected(parser);
    if (inner->kind == EXPR_DURATION)
        inner->parens_around = true;
    return inner;
}

static struct expr *duration_sign_node(struct parser *parser, struct token sign,
                                       struct expr *operand)
{
    enum binary_op op = sign.kind == TOKEN_SUB ? OP_SUB : OP_ADD;
    struct expr *expr = duration_node(parser, DUR_UNARY, op, NULL, operand);

    if (expr)
        expr->start = sign.position;
    return expr;
}

/* The sign of a literal becomes part of it; a plus before anything else is dropped. */
static struct expr *duration_apply_sign(struct parser *parser, struct token sign,
                                        struct expr *operand)
{
    if (!operand)
        return NULL;
    if (operand->kind == EXPR_DURATION)
        return sign.kind == TOKEN_SUB ? duration_sign_node(parser, sign, operand) : operand;
    if (sign.kind == TOKEN_SUB)
        operand->as.number.value = -operand->as.number.value;
    operand->start = sign.position;
    return operand;
}

static struct expr *duration_operand(struct parser *parser)
{
    switch (parser_peek(parser)) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return duration_literal(parser);
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MAX_OF:
    case TOKEN_MIN_OF:
        return duration_call(parser);
    case TOKEN_LEFT_PAREN:
        return duration_paren(parser);
    case TOKEN_ADD:
    case TOKEN_SUB: {
        struct token sign = parser_take(parser);
        return duration_apply_sign(parser, sign, duration_expr(parser, PREC_POW));
    }
    default:
        return duration_unexpected(parser);
    }
}

static bool duration_operator(enum token_kind kind, enum binary_op *op, enum precedence *precedence)
{
    static const struct {
        enum token_kind kind;
        enum binary_op op;
        enum precedence precedence;
    } rows[] = {
        {TOKEN_ADD, OP_ADD, PREC_ADD}, {TOKEN_SUB, OP_SUB, PREC_ADD}, {TOKEN_MUL, OP_MUL, PREC_MUL},
        {TOKEN_DIV, OP_DIV, PREC_MUL}, {TOKEN_MOD, OP_MOD, PREC_MUL}, {TOKEN_POW, OP_POW, PREC_POW},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].kind == kind) {
            *op = rows[i].op;
            *precedence = rows[i].precedence;
            return true;
        }
    }
    return false;
}

static struct expr *duration_climb(struct parser *parser, struct expr *lhs,
                                   enum precedence at_least)
{
    enum binary_op op;
    enum precedence precedence;

    while (lhs && duration_operator(parser_peek(parser), &op, &precedence) &&
           precedence >= at_least) {
        struct token token = parser_take(parser);
        bool right = precedence == PREC_POW;
        struct expr *rhs =
            duration_expr(parser, right ? PREC_POW : (enum precedence)(precedence + 1));
        if (!rhs)
            return NULL;
        bool zero = rhs->kind == EXPR_NUMBER && rhs->as.number.value == 0;
        if (zero && (op == OP_DIV || op == OP_MOD))
            return parser_fail(parser, token.position, "%s by zero",
                               op == OP_DIV ? "division" : "modulo");
        lhs = duration_node(parser, DUR_BINARY, op, lhs, rhs);
    }
    return parser->failed ? NULL : lhs;
}

static struct expr *duration_expr(struct parser *parser, enum precedence at_least)
{
    parser_peek(parser);
    if (!parser_enter(parser, parser->token.position))
        return NULL;
    struct expr *expr = duration_climb(parser, duration_operand(parser), at_least);
    parser_leave(parser);
    return expr;
}

/* --- behind offset --- */

static struct expr *offset_signed(struct parser *parser)
{
    struct token sign = parser_take(parser);
    enum token_kind kind = parser_peek(parser);

    if (is_literal(kind)) {
        struct expr *literal = parser_number(parser, parser_take(parser));
        if (literal && out_of_range(literal))
            return parser_fail(parser, sign.position, "duration out of range");
        return duration_apply_sign(parser, sign, literal);
    }
    if (kind == TOKEN_LEFT_PAREN)
        return duration_apply_sign(parser, sign, duration_paren(parser));
    if (kind == TOKEN_ADD || kind == TOKEN_SUB) {
        struct expr *operand = duration_expr(parser, PREC_POW);
        return duration_climb(parser, duration_apply_sign(parser, sign, operand), PREC_NONE);
    }
    if (kind != TOKEN_STEP && kind != TOKEN_RANGE && kind != TOKEN_MAX_OF && kind != TOKEN_MIN_OF)
        return duration_unexpected(parser);
    struct expr *call = duration_call(parser);
    return call ? duration_sign_node(parser, sign, call) : NULL;
}

struct expr *parser_offset_duration(struct parser *parser)
{
    enum token_kind kind = parser_peek(parser);

    parser->duration_context = "offset";
    parser->duration_expected = "number, duration, step(), or range()";
    if (kind == TOKEN_ADD || kind == TOKEN_SUB)
        return offset_signed(parser);
    if (kind == TOKEN_LEFT_PAREN)
        return duration_climb(parser, duration_paren(parser), PREC_NONE);
    return duration_operand(parser);
}

/* --- between brackets --- */

static struct expr *duration_positive(struct parser *parser, const char *context,
                                      const char *expected)
{
    parser->duration_context = context;
    parser->duration_expected = expected;
    struct expr *expr = duration_expr(parser, PREC_NONE);
    if (expr && expr->kind == EXPR_NUMBER && expr->as.number.value <= 0)
        return parser_fail(parser, expr->start, "duration must be greater than 0");
    return expr;
}

static int64_t duration_ms(const struct expr *expr)
{
    return expr->kind == EXPR_NUMBER ? seconds_to_ns(expr->as.number.value) / 1000000 : 0;
}

static struct expr *expr_or_null(struct expr *duration)
{
    return duration->kind == EXPR_DURATION ? duration : NULL;
}

static struct expr *matrix_selector(struct parser *parser, struct expr *expr, struct expr *range,
                                    size_t bracket)
{
    if (expr->kind != EXPR_VECTOR_SELECTOR)
        return parser_fail(parser, bracket, "ranges only allowed for vector selectors");
    if (expr->as.vector.mod.has_offset)
        return parser_fail(parser, bracket, "no offset modifiers allowed before range");
    if (expr->as.vector.mod.at == AT_TIME)
        return parser_fail(parser, bracket, "no @ modifiers allowed before range");
    struct expr *matrix =
        parser_node(parser, EXPR_MATRIX_SELECTOR, TYPE_MATRIX, expr->start, parser->closing_end);
    matrix->as.matrix.vector = expr;
    matrix->as.matrix.range_ms = duration_ms(range);
    matrix->as.matrix.range_expr = expr_or_null(range);
    return parser_link(parser, matrix, expr) ? matrix : NULL;
}

static struct expr *subquery(struct parser *parser, struct expr *expr, struct expr *range)
{
    struct token close;
    struct expr *step = NULL;

    if (!parser_accept(parser, TOKEN_RIGHT_BRACKET, &close)) {
        step = duration_positive(parser, "subquery selector",
                                 "number, duration, step(), range(), or \"]\"");
        if (!step)
            return NULL;
        if (!parser_accept(parser, TOKEN_RIGHT_BRACKET, &close))
            return parser_unexpected(parser, "subquery selector", "\"]\"");
    }
    struct expr *node =
        parser_node(parser, EXPR_SUBQUERY, TYPE_MATRIX, expr->start, close.position + 1);
    node->as.subquery.expr = expr;
    node->as.subquery.range_ms = duration_ms(range);
    node->as.subquery.range_expr = expr_or_null(range);
    if (step) {
        node->as.subquery.step_ms = duration_ms(step);
        node->as.subquery.step_expr = expr_or_null(step);
    }
    return parser_link(parser, node, expr) ? node : NULL;
}

struct expr *parser_range(struct parser *parser, struct expr *expr)
{
    struct token bracket = parser_take(parser);
    struct expr *range = duration_positive(parser, "subquery or range selector",
                                           "number, duration, step(), or range()");

    if (!range)
        return NULL;
    if (parser_accept(parser, TOKEN_RIGHT_BRACKET, NULL))
        return matrix_selector(parser, expr, range, bracket.position);
    if (parser_accept(parser, TOKEN_COLON, NULL))
        return subquery(parser, expr, range);
    return parser_unexpected(parser, "subquery or range", "\":\" or \"]\"");
}
