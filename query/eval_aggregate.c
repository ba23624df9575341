/* eval_aggregate: sum, avg, count, min, max, group, stddev, stdvar, quantile over groups of series.
 *
 * Group after group: one set of accumulators over steps is filled from the group's series, in their
 * order, and turned into one series; sums and means of histograms are worked out step after step. The order of additions is that of Prometheus, so sums agree to
 * the last bit. */
#include <stdio.h>

#include "eval.h"

#define FOLDING_MIN 32 /* Fewer series are as well held. */

void group_lists_init(struct group_lists *lists, const struct frame *frame,
                      const struct vector *vector, struct grouping *grouping)
{
    struct arena *arena = &frame->query->arena;
    lists->id = arena_alloc_array(arena, vector->count + 1, sizeof(uint32_t));
    lists->next = arena_alloc_array(arena, vector->count + 1, sizeof(uint32_t));
    for (size_t i = 0; i < vector->count; i++)
        lists->id[i] = grouping_id(grouping, vector->items[i].labels);
    lists->count = grouping->first.count;
    lists->first = arena_alloc_array(arena, lists->count + 1, sizeof(uint32_t));
    for (size_t g = 0; g < lists->count; g++)
        lists->first[g] = MAP_NONE;
    for (size_t i = vector->count; i-- > 0;) {
        lists->next[i] = lists->first[lists->id[i]];
        lists->first[lists->id[i]] = (uint32_t)i;
    }
}

/* Accumulators over steps; which of them mean something depends on the operator. */
struct accumulators {
    struct steps steps;   /* values: sum, extreme, sum of squares; present: seen */
    double *compensation; /* Kahan */
    double *mean;
    double *count;
    bool *incremental; /* avg: the sum would have overflowed, so `mean` is kept instead. */
    double *gathered;  /* quantile: room for one value of each series */
};

static void accumulators_init(struct accumulators *acc, const struct frame *frame,
                              enum aggregate_op op, size_t series_count)
{
    struct arena *arena = &frame->query->arena;
    steps_init(&acc->steps, frame);
    bool deviates = op == AGG_STDDEV || op == AGG_STDVAR;
    if (op == AGG_SUM || op == AGG_AVG)
        acc->compensation = arena_alloc_array(arena, frame->steps, sizeof(double));
    if (op == AGG_AVG || deviates) {
        acc->mean = arena_alloc_array(arena, frame->steps, sizeof(double));
        acc->count = arena_alloc_array(arena, frame->steps, sizeof(double));
    }
    if (op == AGG_AVG)
        acc->incremental = arena_alloc_array(arena, frame->steps, sizeof(bool));
    if (op == AGG_QUANTILE)
        acc->gathered = arena_alloc_array(arena, series_count + 1, sizeof(double));
}

/* The first value of a group at a step. */
static void begin(struct accumulators *acc, enum aggregate_op op, size_t t, double value)
{
    switch (op) {
    case AGG_COUNT:
    case AGG_GROUP:
        steps_set(&acc->steps, t, 1);
        return;
    case AGG_STDDEV:
    case AGG_STDVAR:
        steps_set(&acc->steps, t, isfinite(value) ? 0 : sample_nan());
        acc->mean[t] = value;
        acc->count[t] = 1;
        return;
    case AGG_AVG:
        acc->mean[t] = value;
        acc->count[t] = 1;
        acc->incremental[t] = false;
        acc->compensation[t] = 0;
        steps_set(&acc->steps, t, value);
        return;
    case AGG_SUM:
        acc->compensation[t] = 0;
        steps_set(&acc->steps, t, value);
        return;
    default:
        steps_set(&acc->steps, t, value);
        return;
    }
}

static void add_to_average(struct accumulators *acc, size_t t, double value)
{
    double count = ++acc->count[t];
    if (!acc->incremental[t]) {
        double sum = acc->steps.values[t], compensation = acc->compensation[t];
        kahan_add(value, &sum, &compensation);
        if (!isinf(sum)) {
            acc->steps.values[t] = sum;
            acc->compensation[t] = compensation;
            return;
        }
        acc->incremental[t] = true;
        acc->mean[t] = acc->steps.values[t] / (count - 1);
        acc->compensation[t] /= count - 1;
    }
    double q = (count - 1) / count;
    acc->mean[t] *= q;
    acc->compensation[t] *= q;
    kahan_add(value / count, &acc->mean[t], &acc->compensation[t]);
}

