/* codec_pack: residuals in blocks of 128 of equal width, and the list of the few that are not zero.
 *
 *     pack     u8 framed (0 or 1)  block*
 *     block    u8 width | 0x80 when patched  [zigzag base - base of the block before: when framed]  packed
 *              [u8 count  u8 patch width  u8 place*count  high bits*count: when patched]
 *     packed   a whole block of width 1..32: four lanes of 32-bit words, 16 * width bytes; else one after the other
 *     list     varint count  (varint zeros before, varint residual - 1)*count
 *
 * A residual is base + packed + (high bits << width), modulo 2^64. Why patches: one reset or jump among 128 must not
 * widen the others. */
#include "codec_private.h"

#define PATCHED    0x80
#define PATCH_BITS 16 /* Count and width. */
#define PLACE_BITS 8
#define LANES      4
#define PADDED_MAX (CODEC_BLOCK * 8 + 16)

struct pack_plan {
    uint32_t width, patch_width, patch_count;
    uint64_t base;
    uint64_t cost; /* In bits, without the block's own head. */
};

static struct pack_plan plan_with_base(const uint64_t *residuals, uint32_t count, uint64_t base)
{
    uint8_t lengths[65] = {0};
    uint32_t longest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = codec_length(residuals[i] - base);
        lengths[length]++;
        longest = length > longest ? length : longest;
    }
    struct pack_plan best = {.width = longest, .base = base};
    best.cost = (uint64_t)longest * count;
    uint32_t above = 0;
    for (uint32_t width = longest; width > 0 && above < count;) {
        above += lengths[width--];
        uint64_t cost =
            (uint64_t)width * count + PATCH_BITS + above * (uint64_t)(PLACE_BITS + longest - width);
        if (cost < best.cost)
            best = (struct pack_plan){width, longest - width, above, base, cost};
    }
    return best;
}

/* The base is the least residual, unless leaving out the one or two least (a counter's reset) is cheaper. */
static struct pack_plan plan_framed(const uint64_t *residuals, uint32_t count)
{
    int64_t least[3] = {INT64_MAX, INT64_MAX, INT64_MAX};
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = (int64_t)residuals[i];
        if (value >= least[2])
            continue;
        least[2] = value;
        for (uint32_t k = 2; k > 0 && least[k] < least[k - 1]; k--) {
            int64_t swap = least[k];
            least[k] = least[k - 1];
            least[k - 1] = swap;
        }
    }
    struct pack_plan best = plan_with_base(residuals, count, (uint64_t)least[0]);
    for (uint32_t k = 1; k < 3 && k < count; k++) {
        uint64_t gap = (uint64_t)least[k] - (uint64_t)least[k - 1];
        if (gap < 256)
            continue;
        struct pack_plan plan = plan_with_base(residuals, count, (uint64_t)least[k]);
        if (plan.cost < best.cost)
            best = plan;
    }
    return best;
}

static struct pack_plan plan_block(const uint64_t *residuals, uint32_t count, bool framed)
{
    return framed ? plan_framed(residuals, count) : plan_with_base(residuals, count, 0);
}

uint64_t codec_pack_cost(const uint64_t *residuals, uint32_t count, bool framed)
{
    uint64_t cost = 8, base = 0;
    for (uint32_t i = 0; i < count; i += CODEC_BLOCK) {
        uint32_t n = count - i < CODEC_BLOCK ? count - i : CODEC_BLOCK;
        struct pack_plan plan = plan_block(residuals + i, n, framed);
        cost += plan.cost + 8;
        if (framed)
            cost += 8 * (codec_length(zigzag_encode((int64_t)(plan.base - base))) / 7 + 1);
        base = plan.base;
    }
    return cost;
}

static void write_lanes(const uint64_t *values, uint32_t width, struct buf *out)
{
    uint32_t words[LANES * 32] = {0};
    for (uint32_t i = 0; i < CODEC_BLOCK; i++) {
        uint32_t bit = i / LANES * width, lane = i % LANES;
        uint64_t field = (values[i] & codec_mask(width)) << (bit % 32);
        words[bit / 32 * LANES + lane] |= (uint32_t)field;
        if (bit % 32 + width > 32)
            words[(bit / 32 + 1) * LANES + lane] |= (uint32_t)(field >> 32);
    }
    for (uint32_t i = 0; i < LANES * width; i++)
        write_u32(out, words[i]);
}

static void write_fields(const uint64_t *values, uint32_t count, uint32_t width, struct buf *out)
{
    struct codec_bits bits = {.out = out};
    for (uint32_t i = 0; i < count; i++)
        codec_bits_put(&bits, values[i], width);
    codec_bits_flush(&bits);
}

static void write_block(const uint64_t *residuals, uint32_t count, const struct pack_plan *plan,
                        struct buf *out)
{
    uint64_t values[CODEC_BLOCK], highs[CODEC_BLOCK];
    uint32_t high_count = 0;
    for (uint32_t i = 0; i < count; i++)
        values[i] = residuals[i] - plan->base;
    if (count == CODEC_BLOCK && plan->width >= 1 && plan->width <= 32)
        write_lanes(values, plan->width, out);
    else
        write_fields(values, count, plan->width, out);
    if (!plan->patch_count)
        return;
    write_u8(out, (uint8_t)plan->patch_count);
    write_u8(out, (uint8_t)plan->patch_width);
    for (uint32_t i = 0; i < count; i++) {
        if (!(values[i] >> plan->width)) /* The width is below 64 where there are patches. */
            continue;
        highs[high_count++] = values[i] >> plan->width;
        write_u8(out, (uint8_t)i);
    }
    ENSURE(high_count == plan->patch_count);
    write_fields(highs, high_count, plan->patch_width, out);
}

