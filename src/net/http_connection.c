/* http_connection: reads, parses, hands to the handler and writes back, one request at a time.
 *
 *   on_read -> connection_take (parser) -> connection_begin_work -> handler ... http_reply
 *           -> connection_write -> on_written -> connection_advance (what was read ahead) -> ...
 *
 * While a request is in work or its answer is on the way, reading goes on only until
 * READ_AHEAD_BYTES wait: that is how we see that the client is gone, and what bounds a pipeline. A
 * client that has only closed its sending side still gets its answer, but on_gone is called, since
 * the two look the same from here.
 *
 * The one timer means, by state: reading: request or idle time; writing: no progress; lingering:
 * the end. Lingering (we have closed our sending side and drop what comes) keeps a late byte of the
 * client from turning into a reset that would destroy the answer on its way.
 *
 * With TLS, bytes pass through http_tls in both directions; what it wants to send waits in its wire
 * buffer for the one write that is under way. A handshake has HANDSHAKE_MS. */
#include "http_connection.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "http_parse.h"
#include "http_reply.h"
#include "http_request.h"
#include "http_tls.h"
#include "net_text.h"

#define READ_AHEAD_BYTES (16 * 1024)
#define LINGER_MS        500
#define CONTINUE         "HTTP/1.1 100 Continue\r\n\r\n"
#define HANDSHAKE_MS     10000
#define BODY_GRACE_MS    30000 /* A body may be long: who sends one is idle so much later. */
/* Of a read: what it decrypts to may have waited for its end in an earlier one. */
#define READ_PLAIN_BYTES (HTTP_READ_BYTES + 32 * 1024)

enum connection_state {
    CONNECTION_READING,
    CONNECTION_WORKING,
    CONNECTION_WRITING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSING,
};

struct http_exchange {
    struct http_connection *connection; /* NULL once the connection is gone. */
    struct arena arena;
    struct http_request request;
    struct buf body;
    http_gone_fn gone_fn;
    void *gone_ctx;
    struct exchange_header *more_headers; /* In the arena, in their order. */
};

struct exchange_header {
    struct exchange_header *next;
    struct http_header header;
};

struct http_connection {
    struct list_node node; /* In server->connections. */
    struct http_server *server;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    unsigned handles_open;
    enum connection_state state;
    int64_t reading_since_ms; /* On the loop's clock. */
    bool is_reading;          /* uv_read_start is on. */
    bool saw_eof;
    bool write_pending;
    bool sent_continue;
    bool last_answer; /* Close after it. */
    struct http_parse parse;
    struct buf ahead; /* Read and not parsed yet, from ahead_at on. */
    size_t ahead_at;
    struct http_exchange *exchange; /* While working. */
    struct buf head, body;          /* While writing. */
    size_t write_left;              /* At the timer's last look. */
    struct http_tls secure;         /* Its session is NULL on a plain connection. */
    char remote[NET_ADDRESS_TEXT_MAX];
};

static void connection_advance(struct http_connection *connection);
static void connection_close(struct http_connection *connection);

struct http_connection *http_connection_of_node(struct list_node *node)
{
    return CONTAINER_OF(node, struct http_connection, node);
}

static uv_stream_t *stream_of(struct http_connection *connection)
{
    return (uv_stream_t *)&connection->tcp;
}

static struct str ahead_left(const struct http_connection *connection)
{
    return str_after(buf_str(&connection->ahead), connection->ahead_at);
}

/* --- state and timer --- */

static void on_timer(uv_timer_t *timer);

static void timer_set(struct http_connection *connection, int64_t delay_ms, int64_t repeat_ms)
{
    uv_timer_start(&connection->timer, on_timer, (uint64_t)delay_ms, (uint64_t)repeat_ms);
}

static bool in_handshake(const struct http_connection *connection)
{
    return connection->secure.tls && !tls_is_open(connection->secure.tls);
}

static int64_t reading_ms(const struct http_connection *connection)
{
    int64_t timeout_ms = connection->server->options.read_timeout_ms;
    return in_handshake(connection) && timeout_ms > HANDSHAKE_MS ? HANDSHAKE_MS : timeout_ms;
}

