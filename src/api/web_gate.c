/* web_gate: see api/web_gate.h. Behaves as Prometheus' exporter-toolkit.
 *
 * A password costs tens of milliseconds, so a lane of one thread computes it, and the answer is kept by the SHA-256 of
 * user, hash and password: 100 right ones and 100 wrong ones, apart, so that no guesser makes us forget who is known.
 * Requests with the same ones wait together for one
 * computation, and what nobody waits for any more is not computed: so a flood costs no more than its open connections. */
#include "api/web_gate.h"

#include <sys/random.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text_file.h"
#include "config.h"
#include "net/password.h"
#include "net/tls.h"
#include "net/worker.h"

#define VERDICTS_MAX            100
#define AUTHORIZATION_BYTES_MAX ((size_t)16 << 10)
/* Of "fakepassword": who does not exist costs as much as who does. */
#define NOBODYS_HASH "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

struct password_key {
    uint8_t bytes[HASH_SHA256_BYTES];
};

struct verdicts {
    struct password_key keys[VERDICTS_MAX];
    size_t count, next;
};

struct web_gate {
    struct web_gate_options options; /* Its path is the copy below. */
    char *path;
    struct text_file_stamp stamp;     /* Of the file. */
    struct text_file_stamp tls_stamp; /* And of what it names. */
    struct arena arena;               /* Of web. */
    struct config_web web;
    bool is_good;
    bool had_tls;
    struct tls_context *tls; /* A reference. NULL: none, or bad. */
    char *last_error;        /* Owned. Logged once. */
    struct lane *lane;       /* Opened with the first password. */
    struct list checks;
    struct verdicts right, wrong;
    uint8_t salt[16];
};

/* One computation, and who waits for it. */
struct password_check {
    struct job job;
    struct list_node node; /* In gate->checks. */
    struct web_gate *gate;
    struct password_key key;
    struct list waiters;
    char *hash, *password; /* Owned. */
    size_t password_len;
    bool is_known, good;
};

struct waiter {
    struct list_node node;
    struct password_check *check;
    struct http_exchange *exchange;
    bool is_gone;
};

/* --- files --- */

static void gate_note_error(struct web_gate *gate, const struct err *err)
{
    if (gate->last_error && strcmp(gate->last_error, err->text) == 0)
        return;
    mem_free(gate->last_error);
    gate->last_error = str_dup(str_of(err->text));
    LOG_E("Unable to parse configuration", "file", gate->path, "err", err->text);
}

static void gate_forget_error(struct web_gate *gate)
{
    mem_free(gate->last_error);
    gate->last_error = NULL;
}

/* The file as it is now. */
static bool gate_refresh(struct web_gate *gate, struct err *err)
{
    struct text_file_stamp now = {0};
    struct arena arena;
    struct config_web web;
    text_file_stamp_add(&now, str_of(gate->path));
    if (gate->is_good && !text_file_stamp_differs(&gate->stamp, &now))
        return true;
    arena_init(&arena, 0);
    gate->is_good = config_web_load(&web, str_of(gate->path), &arena, err);
    if (!gate->is_good) {
        arena_deinit(&arena);
        return false;
    }
    arena_deinit(&gate->arena);
    gate->arena = arena;
    gate->web = web;
    if (now.hash != gate->stamp.hash)
        gate->tls_stamp = (struct text_file_stamp){0};
    gate->stamp = now;
    return true;
}

static bool gate_refresh_tls(struct web_gate *gate, struct err *err)
{
    const struct config_web *web = &gate->web;
    struct text_file_stamp now = {.hash = gate->stamp.hash, .is_fresh = gate->stamp.is_fresh};
    struct tls_context *fresh;
    text_file_stamp_add(&now, web->cert_file);
    text_file_stamp_add(&now, web->key_file);
    text_file_stamp_add(&now, web->client_ca_file);
    if (gate->tls && !text_file_stamp_differs(&gate->tls_stamp, &now))
        return true;
    if (!config_web_tls(&fresh, web, err))
        return false;
    tls_context_unref(gate->tls);
    gate->tls = fresh;
    gate->tls_stamp = now;
    return true;
}

struct tls_context *web_gate_tls(void *ctx)
{
    struct web_gate *gate = ctx;
    struct err err;
    if (!gate_refresh(gate, &err) || !gate_refresh_tls(gate, &err)) {
        gate_note_error(gate, &err);
        return NULL;
    }
    gate_forget_error(gate);
    return gate->tls;
}

