/* scalar: what an unquoted YAML scalar means: null, boolean, number or text.
 *
 * YAML 1.1's words (yes, on, y) count, base-60 numbers do not, and underscores in numbers are
 * skipped: these are go-yaml v2's choices, which Prometheus' users rely on. Dates are texts here;
 * they have only their tag. */
#include <math.h>
#include <stdlib.h>

#include "base/number.h"
#include "config/yaml_tree.h"

#define NUMBER_MAX 64 /* Longer texts are no numbers. */

struct word {
    const char *text;
    enum yaml_type type;
    bool boolean;
    double real;
};

static const struct word words[] = {
    {"", YAML_NULL, false, 0},
    {"~", YAML_NULL, false, 0},
    {"null", YAML_NULL, false, 0},
    {"Null", YAML_NULL, false, 0},
    {"NULL", YAML_NULL, false, 0},
    {"y", YAML_BOOL, true, 0},
    {"Y", YAML_BOOL, true, 0},
    {"yes", YAML_BOOL, true, 0},
    {"Yes", YAML_BOOL, true, 0},
    {"YES", YAML_BOOL, true, 0},
    {"true", YAML_BOOL, true, 0},
    {"True", YAML_BOOL, true, 0},
    {"TRUE", YAML_BOOL, true, 0},
    {"on", YAML_BOOL, true, 0},
    {"On", YAML_BOOL, true, 0},
    {"ON", YAML_BOOL, true, 0},
    {"n", YAML_BOOL, false, 0},
    {"N", YAML_BOOL, false, 0},
    {"no", YAML_BOOL, false, 0},
    {"No", YAML_BOOL, false, 0},
    {"NO", YAML_BOOL, false, 0},
    {"false", YAML_BOOL, false, 0},
    {"False", YAML_BOOL, false, 0},
    {"FALSE", YAML_BOOL, false, 0},
    {"off", YAML_BOOL, false, 0},
    {"Off", YAML_BOOL, false, 0},
    {"OFF", YAML_BOOL, false, 0},
    {".nan", YAML_FLOAT, false, NAN},
    {".NaN", YAML_FLOAT, false, NAN},
    {".NAN", YAML_FLOAT, false, NAN},
    {".inf", YAML_FLOAT, false, INFINITY},
    {".Inf", YAML_FLOAT, false, INFINITY},
    {".INF", YAML_FLOAT, false, INFINITY},
    {"+.inf", YAML_FLOAT, false, INFINITY},
    {"+.Inf", YAML_FLOAT, false, INFINITY},
    {"+.INF", YAML_FLOAT, false, INFINITY},
    {"-.inf", YAML_FLOAT, false, -INFINITY},
    {"-.Inf", YAML_FLOAT, false, -INFINITY},
    {"-.INF", YAML_FLOAT, false, -INFINITY},
};

