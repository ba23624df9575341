/* http_client: outgoing HTTP(S) on the loop: libcurl's multi interface driven by libuv; plain GETs over HTTP/1.1 by a
 * way of our own. Loop thread only.
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
/* Whether plain HTTP goes without curl, as it does by default: for tests and comparisons. */
void http_client_set_direct(struct http_client *client, bool direct);
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

enum http_tls_version { HTTP_TLS_DEFAULT, HTTP_TLS10, HTTP_TLS11, HTTP_TLS12, HTTP_TLS13 };

/* Connections that were opened for somebody, and what became of them. */
enum http_dial_failure {
    HTTP_DIAL_REFUSED,
    HTTP_DIAL_RESOLUTION,
    HTTP_DIAL_TIMEOUT,
    HTTP_DIAL_UNKNOWN,
    HTTP_DIAL_FAILURE_COUNT
};
struct http_dialer {
    struct str name;
    uint64_t attempted, established, closed;
    uint64_t failed[HTTP_DIAL_FAILURE_COUNT]; /* Refused ones are unknown, too, as in Prometheus. */
};
/* By name; made when it is new. Stays as long as the client. */
struct http_dialer *http_dialer(struct http_client *client, struct str name);
/* In the order of their making. NULL: no more. */
const struct http_dialer *http_dialer_at(const struct http_client *client, size_t index);

struct http_oauth2;

/* All is copied. Files are looked at when they are used: what has changed in them holds from the
 * next fetch on, which then takes no old connection. */
struct http_fetch_options {
    struct str url;
    struct str method;                 /* Empty: GET. */
    const struct str *headers;         /* "Name: value", copied. */
    size_t header_count;
    const struct str *private_headers; /* The same, but not for another host after a redirect. */
    size_t private_header_count;
    struct str body;                   /* Copied. */
    int64_t timeout_ms;                /* 0: none. ERR_TIMEOUT "context deadline exceeded". */
    bool follow_redirects;             /* At most 10 requests. Credentials and private headers go
                                        * to the first host and its subdomains only. */
    bool http1_only;                   /* Else HTTP/2 where TLS agrees on it. */
    bool insecure_skip_verify;
    struct str ca_file, cert_file, key_file, server_name; /* Empty: defaults. */
    struct str ca_pem, cert_pem, key_pem; /* The same as texts, copied; they win over the files. */
    enum http_tls_version tls_min, tls_max; /* Defaults: 1.2 and 1.3. */
    struct str user, password;         /* Basic auth when one is not empty. */
    struct str bearer_token;
    const struct http_oauth2 *oauth2;  /* Else NULL. */
    struct str proxy_url;              /* Empty: none. */
    struct str no_proxy;               /* Hosts, domains, networks that the proxy is not for. */
    bool proxy_from_environment;       /* HTTP_PROXY, HTTPS_PROXY, NO_PROXY. */
    const struct str *proxy_headers;   /* "Name: value", of CONNECT requests. */
    size_t proxy_header_count;
    struct http_dialer *dialer;        /* Whose connections these are. NULL: not counted. */
    http_head_fn on_head;              /* May be NULL. */
    http_bytes_fn on_bytes;            /* May be NULL. */
    http_done_fn on_done;
    void *ctx;
};

struct http_oauth2_param {
    struct str name, value;
};

/* Client credentials grant. Fetches that mean the same token share it, and one request for it. Its
 * failure ends them as the failure of a request of their own. */
struct http_oauth2 {
    struct str client_id, client_secret, token_url;
    const struct str *scopes;
    size_t scope_count;
    const struct http_oauth2_param *params;
    size_t param_count;
    /* TLS, proxy, headers and http1_only of the token request; the rest is not looked at. */
    const struct http_fetch_options *request;
};

struct http_fetch *http_fetch(struct http_client *client, const struct http_fetch_options *options);
void http_fetch_cancel(struct http_fetch *fetch); /* on_done comes later, with ERR_CANCELED. */
/* Stops reading from the socket until resumed; the timeout goes on. */
void http_fetch_pause(struct http_fetch *fetch);
void http_fetch_resume(struct http_fetch *fetch);

#endif
