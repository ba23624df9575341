/* http_client: libcurl's multi interface on libuv's loop. A fetch that can do without curl is tried by
 * http_direct.c first; what follows is about the others, and about those that it hands over.
 *
 *   http_fetch -> (deferred) fetch_start -> on_header, on_body ... -> client_reap -> on_done
 *                     ^ ^                                                |
 *                     | +-- fetch_on_token, when there is no token yet   |
 *                     +---- fetch_redirect, to the next hop <------------+
 *
 * curl forbids most calls from inside its own callbacks, and ours promise never to fire inside the
 * call that caused them. So whatever changes a transfer from outside (start, cancel, resume) only
 * marks it and starts the idle handle `deferred`; http_client_on_deferred does the work in the loop's
 * next turn. An idle handle and not a timer of delay 0: libuv runs such a timer again in the same
 * pass when its callback restarts it, and a target that always has more would keep the loop in there. Pausing is lazy for the same reason: the mark makes the next write callback hand its
 * bytes back to curl, which stops reading then.
 *
 * While a transfer is paused nothing is called but on_done with an error: a transfer that ends well
 * meanwhile is held back until it is resumed. The client may be closed from any callback; it is
 * then torn down when the outermost of our entry points returns. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http_client_private.h"
#include "net/http_client.h"
#include "net/http_server.h"

#define CONNECTIONS_DEFAULT 128
#define HEAD_TEXT_MAX       (16 * 1024)

static void client_enter(struct http_client *client);
static void client_leave(struct http_client *client);

static void fetch_defer(struct http_fetch *fetch)
{
    struct http_client *client = fetch->client;
    if (!list_linked(&fetch->due_node))
        list_push_back(&client->due, &fetch->due_node);
    if (!client->closing)
        uv_idle_start(&client->deferred, http_client_on_deferred);
}

/* --- the end of a fetch --- */

static CURL *easy_take(struct http_client *client)
{
    CURL *easy = client->idle_count > 0 ? client->idle[--client->idle_count] : curl_easy_init();
    ENSURE(easy != NULL);
    return easy;
}

static void easy_give_back(struct http_client *client, CURL *easy)
{
    if (client->closing || client->idle_count == IDLE_EASY_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    client->idle[client->idle_count++] = easy;
}

static void fetch_free(struct http_fetch *fetch)
{
    direct_free(fetch->direct);
    if (fetch->easy)
        easy_give_back(fetch->client, fetch->easy);
    fetch_hop_free(fetch);
    fetch_options_free(fetch);
    token_unref(fetch->token);
    buf_deinit(&fetch->content_type);
    buf_deinit(&fetch->content_encoding);
    buf_deinit(&fetch->reason);
    buf_deinit(&fetch->location);
    mem_free(fetch);
}

/* Never inside a callback of curl's. */
static void fetch_finish(struct http_fetch *fetch)
{
    ENSURE(!fetch->done_called);
    if (fetch->added) {
        fetch_note_dial(fetch, CURLE_ABORTED_BY_CALLBACK);
        ENSURE(curl_multi_remove_handle(fetch->client->multi, fetch->easy) == CURLM_OK);
    }
    fetch->added = false;
    list_remove(&fetch->node);
    list_remove(&fetch->due_node);
    token_waiter_leave(&fetch->waiter);
    timer_free(fetch->wait_timer);
    if (fetch->canceled)
        err_set(&fetch->err, ERR_CANCELED, "context canceled");
    fetch->done_called = true;
    fetch->on_done(fetch->ctx, &fetch->err);
    fetch_free(fetch);
}

/* --- the multi --- */

/* To the next hop in the loop's next turn; what is wrong with it ends the fetch then. */
static void fetch_redirect(struct http_fetch *fetch)
{
    ENSURE(curl_multi_remove_handle(fetch->client->multi, fetch->easy) == CURLM_OK);
    fetch->added = false;
    fetch->curl_paused = false;
    (void)!fetch_follow(fetch);
    fetch_defer(fetch);
}

/* A server that closes without a word after each hop of a redirect: curl has tried old connections only. */
static bool fetch_dial_anew(struct http_fetch *fetch, CURLcode code)
{
    if (code != CURLE_SEND_ERROR || fetch->fresh || !strstr(fetch->curl_text, "Connection died"))
        return false;
    ENSURE(curl_multi_remove_handle(fetch->client->multi, fetch->easy) == CURLM_OK);
    fetch->added = false;
    fetch->fresh = true;
    curl_easy_setopt(fetch->easy, CURLOPT_FRESH_CONNECT, 1L);
    fetch_defer(fetch);
    return true;
}

static void fetch_end(struct http_fetch *fetch, CURLcode code)
{
    bool told_why = fetch->canceled || fetch->err.code != ERR_NONE;
    if (!told_why && fetch_dial_anew(fetch, code))
        return;
    if (fetch->redirecting && !told_why && code != CURLE_OPERATION_TIMEDOUT) {
        fetch_redirect(fetch);
        return;
    }
    if (code == CURLE_OK)
        tls_watch_set_alert(&fetch->client->tls, fetch_peer(fetch), 0);
    if (code != CURLE_OK && !told_why)
        fetch_set_failure(fetch, code);
    bool well = code == CURLE_OK && !fetch->canceled;
    if (well && fetch->paused) {
        fetch->ended = true;
        return;
    }
    if (well)
        fetch_tell_head(fetch);
    fetch_finish(fetch);
}

/* Ends what curl has finished. */
static void client_reap(struct http_client *client)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct http_fetch *fetch = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
        ENSURE(fetch != NULL);
        fetch_note_dial(fetch, code);
        fetch_end(fetch, code);
    }
}

