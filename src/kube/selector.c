/* selector: see selector.h. The grammar is the one of k8s.io/apimachinery/pkg/labels. */
#include "selector.h"

#include <stdlib.h>

#include "base/vec.h"

enum token { TOKEN_END, TOKEN_WORD, TOKEN_COMMA, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_OP, TOKEN_NOT };

struct lexer {
    struct str text;
    size_t at;
    enum token token;
    struct str word; /* Of the token. */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c)
{
    return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
}

static void next_token(struct lexer *lexer)
{
    struct str text = lexer->text;

    while (lexer->at < text.len && is_space(text.ptr[lexer->at]))
        lexer->at++;
    size_t start = lexer->at;
    if (start == text.len) {
        lexer->token = TOKEN_END;
        lexer->word = STR_EMPTY;
        return;
    }
    char c = text.ptr[lexer->at++];
    char next = lexer->at < text.len ? text.ptr[lexer->at] : '\0';
    switch (c) {
    case ',':
        lexer->token = TOKEN_COMMA;
        break;
    case '(':
        lexer->token = TOKEN_OPEN;
        break;
    case ')':
        lexer->token = TOKEN_CLOSE;
        break;
    case '=':
    case '!':
        lexer->token = c == '=' || next == '=' ? TOKEN_OP : TOKEN_NOT;
        lexer->at += next == '=';
        break;
    case '>':
    case '<':
        lexer->token = TOKEN_OP;
        break;
    default:
        lexer->token = TOKEN_WORD;
        while (lexer->at < text.len && !is_space(text.ptr[lexer->at]) &&
               !is_special(text.ptr[lexer->at]))
            lexer->at++;
    }
    lexer->word = (struct str){text.ptr + start, lexer->at - start};
}

