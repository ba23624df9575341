/* nhcb: classic histograms become native ones with custom buckets (convert_classic_histograms_to_nhcb).
 *
 *     a_bucket{le="1.0"} 2    a_bucket{le="+Inf"} 3    a_sum 4    a_count 3
 *         -> a {count:3, sum:4, (..,1]:2, (1,..]:1}
 *
 * nhcb_build makes one histogram of its buckets. struct nhcb is a sink between a text parser and the
 * real sink: it gathers lines that belong together, one after the other, under a TYPE histogram. */
#ifndef SCRAPE_NHCB_H
#define SCRAPE_NHCB_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"
#include "model/histogram_math.h"
#include "parse_text.h"

struct nhcb_bucket {
    double bound, count; /* Cumulative. */
    uint32_t order;
};

struct nhcb_build {
    VEC(struct nhcb_bucket) buckets;
    double count, sum;
    bool has_count;
    VEC(double) bounds, values; /* Scratch. */
    struct histogram_sum scratch;
};

void nhcb_build_deinit(struct nhcb_build *build);
void nhcb_build_reset(struct nhcb_build *build);
void nhcb_build_bucket(struct nhcb_build *build, double bound, double count); /* Not NaN. */
void nhcb_build_count(struct nhcb_build *build, double count);
/* NULL when the buckets make no histogram: counts that are negative or fall, a count that is not
 * the last bucket's. Ends the build. */
const struct histogram *nhcb_build_take(struct nhcb_build *build, enum histogram_hint hint,
                                        struct arena *arena);

struct nhcb {
    struct parse_text_sink sink;       /* The parser's: uncached. */
    const struct parse_text_sink *out; /* Borrowed. */
    struct line_cache *cache;          /* Borrowed. */
    struct arena *kept;                /* Borrowed: histograms live there. */
    bool keep_classic;
    bool is_openmetrics, past_histogram; /* Set by the owner; one has begun. */
    enum metric_type type;
    struct buf type_name;
    bool collecting, took; /* A histogram; the last sample into it. */
    struct buf key;        /* Of the histogram in work: base name and labels. */
    struct buf next_key;
    struct arena texts; /* Of its labels and exemplars. */
    struct arena line_texts;
    struct str name;
    VEC(struct text_label) labels;
    VEC(struct label) sorted;
    int64_t time_ms;
    bool has_time;
    struct nhcb_build build;
    VEC(struct text_exemplar) exemplars;
    struct text_line line;
    bool failed;
    struct err err;
};

void nhcb_init(struct nhcb *nhcb, const struct parse_text_sink *out, struct line_cache *cache,
               struct arena *kept, bool keep_classic);
void nhcb_deinit(struct nhcb *nhcb);
/* After the last line. */
MUST_CHECK bool nhcb_end(struct nhcb *nhcb, struct err *err);

#endif