void http_client_act(struct http_client *client, curl_socket_t fd, int events)
{
    int running;
    client_enter(client);
    tls_watch_clear(&client->tls);
    ENSURE(curl_multi_socket_action(client->multi, fd, events, &running) == CURLM_OK);
    client_reap(client);
    client_leave(client);
}

/* --- deferred work --- */

static void fetch_on_token(struct token_waiter *waiter, struct str authorization,
                           const struct err *err)
{
    struct http_fetch *fetch = CONTAINER_OF(waiter, struct http_fetch, waiter);
    if (err)
        fetch_set_text(fetch, err->code, err->text);
    else
        fetch_add_header(fetch, &fetch->private_headers, STR("Authorization"), STR(": "),
                         authorization);
    token_unref(fetch->token);
    fetch->token = NULL;
    if (!fetch->client->closing)
        fetch_defer(fetch);
}

static void fetch_on_wait_over(void *ctx)
{
    struct http_fetch *fetch = ctx;
    token_waiter_leave(&fetch->waiter);
    fetch_set_timeout(fetch);
    fetch_defer(fetch);
}

/* False: the fetch waits for a token, or for the news that there is none. */
static bool fetch_has_token(struct http_fetch *fetch)
{
    struct str authorization;
    if (!fetch->token)
        return true;
    if (list_linked(&fetch->waiter.node))
        return false;
    if (token_authorize(fetch->token, &fetch->waiter, &authorization)) {
        fetch_on_token(&fetch->waiter, authorization, NULL);
        return fetch->err.code == ERR_NONE;
    }
    if (list_linked(&fetch->waiter.node) && fetch->timeout_ms > 0) {
        fetch->wait_timer = timer_new(fetch->client->loop, fetch_on_wait_over, fetch);
        timer_start(fetch->wait_timer, fetch->timeout_ms, 0);
    }
    return false;
}

static void fetch_start(struct http_fetch *fetch)
{
    if (fetch->err.code == ERR_NONE && !fetch_has_token(fetch) && fetch->err.code == ERR_NONE)
        return;
    timer_free(fetch->wait_timer);
    fetch->wait_timer = NULL;
    if (fetch->refused)
        fetch_set_refusal(fetch);
    if (fetch->err.code != ERR_NONE || !fetch_set_hop(fetch)) {
        fetch_finish(fetch);
        return;
    }
    ENSURE(curl_multi_add_handle(fetch->client->multi, fetch->easy) == CURLM_OK);
    fetch->added = true;
    fetch->dialed = fetch->dial_counted = false;
}

static void fetch_resume_curl(struct http_fetch *fetch)
{
    fetch->curl_paused = false;
    /* May call on_body with what curl kept; an error of that call is told here and nowhere else. */
    CURLcode code = curl_easy_pause(fetch->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK)
        fetch_end(fetch, code);
}

