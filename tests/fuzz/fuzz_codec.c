/* Suspect bytes as a chunk, as times, as a histogram; and the same bytes as values, which must come back.
 *
 *     u8 what  u16 count  bytes */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec_private.h"
#include "model/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum what { CHUNK, CHUNK_OF_FAMILY, TIMES, HISTOGRAM, VALUES, FAMILY, TIMES_BACK, WHAT_COUNT };

static struct codec_column previous, fast, portable, quick_column;
static double values[CODEC_VALUES_MAX];
static int64_t times[CODEC_VALUES_MAX], times_back[CODEC_VALUES_MAX];

static void check(bool good)
{
    if (!good)
        abort();
}

static void check_columns(const struct codec_column *a, const struct codec_column *b)
{
    check(a->count == b->count && a->has_base == b->has_base && a->exponent == b->exponent);
    check(memcmp(a->values, b->values, a->count * sizeof(double)) == 0);
    check(!a->has_base || memcmp(a->integers, b->integers, a->count * sizeof(int64_t)) == 0);
}

/* Both kinds of kernels must agree on any bytes. */
static bool decode_both(struct str bytes, uint32_t count, const struct codec_column *before)
{
    codec_kernels_force_portable(true);
    bool good = codec_decode(bytes, count, before, &portable);
    codec_kernels_force_portable(false);
    check(codec_decode(bytes, count, before, &fast) == good);
    if (good)
        check_columns(&fast, &portable);
    check(codec_decode_base(bytes, count, before, &portable) == good);
    if (good) {
        codec_column_fill(&portable);
        check_columns(&fast, &portable);
    }
    return good;
}

static const struct codec_column *some_previous(uint32_t count)
{
    previous.count = count;
    previous.has_base = previous.has_integers = previous.has_values = true;
    previous.exponent = 1;
    for (uint32_t i = 0; i < count; i++) {
        previous.integers[i] = i * INT64_C(37) / 8;
        previous.values[i] = (double)previous.integers[i] / 10;
    }
    return &previous;
}

/* Values from bytes, in forms that reach the modes: raw doubles, small steps, decimals; a new mantissa with each, or
 * held; sums of nanoseconds; what follows the clock. */
static uint32_t values_from(struct reader *in, uint32_t count)
{
    uint32_t form = read_u8(in), i = 0;
    double total = 0, slope = 1 + form / 8.0;
    for (; i < count && reader_left(in) > 0; i++) {
        switch (form % 8) {
        case 0:
            values[i] = sample_from_bits(read_u64(in));
            break;
        case 1:
            values[i] = total += (int8_t)read_u8(in);
            break;
        case 2:
            values[i] = (double)read_u16(in) / 100;
            break;
        case 3:
            values[i] = total += (double)(read_varint(in) >> 12);
            break;
        case 4:
            values[i] = 1 + (double)read_u32(in) / 4294967296.0 / 3;
            break;
        case 5:
            values[i] = total = read_u8(in) < 128 ? total : (double)read_u32(in) / 3;
            break;
        case 6:
            values[i] = total += (double)read_u16(in) / 1e9;
            break;
        default:
            values[i] = floor(slope * i) + (read_u8(in) > 250);
            break;
        }
    }
    in->bad = false;
    return i;
}

static void check_values(struct reader *in, uint32_t count, bool of_family)
{
    struct buf out;
    struct codec_encoder *encoder = codec_encoder_new();
    struct codec_quick *quick = codec_quick_new();
    count = values_from(in, count);
    const struct codec_column *before = of_family ? some_previous(count) : NULL;
    for (uint32_t i = 0; of_family && i < count; i++)
        values[i] += previous.values[i];
    buf_init(&out, 16 * CODEC_VALUES_MAX);
    if (count > 0) {
        codec_encode(encoder, values, count, before, NULL, &out);
        check(decode_both(buf_str(&out), count, before));
        check(memcmp(fast.values, values, count * sizeof(double)) == 0);
        check(out.len <= 9 * (size_t)count + 16);
    }
    buf_clear(&out);
    if (count > 0 && codec_quick_encode(quick, values, count, before, &quick_column, &out)) {
        check(decode_both(buf_str(&out), count, before));
        check(memcmp(fast.values, values, count * sizeof(double)) == 0);
    }
    buf_deinit(&out);
    codec_encoder_free(encoder);
    codec_quick_free(quick);
}

static void check_times(struct reader *in, uint32_t count)
{
    struct buf out;
    uint32_t n = 0;
    int64_t at = (int64_t)(read_u64(in) >> 2);
    for (; n < count && reader_left(in) > 0; n++)
        times[n] = at += 1 + (int64_t)(read_varint(in) >> 16);
    if (n == 0)
        return;
    buf_init(&out, 16 * CODEC_VALUES_MAX);
    codec_times_encode(times, n, &out);
    check(codec_times_decode(buf_str(&out), n, times_back));
    check(memcmp(times, times_back, n * sizeof(times[0])) == 0);
    buf_deinit(&out);
}

/* What decodes is a histogram: written again, it must come back as it is. */
static void check_histograms(struct reader *in)
{
    struct arena arena;
    struct buf out;
    struct histogram *histogram, *before = NULL, *back;
    arena_init(&arena, 1 << 24);
    buf_init(&out, 1 << 24);
    for (int i = 0; i < 64 && codec_histogram_decode(in, before, &arena, &histogram); i++) {
        size_t start = out.len;
        codec_histogram_encode(histogram, before, &out);
        struct reader again = reader_over(str_after(buf_str(&out), start));
        if (!out.overflow && !arena.over_budget) {
            check(codec_histogram_decode(&again, before, &arena, &back));
            check(again.at == again.end);
            check(back->positive_count == histogram->positive_count);
            check(back->positive_count == 0 || memcmp(back->positive, histogram->positive,
                                                      back->positive_count * sizeof(double)) == 0);
            check(sample_bits(back->sum) == sample_bits(histogram->sum));
        }
        before = histogram;
    }
    arena_deinit(&arena);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_over(str_from((const char *)data, len));
    uint32_t what = read_u8(&in) % WHAT_COUNT, count = read_u16(&in) % (CODEC_VALUES_MAX + 1);
    struct str rest = str_after(str_from((const char *)data, len), 3);
    if (in.bad)
        return 0;
    switch (what) {
    case CHUNK:
        (void)decode_both(rest, count, NULL);
        break;
    case CHUNK_OF_FAMILY:
        (void)decode_both(rest, count, some_previous(count));
        break;
    case TIMES:
        if (count > 0 && codec_times_decode(rest, count, times))
            check(times[0] <= times[count - 1]);
        break;
    case HISTOGRAM:
        check_histograms(&in);
        break;
    case VALUES:
    case FAMILY:
        check_values(&in, count, what == FAMILY);
        break;
    default:
        check_times(&in, count);
        break;
    }
    return 0;
}
