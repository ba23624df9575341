/* federate_api: /federate: the last sample of each selected series within the lookback, as text
 * that another Prometheus scrapes.
 *
 *     # TYPE up untyped
 *     up{instance="a:1",job="x"} 1 1700000000000
 *
 * A histogram with custom buckets is written as the classic one that it was; text has no form for
 * native ones, they are left out.
 *
 * Every series carries an instance label, empty if need be, so that honor_labels on the other side
 * keeps it as it is, and the external labels that it does not have itself. Names outside the
 * classic alphabet are underscored unless the caller accepts escaping=allow-utf-8. */
#include "core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "base/vec.h"
#include "model/histogram.h"
#include "model/sample.h"
#include "param.h"
#include "work.h"

#define CONTENT_UTF8       "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"
#define CONTENT_UNDERSCORE "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

struct federate_work {
    struct work work;
    struct labels *external; /* A reference. */
    int64_t from_ms, to_ms;
    bool utf8_names;
};

struct federate_row {
    struct labels *labels; /* Borrowed from its selection. */
    struct sample sample;
    const struct histogram *histogram; /* With custom buckets, in the arena; or NULL. */
};

struct federate_rows {
    struct selection **selections; /* In the arena. */
    size_t selection_count;
    VEC(struct federate_row) items;
};

/* --- on the lane --- */

/* The newest sample of one series; *found says whether there is one that can be told. */
static bool read_last(struct cursor *cursor, size_t index, struct federate_row *out, bool *found,
                      struct arena *arena, struct err *err)
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
        *found = histogram ? histogram_is_custom(histogram) && !histogram_is_stale(histogram)
                           : !sample_is_stale(out->sample.value);
        out->histogram = histogram && *found ? histogram_copy(arena, histogram) : NULL;
    }
}

static bool read_selection(struct federate_work *work, struct selection *selection,
                           struct federate_rows *rows, struct err *err)
{
    struct cursor *cursor = cursor_new(selection);
    size_t count = selection_count(selection);
    bool ok = true;

