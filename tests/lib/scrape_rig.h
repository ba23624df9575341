/* scrape_rig: a scraper on a loop, a target that says what the test tells it to, and a storage that
 * remembers.
 *
 * Included by the tests of the scraper. */
#ifndef TESTS_SCRAPE_RIG_H
#define TESTS_SCRAPE_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/compress.h"
#include "fake_append.h"
#include "net/http_server.h"
#include "scraper.h"

struct rig {
    uv_loop_t loop;
    struct storage storage;
    struct http_client *client;
    struct http_server *server;
    struct scraper *scraper;
    struct config *config;
    const char *body;     /* What the target says. */
    struct str long_body; /* Instead, when not empty. */
    const char *content_type;
    const char *interval;
    int status;
    bool gzip;
    bool packed; /* What it says is gzip already. */
    bool silent; /* No answer until it is false again. */
    struct http_exchange *held;
    size_t request_count;
    char last_headers[4096];
    char last_target[1024];
    bool stopped, closed;
};

static void rig_handle(void *ctx, struct http_exchange *exchange)
{
    struct rig *rig = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct http_response response = {
        .status = rig->status, .content_type = rig->content_type, .no_compression = true};
    struct http_header encoding = {STR("Content-Encoding"), STR("gzip")};
    struct str text = rig->long_body.len ? rig->long_body : str_of(rig->body);
    struct buf body;
    size_t len = 0;

    rig->request_count++;
    for (size_t i = 0; i < request->header_count && len < sizeof(rig->last_headers); i++)
        len += (size_t)snprintf(rig->last_headers + len, sizeof(rig->last_headers) - len,
                                STR_FMT ": " STR_FMT "\n", STR_ARG(request->headers[i].name),
                                STR_ARG(request->headers[i].value));
    snprintf(rig->last_target, sizeof(rig->last_target), STR_FMT, STR_ARG(request->target));
    if (rig->silent) {
        rig->held = exchange;
        return;
    }
    buf_init(&body, (size_t)64 << 20);
    if (rig->gzip) {
        deflate_encode(DEFLATE_GZIP, text, &body);
        response.headers = &encoding;
        response.header_count = 1;
    } else {
        buf_add_str(&body, text);
        response.headers = &encoding;
        response.header_count = rig->packed ? 1 : 0;
    }
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

/* The scraper has no storage before rig_attach. */
static void rig_open_early(struct rig *rig)
{
    struct err err;

    *rig = (struct rig){.status = 200,
                        .content_type = "text/plain; version=0.0.4",
                        .body = "",
                        .interval = "200ms"};
    ENSURE(uv_loop_init(&rig->loop) == 0);
    struct http_server_options server = {.address = STR("127.0.0.1:0"),
                                         .handler = rig_handle,
                                         .ctx = rig,
                                         .connections_max = 16,
                                         .head_bytes_max = 65536,
                                         .body_bytes_max = 65536,
                                         .read_timeout_ms = 60000,
                                         .write_timeout_ms = 60000};
    ENSURE(http_server_open(&rig->server, &rig->loop, &server, &err));
    ENSURE(http_client_open(&rig->client, &rig->loop, &err));
    struct scraper_options options = {.loop = &rig->loop,
                                      .client = rig->client,
                                      .user_agent = STR("Prometheus/3.14.0"),
                                      .tolerance_ms = 2};
    rig->scraper = scraper_open(&options);
}

static void rig_attach(struct rig *rig)
{
    scraper_attach_storage(rig->scraper, &rig->storage);
}

static void rig_open(struct rig *rig)
{
    rig_open_early(rig);
    rig_attach(rig);
}

/* All syncs to their end, however slow this machine is. */
static void rig_settle(struct rig *rig)
{
    do
        rig->scraper->sync_left_ns = INT64_MAX / 2;
    while (pool_sync_some(rig->scraper));
    rig->scraper->sync_left_ns = SYNC_BUDGET_NS;
}

static inline void rig_set_groups(struct rig *rig, struct target_group *const *groups, size_t count)
{
    scraper_set_groups(rig->scraper, STR("j"), groups, count);
    rig_settle(rig);
}

/* One job "j" whose extra lines stand at two columns; the target is ours, its instance is "i".
 * Applies it. */
static void rig_configure(struct rig *rig, const char *extra)
{
    struct config *config;
    struct err err;
    struct buf yaml;

    buf_init(&yaml, 65536);
    buf_addf(&yaml,
             "scrape_configs:\n- job_name: j\n  scrape_interval: %s\n  scrape_timeout: %s\n"
             "  static_configs:\n  - targets: ['127.0.0.1:%u']\n    labels: {instance: i}\n%s",
             rig->interval, rig->interval, http_server_port(rig->server), extra);
    if (!config_parse(&config, buf_str(&yaml), STR("test.yml"), &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    buf_deinit(&yaml);
    scraper_apply(rig->scraper, config);
    for (size_t i = 0; i < config->scrape_count; i++)
        scraper_set_groups(rig->scraper, config->scrapes[i].job_name,
                           config->scrapes[i].static_sd.groups, config->scrapes[i].static_sd.count);
    rig_settle(rig);
    config_unref(rig->config);
    rig->config = config;
}

static void rig_on_wake(uv_timer_t *timer)
{
    (void)timer;
}

/* Turns the loop until `done(ctx)`, at most a minute. */
static bool rig_until(struct rig *rig, bool (*done)(struct rig *rig))
{
    int64_t end_ms = clock_mono_ms() + 60000;
    uv_timer_t wake;

    uv_timer_init(&rig->loop, &wake);
    uv_timer_start(&wake, rig_on_wake, 20, 20);
    while (!done(rig) && clock_mono_ms() < end_ms)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    return done(rig);
}

static uint64_t rig_scrapes_wanted;

static bool rig_scraped_enough(struct rig *rig)
{
    return rig->scraper->stats.scrapes >= rig_scrapes_wanted;
}

/* `count` more scrapes that began after now have ended: the first may have begun before. */
static inline bool rig_scrapes(struct rig *rig, uint64_t count)
{
    rig_scrapes_wanted = rig->scraper->stats.scrapes + count;
    return rig_until(rig, rig_scraped_enough);
}

static void rig_on_stopped(void *ctx)
{
    ((struct rig *)ctx)->stopped = true;
}
static void rig_on_closed(void *ctx)
{
    ((struct rig *)ctx)->closed = true;
}
static bool rig_is_stopped(struct rig *rig)
{
    return rig->stopped;
}
static bool rig_is_closed(struct rig *rig)
{
    return rig->closed;
}

static void rig_close(struct rig *rig)
{
    if (!rig->stopped)
        scraper_stop(rig->scraper, rig_on_stopped, rig);
    ENSURE(rig_until(rig, rig_is_stopped));
    scraper_free(rig->scraper);
    if (rig->held)
        http_reply_text(rig->held, 200, "");
    http_client_close(rig->client);
    http_server_close(rig->server, 0, rig_on_closed, rig);
    ENSURE(rig_until(rig, rig_is_closed));
    config_unref(rig->config);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&rig->loop) == 0);
    ENSURE(fake_pins(&rig->storage) == 0);
    ENSURE(rig->storage.open_groups == 0);
    fake_deinit(&rig->storage);
}

#endif
