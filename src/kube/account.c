/* account: see account.h. Answers are bounded: whole ones, and the lines of a watch. */
#include "account.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text_file.h"

#define ACCOUNT_DIR      "/var/run/secrets/kubernetes.io/serviceaccount"
#define ANSWER_BYTES_MAX ((size_t)4 << 20)
#define FILE_BYTES_MAX   ((size_t)1 << 20)
#define MESSAGE_BYTES    1000

static const char *account_dir = ACCOUNT_DIR; /* Of the loop thread. */

struct kube_call {
    struct kube_call_options options; /* Its texts are gone. */
    struct http_fetch *fetch;
    struct buf answer; /* Of a watch: what is no whole line yet. */
    int status;
    bool dropped;
};

void kube_account_set_dir(const char *dir)
{
    account_dir = dir ? dir : ACCOUNT_DIR;
}

void kube_account_init(struct kube_account *account, struct http_client *client,
                       struct str api_server, struct str token_file, struct str ca_file)
{
    while (api_server.len > 0 && api_server.ptr[api_server.len - 1] == '/')
        api_server.len--;
    *account = (struct kube_account){
        .client = client,
        .api_server = str_dup(api_server),
        .token_file = str_dup(token_file),
        .ca_file = str_dup(ca_file),
    };
}

void kube_account_deinit(struct kube_account *account)
{
    mem_free(account->api_server);
    mem_free(account->token_file);
    mem_free(account->ca_file);
    *account = (struct kube_account){0};
}

/* --- where, and who we are --- */

static bool base_find(const struct kube_account *account, struct arena *arena, struct str *out,
                      struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    *out = str_of(account->api_server);
    if (out->len > 0)
        return true;
    if (!host || !*host || !port || !*port)
        return err_set(err, ERR_BAD_DATA,
                       "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
                       "KUBERNETES_SERVICE_PORT must be defined");
    *out = arena_strf(arena, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    return true;
}

bool kube_account_check(const struct kube_account *account, struct err *err)
{
    struct arena arena;
    struct str base;
    arena_init(&arena, 0);
    bool good = base_find(account, &arena, &base, err);
    arena_deinit(&arena);
    return good;
}

/* Empty when there is none to be used. */
static struct str account_file(const struct kube_account *account, struct arena *arena,
                               const char *given, const char *name)
{
    if (given[0] || account->api_server[0])
        return str_of(given);
    return arena_strf(arena, "%s/%s", account_dir, name);
}

static bool file_take(struct str path, struct arena *arena, struct str *out, struct err *err)
{
    struct buf text;
    if (path.len == 0)
        return true;
    buf_init(&text, FILE_BYTES_MAX);
    bool good = text_file_read(path, &text, err);
    if (good)
        *out = arena_str(arena, str_trim(buf_str(&text)));
    buf_deinit(&text);
    return good;
}

static bool request_fill(struct http_fetch_options *out, const struct kube_account *account,
                         const struct kube_call_options *options, struct arena *arena,
                         struct err *err)
{
    struct str *headers = arena_alloc_array(arena, 3, sizeof(*headers));
    struct str base;
    if (!base_find(account, arena, &base, err) ||
        !file_take(account_file(account, arena, account->token_file, "token"), arena,
                   &out->bearer_token, err) ||
        !file_take(account_file(account, arena, account->ca_file, "ca.crt"), arena, &out->ca_pem,
                   err))
        return false;
    headers[0] = STR("User-Agent: narthex");
    headers[1] = STR("Accept: application/json");
    if (options->content_type)
        headers[2] = arena_strf(arena, "Content-Type: %s", options->content_type);
    out->headers = headers;
    out->header_count = options->content_type ? 3 : 2;
    out->url = arena_strf(arena, STR_FMT STR_FMT, STR_ARG(base), STR_ARG(options->path));
    out->method = str_of(options->method);
    out->body = options->body;
    out->timeout_ms = options->timeout_ms;
    return true;
}

/* --- the answer --- */

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct kube_call *call = ctx;
    (void)err;
    call->status = head->status;
    return true;
}

static bool lines_take(struct kube_call *call, struct err *err)
{
    struct str rest = buf_str(&call->answer);
    bool good = true;
    for (size_t end; good && !call->dropped && (end = str_find_char(rest, '\n')) < rest.len;) {
        struct str line = str_trim(str_first(rest, end));
        rest = str_after(rest, end + 1);
        if (line.len > 0)
            good = call->options.on_line(call->options.ctx, line, err);
    }
    buf_drop_front(&call->answer, call->answer.len - rest.len);
    return good;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct kube_call *call = ctx;
    if (call->dropped)
        return err_set(err, ERR_CANCELED, "canceled");
    buf_add_str(&call->answer, bytes);
    if (call->answer.overflow)
        return err_set(err, ERR_LIMIT, "the API server's answer is too large");
    return !call->options.on_line || call->status != 200 || lines_take(call, err);
}

static void call_free(struct kube_call *call)
{
    buf_deinit(&call->answer);
    mem_free(call);
}

/* What the API server says with a status other than 2xx: a Status object. */
static void status_error(const struct kube_call *call, const struct json *body, struct err *err)
{
    struct str message = json_str(json_get(body, "message"));
    if (message.len == 0)
        message = str_trim(buf_str(&call->answer));
    enum err_code code = call->status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    err_set(err, code, "server returned HTTP status %d: " STR_FMT, call->status,
            STR_ARG(str_first(message, MESSAGE_BYTES)));
}

static void on_done(void *ctx, const struct err *fetch_err)
{
    struct kube_call *call = ctx;
    struct json *body = NULL;
    struct err err = *fetch_err, ignored;
    if (call->dropped) {
        call_free(call);
        return;
    }
    bool is_good = call->status >= 200 && call->status < 300;
    bool is_watch = call->options.on_line && call->status == 200;
    if (err.code == ERR_NONE && !is_watch && call->answer.len > 0) {
        bool parsed = json_parse(&body, buf_str(&call->answer), is_good ? &err : &ignored);
        if (!parsed)
            body = NULL;
    }
    if (err.code == ERR_NONE && !is_good)
        status_error(call, body, &err);
    call->options.on_end(call->options.ctx, err.code == ERR_NONE ? body : NULL, &err);
    json_free(body);
    call_free(call);
}

bool kube_call(struct kube_call **out, const struct kube_account *account,
               const struct kube_call_options *options, struct err *err)
{
    struct http_fetch_options request = {0};
    struct arena arena;
    *out = NULL;
    arena_init(&arena, 0);
    bool good = request_fill(&request, account, options, &arena, err);
    if (good) {
        struct kube_call *call = MEM_NEW(struct kube_call);
        call->options = *options;
        buf_init(&call->answer, ANSWER_BYTES_MAX);
        request.on_head = on_head;
        request.on_bytes = on_bytes;
        request.on_done = on_done;
        request.ctx = call;
        call->fetch = http_fetch(account->client, &request);
        *out = call;
    }
    arena_deinit(&arena);
    return good;
}

void kube_call_drop(struct kube_call *call)
{
    if (!call)
        return;
    ENSURE(!call->dropped);
    call->dropped = true;
    http_fetch_cancel(call->fetch);
}

int kube_call_status(const struct kube_call *call)
{
    return call->status;
}
