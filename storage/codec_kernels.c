/* codec_kernels: the inner loops of decoding, for any machine and for AVX2.
 *
 * Why AVX2 by target attribute and a check at run time: one program runs on every x86-64. The packed layout has four
 * 32-bit lanes, so that a machine of any vector width unpacks without gathering. Division by 10^e stays a division:
 * a product with 10^-e would give other bits than the encoder tested. */
#include "codec_private.h"

#include <stdatomic.h>

#define LANES 4

static uint32_t load_u32(const uint8_t *in)
{
    uint32_t word;
    memcpy(&word, in, sizeof(word));
    return word;
}

static void unpack_portable(const uint8_t *in, uint32_t width, uint64_t *out)
{
    uint32_t mask = (uint32_t)codec_mask(width);
    for (uint32_t row = 0; row < CODEC_BLOCK / LANES; row++) {
        uint32_t bit = row * width, shift = bit % 32;
        const uint8_t *words = in + (size_t)(bit / 32) * LANES * sizeof(uint32_t);
        for (uint32_t lane = 0; lane < LANES; lane++) {
            uint32_t value = load_u32(words + lane * sizeof(uint32_t)) >> shift;
            if (shift + width > 32)
                value |= load_u32(words + (LANES + lane) * sizeof(uint32_t)) << (32 - shift);
            out[row * LANES + lane] = value & mask;
        }
    }
}

static void fields_portable(const uint8_t *in, uint32_t count, uint32_t width, uint64_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = codec_bits_get(in, (size_t)i * width, width);
}

static void to_doubles_portable(const int64_t *in, uint32_t count, uint32_t exponent, double *out)
{
    double divisor = CODEC_POWERS[exponent];
    if (exponent == 0) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = (double)in[i];
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] = (double)in[i] / divisor;
}

static void sum_portable(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first, uint64_t bias,
                         uint32_t shift)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t step = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        v[i] = first += (step + bias) << shift;
    }
}

static void add_portable(int64_t *to, const int64_t *what, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = (int64_t)((uint64_t)to[i] + (uint64_t)what[i]);
}

static void take_portable(int64_t *to, const int64_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = (int64_t)((uint64_t)from[i] - (uint64_t)to[i]);
}

static void offset_portable(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first,
                            uint64_t bias, uint32_t shift)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t w = is_zigzag ? (uint64_t)zigzag_decode(v[i]) : v[i];
        v[i] = first + ((w + bias) << shift);
    }
}

static void rans_portable(struct codec_rans *rans, uint64_t *residuals)
{
    for (uint32_t i = 0; i < CODEC_BLOCK; i++)
        residuals[i] = codec_rans_next(rans, i);
}

const struct codec_kernels codec_kernels_portable = {
    unpack_portable, fields_portable, to_doubles_portable, add_portable,
    take_portable,   sum_portable,    offset_portable,     rans_portable};

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt")))

AVX2 static void unpack_avx2(const uint8_t *in, uint32_t width, uint64_t *out)
{
    __m128i mask = _mm_set1_epi32((int)(uint32_t)codec_mask(width));
    __m128i word = _mm_loadu_si128((const __m128i *)in);
    uint32_t shift = 0;
    for (uint32_t row = 0; row < CODEC_BLOCK / LANES; row++) {
        __m128i value = _mm_srl_epi32(word, _mm_cvtsi32_si128((int)shift));
        shift += width;
        if (shift >= 32 && row + 1 < CODEC_BLOCK / LANES) {
            in += sizeof(__m128i);
            word = _mm_loadu_si128((const __m128i *)in);
            shift -= 32;
            value =
                _mm_or_si128(value, _mm_sll_epi32(word, _mm_cvtsi32_si128((int)(width - shift))));
        }
        value = _mm_and_si128(value, mask);
        _mm256_storeu_si256((__m256i *)(out + row * LANES), _mm256_cvtepu32_epi64(value));
    }
}

/* Eight fields are as many bytes as a field has bits. Each half of them is at most 16 bytes, of which every field takes the
 * four that it is in. */