void codec_pack_encode(const uint64_t *residuals, uint32_t count, bool framed, struct buf *out)
{
    uint64_t base = 0;
    write_u8(out, framed);
    for (uint32_t i = 0; i < count; i += CODEC_BLOCK) {
        uint32_t n = count - i < CODEC_BLOCK ? count - i : CODEC_BLOCK;
        struct pack_plan plan = plan_block(residuals + i, n, framed);
        write_u8(out, (uint8_t)(plan.width | (plan.patch_count ? PATCHED : 0)));
        if (framed)
            write_zigzag(out, (int64_t)(plan.base - base));
        base = plan.base;
        write_block(residuals + i, n, &plan, out);
    }
}

/* At most 128 fields of a width, one after the other. */
static void read_fields(struct reader *in, uint32_t count, uint32_t width, uint64_t *out)
{
    size_t len = ((size_t)count * width + 7) / 8;
    uint8_t padded[PADDED_MAX];
    const uint8_t *from = in->at;
    if (reader_left(in) < len) {
        in->bad = true;
        return;
    }
    if (reader_left(in) < len + 16) {
        memcpy(padded, from, len);
        memset(padded + len, 0, 16);
        from = padded;
    }
    if (width >= 1 && width <= CODEC_FIELD_MAX) {
        codec_kernels()->fields(from, count, width, out);
    } else {
        for (uint32_t i = 0; i < count; i++)
            out[i] = codec_bits_get(from, (size_t)i * width, width);
    }
    in->at += len;
}

static bool read_patches(struct reader *in, uint32_t count, uint32_t width, uint64_t *out)
{
    uint64_t highs[CODEC_BLOCK];
    uint32_t patch_count = read_u8(in), patch_width = read_u8(in);
    if (in->bad || patch_count > count || patch_width > 64 - width || width > 63)
        return false;
    struct str places = read_bytes(in, patch_count);
    read_fields(in, patch_count, patch_width, highs);
    if (in->bad)
        return false;
    for (uint32_t i = 0; i < patch_count; i++) {
        uint8_t place = (uint8_t)places.ptr[i];
        if (place >= count)
            return false;
        out[place] |= highs[i] << width;
    }
    return true;
}

static bool read_block(struct reader *in, uint32_t count, uint32_t width, uint64_t *out)
{
    if (width == 0) {
        memset(out, 0, count * sizeof(*out));
    } else if (count == CODEC_BLOCK && width <= 32) {
        if (reader_left(in) < 16 * (size_t)width)
            return false;
        codec_kernels()->unpack(in->at, width, out);
        in->at += 16 * (size_t)width;
    } else {
        read_fields(in, count, width, out);
    }
    return !in->bad;
}

bool codec_pack_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    uint8_t framed = read_u8(in);
    uint64_t base = 0;
    if (framed > 1)
        return false;
    for (uint32_t i = 0; i < count; i += CODEC_BLOCK) {
        uint32_t n = count - i < CODEC_BLOCK ? count - i : CODEC_BLOCK;
        uint32_t head = read_u8(in), width = head & ~(uint32_t)PATCHED;
        if (framed)
            base += (uint64_t)read_zigzag(in);
        if (in->bad || width > 64 || !read_block(in, n, width, residuals + i))
            return false;
        if ((head & PATCHED) && !read_patches(in, n, width, residuals + i))
            return false;
        for (uint32_t k = 0; base != 0 && k < n; k++)
            residuals[i + k] += base;
    }
    return true;
}

uint64_t codec_list_cost(const uint64_t *residuals, uint32_t count)
{
    uint64_t cost = 8, limit = (uint64_t)count * 8;
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!residuals[i])
            continue;
        if (cost > limit)
            return CODEC_COST_NONE; /* A block's width is cheaper, whatever comes. */
        cost += 8 * (codec_length(i - last) / 7 + codec_length(residuals[i]) / 7 + 2);
        last = i + 1;
    }
    return cost;
}

void codec_list_encode(const uint64_t *residuals, uint32_t count, struct buf *out)
{
    uint32_t listed = 0, last = 0;
    for (uint32_t i = 0; i < count; i++)
        listed += residuals[i] != 0;
    write_varint(out, listed);
    for (uint32_t i = 0; i < count; i++) {
        if (!residuals[i])
            continue;
        write_varint(out, i - last);
        write_varint(out, residuals[i] - 1);
        last = i + 1;
    }
}

bool codec_list_decode(struct reader *in, uint32_t count, uint64_t *residuals)
{
    uint64_t listed = read_varint(in);
    uint32_t at = 0;
    memset(residuals, 0, count * sizeof(*residuals));
    for (uint64_t i = 0; i < listed; i++) {
        uint64_t zeros = read_varint(in);
        if (in->bad || zeros >= count - at)
            return false;
        at += (uint32_t)zeros;
        residuals[at++] = read_varint(in) + 1;
    }
    return !in->bad;
}
