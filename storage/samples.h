/* samples: decoded samples of one series, on their way to a reader or into another file. One thread. */
#ifndef STORAGE_SAMPLES_H
#define STORAGE_SAMPLES_H

#include <stdint.h>

#include "base/arena.h"
#include "base/mem.h"
#include "model/histogram.h"

struct samples {
    size_t count, capacity;
    int64_t *time_ms;
    double *value;
    const struct histogram **histogram; /* NULL: all are floats. Else NULL at a float. */
    struct arena histograms;            /* Where they live; arena_init before use. */
};

void samples_init(struct samples *samples);
void samples_deinit(struct samples *samples);
void samples_clear(struct samples *samples); /* Keeps the memory. */
void samples_reserve(struct samples *samples, size_t more);
void samples_add_histogram(struct samples *samples, int64_t time_ms,
                           const struct histogram *histogram); /* Borrows it. */
/* Removes those from position `first` on that are in [from, to]. */
void samples_drop(struct samples *samples, size_t first, int64_t from_ms, int64_t to_ms);

/* Ascending times that every file may hold; room must have been reserved. */
static inline void samples_add(struct samples *samples, int64_t time_ms, double value)
{
    samples->time_ms[samples->count] = time_ms;
    samples->value[samples->count] = value;
    if (samples->histogram)
        samples->histogram[samples->count] = NULL;
    samples->count++;
}

#endif
