/* stream: one connection as a state machine on the loop; see stream.h.
 *
 *     lookup -> connect (each address in turn) -> handshake (TLS only) -> open -> ended
 *
 * One timer serves all deadlines: of opening, then the earlier of "the peer takes what we wrote" and
 * "what is awaited comes". After net_stream_close the struct lives on until libuv has let go of the
 * lookup and of the handle. */
#include "net/stream.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "net_text.h"

#define READ_BLOCK_BYTES    ((size_t)32 << 10)
#define UNSENT_BYTES_MAX    ((size_t)16 << 20)
#define PLAIN_BYTES_MAX     ((size_t)1 << 20) /* Of one read; its ciphertext is 32 KiB. */
#define ADDRESS_COUNT_MAX   8
#define ATTEMPT_MS_MIN      2000
#define NAME_TEXT_MAX       300
#define UNIX_PATH_BYTES_MAX 107
#define AWAITS_NOTHING      INT64_MAX

enum stream_state { STREAM_LOOKUP, STREAM_CONNECT, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_ENDED };

struct net_stream {
    uv_loop_t *loop;
    enum stream_state state;
    struct net_stream_options options; /* Its texts are the copies below. */
    char host[NAME_TEXT_MAX], server_name[NAME_TEXT_MAX], unix_path[UNIX_PATH_BYTES_MAX + 1];
    size_t unix_path_len;
    uv_getaddrinfo_t lookup;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_connect_t connect;
    struct sockaddr_storage addresses[ADDRESS_COUNT_MAX];
    size_t address_count, address_next;
    char address_text[NET_ADDRESS_TEXT_MAX]; /* Of the newest attempt. */
    struct timer *timer;
    int64_t open_by_ms, attempt_by_ms, sent_by_ms, awaited_by_ms; /* Monotonic. */
    struct tls_context *tls_context;
    struct tls *tls;
    struct buf plain, wire;
    size_t unsent_bytes;
    char *read_block;
    struct err failure; /* Set while the timer waits to tell it. */
    unsigned busy;      /* Calls of ours on the stack that go on after a callback of the owner's. */
    bool lookup_pending, handle_live, closed;
};

struct stream_send {
    uv_write_t request;
    struct net_stream *stream;
    size_t len;
    char bytes[];
};

static void stream_connect_next(struct net_stream *stream);

/* --- ending --- */

