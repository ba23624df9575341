/* bench: what every benchmark shares: CPU clock, medians, one printed line, and numbers from a
 * seed. */
#ifndef BENCH_H
#define BENCH_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ensure.h"
#include "base/err.h"

#define BENCH_ROUNDS_MAX 64

/* CPU time of this thread: other work on the machine does not count. */
static inline int64_t bench_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct bench_rounds {
    double items[BENCH_ROUNDS_MAX];
    int count;
};

static inline void bench_round(struct bench_rounds *rounds, double value)
{
    ENSURE(rounds->count < BENCH_ROUNDS_MAX);
    rounds->items[rounds->count++] = value;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(struct bench_rounds *rounds)
{
    ENSURE(rounds->count > 0);
    qsort(rounds->items, (size_t)rounds->count, sizeof(rounds->items[0]), bench_compare);
    return rounds->items[rounds->count / 2];
}

static inline void bench_print(const char *name, double value, const char *unit)
{
    printf("%s %.4g %s\n", name, value, unit);
    fflush(stdout);
}

static inline void bench_print_rounds(const char *name, struct bench_rounds *rounds,
                                      const char *unit)
{
    bench_print(name, bench_median(rounds), unit);
}

/* Setting up may not fail; what is measured is not this. */
static inline void bench_must(bool good, const struct err *err)
{
    if (good)
        return;
    fprintf(stderr, "bench: %s\n", err->text);
    abort();
}

/* splitmix64: every run sees the same numbers. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline double bench_uniform(uint64_t *state)
{
    return (double)(bench_random(state) >> 11) / 9007199254740992.0;
}

#endif
