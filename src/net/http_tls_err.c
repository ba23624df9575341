/* http_tls_err: what OpenSSL, through curl, says about TLS, in the words of Go's crypto/tls and
 * crypto/x509. What has no counterpart there is told as it came. */
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "http_client_err.h"
#include "tls_watch.h"

struct phrase {
    const char *openssl, *go;
};

/* The first that is contained wins. */
static const struct phrase certificate_phrases[] = {
    {"unable to get local issuer certificate", "certificate signed by unknown authority"},
    {"unable to get issuer certificate", "certificate signed by unknown authority"},
    {"unable to verify the first certificate", "certificate signed by unknown authority"},
    {"self-signed certificate", "certificate signed by unknown authority"},
    {"self signed certificate", "certificate signed by unknown authority"},
    {"certificate signature failure", "certificate signed by unknown authority"},
    {"certificate has expired", "certificate has expired or is not yet valid: it has expired"},
    {"certificate is not yet valid",
     "certificate has expired or is not yet valid: it is not yet valid"},
    {"unsuitable certificate purpose", "certificate specifies an incompatible key usage"},
    {"invalid CA certificate", "certificate is not authorized to sign other certificates"},
    {"path length constraint exceeded", "too many intermediates for path length constraint"},
    {"CA md too weak", "certificate signed by unknown authority (its signature is too weak)"},
    {"CA signature digest algorithm too weak",
     "certificate signed by unknown authority (its signature is too weak)"},
};

/* Words of the alert in OpenSSL's text, and the alert's name in Go's. */
static const struct phrase alert_phrases[] = {
    {"alert handshake failure", "handshake failure"},
    {"alert bad certificate", "bad certificate"},
    {"alert unsupported certificate", "unsupported certificate"},
    {"alert certificate revoked", "revoked certificate"},
    {"alert certificate expired", "expired certificate"},
    {"alert certificate unknown", "unknown certificate"},
    {"alert certificate required", "certificate required"},
    {"alert illegal parameter", "illegal parameter"},
    {"alert unknown ca", "unknown certificate authority"},
    {"alert access denied", "access denied"},
    {"alert decode error", "error decoding message"},
    {"alert decrypt error", "error decrypting message"},
    {"alert protocol version", "protocol version not supported"},
    {"alert insufficient security", "insufficient security level"},
    {"alert internal error", "internal error"},
    {"alert inappropriate fallback", "inappropriate fallback"},
    {"alert user cancelled", "user canceled"},
    {"alert no renegotiation", "no renegotiation"},
    {"alert missing extension", "missing extension"},
    {"unrecognized name", "unrecognized name"},
    {"alert no application protocol", "no application protocol"},
    {"alert unexpected message", "unexpected message"},
    {"alert bad record mac", "bad record MAC"},
};

static const struct phrase handshake_phrases[] = {
    {"wrong version number", "http: server gave HTTP response to HTTPS client"},
    {"http request", "http: server gave HTTP response to HTTPS client"},
    {"packet length too long", "http: server gave HTTP response to HTTPS client"},
    {"unsupported protocol", "tls: server selected unsupported protocol version"},
    {"no protocols available", "tls: no supported versions satisfy MinVersion and MaxVersion"},
    {"unexpected eof while reading", "EOF"},
    {"SSL_ERROR_SYSCALL", "EOF"},
    {"Connection reset by peer", "read: connection reset by peer"},
};

static const char *phrase_find(const struct phrase *phrases, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(text, phrases[i].openssl))
            return phrases[i].go;
    return NULL;
}

#define PHRASE(phrases, text) phrase_find(phrases, COUNT_OF(phrases), text)

/* One of "DNS:a, IP Address:127.0.0.1, URI:x": only the two kinds that a host may be. */
static struct str name_next(struct str *rest, bool addresses)
{
    while (rest->ptr) {
        struct str value, name = str_trim(str_cut(*rest, ',', rest));
        struct str kind = str_cut(name, ':', &value);
        if (value.ptr && str_eq(kind, addresses ? STR("IP Address") : STR("DNS")))
            return value;
    }
    return STR_EMPTY;
}

static bool host_is_address(struct str host)
{
    struct in6_addr bytes;
    char text[INET6_ADDRSTRLEN];

    if (host.len > 0 && host.ptr[0] == '[')
        return true;
    if (host.len == 0 || host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, &bytes) == 1 || inet_pton(AF_INET6, text, &bytes) == 1;
}