static void add(struct accumulators *acc, enum aggregate_op op, size_t t, double value)
{
    double *current = &acc->steps.values[t];
    switch (op) {
    case AGG_SUM:
        kahan_add(value, current, &acc->compensation[t]);
        return;
    case AGG_AVG:
        add_to_average(acc, t, value);
        return;
    case AGG_COUNT:
        *current += 1;
        return;
    case AGG_MAX:
        if (*current < value || isnan(*current))
            *current = value;
        return;
    case AGG_MIN:
        if (*current > value || isnan(*current))
            *current = value;
        return;
    case AGG_STDDEV:
    case AGG_STDVAR: {
        acc->count[t] += 1;
        double delta = value - acc->mean[t];
        acc->mean[t] += delta / acc->count[t];
        *current += delta * (value - acc->mean[t]);
        return;
    }
    default:
        return;
    }
}

/* What has been gathered becomes the value. */
static void end(struct accumulators *acc, enum aggregate_op op, size_t t)
{
    double *value = &acc->steps.values[t];
    switch (op) {
    case AGG_SUM:
        *value += acc->compensation[t];
        return;
    case AGG_AVG:
        *value = acc->incremental[t]
                     ? acc->mean[t] + acc->compensation[t]
                     : *value / acc->count[t] + acc->compensation[t] / acc->count[t];
        return;
    case AGG_STDVAR:
        *value /= acc->count[t];
        return;
    case AGG_STDDEV:
        *value = sqrt(*value / acc->count[t]);
        return;
    default:
        return;
    }
}

/* A sum where both sides have a value at each step of the series. */
static bool fold_dense(struct accumulators *acc, enum aggregate_op op, const struct series *series)
{
    struct steps *steps = &acc->steps;
    size_t len = series->to - series->from;
    if (op != AGG_SUM || series->present || series->histograms)
        return false;
    if (steps->count == 0) {
        memcpy(steps->values + series->from, series->values, len * sizeof(double));
        memset(acc->compensation + series->from, 0, len * sizeof(double));
        steps_mark_all(steps, series->from, series->to);
        return true;
    }
    if (steps->count < steps->to - steps->from || series->from < steps->from ||
        series->to > steps->to)
        return false;
    lanes_add(steps->values + series->from, acc->compensation + series->from, series->values, len);
    return true;
}

static void fold_series(struct accumulators *acc, enum aggregate_op op, const struct series *series)
{
    if (fold_dense(acc, op, series))
        return;
    for (size_t t = series->from; t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        if (series_histogram(series, t) && op != AGG_COUNT && op != AGG_GROUP)
            continue;
        if (steps_has(&acc->steps, t))
            add(acc, op, t, *series_at(series, t));
        else
            begin(acc, op, t, *series_at(series, t));
    }
}

static void end_all(struct accumulators *acc, enum aggregate_op op)
{
    for (size_t t = acc->steps.from; t < acc->steps.to; t++)
        if (steps_has(&acc->steps, t))
            end(acc, op, t);
}

static bool fold_group(const struct frame *frame, struct accumulators *acc, enum aggregate_op op,
                       const struct vector *in, const struct group_lists *lists, size_t group,
                       struct err *err)
{
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        const struct series *series = &in->items[i];
        fold_series(acc, op, series);
        if (!query_check(frame->query, err))
            return false;
    }
    end_all(acc, op);
    return true;
}

static bool group_has_histograms(const struct vector *in, const struct group_lists *lists,
                                 size_t group)
{
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i])
        if (in->items[i].histograms)
            return true;
    return false;
}

struct mixed_fold {
    struct histogram_fold fold;
    bool any_float, any_histogram;
};

/* The samples of a group at one step, in order. After a float the histograms do not matter any
 * more; after histograms that do not mix nothing does. */
static void fold_mixed(struct mixed_fold *mixed, const struct expr *where, const struct vector *in,
                       const struct group_lists *lists, size_t group, size_t t)
{
    bool float_first = false;
    for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i]) {
        const struct series *series = &in->items[i];
        if (!series_has(series, t))
            continue;
        const struct histogram *histogram = series_histogram(series, t);
        mixed->any_float = mixed->any_float || !histogram;
        mixed->any_histogram = mixed->any_histogram || histogram;
        float_first = float_first || !mixed->any_histogram;
        if (!histogram || float_first || histogram_fold_add(&mixed->fold, histogram))
            continue;
        annotate_named(mixed->fold.query, true, where, MIXED_SCHEMAS,
                       labels_get(series->labels, LABEL_NAME));
        return;
    }
}

/* sum and avg of the histograms of a group at one step. NULL: there are none, or they do not mix
 * with each other or with floats: then the float goes, too. */
