/* codec_quick: the codec's bytes at a tenth of its price, for chunks that are written once and read for a day: the runs of a
 * sealed slot.
 *
 * It knows values and deltas, the common divisor, lists and packed blocks; no ranged ANS, whose tables cost a run of 120
 * values more than they gain, and no search for lines and sums. What it writes any reader of the codec reads. */
#include "codec_private.h"

#include "base/mem.h"
#include "model/sample.h"

#define ODD_SHARE  16 /* One value in so many may be none of the exponent. */
#define COST_SMALL 200
#define UNEVEN_PRICE                                                                               \
    32 /* What is not by blocks must be shorter by one part of so many: these are read faster. */
#define FAMILY_FROM  16                 /* Bytes; what is shorter may stand alone. */
#define INTEGER_SURE 4503599627370496.0 /* 2^52 */

struct codec_quick {
    int64_t integers[CODEC_VALUES_MAX];
    int64_t differences[CODEC_VALUES_MAX];
    int64_t reduced[CODEC_VALUES_MAX];
    uint64_t deltas[CODEC_VALUES_MAX];
    uint64_t residuals[CODEC_VALUES_MAX];
    bool is_odd[CODEC_VALUES_MAX];
    struct buf best, trial;
};

struct codec_quick *codec_quick_new(void)
{
    struct codec_quick *quick = mem_alloc(sizeof(*quick));
    buf_init(&quick->best, CODEC_BYTES_MAX);
    buf_init(&quick->trial, CODEC_BYTES_MAX);
    return quick;
}

void codec_quick_free(struct codec_quick *quick)
{
    if (!quick)
        return;
    buf_deinit(&quick->best);
    buf_deinit(&quick->trial);
    mem_free(quick);
}

/* --- integers --- */

struct shape {
    int64_t value_min, value_max; /* Of the reduced ones. */
    int64_t delta_min, delta_max;
    uint64_t bits; /* Of all deltas, or'ed. */
};

struct plan {
    uint32_t transform;
    bool is_zigzag;
    enum codec_coder coder;
    uint32_t k;                 /* Of CODEC_RICE. */
    struct codec_widths widths; /* Of CODEC_MASK. */
    int64_t bias;
    uint64_t cost;
};

