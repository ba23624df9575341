/* cert: what the HTTPS listener of the metrics APIs shows.
 *
 *     files given:  stamp differs -> read them again
 *     else:         authority (kept in dir) -> certificate for the Service (never kept) -> caBundle of the APIServices
 *
 * The aggregator verifies the name SERVICE.NAMESPACE.svc against the APIService's caBundle. So the authority outlives a
 * restart and the certificate need not. Both are looked at once a day and made anew before they end. The patch is repeated:
 * an APIService may come later than we do, or come back without it. */
#include <stdio.h>
#include <sys/stat.h>

#include "account.h"
#include "base/base64.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text_file.h"
#include "base/vec.h"
#include "kube.h"
#include "net/tls.h"

#define AUTHORITY_DAYS     3650
#define CERT_DAYS          365
#define DAY_SECONDS        (INT64_C(24) * 60 * 60)
#define LOOK_MS            (DAY_SECONDS * 1000)
#define PATCH_TIMEOUT_MS   10000
#define PATCH_AGAIN_MS     1000
#define PATCH_AGAIN_MS_MAX 60000
#define PATCH_REPEAT_MS    (60 * 1000)
#define PEM_BYTES_MAX      ((size_t)4 << 20)

struct kube_cert {
    struct kube_account account;
    char *cert_file, *key_file, *service, *dir; /* Owned. */
    struct text_file_stamp stamp;
    struct tls_context *context;      /* A reference. NULL: none yet. */
    char *last_error;                 /* Owned. Of the files; NULL: none. */
    struct buf ca, ca_key, cert, key; /* PEM, made here. */
    struct timer *look_timer, *patch_timer;
    VEC(char *) api_services; /* Owned. */
    size_t patch_at;
    unsigned patch_failures;
    bool patch_failed; /* In this round. */
    char *patch_error; /* Owned. NULL: none. */
    struct kube_call *call;
};

/* --- given files --- */

static bool context_make(struct kube_cert *cert, struct str cert_pem, struct str key_pem,
                         struct err *err)
{
    struct tls_options options = {
        .server = true,
        .cert_pem = cert_pem,
        .key_pem = key_pem,
        .client_cert_any = true,
        .http1 = true,
    };
    struct tls_context *fresh;
    if (!tls_context_new(&fresh, &options, err))
        return false;
    tls_context_unref(cert->context);
    cert->context = fresh;
    return true;
}

static bool files_read(struct kube_cert *cert, struct err *err)
{
    struct buf cert_pem, key_pem;
    buf_init(&cert_pem, PEM_BYTES_MAX);
    buf_init(&key_pem, PEM_BYTES_MAX);
    bool good = text_file_read(str_of(cert->cert_file), &cert_pem, err) &&
                text_file_read(str_of(cert->key_file), &key_pem, err) &&
                context_make(cert, buf_str(&cert_pem), buf_str(&key_pem), err);
    if (key_pem.ptr)
        explicit_bzero(key_pem.ptr, key_pem.len);
    buf_deinit(&cert_pem);
    buf_deinit(&key_pem);
    return good;
}

/* While the files are bad, what was read last stays in force: half of a rotation must not close the door. */
static bool files_refresh(struct kube_cert *cert, struct err *err)
{
    struct text_file_stamp now = {0};
    text_file_stamp_add(&now, str_of(cert->cert_file));
    text_file_stamp_add(&now, str_of(cert->key_file));
    if (cert->context && !text_file_stamp_differs(&cert->stamp, &now))
        return true;
    if (!files_read(cert, err))
        return false;
    cert->stamp = now;
    return true;
}

struct tls_context *kube_cert_context(void *ctx)
{
    struct kube_cert *cert = ctx;
    struct err err;
    if (!cert->cert_file[0])
        return cert->context;
    bool good = files_refresh(cert, &err);
    if (!good && (!cert->last_error || strcmp(cert->last_error, err.text) != 0))
        LOG_W("Cannot read the certificate of the metrics APIs", "err", err.text);
    mem_free(cert->last_error);
    cert->last_error = good ? NULL : str_dup(str_of(err.text));
    return cert->context;
}

/* --- an authority and a certificate of our own --- */

static struct str path_in(struct buf *path, const char *dir, const char *name)
{
    buf_clear(path);
    buf_addf(path, "%s/%s", dir, name);
    return buf_str(path);
}

static bool authority_load(struct kube_cert *cert, struct err *err)
{
    struct buf path;
    buf_init(&path, 8192);
    buf_clear(&cert->ca);
    buf_clear(&cert->ca_key);
    bool good = text_file_read(path_in(&path, cert->dir, "kube-ca.crt"), &cert->ca, err) &&
                text_file_read(path_in(&path, cert->dir, "kube-ca.key"), &cert->ca_key, err) &&
                tls_pair_check(buf_str(&cert->ca), buf_str(&cert->ca_key),
                               2 * CERT_DAYS * DAY_SECONDS, err);
    buf_deinit(&path);
    return good;
}