AVX2 static void fields_avx2(const uint8_t *in, uint32_t count, uint32_t width, uint64_t *out)
{
    const uint32_t half = width / 2; /* Bytes of four fields; the last of them may go on. */
    const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3);
    const int odd = width & 1 ? 4 : 0;
    __m256i bit = _mm256_mullo_epi32(order, _mm256_set1_epi32((int)width));
    bit = _mm256_add_epi32(bit, _mm256_setr_epi32(0, 0, 0, 0, odd, odd, odd, odd));
    __m256i byte = _mm256_srli_epi32(bit, 3), shift = _mm256_and_si256(bit, _mm256_set1_epi32(7));
    __m256i which = _mm256_add_epi32(_mm256_mullo_epi32(byte, _mm256_set1_epi32(0x01010101)),
                                     _mm256_set1_epi32(0x03020100));
    __m256i mask = _mm256_set1_epi32((int)(uint32_t)codec_mask(width));
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8, in += width) {
        __m128i low = _mm_loadu_si128((const __m128i *)in);
        __m128i high = _mm_loadu_si128((const __m128i *)(in + half));
        __m256i word = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        word = _mm256_srlv_epi32(_mm256_shuffle_epi8(word, which), shift);
        word = _mm256_and_si256(word, mask);
        _mm256_storeu_si256((__m256i *)(out + i),
                            _mm256_cvtepu32_epi64(_mm256_castsi256_si128(word)));
        _mm256_storeu_si256((__m256i *)(out + i + 4),
                            _mm256_cvtepu32_epi64(_mm256_extracti128_si256(word, 1)));
    }
    fields_portable(in, count - i, width, out + i);
}

/* Exact as the scalar conversion is: the halves are put into doubles of known exponents and added with one rounding. */
AVX2 static inline __m256d double_of_i64(__m256i in)
{
    const __m256d high_bias = _mm256_set1_pd(442721857769029238784.0); /* 3 * 2^67 */
    const __m256d both_bias = _mm256_set1_pd(442726361368656609280.0); /* 3 * 2^67 + 2^52 */
    const __m256d low_bias = _mm256_set1_pd(4503599627370496.0);       /* 2^52 */
    __m256i high = _mm256_srai_epi32(in, 16);
    high = _mm256_blend_epi16(high, _mm256_setzero_si256(), 0x33);
    high = _mm256_add_epi64(high, _mm256_castpd_si256(high_bias));
    __m256i low = _mm256_blend_epi16(in, _mm256_castpd_si256(low_bias), 0x88);
    return _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), both_bias),
                         _mm256_castsi256_pd(low));
}

AVX2 static void to_doubles_avx2(const int64_t *in, uint32_t count, uint32_t exponent, double *out)
{
    __m256d divisor = _mm256_set1_pd(CODEC_POWERS[exponent]);
    uint32_t i = 0;
    for (; exponent == 0 && i + 4 <= count; i += 4) {
        __m256i integers = _mm256_loadu_si256((const __m256i *)(in + i));
        _mm256_storeu_pd(out + i, double_of_i64(integers));
    }
    for (; exponent > 0 && i + 4 <= count; i += 4) {
        __m256i integers = _mm256_loadu_si256((const __m256i *)(in + i));
        _mm256_storeu_pd(out + i, _mm256_div_pd(double_of_i64(integers), divisor));
    }
    to_doubles_portable(in + i, count - i, exponent, out + i);
}

AVX2 static void sum_avx2(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first,
                          uint64_t bias, uint32_t shift)
{
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi64x(1);
    const __m256i zigzag = is_zigzag ? one : zero;
    const __m256i biases = _mm256_set1_epi64x((int64_t)bias);
    const __m128i halving = _mm_cvtsi32_si128(is_zigzag), shifting = _mm_cvtsi32_si128((int)shift);
    __m256i last = _mm256_set1_epi64x((int64_t)first);
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i step = _mm256_loadu_si256((const __m256i *)(v + i));
        __m256i sign = _mm256_sub_epi64(zero, _mm256_and_si256(step, zigzag));
        step = _mm256_xor_si256(_mm256_srl_epi64(step, halving), sign);
        step = _mm256_sll_epi64(_mm256_add_epi64(step, biases), shifting);
        /* Within each half, then the low half's sum over the high half. */
        step = _mm256_add_epi64(step, _mm256_slli_si256(step, 8));
        __m256i low = _mm256_permute4x64_epi64(step, _MM_SHUFFLE(1, 1, 1, 1));
        step = _mm256_add_epi64(step, _mm256_blend_epi32(zero, low, 0xf0));
        step = _mm256_add_epi64(step, last);
        last = _mm256_permute4x64_epi64(step, _MM_SHUFFLE(3, 3, 3, 3));
        _mm256_storeu_si256((__m256i *)(v + i), step);
    }
    first = i ? v[i - 1] : first;
    sum_portable(v + i, count - i, is_zigzag, first, bias, shift);
}

