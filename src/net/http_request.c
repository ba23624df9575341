/* http_request: method, path and query out of what the parser gathered. Targets come in four forms:
 * /path?query, http://host/path?query (as to a proxy; the host does not matter here), * (OPTIONS)
 * and host:port (CONNECT). */
#include "http_request.h"

#include "http_form.h"

struct method_text {
    const char *text;
    enum http_method method;
};

static const struct method_text method_texts[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},
    {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

static enum http_method method_of(struct str text)
{
    for (size_t i = 0; i < COUNT_OF(method_texts); i++)
        if (str_eq(text, str_of(method_texts[i].text)))
            return method_texts[i].method;
    return HTTP_OTHER;
}

static struct str target_without_origin(struct str target)
{
    struct str scheme = str_starts(target, STR("https://")) ? STR("https://") : STR("http://");
    if (!str_starts(target, scheme))
        return target;
    struct str rest = str_after(target, scheme.len);
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] == '/' || rest.ptr[i] == '?')
            return str_after(rest, i);
    return STR("/");
}

bool http_request_build(const struct http_parse *parse, struct http_request *out, struct err *err)
{
    struct arena *arena = out->arena;
    out->method_text = arena_str(arena, http_parse_method(parse));
    out->method = method_of(out->method_text);
    out->target = arena_str(arena, http_parse_target(parse));

    struct http_header *headers =
        arena_alloc_array(arena, parse->fields.count + 1, sizeof(*headers));
    for (size_t i = 0; i < parse->fields.count; i++) {
        headers[i].name = arena_str(arena, http_parse_name(parse, i));
        headers[i].value = arena_str(arena, http_parse_value(parse, i));
    }
    out->headers = headers;
    out->header_count = parse->fields.count;

    struct str query;
    struct str path = str_cut(target_without_origin(out->target), '?', &query);
    path = str_first(path, str_find_char(path, '#'));
    out->query = str_first(query, str_find_char(query, '#'));
    if (!url_unescape(arena, path, URL_PATH, &out->path, err))
        return false;
    if (out->path.len == 0)
        out->path = STR("/");
    return true;
}

struct str http_request_header(const struct http_request *request, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = 0; i < request->header_count; i++)
        if (str_eq_nocase(request->headers[i].name, wanted))
            return request->headers[i].value;
    return STR_EMPTY;
}