static void connection_set_state(struct http_connection *connection, enum connection_state state)
{
    const struct http_server_options *options = &connection->server->options;
    ENSURE(connection->state != CONNECTION_CLOSING);
    connection->state = state;
    switch (state) {
    case CONNECTION_READING:
        connection->reading_since_ms = (int64_t)uv_now(connection->server->loop);
        timer_set(connection, reading_ms(connection), 0);
        break;
    case CONNECTION_WORKING:
    case CONNECTION_CLOSING:
        uv_timer_stop(&connection->timer);
        break;
    case CONNECTION_WRITING:
        timer_set(connection, options->write_timeout_ms, options->write_timeout_ms);
        break;
    case CONNECTION_LINGERING:
        timer_set(connection, LINGER_MS, 0);
        break;
    }
}

/* --- writing --- */

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request; /* Lingering ends with the client's own end, or with the timer. */
    (void)status;
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes);
static void on_read_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out);

static void connection_start_reading(struct http_connection *connection)
{
    if (connection->is_reading || connection->saw_eof)
        return;
    connection->is_reading = true;
    if (uv_read_start(stream_of(connection), on_read_buffer, on_read) != 0)
        connection_close(connection);
}

static void connection_stop_reading(struct http_connection *connection)
{
    connection->is_reading = false;
    uv_read_stop(stream_of(connection));
}

static void connection_flush(struct http_connection *connection);

static void connection_linger(struct http_connection *connection)
{
    if (connection->secure.tls) {
        tls_close(connection->secure.tls, &connection->secure.wire);
        connection_flush(connection);
    }
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (connection->saw_eof ||
        uv_shutdown(&connection->shutdown, stream_of(connection), on_shutdown) != 0) {
        connection_close(connection);
        return;
    }
    buf_deinit(&connection->ahead);
    connection_set_state(connection, CONNECTION_LINGERING);
    connection_start_reading(connection);
}

/* The answer is out. */
static void connection_answered(struct http_connection *connection)
{
    buf_deinit(&connection->head);
    buf_deinit(&connection->body);
    if (connection->last_answer || connection->server->closing) {
        connection_linger(connection);
        return;
    }
    http_parse_next(&connection->parse);
    connection->sent_continue = false;
    connection_set_state(connection, CONNECTION_READING);
    connection_advance(connection);
}

static void on_written(uv_write_t *request, int status)
{
    struct http_connection *connection = CONTAINER_OF(request, struct http_connection, write);
    connection->write_pending = false;
    if (connection->state == CONNECTION_CLOSING)
        return;
    ENSURE(connection->state == CONNECTION_WRITING);
    if (status < 0)
        connection_close(connection);
    else
        connection_answered(connection);
}

static void connection_write_plain(struct http_connection *connection)
{
    const uv_buf_t bufs[2] = {
        {.base = connection->head.ptr, .len = connection->head.len},
        {.base = connection->body.ptr, .len = connection->body.len},
    };
    ENSURE(!connection->write_pending);
    unsigned buf_count = connection->body.len > 0 ? 2 : 1;
    if (uv_write(&connection->write, stream_of(connection), bufs, buf_count, on_written) != 0) {
        connection_close(connection);
        return;
    }
    connection->write_pending = true;
    connection->write_left = uv_stream_get_write_queue_size(stream_of(connection));
}

/* --- writing through TLS: pieces of the answer, and what the protocol itself has to say --- */

static bool answer_is_encrypted(const struct http_connection *connection)
{
    return connection->secure.answer_at >= connection->head.len + connection->body.len;
}

static void on_piece_written(uv_write_t *request, int status)
{
    struct http_connection *connection = CONTAINER_OF(request, struct http_connection, write);
    struct http_tls *secure = &connection->secure;
    struct err err;
    connection->write_pending = false;
    buf_deinit(&secure->sending);
    if (connection->state == CONNECTION_CLOSING)
        return;
    bool is_answering = connection->state == CONNECTION_WRITING;
    bool good = status >= 0;
    if (good && is_answering && !answer_is_encrypted(connection))
        good =
            http_tls_encrypt(secure, buf_str(&connection->head), buf_str(&connection->body), &err);
    if (!good)
        connection_close(connection);
    else if (secure->wire.len > 0)
        connection_flush(connection);
    else if (is_answering)
        connection_answered(connection);
}

