/* codec_rans: residuals by the entropy of their lengths.
 *
 *     u8 sub bits | table bits << 4      u8 first class  u8 classes - 1
 *     frequencies                        a field of 4 bits, its length, then up to 3 bits below the top one; the first
 *                                        of the greatest takes what is left to 1 << table bits
 *     varint word count                  lanes' states, u32 each   words, u16 each   raw bits
 *
 * A residual below 2^(sub+1) is its own class; above, the class is its length with the `sub` bits after the top one, and
 * the bits below those follow raw. Classes are coded by range ANS: residual i by lane i % 8, a lane takes a word when its
 * state falls below 2^16. Each lane ends at 2^16 + 16 bits of the raw ones: those at the end of all raw bits, which are
 * therefore cut by 16 bytes, or by all of them. So the states cost nothing.
 *
 * Why eight lanes: one vector's worth. Why words of 16 bits: at most one a step. Source: asymmetric numeral systems
 * (Duda, 2013), interleaved (Giesen, 2014). */
#include "codec_private.h"

#include <math.h>

#define SUB_BITS_MAX 4
#define CLASSES_MAX  256
#define MANTISSA     3 /* Bits of a frequency below its top one. */
#define STATE_BITS   (CODEC_RANS_LANES * 16)
#define WORDS_BLOCK  (CODEC_BLOCK * 2 + 16) /* Bytes that a block may look at. */
#define RAW_BLOCK    (CODEC_BLOCK * 8 + 16)

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
    double bits = 8.0 * (4 * CODEC_RANS_LANES + 5);
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

/* Cost in bits with so many sub bits; infinite when there would be too many classes. */
static double split_cost(const uint64_t *residuals, uint32_t count, uint32_t sub_bits,
                         uint32_t histogram[CLASSES_MAX])
{
    double bits = 0;
    memset(histogram, 0, CLASSES_MAX * sizeof(*histogram));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t class = class_of(residuals[i], sub_bits);
        if (class >= CLASSES_MAX)
            return INFINITY;
        histogram[class]++;
    }
    for (uint32_t class = 0; class < CLASSES_MAX; class ++) {
        if (!histogram[class])
            continue;
        double n = histogram[class];
        bits += n * (log2((double)count / n) + class_raw_bits(class, sub_bits)) + 9;
    }
    return bits;
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

/* The bits of a frequency that are written. */
static uint32_t frequency_cut(uint32_t frequency)
{
    uint32_t length = codec_length(frequency);
    return length <= MANTISSA + 1 ? frequency
                                  : frequency & ~(uint32_t)codec_mask(length - 1 - MANTISSA);
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

static void write_frequencies(const uint32_t *frequencies, struct buf *out)
{
    uint32_t first = 0, last = CLASSES_MAX - 1;
    while (!frequencies[first])
        first++;
    while (!frequencies[last])
        last--;
    write_u8(out, (uint8_t)first);
    write_u8(out, (uint8_t)(last - first));
    struct codec_bits bits = {.out = out};
    for (uint32_t i = first; i <= last; i++) {
        uint32_t length = codec_length(frequencies[i]);
        uint32_t mantissa = length > MANTISSA ? MANTISSA : length - (length > 0);
        codec_bits_put(&bits, length, 4);
        codec_bits_put(&bits, length ? frequencies[i] >> (length - 1 - mantissa) : 0, mantissa);
    }
    codec_bits_flush(&bits);
}

/* Classes backwards into words (the last one written is the first to be read). Returns the words' start. */
static uint32_t encode_words(const uint8_t *classes, uint32_t count, const uint32_t *frequencies,
                             uint32_t table_bits, uint32_t states[CODEC_RANS_LANES],
                             uint16_t *words)
{
    uint32_t below[CLASSES_MAX], sum = 0, at = CODEC_VALUES_MAX;
    for (uint32_t i = 0; i < CLASSES_MAX; i++) {
        below[i] = sum;
        sum += frequencies[i];
    }
    for (uint32_t i = count; i-- > 0;) {
        uint32_t frequency = frequencies[classes[i]], state = states[i % CODEC_RANS_LANES];
        if (state >= (uint64_t)frequency << (32 - table_bits)) {
            words[--at] = (uint16_t)state;
            state >>= 16;
        }
        states[i % CODEC_RANS_LANES] =
            (state / frequency << table_bits) + state % frequency + below[classes[i]];
    }
    return at;
}

/* The split that costs least, counting that the states hold some raw bits for nothing. */
static uint32_t choose_split(const uint64_t *residuals, uint32_t count,
                             uint32_t histogram[CLASSES_MAX])
{
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t sub_bits = 0; sub_bits <= SUB_BITS_MAX; sub_bits++) {
        double cost = split_cost(residuals, count, sub_bits, histogram);
        if (cost < least) {
            least = cost;
            best = sub_bits;
        }
    }
    split_cost(residuals, count, best, histogram);
    return best;
}

