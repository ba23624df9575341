/* kubernetes_watch: all objects of a kind (in one namespace, by one selector), kept up to date.
 *
 *     list page by page -> sweep what is gone -> watch from the list's version -> watch on ...
 *         ^---- 410 Gone, an error in the stream ----'                              |  ^
 *         '------ it is older ------ ask for the API server's version <-- failed ---'  '-- it is not
 *
 * Versions go back when the store behind the API server was set up again, or from a backup. A watch
 * from a version that has not been yet is not refused: it says nothing until it is reached.
 *
 * Objects are taken over one by one while a list arrives; a list that breaks off changes no more
 * than it has told, and what it lacks is removed only at the end of a whole one. All watches
 * together work a few milliseconds in one turn of the loop; a connection that brings more waits.
 * An error is logged once, until it changes or goes. */
#include "base/clock.h"
#include "base/log.h"
#include "kubernetes.h"

#define PAGE_ITEMS        500
#define LIST_TIMEOUT_MS   60000
#define WATCH_SECONDS_MIN 300 /* The API server ends the watch then; times two at most. */
#define WATCH_GRACE_MS    30000
#define BACKOFF_MS_MIN    800
#define BACKOFF_MS_MAX    30000
#define SHORT_WATCH_MS    1000
#define CALM_WATCH_MS     10000
#define PENDING_BYTES_MAX ((size_t)16 << 20)
#define ANSWER_BYTES_MAX  16384

struct kube_request {
    struct kube_watch *watch; /* NULL: closed meanwhile. */
    struct http_fetch *fetch;
    struct arena arena;
    struct kube_stream stream;
    struct buf pending; /* Bytes that are not looked at yet. */
    struct buf answer;  /* Of a status other than 200. */
    struct err err;     /* Why we ended it. */
    int status;
    int64_t start_ms;
    unsigned events;
};

struct kube_watch {
    struct list_node node; /* In hub->watches. */
    struct kube_hub *hub;
    struct list listeners;
    struct kube_api api;
    enum kube_kind kind;
    char *key, *path, *query; /* Owned. */
    struct kube_store store;
    bool listing, synced;
    bool checking;        /* Whether the API server's version is still not before ours. */
    bool was_listing;     /* The last request. */
    char *version, *page; /* Owned; empty: none. */
    struct kube_request *request;
    struct timer *timer; /* The next request, or more work on this one. */
    unsigned failures;
    bool was_gone;    /* The version, and no watch has held since. */
    char *last_error; /* Owned. NULL: none. */
};

static void note_calm(struct kube_watch *watch)
{
    watch->failures = 0;
    watch->was_gone = false;
}

static void text_set(char **text, struct str value)
{
    mem_free(*text);
    *text = str_dup(value);
}

/* --- objects --- */

static void tell(struct kube_watch *watch, struct str key, bool gone)
{
    LIST_EACH (node, &watch->listeners) {
        struct kube_listener *listener = CONTAINER_OF(node, struct kube_listener, node);
        listener->on_changed(listener, key, gone);
    }
}

static void count_event(const struct kube_watch *watch, enum kubernetes_event event)
{
    if (watch->kind < KUBERNETES_ROLE_COUNT)
        watch->hub->env->stats->kubernetes_events[watch->kind][event]++;
}

static void on_store_changed(void *ctx, struct str key, enum kubernetes_event event, bool differs)
{
    struct kube_watch *watch = ctx;

    count_event(watch, event);
    if (differs)
        tell(watch, key, event == KUBERNETES_DELETE);
}

/* --- pieces of an answer --- */

static bool take_metadata(struct kube_watch *watch, const struct json *meta)
{
    text_set(&watch->version, json_str(json_get(meta, "resourceVersion")));
    text_set(&watch->page, json_str(json_get(meta, "continue")));
    return true;
}

/* Versions are numbers without a leading zero. */
static bool check_version(struct kube_watch *watch, const struct json *meta)
{
    struct str now = json_str(json_get(meta, "resourceVersion")), ours = str_of(watch->version);

    watch->listing = now.len != ours.len ? now.len < ours.len : str_cmp(now, ours) < 0;
    return true;
}