static void connection_flush(struct http_connection *connection)
{
    struct http_tls *secure = &connection->secure;
    if (connection->write_pending || secure->wire.len == 0)
        return;
    buf_swap(&secure->wire, &secure->sending);
    uv_buf_t bytes = {.base = secure->sending.ptr, .len = secure->sending.len};
    if (uv_write(&connection->write, stream_of(connection), &bytes, 1, on_piece_written) != 0) {
        connection_close(connection);
        return;
    }
    connection->write_pending = true;
    if (connection->state != CONNECTION_WRITING)
        return;
    /* Each piece that goes out is progress. */
    timer_set(connection, connection->server->options.write_timeout_ms,
              connection->server->options.write_timeout_ms);
    connection->write_left = uv_stream_get_write_queue_size(stream_of(connection));
}

static void connection_write_secure(struct http_connection *connection)
{
    struct err err;
    connection->secure.answer_at = 0;
    if (http_tls_encrypt(&connection->secure, buf_str(&connection->head),
                         buf_str(&connection->body), &err))
        connection_flush(connection);
    else
        connection_close(connection);
}

/* Takes what is in head and body. */
static void connection_write(struct http_connection *connection)
{
    connection_set_state(connection, CONNECTION_WRITING);
    if (connection->secure.tls)
        connection_write_secure(connection);
    else
        connection_write_plain(connection);
}

/* Sends what is on the wire buffer, then ends. */
static void connection_write_last(struct http_connection *connection)
{
    if (connection->state != CONNECTION_READING || connection->secure.wire.len == 0) {
        connection_close(connection);
        return;
    }
    connection->last_answer = true;
    connection_set_state(connection, CONNECTION_WRITING);
    connection_flush(connection);
}

/* The server's own answer to what is no request that a handler could see. */
static void connection_refuse(struct http_connection *connection, int status, const char *why)
{
    struct http_response response = {
        .status = status,
        .content_type = "text/plain; charset=utf-8",
        .no_compression = true,
    };
    struct http_reply_form form = {.version_minor = 1};
    buf_init(&connection->body, 1024);
    buf_addf(&connection->body, "%d %s", status, http_status_text(status));
    if (why)
        buf_addf(&connection->body, ": %s", why);
    http_reply_build(&form, &response, &connection->head, &connection->body);
    connection->last_answer = true;
    connection_write(connection);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, timer);
    if (connection->state == CONNECTION_READING && connection->parse.state != HTTP_PARSE_IDLE) {
        connection_refuse(connection, 408, NULL);
        return;
    }
    if (connection->state == CONNECTION_WRITING) {
        size_t left = uv_stream_get_write_queue_size(stream_of(connection));
        if (left < connection->write_left) {
            connection->write_left = left;
            return;
        }
    }
    connection_close(connection);
}

/* --- the exchange --- */

static void exchange_free(struct http_exchange *exchange)
{
    buf_deinit(&exchange->body);
    arena_deinit(&exchange->arena);
    mem_free(exchange);
}

static void exchange_tell_gone(struct http_exchange *exchange)
{
    http_gone_fn fn = exchange->gone_fn;
    exchange->gone_fn = NULL;
    if (fn)
        fn(exchange->gone_ctx);
}

static void connection_begin_work(struct http_connection *connection)
{
    struct http_exchange *exchange = MEM_NEW(struct http_exchange);
    struct err err;
    arena_init(&exchange->arena, 0);
    exchange->request.arena = &exchange->arena;
    if (!http_request_build(&connection->parse, &exchange->request, &err)) {
        exchange_free(exchange);
        connection_refuse(connection, 400, err.text);
        return;
    }
    exchange->body = connection->parse.body;
    buf_init(&connection->parse.body, exchange->body.len_max);
    exchange->connection = connection;
    exchange->request.body = buf_str(&exchange->body);
    exchange->request.remote_address = arena_str(&exchange->arena, str_of(connection->remote));
    connection->exchange = exchange;
    connection_set_state(connection, CONNECTION_WORKING);
    connection->server->options.handler(connection->server->options.ctx, exchange);
}

