/* codec_rans: residuals by the entropy of their lengths.
 *
 *     u8 sub bits | table bits << 4      first class: u8, or varint when wide      u8 classes - 1
 *     frequencies                        a field of 4 bits, its length, then up to 3 bits below the top one; the first
 *                                        of the greatest takes what is left to 1 << table bits
 *     varint word count                  lanes' states, u32 each   words, u16 each   raw bits
 *
 * A residual below 2^(sub+1) is its own class; above, the class is its length with the `sub` bits after the top one, and
 * the bits below those follow raw. Classes are coded by range ANS: residual i by lane i % lanes, a lane takes a word when
 * its state falls below 2^16. Each lane ends at 2^16 + 16 bits of the raw ones: those at the end of all raw bits, which
 * are therefore cut by 2 bytes a lane, or by all of them. So the states cost nothing where there are raw bits.
 *
 * Why sixteen lanes: two vectors, because one alone waits for its own chain from state to state most of the time; eight
 * lanes for the short ones without raw bits, where sixteen more bytes are too many. Why words of 16 bits: at most one a
 * step. Source: asymmetric numeral systems (Duda, 2013), interleaved (Giesen, 2014). */
#include "codec_private.h"

#include <math.h>

#define CLASSES_MAX 256
#define MANTISSA    3  /* Bits of a frequency below its top one. */
#define LANE_BITS   16 /* Raw bits that a lane's state holds. */
#define LANES       8
#define LANES_WIDE  CODEC_RANS_LANES
#define WIDE_BYTES  128 /* From here on the states of eight more lanes are not dear. */
#define WORDS_BLOCK (CODEC_BLOCK * 2 + 32) /* Bytes that a block may look at. */
#define RAW_BLOCK   (CODEC_BLOCK * 8 + 16)
#define SPLIT_PRICE                                                                                \
    256              /* Classes that save one part of so many are not worth their reader's time. */
#define RAW_PRICE 64 /* Nor are raw bits that save a bit for so many values. */

static inline uint32_t class_of(uint64_t residual, uint32_t sub_bits)
{
    uint32_t length = codec_length(residual);
    if (length <= sub_bits + 1)
        return (uint32_t)residual;
    uint32_t raw = length - 1 - sub_bits;
    return (raw << sub_bits) + (uint32_t)(residual >> raw);
}

static inline uint32_t class_raw_bits(uint32_t class, uint32_t sub_bits)
{
    uint32_t group = class >> sub_bits;
    uint32_t raw = group <= 1 ? 0 : group - 1;
    return raw < 63 ? raw : 63; /* More only of a class that no encoder writes. */
}

static inline uint64_t class_base(uint32_t class, uint32_t sub_bits)
{
    uint32_t raw = class_raw_bits(class, sub_bits);
    uint64_t top = raw ? (class & ((1u << sub_bits) - 1)) + (1u << sub_bits) : class;
    return top << raw;
}

/* Bits of all, with the lengths of the residuals as classes. */
uint64_t codec_rans_cost(const uint64_t *residuals, uint32_t count)
{
    uint32_t lengths[65] = {0};
    double bits = 8.0 * (4 * LANES + 5);
    for (uint32_t i = 0; i < count; i++)
        lengths[codec_length(residuals[i])]++;
    for (uint32_t length = 0; length <= 64; length++) {
        if (!lengths[length])
            continue;
        if (lengths[length] == count)
            return CODEC_COST_NONE; /* Of one length: blocks are as short. */
        double n = lengths[length];
        bits += n * (log2((double)count / n) + (length > 1 ? length - 1 : 0)) + 8;
    }
    return (uint64_t)bits;
}

static uint64_t least_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint32_t table_bits_of(uint32_t count)
{
    return count >= 1024 ? 11 : 10;
}

/* Cost in bits with so many sub bits. What a class takes from the others when it is too rare for the table counts as
 * well. */
