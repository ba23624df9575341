/* tls_watch: see tls_watch.h. Under TLS 1.3 a server that misses a client certificate says so after the handshake, and
 * resets the connection when it has been sent a request meanwhile: the alert is read while the connection is closed, by
 * which time the transfer has its error. */
#include "tls_watch.h"

#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

#define RECORD_ALERT     21
#define RECORD_VERSION_3 3

/* Of SSL_CTX's data; of the loop thread. */
static int watch_index = -1, owner_index = -1;

static int index_of(int *index)
{
    if (*index < 0)
        *index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return *index;
}

void tls_watch_set_alert(struct tls_watch *watch, uint64_t owner, int alert)
{
    watch->alerts[owner % TLS_WATCH_ALERTS].owner = owner;
    watch->alerts[owner % TLS_WATCH_ALERTS].alert = alert;
}

int tls_watch_alert(const struct tls_watch *watch, uint64_t owner)
{
    return watch->alerts[owner % TLS_WATCH_ALERTS].owner == owner
               ? watch->alerts[owner % TLS_WATCH_ALERTS].alert
               : 0;
}

void tls_watch_clear(struct tls_watch *watch)
{
    watch->not_tls = watch->speaks_http = false;
    watch->valid_from = watch->valid_to = 0;
}

static void on_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl,
                       void *ctx)
{
    struct tls_watch *watch = ctx;
    const unsigned char *at = bytes;

    (void)version;
    if (is_write)
        return;
    if (type == RECORD_ALERT && len >= 2 && at[1] != 0)
        tls_watch_set_alert(
            watch,
            (uint64_t)(uintptr_t)SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), index_of(&owner_index)),
            at[1]);
    if (type == SSL3_RT_HEADER && len >= 5) {
        watch->not_tls = at[0] < 20 || at[0] > 24 || at[1] != RECORD_VERSION_3;
        watch->speaks_http = memcmp(at, "HTTP/", 5) == 0;
    }
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int on_verify(int good, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const X509 *cert = X509_STORE_CTX_get_current_cert(store);
    int code = X509_STORE_CTX_get_error(store);
    struct tls_watch *watch = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), index_of(&watch_index));

    if (!good && cert &&
        (code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID)) {
        watch->valid_from = seconds_of(X509_get0_notBefore(cert));
        watch->valid_to = seconds_of(X509_get0_notAfter(cert));
    }
    return good;
}

void tls_watch_join(struct tls_watch *watch, uint64_t owner, void *ssl_ctx)
{
    SSL_CTX_set_ex_data(ssl_ctx, index_of(&owner_index), (void *)(uintptr_t)owner);
    SSL_CTX_set_ex_data(ssl_ctx, index_of(&watch_index), watch);
    SSL_CTX_set_verify(ssl_ctx, SSL_CTX_get_verify_mode(ssl_ctx), on_verify);
    SSL_CTX_set_msg_callback(ssl_ctx, on_message);
    SSL_CTX_set_msg_callback_arg(ssl_ctx, watch);
}

static const struct {
    int alert;
    const char *text;
} alert_texts[] = {
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {21, "decryption failed"},
    {22, "record overflow"},
    {30, "decompression failure"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "revoked certificate"},
    {45, "expired certificate"},
    {46, "unknown certificate"},
    {47, "illegal parameter"},
    {48, "unknown certificate authority"},
    {49, "access denied"},
    {50, "error decoding message"},
    {51, "error decrypting message"},
    {60, "export restriction"},
    {70, "protocol version not supported"},
    {71, "insufficient security level"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {111, "certificate unobtainable"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {114, "bad certificate hash value"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

const char *tls_alert_text(int alert)
{
    for (size_t i = 0; i < sizeof(alert_texts) / sizeof(alert_texts[0]); i++)
        if (alert_texts[i].alert == alert)
            return alert_texts[i].text;
    return NULL;
}
