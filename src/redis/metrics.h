/* metrics: what one look at a Redis yields, and how it is written in the text format, in the order and with the digits of
 * Go's client library. Private to redis.
 *
 *     metrics_init -> metrics_add ... -> metrics_write -> metrics_deinit
 *
 * Label values that are no UTF-8 make a metric vanish, and of two metrics with the same name and labels the first stays,
 * as in redis_exporter. All names get the namespace in front. */
#ifndef REDIS_METRICS_H
#define REDIS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"

enum metric_kind { GAUGE, COUNTER, SUMMARY, HISTOGRAM };

/* The metrics with texts of their own; those of INFO's tables are in info_table.def. */
enum metric_id {
#define METRIC(id, name, kind, help, labels) METRIC_##id,
#include "metrics.def"
#undef METRIC
    METRIC_COUNT
};

struct metric {
    struct str name; /* With the namespace. */
    struct str help;
    enum metric_kind kind;
    struct str labels;   /* a="b",c="d", sorted by name, escaped. */
    struct str sort_key; /* The labels' values in that order, each with a NUL behind it. */
    size_t label_count;
    double value;     /* GAUGE, COUNTER. */
    struct str lines; /* SUMMARY, HISTOGRAM: all lines, written. */
};

struct metrics {
    struct str namespace;     /* Borrowed. */
    struct str instance_role; /* Not NULL: a label of every metric but a few. Borrowed. */
    struct arena arena;       /* over_budget: more came than may. */
    VEC(struct metric) items;
};

struct metric_label {
    struct str name, value;
};

/* A quantile of a summary (quantile, value) or a bucket of a histogram (bound, cumulative count). */
struct metric_point {
    double at, value;
};

void metrics_init(struct metrics *metrics, struct str namespace, size_t bytes_max);
void metrics_deinit(struct metrics *metrics);

/* `values` in the order of the row's labels. */
void metrics_add(struct metrics *metrics, enum metric_id id, double value, const struct str *values,
                 size_t count);
#define METRIC_ADD(metrics, id, value, ...)                             \
    metrics_add((metrics), (id), (value), (const struct str[]){__VA_ARGS__}, \
                COUNT_OF(((const struct str[]){__VA_ARGS__})))
/* Without labels; the help is "<name> metric". Bytes that no name may have become '_'. */
void metrics_add_plain(struct metrics *metrics, struct str name, enum metric_kind kind,
                       double value);
/* Without labels, without the namespace and the role. */
void metrics_add_bare(struct metrics *metrics, struct str name, struct str help,
                      enum metric_kind kind, double value);
/* The row's name and help with labels that the caller names. */
void metrics_add_labelled(struct metrics *metrics, enum metric_id id, double value,
                          const struct metric_label *labels, size_t count);
/* With the one label that the row has. Points are sorted here. */
void metrics_add_points(struct metrics *metrics, enum metric_id id, struct str label,
                        uint64_t count, double sum, struct metric_point *points,
                        size_t point_count);

void metrics_write(struct metrics *metrics, struct buf *out); /* Sorts. */

#endif
