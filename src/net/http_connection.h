/* http_connection: one accepted socket of the server, from accept to close.
 *
 *     reading --request whole--> working --http_reply--> writing --> reading ... (keep-alive)
 *        \--bad request, timeout-------------------------> writing --> lingering --> closing
 *
 * Loop thread only. The state changes in connection_set_state alone. */
#ifndef NET_HTTP_CONNECTION_H
#define NET_HTTP_CONNECTION_H

#include <uv.h>

#include "base/list.h"
#include "net/http_server.h"

#define HTTP_READ_BYTES (64 * 1024)

struct http_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t grace; /* Runs out while closing. */
    uv_timer_t room;  /* Runs while a connection waits for a place. */
    struct http_server_options options;
    struct list connections;
    unsigned connection_count;
    uint64_t accepted_count;
    bool accept_waits; /* libuv holds one more connection, and the backlog the others. */
    bool closing;
    unsigned handles_open; /* Listener and timers. */
    void (*closed_fn)(void *ctx);
    void *closed_ctx;
    char read_buffer[HTTP_READ_BYTES]; /* Shared: libuv fills it and we empty it in one go. */
};

struct http_connection;

void http_connection_accept(struct http_server *server);
/* Closes at once when no request is under way; else the answer will be the last. */
void http_connection_drain(struct http_connection *connection);
void http_connection_abort(struct http_connection *connection);
/* Since when it has been sending no whole request, on the loop's clock; INT64_MAX when it is not its turn to send. */
int64_t http_connection_idle_since(const struct http_connection *connection);
struct http_connection *http_connection_of_node(struct list_node *node);

/* The server's side: a connection's memory is about to go. */
void http_server_on_connection_closed(struct http_server *server);

#endif
