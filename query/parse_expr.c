/* parse_expr: operators, their matching modifiers, and what an operand can be. */
#include "parse.h"

#include "query.h"

struct binary_row {
    enum token_kind kind;
    enum binary_op op;
    enum precedence precedence;
};

static const struct binary_row binary_table[] = {
    {TOKEN_OR, OP_OR, PREC_OR},
    {TOKEN_AND, OP_AND, PREC_AND},
    {TOKEN_UNLESS, OP_UNLESS, PREC_AND},
    {TOKEN_EQLC, OP_EQL, PREC_COMPARE},
    {TOKEN_NEQ, OP_NEQ, PREC_COMPARE},
    {TOKEN_LTE, OP_LTE, PREC_COMPARE},
    {TOKEN_LSS, OP_LSS, PREC_COMPARE},
    {TOKEN_GTE, OP_GTE, PREC_COMPARE},
    {TOKEN_GTR, OP_GTR, PREC_COMPARE},
    {TOKEN_TRIM_UPPER, OP_TRIM_UPPER, PREC_COMPARE},
    {TOKEN_TRIM_LOWER, OP_TRIM_LOWER, PREC_COMPARE},
    {TOKEN_ADD, OP_ADD, PREC_ADD},
    {TOKEN_SUB, OP_SUB, PREC_ADD},
    {TOKEN_MUL, OP_MUL, PREC_MUL},
    {TOKEN_DIV, OP_DIV, PREC_MUL},
    {TOKEN_MOD, OP_MOD, PREC_MUL},
    {TOKEN_ATAN2, OP_ATAN2, PREC_MUL},
    {TOKEN_POW, OP_POW, PREC_POW},
};

static const struct binary_row *binary_find(enum token_kind kind)
{
    for (size_t i = 0; i < COUNT_OF(binary_table); i++) {
        if (binary_table[i].kind == kind)
            return &binary_table[i];
    }
    return NULL;
}

/* --- operands --- */

bool parser_may_start_expr(enum token_kind kind)
{
    switch (kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
    case TOKEN_STRING:
    case TOKEN_LEFT_PAREN:
    case TOKEN_LEFT_BRACE:
    case TOKEN_ADD:
    case TOKEN_SUB:
        return true;
    default:
        return parser_metric_name_is(kind);
    }
}

static struct expr *expr_paren(struct parser *parser)
{
    struct token open = parser_take(parser), close;
    struct expr *inner = parser_expr(parser, PREC_NONE);

    if (!inner)
        return NULL;
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN, &close))
        return parser_unexpected_in_expr(parser);
    struct expr *expr =
        parser_node(parser, EXPR_PAREN, inner->type, open.position, close.position + 1);
    expr->as.paren.expr = inner;
    return parser_link(parser, expr, inner) ? expr : NULL;
}

/* A word: what follows it says whether it names a function, an aggregation or a metric. */
static struct expr *expr_word(struct parser *parser)
{
    struct token word = parser_take(parser);
    enum token_kind next = parser_peek(parser);

    if (token_sort(word.kind) == SORT_AGGREGATOR) {
        if (next == TOKEN_LEFT_PAREN || next == TOKEN_BY || next == TOKEN_WITHOUT)
            return parser_aggregate(parser, word);
        return parser_selector(parser, &word);
    }
    switch (word.kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_START:
    case TOKEN_AT_END:
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MAX_OF:
    case TOKEN_MIN_OF:
        if (next == TOKEN_LEFT_PAREN)
            return parser_call(parser, word);
        break;
    default:
        break;
    }
    return parser_selector(parser, &word);
}

static struct expr *expr_operand(struct parser *parser)
{
    enum token_kind kind = parser_peek(parser);

    switch (kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return parser_number(parser, parser_take(parser));
    case TOKEN_STRING:
        return parser_string(parser, parser_take(parser));
    case TOKEN_LEFT_PAREN:
        return expr_paren(parser);
    case TOKEN_LEFT_BRACE:
        return parser_selector(parser, NULL);
    default:
        return parser_metric_name_is(kind) ? expr_word(parser) : parser_unexpected_in_expr(parser);
    }
}

/* An operand with what binds tighter than any operator: [range], offset, @, anchored, smoothed. */
static struct expr *expr_with_modifiers(struct parser *parser)
{
    struct expr *expr = expr_operand(parser);

    while (expr) {
        switch (parser_peek(parser)) {
        case TOKEN_LEFT_BRACKET:
            expr = parser_range(parser, expr);
            break;
        case TOKEN_OFFSET:
            expr = parser_offset(parser, expr);
            break;
        case TOKEN_AT:
            expr = parser_at(parser, expr);
            break;
        case TOKEN_ANCHORED:
        case TOKEN_SMOOTHED:
            expr = parser_extended(parser, expr);
            break;
        default:
            return expr;
        }
    }
    return NULL;
}

/* -1^2 is -(1^2): the operand takes powers with it. A sign before a number becomes part of it. */
static struct expr *expr_unary(struct parser *parser)
{
    enum token_kind kind = parser_peek(parser);