static const char *const type_tags[] = {
    [YAML_NULL] = "!!null", [YAML_BOOL] = "!!bool",   [YAML_INT] = "!!int",
    [YAML_UINT] = "!!int",  [YAML_FLOAT] = "!!float", [YAML_TEXT] = "!!str",
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(struct str s, size_t at)
{
    size_t from = at;
    while (at < s.len && is_digit(s.ptr[at]))
        at++;
    return at - from;
}

/* 2006-1-2, alone or followed by a time of day. */
static bool is_timestamp(struct str s)
{
    size_t month = 5, day, at;
    if (digits_at(s, 0) != 4 || s.len < 8 || s.ptr[4] != '-')
        return false;
    size_t month_len = digits_at(s, month);
    day = month + month_len + 1;
    if (month_len < 1 || month_len > 2 || day >= s.len || s.ptr[day - 1] != '-')
        return false;
    size_t day_len = digits_at(s, day);
    at = day + day_len;
    if (day_len < 1 || day_len > 2)
        return false;
    if (at == s.len)
        return true;
    if (s.ptr[at] != 'T' && s.ptr[at] != 't' && s.ptr[at] != ' ')
        return false;
    at++;
    for (int part = 0; part < 3; part++) {
        size_t len = digits_at(s, at);
        if (len < 1 || len > 2)
            return false;
        at += len;
        if (part < 2 && (at >= s.len || s.ptr[at++] != ':'))
            return false;
    }
    return true;
}

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

/* Go's ParseInt and ParseUint with base 0: 0x, 0o, 0b and a leading 0 for octal. */
static bool integer_parse(struct str s, bool *negative, uint64_t *out)
{
    size_t at = 0;
    int base = 10;
    uint64_t value = 0;

    *negative = s.len > 0 && s.ptr[0] == '-';
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        at++;
    if (at + 1 < s.len && s.ptr[at] == '0') {
        char mark = (char)(s.ptr[at + 1] | 0x20);
        base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
        at += mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1;
    }
    if (at >= s.len)
        return false;
    for (; at < s.len; at++) {
        int digit = digit_value(s.ptr[at]);
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    *out = value;
    return !*negative || value <= (uint64_t)INT64_MAX + 1;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(struct str s)
{
    size_t at = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+') ? 1 : 0;
    size_t whole = digits_at(s, at);
    size_t fraction = 0;
    at += whole;
    if (at < s.len && s.ptr[at] == '.') {
        fraction = digits_at(s, ++at);
        at += fraction;
    }
    if (whole == 0 && fraction == 0)
        return false;
    if (at < s.len && (s.ptr[at] | 0x20) == 'e') {
        at++;
        if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
            at++;
        size_t exponent = digits_at(s, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return at == s.len;
}

static void number_resolve(struct yaml_node *node)
{
    char digits[NUMBER_MAX];
    struct str plain = {digits, 0};
    bool negative;
    uint64_t value;
    double real;

    if (node->text.len > NUMBER_MAX)
        return;
    for (size_t i = 0; i < node->text.len; i++)
        if (node->text.ptr[i] != '_' || node->text.ptr[0] == '.')
            digits[plain.len++] = node->text.ptr[i];
    if (plain.len == 0)
        return;
    if (plain.ptr[0] != '.' && integer_parse(plain, &negative, &value)) {
        node->type = !negative && value > INT64_MAX ? YAML_UINT : YAML_INT;
        if (node->type == YAML_UINT)
            node->as.number = value;
        else
            node->as.integer = (int64_t)(negative ? 0 - value : value);
    } else if (is_float(plain) && number_parse(plain, &real)) {
        node->type = YAML_FLOAT;
        node->as.real = real;
    }
}

void yaml_scalar_type(struct yaml_node *node)
{
    node->type = YAML_TEXT;
    node->tag = str_of(type_tags[YAML_TEXT]);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!str_eq(node->text, str_of(words[i].text)))
            continue;
        node->type = words[i].type;
        if (node->type == YAML_BOOL)
            node->as.boolean = words[i].boolean;
        else if (node->type == YAML_FLOAT)
            node->as.real = words[i].real;
        node->tag = str_of(type_tags[node->type]);
        return;
    }
    char first = node->text.ptr[0];
    if (is_digit(first) && is_timestamp(node->text)) {
        node->tag = STR("!!timestamp");
        return;
    }
    if (is_digit(first) || first == '-' || first == '+' || first == '.')
        number_resolve(node);
    node->tag = str_of(type_tags[node->type]);
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Standard alphabet with padding; line breaks are skipped. */
bool yaml_base64_decode(struct str text, struct arena *arena, struct str *out)
{
    char *bytes = arena_alloc(arena, text.len / 4 * 3 + 4);
    size_t len = 0, digits = 0, padding = 0;
    uint32_t group = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int value = base64_value(c);
        if (c == '\n' || c == '\r')
            continue;
        padding += c == '=';
        if (c != '=' && (value < 0 || padding > 0))
            return false;
        group = group << 6 | (uint32_t)(c == '=' ? 0 : value);
        if (++digits % 4 != 0)
            continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            bytes[len++] = (char)(group >> shift & 0xff);
        group = 0;
    }
    if (digits % 4 != 0 || padding > 2 || padding > len)
        return false;
    *out = str_from(bytes, len - padding);
    return true;
}

bool yaml_scalar_resolve(struct yaml_node *node, struct str tag, struct arena *arena,
                         struct err *err)
{
    if (tag.len == 0) {
        yaml_scalar_type(node);
        return true;
    }
    bool known = str_eq(tag, STR("!!bool")) || str_eq(tag, STR("!!int")) ||
                 str_eq(tag, STR("!!float")) || str_eq(tag, STR("!!null")) ||
                 str_eq(tag, STR("!!timestamp"));
    if (str_eq(tag, STR("!!binary"))) {
        node->encoded = node->text;
        if (!yaml_base64_decode(node->text, arena, &node->text))
            return err_set(err, ERR_BAD_DATA, "!!binary value contains invalid base64 data");
    }
    if (!known) { /* !!str and what is not YAML's own is text. */
        node->type = YAML_TEXT;
        node->tag = tag;
        return true;
    }
    yaml_scalar_type(node);
    if (str_eq(tag, STR("!!float")) && node->type == YAML_INT) {
        node->as.real = (double)node->as.integer;
        node->type = YAML_FLOAT;
        node->tag = tag;
    }
    if (!str_eq(node->tag, tag))
        return err_set(err, ERR_BAD_DATA, "cannot decode " STR_FMT " `" STR_FMT "` as a " STR_FMT,
                       STR_ARG(node->tag), STR_ARG(str_first(node->text, 200)), STR_ARG(tag));
    return true;
}

/* [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)? : a number to YAML 1.1 readers. */
static bool is_base60(struct str s)
{
    size_t at = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+') ? 1 : 0;
    size_t groups = 0;
    if (at >= s.len || !is_digit(s.ptr[at]))
        return false;
    while (at < s.len && (is_digit(s.ptr[at]) || s.ptr[at] == '_'))
        at++;
    for (; at < s.len && s.ptr[at] == ':'; groups++) {
        size_t len = digits_at(s, ++at);
        if (len < 1 || len > 2 || (len == 2 && s.ptr[at] > '5'))
            return false;
        at += len;
    }
    if (at < s.len && s.ptr[at] == '.')
        for (at++; at < s.len && (is_digit(s.ptr[at]) || s.ptr[at] == '_');)
            at++;
    return groups > 0 && at == s.len;
}

bool yaml_text_needs_quotes(struct str text)
{
    struct yaml_node node = {.kind = YAML_SCALAR, .text = text};
    yaml_scalar_type(&node);
    return !str_eq(node.tag, STR("!!str")) || str_eq(text, STR("<<")) || is_base60(text);
}
