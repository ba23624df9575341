/* http_direct: requests over the connections of http_direct_pool.c.
 *
 *   direct_start takes an idle connection, or direct_run dials one; then the answer comes
 *
 * No call is needed but one send and one receive: no poll is set up or taken down. What comes while
 * a request is paused waits in `held`, at most what one read brings, since reading stops then.
 *
 * A server may close an idle connection just when we use it: a request that fails on a used
 * connection before a byte of its answer is tried once more on a new one. */
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http_bad_head.h"
#include "http_direct_private.h"
#include "net_text.h"

struct direct_write {
    uv_write_t request;
    struct direct_connection *connection;
    char bytes[];
};

static void direct_end(struct direct *direct, enum direct_end end);

/* --- ends --- */

void direct_fail(struct direct *direct, enum fetch_failure failure, int errno_value)
{
    direct->failure = failure;
    direct->errno_value = errno_value;
    direct_end(direct, DIRECT_FAILED);
}

/* Both ends, as Go names a connection that breaks. */
static void note_both_ends(struct direct *direct)
{
    struct sockaddr_storage local, remote;
    int local_len = (int)sizeof(local), remote_len = (int)sizeof(remote);
    char from[NET_ADDRESS_TEXT_MAX], to[NET_ADDRESS_TEXT_MAX];
    const uv_tcp_t *tcp = &direct->connection->tcp;

    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&local, &local_len) != 0)
        return;
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&remote, &remote_len) == 0)
        net_address_text((struct sockaddr *)&remote, to);
    else if (direct->address[0] != '\0' && strlen(direct->address) < sizeof(to))
        memcpy(to, direct->address, strlen(direct->address) + 1); /* A reset has forgotten it. */
    else
        return;
    (void)snprintf(direct->address, sizeof(direct->address), "%s->%s",
                   net_address_text((struct sockaddr *)&local, from), to);
}

/* The connection is of no use any more. */
void direct_drop_connection(struct direct *direct)
{
    if (direct->connection)
        connection_close(direct->connection);
    direct->connection = NULL;
}

static void direct_end(struct direct *direct, enum direct_end end)
{
    struct direct_pool *pool = direct->pool;

    if (end == DIRECT_WELL && direct->keep)
        connection_keep(direct->connection);
    else
        direct_drop_connection(direct);
    direct->connection = NULL;
    if (end == DIRECT_ASK_CURL && direct->odd)
        direct_pool_note_odd(pool, direct->request.url);
    pool->events.on_end(direct->ctx, end);
}

/* A used connection that was closed meanwhile. False: that is not what has happened. */
static bool direct_retry(struct direct *direct)
{
    if (!direct->reused || direct->answer.any || direct->retried)
        return false;
    direct->retried = true;
    direct->reused = false;
    direct_drop_connection(direct);
    direct_dial(direct);
    return true;
}

void direct_break(struct direct *direct, enum fetch_failure failure, int code)
{
    if (direct_retry(direct))
        return;
    note_both_ends(direct);
    direct_fail(direct, failure, -code);
}

/* --- the answer --- */

static bool is_redirect(const struct direct *direct)
{
    int status = direct->answer.status;
    bool leads = (status >= 301 && status <= 303) || status == 307 || status == 308;

    return leads && direct->follow_redirects &&
           http_answer_get(&direct->answer, HTTP_ANSWER_LOCATION).len > 0;
}

static bool on_head(void *ctx)
{
    struct direct *direct = ctx;

    if (is_redirect(direct)) {
        direct->odd = true;
        return false;
    }
    struct http_fetch_head head = {
        .status = direct->answer.status,
        .content_type = http_answer_get(&direct->answer, HTTP_ANSWER_CONTENT_TYPE),
        .content_encoding = http_answer_get(&direct->answer, HTTP_ANSWER_CONTENT_ENCODING),
        .reason = http_answer_get(&direct->answer, HTTP_ANSWER_REASON),
    };
    direct->head_told = true;
    direct->refused = !direct->pool->events.on_head(direct->ctx, &head);
    return !direct->refused;
}

static bool on_body(void *ctx, struct str bytes)
{
    struct direct *direct = ctx;

    if (direct->paused) {
        buf_add_str(&direct->held, bytes);
        return true;
    }
    direct->refused = !direct->pool->events.on_bytes(direct->ctx, bytes);
    return !direct->refused;
}

/* What the server says is not HTTP: TLS, say. `first` are its first bytes. */
static bool direct_check_protocol(struct direct *direct, struct str first)
{
    struct buf text;
    struct str rest;

    if (str_starts(first, str_first(STR("HTTP/"), first.len)))
        return true;
    struct str line = str_first(str_cut(first, '\n', &rest), BAD_LINE_SHOWN);
    if (str_ends(line, STR("\r")))
        line.len--;
    buf_init(&text, sizeof(direct->failure_text) - 1);
    BUF_ADD(&text, "net/http: HTTP/1.x transport connection broken: malformed HTTP response ");
    buf_add_go_quoted(&text, line);
    memcpy(direct->failure_text, text.ptr, text.len);
    direct->failure_text[text.len] = '\0';
    buf_deinit(&text);
    direct_fail(direct, FETCH_OTHER, 0);
    return false;
}