/* All raw bits to *raw; the last ones, up to 128, go to the states instead. */
static void split_raw(const uint64_t *residuals, const uint8_t *classes, uint32_t count,
                      uint32_t sub_bits, struct buf *raw, uint32_t states[CODEC_RANS_LANES])
{
    struct codec_bits bits = {.out = raw};
    uint8_t tail[STATE_BITS / 8] = {0};
    for (uint32_t i = 0; i < count; i++)
        codec_bits_put(&bits, residuals[i], class_raw_bits(classes[i], sub_bits));
    codec_bits_flush(&bits);
    size_t cut = raw->len < sizeof(tail) ? raw->len : sizeof(tail);
    if (cut > 0)
        memcpy(tail, raw->ptr + raw->len - cut, cut);
    raw->len -= cut;
    for (uint32_t lane = 0; lane < CODEC_RANS_LANES; lane++)
        states[lane] =
            CODEC_RANS_LOW | (uint32_t)tail[2 * lane] | (uint32_t)tail[2 * lane + 1] << 8;
}

bool codec_rans_encode(struct codec_ints_scratch *scratch, const uint64_t *residuals,
                       uint32_t count, struct buf *out)
{
    uint32_t histogram[CLASSES_MAX], frequencies[CLASSES_MAX], states[CODEC_RANS_LANES];
    uint32_t table_bits = count >= 1024 ? 11 : 10;
    uint32_t sub_bits = choose_split(residuals, count, histogram);
    if (!frequencies_scale(histogram, count, table_bits, frequencies))
        return false;
    for (uint32_t i = 0; i < CLASSES_MAX; i++)
        frequencies[i] = frequency_cut(frequencies[i]);
    uint32_t written[CLASSES_MAX];
    memcpy(written, frequencies, sizeof(written));
    if (!frequencies_settle(frequencies, table_bits))
        return false;
    for (uint32_t i = 0; i < count; i++)
        scratch->classes[i] = (uint8_t)class_of(residuals[i], sub_bits);
    struct buf raw;
    buf_init(&raw, CODEC_VALUES_MAX * sizeof(uint64_t) + 16);
    split_raw(residuals, scratch->classes, count, sub_bits, &raw, states);
    uint32_t first =
        encode_words(scratch->classes, count, frequencies, table_bits, states, scratch->words);

    write_u8(out, (uint8_t)(sub_bits | table_bits << 4));
    write_frequencies(written, out);
    write_varint(out, CODEC_VALUES_MAX - first);
    for (uint32_t lane = 0; lane < CODEC_RANS_LANES; lane++)
        write_u32(out, states[lane]);
    for (uint32_t i = first; i < CODEC_VALUES_MAX; i++)
        write_u16(out, scratch->words[i]);
    buf_add_str(out, buf_str(&raw));
    buf_deinit(&raw);
    return true;
}

