/* http_auth: what a block says about its requests, as the options of one. Files with secrets are
 * read each time: they change while the configuration stays. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/vec.h"
#include "config.h"
#include "net/http_client.h"

#define SECRET_BYTES_MAX 65536
#define JWT_BEARER       STR("urn:ietf:params:oauth:grant-type:jwt-bearer")

/* --- files --- */

static bool read_failed(struct err *err, struct str path, const char *what, const char *verb,
                        int errno_value)
{
    const char *why = strerror(errno_value);
    return err_set(err, ERR_IO, "unable to read %s " STR_FMT ": %s " STR_FMT ": %c%s", what,
                   STR_ARG(path), verb, STR_ARG(path), tolower((unsigned char)why[0]), why + 1);
}

static bool file_read_secret(struct str path, const char *what, struct arena *arena,
                             struct str *out, struct err *err)
{
    struct str name = arena_str(arena, path);
    char *bytes = arena_alloc(arena, SECRET_BYTES_MAX);
    size_t len = 0;
    ssize_t got = 1;

    /* Without waiting: the name may be that of a pipe to which nobody writes. */
    int fd = open(name.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return read_failed(err, path, what, "open", errno);
    while (got > 0 && len < SECRET_BYTES_MAX) {
        got = read(fd, bytes + len, SECRET_BYTES_MAX - len);
        len += got > 0 ? (size_t)got : 0;
    }
    int saved = errno;
    (void)close(fd);
    if (got < 0)
        return read_failed(err, path, what, "read", saved);
    *out = str_trim(str_from(bytes, len));
    return true;
}

static bool secret_get(struct str text, struct str file, const char *what, struct arena *arena,
                       struct str *out, struct err *err)
{
    *out = text;
    if (file.len == 0 || file_read_secret(file, "file", arena, out, err))
        return true;
    return err_wrap(err, "unable to read %s", what);
}

/* --- authorization --- */

static bool auth_fill(struct http_fetch_options *out, struct str *header,
                      const struct config_http_client *http, struct arena *arena, struct err *err)
{
    struct str secret;

    if (!secret_get(http->basic_user, http->basic_user_file, "basic auth username", arena,
                    &out->user, err) ||
        !secret_get(http->basic_password, http->basic_password_file, "basic auth password", arena,
                    &out->password, err) ||
        !secret_get(http->credentials, http->credentials_file, "authorization credentials", arena,
                    &secret, err))
        return false;
    if (secret.len == 0)
        return true;
    if (http->authorization_type.len == 0 || str_eq_nocase(http->authorization_type, STR("Bearer")))
        out->bearer_token = secret;
    else
        *header = arena_strf(arena, "Authorization: " STR_FMT " " STR_FMT,
                             STR_ARG(http->authorization_type), STR_ARG(secret));
    return true;
}

static struct str header_line(struct arena *arena, struct str name, struct str value)
{
    return arena_strf(arena, STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(value));
}

static size_t private_headers_max(const struct config_http_client *http)
{
    size_t count = 1; /* Authorization. */
    for (size_t i = 0; i < http->header_count; i++)
        count += http->headers[i].values.count + http->headers[i].files.count;
    return count;
}

static bool private_headers_fill(struct http_fetch_options *out, struct str authorization,
                                 const struct config_http_client *http, struct arena *arena,
                                 struct err *err)
{
    struct str *lines = arena_alloc_array(arena, private_headers_max(http), sizeof(*lines));
    size_t count = 0;

    if (authorization.len > 0)
        lines[count++] = authorization;
    for (size_t i = 0; i < http->header_count; i++) {
        const struct config_http_header *header = &http->headers[i];
        for (size_t k = 0; k < header->values.count; k++)
            lines[count++] = header_line(arena, header->name, header->values.items[k]);
        for (size_t k = 0; k < header->files.count; k++) {
            struct str value;
            if (!file_read_secret(header->files.items[k], "headers file", arena, &value, err))
                return false;
            lines[count++] = header_line(arena, header->name, value);
        }
    }
    out->private_headers = lines;
    out->private_header_count = count;
    return true;
}

/* --- TLS and proxy: of the block's requests, and of its token's --- */

static enum http_tls_version tls_version(struct str name)
{
    static const char *const names[] = {"", "TLS10", "TLS11", "TLS12", "TLS13"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_of(names[i])))
            return (enum http_tls_version)i;
    return HTTP_TLS_DEFAULT;
}