static bool take_object(struct kube_watch *watch, const struct json *root, struct err *err)
{
    struct kube_object *object;

    if (!kube_object_new(&object, watch->kind, root, err))
        return false;
    kube_store_put(&watch->store, object);
    return true;
}

static bool take_error(struct kube_watch *watch, const struct json *status, struct err *err)
{
    int code = (int)json_number(json_get(status, "code"));
    struct str message = json_str(json_get(status, "message"));

    watch->listing = true;
    if (code == 410)
        return err_set(err, ERR_NOT_FOUND, "version %s is gone", watch->version);
    return err_set(err, ERR_UNAVAILABLE, "watch ended with status %d: " STR_FMT, code,
                   STR_ARG(str_first(message, 1000)));
}

static bool take_gone(struct kube_watch *watch, const struct json *root, struct err *err)
{
    struct kube_object *object;

    if (!kube_object_new(&object, watch->kind, root, err))
        return false;
    kube_store_remove(&watch->store, kube_object_key(object));
    kube_object_free(object);
    return true;
}

static bool take_event(struct kube_watch *watch, const struct json *event, struct err *err)
{
    struct str type = json_str(json_get(event, "type"));
    const struct json *object = json_get(event, "object");
    struct str version = json_str(json_get(json_get(object, "metadata"), "resourceVersion"));
    bool good;

    if (str_eq(type, STR("ERROR")))
        return take_error(watch, object, err);
    if (str_eq(type, STR("ADDED")) || str_eq(type, STR("MODIFIED")))
        good = take_object(watch, object, err);
    else if (str_eq(type, STR("DELETED")))
        good = take_gone(watch, object, err);
    else
        good = str_eq(type, STR("BOOKMARK")) ||
               err_set(err, ERR_BAD_DATA, "unknown event type in a watch");
    if (good && version.len > 0)
        text_set(&watch->version, version);
    return good;
}

static bool take_piece(struct kube_request *request, struct str key, struct str piece,
                       struct err *err)
{
    struct kube_watch *watch = request->watch;
    bool is_list = request->stream.mode == KUBE_LIST;
    bool meta = is_list && str_eq(key, STR("metadata"));
    bool item = is_list && !watch->checking && str_eq(key, STR("items"));
    struct json *root;
    bool good;

    if (is_list && !meta && (!item || piece.ptr[0] != '{'))
        return true; /* kind, apiVersion, "items": null */
    if (!json_parse(&root, piece, err))
        return false;
    if (meta)
        good = watch->checking ? check_version(watch, root) : take_metadata(watch, root);
    else if (item)
        good = take_object(watch, root, err);
    else
        good = take_event(watch, root, err);
    json_free(root);
    request->events++;
    if (!is_list && good)
        note_calm(watch);
    return good;
}

/* Works on what is there until the turn's time is over. */
static bool pump(struct kube_request *request, struct err *err)
{
    struct kube_hub *hub = request->watch->hub;
    struct str rest = buf_str(&request->pending), key, piece;
    int64_t left_ns = kube_hub_left_ns(hub), start_ns = clock_mono_ns();
    enum kube_stream_step step = KUBE_STREAM_PIECE;
    bool good = true;

    while (good && step == KUBE_STREAM_PIECE && clock_mono_ns() - start_ns < left_ns) {
        step = kube_stream_next(&request->stream, &rest, &key, &piece, err);
        if (step == KUBE_STREAM_PIECE)
            good = take_piece(request, key, piece, err);
        good = good && step != KUBE_STREAM_BAD;
    }
    buf_drop_front(&request->pending, request->pending.len - rest.len);
    kube_hub_spend(hub, clock_mono_ns() - start_ns);
    return good;
}

/* --- the next request --- */

static void next_start(struct kube_watch *watch, int64_t delay_ms)
{
    timer_start(watch->timer, delay_ms, 0);
}

static const char *watch_namespace(const struct kube_watch *watch)
{
    const char *at = strstr(watch->path, "/namespaces/");
    struct str rest;

    if (!at)
        return "";
    return log_str(str_cut(str_of(at + strlen("/namespaces/")), '/', &rest));
}

