/* codec_ints: a column of integers as residuals.
 *
 *     u8       transform | 0x04 zigzag | 0x08 divisor | 0x10 bias | coder << 5
 *     zigzag first   [varint divisor]   [zigzag bias]   residuals as the coder writes them
 *
 * With w[i] = (v[i] - first) / divisor, all modulo 2^64, and f(r) = the zigzag's or the plain meaning of a residual:
 *
 *     value        w[i] = f(r[i]) + bias              count residuals
 *     delta        w[i] = w[i-1] + f(r[i]) + bias     count - 1
 *     delta delta  d[i] = d[i-1] + f(r[i]), d[0] = bias, w[i] = w[i-1] + d[i]     count - 1
 *
 * Every transform that may fit is tried on all residuals by an estimate of what each coder would need; only the best
 * pair writes. */
#include "codec_private.h"

#include <stdlib.h>

#define ZIGZAG       0x04
#define DIVISOR      0x08
#define BIAS         0x10
#define CODER_SHIFT  5
#define SAMPLE_COUNT 255 /* Of the median. */
/* Ranged ANS decodes at half the speed: it must be shorter by one part of so many. */
#define RANS_PRICE 32

/* So few bits that nothing else is tried. */
#define COST_SMALL 320

enum transform { VALUE, DELTA, DELTA_DELTA };

struct plan {
    enum transform transform;
    bool is_zigzag, is_framed;
    enum codec_coder coder;
    int64_t bias;
    uint64_t cost;
    uint64_t pack_cost; /* The same by blocks. */
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
    return transform == VALUE ? count : count - 1;
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

static int64_t least_value(const int64_t *reduced, uint32_t count)
{
    int64_t least = reduced[0];
    for (uint32_t i = 1; i < count; i++)
        least = reduced[i] < least ? reduced[i] : least;
    return least;
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
    if (rans != CODEC_COST_NONE && rans + rans / RANS_PRICE < plan.cost) {
        plan.coder = CODEC_RANS;
        plan.cost = rans + rans / RANS_PRICE;
    }
    if (plan.bias)
        plan.cost += 8 + codec_length(zigzag_encode(plan.bias));
    if (plan.cost < best->cost)
        *best = plan;
}

/* A counter: it falls once for 64 times that it rises at most. */
static bool is_rising(const int64_t *reduced, uint32_t count)
{
    uint32_t rises = 0, falls = 0;
    for (uint32_t i = 1; i < count; i++) {
        rises += reduced[i] > reduced[i - 1];
        falls += reduced[i] < reduced[i - 1];
    }
    return falls <= rises / 64;
}

static struct plan choose(struct codec_ints_scratch *scratch, uint32_t count)
{
    const int64_t *reduced = scratch->reduced;
    struct plan best = {.cost = CODEC_COST_NONE};
    bool rising = is_rising(reduced, count);
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
    /* A counter's values span more than its steps; only a short one may gain. */
    if (rising && count > CODEC_BLOCK)
        return best;
    weigh(scratch, count, (struct plan){.transform = VALUE, .bias = least_value(reduced, count)},
          &best);
    int64_t middle = median(reduced, count, false);
    weigh(scratch, count, (struct plan){.transform = VALUE, .is_zigzag = true, .bias = middle},
          &best);
    return best;
}

static void write_with(struct codec_ints_scratch *scratch, uint32_t count, struct plan plan,
                       int64_t first, uint64_t divisor, struct buf *out)
{
    uint32_t n = residual_count(plan.transform, count);
    size_t start = out->len;
    write_u8(out, (uint8_t)(plan.transform | (plan.is_zigzag ? ZIGZAG : 0) |
                            (divisor != 1 ? DIVISOR : 0) | (plan.bias ? BIAS : 0) |
                            plan.coder << CODER_SHIFT));
    write_zigzag(out, first);
    if (divisor != 1)
        write_varint(out, divisor);
    if (plan.bias)
        write_zigzag(out, plan.bias);
    make_residuals(scratch->reduced, count, &plan, scratch->residuals);
    switch (plan.coder) {
    case CODEC_ZERO:
        return;
    case CODEC_LIST:
        codec_list_encode(scratch->residuals, n, out);
        return;
    case CODEC_PACK:
        codec_pack_encode(scratch->residuals, n, plan.is_framed, out);
        return;
    case CODEC_RANS:
        if (codec_rans_encode(scratch, scratch->residuals, n, out) &&
            (out->len - start) * 8 < plan.pack_cost)
            return;
        out->len = start;
        plan.coder = CODEC_PACK;
        write_with(scratch, count, plan, first, divisor, out);
        return;
    }
    UNREACHABLE();
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
static inline void sum_values(uint64_t *v, uint32_t n, bool is_zigzag, uint64_t first,
                              uint64_t divisor, uint64_t bias)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        v[i] = first + divisor * (w + bias);
    }
}

static inline void sum_deltas(uint64_t *v, uint32_t n, bool is_zigzag, uint64_t first,
                              uint64_t divisor, uint64_t bias)
{
    if ((divisor & (divisor - 1)) == 0 && divisor) {
        uint32_t shift = (uint32_t)__builtin_ctzll(divisor);
        codec_kernels()->sum(v, n, is_zigzag, first, bias, shift);
        return;
    }
    uint64_t step = divisor * bias;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        first += divisor * w + step;
        v[i] = first;
    }
}

static inline void sum_delta_deltas(uint64_t *v, uint32_t n, bool is_zigzag, uint64_t first,
                                    uint64_t divisor, uint64_t bias)
{
    uint64_t step = divisor * bias;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        step += divisor * w;
        first += step;
        v[i] = first;
    }
}

static void sum_all(uint64_t *v, uint32_t n, uint32_t head, uint64_t first, uint64_t divisor,
                    uint64_t bias)
{
    switch (head & (ZIGZAG | 3)) {
    case VALUE:
        sum_values(v, n, false, first, divisor, bias);
        break;
    case VALUE | ZIGZAG:
        sum_values(v, n, true, first, divisor, bias);
        break;
    case DELTA:
        sum_deltas(v, n, false, first, divisor, bias);
        break;
    case DELTA | ZIGZAG:
        sum_deltas(v, n, true, first, divisor, bias);
        break;
    case DELTA_DELTA:
        sum_delta_deltas(v, n, false, first, divisor, bias);
        break;
    default:
        sum_delta_deltas(v, n, true, first, divisor, bias);
        break;
    }
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
        return codec_rans_decode(in, n, out);
    }
    return false;
}

bool codec_ints_decode(struct reader *in, uint32_t count, int64_t *integers)
{
    uint32_t head = read_u8(in), coder = head >> CODER_SHIFT;
    uint64_t first = (uint64_t)read_zigzag(in), divisor = 1, bias = 0;
    if (head & DIVISOR)
        divisor = read_varint(in);
    if (head & BIAS)
        bias = (uint64_t)read_zigzag(in);
    if (in->bad || (head & 3) > DELTA_DELTA || coder > CODEC_RANS)
        return false;
    uint32_t n = residual_count((enum transform)(head & 3), count);
    uint64_t *residuals = (uint64_t *)integers + (count - n);
    integers[0] = (int64_t)first;
    if (n > 0 && !read_residuals(in, (enum codec_coder)coder, n, residuals))
        return false;
    sum_all(residuals, n, head, first, divisor, bias);
    return true;
}
