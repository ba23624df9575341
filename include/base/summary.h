/* summary: what a figure that is measured again and again was like lately: count and sum for ever, quantiles of the last
 * SUMMARY_WINDOW values that are not older than ten minutes, and counts by the buckets of Prometheus' own histograms. A value
 * without allocations: it may be copied. One thread. */
#ifndef BASE_SUMMARY_H
#define BASE_SUMMARY_H

#include <stddef.h>
#include <stdint.h>

#define SUMMARY_WINDOW  256
#define SUMMARY_AGE_MS  600000
#define SUMMARY_BUCKETS 4 /* 0.01, 0.1, 1 and 10 seconds. */

struct summary {
    uint64_t count;
    double sum;
    uint64_t buckets[SUMMARY_BUCKETS]; /* Not cumulative. */
    struct {
        float value;
        uint32_t second; /* Of the clock that the caller has. */
    } window[SUMMARY_WINDOW]; /* A ring: the last is at (count - 1) % SUMMARY_WINDOW. */
};

extern const double summary_bounds[SUMMARY_BUCKETS];

void summary_add(struct summary *summary, double value, int64_t now_ms);
/* out[i] is the quantiles[i]-quantile; NaN when nothing is young enough. */
void summary_quantiles(const struct summary *summary, int64_t now_ms, const double *quantiles, size_t count, double *out);

#endif
