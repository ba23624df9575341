/* codec_split: residuals whose low bits are noise, as those of floats of a full mantissa are.
 *
 *     u8 shift   the low `shift` bits of all residuals, one after the other, padded to a byte
 *     residual >> shift, as codec_rans.c writes it with sixteen lanes
 *
 * Why not codec_rans.c alone: its classes are narrow at 0 and wide above, but the residuals of a gauge lie evenly around
 * some place far from 0. And low bits of one width are read without one waiting for the other. */
#include "codec_private.h"

#include <math.h>

#define HIGH_BITS  5 /* Of most residuals, above the shift. */
#define SHIFT_MIN  6
#define SHIFT_MAX  56  /* A field lies in 8 bytes from the byte that it begins in. */
#define OUTLIERS   256 /* One residual in so many may be longer. */
#define BINS       128
#define TABLE_BITS 9 /* Of a class, about. */

/* The length that all but a few have at most. */
static uint32_t common_length(const uint64_t *residuals, uint32_t count)
{
    uint32_t lengths[65] = {0}, longer = 0, length = 64;
    for (uint32_t i = 0; i < count; i++)
        lengths[codec_length(residuals[i])]++;
    while (length > 0 && longer + lengths[length] <= count / OUTLIERS)
        longer += lengths[length--];
    return length;
}

uint64_t codec_split_cost(const uint64_t *residuals, uint32_t count, uint32_t *shift)
{
    uint32_t bins[BINS] = {0}, length = common_length(residuals, count);
    if (length < HIGH_BITS + SHIFT_MIN)
        return CODEC_COST_NONE;
    *shift = length - HIGH_BITS < SHIFT_MAX ? length - HIGH_BITS : SHIFT_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t high = residuals[i] >> *shift;
        bins[high < BINS - 1 ? high : BINS - 1]++;
    }
    double bits = 8 * (4 * CODEC_RANS_LANES + 6) + (double)count * *shift;
    for (uint32_t i = 0; i < BINS; i++) {
        double n = bins[i];
        if (bins[i] > 0)
            bits += n * log2((double)count / n) + TABLE_BITS;
    }
    return (uint64_t)bits + bins[BINS - 1] * (uint64_t)(64 - *shift);
}

bool codec_split_encode(struct codec_ints_scratch *scratch, uint64_t *residuals, uint32_t count,
                        uint32_t shift, struct buf *out)
{
    size_t start = out->len;
    struct codec_bits bits = {.out = out};
    write_u8(out, (uint8_t)shift);
    for (uint32_t i = 0; i < count; i++) {
        codec_bits_put(&bits, residuals[i], shift);
        residuals[i] >>= shift;
    }
    codec_bits_flush(&bits);
    struct codec_rans_plan plan = codec_rans_choose(scratch, residuals, count);
    plan.is_wide = true;
    if (plan.cost != CODEC_COST_NONE && codec_rans_encode(scratch, &plan, residuals, count, out))
        return true;
    out->len = start;
    return false;
}

bool codec_split_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    uint32_t shift = read_u8(in);
    size_t len = ((size_t)count * shift + 7) / 8;
    const uint8_t *fields = in->at;
    /* The lanes' states follow, so that whole words can be read here. */
    if (in->bad || shift > SHIFT_MAX || reader_left(in) < len + 4 * CODEC_RANS_LANES)
        return false;
    uint64_t mask = codec_mask(shift);
    in->at += len;
    if (!codec_rans_decode(in, true, count, residuals))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        size_t bit = (size_t)i * shift;
        uint64_t word;
        memcpy(&word, fields + (bit >> 3), sizeof(word));
        residuals[i] = residuals[i] << shift | (word >> (bit & 7) & mask);
    }
    return true;
}