AVX2 static void offset_avx2(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first,
                             uint64_t bias, uint32_t shift)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i zigzag = _mm256_set1_epi64x(is_zigzag);
    const __m256i biases = _mm256_set1_epi64x((int64_t)bias);
    const __m256i firsts = _mm256_set1_epi64x((int64_t)first);
    const __m128i halving = _mm_cvtsi32_si128(is_zigzag), shifting = _mm_cvtsi32_si128((int)shift);
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(v + i));
        __m256i sign = _mm256_sub_epi64(zero, _mm256_and_si256(w, zigzag));
        w = _mm256_xor_si256(_mm256_srl_epi64(w, halving), sign);
        w = _mm256_add_epi64(_mm256_sll_epi64(_mm256_add_epi64(w, biases), shifting), firsts);
        _mm256_storeu_si256((__m256i *)(v + i), w);
    }
    offset_portable(v + i, count - i, is_zigzag, first, bias, shift);
}

/* For each mask of lanes that take a word: which of the next words each takes. */
#define BIT(m, b)  (((m) >> (b)) & 1)
#define BELOW_2(m) (BIT(m, 0) + BIT(m, 1))
#define BELOW_3(m) (BELOW_2(m) + BIT(m, 2))
#define BELOW_4(m) (BELOW_3(m) + BIT(m, 3))
#define BELOW_5(m) (BELOW_4(m) + BIT(m, 4))
#define BELOW_6(m) (BELOW_5(m) + BIT(m, 5))
#define BELOW_7(m) (BELOW_6(m) + BIT(m, 6))
#define ROW(m)                                                                                     \
    {                                                                                              \
        0, BIT(m, 0), BELOW_2(m), BELOW_3(m), BELOW_4(m), BELOW_5(m), BELOW_6(m), BELOW_7(m)       \
    }
#define ROWS_4(m)  ROW(m), ROW((m) + 1), ROW((m) + 2), ROW((m) + 3)
#define ROWS_16(m) ROWS_4(m), ROWS_4((m) + 4), ROWS_4((m) + 8), ROWS_4((m) + 12)
#define ROWS_64(m) ROWS_16(m), ROWS_16((m) + 16), ROWS_16((m) + 32), ROWS_16((m) + 48)
static const uint8_t WORD_OF_LANE[256][8] = {ROWS_64(0), ROWS_64(64), ROWS_64(128), ROWS_64(192)};

AVX2 static void add_avx2(int64_t *to, const int64_t *what, uint32_t count)
{
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i sum = _mm256_add_epi64(_mm256_loadu_si256((const __m256i *)(to + i)),
                                       _mm256_loadu_si256((const __m256i *)(what + i)));
        _mm256_storeu_si256((__m256i *)(to + i), sum);
    }
    add_portable(to + i, what + i, count - i);
}

AVX2 static void take_avx2(int64_t *to, const int64_t *from, uint32_t count)
{
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i rest = _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *)(from + i)),
                                        _mm256_loadu_si256((const __m256i *)(to + i)));
        _mm256_storeu_si256((__m256i *)(to + i), rest);
    }
    take_portable(to + i, from + i, count - i);
}

/* Eight lanes' step: their state, and the entries it came from. Returns the words' next place. */
AVX2 static inline const uint8_t *step_avx2(const struct codec_rans *rans, __m256i *state,
                                            const uint8_t *next, __m256i *class)
{
    const __m256i mask = _mm256_set1_epi32((int)((UINT32_C(1) << rans->table_bits) - 1));
    __m256i entry =
        _mm256_i32gather_epi32((const int *)rans->table, _mm256_and_si256(*state, mask), 4);
    __m256i frequency = _mm256_and_si256(_mm256_srli_epi32(entry, 8), _mm256_set1_epi32(0xfff));
    __m256i high = _mm256_srl_epi32(*state, _mm_cvtsi32_si128((int)rans->table_bits));
    __m256i now =
        _mm256_add_epi32(_mm256_mullo_epi32(frequency, high), _mm256_srli_epi32(entry, 20));
    __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(now, 16), _mm256_setzero_si256());
    uint32_t lanes = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(low));
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)next));
    __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)WORD_OF_LANE[lanes]));
    words = _mm256_permutevar8x32_epi32(words, order);
    *state = _mm256_blendv_epi8(now, _mm256_or_si256(_mm256_slli_epi32(now, 16), words), low);
    *class = _mm256_and_si256(entry, _mm256_set1_epi32(0xff));
    return next + 2 * _mm_popcnt_u32(lanes);
}

