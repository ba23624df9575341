/* web_config: the file of --web.config.file, which Prometheus' exporter-toolkit reads: TLS, headers and users of the web
 * listeners. The order of checks is its, too: YAML, headers, users, TLS with its files. */
#include "base/mem.h"
#include "net/password.h"
#include "net/tls.h"
#include "sections.h"

/* Go's crypto/tls names, as the file has them, and OpenSSL's. Those of TLS 1.3 cannot be chosen: all are there. */
static const struct choice {
    const char *name, *ours;
} CIPHERS[] = {
    {"TLS_AES_128_GCM_SHA256", ""},
    {"TLS_AES_256_GCM_SHA384", ""},
    {"TLS_CHACHA20_POLY1305_SHA256", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"},
};

static const struct choice CURVES[] = {
    {"CurveP256", "P-256"},
    {"CurveP384", "P-384"},
    {"CurveP521", "P-521"},
    {"X25519", "X25519"},
};

static const struct choice *choice_find(const struct choice *choices, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_of(choices[i].name)))
            return &choices[i];
    return NULL;
}

static bool choices_check(const struct str_list *names, const struct choice *choices, size_t count,
                          const char *what, struct err *err)
{
    for (size_t i = 0; i < names->count; i++)
        if (!choice_find(choices, count, names->items[i]))
            return err_set(err, ERR_BAD_DATA, "unknown %s: " STR_FMT, what,
                           STR_ARG(names->items[i]));
    return true;
}

bool section_check_web_tls(struct decoder *decoder, struct section *section)
{
    return choices_check(&section->values[WEB_TLS_cipher_suites].as.texts, CIPHERS,
                         COUNT_OF(CIPHERS), "cipher", decoder->err) &&
           choices_check(&section->values[WEB_TLS_curve_preferences].as.texts, CURVES,
                         COUNT_OF(CURVES), "curve", decoder->err);
}

/* --- headers and users --- */

static const struct header_rule {
    const char *name;
    const char *values[2]; /* Allowed ones; none: any. */
} HEADERS[] = {
    {"Content-Security-Policy", {NULL}},     {"X-Frame-Options", {"deny", "sameorigin"}},
    {"X-Content-Type-Options", {"nosniff"}}, {"X-XSS-Protection", {NULL}},
    {"Strict-Transport-Security", {NULL}},
};

static bool header_refuse(const struct header_rule *rule, struct str value, struct err *err)
{
    struct buf text;
    buf_init(&text, 1024);
    buf_addf(&text, "invalid value for %s. Expected one of: [\"%s\"", rule->name, rule->values[0]);
    if (rule->values[1])
        buf_addf(&text, " \"%s\"", rule->values[1]);
    BUF_ADD(&text, "], but got: ");
    buf_add_char(&text, 0);
    quoted_error(err, text.ptr, value, "");
    buf_deinit(&text);
    return false;
}

static bool header_check(const struct config_web_pair *header, struct err *err)
{
    const struct header_rule *rule = NULL;
    for (size_t i = 0; i < COUNT_OF(HEADERS) && !rule; i++)
        if (str_eq(header->name, str_of(HEADERS[i].name)))
            rule = &HEADERS[i];
    if (!rule)
        return quoted_error(err, "HTTP header ", header->name, " can not be configured");
    bool good = !rule->values[0];
    for (size_t i = 0; i < COUNT_OF(rule->values) && rule->values[i]; i++)
        good = good || str_eq(header->value, str_of(rule->values[i]));
    return good || header_refuse(rule, header->value, err);
}

static const struct config_web_pair *pairs_build(struct arena *arena, const struct value *value,
                                                 size_t *count)
{
    *count = value->as.pairs.count;
    struct config_web_pair *pairs = arena_alloc_array(arena, *count, sizeof(*pairs));
    for (size_t i = 0; i < *count; i++)
        pairs[i] =
            (struct config_web_pair){value->as.pairs.items[i].name, value->as.pairs.items[i].text};
    return pairs;
}

/* --- the whole --- */