static const struct histogram *fold_histograms(const struct frame *frame, const struct expr *where,
                                               bool is_mean, const struct vector *in,
                                               const struct group_lists *lists, size_t group,
                                               struct steps *steps, size_t t)
{
    struct mixed_fold mixed = {0};
    histogram_fold_init(&mixed.fold, frame->query, is_mean);
    fold_mixed(&mixed, where, in, lists, group, t);
    if (!mixed.any_histogram)
        return NULL;
    steps_unset(steps, t);
    if (mixed.fold.bounds_reconciled)
        annotate_text(frame->query, false, where, BOUNDS_RECONCILED "aggregation");
    if (mixed.any_float)
        annotate_text(frame->query, true, where,
                      "encountered a mix of histograms and floats for aggregation");
    if (mixed.any_float || mixed.fold.failed)
        return NULL;
    histogram_fold_annotate(&mixed.fold, where);
    return histogram_fold_take(&mixed.fold, false);
}

/* After the floats: where there are both, neither stays. */
static bool fold_group_histograms(const struct frame *frame, struct accumulators *acc,
                                  const struct expr *aggregate, const struct vector *in,
                                  const struct group_lists *lists, size_t group, struct err *err)
{
    const struct expr *where = expr_unwrap(aggregate->as.aggregate.expr);
    bool is_mean = aggregate->as.aggregate.op == AGG_AVG;
    for (size_t t = 0; t < frame->steps; t++) {
        const struct histogram *folded =
            fold_histograms(frame, where, is_mean, in, lists, group, &acc->steps, t);
        if (folded)
            steps_set_histogram(&acc->steps, t, folded);
        if (!query_check(frame->query, err))
            return false;
    }
    return true;
}

static bool quantile_group(const struct frame *frame, struct accumulators *acc, const double *param,
                           const struct vector *in, const struct group_lists *lists, size_t group,
                           struct err *err)
{
    for (size_t t = 0; t < frame->steps; t++) {
        size_t count = 0;
        for (uint32_t i = lists->first[group]; i != MAP_NONE; i = lists->next[i])
            if (series_has(&in->items[i], t))
                acc->gathered[count++] = *series_at(&in->items[i], t);
        if (count)
            steps_set(&acc->steps, t, quantile_of(param[t], acc->gathered, count));
        if (!query_check(frame->query, err))
            return false;
    }
    return true;
}

/* Prometheus warns of the extremes of the parameter, not of each step. */
static void check_quantile(const struct frame *frame, const struct expr *aggregate,
                           const double *param)
{
    double least = 1.7976931348623157e308, most = -least;
    bool any_nan = false;
    const struct expr *where = expr_unwrap(aggregate->as.aggregate.param);
    for (size_t t = 0; t < frame->steps; t++) {
        most = max_go(most, param[t]);
        least = min_go(least, param[t]);
        any_nan = any_nan || isnan(param[t]);
    }
    if (any_nan)
        annotate_quantile(frame->query, where, sample_nan());
    if (most > 1)
        annotate_quantile(frame->query, where, most);
    if (least < 0)
        annotate_quantile(frame->query, where, least);
}

static bool aggregate_groups(const struct frame *frame, struct expr *aggregate, struct vector *in,
                             const double *param, struct vector *out, struct err *err)
{
    enum aggregate_op op = aggregate->as.aggregate.op;
    struct query *query = frame->query;
    struct grouping grouping;
    struct group_lists lists;
    struct accumulators acc = {0};
    bool ok = true;

    grouping_init(&grouping, query, aggregate->as.aggregate.grouping,
                  aggregate->as.aggregate.grouping_count, !aggregate->as.aggregate.without);
    group_lists_init(&lists, frame, in, &grouping);
    accumulators_init(&acc, frame, op, in->count);
    *out = vector_new(frame, lists.count);
    for (size_t g = 0; ok && g < lists.count; g++) {
        ok = op == AGG_QUANTILE ? quantile_group(frame, &acc, param, in, &lists, g, err)
                                : fold_group(frame, &acc, op, in, &lists, g, err);
        if (ok && (op == AGG_SUM || op == AGG_AVG) && group_has_histograms(in, &lists, g))
            ok = fold_group_histograms(frame, &acc, aggregate, in, &lists, g, err);
        struct labels *labels = grouping_labels(&grouping, query, grouping.first.items[g]);
        struct series *series = &out->items[out->count];
        if (!steps_take(&acc.steps, frame, labels, series))
            continue;
        for (uint32_t i = lists.first[g]; i != MAP_NONE; i = lists.next[i])
            series->drop_name = series->drop_name || in->items[i].drop_name;
        out->count++;
    }
    grouping_deinit(&grouping);
    return ok;
}

