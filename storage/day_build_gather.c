/* day_build_gather: all samples of one series from all inputs: decoded in order of writing, what is deleted left out,
 * sorted when pieces overlap; of equal times the one that was written last stays. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "day_build_private.h"

void day_gather_init(struct day_gather *gather, struct day_deal *deal)
{
    *gather = (struct day_gather){.deal = deal};
    samples_init(&gather->pieces);
    samples_init(&gather->merged);
}

void day_gather_deinit(struct day_gather *gather)
{
    samples_deinit(&gather->pieces);
    samples_deinit(&gather->merged);
    bundle_reader_deinit(&gather->bundle_reader);
    VEC_FREE(&gather->order);
}

static bool is_deleted(const struct day_gather *gather, uint64_t slot, int64_t time_ms)
{
    for (size_t i = 0; i < gather->delete_count; i++) {
        const struct delete_range *range = &gather->deletes[i];
        if (slot <= range->slot && time_ms >= range->from_ms && time_ms <= range->to_ms)
            return true;
    }
    return false;
}

/* Takes what is deleted out of the samples from `first` on, which are of one slot. */
static void drop_deleted(struct day_gather *gather, size_t first, uint64_t slot)
{
    struct samples *samples = &gather->pieces;
    size_t kept = first;
    if (gather->delete_count == 0)
        return;
    for (size_t i = first; i < samples->count; i++) {
        if (is_deleted(gather, slot, samples->time_ms[i]))
            continue;
        samples->time_ms[kept] = samples->time_ms[i];
        samples->value[kept] = samples->value[i];
        if (samples->histogram)
            samples->histogram[kept] = samples->histogram[i];
        kept++;
    }
    samples->count = kept;
}

/* A run that cannot be decoded is left out. */
static void add_run(struct day_gather *gather, struct day_ref ref)
{
    struct day_deal *deal = gather->deal;
    const struct bundle *bundle = &deal->bundles.items[ref.bundle].bundle;
    struct bundle_run run = bundle_run_at(bundle, ref.run);
    const struct time_vec *times = day_deal_times(deal, ref.bundle, run.column);
    size_t before = gather->pieces.count;
    if (!times || !bundle_read(bundle, &run, times, &gather->bundle_reader, &gather->pieces)) {
        deal->sources->job->bad_runs++;
        gather->pieces.count = before;
        return;
    }
    drop_deleted(gather, before, bundle->slot);
    gather->group_key = bundle->group_key;
}

static int compare_order(const void *a, const void *b)
{
    const struct day_order *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void sort_pieces(struct day_gather *gather)
{
    const struct samples *from = &gather->pieces;
    struct samples *to = &gather->merged;
    VEC_CLEAR(&gather->order);
    for (size_t i = 0; i < from->count; i++) {
        struct day_order order = {from->time_ms[i], (uint32_t)i};
        VEC_PUSH(&gather->order, order);
    }
    VEC_SORT(&gather->order, compare_order);
    samples_clear(to);
    samples_reserve(to, from->count);
    VEC_EACH (order, &gather->order) {
        const struct histogram *histogram = from->histogram ? from->histogram[order->index] : NULL;
        if (to->count > 0 && to->time_ms[to->count - 1] == order->time_ms)
            to->count--;
        if (histogram)
            samples_add_histogram(to, order->time_ms, histogram);
        else
            samples_add(to, order->time_ms, from->value[order->index]);
    }
    gather->result = to;
}

static bool is_ascending(const struct samples *samples)
{
    for (size_t i = 1; i < samples->count; i++) {
        if (samples->time_ms[i] <= samples->time_ms[i - 1])
            return false;
    }
    return true;
}

static bool add_day(struct day_gather *gather, const struct day_source *source, uint32_t ordinal,
                    struct err *err)
{
    size_t before = gather->pieces.count;
    if (!day_reader_read(source->reader, ordinal, INT64_MIN, INT64_MAX, &gather->pieces, err))
        return false;
    drop_deleted(gather, before, day_file_info(source->input->day)->slot_last);
    return true;
}

/* Series of a day have no group key: those of one target share their times, so its name is as good. */
static uint64_t key_of_target(const struct label *labels, size_t count)
{
    uint64_t key = 0;
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, LABEL_JOB) || str_eq(labels[i].name, LABEL_INSTANCE))
            key = hash64_mix(key, hash64(labels[i].value));
    }
    return key;
}

bool day_gather_series(struct day_gather *gather, const struct day_merge *merge, struct err *err)
{
    struct day_deal *deal = gather->deal;
    const struct day_build *build = deal->sources->job->build;
    int64_t from_ms = build->cutoff_ms > build->from_ms ? build->cutoff_ms : build->from_ms;
    uint32_t bucket = deal->bucket;
    if (!day_deal_load(deal, merge->ordinal, err))
        return false;
    if (deal->bucket != bucket)
        bundle_reader_forget(&gather->bundle_reader); /* Others may stand at the same place. */
    const uint32_t *starts =
        deal->starts.items + (merge->ordinal - deal->bounds.items[deal->bucket]);
    uint32_t at = starts[0], end = starts[1];
    samples_clear(&gather->pieces);
    gather->group_key = key_of_target(merge->labels, merge->label_count);
    gather->delete_count = 0;
    if (build->deleted)
        gather->delete_count = build->deleted(build->deleted_ctx, merge->labels, merge->label_count,
                                              gather->deletes, DAY_DELETES_MAX);
    ENSURE(gather->delete_count <= DAY_DELETES_MAX);
    for (uint32_t input = 0; input < deal->sources->count; input++) {
        if (merge->day_ordinals[input] != DAY_NONE &&
            !add_day(gather, &deal->sources->items[input], merge->day_ordinals[input], err))
            return false;
        for (; at < end && deal->bundles.items[deal->refs.items[at].bundle].input == input; at++)
            add_run(gather, deal->refs.items[at]);
    }
    gather->result = &gather->pieces;
    if (!is_ascending(&gather->pieces))
        sort_pieces(gather);
    const struct samples *result = gather->result;
    size_t first = 0, last = result->count;
    while (first < last && result->time_ms[first] < from_ms)
        first++;
    while (last > first && result->time_ms[last - 1] >= build->to_ms)
        last--;
    gather->first = first;
    gather->count = last - first;
    return true;
}
