/* parse: the parser's plumbing and its three entries. */
#include "parse.h"

#include <stdarg.h>
#include <stdio.h>

#include "model/labels.h"

bool parse_error(struct err *err, struct str text, size_t position, const char *format, ...)
{
    char place[64] = "unknown position";
    char message[ERR_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (text.len > 0) {
        size_t line = 1, line_start = 0;
        for (size_t i = 0; i < position && i < text.len; i++) {
            if (text.ptr[i] == '\n') {
                line++;
                line_start = i + 1;
            }
        }
        snprintf(place, sizeof(place), "%zu:%zu", line, position - line_start + 1);
    }
    return err_set(err, ERR_BAD_DATA, "%s: parse error: %s", place, message);
}

/* --- tokens --- */

enum token_kind parser_peek(struct parser *parser)
{
    if (parser->failed)
        return TOKEN_ERROR;
    if (parser->ahead)
        return parser->token.kind;
    do {
        if (!lexer_next(&parser->lexer, &parser->token, parser->err)) {
            parser->failed = true;
            return TOKEN_ERROR;
        }
    } while (parser->token.kind == TOKEN_COMMENT);
    parser->ahead = true;
    switch (parser->token.kind) {
    case TOKEN_RIGHT_BRACE:
    case TOKEN_RIGHT_PAREN:
    case TOKEN_RIGHT_BRACKET:
    case TOKEN_DURATION:
    case TOKEN_NUMBER:
        parser->closing_end = parser->token.position + parser->token.text.len;
        break;
    default:
        break;
    }
    return parser->token.kind;
}

struct token parser_take(struct parser *parser)
{
    if (parser_peek(parser) == TOKEN_ERROR)
        return (struct token){.kind = TOKEN_ERROR};
    parser->ahead = false;
    return parser->token;
}

bool parser_accept(struct parser *parser, enum token_kind kind, struct token *out)
{
    if (parser_peek(parser) != kind)
        return false;
    struct token token = parser_take(parser);
    if (out)
        *out = token;
    return true;
}

void *parser_fail(struct parser *parser, size_t position, const char *format, ...)
{
    char message[ERR_TEXT_MAX];
    va_list arguments;

    if (parser->failed)
        return NULL;
    parser->failed = true;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    parse_error(parser->err, parser->text, position, "%s", message);
    return NULL;
}

void *parser_unexpected(struct parser *parser, const char *context, const char *expected)
{
    if (parser_peek(parser) == TOKEN_ERROR)
        return NULL;
    return parser_fail(parser, parser->token.position, "unexpected %s%s%s%s%s",
                       token_describe(parser->arena, parser->token), context ? " in " : "",
                       context ? context : "", expected ? ", expected " : "",
                       expected ? expected : "");
}

void *parser_unexpected_in_expr(struct parser *parser)
{
    return parser_unexpected(parser, parser->aggregations > 0 ? "aggregation" : NULL, NULL);
}

bool parser_enter(struct parser *parser, size_t position)
{
    if (++parser->nesting <= EXPR_DEPTH_MAX)
        return true;
    parser_fail(parser, position, "expression is nested too deeply, at most %d levels are allowed",
                EXPR_DEPTH_MAX);
    return false;
}

void parser_leave(struct parser *parser)
{
    parser->nesting--;
}

/* --- nodes --- */

struct expr *parser_node(struct parser *parser, enum expr_kind kind, enum value_type type,
                         size_t start, size_t end)
{
    struct expr *expr = ARENA_NEW(parser->arena, struct expr);
    expr->kind = kind;
    expr->type = type;
    expr->start = start;
    expr->end = end;
    expr->depth = 1;
    return expr;
}

bool parser_link(struct parser *parser, struct expr *parent, const struct expr *child)
{
    if (child->depth < parent->depth)
        return true;
    parent->depth = child->depth + 1;
    if (parent->depth <= EXPR_DEPTH_MAX)
        return true;
    parser_fail(parser, parent->start,
                "expression is nested too deeply, at most %d levels are allowed", EXPR_DEPTH_MAX);
    return false;
}

void parser_list_add(struct parser *parser, struct parser_list *list, const void *item,
                     size_t item_bytes)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 4;
        void *items = arena_alloc_array(parser->arena, capacity, item_bytes);
        if (list->count > 0)
            memcpy(items, list->items, list->count * item_bytes);
        list->items = items;
        list->capacity = capacity;
    }
    memcpy((char *)list->items + list->count * item_bytes, item, item_bytes);
    list->count++;
}

/* --- entries --- */

static bool parser_init(struct parser *parser, struct str text, unsigned features,
                        struct arena *arena, struct err *err)
{
    *parser = (struct parser){.text = text, .arena = arena, .err = err, .features = features};
    lexer_init(&parser->lexer, text, arena);
    if (text.len > EXPR_TEXT_BYTES_MAX)
        parser_fail(parser, 0, "expression is too long, at most %zu bytes are allowed",
                    EXPR_TEXT_BYTES_MAX);
    return !parser->failed;
}

/* Frees what a failed parse has left. Returns whether all went well. */
static bool parser_deinit(struct parser *parser)
{
    if (parser->failed) {
        VEC_EACH (selector, &parser->selectors)
            expr_deinit(*selector);
    }
    VEC_FREE(&parser->selectors);
    return !parser->failed;
}

bool parse_expr(struct str text, const struct parse_options *options, struct arena *arena,
                struct expr **out, struct err *err)
{
    struct parser parser;
    struct expr *expr = NULL;

    *out = NULL;
    if (!parser_init(&parser, text, options->features, arena, err))
        return parser_deinit(&parser);
    if (parser_peek(&parser) == TOKEN_END)
        parser_fail(&parser, 0, "no expression found in input");
    expr = parser_expr(&parser, PREC_NONE);
    if (expr && parser_peek(&parser) != TOKEN_END)
        parser_unexpected_in_expr(&parser);
    if (!parser.failed && !types_check(text, expr, options, err))
        parser.failed = true;
    if (!parser_deinit(&parser))
        return false;
    *out = expr;
    return true;
}

bool parse_selector(struct str text, struct arena *arena, struct expr **out, struct err *err)
{
    struct parser parser;
    struct expr *expr = NULL;

    *out = NULL;
    if (!parser_init(&parser, text, 0, arena, err))
        return parser_deinit(&parser);
    enum token_kind kind = parser_peek(&parser);
    if (kind == TOKEN_LEFT_BRACE) {
        expr = parser_selector(&parser, NULL);
    } else if (parser_metric_name_is(kind)) {
        struct token name = parser_take(&parser);
        expr = parser_selector(&parser, &name);
    }
    if (!parser.failed && (!expr || parser_peek(&parser) != TOKEN_END))
        parser_unexpected(&parser, NULL, NULL);
    if (!parser_deinit(&parser))
        return false;
    *out = expr;
    return true;
}

bool parse_metric(struct str text, struct arena *arena, struct labels **out, struct err *err)
{
    struct parser parser;
    struct labels_builder builder;

    *out = NULL;
    if (!parser_init(&parser, text, 0, arena, err))
        return parser_deinit(&parser);
    labels_builder_init(&builder);
    parser_metric(&parser, &builder);
    if (!parser.failed)
        *out = labels_build(&builder);
    labels_builder_deinit(&builder);
    return parser_deinit(&parser);
}
