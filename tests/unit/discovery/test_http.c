/* Targets from an HTTP server: a list that comes, changes, breaks and goes; what is asked, and what
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery_rig.h"
#include "groups.h"
#include "net/http_server.h"

struct site {
    struct rig rig;
    struct http_server *server;
    const char *body, *type;
    size_t body_len; /* 0: a C string. */
    int status;
    unsigned request_count;
    char accept[64], interval[64], agent[64], authorization[64], path[64];
    bool silent;
    struct http_exchange *held;
    bool closed;
};

static void note(char out[64], const struct http_request *request, const char *name)
{
    snprintf(out, 64, STR_FMT, STR_ARG(http_request_header(request, name)));
}

static void site_handle(void *ctx, struct http_exchange *exchange)
{
    struct site *site = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct http_response response = {.status = site->status, .content_type = site->type};
    struct buf body;

    site->request_count++;
    note(site->accept, request, "Accept");
    note(site->interval, request, "X-Prometheus-Refresh-Interval-Seconds");
    note(site->agent, request, "User-Agent");
    note(site->authorization, request, "Authorization");
    snprintf(site->path, sizeof(site->path), STR_FMT, STR_ARG(request->target));
    if (site->silent) {
        if (site->held) /* The one before: nobody waits for it any more. */
            http_reply_text(site->held, 503, "end");
        site->held = exchange;
        return;
    }
    buf_init(&body, (size_t)64 << 20);
    buf_add_str(&body, site->body_len ? str_from(site->body, site->body_len) : str_of(site->body));
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void site_open(struct site *site)
{
    struct http_server_options options = {
        .address = STR("127.0.0.1:0"), .handler = site_handle, .ctx = site};
    struct err err;

    *site = (struct site){.status = 200, .type = "application/json", .body = "[]"};
    rig_open(&site->rig);
    assert_true(http_server_open(&site->server, &site->rig.loop, &options, &err));
}

static void on_site_closed(void *ctx)
{
    ((struct site *)ctx)->closed = true;
}

static void site_close(struct site *site)
{
    if (site->held)
        http_reply_text(site->held, 503, "end");
    http_server_close(site->server, 0, on_site_closed, site);
    rig_close(&site->rig);
    assert_true(site->closed);
}

/* Jobs of these names, each with the same block; `more` stands in the block. */
static void site_apply(struct site *site, const char *jobs, const char *more)
{
    struct buf yaml;

    buf_init(&yaml, 65536);
    BUF_ADD(&yaml, "scrape_configs:\n");
    for (const char *job = jobs; *job; job++)
        buf_addf(&yaml,
                 "- job_name: %c\n  http_sd_configs:\n  - url: http://127.0.0.1:%u/sd?x=1\n"
                 "    refresh_interval: 100ms\n%s",
                 *job, http_server_port(site->server), more);
    buf_add_char(&yaml, 0);
    rig_apply(&site->rig, yaml.ptr);
    buf_deinit(&yaml);
}

static uint64_t failures(const struct site *site)
{
    struct discovery_stats stats;

    discovery_get_stats(site->rig.discovery, &stats);
    return stats.http_failures;
}

static void rig_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Turns the loop until the site was asked `more` times more and has been heard. */
static void site_wait_requests(struct site *site, unsigned more)
{
    int64_t end_ms = clock_mono_ms() + 10000;
    unsigned wanted = site->request_count + more;
    uv_timer_t wake;

    uv_timer_init(&site->rig.loop, &wake);
    uv_timer_start(&wake, rig_on_tick, 20, 20);
    while (site->request_count < wanted && clock_mono_ms() < end_ms)
        uv_run(&site->rig.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&site->rig.loop, UV_RUN_NOWAIT);
    assert_true(site->request_count >= wanted);
}

/* Turns the loop until one more refresh has failed. */
static void site_wait_failure(struct site *site)
{
    uint64_t before = failures(site);

    for (int i = 0; i < 100 && failures(site) == before; i++)
        site_wait_requests(site, 1);
    assert_true(failures(site) > before);
}

static void see_refresh(void *ctx, const struct refresh_view *view)
{
    *(struct refresh_view *)ctx = *view;
}

/* One life of a list: groups come, change and vanish, and a failure of any sort keeps the last one.
 */
static void test_http__follows_the_list(void **state)
{
    struct site site;

    (void)state;
    site_open(&site);
    site.body =
        "[{\"targets\": [\"a\", \"b\"], \"labels\": {\"x\": \"y\"}}, {\"targets\": [\"c\"]}]";
    site_apply(&site, "j", "");
    assert_int_equal(site.rig.calls, 0);
    assert_true(rig_told(&site.rig, "j: a b c"));
    site.body = "[{\"targets\": [\"a\"]}]";
    assert_true(rig_told(&site.rig, "j: a"));
    site.status = 500;
    site_wait_failure(&site);
    site.status = 200;
    site.type = "text/html";
    site_wait_failure(&site);
    site.type = "application/json; charset=\"UTF-8\"";
    site.body = "[{\"targets\": [";
    site_wait_failure(&site);
    assert_int_equal(discovery_target_count(site.rig.discovery, STR("j")), 1);
    site.body = "[{\"targets\": [\"d\"]}]";
    assert_true(rig_told(&site.rig, "j: d"));
    site.type = "Application/JSON;charset=utf-8";
    site.body = "null";
    assert_true(rig_told(&site.rig, "j:"));
    struct refresh_view seen = {0};
    discovery_each_refresh(site.rig.discovery, see_refresh, &seen);
    assert_string_equal(seen.mechanism, "http");
    assert_true(str_eq(seen.job, STR("j")));
    assert_true(seen.failures >= 3 && seen.length->count >= seen.failures + 4);
    assert_true(discovery_told_ms(site.rig.discovery, STR("j")) > 0);
    site_close(&site);
}

/* What a server of such lists may rely on. */
static void test_http__asks_as_prometheus_does(void **state)
{
    struct site site;

    (void)state;
    site_open(&site);
    site_apply(&site, "j", "    basic_auth: {username: u, password: p}\n");
    site_wait_requests(&site, 1);
    assert_string_equal(site.path, "/sd?x=1");
    assert_string_equal(site.accept, "application/json");
    assert_string_equal(site.interval, "0.1");
    assert_string_equal(site.agent, "Prometheus/3.14.0");
    assert_string_equal(site.authorization, "Basic dTpw");
    site_apply(&site, "j", "    authorization: {type: Token, credentials: t}\n");
    site_wait_requests(&site, 2);
    assert_string_equal(site.authorization, "Token t");
    site_apply(&site, "j", "    bearer_token: b\n");
    site_wait_requests(&site, 2);
    assert_string_equal(site.authorization, "Bearer b");
    assert_int_equal(failures(&site), 0);
    site_apply(&site, "j", "    authorization: {credentials_file: /nonexistent/token}\n");
    for (int i = 0; i < 500 && failures(&site) == 0; i++) {
        uv_run(&site.rig.loop, UV_RUN_NOWAIT);
        usleep(10000);
    }
    assert_true(failures(&site) > 0);
    site_close(&site);
}

/* Labels, sources and the meta label, which no group may forge. */
static void test_http__labels_its_groups(void **state)
{
    struct target_group **groups;
    struct err err;
    size_t count;

    (void)state;
    assert_true(config_parse_http_groups(
        STR("[{\"targets\":[\"a\"],\"labels\":{\"k\":\"v\",\"__meta_url\":\"forged\"}},"
            "{\"labels\":null,\"targets\":[\"b\"]}]"),
        STR("http://h/sd"), &groups, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(groups[0]->source, "http://h/sd:0");
    assert_string_equal(groups[1]->source, "http://h/sd:1");
    for (size_t i = 0; i < count; i++) {
        assert_true(str_eq(group_value(groups[i], 0, STR("__meta_url")), STR("http://h/sd")));
        assert_true(group_value(groups[i], 0, STR("__meta_filepath")).len == 0);
        target_group_unref(groups[i]);
    }
    mem_free(groups);
}

/* Bytes that are no list of groups, and lists made to exhaust us: the last good list stays. */
static void test_http__survives_hostile_bodies(void **state)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "[null]",
        "[[]]",
        "[{\"targets\": \"a\"}]",
        "[{\"targets\": [1]}]",
        "[{\"targets\": [\"a\"], \"nope\": 1}]",
        "[{\"targets\": [\"a\"], \"labels\": {\"\": \"b\"}}]",
        "[{\"targets\": [\"a\"], \"labels\": {\"b\": 1}}]",
        "[{\"targets\": [\"\\ud800\"]}]",
        "[{\"targets\": [\"\xff\"]}]",
        "[{\"targets\": [\"a\"]}] x",
    };
    struct site site;
    size_t big = (size_t)33 << 20;
    char *bytes = mem_alloc(big);

    (void)state;
    site_open(&site);
    site.body = "[{\"targets\": [\"a\"]}]";
    site_apply(&site, "j", "");
    assert_true(rig_told(&site.rig, "j: a"));
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        site.body = bodies[i];
        site_wait_failure(&site);
    }
    memset(bytes, '[', big);
    site.body = bytes;
    site.body_len = 1 << 20; /* Deep. */
    site_wait_failure(&site);
    for (size_t i = 1; i + 3 < big; i += 3)
        memcpy(bytes + i, "{},", 3);
    site.body_len = 8 << 20; /* Many. */
    site_wait_failure(&site);
    memset(bytes, ' ', big);
    site.body_len = big; /* Long. */
    site_wait_failure(&site);
    site_wait_failure(&site); /* The first may still be of the list before. */
    assert_int_equal(discovery_target_count(site.rig.discovery, STR("j")), 1);
    site_close(&site);
    mem_free(bytes);
}

