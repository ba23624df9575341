/* promql_set: the series that expressions are measured on; the same for the micro benchmark and for servers.
 *
 *     hundred   a_one b_one h_one, a_hundred b_hundred h_hundred (a histogram has 11 buckets), sparse: ramps at 10 s,
 *               as Prometheus measures its own engine
 *     many      x_total: counters in 10 jobs with resets; latency_bucket: histograms of 10 buckets; node_info: one
 *               series an instance to join with: at 15 s; targets come one after the other in the first 140 rows
 *     counters  x_total alone */
#ifndef PROMQL_SET_H
#define PROMQL_SET_H

#include "load_set.h"

#define PROMQL_BOUNDS      11
#define PROMQL_SPREAD_ROWS 140

struct promql_set {
    struct load_maker maker;
    uint32_t rows;
    int64_t interval_ms, offset_ms;
};

/* name=value, sorted, ended by NULL. */
static inline double *promql_add(struct promql_set *set, const char *const *labels)
{
    struct load_series series = {.offset = (uint32_t)set->maker.text.len};
    for (; labels[0]; labels += 2) {
        buf_add(&set->maker.text, labels[0], strlen(labels[0]) + 1);
        buf_add(&set->maker.text, labels[1], strlen(labels[1]) + 1);
    }
    series.len = (uint32_t)set->maker.text.len - series.offset;
    double *values = mem_alloc(set->rows * sizeof(double));
    VEC_PUSH(&set->maker.series, series);
    VEC_PUSH(&set->maker.values, values);
    return values;
}

static inline double *promql_add_ramp(struct promql_set *set, const char *name, const char *le,
                                      const char *number, double place)
{
    const char *labels[7] = {"__name__", name};
    size_t at = 2;
    if (number)
        labels[at++] = "l", labels[at++] = number;
    if (le)
        labels[at++] = "le", labels[at++] = le;
    labels[at] = NULL;
    double *values = promql_add(set, labels);
    for (uint32_t row = 0; row < set->rows; row++)
        values[row] = (double)row + place;
    return values;
}

static inline void promql_add_group(struct promql_set *set, const char *suffix, uint32_t count)
{
    static const char *const bounds[PROMQL_BOUNDS] = {"0", "0.1", "0.2", "0.5", "1",   "2",
                                                      "5", "10",  "20",  "50",  "+Inf"};
    char name[32], number[16];
    double series_count = (double)count * (PROMQL_BOUNDS + 2), at = 0;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(number, sizeof(number), "%u", i);
        const char *label = count > 1 ? number : NULL;
        snprintf(name, sizeof(name), "a_%s", suffix);
        promql_add_ramp(set, name, NULL, label, at++ / series_count);
        snprintf(name, sizeof(name), "b_%s", suffix);
        promql_add_ramp(set, name, NULL, label, at++ / series_count);
        snprintf(name, sizeof(name), "h_%s", suffix);
        for (size_t b = 0; b < PROMQL_BOUNDS; b++)
            promql_add_ramp(set, name, bounds[b], label, at++ / series_count);
    }
}

/* Two minutes of samples every hour. */
static inline void promql_add_sparse(struct promql_set *set)
{
    uint64_t missing = LOAD_MISSING_BITS;
    double *values = promql_add_ramp(set, "sparse", NULL, NULL, 0);
    for (uint32_t row = 0; row < set->rows; row++) {
        if (row % 360 >= 12)
            memcpy(&values[row], &missing, sizeof(missing));
    }
}

static inline void promql_make_hundred(struct promql_set *set)
{
    promql_add_group(set, "one", 1);
    promql_add_group(set, "hundred", 100);
    promql_add_sparse(set);
}

static inline void promql_counter(const struct promql_set *set, uint64_t *random, double *values,
                                  const double *below)
{
    double value = 0;
    for (uint32_t row = 0; row < set->rows; row++) {
        uint64_t dice = bench_random(random);
        value = !below && dice % 2000 == 0 ? 0 : value + (double)(dice >> 32 & 63);
        values[row] = value + (below ? below[row] : 0);
    }
}