static void fetch_do_deferred(struct http_fetch *fetch)
{
    if (fetch->canceled) {
        fetch_finish(fetch);
    } else if (fetch->direct) {
        if (!fetch->paused)
            direct_run(fetch->direct);
    } else if (!fetch->added) {
        fetch_start(fetch);
    } else if (fetch->ended && !fetch->paused) {
        fetch->ended = false;
        fetch_end(fetch, CURLE_OK);
    } else if (fetch->curl_paused && !fetch->paused) {
        fetch_resume_curl(fetch);
    }
}

/* One round: what becomes due meanwhile waits for the next, so that a fetch that fails and is
 * retried at once does not keep the loop in here. */
void http_client_on_deferred(uv_idle_t *idle)
{
    struct http_client *client = CONTAINER_OF(idle, struct http_client, deferred);
    struct list round;
    struct list_node *node;
    bool curl_due = client->curl_due;
    uv_idle_stop(idle);
    client->curl_due = false;
    list_init(&round);
    while ((node = list_pop_front(&client->due)) != NULL)
        list_push_back(&round, node);

    client_enter(client);
    while ((node = list_pop_front(&round)) != NULL)
        fetch_do_deferred(CONTAINER_OF(node, struct http_fetch, due_node));
    if (curl_due && !client->closing) {
        int running;
        curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    client_reap(client);
    client_leave(client);
}

/* --- without curl --- */

static void fetch_use_curl(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    fetch->easy = easy_take(fetch->client);
    fetch_set_callbacks(fetch);
    fetch_watch_dial(fetch);
    fetch_set_options(fetch, options);
    if (options->oauth2)
        fetch->token = token_ref(&fetch->client->tokens, fetch->client, options->oauth2);
}

static void on_direct_enter(void *ctx)
{
    client_enter(ctx);
}

static void on_direct_leave(void *ctx)
{
    client_leave(ctx);
}

static bool on_direct_head(void *ctx, const struct http_fetch_head *head)
{
    struct http_fetch *fetch = ctx;
    struct http_fetch_head told = *head;

    fetch->head_told = true;
    if (!fetch->canceled && fetch->on_head && !fetch->on_head(fetch->ctx, &told, &fetch->err)) {
        ENSURE(fetch->err.code != ERR_NONE);
        return false;
    }
    return !fetch->canceled;
}

static bool on_direct_bytes(void *ctx, struct str bytes)
{
    struct http_fetch *fetch = ctx;

    if (!fetch->canceled && fetch->on_bytes && !fetch->on_bytes(fetch->ctx, bytes, &fetch->err)) {
        ENSURE(fetch->err.code != ERR_NONE);
        return false;
    }
    return !fetch->canceled;
}

static void on_direct_end(void *ctx, enum direct_end end)
{
    struct http_fetch *fetch = ctx;
    struct http_fetch_options options;
    struct fetch_failure_facts facts;

    if (end == DIRECT_ASK_CURL && !fetch->canceled) {
        struct str *lines = direct_options(fetch->direct, &options);
        fetch_use_curl(fetch, &options);
        mem_free(lines);
        direct_free(fetch->direct);
        fetch->direct = NULL;
        fetch_defer(fetch);
        return;
    }
    if (end == DIRECT_FAILED) {
        direct_failure(fetch->direct, &facts);
        fetch_err_set(&fetch->err, &facts);
    }
    fetch_finish(fetch);
}

/* --- the client's life --- */

/* Every scrape target keeps a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

bool http_client_open(struct http_client **out, struct uv_loop_s *loop, struct err *err)
{
    *out = NULL;
    /* Idempotent, and OpenSSL writes to sockets that may be gone. */
    signal(SIGPIPE, SIG_IGN);
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    }
    raise_descriptor_limit();
    struct http_client *client = MEM_NEW(struct http_client);
    client->loop = loop;
    client->multi = multi;
    list_init(&client->fetches);
    list_init(&client->due);
    list_init(&client->sockets);
    list_init(&client->tokens);
    map_init(&client->dialer_map);
    client->handles_open = 2;
    ENSURE(uv_timer_init(loop, &client->curl_timer) == 0);
    ENSURE(uv_idle_init(loop, &client->deferred) == 0);
    http_client_listen_to_curl(client);
    struct direct_events events = {
        .enter = on_direct_enter,
        .leave = on_direct_leave,
        .pool_ctx = client,
        .on_head = on_direct_head,
        .on_bytes = on_direct_bytes,
        .on_end = on_direct_end,
    };
    client->direct_pool = direct_pool_new(loop, &events);
    client->direct = true;
    http_client_set_connections_max(client, CONNECTIONS_DEFAULT);
    *out = client;
    return true;
}