static void authority_save(struct kube_cert *cert)
{
    struct err err;
    struct buf path;
    buf_init(&path, 8192);
    char *dir = str_dup(str_of(cert->dir));
    (void)mkdir(dir, 0777); /* The store makes it, too, a little later. */
    mem_free(dir);
    if (!text_file_write(path_in(&path, cert->dir, "kube-ca.key"), buf_str(&cert->ca_key), &err) ||
        !text_file_write(path_in(&path, cert->dir, "kube-ca.crt"), buf_str(&cert->ca), &err))
        LOG_W("Cannot keep the authority of the metrics APIs", "err", err.text);
    buf_deinit(&path);
}

static bool authority_make(struct kube_cert *cert, struct err *err)
{
    struct tls_issue issue = {.common_name = STR("narthex metrics APIs"), .days = AUTHORITY_DAYS};
    buf_clear(&cert->ca);
    buf_clear(&cert->ca_key);
    if (!tls_issue(&issue, &cert->ca, &cert->ca_key, err))
        return false;
    if (cert->dir[0])
        authority_save(cert);
    LOG_I("Made an authority for the metrics APIs", "kept_in", cert->dir[0] ? cert->dir : "memory");
    return true;
}

/* NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc, and what is used from near. */
static bool cert_make(struct kube_cert *cert, struct err *err)
{
    struct str rest, name = str_cut(str_of(cert->service), '.', &rest);
    struct arena arena;
    arena_init(&arena, 0);
    struct str names[] = {
        name,
        str_of(cert->service),
        arena_strf(&arena, "%s.svc", cert->service),
        arena_strf(&arena, "%s.svc.cluster.local", cert->service),
        STR("localhost"),
        STR("127.0.0.1"),
        STR("::1"),
    };
    struct tls_issue issue = {
        .common_name = str_first(names[2], 64),
        .names = names,
        .name_count = COUNT_OF(names),
        .ca_pem = buf_str(&cert->ca),
        .ca_key_pem = buf_str(&cert->ca_key),
        .days = CERT_DAYS,
    };
    buf_clear(&cert->cert);
    buf_clear(&cert->key);
    bool good = tls_issue(&issue, &cert->cert, &cert->key, err) &&
                context_make(cert, buf_str(&cert->cert), buf_str(&cert->key), err);
    arena_deinit(&arena);
    return good;
}

static bool is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return text.len > 0 && text.len <= 63;
}

static bool service_check(struct str service, struct err *err)
{
    struct str space, name = str_cut(service, '.', &space);
    return (is_name(name) && is_name(space)) ||
           err_set(err, ERR_BAD_DATA, "\"" STR_FMT "\" is no Service: NAME.NAMESPACE is wanted",
                   STR_ARG(service));
}

static void look(void *ctx)
{
    struct kube_cert *cert = ctx;
    struct err err;
    bool ca_is_good =
        tls_pair_check(buf_str(&cert->ca), buf_str(&cert->ca_key), CERT_DAYS * DAY_SECONDS, &err);
    bool cert_is_good =
        tls_pair_check(buf_str(&cert->cert), buf_str(&cert->key), 30 * DAY_SECONDS, &err);
    bool good = ca_is_good || authority_make(cert, &err);
    if (good && (!ca_is_good || !cert_is_good))
        good = cert_make(cert, &err);
    if (!good)
        LOG_E("Cannot make a certificate for the metrics APIs", "err", err.text);
    if (!ca_is_good && cert->api_services.count > 0 && !cert->call)
        timer_start(cert->patch_timer, 0, 0);
}

/* --- caBundle --- */

static void patch_note(struct kube_cert *cert, const char *name, const struct err *err)
{
    cert->patch_failed = true;
    if (cert->patch_error && strcmp(cert->patch_error, err->text) == 0)
        return;
    mem_free(cert->patch_error);
    cert->patch_error = str_dup(str_of(err->text));
    LOG_W("Cannot set the caBundle of an APIService", "name", name, "err", err->text);
}

/* After one, the next; after the last, a pause. */
static void patch_go_on(struct kube_cert *cert)
{
    int64_t delay_ms = PATCH_AGAIN_MS;
    if (++cert->patch_at < cert->api_services.count) {
        timer_start(cert->patch_timer, 0, 0);
        return;
    }
    cert->patch_at = 0;
    if (!cert->patch_failed) {
        if (cert->patch_failures > 0 || cert->patch_error)
            LOG_I("The caBundle of the APIServices is set");
        mem_free(cert->patch_error);
        cert->patch_error = NULL;
        cert->patch_failures = 0;
        timer_start(cert->patch_timer, PATCH_REPEAT_MS, 0);
        return;
    }
    for (unsigned i = 0; i < cert->patch_failures && delay_ms < PATCH_AGAIN_MS_MAX; i++)
        delay_ms *= 2;
    cert->patch_failures++;
    cert->patch_failed = false;
    timer_start(cert->patch_timer, delay_ms < PATCH_AGAIN_MS_MAX ? delay_ms : PATCH_AGAIN_MS_MAX,
                0);
}