static void note_failure(struct kube_watch *watch, const struct err *err)
{
    watch->hub->env->stats->kubernetes_failures++;
    if (watch->last_error && strcmp(watch->last_error, err->text) == 0)
        return;
    text_set(&watch->last_error, str_of(err->text));
    LOG_W(watch->was_listing ? "Failed to list" : "Failed to watch", "discovery", "kubernetes",
          "resource", kube_kind_resource(watch->kind), "namespace", watch_namespace(watch), "err",
          err->text);
}

/* Waits stay as long as they are until a watch has shown that it holds: a list may be fine and the
 * watch after it fail at once, again and again. */
static void note_success(struct kube_watch *watch)
{
    mem_free(watch->last_error);
    watch->last_error = NULL;
}

static void next_after_failure(struct kube_watch *watch, const struct err *err)
{
    int64_t delay_ms = BACKOFF_MS_MIN;

    note_failure(watch, err);
    for (unsigned i = 0; i < watch->failures && delay_ms < BACKOFF_MS_MAX; i++)
        delay_ms *= 2;
    if (delay_ms > BACKOFF_MS_MAX)
        delay_ms = BACKOFF_MS_MAX;
    watch->failures++;
    watch->checking = !watch->listing;
    if (watch->listing)
        text_set(&watch->page, STR_EMPTY); /* From the start. */
    next_start(watch, delay_ms + kube_hub_random(watch->hub, delay_ms));
}

static void list_done(struct kube_watch *watch)
{
    if (watch->page[0]) {
        next_start(watch, 0);
        return;
    }
    kube_store_sweep(&watch->store);
    watch->listing = false;
    watch->synced = true;
    note_success(watch);
    LIST_EACH (node, &watch->listeners) {
        struct kube_listener *listener = CONTAINER_OF(node, struct kube_listener, node);
        listener->on_synced(listener);
    }
    next_start(watch, 0);
}

/* The API server ends watches by itself: on with the last version. */
static void watch_done(struct kube_watch *watch, const struct kube_request *request)
{
    bool useless = request->events == 0 && clock_mono_ms() - request->start_ms < SHORT_WATCH_MS;

    if (!useless)
        note_calm(watch);
    note_success(watch);
    next_start(watch, useless ? SHORT_WATCH_MS + kube_hub_random(watch->hub, SHORT_WATCH_MS) : 0);
}

static bool request_judge(struct kube_request *request, const struct err *fetch_err,
                          struct err *err)
{
    *err = request->err.code != ERR_NONE ? request->err : *fetch_err;
    if (err->code != ERR_NONE)
        return false;
    if (request->status != 200)
        return kube_api_status_error(request->status, buf_str(&request->answer), err);
    return kube_stream_is_whole(&request->stream) ||
           err_set(err, ERR_UNAVAILABLE, "answer ends too early");
}

static void request_free(struct kube_request *request)
{
    kube_stream_deinit(&request->stream);
    buf_deinit(&request->pending);
    buf_deinit(&request->answer);
    arena_deinit(&request->arena);
    mem_free(request);
}

static void request_done(struct kube_watch *watch, struct kube_request *request,
                         const struct err *fetch_err)
{
    bool is_watch = request->stream.mode == KUBE_WATCH, checked = watch->checking;
    bool timed_out = fetch_err->code == ERR_TIMEOUT && request->status == 200;
    struct err err = {0};

    watch->checking = false;
    if (is_watch && request->status == 200 && clock_mono_ms() - request->start_ms >= CALM_WATCH_MS)
        note_calm(watch);
    if (request_judge(request, fetch_err, &err)) {
        if (checked)
            next_start(watch, 0);
        else if (is_watch)
            watch_done(watch, request);
        else
            list_done(watch);
        return;
    }
    if (timed_out && is_watch) {
        watch_done(watch, request); /* It has lived long enough. */
        return;
    }
    if (err.code == ERR_NOT_FOUND || request->status == 410 || request->status == 504)
        watch->listing = true;
    /* The first time a version is gone is no failure: history is short, and that of an API server
     * that has just started is empty. */
    if (err.code == ERR_NOT_FOUND && !watch->was_gone) {
        watch->was_gone = true;
        text_set(&watch->page, STR_EMPTY);
        next_start(watch, 0);
        return;
    }
    next_after_failure(watch, &err);
}

