/* net_stream: a client's connection over TCP, TCP with TLS, or a unix socket, on the loop. Loop thread only.
 *
 *     net_stream_open -> on_open -> net_stream_write / on_bytes ... -> on_end   (or net_stream_close at any time: nothing comes after)
 *
 * Nothing waits for ever: opening (lookup, connect, TLS handshake) has options.timeout_ms in all; what was written has to
 * be taken by the peer within timeout_ms; and who awaits an answer says so with net_stream_await. The callbacks never come
 * inside the call that leads to them. Errors are in Go's words: dial tcp 127.0.0.1:9: connect: connection refused. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"
#include "net/tls.h"

struct net_stream;

typedef void (*net_stream_open_fn)(void *ctx);
typedef void (*net_stream_bytes_fn)(void *ctx, struct str bytes); /* Borrowed for the call. */
/* Once. The peer's orderly end is ERR_IO "EOF"; a deadline ERR_TIMEOUT "...: i/o timeout". The stream is still to be
 * closed by its owner. */
typedef void (*net_stream_end_fn)(void *ctx, const struct err *err);

struct net_stream_options {
    struct str host; /* Name or address, without brackets. */
    uint16_t port;
    struct str unix_path;     /* Not empty: a unix socket instead. */
    struct tls_context *tls;  /* NULL: plain. The stream takes its own reference. */
    struct str server_name;   /* For TLS; empty: host. */
    int64_t timeout_ms;       /* Positive. */
    size_t unsent_bytes_max;  /* More written and not taken by the peer ends the stream; 0: 16 MiB. */
    net_stream_open_fn on_open;
    net_stream_bytes_fn on_bytes;
    net_stream_end_fn on_end;
    void *ctx;
};

struct net_stream *net_stream_open(struct uv_loop_s *loop, const struct net_stream_options *options);
void net_stream_close(struct net_stream *stream); /* NULL is fine. No callback comes any more. */

/* Copied. After on_open and before on_end; later it is dropped. */
void net_stream_write(struct net_stream *stream, struct str bytes);
/* From now on, unless called again, the stream ends with a timeout after timeout_ms. 0: nothing is awaited. */
void net_stream_await(struct net_stream *stream, int64_t timeout_ms);

#endif
