/* check_http: the rules for URLs and for the HTTP client options that many blocks have. */
#include <stdio.h>

#include "sections.h"

/* The HTTP fields stand in one run and one order in every block (HTTP_FIELDS in fields.def). */
#define HTTP_AT(values, field) (&(values)[SCRAPE_##field - SCRAPE_basic_auth])

#define HTTP_RUN(section) (section##_http_headers - section##_basic_auth)
_Static_assert(HTTP_RUN(SCRAPE) == HTTP_RUN(ALERTMANAGER) &&
                   HTTP_RUN(SCRAPE) == HTTP_RUN(HTTP_SD) &&
                   HTTP_RUN(SCRAPE) == HTTP_RUN(KUBERNETES_SD),
               "HTTP fields stand in one run");

bool quoted_error(struct err *err, const char *before, struct str text, const char *after)
{
    struct buf quoted;
    buf_init(&quoted, ERR_TEXT_MAX);
    buf_add_go_quoted(&quoted, str_first(text, ERR_TEXT_MAX / 4));
    err_set(err, ERR_BAD_DATA, "%s" STR_FMT "%s", before, STR_ARG(buf_str(&quoted)), after);
    buf_deinit(&quoted);
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the scheme before "://" or ":", 0 when there is none. SIZE_MAX: the colon comes first.
 */
static size_t scheme_len(struct str url)
{
    for (size_t i = 0; i < url.len; i++) {
        char c = url.ptr[i];
        bool inner = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (c == ':')
            return i == 0 ? SIZE_MAX : i;
        if (!is_letter(c) && (i == 0 || !inner))
            return 0;
    }
    return 0;
}

static size_t find_any(struct str s, const char *chars)
{
    size_t i = 0;
    while (i < s.len && !strchr(chars, s.ptr[i]))
        i++;
    return i;
}

/* The part between "//" and the path. */
static struct str url_authority(struct str url)
{
    size_t start = str_find(url, STR("//"));
    if (start == url.len)
        return STR_EMPTY;
    struct str rest = str_after(url, start + 2);
    return str_first(rest, find_any(rest, "/?#"));
}

struct str url_scheme(struct str url)
{
    size_t len = scheme_len(url);
    return len == SIZE_MAX ? STR_EMPTY : str_first(url, len);
}

struct str url_host(struct str url)
{
    struct str host = url_authority(url);
    size_t at = host.len;
    while (at > 0 && host.ptr[at - 1] != '@')
        at--;
    return str_after(host, at);
}

static bool port_check(struct str url, struct err *err)
{
    struct str host = url_authority(url);
    size_t at = host.len;
    while (at > 0 && host.ptr[at - 1] != '@' && host.ptr[at - 1] != ']')
        at--;
    struct str rest = str_after(host, at);
    size_t colon = str_find_char(rest, ':');
    for (size_t i = colon + 1; i < rest.len; i++) {
        if (rest.ptr[i] >= '0' && rest.ptr[i] <= '9')
            continue;
        struct buf port;
        buf_init(&port, ERR_TEXT_MAX);
        BUF_ADD(&port, ": invalid port ");
        buf_add_go_quoted(&port, str_first(str_after(rest, colon), 200));
        BUF_ADD(&port, " after host");
        buf_add_char(&port, '\0');
        quoted_error(err, "parse ", url, port.ptr);
        buf_deinit(&port);
        return false;
    }
    return true;
}

/* What Go's url.Parse refuses, as far as a configuration gets it wrong. */
/* Bytes of a host that Go's net/url takes as they are. */
static bool host_check(struct str url, struct err *err)
{
    struct str host = url_authority(url);
    size_t at = host.len;

    while (at > 0 && host.ptr[at - 1] != '@')
        at--;
    for (; at < host.len; at++) {
        char c = host.ptr[at];
        if ((unsigned char)c > '~' || is_letter(c) || (c >= '0' && c <= '9') ||
            strchr("-_.~!$&'()*+,;=:[]<>\"%", c))
            continue;
        char text[64];
        (void)snprintf(text, sizeof(text),
                       c == '\\' ? ": invalid character \"\\\\\" in host name"
                                 : ": invalid character \"%c\" in host name",
                       c);
        return quoted_error(err, "parse ", url, text);
    }
    return true;
}

bool url_check(struct str url, struct err *err)
{
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] < 0x20 || url.ptr[i] == 0x7f)
            return quoted_error(err, "parse ", url, ": net/url: invalid control character in URL");
    size_t scheme = scheme_len(url);
    if (scheme == SIZE_MAX)
        return quoted_error(err, "parse ", url, ": missing protocol scheme");
    if (scheme == 0) {
        size_t slash = find_any(url, "/?#"), colon = str_find_char(url, ':');
        if (colon < slash)
            return quoted_error(err, "parse ", url,
                                ": first path segment in URL cannot contain colon");
    }
    return port_check(url, err) && host_check(url, err);
}

