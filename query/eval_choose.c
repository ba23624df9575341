/* eval_choose: the aggregations that keep series as they are: topk, bottomk, limitk, limit_ratio;
 * and count_values.
 *
 * They choose anew at each step. A chosen series keeps its labels and loses the steps at which it
 * was not chosen: so a bitmap of chosen steps per input series is all that is built. An instant
 * query wants the order of the choice, too. */
#include "base/hash.h"
#include "base/number.h"

#include "eval.h"

#define INT64_AS_DOUBLE_MAX 9223372036854774784.0

struct chooser {
    const struct frame *frame;
    enum aggregate_op op;
    const struct vector *in;
    struct group_lists lists;
    uint32_t *heap, *scratch;
    size_t heap_count;
    double *places;    /* limit_ratio: by series. */
    uint64_t **chosen; /* By series: bitmap of steps; NULL: never chosen. */
    uint32_t *order;   /* One step: the chosen series as they are to come. */
    size_t order_count;
    size_t step;
    /* The values of some steps, step after step; bit of `has`: has the series one there? One look at a series' values serves
     * as many steps as lie together in memory. */
    double *columns;
    uint8_t *has;
    const double *column; /* Of the step. */
};
#define COLUMNS 8

/* --- a heap of series, ordered by value at the step, as Go's container/heap keeps it --- */

static double value_of(const struct chooser *chooser, uint32_t series)
{
    return chooser->column[series];
}

/* Is `a` nearer to being thrown out than `b`? */
static bool is_weaker(const struct chooser *chooser, uint32_t a, uint32_t b)
{
    double left = value_of(chooser, a), right = value_of(chooser, b);
    if (isnan(left))
        return true;
    return chooser->op == AGG_TOPK ? left < right : left > right;
}

static void heap_swap(struct chooser *chooser, size_t i, size_t j)
{
    uint32_t swap = chooser->heap[i];
    chooser->heap[i] = chooser->heap[j];
    chooser->heap[j] = swap;
}

static void heap_up(struct chooser *chooser, size_t at)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!is_weaker(chooser, chooser->heap[at], chooser->heap[parent]))
            return;
        heap_swap(chooser, at, parent);
        at = parent;
    }
}

static void heap_down(struct chooser *chooser)
{
    size_t at = 0, child;
    while ((child = 2 * at + 1) < chooser->heap_count) {
        if (child + 1 < chooser->heap_count &&
            is_weaker(chooser, chooser->heap[child + 1], chooser->heap[child]))
            child++;
        if (!is_weaker(chooser, chooser->heap[child], chooser->heap[at]))
            return;
        heap_swap(chooser, at, child);
        at = child;
    }
}

static void offer(struct chooser *chooser, uint32_t series, size_t k)
{
    if (chooser->heap_count < k) {
        chooser->heap[chooser->heap_count++] = series;
        heap_up(chooser, chooser->heap_count - 1);
        return;
    }
    double weakest = value_of(chooser, chooser->heap[0]), value = value_of(chooser, series);
    bool better = chooser->op == AGG_TOPK ? weakest < value : weakest > value;
    if (!better && !(isnan(weakest) && !isnan(value)))
        return;
    chooser->heap[0] = series;
    heap_down(chooser);
}

static bool strongest_first(const void *ctx, uint32_t a, uint32_t b)
{
    return is_weaker(ctx, b, a);
}

/* --- choosing --- */

static void choose(struct chooser *chooser, uint32_t series)
{
    const struct frame *frame = chooser->frame;
    uint64_t **steps = &chooser->chosen[series];
    if (!*steps)
        *steps = arena_zalloc(&frame->query->arena, bitmap_words(frame->steps) * sizeof(uint64_t));
    bitmap_add(*steps, chooser->step);
    if (frame->steps == 1)
        chooser->order[chooser->order_count++] = series;
}

static void add_sized(struct buf *bytes, struct str text)
{
    if (text.len < 255) {
        buf_add_char(bytes, (char)text.len);
    } else {
        const char size[4] = {(char)0xff, (char)text.len, (char)(text.len >> 8),
                              (char)(text.len >> 16)};
        buf_add(bytes, size, sizeof(size));
    }
    buf_add_str(bytes, text);
}

/* Each series' place in [0, 1], which depends on its labels alone: XXH64 over names and values, each
 * after its length (one byte, or 0xff and three bytes, lowest first). It is the hash that Prometheus
 * takes as it is built by default, so that both keep the same series. */
