/* tls: OpenSSL over two memory BIOs, and with tls_*.c the only place that knows OpenSSL.
 *
 *     wire bytes -> tls_feed -> [in BIO] -> SSL -> plain
 *     wire bytes <- every call <- [out BIO] <- SSL <- tls_write
 *
 * Each call drains the out BIO into the caller's buffer, so nothing waits in here. Errors are
 * worded as Go's crypto/tls does, which operators know from the programs that we stand in for. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "tls_session.h"

#define PLAIN_BLOCK_BYTES ((size_t)16 << 10)
#define NAME_BYTES_MAX    TLS_NAME_BYTES_MAX

bool tls_fail_openssl(struct err *err, enum err_code code, const char *what)
{
    unsigned long number = ERR_peek_last_error();
    const char *reason = number ? ERR_reason_error_string(number) : NULL;
    err_set(err, code, "%s: %s", what, reason ? reason : "unknown error");
    ERR_clear_error();
    return false;
}

/* --- contexts --- */

static BIO *open_pem(struct str file, struct str pem, struct err *err)
{
    BIO *bio = NULL;
    if (pem.len > 0) {
        if (pem.len <= INT_MAX)
            bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
        if (!bio)
            err_set(err, ERR_BAD_DATA, "PEM text is too long");
        return bio;
    }
    char *path = str_dup(file);
    bio = BIO_new_file(path, "r");
    mem_free(path);
    if (!bio) {
        ERR_clear_error();
        err_set(err, ERR_BAD_DATA, "open " STR_FMT ": no such file, or it cannot be read",
                STR_ARG(file));
    }
    return bio;
}

int tls_refuse_password(char *text, int size, int rwflag, void *ctx)
{
    (void)text, (void)size, (void)rwflag, (void)ctx;
    return -1;
}

static bool load_authorities(SSL_CTX *ssl_context, const struct tls_options *options,
                             struct err *err)
{
    BIO *bio = open_pem(options->ca_file, options->ca_pem, err);
    X509_STORE *store = SSL_CTX_get_cert_store(ssl_context);
    size_t count = 0;
    X509 *cert;
    if (!bio)
        return false;
    while ((cert = PEM_read_bio_X509(bio, NULL, tls_refuse_password, NULL)) != NULL) {
        if (X509_STORE_add_cert(store, cert) == 1) {
            count++;
            if (options->server)
                SSL_CTX_add_client_CA(ssl_context, cert);
        }
        X509_free(cert);
    }
    ERR_clear_error(); /* "No start line" is how the end of the text shows. */
    BIO_free(bio);
    if (count == 0)
        return err_set(err, ERR_BAD_DATA, "no certificate found in " STR_FMT,
                       STR_ARG(options->ca_pem.len ? STR("the CA text") : options->ca_file));
    return true;
}

static bool load_chain(SSL_CTX *ssl_context, BIO *bio, struct err *err)
{
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, tls_refuse_password, NULL);
    if (!cert || SSL_CTX_use_certificate(ssl_context, cert) != 1) {
        X509_free(cert);
        return tls_fail_openssl(err, ERR_BAD_DATA, "tls: failed to find a certificate");
    }
    X509_free(cert);
    while ((cert = PEM_read_bio_X509(bio, NULL, tls_refuse_password, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ssl_context, cert) != 1) {
            X509_free(cert);
            return tls_fail_openssl(err, ERR_BAD_DATA, "tls: bad certificate chain");
        }
    }
    ERR_clear_error();
    return true;
}

static bool load_pair(SSL_CTX *ssl_context, const struct tls_options *options, struct err *err)
{
    EVP_PKEY *key = NULL;
    BIO *key_bio = NULL, *bio = open_pem(options->cert_file, options->cert_pem, err);
    bool loaded = bio && load_chain(ssl_context, bio, err);
    BIO_free(bio);
    if (!loaded)
        return false;
    key_bio = open_pem(options->key_file, options->key_pem, err);
    if (!key_bio)
        return false;
    key = PEM_read_bio_PrivateKey(key_bio, NULL, tls_refuse_password, NULL);
    BIO_free(key_bio);
    if (!key)
        return tls_fail_openssl(err, ERR_BAD_DATA, "tls: failed to parse private key");
    loaded = SSL_CTX_use_PrivateKey(ssl_context, key) == 1 &&
             SSL_CTX_check_private_key(ssl_context) == 1;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return loaded || err_set(err, ERR_BAD_DATA, "tls: private key does not match public key");
}