/* --- a request --- */

static void on_done(void *ctx, const struct err *err)
{
    struct kube_request *request = ctx;
    struct kube_watch *watch = request->watch;

    if (watch) {
        watch->request = NULL;
        timer_stop(watch->timer);
        request_done(watch, request, err);
    }
    request_free(request);
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct kube_request *request = ctx;

    (void)err;
    request->status = head->status;
    return true;
}

static void request_rest(struct kube_request *request)
{
    if (request->pending.len == 0)
        return;
    http_fetch_pause(request->fetch);
    timer_start(request->watch->timer, 1, 0);
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct kube_request *request = ctx;

    if (!request->watch)
        return err_set(err, ERR_CANCELED, "context canceled");
    if (request->status != 200) {
        buf_add_str(&request->answer, str_first(bytes, ANSWER_BYTES_MAX - request->answer.len));
        return true;
    }
    buf_add_str(&request->pending, bytes);
    if (request->pending.overflow)
        return err_set(err, ERR_LIMIT, "answer comes faster than it can be read");
    if (!pump(request, err))
        return false;
    request_rest(request);
    return true;
}

static void request_work(struct kube_request *request)
{
    if (!pump(request, &request->err)) {
        http_fetch_cancel(request->fetch);
        return;
    }
    if (request->pending.len > 0)
        timer_start(request->watch->timer, 1, 0);
    else
        http_fetch_resume(request->fetch);
}

static struct str request_path(struct kube_watch *watch, struct arena *arena, int64_t *timeout_ms)
{
    struct buf path;

    buf_init(&path, 65536);
    buf_addf(&path, "%s?%s", watch->path, watch->query);
    if (watch->listing || watch->checking) {
        buf_addf(&path, "limit=%d", watch->checking ? 1 : PAGE_ITEMS);
        if (watch->page[0]) {
            BUF_ADD(&path, "&continue=");
            buf_add_url_escaped(&path, str_of(watch->page));
        }
        *timeout_ms = LIST_TIMEOUT_MS;
    } else {
        int64_t seconds = WATCH_SECONDS_MIN + kube_hub_random(watch->hub, WATCH_SECONDS_MIN);
        BUF_ADD(&path, "watch=true&allowWatchBookmarks=true&resourceVersion=");
        buf_add_url_escaped(&path, str_of(watch->version));
        buf_addf(&path, "&timeoutSeconds=%lld", (long long)seconds);
        *timeout_ms = seconds * 1000 + WATCH_GRACE_MS;
    }
    struct str out = arena_str(arena, buf_str(&path));
    buf_deinit(&path);
    return out;
}

static void request_start(struct kube_watch *watch)
{
    struct kube_request *request = MEM_NEW(struct kube_request);
    struct http_fetch_options options;
    struct err err = {0};
    int64_t timeout_ms;

    request->watch = watch;
    watch->was_listing = watch->listing;
    arena_init(&request->arena, 0);
    kube_stream_init(&request->stream, watch->listing || watch->checking ? KUBE_LIST : KUBE_WATCH);
    buf_init(&request->pending, PENDING_BYTES_MAX);
    buf_init(&request->answer, ANSWER_BYTES_MAX);
    request->start_ms = clock_mono_ms();
    if (watch->listing && !watch->page[0])
        watch->store.round++;
    struct str path = request_path(watch, &request->arena, &timeout_ms);
    if (!kube_api_request(&watch->api, path, &options, &request->arena, &err)) {
        request_free(request);
        next_after_failure(watch, &err);
        return;
    }
    options.timeout_ms = timeout_ms;
    options.on_head = on_head;
    options.on_bytes = on_bytes;
    options.on_done = on_done;
    options.ctx = request;
    if (watch->api.block->api_server.len > 0) /* Only these, as there. */
        options.dialer = http_dialer(watch->hub->env->client, STR("kubernetes_sd"));
    watch->request = request;
    request->fetch = http_fetch(watch->hub->env->client, &options);
}

