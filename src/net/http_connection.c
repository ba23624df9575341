/* http_connection: reads, parses, hands to the handler and writes back, one request at a time.
 *
 *   on_read -> connection_take (parser) -> http_exchange_begin -> handler ... http_reply
 *           -> http_connection_write -> http_connection_answered -> connection_advance (what was read ahead) -> ...
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
#include "http_connection_private.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define READ_AHEAD_BYTES (16 * 1024)
#define LINGER_MS        500
#define CONTINUE         "HTTP/1.1 100 Continue\r\n\r\n"
#define HANDSHAKE_MS     10000
#define BODY_GRACE_MS    30000 /* A body may be long: who sends one is idle so much later. */
/* Of a read: what it decrypts to may have waited for its end in an earlier one. */
#define READ_PLAIN_BYTES (HTTP_READ_BYTES + 32 * 1024)

static void connection_advance(struct http_connection *connection);

struct http_connection *http_connection_of_node(struct list_node *node)
{
    return CONTAINER_OF(node, struct http_connection, node);
}

static struct str ahead_left(const struct http_connection *connection)
{
    return str_after(buf_str(&connection->ahead), connection->ahead_at);
}

/* --- state and timer --- */

static void on_timer(uv_timer_t *timer);

void http_connection_set_timer(struct http_connection *connection, int64_t delay_ms,
                               int64_t repeat_ms)
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

void http_connection_set_state(struct http_connection *connection, enum connection_state state)
{
    const struct http_server_options *options = &connection->server->options;
    ENSURE(connection->state != CONNECTION_CLOSING);
    connection->state = state;
    switch (state) {
    case CONNECTION_READING:
        connection->reading_since_ms = (int64_t)uv_now(connection->server->loop);
        http_connection_set_timer(connection, reading_ms(connection), 0);
        break;
    case CONNECTION_WORKING:
    case CONNECTION_CLOSING:
        uv_timer_stop(&connection->timer);
        break;
    case CONNECTION_WRITING:
        http_connection_set_timer(connection, options->write_timeout_ms, options->write_timeout_ms);
        break;
    case CONNECTION_LINGERING:
        http_connection_set_timer(connection, LINGER_MS, 0);
        break;
    }
}

/* --- the end of an answer --- */

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
    if (uv_read_start(http_connection_stream(connection), on_read_buffer, on_read) != 0)
        http_connection_close(connection);
}

static void connection_stop_reading(struct http_connection *connection)
{
    connection->is_reading = false;
    uv_read_stop(http_connection_stream(connection));
}

static void connection_linger(struct http_connection *connection)
{
    if (connection->secure.tls) {
        tls_close(connection->secure.tls, &connection->secure.wire);
        http_connection_flush(connection);
    }
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (connection->saw_eof ||
        uv_shutdown(&connection->shutdown, http_connection_stream(connection), on_shutdown) != 0) {
        http_connection_close(connection);
        return;
    }
    buf_deinit(&connection->ahead);
    http_connection_set_state(connection, CONNECTION_LINGERING);
    connection_start_reading(connection);
}

void http_connection_answered(struct http_connection *connection)
{
    buf_deinit(&connection->head);
    buf_deinit(&connection->body);
    if (connection->last_answer || connection->server->closing) {
        connection_linger(connection);
        return;
    }
    http_parse_next(&connection->parse);
    connection->sent_continue = false;
    http_connection_set_state(connection, CONNECTION_READING);
    if (!connection->is_taking)
        connection_advance(connection);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, timer);
    if (connection->state == CONNECTION_READING && connection->parse.state != HTTP_PARSE_IDLE) {
        http_connection_refuse(connection, 408, NULL);
        return;
    }
    if (connection->state == CONNECTION_WRITING) {
        size_t left = uv_stream_get_write_queue_size(http_connection_stream(connection));
        if (left < connection->write_left) {
            connection->write_left = left;
            return;
        }
    }
    http_connection_close(connection);
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
        uv_try_write(http_connection_stream(connection), &bytes, 1);
    else if (tls_write(connection->secure.tls, STR(CONTINUE), &connection->secure.wire, &err))
        http_connection_flush(connection);
}

