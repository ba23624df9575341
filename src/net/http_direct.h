/* http_direct: GET over plain HTTP/1.1 on the loop without curl, which costs more than all the rest
 * of a scrape. What is not simple stays with curl: the owner asks it when direct_new returns NULL,
 * or when the end says so.
 *
 *     direct_new -> direct_start [-> direct_run] -> on_head -> on_bytes ... -> on_end
 *                                     ^                           |
 *                                     +-- after a pause           +-- direct_free at any time
 *
 * A connection serves one request at a time; between two it stays open for the next one to the same
 * host and port. Loop thread only. */
#ifndef NET_HTTP_DIRECT_H
#define NET_HTTP_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_client_err.h"
#include "net/http_client.h"

struct direct_pool;
struct direct;

enum direct_end {
    DIRECT_WELL,
    DIRECT_REFUSED, /* on_head or on_bytes returned false. */
    DIRECT_FAILED,  /* direct_failure tells. */
    DIRECT_ASK_CURL /* Nothing was told: a redirect, or bytes that only curl may understand. */
};

struct direct_events {
    /* Around every callback from the loop. */
    void (*enter)(void *pool_ctx);
    void (*leave)(void *pool_ctx);
    void *pool_ctx;
    /* `ctx` is the request's. False ends it. */
    bool (*on_head)(void *ctx, const struct http_fetch_head *head);
    bool (*on_bytes)(void *ctx, struct str bytes);
    void (*on_end)(void *ctx, enum direct_end end); /* The last; direct_free may be called in it. */
};

struct direct_pool *direct_pool_new(struct uv_loop_s *loop, const struct direct_events *events);
void direct_pool_set_idle_max(struct direct_pool *pool, unsigned idle_max);
/* Closes all connections; no request may be left. Frees itself in the loop's next turns. */
void direct_pool_close(struct direct_pool *pool);

/* NULL: it is one for curl. All is copied. */
struct direct *direct_new(struct direct_pool *pool, const struct http_fetch_options *options,
                          void *ctx);
/* Sends it at once when a connection is at hand. False: direct_run shall be called. No callback
 * comes from in here. */
bool direct_start(struct direct *direct);
/* From the loop, after direct_start has asked for it or when a pause is over: goes on. */
void direct_run(struct direct *direct);
void direct_pause(struct direct *direct); /* Nothing but a failing on_end comes until direct_run. */
void direct_free(struct direct *direct);

/* What direct_new was given, with what is left of the time. The texts are borrowed; the returned
 * array is the caller's, by mem_free. */
struct str *direct_options(const struct direct *direct, struct http_fetch_options *out);
/* After DIRECT_FAILED. Borrowed. */
void direct_failure(const struct direct *direct, struct fetch_failure_facts *out);

/* --- http_client_dialer.c --- */

void dialer_fail(struct http_dialer *dialer, enum http_dial_failure failure); /* NULL is fine. */

/* --- http_direct_request.c --- */

/* What direct_new has made of the options; texts are places in `text`. */
struct direct_request {
    char *text;           /* Owned: URL, host, port, then what goes over the wire. */
    struct str url, host; /* The host without brackets. */
    struct str port;      /* Digits. */
    struct str authority; /* As in the URL, small letters: what connections are kept by. */
    struct str wire;      /* Request line, fields, empty line. */
    size_t public_lines, private_lines; /* Of the fields in `wire`, after Host. */
};

bool direct_request_build(struct direct_request *request, const struct http_fetch_options *options);
void direct_request_deinit(struct direct_request *request);
/* The fields after Host: public ones, then private ones. Room for all of them. */
void direct_request_lines(const struct direct_request *request, struct str *lines);

#endif