bool config_check_url(struct str url, struct err *err)
{
    return url_check(url, err);
}

static size_t count_set(const struct value *values, size_t a, size_t b, size_t c)
{
    return (size_t)(values[a].as.text.len > 0) + (size_t)(values[b].as.text.len > 0) +
           (size_t)(values[c].as.text.len > 0);
}

bool section_check_tls(struct decoder *decoder, struct section *section)
{
    const struct value *v = section->values;
    size_t certs = count_set(v, TLS_cert, TLS_cert_file, TLS_cert_ref);
    size_t keys = count_set(v, TLS_key, TLS_key_file, TLS_key_ref);
    const char *text = NULL;

    if (count_set(v, TLS_ca, TLS_ca_file, TLS_ca_ref) > 1)
        text = "at most one of ca, ca_file & ca_ref must be configured";
    else if (certs > 1)
        text = "at most one of cert, cert_file & cert_ref must be configured";
    else if (keys > 1)
        text = "at most one of key and key_file must be configured";
    else if (certs > 0 && keys == 0)
        text = "exactly one of key or key_file must be configured when a client certificate is "
               "configured";
    else if (keys > 0 && certs == 0)
        text = "exactly one of cert or cert_file must be configured when a client key is "
               "configured";
    return !text || err_set(decoder->err, ERR_BAD_DATA, "%s", text);
}

static const char *basic_auth_problem(const struct section *basic)
{
    const struct value *v = basic->values;
    if (count_set(v, BASIC_AUTH_username, BASIC_AUTH_username_file, BASIC_AUTH_username_ref) > 1)
        return "at most one of basic_auth username, username_file & username_ref must be "
               "configured";
    if (count_set(v, BASIC_AUTH_password, BASIC_AUTH_password_file, BASIC_AUTH_password_ref) > 1)
        return "at most one of basic_auth password, password_file & password_ref must be "
               "configured";
    return NULL;
}

static const char *authorization_problem(struct section *authorization)
{
    struct value *v = authorization->values;
    if (count_set(v, AUTHORIZATION_credentials, AUTHORIZATION_credentials_file,
                  AUTHORIZATION_credentials_ref) > 1)
        return "at most one of authorization credentials & credentials_file must be configured";
    struct str *type = &v[AUTHORIZATION_type].as.text;
    *type = str_trim(*type);
    if (type->len == 0)
        *type = STR("Bearer");
    if (str_eq_nocase(*type, STR("basic")))
        return "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
    return NULL;
}

/* Of a block of its own, and of oauth2. */
static const char *proxy_problem(const struct value *url, const struct value *no_proxy,
                                 const struct value *environment, const struct value *headers)
{
    bool has_url = url->as.text.len > 0, has_list = no_proxy->as.text.len > 0;
    bool from_environment = environment->as.boolean;

    if (headers->as.pairs.count > 0 && !from_environment && !has_url)
        return "if proxy_connect_header is configured, proxy_url or proxy_from_environment must "
               "also be configured";
    if (from_environment && has_url)
        return "if proxy_from_environment is configured, proxy_url must not be configured";
    if (from_environment && has_list)
        return "if proxy_from_environment is configured, no_proxy must not be configured";
    if (!has_url && has_list)
        return "if no_proxy is configured, proxy_url must also be configured";
    return NULL;
}

