/* http_direct_pool: connections of http_direct.c, and the idle ones by host and port.
 *
 *   (resolving) -> connecting -> busy <-> idle -> closing -> freed by its last close
 *
 * The struct of a connection lives until libuv has let go of its handles and of its lookup. An idle
 * connection goes on reading, so the server's goodbye ends it at once. All connections read into
 * one buffer. */
#ifndef NET_HTTP_DIRECT_POOL_H
#define NET_HTTP_DIRECT_POOL_H

#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"
#include "http_direct.h"
#include "net/loop.h"

#define DIRECT_READ_BYTES ((size_t)64 << 10)

struct direct_connection {
    struct list_node node;      /* pool->connections */
    struct list_node idle_node; /* pool->idle, oldest first */
    struct direct_pool *pool;
    struct direct *direct; /* NULL: idle or closing. */
    struct http_dialer *dialer; /* Counts its end. NULL: nobody does, or it is counted. */
    uv_tcp_t tcp;
    uv_timer_t timer; /* The request's deadline. */
    uv_connect_t dial;
    uint64_t hash; /* Of authority. */
    int64_t idle_since_ms;
    uint32_t slot;  /* In pool->slots while idle. */
    unsigned holds; /* Handles not closed yet, lookup, dial. */
    bool connected, writing, closing;
    size_t authority_len;
    char authority[];
};

struct direct_pool {
    uv_loop_t *loop;
    struct direct_events events;
    struct list connections;
    struct list idle;
    struct map idle_map; /* Authority to slot. */
    VEC(struct direct_connection *) slots;
    VEC(uint32_t) free_slots;
    unsigned idle_count, idle_max;
    struct timer *sweep_timer;
    bool sweeping; /* The timer runs. */
    size_t connection_count; /* Closing ones, too. */
    bool closing;
    struct map odd; /* URLs that are curl's, by two halves of their hash. */
    char read_bytes[DIRECT_READ_BYTES];
};

/* Not dialled yet; holds its two handles. Whoever starts something that ends in a callback of its
 * own adds to `holds`. */
struct direct_connection *connection_new(struct direct_pool *pool, struct str authority,
                                         uint64_t hash);
void connection_unhold(struct direct_connection *connection);
void connection_close(struct direct_connection *connection); /* Any time, once or more often. */
bool connection_read(struct direct_connection *connection);
/* Its answer is over, all of it read and nothing more: for the next request. */
void connection_keep(struct direct_connection *connection);
/* NULL: none is idle. */
struct direct_connection *pool_take_idle(struct direct_pool *pool, struct str authority,
                                         uint64_t hash);
/* URLs that are for curl, as far as is remembered. */
void direct_pool_note_odd(struct direct_pool *pool, struct str url);
bool direct_pool_is_odd(const struct direct_pool *pool, struct str url);

/* http_direct.c: what a connection has read. */
void connection_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf);

#endif
