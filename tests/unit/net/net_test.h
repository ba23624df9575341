/* net_test: what the tests of net share: a loop, a server with a few paths, and raw sockets that
 * are read while the loop turns. Every wait ends after WAIT_MS with a failed assertion. */
#ifndef NET_TEST_H
#define NET_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/compress.h"
#include "net/http_server.h"

#define WAIT_MS   20000
#define BIG_BYTES ((size_t)8 * 1024 * 1024)

struct world {
    uv_loop_t loop;
    struct http_server *server;
    struct http_exchange *held; /* Of /later. */
    unsigned request_count;
    unsigned gone_count;
    bool server_closed;
};

static inline void reply_copy(struct http_exchange *exchange, int status, struct str text)
{
    struct http_response response = {.status = status, .content_type = "text/plain"};
    struct buf body;
    buf_init(&body, text.len);
    buf_add_str(&body, text);
    http_reply(exchange, &response, &body);
    assert_int_equal(body.len, 0);
    buf_deinit(&body);
}

static inline void reply_big(struct http_exchange *exchange)
{
    struct http_response response = {.status = 200, .content_type = "text/plain"};
    struct buf body;
    buf_init(&body, BIG_BYTES);
    memset(buf_reserve(&body, BIG_BYTES), 'x', BIG_BYTES);
    buf_commit(&body, BIG_BYTES);
    http_reply(exchange, &response, &body);
}

static inline void reply_redirect(struct http_exchange *exchange, struct str location)
{
    struct http_header header = {STR("Location"), location};
    struct http_response response = {.status = 302, .headers = &header, .header_count = 1};
    http_reply(exchange, &response, NULL);
}

static inline void count_gone(void *ctx)
{
    ((struct world *)ctx)->gone_count++;
}

static inline void world_handle(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct str path = request->path;
    world->request_count++;
    if (str_eq(path, STR("/later"))) {
        world->held = exchange;
        http_exchange_on_gone(exchange, count_gone, world);
    } else if (str_eq(path, STR("/echo"))) {
        reply_copy(exchange, 200, request->body);
    } else if (str_eq(path, STR("/big"))) {
        reply_big(exchange);
    } else if (str_eq(path, STR("/none"))) {
        reply_copy(exchange, 204, STR_EMPTY);
    } else if (str_eq(path, STR("/auth"))) {
        reply_copy(exchange, 200, http_request_header(request, "Authorization"));
    } else if (str_eq(path, STR("/redirect"))) {
        reply_redirect(exchange, request->query.len > 0 ? request->query : STR("/hello"));
    } else if (str_eq(path, STR("/loop"))) {
        reply_redirect(exchange, STR("/loop"));
    } else if (str_eq(path, STR("/hello"))) {
        reply_copy(exchange, 200, STR("hello"));
    } else {
        http_reply_text(exchange, 404, "no such page");
    }
}

static inline struct http_server_options world_options(struct world *world)
{
    return (struct http_server_options){
        .address = STR("127.0.0.1:0"),
        .handler = world_handle,
        .ctx = world,
    };
}

static inline void world_open(struct world *world, const struct http_server_options *options)
{
    static struct err err;
    *world = (struct world){0};
    assert_int_equal(uv_loop_init(&world->loop), 0);
    if (!http_server_open(&world->server, &world->loop, options, &err))
        fail_msg("%s", err.text);
}

static inline void world_note_closed(void *ctx)
{
    ((struct world *)ctx)->server_closed = true;
}

static inline void world_close(struct world *world)
{
    if (world->server)
        http_server_close(world->server, 0, world_note_closed, world);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_true(!world->server || world->server_closed);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

/* One turn of the loop, waiting for a millisecond at most when nothing happens. */
static inline void world_turn(struct world *world, int64_t deadline_ms)
{
    if (clock_mono_ms() > deadline_ms)
        fail_msg("nothing more came");
    uv_run(&world->loop, UV_RUN_NOWAIT);
    poll(NULL, 0, 1);
}

static inline int64_t deadline_from_now(void)
{
    return clock_mono_ms() + WAIT_MS;
}

/* --- raw clients --- */

static inline int raw_connect(struct world *world)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(http_server_port(world->server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline void raw_send(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes = str_after(bytes, (size_t)sent);
    }
}

/* False at the end of the stream, or when the server has reset it. */
static inline bool raw_receive(int fd, struct buf *to)
{
    static char bytes[65536];
    ssize_t len = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (len > 0)
        buf_add(to, bytes, (size_t)len);
    return len > 0 || (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

static inline void raw_read_to_end(struct world *world, int fd, struct buf *to)
{
    int64_t deadline = deadline_from_now();
    while (raw_receive(fd, to))
        world_turn(world, deadline);
}

static inline size_t count_of(struct str text, struct str needle)
{
    size_t count = 0;
    for (size_t at; (at = str_find(text, needle)) < text.len; count++)
        text = str_after(text, at + needle.len);
    return count;
}

static inline bool contains(struct str text, struct str needle)
{
    return count_of(text, needle) > 0;
}

/* Reads until `needle` has come `count` times. */
static inline void raw_read_until(struct world *world, int fd, struct buf *to, struct str needle,
                                  size_t count)
{
    int64_t deadline = deadline_from_now();
    while (count_of(buf_str(to), needle) < count) {
        world_turn(world, deadline);
        bool open = raw_receive(fd, to);
        if (!open && count_of(buf_str(to), needle) < count)
            fail_msg("closed after: " STR_FMT, STR_ARG(buf_str(to)));
    }
}

static inline struct str body_of(const struct buf *answer)
{
    struct str text = buf_str(answer);
    return str_after(text, str_find(text, STR("\r\n\r\n")) + 4);
}

#endif
