/* http_build: the HTTP client options of a block become the public struct. Texts are borrowed from
 * the sections' arena. */
#include "sections.h"

/* The HTTP fields stand in one run and one order in every block (HTTP_FIELDS in fields.def). */
#define HTTP_AT(values, field) ((values)[SCRAPE_##field - SCRAPE_basic_auth].as)

static struct str text_at(const struct section *section, size_t index)
{
    return section ? section->values[index].as.text : STR_EMPTY;
}

static bool has_text(const struct section *section, size_t index)
{
    return text_at(section, index).len > 0;
}

static void tls_build(struct config_http_client *out, const struct section *tls)
{
    out->ca_file = text_at(tls, TLS_ca_file);
    out->cert_file = text_at(tls, TLS_cert_file);
    out->key_file = text_at(tls, TLS_key_file);
    out->ca_pem = text_at(tls, TLS_ca);
    out->cert_pem = text_at(tls, TLS_cert);
    out->key_pem = text_at(tls, TLS_key);
    out->server_name = text_at(tls, TLS_server_name);
    out->insecure_skip_verify = tls->values[TLS_insecure_skip_verify].as.boolean;
    out->tls_min = text_at(tls, TLS_min_version);
    out->tls_max = text_at(tls, TLS_max_version);
    out->secret_ref |=
        has_text(tls, TLS_ca_ref) || has_text(tls, TLS_cert_ref) || has_text(tls, TLS_key_ref);
}

static void proxy_headers_build(struct arena *arena, struct config_http_client *out,
                                const struct value *value)
{
    out->proxy_header_count = value->as.pairs.count;
    out->proxy_headers =
        arena_alloc_array(arena, out->proxy_header_count, sizeof(*out->proxy_headers));
    for (size_t i = 0; i < out->proxy_header_count; i++) {
        const struct pair *pair = &value->as.pairs.items[i];
        out->proxy_headers[i] = (struct config_param){.name = pair->name, .values = pair->texts};
    }
}

static struct str_list lists_join(struct arena *arena, struct str_list a, struct str_list b)
{
    struct str_list out = {.count = a.count + b.count};
    out.items = arena_alloc_array(arena, out.count, sizeof(*out.items));
    for (size_t i = 0; i < out.count; i++)
        out.items[i] = i < a.count ? a.items[i] : b.items[i - a.count];
    return out;
}

static void headers_build(struct arena *arena, struct config_http_client *out,
                          const struct value *value)
{
    out->header_count = value->as.pairs.count;
    out->headers = arena_alloc_array(arena, out->header_count, sizeof(*out->headers));
    for (size_t i = 0; i < out->header_count; i++) {
        const struct pair *pair = &value->as.pairs.items[i];
        const struct value *v = pair->section->values;
        out->headers[i] = (struct config_http_header){
            .name = pair->name,
            .values = lists_join(arena, v[HEADER_values].as.texts, v[HEADER_secrets].as.texts),
            .files = v[HEADER_files].as.texts,
        };
    }
}

static struct config_oauth2 *oauth2_build(struct arena *arena, const struct section *section)
{
    if (!section)
        return NULL;
    struct config_oauth2 *out = ARENA_NEW(arena, struct config_oauth2);
    const struct value *v = section->values;
    const struct value *params = &v[OAUTH2_endpoint_params];

    out->client_id = v[OAUTH2_client_id].as.text;
    out->client_secret = v[OAUTH2_client_secret].as.text;
    out->client_secret_file = v[OAUTH2_client_secret_file].as.text;
    out->token_url = v[OAUTH2_token_url].as.text;
    out->grant_type = v[OAUTH2_grant_type].as.text;
    out->scopes = v[OAUTH2_scopes].as.texts;
    out->param_count = params->as.pairs.count;
    out->params = arena_alloc_array(arena, out->param_count, sizeof(*out->params));
    for (size_t i = 0; i < out->param_count; i++) {
        struct pair *pair = &params->as.pairs.items[i];
        out->params[i] = (struct config_param){pair->name, {&pair->text, 1}};
    }
    tls_build(&out->http, v[OAUTH2_tls_config].as.section);
    out->http.secret_ref |= v[OAUTH2_client_secret_ref].as.text.len > 0;
    out->http.proxy_url = v[OAUTH2_proxy_url].as.text;
    out->http.no_proxy = v[OAUTH2_no_proxy].as.text;
    out->http.proxy_from_environment = v[OAUTH2_proxy_from_environment].as.boolean;
    proxy_headers_build(arena, &out->http, &v[OAUTH2_proxy_connect_header]);
    return out;
}

void http_build(struct arena *arena, struct config_http_client *out, const struct value *v)
{
    const struct section *basic = HTTP_AT(v, basic_auth).section;
    const struct section *authorization = HTTP_AT(v, authorization).section;

    *out = (struct config_http_client){
        .basic_user = text_at(basic, BASIC_AUTH_username),
        .basic_password = text_at(basic, BASIC_AUTH_password),
        .basic_user_file = text_at(basic, BASIC_AUTH_username_file),
        .basic_password_file = text_at(basic, BASIC_AUTH_password_file),
        .authorization_type = text_at(authorization, AUTHORIZATION_type),
        .credentials = text_at(authorization, AUTHORIZATION_credentials),
        .credentials_file = text_at(authorization, AUTHORIZATION_credentials_file),
        .follow_redirects = HTTP_AT(v, follow_redirects).boolean,
        .enable_http2 = HTTP_AT(v, enable_http2).boolean,
        .secret_ref = has_text(basic, BASIC_AUTH_username_ref) ||
                      has_text(basic, BASIC_AUTH_password_ref) ||
                      has_text(authorization, AUTHORIZATION_credentials_ref),
        .proxy_url = HTTP_AT(v, proxy_url).text,
        .no_proxy = HTTP_AT(v, no_proxy).text,
        .proxy_from_environment = HTTP_AT(v, proxy_from_environment).boolean,
        .oauth2 = oauth2_build(arena, HTTP_AT(v, oauth2).section),
    };
    tls_build(out, HTTP_AT(v, tls_config).section);
    proxy_headers_build(arena, out, &v[SCRAPE_proxy_connect_header - SCRAPE_basic_auth]);
    headers_build(arena, out, &v[SCRAPE_http_headers - SCRAPE_basic_auth]);
}
