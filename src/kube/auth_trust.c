/* auth_trust: who is behind a client certificate.
 *
 *     read the ConfigMap -> watch it -> its end or an error -> (a pause) -> read it again ...
 *
 * kube-system/extension-apiserver-authentication says which authority signs the API server's front proxy and under which
 * names it comes; only such a connection's X-Remote-* headers are believed. The authority rotates, so the ConfigMap is
 * watched; what was known stays in force while it cannot be read. With files instead of it nothing is watched: they are
 * looked at for each certificate. */
#include <stdio.h>

#include "auth_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define CONFIG_MAP       "extension-apiserver-authentication"
#define MAPS_PATH        "/api/v1/namespaces/kube-system/configmaps"
#define READ_TIMEOUT_MS  20000
#define WATCH_SECONDS    300
#define WATCH_TIMEOUT_MS ((WATCH_SECONDS + 30) * INT64_C(1000))
#define AGAIN_MS         1000
#define AGAIN_MS_MAX     30000
#define NAMES_MAX        64
#define FILE_BYTES_MAX   ((size_t)4 << 20)

/* --- rules --- */

static void names_free(char ***items, size_t *count, size_t *capacity)
{
    for (size_t i = 0; i < *count; i++)
        mem_free((*items)[i]);
    mem_free(*items);
    *items = NULL;
    *count = *capacity = 0;
}

#define NAMES_FREE(list) names_free(&(list)->items, &(list)->count, &(list)->capacity)

void kube_trust_rules_deinit(struct kube_trust_rules *rules)
{
    tls_trust_unref(rules->proxy);
    tls_trust_unref(rules->clients);
    NAMES_FREE(&rules->names);
    NAMES_FREE(&rules->user_headers);
    NAMES_FREE(&rules->uid_headers);
    NAMES_FREE(&rules->group_headers);
    NAMES_FREE(&rules->extra_prefixes);
    *rules = (struct kube_trust_rules){0};
}

/* A JSON array of texts within a text; `fallback` when the key is absent. */
static bool names_parse(struct kube_trust_rules *rules, const struct json *data, const char *key,
                        const char *fallback, struct err *err)
{
    struct str text = json_str(json_get(data, key));
    struct json *list = NULL;
    if (text.len == 0)
        text = str_of(fallback);
    if (!json_parse(&list, text, err))
        return err_wrap(err, "%s", key);
    bool good = json_type(list) == JSON_ARRAY && json_count(list) <= NAMES_MAX;
    for (size_t i = 0; good && i < json_count(list); i++) {
        char *name = str_dup(json_str(json_at(list, i)));
        if (strcmp(key, "requestheader-allowed-names") == 0)
            VEC_PUSH(&rules->names, name);
        else if (strcmp(key, "requestheader-username-headers") == 0)
            VEC_PUSH(&rules->user_headers, name);
        else if (strcmp(key, "requestheader-uid-headers") == 0)
            VEC_PUSH(&rules->uid_headers, name);
        else if (strcmp(key, "requestheader-group-headers") == 0)
            VEC_PUSH(&rules->group_headers, name);
        else
            VEC_PUSH(&rules->extra_prefixes, name);
    }
    json_free(list);
    return good || err_set(err, ERR_BAD_DATA, "%s: no list of names", key);
}

static bool authorities_parse(struct tls_trust **out, const struct json *data, const char *key,
                              struct err *err)
{
    struct str pem = json_str(json_get(data, key));
    *out = NULL;
    return pem.len == 0 || tls_trust_new(out, pem, err) || err_wrap(err, "%s", key);
}

