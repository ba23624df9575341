/* fixture: the API behind the real HTTP server on a free loopback port, over fakes of storage,
 * query and scrape.
 *
 *     fixture_open() ; struct reply r = ask("GET", "/api/v1/query?query=up", NULL, NULL) ; ...
 * fixture_close()
 *
 * The client is a blocking socket on a thread of its own; the test's thread runs the loop until the
 * answer is there. Each test program includes this once: the fakes are the program's own
 * definitions, so the linker takes none of the real ones. */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "fakes.h"

/* --- the server --- */

static struct fixture {
    uv_loop_t loop;
    struct lane *lane;
    struct api *api;
    struct http_server *server;
    struct config config;
    bool closed;
} fixture;

static void fake_reload(void *ctx, void (*done)(void *done_ctx, const struct err *err),
                        void *done_ctx)
{
    struct err err;

    (void)ctx;
    fake.reloads++;
    (void)err_set(&err, ERR_BAD_DATA, "couldn't load configuration");
    done(done_ctx, fake.reload_fails ? &err : NULL);
}
static void fake_quit(void *ctx)
{
    (void)ctx;
    fake.quits++;
}

static const struct api_flag fixture_flags[] = {{STR("web.page-title"), STR("<b>")}};

static struct api_options fixture_options(void)
{
    return (struct api_options){
        .loop = &fixture.loop,
        .storage = (struct storage *)(void *)&fake,
        .scraper = (struct scraper *)(void *)&fake,
        .discovery = (struct discovery *)(void *)&fake,
        .write_receiver = (struct write_receiver *)(void *)&fake,
        .query_lane = fixture.lane,
        .flags = fixture_flags,
        .flag_count = 1,
        .cors_origin = STR(".*"),
        .external_url = STR("http://prometheus.example:8080/"),
        .route_prefix = STR("/"),
        .page_title = STR("Narthex <1>"),
        .lookback_ms = 300000,
        .query_timeout_ms = 120000,
        .query_concurrency = 20,
        .query_samples_max = 50000000,
        .start_time_ms = 1700000000000,
        .version = STR("3.14.0"),
        .narthex_version = STR("0.1.0"),
        .reload = fake_reload,
        .quit = fake_quit,
    };
}

static void fixture_loop_open(unsigned threads)
{
    fake = (struct fake){0};
    fixture = (struct fixture){0};
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    fixture.lane = lane_open(&fixture.loop, &(struct lane_options){"query", threads, LANE_NORMAL});
}

static void fixture_open(const struct api_options *options)
{
    struct err err = {0};
    struct http_server_options server = {.address = STR("127.0.0.1:0"),
                                         .handler = api_handle,
                                         .connections_max = 64,
                                         .head_bytes_max = 65536,
                                         .body_bytes_max = 1 << 20,
                                         .read_timeout_ms = 30000,
                                         .write_timeout_ms = 30000};

    assert_true(api_open(&fixture.api, options, &err));
    api_set_ready(fixture.api, true);
    fixture.config = (struct config){.refs = 1000,
                                     .retention_ms = 15 * 86400000LL,
                                     .printed = STR("global:\n  x: <secret>\n"),
                                     .path = STR("p.yml")};
    fixture.config.global.evaluation_interval_ms = 30000;
    fixture.config.global.scrape_interval_ms = 15000;
    api_set_config(fixture.api, &fixture.config, 1700000000000);
    server.ctx = fixture.api;
    assert_true(http_server_open(&fixture.server, &fixture.loop, &server, &err));
    api_set_server(fixture.api, fixture.server);
}

static void fixture_server_closed(void *ctx)
{
    (void)ctx;
    fixture.closed = true;
}

static void fixture_close(void)
{
    http_server_close(fixture.server, 1000, fixture_server_closed, NULL);
    while (!fixture.closed)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    api_close(fixture.api);
    lane_close(fixture.lane);
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture.loop), 0);
    for (size_t i = 0; i < fake.series_count; i++)
        labels_unref(fake.series[i].labels);
}

static int set_up(void **state)
{
    (void)state;
    fixture_loop_open(2);
    struct api_options options = fixture_options();
    fixture_open(&options);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close();
    return 0;
}

/* --- the client --- */

#define REPLY_BYTES_MAX (1 << 18)

struct reply {
    int status;
    char bytes[REPLY_BYTES_MAX];
    const char *head, *body; /* In bytes. */
};

struct client {
    pthread_t thread;
    uv_async_t told;
    uint16_t port;
    char request[8192];
    char answer[REPLY_BYTES_MAX];
    size_t len;
    bool done;
    int fd;
    bool hang_up; /* Sends and goes away. */
};

static void *client_main(void *ctx)
{
    struct client *client = ctx;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(client->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(fd, client->request, strlen(client->request), MSG_NOSIGNAL) > 0) {
        if (client->hang_up)
            usleep(100000);
        while (!client->hang_up && client->len < sizeof(client->answer) - 1) {
            ssize_t got =
                recv(fd, client->answer + client->len, sizeof(client->answer) - 1 - client->len, 0);
            if (got <= 0)
                break;
            client->len += (size_t)got;
        }
    }
    close(fd);
    uv_async_send(&client->told);
    return NULL;
}

static void client_told(uv_async_t *async)
{
    struct client *client = CONTAINER_OF(async, struct client, told);
    client->done = true;
    uv_close((uv_handle_t *)async, NULL);
}

static void client_start(struct client *client, const char *method, const char *target,
                         const char *headers, const char *body)
{
    int len = snprintf(client->request, sizeof(client->request),
                       "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s", method, target,
                       headers ? headers : "");
    char *at = client->request + len;
    size_t room = sizeof(client->request) - (size_t)len;
    if (body)
        snprintf(at, room, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        snprintf(at, room, "\r\n");
    client->port = http_server_port(fixture.server);
    client->len = 0;
    client->done = false;
    assert_int_equal(uv_async_init(&fixture.loop, &client->told, client_told), 0);
    assert_int_equal(pthread_create(&client->thread, NULL, client_main, client), 0);
}

static void client_wait(struct client *client, struct reply *reply)
{
    while (!client->done)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    pthread_join(client->thread, NULL);
    uv_run(&fixture.loop, UV_RUN_NOWAIT); /* Closes the async. */
    client->answer[client->len] = '\0';
    memcpy(reply->bytes, client->answer, client->len + 1);
    reply->status = 0;
    reply->head = reply->body = "";
    char *blank = strstr(reply->bytes, "\r\n\r\n");
    if (!blank)
        return;
    blank[2] = '\0'; /* The last header keeps its line's end. */
    reply->head = reply->bytes;
    reply->body = blank + 4;
    reply->status = (int)strtol(client->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static struct reply reply;

static void ask(const char *method, const char *target, const char *headers, const char *body)
{
    static struct client client;
    client.hang_up = false;
    client_start(&client, method, target, headers, body);
    client_wait(&client, &reply);
}

static void get(const char *target)
{
    ask("GET", target, NULL, NULL);
}

static void assert_reply(int status, const char *body)
{
    assert_string_equal(reply.body, body);
    assert_int_equal(reply.status, status);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("`%s` is not in: %s", part, text);
}

/* Not every test program needs all of the above. */
static inline void fixture_use_all(void)
{
    (void)labels_make;
    (void)fake_add_series;
    (void)get;
    (void)ask;
    (void)assert_reply;
    (void)assert_has;
    (void)set_up;
    (void)tear_down;
}

#endif