static void stream_free_when_idle(struct net_stream *stream)
{
    if (!stream->closed || stream->lookup_pending || stream->handle_live || stream->busy > 0)
        return;
    tls_free(stream->tls);
    tls_context_unref(stream->tls_context);
    buf_deinit(&stream->plain);
    buf_deinit(&stream->wire);
    mem_free(stream->read_block);
    mem_free(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_stream *stream = CONTAINER_OF(handle, struct net_stream, uv.handle);
    stream->handle_live = false;
    if (!stream->closed && stream->state == STREAM_CONNECT)
        stream_connect_next(stream);
    stream_free_when_idle(stream);
}

static void close_handle(struct net_stream *stream)
{
    if (stream->handle_live && !uv_is_closing(&stream->uv.handle))
        uv_close(&stream->uv.handle, on_handle_closed);
}

static void stream_end(struct net_stream *stream, const struct err *err)
{
    if (stream->state == STREAM_ENDED || stream->closed)
        return;
    stream->state = STREAM_ENDED;
    timer_stop(stream->timer);
    close_handle(stream);
    stream->busy++;
    stream->options.on_end(stream->options.ctx, err);
    stream->busy--;
    stream_free_when_idle(stream);
}

/* For failures inside a call of the owner's: told from the timer. */
static void stream_fail_later(struct net_stream *stream)
{
    ENSURE(stream->failure.code != ERR_NONE);
    timer_start(stream->timer, 0, 0);
}

void net_stream_close(struct net_stream *stream)
{
    if (!stream)
        return;
    ENSURE(!stream->closed);
    if (stream->tls && stream->state == STREAM_OPEN) {
        buf_clear(&stream->wire);
        tls_close(stream->tls, &stream->wire);
        uv_buf_t last = uv_buf_init(stream->wire.ptr, (unsigned)stream->wire.len);
        if (last.len > 0)
            (void)uv_try_write(&stream->uv.stream, &last,
                               1); /* A courtesy; the peer sees the end anyway. */
    }
    stream->closed = true;
    timer_free(stream->timer);
    if (stream->lookup_pending)
        uv_cancel((uv_req_t *)&stream->lookup);
    close_handle(stream);
    stream_free_when_idle(stream);
}

/* --- deadlines --- */

static int64_t earliest(const struct net_stream *stream)
{
    int64_t by_ms = stream->sent_by_ms;
    if (stream->state < STREAM_OPEN)
        by_ms = stream->open_by_ms;
    if (stream->state == STREAM_CONNECT && stream->attempt_by_ms < by_ms)
        by_ms = stream->attempt_by_ms;
    if (stream->state == STREAM_OPEN && stream->awaited_by_ms < by_ms)
        by_ms = stream->awaited_by_ms;
    return by_ms;
}

static void stream_set_timer(struct net_stream *stream)
{
    if (stream->state == STREAM_ENDED || stream->failure.code != ERR_NONE)
        return;
    int64_t by_ms = earliest(stream);
    if (by_ms == AWAITS_NOTHING) {
        timer_stop(stream->timer);
        return;
    }
    timer_start(stream->timer, by_ms - clock_mono_ms(), 0);
}

static const char *kind_text(const struct net_stream *stream)
{
    return stream->unix_path_len > 0 ? "unix" : "tcp";
}

/* read tcp 127.0.0.1:4711->127.0.0.1:6379 */
static void name_ends(const struct net_stream *stream, const char *verb, char out[NAME_TEXT_MAX])
{
    struct sockaddr_storage local = {0};
    char text[NET_ADDRESS_TEXT_MAX] = "?";
    int len = (int)sizeof(local);
    if (stream->unix_path_len > 0) {
        snprintf(out, NAME_TEXT_MAX, "%s unix @->%s", verb, stream->unix_path);
        return;
    }
    if (uv_tcp_getsockname(&stream->uv.tcp, (struct sockaddr *)&local, &len) == 0)
        net_address_text((struct sockaddr *)&local, text);
    snprintf(out, NAME_TEXT_MAX, "%s tcp %s->%s", verb, text, stream->address_text);
}

static void time_out(struct net_stream *stream)
{
    struct err err = {0};
    char ends[NAME_TEXT_MAX];
    if (stream->state == STREAM_LOOKUP) {
        err_set(&err, ERR_TIMEOUT, "dial tcp: lookup %s: i/o timeout", stream->host);
    } else if (stream->state == STREAM_CONNECT) {
        err_set(&err, ERR_TIMEOUT, "dial %s %s: i/o timeout", kind_text(stream),
                stream->unix_path_len > 0 ? stream->unix_path : stream->address_text);
    } else {
        name_ends(stream, stream->sent_by_ms <= clock_mono_ms() ? "write" : "read", ends);
        err_set(&err, ERR_TIMEOUT, "%s: i/o timeout", ends);
    }
    stream_end(stream, &err);
}

static void on_timer(void *ctx)
{
    struct net_stream *stream = ctx;
    int64_t now_ms = clock_mono_ms();
    if (stream->failure.code != ERR_NONE) {
        stream_end(stream, &stream->failure);
        return;
    }
    if (earliest(stream) > now_ms) {
        stream_set_timer(stream); /* libuv's clock is that of the turn's start: a little early. */
        return;
    }
    bool another = stream->state == STREAM_CONNECT && stream->open_by_ms > now_ms &&
                   stream->address_next < stream->address_count;
    if (another)
        close_handle(stream); /* The next address follows when it is closed. */
    else
        time_out(stream);
}

void net_stream_await(struct net_stream *stream, int64_t timeout_ms)
{
    stream->awaited_by_ms = timeout_ms > 0 ? clock_mono_ms() + timeout_ms : AWAITS_NOTHING;
    stream_set_timer(stream);
}

/* --- writing --- */

static void on_written(uv_write_t *request, int status)
{
    struct stream_send *send = CONTAINER_OF(request, struct stream_send, request);
    struct net_stream *stream = send->stream;
    char text[NET_ERRNO_TEXT_MAX], ends[NAME_TEXT_MAX];
    struct err err = {0};
    stream->unsent_bytes -= send->len;
    mem_free(send);
    if (stream->closed || stream->state == STREAM_ENDED)
        return;
    if (status < 0) {
        name_ends(stream, "write", ends);
        err_set(&err, ERR_IO, "%s: write: %s", ends, net_errno_text(status, text));
        stream_end(stream, &err);
        return;
    }
    stream->sent_by_ms =
        stream->unsent_bytes > 0 ? clock_mono_ms() + stream->options.timeout_ms : AWAITS_NOTHING;
    stream_set_timer(stream);
}

/* Sends what is on the wire buffer or the caller's bytes, which are copied. */
static void send_bytes(struct net_stream *stream, struct str bytes)
{
    char text[NET_ERRNO_TEXT_MAX];
    if (bytes.len == 0 || stream->failure.code != ERR_NONE)
        return;
    if (stream->unsent_bytes + bytes.len > stream->options.unsent_bytes_max) {
        err_set(&stream->failure, ERR_LIMIT, "write: the peer does not take what is sent");
        stream_fail_later(stream);
        return;
    }
    struct stream_send *send = mem_alloc(sizeof(*send) + bytes.len);
    send->stream = stream;
    send->len = bytes.len;
    memcpy(send->bytes, bytes.ptr, bytes.len);
    uv_buf_t piece = uv_buf_init(send->bytes, (unsigned)bytes.len);
    int status = uv_write(&send->request, &stream->uv.stream, &piece, 1, on_written);
    if (status < 0) {
        mem_free(send);
        err_set(&stream->failure, ERR_IO, "write: %s", net_errno_text(status, text));
        stream_fail_later(stream);
        return;
    }
    if (stream->unsent_bytes == 0)
        stream->sent_by_ms = clock_mono_ms() + stream->options.timeout_ms;
    stream->unsent_bytes += bytes.len;
    stream_set_timer(stream);
}

void net_stream_write(struct net_stream *stream, struct str bytes)
{
    if (stream->state != STREAM_OPEN || stream->failure.code != ERR_NONE)
        return;
    if (!stream->tls) {
        send_bytes(stream, bytes);
        return;
    }
    buf_clear(&stream->wire);
    if (!tls_write(stream->tls, bytes, &stream->wire, &stream->failure))
        stream_fail_later(stream);
    else
        send_bytes(stream, buf_str(&stream->wire));
}

/* --- reading --- */

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct net_stream *stream = CONTAINER_OF(handle, struct net_stream, uv.handle);
    (void)wanted;
    if (!stream->read_block)
        stream->read_block = mem_alloc(READ_BLOCK_BYTES);
    *out = uv_buf_init(stream->read_block, (unsigned)READ_BLOCK_BYTES);
}