/* One target: its counters, and with `whole` its histogram and the series to join with. */
static inline void promql_add_instance(struct promql_set *set, uint32_t number, bool whole,
                                       uint64_t *random)
{
    static const char *const bounds[10] = {"0.005", "0.01", "0.05", "0.1", "0.25",
                                           "0.5",   "1",    "2.5",  "5",   "+Inf"};
    char instance[32], job[16], pod[32];
    const double *below = NULL;
    snprintf(instance, sizeof(instance), "10.0.%u.%u:9100", number / 256, number % 256);
    snprintf(job, sizeof(job), "job-%u", number % 10);
    for (uint32_t i = 0; i < 10; i++) {
        snprintf(pod, sizeof(pod), "pod-%u", i);
        const char *labels[] = {"__name__",  "x_total", "instance", instance, "job", job,
                                "namespace", "default", "pod",      pod,      NULL};
        promql_counter(set, random, promql_add(set, labels), NULL);
    }
    if (!whole)
        return;
    for (uint32_t i = 0; i < 10; i++) {
        const char *labels[] = {"__name__", "latency_bucket", "instance", instance, "job", job,
                                "le",       bounds[i],        NULL};
        double *values = promql_add(set, labels);
        promql_counter(set, random, values, below);
        below = values;
    }
    snprintf(pod, sizeof(pod), "node-%u", number % 50);
    const char *labels[] = {"__name__", "node_info", "instance", instance, "job",
                            job,        "node",      pod,        NULL};
    double *values = promql_add(set, labels);
    for (uint32_t row = 0; row < set->rows; row++)
        values[row] = 1;
}

/* As targets have come at different times, so that their slots are not all full at the same row. */
static inline void promql_take_first_rows(const struct promql_set *set, size_t from_series,
                                          uint32_t rows)
{
    uint64_t missing = LOAD_MISSING_BITS;
    for (size_t i = from_series; i < set->maker.values.count; i++)
        for (uint32_t row = 0; row < rows && row < set->rows; row++)
            memcpy(&set->maker.values.items[i][row], &missing, sizeof(missing));
}

/* Target after target, as they are scraped. */
static inline void promql_make_many(struct promql_set *set, uint32_t count, bool whole)
{
    uint64_t random = 11;
    for (uint32_t i = 0; i < count / 10; i++) {
        size_t from_series = set->maker.values.count;
        promql_add_instance(set, i, whole, &random);
        promql_take_first_rows(set, from_series, i % PROMQL_SPREAD_ROWS);
    }
}

static inline void promql_make(struct promql_set *set, const char *name, uint32_t count,
                               uint32_t rows)
{
    bool hundred = strcmp(name, "hundred") == 0;
    *set = (struct promql_set){
        .rows = rows, .interval_ms = hundred ? 10000 : 15000, .offset_ms = hundred ? 3000 : 7000};
    buf_init(&set->maker.text, LOAD_TEXT_MAX);
    if (hundred)
        promql_make_hundred(set);
    else
        promql_make_many(set, count, strcmp(name, "many") == 0);
}

/* The last sample is at or before the end. */
static inline int64_t promql_time(const struct promql_set *set, int64_t end_ms, uint32_t row)
{
    return end_ms - set->offset_ms - (int64_t)(set->rows - 1 - row) * set->interval_ms;
}

static inline void promql_write(const struct promql_set *set, int64_t end_ms, const char *path)
{
    struct load_head head = {LOAD_MAGIC, (uint32_t)set->maker.series.count, 1, set->rows,
                             (uint32_t)set->maker.text.len};
    FILE *file = fopen(path, "wb");
    if (!file)
        load_fail(path);
    fwrite(&head, sizeof(head), 1, file);
    for (uint32_t row = 0; row < set->rows; row++) {
        int64_t time_ms = promql_time(set, end_ms, row);
        fwrite(&time_ms, sizeof(time_ms), 1, file);
    }
    for (size_t i = 0; i < set->maker.values.count; i++)
        fwrite(set->maker.values.items[i], sizeof(double), set->rows, file);
    fwrite(set->maker.series.items, sizeof(struct load_series), set->maker.series.count, file);
    fwrite(set->maker.text.ptr, 1, set->maker.text.len, file);
    if (fclose(file) != 0)
        load_fail(path);
}

#endif
