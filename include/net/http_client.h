/* http_client: outgoing HTTP(S) on the loop: libcurl's multi interface driven by libuv. Loop thread only.
 *
 *     http_fetch -> on_head -> on_bytes ... -> on_done   (on_done exactly once, never inside http_fetch)
 */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

struct http_client;
struct http_fetch;

/* Connections kept: as many as targets. Raises RLIMIT_NOFILE's soft limit as far as allowed. */
MUST_CHECK bool http_client_open(struct http_client **out, struct uv_loop_s *loop, struct err *err);
void http_client_set_connections_max(struct http_client *client, unsigned connections_max);
/* Cancels what is in flight (each on_done comes, with ERR_CANCELED), then frees. Blocks only for that. */
void http_client_close(struct http_client *client);

struct http_fetch_head {
    int status;               /* Of the last answer, after redirects. */
    struct str content_type;  /* Empty when absent. Borrowed for the call. */
    struct str content_encoding;
    struct str reason;        /* "Internal Server Error", from the status line or the table. */
};

/* Return false to end the transfer: on_done then comes with what the callback put into err. */
typedef bool (*http_head_fn)(void *ctx, const struct http_fetch_head *head, struct err *err);
/* Body bytes as they come from the wire (still compressed: the caller inflates). */
typedef bool (*http_bytes_fn)(void *ctx, struct str bytes, struct err *err);
/* err->code is ERR_NONE on success (any HTTP status is success here). Texts as Go's where it can be:
 * Get "http://x/metrics": dial tcp 127.0.0.1:9: connect: connection refused; context deadline exceeded. */
typedef void (*http_done_fn)(void *ctx, const struct err *err);

struct http_fetch_options {
    struct str url;
    struct str method;                 /* Empty: GET. */
    const struct str *headers;         /* "Name: value", copied. */
    size_t header_count;
    struct str body;                   /* Copied. */
    int64_t timeout_ms;                /* 0: none. ERR_TIMEOUT "context deadline exceeded". */
    bool follow_redirects;             /* At most 10; credentials do not follow to another host. */
    bool insecure_skip_verify;
    struct str ca_file, cert_file, key_file, server_name; /* Empty: defaults. */
    struct str ca_pem, cert_pem, key_pem; /* The same as texts, copied; they win over the files. */
    struct str user, password;         /* Basic auth when user is not empty. */
    struct str bearer_token;
    struct str proxy_url;
    http_head_fn on_head;              /* May be NULL. */
    http_bytes_fn on_bytes;            /* May be NULL. */
    http_done_fn on_done;
    void *ctx;
};

struct http_fetch *http_fetch(struct http_client *client, const struct http_fetch_options *options);
void http_fetch_cancel(struct http_fetch *fetch); /* on_done comes later, with ERR_CANCELED. */
/* Stops reading from the socket until resumed; the timeout goes on. */
void http_fetch_pause(struct http_fetch *fetch);
void http_fetch_resume(struct http_fetch *fetch);

#endif