static void stream_opened(struct net_stream *stream)
{
    stream->state = STREAM_OPEN;
    stream_set_timer(stream);
    stream->options.on_open(stream->options.ctx);
}

static void end_of_input(struct net_stream *stream, ssize_t status)
{
    char text[NET_ERRNO_TEXT_MAX], ends[NAME_TEXT_MAX];
    struct err err = {0};
    if (status == UV_EOF) {
        err_set(&err, ERR_IO, "EOF");
    } else {
        name_ends(stream, "read", ends);
        err_set(&err, ERR_IO, "%s: read: %s", ends, net_errno_text((int)status, text));
    }
    stream_end(stream, &err);
}

static void take_tls(struct net_stream *stream, struct str bytes)
{
    struct err err = {0};
    buf_clear(&stream->wire);
    buf_clear(&stream->plain);
    bool good = tls_feed(stream->tls, bytes, &stream->plain, &stream->wire, &err);
    send_bytes(stream, buf_str(&stream->wire));
    if (!good) {
        stream_end(stream, &err);
        return;
    }
    if (stream->state == STREAM_HANDSHAKE && tls_is_open(stream->tls))
        stream_opened(stream);
    if (stream->plain.len > 0 && !stream->closed && stream->state == STREAM_OPEN)
        stream->options.on_bytes(stream->options.ctx, buf_str(&stream->plain));
    if (tls_has_end(stream->tls) && !stream->closed && stream->state == STREAM_OPEN)
        end_of_input(stream, UV_EOF);
}

