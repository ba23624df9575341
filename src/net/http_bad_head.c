/* http_bad_head: see http_bad_head.h. The parser says only that a head is bad; operators look for what Prometheus said of
 * the same exporter. */
#include "http_bad_head.h"

#define SHOWN_MAX ((size_t)200)

#define BROKEN "net/http: HTTP/1.x transport connection broken: "

static bool is_digits(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len > 0;
}

static bool tell(struct buf *out, const char *what, struct str shown)
{
    buf_addf(out, BROKEN "%s", what);
    buf_add_go_quoted(out, str_first(shown, SHOWN_MAX));
    return true;
}

/* HTTP/1.1 200 OK */
static bool status_is_bad(struct buf *out, struct str line)
{
    struct str code, rest;

    (void)str_cut(line, ' ', &rest);
    if (!rest.ptr)
        return false;
    code = str_cut(str_trim(rest), ' ', &rest);
    return !(code.len == 3 && is_digits(code)) && tell(out, "malformed HTTP status code ", code);
}

/* *length is what was said before; of no bytes when nothing was. */
static bool field_is_bad(struct buf *out, struct str line, struct str *length)
{
    struct str value, name = str_cut(line, ':', &value);

    if (!value.ptr)
        return tell(out, "malformed MIME header: missing colon: ", line);
    value = str_trim(value);
    if (!str_eq_nocase(name, STR("Content-Length")))
        return false;
    if (length->len > 0 && !str_eq(*length, value)) {
        BUF_ADD(out, BROKEN "http: message cannot contain multiple Content-Length headers; got [");
        buf_add_go_quoted(out, str_first(*length, SHOWN_MAX));
        BUF_ADD(out, " ");
        buf_add_go_quoted(out, str_first(value, SHOWN_MAX));
        BUF_ADD(out, "]");
        return true;
    }
    *length = value;
    return false;
}

bool http_bad_head_tell(struct buf *out, struct str bytes)
{
    struct str line, rest = bytes, length = STR_EMPTY;
    bool bad, first = true;

    if (!str_starts(bytes, STR("HTTP/1.")))
        return false;
    while (rest.ptr && str_find_char(rest, '\n') < rest.len) {
        line = str_cut(rest, '\n', &rest);
        if (str_ends(line, STR("\r")))
            line.len--;
        if (line.len == 0)
            return length.len > 0 && !is_digits(length) && tell(out, "bad Content-Length ", length);
        bad = first ? status_is_bad(out, line) : field_is_bad(out, line, &length);
        if (bad)
            return true;
        first = false;
    }
    return false;
}
