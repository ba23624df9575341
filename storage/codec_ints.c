/* codec_ints: a column of integers as residuals.
 *
 *     u8       transform | 0x04 zigzag | 0x08 divisor | 0x10 bias | coder << 5
 *     [u8 kind: of transform 3]   zigzag first   [varint divisor]   [zigzag bias]   [zigzag slope, zigzag offset: of a line]
 *     residuals as the coder writes them
 *
 * With w[i] = (v[i] - first) / divisor, all modulo 2^64, and f(r) = the zigzag's or the plain meaning of a residual:
 *
 *     value        w[i] = f(r[i]) + bias              count residuals
 *     delta        w[i] = w[i-1] + f(r[i]) + bias     count - 1
 *     delta delta  d[i] = d[i-1] + f(r[i]), d[0] = bias, w[i] = w[i-1] + d[i]     count - 1
 *     hold         w[i] = r[i] ? f(r[i] - 1) + bias : w[i-1], w[0] = 0            count - 1    (3, kind 0)
 *     line         w[i] = f(r[i]) + ((i * slope + offset) >> 24)                  count        (3, kind 1)
 *
 * Hold is for gauges that stay, then are somewhere else: a difference of two such values is longer than either. Line is for
 * what follows the clock: uptimes, heartbeats.
 *
 * Every transform that may fit is tried on all residuals by an estimate of what each coder would need; only the best
 * writes. */
#include "codec_private.h"

#include <math.h>
#include <stdlib.h>

#define ZIGZAG       CODEC_INTS_ZIGZAG
#define DIVISOR      CODEC_INTS_DIVISOR
#define BIAS         CODEC_INTS_BIAS
#define CODER_SHIFT  CODEC_INTS_CODER_SHIFT
#define EXTENDED     3
#define SAMPLE_COUNT 255 /* Of the median. */
/* Ranged ANS decodes at half the speed: it must be shorter by one part of so many, or by a bit for so many values. */
#define RANS_PRICE         32
#define RANS_PRICE_VALUES  8
#define SPLIT_PRICE_VALUES 16
#define SPLIT_BITS         12 /* Of a residual; of shorter ones there are no low bits to leave. */

#define LINE_BITS  24                 /* Of slope and offset, below the point. */
#define LINE_MAX   (INT64_C(1) << 38) /* Of what a line is laid through. */
#define LINE_PROBE 512

#define LONG_BITS 24 /* Of a residual, from which on it matters where its leading bits begin. */

/* So few bits that nothing else is tried. */
#define COST_SMALL 320

enum transform { VALUE = CODEC_INTS_VALUE, DELTA = CODEC_INTS_DELTA, DELTA_DELTA, HOLD, LINE };

