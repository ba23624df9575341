/* codec_mask: residuals of two widths, and a bit for each that tells which.
 *
 *     u8 short width   u8 long width   a bit per residual: 1 is long   residuals
 *     one after the other, low bit first, padded to a byte
 *
 * A gauge that holds half the time, bytes that come in bursts: too many large ones for the patches of a block, which name
 * the place of each. */
#include "codec_private.h"

uint64_t codec_mask_cost(const uint64_t *residuals, uint32_t count, struct codec_widths *widths)
{
    uint32_t lengths[65] = {0}, longest = 0, above = 0;
    uint64_t best = CODEC_COST_NONE;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = codec_length(residuals[i]);
        lengths[length]++;
        longest = length > longest ? length : longest;
    }
    for (uint32_t width = longest; width-- > 0;) {
        above += lengths[width + 1];
        uint64_t cost =
            16 + (uint64_t)count + (uint64_t)above * longest + (uint64_t)(count - above) * width;
        if (cost < best) {
            best = cost;
            *widths = (struct codec_widths){(uint8_t)width, (uint8_t)longest};
        }
    }
    return best;
}

void codec_mask_encode(const uint64_t *residuals, uint32_t count, struct codec_widths widths,
                       struct buf *out)
{
    struct codec_bits bits = {.out = out};
    write_u8(out, widths.few);
    write_u8(out, widths.many);
    for (uint32_t i = 0; i < count; i++)
        codec_bits_put(&bits, codec_length(residuals[i]) > widths.few, 1);
    for (uint32_t i = 0; i < count; i++)
        codec_bits_put(&bits, residuals[i],
                       codec_length(residuals[i]) > widths.few ? widths.many : widths.few);
    codec_bits_flush(&bits);
}

bool codec_mask_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    uint32_t few = read_u8(in), many = read_u8(in);
    struct str bytes = str_from((const char *)in->at, reader_left(in));
    size_t bit = count;
    if (in->bad || few > 64 || many > 64 || count > bytes.len * 8)
        return false;
    for (uint32_t i = 0; i < count && bit <= bytes.len * 8; i++) {
        uint32_t width = bytes.ptr[i >> 3] >> (i & 7) & 1 ? many : few;
        uint32_t low = width < 32 ? width : 32;
        residuals[i] = codec_bits_near(bytes, bit) & codec_mask(low);
        if (width > 32)
            residuals[i] |= (codec_bits_near(bytes, bit + 32) & codec_mask(width - 32)) << 32;
        bit += width;
    }
    if (bit > bytes.len * 8)
        return false;
    in->at += (bit + 7) / 8;
    return true;
}
