/* tls_issue: keys and certificates of our own making: an authority, and what it signs. P-256 and SHA-256, which every
 * client knows. Times begin five minutes ago, for clocks that are behind ours. */
#include <arpa/inet.h>
#include <stdio.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "tls_session.h"

#define BACKDATE_SECONDS 300
#define SERIAL_BYTES     16

static EVP_PKEY *key_read(struct str pem)
{
    BIO *bio = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_refuse_password, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static X509 *cert_read(struct str pem)
{
    BIO *bio = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, tls_refuse_password, NULL) : NULL;
    BIO_free(bio);
    return cert;
}

static void bio_take(BIO *bio, struct buf *out)
{
    char *bytes;
    long len = BIO_get_mem_data(bio, &bytes);
    if (len > 0)
        buf_add(out, bytes, (size_t)len);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool is_address(struct str name)
{
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN];
    if (name.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(name));
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* A comma in a name would begin another one in OpenSSL's notation. */
static bool names_are_plain(const struct tls_issue *issue)
{
    for (size_t i = 0; i < issue->name_count; i++)
        for (size_t k = 0; k < issue->names[i].len; k++) {
            char c = issue->names[i].ptr[k];
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == ':' || c == '*'))
                return false;
        }
    return true;
}

static bool add_names(X509 *cert, X509 *issuer, const struct tls_issue *issue)
{
    struct buf text;
    buf_init(&text, (size_t)64 << 10);
    for (size_t i = 0; i < issue->name_count; i++)
        buf_addf(&text, "%s%s:" STR_FMT, i ? "," : "", is_address(issue->names[i]) ? "IP" : "DNS",
                 STR_ARG(issue->names[i]));
    buf_add_char(&text, '\0');
    bool good = !text.overflow && add_extension(cert, issuer, NID_subject_alt_name, text.ptr);
    buf_deinit(&text);
    return good;
}

static bool add_extensions(X509 *cert, X509 *issuer, const struct tls_issue *issue)
{
    if (issue->name_count == 0)
        return add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
               add_extension(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    return add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, issuer, NID_ext_key_usage, "serverAuth") &&
           add_extension(cert, issuer, NID_authority_key_identifier, "keyid") &&
           add_names(cert, issuer, issue);
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return good;
}

static bool fill_cert(X509 *cert, const struct tls_issue *issue, EVP_PKEY *key, X509 *ca)
{
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_SECONDS) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)issue->days, 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)issue->common_name.ptr,
                                      (int)issue->common_name.len, -1, 0) == 1 &&
           X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca) : name) == 1 &&
           X509_set_pubkey(cert, key) == 1 && add_extensions(cert, ca ? ca : cert, issue);
}

static bool write_pair(X509 *cert, EVP_PKEY *key, struct buf *cert_pem, struct buf *key_pem)
{
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    bool good = cert_bio && key_bio && PEM_write_bio_X509(cert_bio, cert) == 1 &&
                PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (good) {
        bio_take(cert_bio, cert_pem);
        bio_take(key_bio, key_pem);
        good = !cert_pem->overflow && !key_pem->overflow;
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return good;
}

bool tls_issue(const struct tls_issue *issue, struct buf *cert_pem, struct buf *key_pem,
               struct err *err)
{
    ENSURE(issue->common_name.len > 0 && issue->common_name.len <= 64 && issue->days > 0);
    if (!names_are_plain(issue))
        return err_set(err, ERR_BAD_DATA, "tls: a name of the certificate is no host name");
    bool is_own = issue->ca_pem.len == 0;
    X509 *cert = X509_new(), *ca = is_own ? NULL : cert_read(issue->ca_pem);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *ca_key = is_own ? NULL : key_read(issue->ca_key_pem);
    bool good = cert && key && (is_own || (ca && ca_key)) && fill_cert(cert, issue, key, ca) &&
                X509_sign(cert, is_own ? key : ca_key, EVP_sha256()) > 0 &&
                write_pair(cert, key, cert_pem, key_pem);
    if (!good)
        tls_fail_openssl(err, ERR_INTERNAL, "tls: cannot make a certificate");
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    ERR_clear_error();
    return good;
}

bool tls_pair_check(struct str cert_pem, struct str key_pem, int64_t seconds, struct err *err)
{
    X509 *cert = cert_read(cert_pem);
    EVP_PKEY *key = key_read(key_pem);
    time_t by = time(NULL) + (time_t)seconds;
    bool good = cert && key && X509_check_private_key(cert, key) == 1 &&
                X509_cmp_time(X509_get0_notAfter(cert), &by) > 0;
    if (!good)
        err_set(err, ERR_BAD_DATA, "tls: the certificate ends soon, or does not belong to its key");
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}
