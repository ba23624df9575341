/* http_connection_write: an answer to the socket; through TLS in pieces, beside what the protocol itself has to say. */
#include "http_connection_private.h"
#include "http_reply.h"

/* What the socket takes of an answer at once: that is all of most, with no turn of the loop for its end. Answers to requests
 * that came many at once wait for that turn, so that others have theirs. */
static size_t connection_try_write(struct http_connection *connection, const uv_buf_t *bufs,
                                   unsigned count)
{
    if (!connection->is_last_read || connection->write_pending)
        return 0;
    int sent = uv_try_write(http_connection_stream(connection), bufs, count);
    return sent > 0 ? (size_t)sent : 0; /* An error is met again. */
}

/* --- plain --- */

static void on_written(uv_write_t *request, int status)
{
    struct http_connection *connection = CONTAINER_OF(request, struct http_connection, write);
    connection->write_pending = false;
    if (connection->state == CONNECTION_CLOSING)
        return;
    ENSURE(connection->state == CONNECTION_WRITING);
    if (status < 0)
        http_connection_close(connection);
    else
        http_connection_answered(connection);
}

static void connection_write_plain(struct http_connection *connection)
{
    uv_buf_t bufs[2] = {
        {.base = connection->head.ptr, .len = connection->head.len},
        {.base = connection->body.ptr, .len = connection->body.len},
    };
    ENSURE(!connection->write_pending);
    size_t sent = connection_try_write(connection, bufs, 2);
    if (sent == bufs[0].len + bufs[1].len) {
        http_connection_answered(connection);
        return;
    }
    http_connection_set_state(connection, CONNECTION_WRITING);
    for (int i = 0; i < 2; i++) {
        size_t gone = sent < bufs[i].len ? sent : bufs[i].len;
        bufs[i].base = gone > 0 ? bufs[i].base + gone : bufs[i].base;
        bufs[i].len -= gone;
        sent -= gone;
    }
    if (uv_write(&connection->write, http_connection_stream(connection), bufs, 2, on_written) !=
        0) {
        http_connection_close(connection);
        return;
    }
    connection->write_pending = true;
    connection->write_left = uv_stream_get_write_queue_size(http_connection_stream(connection));
}

/* --- through TLS --- */

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
        http_connection_close(connection);
    else if (secure->wire.len > 0)
        http_connection_flush(connection);
    else if (is_answering)
        http_connection_answered(connection);
}

void http_connection_flush(struct http_connection *connection)
{
    struct http_tls *secure = &connection->secure;
    if (connection->write_pending || secure->wire.len == 0)
        return;
    buf_swap(&secure->wire, &secure->sending);
    uv_buf_t bytes = {.base = secure->sending.ptr, .len = secure->sending.len};
    if (uv_write(&connection->write, http_connection_stream(connection), &bytes, 1,
                 on_piece_written) != 0) {
        http_connection_close(connection);
        return;
    }
    connection->write_pending = true;
    if (connection->state != CONNECTION_WRITING)
        return;
    /* Each piece that goes out is progress. */
    http_connection_set_timer(connection, connection->server->options.write_timeout_ms,
                              connection->server->options.write_timeout_ms);
    connection->write_left = uv_stream_get_write_queue_size(http_connection_stream(connection));
}

static void connection_write_secure(struct http_connection *connection)
{
    struct http_tls *secure = &connection->secure;
    struct err err;
    http_connection_set_state(connection, CONNECTION_WRITING);
    secure->answer_at = 0;
    if (!http_tls_encrypt(secure, buf_str(&connection->head), buf_str(&connection->body), &err)) {
        http_connection_close(connection);
        return;
    }
    if (answer_is_encrypted(connection)) { /* It is short. */
        uv_buf_t bytes = {.base = secure->wire.ptr, .len = secure->wire.len};
        buf_drop_front(&secure->wire, connection_try_write(connection, &bytes, 1));
    }
    if (secure->wire.len > 0) {
        http_connection_flush(connection);
    } else {
        buf_deinit(&secure->wire);
        http_connection_answered(connection);
    }
}

/* --- both --- */

void http_connection_write(struct http_connection *connection)
{
    if (connection->secure.tls)
        connection_write_secure(connection);
    else
        connection_write_plain(connection);
}

void http_connection_write_last(struct http_connection *connection)
{
    if (connection->state != CONNECTION_READING || connection->secure.wire.len == 0) {
        http_connection_close(connection);
        return;
    }
    connection->last_answer = true;
    http_connection_set_state(connection, CONNECTION_WRITING);
    http_connection_flush(connection);
}

void http_connection_refuse(struct http_connection *connection, int status, const char *why)
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
    http_connection_write(connection);
}
