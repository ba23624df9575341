/* listen_tls: see listen_tls.h. As redis_exporter: certificate and key make it HTTPS, an authority makes clients show a
 * certificate of its. The files are read again when they change. */
#include "listen_tls.h"

#include "base/log.h"

static const char *const VERSIONS[] = {"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"};

static bool version_parse(struct str text, int *out, struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(VERSIONS); i++) {
        *out = 10 + (int)i;
        if (str_eq(text, str_of(VERSIONS[i])))
            return true;
    }
    return err_set(err, ERR_BAD_DATA, "tls-server-min-version: unknown version " STR_FMT,
                   STR_ARG(text));
}

static bool refresh(struct listen_tls *listen, struct err *err)
{
    const struct flags *flags = listen->flags;
    struct text_file_stamp now = {0};
    struct tls_context *fresh;
    struct tls_options options = {
        .server = true,
        .http1 = true,
        .cert_file = flags->tls_server_cert_file,
        .key_file = flags->tls_server_key_file,
        .ca_file = flags->tls_server_ca_cert_file,
    };
    text_file_stamp_add(&now, options.cert_file);
    text_file_stamp_add(&now, options.key_file);
    text_file_stamp_add(&now, options.ca_file);
    if (listen->context && !text_file_stamp_differs(&listen->stamp, &now))
        return true;
    if (!version_parse(flags->tls_server_min_version, &options.version_min, err) ||
        !tls_context_new(&fresh, &options, err))
        return false;
    tls_context_unref(listen->context);
    listen->context = fresh;
    listen->stamp = now;
    return true;
}

bool listen_tls_open(struct listen_tls *out, const struct flags *flags, struct err *err)
{
    *out = (struct listen_tls){.flags = flags};
    if (flags->tls_server_cert_file.len == 0 && flags->tls_server_key_file.len == 0) {
        return flags->tls_server_ca_cert_file.len == 0 ||
               err_set(err, ERR_BAD_DATA, "tls-server-ca-cert-file needs a certificate and a key");
    }
    return refresh(out, err);
}

struct tls_context *listen_tls_context(void *ctx)
{
    struct listen_tls *listen = ctx;
    struct err err;
    bool good = refresh(listen, &err);
    if (!good && !listen->has_failed)
        LOG_W("Cannot read the listener's certificate", "err", err.text);
    listen->has_failed = !good;
    return listen->context;
}

void listen_tls_close(struct listen_tls *listen)
{
    tls_context_unref(listen->context);
    listen->context = NULL;
}