static bool has_text(struct str file, struct str pem)
{
    return file.len > 0 || pem.len > 0;
}

/* --- what a context allows --- */

static const int VERSIONS[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

static bool set_versions(SSL_CTX *ssl_context, const struct tls_options *options, struct err *err)
{
    int min = options->version_min ? options->version_min - 10 : 2;
    int max = options->version_max ? options->version_max - 10 : 3;
    if (min < 0 || min > 3 || max < 0 || max > 3)
        return err_set(err, ERR_BAD_DATA, "tls: unknown version");
    if (min < 2)
        SSL_CTX_set_security_level(ssl_context, 0); /* Debian's level 2 knows nothing below 1.2. */
    SSL_CTX_set_min_proto_version(ssl_context, VERSIONS[min]);
    SSL_CTX_set_max_proto_version(ssl_context, VERSIONS[max]);
    return true;
}

static bool set_list(SSL_CTX *ssl_context, struct str list, bool ciphers, struct err *err)
{
    if (list.len == 0)
        return true;
    char *text = str_dup(list);
    long good = ciphers ? SSL_CTX_set_cipher_list(ssl_context, text)
                        : SSL_CTX_set1_groups_list(ssl_context, text);
    mem_free(text);
    return good == 1 ||
           tls_fail_openssl(err, ERR_BAD_DATA, ciphers ? "tls: ciphers" : "tls: curves");
}

/* Takes http/1.1 when it is offered; what offers only others talks on as if it had offered none. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *ctx)
{
    static const unsigned char OURS[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl, (void)ctx;
    if (SSL_select_next_proto(&chosen, out_len, OURS, sizeof(OURS) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int check_client(X509_STORE_CTX *store_context, void *ctx)
{
    const struct tls_context *context = ctx;
    if (!context->takes_any && X509_verify_cert(store_context) != 1)
        return 0;
    if (tls_names_match(context, X509_STORE_CTX_get0_cert(store_context)))
        return 1;
    X509_STORE_CTX_set_error(store_context, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static void copy_names(struct tls_context *context, const struct tls_options *options)
{
    context->name_count = options->client_name_count;
    context->names = mem_alloc_array(context->name_count, sizeof(*context->names));
    for (size_t i = 0; i < context->name_count; i++) {
        struct str name = options->client_names[i];
        context->names[i] = str_from(str_dup(name), name.len);
    }
}

static void set_server(struct tls_context *context, const struct tls_options *options)
{
    SSL_CTX *ssl_context = context->ssl_context;
    context->takes_any = options->client_cert_any;
    copy_names(context, options);
    /* Every handshake is a whole one: so a client is always known by the certificate that it has
     * now. */
    SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ssl_context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ssl_context, 0);
    SSL_CTX_set_cert_verify_callback(ssl_context, check_client, context);
    if (options->http1)
        SSL_CTX_set_alpn_select_cb(ssl_context, choose_protocol, NULL);
}

static int verify_mode(const struct tls_options *options, bool has_ca)
{
    if (!options->server)
        return options->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    if (!has_ca && !options->client_cert_any)
        return SSL_VERIFY_NONE;
    bool required =
        options->client_cert_any ? options->client_cert_required : !options->client_cert_optional;
    return SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
}