struct tls *http_exchange_tls(const struct http_exchange *exchange)
{
    return exchange->connection ? exchange->connection->secure.tls : NULL;
}

void http_exchange_add_header(struct http_exchange *exchange, struct str name, struct str value)
{
    struct exchange_header *added = ARENA_NEW(&exchange->arena, struct exchange_header);
    struct exchange_header **at = &exchange->more_headers;
    added->header.name = arena_str(&exchange->arena, name);
    added->header.value = arena_str(&exchange->arena, value);
    while (*at)
        at = &(*at)->next;
    *at = added;
}

/* Those of the exchange, then those of the response. */
static void exchange_join_headers(struct http_exchange *exchange, struct http_response *response)
{
    size_t count = 0;
    if (!exchange->more_headers)
        return;
    for (struct exchange_header *at = exchange->more_headers; at; at = at->next)
        count++;
    struct http_header *all =
        arena_alloc_array(&exchange->arena, count + response->header_count, sizeof(*all));
    count = 0;
    for (struct exchange_header *at = exchange->more_headers; at; at = at->next)
        all[count++] = at->header;
    for (size_t i = 0; i < response->header_count; i++)
        all[count++] = response->headers[i];
    response->headers = all;
    response->header_count = count;
}

const struct http_request *http_exchange_request(const struct http_exchange *exchange)
{
    return &exchange->request;
}

void http_exchange_on_gone(struct http_exchange *exchange, http_gone_fn fn, void *ctx)
{
    exchange->gone_fn = fn;
    exchange->gone_ctx = ctx;
}

void http_reply(struct http_exchange *exchange, const struct http_response *response,
                struct buf *body)
{
    struct http_connection *connection = exchange->connection;
    if (!connection) {
        buf_deinit(body);
        exchange_free(exchange);
        return;
    }
    ENSURE(connection->state == CONNECTION_WORKING && connection->exchange == exchange);
    struct http_reply_form form = {
        .is_head = exchange->request.method == HTTP_HEAD,
        .keep_alive = connection->parse.keep_alive && !connection->server->closing,
        .version_minor = connection->parse.version_minor,
        .accept_encoding = http_request_header(&exchange->request, "Accept-Encoding"),
    };
    buf_init(&connection->body, 0);
    if (body) {
        connection->body = *body;
        buf_init(body, body->len_max);
    }
    struct http_response whole = *response;
    exchange_join_headers(exchange, &whole);
    http_reply_build(&form, &whole, &connection->head, &connection->body);
    connection->last_answer = !form.keep_alive;
    connection->exchange = NULL;
    exchange_free(exchange);
    connection_write(connection);
}

void http_reply_text(struct http_exchange *exchange, int status, const char *text)
{
    struct http_response response = {.status = status, .content_type = "text/plain; charset=utf-8"};
    struct str bytes = str_of(text);
    struct buf body;
    buf_init(&body, bytes.len);
    buf_add_str(&body, bytes);
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

/* --- reading --- */

static void connection_send_continue(struct http_connection *connection)
{
    if (!connection->parse.expect_continue || connection->sent_continue ||
        connection->parse.state != HTTP_PARSE_BODY)
        return;
    static char text[] = CONTINUE;
    uv_buf_t bytes = {.base = text, .len = sizeof(text) - 1};
    connection->sent_continue = true;
    /* Nothing else is queued, so this goes out whole; a client that does not get it sends its body
     * all the same after a while, or runs into the read timeout. */
    if (connection->parse.body.len > 0)
        return;
    struct err err;
    if (!connection->secure.tls)
        uv_try_write(stream_of(connection), &bytes, 1);
    else if (tls_write(connection->secure.tls, STR(CONTINUE), &connection->secure.wire, &err))
        connection_flush(connection);
}

/* Gives bytes to the parser and acts on what it makes of them. Returns how many it took. */
static size_t connection_take(struct http_connection *connection, struct str bytes)
{
    bool was_idle = connection->parse.state == HTTP_PARSE_IDLE;
    size_t taken = http_parse_feed(&connection->parse, bytes);
    if (was_idle && connection->parse.state != HTTP_PARSE_IDLE)
        timer_set(connection, connection->server->options.read_timeout_ms, 0);
    if (connection->parse.state == HTTP_PARSE_DONE)
        connection_begin_work(connection);
    else if (connection->parse.state == HTTP_PARSE_BAD)
        connection_refuse(connection, connection->parse.bad_status, connection->parse.bad_why);
    else
        connection_send_continue(connection);
    return taken;
}

/* Goes on with what was read ahead, then with the socket. */
static void connection_advance(struct http_connection *connection)
{
    while (connection->state == CONNECTION_READING && ahead_left(connection).len > 0) {
        struct str bytes = ahead_left(connection);
        size_t len_before = connection->ahead.len;
        size_t taken = connection_take(connection, bytes);
        if (connection->state == CONNECTION_CLOSING)
            return;
        ENSURE(connection->ahead.len == len_before);
        connection->ahead_at += taken;
    }
    if (ahead_left(connection).len == 0) {
        buf_deinit(&connection->ahead);
        connection->ahead_at = 0;
    }
    if (connection->state == CONNECTION_READING && connection->saw_eof)
        connection_close(connection);
    else if (connection->state != CONNECTION_CLOSING &&
             ahead_left(connection).len < READ_AHEAD_BYTES)
        connection_start_reading(connection);
}

static void on_read_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct http_connection *connection =
        CONTAINER_OF((uv_tcp_t *)(void *)handle, struct http_connection, tcp);
    (void)suggested;
    *out = uv_buf_init(connection->server->read_buffer, HTTP_READ_BYTES);
}