static bool histogram_at(const struct vector *in, size_t t)
{
    for (size_t i = 0; i < in->count; i++)
        if (in->items[i].histograms && series_has(&in->items[i], t) &&
            series_histogram(&in->items[i], t))
            return true;
    return false;
}

/* Those that look at values ignore histograms, and tell; topk and bottomk only where they would take any. */
static void ignore_histograms(const struct frame *frame, const struct expr *aggregate,
                              const double *param, struct vector *in)
{
    enum aggregate_op op = aggregate->as.aggregate.op;
    bool picks = op == AGG_TOPK || op == AGG_BOTTOMK;
    bool looks = picks || op == AGG_MIN || op == AGG_MAX || op == AGG_STDDEV || op == AGG_STDVAR ||
                 op == AGG_QUANTILE;
    bool tells = !picks;
    for (size_t t = 0; picks && t < frame->steps && !tells; t++)
        tells = param[t] >= 1 && histogram_at(in, t);
    if (!looks || !vector_split(frame, in, NULL) || !tells)
        return;
    char text[64];
    snprintf(text, sizeof(text), "ignored histogram in %s aggregation", aggregate_op_text(op));
    annotate_text(frame->query, false,
                  picks ? aggregate : expr_unwrap(aggregate->as.aggregate.expr), text);
}

/* --- without holding what is aggregated: batch after batch of series goes into the groups --- */

struct folding {
    const struct frame *frame;
    enum aggregate_op op;
    const struct selection *selection;
    struct grouping grouping;
    uint32_t *ids; /* By series of the selection. */
    struct accumulators *groups;
    VEC(uint32_t) order;   /* Of groups, as the first value of each was seen. */
    bool found_histograms; /* Then the other way is taken. */
};

static bool names_equal(const struct matchers *matchers)
{
    for (size_t i = 0; i < matchers->count; i++)
        if (matchers->items[i].type == MATCH_EQUAL && str_eq(matchers->items[i].name, LABEL_NAME))
            return true;
    return false;
}

/* The selector of an operand whose series can be taken one by one; NULL when they cannot. */
static const struct expr *foldable(const struct frame *frame, const struct expr *aggregate,
                                   struct expr *operand)
{
    enum aggregate_op op = aggregate->as.aggregate.op;
    if (frame->query->options.features & QUERY_DELAYED_NAMES ||
        frame->query->result.stats.step_count > 0 || op == AGG_QUANTILE || op == AGG_TOPK ||
        op == AGG_BOTTOMK || op == AGG_LIMITK || op == AGG_LIMIT_RATIO)
        return NULL;
    if (frame->steps == 0 || (operand->step_invariant && frame->steps > 1))
        return NULL;
    if (operand->kind == EXPR_VECTOR_SELECTOR)
        return operand->as.vector.smoothed ? NULL : operand;
    if (operand->kind != EXPR_CALL)
        return NULL;
    enum function_id id = operand->as.call.function->id;
    if (!window_function(id) || id == FN_ABSENT_OVER_TIME)
        return NULL;
    const struct expr *selector = NULL;
    for (size_t i = 0; i < operand->as.call.arg_count; i++)
        if (call_arg(operand, i)->kind == EXPR_MATRIX_SELECTOR)
            selector = call_arg(operand, i)->as.matrix.vector;
    /* Without names two series could be the same; so could be a group with and without one. */
    for (size_t i = 0; i < aggregate->as.aggregate.grouping_count; i++)
        if (str_starts(aggregate->as.aggregate.grouping[i], STR("__")))
            return NULL;
    return selector && names_equal(&selector->as.vector.matchers) ? selector : NULL;
}

/* False: there are so many groups, or labels that would go with the name, that it is not worth it. */
static bool group_selection(struct folding *folding, bool is_call)
{
    size_t count = selection_count(folding->selection);
    folding->ids = arena_alloc_array(&folding->frame->query->arena, count + 1, sizeof(uint32_t));
    for (size_t i = 0; i < count; i++) {
        struct labels *labels = selection_labels(folding->selection, i);
        if (is_call && (labels_has(labels, STR("__type__")) || labels_has(labels, STR("__unit__"))))
            return false;
        folding->ids[i] = grouping_id(&folding->grouping, labels);
        if (folding->grouping.first.count > 16 + count / 4)
            return false;
    }
    return true;
}

