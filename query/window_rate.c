/* window_rate: rate, increase and delta over all windows of a series at once.
 *
 * Most of the extrapolation follows from the times alone and is worked out once for all series that share them; what is
 * left are two loads and three divisions a window, four windows at a time. The operations are those of extrapolate() in
 * fn_range.c, in their order, for windows without counter resets; the caller asks it about the others. */
#include "eval.h"

bool rate_has(enum function_id id)
{
    return id == FN_RATE || id == FN_INCREASE || id == FN_DELTA;
}

static void place_one(struct rate_places *places, const struct windows *windows, size_t t,
                      int64_t start_ms, int64_t end_ms)
{
    const int64_t *times = windows->times + windows->low[t];
    size_t last = windows->high[t] - windows->low[t] - 1;
    double to_start = (double)(times[0] - start_ms) / 1000;
    double to_end = (double)(end_ms - times[last]) / 1000;
    double sampled = (double)(times[last] - times[0]) / 1000;
    double average = sampled / (double)last;
    double threshold = average * 1.1;
    places->to_start[t] = to_start >= threshold ? average / 2 : to_start;
    places->to_end[t] = to_end >= threshold ? average / 2 : to_end;
    places->sampled[t] = sampled;
}

void rate_place(struct rate_places *places, const struct windows *windows,
                const struct frame *frame, const struct modifiers *mod, int64_t range_ms)
{
    places->usable = true;
    places->from = places->to = 0;
    places->range_seconds = (double)range_ms / 1000;
    for (size_t t = 0; t < windows->count; t++) {
        if (windows->high[t] < windows->low[t] + 2)
            continue;
        if (places->to == 0)
            places->from = places->to = t;
        places->usable = places->usable && places->to == t;
        places->to = t + 1;
        int64_t end_ms =
            time_sub(mod->at != AT_NONE ? mod->at_ms : frame_time(frame, t), mod->offset_ms);
        place_one(places, windows, t, time_sub(end_ms, range_ms), end_ms);
    }
}

/* A counter cannot have been below zero, so its line begins no earlier than there. */
static double rate_one(const struct rate_places *places, const struct windows *windows, size_t t,
                       bool is_counter, bool is_rate)
{
    double first = windows->values[windows->low[t]];
    double result = windows->values[windows->high[t] - 1] - first;
    double to_start = places->to_start[t], sampled = places->sampled[t];
    if (is_counter && result > 0 && first >= 0) {
        double to_zero = sampled * (first / result);
        if (to_zero < to_start)
            to_start = to_zero;
    }
    double factor = (sampled + to_start + places->to_end[t]) / sampled;
    if (is_rate)
        factor /= places->range_seconds;
    return result * factor;
}

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define QUAD static inline __attribute__((always_inline, target("avx2")))

typedef double quad __attribute__((vector_size(32)));
typedef int64_t quad_bits __attribute__((vector_size(32)));

QUAD quad quad_at(const double *from)
{
    quad out;
    memcpy(&out, from, sizeof(out));
    return out;
}

QUAD quad quad_choose(quad_bits which, quad yes, quad no)
{
    return (quad)((which & (quad_bits)yes) | (~which & (quad_bits)no));
}

/* As many as fill whole vectors; returns where it stopped. */
AVX2 static size_t rate_quads(const struct rate_places *places, const struct windows *windows,
                              bool is_counter, bool is_rate, double *out)
{
    const double *values = windows->values;
    const quad zero = {0, 0, 0, 0};
    const double seconds = places->range_seconds;
    const quad range = {seconds, seconds, seconds, seconds};
    size_t t = places->from;
    for (; t + 4 <= places->to; t += 4) {
        const uint32_t *low = windows->low + t, *high = windows->high + t;
        quad first = {values[low[0]], values[low[1]], values[low[2]], values[low[3]]};
        quad last = {values[high[0] - 1], values[high[1] - 1], values[high[2] - 1],
                     values[high[3] - 1]};
        quad result = last - first;
        quad to_start = quad_at(places->to_start + t), sampled = quad_at(places->sampled + t);
        if (is_counter) {
            quad to_zero = sampled * (first / result);
            quad_bits nearer = (result > zero) & (first >= zero) & (to_zero < to_start);
            to_start = quad_choose(nearer, to_zero, to_start);
        }
        quad factor = (sampled + to_start + quad_at(places->to_end + t)) / sampled;
        if (is_rate)
            factor /= range;
        quad found = result * factor;
        memcpy(out + t, &found, sizeof(found));
    }
    return t;
}

static bool has_quads(void)
{
    return __builtin_cpu_supports("avx2");
}

#else

static size_t rate_quads(const struct rate_places *places, const struct windows *windows,
                         bool is_counter, bool is_rate, double *out)
{
    (void)windows, (void)is_counter, (void)is_rate, (void)out;
    return places->from;
}
static bool has_quads(void)
{
    return false;
}

#endif

void rate_run(enum function_id id, const struct rate_places *places, const struct windows *windows,
              double *out)
{
    bool is_counter = id != FN_DELTA, is_rate = id == FN_RATE;
    size_t t = places->from;
    if (has_quads())
        t = rate_quads(places, windows, is_counter, is_rate, out);
    for (; t < places->to; t++)
        out[t] = rate_one(places, windows, t, is_counter, is_rate);
}