static struct codec_rans_plan split_plan(const uint32_t *histogram, uint32_t count,
                                         uint32_t sub_bits)
{
    struct codec_rans_plan plan = {.sub_bits = sub_bits, .cost = CODEC_COST_NONE};
    double bits = (double)count * log2((double)count), taken = 0;
    double least = (double)count / (1u << table_bits_of(count));
    uint64_t raw_bits = 0;
    uint32_t used = 0;
    while (plan.first < CODEC_CLASSES_ALL - 1 && !histogram[plan.first])
        plan.first++;
    for (uint32_t class = plan.first; class < CODEC_CLASSES_ALL; class ++) {
        if (!histogram[class])
            continue;
        double n = histogram[class];
        bits -= n * log2(n);
        taken += n < least ? least - n : 0;
        raw_bits += histogram[class] * (uint64_t)class_raw_bits(class, sub_bits);
        plan.last = class;
        used++;
    }
    uint32_t span = plan.last - plan.first + 1;
    if (span > CLASSES_MAX || used < 2)
        return plan;
    bits += 1.5 * taken + (double)raw_bits + 3 * used + 4 * span + 8 * 6;
    plan.is_wide =
        plan.last >= CLASSES_MAX || raw_bits >= LANES_WIDE * LANE_BITS || bits >= WIDE_BYTES * 8;
    uint32_t lane_bytes = 4 * (plan.is_wide ? LANES_WIDE : LANES);
    uint64_t held = least_u64(raw_bits, (uint64_t)lane_bytes * 4); /* Half of each state. */
    plan.cost = (uint64_t)bits + lane_bytes * 8 - held;
    if (raw_bits > 0)
        plan.cost += least_u64(plan.cost, count) / RAW_PRICE;
    return plan;
}

/* Classes of one sub bit less: those above 2^(sub bits + 1) become one of two. */
static void histogram_merge(uint32_t *histogram, uint32_t sub_bits)
{
    uint32_t own = 2u << sub_bits;
    for (uint32_t class = own; class < CODEC_CLASSES_ALL; class ++) {
        uint32_t n = histogram[class], to = (class >> 1) + (1u << sub_bits);
        histogram[class] = 0;
        histogram[to] += n;
    }
}

struct codec_rans_plan codec_rans_choose(struct codec_ints_scratch *scratch,
                                         const uint64_t *residuals, uint32_t count)
{
    uint32_t *histogram = scratch->histogram;
    struct codec_rans_plan best = {.cost = CODEC_COST_NONE};
    memset(histogram, 0, sizeof(scratch->histogram));
    for (uint32_t i = 0; i < count; i++)
        histogram[class_of(residuals[i], CODEC_SUB_BITS_MAX)]++;
    for (uint32_t sub_bits = CODEC_SUB_BITS_MAX;; sub_bits--) {
        struct codec_rans_plan plan = split_plan(histogram, count, sub_bits);
        if (plan.cost != CODEC_COST_NONE && plan.cost + plan.cost / SPLIT_PRICE < best.cost)
            best = plan;
        if (sub_bits == 0)
            return best;
        histogram_merge(histogram, sub_bits - 1);
    }
}

/* Scales counts to a sum of 1 << table_bits, none of the used ones to 0. False when that cannot be. */
static bool frequencies_scale(const uint32_t *histogram, uint32_t count, uint32_t table_bits,
                              uint32_t *frequencies)
{
    uint32_t total = UINT32_C(1) << table_bits, sum = 0, used = 0;
    for (uint32_t i = 0; i < CLASSES_MAX; i++) {
        uint64_t scaled = ((uint64_t)histogram[i] * total + count / 2) / count;
        frequencies[i] = histogram[i] && !scaled ? 1 : (uint32_t)scaled;
        sum += frequencies[i];
        used += histogram[i] != 0;
    }
    if (used < 2 || used > total / 2)
        return false;
    while (sum != total) {
        uint32_t largest = 0;
        for (uint32_t i = 1; i < CLASSES_MAX; i++)
            largest = frequencies[i] > frequencies[largest] ? i : largest;
        /* Spread an excess over the large ones, so that none of them is hurt alone. */
        uint32_t step = frequencies[largest] / 8 + 1;
        if (sum > total) {
            step = step < sum - total ? step : sum - total;
            frequencies[largest] -= step;
            sum -= step;
        } else {
            frequencies[largest] += total - sum;
            sum = total;
        }
    }
    for (uint32_t i = 0; i < CLASSES_MAX; i++) {
        if (frequencies[i] == total || (histogram[i] && !frequencies[i]))
            return false;
    }
    return true;
}

/* The nearest frequency that can be written. */
static uint32_t frequency_cut(uint32_t frequency)
{
    uint32_t length = codec_length(frequency);
    if (length <= MANTISSA + 1)
        return frequency;
    uint32_t dropped = length - 1 - MANTISSA;
    uint32_t cut = (frequency + (1u << dropped >> 1)) >> dropped << dropped;
    return codec_length(cut) == length ? cut : frequency >> dropped << dropped;
}

