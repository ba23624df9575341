/* http_tls: the TLS side of one accepted connection: bytes in, bytes out, no sockets.
 *
 *     wire bytes -> http_tls_feed -> plain          head and body -> http_tls_encrypt -> wire -> sending
 */
#ifndef NET_HTTP_TLS_H
#define NET_HTTP_TLS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/tls.h"

#define HTTP_TLS_FIRST_BYTES 5
#define HTTP_TLS_PIECE_BYTES ((size_t)256 << 10) /* Encrypted at a time. */
#define HTTP_TLS_HELD_BYTES  ((size_t)128 << 10) /* More answers of the protocol do not wait for the peer. */

struct http_tls {
    struct tls *tls; /* Owned. NULL: the connection is plain. */
    struct buf wire; /* To be sent. */
    struct buf sending;
    struct buf plain;                 /* Of the last feed. */
    size_t answer_at;                 /* Bytes of head and body that are encrypted. */
    char first[HTTP_TLS_FIRST_BYTES]; /* As they came. */
    unsigned first_len;
};

/* Takes a reference of the context. */
MUST_CHECK bool http_tls_init(struct http_tls *secure, struct tls_context *context, struct err *err);
void http_tls_deinit(struct http_tls *secure);
MUST_CHECK bool http_tls_feed(struct http_tls *secure, struct str bytes, struct err *err);
/* The peer speaks HTTP without TLS. */
bool http_tls_met_http(const struct http_tls *secure);
/* The next piece of head and body, which together are the answer. */
MUST_CHECK bool http_tls_encrypt(struct http_tls *secure, struct str head, struct str body,
                                 struct err *err);

#endif