struct plan {
    enum transform transform;
    bool is_zigzag, is_framed;
    enum codec_coder coder;
    int64_t bias;
    uint64_t cost;
    uint64_t pack_cost; /* The same by blocks. */
    bool wants_rans;    /* Close enough to be weighed exactly. */
    uint32_t shift;     /* Of CODEC_SPLIT. */
    int64_t slope, offset;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t common_divisor(const int64_t *integers, uint32_t count)
{
    uint64_t divisor = 0;
    for (uint32_t i = 1; i < count && divisor != 1; i++) {
        uint64_t step = (uint64_t)integers[i] - (uint64_t)integers[i - 1];
        step = (int64_t)step < 0 ? 0 - step : step;
        if (step != divisor && (divisor == 0 || step % divisor != 0))
            divisor = gcd(divisor, step);
    }
    return divisor ? divisor : 1;
}

static uint32_t residual_count(enum transform transform, uint32_t count)
{
    return transform == VALUE || transform == LINE ? count : count - 1;
}

static inline uint64_t line_at(uint32_t i, int64_t slope, int64_t offset)
{
    return (uint64_t)((int64_t)(i * (uint64_t)slope + (uint64_t)offset) >> LINE_BITS);
}

static void make_residuals(const int64_t *reduced, uint32_t count, const struct plan *plan,
                           uint64_t *out)
{
    uint64_t bias = (uint64_t)plan->bias, delta_last = bias;
    const uint64_t *w = (const uint64_t *)reduced;
    uint32_t n = residual_count(plan->transform, count);
    switch (plan->transform) {
    case VALUE:
        for (uint32_t i = 0; i < n; i++)
            out[i] = w[i] - bias;
        break;
    case DELTA:
        for (uint32_t i = 0; i < n; i++)
            out[i] = w[i + 1] - w[i] - bias;
        break;
    case DELTA_DELTA:
        for (uint32_t i = 0; i < n; i++) {
            uint64_t delta = w[i + 1] - w[i];
            out[i] = delta - delta_last;
            delta_last = delta;
        }
        break;
    case HOLD:
        for (uint32_t i = 0; i < n; i++) {
            uint64_t value = plan->is_zigzag ? zigzag_encode((int64_t)(w[i + 1] - bias)) + 1
                                             : w[i + 1] - bias + 1;
            out[i] = w[i + 1] == w[i] ? 0 : value;
        }
        return;
    case LINE:
        for (uint32_t i = 0; i < n; i++)
            out[i] = w[i] - line_at(i, plan->slope, plan->offset);
        break;
    }
    if (!plan->is_zigzag)
        return;
    for (uint32_t i = 0; i < n; i++)
        out[i] = zigzag_encode((int64_t)out[i]);
}

static int compare_integers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of a sample of values or deltas. */
static int64_t median(const int64_t *reduced, uint32_t count, bool of_deltas)
{
    int64_t sample[SAMPLE_COUNT];
    uint32_t taken = 0, step = count / SAMPLE_COUNT + 1;
    for (uint32_t i = of_deltas; i < count; i += step) {
        uint64_t before = of_deltas ? (uint64_t)reduced[i - 1] : 0;
        sample[taken++] = (int64_t)((uint64_t)reduced[i] - before);
    }
    qsort(sample, taken, sizeof(sample[0]), compare_integers);
    return taken ? sample[taken / 2] : 0;
}

/* Somewhat below the least of a sample, when nearly all values are above: the one far below does not count. */
static int64_t low_value(const int64_t *reduced, uint32_t count)
{
    int64_t sample[SAMPLE_COUNT];
    uint32_t taken = 0, step = count / SAMPLE_COUNT + 1;
    for (uint32_t i = 0; i < count; i += step)
        sample[taken++] = reduced[i];
    qsort(sample, taken, sizeof(sample[0]), compare_integers);
    uint64_t low = (uint64_t)sample[taken / 128];
    uint64_t span = (uint64_t)sample[taken - 1 - taken / 128] - low;
    return (int64_t)(low - span / 4);
}

static int64_t least_value(const int64_t *reduced, uint32_t count)
{
    int64_t least = reduced[0];
    for (uint32_t i = 1; i < count; i++)
        least = reduced[i] < least ? reduced[i] : least;
    return least;
}

static uint64_t rans_price(uint64_t cost, uint32_t count)
{
    uint64_t part = cost / RANS_PRICE, fixed = count / RANS_PRICE_VALUES;
    return part < fixed ? part : fixed;
}

/* The plan's residuals by each coder; *best is replaced by a cheaper one. */
static void weigh(struct codec_ints_scratch *scratch, uint32_t count, struct plan plan,
                  struct plan *best)
{
    uint32_t n = residual_count(plan.transform, count);
    uint64_t *residuals = scratch->candidate;
    make_residuals(scratch->reduced, count, &plan, residuals);
    uint64_t list = codec_list_cost(residuals, n);
    uint64_t pack = codec_pack_cost(residuals, n, false);
    uint64_t framed = plan.is_zigzag ? CODEC_COST_NONE : codec_pack_cost(residuals, n, true);
    uint64_t rans = codec_rans_cost(residuals, n);

