/* histogram_math: what queries do with native histograms: walk their buckets, add them up, compare them.
 *
 *     histogram_walk   buckets with their bounds, from the lowest up or from the highest down
 *     histogram_sum    one histogram being computed: set, add, subtract, multiply -> histogram_sum_take
 *
 * Operands of different layouts are brought together as Prometheus does: exponential ones to the lower resolution and
 * the wider zero bucket, custom ones to the bounds that both have. Exponential and custom ones do not mix.
 *
 * A sum keeps its buckets as sorted (index, count, compensation) and reuses its arrays: make one and use it for many
 * results. Additions may be compensated (Kahan, Neumaier); plain ones round like Prometheus' + and -. */
#ifndef MODEL_HISTOGRAM_MATH_H
#define MODEL_HISTOGRAM_MATH_H

#include <math.h>

#include "base/buf.h"
#include "model/histogram.h"

/* One step of Kahan's sum with Neumaier's improvement. */
static inline void kahan_add(double add, double *sum, double *compensation)
{
    double total = *sum + add;
    if (isinf(total))
        *compensation = 0;
    else if (fabs(*sum) >= fabs(add))
        *compensation += (*sum - total) + add;
    else
        *compensation += (add - total) + *sum;
    *sum = total;
}

/* --- figures and text --- */

/* As Prometheus counts it against its limits: in float samples of 16 bytes. */
size_t histogram_samples(const struct histogram *histogram);
/* {count:3, sum:5, [-1,-0.5):1, (1,2]:2} */
void histogram_print(struct buf *out, const struct histogram *histogram);
/* {"count":"3","sum":"5","buckets":[[0,"1","2","2"]]} */
void histogram_print_json(struct buf *out, const struct histogram *histogram);

/* --- buckets --- */

struct histogram_bucket {
    double lower, upper, count;
    bool has_lower, has_upper; /* Does the bound itself belong to the bucket? */
};

/* The populated spans of one sign, in either direction. */
struct histogram_span_walk {
    const struct histogram_span *spans;
    const double *values;
    uint32_t span_count, value_count;
    uint32_t span, in_span, at;
    int64_t index; /* Of the bucket to come. */
    bool backward;
};
void histogram_span_walk_init(struct histogram_span_walk *walk, const struct histogram *histogram,
                              bool positive, bool backward);
/* Empty buckets come, too. Indexes that no float has a bucket for are brought near. */
bool histogram_span_walk_next(struct histogram_span_walk *walk, int32_t *index, double *count);

/* The absolute upper bound of a bucket; of custom ones the bound, +-Inf outside. */
double histogram_bound(const struct histogram *histogram, int32_t index);

/* All buckets: negative ones, the zero bucket when it is populated, positive ones; or the other way round. Bounds that
 * reach into the zero bucket are cut. */
struct histogram_walk {
    const struct histogram *histogram;
    struct histogram_span_walk spans;
    int part; /* 0, 1, 2 */
    bool backward;
};
void histogram_walk_init(struct histogram_walk *walk, const struct histogram *histogram,
                         bool backward);
bool histogram_walk_next(struct histogram_walk *walk, struct histogram_bucket *out);

/* --- comparing --- */

/* Equal counts in an equal layout, whatever the hints and the spans. */
bool histogram_equal(const struct histogram *a, const struct histogram *b);
/* Was the counter reset between the two? */
bool histogram_was_reset(const struct histogram *histogram, const struct histogram *before);

/* --- computing --- */

struct histogram_side {
    int32_t *index; /* Strictly ascending. */
    double *count;
    double *rest; /* Compensation. */
    size_t len, capacity;
};

struct histogram_sum {
    struct histogram head; /* All but spans and values; `bounds` may point into `kept`. */
    double zero_rest, count_rest, sum_rest;
    struct histogram_side positive, negative;
    struct histogram_side other, merged; /* Scratch. */
    double *kept[2];                     /* Bounds that two operands share. */
    size_t kept_capacity[2];
    bool is_set;
};

struct histogram_added {
    bool reset_collision;   /* One said reset, the other no reset. */
    bool bounds_reconciled; /* Custom bounds differed. */
};

void histogram_sum_deinit(struct histogram_sum *sum);
/* Starts from a histogram; its bounds are borrowed until the sum is set anew. */
void histogram_sum_set(struct histogram_sum *sum, const struct histogram *histogram);
/* Lowers the resolution; a higher or equal schema changes nothing. */
void histogram_sum_reduce(struct histogram_sum *sum, int32_t schema);
/* False, and nothing is changed, when one is exponential and the other custom. `out` may be NULL. */
bool histogram_sum_add(struct histogram_sum *sum, const struct histogram *other,
                       struct histogram_added *out);
bool histogram_sum_subtract(struct histogram_sum *sum, const struct histogram *other,
                            struct histogram_added *out);
/* Compensated, and `other` divided by `divisor` first. */
bool histogram_sum_add_kahan(struct histogram_sum *sum, const struct histogram *other,
                             double divisor, struct histogram_added *out);
void histogram_sum_multiply(struct histogram_sum *sum, double factor);
void histogram_sum_divide(struct histogram_sum *sum, double divisor);
/* Adds the compensations in. */
void histogram_sum_settle(struct histogram_sum *sum);
bool histogram_sum_overflows(const struct histogram_sum *sum);
void histogram_sum_copy(struct histogram_sum *to, const struct histogram_sum *from);
/* The result in the arena, without empty buckets unless they are to be kept. */
struct histogram *histogram_sum_take(const struct histogram_sum *sum, bool keep_empty,
                                     struct arena *arena);

/* A copy with all counts times (or divided by) a number; nothing else of the layout changes. */
struct histogram *histogram_scaled(struct arena *arena, const struct histogram *histogram,
                                   double factor);
/* `histogram </ limit` (keeps what lies below) and `histogram >/ limit`, with an estimated sum. */
struct histogram *histogram_trimmed(struct arena *arena, const struct histogram *histogram,
                                    double limit, bool keep_below);

#endif