static const char *oauth2_problem(const struct section *oauth2)
{
    const struct value *v = oauth2->values;
    struct str algorithm = v[OAUTH2_signature_algorithm].as.text;
    if (v[OAUTH2_client_id].as.text.len == 0)
        return "oauth2 client_id must be configured";
    if (v[OAUTH2_token_url].as.text.len == 0)
        return "oauth2 token_url must be configured";
    if (!str_eq(v[OAUTH2_grant_type].as.text, STR("urn:ietf:params:oauth:grant-type:jwt-bearer"))) {
        if (count_set(v, OAUTH2_client_secret, OAUTH2_client_secret_file,
                      OAUTH2_client_secret_ref) > 1)
            return "at most one of oauth2 client_secret, client_secret_file & client_secret_ref "
                   "must be configured using grant-type=client_credentials";
        return NULL;
    }
    if (count_set(v, OAUTH2_client_certificate_key, OAUTH2_client_certificate_key_file,
                  OAUTH2_client_certificate_key_ref) > 1)
        return "at most one of oauth2 client_certificate_key, client_certificate_key_file & "
               "client_certificate_key_ref must be configured using "
               "grant-type=urn:ietf:params:oauth:grant-type:jwt-bearer";
    if (algorithm.len > 0 && !str_eq(algorithm, STR("RS256")) && !str_eq(algorithm, STR("RS384")) &&
        !str_eq(algorithm, STR("RS512")))
        return "valid signature algorithms are RS256, RS384 and RS512";
    return NULL;
}

static const char *const reserved_headers[] = {
    "Accept-Encoding",
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Host",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "User-Agent",
    "Www-Authenticate",
    "X-Amz-Content-Sha256",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
};

static bool headers_check(const struct value *headers, struct err *err)
{
    for (size_t i = 0; i < headers->as.pairs.count; i++)
        for (size_t k = 0; k < COUNT_OF(reserved_headers); k++)
            if (str_eq_nocase(headers->as.pairs.items[i].name, str_of(reserved_headers[k])))
                return err_set(err, ERR_BAD_DATA, "setting header \"%s\" is not allowed",
                               reserved_headers[k]);
    return true;
}

/* bearer_token and bearer_token_file are the old spelling of authorization. */
static void bearer_become_authorization(struct decoder *decoder, struct value *values)
{
    struct str *token = &HTTP_AT(values, bearer_token)->as.text;
    struct str *file = &HTTP_AT(values, bearer_token_file)->as.text;
    if (token->len == 0 && file->len == 0)
        return;
    struct section *authorization = section_new(decoder->arena, SECTION_AUTHORIZATION);
    authorization->values[AUTHORIZATION_type].as.text = STR("Bearer");
    authorization->values[AUTHORIZATION_credentials].as.text = *token;
    authorization->values[AUTHORIZATION_credentials_file].as.text = *file;
    HTTP_AT(values, authorization)->as.section = authorization;
    *token = *file = STR_EMPTY;
}

bool http_check(struct decoder *decoder, struct value *values)
{
    struct section *basic = HTTP_AT(values, basic_auth)->as.section;
    struct section *authorization = HTTP_AT(values, authorization)->as.section;
    struct section *oauth2 = HTTP_AT(values, oauth2)->as.section;
    bool token = HTTP_AT(values, bearer_token)->as.text.len > 0;
    bool file = HTTP_AT(values, bearer_token_file)->as.text.len > 0;
    const char *text = NULL;

    if (token && file)
        text = "at most one of bearer_token & bearer_token_file must be configured";
    else if ((basic || oauth2) && (token || file))
        text = "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be "
               "configured";
    if (!text && basic)
        text = basic_auth_problem(basic);
    if (!text && authorization && (token || file))
        text = "authorization is not compatible with bearer_token & bearer_token_file";
    if (!text && authorization)
        text = authorization_problem(authorization);
    if (!text && (authorization != NULL) + (basic != NULL) + (oauth2 != NULL) > 1)
        text = "at most one of basic_auth, oauth2 & authorization must be configured";
    if (!text && oauth2)
        text = oauth2_problem(oauth2);
    if (!text)
        text = proxy_problem(HTTP_AT(values, proxy_url), HTTP_AT(values, no_proxy),
                             HTTP_AT(values, proxy_from_environment),
                             HTTP_AT(values, proxy_connect_header));
    if (!text && oauth2)
        text = proxy_problem(&oauth2->values[OAUTH2_proxy_url], &oauth2->values[OAUTH2_no_proxy],
                             &oauth2->values[OAUTH2_proxy_from_environment],
                             &oauth2->values[OAUTH2_proxy_connect_header]);
    if (text)
        return err_set(decoder->err, ERR_BAD_DATA, "%s", text);
    bearer_become_authorization(decoder, values);
    return headers_check(HTTP_AT(values, http_headers), decoder->err);
}