/* Gives what is missing to the first of the greatest; false when there is too much for that. */
static bool frequencies_settle(uint32_t *frequencies, uint32_t table_bits)
{
    uint32_t sum = 0, greatest = 0, total = UINT32_C(1) << table_bits;
    for (uint32_t i = 0; i < CLASSES_MAX; i++) {
        sum += frequencies[i];
        greatest = frequencies[i] > frequencies[greatest] ? i : greatest;
    }
    if (sum - frequencies[greatest] >= total)
        return false;
    frequencies[greatest] += total - sum;
    return frequencies[greatest] < total;
}

static void write_frequencies(const uint32_t *frequencies, uint32_t classes, struct buf *out)
{
    struct codec_bits bits = {.out = out};
    for (uint32_t i = 0; i < classes; i++) {
        uint32_t length = codec_length(frequencies[i]);
        uint32_t mantissa = length > MANTISSA ? MANTISSA : length - (length > 0);
        codec_bits_put(&bits, length, 4);
        codec_bits_put(&bits, length ? frequencies[i] >> (length - 1 - mantissa) : 0, mantissa);
    }
    codec_bits_flush(&bits);
}

/* Classes backwards into words (the last one written is the first to be read). Returns the words' start. */
static uint32_t encode_words(const uint8_t *classes, uint32_t count, const uint32_t *frequencies,
                             uint32_t table_bits, uint32_t lanes, uint32_t *states, uint16_t *words)
{
    uint32_t below[CLASSES_MAX], sum = 0, at = CODEC_VALUES_MAX;
    for (uint32_t i = 0; i < CLASSES_MAX; i++) {
        below[i] = sum;
        sum += frequencies[i];
    }
    for (uint32_t i = count; i-- > 0;) {
        uint32_t frequency = frequencies[classes[i]], state = states[i & (lanes - 1)];
        if (state >= (uint64_t)frequency << (32 - table_bits)) {
            words[--at] = (uint16_t)state;
            state >>= 16;
        }
        states[i & (lanes - 1)] =
            (state / frequency << table_bits) + state % frequency + below[classes[i]];
    }
    return at;
}

/* All raw bits to *raw; the last ones, 16 a lane at most, go to the states instead. */
static void split_raw(const uint64_t *residuals, const uint8_t *classes, uint32_t count,
                      const struct codec_rans_plan *plan, struct buf *raw, uint32_t lanes,
                      uint32_t *states)
{
    struct codec_bits bits = {.out = raw};
    uint8_t tail[CODEC_RANS_LANES * 2] = {0}, widths[CLASSES_MAX];
    for (uint32_t i = 0; i <= plan->last - plan->first; i++)
        widths[i] = (uint8_t)class_raw_bits(plan->first + i, plan->sub_bits);
    for (uint32_t i = 0; i < count; i++)
        codec_bits_put(&bits, residuals[i], widths[classes[i]]);
    codec_bits_flush(&bits);
    size_t cut = raw->len < 2 * lanes ? raw->len : 2 * lanes;
    if (cut > 0)
        memcpy(tail, raw->ptr + raw->len - cut, cut);
    raw->len -= cut;
    for (uint32_t lane = 0; lane < lanes; lane++)
        states[lane] =
            CODEC_RANS_LOW | (uint32_t)tail[2 * lane] | (uint32_t)tail[2 * lane + 1] << 8;
}

/* Frequencies as they are to be written, and as a reader will have them. */
static bool make_frequencies(const uint8_t *classes, uint32_t count, uint32_t table_bits,
                             uint32_t written[CLASSES_MAX], uint32_t frequencies[CLASSES_MAX])
{
    uint32_t histogram[CLASSES_MAX] = {0};
    for (uint32_t i = 0; i < count; i++)
        histogram[classes[i]]++;
    if (!frequencies_scale(histogram, count, table_bits, frequencies))
        return false;
    for (uint32_t i = 0; i < CLASSES_MAX; i++)
        written[i] = frequencies[i] = frequency_cut(frequencies[i]);
    return frequencies_settle(frequencies, table_bits);
}