static struct str choices_join(struct arena *arena, const struct str_list *names,
                               const struct choice *choices, size_t count)
{
    struct buf text;
    buf_init(&text, (size_t)64 << 10);
    for (size_t i = 0; i < names->count; i++) {
        const struct choice *choice = choice_find(choices, count, names->items[i]);
        ENSURE(choice != NULL);
        if (choice->ours[0])
            buf_addf(&text, "%s%s", text.len > 0 ? ":" : "", choice->ours);
    }
    struct str out = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return out;
}

static int version_of(const struct value *value, int otherwise)
{
    return value->as.text.len == 5 ? 10 + value->as.text.ptr[4] - '0' : otherwise;
}

static void web_build(struct config_web *out, const struct section *root, struct arena *arena)
{
    const struct value *tls = root->values[WEB_tls_server_config].as.section->values;
    const struct value *http = root->values[WEB_http_server_config].as.section->values;
    const struct str_list *ciphers = &tls[WEB_TLS_cipher_suites].as.texts;
    *out = (struct config_web){
        .cert_file = tls[WEB_TLS_cert_file].as.text,
        .key_file = tls[WEB_TLS_key_file].as.text,
        .client_ca_file = tls[WEB_TLS_client_ca_file].as.text,
        .cert_pem = tls[WEB_TLS_cert].as.text,
        .key_pem = tls[WEB_TLS_key].as.text,
        .client_ca_pem = tls[WEB_TLS_client_ca].as.text,
        .client_auth = tls[WEB_TLS_client_auth_type].as.text,
        .client_names = tls[WEB_TLS_client_allowed_sans].as.texts,
        .ciphers = choices_join(arena, ciphers, CIPHERS, COUNT_OF(CIPHERS)),
        .groups =
            choices_join(arena, &tls[WEB_TLS_curve_preferences].as.texts, CURVES, COUNT_OF(CURVES)),
        .version_min = version_of(&tls[WEB_TLS_min_version], 12),
        .version_max = version_of(&tls[WEB_TLS_max_version], 13),
        .http2 = http[WEB_HTTP_http2].as.boolean,
    };
    if (ciphers->count > 0 && out->ciphers.len == 0)
        out->version_min = 13; /* Nothing is left for the older ones. */
    out->has_tls = out->cert_file.len + out->key_file.len + out->client_ca_file.len +
                       out->cert_pem.len + out->key_pem.len + out->client_ca_pem.len +
                       out->client_auth.len >
                   0;
    out->headers = pairs_build(arena, &http[WEB_HTTP_headers], &out->header_count);
    out->users = pairs_build(arena, &root->values[WEB_basic_auth_users], &out->user_count);
}

static bool web_check(const struct config_web *web, struct err *err)
{
    for (size_t i = 0; i < web->header_count; i++)
        if (!header_check(&web->headers[i], err))
            return false;
    for (size_t i = 0; i < web->user_count; i++)
        if (!password_hash_check(web->users[i].value, err))
            return false;
    return true;
}

bool config_web_parse(struct config_web *out, struct str text, struct str path, struct arena *arena,
                      struct err *err)
{
    struct section *root = section_new(arena, SECTION_WEB);
    struct decoder decoder;
    *out = (struct config_web){0};
    decoder_init(&decoder, arena, err);
    bool good = config_text_decode(&decoder, root, text);
    decoder_deinit(&decoder);
    if (!good)
        return false;
    section_join_paths(arena, root, path_dir(path));
    web_build(out, root, arena);
    return web_check(out, err);
}

bool config_web_load(struct config_web *out, struct str path, struct arena *arena, struct err *err)
{
    struct buf text;
    buf_init(&text, YAML_TEXT_MAX);
    bool good = config_file_read(path, &text, err) &&
                config_web_parse(out, buf_str(&text), path, arena, err);
    buf_deinit(&text);
    return good;
}

/* --- TLS --- */

static const struct auth_type {
    const char *name;
    bool asks, any, required;
} AUTH_TYPES[] = {
    {"", false, false, false},
    {"NoClientCert", false, false, false},
    {"RequestClientCert", true, true, false},
    {"RequireClientCert", true, true, true},
    {"RequireAnyClientCert", true, true, true},
    {"VerifyClientCertIfGiven", true, false, false},
    {"RequireAndVerifyClientCert", true, false, true},
};

static bool has_pem(struct str text, const char *what, struct err *err)
{
    return str_find(text, STR("-----BEGIN ")) < text.len ||
           err_set(err, ERR_BAD_DATA, "tls: failed to find any PEM data in %s input", what);
}

