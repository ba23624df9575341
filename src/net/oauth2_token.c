/* oauth2_token: see oauth2_token.h.
 *
 *   token_authorize -> token_ask -> http_fetch ... on_done -> (once with the secret in the form) ->
 *   token_told
 *
 * Two fetches mean the same token when all of their options are equal, which one text of them all
 * tells (`key`). So a secret that has changed in its file makes another token. A server may want the
 * client's id and secret in a header or in the form, and cannot be asked which: the header is tried
 * first, and what has worked is kept.
 *
 * The answer is outside bytes: a megabyte at most is read. */
#include "oauth2_token.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "oauth2.h"

#define TOKEN_TIMEOUT_MS 30000
#define TOKEN_SPARE_MS   10000 /* As Go's oauth2. */
#define TOKEN_KEPT_MS    3600000
#define BODY_BYTES_MAX   ((size_t)1 << 20)
#define FORM_BYTES_MAX   ((size_t)1 << 20)

enum token_style { STYLE_UNKNOWN, STYLE_HEADER, STYLE_FORM };

struct token {
    struct list_node node;
    struct http_client *client;
    struct arena arena; /* Of key, oauth2 and request. */
    struct str key;
    struct http_oauth2 oauth2;
    struct http_fetch_options request;
    enum token_style style;
    bool asking, in_form;
    unsigned refs;
    int64_t used_ms;
    struct list waiters;
    struct buf authorization;
    int64_t ends_ms; /* INT64_MAX: never. */
    /* Of the answer that is coming in: */
    int status;
    struct buf body, content_type, reason;
};

static void token_ask(struct token *token);

/* --- the options, copied --- */

static void key_add(struct buf *key, struct str text)
{
    buf_addf(key, "%zu:", text.len);
    buf_add_str(key, text);
}

static void key_add_list(struct buf *key, const struct str *items, size_t count)
{
    buf_addf(key, "%zu;", count);
    for (size_t i = 0; i < count; i++)
        key_add(key, items[i]);
}

static void key_build(struct buf *key, const struct http_oauth2 *oauth2)
{
    const struct http_fetch_options *r = oauth2->request;
    struct str texts[] = {
        oauth2->client_id, oauth2->client_secret, oauth2->token_url, r->ca_file,  r->cert_file,
        r->key_file,       r->server_name,        r->ca_pem,         r->cert_pem, r->key_pem,
        r->proxy_url,      r->no_proxy,
    };
    key_add_list(key, texts, COUNT_OF(texts));
    key_add_list(key, oauth2->scopes, oauth2->scope_count);
    buf_addf(key, "%zu;", oauth2->param_count);
    for (size_t i = 0; i < oauth2->param_count; i++) {
        key_add(key, oauth2->params[i].name);
        key_add(key, oauth2->params[i].value);
    }
    key_add_list(key, r->headers, r->header_count);
    key_add_list(key, r->proxy_headers, r->proxy_header_count);
    buf_addf(key, "%d%d%d%d%d", r->insecure_skip_verify, r->http1_only, r->proxy_from_environment,
             (int)r->tls_min, (int)r->tls_max);
}

