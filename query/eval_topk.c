/* eval_topk: topk and bottomk over many steps, series after series.
 *
 * Each step has a heap of the k strongest so far and the value that a newcomer must beat; a series' values are compared with
 * those of all steps as they lie in memory, eight at a time, and few pass. Offers come to each heap in the order of the
 * series and the heaps are those of Go's container/heap, so ties end as in Prometheus. */
#include "eval.h"

#define ENTRIES_MAX (256 * 1024) /* Of all heaps: 4 MiB. */

struct top_entry {
    double value;
    uint32_t series;
};

struct top {
    const struct frame *frame;
    bool is_top; /* Else bottomk. */
    size_t k_max;
    size_t *k;               /* By step. */
    struct top_entry *heaps; /* [steps][k_max] */
    size_t *counts;          /* By step. */
    double *to_beat;         /* By step; NaN: nothing yet. */
};

/* Is `a` nearer to being thrown out than `b`? */
static bool is_weaker(const struct top *top, double a, double b)
{
    return isnan(a) || (top->is_top ? a < b : a > b);
}

static void heap_swap(struct top_entry *heap, size_t i, size_t j)
{
    struct top_entry swap = heap[i];
    heap[i] = heap[j];
    heap[j] = swap;
}

static void heap_up(const struct top *top, struct top_entry *heap, size_t at)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!is_weaker(top, heap[at].value, heap[parent].value))
            return;
        heap_swap(heap, at, parent);
        at = parent;
    }
}

static void heap_down(const struct top *top, struct top_entry *heap, size_t count)
{
    size_t at = 0, child;
    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && is_weaker(top, heap[child + 1].value, heap[child].value))
            child++;
        if (!is_weaker(top, heap[child].value, heap[at].value))
            return;
        heap_swap(heap, at, child);
        at = child;
    }
}

static void offer(struct top *top, size_t t, struct top_entry entry)
{
    struct top_entry *heap = top->heaps + t * top->k_max;
    size_t count = top->counts[t];
    if (count < top->k[t]) {
        heap[count] = entry;
        top->counts[t] = ++count;
        heap_up(top, heap, count - 1);
    } else if (count > 0) {
        double weakest = heap[0].value;
        bool better = top->is_top ? weakest < entry.value : weakest > entry.value;
        if (!better && !(isnan(weakest) && !isnan(entry.value)))
            return;
        heap[0] = entry;
        heap_down(top, heap, count);
    }
    if (count == top->k[t] && count > 0)
        top->to_beat[t] = heap[0].value;
}

/* How many of the first values surely stay outside, as far as whole vectors go. NaNs do not: they are looked at one by one. */
#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256d beaten(bool is_top, const double *value, const double *to_beat)
{
    __m256d a = _mm256_loadu_pd(value), b = _mm256_loadu_pd(to_beat);
    return is_top ? _mm256_cmp_pd(a, b, _CMP_LE_OQ) : _mm256_cmp_pd(a, b, _CMP_GE_OQ);
}

AVX2 static size_t skip_quads(bool is_top, const double *values, const double *to_beat,
                              size_t count)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256d low = beaten(is_top, values + i, to_beat + i);
        __m256d high = beaten(is_top, values + i + 4, to_beat + i + 4);
        if (_mm256_movemask_pd(_mm256_and_pd(low, high)) != 15)
            break;
    }
    return i;
}

static bool has_quads(void)
{
    return __builtin_cpu_supports("avx2");
}

#else

static size_t skip_quads(bool is_top, const double *values, const double *to_beat, size_t count)
{
    (void)is_top, (void)values, (void)to_beat, (void)count;
    return 0;
}
static bool has_quads(void)
{
    return false;
}

#endif

static void offer_series(struct top *top, const struct series *series, uint32_t index)
{
    bool skips = has_quads();
    for (size_t t = series->from; t < series->to;) {
        if (skips)
            t += skip_quads(top->is_top, series->values + (t - series->from), top->to_beat + t,
                            series->to - t);
        size_t end = t + 8 < series->to ? t + 8 : series->to;
        for (; t < end; t++) {
            if (series_has(series, t))
                offer(top, t, (struct top_entry){*series_at(series, t), index});
        }
    }
}

static void take_group(const struct top *top, uint64_t **chosen)
{
    struct arena *arena = &top->frame->query->arena;
    for (size_t t = 0; t < top->frame->steps; t++) {
        const struct top_entry *heap = top->heaps + t * top->k_max;
        for (size_t i = 0; i < top->counts[t]; i++) {
            uint64_t **steps = &chosen[heap[i].series];
            if (!*steps)
                *steps = arena_zalloc(arena, bitmap_words(top->frame->steps) * sizeof(uint64_t));
            bitmap_add(*steps, t);
        }
    }
}

/* No heap beats what it has no place for. */
static void clear_group(struct top *top)
{
    for (size_t t = 0; t < top->frame->steps; t++) {
        top->counts[t] = 0;
        top->to_beat[t] = top->k[t] ? sample_nan() : top->is_top ? INFINITY : -INFINITY;
    }
}

bool eval_topk(const struct frame *frame, enum aggregate_op op, const struct vector *in,
               const struct group_lists *lists, const double *param, uint64_t **chosen, bool *done,
               struct err *err)
{
    struct arena *arena = &frame->query->arena;
    struct top top = {.frame = frame, .is_top = op == AGG_TOPK};
    *done = false;
    if (frame->steps < 2 || (op != AGG_TOPK && op != AGG_BOTTOMK))
        return true;
    top.k = arena_alloc_array(arena, frame->steps, sizeof(*top.k));
    for (size_t t = 0; t < frame->steps; t++) {
        top.k[t] = !(param[t] >= 1)                ? 0
                   : param[t] >= (double)in->count ? in->count
                                                   : (size_t)param[t];
        top.k_max = top.k[t] > top.k_max ? top.k[t] : top.k_max;
    }
    if (top.k_max == 0 || top.k_max > ENTRIES_MAX / frame->steps)
        return true;
    top.heaps = arena_alloc_array(arena, frame->steps * top.k_max, sizeof(*top.heaps));
    top.counts = arena_alloc_array(arena, frame->steps, sizeof(*top.counts));
    top.to_beat = arena_alloc_array(arena, frame->steps, sizeof(*top.to_beat));
    for (size_t g = 0; g < lists->count; g++) {
        clear_group(&top);
        for (uint32_t i = lists->first[g]; i != MAP_NONE; i = lists->next[i]) {
            offer_series(&top, &in->items[i], i);
            if (!query_check(frame->query, err))
                return false;
        }
        take_group(&top, chosen);
    }
    *done = true;
    return true;
}