static void add_wrong_name(struct buf *out, const struct fetch_failure_facts *facts)
{
    bool address = host_is_address(facts->server_name);
    struct str rest = facts->certificate_names;
    struct str name = name_next(&rest, address);

    if (name.len == 0 && address) {
        buf_addf(out,
                 "cannot validate certificate for " STR_FMT
                 " because it doesn't contain any IP SANs",
                 STR_ARG(facts->server_name));
        return;
    }
    if (name.len == 0) {
        buf_addf(out, "certificate is not valid for any names, but wanted to match " STR_FMT,
                 STR_ARG(facts->server_name));
        return;
    }
    BUF_ADD(out, "certificate is valid for ");
    for (bool first = true; name.len > 0; first = false, name = name_next(&rest, address))
        buf_addf(out, "%s" STR_FMT, first ? "" : ", ", STR_ARG(name));
    buf_addf(out, ", not " STR_FMT, STR_ARG(facts->server_name));
}

/* current time 2026-01-02T03:04:05Z is after 2021-01-01T00:00:00Z */
static void add_dates(struct buf *out, const struct fetch_failure_facts *facts)
{
    time_t now = time(NULL), from = (time_t)facts->valid_from, to = (time_t)facts->valid_to;
    bool early = from > now;
    struct tm tm;
    char now_text[64] = "", limit_text[64] = "";

    if (gmtime_r(&now, &tm))
        (void)strftime(now_text, sizeof(now_text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (gmtime_r(early ? &from : &to, &tm))
        (void)strftime(limit_text, sizeof(limit_text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_addf(out, "x509: certificate has expired or is not yet valid: current time %s is %s %s",
             now_text, early ? "before" : "after", limit_text);
}

void tls_err_add_certificate(struct buf *out, const struct fetch_failure_facts *facts)
{
    const char *go = PHRASE(certificate_phrases, facts->text);

    BUF_ADD(out, "tls: failed to verify certificate: ");
    if (facts->valid_from != 0 || facts->valid_to != 0)
        add_dates(out, facts);
    else if (go)
        buf_addf(out, "x509: %s", go);
    else if (strstr(facts->text, "match") || strstr(facts->text, "common name")) {
        BUF_ADD(out, "x509: ");
        add_wrong_name(out, facts);
    } else {
        buf_addf(out, "%s", facts->text);
    }
}

void tls_err_add_handshake(struct buf *out, const struct fetch_failure_facts *facts)
{
    const char *alert = PHRASE(alert_phrases, facts->text);
    const char *go = PHRASE(handshake_phrases, facts->text);

    if (facts->alert != 0 && tls_alert_text(facts->alert))
        alert = tls_alert_text(facts->alert);
    if (alert)
        buf_addf(out, "remote error: tls: %s", alert);
    else if (facts->server_not_tls && !facts->server_speaks_http)
        BUF_ADD(out, "tls: first record does not look like a TLS handshake");
    else if (go)
        buf_addf(out, "%s", go);
    else
        buf_addf(out, "tls: %s", facts->text);
}

static void add_source(struct buf *out, const char *file)
{
    buf_addf(out, "%s%s", file ? "file " : "inline", file ? file : "");
}

void tls_err_add_files(struct buf *out, const struct fetch_failure_facts *facts)
{
    if (facts->failure == FETCH_CA_FILE) {
        BUF_ADD(out, "unable to use specified CA cert ");
        add_source(out, facts->ca_file);
        return;
    }
    BUF_ADD(out, "unable to use specified client cert (");
    add_source(out, facts->cert_file);
    BUF_ADD(out, ") & key (");
    add_source(out, facts->key_file);
    BUF_ADD(out, "): ");
    if (strstr(facts->text, "does not match") || strstr(facts->text, "key values mismatch"))
        BUF_ADD(out, "tls: private key does not match public key");
    else if (strstr(facts->text, "private key"))
        BUF_ADD(out, "tls: private key does not match public key, or is no PEM");
    else if (strstr(facts->text, "client certificate"))
        BUF_ADD(out, "tls: failed to find any PEM data in certificate input");
    else
        buf_addf(out, "%s", facts->text);
}