bool codec_rans_encode(struct codec_ints_scratch *scratch, const struct codec_rans_plan *plan,
                       const uint64_t *residuals, uint32_t count, struct buf *out)
{
    uint32_t written[CLASSES_MAX], frequencies[CLASSES_MAX], states[CODEC_RANS_LANES];
    uint32_t table_bits = table_bits_of(count), lanes = plan->is_wide ? LANES_WIDE : LANES;
    ENSURE(plan->cost != CODEC_COST_NONE);
    for (uint32_t i = 0; i < count; i++)
        scratch->classes[i] = (uint8_t)(class_of(residuals[i], plan->sub_bits) - plan->first);
    if (!make_frequencies(scratch->classes, count, table_bits, written, frequencies))
        return false;
    struct buf raw;
    buf_init(&raw, CODEC_VALUES_MAX * sizeof(uint64_t) + 16);
    split_raw(residuals, scratch->classes, count, plan, &raw, lanes, states);
    uint32_t first = encode_words(scratch->classes, count, frequencies, table_bits, lanes, states,
                                  scratch->words);

    write_u8(out, (uint8_t)(plan->sub_bits | table_bits << 4));
    if (plan->is_wide)
        write_varint(out, plan->first);
    else
        write_u8(out, (uint8_t)plan->first);
    write_u8(out, (uint8_t)(plan->last - plan->first));
    write_frequencies(written, plan->last - plan->first + 1, out);
    write_varint(out, CODEC_VALUES_MAX - first);
    for (uint32_t lane = 0; lane < lanes; lane++)
        write_u32(out, states[lane]);
    for (uint32_t i = first; i < CODEC_VALUES_MAX; i++)
        write_u16(out, scratch->words[i]);
    buf_add_str(out, buf_str(&raw));
    buf_deinit(&raw);
    return true;
}

/* Frequencies of `classes` classes. */
static bool read_frequencies(struct reader *in, uint32_t table_bits, uint32_t classes,
                             uint32_t frequencies[CLASSES_MAX])
{
    uint8_t padded[CLASSES_MAX + 16] = {0}; /* 4 + 3 bits each. */
    size_t left = reader_left(in), bit = 0;
    memcpy(padded, in->at, left < CLASSES_MAX ? left : CLASSES_MAX);
    for (uint32_t class = 0; class < classes; class ++) {
        uint32_t length = (uint32_t)codec_bits_get(padded, bit, 4);
        uint32_t mantissa = length > MANTISSA ? MANTISSA : length - (length > 0);
        uint32_t below = (uint32_t)codec_bits_get(padded, bit + 4, mantissa);
        bit += 4 + mantissa;
        if (length > table_bits)
            return false;
        if (length)
            frequencies[class] = (1u << mantissa | below) << (length - 1 - mantissa);
    }
    if ((bit + 7) / 8 > left)
        return false;
    in->at += (bit + 7) / 8;
    return frequencies_settle(frequencies, table_bits);
}

static void make_tables(struct codec_rans *rans, const uint32_t *frequencies, uint32_t first,
                        uint32_t classes, uint32_t sub_bits)
{
    uint32_t at = 0, own = 2u << sub_bits;
    rans->own_first = first;
    rans->own_count = first < own ? own - first : 0;
    for (uint32_t class = 0; class < classes; class ++) {
        uint32_t raw_bits = class_raw_bits(first + class, sub_bits);
        uint32_t entry = class | frequencies[class] << 8;
        for (uint32_t place = 0; place < frequencies[class]; place += CODEC_TABLE_SLACK) {
            for (uint32_t i = 0; i < CODEC_TABLE_SLACK; i++)
                rans->table[at + place + i] = entry + ((place + i) << 20);
        }
        at += frequencies[class];
        rans->classes[class] = (struct codec_class){class_base(first + class, sub_bits),
                                                    codec_mask(raw_bits), raw_bits};
    }
}

/* How far the raw bits were read before each block. */
struct raw_places {
    size_t bits[CODEC_VALUES_MAX / CODEC_BLOCK + 1];
};

/* Adds the raw bits that the states held: those of the last residuals, which were read as zeroes. */
static bool restore_tail(const struct codec_rans *rans, uint32_t count, uint32_t sub_bits,
                         const struct raw_places *places, size_t raw_end, uint64_t *residuals)
{
    size_t raw_bits = places->bits[(count + CODEC_BLOCK - 1) / CODEC_BLOCK];
    uint8_t tail[CODEC_RANS_LANES * 2 + 16] = {0};
    size_t held = rans->lanes * LANE_BITS;
    for (uint32_t lane = 0; lane < rans->lanes; lane++) {
        if (rans->states[lane] >> 16 != 1)
            return false;
        tail[2 * lane] = (uint8_t)rans->states[lane];
        tail[2 * lane + 1] = (uint8_t)(rans->states[lane] >> 8);
    }
    if (raw_bits > raw_end + held || (raw_end > 0 && raw_bits + 7 < raw_end + held))
        return false;
    for (uint32_t i = count; i-- > 0 && raw_bits > raw_end;) {
        if (raw_bits == places->bits[i / CODEC_BLOCK]) {
            i -= i % CODEC_BLOCK; /* The rest of the block has none. */
            continue;
        }
        if (residuals[i] >> sub_bits < 2)
            continue;
        uint32_t width = class_raw_bits(class_of(residuals[i], sub_bits), sub_bits);
        if (width > raw_bits)
            return false;
        size_t begin = raw_bits - width;
        size_t from = begin > raw_end ? begin : raw_end;
        uint64_t bits = codec_bits_get(tail, from - raw_end, (uint32_t)(raw_bits - from));
        residuals[i] |= from < raw_bits ? bits << (from - begin) : 0;
        raw_bits = begin;
    }
    return true;
}