    if (kind != TOKEN_ADD && kind != TOKEN_SUB)
        return expr_with_modifiers(parser);
    struct token sign = parser_take(parser);
    struct expr *operand = parser_expr(parser, PREC_POW);
    if (!operand)
        return NULL;
    if (operand->kind == EXPR_NUMBER) {
        if (kind == TOKEN_SUB)
            operand->as.number.value = -operand->as.number.value;
        operand->start = sign.position;
        return operand;
    }
    struct expr *expr = parser_node(parser, EXPR_UNARY, operand->type, sign.position, operand->end);
    expr->as.unary.minus = kind == TOKEN_SUB;
    expr->as.unary.expr = operand;
    return parser_link(parser, expr, operand) ? expr : NULL;
}

/* --- matching modifiers: bool, on/ignoring, group_left/group_right, fill --- */

static void matching_labels(struct parser *parser, struct vector_matching *matching)
{
    struct token token;

    if (parser_accept(parser, TOKEN_ON, &token))
        matching->on = true;
    else if (!parser_accept(parser, TOKEN_IGNORING, &token))
        return;
    matching->present = true;
    if (!parser_grouping(parser, &matching->labels, &matching->label_count))
        return;
    if (parser_accept(parser, TOKEN_GROUP_LEFT, &token))
        matching->card = CARD_MANY_TO_ONE;
    else if (parser_accept(parser, TOKEN_GROUP_RIGHT, &token))
        matching->card = CARD_ONE_TO_MANY;
    else
        return;
    /* A parenthesis is always the label list, even where an operand in parentheses was meant. */
    enum token_kind kind = parser_peek(parser);
    if (kind == TOKEN_LEFT_PAREN || !parser_may_start_expr(kind))
        parser_grouping(parser, &matching->include, &matching->include_count);
}

static double fill_value(struct parser *parser)
{
    struct token number;
    bool minus = false;

    parser_take(parser);
    if (!parser_accept(parser, TOKEN_LEFT_PAREN, NULL))
        parser_unexpected_in_expr(parser);
    if (parser_accept(parser, TOKEN_SUB, NULL))
        minus = true;
    else
        parser_accept(parser, TOKEN_ADD, NULL);
    if (!parser_accept(parser, TOKEN_NUMBER, &number) &&
        !parser_accept(parser, TOKEN_DURATION, &number)) {
        parser_unexpected_in_expr(parser);
        return 0;
    }
    struct expr *literal = parser_number(parser, number);
    if (literal && !parser_accept(parser, TOKEN_RIGHT_PAREN, NULL))
        parser_unexpected_in_expr(parser);
    if (!literal)
        return 0;
    return minus ? -literal->as.number.value : literal->as.number.value;
}

static void matching_fill(struct parser *parser, struct vector_matching *matching)
{
    if (parser_peek(parser) == TOKEN_FILL) {
        matching->has_fill_left = matching->has_fill_right = true;
        matching->fill_left = matching->fill_right = fill_value(parser);
        return;
    }
    /* Each side once, in any order. */
    for (int i = 0; i < 2; i++) {
        enum token_kind kind = parser_peek(parser);
        if (kind == TOKEN_FILL_LEFT && !matching->has_fill_left) {
            matching->has_fill_left = true;
            matching->fill_left = fill_value(parser);
        } else if (kind == TOKEN_FILL_RIGHT && !matching->has_fill_right) {
            matching->has_fill_right = true;
            matching->fill_right = fill_value(parser);
        }
    }
}

/* --- binary operators --- */

static struct expr *expr_binary(struct parser *parser, struct expr *lhs,
                                const struct binary_row *row)
{
    struct expr *expr = parser_node(parser, EXPR_BINARY, TYPE_VECTOR, lhs->start, lhs->end);
    struct vector_matching *matching = &expr->as.binary.matching;

    parser_take(parser);
    expr->as.binary.op = row->op;
    expr->as.binary.return_bool = parser_accept(parser, TOKEN_BOOL, NULL);
    matching_labels(parser, matching);
    matching_fill(parser, matching);
    enum precedence at_least =
        row->precedence == PREC_POW ? PREC_POW : (enum precedence)(row->precedence + 1);
    struct expr *rhs = parser_expr(parser, at_least);
    if (!rhs)
        return NULL;
    expr->end = rhs->end;
    expr->as.binary.lhs = lhs;
    expr->as.binary.rhs = rhs;
    if (lhs->type == TYPE_SCALAR && rhs->type == TYPE_SCALAR)
        expr->type = TYPE_SCALAR;
    bool fills = matching->has_fill_left || matching->has_fill_right;
    if (fills && !(parser->features & QUERY_FILL_MODIFIERS))
        return parser_fail(parser, expr->start,
                           "binop fill modifiers are experimental and not enabled");
    if (!parser_link(parser, expr, lhs) || !parser_link(parser, expr, rhs))
        return NULL;
    return expr;
}

struct expr *parser_expr(struct parser *parser, enum precedence at_least)
{
    parser_peek(parser);
    if (!parser_enter(parser, parser->token.position))
        return NULL;
    struct expr *expr = expr_unary(parser);
    while (expr) {
        const struct binary_row *row = binary_find(parser_peek(parser));
        if (!row || row->precedence < at_least)
            break;
        expr = expr_binary(parser, expr, row);
    }
    parser_leave(parser);
    return parser->failed ? NULL : expr;
}
