/* http_multipart: bodies of multipart/form-data, as curl -F sends them: parameters like those of other forms, behind them.
 *
 *     --BOUNDARY CRLF headers CRLF CRLF value CRLF --BOUNDARY ... CRLF --BOUNDARY--
 *
 * As in Go a lone LF will do when the first line ends with one, what comes before the first line is skipped, and a form that is
 * broken or has no end is none. Files are no parameters. */
#include "http_form.h"

#include <string.h>

#define BOUNDARY_MAX 70 /* RFC 2046 */

struct multipart {
    struct arena *arena;
    struct str rest;
    char delimiter[BOUNDARY_MAX + 4]; /* CRLF--BOUNDARY; without CRLF at the very begin. */
    size_t delimiter_len, line_end_len;
};

/* The value of name=value or name="value" among what stands behind a ';'; ptr NULL: there is none. */
static struct str attribute(struct arena *arena, struct str text, const char *wanted)
{
    struct str rest;
    (void)str_cut(text, ';', &rest);
    while (rest.len > 0) {
        size_t eq = str_find_char(rest, '=');
        struct str name = str_trim(str_first(rest, eq)), value = STR_EMPTY;
        rest = str_trim(str_after(rest, eq < rest.len ? eq + 1 : eq));
        if (rest.len > 0 && rest.ptr[0] == '"') {
            char *out = arena_alloc(arena, rest.len);
            size_t len = 0, i = 1;
            for (; i < rest.len && rest.ptr[i] != '"'; i++) {
                i += rest.ptr[i] == '\\' && i + 1 < rest.len;
                out[len++] = rest.ptr[i];
            }
            value = str_from(out, len);
            rest = str_after(rest, i < rest.len ? i + 1 : i);
            (void)str_cut(rest, ';', &rest);
        } else {
            value = str_trim(str_cut(rest, ';', &rest));
        }
        if (str_eq_nocase(name, str_of(wanted)))
            return value.ptr ? value : STR("");
    }
    return (struct str){0};
}

static bool next_line(struct str *rest, struct str *line)
{
    size_t end = str_find_char(*rest, '\n');
    if (end == rest->len)
        return false;
    *line = str_first(*rest, end);
    *rest = str_after(*rest, end + 1);
    if (line->len > 0 && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

/* To the headers of the first part. */
static bool begin(struct multipart *multipart)
{
    struct str mark = str_from(multipart->delimiter + 2, multipart->delimiter_len - 2), line;
    while (next_line(&multipart->rest, &line)) {
        if (!str_starts(line, mark) || str_trim(str_after(line, mark.len)).len > 0)
            continue;
        bool has_cr = line.ptr[line.len] == '\r';
        multipart->line_end_len = has_cr ? 2 : 1;
        return true;
    }
    return false;
}

/* What is up to the next delimiter; then to the headers behind that. */
static bool take_value(struct multipart *multipart, struct str *value, bool *last)
{
    size_t skipped = 2 - multipart->line_end_len;
    struct str mark = str_from(multipart->delimiter + skipped, multipart->delimiter_len - skipped);
    size_t at = str_find(multipart->rest, mark);
    struct str line;
    if (at == multipart->rest.len)
        return false;
    *value = str_first(multipart->rest, at);
    multipart->rest = str_after(multipart->rest, at + mark.len);
    *last = str_starts(multipart->rest, STR("--"));
    return *last || next_line(&multipart->rest, &line);
}

/* The name of a parameter; ptr NULL: it is none. */
static bool take_name(struct multipart *multipart, struct str *name)
{
    struct str line;
    *name = (struct str){0};
    while (next_line(&multipart->rest, &line)) {
        struct str value, rest;
        if (line.len == 0)
            return true;
        struct str field = str_cut(line, ':', &value);
        value = str_trim(value);
        if (str_eq_nocase(str_trim(field), STR("Content-Disposition")) &&
            str_eq_nocase(str_trim(str_cut(value, ';', &rest)), STR("form-data")) &&
            !attribute(multipart->arena, value, "filename").ptr)
            *name = attribute(multipart->arena, value, "name");
    }
    return false;
}

bool multipart_is(struct str type)
{
    struct str rest;
    return str_eq_nocase(str_trim(str_cut(type, ';', &rest)), STR("multipart/form-data"));
}

size_t multipart_parse(struct arena *arena, struct str type, struct str body,
                       struct http_param *out, size_t count_max)
{
    struct multipart multipart = {.arena = arena, .rest = body};
    struct str boundary = attribute(arena, type, "boundary");
    size_t count = 0;
    bool last = false;
    if (boundary.len == 0 || boundary.len > BOUNDARY_MAX)
        return 0;
    memcpy(multipart.delimiter, "\r\n--", 4);
    memcpy(multipart.delimiter + 4, boundary.ptr, boundary.len);
    multipart.delimiter_len = boundary.len + 4;
    if (!begin(&multipart))
        return 0;
    while (!last && count < count_max) {
        struct http_param param;
        if (!take_name(&multipart, &param.name))
            break;
        /* An empty value has no line end of its own before the delimiter. */
        multipart.rest.ptr -= multipart.line_end_len;
        multipart.rest.len += multipart.line_end_len;
        if (!take_value(&multipart, &param.value, &last))
            break;
        param.value = str_after(param.value, param.value.len < multipart.line_end_len
                                                 ? param.value.len
                                                 : multipart.line_end_len);
        if (param.name.len > 0)
            out[count++] = param;
    }
    return last ? count : 0;
}
