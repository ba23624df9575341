/* media_type: see media_type.h. */
#include "media_type.h"

#include <string.h>

#include "base/ensure.h"

#define PARAMETERS_MAX 16 /* More are not compared with each other. */

struct parameter {
    struct str name, value;
};

static bool is_token(char c)
{
    return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str skip_spaces(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0]))
        s = str_after(s, 1);
    return s;
}

static struct str take_token(struct str s, struct str *rest)
{
    size_t len = 0;

    while (len < s.len && is_token(s.ptr[len]))
        len++;
    *rest = str_after(s, len);
    return str_first(s, len);
}

static bool take_char(struct str s, char c, struct str *rest)
{
    if (s.len == 0 || s.ptr[0] != c)
        return false;
    *rest = skip_spaces(str_after(s, 1));
    return true;
}

/* A token, or all between two quotes. */
static bool take_value(struct str s, struct str *value, struct str *rest)
{
    if (s.len == 0 || s.ptr[0] != '"') {
        *value = take_token(s, rest);
        return value->len > 0;
    }
    for (size_t i = 1; i < s.len && s.ptr[i] != '\r' && s.ptr[i] != '\n'; i++) {
        if (s.ptr[i] == '"') {
            *value = str_from(s.ptr + 1, i - 1);
            *rest = str_after(s, i + 1);
            return true;
        }
        if (s.ptr[i] == '\\' && i + 1 < s.len && !is_token(s.ptr[i + 1]) && s.ptr[i + 1] > ' ')
            i++;
    }
    return false;
}

static bool take_parameter(struct str s, struct parameter *out, struct str *rest)
{
    if (!take_char(s, ';', &s))
        return false;
    out->name = take_token(s, &s);
    s = skip_spaces(s);
    return out->name.len > 0 && take_char(s, '=', &s) && take_value(s, &out->value, rest);
}

static bool is_clash(const struct parameter *known, size_t count, const struct parameter *one)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(known[i].name, one->name) && !str_eq(known[i].value, one->value))
            return true;
    return false;
}

static const char *parameters_check(struct str s)
{
    struct parameter known[PARAMETERS_MAX];
    size_t count = 0;

    for (s = skip_spaces(s); s.len > 0; s = skip_spaces(s)) {
        struct parameter one;
        struct str rest;
        if (!take_parameter(s, &one, &rest))
            return str_eq(str_trim(s), STR(";")) ? NULL : "mime: invalid media parameter";
        if (is_clash(known, count, &one))
            return "mime: duplicate parameter name";
        if (count < COUNT_OF(known))
            known[count++] = one;
        s = rest;
    }
    return NULL;
}

const char *media_type_parse(struct str text, struct str *media)
{
    size_t len = str_find_char(text, ';');
    struct str rest;

    *media = str_trim(str_first(text, len));
    if (take_token(*media, &rest).len == 0)
        return "mime: no media type";
    if (rest.len > 0) {
        if (rest.ptr[0] != '/')
            return "mime: expected slash after first token";
        if (take_token(str_after(rest, 1), &rest).len == 0)
            return "mime: expected token after slash";
        if (rest.len > 0)
            return "mime: unexpected content after media subtype";
    }
    return parameters_check(str_after(text, len));
}
