/* summary: see summary.h. A ring of the last values is enough for a server's figures of itself, and costs nothing while it is
 * written; sorting waits until somebody asks. */
#include "base/summary.h"

#include <math.h>
#include <stdlib.h>

const double summary_bounds[SUMMARY_BUCKETS] = {0.01, 0.1, 1, 10};

void summary_add(struct summary *summary, double value, int64_t now_ms)
{
    size_t at = summary->count % SUMMARY_WINDOW;

    summary->window[at].value = (float)value;
    summary->window[at].second = (uint32_t)(now_ms / 1000);
    summary->count++;
    summary->sum += value;
    for (size_t i = 0; i < SUMMARY_BUCKETS; i++) {
        if (value <= summary_bounds[i]) {
            summary->buckets[i]++;
            break;
        }
    }
}

static int compare(const void *a, const void *b)
{
    const float *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

void summary_quantiles(const struct summary *summary, int64_t now_ms, const double *quantiles,
                       size_t count, double *out)
{
    float values[SUMMARY_WINDOW];
    size_t used = summary->count < SUMMARY_WINDOW ? (size_t)summary->count : SUMMARY_WINDOW;
    size_t young = 0;

    for (size_t i = 0; i < used; i++) {
        if (now_ms / 1000 - (int64_t)summary->window[i].second <= SUMMARY_AGE_MS / 1000)
            values[young++] = summary->window[i].value;
    }
    qsort(values, young, sizeof(values[0]), compare);
    for (size_t i = 0; i < count; i++)
        out[i] = young ? (double)values[(size_t)(quantiles[i] * (double)(young - 1))] : NAN;
}
