/* A whole discovery against a scripted API server: lists in pages, watches that end, history that is
 * gone, refusals, a reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery_rig.h"
#include "net/http_server.h"

/* What the server answers to the requests in their order; the last again and again. */
struct step {
    const char *path; /* What the request's target has to contain. */
    int status;
    const char *body;
};

struct api {
    struct rig rig;
    struct http_server *server;
    const struct step *steps;
    size_t step_count, asked;
    struct http_exchange *held; /* A watch that stays. */
    bool closed;
};

static void api_handle(void *ctx, struct http_exchange *exchange)
{
    struct api *api = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    const struct step *step = &api->steps[api->asked];
    struct http_response response = {.content_type = "application/json"};
    struct buf body;

    if (api->asked + 1 >= api->step_count) {
        api->held = exchange;
        return;
    }
    api->asked++;
    if (str_find(request->target, str_of(step->path)) == request->target.len)
        fail_msg("asked for " STR_FMT ", not %s", STR_ARG(request->target), step->path);
    response.status = step->status;
    buf_init(&body, 1 << 20);
    buf_add_str(&body, str_of(step->body));
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void api_open(struct api *api, const struct step *steps, size_t step_count)
{
    struct http_server_options options = {
        .address = STR("127.0.0.1:0"), .handler = api_handle, .ctx = api};
    struct err err;

    *api = (struct api){.steps = steps, .step_count = step_count};
    rig_open(&api->rig);
    assert_true(http_server_open(&api->server, &api->rig.loop, &options, &err));
}

static void api_apply(struct api *api, const char *more)
{
    struct buf yaml;

    buf_init(&yaml, 65536);
    buf_addf(&yaml,
             "scrape_configs:\n- job_name: k\n  kubernetes_sd_configs:\n  - api_server: "
             "http://127.0.0.1:%u\n    role: service\n%s%c",
             http_server_port(api->server), more, 0);
    rig_apply(&api->rig, yaml.ptr);
    buf_deinit(&yaml);
}

static void on_api_closed(void *ctx)
{
    ((struct api *)ctx)->closed = true;
}

static void api_close(struct api *api)
{
    if (api->held)
        http_reply_text(api->held, 503, "end");
    http_server_close(api->server, 0, on_api_closed, api);
    rig_close(&api->rig);
    assert_true(api->closed);
}

#define SERVICE(name)                                                                              \
    "{\"metadata\":{\"name\":\"" name                                                              \
    "\",\"namespace\":\"n\",\"resourceVersion\":\"7\"},\"spec\":{"                                 \
    "\"ports\":[{\"port\":1}]}}"
#define LIST(version, next, items)                                                                 \
    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"" version                       \
    "\",\"continue\":\"" next "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define GONE                                                                                       \
    EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":"         \
                   "\"old\"}")
#define BOOKMARK(version) EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"" version "\"}}")

static struct discovery_stats stats_of(const struct api *api)
{
    struct discovery_stats stats;

    discovery_get_stats(api->rig.discovery, &stats);
    return stats;
}

/* Pages join to one list; a watch goes on from its last version; a gone version means a new list,
 * and what that lacks is gone. */
