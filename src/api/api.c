/* api: the API's life and what the server tells it. */
#include "admin_api.h"
#include "core.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/worker.h"
#include "query_log.h"
#include "work.h"

/* "/" -> "", "/x/" -> "/x" */
static struct str trim_slashes(struct str prefix)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    return prefix;
}

/* The path of a URL, without a slash at its end. */
static struct str url_path(struct str url)
{
    size_t scheme = str_find(url, STR("://"));
    struct str rest = scheme < url.len ? str_after(url, scheme + 3) : url;
    return trim_slashes(str_after(rest, str_find_char(rest, '/')));
}

/* Threads that could really run side by side. */
static unsigned useful_workers(const struct lane *lane)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = lane_threads(lane);
    return cores > 0 && (unsigned)cores < threads ? (unsigned)cores : threads;
}

bool api_open(struct api **out, const struct api_options *options, struct err *err)
{
    struct api *api = MEM_NEW(struct api);
    struct str origin = options->cors_origin;

    *out = NULL;
    api->options = *options;
    if (origin.len > 0 && !str_eq(origin, STR(".*")) &&
        !regex_new(&api->cors_origin, origin, err)) {
        mem_free(api);
        return err_wrap(err, "could not compile CORS regex string \"" STR_FMT "\"",
                        STR_ARG(origin));
    }
    api->route_prefix = trim_slashes(options->route_prefix);
    api->link_prefix =
        options->external_url.len > 0 ? url_path(options->external_url) : api->route_prefix;
    api->routes = mem_zalloc(api_route_count * sizeof(*api->routes));
    for (size_t i = 0; i < api_route_count; i++) {
        api->routes[i].codes[0].status =
            200; /* So that rates see each counter from its first count on. */
        api->routes[i].code_count = 1;
    }
    api->query_workers = useful_workers(options->query_lane);
    list_init(&api->works);
    list_init(&api->waiting);
    list_init(&api->admin_waits);
    api->sweep = timer_new(options->loop, work_sweep, api);
    *out = api;
    return true;
}

void api_attach_storage(struct api *api, struct storage *storage, struct scraper *scraper,
                        struct write_receiver *write_receiver)
{
    api->options.storage = storage;
    api->options.scraper = scraper;
    api->options.write_receiver = write_receiver;
}

void api_set_config(struct api *api, struct config *config, int64_t now_ms)
{
    struct config *old = api->config;

    api->config = config_ref(config);
    api->config_ms = now_ms;
    api->reload_failed = false;
    config_unref(old);
}

bool api_set_query_log(struct api *api, struct str path, struct err *err)
{
    struct lane *lane = api->options.side_lane ? api->options.side_lane : api->options.query_lane;
    struct query_log *log = NULL;

    if (path.len > 0 && !query_log_open(&log, path, lane, err))
        return false;
    query_log_close(api->query_log);
    api->query_log = log;
    return true;
}

void api_set_reload_failed(struct api *api)
{
    api->reload_failed = true;
    api->reload_failed_ms = clock_wall_ms();
}

void api_set_ready(struct api *api, bool ready)
{
    api->ready = ready;
}

void api_set_stopping(struct api *api)
{
    api->stopping = true;
}

/* Without --web.external-url the world reaches us by our host name, as far as we can know. */
void api_set_server(struct api *api, const struct http_server *server)
{
    char host[256];

    api->server = server;
    if (!server || api->options.external_url.len > 0 || gethostname(host, sizeof(host)) != 0)
        return;
    host[sizeof(host) - 1] = '\0';
    snprintf(api->default_url, sizeof(api->default_url), "http://%s:%u/", host,
             (unsigned)http_server_port(server));
    api->options.external_url = str_of(api->default_url);
}

void api_cancel_queries(struct api *api)
{
    work_cancel_all(api);
    admin_cancel_all(api);
}

void api_close(struct api *api)
{
    if (!api)
        return;
    ENSURE(list_empty(&api->works) && list_empty(&api->admin_waits));
    query_log_close(api->query_log);
    timer_free(api->sweep);
    regex_free(api->cors_origin);
    config_unref(api->config);
    mem_free(api->routes);
    mem_free(api);
}