    plan.coder = list == 8 ? CODEC_ZERO : CODEC_LIST;
    plan.cost = list;
    plan.is_framed = framed < pack;
    plan.pack_cost = plan.is_framed ? framed : pack;
    if (plan.pack_cost < plan.cost) {
        plan.coder = CODEC_PACK;
        plan.cost = plan.pack_cost;
    }
    plan.wants_rans = rans != CODEC_COST_NONE && rans < plan.pack_cost + plan.pack_cost / 16;
    if (rans != CODEC_COST_NONE && rans + rans_price(rans, n) < plan.cost) {
        plan.coder = CODEC_RANS;
        plan.cost = rans + rans_price(rans, n);
    }
    uint64_t split =
        plan.transform == HOLD || plan.coder < CODEC_PACK || plan.pack_cost / SPLIT_BITS < n
            ? CODEC_COST_NONE
            : codec_split_cost(residuals, n, &plan.shift);
    if (split != CODEC_COST_NONE && split + n / SPLIT_PRICE_VALUES < plan.cost) {
        plan.coder = CODEC_SPLIT;
        plan.cost = split + n / SPLIT_PRICE_VALUES;
    }
    if (plan.transform == LINE)
        plan.cost += 64;
    if (plan.bias)
        plan.cost += 8 + codec_length(zigzag_encode(plan.bias));
    if (plan.cost < best->cost)
        *best = plan;
}

/* A counter: it falls once for 64 times that it rises at most. Holds: it stays at least once in 16 times. */
static bool is_rising(const int64_t *reduced, uint32_t count, bool *holds)
{
    uint32_t rises = 0, falls = 0;
    for (uint32_t i = 1; i < count; i++) {
        rises += reduced[i] > reduced[i - 1];
        falls += reduced[i] < reduced[i - 1];
    }
    *holds = (rises + falls) + count / 16 < count;
    return falls <= rises / 64;
}

/* A step that is too great is made up for by the next one: so go noise around a line, and whole steps of a clock. */
static bool is_like_line(const int64_t *reduced, uint32_t count)
{
    uint32_t n = count < LINE_PROBE ? count : LINE_PROBE;
    if (n < 32 || reduced[n - 1] > LINE_MAX || reduced[n - 1] < -LINE_MAX ||
        reduced[count - 1] > LINE_MAX || reduced[count - 1] < -LINE_MAX)
        return false;
    double mean = (double)(reduced[n - 1] - reduced[0]) / (n - 1), last = 0, square = 0, both = 0;
    for (uint32_t i = 1; i < n; i++) {
        double step = (double)(int64_t)((uint64_t)reduced[i] - (uint64_t)reduced[i - 1]) - mean;
        square += step * step;
        both += step * last;
        last = step;
    }
    return both < -0.15 * square;
}

/* Least squares; a slope that is a ratio of small numbers within what noise may have moved it is taken as that. */
static double line_slope(const int64_t *reduced, uint32_t count)
{
    double middle = (count - 1) / 2.0, both = 0, mean = 0, square = 0;
    for (uint32_t i = 0; i < count; i++)
        mean += (double)reduced[i] / count;
    for (uint32_t i = 0; i < count; i++)
        both += (i - middle) * ((double)reduced[i] - mean);
    double slope = both * 12 / ((double)count * ((double)count * count - 1));
    for (uint32_t i = 0; i < count; i++) {
        double off = (double)reduced[i] - mean - slope * (i - middle);
        square += off * off;
    }
    double error = 4 * sqrt(12 * square / count) / ((double)count * sqrt(count));
    for (uint32_t below = 1; below <= 256 && error * below < 0.1; below++) {
        double ratio = floor(slope * below + 0.5) / below;
        if (fabs(ratio - slope) <= error)
            return ratio;
    }
    return slope;
}

/* The offset with which the line is exact most often, by a sample; where that is seldom, through the middle. */
static int64_t line_offset(const int64_t *reduced, uint32_t count, int64_t slope)
{
    int64_t above[SAMPLE_COUNT];
    uint32_t taken = 0, best = 0, best_count = 0;
    uint32_t step = count / SAMPLE_COUNT + 1;
    for (uint32_t i = 0; i < count; i += step)
        above[taken++] =
            (int64_t)(((uint64_t)reduced[i] << LINE_BITS) - (uint64_t)i * (uint64_t)slope);
    qsort(above, taken, sizeof(above[0]), compare_integers);
    for (uint32_t low = 0, high = 0; low < taken; low++) {
        while (high < taken && above[high] - above[low] < INT64_C(1) << LINE_BITS)
            high++;
        if (high - low > best_count) {
            best_count = high - low;
            best = low;
        }
    }
    if (best_count < taken / 4)
        return above[taken / 2] + (INT64_C(1) << (LINE_BITS - 1));
    /* In the middle of what suits them all. */
    int64_t least = above[best + best_count - 1], most = above[best] + (INT64_C(1) << LINE_BITS);
    return least + (most - least) / 2;
}

static void weigh_line(struct codec_ints_scratch *scratch, uint32_t count, struct plan *best)
{
    const int64_t *reduced = scratch->reduced;
    for (uint32_t i = 0; i < count; i++) {
        if (reduced[i] > LINE_MAX || reduced[i] < -LINE_MAX)
            return;
    }
    double slope = line_slope(reduced, count) * (1 << LINE_BITS);
    struct plan plan = {.transform = LINE, .is_zigzag = true};
    plan.slope = (int64_t)floor(slope + 0.5);
    plan.offset = line_offset(reduced, count, plan.slope);
    weigh(scratch, count, plan, best);
}

static struct plan choose(struct codec_ints_scratch *scratch, uint32_t count)
{
    const int64_t *reduced = scratch->reduced;
    struct plan best = {.cost = CODEC_COST_NONE};
    bool holds, rising = is_rising(reduced, count, &holds);
    weigh(scratch, count, (struct plan){.transform = DELTA, .is_zigzag = !rising}, &best);
    if (best.cost < COST_SMALL && best.coder <= CODEC_LIST)
        return best;
    int64_t delta = median(reduced, count, true);
    if (delta)
        weigh(scratch, count, (struct plan){.transform = DELTA, .is_zigzag = true, .bias = delta},
              &best);
    if (best.coder == CODEC_ZERO)
        return best;
    weigh(scratch, count, (struct plan){.transform = DELTA_DELTA, .is_zigzag = true, .bias = delta},
          &best);
    if (best.cost > COST_SMALL && is_like_line(reduced, count))
        weigh_line(scratch, count, &best);
    /* A counter's values span more than its steps; only a short one may gain. */
    if (rising && count > CODEC_BLOCK)
        return best;
    weigh(scratch, count, (struct plan){.transform = VALUE, .bias = least_value(reduced, count)},
          &best);
    int64_t middle = median(reduced, count, false);
    weigh(scratch, count, (struct plan){.transform = VALUE, .is_zigzag = true, .bias = middle},
          &best);
    if (best.pack_cost / count >= LONG_BITS)
        weigh(scratch, count, (struct plan){.transform = VALUE, .bias = low_value(reduced, count)},
              &best);
    if (holds)
        weigh(scratch, count, (struct plan){.transform = HOLD, .is_zigzag = true, .bias = middle},
              &best);
    return best;
}

static void write_head(const struct plan *plan, int64_t first, uint64_t divisor, struct buf *out)
{
    bool is_extended = plan->transform >= EXTENDED;
    write_u8(out, (uint8_t)((is_extended ? EXTENDED : plan->transform) |
                            (plan->is_zigzag ? ZIGZAG : 0) | (divisor != 1 ? DIVISOR : 0) |
                            (plan->bias ? BIAS : 0) | plan->coder << CODER_SHIFT));
    if (is_extended)
        write_u8(out, (uint8_t)(plan->transform - EXTENDED));
    write_zigzag(out, first);
    if (divisor != 1)
        write_varint(out, divisor);
    if (plan->bias)
        write_zigzag(out, plan->bias);
    if (plan->transform == LINE) {
        write_zigzag(out, plan->slope);
        write_zigzag(out, plan->offset);
    }
}

static void write_with(struct codec_ints_scratch *scratch, uint32_t count, struct plan plan,
                       int64_t first, uint64_t divisor, struct buf *out)
{
    uint32_t n = residual_count(plan.transform, count);
    size_t start = out->len;
    make_residuals(scratch->reduced, count, &plan, scratch->residuals);
    if (plan.coder == CODEC_SPLIT) {
        write_head(&plan, first, divisor, out);
        if (codec_split_encode(scratch, scratch->residuals, n, plan.shift, out) &&
            (out->len - start) * 8 < plan.pack_cost)
            return;
        out->len = start;
        plan.coder = CODEC_PACK;
        make_residuals(scratch->reduced, count, &plan, scratch->residuals);
    }
    if (plan.coder == CODEC_RANS || (plan.coder == CODEC_PACK && plan.wants_rans)) {
        struct codec_rans_plan rans = codec_rans_choose(scratch, scratch->residuals, n);
        if (rans.cost != CODEC_COST_NONE && rans.cost + rans_price(rans.cost, n) < plan.pack_cost) {
            plan.coder = rans.is_wide ? CODEC_RANS_WIDE : CODEC_RANS;
            write_head(&plan, first, divisor, out);
            if (codec_rans_encode(scratch, &rans, scratch->residuals, n, out) &&
                (out->len - start) * 8 < plan.pack_cost)
                return;
            out->len = start;
        }
        plan.coder = CODEC_PACK;
    }
    write_head(&plan, first, divisor, out);
    if (plan.coder == CODEC_LIST)
        codec_list_encode(scratch->residuals, n, out);
    if (plan.coder == CODEC_PACK)
        codec_pack_encode(scratch->residuals, n, plan.is_framed, out);
}

void codec_ints_encode(struct codec_ints_scratch *scratch, const int64_t *integers, uint32_t count,
                       struct buf *out)
{
    uint64_t divisor = common_divisor(integers, count);
    for (uint32_t i = 0; i < count; i++) {
        int64_t distance = (int64_t)((uint64_t)integers[i] - (uint64_t)integers[0]);
        scratch->reduced[i] = divisor == 1 ? distance : distance / (int64_t)divisor;
    }
    write_with(scratch, count, choose(scratch, count), integers[0], divisor, out);
}

/* Residuals, in place, to values: one loop a transform, each with and without zigzag. */
static inline void sum_values(const struct codec_ints *ints, uint64_t *v, uint32_t n,
                              bool is_zigzag)
{
    uint64_t first = ints->first, divisor = ints->divisor, bias = ints->bias;
    if ((divisor & (divisor - 1)) == 0 && divisor) {
        uint32_t shift = (uint32_t)__builtin_ctzll(divisor);
        codec_kernels()->offset(v, n, is_zigzag, first, bias, shift);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        v[i] = first + divisor * (w + bias);
    }
}

static inline void sum_deltas(struct codec_ints *ints, uint64_t *v, uint32_t n, bool is_zigzag)
{
    uint64_t last = ints->last, divisor = ints->divisor, step = divisor * ints->bias;
    if ((divisor & (divisor - 1)) == 0 && divisor) {
        uint32_t shift = (uint32_t)__builtin_ctzll(divisor);
        codec_kernels()->sum(v, n, is_zigzag, last, ints->bias, shift);
        ints->last = v[n - 1];
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        last += divisor * w + step;
        v[i] = last;
    }
    ints->last = last;
}

static inline void sum_delta_deltas(struct codec_ints *ints, uint64_t *v, uint32_t n,
                                    bool is_zigzag)
{
    uint64_t last = ints->last, divisor = ints->divisor, step = ints->step;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        step += divisor * w;
        last += step;
        v[i] = last;
    }
    ints->last = last;
    ints->step = step;
}

