/* fn_histogram: quantiles and fractions of histograms: of classic ones, i.e. of series with an `le`
 * label, and of native ones, which fn_native.c looks into.
 *
 * Which series make up one histogram, and the order of its buckets, is worked out once; each step
 * then fills in the counts of the buckets that are there. */
#include <stdlib.h>

#include "base/number.h"

#include "eval.h"

#define SMALL_DELTA 1e-12 /* Relative differences below are taken for rounding. */

struct bucket {
    double bound;
    double count;
};

struct bucket_series {
    double bound;
    const struct series *series;
    uint32_t group, order;
};

/* Series with a good `le`, sorted by group, then by bound. */
struct histograms {
    struct bucket_series *items;
    size_t count;
    struct labels **labels; /* By group: without le, and without name unless that is delayed. */
    size_t group_count;
    struct bucket *scratch;
    struct vector natives;
    uint64_t **blocked; /* By group: steps at which there is a native one with the same labels. */
};

static int compare_bucket_series(const void *a, const void *b)
{
    const struct bucket_series *left = a, *right = b;
    if (left->group != right->group)
        return left->group < right->group ? -1 : 1;
    if (left->bound != right->bound)
        return left->bound < right->bound ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

/* Where the series of a group begin among the sorted ones. */
static size_t group_begin(const struct histograms *histograms, uint32_t group)
{
    size_t low = 0, high = histograms->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (histograms->items[middle].group < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool any_at(const struct histograms *histograms, size_t begin, uint32_t group, size_t step)
{
    for (size_t i = begin; i < histograms->count && histograms->items[i].group == group; i++)
        if (series_has(histograms->items[i].series, step))
            return true;
    return false;
}

/* Classic and native ones of the same labels at the same time: neither counts. */
static void block_conflicts(struct histograms *histograms, const struct frame *frame,
                            const struct grouping *grouping, const struct expr *where)
{
    struct query *query = frame->query;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    for (size_t i = 0; i < histograms->natives.count; i++) {
        struct series *native = &histograms->natives.items[i];
        uint32_t group = labels_get(native->labels, LABEL_LE).len
                             ? MAP_NONE
                             : grouping_find(grouping, native->labels);
        size_t begin = group == MAP_NONE ? 0 : group_begin(histograms, group);
        for (size_t t = native->from; group != MAP_NONE && t < native->to; t++) {
            if (!series_has(native, t) || !any_at(histograms, begin, group, t))
                continue;
            annotate_maybe_named(query, true, where,
                                 "vector contains a mix of classic and native histograms",
                                 delays ? labels_get(native->labels, LABEL_NAME) : STR_EMPTY);
            if (!histograms->blocked[group])
                histograms->blocked[group] =
                    arena_zalloc(&query->arena, bitmap_words(frame->steps) * sizeof(uint64_t));
            bitmap_add(histograms->blocked[group], t);
            bitmap_del(native->present, t - native->from);
        }
    }
    vector_drop_empty(&histograms->natives);
}

static void histograms_init(struct histograms *histograms, const struct frame *frame,
                            struct vector *vector, const struct expr *where)
{
    struct query *query = frame->query;
    struct arena *arena = &query->arena;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    struct grouping grouping;

    *histograms = (struct histograms){0};
    vector_split(frame, vector, &histograms->natives);
    histograms->items = arena_alloc_array(arena, vector->count + 1, sizeof(struct bucket_series));
    histograms->scratch = arena_alloc_array(arena, vector->count + 1, sizeof(struct bucket));
    grouping_init(&grouping, query, NULL, 0, false);
    grouping.names[0] = LABEL_LE; /* By all labels but le: the name separates histograms, too. */
    for (size_t i = 0; i < vector->count; i++) {
        const struct series *series = &vector->items[i];
        struct bucket_series item = {.series = series, .order = (uint32_t)i};
        struct str le = labels_get(series->labels, LABEL_LE);
        if (!number_parse(le, &item.bound)) {
            struct str name = delays ? labels_get(series->labels, LABEL_NAME) : STR_EMPTY;
            annotate_bad_bucket(query, where, name, le);
            continue;
        }
        item.group = grouping_id(&grouping, series->labels);
        histograms->items[histograms->count++] = item;
    }
    histograms->group_count = grouping.first.count;
    histograms->labels =
        arena_alloc_array(arena, grouping.first.count + 1, sizeof(struct labels *));
    histograms->blocked = arena_zalloc(arena, (grouping.first.count + 1) * sizeof(uint64_t *));
    if (histograms->count > 1)
        qsort(histograms->items, histograms->count, sizeof(struct bucket_series),
              compare_bucket_series);
    block_conflicts(histograms, frame, &grouping, where);
    for (size_t g = 0; g < grouping.first.count; g++) {
        struct labels *labels = grouping_labels(&grouping, query, grouping.first.items[g]);
        histograms->labels[g] = delays ? labels : labels_without_name(query, labels);
    }
    grouping_deinit(&grouping);
}

/* The series of one group: [*from, end). */
static size_t group_end(const struct histograms *histograms, size_t from)
{
    size_t end = from;
    while (end < histograms->count && histograms->items[end].group == histograms->items[from].group)
        end++;
    return end;
}

/* The buckets at one step, sorted by bound, equal bounds merged. Returns their count. */
static size_t buckets_at(struct histograms *histograms, size_t from, size_t end, size_t step)
{
    struct bucket *buckets = histograms->scratch;
    const uint64_t *blocked = histograms->blocked[histograms->items[from].group];
    size_t count = 0;
    if (blocked && bitmap_has(blocked, step))
        return 0;
    for (size_t i = from; i < end; i++) {
        const struct bucket_series *item = &histograms->items[i];
        if (!series_has(item->series, step))
            continue;
        double value = *series_at(item->series, step);
        if (count && buckets[count - 1].bound == item->bound)
            buckets[count - 1].count += value;
        else
            buckets[count++] = (struct bucket){.bound = item->bound, .count = value};
    }
    return count;
}

/* --- quantiles --- */

struct leveling {
    bool forced;
    double bucket_min, bucket_max, diff_max;
};

static bool nearly_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);
    if (isnan(a) && isnan(b))
        return true;
    if (a == b)
        return true;
    if (a == 0 || b == 0 || sum < 2.2250738585072014e-308)
        return difference < SMALL_DELTA * 2.2250738585072014e-308;
    return difference / fmin(sum, 1.7976931348623157e308) < SMALL_DELTA;
}

/* Counts must not decrease: small differences are silently levelled, larger decreases are told of.
 */
static struct leveling level_buckets(struct bucket *buckets, size_t count)
{
    struct leveling leveling = {.bucket_min = INFINITY, .bucket_max = -INFINITY};
    double previous = buckets[0].count;
    for (size_t i = 1; i < count; i++) {
        double current = buckets[i].count;
        if (current == previous)
            continue;
        if (nearly_equal(previous, current)) {
            buckets[i].count = previous;
            continue;
        }
        if (!(current < previous)) {
            previous = current;
            continue;
        }
        buckets[i].count = previous;
        leveling.forced = true;
        leveling.bucket_min = fmin(leveling.bucket_min, buckets[i].bound);
        leveling.bucket_max = fmax(leveling.bucket_max, buckets[i].bound);
        leveling.diff_max = fmax(leveling.diff_max, previous - current);
    }
    return leveling;
}

static double bucket_quantile(double quantile, struct bucket *buckets, size_t count,
                              struct leveling *leveling)
{
    *leveling = (struct leveling){0};
    if (isnan(quantile))
        return sample_nan();
    if (quantile < 0)
        return -INFINITY;
    if (quantile > 1)
        return INFINITY;
    if (!(isinf(buckets[count - 1].bound) && buckets[count - 1].bound > 0))
        return sample_nan();
    *leveling = level_buckets(buckets, count);
    double observations = buckets[count - 1].count;
    if (count < 2 || observations == 0)
        return sample_nan();
    double rank = quantile * observations;
    size_t low = 0, high = count - 1; /* The first bucket that reaches the rank; else the last. */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (buckets[middle].count >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == count - 1)
        return buckets[count - 2].bound;
    if (low == 0 && buckets[0].bound <= 0)
        return buckets[0].bound;
    double start = 0, in_bucket = buckets[low].count;
    if (low > 0) {
        start = buckets[low - 1].bound;
        in_bucket -= buckets[low - 1].count;
        rank -= buckets[low - 1].count;
    }
    return start + (buckets[low].bound - start) * (rank / in_bucket);
}

static void check_quantiles(const struct frame *frame, const struct expr *where,
                            const double *quantile)
{
    for (size_t t = 0; t < frame->steps; t++) {
        if (t > 0 && sample_bits(quantile[t]) == sample_bits(quantile[t - 1]))
            continue;
        if (isnan(quantile[t]) || quantile[t] < 0 || quantile[t] > 1)
            annotate_quantile(frame->query, where, quantile[t]);
    }
}

struct quantile_call {
    const struct frame *frame;
    struct histograms histograms;
    const double *quantile;
    const struct expr *where;
    const struct expr *where_native;
    struct str label; /* histogram_quantiles: the label that tells the quantile. */
    double only;      /* With a label: the steps of this quantile only. */
    struct leveled *leveled;
    size_t quantile_index; /* histogram_quantiles: which quantile, from 1; */
    size_t
        *leveled_by; /* by step, which has leveled the buckets: those after it find them level. */
};

static bool is_first_to_level(struct quantile_call *call, size_t step)
{
    if (!call->leveled_by)
        return true;
    if (!call->leveled_by[step])
        call->leveled_by[step] = call->quantile_index;
    return call->leveled_by[step] == call->quantile_index;
}

static bool quantile_group(struct quantile_call *call, size_t from, size_t end, struct steps *steps,
                           struct err *err)
{
    struct query *query = call->frame->query;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    struct labels *labels = call->histograms.labels[call->histograms.items[from].group];
    for (size_t t = 0; t < call->frame->steps; t++) {
        struct leveling leveling;
        if (call->label.len && sample_bits(call->quantile[t]) != sample_bits(call->only))
            continue;
        size_t count = buckets_at(&call->histograms, from, end, t);
        if (count == 0)
            continue;
        steps_set(steps, t,
                  bucket_quantile(call->quantile[t], call->histograms.scratch, count, &leveling));
        if (leveling.forced && is_first_to_level(call, t))
            leveled_add(&call->leveled, call->frame,
                        delays ? labels_get(labels, LABEL_NAME) : STR_EMPTY, t,
                        (struct leveled){.bucket_min = leveling.bucket_min,
                                         .bucket_max = leveling.bucket_max,
                                         .diff_max = leveling.diff_max});
    }
    return query_check(query, err);
}

/* As labels spell quantiles: always with a point or an exponent. */
static struct str quantile_text(struct query *query, double quantile)
{
    char text[NUMBER_TEXT_MAX];
    struct str digits = str_from(text, number_format(text, quantile == 0 ? 0 : quantile, NUMBER_G));
    bool plain = isfinite(quantile) && str_find_char(digits, '.') == digits.len &&
                 str_find_char(digits, 'e') == digits.len;
    return arena_strf(&query->arena, STR_FMT "%s", STR_ARG(digits), plain ? ".0" : "");
}

static struct labels *quantile_labels(struct quantile_call *call, struct labels *labels)
{
    struct labels_builder builder;
    struct query *query = call->frame->query;
    if (call->label.len == 0)
        return labels;
    labels_builder_init(&builder);
    labels_builder_load(&builder, labels);
    labels_builder_set(&builder, call->label, quantile_text(query, call->only));
    struct labels *with_quantile = query_own(query, labels_build(&builder));
    labels_builder_deinit(&builder);
    return with_quantile;
}

static void quantile_native(struct quantile_call *call, const struct series *native,
                            struct steps *steps)
{
    struct query *query = call->frame->query;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    struct str name = delays ? labels_get(native->labels, LABEL_NAME) : STR_EMPTY;
    for (size_t t = native->from; t < native->to; t++) {
        bool wanted =
            call->label.len == 0 || sample_bits(call->quantile[t]) == sample_bits(call->only);
        if (wanted && series_has(native, t))
            steps_set(steps, t,
                      native_quantile(query, call->where_native, name, call->quantile[t],
                                      series_histogram(native, t)));
    }
}

static bool quantile_natives(struct quantile_call *call, struct steps *steps, struct vector *out,
                             struct err *err)
{
    struct query *query = call->frame->query;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    for (size_t i = 0; i < call->histograms.natives.count; i++) {
        const struct series *native = &call->histograms.natives.items[i];
        struct series *series = &out->items[out->count];
        struct labels *labels =
            delays ? native->labels : labels_without_name(query, native->labels);
        quantile_native(call, native, steps);
        if (!query_check(query, err))
            return false;
        if (!steps_take(steps, call->frame, quantile_labels(call, labels), series))
            continue;
        series->drop_name = delays;
        out->count++;
    }
    return true;
}

static bool quantile_groups(struct quantile_call *call, struct steps *steps, struct vector *out,
                            struct err *err)
{
    struct histograms *histograms = &call->histograms;
    bool delays = call->frame->query->options.features & QUERY_DELAYED_NAMES;
    if (!quantile_natives(call, steps, out, err))
        return false;
    for (size_t from = 0, end; from < histograms->count; from = end) {
        struct series *series = &out->items[out->count];
        struct labels *labels = histograms->labels[histograms->items[from].group];
        end = group_end(histograms, from);
        if (!quantile_group(call, from, end, steps, err))
            return false;
        if (!steps_take(steps, call->frame, quantile_labels(call, labels), series))
            continue;
        series->drop_name = delays;
        out->count++;
    }
    return true;
}

bool fn_histogram_quantile(const struct frame *frame, struct expr *expr, struct vector *out,
                           struct err *err)
{
    struct quantile_call call = {
        .frame = frame, .where = call_arg(expr, 1), .where_native = call_arg(expr, 0)};
    struct vector in;
    struct steps steps;
    double *quantile;
    if (!eval_scalar(frame, call_arg(expr, 0), &quantile, err) ||
        !eval_vector(frame, call_arg(expr, 1), &in, err))
        return false;
    call.quantile = quantile;
    check_quantiles(frame, call_arg(expr, 0), quantile);
    histograms_init(&call.histograms, frame, &in, call.where);
    *out = vector_new(frame, call.histograms.group_count + call.histograms.natives.count);
    steps_init(&steps, frame);
    if (!quantile_groups(&call, &steps, out, err))
        return false;
    leveled_annotate(call.leveled, frame, call.where);
    return vector_merge_same(frame, out, err);
}

/* Has one of the steps before `t` the same quantile? */
static bool came_before(const double *quantile, size_t t)
{
    for (size_t i = t; i-- > 0;)
        if (sample_bits(quantile[i]) == sample_bits(quantile[t]))
            return true;
    return false;
}

bool fn_histogram_quantiles(const struct frame *frame, struct expr *expr, struct vector *out,
                            struct err *err)
{
    struct quantile_call call = {.frame = frame,
                                 .where = call_arg(expr, 0),
                                 .where_native = call_arg(expr, 0),
                                 .label = call_string(expr, 1)};
    struct vector in;
    struct steps steps;
    VEC(struct series) all = {0};
    bool ok = eval_vector(frame, call_arg(expr, 0), &in, err);

    if (ok)
        histograms_init(&call.histograms, frame, &in, call.where);
    steps_init(&steps, frame);
    call.leveled_by = arena_zalloc(&frame->query->arena, frame->steps * sizeof(size_t));
    for (size_t i = 2; ok && i < expr->as.call.arg_count; i++) {
        double *quantile;
        call.quantile_index = i;
        ok = eval_scalar(frame, call_arg(expr, i), &quantile, err);
        if (!ok)
            break;
        call.quantile = quantile;
        check_quantiles(frame, call_arg(expr, i), quantile);
        for (size_t t = 0; ok && t < frame->steps; t++) {
            if (came_before(quantile, t))
                continue;
            struct vector one =
                vector_new(frame, call.histograms.group_count + call.histograms.natives.count);
            call.only = quantile[t];
            ok = quantile_groups(&call, &steps, &one, err);
            for (size_t j = 0; ok && j < one.count; j++)
                VEC_PUSH(&all, one.items[j]);
        }
    }
    *out = vector_new(frame, all.count);
    for (size_t i = 0; i < all.count; i++)
        out->items[out->count++] = all.items[i];
    VEC_FREE(&all);
    leveled_annotate(call.leveled, frame, call.where);
    /* With names that go late, an instant query looks for equals at its end only. */
    if ((frame->query->options.features & QUERY_DELAYED_NAMES) && frame->steps == 1)
        return ok;
    return ok && vector_merge_same(frame, out, err);
}

/* --- fractions --- */

/* How many observations lie below `value`, which is inside (low, high) of a bucket. */
static double rank_inside(double value, double low, double high, double before, double count)
{
    if (isinf(low) && low < 0)
        return count;
    return before + (count - before) * (value - low) / (high - low);
}

static double rank_of(double value, const struct bucket *buckets, size_t count)
{
    double before = 0;
    for (size_t i = 0; i < count; i++) {
        double low = i > 0 ? buckets[i - 1].bound : buckets[0].bound <= 0 ? -INFINITY : 0;
        if (low >= value)
            return before;
        if (low < value && buckets[i].bound > value)
            return rank_inside(value, low, buckets[i].bound, before, buckets[i].count);
        before = buckets[i].count;
    }
    return buckets[count - 1].count;
}

static double bucket_fraction(double lower, double upper, const struct bucket *buckets,
                              size_t count)
{
    double all = buckets[count - 1].count;
    if (!(isinf(buckets[count - 1].bound) && buckets[count - 1].bound > 0))
        return sample_nan();
    if (all == 0 || isnan(lower) || isnan(upper))
        return sample_nan();
    if (lower >= upper)
        return 0;
    double lower_rank = rank_of(lower, buckets, count), upper_rank = rank_of(upper, buckets, count);
    if (lower_rank > all)
        lower_rank = all;
    if (upper_rank > all)
        upper_rank = all;
    return (upper_rank - lower_rank) / all;
}

struct fraction_call {
    const struct frame *frame;
    const struct expr *where;
    const double *lower, *upper;
};

static bool fraction_natives(const struct fraction_call *call, const struct vector *natives,
                             struct steps *steps, struct vector *out, struct err *err)
{
    struct query *query = call->frame->query;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    for (size_t i = 0; i < natives->count; i++) {
        const struct series *native = &natives->items[i];
        struct series *series = &out->items[out->count];
        struct labels *labels =
            delays ? native->labels : labels_without_name(query, native->labels);
        struct str name = delays ? labels_get(native->labels, LABEL_NAME) : STR_EMPTY;
        for (size_t t = native->from; t < native->to; t++)
            if (series_has(native, t))
                steps_set(steps, t,
                          native_fraction(query, call->where, name, call->lower[t], call->upper[t],
                                          series_histogram(native, t)));
        if (!query_check(query, err))
            return false;
        if (!steps_take(steps, call->frame, labels, series))
            continue;
        series->drop_name = delays;
        out->count++;
    }
    return true;
}

bool fn_histogram_fraction(const struct frame *frame, struct expr *call, struct vector *out,
                           struct err *err)
{
    struct histograms histograms;
    struct vector in;
    struct steps steps;
    double *lower, *upper;
    if (!eval_scalar(frame, call_arg(call, 0), &lower, err) ||
        !eval_scalar(frame, call_arg(call, 1), &upper, err) ||
        !eval_vector(frame, call_arg(call, 2), &in, err))
        return false;
    histograms_init(&histograms, frame, &in, call_arg(call, 2));
    *out = vector_new(frame, histograms.group_count + histograms.natives.count);
    steps_init(&steps, frame);
    struct fraction_call fraction = {
        .frame = frame, .where = call_arg(call, 0), .lower = lower, .upper = upper};
    if (!fraction_natives(&fraction, &histograms.natives, &steps, out, err))
        return false;
    for (size_t from = 0, end; from < histograms.count; from = end) {
        struct series *series = &out->items[out->count];
        end = group_end(&histograms, from);
        for (size_t t = 0; t < frame->steps; t++) {
            size_t count = buckets_at(&histograms, from, end, t);
            if (count)
                steps_set(&steps, t,
                          bucket_fraction(lower[t], upper[t], histograms.scratch, count));
        }
        if (!query_check(frame->query, err))
            return false;
        if (!steps_take(&steps, frame, histograms.labels[histograms.items[from].group], series))
            continue;
        series->drop_name = frame->query->options.features & QUERY_DELAYED_NAMES;
        out->count++;
    }
    return vector_merge_same(frame, out, err);
}