static struct shape look_at(struct codec_quick *quick, const int64_t *values, uint32_t count)
{
    struct shape shape = {values[0], values[0], INT64_MAX, INT64_MIN, 0};
    for (uint32_t i = 1; i < count; i++) {
        int64_t value = values[i];
        int64_t delta = (int64_t)((uint64_t)value - (uint64_t)values[i - 1]);
        quick->deltas[i - 1] = (uint64_t)delta;
        shape.bits |= (uint64_t)delta;
        shape.value_min = value < shape.value_min ? value : shape.value_min;
        shape.value_max = value > shape.value_max ? value : shape.value_max;
        shape.delta_min = delta < shape.delta_min ? delta : shape.delta_min;
        shape.delta_max = delta > shape.delta_max ? delta : shape.delta_max;
    }
    return shape;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The power of two is known from the bits; the rest is 1 after a few steps, as a rule. */
static uint64_t common_divisor(const struct codec_quick *quick, uint32_t n, uint64_t bits)
{
    uint64_t divisor = 0;
    uint32_t shift = (uint32_t)__builtin_ctzll(bits);
    for (uint32_t i = 0; i < n && divisor != 1; i++) {
        int64_t delta = (int64_t)quick->deltas[i];
        uint64_t size = (delta < 0 ? 0 - (uint64_t)delta : (uint64_t)delta) >> shift;
        if (size != divisor && size != 0)
            divisor = gcd(size, divisor);
    }
    return divisor << shift;
}

/* Where lengths differ: what has few long ones, or ever fewer the longer they are. */
static void weigh_uneven(const struct codec_quick *quick, uint32_t n, struct plan *plan)
{
    struct codec_widths widths;
    uint32_t k;
    uint64_t rice = codec_rice_cost(quick->residuals, n, &k);
    uint64_t mask = codec_mask_cost(quick->residuals, n, &widths);
    if (rice != CODEC_COST_NONE && rice + rice / UNEVEN_PRICE < plan->cost) {
        plan->coder = CODEC_RICE;
        plan->k = k;
        plan->cost = rice;
    }
    if (mask != CODEC_COST_NONE && mask + mask / UNEVEN_PRICE < plan->cost) {
        plan->coder = CODEC_MASK;
        plan->widths = widths;
        plan->cost = mask;
    }
}

static void weigh(const struct codec_quick *quick, uint32_t n, struct plan plan, struct plan *best)
{
    uint64_t list = codec_list_cost(quick->residuals, n), lengths = 0;
    uint64_t pack = codec_pack_cost(quick->residuals, n, false);
    plan.coder = list == 8 ? CODEC_ZERO : list <= pack ? CODEC_LIST : CODEC_PACK;
    plan.cost = list <= pack ? list : pack;
    for (uint32_t i = 0; i < n; i++)
        lengths += codec_length(quick->residuals[i]);
    if (plan.cost > COST_SMALL && plan.cost > lengths + n + n / 8)
        weigh_uneven(quick, n, &plan);
    if (plan.bias)
        plan.cost += 8 + codec_length(zigzag_encode(plan.bias));
    if (plan.cost < best->cost)
        *best = plan;
}

static void make_residuals(struct codec_quick *quick, uint32_t count, const struct plan *plan)
{
    uint64_t bias = (uint64_t)plan->bias;
    if (plan->transform == CODEC_INTS_VALUE) {
        for (uint32_t i = 0; i < count; i++)
            quick->residuals[i] = (uint64_t)quick->reduced[i] - bias;
    } else if (plan->is_zigzag) {
        for (uint32_t i = 0; i + 1 < count; i++)
            quick->residuals[i] = zigzag_encode((int64_t)quick->deltas[i]);
    } else {
        for (uint32_t i = 0; i + 1 < count; i++)
            quick->residuals[i] = quick->deltas[i] - bias;
    }
}

static void consider(struct codec_quick *quick, uint32_t count, struct plan plan, struct plan *best)
{
    make_residuals(quick, count, &plan);
    weigh(quick, count - (plan.transform == CODEC_INTS_DELTA), plan, best);
}

static struct plan choose(struct codec_quick *quick, uint32_t count, const struct shape *shape)
{
    struct plan best = {.cost = CODEC_COST_NONE};
    uint64_t value_span = (uint64_t)shape->value_max - (uint64_t)shape->value_min;
    uint64_t delta_span = (uint64_t)shape->delta_max - (uint64_t)shape->delta_min;
    if (shape->delta_min >= 0) { /* A counter. */
        consider(quick, count, (struct plan){.transform = CODEC_INTS_DELTA}, &best);
        if (best.cost < COST_SMALL && shape->delta_min == 0)
            return best;
    } else {
        consider(quick, count, (struct plan){.transform = CODEC_INTS_DELTA, .is_zigzag = true},
                 &best);
    }
    if (shape->delta_min > 0 ||
        (shape->delta_min < 0 && (uint64_t)codec_length(delta_span) * count < best.cost))
        consider(quick, count,
                 (struct plan){.transform = CODEC_INTS_DELTA, .bias = shape->delta_min}, &best);
    if ((uint64_t)codec_length(value_span) * count < best.cost + best.cost / 4)
        consider(quick, count,
                 (struct plan){.transform = CODEC_INTS_VALUE, .bias = shape->value_min}, &best);
    return best;
}

static void reduce(struct codec_quick *quick, const int64_t *integers, uint32_t count,
                   uint64_t divisor)
{
    uint64_t first = (uint64_t)integers[0];
    uint32_t shift = (uint32_t)__builtin_ctzll(divisor);
    if (divisor >> shift == 1) {
        for (uint32_t i = 0; i < count; i++)
            quick->reduced[i] = (int64_t)((uint64_t)integers[i] - first) >> shift;
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        quick->reduced[i] = (int64_t)((uint64_t)integers[i] - first) / (int64_t)divisor;
}

void codec_quick_ints(struct codec_quick *quick, const int64_t *integers, uint32_t count,
                      struct buf *out)
{
    struct plan plan = {.transform = CODEC_INTS_DELTA, .coder = CODEC_ZERO};
    struct shape shape = look_at(quick, integers, count);
    uint64_t divisor = 1;
    if (shape.bits != 0) {
        divisor = common_divisor(quick, count - 1, shape.bits);
        reduce(quick, integers, count, divisor);
        shape = look_at(quick, quick->reduced, count);
        plan = choose(quick, count, &shape);
    }
    write_u8(out,
             (uint8_t)(plan.transform | (plan.is_zigzag ? CODEC_INTS_ZIGZAG : 0) |
                       (divisor != 1 ? CODEC_INTS_DIVISOR : 0) | (plan.bias ? CODEC_INTS_BIAS : 0) |
                       plan.coder << CODEC_INTS_CODER_SHIFT));
    write_zigzag(out, integers[0]);
    if (divisor != 1)
        write_varint(out, divisor);
    if (plan.bias)
        write_zigzag(out, plan.bias);
    if (plan.coder == CODEC_ZERO)
        return;
    uint32_t n = count - (plan.transform == CODEC_INTS_DELTA);
    make_residuals(quick, count, &plan);
    if (plan.coder == CODEC_LIST)
        codec_list_encode(quick->residuals, n, out);
    else if (plan.coder == CODEC_RICE)
        codec_rice_encode(quick->residuals, n, plan.k, out);
    else if (plan.coder == CODEC_MASK)
        codec_mask_encode(quick->residuals, n, plan.widths, out);
    else
        codec_pack_encode(quick->residuals, n, false, out);
}

/* --- values --- */

/* The least exponent, from this one on, that the value has; past the last when it has none. */
static uint32_t exponent_of(double value, uint32_t from)
{
    int64_t integer;
    while (from <= CODEC_EXPONENT_MAX && !codec_decimal_of(value, from, &integer))
        from++;
    return from;
}

/* Whole numbers are most of what there is. */
static uint32_t whole_numbers(const double *values, uint32_t count, int64_t *integers)
{
    for (uint32_t i = 0; i < count; i++) {
        double value = values[i];
        if (!(value > -INTEGER_SURE && value < INTEGER_SURE))
            return i;
        int64_t integer = (int64_t)value;
        integers[i] = integer;
        if (sample_bits((double)integer) != sample_bits(value))
            return i;
    }
    return count;
}

/* True when nearly all are decimal at one exponent: *odd_count are not. */
static bool to_integers(struct codec_quick *quick, const double *values, uint32_t count,
                        uint32_t *exponent, uint32_t *odd_count)
{
    uint32_t odd = 0, limit = count / ODD_SHARE + 1;
    uint32_t at = whole_numbers(values, count, quick->integers);
    *exponent = *odd_count = 0;
    if (at == count)
        return true;
    for (; at < count && odd <= limit; at++) {
        int64_t integer;
        if (codec_decimal_of(values[at], *exponent, &integer))
            continue;
        uint32_t need = exponent_of(values[at], *exponent + 1);
        if (need > CODEC_EXPONENT_MAX)
            odd++;
        else
            *exponent = need;
    }
    if (odd > limit)
        return false;
    *odd_count = codec_decimal_convert(values, count, *exponent, quick->integers, quick->is_odd);
    return *odd_count <= limit && *odd_count < count;
}

static void write_mode(struct codec_quick *quick, enum codec_mode mode, const double *values,
                       uint32_t count, uint32_t exponent, uint32_t odd_count, struct buf *out)
{
    buf_clear(out);
    write_u8(out, (uint8_t)((mode + (odd_count > 0)) | exponent << 4));
    if (odd_count > 0)
        codec_write_odd(quick->is_odd, values, count, out);
}

/* How far a column goes up and down in all: what a difference has to be below. */
static uint64_t way(const int64_t *values, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 1; i < count; i++) {
        int64_t delta = (int64_t)((uint64_t)values[i] - (uint64_t)values[i - 1]);
        sum += (delta < 0 ? 0 - (uint64_t)delta : (uint64_t)delta) & (UINT64_MAX >> 16);
    }
    return sum;
}

/* A cumulative bucket is above the one before it and grows by no less. */
static bool is_next_of_family(const int64_t *values, const int64_t *before, uint32_t count)
{
    int64_t first = values[0], last = values[count - 1];
    return first >= before[0] && last >= before[count - 1] && before[count - 1] > before[0] &&
           (uint64_t)last - (uint64_t)first >= (uint64_t)before[count - 1] - (uint64_t)before[0];
}

static void try_family(struct codec_quick *quick, const double *values, uint32_t count,
                       uint32_t exponent, uint32_t odd_count, const struct codec_column *previous)
{
    if (!previous || !previous->has_base || previous->exponent != exponent ||
        previous->count != count || quick->best.len < FAMILY_FROM ||
        !is_next_of_family(quick->integers, previous->integers, count))
        return;
    for (uint32_t i = 0; i < count; i++)
        quick->differences[i] =
            (int64_t)((uint64_t)quick->integers[i] - (uint64_t)previous->integers[i]);
    if (way(quick->differences, count) > way(quick->integers, count))
        return;
    write_mode(quick, CODEC_FAMILY, values, count, exponent, odd_count, &quick->trial);
    codec_quick_ints(quick, quick->differences, count, &quick->trial);
    if (!quick->trial.overflow && quick->trial.len + 1 < quick->best.len)
        buf_swap(&quick->best, &quick->trial);
}

static void write_bits(struct codec_quick *quick, const double *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        quick->integers[i] = codec_bits_order(sample_bits(values[i]));
    buf_clear(&quick->best);
    write_u8(&quick->best, CODEC_BITS);
    codec_quick_ints(quick, quick->integers, count, &quick->best);
}

bool codec_quick_encode(struct codec_quick *quick, const double *values, uint32_t count,
                        const struct codec_column *previous, struct codec_column *column,
                        struct buf *out)
{
    uint32_t exponent, odd_count;
    ENSURE(count >= 1 && count <= CODEC_VALUES_MAX && column != previous);
    buf_clear(&quick->best);
    if (codec_is_constant(values, count)) {
        codec_write_constant(values[0], &quick->best);
    } else if (previous && previous->count == count &&
               memcmp(previous->values, values, count * sizeof(*values)) == 0) {
        write_u8(&quick->best, CODEC_REPEAT);
    } else if (to_integers(quick, values, count, &exponent, &odd_count)) {
        write_mode(quick, CODEC_DECIMAL, values, count, exponent, odd_count, &quick->best);
        codec_quick_ints(quick, quick->integers, count, &quick->best);
        try_family(quick, values, count, exponent, odd_count, previous);
    } else {
        write_bits(quick, values, count);
    }
    if (quick->best.overflow || !codec_decode(buf_str(&quick->best), count, previous, column) ||
        memcmp(values, column->values, count * sizeof(*values)) != 0)
        return false;
    buf_add_str(out, buf_str(&quick->best));
    return true;
}
