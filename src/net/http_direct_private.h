/* http_direct_private: a request over plain HTTP, for the files that share it: http_direct.c and http_direct_dial.c. */
#ifndef NET_HTTP_DIRECT_PRIVATE_H
#define NET_HTTP_DIRECT_PRIVATE_H

#include <uv.h>

#include "base/buf.h"
#include "http_answer.h"
#include "http_direct_pool.h"
#include "net_text.h"

#define BAD_LINE_SHOWN 256

struct direct {
    struct direct_pool *pool;
    void *ctx;
    struct direct_connection *connection;
    struct http_dialer *dialer; /* NULL: connections are not counted. */
    struct direct_request request;
    struct http_answer answer;
    int64_t timeout_ms, deadline_ms; /* 0: none. */
    bool follow_redirects, insecure_skip_verify, http1_only;
    bool reused, retried, paused;
    bool head_told, refused, odd;
    bool complete; /* All came; the end waits for the pause's. */
    bool keep;     /* ... and what becomes of the connection then. */
    struct buf held;
    struct sockaddr_storage *addresses; /* Owned; of a name. */
    size_t address_count, address_index;
    enum fetch_failure failure;
    int errno_value;
    char failure_text[BAD_LINE_SHOWN * 4 + 128];
    char address[2 * NET_ADDRESS_TEXT_MAX + 2]; /* First one dialled, or both ends. */
};

/* --- http_direct.c --- */

void direct_fail(struct direct *direct, enum fetch_failure failure, int errno_value);
void direct_drop_connection(struct direct *direct); /* It is of no use any more. */
/* An error of the connection, below zero as libuv has it: perhaps once more on a new one. */
void direct_break(struct direct *direct, enum fetch_failure failure, int code);
/* False: *code, and the request has no connection any more. */
bool direct_send(struct direct *direct, int *code);

/* --- http_direct_dial.c --- */

/* A new connection. From the loop only: it may fail at once. */
void direct_dial(struct direct *direct);
/* The timer of the connection: the answer's time, or while connecting this address' share of it. */
void direct_arm(struct direct *direct);
int64_t direct_time_left_ms(const struct direct *direct); /* INT64_MAX: no limit. */

#endif