static bool refuse(const struct lexer *lexer, const char *expected, struct err *err)
{
    struct str found = lexer->token == TOKEN_END ? STR_EMPTY : lexer->word;
    return err_set(err, ERR_BAD_DATA,
                   "unable to parse requirement: found '" STR_FMT "', expected: %s", STR_ARG(found),
                   expected);
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct texts {
    VEC(struct str) list;
};

static bool parse_values(struct lexer *lexer, struct texts *values, struct err *err)
{
    if (lexer->token != TOKEN_OPEN)
        return refuse(lexer, "'('", err);
    next_token(lexer);
    for (;;) {
        struct str value = STR_EMPTY; /* (a,) and () have an empty one. */
        if (lexer->token == TOKEN_WORD) {
            value = lexer->word;
            next_token(lexer);
        }
        if (values->list.count == SELECTOR_VALUES_MAX)
            return err_set(err, ERR_BAD_DATA, "unable to parse requirement: more than %d values",
                           SELECTOR_VALUES_MAX);
        VEC_PUSH(&values->list, value);
        if (lexer->token == TOKEN_CLOSE)
            break;
        if (lexer->token != TOKEN_COMMA)
            return refuse(lexer, "',' or ')'", err);
        next_token(lexer);
    }
    next_token(lexer);
    return true;
}

static bool parse_operator(struct lexer *lexer, enum selector_op *op, struct err *err)
{
    static const struct {
        const char *text;
        enum selector_op op;
    } ops[] = {{"=", SELECT_EQUAL}, {"==", SELECT_EQUAL},     {"!=", SELECT_NOT_EQUAL},
               {"in", SELECT_IN},   {"notin", SELECT_NOT_IN}, {">", SELECT_ABOVE},
               {"<", SELECT_BELOW}};

    for (size_t i = 0; i < COUNT_OF(ops); i++) {
        if (str_eq(lexer->word, str_of(ops[i].text))) {
            *op = ops[i].op;
            next_token(lexer);
            return true;
        }
    }
    return refuse(lexer, "in, notin, =, ==, !=, gt, lt", err);
}

static bool parse_part(struct lexer *lexer, struct selector_part *part, struct texts *values,
                       struct err *err)
{
    bool negated = lexer->token == TOKEN_NOT;
    int64_t number;

    if (negated)
        next_token(lexer);
    if (lexer->token != TOKEN_WORD)
        return refuse(lexer, "identifier", err);
    part->key = lexer->word;
    part->op = negated ? SELECT_MISSING : SELECT_EXISTS;
    next_token(lexer);
    if (negated || lexer->token == TOKEN_END || lexer->token == TOKEN_COMMA)
        return true;
    if (!parse_operator(lexer, &part->op, err))
        return false;
    if (part->op == SELECT_IN || part->op == SELECT_NOT_IN)
        return parse_values(lexer, values, err);
    struct str value = STR_EMPTY;
    if (lexer->token == TOKEN_WORD) {
        value = lexer->word;
        next_token(lexer);
    }
    if ((part->op == SELECT_ABOVE || part->op == SELECT_BELOW) && !str_to_i64(value, &number))
        return err_set(err, ERR_BAD_DATA,
                       "unable to parse requirement: values: Invalid value: \"" STR_FMT
                       "\": for 'Gt', 'Lt' operators, the value must be an integer",
                       STR_ARG(value));
    VEC_PUSH(&values->list, value);
    return true;
}

static void take_values(struct selector_part *part, struct texts *values, struct arena *arena)
{
    VEC_SORT(&values->list, compare_texts);
    part->values = arena_alloc_array(arena, values->list.count + 1, sizeof(struct str));
    part->value_count = 0;
    VEC_EACH (value, &values->list) {
        if (part->value_count == 0 || !str_eq(part->values[part->value_count - 1], *value))
            part->values[part->value_count++] = arena_str(arena, *value);
    }
    part->key = arena_str(arena, part->key);
}

static bool has_control_character(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' && !is_space(text.ptr[i]))
            return true;
    return false;
}

bool selector_parse(struct selector *out, struct str text, struct arena *arena, struct err *err)
{
    struct lexer lexer = {.text = text};
    struct texts values = {0};
    VEC(struct selector_part) parts = {0};
    bool good = true;

    *out = (struct selector){0};
    if (has_control_character(text))
        return err_set(err, ERR_BAD_DATA,
                       "unable to parse requirement: there is a control character");
    next_token(&lexer);
    while (good && lexer.token != TOKEN_END) {
        struct selector_part part = {0};
        VEC_CLEAR(&values.list);
        good = parse_part(&lexer, &part, &values, err);
        if (good && parts.count == SELECTOR_PARTS_MAX)
            good = err_set(err, ERR_BAD_DATA, "unable to parse requirement: more than %d of them",
                           SELECTOR_PARTS_MAX);
        if (!good)
            break;
        take_values(&part, &values, arena);
        VEC_PUSH(&parts, part);
        if (lexer.token == TOKEN_END)
            break;
        if (lexer.token != TOKEN_COMMA) {
            good = refuse(&lexer, "',' or 'end of string'", err);
            break;
        }
        next_token(&lexer);
        if (lexer.token == TOKEN_END)
            good = refuse(&lexer, "identifier after ','", err);
    }
    if (good && parts.count > 0) {
        out->parts = arena_alloc_array(arena, parts.count, sizeof(*out->parts));
        memcpy(out->parts, parts.items, parts.count * sizeof(*out->parts));
        out->count = parts.count;
    }
    VEC_FREE(&values.list);
    VEC_FREE(&parts);
    return good;
}

/* --- matching --- */

static const struct label *label_find(const struct label *labels, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(labels[i].name, name))
            return &labels[i];
    return NULL;
}

static bool has_value(const struct selector_part *part, struct str value)
{
    for (size_t i = 0; i < part->value_count; i++)
        if (str_eq(part->values[i], value))
            return true;
    return false;
}

static bool part_matches(const struct selector_part *part, const struct label *label)
{
    int64_t value, bound;

    switch (part->op) {
    case SELECT_EQUAL:
    case SELECT_IN:
        return label && has_value(part, label->value);
    case SELECT_NOT_EQUAL:
    case SELECT_NOT_IN:
        return !label || !has_value(part, label->value);
    case SELECT_EXISTS:
        return label != NULL;
    case SELECT_MISSING:
        return label == NULL;
    case SELECT_ABOVE:
    case SELECT_BELOW:
        if (!label || !str_to_i64(label->value, &value) || !str_to_i64(part->values[0], &bound))
            return false;
        return part->op == SELECT_ABOVE ? value > bound : value < bound;
    }
    UNREACHABLE();
}

bool selector_matches(const struct selector *selector, const struct label *labels, size_t count)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!part_matches(&selector->parts[i], label_find(labels, count, selector->parts[i].key)))
            return false;
    return true;
}

/* --- as PromQL --- */

void regex_add_quoted(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("\\.+*?()|[]{}^$", text.ptr[i]) && text.ptr[i] != '\0')
            buf_add_char(out, '\\');
        buf_add_char(out, text.ptr[i]);
    }
}

