/* series_api: /series, /labels and /label/<name>/values. The index is read on the query lane. */
#include "core.h"

#include <stdlib.h>

#include "base/vec.h"
#include "param.h"
#include "work.h"

#define CANCEL_CHECK_EVERY 1024

struct index_work {
    struct work work;
    int64_t from_ms, to_ms;
    size_t limit;
    struct str name; /* Of /label/<name>/values. */
};

/* --- on the lane --- */

static bool check_canceled(const struct work *work, struct err *err)
{
    if (atomic_load(&work->canceled))
        return err_set(err, ERR_CANCELED, "context canceled");
    if (work_left_ms(work) <= 0)
        return err_set(err, ERR_TIMEOUT, "context deadline exceeded");
    return true;
}

struct series_list {
    struct selection **selections; /* In the arena; one for each set. */
    size_t selection_count;
    VEC(const struct labels *) items; /* Borrowed from the selections. */
};

static int series_compare(const void *a, const void *b)
{
    const struct labels *const *left = a, *const *right = b;
    return labels_cmp(*left, *right);
}

static void series_unique(struct series_list *list)
{
    size_t kept = 0;

    VEC_SORT(&list->items, series_compare);
    for (size_t i = 0; i < list->items.count; i++) {
        if (kept == 0 || !labels_eq(list->items.items[kept - 1], list->items.items[i]))
            list->items.items[kept++] = list->items.items[i];
    }
    list->items.count = kept;
}

static bool select_series(struct index_work *work, const struct param_sets *sets,
                          struct series_list *list, struct err *err)
{
    list->selections =
        arena_alloc_array(&work->work.arena, sets->count, sizeof(struct selection *));
    for (size_t i = 0; i < sets->count; i++) {
        struct selection *selection = NULL;
        if (!storage_select(work->work.storage, sets->items[i].items, sets->items[i].count,
                            work->from_ms, work->to_ms, &selection, err))
            return false;
        list->selections[list->selection_count++] = selection;
        size_t count = selection_count(selection);
        for (size_t at = 0; at < count; at++)
            VEC_PUSH(&list->items, selection_labels(selection, at));
        if (!check_canceled(&work->work, err))
            return false;
    }
    if (sets->count > 1)
        series_unique(list);
    return true;
}

static bool write_series(struct index_work *work, const struct series_list *list, struct buf *out,
                         struct err *err)
{
    size_t count = list->items.count;
    bool cut = work->limit > 0 && count > work->limit, first = true;

    if (cut)
        count = work->limit;
    envelope_begin(out);
    BUF_ADD(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i % CANCEL_CHECK_EVERY == 0 && !check_canceled(&work->work, err))
            return false;
        json_comma(out, &first);
        labels_print_json(out, list->items.items[i]);
    }
    BUF_ADD(out, "]");
    envelope_end_cut(out, cut);
    return true;
}

static bool parse_sets(struct index_work *work, struct param_sets *sets, struct err *err)
{
    struct call *call = work->work.call;
    return param_sets_parse(&call->params, true, &work->work.arena, sets, err);
}

static bool run_series(struct work *base, struct buf *out, struct err *err)
{
    struct index_work *work = CONTAINER_OF(base, struct index_work, work);
    struct param_sets sets = {0};
    struct series_list list = {0};

    /* Only /series says which parameter it was. */
    bool ok = (parse_sets(work, &sets, err) || param_wrap(err, "match[]")) &&
              select_series(work, &sets, &list, err) && write_series(work, &list, out, err);
    for (size_t i = 0; i < list.selection_count; i++)
        selection_free(list.selections[i]);
    VEC_FREE(&list.items);
    param_sets_deinit(&sets);
    return ok;
}

static void write_texts(const struct str *texts, size_t count, bool cut, struct buf *out)
{
    bool first = true;

    envelope_begin(out);
    BUF_ADD(out, "[");
    for (size_t i = 0; i < count; i++) {
        json_comma(out, &first);
        buf_add_json_string(out, texts[i]);
    }
    BUF_ADD(out, "]");
    envelope_end_cut(out, cut);
}

static bool run_label_names(struct work *base, struct buf *out, struct err *err)
{
    struct index_work *work = CONTAINER_OF(base, struct index_work, work);
    struct param_sets sets = {0};
    struct str *names = NULL;
    size_t count = 0;
    bool cut = false;

    bool ok = parse_sets(work, &sets, err) &&
              storage_label_names(base->storage, sets.items, sets.count, work->from_ms, work->to_ms,
                                  work->limit, &base->arena, &names, &count, &cut, err);
    if (ok)
        write_texts(names, count, cut, out);
    param_sets_deinit(&sets);
    return ok;
}

static bool run_label_values(struct work *base, struct buf *out, struct err *err)
{
    struct index_work *work = CONTAINER_OF(base, struct index_work, work);
    struct param_sets sets = {0};
    struct str *values = NULL;
    size_t count = 0;
    bool cut = false;

    bool ok =
        parse_sets(work, &sets, err) &&
        storage_label_values(base->storage, work->name, sets.items, sets.count, work->from_ms,
                             work->to_ms, work->limit, &base->arena, &values, &count, &cut, err);
    if (ok)
        write_texts(values, count, cut, out);
    param_sets_deinit(&sets);
    return ok;
}

/* --- on the loop --- */

static struct index_work *
index_work_new(struct call *call, bool (*run)(struct work *work, struct buf *out, struct err *err))
{
    struct index_work *work = ARENA_NEW(call->request->arena, struct index_work);
    work->work.call = call;
    work->work.run = run;
    return work;
}

static void read_and_submit(struct call *call, struct index_work *work)
{
    struct err err = {0};

    if (!param_limit(call, &work->limit, &err) ||
        !param_time_or(call, "start", PARAM_TIME_MIN, &work->from_ms, &err) ||
        !param_time_or(call, "end", PARAM_TIME_MAX, &work->to_ms, &err))
        answer_error(call, &err);
    else
        work_submit(&work->work);
}

void serve_series(struct call *call)
{
    if (param_count(&call->params, STR("match[]")) == 0) {
        struct err err;
        err_set(&err, ERR_BAD_DATA, "no match[] parameter provided");
        answer_error(call, &err);
        return;
    }
    read_and_submit(call, index_work_new(call, run_series));
}

void serve_label_names(struct call *call)
{
    read_and_submit(call, index_work_new(call, run_label_names));
}

void serve_label_values(struct call *call)
{
    struct index_work *work = index_work_new(call, run_label_values);

    work->name = label_name_unescape(call->request->arena, call->name);
    if (!label_name_is_valid(work->name)) {
        struct err err;
        struct buf quoted;
        buf_init(&quoted, ERR_TEXT_MAX);
        buf_add_go_quoted(&quoted, work->name);
        err_set(&err, ERR_BAD_DATA, "invalid label name: " STR_FMT, STR_ARG(buf_str(&quoted)));
        buf_deinit(&quoted);
        answer_error(call, &err);
        return;
    }
    read_and_submit(call, work);
}
