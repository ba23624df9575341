/* federate_api: /federate: the last sample of each selected series within the lookback, as text or
 * protobuf that another Prometheus scrapes. Text has no form for native histograms: they are left
 * out unless they have custom buckets.
 *
 * Every series carries an instance label, empty if need be, so that honor_labels on the other side
 * keeps it as it is, and the external labels that it does not have itself. Names outside the
 * classic alphabet become what the caller accepts. */
#include "core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "base/vec.h"
#include "federate.h"
#include "model/histogram.h"
#include "model/sample.h"
#include "param.h"
#include "work.h"

struct federate_work {
    struct work work;
    struct labels *external; /* A reference. */
    int64_t from_ms, to_ms;
    struct exposition exposition;
};

struct federate_rows {
    struct selection **selections; /* In the arena. */
    size_t selection_count;
    VEC(struct federate_row) items;
};

/* --- on the lane --- */

/* The newest sample of one series; *found says whether there is one that can be told. */
static bool read_last(struct cursor *cursor, size_t index, bool natives, struct federate_row *out,
                      bool *found, struct arena *arena, struct err *err)
{
    struct sample_block block;

    *found = false;
    cursor_seek(cursor, index);
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return false;
        if (block.count == 0)
            return true;
        size_t last = block.count - 1;
        const struct histogram *histogram = block.histogram ? block.histogram[last] : NULL;
        out->sample = (struct sample){block.time_ms[last], block.value[last]};
        *found = histogram
                     ? (natives || histogram_is_custom(histogram)) && !histogram_is_stale(histogram)
                     : !sample_is_stale(out->sample.value);
        out->histogram = histogram && *found ? histogram_copy(arena, histogram) : NULL;
    }
}

static bool read_selection(struct federate_work *work, struct selection *selection,
                           struct federate_rows *rows, struct err *err)
{
    struct cursor *cursor = cursor_new(selection);
    size_t count = selection_count(selection);
    bool ok = true, natives = work->exposition.format == EXPOSITION_PROTOBUF;

    for (size_t i = 0; ok && i < count; i++) {
        struct federate_row row = {.labels = selection_labels(selection, i)};
        bool found;
        if (atomic_load(&work->work.canceled)) {
            ok = err_set(err, ERR_CANCELED, "context canceled");
            break;
        }
        ok = read_last(cursor, i, natives, &row, &found, &work->work.arena, err);
        if (ok && found)
            VEC_PUSH(&rows->items, row);
    }
    cursor_free(cursor);
    return ok;
}

static bool read_rows(struct federate_work *work, const struct param_sets *sets,
                      struct federate_rows *rows, struct err *err)
{
    rows->selections =
        arena_alloc_array(&work->work.arena, sets->count + 1, sizeof(struct selection *));
    for (size_t i = 0; i < sets->count; i++) {
        struct selection *selection = NULL;
        if (!storage_select(work->work.storage, sets->items[i].items, sets->items[i].count,
                            work->from_ms, work->to_ms, &selection, err))
            return false;
        rows->selections[rows->selection_count++] = selection;
        if (!read_selection(work, selection, rows, err))
            return false;
    }
    return true;
}

static int row_compare(const void *a, const void *b)
{
    const struct federate_row *left = a, *right = b;
    int order =
        str_cmp(labels_get(left->labels, LABEL_NAME), labels_get(right->labels, LABEL_NAME));
    return order ? order : labels_cmp(left->labels, right->labels);
}

/* --- rows, for their writers --- */

void federate_each_label(const struct federate_row *row, const struct labels *external,
                         federate_label_fn fn, void *ctx)
{
    const struct labels *labels = row->labels;
    bool instance = labels_has(labels, LABEL_INSTANCE) || labels_has(external, LABEL_INSTANCE);

    for (uint32_t i = 0; i < labels->count; i++)
        if (!str_eq(labels->items[i].name, LABEL_NAME))
            fn(ctx, labels->items[i].name, labels->items[i].value);
    for (uint32_t i = 0; i < external->count; i++) {
        const struct label *label = &external->items[i];
        if (!instance && str_cmp(LABEL_INSTANCE, label->name) < 0) {
            fn(ctx, LABEL_INSTANCE, STR_EMPTY);
            instance = true;
        }
        if (!labels_has(labels, label->name))
            fn(ctx, label->name, label->value);
    }
    if (!instance)
        fn(ctx, LABEL_INSTANCE, STR_EMPTY);
}

