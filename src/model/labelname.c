/* labelname: which label and metric names are valid, and the U__ escaping of names in URLs.
 *
 * U__ escaping, after the prefix: a double underscore is one underscore, _hex_ (at most 5 digits,
 * so planes 0 to 15, as Prometheus has it) is the code point, any other byte stands for itself. A
 * name that breaks these rules is taken as it is. */
#include "model/labels.h"

#include "base/ensure.h"
#include "rune.h"

#define ESCAPE_PREFIX     STR("U__")
#define ESCAPE_DIGITS_MAX 5

/* ASCII only: the process' locale has no say in what a name is. */
static bool char_is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool label_name_is_legacy(struct str name)
{
    if (name.len == 0 || !char_is_name_start(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        if (!char_is_name_start(name.ptr[i]) && !char_is_digit(name.ptr[i]))
            return false;
    }
    return true;
}

bool metric_name_is_legacy(struct str name)
{
    if (name.len == 0 || char_is_digit(name.ptr[0]))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!char_is_name_start(c) && !char_is_digit(c) && c != ':')
            return false;
    }
    return true;
}

bool label_name_is_valid(struct str name)
{
    return name.len > 0 && str_is_utf8(name);
}

static int hex_digit(char c)
{
    if (char_is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads hex digits and the closing underscore at *at. False: they are not well-formed. */
static bool escape_read(struct str s, size_t *at, uint32_t *rune)
{
    *rune = 0;
    for (size_t digits = 0; *at < s.len && digits <= ESCAPE_DIGITS_MAX; digits++) {
        char c = s.ptr[(*at)++];
        if (c == '_')
            return *rune < 0xd800 || (*rune > 0xdfff && *rune <= 0x10ffff);
        if (hex_digit(c) < 0)
            return false;
        *rune = *rune * 16 + (uint32_t)hex_digit(c);
    }
    return false;
}

struct str label_name_unescape(struct arena *arena, struct str name)
{
    if (!str_starts(name, ESCAPE_PREFIX))
        return name;

    struct str escaped = str_after(name, ESCAPE_PREFIX.len);
    char *out = arena_alloc(arena, escaped.len + 1); /* It only shrinks: _1F4A9_ is four bytes. */
    size_t len = 0;
    for (size_t at = 0; at < escaped.len;) {
        char c = escaped.ptr[at++];
        if (c != '_') {
            out[len++] = c;
            continue;
        }
        if (at >= escaped.len)
            return name;
        if (escaped.ptr[at] == '_') {
            out[len++] = '_';
            at++;
            continue;
        }
        uint32_t rune;
        if (!escape_read(escaped, &at, &rune))
            return name;
        len += rune_put(out + len, rune);
    }
    ENSURE(len <= escaped.len);
    out[len] = '\0';
    return (struct str){out, len};
}