static void connection_on_eof(struct http_connection *connection)
{
    connection->saw_eof = true;
    connection_stop_reading(connection);
    if (connection->state == CONNECTION_WORKING)
        exchange_tell_gone(connection->exchange); /* Which may answer, and so end, the exchange. */
    else if (connection->state != CONNECTION_WRITING)
        connection_close(connection);
}

static void connection_on_bytes(struct http_connection *connection, struct str bytes)
{
    if (connection->state == CONNECTION_LINGERING)
        return;
    if (connection->state == CONNECTION_READING) {
        ENSURE(connection->ahead.len == 0);
        bytes = str_after(bytes, connection_take(connection, bytes));
    }
    if (connection->state == CONNECTION_CLOSING || bytes.len == 0)
        return;
    buf_drop_front(&connection->ahead, connection->ahead_at);
    connection->ahead_at = 0;
    buf_add_str(&connection->ahead, bytes);
    ENSURE(!connection->ahead.overflow);
    if (ahead_left(connection).len >= READ_AHEAD_BYTES)
        connection_stop_reading(connection);
}

/* As Go: who speaks HTTP to a port of HTTPS gets an answer that says so. */
static void connection_refuse_http(struct http_connection *connection)
{
    struct buf *wire = &connection->secure.wire;
    buf_clear(wire);
    BUF_ADD(wire, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS "
                  "server.\n");
    connection_write_last(connection);
}

static void connection_on_tls_error(struct http_connection *connection, const struct err *err)
{
    bool was_handshake = in_handshake(connection);
    if (was_handshake)
        LOG_D("TLS handshake failed", "remote", connection->remote, "err", err->text);
    if (was_handshake && http_tls_met_http(&connection->secure))
        connection_refuse_http(connection);
    else
        connection_write_last(connection); /* An alert, most often. */
}

static void connection_on_wire(struct http_connection *connection, struct str bytes)
{
    struct http_tls *secure = &connection->secure;
    struct err err;
    if (connection->state == CONNECTION_LINGERING)
        return;
    bool was_handshake = in_handshake(connection);
    if (!http_tls_feed(secure, bytes, &err)) {
        connection_on_tls_error(connection, &err);
        return;
    }
    if (was_handshake && !in_handshake(connection) && connection->state == CONNECTION_READING)
        timer_set(connection, reading_ms(connection), 0);
    if (secure->wire.len > HTTP_TLS_HELD_BYTES) {
        connection_close(connection); /* It makes us talk and does not listen. */
        return;
    }
    connection_flush(connection);
    if (connection->state != CONNECTION_CLOSING && secure->plain.len > 0)
        connection_on_bytes(connection, buf_str(&secure->plain));
    buf_deinit(&secure->plain);
    if (connection->state != CONNECTION_CLOSING && connection->state != CONNECTION_LINGERING &&
        tls_has_end(secure->tls))
        connection_on_eof(connection);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct http_connection *connection =
        CONTAINER_OF((uv_tcp_t *)(void *)stream, struct http_connection, tcp);
    if (len > 0 && connection->secure.tls)
        connection_on_wire(connection, str_from(bytes->base, (size_t)len));
    else if (len > 0)
        connection_on_bytes(connection, str_from(bytes->base, (size_t)len));
    else if (len == UV_EOF)
        connection_on_eof(connection);
    else if (len < 0)
        connection_close(connection);
}

