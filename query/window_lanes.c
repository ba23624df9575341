/* window_lanes: sums over many windows of one series at once, a window a lane.
 *
 * The value of a window is a chain of additions in a fixed order, so a window cannot be cut; but windows do not depend
 * on each other. Eight of them are walked side by side as far as the shortest goes, what is left of each follows.
 * The operations of a lane are those of the functions in fn_range.c, in their order. Where a sum is not finite those
 * take another way: then they are asked. */
#include "eval.h"

#define LANES LANES_MAX

/* Eight windows; when they begin one sample after the other plain loads do. */
struct lane_group {
    const double *values;
    size_t low[LANES], high[LANES];
    size_t shortest;
    bool consecutive;
};

struct lane_sums {
    double sum[LANES], rest[LANES];
};
struct lane_moments {
    double mean[LANES], mean_rest[LANES], sum[LANES], sum_rest[LANES];
};
struct lane_trends {
    double before[LANES], smooth[LANES], slope[LANES];
};

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define QUAD static inline __attribute__((always_inline, target("avx2")))

typedef double quad __attribute__((vector_size(32)));
typedef int64_t quad_bits __attribute__((vector_size(32)));

/* Four of the eight; `half` is 0 or 4. */
QUAD quad load(const struct lane_group *group, size_t half, size_t at)
{
    quad out;
    const double *values = group->values + at;
    if (group->consecutive) {
        memcpy(&out, values + group->low[0] + half, sizeof(out));
        return out;
    }
    const size_t *low = group->low + half;
    return (quad){values[low[0]], values[low[1]], values[low[2]], values[low[3]]};
}

/* What kahan_add adds to the compensation, when nothing is infinite. */
QUAD quad lost(quad sum, quad add, quad total)
{
    const quad_bits size = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    quad_bits larger = (quad)((quad_bits)sum & size) >= (quad)((quad_bits)add & size);
    quad large = (quad)((larger & (quad_bits)sum) | (~larger & (quad_bits)add));
    quad small = (quad)((larger & (quad_bits)add) | (~larger & (quad_bits)sum));
    return (large - total) + small;
}

struct kahan {
    quad sum, rest;
};

QUAD struct kahan kahan_quad(struct kahan to, quad add)
{
    quad total = to.sum + add;
    return (struct kahan){total, to.rest + lost(to.sum, add, total)};
}

/* From the first value on, or from zero. */
AVX2 static void run_sums(const struct lane_group *group, bool from_first, struct lane_sums *out)
{
    struct kahan a = {{0}, {0}}, b = a;
    if (from_first) {
        a.sum = load(group, 0, 0);
        b.sum = load(group, 4, 0);
    }
    for (size_t i = from_first; i < group->shortest; i++) {
        a = kahan_quad(a, load(group, 0, i));
        b = kahan_quad(b, load(group, 4, i));
    }
    memcpy(out->sum, &a.sum, sizeof(quad));
    memcpy(out->sum + 4, &b.sum, sizeof(quad));
    memcpy(out->rest, &a.rest, sizeof(quad));
    memcpy(out->rest + 4, &b.rest, sizeof(quad));
}

struct moments {
    struct kahan mean, sum;
};

QUAD struct moments moments_add(struct moments at, quad value, double count)
{
    quad delta = value - (at.mean.sum + at.mean.rest);
    at.mean = kahan_quad(at.mean, delta / count);
    at.sum = kahan_quad(at.sum, delta * (value - (at.mean.sum + at.mean.rest)));
    return at;
}

QUAD void moments_store(const struct moments *at, size_t half, struct lane_moments *out)
{
    memcpy(out->mean + half, &at->mean.sum, sizeof(quad));
    memcpy(out->mean_rest + half, &at->mean.rest, sizeof(quad));
    memcpy(out->sum + half, &at->sum.sum, sizeof(quad));
    memcpy(out->sum_rest + half, &at->sum.rest, sizeof(quad));
}