static void on_read(uv_stream_t *handle, ssize_t len, const uv_buf_t *block)
{
    struct net_stream *stream = CONTAINER_OF(handle, struct net_stream, uv.stream);
    if (len == 0 || stream->closed || stream->state == STREAM_ENDED)
        return;
    if (len < 0) {
        end_of_input(stream, len);
        return;
    }
    struct str bytes = {block->base, (size_t)len};
    /* The callbacks may close the stream, whose memory must stay until we are out of it. */
    ENSURE(stream->handle_live);
    if (stream->tls)
        take_tls(stream, bytes);
    else
        stream->options.on_bytes(stream->options.ctx, bytes);
}

/* --- connecting --- */

static void start_session(struct net_stream *stream)
{
    struct err err = {0};
    uv_read_start(&stream->uv.stream, on_room, on_read);
    if (!stream->tls_context) {
        stream_opened(stream);
        return;
    }
    const char *name = stream->server_name[0] != '\0' ? stream->server_name : stream->host;
    stream->state = STREAM_HANDSHAKE;
    buf_clear(&stream->wire);
    if (!tls_new(&stream->tls, stream->tls_context, str_of(name), &err) ||
        !tls_handshake(stream->tls, &stream->wire, &err)) {
        stream_end(stream, &err);
        return;
    }
    stream_set_timer(stream);
    send_bytes(stream, buf_str(&stream->wire));
}

static void dial_failed(struct net_stream *stream, int status, struct err *err)
{
    char text[NET_ERRNO_TEXT_MAX];
    err_set(err, ERR_IO, "dial %s %s: connect: %s", kind_text(stream),
            stream->unix_path_len > 0 ? stream->unix_path : stream->address_text,
            net_errno_text(status, text));
}

static void on_connected(uv_connect_t *request, int status)
{
    struct net_stream *stream = CONTAINER_OF(request, struct net_stream, connect);
    struct err err = {0};
    if (stream->closed || stream->state == STREAM_ENDED || uv_is_closing(&stream->uv.handle))
        return;
    if (status == 0) {
        start_session(stream);
        return;
    }
    if (stream->address_next < stream->address_count) {
        close_handle(stream);
        return;
    }
    dial_failed(stream, status, &err);
    stream_end(stream, &err);
}

/* An even share of the time for each address that is left, but not less than what a SYN needs. */
static void share_time(struct net_stream *stream)
{
    int64_t now_ms = clock_mono_ms(), left_ms = stream->open_by_ms - now_ms;
    int64_t share_ms = left_ms / (int64_t)(stream->address_count - stream->address_next + 1);
    stream->attempt_by_ms = now_ms + (share_ms > ATTEMPT_MS_MIN ? share_ms : ATTEMPT_MS_MIN);
    if (stream->attempt_by_ms > stream->open_by_ms)
        stream->attempt_by_ms = stream->open_by_ms;
}

static void stream_connect_next(struct net_stream *stream)
{
    ENSURE(stream->address_next < stream->address_count && !stream->handle_live);
    const struct sockaddr *address =
        (const struct sockaddr *)&stream->addresses[stream->address_next++];
    stream->state = STREAM_CONNECT;
    net_address_text(address, stream->address_text);
    ENSURE(uv_tcp_init(stream->loop, &stream->uv.tcp) == 0);
    stream->handle_live = true;
    share_time(stream);
    stream_set_timer(stream);
    uv_tcp_nodelay(&stream->uv.tcp, 1);
    int status = uv_tcp_connect(&stream->connect, &stream->uv.tcp, address, on_connected);
    if (status == 0)
        return;
    if (stream->address_next < stream->address_count) {
        close_handle(stream);
        return;
    }
    dial_failed(stream, status, &stream->failure);
    stream_fail_later(stream);
}

static void connect_unix(struct net_stream *stream)
{
    struct str path = stream->options.unix_path;
    stream->state = STREAM_CONNECT;
    stream->attempt_by_ms = stream->open_by_ms;
    if (path.len > UNIX_PATH_BYTES_MAX || memchr(path.ptr, '\0', path.len)) {
        err_set(&stream->failure, ERR_BAD_DATA, "dial unix " STR_FMT ": invalid argument",
                STR_ARG(str_first(path, UNIX_PATH_BYTES_MAX)));
        stream_fail_later(stream);
        return;
    }
    ENSURE(uv_pipe_init(stream->loop, &stream->uv.pipe, 0) == 0);
    stream->handle_live = true;
    stream_set_timer(stream);
    char name[UNIX_PATH_BYTES_MAX + 1];
    memcpy(name, stream->unix_path, sizeof(name));
    uv_pipe_connect(&stream->connect, &stream->uv.pipe, name, on_connected);
}

