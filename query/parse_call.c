/* parse_call: function calls, aggregations and label lists. */
#include "parse.h"

#include "functions.h"
#include "model/labels.h"
#include "query.h"

struct call_args {
    struct expr **items;
    size_t count;
};

/* ( ) or ( expr, expr ); false when the parse has failed. Does not look behind the ')'. */
static bool call_args(struct parser *parser, struct call_args *out)
{
    struct parser_list list = {0};
    struct token comma;

    *out = (struct call_args){0};
    if (!parser_accept(parser, TOKEN_LEFT_PAREN, NULL)) {
        parser_unexpected_in_expr(parser);
        return false;
    }
    if (parser_accept(parser, TOKEN_RIGHT_PAREN, NULL))
        return true;
    for (;;) {
        struct expr *arg = parser_expr(parser, PREC_NONE);
        if (!arg)
            return false;
        parser_list_add(parser, &list, &arg, sizeof(arg));
        if (!parser_accept(parser, TOKEN_COMMA, &comma))
            break;
        if (!parser_may_start_expr(parser_peek(parser))) {
            parser_fail(parser, comma.position,
                        "trailing commas not allowed in function call args");
            return false;
        }
    }
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN, NULL)) {
        parser_unexpected_in_expr(parser);
        return false;
    }
    *out = (struct call_args){list.items, list.count};
    return true;
}

struct expr *parser_call(struct parser *parser, struct token name)
{
    struct call_args args;

    if (!call_args(parser, &args))
        return NULL;
    const struct function *function = function_find(name.text);
    if (!function)
        return parser_fail(parser, name.position, "unknown function with name %s",
                           text_quoted(parser->arena, name.text));
    if (function->experimental && !(parser->features & QUERY_EXPERIMENTAL_FUNCTIONS))
        return parser_fail(parser, name.position, "function %s is not enabled",
                           text_quoted(parser->arena, name.text));
    struct expr *expr =
        parser_node(parser, EXPR_CALL, function->returns, name.position, parser->closing_end);
    expr->as.call.function = function;
    expr->as.call.args = args.items;
    expr->as.call.arg_count = args.count;
    for (size_t i = 0; i < args.count; i++) {
        if (!parser_link(parser, expr, args.items[i]))
            return NULL;
    }
    return expr;
}

/* --- label lists --- */

static bool label_may_be(enum token_kind kind)
{
    switch (kind) {
    case TOKEN_WITHOUT:
        return false;
    case TOKEN_STRING:
    case TOKEN_BOOL:
    case TOKEN_ON:
    case TOKEN_IGNORING:
    case TOKEN_GROUP_LEFT:
    case TOKEN_GROUP_RIGHT:
    case TOKEN_ATAN2:
        return true;
    default:
        return parser_metric_name_is(kind);
    }
}

static bool grouping_unexpected(struct parser *parser, const char *expected)
{
    parser_unexpected(parser, "grouping opts", expected);
    return false;
}

bool parser_grouping(struct parser *parser, struct str **labels, size_t *count)
{
    struct parser_list list = {0};

    if (!parser_accept(parser, TOKEN_LEFT_PAREN, NULL))
        return grouping_unexpected(parser, "\"(\"");
    while (!parser_accept(parser, TOKEN_RIGHT_PAREN, NULL)) {
        if (!label_may_be(parser_peek(parser)))
            return grouping_unexpected(parser, "label");
        struct token token = parser_take(parser);
        struct str label = token.kind == TOKEN_STRING ? parser_unquote(parser, token)
                                                      : arena_str(parser->arena, token.text);
        if (!label_name_is_valid(label)) {
            parser_fail(parser, token.position, "invalid label name for grouping: %s",
                        text_quoted(parser->arena, label));
            return false;
        }
        parser_list_add(parser, &list, &label, sizeof(label));
        if (parser_peek(parser) != TOKEN_RIGHT_PAREN && !parser_accept(parser, TOKEN_COMMA, NULL))
            return grouping_unexpected(parser, "\",\" or \")\"");
    }
    *labels = list.items;
    *count = list.count;
    return true;
}

/* --- aggregations --- */

static enum aggregate_op aggregate_op_of(enum token_kind kind)
{
    static const enum aggregate_op ops[TOKEN_KIND_COUNT] = {
        [TOKEN_SUM] = AGG_SUM,
        [TOKEN_AVG] = AGG_AVG,
        [TOKEN_COUNT] = AGG_COUNT,
        [TOKEN_MIN] = AGG_MIN,
        [TOKEN_MAX] = AGG_MAX,
        [TOKEN_GROUP] = AGG_GROUP,
        [TOKEN_STDDEV] = AGG_STDDEV,
        [TOKEN_STDVAR] = AGG_STDVAR,
        [TOKEN_TOPK] = AGG_TOPK,
        [TOKEN_BOTTOMK] = AGG_BOTTOMK,
        [TOKEN_COUNT_VALUES] = AGG_COUNT_VALUES,
        [TOKEN_QUANTILE] = AGG_QUANTILE,
        [TOKEN_LIMITK] = AGG_LIMITK,
        [TOKEN_LIMIT_RATIO] = AGG_LIMIT_RATIO,
    };
    return ops[kind];
}

/* by (...) or without (...), if there is one. */
static bool aggregate_modifier(struct parser *parser, struct expr *expr)
{
    if (parser_accept(parser, TOKEN_WITHOUT, NULL))
        expr->as.aggregate.without = true;
    else if (!parser_accept(parser, TOKEN_BY, NULL))
        return false;
    parser_grouping(parser, &expr->as.aggregate.grouping, &expr->as.aggregate.grouping_count);
    return true;
}

static struct expr *aggregate_finish(struct parser *parser, struct expr *expr,
                                     const struct call_args *args)
{
    enum aggregate_op op = expr->as.aggregate.op;
    size_t wanted = aggregate_op_has_param(op) ? 2 : 1;
    bool experimental = op == AGG_LIMITK || op == AGG_LIMIT_RATIO;

    if (args->count == 0)
        return parser_fail(parser, expr->start, "no arguments for aggregate expression provided");
    if (experimental && !(parser->features & QUERY_EXPERIMENTAL_FUNCTIONS))
        return parser_fail(parser, expr->start,
                           "%s() is experimental and must be enabled with "
                           "--enable-feature=promql-experimental-functions",
                           aggregate_op_text(op));
    if (args->count != wanted)
        return parser_fail(parser, expr->start,
                           "wrong number of arguments for aggregate expression provided, "
                           "expected %zu, got %zu",
                           wanted, args->count);
    expr->as.aggregate.expr = args->items[wanted - 1];
    if (!parser_link(parser, expr, expr->as.aggregate.expr))
        return NULL;
    if (wanted == 2) {
        expr->as.aggregate.param = args->items[0];
        if (!parser_link(parser, expr, expr->as.aggregate.param))
            return NULL;
    }
    return expr;
}

struct expr *parser_aggregate(struct parser *parser, struct token op)
{
    struct call_args args;
    struct expr *expr = parser_node(parser, EXPR_AGGREGATE, TYPE_VECTOR, op.position, 0);

    parser->aggregations++;
    expr->as.aggregate.op = aggregate_op_of(op.kind);
    bool modified = aggregate_modifier(parser, expr);
    if (!call_args(parser, &args))
        return NULL;
    bool looked_ahead = !modified && !aggregate_modifier(parser, expr);
    expr->end = looked_ahead ? lexer_previous_paren_end(&parser->lexer, parser->closing_end)
                             : parser->closing_end;
    parser->aggregations--;
    return parser->failed ? NULL : aggregate_finish(parser, expr, &args);
}
