/* parse_modifier: offset, @, anchored and smoothed, which change the selector or subquery before
 * them. */
#include "parse.h"

#include <math.h>

#include "query.h"

/* Where the modifiers of an expression live; NULL when it cannot have any. */
static struct modifiers *modifiers_of(struct expr *expr)
{
    switch (expr->kind) {
    case EXPR_VECTOR_SELECTOR:
        return &expr->as.vector.mod;
    case EXPR_MATRIX_SELECTOR:
        return &expr->as.matrix.vector->as.vector.mod;
    case EXPR_SUBQUERY:
        return &expr->as.subquery.mod;
    default:
        return NULL;
    }
}

struct expr *parser_offset(struct parser *parser, struct expr *expr)
{
    parser_take(parser);
    struct expr *offset = parser_offset_duration(parser);
    if (!offset)
        return NULL;
    struct modifiers *mod = modifiers_of(expr);
    if (!mod)
        return parser_fail(parser, expr->start,
                           "offset modifier must be preceded by an instant vector selector or "
                           "range vector selector or a subquery");
    if (mod->has_offset || mod->offset_expr)
        return parser_fail(parser, expr->start, "offset may not be set multiple times");
    if (offset->kind == EXPR_NUMBER) {
        int64_t ns = seconds_to_ns(offset->as.number.value);
        mod->offset_ms = ns / 1000000;
        mod->has_offset = ns != 0;
        mod->offset_is_negative = ns < 0;
    } else {
        mod->offset_expr = offset;
    }
    expr->end = parser->closing_end;
    return expr;
}

static const char *seconds_text(struct parser *parser, double seconds)
{
    if (isnan(seconds))
        return "NaN";
    if (isinf(seconds))
        return seconds > 0 ? "+Inf" : "-Inf";
    return arena_strf(parser->arena, "%f", seconds).ptr;
}

/* The modifiers, if @ can be set there. */
static struct modifiers *at_target(struct parser *parser, struct expr *expr)
{
    struct modifiers *mod = modifiers_of(expr);

    if (!mod)
        return parser_fail(parser, expr->start,
                           "@ modifier must be preceded by an instant vector selector or range "
                           "vector selector or a subquery");
    if (mod->at != AT_NONE)
        return parser_fail(parser, expr->start, "@ <timestamp> may not be set multiple times");
    expr->end = parser->closing_end;
    return mod;
}

static struct expr *at_time(struct parser *parser, struct expr *expr, double seconds)
{
    if (!(fabs(seconds) < 0x1p63))
        return parser_fail(parser, expr->start, "timestamp out of bounds for @ modifier: %s",
                           seconds_text(parser, seconds));
    struct modifiers *mod = at_target(parser, expr);
    if (!mod)
        return NULL;
    double ms = round(seconds * 1000);
    mod->at = AT_TIME;
    mod->at_ms = fabs(ms) < 0x1p63 ? (int64_t)ms : INT64_MIN; /* As Go's conversion on amd64. */
    return expr;
}

static struct expr *at_bound(struct parser *parser, struct expr *expr)
{
    struct token word = parser_take(parser);

    if (!parser_accept(parser, TOKEN_LEFT_PAREN, NULL) ||
        !parser_accept(parser, TOKEN_RIGHT_PAREN, NULL))
        return parser_unexpected(parser, "@", "timestamp");
    struct modifiers *mod = at_target(parser, expr);
    if (!mod)
        return NULL;
    mod->at = word.kind == TOKEN_START ? AT_START : AT_END;
    return expr;
}

struct expr *parser_at(struct parser *parser, struct expr *expr)
{
    bool minus = false;

    parser_take(parser);
    enum token_kind kind = parser_peek(parser);
    if (kind == TOKEN_START || kind == TOKEN_AT_END)
        return at_bound(parser, expr);
    if (kind == TOKEN_ADD || kind == TOKEN_SUB) {
        minus = kind == TOKEN_SUB;
        parser_take(parser);
        kind = parser_peek(parser);
    }
    if (kind != TOKEN_NUMBER && kind != TOKEN_DURATION)
        return parser_unexpected(parser, "@", "timestamp");
    struct expr *literal = parser_number(parser, parser_take(parser));
    if (!literal)
        return NULL;
    double seconds = literal->as.number.value;
    return at_time(parser, expr, minus ? -seconds : seconds);
}

struct expr *parser_extended(struct parser *parser, struct expr *expr)
{
    bool anchored = parser_take(parser).kind == TOKEN_ANCHORED;
    const char *word = anchored ? "anchored" : "smoothed";
    struct expr *vector = expr->kind == EXPR_MATRIX_SELECTOR ? expr->as.matrix.vector : expr;

    if (!(parser->features & QUERY_EXTENDED_RANGES))
        return parser_fail(parser, expr->start, "%s modifier is experimental and not enabled",
                           word);
    if (expr->kind == EXPR_SUBQUERY)
        return parser_fail(parser, expr->start, "%s modifier is not supported for subqueries",
                           word);
    if (vector->kind != EXPR_VECTOR_SELECTOR)
        return parser_fail(parser, expr->start, "%s modifier not implemented", word);
    if (anchored)
        vector->as.vector.anchored = true;
    else
        vector->as.vector.smoothed = true;
    if (vector->as.vector.anchored && vector->as.vector.smoothed)
        return parser_fail(parser, expr->start,
                           "anchored and smoothed modifiers cannot be used together");
    return expr;
}