static void proxy_headers_fill(struct http_fetch_options *out,
                               const struct config_http_client *http, struct arena *arena)
{
    VEC(struct str) lines = {0};
    for (size_t i = 0; i < http->proxy_header_count; i++)
        for (size_t k = 0; k < http->proxy_headers[i].values.count; k++)
            VEC_PUSH(&lines, header_line(arena, http->proxy_headers[i].name,
                                         http->proxy_headers[i].values.items[k]));
    struct str *copy = arena_alloc_array(arena, lines.count, sizeof(*copy));
    for (size_t i = 0; i < lines.count; i++)
        copy[i] = lines.items[i];
    out->proxy_headers = copy;
    out->proxy_header_count = lines.count;
    VEC_FREE(&lines);
}

static bool connection_fill(struct http_fetch_options *out, const struct config_http_client *http,
                            struct arena *arena, struct err *err)
{
    if (http->secret_ref)
        return err_set(err, ERR_BAD_DATA, "cannot use secret ref without manager");
    out->ca_file = http->ca_file;
    out->cert_file = http->cert_file;
    out->key_file = http->key_file;
    out->ca_pem = http->ca_pem;
    out->cert_pem = http->cert_pem;
    out->key_pem = http->key_pem;
    out->server_name = http->server_name;
    out->insecure_skip_verify = http->insecure_skip_verify;
    out->tls_min = tls_version(http->tls_min);
    out->tls_max = tls_version(http->tls_max);
    out->proxy_url = http->proxy_url;
    out->no_proxy = http->no_proxy;
    out->proxy_from_environment = http->proxy_from_environment;
    proxy_headers_fill(out, http, arena);
    return true;
}

/* --- OAuth2 --- */

/* The token request has the block's User-Agent. */
static void user_agent_fill(struct http_fetch_options *request,
                            const struct http_fetch_options *from)
{
    for (size_t i = 0; i < from->header_count; i++) {
        if (!str_starts(from->headers[i], STR("User-Agent:")))
            continue;
        request->headers = &from->headers[i];
        request->header_count = 1;
    }
}

static bool oauth2_fill(struct http_fetch_options *out, const struct config_http_client *http,
                        struct arena *arena, struct err *err)
{
    const struct config_oauth2 *config = http->oauth2;
    struct http_fetch_options *request = ARENA_NEW(arena, struct http_fetch_options);
    struct http_oauth2 *oauth2 = ARENA_NEW(arena, struct http_oauth2);
    struct http_oauth2_param *params =
        arena_alloc_array(arena, config->param_count, sizeof(*params));

    if (str_eq(config->grant_type, JWT_BEARER))
        return err_set(err, ERR_BAD_DATA, "oauth2: the grant type jwt-bearer is not supported");
    if (!secret_get(config->client_secret, config->client_secret_file, "oauth2 client secret",
                    arena, &oauth2->client_secret, err) ||
        !connection_fill(request, &config->http, arena, err))
        return false;
    request->http1_only = !http->enable_http2;
    user_agent_fill(request, out);
    for (size_t i = 0; i < config->param_count; i++)
        params[i] =
            (struct http_oauth2_param){config->params[i].name, config->params[i].values.items[0]};
    oauth2->client_id = config->client_id;
    oauth2->token_url = config->token_url;
    oauth2->scopes = config->scopes.items;
    oauth2->scope_count = config->scopes.count;
    oauth2->params = params;
    oauth2->param_count = config->param_count;
    oauth2->request = request;
    out->oauth2 = oauth2;
    return true;
}

bool config_http_fill(struct http_fetch_options *out, const struct config_http_client *http,
                      struct arena *arena, struct err *err)
{
    struct str authorization = STR_EMPTY;

    out->follow_redirects = http->follow_redirects;
    out->http1_only = !http->enable_http2;
    return connection_fill(out, http, arena, err) &&
           auth_fill(out, &authorization, http, arena, err) &&
           private_headers_fill(out, authorization, http, arena, err) &&
           (!http->oauth2 || oauth2_fill(out, http, arena, err));
}