static void add_name(struct buf *out, bool *first, struct str name)
{
    if (!*first)
        BUF_ADD(out, ",");
    *first = false;
    if (label_name_is_legacy(name))
        buf_add_str(out, name);
    else
        buf_add_go_quoted(out, name);
}

void matcher_add_values(struct buf *out, bool *first, struct str name, const char *one_op,
                        const char *many_op, const struct str *values, size_t count)
{
    add_name(out, first, name);
    if (count == 1) {
        buf_addf(out, "%s", one_op);
        buf_add_go_quoted(out, values[0]);
        return;
    }
    struct buf pattern;
    buf_init(&pattern, out->len_max);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            BUF_ADD(&pattern, "|");
        regex_add_quoted(&pattern, values[i]);
    }
    buf_addf(out, "%s", many_op);
    buf_add_go_quoted(out, buf_str(&pattern));
    buf_deinit(&pattern);
}

bool selector_add_matchers(const struct selector *selector, const struct str *names,
                           struct buf *out, bool *first, struct err *err)
{
    for (size_t i = 0; i < selector->count; i++) {
        const struct selector_part *part = &selector->parts[i];
        struct str name = names ? names[i] : part->key;
        switch (part->op) {
        case SELECT_EQUAL:
        case SELECT_IN:
            matcher_add_values(out, first, name, "=", "=~", part->values, part->value_count);
            break;
        case SELECT_NOT_EQUAL:
        case SELECT_NOT_IN:
            matcher_add_values(out, first, name, "!=", "!~", part->values, part->value_count);
            break;
        case SELECT_EXISTS:
            add_name(out, first, name);
            BUF_ADD(out, "!=\"\"");
            break;
        case SELECT_MISSING:
            add_name(out, first, name);
            BUF_ADD(out, "=\"\"");
            break;
        case SELECT_ABOVE:
        case SELECT_BELOW:
            return err_set(err, ERR_BAD_DATA,
                           "unable to parse requirement: > and < are no operators for the labels "
                           "of series");
        }
    }
    return true;
}

/* --- as JSON --- */

static void add_expression(const struct selector_part *part, struct buf *out)
{
    static const char *const names[] = {
        [SELECT_EQUAL] = "In",     [SELECT_NOT_EQUAL] = "NotIn", [SELECT_IN] = "In",
        [SELECT_NOT_IN] = "NotIn", [SELECT_EXISTS] = "Exists",   [SELECT_MISSING] = "DoesNotExist",
        [SELECT_ABOVE] = "Gt",     [SELECT_BELOW] = "Lt",
    };

    BUF_ADD(out, "{\"key\":");
    buf_add_json_string(out, part->key);
    buf_addf(out, ",\"operator\":\"%s\"", names[part->op]);
    if (part->value_count > 0) {
        BUF_ADD(out, ",\"values\":[");
        for (size_t i = 0; i < part->value_count; i++) {
            if (i > 0)
                BUF_ADD(out, ",");
            buf_add_json_string(out, part->values[i]);
        }
        BUF_ADD(out, "]");
    }
    BUF_ADD(out, "}");
}

/* A key may stand only once in an object: the last one counts, as in a Go map. */
static bool is_last_equal(const struct selector *selector, size_t index)
{
    for (size_t i = index + 1; i < selector->count; i++)
        if (selector->parts[i].op == SELECT_EQUAL &&
            str_eq(selector->parts[i].key, selector->parts[index].key))
            return false;
    return selector->parts[index].op == SELECT_EQUAL;
}

void selector_add_json(const struct selector *selector, struct buf *out)
{
    size_t equal = 0, other = 0;

    if (selector->count == 0) {
        BUF_ADD(out, "null");
        return;
    }
    BUF_ADD(out, "{");
    for (size_t i = 0; i < selector->count; i++) {
        const struct selector_part *part = &selector->parts[i];
        if (!is_last_equal(selector, i))
            continue;
        buf_addf(out, "%s", equal++ ? "," : "\"matchLabels\":{");
        buf_add_json_string(out, part->key);
        BUF_ADD(out, ":");
        buf_add_json_string(out, part->values[0]);
    }
    if (equal > 0)
        BUF_ADD(out, "}");
    for (size_t i = 0; i < selector->count; i++) {
        if (selector->parts[i].op == SELECT_EQUAL)
            continue;
        buf_addf(out, "%s%s", equal && !other ? "," : "", other ? "," : "\"matchExpressions\":[");
        other++;
        add_expression(&selector->parts[i], out);
    }
    if (other > 0)
        BUF_ADD(out, "]");
    BUF_ADD(out, "}");
}