bool kube_trust_parse(struct kube_trust_rules *out, const struct json *data, struct err *err)
{
    struct kube_trust_rules rules = {0};
    bool good =
        authorities_parse(&rules.proxy, data, "requestheader-client-ca-file", err) &&
        authorities_parse(&rules.clients, data, "client-ca-file", err) &&
        names_parse(&rules, data, "requestheader-allowed-names", "[]", err) &&
        names_parse(&rules, data, "requestheader-username-headers", "[\"X-Remote-User\"]", err) &&
        names_parse(&rules, data, "requestheader-uid-headers", "[\"X-Remote-Uid\"]", err) &&
        names_parse(&rules, data, "requestheader-group-headers", "[\"X-Remote-Group\"]", err) &&
        names_parse(&rules, data, "requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]",
                    err);
    if (!good) {
        kube_trust_rules_deinit(&rules);
        return false;
    }
    kube_trust_rules_deinit(out);
    *out = rules;
    return true;
}

/* --- files --- */

static void note_error(struct kube_trust *trust, const struct err *err)
{
    if (trust->last_error && strcmp(trust->last_error, err->text) == 0)
        return;
    mem_free(trust->last_error);
    trust->last_error = str_dup(str_of(err->text));
    LOG_W("Cannot read who may ask", "from",
          trust->proxy_file[0] ? "files" : "kube-system/" CONFIG_MAP, "err", err->text);
}

static void forget_error(struct kube_trust *trust)
{
    mem_free(trust->last_error);
    trust->last_error = NULL;
}

static bool trust_from_file(struct tls_trust **out, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    bool good = text_file_read(str_of(path), &text, err) &&
                (tls_trust_new(out, buf_str(&text), err) || err_wrap(err, "%s", path));
    buf_deinit(&text);
    return good;
}

static void rules_default(struct kube_trust *trust)
{
    struct err err;
    struct str rest = str_of(trust->proxy_names), name;
    ENSURE(kube_trust_parse(&trust->rules, NULL, &err));
    while (rest.len > 0) {
        name = str_trim(str_cut(rest, ',', &rest));
        if (name.len > 0)
            VEC_PUSH(&trust->rules.names, str_dup(name));
    }
}

static bool files_read(struct kube_trust *trust, struct err *err)
{
    struct tls_trust *clients = NULL, *proxy = NULL;
    if ((trust->client_file[0] && !trust_from_file(&clients, trust->client_file, err)) ||
        (trust->proxy_file[0] && !trust_from_file(&proxy, trust->proxy_file, err))) {
        tls_trust_unref(clients);
        return false;
    }
    tls_trust_unref(trust->file_clients);
    trust->file_clients = clients;
    if (proxy) {
        rules_default(trust);
        trust->rules.proxy = proxy;
        trust->is_loaded = true;
    }
    return true;
}

void kube_trust_refresh(struct kube_trust *trust)
{
    struct text_file_stamp now = {0};
    struct err err;
    if (!trust->client_file[0] && !trust->proxy_file[0])
        return;
    text_file_stamp_add(&now, str_of(trust->client_file));
    text_file_stamp_add(&now, str_of(trust->proxy_file));
    if (!text_file_stamp_differs(&trust->stamp, &now))
        return;
    if (files_read(trust, &err)) {
        trust->stamp = now;
        forget_error(trust);
    } else {
        note_error(trust, &err);
    }
}

/* --- the ConfigMap --- */

static bool map_take(struct kube_trust *trust, const struct json *map, struct err *err)
{
    if (!kube_trust_parse(&trust->rules, json_get(map, "data"), err))
        return false;
    mem_free(trust->version);
    trust->version = str_dup(json_str(json_get(json_get(map, "metadata"), "resourceVersion")));
    trust->is_loaded = true;
    return true;
}

static bool on_event(void *ctx, struct str line, struct err *err)
{
    struct kube_trust *trust = ctx;
    struct json *event;
    if (!json_parse(&event, line, err))
        return false;
    struct str type = json_str(json_get(event, "type"));
    bool good = true;
    if (str_eq(type, STR("ADDED")) || str_eq(type, STR("MODIFIED")))
        good = map_take(trust, json_get(event, "object"), err);
    else if (!str_eq(type, STR("BOOKMARK")))
        good = err_set(
            err, ERR_UNAVAILABLE, "watch: " STR_FMT " " STR_FMT, STR_ARG(type),
            STR_ARG(str_first(json_str(json_get(json_get(event, "object"), "message")), 1000)));
    json_free(event);
    if (good)
        trust->failures = 0;
    return good;
}

