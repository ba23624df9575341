/* tls_peer: who a client is, asked after the handshake. The handshake takes any certificate; whether it is worth
 * something is decided per request, against authorities that may have changed since.
 *
 * A verdict is kept in the session for a minute: a chain costs two signatures, and requests come by the hundred. */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tls_session.h"

#define VERDICT_MS 60000

struct tls_trust {
    X509_STORE *store; /* Owned. */
    unsigned refs;
    uint64_t number;
};

/* --- trusts --- */

bool tls_trust_new(struct tls_trust **out, struct str pem, struct err *err)
{
    static atomic_uint_fast64_t numbers;
    size_t count = 0;
    X509 *cert;
    *out = NULL;
    BIO *bio = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    if (!bio)
        return err_set(err, ERR_BAD_DATA, "PEM text is too long");
    struct tls_trust *trust = MEM_NEW(struct tls_trust);
    trust->refs = 1;
    trust->number = ++numbers;
    trust->store = X509_STORE_new();
    ENSURE(trust->store != NULL);
    while ((cert = PEM_read_bio_X509(bio, NULL, tls_refuse_password, NULL)) != NULL) {
        if (X509_STORE_add_cert(trust->store, cert) == 1)
            count++;
        X509_free(cert);
    }
    ERR_clear_error();
    BIO_free(bio);
    if (count == 0) {
        tls_trust_unref(trust);
        return err_set(err, ERR_BAD_DATA,
                       "data does not contain any valid RSA or ECDSA certificates");
    }
    *out = trust;
    return true;
}

struct tls_trust *tls_trust_ref(struct tls_trust *trust)
{
    trust->refs++;
    return trust;
}

void tls_trust_unref(struct tls_trust *trust)
{
    if (!trust || --trust->refs > 0)
        return;
    X509_STORE_free(trust->store);
    mem_free(trust);
}

/* --- the verdict --- */

static bool verify_chain(struct tls *tls, struct tls_trust *trust, X509 *leaf, struct err *err)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    ENSURE(context != NULL);
    bool good =
        X509_STORE_CTX_init(context, trust->store, leaf, SSL_get_peer_cert_chain(tls->ssl)) == 1;
    if (good) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_depth(param, 10);
        good = X509_verify_cert(context) == 1;
    }
    if (!good)
        tls_fail_verify(tls, X509_STORE_CTX_get_error(context), err);
    ERR_clear_error();
    X509_STORE_CTX_free(context);
    return good;
}

bool tls_peer_verify(struct tls *tls, struct tls_trust *trust, struct err *err)
{
    X509 *leaf = tls->open ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    int64_t now_ms = clock_mono_ms();
    if (!leaf)
        return err_set(err, ERR_NOT_FOUND, "tls: client didn't provide a certificate");
    for (unsigned i = 0; i < TLS_VERDICTS; i++) {
        const struct tls_verdict *verdict = &tls->verdicts[i];
        if (verdict->trust != trust->number || now_ms - verdict->time_ms >= VERDICT_MS)
            continue;
        return verdict->good ||
               err_set(err, ERR_IO, "tls: failed to verify certificate: it was refused before");
    }
    bool good = verify_chain(tls, trust, leaf, err);
    struct tls_verdict *verdict = &tls->verdicts[tls->verdict_next++ % TLS_VERDICTS];
    *verdict = (struct tls_verdict){.trust = trust->number, .time_ms = now_ms, .good = good};
    return good;
}

/* --- what the certificate says --- */

static struct str entry_text(struct arena *arena, X509_NAME *name, int at)
{
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    struct str out = STR_EMPTY;
    if (len > 0)
        out = arena_str(arena, str_from((const char *)text, (size_t)len));
    if (len >= 0)
        OPENSSL_free(text);
    ERR_clear_error();
    return out;
}

bool tls_peer_read(const struct tls *tls, struct arena *arena, struct tls_peer *out)
{
    X509 *leaf = tls->open ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    *out = (struct tls_peer){0};
    if (!leaf)
        return false;
    X509_NAME *name = X509_get_subject_name(leaf);
    int count = X509_NAME_entry_count(name), at = -1;
    struct str *items = arena_alloc_array(arena, count > 0 ? (size_t)count : 1, sizeof(*items));
    /* The last one counts, as in Go. */
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
        out->common_name = entry_text(arena, name, at);
    at = -1;
    while ((at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0)
        items[out->organization_count++] = entry_text(arena, name, at);
    out->organizations = items;
    return true;
}

/* --- names of a certificate --- */

static bool is_wanted(const struct tls_context *context, struct str name)
{
    for (size_t i = 0; i < context->name_count; i++)
        if (str_eq(context->names[i], name))
            return true;
    return false;
}

static bool address_is_wanted(const struct tls_context *context, const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    int len = ASN1_STRING_length(address);
    if (len != 4 && len != 16)
        return false;
    inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text));
    return is_wanted(context, str_of(text));
}

bool tls_names_match(const struct tls_context *context, X509 *cert)
{
    if (context->name_count == 0)
        return true;
    bool found = false;
    GENERAL_NAMES *names = cert ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    for (int i = 0; names && !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_IPADD)
            found = address_is_wanted(context, name->d.iPAddress);
        else if (name->type == GEN_DNS || name->type == GEN_EMAIL || name->type == GEN_URI)
            found = is_wanted(context, str_from((const char *)ASN1_STRING_get0_data(name->d.ia5),
                                                (size_t)ASN1_STRING_length(name->d.ia5)));
    }
    GENERAL_NAMES_free(names);
    return found;
}