/* --- passwords --- */

static bool key_same(const struct password_key *a, const struct password_key *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void key_make(const struct web_gate *gate, struct str user, struct str hash,
                     struct str password, struct password_key *out)
{
    struct buf text;
    buf_init(&text, AUTHORIZATION_BYTES_MAX * 4);
    buf_add(&text, gate->salt, sizeof(gate->salt));
    buf_addf(&text, "%zu:%zu:%zu:", user.len, hash.len, password.len);
    buf_add_str(&text, user);
    buf_add_str(&text, hash);
    buf_add_str(&text, password);
    hash_sha256(buf_str(&text), out->bytes);
    explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
}

static bool verdicts_have(const struct verdicts *verdicts, const struct password_key *key)
{
    for (size_t i = 0; i < verdicts->count; i++)
        if (key_same(&verdicts->keys[i], key))
            return true;
    return false;
}

static void verdicts_keep(struct verdicts *verdicts, const struct password_key *key)
{
    verdicts->keys[verdicts->next] = *key;
    verdicts->next = (verdicts->next + 1) % VERDICTS_MAX;
    if (verdicts->count < VERDICTS_MAX)
        verdicts->count++;
}

static void refuse(struct http_exchange *exchange)
{
    http_exchange_add_header(exchange, STR("WWW-Authenticate"), STR("Basic"));
    http_exchange_add_header(exchange, STR("X-Content-Type-Options"), STR("nosniff"));
    http_reply_text(exchange, 401, "Unauthorized\n");
}

static void let_pass(struct web_gate *gate, struct http_exchange *exchange, bool good)
{
    if (good)
        gate->options.handler(gate->options.ctx, exchange);
    else
        refuse(exchange);
}

static void check_free(struct password_check *check)
{
    list_remove(&check->node);
    mem_free(check->hash);
    explicit_bzero(check->password, check->password_len);
    mem_free(check->password);
    mem_free(check);
}

static void check_run(struct job *job)
{
    struct password_check *check = CONTAINER_OF(job, struct password_check, job);
    check->good =
        password_matches(str_of(check->hash), str_from(check->password, check->password_len)) &&
        check->is_known;
}

static void check_done(struct job *job)
{
    struct password_check *check = CONTAINER_OF(job, struct password_check, job);
    struct web_gate *gate = check->gate;
    struct list_node *node;
    verdicts_keep(check->good ? &gate->right : &gate->wrong, &check->key);
    list_remove(&check->node);
    while ((node = list_pop_front(&check->waiters)) != NULL) {
        struct waiter *waiter = CONTAINER_OF(node, struct waiter, node);
        struct http_exchange *exchange = waiter->exchange;
        mem_free(waiter);
        http_exchange_on_gone(exchange, NULL, NULL);
        let_pass(gate, exchange, check->good);
    }
    check_free(check);
}

/* A client that has only closed its sending side looks the same: it gets its answer when the
 * computation has begun, and is told to come back when it has not. */
static void on_waiter_gone(void *ctx)
{
    struct waiter *gone = ctx;
    struct password_check *check = gone->check;
    struct list_node *node;
    gone->is_gone = true;
    LIST_EACH (at, &check->waiters) {
        if (!CONTAINER_OF(at, struct waiter, node)->is_gone)
            return;
    }
    if (!lane_withdraw(check->gate->lane, &check->job))
        return;
    while ((node = list_pop_front(&check->waiters)) != NULL) {
        struct waiter *waiter = CONTAINER_OF(node, struct waiter, node);
        http_reply_text(waiter->exchange, 503, "Service Unavailable\n");
        mem_free(waiter);
    }
    check_free(check);
}

static struct password_check *check_find(struct web_gate *gate, const struct password_key *key)
{
    LIST_EACH (node, &gate->checks) {
        struct password_check *check = CONTAINER_OF(node, struct password_check, node);
        if (key_same(&check->key, key))
            return check;
    }
    return NULL;
}

static struct password_check *check_begin(struct web_gate *gate, const struct password_key *key,
                                          struct str hash, struct str password, bool is_known)
{
    struct lane_options lane = {.name = "password", .thread_count = 1, .priority = LANE_NICE};
    struct password_check *check = MEM_NEW(struct password_check);
    check->job.run = check_run;
    check->job.done = check_done;
    check->gate = gate;
    check->key = *key;
    check->hash = str_dup(hash);
    check->password = str_dup(password);
    check->password_len = password.len;
    check->is_known = is_known;
    list_init(&check->waiters);
    list_push_back(&gate->checks, &check->node);
    if (!gate->lane)
        gate->lane = lane_open(gate->options.loop, &lane);
    lane_submit(gate->lane, &check->job);
    return check;
}

/* "Basic " and user:password in base64. */
static bool basic_read(struct str header, struct buf *text, struct str *user, struct str *password)
{
    if (header.len > AUTHORIZATION_BYTES_MAX ||
        !str_eq_nocase(str_first(header, 6), STR("Basic ")) ||
        !base64_decode(str_after(header, 6), text))
        return false;
    *user = str_cut(buf_str(text), ':', password);
    return password->ptr != NULL;
}

static void gate_ask(struct web_gate *gate, struct http_exchange *exchange, struct str user,
                     struct str password)
{
    struct password_key key;
    struct str hash = STR(NOBODYS_HASH);
    bool is_known = false;
    for (size_t i = 0; i < gate->web.user_count && !is_known; i++) {
        is_known = str_eq(gate->web.users[i].name, user);
        if (is_known)
            hash = gate->web.users[i].value;
    }
    key_make(gate, user, hash, password, &key);
    bool is_right = verdicts_have(&gate->right, &key);
    if (is_right || verdicts_have(&gate->wrong, &key)) {
        let_pass(gate, exchange, is_right);
        return;
    }
    struct password_check *check = check_find(gate, &key);
    if (!check)
        check = check_begin(gate, &key, hash, password, is_known);
    struct waiter *waiter = MEM_NEW(struct waiter);
    waiter->check = check;
    waiter->exchange = exchange;
    list_push_back(&check->waiters, &waiter->node);
    http_exchange_on_gone(exchange, on_waiter_gone, waiter);
}

/* --- requests --- */

void web_gate_handle(void *ctx, struct http_exchange *exchange)
{
    struct web_gate *gate = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct str user, password;
    struct err err;
    struct buf text;
    if (gate->path[0] == '\0') {
        gate->options.handler(gate->options.ctx, exchange);
        return;
    }
    if (!gate_refresh(gate, &err)) {
        gate_note_error(gate, &err);
        http_reply_text(exchange, 500, "Internal Server Error\n");
        return;
    }
    for (size_t i = 0; i < gate->web.header_count; i++)
        http_exchange_add_header(exchange, gate->web.headers[i].name, gate->web.headers[i].value);
    if (gate->web.user_count == 0) {
        gate->options.handler(gate->options.ctx, exchange);
        return;
    }
    buf_init(&text, AUTHORIZATION_BYTES_MAX);
    if (basic_read(http_request_header(request, "Authorization"), &text, &user, &password))
        gate_ask(gate, exchange, user, password);
    else
        refuse(exchange);
    if (text.ptr)
        explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
}

/* --- life --- */

bool web_gate_open(struct web_gate **out, const struct web_gate_options *options, struct err *err)
{
    struct web_gate *gate = MEM_NEW(struct web_gate);
    gate->options = *options;
    gate->path = str_dup(options->path);
    gate->options.path = STR_EMPTY;
    arena_init(&gate->arena, 0);
    list_init(&gate->checks);
    ENSURE(getrandom(gate->salt, sizeof(gate->salt), 0) == (ssize_t)sizeof(gate->salt));
    *out = gate;
    if (gate->path[0] == '\0')
        return true;
    if (gate_refresh(gate, err) && gate_refresh_tls(gate, err)) {
        gate->had_tls = gate->tls != NULL;
        return true;
    }
    web_gate_close(gate);
    *out = NULL;
    return false;
}

bool web_gate_has_tls(const struct web_gate *gate)
{
    return gate->had_tls;
}

void web_gate_close(struct web_gate *gate)
{
    if (!gate)
        return;
    if (gate->lane)
        lane_close(gate->lane);
    ENSURE(list_empty(&gate->checks));
    tls_context_unref(gate->tls);
    arena_deinit(&gate->arena);
    mem_free(gate->last_error);
    mem_free(gate->path);
    mem_free(gate);
}
