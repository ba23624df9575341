/* label_selector: whether a text is a label selector of Kubernetes, refused in the words that its own
 * library has (which are what Prometheus says):
 *
 *     selector    = [requirement {"," requirement}]
 *     requirement = ["!"] key | key op value | key ("in" | "notin") "(" [value] {"," [value]} ")"
 *     op          = "=" | "==" | "!=" | ">" | "<"
 *
 * In a value's place "in" and "notin" are words as any other. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/regex.h"
#include "base/vec.h"
#include "sections.h"

#define NAME_LEN_MAX   63
#define PREFIX_LEN_MAX 253
#define NAME_PATTERN   "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define VALUE_PATTERN  "((" NAME_PATTERN ")?)"
#define DNS_PATTERN    "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define PREFIX_PATTERN DNS_PATTERN "(\\." DNS_PATTERN ")*"
#define NAME_RULE                                                                                  \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "         \
    "validation is '" NAME_PATTERN "')"

enum token { END, WORD, COMMA, OPEN, CLOSE, NOT, OPERATOR };

struct parser {
    struct str rest;
    enum token token;
    struct str text; /* Of the token. */
    struct err *err;
};

static bool is_special(char c)
{
    return strchr("=!(),><", c) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum token token_of(struct str text)
{
    switch (text.ptr[0]) {
    case ',':
        return COMMA;
    case '(':
        return OPEN;
    case ')':
        return CLOSE;
    case '!':
        return text.len == 1 ? NOT : OPERATOR;
    case '=':
    case '<':
    case '>':
        return OPERATOR;
    default:
        return WORD;
    }
}

static void next(struct parser *parser)
{
    struct str rest = parser->rest;
    size_t len = 0;

    while (rest.len > 0 && is_space(rest.ptr[0]))
        rest = str_after(rest, 1);
    if (rest.len == 0 || rest.ptr[0] == '\0') {
        parser->rest = parser->text = STR_EMPTY;
        parser->token = END;
        return;
    }
    while (len < rest.len && rest.ptr[len] != '\0' && !is_special(rest.ptr[len]) &&
           !is_space(rest.ptr[len]))
        len++;
    if (len == 0) {
        bool doubled = rest.len > 1 && rest.ptr[1] == '=' && strchr("=!", rest.ptr[0]);
        len = doubled ? 2 : 1;
    }
    parser->text = str_first(rest, len);
    parser->token = token_of(parser->text);
    parser->rest = str_after(rest, len);
}

static bool unexpected(struct parser *parser, const char *expected)
{
    return err_set(parser->err, ERR_BAD_DATA, "found '" STR_FMT "'%s",
                   STR_ARG(str_first(parser->text, 200)), expected);
}

/* --- names and values --- */

static bool matches(const char *pattern, struct str text)
{
    struct regex *regex;
    struct err err;

    ENSURE(regex_new(&regex, str_of(pattern), &err));
    bool good = regex_matches(regex, text);
    regex_free(regex);
    return good;
}

static void add_problem(struct buf *out, const char *part, const char *what)
{
    if (out->len > 0)
        BUF_ADD(out, "; ");
    buf_addf(out, "%s%s", part, what);
}

static void key_problems(struct str key, struct buf *out)
{
    struct str name = key, prefix = STR_EMPTY, rest;
    struct str first = str_cut(key, '/', &rest);

    if (rest.ptr && str_find_char(rest, '/') < rest.len) {
        add_problem(out, "a valid label key ",
                    NAME_RULE " with an optional DNS subdomain prefix and '/' (e.g. "
                              "'example.com/MyName')");
        return;
    }
    if (rest.ptr) {
        prefix = first;
        name = rest;
        if (prefix.len == 0)
            add_problem(out, "prefix part ", "must be non-empty");
        else if (prefix.len > PREFIX_LEN_MAX)
            add_problem(out, "prefix part ", "must be no more than 253 bytes");
        if (prefix.len > 0 && !matches(PREFIX_PATTERN, prefix))
            add_problem(out, "prefix part ",
                        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                        "characters, '-' or '.', and must start and end with an alphanumeric "
                        "character (e.g. 'example.com', regex used for validation is "
                        "'" PREFIX_PATTERN "')");
    }
    if (name.len == 0)
        add_problem(out, "name part ", "must be non-empty");
    else if (name.len > NAME_LEN_MAX)
        add_problem(out, "name part ", "must be no more than 63 bytes");
    if (!matches(NAME_PATTERN, name))
        add_problem(out, "name part ", NAME_RULE);
}

static bool key_check(struct parser *parser, struct str key)
{
    struct buf problems;

    buf_init(&problems, ERR_TEXT_MAX / 2);
    key_problems(key, &problems);
    bool good = problems.len == 0;
    if (!good) {
        struct buf text;
        buf_init(&text, ERR_TEXT_MAX);
        BUF_ADD(&text, "<nil>: Invalid value: ");
        buf_add_go_quoted(&text, str_first(key, 512));
        BUF_ADD(&text, ": ");
        buf_add_str(&text, buf_str(&problems));
        err_set_str(parser->err, ERR_BAD_DATA, buf_str(&text));
        buf_deinit(&text);
    }
    buf_deinit(&problems);
    return good;
}

struct values {
    VEC(struct str) list;
};

static int value_compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* One of several errors, as Go's aggregate of them. */
static void add_error(struct buf *out, size_t *count, const char *path, struct str value,
                      const char *problem)
{
    if ((*count)++ > 0)
        BUF_ADD(out, ", ");
    buf_addf(out, "%s: Invalid value: ", path);
    buf_add_go_quoted(out, str_first(value, 256));
    buf_addf(out, ": %s", problem);
}

static void value_check(struct str key, struct str value, size_t index, struct buf *out,
                        size_t *count)
{
    struct buf problems;
    char path[NAME_LEN_MAX + PREFIX_LEN_MAX + 64];

    buf_init(&problems, ERR_TEXT_MAX / 2);
    (void)snprintf(path, sizeof(path), "values[%zu][" STR_FMT "]", index, STR_ARG(key));
    if (value.len > NAME_LEN_MAX)
        add_problem(&problems, "", "must be no more than 63 bytes");
    if (!matches(VALUE_PATTERN, value))
        add_problem(&problems, "",
                    "a valid label must be an empty string or consist of alphanumeric characters, "
                    "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                    "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                    "'(("
                    "[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
    if (problems.len > 0) {
        buf_add_char(&problems, '\0');
        add_error(out, count, path, value, problems.ptr);
    }
    buf_deinit(&problems);
}

/* A set: each value once, in order. */
static bool values_check(struct parser *parser, struct str key, struct values *values,
                         bool is_number)
{
    struct buf text;
    size_t count = 0, kept = 0;
    int64_t number;

    buf_init(&text, ERR_TEXT_MAX);
    VEC_SORT(&values->list, value_compare);
    for (size_t i = 0; i < values->list.count; i++)
        if (i == 0 || !str_eq(values->list.items[i], values->list.items[kept - 1]))
            values->list.items[kept++] = values->list.items[i];
    for (size_t i = 0; is_number && i < kept; i++)
        if (!str_to_i64(values->list.items[i], &number))
            add_error(&text, &count, "values[0]", values->list.items[i],
                      "for 'Gt', 'Lt' operators, the value must be an integer");
    for (size_t i = 0; i < kept; i++)
        value_check(key, values->list.items[i], i, &text, &count);
    if (count == 1)
        err_set_str(parser->err, ERR_BAD_DATA, buf_str(&text));
    else if (count > 1)
        err_set(parser->err, ERR_BAD_DATA, "[" STR_FMT "]", STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return count == 0;
}

/* --- the grammar --- */

/* After "("; ends behind ")". Nothing between commas is an empty value. */
static bool parse_list(struct parser *parser, struct values *values)
{
    bool wanted = true;

    if (parser->token != WORD && parser->token != COMMA && parser->token != CLOSE)
        return unexpected(parser, ", expected: ',', ')' or identifier");
    for (;; next(parser)) {
        if (parser->token == WORD) {
            VEC_PUSH(&values->list, parser->text);
            wanted = false;
            next(parser);
            if (parser->token != COMMA && parser->token != CLOSE)
                return unexpected(parser, ", expected: ',' or ')'");
        } else if (parser->token != COMMA && parser->token != CLOSE) {
            return unexpected(parser, ", expected: ',', or identifier");
        }
        if (wanted)
            VEC_PUSH(&values->list, STR_EMPTY);
        wanted = true;
        if (parser->token == CLOSE)
            break;
    }
    next(parser);
    return true;
}

static bool parse_values(struct parser *parser, struct values *values, bool *is_number)
{
    static const char operators[] = ", expected: in, notin, =, ==, !=, gt, lt";
    bool set = str_eq(parser->text, STR("in")) || str_eq(parser->text, STR("notin"));

    *is_number = parser->text.len > 0 && strchr("<>", parser->text.ptr[0]);
    if (parser->token != OPERATOR && !set)
        return unexpected(parser, operators);
    next(parser);
    if (set) {
        if (parser->token != OPEN)
            return unexpected(parser, " expected: '('");
        next(parser);
        return parse_list(parser, values);
    }
    if (parser->token == END || parser->token == COMMA) {
        VEC_PUSH(&values->list, STR_EMPTY);
        return true;
    }
    if (parser->token != WORD)
        return unexpected(parser, ", expected: identifier");
    VEC_PUSH(&values->list, parser->text);
    next(parser);
    return true;
}

static bool parse_requirement(struct parser *parser)
{
    bool absent = parser->token == NOT, is_number;
    struct values values = {0};

    if (absent)
        next(parser);
    if (parser->token != WORD)
        return unexpected(parser, ", expected: identifier");
    struct str key = parser->text;
    if (!key_check(parser, key))
        return false;
    next(parser);
    if (absent || parser->token == END || parser->token == COMMA)
        return true;
    bool good =
        parse_values(parser, &values, &is_number) && values_check(parser, key, &values, is_number);
    VEC_FREE(&values.list);
    return good;
}

bool label_selector_check(struct str text, struct err *err)
{
    struct parser parser = {.rest = text, .err = err};

    next(&parser);
    if (parser.token == END)
        return true;
    if (parser.token != WORD && parser.token != NOT)
        return unexpected(&parser, ", expected: !, identifier, or 'end of string'");
    for (;;) {
        if (!parse_requirement(&parser))
            return err_wrap(err, "unable to parse requirement");
        if (parser.token == END)
            return true;
        if (parser.token != COMMA)
            return unexpected(&parser, ", expected: ',' or 'end of string'");
        next(&parser);
        if (parser.token != WORD && parser.token != NOT)
            return unexpected(&parser, ", expected: identifier after ','");
    }
}
