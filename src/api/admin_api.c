/* admin_api: /admin/tsdb/...: deletes, cleaning and snapshots. Off unless --web.enable-admin-api.
 *
 *     delete_series: match[] are read on the query lane -> storage_delete -> 204 when the delete is on the disk
 *     clean_tombstones, snapshot: storage answers in its own time
 *
 * A call that waits for storage is in api->admin_waits: when the server stops it is answered at once, and what
 * storage says later goes to nobody. */
#include "admin_api.h"

#include "base/mem.h"
#include "param.h"
#include "work.h"

struct admin_wait {
    struct list_node node; /* In api->admin_waits. */
    struct call *call;     /* NULL: answered. */
    const char *doing;     /* What an error is prefixed with; may be NULL. */
};

static bool is_enabled(struct call *call)
{
    struct err err = {0};

    if (call->api->options.enable_admin)
        return true;
    err_set(&err, ERR_UNAVAILABLE, "admin APIs disabled");
    answer_error(call, &err);
    return false;
}

static struct admin_wait *wait_new(struct call *call, const char *doing)
{
    struct admin_wait *wait = MEM_NEW(struct admin_wait);
    wait->call = call;
    wait->doing = doing;
    list_push_back(&call->api->admin_waits, &wait->node);
    return wait;
}

/* The call that is to be answered now; NULL when it has been. Frees the wait. */
static struct call *wait_end(struct admin_wait *wait)
{
    struct call *call = wait->call;
    list_remove(&wait->node);
    mem_free(wait);
    return call;
}

static void answer_internal(struct call *call, const struct err *err, const char *doing)
{
    struct err told = *err;
    told.code = ERR_INTERNAL;
    if (doing)
        err_wrap(&told, "%s", doing);
    answer_error(call, &told);
}

static void wait_done(void *ctx, const struct err *err)
{
    struct admin_wait *wait = ctx;
    const char *doing = wait->doing;
    struct call *call = wait_end(wait);

    if (!call)
        return;
    if (err->code != ERR_NONE)
        answer_internal(call, err, doing);
    else
        answer(call, 204, NULL, NULL);
}

void admin_cancel_all(struct api *api)
{
    LIST_EACH (node, &api->admin_waits) {
        struct admin_wait *wait = CONTAINER_OF(node, struct admin_wait, node);
        struct call *call = wait->call;
        struct err err = {0};
        list_remove(&wait->node);
        wait->call = NULL; /* Storage ends it. */
        err_set(&err, ERR_CANCELED, "the server is stopping");
        answer_error(call, &err);
    }
}

/* --- delete_series --- */

struct delete_work {
    struct work work;
    int64_t from_ms, to_ms;
    struct matchers *sets; /* Owned; those that match something. */
    size_t set_count;
};

/* A delete of nothing needs no tombstone. */
static bool matches_something(const struct delete_work *work, const struct matchers *set,
                              bool *found, struct err *err)
{
    struct selection *selection = NULL;
    if (!storage_select(work->work.storage, set->items, set->count, work->from_ms, work->to_ms,
                        &selection, err)) {
        err->code = ERR_INTERNAL;
        return false;
    }
    *found = selection_count(selection) > 0;
    selection_free(selection);
    return true;
}

static bool run_delete(struct work *base, struct buf *out, struct err *err)
{
    struct delete_work *work = CONTAINER_OF(base, struct delete_work, work);
    struct param_sets sets = {0};
    bool good = param_sets_parse(&base->call->params, false, &base->arena, &sets, err) ||
                param_wrap(err, "match[]");
    (void)out;
    work->sets = mem_zalloc((sets.count + 1) * sizeof(work->sets[0]));
    for (size_t i = 0; good && i < sets.count; i++) {
        bool found = false;
        good = matches_something(work, &sets.items[i], &found, err);
        if (!good || !found)
            continue;
        work->sets[work->set_count++] = sets.items[i];
        sets.items[i] = (struct matchers){0};
    }
    param_sets_deinit(&sets);
    return good;
}

static void finish_delete(struct work *base)
{
    struct delete_work *work = CONTAINER_OF(base, struct delete_work, work);
    struct call *call = base->call;
    struct err err = base->err;
    /* The work is in the request's arena, which goes with the answer. */
    struct matchers *sets = work->sets;
    size_t set_count = work->set_count;

    buf_deinit(&base->out);
    if (err.code != ERR_NONE) {
        answer_error(call, &err);
    } else if (set_count == 0) {
        answer(call, 204, NULL, NULL);
    } else {
        struct admin_wait *wait = wait_new(call, NULL);
        if (!storage_delete(call->api->options.storage, sets, set_count, work->from_ms, work->to_ms,
                            wait_done, wait, &err))
            wait_done(wait, &err);
    }
    for (size_t i = 0; i < set_count; i++)
        matchers_deinit(&sets[i]);
    mem_free(sets);
}

void serve_delete_series(struct call *call)
{
    struct delete_work *work;
    struct err err = {0};

    if (!is_enabled(call))
        return;
    if (param_count(&call->params, STR("match[]")) == 0) {
        err_set(&err, ERR_BAD_DATA, "no match[] parameter provided");
        answer_error(call, &err);
        return;
    }
    work = ARENA_NEW(call->request->arena, struct delete_work);
    work->work.call = call;
    work->work.run = run_delete;
    work->work.finish = finish_delete;
    if (!param_time_or(call, "start", PARAM_TIME_MIN, &work->from_ms, &err) ||
        !param_time_or(call, "end", PARAM_TIME_MAX, &work->to_ms, &err))
        answer_error(call, &err);
    else
        work_submit(&work->work);
}

/* --- clean_tombstones --- */

void serve_clean_tombstones(struct call *call)
{
    if (is_enabled(call))
        storage_clean_tombstones(call->api->options.storage, wait_done, wait_new(call, NULL));
}

/* --- snapshot --- */

static void snapshot_done(void *ctx, const char *name, const struct err *err)
{
    struct admin_wait *wait = ctx;
    const char *doing = wait->doing;
    struct call *call = wait_end(wait);
    struct buf out;
    bool first = true;

    if (!call)
        return;
    if (err->code != ERR_NONE) {
        answer_internal(call, err, doing);
        return;
    }
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    json_text(&out, &first, "name", str_of(name));
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}

/* As Go's strconv.ParseBool. */
static bool parse_bool(struct str text, bool *out, struct err *err)
{
    static const char *const words[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                        "0", "f", "F", "FALSE", "false", "False"};
    struct buf quoted;

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(text, str_of(words[i]))) {
            *out = i < COUNT_OF(words) / 2;
            return true;
        }
    }
    buf_init(&quoted, ERR_TEXT_MAX);
    buf_add_go_quoted(&quoted, text);
    err_set(err, ERR_BAD_DATA,
            "unable to parse boolean: strconv.ParseBool: parsing " STR_FMT ": invalid syntax",
            STR_ARG(buf_str(&quoted)));
    buf_deinit(&quoted);
    return false;
}

void serve_snapshot(struct call *call)
{
    struct str text = param_get(call, "skip_head");
    struct err err = {0};
    bool skip_head = false;

    if (!is_enabled(call))
        return;
    if (text.len > 0 && !parse_bool(text, &skip_head, &err)) {
        param_wrap(&err, "skip_head");
        answer_error(call, &err);
        return;
    }
    storage_snapshot(call->api->options.storage, skip_head, snapshot_done,
                     wait_new(call, "create snapshot"));
}