static bool set_up(struct tls_context *context, const struct tls_options *options, struct err *err)
{
    SSL_CTX *ssl_context = context->ssl_context;
    bool has_cert = has_text(options->cert_file, options->cert_pem),
         has_key = has_text(options->key_file, options->key_pem),
         has_ca = has_text(options->ca_file, options->ca_pem);
    bool has_system = !has_ca && (!options->server || options->system_authorities);
    if (!set_versions(ssl_context, options, err) ||
        !set_list(ssl_context, options->ciphers, true, err) ||
        !set_list(ssl_context, options->groups, false, err))
        return false;
    SSL_CTX_set_mode(ssl_context, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl_context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (has_cert != has_key || (options->server && !has_cert))
        return err_set(err, ERR_BAD_DATA, "tls: certificate and key belong together");
    if (has_cert && !load_pair(ssl_context, options, err))
        return false;
    if (has_ca && !load_authorities(ssl_context, options, err))
        return false;
    if (has_system)
        SSL_CTX_set_default_verify_paths(ssl_context);
    if (options->server)
        set_server(context, options);
    int mode = verify_mode(options, has_ca || options->system_authorities);
    SSL_CTX_set_verify(ssl_context, mode, NULL);
    context->verifies = mode != SSL_VERIFY_NONE && !options->client_cert_any;
    return true;
}

bool tls_context_new(struct tls_context **out, const struct tls_options *options, struct err *err)
{
    struct tls_context *context = MEM_NEW(struct tls_context);
    *out = NULL;
    context->refs = 1;
    context->server = options->server;
    context->ssl_context = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
    ENSURE(context->ssl_context != NULL);
    if (!set_up(context, options, err)) {
        tls_context_unref(context);
        return false;
    }
    *out = context;
    return true;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (!context || --context->refs > 0)
        return;
    SSL_CTX_free(context->ssl_context);
    for (size_t i = 0; i < context->name_count; i++)
        mem_free((char *)context->names[i].ptr);
    mem_free(context->names);
    mem_free(context);
}

/* --- sessions --- */

static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* Whom the certificate has to name. */
static void expect_name(struct tls *tls)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    if (is_address(tls->server_name)) {
        X509_VERIFY_PARAM_set1_ip_asc(param, tls->server_name);
        return;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(param, tls->server_name, 0);
    SSL_set_tlsext_host_name(tls->ssl, tls->server_name);
}

bool tls_new(struct tls **out, struct tls_context *context, struct str server_name, struct err *err)
{
    *out = NULL;
    if (server_name.len >= NAME_BYTES_MAX ||
        (server_name.len > 0 && memchr(server_name.ptr, '\0', server_name.len)))
        return err_set(err, ERR_BAD_DATA, "tls: server name is too long");
    if (!context->server && context->verifies && server_name.len == 0)
        return err_set(err, ERR_BAD_DATA,
                       "tls: either ServerName or InsecureSkipVerify must be specified");
    struct tls *tls = MEM_NEW(struct tls);
    tls->context = tls_context_ref(context);
    tls->ssl = SSL_new(context->ssl_context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    ENSURE(tls->ssl && tls->in && tls->out);
    BIO_set_mem_eof_return(tls->in, -1); /* Empty means "later", not "closed". */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    if (server_name.len > 0)
        memcpy(tls->server_name, server_name.ptr, server_name.len);
    if (context->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    if (!context->server && server_name.len > 0)
        expect_name(tls);
    *out = tls;
    return true;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    tls_context_unref(tls->context);
    mem_free(tls);
}

static void drain(struct tls *tls, struct buf *wire)
{
    char *bytes;
    long len = BIO_get_mem_data(tls->out, &bytes);
    if (len > 0) {
        buf_add(wire, bytes, (size_t)len);
        (void)BIO_reset(tls->out);
    }
}

bool tls_fail_verify(const struct tls *tls, long result, struct err *err)
{
    static const char PREFIX[] = "tls: failed to verify certificate: x509: ";
    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return err_set(err, ERR_IO, "%scertificate is not valid for %s", PREFIX, tls->server_name);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return err_set(err, ERR_IO, "%scertificate has expired or is not yet valid", PREFIX);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return err_set(err, ERR_IO, "%scertificate signed by unknown authority", PREFIX);
    case X509_V_ERR_INVALID_PURPOSE:
        return err_set(err, ERR_IO, "%scertificate specifies an incompatible key usage", PREFIX);
    case X509_V_ERR_APPLICATION_VERIFICATION:
        return err_set(err, ERR_IO, "could not find allowed SANs in client cert");
    default:
        return err_set(err, ERR_IO, "%s%s", PREFIX, X509_verify_cert_error_string(result));
    }
}

/* `result` is of the SSL call just made. True when it only wants more bytes. */
static bool check_result(struct tls *tls, int result, struct err *err)
{
    int kind = SSL_get_error(tls->ssl, result);
    unsigned long number = ERR_peek_last_error();
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        ERR_clear_error();
        return true;
    }
    if (kind == SSL_ERROR_ZERO_RETURN) {
        tls->has_end = true;
        return true;
    }
    long verified = SSL_get_verify_result(tls->ssl);
    if (!tls->open && number && ERR_GET_REASON(number) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
        verified != X509_V_OK) {
        ERR_clear_error();
        return tls_fail_verify(tls, verified, err);
    }
    if (number && (ERR_GET_REASON(number) == SSL_R_WRONG_VERSION_NUMBER ||
                   ERR_GET_REASON(number) == SSL_R_HTTP_REQUEST)) {
        ERR_clear_error();
        return err_set(err, ERR_IO, "tls: first record does not look like a TLS handshake");
    }
    return tls_fail_openssl(err, ERR_IO, "tls");
}

bool tls_handshake(struct tls *tls, struct buf *wire, struct err *err)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    bool good = result == 1 || check_result(tls, result, err);
    tls->open = result == 1;
    drain(tls, wire);
    return good;
}

