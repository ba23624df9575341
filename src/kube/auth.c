/* auth: who asks, and whether they may. In the order of the API server's own extension servers: front proxy, client
 * certificate, bearer token, anonymous; then a SubjectAccessReview unless it is system:masters.
 *
 *     check_begin -> [token review] -> identified -> [access review] -> finish
 *
 * A credential that is shown and bad is 401, also when it is one of several that are bad; who shows none is
 * system:anonymous. Answers of the API server hold ten seconds, good and bad ones. */
#include <stdio.h>

#include "auth_parts.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#define REVIEW_TIMEOUT_MS 10000
#define REVIEW_KEPT_MS    10000
#define REVIEWS_MAX       256 /* At once. */
#define REVIEWS_UNKNOWN_MAX                                                                        \
    192 /* Of these for those whom nothing is known of yet: anybody can have them made. */
#define REVIEW_BYTES_MAX    ((size_t)512 << 10)
#define TOKEN_BYTES_MAX     ((size_t)32 << 10)
#define TOKEN_REVIEWS_PATH  "/apis/authentication.k8s.io/v1/tokenreviews"
#define ACCESS_REVIEWS_PATH "/apis/authorization.k8s.io/v1/subjectaccessreviews"

struct kube_auth {
    struct kube_account account;
    struct kube_trust trust;
    struct kube_auth_cache tokens, access;
    struct list checks; /* That wait for a review. */
    size_t check_count;
    int64_t complained_ms;
};

struct check {
    struct list_node node; /* In auth->checks. */
    struct kube_auth *auth;
    struct http_exchange *exchange;
    struct arena *arena;               /* Of the exchange. */
    struct kube_attributes attributes; /* Texts in the arena. */
    struct kube_identity identity;
    struct kube_auth_key key; /* Of the review under way. */
    struct kube_call *call;
    bool has_failed; /* A credential was bad. */
    bool is_known;   /* One was good. */
    kube_verdict_fn done;
    void *ctx;
};

/* --- ends --- */

static void finish(struct check *check, int status, const char *reason, struct str message)
{
    struct kube_verdict verdict = {
        .status = status,
        .reason = str_of(reason),
        .message = message,
        .user = check->identity.user,
    };
    kube_verdict_fn done = check->done;
    void *ctx = check->ctx;
    if (list_linked(&check->node)) {
        list_remove(&check->node);
        check->auth->check_count--;
    }
    done(ctx, &verdict); /* The exchange's arena may be gone after this. */
    mem_free(check);
}

static void finish_allowed(struct check *check)
{
    finish(check, 200, "", STR_EMPTY);
}

static void finish_unauthorized(struct check *check)
{
    finish(check, 401, "Unauthorized", STR("Unauthorized"));
}

static void finish_broken(struct check *check, const char *what, const struct err *err)
{
    struct kube_auth *auth = check->auth;
    int64_t now_ms = clock_mono_ms();
    if (auth->complained_ms == 0 || now_ms - auth->complained_ms > REVIEW_KEPT_MS) {
        auth->complained_ms = now_ms;
        LOG_W("Cannot ask the API server who may ask", "what", what, "err", err->text);
    }
    finish(check, 500, "InternalError",
           arena_strf(check->arena, "Internal error occurred: %s: %s", what, err->text));
}

static void add_quoted(struct buf *out, const char *before, struct str text)
{
    buf_addf(out, "%s", before);
    buf_add_go_quoted(out, text);
}

static void finish_forbidden(struct check *check, struct str why)
{
    const struct kube_attributes *a = &check->attributes;
    struct buf text;
    buf_init(&text, (size_t)64 << 10);
    bool is_path = a->path.len > 0;
    if (!is_path) {
        buf_addf(&text, STR_FMT "." STR_FMT " ", STR_ARG(a->resource), STR_ARG(a->group));
        if (a->name.len > 0)
            buf_add_go_quoted(&text, a->name);
        buf_addf(&text, "%sis ", a->name.len > 0 ? " " : "");
    }
    add_quoted(&text, "forbidden: User ", check->identity.user);
    buf_addf(&text, " cannot " STR_FMT, STR_ARG(a->verb));
    if (is_path) {
        add_quoted(&text, " path ", a->path);
    } else {
        add_quoted(&text, " resource ",
                   a->subresource.len > 0
                       ? arena_strf(check->arena, STR_FMT "/" STR_FMT, STR_ARG(a->resource),
                                    STR_ARG(a->subresource))
                       : a->resource);
        add_quoted(&text, " in API group ", a->group);
        if (a->namespace_name.len > 0)
            add_quoted(&text, " in the namespace ", a->namespace_name);
        else
            BUF_ADD(&text, " at the cluster scope");
    }
    if (why.len > 0)
        buf_addf(&text, ": " STR_FMT, STR_ARG(why));
    struct str message = arena_str(check->arena, buf_str(&text));
    buf_deinit(&text);
    finish(check, 403, "Forbidden", message);
}