static bool fold_batch(struct folding *folding, const struct vector *batch, size_t first,
                       struct err *err)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct series *series = &batch->items[i];
        while (selection_labels(folding->selection, first) != series->labels)
            first++;
        struct accumulators *acc = &folding->groups[folding->ids[first]];
        if (series->histograms) {
            folding->found_histograms = true;
            return true;
        }
        if (!acc->steps.values) {
            accumulators_init(acc, folding->frame, folding->op, 0);
            VEC_PUSH(&folding->order, folding->ids[first]);
        }
        fold_series(acc, folding->op, series);
    }
    return query_check(folding->frame->query, err);
}

static bool fold_all(struct folding *folding, struct feed *feed, struct err *err)
{
    struct feed_batches *batches = feed_batches_new(feed);
    struct vector batch;
    size_t first;
    bool ok = true;
    for (;;) {
        ok = feed_batches_next(batches, &batch, &first, err);
        if (!ok || first == feed->count)
            break;
        ok = fold_batch(folding, &batch, first, err);
        if (!ok || folding->found_histograms)
            break;
    }
    feed_batches_free(batches);
    return ok;
}

static void take_groups(struct folding *folding, struct vector *out)
{
    struct query *query = folding->frame->query;
    *out = vector_new(folding->frame, folding->order.count);
    VEC_EACH (g, &folding->order) {
        struct accumulators *acc = &folding->groups[*g];
        end_all(acc, folding->op);
        struct labels *labels =
            grouping_labels(&folding->grouping, query, folding->grouping.first.items[*g]);
        steps_take(&acc->steps, folding->frame, labels, &out->items[out->count++]);
    }
}

/* *done: the aggregate is in *out. Not done: nothing has happened. */
static bool try_folding(const struct frame *frame, struct expr *aggregate, struct vector *out,
                        bool *done, struct err *err)
{
    struct query *query = frame->query;
    struct query_stats stats = query->result.stats;
    int64_t before = query->samples;
    struct expr *operand = expr_unwrap(aggregate->as.aggregate.expr);
    const struct expr *selector = foldable(frame, aggregate, operand);
    struct feed feed;
    bool ok = true;
    *done = false;
    if (!selector || selection_count(query->selections[selector->as.vector.index]) < FOLDING_MIN)
        return true;
    struct folding folding = {.frame = frame,
                              .op = aggregate->as.aggregate.op,
                              .selection = query->selections[selector->as.vector.index]};
    grouping_init(&folding.grouping, query, aggregate->as.aggregate.grouping,
                  aggregate->as.aggregate.grouping_count, !aggregate->as.aggregate.without);
    if (group_selection(&folding, operand->kind == EXPR_CALL)) {
        size_t groups = folding.grouping.first.count;
        folding.groups = arena_zalloc(&query->arena, (groups + 1) * sizeof(*folding.groups));
        if (operand->kind == EXPR_CALL)
            ok = range_feed(frame, operand, &feed, err);
        else
            selector_feed(frame, operand, &feed);
        feed.keeps_labels = true;
        ok = ok && fold_all(&folding, &feed, err);
        *done = ok && !folding.found_histograms;
        if (*done)
            take_groups(&folding, out);
    }
    VEC_FREE(&folding.order);
    grouping_deinit(&folding.grouping);
    if (!ok || *done)
        return ok;
    query->samples = before;
    query->result.stats = stats;
    return true;
}

bool eval_aggregate(const struct frame *frame, struct expr *aggregate, struct vector *out,
                    struct err *err)
{
    enum aggregate_op op = aggregate->as.aggregate.op;
    struct query *query = frame->query;
    int64_t before = query->samples;
    double *param = NULL;
    struct vector in;

    if (op == AGG_COUNT_VALUES)
        return eval_count_values(frame, aggregate, out, err);
    if (aggregate->as.aggregate.param &&
        !eval_scalar(frame, aggregate->as.aggregate.param, &param, err))
        return false;
    bool done;
    if (!try_folding(frame, aggregate, out, &done, err))
        return false;
    if (done) {
        query->samples = before;
        return query_hold(query, vector_samples(out), err);
    }
    if (!eval_vector(frame, aggregate->as.aggregate.expr, &in, err))
        return false;
    ignore_histograms(frame, aggregate, param, &in);
    if (op == AGG_QUANTILE)
        check_quantile(frame, aggregate, param);
    bool chooses = op == AGG_TOPK || op == AGG_BOTTOMK || op == AGG_LIMITK || op == AGG_LIMIT_RATIO;
    bool ok = chooses ? eval_choose(frame, aggregate, &in, param, out, err)
                      : aggregate_groups(frame, aggregate, &in, param, out, err);
    query->samples = before;
    return ok && query_hold(query, vector_samples(out), err);
}
