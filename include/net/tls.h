/* tls: TLS over bytes in memory: who holds the socket feeds what it read and sends what comes out. No waiting, no
 * sockets; one session belongs to one thread.
 *
 *     tls_context_new -> tls_new -> tls_handshake -> tls_feed / tls_write ... -> tls_free -> tls_context_unref
 *
 * A context (certificates, who is trusted) is immutable once made and shared by its sessions. TLS 1.2 and newer
 * unless asked for less. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct tls_context;
struct tls;

struct tls_options {
    bool server;
    struct str ca_file;             /* Who may sign the peer; empty: the system's (client), nobody (server). */
    struct str cert_file, key_file; /* PEM; the certificate with its chain. Both or none; a server needs them. */
    struct str ca_pem, cert_pem, key_pem; /* The same as texts; they win over the files. */
    bool insecure_skip_verify;            /* Client. */
    bool client_cert_optional; /* Server with a CA: a client without a certificate is let in; tls_peer_verified tells. */
    int version_min;           /* 10 to 13 for TLS 1.0 to 1.3; 0: 1.2. */
};

MUST_CHECK bool tls_context_new(struct tls_context **out, const struct tls_options *options,
                                struct err *err);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine. */

/* server_name: the client's expectation of the peer, a host name or an address; also sent as SNI when a name. Takes
 * its own reference of the context. */
MUST_CHECK bool tls_new(struct tls **out, struct tls_context *context, struct str server_name,
                        struct err *err);
void tls_free(struct tls *tls); /* NULL is fine. */

/* The first flight of a client goes to `wire`; a server has none. */
MUST_CHECK bool tls_handshake(struct tls *tls, struct buf *wire, struct err *err);
/* Takes bytes off the wire; what they decrypt to goes to `plain`, answers of the protocol to `wire` (also when it
 * fails: an alert to send). Errors in Go's words: tls: failed to verify certificate: x509: certificate signed by
 * unknown authority. */
MUST_CHECK bool tls_feed(struct tls *tls, struct str bytes, struct buf *plain, struct buf *wire,
                         struct err *err);
/* Once open: encrypts. */
MUST_CHECK bool tls_write(struct tls *tls, struct str plain, struct buf *wire, struct err *err);
/* Says goodbye (close_notify). */
void tls_close(struct tls *tls, struct buf *wire);

bool tls_is_open(const struct tls *tls);  /* The handshake is done. */
bool tls_has_end(const struct tls *tls);  /* The peer said that nothing more comes. */
bool tls_peer_verified(const struct tls *tls); /* There is a certificate of the peer, and it was checked. */

#endif