/* Classes of eight lanes to residuals: at once where none has raw bits. */
AVX2 static inline size_t residuals_avx2(const struct codec_rans *rans, __m256i class,
                                         const uint8_t *raw, size_t bit, uint64_t *out)
{
    __m256i above = _mm256_cmpgt_epi32(class, _mm256_set1_epi32((int)rans->own_count - 1));
    if (LIKELY(_mm256_testz_si256(above, above))) {
        __m256i own = _mm256_add_epi32(class, _mm256_set1_epi32((int)rans->own_first));
        __m256i half = _mm256_cvtepu32_epi64(_mm256_castsi256_si128(own));
        _mm256_storeu_si256((__m256i *)out, half);
        half = _mm256_cvtepu32_epi64(_mm256_extracti128_si256(own, 1));
        _mm256_storeu_si256((__m256i *)(out + 4), half);
        return bit;
    }
    uint32_t classes[8];
    _mm256_storeu_si256((__m256i *)classes, class);
    for (uint32_t lane = 0; lane < 8; lane++)
        out[lane] = codec_rans_raw(raw, &bit, &rans->classes[classes[lane]]);
    return bit;
}

/* The chain from state to state is long and leaves the machine idle: with sixteen lanes there are two of them, with
 * eight the raw bits of a step are read while the next step's gather is on its way. */
AVX2 static void rans_avx2(struct codec_rans *rans, uint64_t *residuals)
{
    const uint8_t *next = rans->words, *raw = rans->raw;
    __m256i a = _mm256_loadu_si256((const __m256i *)rans->states), b, class_a, class_b;
    size_t bit = rans->raw_bit;
    if (rans->lanes == 16) {
        b = _mm256_loadu_si256((const __m256i *)(rans->states + 8));
        for (uint32_t i = 0; i < CODEC_BLOCK; i += 16) {
            next = step_avx2(rans, &a, next, &class_a);
            next = step_avx2(rans, &b, next, &class_b);
            bit = residuals_avx2(rans, class_a, raw, bit, residuals + i);
            bit = residuals_avx2(rans, class_b, raw, bit, residuals + i + 8);
        }
        _mm256_storeu_si256((__m256i *)(rans->states + 8), b);
    } else {
        for (uint32_t i = 0; i < CODEC_BLOCK; i += 8) {
            next = step_avx2(rans, &a, next, &class_a);
            bit = residuals_avx2(rans, class_a, raw, bit, residuals + i);
        }
    }
    _mm256_storeu_si256((__m256i *)rans->states, a);
    rans->words = next;
    rans->raw_bit = bit;
}

static const struct codec_kernels kernels_avx2 = {unpack_avx2, fields_avx2, to_doubles_avx2,
                                                  add_avx2,    take_avx2,   sum_avx2,
                                                  offset_avx2, rans_avx2};

const struct codec_kernels *codec_kernels_fast(void)
{
    return __builtin_cpu_supports("avx2") ? &kernels_avx2 : NULL;
}
#else
const struct codec_kernels *codec_kernels_fast(void)
{
    return NULL;
}
#endif

static _Atomic(const struct codec_kernels *) kernels_chosen;

const struct codec_kernels *codec_kernels(void)
{
    const struct codec_kernels *kernels =
        atomic_load_explicit(&kernels_chosen, memory_order_relaxed);
    if (LIKELY(kernels))
        return kernels;
    codec_kernels_force_portable(false);
    return atomic_load_explicit(&kernels_chosen, memory_order_relaxed);
}

void codec_kernels_force_portable(bool portable)
{
    const struct codec_kernels *fast = portable ? NULL : codec_kernels_fast();
    atomic_store_explicit(&kernels_chosen, fast ? fast : &codec_kernels_portable,
                          memory_order_relaxed);
}