/* From the file when there is one. *out lives as long as `text`. */
static bool pem_read(struct str file, struct str pem, struct buf *text, struct str *out,
                     struct err *err)
{
    *out = pem;
    if (file.len == 0)
        return true;
    if (!config_file_read(file, text, err))
        return false;
    *out = buf_str(text);
    return true;
}

struct pem_texts {
    struct buf cert, key, ca;
};

static bool pair_read(const struct config_web *web, struct pem_texts *texts,
                      struct tls_options *out, struct err *err)
{
    return pem_read(web->cert_file, web->cert_pem, &texts->cert, &out->cert_pem, err) &&
           pem_read(web->key_file, web->key_pem, &texts->key, &out->key_pem, err) &&
           has_pem(out->cert_pem, "certificate", err) && has_pem(out->key_pem, "key", err);
}

/* The pair alone first, so that its errors are named as what they are. */
static bool pair_check(const struct tls_options *options, struct err *err)
{
    struct tls_options pair = {
        .server = true, .cert_pem = options->cert_pem, .key_pem = options->key_pem};
    struct tls_context *context;
    bool good = tls_context_new(&context, &pair, err);
    tls_context_unref(context);
    return good;
}

static bool clients_read(const struct config_web *web, struct pem_texts *texts,
                         struct tls_options *out, struct err *err)
{
    const struct auth_type *type = NULL;
    bool has_ca = web->client_ca_file.len > 0 || web->client_ca_pem.len > 0;
    struct str ca;
    if (!pem_read(web->client_ca_file, web->client_ca_pem, &texts->ca, &ca, err))
        return false;
    for (size_t i = 0; i < COUNT_OF(AUTH_TYPES) && !type; i++)
        if (str_eq(web->client_auth, str_of(AUTH_TYPES[i].name)))
            type = &AUTH_TYPES[i];
    if (!type)
        return err_set(err, ERR_BAD_DATA, "Invalid ClientAuth: " STR_FMT,
                       STR_ARG(web->client_auth));
    if (has_ca && !type->asks)
        return err_set(err, ERR_BAD_DATA,
                       "Client CA's have been configured without a Client Auth Policy");
    if (!type->asks)
        return true;
    out->client_names = web->client_names.items;
    out->client_name_count = web->client_names.count;
    out->client_cert_any = type->any;
    out->client_cert_required = type->required;
    out->client_cert_optional = !type->required;
    out->ca_pem = type->any ? STR_EMPTY : ca;
    /* Without authorities those of the system judge, as in Go. */
    out->system_authorities = !type->any && !has_ca;
    return true;
}

static bool tls_read(const struct config_web *web, struct pem_texts *texts, struct tls_options *out,
                     struct err *err)
{
    if (web->cert_file.len == 0 && web->cert_pem.len == 0)
        return err_set(err, ERR_BAD_DATA, "missing one of cert or cert_file");
    if (web->key_file.len == 0 && web->key_pem.len == 0)
        return err_set(err, ERR_BAD_DATA, "missing one of key or key_file");
    if (!pair_read(web, texts, out, err) || !pair_check(out, err))
        return err_wrap(err, "failed to load X509KeyPair");
    return clients_read(web, texts, out, err);
}

bool config_web_tls(struct tls_context **out, const struct config_web *web, struct err *err)
{
    struct tls_options options = {
        .server = true,
        .http1 = true,
        .version_min = web->version_min,
        .version_max = web->version_max,
        .ciphers = web->ciphers,
        .groups = web->groups,
    };
    struct pem_texts texts;
    *out = NULL;
    if (!web->has_tls)
        return true;
    buf_init(&texts.cert, (size_t)4 << 20);
    buf_init(&texts.key, (size_t)4 << 20);
    buf_init(&texts.ca, (size_t)16 << 20);
    bool good = tls_read(web, &texts, &options, err) && tls_context_new(out, &options, err);
    if (texts.key.len > 0)
        explicit_bzero(texts.key.ptr, texts.key.len);
    buf_deinit(&texts.cert);
    buf_deinit(&texts.key);
    buf_deinit(&texts.ca);
    return good;
}
