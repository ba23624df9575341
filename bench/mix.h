/* mix: one day of made-up series, of the kinds that a cluster has, from a seed.
 *
 *     d1   1,000 series of 14 kinds, MIX_KINDS says how many of each
 *     d2   60 histograms of 12 cumulative buckets and a count, in le order
 *
 * A day is 5,760 samples of 15 s; 1 % of scrapes come 3 to 23 ms off their time. All of it is made up: the shares are a
 * guess at a cluster of Kubernetes nodes, and the noise was set so that sizes come near those of an earlier study of the
 * same kinds (CPU nanoseconds 3.8 bytes a sample, byte counters 1.9, float gauges 3.6, float sums 2.4; d2 0.23 with each
 * column alone). What family coding gains on d2 depends on how many buckets a histogram's values spread over: with a
 * spread of 0.7 to 2 buckets instead of 0.5 to 1.5, it is 0.082 instead of 0.073. */
#ifndef MIX_H
#define MIX_H

#include <math.h>

#include "bench.h"
#include "model/sample.h"

#define MIX_SAMPLES        5760
#define MIX_INTERVAL_MS    15000
#define MIX_START_MS       INT64_C(1700006400000)
#define MIX_D2_FAMILIES    60
#define MIX_FAMILY_COLUMNS 13

enum mix_kind {
    MIX_CONSTANT,
    MIX_SLOW_GAUGE,
    MIX_IDLE_COUNTER,
    MIX_BUCKET,
    MIX_REQUEST_COUNTER,
    MIX_BYTE_COUNTER,
    MIX_CPU_CENTISECONDS,
    MIX_CPU_NANOSECONDS,
    MIX_MEMORY_GAUGE,
    MIX_INTEGER_GAUGE,
    MIX_DECIMAL_GAUGE,
    MIX_FLOAT_GAUGE,
    MIX_FLOAT_SUM,
    MIX_TIMESTAMP,
    /* Not in d1: */
    MIX_FLOAT_FRESH, /* A new full mantissa with each sample. */
    MIX_FLOAT_WALK,  /* A step from the one before, each of a full mantissa. */
    MIX_FLOAT_RATIO, /* Of two integers, as a share in use. */
    MIX_FLOAT_WAVE,  /* Smooth. */
    MIX_SECONDS_SUM, /* Nanoseconds as seconds, added up as doubles: the sum of a histogram. */
    MIX_KIND_COUNT
};

static const struct mix_kind_row {
    const char *name;
    uint32_t d1_series;
} MIX_KINDS[MIX_KIND_COUNT] = {
    {"constant", 220},        {"slow_gauge", 80},      {"idle_counter", 160},
    {"bucket", 200},          {"request_counter", 70}, {"byte_counter", 50},
    {"cpu_centiseconds", 50}, {"cpu_nanoseconds", 25}, {"memory_gauge", 50},
    {"integer_gauge", 35},    {"decimal_gauge", 20},   {"float_gauge", 10},
    {"float_sum", 20},        {"timestamp", 10},       {"float_fresh", 0},
    {"float_walk", 0},        {"float_ratio", 0},      {"float_wave", 0},
    {"seconds_sum", 0},
};

static inline double mix_normal(uint64_t *state)
{
    double u = 1.0 - bench_uniform(state);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * bench_uniform(state));
}

/* Between low and high, evenly on a log scale. */
static inline double mix_spread(uint64_t *state, double low, double high)
{
    return low * pow(high / low, bench_uniform(state));
}

static inline double mix_poisson(uint64_t *state, double mean)
{
    if (mean > 50)
        return fmax(0, floor(mean + sqrt(mean) * mix_normal(state) + 0.5));
    double limit = exp(-mean), product = bench_uniform(state), count = 0;
    for (; product > limit; count++)
        product *= bench_uniform(state);
    return count;
}