static void direct_go_bad(struct direct *direct)
{
    if (direct->refused) {
        direct_end(direct, DIRECT_REFUSED);
    } else if (!direct->head_told) {
        direct->odd = true;
        direct_end(direct, DIRECT_ASK_CURL);
    } else {
        (void)snprintf(direct->failure_text, sizeof(direct->failure_text), "%s",
                       direct->answer.bad_chunk_size ? "invalid byte in chunk length"
                                                     : "malformed chunked encoding");
        direct_fail(direct, FETCH_OTHER, 0);
    }
}

/* After some bytes, or after a pause. */
static void direct_go_on(struct direct *direct)
{
    if (direct->answer.state == HTTP_ANSWER_BAD) {
        direct_go_bad(direct);
    } else if (direct->paused) {
        uv_read_stop((uv_stream_t *)&direct->connection->tcp);
    } else if (direct->complete) {
        direct_end(direct, DIRECT_WELL);
    } else if (!connection_read(direct->connection)) {
        direct_fail(direct, FETCH_RECEIVE, 0);
    }
}

/* A head that Go has words for. False: curl may read it. */
static bool direct_fail_head(struct direct *direct, struct str bytes)
{
    struct buf text;

    buf_init(&text, sizeof(direct->failure_text) - 1);
    bool told = http_bad_head_tell(&text, bytes);
    (void)snprintf(direct->failure_text, sizeof(direct->failure_text), STR_FMT,
                   STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    if (told)
        direct_fail(direct, FETCH_OTHER, 0);
    return told;
}

static void direct_take(struct direct *direct, struct str bytes)
{
    struct http_answer *answer = &direct->answer;

    if (direct->complete) {
        direct->keep = false; /* More than it said. */
        return;
    }
    if (!answer->any && !direct_check_protocol(direct, bytes))
        return;
    bool first = !answer->any;
    size_t taken = http_answer_feed(answer, bytes);
    if (first && answer->state == HTTP_ANSWER_BAD && !direct->head_told && !direct->refused &&
        direct_fail_head(direct, bytes))
        return;
    if (answer->state == HTTP_ANSWER_DONE) {
        direct->complete = true;
        direct->keep = answer->keep_alive && taken == bytes.len && !direct->connection->writing;
    }
    direct_go_on(direct);
}

static void direct_take_end(struct direct *direct)
{
    struct http_answer *answer = &direct->answer;

    if (direct->complete) {
        direct->keep = false;
        return;
    }
    if (!answer->any) {
        if (!direct_retry(direct))
            direct_fail(direct, FETCH_EMPTY_ANSWER, 0);
        return;
    }
    http_answer_finish(answer);
    if (answer->state == HTTP_ANSWER_DONE) {
        direct->complete = true;
        direct_go_on(direct);
        return;
    }
    if (direct->refused) {
        direct_end(direct, DIRECT_REFUSED);
        return;
    }
    (void)snprintf(direct->failure_text, sizeof(direct->failure_text), "%s",
                   "net/http: HTTP/1.x transport connection broken: unexpected EOF");
    direct_fail(direct, direct->head_told ? FETCH_CUT_SHORT : FETCH_OTHER, 0);
}

void connection_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct direct_connection *connection =
        CONTAINER_OF((uv_tcp_t *)(void *)stream, struct direct_connection, tcp);
    struct direct_pool *pool = connection->pool;
    struct direct *direct = connection->direct;

    if (len == 0)
        return;
    if (!direct) { /* Idle: it says goodbye, or something that nobody asked for. */
        connection_close(connection);
        return;
    }
    pool->events.enter(pool->events.pool_ctx);
    if (len > 0)
        direct_take(direct, str_from(buf->base, (size_t)len));
    else if (len == UV_EOF)
        direct_take_end(direct);
    else
        direct_break(direct, FETCH_RECEIVE, (int)len);
    pool->events.leave(pool->events.pool_ctx);
}

/* --- the request --- */

static void on_written(uv_write_t *request, int status)
{
    struct direct_write *write = CONTAINER_OF(request, struct direct_write, request);
    struct direct_connection *connection = write->connection;
    struct direct_pool *pool = connection->pool;

    mem_free(write);
    connection->writing = false;
    if (status == 0 || !connection->direct || connection->closing)
        return;
    pool->events.enter(pool->events.pool_ctx);
    direct_break(connection->direct, FETCH_SEND, status);
    pool->events.leave(pool->events.pool_ctx);
}

