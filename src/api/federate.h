/* federate: the last samples of series, in the order of their families, in the formats of their writers. */
#ifndef API_FEDERATE_H
#define API_FEDERATE_H

#include "base/arena.h"
#include "exposition.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/sample.h"

struct federate_row {
    struct labels *labels; /* Borrowed from its selection. */
    struct sample sample;
    const struct histogram *histogram; /* In the arena; or NULL. */
};

struct federate_writer {
    enum exposition_escaping escaping;
    const struct labels *external; /* Each row has those that it lacks, and an instance. */
    struct arena *arena;
    struct buf *out;
};

/* What stands in a family of its own. */
static inline bool federate_is_gauge(const struct federate_row *row)
{
    return row->histogram && row->histogram->hint == HISTOGRAM_GAUGE;
}

/* Labels of the row but for its name, then the external ones that it lacks. */
typedef void (*federate_label_fn)(void *ctx, struct str name, struct str value);
void federate_each_label(const struct federate_row *row, const struct labels *external,
                         federate_label_fn fn, void *ctx);

/* Cumulative counts of custom buckets, one for each bound. */
double *federate_bucket_counts(const struct histogram *histogram, struct arena *arena);

/* --- federate_text.c: a family's head, then its rows --- */

void federate_text_family(struct federate_writer *writer, const struct federate_row *row);
void federate_text_row(struct federate_writer *writer, const struct federate_row *row);

/* --- federate_protobuf.c: delimited MetricFamily messages; rows of one family --- */

void federate_protobuf_family(struct federate_writer *writer, const struct federate_row *rows,
                              size_t count);

#endif