static void hold_values(struct codec_ints *ints, uint64_t *v, uint32_t n)
{
    uint64_t last = ints->last, first = ints->first, divisor = ints->divisor, bias = ints->bias;
    bool is_zigzag = ints->is_zigzag;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = v[i] - 1, w = is_zigzag ? (uint64_t)zigzag_decode(r) : r;
        uint64_t next = first + divisor * (w + bias), takes = 0 - (uint64_t)(v[i] != 0);
        last = (next & takes) | (last & ~takes); /* Without a branch: nothing foretells it. */
        v[i] = last;
    }
    ints->last = last;
}

static void sum_line(const struct codec_ints *ints, uint64_t *v, uint32_t n, uint32_t from)
{
    uint64_t first = ints->first, divisor = ints->divisor;
    int64_t slope = ints->slope, offset = ints->offset;
    bool is_zigzag = ints->is_zigzag;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        v[i] = first + divisor * (w + line_at(from + i, slope, offset));
    }
}

static void sum_piece(struct codec_ints *ints, uint64_t *v, uint32_t n, uint32_t from)
{
    bool is_zigzag = ints->is_zigzag;
    switch ((enum transform)ints->transform) {
    case VALUE:
        sum_values(ints, v, n, is_zigzag);
        return;
    case DELTA:
        sum_deltas(ints, v, n, is_zigzag);
        return;
    case DELTA_DELTA:
        if (is_zigzag)
            sum_delta_deltas(ints, v, n, true);
        else
            sum_delta_deltas(ints, v, n, false);
        return;
    case HOLD:
        hold_values(ints, v, n);
        return;
    case LINE:
        sum_line(ints, v, n, from);
        return;
    }
}