static double *label_places(struct arena *arena, const struct vector *in)
{
    double *places = arena_alloc_array(arena, in->count + 1, sizeof(*places));
    struct buf bytes;

    buf_init(&bytes, (size_t)1 << 30);
    for (size_t i = 0; i < in->count; i++) {
        const struct labels *labels = in->items[i].labels;
        buf_clear(&bytes);
        for (size_t k = 0; k < labels->count; k++) {
            add_sized(&bytes, labels->items[k].name);
            add_sized(&bytes, labels->items[k].value);
        }
        places[i] = (double)hash_xxh64(buf_str(&bytes)) / 18446744073709551616.0;
    }
    buf_deinit(&bytes);
    return places;
}

static bool in_ratio(double place, double ratio)
{
    return ratio >= 0 ? place < ratio : place >= 1 + ratio;
}

/* The values of the steps from chooser->step on. */
static void fill_columns(struct chooser *chooser)
{
    size_t count = chooser->in->count, first = chooser->step;
    size_t steps =
        chooser->frame->steps - first < COLUMNS ? chooser->frame->steps - first : COLUMNS;
    for (size_t i = 0; i < count; i++) {
        const struct series *series = &chooser->in->items[i];
        chooser->has[i] = 0;
        for (size_t k = 0; k < steps; k++) {
            if (!series_has(series, first + k))
                continue;
            chooser->has[i] |= (uint8_t)(1U << k);
            chooser->columns[k * count + i] = *series_at(series, first + k);
        }
    }
}

static void choose_in_group(struct chooser *chooser, size_t group, double param)
{
    const struct group_lists *lists = &chooser->lists;
    size_t k = 0, taken = 0;
    chooser->heap_count = 0;
    if (chooser->op != AGG_LIMIT_RATIO)
        k = param >= (double)chooser->in->count ? chooser->in->count : (size_t)param;
    double ratio = param > 1 ? 1 : param < -1 ? -1 : param;
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        if (!(chooser->has[i] >> (chooser->step % COLUMNS) & 1))
            continue;
        if (chooser->op == AGG_LIMITK) {
            if (taken++ < k)
                choose(chooser, i);
        } else if (chooser->op == AGG_LIMIT_RATIO) {
            if (in_ratio(chooser->places[i], ratio))
                choose(chooser, i);
        } else {
            offer(chooser, i, k);
        }
    }
    if (chooser->frame->steps == 1 && chooser->heap_count > 1)
        sort_stable(chooser->heap, chooser->heap_count, chooser->scratch, strongest_first, chooser);
    for (size_t i = 0; i < chooser->heap_count; i++)
        choose(chooser, chooser->heap[i]);
}

/* The chosen steps of a series as a series. */
static void take_chosen(const struct chooser *chooser, uint32_t index, struct vector *out)
{
    struct series *series = &out->items[out->count];
    const uint64_t *steps = chooser->chosen[index];
    if (!steps)
        return;
    *series = chooser->in->items[index];
    series_need_bitmap(chooser->frame, series);
    for (size_t t = series->from; t < series->to; t++)
        if (!bitmap_has(steps, t))
            bitmap_del(series->present, t - series->from);
    out->count++;
}

/* --- the parameter --- */

struct param_range {
    double least, most;
    bool any_nan;
};

static struct param_range param_range(const struct frame *frame, const double *param)
{
    struct param_range range = {.least = 1.7976931348623157e308, .most = -1.7976931348623157e308};
    for (size_t t = 0; t < frame->steps; t++) {
        range.most = max_go(range.most, param[t]);
        range.least = min_go(range.least, param[t]);
        range.any_nan = range.any_nan || isnan(param[t]);
    }
    return range;
}

static bool fail_param(struct err *err, double value, const char *how)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format(text, value, NUMBER_G);
    return err_set(err, ERR_EXECUTION, "Scalar value %.*s %s int64", (int)len, text, how);
}

static void annotate_ratio(const struct frame *frame, const struct expr *aggregate, double ratio,
                           double to)
{
    struct buf text;
    buf_init(&text, 1024);
    BUF_ADD(&text, "PromQL warning: ratio value should be between -1 and 1, got ");
    buf_add_number(&text, ratio, NUMBER_G);
    BUF_ADD(&text, ", capping to ");
    buf_add_number(&text, to, NUMBER_G);
    annotate(frame->query, true, expr_unwrap(aggregate->as.aggregate.param), buf_str(&text));
    buf_deinit(&text);
}

