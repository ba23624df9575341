/* http_client_err: what curl says went wrong, in the words of Go's net/http, which operators search
 * for. */
#ifndef NET_HTTP_CLIENT_ERR_H
#define NET_HTTP_CLIENT_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* What a failed transfer knows. curl's own code is translated by the caller, inside curl's fence.
 */
enum fetch_failure {
    FETCH_TIMEOUT,
    FETCH_CONNECT_TIMEOUT,
    FETCH_CONNECT,
    FETCH_RESOLVE,
    FETCH_RESOLVE_PROXY,
    FETCH_EMPTY_ANSWER,
    FETCH_CUT_SHORT,
    FETCH_RECEIVE,
    FETCH_SEND,
    FETCH_REDIRECTS,
    FETCH_BAD_SCHEME,
    FETCH_PROXY_REFUSED, /* A CONNECT. */
    FETCH_CERTIFICATE,   /* The server's is not good enough. */
    FETCH_TLS,           /* The handshake. */
    FETCH_CA_FILE,       /* Ours, as the next. */
    FETCH_CLIENT_CERT,
    FETCH_OTHER,
};

struct fetch_failure_facts {
    enum fetch_failure failure;
    struct str method;            /* GET */
    struct str url;               /* Of the last hop. */
    struct str host;              /* Of that, for lookups. */
    struct str server_name;       /* That the certificate shall have. */
    struct str certificate_names; /* That it has: "DNS:a, IP Address:127.0.0.1"; outside bytes. */
    const char *address;          /* First one that was dialled, 127.0.0.1:9090; "" when none. */
    int errno_value;              /* 0: unknown. */
    const char *text;             /* curl's words. */
    bool through_proxy;
    int alert; /* Of the server's; 0: none. */
    bool server_not_tls, server_speaks_http;
    int64_t valid_from, valid_to; /* Of its certificate when that is out of date; else 0. */
    struct str proxy_host;
    const char *proxy_reason;                   /* "Forbidden". */
    const char *ca_file, *cert_file, *key_file; /* NULL: inline. */
    bool head_seen;                             /* Go names method and URL only before the head. */
};

/* http_tls_err.c: after "Get ...: ". */
void tls_err_add_certificate(struct buf *out, const struct fetch_failure_facts *facts);
void tls_err_add_handshake(struct buf *out, const struct fetch_failure_facts *facts);
void tls_err_add_files(struct buf *out, const struct fetch_failure_facts *facts);

void fetch_err_set(struct err *err, const struct fetch_failure_facts *facts);

#endif