void codec_ints_next(struct codec_ints *ints, int64_t *integers, uint32_t from, uint32_t to)
{
    if (ints->is_still) {
        for (uint32_t i = from; i < to; i++)
            integers[i] = (int64_t)ints->first;
        return;
    }
    if (from == 0 && ints->skip > 0)
        integers[from++] = (int64_t)ints->first;
    if (from < to)
        sum_piece(ints, (uint64_t *)integers + from, to - from, from);
}

static bool read_residuals(struct reader *in, enum codec_coder coder, uint32_t n, uint64_t *out)
{
    switch (coder) {
    case CODEC_ZERO:
        memset(out, 0, n * sizeof(*out));
        return true;
    case CODEC_LIST:
        return codec_list_decode(in, n, out);
    case CODEC_PACK:
        return codec_pack_decode(in, n, out);
    case CODEC_RANS:
    case CODEC_RANS_WIDE:
        return codec_rans_decode(in, coder == CODEC_RANS_WIDE, n, out);
    case CODEC_SPLIT:
        return codec_split_decode(in, n, out);
    case CODEC_RICE:
        return codec_rice_decode(in, n, out);
    case CODEC_MASK:
        return codec_mask_decode(in, n, out);
    }
    return false;
}

static bool read_head(struct reader *in, struct codec_ints *ints, enum codec_coder *coder)
{
    uint32_t bits = read_u8(in), transform = bits & 3;
    *coder = (enum codec_coder)(bits >> CODER_SHIFT);
    if (transform == EXTENDED)
        transform += read_u8(in);
    if (in->bad || transform > LINE || bits >> CODER_SHIFT > CODEC_MASK)
        return false;
    *ints = (struct codec_ints){.transform = transform,
                                .is_zigzag = bits & ZIGZAG,
                                .first = (uint64_t)read_zigzag(in),
                                .divisor = 1};
    if (bits & DIVISOR)
        ints->divisor = read_varint(in);
    if (bits & BIAS)
        ints->bias = (uint64_t)read_zigzag(in);
    if (transform == LINE) {
        ints->slope = read_zigzag(in);
        ints->offset = read_zigzag(in);
    }
    ints->last = ints->first;
    ints->step = ints->divisor * ints->bias;
    return !in->bad;
}

bool codec_ints_begin(struct codec_ints *ints, struct reader *in, uint32_t count, int64_t *integers)
{
    enum codec_coder coder;
    if (!read_head(in, ints, &coder))
        return false;
    uint32_t n = residual_count((enum transform)ints->transform, count);
    ints->skip = count - n;
    if (coder == CODEC_ZERO && ints->transform == DELTA && ints->bias == 0) {
        ints->is_still = true;
        return true;
    }
    return n == 0 || read_residuals(in, coder, n, (uint64_t *)integers + ints->skip);
}

bool codec_ints_decode(struct reader *in, uint32_t count, int64_t *integers)
{
    struct codec_ints ints;
    if (!codec_ints_begin(&ints, in, count, integers))
        return false;
    codec_ints_next(&ints, integers, 0, count);
    return true;
}