AVX2 static void run_moments(const struct lane_group *group, struct lane_moments *out)
{
    struct moments a = {{{0}, {0}}, {{0}, {0}}}, b = a;
    double count = 0;
    for (size_t i = 0; i < group->shortest; i++) {
        count++;
        a = moments_add(a, load(group, 0, i), count);
        b = moments_add(b, load(group, 4, i), count);
    }
    moments_store(&a, 0, out);
    moments_store(&b, 4, out);
}

struct trends {
    quad before, smooth, slope;
};

QUAD struct trends trends_begin(const struct lane_group *group, size_t half, double smoothing)
{
    quad first = load(group, half, 0), second = load(group, half, 1), slope = second - first;
    quad x = smoothing * second, y = (1 - smoothing) * (first + slope);
    return (struct trends){first, x + y, slope};
}

QUAD struct trends trends_add(struct trends at, quad value, double smoothing, double trend)
{
    quad x = smoothing * value;
    quad slope = trend * (at.smooth - at.before) + (1 - trend) * at.slope;
    quad y = (1 - smoothing) * (at.smooth + slope);
    return (struct trends){at.smooth, x + y, slope};
}

QUAD void trends_store(const struct trends *at, size_t half, struct lane_trends *out)
{
    memcpy(out->before + half, &at->before, sizeof(quad));
    memcpy(out->smooth + half, &at->smooth, sizeof(quad));
    memcpy(out->slope + half, &at->slope, sizeof(quad));
}

AVX2 static void run_trends(const struct lane_group *group, double smoothing, double trend,
                            struct lane_trends *out)
{
    struct trends a = trends_begin(group, 0, smoothing), b = trends_begin(group, 4, smoothing);
    for (size_t i = 2; i < group->shortest; i++) {
        a = trends_add(a, load(group, 0, i), smoothing, trend);
        b = trends_add(b, load(group, 4, i), smoothing, trend);
    }
    trends_store(&a, 0, out);
    trends_store(&b, 4, out);
}

AVX2 static size_t fold_sums(double *sum, double *rest, const double *add, size_t count)
{
    const quad_bits size = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    const quad infinite = {INFINITY, INFINITY, INFINITY, INFINITY};
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        quad old, old_rest, value;
        memcpy(&old, sum + i, sizeof(quad));
        memcpy(&old_rest, rest + i, sizeof(quad));
        memcpy(&value, add + i, sizeof(quad));
        quad total = old + value;
        quad new_rest = old_rest + lost(old, value, total);
        quad_bits is_infinite = (quad)((quad_bits)total & size) == infinite;
        new_rest = (quad)((quad_bits)new_rest & ~is_infinite);
        memcpy(sum + i, &total, sizeof(quad));
        memcpy(rest + i, &new_rest, sizeof(quad));
    }
    return i;
}

static bool has_lanes(void)
{
    return __builtin_cpu_supports("avx2");
}

#else

/* Without them the plain functions do all the work. */
static bool has_lanes(void)
{
    return false;
}
static void run_sums(const struct lane_group *group, bool from_first, struct lane_sums *out)
{
    (void)group, (void)from_first, (void)out;
}
static void run_moments(const struct lane_group *group, struct lane_moments *out)
{
    (void)group, (void)out;
}
static void run_trends(const struct lane_group *group, double smoothing, double trend,
                       struct lane_trends *out)
{
    (void)group, (void)smoothing, (void)trend, (void)out;
}
static size_t fold_sums(double *sum, double *rest, const double *add, size_t count)
{
    (void)sum, (void)rest, (void)add, (void)count;
    return 0;
}

#endif

void lanes_add(double *sum, double *rest, const double *add, size_t count)
{
    size_t done = has_lanes() ? fold_sums(sum, rest, add, count) : 0;
    for (size_t i = done; i < count; i++)
        kahan_add(add[i], &sum[i], &rest[i]);
}

/* --- what is left of each window, and its value --- */

static bool end_sum(const struct lane_group *group, size_t k, double sum, double rest, double *out)
{
    for (size_t i = group->low[k] + group->shortest; i < group->high[k]; i++)
        kahan_add(group->values[i], &sum, &rest);
    *out = sum + rest;
    return isfinite(sum);
}

