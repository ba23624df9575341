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

#include "base/arena.h"
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
    bool system_authorities;   /* Server: instead of a CA. */
    bool client_cert_any;      /* Server: asks for a certificate and takes what comes; see tls_peer_verify. */
    bool client_cert_required; /* With client_cert_any: a client without one is refused. */
    const struct str *client_names; /* Server: a client's certificate has to have one of these names (SANs). */
    size_t client_name_count;       /* 0: any. */
    int version_min, version_max;   /* 10 to 13 for TLS 1.0 to 1.3; 0: 1.2, 1.3. */
    struct str ciphers; /* For TLS 1.2 and older, OpenSSL's names with colons between; empty: the usual ones. */
    struct str groups;  /* Of key exchange, likewise. */
    bool http1;         /* Server: agrees on the protocol http/1.1 (ALPN). */
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

/* --- a client's certificate, judged after the handshake --- */

/* Authorities, parsed once. Immutable, counted. */
struct tls_trust;
MUST_CHECK bool tls_trust_new(struct tls_trust **out, struct str pem, struct err *err);
struct tls_trust *tls_trust_ref(struct tls_trust *trust);
void tls_trust_unref(struct tls_trust *trust); /* NULL is fine. */

/* Whether the peer's certificate is signed by the trust, valid now and meant for clients. The answer is remembered for
 * a while. Without a certificate: false. */
MUST_CHECK bool tls_peer_verify(struct tls *tls, struct tls_trust *trust, struct err *err);

struct tls_peer {
    struct str common_name;
    const struct str *organizations;
    size_t organization_count;
};
/* False: there is no certificate. Texts are the arena's. What it says is worth nothing unless it was verified. */
bool tls_peer_read(const struct tls *tls, struct arena *arena, struct tls_peer *out);

/* --- making certificates --- */

struct tls_issue {
    struct str common_name;
    const struct str *names; /* DNS names and addresses. None: an authority, else a server. */
    size_t name_count;
    struct str ca_pem, ca_key_pem; /* Who signs; empty: itself. */
    int64_t days;
};
/* A new key (P-256) and its certificate, as PEM added to *cert and *key. */
MUST_CHECK bool tls_issue(const struct tls_issue *issue, struct buf *cert, struct buf *key, struct err *err);
/* Whether the certificate is good for `seconds` more and the key is its own. */
MUST_CHECK bool tls_pair_check(struct str cert_pem, struct str key_pem, int64_t seconds, struct err *err);

#endif