/* False: *code says why the connection takes nothing. */
static bool connection_send(struct direct_connection *connection, struct str bytes, int *code)
{
    uv_buf_t buf = {.base = (char *)(uintptr_t)bytes.ptr, .len = bytes.len};
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;

    *code = uv_try_write(stream, &buf, 1);
    if (*code == UV_EAGAIN)
        *code = 0;
    if (*code < 0)
        return false;
    bytes = str_after(bytes, (size_t)*code);
    if (bytes.len == 0)
        return true;
    struct direct_write *write = mem_alloc(sizeof(*write) + bytes.len);
    write->connection = connection;
    memcpy(write->bytes, bytes.ptr, bytes.len);
    buf = uv_buf_init(write->bytes, (unsigned)bytes.len);
    *code = uv_write(&write->request, stream, &buf, 1, on_written);
    connection->writing = *code == 0;
    if (*code != 0)
        mem_free(write);
    return *code == 0;
}

/* False: *code, and the request has no connection any more. */
bool direct_send(struct direct *direct, int *code)
{
    struct direct_connection *connection = direct->connection;

    if (connection_read(connection) && connection_send(connection, direct->request.wire, code)) {
        direct_arm(direct);
        return true;
    }
    return false;
}

/* --- from outside --- */

struct direct *direct_new(struct direct_pool *pool, const struct http_fetch_options *options,
                          void *ctx)
{
    struct direct_request request;

    if (!direct_request_build(&request, options))
        return NULL;
    if (direct_pool_is_odd(pool, request.url)) {
        direct_request_deinit(&request);
        return NULL;
    }
    struct direct *direct = mem_alloc(sizeof(*direct));
    memset(direct, 0, offsetof(struct direct, failure_text));
    direct->failure_text[0] = direct->address[0] = '\0';
    direct->pool = pool;
    direct->ctx = ctx;
    direct->dialer = options->dialer;
    direct->request = request;
    direct->timeout_ms = options->timeout_ms;
    if (options->timeout_ms > 0)
        direct->deadline_ms = clock_mono_ms() + options->timeout_ms;
    direct->follow_redirects = options->follow_redirects;
    direct->insecure_skip_verify = options->insecure_skip_verify;
    direct->http1_only = options->http1_only;
    buf_init(&direct->held, DIRECT_READ_BYTES);
    http_answer_init(&direct->answer);
    direct->answer.on_head = on_head;
    direct->answer.on_body = on_body;
    direct->answer.ctx = direct;
    return direct;
}

bool direct_start(struct direct *direct)
{
    struct str authority = direct->request.authority;
    int code = 0;

    struct direct_connection *connection =
        pool_take_idle(direct->pool, authority, hash64(authority));
    if (!connection)
        return false;
    connection->direct = direct;
    direct->connection = connection;
    direct->reused = true;
    if (direct_send(direct, &code))
        return true;
    direct_drop_connection(direct);
    return false;
}

void direct_run(struct direct *direct)
{
    if (!direct->connection) {
        direct->reused = false;
        direct_dial(direct);
        return;
    }
    if (!direct->paused)
        return;
    direct->paused = false;
    if (direct->held.len > 0) {
        struct buf held = direct->held;
        buf_init(&direct->held, DIRECT_READ_BYTES);
        direct->refused = !direct->pool->events.on_bytes(direct->ctx, buf_str(&held));
        buf_deinit(&held);
        if (direct->refused) {
            direct_end(direct, DIRECT_REFUSED);
            return;
        }
    }
    direct_go_on(direct);
}

void direct_pause(struct direct *direct)
{
    direct->paused = true;
}

void direct_free(struct direct *direct)
{
    if (!direct)
        return;
    direct_drop_connection(direct);
    direct_request_deinit(&direct->request);
    http_answer_deinit(&direct->answer);
    buf_deinit(&direct->held);
    mem_free(direct->addresses);
    mem_free(direct);
}

struct str *direct_options(const struct direct *direct, struct http_fetch_options *out)
{
    const struct direct_request *request = &direct->request;
    size_t count = request->public_lines + request->private_lines;
    struct str *lines = mem_alloc_array(count ? count : 1, sizeof(*lines));
    int64_t left = direct_time_left_ms(direct);

    direct_request_lines(request, lines);
    *out = (struct http_fetch_options){
        .url = request->url,
        .headers = lines,
        .header_count = request->public_lines,
        .private_headers = lines + request->public_lines,
        .private_header_count = request->private_lines,
        .timeout_ms = direct->timeout_ms > 0 ? (left > 0 ? left : 1) : 0,
        .follow_redirects = direct->follow_redirects,
        .http1_only = direct->http1_only,
        .insecure_skip_verify = direct->insecure_skip_verify,
        .dialer = direct->dialer,
    };
    return lines;
}

void direct_failure(const struct direct *direct, struct fetch_failure_facts *out)
{
    *out = (struct fetch_failure_facts){
        .failure = direct->failure,
        .method = STR("GET"),
        .url = direct->request.url,
        .host = direct->request.host,
        .address = direct->address,
        .errno_value = direct->errno_value,
        .text = direct->failure_text,
        .proxy_reason = "",
        .head_seen = direct->head_told,
    };
}