static bool end_average(const struct lane_group *group, size_t k, double sum, double rest,
                        double *out)
{
    double count = (double)(group->high[k] - group->low[k]);
    for (size_t i = group->low[k] + group->shortest; i < group->high[k]; i++)
        kahan_add(group->values[i], &sum, &rest);
    *out = sum / count + rest / count;
    return isfinite(sum);
}

static bool end_variance(const struct lane_group *group, size_t k,
                         const struct lane_moments *moments, bool is_deviation, double *out)
{
    double mean = moments->mean[k], mean_rest = moments->mean_rest[k];
    double sum = moments->sum[k], sum_rest = moments->sum_rest[k];
    double count = (double)group->shortest;
    for (size_t i = group->low[k] + group->shortest; i < group->high[k]; i++) {
        double value = group->values[i];
        count++;
        double delta = value - (mean + mean_rest);
        kahan_add(delta / count, &mean, &mean_rest);
        kahan_add(delta * (value - (mean + mean_rest)), &sum, &sum_rest);
    }
    *out = (sum + sum_rest) / count;
    if (is_deviation)
        *out = sqrt(*out);
    return isfinite(sum) && isfinite(mean);
}

static bool end_smoothing(const struct lane_group *group, size_t k,
                          const struct lane_trends *trends, double smoothing, double trend,
                          double *out)
{
    double before = trends->before[k], smooth = trends->smooth[k], slope = trends->slope[k];
    for (size_t i = group->shortest; group->low[k] + i < group->high[k]; i++) {
        double x = smoothing * group->values[group->low[k] + i];
        if (i > 1)
            slope = trend * (smooth - before) + (1 - trend) * slope;
        double y = (1 - smoothing) * (smooth + slope);
        before = smooth;
        smooth = x + y;
    }
    *out = smooth;
    return true;
}

bool lanes_have(enum function_id id)
{
    switch (id) {
    case FN_SUM_OVER_TIME:
    case FN_AVG_OVER_TIME:
    case FN_STDDEV_OVER_TIME:
    case FN_STDVAR_OVER_TIME:
    case FN_DOUBLE_EXPONENTIAL_SMOOTHING:
        return has_lanes();
    default:
        return false;
    }
}

static void run_group(enum function_id id, const struct lane_group *group, const double *args,
                      double *out, bool *good)
{
    struct lane_sums sums;
    struct lane_moments moments;
    struct lane_trends trends;
    switch (id) {
    case FN_SUM_OVER_TIME:
    case FN_AVG_OVER_TIME:
        run_sums(group, id == FN_AVG_OVER_TIME, &sums);
        for (size_t k = 0; k < LANES; k++)
            good[k] = id == FN_AVG_OVER_TIME
                          ? end_average(group, k, sums.sum[k], sums.rest[k], &out[k])
                          : end_sum(group, k, sums.sum[k], sums.rest[k], &out[k]);
        return;
    case FN_DOUBLE_EXPONENTIAL_SMOOTHING:
        run_trends(group, args[0], args[1], &trends);
        for (size_t k = 0; k < LANES; k++)
            good[k] = end_smoothing(group, k, &trends, args[0], args[1], &out[k]);
        return;
    default:
        run_moments(group, &moments);
        for (size_t k = 0; k < LANES; k++)
            good[k] = end_variance(group, k, &moments, id == FN_STDDEV_OVER_TIME, &out[k]);
    }
}

/* Too short windows, and those at the end that do not fill all lanes, are left to the plain functions. */
size_t lanes_run(enum function_id id, const struct windows *windows, size_t t, const double *args,
                 double *out, bool *good)
{
    struct lane_group group = {
        .values = windows->values, .shortest = SIZE_MAX, .consecutive = true};
    if (windows->count - t < LANES)
        return 0;
    for (size_t k = 0; k < LANES; k++) {
        group.low[k] = windows->low[t + k];
        group.high[k] = windows->high[t + k];
        size_t len = group.high[k] - group.low[k];
        group.shortest = len < group.shortest ? len : group.shortest;
        group.consecutive = group.consecutive && group.low[k] == group.low[0] + k;
    }
    if (group.shortest < 2)
        return 0;
    run_group(id, &group, args, out, good);
    return LANES;
}