/* --- life --- */

static void on_handle_closed(struct http_connection *connection)
{
    if (--connection->handles_open > 0)
        return;
    ENSURE(!connection->write_pending);
    struct http_server *server = connection->server;
    list_remove(&connection->node);
    http_parse_deinit(&connection->parse);
    buf_deinit(&connection->ahead);
    buf_deinit(&connection->head);
    buf_deinit(&connection->body);
    http_tls_deinit(&connection->secure);
    mem_free(connection);
    http_server_on_connection_closed(server);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    on_handle_closed(CONTAINER_OF((uv_tcp_t *)(void *)handle, struct http_connection, tcp));
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_handle_closed(CONTAINER_OF((uv_timer_t *)(void *)handle, struct http_connection, timer));
}

/* Tells the exchange last: its callback may do anything. */
static void connection_close(struct http_connection *connection)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    connection_set_state(connection, CONNECTION_CLOSING);
    uv_close((uv_handle_t *)&connection->tcp, on_tcp_closed);
    uv_close((uv_handle_t *)&connection->timer, on_timer_closed);
    struct http_exchange *exchange = connection->exchange;
    if (!exchange)
        return;
    connection->exchange = NULL;
    exchange->connection = NULL;
    exchange_tell_gone(exchange);
}

void http_connection_abort(struct http_connection *connection)
{
    connection_close(connection);
}

void http_connection_drain(struct http_connection *connection)
{
    if (connection->state == CONNECTION_READING && connection->parse.state == HTTP_PARSE_IDLE)
        connection_close(connection);
}

int64_t http_connection_idle_since(const struct http_connection *connection)
{
    if (connection->state != CONNECTION_READING)
        return INT64_MAX;
    bool in_body = connection->parse.state == HTTP_PARSE_BODY;
    return connection->reading_since_ms + (in_body ? BODY_GRACE_MS : 0);
}

static void connection_set_remote(struct http_connection *connection)
{
    struct sockaddr_storage address = {0};
    int len = (int)sizeof(address);
    snprintf(connection->remote, sizeof(connection->remote), "?");
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &len) == 0)
        net_address_text((const struct sockaddr *)&address, connection->remote);
}

/* A context that cannot be had is the failure of this connection only. */
static bool connection_secure(struct http_connection *connection)
{
    const struct http_server_options *options = &connection->server->options;
    struct err err;
    if (!options->tls_context)
        return true;
    struct tls_context *context = options->tls_context(options->tls_ctx);
    return context && http_tls_init(&connection->secure, context, &err);
}

void http_connection_accept(struct http_server *server)
{
    struct http_connection *connection = MEM_NEW(struct http_connection);
    connection->server = server;
    connection->handles_open = 2;
    ENSURE(uv_tcp_init(server->loop, &connection->tcp) == 0);
    ENSURE(uv_timer_init(server->loop, &connection->timer) == 0);
    http_parse_init(&connection->parse, server->options.head_bytes_max,
                    server->options.body_bytes_max);
    buf_init(&connection->ahead, READ_AHEAD_BYTES + READ_PLAIN_BYTES + 1);
    list_push_back(&server->connections, &connection->node);
    server->connection_count++;
    bool is_secure = connection_secure(connection);
    connection_set_state(connection, CONNECTION_READING);
    if (uv_accept((uv_stream_t *)&server->listener, stream_of(connection)) != 0 || !is_secure) {
        connection_close(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    connection_set_remote(connection);
    connection_start_reading(connection);
}
