/* run_scan: what is looked for in every sample of a series: stale markers, and where a counter falls. Both are rare, so
 * sixteen values are looked at before anything is asked. */
#include "eval.h"

static bool stale_in(const double *values, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || sample_is_stale(values[i]);
    return found;
}

/* Those from position `from` on, which is not the first. */
static size_t falls_in(const double *values, size_t from, size_t to, uint32_t *marks)
{
    size_t found = 0;
    for (size_t i = from; i < to; i++)
        if (values[i] < values[i - 1])
            marks[found++] = (uint32_t)i;
    return found;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Returns how many were looked at. */
AVX2 static size_t stale_by_quads(const double *values, size_t count, bool *found)
{
    const __m256i stale = _mm256_set1_epi64x((int64_t)SAMPLE_STALE_BITS);
    size_t i = 0;
    for (; i + 16 <= count && !*found; i += 16) {
        const __m256i *at = (const __m256i *)(values + i);
        __m256i a = _mm256_cmpeq_epi64(_mm256_loadu_si256(at), stale);
        __m256i b = _mm256_cmpeq_epi64(_mm256_loadu_si256(at + 1), stale);
        __m256i c = _mm256_cmpeq_epi64(_mm256_loadu_si256(at + 2), stale);
        __m256i d = _mm256_cmpeq_epi64(_mm256_loadu_si256(at + 3), stale);
        __m256i any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        *found = !_mm256_testz_si256(any, any);
    }
    return i;
}

AVX2 static inline __m256d falls_of(const double *at)
{
    return _mm256_cmp_pd(_mm256_loadu_pd(at), _mm256_loadu_pd(at - 1), _CMP_LT_OQ);
}

/* Returns the position it came to. */
AVX2 static size_t falls_by_quads(const double *values, size_t from, size_t count, uint32_t *marks,
                                  size_t *found)
{
    size_t i = from;
    for (; i + 16 <= count; i += 16) {
        const double *at = values + i;
        __m256d any = _mm256_or_pd(_mm256_or_pd(falls_of(at), falls_of(at + 4)),
                                   _mm256_or_pd(falls_of(at + 8), falls_of(at + 12)));
        if (_mm256_movemask_pd(any))
            *found += falls_in(values, i, i + 16, marks + *found);
    }
    return i;
}

static bool has_quads(void)
{
    return __builtin_cpu_supports("avx2");
}

#else

static size_t stale_by_quads(const double *values, size_t count, bool *found)
{
    (void)values, (void)count, (void)found;
    return 0;
}
static size_t falls_by_quads(const double *values, size_t from, size_t count, uint32_t *marks,
                             size_t *found)
{
    (void)values, (void)count, (void)marks, (void)found;
    return from;
}
static bool has_quads(void)
{
    return false;
}

#endif

bool scan_stale(const double *values, size_t count)
{
    bool found = false;
    size_t done = has_quads() ? stale_by_quads(values, count, &found) : 0;
    return found || stale_in(values + done, count - done);
}

size_t scan_falls(const double *values, size_t count, uint32_t *marks)
{
    size_t found = 0, done = 1;
    if (count < 2)
        return 0;
    if (has_quads())
        done = falls_by_quads(values, done, count, marks, &found);
    return found + falls_in(values, done, count, marks + found);
}
