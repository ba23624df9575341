/* samples: see samples.h. */
#include "samples.h"

#include <string.h>

void samples_init(struct samples *samples)
{
    *samples = (struct samples){0};
    arena_init(&samples->histograms, 0);
}

void samples_deinit(struct samples *samples)
{
    mem_free(samples->time_ms);
    mem_free(samples->value);
    mem_free((void *)samples->histogram);
    arena_deinit(&samples->histograms);
    *samples = (struct samples){0};
}

void samples_clear(struct samples *samples)
{
    samples->count = 0;
    if (samples->histogram) {
        mem_free((void *)samples->histogram);
        samples->histogram = NULL;
        arena_reset(&samples->histograms);
    }
}

void samples_reserve(struct samples *samples, size_t more)
{
    size_t wanted = samples->count + more;
    if (wanted <= samples->capacity)
        return;
    size_t capacity = samples->capacity * 2;
    capacity = capacity < wanted ? wanted : capacity;
    capacity = capacity < 256 ? 256 : capacity;
    samples->time_ms = mem_realloc(samples->time_ms, capacity * sizeof(samples->time_ms[0]));
    samples->value = mem_realloc(samples->value, capacity * sizeof(samples->value[0]));
    if (samples->histogram)
        samples->histogram =
            mem_realloc((void *)samples->histogram, capacity * sizeof(samples->histogram[0]));
    samples->capacity = capacity;
}

void samples_add_histogram(struct samples *samples, int64_t time_ms,
                           const struct histogram *histogram)
{
    samples_reserve(samples, 1);
    if (!samples->histogram)
        samples->histogram = mem_zalloc(samples->capacity * sizeof(samples->histogram[0]));
    samples->time_ms[samples->count] = time_ms;
    samples->value[samples->count] = 0;
    samples->histogram[samples->count] = histogram;
    samples->count++;
}

void samples_drop(struct samples *samples, size_t first, int64_t from_ms, int64_t to_ms)
{
    size_t kept = first;
    for (size_t i = first; i < samples->count; i++) {
        if (samples->time_ms[i] >= from_ms && samples->time_ms[i] <= to_ms)
            continue;
        samples->time_ms[kept] = samples->time_ms[i];
        samples->value[kept] = samples->value[i];
        if (samples->histogram)
            samples->histogram[kept] = samples->histogram[i];
        kept++;
    }
    samples->count = kept;
}