/* Equal blocks of two jobs are asked for once; a reload disturbs neither, a changed block is asked
 * for anew, one that is gone not any more. */
static void test_http__shares_and_keeps_providers(void **state)
{
    struct site site;

    (void)state;
    site_open(&site);
    site.body = "[{\"targets\": [\"a\"]}]";
    site_apply(&site, "jk", "");
    site_wait_requests(&site, 1);
    assert_true(rig_told(&site.rig, "k: a"));
    assert_int_equal(discovery_target_count(site.rig.discovery, STR("j")), 1);
    site.silent = true;
    buf_clear(&site.rig.told);
    site_apply(&site, "k", "");
    assert_true(rig_told(&site.rig, "k: a"));
    site_apply(&site, "k", "    follow_redirects: false\n");
    assert_true(rig_told(&site.rig, "k:"));
    rig_apply(&site.rig, "scrape_configs: []\n");
    uv_run(&site.rig.loop, UV_RUN_NOWAIT);
    site_close(&site);
}

/* A server that does not answer: the request ends with the interval, and a close does not wait. */
static void test_http__ends_with_a_request_in_flight(void **state)
{
    struct site site;

    (void)state;
    site_open(&site);
    site.silent = true;
    site_apply(&site, "j", "");
    site_wait_requests(&site, 1);
    site_close(&site);
}

/* A list whose provider has gone while the lane parses it is nobody's. */
static void test_http__is_parsed_on_the_lane(void **state)
{
    struct site site;

    (void)state;
    site_open(&site);
    site.body = "[{\"targets\": [\"a\"]}]";
    site.rig.lane.held = true;
    site_apply(&site, "j", "");
    assert_true(rig_has_job(&site.rig));
    assert_true(rig_told(&site.rig, "j:"));
    lane_now_run(&site.rig.lane);
    assert_true(rig_told(&site.rig, "j: a"));
    assert_true(rig_has_job(&site.rig));
    rig_apply(&site.rig, "scrape_configs: []\n");
    lane_now_run(&site.rig.lane);
    site_apply(&site, "k", "");
    assert_true(rig_has_job(&site.rig));
    site_close(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http__follows_the_list),
        cmocka_unit_test(test_http__asks_as_prometheus_does),
        cmocka_unit_test(test_http__labels_its_groups),
        cmocka_unit_test(test_http__survives_hostile_bodies),
        cmocka_unit_test(test_http__shares_and_keeps_providers),
        cmocka_unit_test(test_http__ends_with_a_request_in_flight),
        cmocka_unit_test(test_http__is_parsed_on_the_lane),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
