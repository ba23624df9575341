/* server_tls: see server_tls.h. */
#include "server_tls.h"

#include "base/log.h"

/* All that was given, commas between. */
static void join_flag(struct buf *out, const struct options *options, const char *name)
{
    for (size_t i = 0; i < option_count(options, name); i++)
        buf_addf(out, "%s" STR_FMT, i ? "," : "", STR_ARG(option_at(options, name, i)));
}

static bool cert_open(struct kube_door *door, const struct options *options, struct uv_loop_s *loop,
                      struct http_client *client, struct err *err)
{
    struct buf services;
    buf_init(&services, 1 << 16);
    join_flag(&services, options, "kube.api-services");
    struct kube_cert_options cert = {
        .loop = loop,
        .client = client,
        .api_server = option_string(options, "kube.api-server"),
        .token_file = option_string(options, "kube.api-server.token-file"),
        .ca_file = option_string(options, "kube.api-server.ca-file"),
        .cert_file = option_string(options, "kube.cert-file"),
        .key_file = option_string(options, "kube.key-file"),
        .service = option_string(options, "kube.service"),
        .dir = option_string(options, "storage.tsdb.path"),
        .api_services = buf_str(&services),
    };
    bool has_file = cert.cert_file.len > 0 || cert.key_file.len > 0;
    bool good = true;
    if (has_file || cert.service.len > 0)
        good = kube_cert_open(&door->cert, &cert, err);
    else if (!option_bool(options, "kube.insecure-no-auth"))
        good = err_set(err, ERR_BAD_DATA,
                       "--kube.listen-address needs --kube.cert-file and --kube.key-file, or "
                       "--kube.service to make a certificate for");
    buf_deinit(&services);
    return good;
}

bool kube_door_open(struct kube_door *out, const struct options *options, struct uv_loop_s *loop,
                    struct http_client *client, struct err *err)
{
    struct kube_auth_options auth = {
        .loop = loop,
        .client = client,
        .api_server = option_string(options, "kube.api-server"),
        .token_file = option_string(options, "kube.api-server.token-file"),
        .ca_file = option_string(options, "kube.api-server.ca-file"),
        .client_ca_file = option_string(options, "kube.client-ca-file"),
        .requestheader_ca_file = option_string(options, "kube.requestheader-client-ca-file"),
        .requestheader_names = option_string(options, "kube.requestheader-allowed-names"),
    };
    *out = (struct kube_door){0};
    if (!cert_open(out, options, loop, client, err))
        return false;
    if (option_bool(options, "kube.insecure-no-auth")) {
        LOG_W("Everyone may ask the metrics APIs", "flag", "--kube.insecure-no-auth");
        return true;
    }
    if (kube_auth_open(&out->auth, &auth, err))
        return true;
    kube_door_close(out);
    return false;
}

void kube_door_set_listener(const struct kube_door *door, struct http_server_options *listener)
{
    listener->tls_context = door->cert ? kube_cert_context : NULL;
    listener->tls_ctx = door->cert;
}

void kube_door_close(struct kube_door *door)
{
    kube_auth_close(door->auth);
    kube_cert_close(door->cert);
    *door = (struct kube_door){0};
}