/* *nothing: the parameter lets nothing through at any step. */
static bool check_param(const struct frame *frame, const struct expr *aggregate,
                        const double *param, bool *nothing, struct err *err)
{
    struct param_range range = param_range(frame, param);
    if (aggregate->as.aggregate.op != AGG_LIMIT_RATIO) {
        *nothing = range.most < 1;
        if (*nothing)
            return true;
        if (range.any_nan)
            return err_set(err, ERR_EXECUTION, "Parameter value is NaN");
        if (range.least <= -9223372036854775808.0)
            return fail_param(err, range.least, "underflows");
        if (range.most >= INT64_AS_DOUBLE_MAX)
            return fail_param(err, range.most, "overflows");
        return true;
    }
    *nothing = range.most == 0 && range.least == 0;
    if (*nothing)
        return true;
    if (range.any_nan)
        return err_set(err, ERR_EXECUTION, "Ratio value is NaN");
    if (range.most > 1)
        annotate_ratio(frame, aggregate, range.most, 1);
    if (range.least < -1)
        annotate_ratio(frame, aggregate, range.least, -1);
    return true;
}

static bool lets_nothing(enum aggregate_op op, double param)
{
    return op == AGG_LIMIT_RATIO ? param == 0 : param < 1;
}

/* Step after step. */
static bool choose_all(struct chooser *chooser, const double *param, struct err *err)
{
    const struct frame *frame = chooser->frame;
    struct arena *arena = &frame->query->arena;
    size_t count = chooser->in->count;
    chooser->heap = arena_alloc_array(arena, count + 1, sizeof(uint32_t));
    chooser->scratch = arena_alloc_array(arena, count + 1, sizeof(uint32_t));
    chooser->order = arena_alloc_array(arena, count + 1, sizeof(uint32_t));
    chooser->columns = arena_alloc_array(
        arena, count * (frame->steps < COLUMNS ? frame->steps : COLUMNS) + 1, sizeof(double));
    chooser->has = arena_alloc_array(arena, count + 1, sizeof(uint8_t));
    for (size_t t = 0; t < frame->steps; t++) {
        chooser->step = t;
        chooser->column = chooser->columns + t % COLUMNS * count;
        if (t % COLUMNS == 0)
            fill_columns(chooser);
        if (lets_nothing(chooser->op, param[t]))
            continue;
        for (size_t g = 0; g < chooser->lists.count; g++)
            choose_in_group(chooser, g, param[t]);
        if (!query_check(frame->query, err))
            return false;
    }
    return true;
}

bool eval_choose(const struct frame *frame, struct expr *aggregate, struct vector *in,
                 const double *param, struct vector *out, struct err *err)
{
    struct query *query = frame->query;
    struct arena *arena = &query->arena;
    struct chooser chooser = {.frame = frame, .op = aggregate->as.aggregate.op, .in = in};
    struct grouping grouping;
    bool nothing;

    *out = vector_new(frame, in->count);
    if (!check_param(frame, aggregate, param, &nothing, err) || nothing)
        return nothing;
    grouping_init(&grouping, query, aggregate->as.aggregate.grouping,
                  aggregate->as.aggregate.grouping_count, !aggregate->as.aggregate.without);
    group_lists_init(&chooser.lists, frame, in, &grouping);
    grouping_deinit(&grouping);
    if (chooser.op == AGG_LIMIT_RATIO)
        chooser.places = label_places(arena, in);
    chooser.chosen = arena_zalloc(arena, (in->count + 1) * sizeof(uint64_t *));
    bool done;
    if (!eval_topk(frame, chooser.op, in, &chooser.lists, param, chooser.chosen, &done, err))
        return false;
    if (!done && !choose_all(&chooser, param, err))
        return false;
    if (frame->steps == 1) {
        for (size_t i = 0; i < chooser.order_count; i++)
            take_chosen(&chooser, chooser.order[i], out);
    } else {
        for (uint32_t i = 0; i < in->count; i++)
            take_chosen(&chooser, i, out);
    }
    return true;
}

/* --- count_values --- */

/* Outputs by labels, found by their label set. */
struct value_counts {
    const struct frame *frame;
    struct map map;
    VEC(struct series) items;
};

static bool counts_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct value_counts *counts = ctx;
    return labels_eq(counts->items.items[value].labels, key);
}

/* Makes room for step `t`; twice as much as there was, so that a value that stays is not moved often. */
static void count_grow(const struct frame *frame, struct series *series, size_t t)
{
    struct arena *arena = &frame->query->arena;
    size_t len = series->to - series->from, from = series->from, to = series->to;
    if (t >= to) {
        to = from + 2 * len > t ? from + 2 * len : t + 1;
        to = to < frame->steps ? to : frame->steps;
    } else {
        from = to > 2 * len ? to - 2 * len : 0;
        from = from < t ? from : t;
    }
    double *values = arena_zalloc(arena, (to - from) * sizeof(double));
    uint64_t *present = arena_zalloc(arena, bitmap_words(to - from) * sizeof(uint64_t));
    memcpy(values + (series->from - from), series->values, len * sizeof(double));
    for (size_t i = 0; i < len; i++)
        if (bitmap_has(series->present, i))
            bitmap_add(present, series->from - from + i);
    series->values = values;
    series->present = present;
    series->from = from;
    series->to = to;
}

