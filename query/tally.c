/* tally: how many samples Prometheus holds while it evaluates a node step by step, as peakSamples and --query.max-samples count.
 *
 * It has all of the operands, gathers those of one step beside them (a histogram is 1 there: a pointer) and keeps the results of
 * the steps done (a histogram has its size). A vector without gaps adds the same to all steps; what has gaps adds differences. */
#include "eval.h"

static int64_t *tally_changes(struct tally *tally, const struct frame *frame)
{
    if (!tally->changes)
        tally->changes =
            arena_zalloc(&frame->query->arena, (frame->steps + 1) * sizeof(*tally->changes));
    return tally->changes;
}

static void add_at(struct tally *tally, const struct frame *frame, size_t from, size_t to,
                   int64_t count)
{
    int64_t *changes = tally_changes(tally, frame);
    changes[from] += count;
    changes[to] -= count;
}

/* Where its runs of values begin and end. */
static void add_runs(struct tally *tally, const struct frame *frame, const struct series *series)
{
    int64_t *changes = tally_changes(tally, frame);
    uint64_t before = 0;
    for (size_t word = 0; word < bitmap_words(series->to - series->from); word++) {
        uint64_t bits = series->present[word], edges = bits ^ (bits << 1 | before);
        for (; edges; edges &= edges - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(edges);
            changes[series->from + word * 64 + bit] += bits >> bit & 1 ? 1 : -1;
        }
        before = bits >> 63;
    }
    if (before)
        changes[series->to]--;
}

/* Prometheus rounds the halves of samples up in a matrix, and one more in a vector. */
static int64_t samples_in_vector(const struct histogram *histogram)
{
    size_t parts = histogram->positive_span_count + histogram->negative_span_count +
                   histogram->positive_count + histogram->negative_count + histogram->bound_count;
    return (int64_t)(histogram_samples(histogram) + parts % 2);
}

static void add_series(struct tally *tally, const struct frame *frame, const struct series *series,
                       bool sized)
{
    if (!series->present && series->from == 0 && series->to == frame->steps)
        tally->each++;
    else if (!series->present)
        add_at(tally, frame, series->from, series->to, 1);
    else
        add_runs(tally, frame, series);
    for (size_t t = series->from; sized && series->histograms && t < series->to; t++)
        if (series_has(series, t) && series_histogram(series, t))
            add_at(tally, frame, t, t + 1, samples_in_vector(series_histogram(series, t)) - 1);
}

static void add_vector(struct tally *tally, const struct frame *frame, const struct vector *vector,
                       bool sized)
{
    for (size_t i = 0; i < vector->count; i++)
        add_series(tally, frame, &vector->items[i], sized);
}

void tally_gather(struct tally *tally, const struct frame *frame, const struct value *operand)
{
    if (operand->type == TYPE_SCALAR)
        tally->each++;
    else if (operand->type == TYPE_VECTOR)
        add_vector(tally, frame, &operand->vector, false);
}

static uint64_t tally_peak(const struct tally *gathered, const struct tally *made, size_t steps)
{
    int64_t now = (int64_t)gathered->each, each = (int64_t)made->each, sum = 0;
    int64_t peak = now + each * (int64_t)steps;
    if (!gathered->changes && !made->changes)
        return (uint64_t)peak;
    peak = 0;
    for (size_t t = 0; t < steps; t++) {
        now += gathered->changes ? gathered->changes[t] : 0;
        each += made->changes ? made->changes[t] : 0;
        sum += each;
        if (now + sum > peak)
            peak = now + sum;
    }
    return (uint64_t)peak;
}

bool tally_hold(const struct tally *gathered, const struct frame *frame, int64_t before,
                const struct value *out, struct err *err)
{
    struct query *query = frame->query;
    struct tally made = {0};
    if (out->type == TYPE_SCALAR)
        made.each = 1;
    else
        add_vector(&made, frame, &out->vector, true);
    if (!query_hold_briefly(query, tally_peak(gathered, &made, frame->steps), err))
        return false;
    query->samples = before;
    return query_hold(query, out->type == TYPE_SCALAR ? frame->steps : vector_samples(&out->vector),
                      err);
}