void http_client_set_connections_max(struct http_client *client, unsigned connections_max)
{
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)connections_max);
    direct_pool_set_idle_max(client->direct_pool, connections_max);
}

void http_client_set_direct(struct http_client *client, bool direct)
{
    client->direct = direct;
}

static void on_client_timer_closed(uv_handle_t *handle)
{
    http_client_on_handle_closed(
        CONTAINER_OF((uv_timer_t *)(void *)handle, struct http_client, curl_timer));
}

static void on_client_deferred_closed(uv_handle_t *handle)
{
    http_client_on_handle_closed(
        CONTAINER_OF((uv_idle_t *)(void *)handle, struct http_client, deferred));
}

static void client_tear_down(struct http_client *client)
{
    struct list_node *node;
    while ((node = list_first(&client->fetches)) != NULL) {
        struct http_fetch *fetch = CONTAINER_OF(node, struct http_fetch, node);
        fetch->canceled = true;
        fetch_finish(fetch);
    }
    tokens_free(&client->tokens);
    while (client->idle_count > 0)
        curl_easy_cleanup(client->idle[--client->idle_count]);
    ENSURE(curl_multi_cleanup(client->multi) == CURLM_OK);
    curl_global_cleanup();
    direct_pool_close(client->direct_pool);
    while ((node = list_first(&client->sockets)) != NULL)
        http_client_socket_close(CONTAINER_OF(node, struct client_socket, node));
    uv_close((uv_handle_t *)&client->curl_timer, on_client_timer_closed);
    uv_close((uv_handle_t *)&client->deferred, on_client_deferred_closed);
}

static void client_enter(struct http_client *client)
{
    client->depth++;
}

static void client_leave(struct http_client *client)
{
    ENSURE(client->depth > 0);
    if (--client->depth == 0 && client->closing)
        client_tear_down(client);
}

/* From a callback of the client's own, the on_dones come when that has returned. */
void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    ENSURE(!client->closing);
    client->closing = true;
    LIST_EACH (node, &client->fetches) {
        CONTAINER_OF(node, struct http_fetch, node)->canceled = true;
    }
    if (client->depth == 0)
        client_tear_down(client);
}

struct http_fetch *http_fetch(struct http_client *client, const struct http_fetch_options *options)
{
    ENSURE(!client->closing && options->on_done != NULL);
    struct http_fetch *fetch = mem_alloc(sizeof(*fetch));
    memset(fetch, 0, offsetof(struct http_fetch, err));
    fetch->err.code = ERR_NONE;
    fetch->err.text[0] = '\0';
    fetch->client = client;
    fetch->on_head = options->on_head;
    fetch->on_bytes = options->on_bytes;
    fetch->on_done = options->on_done;
    fetch->ctx = options->ctx;
    fetch->dialer = options->dialer;
    fetch->waiter.told = fetch_on_token;
    buf_init(&fetch->content_type, HEAD_TEXT_MAX);
    buf_init(&fetch->content_encoding, HEAD_TEXT_MAX);
    buf_init(&fetch->reason, HEAD_TEXT_MAX);
    buf_init(&fetch->location, HEAD_TEXT_MAX);
    list_push_back(&client->fetches, &fetch->node);
    fetch->direct = client->direct ? direct_new(client->direct_pool, options, fetch) : NULL;
    if (!fetch->direct)
        fetch_use_curl(fetch, options);
    if (!fetch->direct || !direct_start(fetch->direct))
        fetch_defer(fetch);
    return fetch;
}

/* --- from outside, at any time until on_done has returned --- */

void http_fetch_cancel(struct http_fetch *fetch)
{
    if (fetch->done_called || fetch->canceled)
        return;
    fetch->canceled = true;
    fetch_defer(fetch);
}

void http_fetch_pause(struct http_fetch *fetch)
{
    fetch->paused = true;
    if (fetch->direct)
        direct_pause(fetch->direct);
}

void http_fetch_resume(struct http_fetch *fetch)
{
    if (!fetch->paused || fetch->done_called)
        return;
    fetch->paused = false;
    fetch_defer(fetch);
}