/* --- looking up --- */

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct net_stream *stream = CONTAINER_OF(request, struct net_stream, lookup);
    struct err err = {0};
    stream->lookup_pending = false;
    stream->busy++;
    for (struct addrinfo *at = found;
         at && status == 0 && stream->address_count < ADDRESS_COUNT_MAX; at = at->ai_next) {
        if (at->ai_addrlen <= sizeof(stream->addresses[0]))
            memcpy(&stream->addresses[stream->address_count++], at->ai_addr, at->ai_addrlen);
    }
    uv_freeaddrinfo(found);
    if (!stream->closed && stream->state == STREAM_LOOKUP && stream->address_count > 0) {
        stream_connect_next(stream);
    } else if (!stream->closed && stream->state == STREAM_LOOKUP) {
        bool unknown = status == 0 || status == UV_EAI_NONAME || status == UV_EAI_NODATA;
        err_set(&err, ERR_IO, "dial tcp: lookup %s: %s", stream->host,
                unknown ? "no such host" : uv_strerror(status));
        stream_end(stream, &err);
    }
    stream->busy--;
    stream_free_when_idle(stream);
}

static bool take_address(struct net_stream *stream)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&stream->addresses[0];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&stream->addresses[0];
    if (uv_ip4_addr(stream->host, stream->options.port, v4) != 0 &&
        uv_ip6_addr(stream->host, stream->options.port, v6) != 0)
        return false;
    stream->address_count = 1;
    return true;
}

static void look_up(struct net_stream *stream)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    if (stream->host[0] == '\0') {
        err_set(&stream->failure, ERR_BAD_DATA, "dial tcp: lookup: no such host");
        stream_fail_later(stream);
        return;
    }
    if (take_address(stream)) {
        stream_connect_next(stream);
        return;
    }
    snprintf(port, sizeof(port), "%u", stream->options.port);
    stream_set_timer(stream);
    int status =
        uv_getaddrinfo(stream->loop, &stream->lookup, on_looked_up, stream->host, port, &hints);
    stream->lookup_pending = status == 0;
    if (status != 0) {
        err_set(&stream->failure, ERR_IO, "dial tcp: lookup %s: no such host", stream->host);
        stream_fail_later(stream);
    }
}

static void copy_name(char out[NAME_TEXT_MAX], struct str name)
{
    if (name.len > 0 && name.len < NAME_TEXT_MAX && !memchr(name.ptr, '\0', name.len))
        memcpy(out, name.ptr, name.len);
}

struct net_stream *net_stream_open(struct uv_loop_s *loop, const struct net_stream_options *options)
{
    struct net_stream *stream = MEM_NEW(struct net_stream);
    ENSURE(options->on_open && options->on_bytes && options->on_end && options->timeout_ms > 0);
    stream->loop = loop;
    stream->options = *options;
    if (options->unsent_bytes_max == 0)
        stream->options.unsent_bytes_max = UNSENT_BYTES_MAX;
    copy_name(stream->host, options->host);
    copy_name(stream->server_name, options->server_name);
    stream->unix_path_len = options->unix_path.len;
    struct str path = str_first(options->unix_path, UNIX_PATH_BYTES_MAX);
    if (path.len > 0)
        memcpy(stream->unix_path, path.ptr, path.len);
    stream->tls_context = options->tls ? tls_context_ref(options->tls) : NULL;
    buf_init(&stream->plain, PLAIN_BYTES_MAX);
    buf_init(&stream->wire, stream->options.unsent_bytes_max + PLAIN_BYTES_MAX);
    stream->timer = timer_new(loop, on_timer, stream);
    stream->open_by_ms = clock_mono_ms() + options->timeout_ms;
    stream->attempt_by_ms = stream->sent_by_ms = stream->awaited_by_ms = AWAITS_NOTHING;
    if (options->unix_path.len > 0)
        connect_unix(stream);
    else
        look_up(stream);
    return stream;
}