/* The counts of bucket `index`; spans are walked in step with the indices. */
struct bucket_walk {
    const struct histogram *histogram;
    uint32_t span, in_span, value;
    int64_t next; /* Index of the bucket that the walk is at. */
};

static double bucket_take(struct bucket_walk *walk, int64_t index)
{
    const struct histogram *histogram = walk->histogram;

    while (walk->span < histogram->positive_span_count &&
           walk->in_span == histogram->positive_spans[walk->span].length) {
        walk->in_span = 0;
        if (++walk->span < histogram->positive_span_count)
            walk->next += histogram->positive_spans[walk->span].offset;
    }
    if (walk->span == histogram->positive_span_count || walk->next != index)
        return 0;
    walk->in_span++;
    walk->next++;
    return histogram->positive[walk->value++];
}

double *federate_bucket_counts(const struct histogram *histogram, struct arena *arena)
{
    double *counts = arena_alloc_array(arena, histogram->bound_count + 1, sizeof(*counts));
    struct bucket_walk walk = {.histogram = histogram};
    double sum = 0;

    if (histogram->positive_span_count > 0)
        walk.next = histogram->positive_spans[0].offset;
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        sum += bucket_take(&walk, i);
        counts[i] = sum;
    }
    return counts;
}

static bool same_family(const struct federate_row *a, const struct federate_row *b)
{
    return str_eq(labels_get(a->labels, LABEL_NAME), labels_get(b->labels, LABEL_NAME)) &&
           !a->histogram == !b->histogram && federate_is_gauge(a) == federate_is_gauge(b);
}

/* Sorted, without those that have no name or come twice. */
static void rows_settle(struct federate_rows *rows)
{
    size_t kept = 0;

    VEC_SORT(&rows->items, row_compare);
    VEC_EACH (row, &rows->items) {
        if (!labels_has(row->labels, LABEL_NAME) ||
            (kept > 0 && labels_eq(rows->items.items[kept - 1].labels, row->labels)))
            continue;
        rows->items.items[kept++] = *row;
    }
    rows->items.count = kept;
}

static void write_rows(struct federate_work *work, struct federate_rows *rows, struct buf *out)
{
    struct federate_writer writer = {.escaping = work->exposition.escaping,
                                     .external = work->external,
                                     .arena = &work->work.arena,
                                     .out = out};
    const struct federate_row *items = rows->items.items;

    rows_settle(rows);
    for (size_t from = 0, end; from < rows->items.count; from = end) {
        for (end = from + 1; end < rows->items.count && same_family(&items[from], &items[end]);)
            end++;
        if (work->exposition.format == EXPOSITION_PROTOBUF) {
            federate_protobuf_family(&writer, &items[from], end - from);
            continue;
        }
        federate_text_family(&writer, &items[from]);
        for (size_t i = from; i < end; i++)
            federate_text_row(&writer, &items[i]);
    }
}

static bool run_federate(struct work *base, struct buf *out, struct err *err)
{
    struct federate_work *work = CONTAINER_OF(base, struct federate_work, work);
    struct federate_rows rows = {0};
    struct param_sets sets = {0};

    bool ok = param_sets_parse(&base->call->params, false, &base->arena, &sets, err) &&
              read_rows(work, &sets, &rows, err);
    if (ok)
        write_rows(work, &rows, out);
    for (size_t i = 0; i < rows.selection_count; i++)
        selection_free(rows.selections[i]);
    VEC_FREE(&rows.items);
    param_sets_deinit(&sets);
    return ok;
}

/* --- on the loop --- */

static void finish_federate(struct work *base)
{
    struct federate_work *work = CONTAINER_OF(base, struct federate_work, work);
    struct call *call = base->call;

    labels_unref(work->external);
    if (base->err.code == ERR_NONE) {
        answer(call, 200, exposition_content_type(work->exposition), &base->out);
        return;
    }
    buf_deinit(&base->out);
    call->api->federation_errors++;
    answer_plain_error(call, err_http_status(base->err.code), str_of(base->err.text));
}

void serve_federate(struct call *call)
{
    struct federate_work *work = ARENA_NEW(call->request->arena, struct federate_work);
    struct str accept = http_request_header(call->request, "Accept");
    struct config *config = call->api->config;

    work->to_ms = clock_wall_ms();
    work->from_ms = work->to_ms - call->api->options.lookback_ms;
    work->exposition = exposition_negotiate(accept);
    work->external = config && config->global.external_labels
                         ? labels_ref(config->global.external_labels)
                         : labels_empty();
    work->work.call = call;
    work->work.run = run_federate;
    work->work.finish = finish_federate;
    work_submit(&work->work);
}