/* Gives bytes to the parser and acts on what it makes of them. Returns how many it took. A request may be answered when
 * this returns. */
static size_t connection_take(struct http_connection *connection, struct str bytes)
{
    bool was_idle = connection->parse.state == HTTP_PARSE_IDLE;
    size_t taken = http_parse_feed(&connection->parse, bytes);
    connection->is_taking = true;
    connection->is_last_read = taken == bytes.len;
    if (was_idle && connection->parse.state != HTTP_PARSE_IDLE)
        http_connection_set_timer(connection, connection->server->options.read_timeout_ms, 0);
    if (connection->parse.state == HTTP_PARSE_DONE)
        http_exchange_begin(connection);
    else if (connection->parse.state == HTTP_PARSE_BAD)
        http_connection_refuse(connection, connection->parse.bad_status, connection->parse.bad_why);
    else
        connection_send_continue(connection);
    connection->is_taking = false;
    return taken;
}

static bool has_ended(const struct http_connection *connection)
{
    return connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_LINGERING;
}

/* Goes on with what was read ahead, then with the socket. */
static void connection_advance(struct http_connection *connection)
{
    while (connection->state == CONNECTION_READING && ahead_left(connection).len > 0) {
        struct str bytes = ahead_left(connection);
        size_t len_before = connection->ahead.len;
        size_t taken = connection_take(connection, bytes);
        if (has_ended(connection))
            return;
        ENSURE(connection->ahead.len == len_before);
        connection->ahead_at += taken;
    }
    if (ahead_left(connection).len == 0) {
        buf_deinit(&connection->ahead);
        connection->ahead_at = 0;
    }
    if (connection->state == CONNECTION_READING && connection->saw_eof)
        http_connection_close(connection);
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
        http_exchange_tell_gone(
            connection->exchange); /* Which may answer, and so end, the exchange. */
    else if (connection->state != CONNECTION_WRITING)
        http_connection_close(connection);
}

static void connection_on_bytes(struct http_connection *connection, struct str bytes)
{
    if (has_ended(connection))
        return;
    if (connection->state == CONNECTION_READING) {
        ENSURE(connection->ahead.len == 0);
        bytes = str_after(bytes, connection_take(connection, bytes));
    }
    if (has_ended(connection) || bytes.len == 0)
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
    http_connection_write_last(connection);
}

static void connection_on_tls_error(struct http_connection *connection, const struct err *err)
{
    bool was_handshake = in_handshake(connection);
    if (was_handshake)
        LOG_D("TLS handshake failed", "remote", connection->remote, "err", err->text);
    if (was_handshake && http_tls_met_http(&connection->secure))
        connection_refuse_http(connection);
    else
        http_connection_write_last(connection); /* An alert, most often. */
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
        http_connection_set_timer(connection, reading_ms(connection), 0);
    if (secure->wire.len > HTTP_TLS_HELD_BYTES) {
        http_connection_close(connection); /* It makes us talk and does not listen. */
        return;
    }
    http_connection_flush(connection);
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
        http_connection_close(connection);
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

void http_connection_close(struct http_connection *connection)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    http_connection_set_state(connection, CONNECTION_CLOSING);
    uv_close((uv_handle_t *)&connection->tcp, on_tcp_closed);
    uv_close((uv_handle_t *)&connection->timer, on_timer_closed);
    struct http_exchange *exchange = connection->exchange;
    if (!exchange)
        return;
    connection->exchange = NULL;
    exchange->connection = NULL;
    http_exchange_tell_gone(exchange);
}

void http_connection_abort(struct http_connection *connection)
{
    http_connection_close(connection);
}

void http_connection_drain(struct http_connection *connection)
{
    if (connection->state == CONNECTION_READING && connection->parse.state == HTTP_PARSE_IDLE)
        http_connection_close(connection);
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
    server->accepted_count++;
    bool is_secure = connection_secure(connection);
    http_connection_set_state(connection, CONNECTION_READING);
    if (uv_accept((uv_stream_t *)&server->listener, http_connection_stream(connection)) != 0 ||
        !is_secure) {
        http_connection_close(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    connection_set_remote(connection);
    connection_start_reading(connection);
}
