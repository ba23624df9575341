/* conn: one connection to a Redis: opens, authenticates, then a pipeline of commands with replies in their order.
 * Private to redis; loop thread.
 *
 *     conn_open -> on_ready -> conn_send ... (each: its reply) -> conn_close, or on_end when it breaks
 *
 * Callbacks never come inside conn_open or conn_send. After on_end no reply comes. */
#ifndef REDIS_CONN_H
#define REDIS_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"
#include "resp.h"

struct conn;

/* The reply may be RESP_ERROR. Borrowed for the call, which may send more or close the connection. */
typedef void (*conn_reply_fn)(void *ctx, const struct resp *reply);
typedef void (*conn_ready_fn)(void *owner, struct conn *conn);
/* Once; the connection is still to be closed. */
typedef void (*conn_end_fn)(void *owner, struct conn *conn, const struct err *err);

struct conn_options {
    const struct address *address; /* Borrowed for conn_open. */
    struct str user, password;     /* Copied. Empty password: no AUTH. */
    struct tls_context *tls;       /* Used when the address says TLS. */
    struct str server_name;        /* Empty: the host. */
    int64_t timeout_ms;            /* Of opening, and of each reply. */
    conn_ready_fn on_ready;
    conn_end_fn on_end;
    void *owner;
};

struct conn *conn_open(struct uv_loop_s *loop, const struct conn_options *options);
void conn_close(struct conn *conn); /* NULL is fine. No callback comes any more. */
void conn_send(struct conn *conn, const struct str *words, size_t count, conn_reply_fn fn,
               void *ctx);

#endif