/* --- reviews --- */

static bool review_post(struct check *check, const char *path, struct str body, kube_end_fn on_end,
                        const char *what)
{
    struct kube_call_options options = {
        .method = "POST",
        .path = str_of(path),
        .content_type = "application/json",
        .body = body,
        .timeout_ms = REVIEW_TIMEOUT_MS,
        .on_end = on_end,
        .ctx = check,
    };
    struct err err;
    if (check->auth->check_count >= (check->is_known ? REVIEWS_MAX : REVIEWS_UNKNOWN_MAX)) {
        finish(check, 503, "ServiceUnavailable", STR("too many reviews are under way"));
        return false;
    }
    if (!kube_call(&check->call, &check->auth->account, &options, &err)) {
        finish_broken(check, what, &err);
        return false;
    }
    list_push_back(&check->auth->checks, &check->node);
    check->auth->check_count++;
    return true;
}

static void review_ended(struct check *check)
{
    check->call = NULL;
    list_remove(&check->node);
    check->auth->check_count--;
}

/* --- access --- */

static void on_access(void *ctx, const struct json *body, const struct err *err)
{
    struct check *check = ctx;
    const struct json *status = json_get(body, "status");
    struct kube_auth_entry entry = {.key = check->key,
                                    .until_ms = clock_mono_ms() + REVIEW_KEPT_MS};
    review_ended(check);
    if (err->code != ERR_NONE) {
        finish_broken(check, "cannot review access", err);
        return;
    }
    struct str why = json_str(json_get(status, "reason"));
    entry.good = json_bool(json_get(status, "allowed")) && !json_bool(json_get(status, "denied"));
    kube_auth_cache_put(&check->auth->access, &entry, STR_EMPTY, why);
    if (entry.good)
        finish_allowed(check);
    else
        finish_forbidden(check, why);
}

static void add_member(struct buf *out, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    if (out->ptr[out->len - 1] != '{')
        buf_add_char(out, ',');
    buf_addf(out, "\"%s\":", name);
    buf_add_json_string(out, value);
}

static void write_access(const struct check *check, struct buf *out)
{
    const struct kube_attributes *a = &check->attributes;
    BUF_ADD(out, "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\","
                 "\"spec\":{");
    buf_add_str(out, check->identity.json);
    if (a->path.len > 0) {
        BUF_ADD(out, ",\"nonResourceAttributes\":{");
        add_member(out, "path", a->path);
        add_member(out, "verb", a->verb);
    } else {
        BUF_ADD(out, ",\"resourceAttributes\":{");
        add_member(out, "namespace", a->namespace_name);
        add_member(out, "verb", a->verb);
        add_member(out, "group", a->group);
        add_member(out, "version", a->version);
        add_member(out, "resource", a->resource);
        add_member(out, "subresource", a->subresource);
        add_member(out, "name", a->name);
    }
    BUF_ADD(out, "}}}");
}

static void ask_access(struct check *check)
{
    struct buf text;
    if (check->identity.is_master) {
        finish_allowed(check);
        return;
    }
    buf_init(&text, REVIEW_BYTES_MAX);
    write_access(check, &text);
    check->key = kube_auth_key_of(buf_str(&text));
    const struct kube_auth_entry *known =
        kube_auth_cache_find(&check->auth->access, &check->key, clock_mono_ms());
    if (known && known->good)
        finish_allowed(check);
    else if (known)
        finish_forbidden(check, arena_str(check->arena, str_of(known->text)));
    else if (text.overflow)
        finish(check, 400, "BadRequest", STR("the request is too large to be reviewed"));
    else
        (void)review_post(check, ACCESS_REVIEWS_PATH, buf_str(&text), on_access,
                          "cannot review access");
    buf_deinit(&text);
}

/* --- who it is --- */

static void nobody_known(struct check *check)
{
    struct kube_identity_builder builder = {.user = STR("system:anonymous")};
    if (check->has_failed) {
        finish_unauthorized(check);
        return;
    }
    VEC_PUSH(&builder.groups, STR("system:unauthenticated"));
    kube_identity_build(&builder, check->arena, &check->identity);
    ask_access(check);
}

static void on_token(void *ctx, const struct json *body, const struct err *err)
{
    struct check *check = ctx;
    const struct json *status = json_get(body, "status");
    struct kube_auth_entry entry = {.key = check->key,
                                    .until_ms = clock_mono_ms() + REVIEW_KEPT_MS};
    review_ended(check);
    if (err->code != ERR_NONE) {
        finish_broken(check, "cannot review a token", err);
        return;
    }
    entry.good = json_bool(json_get(status, "authenticated"));
    if (entry.good)
        kube_identity_from_json(json_get(status, "user"), check->arena, &check->identity);
    entry.is_master = check->identity.is_master;
    kube_auth_cache_put(&check->auth->tokens, &entry, check->identity.user, check->identity.json);
    check->is_known = entry.good;
    if (entry.good)
        ask_access(check);
    else
        finish_unauthorized(check);
}