static void on_timer(void *ctx)
{
    struct kube_watch *watch = ctx;

    if (watch->request)
        request_work(watch->request);
    else
        request_start(watch);
}

/* --- the life of a watch --- */

static struct kube_watch *watch_open(struct kube_hub *hub, const struct kube_watch_options *options,
                                     char *key, char *path, char *query)
{
    struct kube_watch *watch = MEM_NEW(struct kube_watch);

    watch->hub = hub;
    list_init(&watch->listeners);
    watch->api = (struct kube_api){
        .block = options->block,
        .config = config_ref(options->config),
        .user_agent = str_of(hub->env->user_agent),
    };
    watch->kind = options->kind;
    watch->key = key;
    watch->path = path;
    watch->query = query;
    kube_store_init(&watch->store, on_store_changed, watch);
    watch->version = str_dup(STR_EMPTY);
    watch->page = str_dup(STR_EMPTY);
    watch->listing = true;
    watch->timer = timer_new(hub->env->loop, on_timer, watch);
    list_push_back(&hub->watches, &watch->node);
    next_start(watch, 0);
    return watch;
}

static void watch_close(struct kube_watch *watch)
{
    list_remove(&watch->node);
    timer_free(watch->timer);
    if (watch->request) {
        watch->request->watch = NULL;
        http_fetch_cancel(watch->request->fetch);
    }
    kube_store_deinit(&watch->store);
    config_unref(watch->api.config);
    mem_free(watch->key);
    mem_free(watch->path);
    mem_free(watch->query);
    mem_free(watch->version);
    mem_free(watch->page);
    mem_free(watch->last_error);
    mem_free(watch);
}

static struct kube_watch *watch_find(struct kube_hub *hub, const char *key)
{
    LIST_EACH (node, &hub->watches) {
        struct kube_watch *watch = CONTAINER_OF(node, struct kube_watch, node);
        if (strcmp(watch->key, key) == 0)
            return watch;
    }
    return NULL;
}

void kube_watch_join(struct kube_hub *hub, const struct kube_watch_options *options,
                     struct kube_listener *listener)
{
    char *path = kube_api_path(options->kind, options->namespace);
    char *query = kube_api_query(options->label, options->field);
    struct buf text;

    buf_init(&text, (size_t)8 << 20);
    buf_addf(&text, "%s?%s\n", path, query);
    buf_add_str(&text, options->block->client_key);
    char *key = str_dup(buf_str(&text));
    buf_deinit(&text);
    listener->watch = watch_find(hub, key);
    if (!listener->watch) {
        listener->watch = watch_open(hub, options, key, path, query);
    } else {
        mem_free(key);
        mem_free(path);
        mem_free(query);
    }
    list_push_back(&listener->watch->listeners, &listener->node);
}

void kube_watch_leave(struct kube_listener *listener)
{
    struct kube_watch *watch = listener->watch;

    if (!watch)
        return;
    list_remove(&listener->node);
    listener->watch = NULL;
    if (list_empty(&watch->listeners))
        watch_close(watch);
}

bool kube_watch_synced(const struct kube_watch *watch)
{
    return watch->synced;
}

const struct kube_store *kube_watch_store(const struct kube_watch *watch)
{
    return &watch->store;
}

struct kube_watch *kube_watch_of(struct list_node *node)
{
    return CONTAINER_OF(node, struct kube_watch, node);
}

bool kube_watch_sees(const struct kube_watch *watch, enum kube_kind kind, struct str namespace,
                     bool *whole)
{
    char *all = kube_api_path(kind, STR_EMPTY), *one = kube_api_path(kind, namespace);
    bool has_all = strcmp(watch->path, all) == 0, has_one = strcmp(watch->path, one) == 0;

    mem_free(all);
    mem_free(one);
    *whole = (has_all || has_one) && watch->query[0] == '\0';
    return watch->kind == kind && (has_all || has_one || namespace.len == 0);
}