static bool read_frequencies(struct reader *in, uint32_t table_bits, uint32_t sub_bits,
                             uint32_t frequencies[CLASSES_MAX])
{
    uint8_t padded[CLASSES_MAX + 16] = {0}; /* 4 + 3 bits each. */
    uint32_t class = read_u8(in), last = class + read_u8(in);
    size_t left = reader_left(in), bit = 0;
    if (in->bad || last >= CLASSES_MAX || last > class_of(UINT64_MAX, sub_bits))
        return false;
    memcpy(padded, in->at, left < CLASSES_MAX ? left : CLASSES_MAX);
    for (; class <= last; class ++) {
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

static void make_tables(struct codec_rans *rans, const uint32_t *frequencies, uint32_t sub_bits)
{
    uint32_t at = 0;
    for (uint32_t class = 0; class < CLASSES_MAX; class ++) {
        uint32_t raw_bits = class_raw_bits(class, sub_bits);
        for (uint32_t place = 0; place < frequencies[class]; place++)
            rans->table[at++] = class | frequencies[class] << 8 | place << 20;
        rans->classes[class] =
            (struct codec_class){class_base(class, sub_bits), codec_mask(raw_bits), raw_bits};
    }
}

/* Adds the raw bits that the states held: those of the last residuals, which were read as zeroes. */
static bool restore_tail(const struct codec_rans *rans, uint32_t count, uint32_t sub_bits,
                         size_t raw_bits, size_t raw_end, uint64_t *residuals)
{
    uint8_t tail[STATE_BITS / 8 + 16] = {0};
    for (uint32_t lane = 0; lane < CODEC_RANS_LANES; lane++) {
        if (rans->states[lane] >> 16 != 1)
            return false;
        tail[2 * lane] = (uint8_t)rans->states[lane];
        tail[2 * lane + 1] = (uint8_t)(rans->states[lane] >> 8);
    }
    if (raw_bits > raw_end + STATE_BITS || (raw_end > 0 && raw_bits + 7 < raw_end + STATE_BITS))
        return false;
    for (uint32_t i = count; i-- > 0 && raw_bits > raw_end;) {
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
                           uint32_t count, uint64_t *residuals, size_t *raw_bits)
{
    uint8_t words_copy[2 * WORDS_BLOCK], raw_copy[2 * RAW_BLOCK];
    const uint8_t *raw_end = end;
    size_t raw_before = 0;
    bool words_copied = false, raw_copied = false;
    const struct codec_kernels *kernels = codec_kernels();
    for (uint32_t i = 0; i < count; i += CODEC_BLOCK) {
        size_t raw_at = rans->raw_bit / 8;
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
            rans->raw_bit > (size_t)(raw_end - rans->raw) * 8 + STATE_BITS)
            return false;
    }
    *raw_bits = raw_before + rans->raw_bit;
    return rans->words == words_end;
}

bool codec_rans_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    struct codec_rans rans;
    uint32_t frequencies[CLASSES_MAX] = {0};
    uint32_t head = read_u8(in), sub_bits = head & 15;
    rans.table_bits = head >> 4;
    if (sub_bits > SUB_BITS_MAX || rans.table_bits < 1 || rans.table_bits > CODEC_RANS_BITS ||
        !read_frequencies(in, rans.table_bits, sub_bits, frequencies))
        return false;
    make_tables(&rans, frequencies, sub_bits);
    uint64_t word_count = read_varint(in);
    for (uint32_t lane = 0; lane < CODEC_RANS_LANES; lane++)
        rans.states[lane] = read_u32(in);
    if (in->bad || word_count > reader_left(in) / 2)
        return false;
    rans.words = in->at;
    rans.raw = in->at + 2 * word_count;
    rans.raw_bit = 0;
    size_t raw_bits, raw_end = (size_t)(in->end - rans.raw) * 8;
    if (!read_residuals(&rans, rans.raw, in->end, count, residuals, &raw_bits))
        return false;
    in->at = in->end;
    return restore_tail(&rans, count, sub_bits, raw_bits, raw_end, residuals);
}