static const struct str *strs_copy(struct arena *arena, const struct str *items, size_t count)
{
    struct str *copy = arena_alloc_array(arena, count, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = arena_str(arena, items[i]);
    return copy;
}

static const struct http_oauth2_param *params_copy(struct arena *arena,
                                                   const struct http_oauth2 *oauth2)
{
    struct http_oauth2_param *copy = arena_alloc_array(arena, oauth2->param_count, sizeof(*copy));
    for (size_t i = 0; i < oauth2->param_count; i++)
        copy[i] = (struct http_oauth2_param){arena_str(arena, oauth2->params[i].name),
                                             arena_str(arena, oauth2->params[i].value)};
    return copy;
}

static void token_copy_options(struct token *token, const struct http_oauth2 *oauth2)
{
    const struct http_fetch_options *r = oauth2->request;
    struct arena *arena = &token->arena;

    token->request = (struct http_fetch_options){
        .url = arena_str(arena, oauth2->token_url),
        .method = STR("POST"),
        .headers = strs_copy(arena, r->headers, r->header_count),
        .header_count = r->header_count,
        .timeout_ms = TOKEN_TIMEOUT_MS,
        .follow_redirects = true,
        .http1_only = r->http1_only,
        .insecure_skip_verify = r->insecure_skip_verify,
        .ca_file = arena_str(arena, r->ca_file),
        .cert_file = arena_str(arena, r->cert_file),
        .key_file = arena_str(arena, r->key_file),
        .server_name = arena_str(arena, r->server_name),
        .ca_pem = arena_str(arena, r->ca_pem),
        .cert_pem = arena_str(arena, r->cert_pem),
        .key_pem = arena_str(arena, r->key_pem),
        .tls_min = r->tls_min,
        .tls_max = r->tls_max,
        .proxy_url = arena_str(arena, r->proxy_url),
        .no_proxy = arena_str(arena, r->no_proxy),
        .proxy_from_environment = r->proxy_from_environment,
        .proxy_headers = strs_copy(arena, r->proxy_headers, r->proxy_header_count),
        .proxy_header_count = r->proxy_header_count,
    };
    token->oauth2 = (struct http_oauth2){
        .client_id = arena_str(arena, oauth2->client_id),
        .client_secret = arena_str(arena, oauth2->client_secret),
        .token_url = token->request.url,
        .scopes = strs_copy(arena, oauth2->scopes, oauth2->scope_count),
        .scope_count = oauth2->scope_count,
        .params = params_copy(arena, oauth2),
        .param_count = oauth2->param_count,
        .request = &token->request,
    };
}

/* --- life --- */

static void token_free(struct token *token)
{
    list_remove(&token->node);
    buf_deinit(&token->authorization);
    buf_deinit(&token->body);
    buf_deinit(&token->content_type);
    buf_deinit(&token->reason);
    arena_deinit(&token->arena);
    mem_free(token);
}

/* Those that nobody has asked for in an hour: of secrets and configurations that are gone. */
static void tokens_sweep(struct list *tokens, int64_t now_ms)
{
    LIST_EACH (node, tokens) {
        struct token *token = CONTAINER_OF(node, struct token, node);
        if (token->refs == 0 && !token->asking && now_ms - token->used_ms > TOKEN_KEPT_MS)
            token_free(token);
    }
}

static struct token *token_new(struct list *tokens, struct http_client *client,
                               const struct http_oauth2 *oauth2, struct str key)
{
    struct token *token = MEM_NEW(struct token);

    arena_init(&token->arena, 0);
    token->client = client;
    token->key = arena_str(&token->arena, key);
    token_copy_options(token, oauth2);
    list_init(&token->waiters);
    buf_init(&token->authorization, 2 * BODY_BYTES_MAX);
    buf_init(&token->body, BODY_BYTES_MAX);
    buf_init(&token->content_type, ERR_TEXT_MAX);
    buf_init(&token->reason, ERR_TEXT_MAX);
    list_push_back(tokens, &token->node);
    return token;
}

struct token *token_ref(struct list *tokens, struct http_client *client,
                        const struct http_oauth2 *oauth2)
{
    struct token *found = NULL;
    int64_t now_ms = clock_mono_ms();
    struct buf key;

    buf_init(&key, SIZE_MAX / 2);
    key_build(&key, oauth2);
    LIST_EACH (node, tokens) {
        struct token *token = CONTAINER_OF(node, struct token, node);
        if (str_eq(token->key, buf_str(&key)))
            found = token;
    }
    if (!found) {
        tokens_sweep(tokens, now_ms);
        found = token_new(tokens, client, oauth2, buf_str(&key));
    }
    buf_deinit(&key);
    found->refs++;
    found->used_ms = now_ms;
    return found;
}

void token_unref(struct token *token)
{
    if (!token)
        return;
    ENSURE(token->refs > 0);
    token->refs--;
}

void tokens_free(struct list *tokens)
{
    LIST_EACH (node, tokens) {
        struct token *token = CONTAINER_OF(node, struct token, node);
        ENSURE(token->refs == 0 && !token->asking);
        token_free(token);
    }
}

/* --- asking --- */

static void token_told(struct token *token, const struct err *err)
{
    struct list round;
    struct list_node *node;

    token->asking = false;
    list_init(&round);
    while ((node = list_pop_front(&token->waiters)) != NULL)
        list_push_back(&round, node);
    while ((node = list_pop_front(&round)) != NULL) {
        struct token_waiter *waiter = CONTAINER_OF(node, struct token_waiter, node);
        waiter->told(waiter, buf_str(&token->authorization), err);
    }
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct token *token = ctx;
    (void)err;
    token->status = head->status;
    buf_add_str(&token->content_type, head->content_type);
    buf_add_str(&token->reason, head->reason);
    return true;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct token *token = ctx;
    buf_add_str(&token->body, bytes);
    return !token->body.overflow ||
           err_set(err, ERR_LIMIT,
                   "oauth2: cannot fetch token: the answer is larger than %zu bytes",
                   BODY_BYTES_MAX);
}

static bool token_take(struct token *token, struct err *err)
{
    struct oauth2_reply reply = {
        .status = token->status,
        .reason = buf_str(&token->reason),
        .content_type = buf_str(&token->content_type),
        .body = buf_str(&token->body),
    };
    struct oauth2_token found;
    struct arena arena;

    arena_init(&arena, 0);
    bool good = oauth2_token_parse(&found, &reply, &arena, err);
    if (good) {
        buf_clear(&token->authorization);
        buf_add_str(&token->authorization, found.authorization);
        token->ends_ms = found.lives_s == 0 ? INT64_MAX : clock_mono_ms() + found.lives_s * 1000;
        token->style = token->in_form ? STYLE_FORM : STYLE_HEADER;
    }
    arena_deinit(&arena);
    return good;
}

static void on_done(void *ctx, const struct err *done)
{
    struct token *token = ctx;
    struct err err = *done;

    if (err.code == ERR_NONE && token_take(token, &err)) {
        token_told(token, NULL);
        return;
    }
    if (err.code == ERR_CANCELED) {
        token_told(token, &err);
        return;
    }
    if (token->style == STYLE_UNKNOWN && !token->in_form) {
        token->in_form = true;
        token_ask(token);
        return;
    }
    token_told(token, &err);
}

static void token_ask(struct token *token)
{
    struct http_fetch_options request = token->request;
    struct arena arena;
    struct buf form, user, password;
    struct err err;

    arena_init(&arena, 0);
    buf_init(&form, FORM_BYTES_MAX);
    buf_init(&user, FORM_BYTES_MAX);
    buf_init(&password, FORM_BYTES_MAX);
    buf_clear(&token->body);
    buf_clear(&token->content_type);
    buf_clear(&token->reason);
    if (!oauth2_form(&form, &token->oauth2, token->in_form, &err)) {
        token_told(token, &err);
    } else {
        struct str *headers = arena_alloc_array(&arena, request.header_count + 1, sizeof(*headers));
        for (size_t i = 0; i < request.header_count; i++)
            headers[i] = request.headers[i];
        headers[request.header_count++] = STR("Content-Type: application/x-www-form-urlencoded");
        buf_add_url_escaped(&user, token->oauth2.client_id);
        buf_add_url_escaped(&password, token->oauth2.client_secret);
        request.headers = headers;
        request.body = buf_str(&form);
        request.user = token->in_form ? STR_EMPTY : buf_str(&user);
        request.password = token->in_form ? STR_EMPTY : buf_str(&password);
        request.on_head = on_head;
        request.on_bytes = on_bytes;
        request.on_done = on_done;
        request.ctx = token;
        (void)http_fetch(token->client, &request);
    }
    buf_deinit(&password);
    buf_deinit(&user);
    buf_deinit(&form);
    arena_deinit(&arena);
}

bool token_authorize(struct token *token, struct token_waiter *waiter, struct str *authorization)
{
    if (token->authorization.len > 0 && token->ends_ms - TOKEN_SPARE_MS > clock_mono_ms()) {
        *authorization = buf_str(&token->authorization);
        return true;
    }
    list_push_back(&token->waiters, &waiter->node);
    if (!token->asking) {
        token->asking = true;
        token->in_form = token->style == STYLE_FORM;
        token_ask(token);
    }
    return false;
}

void token_waiter_leave(struct token_waiter *waiter)
{
    list_remove(&waiter->node);
}