static bool read_plain(struct tls *tls, struct buf *plain, struct err *err)
{
    for (;;) {
        char block[PLAIN_BLOCK_BYTES];
        int len = SSL_read(tls->ssl, block, (int)sizeof(block));
        if (len <= 0)
            return check_result(tls, len, err);
        buf_add(plain, block, (size_t)len);
        if (plain->overflow)
            return err_set(err, ERR_LIMIT, "tls: the peer sends more than is taken");
    }
}

bool tls_feed(struct tls *tls, struct str bytes, struct buf *plain, struct buf *wire,
              struct err *err)
{
    bool good = true;
    ERR_clear_error();
    while (bytes.len > 0) {
        size_t len = bytes.len < INT_MAX ? bytes.len : INT_MAX;
        ENSURE(BIO_write(tls->in, bytes.ptr, (int)len) == (int)len);
        bytes = str_after(bytes, len);
    }
    if (!tls->open) {
        int result = SSL_do_handshake(tls->ssl);
        good = result == 1 || check_result(tls, result, err);
        tls->open = result == 1;
    }
    if (good && tls->open && !tls->has_end)
        good = read_plain(tls, plain, err);
    drain(tls, wire);
    return good;
}

bool tls_write(struct tls *tls, struct str plain, struct buf *wire, struct err *err)
{
    ENSURE(tls->open);
    ERR_clear_error();
    while (plain.len > 0) {
        size_t len = plain.len < PLAIN_BLOCK_BYTES ? plain.len : PLAIN_BLOCK_BYTES;
        int written = SSL_write(tls->ssl, plain.ptr, (int)len);
        if (written <= 0) {
            drain(tls, wire);
            return check_result(tls, written, err) &&
                   err_set(err, ERR_IO, "tls: the session is not ready for writing");
        }
        plain = str_after(plain, (size_t)written);
    }
    drain(tls, wire);
    return true;
}

void tls_close(struct tls *tls, struct buf *wire)
{
    if (tls->open)
        SSL_shutdown(tls->ssl);
    ERR_clear_error();
    drain(tls, wire);
}

bool tls_is_open(const struct tls *tls)
{
    return tls->open;
}

bool tls_has_end(const struct tls *tls)
{
    return tls->has_end;
}

bool tls_peer_verified(const struct tls *tls)
{
    return tls->open && tls->context->verifies && SSL_get0_peer_certificate(tls->ssl) != NULL &&
           SSL_get_verify_result(tls->ssl) == X509_V_OK;
}