static inline double mix_day_wave(uint32_t i)
{
    return 1.0 + 0.4 * sin(6.283185307179586 * i / MIX_SAMPLES);
}

static inline void mix_counter(uint64_t *random, enum mix_kind kind, double *out)
{
    double value = floor(mix_spread(random, 10, 1e6)), rate = 0, quiet = 0;
    bool in_burst = false;
    if (kind == MIX_IDLE_COUNTER)
        rate = mix_spread(random, 0.0003, 0.02);
    if (kind == MIX_BUCKET)
        rate = mix_spread(random, 0.001, 5);
    if (kind == MIX_REQUEST_COUNTER)
        rate = mix_spread(random, 2, 2000);
    if (kind == MIX_BYTE_COUNTER) {
        value *= 1e4;
        quiet = floor(mix_spread(random, 60, 600));
        rate = mix_spread(random, 5e3, 5e5);
    }
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        if (bench_uniform(random) < 0.05)
            in_burst = !in_burst;
        if (kind != MIX_BYTE_COUNTER)
            value += mix_poisson(random, rate * mix_day_wave(i));
        else if (in_burst)
            value += floor(rate * exp(0.9 * mix_normal(random)));
        else
            value += quiet * mix_poisson(random, 6) + floor(quiet * 8 * bench_uniform(random));
        out[i] = value;
    }
}

static inline void mix_cpu(uint64_t *random, enum mix_kind kind, double *out)
{
    double cores = mix_spread(random, 0.02, 2), scale = kind == MIX_CPU_NANOSECONDS ? 1e9 : 1e2;
    double units = floor(mix_spread(random, 1e3, 5e5) * scale);
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        double used = cores * 15 * mix_day_wave(i) * (1 + 0.15 * mix_normal(random));
        units += fmax(0, floor(used * scale));
        out[i] = units / scale;
    }
}

static inline void mix_gauge(uint64_t *random, enum mix_kind kind, double *out)
{
    double level = mix_spread(random, 10, 1000), value = floor(level);
    if (kind == MIX_MEMORY_GAUGE)
        value = floor(mix_spread(random, 2e3, 1e6));
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        double draw = bench_uniform(random), noise = mix_normal(random);
        if (kind == MIX_SLOW_GAUGE && draw < 0.004)
            value = fmax(0, value + floor(noise * 5));
        if (kind == MIX_MEMORY_GAUGE && draw < 0.6)
            value = fmax(100, value + floor(noise * 60));
        if (kind == MIX_INTEGER_GAUGE && draw < 0.5)
            value = fmax(0, value + floor(noise * 2 + 0.5));
        if (kind == MIX_DECIMAL_GAUGE)
            value = floor(100 * fmax(0, 0.97 * value / 100 + 0.03 * level + noise * 0.6) + 0.5);
        out[i] = kind == MIX_MEMORY_GAUGE    ? value * 4096
                 : kind == MIX_DECIMAL_GAUGE ? value / 100
                                             : value;
    }
}

static inline void mix_float(uint64_t *random, enum mix_kind kind, double *out)
{
    double level = mix_spread(random, 0.01, 100), value = level * (1 + bench_uniform(random));
    if (kind == MIX_FLOAT_SUM)
        value *= 1e4;
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        double draw = bench_uniform(random);
        if (kind == MIX_FLOAT_SUM && draw < 0.46)
            value += level * 0.1 * exp(mix_normal(random));
        if (kind == MIX_FLOAT_FRESH || (kind == MIX_FLOAT_GAUGE && draw < 0.55))
            value = level * (1 + 0.2 * mix_normal(random));
        out[i] = value;
    }
}