static void test_watch__follows_the_list(void **state)
{
    static const struct step steps[] = {
        {"/api/v1/services?limit=500", 200, LIST("5", "x=", SERVICE("a") "," SERVICE("b"))},
        {"limit=500&continue=x%3D", 200, LIST("5", "", SERVICE("c"))},
        {"resourceVersion=5&", 200,
         EVENT("ADDED", SERVICE("d")) EVENT("DELETED", SERVICE("a")) BOOKMARK("9")},
        {"resourceVersion=9&", 200, GONE},
        {"services?limit=500", 200, LIST("20", "", SERVICE("d") "," SERVICE("c"))},
        {"watch=true&allowWatchBookmarks=true&resourceVersion=20&timeoutSeconds=", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "");
    assert_true(rig_told_either(&api.rig, "k: d.n.svc:1 c.n.svc:1", "k: c.n.svc:1 d.n.svc:1"));
    assert_int_equal(api.asked, COUNT_OF(steps) - 1);
    struct discovery_stats stats = stats_of(&api);
    assert_int_equal(stats.kubernetes_events[2][KUBERNETES_ADD], 4);
    assert_int_equal(stats.kubernetes_events[2][KUBERNETES_UPDATE], 2);
    assert_int_equal(stats.kubernetes_events[2][KUBERNETES_DELETE], 2);
    assert_int_equal(stats.kubernetes_failures, 0);
    api_close(&api);
}

/* Refusals and broken answers are tried again, and what is known stays. */
static void test_watch__survives_errors(void **state)
{
    static const struct step steps[] = {
        {"limit=500", 403, "{\"kind\":\"Status\",\"message\":\"services is forbidden\"}"},
        {"limit=500", 200, LIST("5", "", SERVICE("a"))},
        {"resourceVersion=5&", 200, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na"},
        {"services?limit=1", 200, LIST("12", "x", SERVICE("c"))}, /* Only its version counts. */
        {"resourceVersion=5&", 200, EVENT("ADDED", SERVICE("b"))},
        {"resourceVersion=7&", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "");
    assert_true(rig_told(&api.rig, "k: a.n.svc:1 b.n.svc:1"));
    assert_int_equal(stats_of(&api).kubernetes_failures, 2);
    api_close(&api);
}

/* An API server that starts again knows no history: that is one failure, not two. */
static void test_watch__is_gone_after_a_failure(void **state)
{
    static const struct step steps[] = {
        {"limit=500", 200, LIST("5", "", SERVICE("a"))},
        {"resourceVersion=5&", 200, "{\"type\":\"ADDED\",\"obj"},
        {"services?limit=1", 200, LIST("9", "x", SERVICE("b"))},
        {"resourceVersion=5&", 200, EVENT("ERROR", "{\"code\":410}")},
        {"limit=500", 200, LIST("9", "", SERVICE("b"))},
        {"resourceVersion=9&", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "");
    assert_true(rig_told(&api.rig, "k: b.n.svc:1"));
    assert_int_equal(stats_of(&api).kubernetes_failures, 1);
    api_close(&api);
}

/* A store that was set up again: a watch from our version would be silent until it is reached. */
static void test_watch__sees_that_versions_went_back(void **state)
{
    static const struct step steps[] = {
        {"limit=500", 200, LIST("10", "", SERVICE("a"))},
        {"resourceVersion=10&", 200, "{\"type\":\"ADDED\",\"obj"},
        {"services?limit=1", 200, LIST("9", "x", SERVICE("b"))},
        {"limit=500", 200, LIST("9", "", SERVICE("b"))},
        {"resourceVersion=9&", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "");
    assert_true(rig_told(&api.rig, "k: b.n.svc:1"));
    api_close(&api);
}

/* What the new configuration does not want ends; what is in flight ends without an owner. */
static void test_reload__ends_the_watch(void **state)
{
    static const struct step steps[] = {
        {"limit=500", 200, LIST("5", "", SERVICE("a"))},
        {"resourceVersion=5&", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "");
    assert_true(rig_told(&api.rig, "k: a.n.svc:1"));
    rig_apply(&api.rig, "scrape_configs:\n- job_name: other\n");
    assert_true(rig_told(&api.rig, "other:"));
    api_close(&api);
}

/* A namespace without any service is an answer, too. */
static void test_empty__is_told(void **state)
{
    static const struct step steps[] = {
        {"/api/v1/namespaces/x/services?limit=500", 200, LIST("5", "", "")},
        {"resourceVersion=5&", 200, ""},
    };
    struct api api;

    (void)state;
    api_open(&api, steps, COUNT_OF(steps));
    api_apply(&api, "    namespaces: {names: [x]}\n");
    assert_true(rig_told(&api.rig, "k:"));
    while (!api.held)
        uv_run(&api.rig.loop, UV_RUN_ONCE);
    assert_int_equal(api.asked, 1);
    api_close(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch__follows_the_list),
        cmocka_unit_test(test_watch__survives_errors),
        cmocka_unit_test(test_watch__is_gone_after_a_failure),
        cmocka_unit_test(test_watch__sees_that_versions_went_back),
        cmocka_unit_test(test_reload__ends_the_watch),
        cmocka_unit_test(test_empty__is_told),
    };
    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