static void count_one(struct value_counts *counts, struct labels *labels, size_t t)
{
    struct arena *arena = &counts->frame->query->arena;
    uint32_t found = map_find(&counts->map, labels->hash, labels, counts_equal, counts);
    if (found == MAP_NONE) {
        struct series fresh = {.labels = labels, .from = t, .to = t + 1};
        fresh.values = arena_zalloc(arena, sizeof(double));
        fresh.present = arena_zalloc(arena, sizeof(uint64_t));
        found = (uint32_t)counts->items.count;
        VEC_PUSH(&counts->items, fresh);
        map_insert(&counts->map, labels->hash, found);
    }
    struct series *series = &counts->items.items[found];
    if (t < series->from || t >= series->to)
        count_grow(counts->frame, series, t);
    *series_at(series, t) += 1;
    bitmap_add(series->present, t - series->from);
}

static bool count_series(struct value_counts *counts, const struct grouping *grouping,
                         struct str label, const struct series *series, struct err *err)
{
    struct query *query = counts->frame->query;
    struct labels *labels = NULL;
    struct labels_builder builder;
    const struct histogram *last_histogram = NULL;
    double last = 0;
    bool ok = true;
    struct buf text;
    buf_init(&text, 16 << 20);
    labels_builder_init(&builder);
    for (size_t t = series->from; ok && t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        double value = *series_at(series, t);
        const struct histogram *histogram = series_histogram(series, t);
        bool same =
            labels && !histogram && !last_histogram && sample_bits(value) == sample_bits(last);
        same = same || (labels && histogram && histogram == last_histogram);
        if (!same) {
            buf_clear(&text);
            if (histogram)
                histogram_print(&text, histogram);
            else
                buf_add_number(&text, value, NUMBER_F);
            labels_builder_load(&builder, series->labels);
            labels_builder_set(&builder, label, buf_str(&text));
            struct labels *with_value = labels_build(&builder);
            labels = grouping_labels(grouping, query, with_value);
            labels_unref(with_value);
            last = value;
            last_histogram = histogram;
            ok = query_check(query, err);
        }
        count_one(counts, labels, t);
    }
    labels_builder_deinit(&builder);
    buf_deinit(&text);
    return ok;
}

bool eval_count_values(const struct frame *frame, struct expr *aggregate, struct vector *out,
                       struct err *err)
{
    struct query *query = frame->query;
    struct str label = expr_unwrap(aggregate->as.aggregate.param)->as.string.value;
    int64_t before = query->samples;
    struct value_counts counts = {.frame = frame};
    struct tally gathered = {0};
    struct grouping grouping;
    struct vector in;
    size_t name_count = aggregate->as.aggregate.grouping_count;
    struct str *names = arena_alloc_array(&query->arena, name_count + 1, sizeof(struct str));
    bool ok = true;

    if (!label_name_is_valid(label)) {
        struct buf text;
        buf_init(&text, ERR_TEXT_MAX);
        BUF_ADD(&text, "invalid label name ");
        buf_add_go_quoted(&text, label);
        err_set_str(err, ERR_EXECUTION, buf_str(&text));
        buf_deinit(&text);
        return false;
    }
    query->tally = &gathered;
    ok = eval_vector(frame, aggregate->as.aggregate.expr, &in, err);
    query->tally = NULL;
    if (!ok)
        return false;
    for (size_t i = 0; i < name_count; i++)
        names[i] = aggregate->as.aggregate.grouping[i];
    if (!aggregate->as.aggregate.without)
        names[name_count++] = label;
    grouping_init(&grouping, query, names, name_count, !aggregate->as.aggregate.without);
    map_init(&counts.map);
    for (size_t i = 0; ok && i < in.count; i++)
        ok = count_series(&counts, &grouping, label, &in.items[i], err);
    *out = vector_new(frame, counts.items.count);
    out->count = counts.items.count;
    for (size_t i = 0; i < counts.items.count; i++)
        out->items[i] = counts.items.items[i];
    VEC_FREE(&counts.items);
    map_deinit(&counts.map);
    grouping_deinit(&grouping);
    struct value made = {.type = TYPE_VECTOR, .vector = *out};
    return ok && tally_hold(&gathered, frame, before, &made, err);
}
