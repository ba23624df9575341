/* histogram_internal: what the sources of histograms share among themselves. */
#ifndef MODEL_HISTOGRAM_INTERNAL_H
#define MODEL_HISTOGRAM_INTERNAL_H

#include "model/histogram_math.h"

double histogram_exponential_bound(int32_t index, int32_t schema);

/* How many halvings of the resolution lead from one schema to a lower one; sane for any schema. */
static inline int histogram_shift(int32_t from, int32_t to)
{
    int64_t shift = (int64_t)from - to;
    return shift < 0 ? 0 : shift > 31 ? 31 : (int)shift;
}

/* The bucket that holds bucket `index` when `shift` halvings of the resolution are made. */
static inline int32_t histogram_target_index(int32_t index, int shift)
{
    return ((index - 1) >> shift) + 1;
}

/* Widens the zero bucket to *threshold, or on to the end of a populated bucket that this would cut. Returns the count
 * of the zero bucket then; the buckets stay as they are. */
double histogram_sum_zero_count(const struct histogram_sum *sum, double *threshold, double *rest);

#endif
