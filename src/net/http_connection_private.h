/* http_connection_private: what the files of a connection share: http_connection.c (state, timer, reading, life),
 * http_connection_write.c (answers to the socket, through TLS or not), http_exchange.c (a request in work). */
#ifndef NET_HTTP_CONNECTION_PRIVATE_H
#define NET_HTTP_CONNECTION_PRIVATE_H

#include "http_connection.h"
#include "http_parse.h"
#include "http_tls.h"
#include "net_text.h"

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
    bool is_taking;           /* The parser's request is with the handler, further down the stack. */
    bool is_last_read;        /* Nothing is read behind that request. */
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

static inline uv_stream_t *http_connection_stream(struct http_connection *connection)
{
    return (uv_stream_t *)&connection->tcp;
}

/* --- http_connection.c --- */

void http_connection_set_state(struct http_connection *connection, enum connection_state state);
void http_connection_set_timer(struct http_connection *connection, int64_t delay_ms,
                               int64_t repeat_ms);
/* The answer is out: the next request, or the end. */
void http_connection_answered(struct http_connection *connection);
/* Tells the exchange last: its callback may do anything. */
void http_connection_close(struct http_connection *connection);

/* --- http_connection_write.c --- */

/* Takes what is in head and body. */
void http_connection_write(struct http_connection *connection);
/* Sends what waits in the wire buffer of TLS. */
void http_connection_flush(struct http_connection *connection);
/* The same, then ends. */
void http_connection_write_last(struct http_connection *connection);
/* The server's own answer to what is no request that a handler could see; why may be NULL. */
void http_connection_refuse(struct http_connection *connection, int status, const char *why);

/* --- http_exchange.c --- */

/* Hands the request that the parser has whole to the handler. */
void http_exchange_begin(struct http_connection *connection);
/* Calls on_gone, once. */
void http_exchange_tell_gone(struct http_exchange *exchange);

#endif
