/* router: from a request to the function that answers it. The table is routes.def; a linear look
 * through some fifty rows costs less than the request's own parsing. */
#include "core.h"

#include "base/clock.h"

const struct route api_routes[] = {
#define ROUTE(methods, path, name, flags) {methods, path, serve_##name, flags},
#include "routes.def"
#undef ROUTE
};
const size_t api_route_count = COUNT_OF(api_routes);

#define API_PATH "/api/v1/"

/* One segment of the pattern against one of the path. *name takes what stands for :name. */
static bool segment_matches(struct str pattern, struct str segment, struct str *name)
{
    if (pattern.len == 0 || pattern.ptr[0] != ':')
        return str_eq(pattern, segment);
    *name = segment;
    return segment.len > 0;
}

static bool path_matches(struct str pattern, struct str path, struct str *name)
{
    while (pattern.ptr && path.ptr) {
        struct str wanted = str_cut(pattern, '/', &pattern);
        struct str segment = str_cut(path, '/', &path);
        if (!segment_matches(wanted, segment, name))
            return false;
    }
    return !pattern.ptr && !path.ptr;
}

/* The path below the prefix, from its slash on; ptr NULL when it is not below. */
static struct str path_below(const struct api *api, struct str path)
{
    struct str prefix = api->route_prefix;
    if (!str_starts(path, prefix))
        return (struct str){NULL, 0};
    struct str rest = str_after(path, prefix.len);
    if (rest.len == 0)
        return STR("/");
    return rest.ptr[0] == '/' ? rest : (struct str){NULL, 0};
}

/* *allowed: the methods of all routes of this path; 0: there is none. */
static const struct route *find_route(struct call *call, struct str path, unsigned *allowed)
{
    unsigned method = 1u << call->request->method;

    *allowed = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        struct str name = STR_EMPTY;
        if (!path_matches(str_of(api_routes[i].path), path, &name))
            continue;
        *allowed |= api_routes[i].methods;
        if (!(api_routes[i].methods & method))
            continue;
        call->name = name;
        return &api_routes[i];
    }
    return NULL;
}

/* --- what no route takes --- */

static void answer_other_method(struct call *call, unsigned allowed)
{
    static const struct {
        enum http_method method;
        struct str text;
    } methods[] = {{HTTP_GET, STR("GET")},
                   {HTTP_HEAD, STR("HEAD")},
                   {HTTP_OPTIONS, STR("OPTIONS")},
                   {HTTP_POST, STR("POST")},
                   {HTTP_PUT, STR("PUT")}};
    struct buf list;
    buf_init(&list, 64);
    allowed |= 1u << HTTP_OPTIONS;
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (!(allowed & 1u << methods[i].method))
            continue;
        if (list.len > 0)
            BUF_ADD(&list, ", ");
        buf_add_str(&list, methods[i].text);
    }
    answer_no_method(call, buf_str(&list));
    buf_deinit(&list);
}

/* Without empty segments, `.` and `..`, as Go's path.Clean; a slash at the end stays. */
static void path_clean(struct str path, struct buf *out)
{
    bool ends = path.len > 1 && path.ptr[path.len - 1] == '/';
    while (path.ptr) {
        struct str segment = str_cut(path, '/', &path);
        if (str_eq(segment, STR("..")))
            while (out->len > 0 && out->ptr[--out->len] != '/')
                ;
        else if (segment.len > 0 && !str_eq(segment, STR("."))) {
            BUF_ADD(out, "/");
            buf_add_str(out, segment);
        }
    }
    if (out->len == 0 || ends)
        BUF_ADD(out, "/");
}

static void answer_moved(struct call *call, int status, struct str path)
{
    struct buf location;
    buf_init(&location, ANSWER_BYTES_MAX);
    buf_add_str(&location, path);
    if (call->request->query.len > 0) {
        BUF_ADD(&location, "?");
        buf_add_str(&location, call->request->query);
    }
    answer_redirect(call, status, buf_str(&location));
    buf_deinit(&location);
}

/* To the same path in its plain form, or without the slash at its end. */
static bool answer_elsewhere(struct call *call, struct str path)
{
    struct str target = str_first(call->request->target, str_find_char(call->request->target, '?'));
    unsigned allowed;
    struct buf clean;
    buf_init(&clean, ANSWER_BYTES_MAX);
    path_clean(target, &clean);
    bool moved = !str_eq(buf_str(&clean), target);
    if (moved)
        answer_moved(call, 307, buf_str(&clean));
    buf_deinit(&clean);
    if (moved)
        return true;
    if (str_eq(path, str_first(STR(API_PATH), sizeof(API_PATH) - 2))) {
        buf_init(&clean, ANSWER_BYTES_MAX);
        buf_add_str(&clean, target);
        BUF_ADD(&clean, "/");
        answer_moved(call, 307, buf_str(&clean));
        buf_deinit(&clean);
        return true;
    }
    if (path.len > 1 && path.ptr[path.len - 1] == '/') {
        (void)find_route(call, str_first(path, path.len - 1), &allowed);
        if (allowed)
            answer_moved(call, call->request->method == HTTP_GET ? 301 : 307,
                         str_first(target, target.len - 1));
        return allowed != 0;
    }
    return false;
}

static void serve_unknown(struct call *call, struct str path, unsigned allowed)
{
    if (!path.ptr && str_eq(call->request->path, STR("/"))) {
        answer_redirect(call, 302, call->api->route_prefix);
        return;
    }
    if (path.ptr && call->request->method == HTTP_OPTIONS && str_starts(path, STR(API_PATH))) {
        answer_preflight(call);
        return;
    }
    if (allowed)
        answer_other_method(call, allowed);
    else if (!path.ptr || !answer_elsewhere(call, path))
        answer_plain_error(call, 404, STR("404 page not found"));
}

static bool is_available(const struct call *call)
{
    if (call->route->flags & ROUTE_EARLY)
        return true;
    return call->api->ready && !call->api->stopping && call->api->options.storage;
}

void api_handle(void *ctx, struct http_exchange *exchange)
{
    struct api *api = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct call *call = ARENA_NEW(request->arena, struct call);
    unsigned allowed = 0;

    *call = (struct call){
        .api = api, .exchange = exchange, .request = request, .begin_ns = clock_mono_ns()};
    struct str path = path_below(api, request->path);
    if (path.ptr)
        call->route = find_route(call, path, &allowed);
    if (!call->route) {
        serve_unknown(call, path, allowed);
        return;
    }
    if (!is_available(call)) {
        answer_unavailable(call);
        return;
    }
    struct err err = {0};
    if (!http_request_params(request, &call->params, &err) && call->route->flags & ROUTE_STRICT) {
        err_wrap(&err, "error parsing form values");
        if (call->route->flags & ROUTE_API)
            answer_error(call, &err);
        else
            answer_plain_error(call, 400, str_of(err.text));
        return;
    }
    call->route->serve(call);
}