static void map_again(struct kube_trust *trust, const struct err *err)
{
    int64_t delay_ms = AGAIN_MS;
    trust->is_watching = false;
    for (unsigned i = 0; i < trust->failures && delay_ms < AGAIN_MS_MAX; i++)
        delay_ms *= 2;
    trust->failures++;
    if (err)
        note_error(trust, err);
    timer_start(trust->timer, delay_ms < AGAIN_MS_MAX ? delay_ms : AGAIN_MS_MAX, 0);
}

static void on_watch_end(void *ctx, const struct json *body, const struct err *err)
{
    struct kube_trust *trust = ctx;
    (void)body;
    trust->call = NULL;
    map_again(trust, err->code == ERR_NONE || err->code == ERR_TIMEOUT ? NULL : err);
}

static void on_map(void *ctx, const struct json *body, const struct err *fetch_err)
{
    struct kube_trust *trust = ctx;
    struct err err = *fetch_err;
    trust->call = NULL;
    if (err.code != ERR_NONE || !map_take(trust, body, &err)) {
        map_again(trust, &err);
        return;
    }
    forget_error(trust);
    trust->is_watching = true;
    timer_start(trust->timer, 0, 0);
}

static void map_ask(void *ctx)
{
    struct kube_trust *trust = ctx;
    char path[500];
    struct err err;
    struct kube_call_options options = {
        .method = "GET", .timeout_ms = READ_TIMEOUT_MS, .on_end = on_map, .ctx = trust};
    if (trust->is_watching) {
        snprintf(path, sizeof(path),
                 MAPS_PATH "?fieldSelector=metadata.name%%3D" CONFIG_MAP
                           "&watch=true&resourceVersion=%.100s&timeoutSeconds=%d",
                 trust->version, WATCH_SECONDS);
        options.timeout_ms = WATCH_TIMEOUT_MS;
        options.on_line = on_event;
        options.on_end = on_watch_end;
    } else {
        snprintf(path, sizeof(path), "%s", MAPS_PATH "/" CONFIG_MAP);
    }
    options.path = str_of(path);
    if (!kube_call(&trust->call, trust->account, &options, &err))
        map_again(trust, &err);
}

/* --- life --- */

void kube_trust_open(struct kube_trust *trust, struct kube_account *account,
                     const struct kube_auth_options *options)
{
    *trust = (struct kube_trust){
        .account = account,
        .client_file = str_dup(options->client_ca_file),
        .proxy_file = str_dup(options->requestheader_ca_file),
        .proxy_names = str_dup(options->requestheader_names),
        .version = str_dup(STR_EMPTY),
    };
    trust->timer = timer_new(options->loop, map_ask, trust);
    kube_trust_refresh(trust);
    if (!trust->proxy_file[0])
        timer_start(trust->timer, 0, 0);
}

void kube_trust_close(struct kube_trust *trust)
{
    kube_call_drop(trust->call);
    timer_free(trust->timer);
    kube_trust_rules_deinit(&trust->rules);
    tls_trust_unref(trust->file_clients);
    mem_free(trust->client_file);
    mem_free(trust->proxy_file);
    mem_free(trust->proxy_names);
    mem_free(trust->version);
    mem_free(trust->last_error);
}

/* --- identities --- */

static bool name_is_one_of(struct str name, char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(name, str_of(items[i])))
            return true;
    return false;
}

/* The first header of the first name that is there. */
static struct str header_first(const struct http_request *request, char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str value = http_request_header(request, items[i]);
        if (value.len > 0)
            return value;
    }
    return STR_EMPTY;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The rest of the header's name, in lower case and unescaped. */
