/* append_exemplar: the exemplars of one scrape. They wait until the samples are in storage; those of
 * one sample go there by time, value and labels, so that storage can tell an old one from a new. */
#include <stdlib.h>

#include "base/log.h"
#include "scraper.h"

#define EXEMPLARS_MAX 100000 /* Of one scrape. */

static int label_compare(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static struct str plain(struct append *append, struct str text, bool escaped)
{
    return arena_str(&append->kept, escaped ? text_unescape(&append->arena, text, true) : text);
}

/* More bytes than the runes that are allowed can have. */
static bool is_too_long(const struct text_exemplar *exemplar)
{
    size_t bytes = 0;

    for (size_t i = 0; i < exemplar->label_count; i++)
        bytes += exemplar->labels[i].name.len + exemplar->labels[i].value.len;
    return exemplar->label_count > EXEMPLAR_LABEL_RUNES_MAX ||
           bytes > 2 * 4 * EXEMPLAR_LABEL_RUNES_MAX; /* Escapes count twice. */
}

void append_exemplar_add(struct append *append, const struct text_exemplar *exemplar)
{
    struct storage *storage = append->target->scraper->storage;

    if (!append->has_sample || (append->was_histogram && !exemplar->has_time))
        return;
    if (storage_get_exemplars_max(storage) == 0 || append->exemplars.count >= EXEMPLARS_MAX ||
        is_too_long(exemplar)) {
        append->target->scraper->stats.exemplars_ignored++;
        return;
    }
    const struct batch_sample *sample =
        &append->batch.samples.items[append->batch.samples.count - 1];
    struct label *labels = arena_alloc_array(&append->kept, exemplar->label_count, sizeof(*labels));
    for (size_t i = 0; i < exemplar->label_count; i++) {
        const struct text_label *label = &exemplar->labels[i];
        labels[i].name = plain(append, label->name, label->name_escaped);
        labels[i].value = plain(append, label->value, label->value_escaped);
    }
    if (exemplar->label_count > 1)
        qsort(labels, exemplar->label_count, sizeof(*labels), label_compare);
    struct append_exemplar added = {
        .ref = sample->ref,
        .sample = (uint32_t)append->batch.samples.count,
        .time_ms = exemplar->has_time ? exemplar->time_ms : sample->time_ms,
        .value = exemplar->value,
        .labels = labels,
        .label_count = exemplar->label_count,
        .is_undated = !exemplar->has_time,
    };
    VEC_PUSH(&append->exemplars, added);
}

static int exemplar_compare(const void *a, const void *b)
{
    const struct append_exemplar *x = a, *y = b;

    if (x->sample != y->sample)
        return x->sample < y->sample ? -1 : 1;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    uint64_t x_hash = labels_hash(x->labels, x->label_count);
    uint64_t y_hash = labels_hash(y->labels, y->label_count);
    return (x_hash > y_hash) - (x_hash < y_hash);
}

/* What is said of a sample that storage did not take is not kept either. */
static bool sample_is_stored(const struct append *append, const struct append_exemplar *exemplar)
{
    enum sample_outcome outcome = append->batch.samples.items[exemplar->sample - 1].outcome;
    return outcome == SAMPLE_STORED || outcome == SAMPLE_SAME || outcome == SAMPLE_LATE;
}

/* Those of one sample from `from` on; returns where the next sample's begin. When all are out of order
 * it is worth a word: else they are an old set with something new. */
static size_t store_sample(struct append *append, size_t from)
{
    struct scraper *scraper = append->target->scraper;
    const struct append_exemplar *items = append->exemplars.items;
    size_t at = from, out_of_order = 0;

    for (; at < append->exemplars.count && items[at].sample == items[from].sample; at++) {
        struct exemplar exemplar = {.time_ms = items[at].time_ms,
                                    .value = items[at].value,
                                    .labels = items[at].labels,
                                    .label_count = items[at].label_count,
                                    .is_undated = items[at].is_undated};
        enum exemplar_outcome outcome =
            storage_exemplar_add(scraper->storage, items[at].ref, &exemplar);
        out_of_order += outcome == EXEMPLAR_OUT_OF_ORDER;
        scraper->stats.exemplars_ignored +=
            outcome == EXEMPLAR_TOO_LONG || outcome == EXEMPLAR_INVALID;
    }
    if (out_of_order == at - from)
        scraper->stats.exemplars_out_of_order += out_of_order;
    return at;
}

void append_exemplars_store(struct append *append)
{
    uint64_t before = append->target->scraper->stats.exemplars_out_of_order;

    VEC_SORT(&append->exemplars, exemplar_compare);
    for (size_t at = 0; at < append->exemplars.count;) {
        if (sample_is_stored(append, &append->exemplars.items[at]))
            at = store_sample(append, at);
        else
            at++;
    }
    uint64_t dropped = append->target->scraper->stats.exemplars_out_of_order - before;
    if (dropped)
        LOG_W("Error on ingesting out-of-order exemplars", "target", append->target->url,
              "num_dropped", log_fmt("%llu", (unsigned long long)dropped));
}
