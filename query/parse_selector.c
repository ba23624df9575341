/* parse_selector: name{matchers}, and the metric name{label="value"} of rule tests. */
#include "parse.h"

#include "model/labels.h"

/* Keywords that may also name a metric. Not among them: bool, on, ignoring, group_left,
 * group_right, atan2. */
bool parser_metric_name_is(enum token_kind kind)
{
    switch (kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_METRIC_IDENTIFIER:
    case TOKEN_AND:
    case TOKEN_OR:
    case TOKEN_UNLESS:
    case TOKEN_BY:
    case TOKEN_WITHOUT:
    case TOKEN_OFFSET:
    case TOKEN_ANCHORED:
    case TOKEN_SMOOTHED:
    case TOKEN_FILL:
    case TOKEN_FILL_LEFT:
    case TOKEN_FILL_RIGHT:
    case TOKEN_START:
    case TOKEN_AT_END:
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MAX_OF:
    case TOKEN_MIN_OF:
        return true;
    default:
        return token_sort(kind) == SORT_AGGREGATOR;
    }
}

/* One item between braces: a name (an identifier, or a quoted one that may also stand alone and
 * then is the metric's name), an operator, a string. What errors call the parts differs between
 * selectors and metrics. */
struct brace_item {
    struct token name_token;
    struct str name;
    bool stands_alone;
    enum matcher_type type;
    struct token value_token;
    struct str value;
};

struct brace_words {
    const char *context;
    const char *operator;
    bool only_equal;
};

static const struct brace_words selector_words = {"label matching", "label matching operator",
                                                  false};
static const struct brace_words metric_words = {"label set", "\"=\"", true};

static bool match_operator(enum token_kind kind, const struct brace_words *words,
                           enum matcher_type *out)
{
    if (kind == TOKEN_EQUAL)
        *out = MATCH_EQUAL;
    else if (kind == TOKEN_NEQ)
        *out = MATCH_NOT_EQUAL;
    else if (kind == TOKEN_EQL_REGEX)
        *out = MATCH_REGEX;
    else if (kind == TOKEN_NEQ_REGEX)
        *out = MATCH_NOT_REGEX;
    else
        return false;
    return !words->only_equal || kind == TOKEN_EQUAL;
}

static bool brace_item(struct parser *parser, const struct brace_words *words,
                       struct brace_item *out)
{
    *out = (struct brace_item){.type = MATCH_EQUAL};
    if (parser_accept(parser, TOKEN_IDENTIFIER, &out->name_token)) {
        out->name = out->name_token.text;
    } else if (parser_accept(parser, TOKEN_STRING, &out->name_token)) {
        out->name = parser_unquote(parser, out->name_token);
    } else {
        parser_unexpected(parser, words->context, "identifier or \"}\"");
        return false;
    }
    if (!match_operator(parser_peek(parser), words, &out->type)) {
        out->stands_alone = out->name_token.kind == TOKEN_STRING;
        if (!out->stands_alone)
            parser_unexpected(parser, words->context, words->operator);
        return out->stands_alone;
    }
    parser_take(parser);
    if (!parser_accept(parser, TOKEN_STRING, &out->value_token)) {
        parser_unexpected(parser, words->context, "string");
        return false;
    }
    out->value = parser_unquote(parser, out->value_token);
    return true;
}

/* Behind an item: true when another one follows; *end is set behind the closing brace. */
static bool brace_continues(struct parser *parser, const struct brace_words *words, size_t *end)
{
    struct token token;

    if (parser_accept(parser, TOKEN_RIGHT_BRACE, &token)) {
        *end = token.position + 1;
        return false;
    }
    if (!parser_accept(parser, TOKEN_COMMA, NULL)) {
        parser_unexpected(parser, words->context, "\",\" or \"}\"");
        return false;
    }
    if (parser_accept(parser, TOKEN_RIGHT_BRACE, &token)) {
        *end = token.position + 1;
        return false;
    }
    return !parser->failed;
}

/* Takes over the texts. The matcher joins the selector at once, so that a later failure frees it.
 */
static void selector_add(struct parser *parser, struct expr *expr, struct parser_list *list,
                         const struct brace_item *item)
{
    struct matcher matcher;
    struct err err;
    bool made = item->stands_alone
                    ? matcher_init(&matcher, MATCH_EQUAL, LABEL_NAME, item->name, &err)
                    : matcher_init(&matcher, item->type, item->name, item->value, &err);

    if (!made) {
        parser_fail(parser, item->name_token.position, "%s", err.text);
        return;
    }
    parser_list_add(parser, list, &matcher, sizeof(matcher));
    expr->as.vector.matchers.items = list->items;
    expr->as.vector.matchers.count = list->count;
}

static void selector_braces(struct parser *parser, struct expr *expr, struct parser_list *list)
{
    struct token token;
    struct brace_item item;

    parser_take(parser);
    if (parser_accept(parser, TOKEN_RIGHT_BRACE, &token)) {
        expr->end = token.position + 1;
        return;
    }
    do {
        if (!brace_item(parser, &selector_words, &item))
            return;
        selector_add(parser, expr, list, &item);
    } while (brace_continues(parser, &selector_words, &expr->end));
}

struct expr *parser_selector(struct parser *parser, const struct token *name)
{
    struct parser_list list = {0};
    const struct token *first = name ? name : &parser->token;
    struct expr *expr = parser_node(parser, EXPR_VECTOR_SELECTOR, TYPE_VECTOR, first->position,
                                    first->position + first->text.len);

    VEC_PUSH(&parser->selectors, expr);
    if (name)
        expr->as.vector.name = arena_str(parser->arena, name->text);
    if (parser_peek(parser) == TOKEN_LEFT_BRACE)
        selector_braces(parser, expr, &list);
    if (!parser->failed && expr->as.vector.name.len > 0) {
        struct brace_item item = {.stands_alone = true, .name = expr->as.vector.name};
        selector_add(parser, expr, &list, &item);
    }
    return parser->failed ? NULL : expr;
}

void parser_metric(struct parser *parser, struct labels_builder *builder)
{
    struct str name = STR_EMPTY;
    struct brace_item item;
    size_t end;

    if (parser_metric_name_is(parser_peek(parser)))
        name = arena_str(parser->arena, parser_take(parser).text);
    if (parser_accept(parser, TOKEN_LEFT_BRACE, NULL) &&
        !parser_accept(parser, TOKEN_RIGHT_BRACE, NULL)) {
        do {
            if (!brace_item(parser, &metric_words, &item))
                return;
            if (item.stands_alone)
                labels_builder_set(builder, LABEL_NAME, item.name);
            else
                labels_builder_set(builder, item.name, item.value);
        } while (brace_continues(parser, &metric_words, &end));
    }
    if (name.len > 0)
        labels_builder_set(builder, LABEL_NAME, name);
    if (parser_peek(parser) != TOKEN_END)
        parser_unexpected(parser, NULL, NULL);
}
