/* tls_session: what the parts of tls share: the structs, and errors of OpenSSL. */
#ifndef NET_TLS_SESSION_H
#define NET_TLS_SESSION_H

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "net/tls.h"

#define TLS_NAME_BYTES_MAX 256
#define TLS_VERDICTS       2

struct tls_context {
    SSL_CTX *ssl_context; /* Owned. */
    unsigned refs;
    bool server;
    bool verifies;
    bool takes_any;      /* Certificates of clients are looked at later. */
    struct str *names;   /* Owned, with their texts. */
    size_t name_count;
};

/* What a trust said of the peer. */
struct tls_verdict {
    uint64_t trust; /* Its number; 0: none yet. */
    int64_t time_ms;
    bool good;
};

struct tls {
    struct tls_context *context; /* A reference. */
    SSL *ssl;                    /* Owned, and with it both BIOs. */
    BIO *in, *out;
    char server_name[TLS_NAME_BYTES_MAX];
    bool open;
    bool has_end;
    struct tls_verdict verdicts[TLS_VERDICTS];
    unsigned verdict_next;
};

/* The newest entry of OpenSSL's queue of errors, which is emptied. */
bool tls_fail_openssl(struct err *err, enum err_code code, const char *what);
/* What OpenSSL says of the peer's certificate, in Go's words. */
bool tls_fail_verify(const struct tls *tls, long result, struct err *err);
/* A password would be asked for on the terminal: an encrypted key is an error instead. */
int tls_refuse_password(char *text, int size, int rwflag, void *ctx);
/* Whether the certificate has one of the context's names. */
bool tls_names_match(const struct tls_context *context, X509 *cert);

#endif