    for (size_t i = 0; ok && i < count; i++) {
        struct federate_row row = {.labels = selection_labels(selection, i)};
        bool found;
        if (atomic_load(&work->work.canceled)) {
            ok = err_set(err, ERR_CANCELED, "context canceled");
            break;
        }
        ok = read_last(cursor, i, &row, &found, &work->work.arena, err);
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

static void add_escaped(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            BUF_ADD(out, "\\n");
        else
            buf_add_char(out, c);
    }
}

static void add_quoted(struct buf *out, struct str text)
{
    BUF_ADD(out, "\"");
    add_escaped(out, text);
    BUF_ADD(out, "\"");
}

/* Each rune that may not be in a classic name becomes one underscore. */
static void add_underscored(struct buf *out, struct str name, bool colons)
{
    for (size_t at = 0; at < name.len;) {
        bool first = at == 0;
        uint32_t rune = str_next_rune(name, &at);
        bool letter = (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z') || rune == '_' ||
                      (rune == ':' && colons);
        bool digit = rune >= '0' && rune <= '9' && !first;
        buf_add_char(out, letter || digit ? (char)rune : '_');
    }
}

static void add_label_name(struct buf *out, struct str name, bool utf8_names)
{
    if (label_name_is_legacy(name))
        buf_add_str(out, name);
    else if (utf8_names)
        add_quoted(out, name);
    else
        add_underscored(out, name, false);
}

static void add_label(struct buf *out, bool *first, struct str name, struct str value,
                      bool utf8_names)
{
    buf_add_char(out, *first ? '{' : ',');
    *first = false;
    add_label_name(out, name, utf8_names);
    BUF_ADD(out, "=");
    add_quoted(out, value);
}

static void add_external(struct buf *out, bool *first, const struct labels *labels,
                         const struct labels *external, bool utf8_names)
{
    bool instance = labels_has(labels, LABEL_INSTANCE) || labels_has(external, LABEL_INSTANCE);

    for (uint32_t i = 0; i < external->count; i++) {
        const struct label *label = &external->items[i];
        if (!instance && str_cmp(LABEL_INSTANCE, label->name) < 0) {
            add_label(out, first, LABEL_INSTANCE, STR_EMPTY, utf8_names);
            instance = true;
        }
        if (!labels_has(labels, label->name))
            add_label(out, first, label->name, label->value, utf8_names);
    }
    if (!instance)
        add_label(out, first, LABEL_INSTANCE, STR_EMPTY, utf8_names);
}

static void add_metric_name(struct buf *out, struct str name, bool utf8_names)
{
    if (utf8_names && !metric_name_is_legacy(name))
        add_quoted(out, name);
    else
        add_underscored(out, name, true);
}

/* One line; the bound is that of a bucket, or NULL. */
static void add_line(const struct federate_work *work, const struct federate_row *row,
                     struct str name, const double *bound, double value, struct buf *out)
{
    bool first = true;

    if (work->utf8_names && !metric_name_is_legacy(name)) { /* {"my.name",a="b"} */
        BUF_ADD(out, "{");
        add_quoted(out, name);
        first = false;
    } else {
        add_underscored(out, name, true);
    }
    for (uint32_t i = 0; i < row->labels->count; i++) {
        const struct label *label = &row->labels->items[i];
        if (!str_eq(label->name, LABEL_NAME))
            add_label(out, &first, label->name, label->value, work->utf8_names);
    }
    add_external(out, &first, row->labels, work->external, work->utf8_names);
    if (bound) {
        char text[NUMBER_TEXT_MAX];
        size_t len = number_format(text, *bound, NUMBER_G);
        add_label(out, &first, LABEL_LE, str_from(text, len), work->utf8_names);
    }
    BUF_ADD(out, "} ");
    buf_add_number(out, value, NUMBER_G);
    BUF_ADD(out, " ");
    buf_add_i64(out, row->sample.time_ms);
    BUF_ADD(out, "\n");
}

static struct str with_suffix(struct federate_work *work, struct str name, const char *suffix)
{
    struct str tail = str_of(suffix);
    char *text = arena_alloc(&work->work.arena, name.len + tail.len);

    memcpy(text, name.ptr, name.len);
    memcpy(text + name.len, tail.ptr, tail.len);
    return str_from(text, name.len + tail.len);
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

static void add_histogram(struct federate_work *work, const struct federate_row *row,
                          struct str name, struct buf *out)
{
    const struct histogram *histogram = row->histogram;
    struct str bucket = with_suffix(work, name, "_bucket");
    struct bucket_walk walk = {.histogram = histogram};
    double sum = 0, last = INFINITY;

    if (histogram->positive_span_count > 0)
        walk.next = histogram->positive_spans[0].offset;
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        sum += bucket_take(&walk, i);
        add_line(work, row, bucket, &histogram->bounds[i], sum, out);
    }
    add_line(work, row, bucket, &last, histogram->count, out);
    add_line(work, row, with_suffix(work, name, "_sum"), NULL, histogram->sum, out);
    add_line(work, row, with_suffix(work, name, "_count"), NULL, histogram->count, out);
}

static void write_rows(struct federate_work *work, struct federate_rows *rows, struct buf *out)
{
    struct str name_before = STR_EMPTY;
    const struct federate_row *before = NULL;

    VEC_SORT(&rows->items, row_compare);
    VEC_EACH (row, &rows->items) {
        struct str name = labels_get(row->labels, LABEL_NAME);
        if (name.len == 0 || (before && labels_eq(before->labels, row->labels)))
            continue;
        if (!str_eq(name, name_before) || !before->histogram != !row->histogram) {
            BUF_ADD(out, "# TYPE ");
            add_metric_name(out, name, work->utf8_names);
            buf_addf(out, " %s\n", row->histogram ? "histogram" : "untyped");
        }
        if (row->histogram)
            add_histogram(work, row, name, out);
        else
            add_line(work, row, name, NULL, row->sample.value, out);
        name_before = name;
        before = row;
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
        answer(call, 200, work->utf8_names ? CONTENT_UTF8 : CONTENT_UNDERSCORE, &base->out);
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
    work->utf8_names = str_find(accept, STR("escaping=allow-utf-8")) < accept.len;
    work->external = config && config->global.external_labels
                         ? labels_ref(config->global.external_labels)
                         : labels_empty();
    work->work.call = call;
    work->work.run = run_federate;
    work->work.finish = finish_federate;
    work_submit(&work->work);
}
