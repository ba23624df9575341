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

static const struct route *find_route(struct call *call, struct str path, bool *path_known)
{
    unsigned method = 1u << call->request->method;

    *path_known = false;
    for (size_t i = 0; i < api_route_count; i++) {
        struct str name = STR_EMPTY;
        if (!path_matches(str_of(api_routes[i].path), path, &name))
            continue;
        *path_known = true;
        if (!(api_routes[i].methods & method))
            continue;
        call->name = name;
        return &api_routes[i];
    }
    return NULL;
}

static void serve_unknown(struct call *call, struct str path, bool path_known)
{
    if (!path.ptr && str_eq(call->request->path, STR("/"))) {
        answer_redirect(call, call->api->route_prefix);
        return;
    }
    if (path.ptr && call->request->method == HTTP_OPTIONS && str_starts(path, STR(API_PATH))) {
        answer_preflight(call);
        return;
    }
    if (path_known)
        answer_plain_error(call, 405, STR("Method Not Allowed"));
    else
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
    bool path_known = false;

    *call = (struct call){
        .api = api, .exchange = exchange, .request = request, .begin_ns = clock_mono_ns()};
    struct str path = path_below(api, request->path);
    if (path.ptr)
        call->route = find_route(call, path, &path_known);
    if (!call->route) {
        serve_unknown(call, path, path_known);
        return;
    }
    if (!is_available(call)) {
        answer_unavailable(call);
        return;
    }
    struct err err = {0};
    if (!http_request_params(request, &call->params, &err)) {
        err_wrap(&err, "error parsing form values");
        answer_error(call, &err);
        return;
    }
    call->route->serve(call);
}
