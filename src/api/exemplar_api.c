/* exemplar_api: /api/v1/query_exemplars. The loop copies the exemplars of the time range (references,
 * at most storage.exemplars.max_exemplars); a lane finds those whose series the expression selects
 * and writes them. */
#include "core.h"

#include <stdlib.h>

#include "base/number.h"
#include "base/vec.h"
#include "param.h"
#include "query.h"
#include "work.h"

struct exemplar_work {
    struct work work;
    struct matchers *selectors; /* Owned. */
    size_t selector_count;
    struct exemplar_list *list; /* Owned. */
};

/* --- on the lane --- */

/* Those of one series. */
struct exemplar_run {
    const struct exemplar_item *items;
    size_t count;
};

static int run_compare(const void *a, const void *b)
{
    const struct exemplar_run *left = a, *right = b;
    return labels_cmp(left->items[0].series, right->items[0].series);
}

static bool is_selected(const struct exemplar_work *work, const struct labels *series)
{
    for (size_t i = 0; i < work->selector_count; i++)
        if (matchers_match(work->selectors[i].items, work->selectors[i].count, series))
            return true;
    return false;
}

static void write_exemplar(const struct exemplar_item *item, struct buf *out)
{
    BUF_ADD(out, "{\"labels\":");
    labels_print_json(out, item->labels);
    BUF_ADD(out, ",\"value\":\"");
    buf_add_number(out, item->value, NUMBER_API);
    BUF_ADD(out, "\",\"timestamp\":");
    buf_add_time_ms(out, item->time_ms);
    BUF_ADD(out, "}");
}

static void write_run(const struct exemplar_run *run, struct buf *out)
{
    bool first = true;

    BUF_ADD(out, "{\"seriesLabels\":");
    labels_print_json(out, run->items[0].series);
    BUF_ADD(out, ",\"exemplars\":[");
    for (size_t i = 0; i < run->count; i++) {
        json_comma(out, &first);
        write_exemplar(&run->items[i], out);
    }
    BUF_ADD(out, "]}");
}

static bool run_exemplars(struct work *base, struct buf *out, struct err *err)
{
    struct exemplar_work *work = CONTAINER_OF(base, struct exemplar_work, work);
    const struct exemplar_list *list = work->list;
    VEC(struct exemplar_run) runs = {0};
    bool first = true;

    for (size_t at = 0; at < list->count && !atomic_load(&base->canceled);) {
        struct exemplar_run run = {&list->items[at], 1};
        while (++at < list->count && list->items[at].series == run.items[0].series)
            run.count++;
        if (is_selected(work, run.items[0].series))
            VEC_PUSH(&runs, run);
    }
    VEC_SORT(&runs, run_compare);
    envelope_begin(out);
    BUF_ADD(out, "[");
    for (size_t i = 0; i < runs.count && !atomic_load(&base->canceled); i++) {
        json_comma(out, &first);
        write_run(&runs.items[i], out);
    }
    BUF_ADD(out, "]");
    envelope_end(out);
    VEC_FREE(&runs);
    if (atomic_load(&base->canceled))
        return err_set(err, ERR_CANCELED, "context canceled");
    return true;
}

/* --- on the loop --- */

static void finish(struct work *base)
{
    struct exemplar_work *work = CONTAINER_OF(base, struct exemplar_work, work);

    exemplar_list_free(work->list);
    query_selectors_free(work->selectors, work->selector_count);
    if (base->err.code == ERR_NONE) {
        answer(base->call, 200, CONTENT_JSON, &base->out);
        return;
    }
    buf_deinit(&base->out);
    answer_error(base->call, &base->err);
}

static bool read_range(struct call *call, int64_t *start_ms, int64_t *end_ms, struct err *err)
{
    if (!param_time_or(call, "start", PARAM_TIME_MIN, start_ms, err) ||
        !param_time_or(call, "end", PARAM_TIME_MAX, end_ms, err))
        return false;
    return *end_ms >= *start_ms ||
           err_set(err, ERR_BAD_DATA, "end timestamp must not be before start timestamp");
}

void serve_query_exemplars(struct call *call)
{
    struct exemplar_work *work = arena_zalloc(call->request->arena, sizeof(*work));
    struct api *api = call->api;
    int64_t start_ms, end_ms;
    struct err err = {0};

    if (!read_range(call, &start_ms, &end_ms, &err)) {
        answer_error(call, &err);
        return;
    }
    if (!query_selectors(param_get(call, "query"), api->options.query_features, &work->selectors,
                         &work->selector_count, &err)) {
        err.code = ERR_BAD_DATA;
        answer_error(call, &err);
        return;
    }
    if (work->selector_count == 0) {
        query_selectors_free(work->selectors, 0);
        answer(call, 204, NULL, NULL);
        return;
    }
    work->list = storage_exemplars(api->options.storage, start_ms, end_ms);
    work->work.call = call;
    work->work.run = run_exemplars;
    work->work.finish = finish;
    work_submit(&work->work);
}