static struct str extra_name(struct arena *arena, struct str rest)
{
    char *out = arena_alloc(arena, rest.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.ptr[i];
        int high = i + 2 < rest.len ? hex_value(rest.ptr[i + 1]) : -1;
        int low = i + 2 < rest.len ? hex_value(rest.ptr[i + 2]) : -1;
        if (c == '%' && high >= 0 && low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c >= 'A' && c <= 'Z') {
            c = (char)(c | 0x20);
        }
        out[len++] = c;
    }
    return str_from(out, len);
}

static bool identify_by_headers(const struct kube_trust_rules *rules,
                                const struct http_request *request, struct arena *arena,
                                struct kube_identity *out)
{
    struct kube_identity_builder builder = {
        .user = header_first(request, rules->user_headers.items, rules->user_headers.count),
        .uid = header_first(request, rules->uid_headers.items, rules->uid_headers.count),
    };
    if (builder.user.len == 0)
        return false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_header header = request->headers[i];
        if (name_is_one_of(header.name, rules->group_headers.items, rules->group_headers.count) &&
            header.value.len > 0)
            VEC_PUSH(&builder.groups, header.value);
        for (size_t k = 0; k < rules->extra_prefixes.count; k++) {
            struct str prefix = str_of(rules->extra_prefixes.items[k]);
            if (prefix.len == 0 || header.name.len <= prefix.len ||
                !str_eq_nocase(str_first(header.name, prefix.len), prefix))
                continue;
            struct http_header item = {extra_name(arena, str_after(header.name, prefix.len)),
                                       header.value};
            VEC_PUSH(&builder.extra, item);
        }
    }
    kube_identity_build(&builder, arena, out);
    return true;
}

static bool identify_by_certificate(const struct tls_peer *peer, struct arena *arena,
                                    struct kube_identity *out)
{
    struct kube_identity_builder builder = {.user = peer->common_name};
    if (peer->common_name.len == 0)
        return false;
    for (size_t i = 0; i < peer->organization_count; i++)
        VEC_PUSH(&builder.groups, peer->organizations[i]);
    kube_identity_build(&builder, arena, out);
    return true;
}

/* Case counts in a common name. */
static bool may_proxy(const struct kube_trust_rules *rules, struct str name)
{
    for (size_t i = 0; i < rules->names.count; i++)
        if (str_eq(name, str_of(rules->names.items[i])))
            return true;
    return rules->names.count == 0;
}

enum kube_found kube_trust_identify(const struct kube_trust *trust, struct tls *tls,
                                    const struct http_request *request, struct arena *arena,
                                    struct kube_identity *out, struct err *err)
{
    const struct kube_trust_rules *rules = &trust->rules;
    struct tls_peer peer;
    bool is_known = false;
    if (!tls || !tls_peer_read(tls, arena, &peer))
        return KUBE_FOUND_NOBODY;
    err_set(err, ERR_UNAVAILABLE, "tls: no authority for the client's certificate");
    if (rules->proxy && tls_peer_verify(tls, rules->proxy, err)) {
        is_known = may_proxy(rules, peer.common_name);
        if (is_known && identify_by_headers(rules, request, arena, out))
            return KUBE_FOUND;
        if (is_known && rules->names.count > 0)
            return KUBE_FOUND_NOBODY; /* A proxy that speaks for nobody is no user, whoever signed it. */
        err_set(err, ERR_UNAVAILABLE,
                "x509: subject with cn=" STR_FMT " is not in the allowed list",
                STR_ARG(str_first(peer.common_name, 200)));
    }
    struct tls_trust *clients[] = {rules->clients, trust->file_clients};
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        if (!clients[i] || !tls_peer_verify(tls, clients[i], err))
            continue;
        is_known = true;
        if (identify_by_certificate(&peer, arena, out))
            return KUBE_FOUND;
    }
    return is_known ? KUBE_FOUND_NOBODY : KUBE_FOUND_BAD;
}