static inline void mix_float_more(uint64_t *random, enum mix_kind kind, double *out)
{
    double level = mix_spread(random, 0.01, 100), value = level * (1 + bench_uniform(random));
    double total = floor(mix_spread(random, 1e3, 1e10)), used = total / 2;
    double turn = 6.283185307179586 * bench_uniform(random);
    if (kind == MIX_SECONDS_SUM)
        value = floor(value * 1e9) / 1e9;
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        double noise = mix_normal(random);
        if (kind == MIX_FLOAT_WALK)
            value = fabs(value + 0.01 * level * noise);
        if (kind == MIX_FLOAT_WAVE)
            value = level * sin(turn + 0.02 * i);
        if (kind == MIX_FLOAT_RATIO)
            value = (used = fmax(1, floor(used + 1e-4 * total * noise))) / total;
        for (double n = mix_poisson(random, 1.5); kind == MIX_SECONDS_SUM && n > 0; n--)
            value += floor(1e6 * level * exp(mix_normal(random))) / 1e9;
        out[i] = value;
    }
}

/* One series' day of MIX_SAMPLES values. */
static inline void mix_series(enum mix_kind kind, uint64_t *random, double *out)
{
    double value = floor(mix_spread(random, 1, 1e9)), step = 0;
    switch (kind) {
    case MIX_CONSTANT:
        for (uint32_t i = 0; i < MIX_SAMPLES; i++)
            out[i] = value;
        return;
    case MIX_TIMESTAMP: /* Of a heartbeat, in whole seconds. */
        step = 10 + floor(bench_uniform(random) * 50);
        for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
            double late = bench_uniform(random) < 0.05 ? 1 : 0;
            out[i] = 1.7e9 + step * floor((i * 15.0 + late) / step);
        }
        return;
    case MIX_IDLE_COUNTER:
    case MIX_BUCKET:
    case MIX_REQUEST_COUNTER:
    case MIX_BYTE_COUNTER:
        mix_counter(random, kind, out);
        return;
    case MIX_CPU_CENTISECONDS:
    case MIX_CPU_NANOSECONDS:
        mix_cpu(random, kind, out);
        return;
    case MIX_SLOW_GAUGE:
    case MIX_MEMORY_GAUGE:
    case MIX_INTEGER_GAUGE:
    case MIX_DECIMAL_GAUGE:
        mix_gauge(random, kind, out);
        return;
    case MIX_FLOAT_WALK:
    case MIX_FLOAT_RATIO:
    case MIX_FLOAT_WAVE:
    case MIX_SECONDS_SUM:
        mix_float_more(random, kind, out);
        return;
    default:
        mix_float(random, kind, out);
    }
}

/* A histogram's columns in le order, +Inf last of the buckets, then the count. */
static inline void mix_family(uint64_t *random, double out[MIX_FAMILY_COLUMNS][MIX_SAMPLES])
{
    double rate = mix_spread(random, 0.05, 70), middle = 2 + 7 * bench_uniform(random);
    double width = 0.5 + 1.0 * bench_uniform(random), counts[MIX_FAMILY_COLUMNS] = {0};
    for (uint32_t k = 0; k + 1 < MIX_FAMILY_COLUMNS; k++)
        counts[k] = floor(1e5 * bench_uniform(random));
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        double requests = mix_poisson(random, rate * mix_day_wave(i)), sum = 0;
        for (; requests > 0; requests--) {
            double bucket = middle + width * mix_normal(random);
            bucket = fmin(fmax(floor(bucket), 0), MIX_FAMILY_COLUMNS - 2);
            counts[(uint32_t)bucket]++;
        }
        for (uint32_t k = 0; k + 1 < MIX_FAMILY_COLUMNS; k++)
            out[k][i] = sum += counts[k];
        out[MIX_FAMILY_COLUMNS - 1][i] = sum;
    }
}

static inline void mix_times(uint64_t *random, int64_t *out)
{
    for (uint32_t i = 0; i < MIX_SAMPLES; i++) {
        int64_t late = bench_uniform(random) < 0.01 ? 3 + (int64_t)(bench_uniform(random) * 21) : 0;
        out[i] = MIX_START_MS + i * (int64_t)MIX_INTERVAL_MS + late;
    }
}

#endif
