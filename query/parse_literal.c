/* parse_literal: numbers, durations and strings, as Go's strconv reads them. */
#include "parse.h"

#include "base/number.h"
#include "model/duration.h"

/* '_' may stand between digits, and between a base prefix and a digit. */
static bool underscores_are_fine(struct str s)
{
    char before = '^';
    size_t i = 0;
    bool hex = s.len >= 2 && s.ptr[0] == '0' && (s.ptr[1] | 0x20) == 'x';

    if (hex) {
        before = '0';
        i = 2;
    }
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        bool digit = (c >= '0' && c <= '9') || (hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f');
        if ((c == '_' && before != '0') || (c != '_' && !digit && before == '_'))
            return false;
        before = digit ? '0' : c == '_' ? '_' : '!';
    }
    return before != '_';
}

static struct str without_underscores(struct arena *arena, struct str s)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '_')
            out[len++] = s.ptr[i];
    }
    return str_from(out, len);
}

/* Go's ParseInt with base 0: 0x is hexadecimal, any other leading 0 octal. */
static bool integer_parse(struct str s, double *out)
{
    uint64_t base = 10, value = 0;

    if (s.len > 2 && s.ptr[0] == '0' && (s.ptr[1] | 0x20) == 'x') {
        base = 16;
        s = str_after(s, 2);
    } else if (s.len > 0 && s.ptr[0] == '0') {
        base = 8;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        uint64_t digit = (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (c < '0' || digit >= base || value > (INT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = (double)value;
    return s.len > 0;
}

static struct expr *number_fail(struct parser *parser, struct token token, const char *why)
{
    return parser_fail(parser, token.position,
                       "error parsing number: strconv.ParseFloat: parsing %s: %s",
                       text_quoted(parser->arena, token.text), why);
}

struct expr *parser_number(struct parser *parser, struct token token)
{
    double value = 0;
    bool is_duration = token.kind == TOKEN_DURATION;

    if (is_duration) {
        int64_t ms;
        struct err err;
        if (!duration_parse(token.text, &ms, &err))
            return parser_fail(parser, token.position, "%s", err.text);
        value = (double)(ms / 1000) + (double)(ms % 1000 * 1000000) / 1e9;
    } else {
        struct str plain = without_underscores(parser->arena, token.text);
        if (plain.len < token.text.len && !underscores_are_fine(token.text))
            return number_fail(parser, token, "invalid syntax");
        if (!integer_parse(plain, &value) && !number_parse(plain, &value))
            return number_fail(parser, token, value != 0 ? "value out of range" : "invalid syntax");
    }
    struct expr *expr = parser_node(parser, EXPR_NUMBER, TYPE_SCALAR, token.position,
                                    token.position + token.text.len);
    expr->as.number.value = value;
    expr->as.number.is_duration = is_duration;
    return expr;
}

/* --- strings: the lexer has seen that all escapes are whole --- */

static uint32_t digits_value(struct str digits, uint32_t base)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        value = value * base + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* One escape behind its backslash: writes at most 4 bytes, moves *at on. */
static size_t unescape(char *out, struct str s, size_t *at)
{
    static const char letters[] = "abfnrtv", controls[] = "\a\b\f\n\r\t\v";
    char c = s.ptr[(*at)++];
    const char *letter = strchr(letters, c);

    if (letter) {
        *out = controls[letter - letters];
        return 1;
    }
    if (c >= '0' && c <= '7') {
        *out = (char)digits_value(str_from(s.ptr + *at - 1, 3), 8);
        *at += 2;
        return 1;
    }
    size_t count = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (count == 0) {
        *out = c;
        return 1;
    }
    uint32_t value = digits_value(str_from(s.ptr + *at, count), 16);
    *at += count;
    if (c != 'x')
        return rune_encode(out, value);
    *out = (char)value;
    return 1;
}

struct str parser_unquote(struct parser *parser, struct token token)
{
    struct str inside = str_from(token.text.ptr + 1, token.text.len - 2);

    if (token.text.ptr[0] == '`' || str_find_char(inside, '\\') == inside.len)
        return arena_str(parser->arena, inside);
    /* No escape is shorter than what it stands for. */
    char *out = arena_alloc(parser->arena, inside.len + 1);
    size_t len = 0;
    for (size_t at = 0; at < inside.len;) {
        char c = inside.ptr[at++];
        if (c == '\\')
            len += unescape(out + len, inside, &at);
        else
            out[len++] = c;
    }
    ENSURE(len <= inside.len);
    out[len] = '\0';
    return str_from(out, len);
}

struct expr *parser_string(struct parser *parser, struct token token)
{
    struct expr *expr = parser_node(parser, EXPR_STRING, TYPE_STRING, token.position,
                                    token.position + token.text.len);
    expr->as.string.value = parser_unquote(parser, token);
    return expr;
}