static void on_patched(void *ctx, const struct json *body, const struct err *err)
{
    struct kube_cert *cert = ctx;
    (void)body;
    cert->call = NULL;
    if (err->code != ERR_NONE)
        patch_note(cert, cert->api_services.items[cert->patch_at], err);
    else
        LOG_D("Set the caBundle of an APIService", "name",
              cert->api_services.items[cert->patch_at]);
    patch_go_on(cert);
}

static void patch_next(void *ctx)
{
    struct kube_cert *cert = ctx;
    const char *name = cert->api_services.items[cert->patch_at];
    struct buf path, body;
    struct err err;
    buf_init(&path, 4096);
    buf_init(&body, (size_t)64 << 10);
    BUF_ADD(&path, "/apis/apiregistration.k8s.io/v1/apiservices/");
    buf_add_url_escaped(&path, str_of(name));
    BUF_ADD(&body, "{\"spec\":{\"insecureSkipTLSVerify\":false,\"caBundle\":\"");
    buf_add_base64(&body, buf_str(&cert->ca));
    BUF_ADD(&body, "\"}}");
    struct kube_call_options options = {
        .method = "PATCH",
        .path = buf_str(&path),
        .content_type = "application/merge-patch+json",
        .body = buf_str(&body),
        .timeout_ms = PATCH_TIMEOUT_MS,
        .on_end = on_patched,
        .ctx = cert,
    };
    if (!kube_call(&cert->call, &cert->account, &options, &err)) {
        patch_note(cert, name, &err);
        patch_go_on(cert);
    }
    buf_deinit(&path);
    buf_deinit(&body);
}

/* --- life --- */

static bool files_begin(struct kube_cert *cert, struct err *err)
{
    if (!cert->cert_file[0] || !cert->key_file[0])
        return err_set(err, ERR_BAD_DATA, "certificate and key belong together");
    return files_refresh(cert, err);
}

static bool own_begin(struct kube_cert *cert, const struct kube_cert_options *options,
                      struct err *err)
{
    struct err ignored;
    if (!service_check(options->service, err))
        return false;
    bool has_authority = cert->dir[0] && authority_load(cert, &ignored);
    if ((!has_authority && !authority_make(cert, err)) || !cert_make(cert, err))
        return false;
    cert->look_timer = timer_new(options->loop, look, cert);
    timer_start(cert->look_timer, LOOK_MS, LOOK_MS);
    struct str rest = options->api_services;
    while (rest.len > 0) {
        struct str name = str_trim(str_cut(rest, ',', &rest));
        if (name.len > 0)
            VEC_PUSH(&cert->api_services, str_dup(name));
    }
    if (cert->api_services.count == 0)
        return true;
    if (!kube_account_check(&cert->account, err))
        return false;
    cert->patch_timer = timer_new(options->loop, patch_next, cert);
    timer_start(cert->patch_timer, 0, 0);
    return true;
}

bool kube_cert_open(struct kube_cert **out, const struct kube_cert_options *options,
                    struct err *err)
{
    struct kube_cert *cert = MEM_NEW(struct kube_cert);
    kube_account_init(&cert->account, options->client, options->api_server, options->token_file,
                      options->ca_file);
    cert->cert_file = str_dup(options->cert_file);
    cert->key_file = str_dup(options->key_file);
    cert->service = str_dup(options->service);
    cert->dir = str_dup(options->dir);
    buf_init(&cert->ca, PEM_BYTES_MAX);
    buf_init(&cert->ca_key, PEM_BYTES_MAX);
    buf_init(&cert->cert, PEM_BYTES_MAX);
    buf_init(&cert->key, PEM_BYTES_MAX);
    bool is_given = options->cert_file.len > 0 || options->key_file.len > 0;
    bool good = is_given ? files_begin(cert, err) : own_begin(cert, options, err);
    *out = good ? cert : NULL;
    if (!good)
        kube_cert_close(cert);
    return good;
}

struct str kube_cert_authority(const struct kube_cert *cert)
{
    return buf_str(&cert->ca);
}

void kube_cert_close(struct kube_cert *cert)
{
    if (!cert)
        return;
    kube_call_drop(cert->call);
    timer_free(cert->look_timer);
    timer_free(cert->patch_timer);
    tls_context_unref(cert->context);
    for (size_t i = 0; i < cert->api_services.count; i++)
        mem_free(cert->api_services.items[i]);
    VEC_FREE(&cert->api_services);
    buf_deinit(&cert->ca);
    buf_deinit(&cert->ca_key);
    buf_deinit(&cert->cert);
    buf_deinit(&cert->key);
    kube_account_deinit(&cert->account);
    mem_free(cert->cert_file);
    mem_free(cert->key_file);
    mem_free(cert->service);
    mem_free(cert->dir);
    mem_free(cert->last_error);
    mem_free(cert->patch_error);
    mem_free(cert);
}
