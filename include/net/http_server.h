/* http_server: HTTP/1.1 for the API and the pages, on the loop thread.
 *
 *     accept -> head (limits) -> body (limits) -> handler(ctx, exchange) -> http_reply -> next request
 *
 * The handler is called once per request, with the whole body there. It answers at once or later, exactly once,
 * with http_reply. If the client goes away first, on_gone is called (once) and the exchange stays valid until
 * http_reply, which then only frees it. Pipelined requests are answered in their order. Keep-alive, HEAD (the
 * body is dropped), Expect: 100-continue, chunked bodies, and gzip of answers when the client asks for it
 * (the first of gzip/deflate in the list, as Prometheus) are the server's own business. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"
#include "net/tls.h"

struct http_server;
struct http_exchange;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_header {
    struct str name; /* As sent; compare without case. */
    struct str value;
};

/* What came in. All texts live in `arena` until the reply. */
struct http_request {
    enum http_method method;
    struct str method_text;
    struct str target;      /* As sent: /a%20b?x=1 */
    struct str path;        /* Decoded, without the query: /a b */
    struct str query;       /* Raw, without '?'. */
    const struct http_header *headers;
    size_t header_count;
    struct str body;
    struct str remote_address; /* 127.0.0.1:4711 */
    struct arena *arena;       /* For the handler, too: lives as long as the exchange. */
};

typedef void (*http_handler_fn)(void *ctx, struct http_exchange *exchange);
typedef void (*http_gone_fn)(void *ctx);

struct http_server_options {
    struct str address;        /* host:port, [v6]:port or :port. Port 0: any free one. */
    http_handler_fn handler;
    void *ctx;
    unsigned connections_max;  /* 512; more wait in the backlog. */
    int64_t give_way_ms;       /* When more wait, who sends no whole request for so long is closed, the first first: 5 s. */
    size_t head_bytes_max;     /* 64 KiB (431 beyond) */
    size_t body_bytes_max;     /* 32 MiB (413 beyond) */
    int64_t read_timeout_ms;   /* From the first byte of a request to its last, and of an idle connection: 5 min. */
    int64_t write_timeout_ms;  /* Without progress of the peer: 1 min. */
    /* HTTPS: asked for each accepted connection, so that certificates can change; the answer is borrowed, NULL ends the
     * connection. NULL: plain HTTP. */
    struct tls_context *(*tls_context)(void *tls_ctx);
    void *tls_ctx;
};

MUST_CHECK bool http_server_open(struct http_server **out, struct uv_loop_s *loop,
                                 const struct http_server_options *options, struct err *err);
/* The bound port (useful for port 0) and address text. */
uint16_t http_server_port(const struct http_server *server);
unsigned http_server_connections(const struct http_server *server);
uint64_t http_server_accepted(const struct http_server *server); /* Since it was opened. */
/* Stops accepting, closes idle connections; those with a request in work close after its answer, or after
 * grace_ms. Then done(ctx), after which the server is freed. */
void http_server_close(struct http_server *server, int64_t grace_ms, void (*done)(void *ctx), void *ctx);

const struct http_request *http_exchange_request(const struct http_exchange *exchange);
struct str http_request_header(const struct http_request *request, const char *name); /* Empty when absent. */
/* At most one; replaces. Called on the loop thread when the client has gone before the answer. */
void http_exchange_on_gone(struct http_exchange *exchange, http_gone_fn fn, void *ctx);

/* The connection's TLS session; NULL when it is plain, or gone. */
struct tls *http_exchange_tls(const struct http_exchange *exchange);
/* A header of the answer, whoever gives it. Copied. */
void http_exchange_add_header(struct http_exchange *exchange, struct str name, struct str value);

struct http_response {
    int status;
    const char *content_type;          /* NULL: none (204). */
    const struct http_header *headers; /* Additional ones, copied. */
    size_t header_count;
    bool no_compression;               /* E.g. bodies that are compressed already. */
};
/* Sends and frees the exchange. Takes the contents of *body (left empty); NULL for an empty body. */
void http_reply(struct http_exchange *exchange, const struct http_response *response, struct buf *body);
void http_reply_text(struct http_exchange *exchange, int status, const char *text);

/* --- forms: application/x-www-form-urlencoded, of the body (POST) first, then of the query --- */
struct http_param {
    struct str name;
    struct str value;
};
struct http_params {
    struct http_param *items; /* In the arena. */
    size_t count;
};
/* Bad %xx or ';' as Go's url.ParseQuery refuses them: err ERR_BAD_DATA, e.g. invalid URL escape "%zz". */
MUST_CHECK bool http_request_params(const struct http_request *request, struct http_params *out,
                                    struct err *err);
struct str http_params_get(const struct http_params *params, const char *name); /* First; empty when absent. */
bool http_params_has(const struct http_params *params, const char *name);
const char *http_status_text(int status); /* "Not Found" */

#endif
