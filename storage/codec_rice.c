/* codec_rice: residuals by Golomb's code with a power of two.
 *
 *     u8 k   per residual: residual >> k ones (at most 15), a zero, its low k bits
 *                          or, when there would be more: 16 ones, 6 bits of its length - 1, the residual
 *     one after the other, low bit first, padded to a byte
 *
 * Counts of events have many small steps and a few large ones. A block's width is that of the largest; ranged ANS knows how
 * often each comes, but its tables cost a run of 120 values more than they gain. This costs one byte. */
#include "codec_private.h"

#define ONES_MAX    16
#define LENGTH_BITS 6
#define K_MAX       32

static uint64_t cost_with(const uint64_t *residuals, uint32_t count, uint32_t k)
{
    uint64_t cost = 8;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t ones = residuals[i] >> k;
        cost +=
            ones < ONES_MAX ? ones + 1 + k : ONES_MAX + LENGTH_BITS + codec_length(residuals[i]);
    }
    return cost;
}

uint64_t codec_rice_cost(const uint64_t *residuals, uint32_t count, uint32_t *k)
{
    uint64_t lengths = 0, best = CODEC_COST_NONE;
    for (uint32_t i = 0; i < count; i++)
        lengths += codec_length(residuals[i]);
    uint32_t middle = (uint32_t)(lengths / count); /* Large ones count by their lengths only. */
    for (uint32_t try = middle > 0 ? middle - 1 : 0; try <= middle && try <= K_MAX; try++) {
        uint64_t cost = cost_with(residuals, count, try);
        if (cost < best) {
            best = cost;
            *k = try;
        }
    }
    return best;
}

void codec_rice_encode(const uint64_t *residuals, uint32_t count, uint32_t k, struct buf *out)
{
    struct codec_bits bits = {.out = out};
    write_u8(out, (uint8_t)k);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t ones = residuals[i] >> k;
        uint32_t length = codec_length(residuals[i]);
        if (ones < ONES_MAX) {
            codec_bits_put(
                &bits, codec_mask((uint32_t)ones) | (residuals[i] & codec_mask(k)) << (ones + 1),
                (uint32_t)ones + 1 + k);
            continue;
        }
        codec_bits_put(&bits, codec_mask(ONES_MAX) | (uint64_t)(length - 1) << ONES_MAX,
                       ONES_MAX + LENGTH_BITS);
        codec_bits_put(&bits, residuals[i], length);
    }
    codec_bits_flush(&bits);
}

bool codec_rice_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    uint32_t k = read_u8(in);
    struct str bytes = str_from((const char *)in->at, reader_left(in));
    size_t bit = 0;
    if (in->bad || k > K_MAX)
        return false;
    for (uint32_t i = 0; i < count && bit <= bytes.len * 8; i++) {
        uint64_t word = codec_bits_near(bytes, bit);
        uint32_t ones = (uint32_t)__builtin_ctzll(~word | UINT64_C(1) << ONES_MAX);
        if (LIKELY(ones < ONES_MAX)) {
            residuals[i] = (uint64_t)ones << k | (word >> (ones + 1) & codec_mask(k));
            bit += ones + 1 + k;
            continue;
        }
        uint32_t length = (uint32_t)(word >> ONES_MAX & codec_mask(LENGTH_BITS)) + 1;
        bit += ONES_MAX + LENGTH_BITS;
        uint32_t low = length < 32 ? length : 32;
        residuals[i] = codec_bits_near(bytes, bit) & codec_mask(low);
        residuals[i] |= (codec_bits_near(bytes, bit + low) & codec_mask(length - low))
                        << (low & 63);
        bit += length;
    }
    if (bit > bytes.len * 8)
        return false;
    in->at += (bit + 7) / 8;
    return true;
}