static void ask_token(struct check *check, struct str token)
{
    struct buf text;
    check->key = kube_auth_key_of(token);
    const struct kube_auth_entry *known =
        kube_auth_cache_find(&check->auth->tokens, &check->key, clock_mono_ms());
    if (known && known->good) {
        check->identity = (struct kube_identity){
            .user = arena_str(check->arena, str_of(known->user)),
            .json = arena_str(check->arena, str_of(known->text)),
            .is_master = known->is_master,
        };
        check->is_known = true;
        ask_access(check);
        return;
    }
    if (known || token.len > TOKEN_BYTES_MAX) {
        finish_unauthorized(check);
        return;
    }
    buf_init(&text, REVIEW_BYTES_MAX);
    BUF_ADD(&text, "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\","
                   "\"spec\":{\"token\":");
    buf_add_json_string(&text, token);
    BUF_ADD(&text, "}}");
    (void)review_post(check, TOKEN_REVIEWS_PATH, buf_str(&text), on_token, "cannot review a token");
    buf_deinit(&text);
}

/* Empty when there is none. */
static struct str bearer_token(const struct http_request *request)
{
    struct str header = http_request_header(request, "Authorization");
    if (!str_eq_nocase(str_first(header, 7), STR("Bearer ")))
        return STR_EMPTY;
    return str_trim(str_after(header, 7));
}

static struct kube_attributes attributes_copy(struct arena *arena, const struct kube_attributes *a)
{
    return (struct kube_attributes){
        .verb = arena_str(arena, a->verb),
        .path = arena_str(arena, a->path),
        .group = arena_str(arena, a->group),
        .version = arena_str(arena, a->version),
        .resource = arena_str(arena, a->resource),
        .subresource = arena_str(arena, a->subresource),
        .name = arena_str(arena, a->name),
        .namespace_name = arena_str(arena, a->namespace_name),
    };
}

void kube_auth_check(struct kube_auth *auth, struct http_exchange *exchange,
                     const struct kube_attributes *attributes, kube_verdict_fn done, void *ctx)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct str token = bearer_token(request);
    struct err err = {0};
    struct check *check = MEM_NEW(struct check);
    check->auth = auth;
    check->exchange = exchange;
    check->arena = request->arena;
    check->attributes = attributes_copy(request->arena, attributes);
    check->done = done;
    check->ctx = ctx;
    kube_trust_refresh(&auth->trust);
    enum kube_found found = kube_trust_identify(&auth->trust, http_exchange_tls(exchange), request,
                                                check->arena, &check->identity, &err);
    check->has_failed = found == KUBE_FOUND_BAD;
    check->is_known = found == KUBE_FOUND;
    if (check->has_failed)
        LOG_D("Client certificate is not believed", "err", err.text);
    if (found == KUBE_FOUND)
        ask_access(check);
    else if (token.len > 0)
        ask_token(check, token);
    else if (check->has_failed && !auth->trust.is_loaded)
        finish(check, 503, "ServiceUnavailable",
               arena_strf(check->arena, "it is not known yet who may ask: %s",
                          auth->trust.last_error ? auth->trust.last_error
                                                 : "the ConfigMap is being read"));
    else
        nobody_known(check);
}

/* --- life --- */

bool kube_auth_open(struct kube_auth **out, const struct kube_auth_options *options,
                    struct err *err)
{
    struct kube_auth *auth = MEM_NEW(struct kube_auth);
    *out = NULL;
    kube_account_init(&auth->account, options->client, options->api_server, options->token_file,
                      options->ca_file);
    if (!kube_account_check(&auth->account, err)) {
        kube_account_deinit(&auth->account);
        mem_free(auth);
        return false;
    }
    kube_auth_cache_init(&auth->tokens);
    kube_auth_cache_init(&auth->access);
    list_init(&auth->checks);
    kube_trust_open(&auth->trust, &auth->account, options);
    *out = auth;
    return true;
}

void kube_auth_close(struct kube_auth *auth)
{
    if (!auth)
        return;
    LIST_EACH (node, &auth->checks) {
        struct check *check = CONTAINER_OF(node, struct check, node);
        kube_call_drop(check->call);
        finish(check, 503, "ServiceUnavailable", STR("the server is stopping"));
    }
    kube_trust_close(&auth->trust);
    kube_auth_cache_deinit(&auth->tokens);
    kube_auth_cache_deinit(&auth->access);
    kube_account_deinit(&auth->account);
    mem_free(auth);
}
