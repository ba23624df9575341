/* kubernetes_api: where the API server is and who we are to it, read anew for each request: tokens
 * live for an hour, and certificates change, too.
 *
 *     api_server             the HTTP options of the block
 *     kubeconfig_file        its current context
 *     neither                the service account of the pod that this server runs in */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/number.h"
#include "kubernetes.h"

#define ACCOUNT_DIR    "/var/run/secrets/kubernetes.io/serviceaccount"
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define HEADER_COUNT   2

static const char *account_dir = ACCOUNT_DIR; /* Of the loop thread. */

void kube_api_set_account_dir(const char *dir)
{
    account_dir = dir ? dir : ACCOUNT_DIR;
}

static bool fd_read(int fd, struct buf *out)
{
    char chunk[8192];

    for (;;) {
        ssize_t len = read(fd, chunk, sizeof(chunk));
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return len == 0;
        buf_add(out, chunk, (size_t)len);
        if (out->overflow) {
            errno = EFBIG;
            return false;
        }
    }
}

static bool file_read(struct str path, struct arena *arena, struct str *out, struct err *err)
{
    struct str name = arena_str(arena, path);
    /* Without waiting: the name may be that of a pipe to which nobody writes. */
    int fd = open(name.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct buf text;

    if (fd < 0)
        return err_set(err, ERR_IO, "open %s: %s", name.ptr, strerror(errno));
    buf_init(&text, FILE_BYTES_MAX);
    bool good = fd_read(fd, &text);
    if (good)
        *out = arena_str(arena, buf_str(&text));
    else
        err_set(err, ERR_IO, "read %s: %s", name.ptr, strerror(errno));
    buf_deinit(&text);
    (void)close(fd);
    return good;
}

static bool secret_read(struct str path, struct arena *arena, struct str *out, struct err *err)
{
    if (!file_read(path, arena, out, err))
        return false;
    *out = str_trim(*out);
    return true;
}

static struct str account_file(struct arena *arena, const char *name)
{
    return arena_strf(arena, "%s/%s", account_dir, name);
}

bool kube_api_own_namespace(struct str *out, struct arena *arena, struct err *err)
{
    *out = STR_EMPTY;
    if (!secret_read(account_file(arena, "namespace"), arena, out, err))
        return err_wrap(err, "could not determine the pod's namespace");
    return out->len > 0 || err_set(err, ERR_BAD_DATA, "the pod's namespace is empty");
}

static bool in_cluster(struct http_fetch_options *out, struct arena *arena, struct str *base,
                       struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");

    if (!host || !*host || !port || !*port)
        return err_set(err, ERR_BAD_DATA,
                       "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
                       "KUBERNETES_SERVICE_PORT must be defined");
    *base = strchr(host, ':') ? arena_strf(arena, "https://[%s]:%s", host, port)
                              : arena_strf(arena, "https://%s:%s", host, port);
    out->proxy_from_environment = true;
    return secret_read(account_file(arena, "token"), arena, &out->bearer_token, err) &&
           file_read(account_file(arena, "ca.crt"), arena, &out->ca_pem, err);
}

static bool from_kubeconfig(struct http_fetch_options *out, struct str path, struct arena *arena,
                            struct str *base, struct err *err)
{
    struct config_kubeconfig file;
    struct str text;

    if (!file_read(path, arena, &text, err))
        return false;
    if (!config_kubeconfig_parse(&file, text, path, arena, err))
        return err_wrap(err, "kubeconfig_file " STR_FMT, STR_ARG(path));
    *base = file.server;
    out->server_name = file.server_name;
    out->proxy_url = file.proxy_url;
    out->insecure_skip_verify = file.insecure_skip_verify;
    out->ca_file = file.ca_file;
    out->ca_pem = file.ca_pem;
    out->cert_file = file.cert_pem.len > 0 ? STR_EMPTY : file.cert_file;
    out->cert_pem = file.cert_pem;
    out->key_file = file.key_pem.len > 0 ? STR_EMPTY : file.key_file;
    out->key_pem = file.key_pem;
    out->user = file.user;
    out->password = file.password;
    out->bearer_token = file.token;
    out->private_headers = file.headers;
    out->private_header_count = file.header_count;
    out->proxy_from_environment = file.proxy_url.len == 0;
    return file.token_file.len == 0 || secret_read(file.token_file, arena, &out->bearer_token, err);
}

bool kube_api_request(const struct kube_api *api, struct str path, struct http_fetch_options *out,
                      struct arena *arena, struct err *err)
{
    const struct config_kubernetes_sd *block = api->block;
    struct str *headers = arena_alloc_array(arena, HEADER_COUNT, sizeof(*headers));
    struct str base = block->api_server;
    bool good;

    *out = (struct http_fetch_options){0};
    headers[0] = arena_strf(arena, "User-Agent: " STR_FMT, STR_ARG(api->user_agent));
    headers[1] = STR("Accept: application/json");
    out->headers = headers;
    out->header_count = HEADER_COUNT;
    if (base.len > 0)
        good = config_http_fill(out, &block->http, arena, err);
    else if (block->kubeconfig_file.len > 0)
        good = from_kubeconfig(out, block->kubeconfig_file, arena, &base, err);
    else
        good = in_cluster(out, arena, &base, err);
    if (!good)
        return false;
    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    out->url = arena_strf(arena, STR_FMT STR_FMT, STR_ARG(base), STR_ARG(path));
    return true;
}

char *kube_api_path(enum kube_kind kind, struct str namespace)
{
    struct buf path;

    buf_init(&path, 4096);
    buf_addf(&path, "%s/", kube_kind_api(kind));
    if (namespace.len > 0 && kube_kind_is_namespaced(kind)) {
        BUF_ADD(&path, "namespaces/");
        buf_add_url_escaped(&path, namespace);
        buf_add_char(&path, '/');
    }
    buf_addf(&path, "%s", kube_kind_resource(kind));
    char *out = str_dup(buf_str(&path));
    buf_deinit(&path);
    return out;
}

static void query_add(struct buf *query, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_addf(query, "%s=", name);
    buf_add_url_escaped(query, value);
    buf_add_char(query, '&');
}

char *kube_api_query(struct str label, struct str field)
{
    struct buf query;

    buf_init(&query, 32768);
    query_add(&query, "labelSelector", label);
    query_add(&query, "fieldSelector", field);
    char *out = str_dup(buf_str(&query));
    buf_deinit(&query);
    return out;
}

bool kube_api_status_error(int status, struct str answer, struct err *err)
{
    struct str message = str_trim(answer);
    struct json *root = NULL;
    struct err ignored;

    if (json_parse(&root, answer, &ignored) && json_str(json_get(root, "message")).len > 0)
        message = json_str(json_get(root, "message"));
    err_set(err, status == 410 ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
            "server returned HTTP status %d: " STR_FMT, status, STR_ARG(str_first(message, 1000)));
    json_free(root);
    return false;
}