/* Whole blocks by the kernel, near the end of the bytes from padded copies, and the rest one by one. */
static bool read_residuals(struct codec_rans *rans, const uint8_t *words_end, const uint8_t *end,
                           uint32_t count, uint64_t *residuals, struct raw_places *places)
{
    uint8_t words_copy[2 * WORDS_BLOCK], raw_copy[2 * RAW_BLOCK];
    const uint8_t *raw_end = end;
    size_t raw_before = 0;
    bool words_copied = false, raw_copied = false;
    const struct codec_kernels *kernels = codec_kernels();
    for (uint32_t i = 0; i < count; i += CODEC_BLOCK) {
        size_t raw_at = rans->raw_bit / 8;
        places->bits[i / CODEC_BLOCK] = raw_before + rans->raw_bit;
        if (!words_copied && words_end - rans->words < WORDS_BLOCK) {
            size_t left = (size_t)(words_end - rans->words);
            memset(words_copy, 0, sizeof(words_copy));
            memcpy(words_copy, rans->words, left);
            rans->words = words_copy;
            words_end = words_copy + left;
            words_copied = true;
        }
        if (!raw_copied && (size_t)(raw_end - rans->raw) < raw_at + RAW_BLOCK) {
            size_t left = (size_t)(raw_end - rans->raw) - raw_at;
            memset(raw_copy, 0, sizeof(raw_copy));
            memcpy(raw_copy, rans->raw + raw_at, left);
            rans->raw = raw_copy;
            raw_end = raw_copy + left;
            raw_before = raw_at * 8;
            rans->raw_bit &= 7;
            raw_copied = true;
        }
        if (count - i >= CODEC_BLOCK)
            kernels->rans(rans, residuals + i);
        for (uint32_t k = i; count - i < CODEC_BLOCK && k < count; k++)
            residuals[k] = codec_rans_next(rans, k);
        /* Past the end only by what the states hold. */
        if (rans->words > words_end ||
            rans->raw_bit > (size_t)(raw_end - rans->raw) * 8 + rans->lanes * LANE_BITS)
            return false;
    }
    places->bits[(count + CODEC_BLOCK - 1) / CODEC_BLOCK] = raw_before + rans->raw_bit;
    return rans->words == words_end;
}

bool codec_rans_decode(struct reader *in, bool is_wide, uint32_t count, uint64_t *residuals)
{
    struct codec_rans rans;
    uint32_t frequencies[CLASSES_MAX] = {0};
    uint32_t head = read_u8(in), sub_bits = head & 15;
    uint64_t first = is_wide ? read_varint(in) : read_u8(in);
    uint32_t classes = read_u8(in) + 1u;
    rans.table_bits = head >> 4;
    rans.lanes = is_wide ? LANES_WIDE : LANES;
    if (in->bad || sub_bits > CODEC_SUB_BITS_MAX || rans.table_bits < 1 ||
        rans.table_bits > CODEC_RANS_BITS || first > class_of(UINT64_MAX, sub_bits) ||
        first + classes - 1 > class_of(UINT64_MAX, sub_bits) ||
        !read_frequencies(in, rans.table_bits, classes, frequencies))
        return false;
    make_tables(&rans, frequencies, (uint32_t)first, classes, sub_bits);
    uint64_t word_count = read_varint(in);
    for (uint32_t lane = 0; lane < rans.lanes; lane++)
        rans.states[lane] = read_u32(in);
    if (in->bad || word_count > reader_left(in) / 2)
        return false;
    rans.words = in->at;
    rans.raw = in->at + 2 * word_count;
    rans.raw_bit = 0;
    struct raw_places places;
    size_t raw_end = (size_t)(in->end - rans.raw) * 8;
    if (!read_residuals(&rans, rans.raw, in->end, count, residuals, &places))
        return false;
    in->at = in->end;
    return restore_tail(&rans, count, sub_bits, &places, raw_end, residuals);
}
