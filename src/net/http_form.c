/* http_form: parameters of a request as Go's ParseForm finds them: the body's (POST, PUT and PATCH
 * with a form content type) before the query's.
 *
 * Their number is limited, since a body of "a&a&a..." would otherwise cost twenty times its size.
 */
#include "http_form.h"

#include "net/http_server.h"

#define PARAMS_MAX 10000 /* As Go's urlmaxqueryparams. */
#define PARTS_MAX  1000  /* As Go's multipartmaxparts. */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool fail_escape(struct str rest, struct err *err)
{
    char text[64];
    struct buf quoted;
    buf_init(&quoted, sizeof(text));
    buf_add_go_quoted(&quoted, str_first(rest, 3));
    err_set(err, ERR_BAD_DATA, "invalid URL escape " STR_FMT, STR_ARG(buf_str(&quoted)));
    buf_deinit(&quoted);
    return false;
}

static bool needs_unescape(struct str s, enum url_part part)
{
    return str_find_char(s, '%') < s.len || (part == URL_QUERY && str_find_char(s, '+') < s.len);
}

bool url_unescape(struct arena *arena, struct str s, enum url_part part, struct str *out,
                  struct err *err)
{
    *out = s;
    if (!needs_unescape(s, part))
        return true;
    char *text = arena_alloc(arena, s.len);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int high = i + 2 < s.len ? hex_value(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? hex_value(s.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return fail_escape(str_after(s, i), err);
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && part == URL_QUERY) {
            c = ' ';
        }
        text[len++] = c;
    }
    *out = str_from(text, len);
    return true;
}

/* --- forms --- */

static size_t count_pairs(struct str text)
{
    size_t count = text.len > 0 ? 1 : 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '&';
    return count;
}

/* Bad pairs are left out; the first of them is the error. */
static bool parse_pairs(struct arena *arena, struct str text, struct http_params *out,
                        struct err *err)
{
    struct str rest = text;
    bool good = true;
    while (rest.len > 0) {
        struct err ignored, *why = good ? err : &ignored;
        struct str value;
        struct str name = str_cut(rest, '&', &rest);
        if (str_find_char(name, ';') < name.len) {
            good = err_set(why, ERR_BAD_DATA, "invalid semicolon separator in query");
            continue;
        }
        if (name.len == 0)
            continue;
        name = str_cut(name, '=', &value);
        struct http_param *param = &out->items[out->count];
        if (url_unescape(arena, name, URL_QUERY, &param->name, why) &&
            url_unescape(arena, value, URL_QUERY, &param->value, why))
            out->count++;
        else
            good = false;
    }
    return good;
}

static bool body_is_form(const struct http_request *request)
{
    if (!str_eq(request->method_text, STR("POST")) && !str_eq(request->method_text, STR("PUT")) &&
        !str_eq(request->method_text, STR("PATCH")))
        return false;
    struct str rest;
    struct str type = str_cut(http_request_header(request, "Content-Type"), ';', &rest);
    return str_eq_nocase(str_trim(type), STR("application/x-www-form-urlencoded"));
}

bool http_request_params(const struct http_request *request, struct http_params *out,
                         struct err *err)
{
    *out = (struct http_params){0};
    struct str body = body_is_form(request) ? request->body : STR_EMPTY;
    struct str type = http_request_header(request, "Content-Type");
    size_t count_max = count_pairs(body) + count_pairs(request->query);
    if (count_max > PARAMS_MAX)
        return err_set(err, ERR_BAD_DATA, "number of URL query parameters exceeded limit");
    size_t parts_max = multipart_is(type) ? PARTS_MAX : 0;
    out->items = arena_alloc_array(request->arena, count_max + parts_max + 1, sizeof(*out->items));
    struct err ignored;
    bool good = parse_pairs(request->arena, body, out, err);
    good = parse_pairs(request->arena, request->query, out, good ? err : &ignored) && good;
    if (parts_max > 0)
        out->count += multipart_parse(request->arena, type, request->body, out->items + out->count,
                                      parts_max);
    return good;
}

static const struct http_param *params_find(const struct http_params *params, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = 0; i < params->count; i++)
        if (str_eq(params->items[i].name, wanted))
            return &params->items[i];
    return NULL;
}

struct str http_params_get(const struct http_params *params, const char *name)
{
    const struct http_param *param = params_find(params, name);
    return param ? param->value : STR_EMPTY;
}

bool http_params_has(const struct http_params *params, const char *name)
{
    return params_find(params, name) != NULL;
}
