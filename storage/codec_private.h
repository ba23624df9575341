/* codec_private: what the codec's files share. Layers, each knowing only those below:
 *
 *     codec.c            values: which source of integers, odd values, verification
 *     codec_quick.c      the same bytes by an encoder that tries little
 *     codec_decimal.c    doubles <-> integers of a decimal exponent
 *     codec_ints.c       columns of integers <-> residuals: differences, common divisor, bias
 *     codec_pack.c       residuals in blocks of 128 of equal width; the few others as a list
 *     codec_split.c      residuals' low bits as they are, the rest by codec_rans.c
 *     codec_rans.c       residuals by the entropy of their lengths
 *     codec_rice.c, codec_mask.c    those of short columns
 *     codec_kernels.c    the inner loops, for any machine and for AVX2
 *
 * All decoders take suspect bytes: they return false, or some values, but never touch what is not theirs. */
#ifndef STORAGE_CODEC_PRIVATE_H
#define STORAGE_CODEC_PRIVATE_H

#include "codec.h"

#define CODEC_BLOCK        128
#define CODEC_EXPONENT_MAX 12
#define CODEC_RANS_LANES   16 /* At most: 8 of a short column, 16 of others. */
#define CODEC_RANS_BITS    12 /* At most, of a table of frequencies. */
#define CODEC_RANS_LOW     (UINT32_C(1) << 16)
#define CODEC_TABLE_SLACK  8 /* Entries are written so many at a time. */
#define CODEC_SUB_BITS_MAX 4
#define CODEC_CLASSES_ALL  (64 << CODEC_SUB_BITS_MAX) /* More than there are with any sub bits. */
#define CODEC_COST_NONE    UINT64_MAX
#define CODEC_BYTES_MAX    (16 * CODEC_VALUES_MAX + 1024) /* Of a chunk. */

/* Low nibble of a chunk's first byte; the high one is the exponent of decimal modes. */
enum codec_mode {
    CODEC_RAW = 1,    /* 8 bytes a value. */
    CODEC_XOR,        /* Bytes of the XOR with the value before: the fallback of a failed check. */
    CODEC_REPEAT,     /* The column before, bit for bit. */
    CODEC_CONST_BITS, /* One value, 8 bytes. */
    CODEC_CONST_INTEGER, /* One decimal integer. */
    CODEC_DECIMAL,       /* Decimal integers. */
    CODEC_DECIMAL_ODD,   /* Same, and a list of values that are none. */
    CODEC_BITS,          /* The bits of true floats, as integers in the order of the floats. */
    CODEC_FAMILY,        /* Decimal integers, less those of the column before. */
    CODEC_FAMILY_ODD,
    CODEC_NEAR,  /* Floats a few units in the last place beside decimal integers. */
    CODEC_UNDER, /* By how much decimal integers are below those of the column before. */
    CODEC_UNDER_ODD,
};

/* How an integer column's residuals are written. */
enum codec_coder {
    CODEC_ZERO,
    CODEC_LIST,
    CODEC_PACK,
    CODEC_RANS,
    CODEC_RANS_WIDE, /* Sixteen lanes; any classes. */
    CODEC_SPLIT,     /* Low bits as they are, the others so. */
    CODEC_RICE,      /* High bits in ones, low bits as they are; codec_quick.c only. */
    CODEC_MASK,      /* Two widths, and a bit for each that tells which; codec_quick.c only. */
};

/* First byte of an integer column: transform, these, coder. */
enum { CODEC_INTS_VALUE, CODEC_INTS_DELTA };
#define CODEC_INTS_ZIGZAG      0x04
#define CODEC_INTS_DIVISOR     0x08
#define CODEC_INTS_BIAS        0x10
#define CODEC_INTS_CODER_SHIFT 5

/* The mode of a chunk, for tests. 0 for no bytes. */
enum codec_mode codec_mode(struct str bytes);
/* Of a decimal, bits or family chunk without odd values. */
enum codec_coder codec_coder(struct str bytes);
/* A test's way to the fallback: the encoder spoils so many of its next attempts before it checks them. */
void codec_encoder_spoil(struct codec_encoder *encoder, uint32_t attempts);

struct codec_class {
    uint64_t base, mask; /* residual = base + (raw & mask) */
    uint32_t raw_bits;
};

/* Ranged ANS in the middle of decoding. */
struct codec_rans {
    uint32_t table_bits, lanes;
    uint32_t own_first,
        own_count; /* So many first classes are the residuals own_first, + 1, + 2 ... */
    uint32_t states[CODEC_RANS_LANES];
    const uint8_t *words, *raw;
    size_t raw_bit; /* Of `raw`: how far it is read. */
    /* Class, counted from the first, in the low 8 bits, frequency in the next 12, place within the class in the high
     * 12. */
    uint32_t table[(1 << CODEC_RANS_BITS) + CODEC_TABLE_SLACK];
    struct codec_class classes[256];
};

/* The next raw bits on top of the class. */
static inline uint64_t codec_rans_raw(const uint8_t *raw, size_t *bit,
                                      const struct codec_class *class)
{
    uint64_t word;
    memcpy(&word, raw + (*bit >> 3), sizeof(word));
    word >>= *bit & 7;
    if (UNLIKELY(class->raw_bits > 56))
        word |= (uint64_t)raw[(*bit >> 3) + 8] << 1 << (63 - (*bit & 7));
    *bit += class->raw_bits;
    return class->base + (word & class->mask);
}

/* Residual `index` by its lane. */
static inline uint64_t codec_rans_next(struct codec_rans *rans, uint32_t index)
{
    uint32_t lane = index & (rans->lanes - 1), state = rans->states[lane];
    uint32_t entry = rans->table[state & ((UINT32_C(1) << rans->table_bits) - 1)];
    state = (entry >> 8 & 0xfff) * (state >> rans->table_bits) + (entry >> 20);
    if (state < CODEC_RANS_LOW) {
        state = state << 16 | (uint32_t)rans->words[0] | (uint32_t)rans->words[1] << 8;
        rans->words += 2;
    }
    rans->states[lane] = state;
    return codec_rans_raw(rans->raw, &rans->raw_bit, &rans->classes[entry & 0xff]);
}

#define CODEC_FIELD_MAX 25 /* With the bits before it in its byte: a word of 32. */

/* Inner loops. All variants give the same bits. */
struct codec_kernels {
    /* 128 values of width 1..32 from 16 * width bytes: four lanes, value i in lane i % 4, each lane's 32-bit words in
     * every fourth place. */
    void (*unpack)(const uint8_t *in, uint32_t width, uint64_t *out);
    /* `count` fields of width 1..CODEC_FIELD_MAX, one after the other. Reads up to 16 bytes past them. */
    void (*fields)(const uint8_t *in, uint32_t count, uint32_t width, uint64_t *out);
    void (*to_doubles)(const int64_t *in, uint32_t count, uint32_t exponent, double *out);
    void (*add)(int64_t *to, const int64_t *what, uint32_t count);
    void (*take)(int64_t *to, const int64_t *from, uint32_t count); /* to = from - to */
    /* In place: v[i] = first + the sum of (v[0..i], each through the zigzag if so, + bias) << shift. */
    void (*sum)(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first, uint64_t bias,
                uint32_t shift);
    /* In place: v[i] = first + ((v[i], through the zigzag if so) + bias) << shift. */
    void (*offset)(uint64_t *v, uint32_t count, bool is_zigzag, uint64_t first, uint64_t bias,
                   uint32_t shift);
    /* A block of residuals by ranged ANS. Reads up to 32 bytes past the words it takes, which are 256 at most, and up to
     * 9 past the raw bits, which are 1,008 bytes at most. */
    void (*rans)(struct codec_rans *rans, uint64_t *residuals);
};
extern const struct codec_kernels codec_kernels_portable;
/* NULL where the machine has none. */
const struct codec_kernels *codec_kernels_fast(void);
const struct codec_kernels *codec_kernels(void);
/* For tests: all threads decode so from now on. */
void codec_kernels_force_portable(bool portable);

/* Powers of ten that doubles hold exactly. */
extern const double CODEC_POWERS[CODEC_EXPONENT_MAX + 1];

/* True when value is integer / 10^exponent, bit for bit. */
bool codec_decimal_of(double value, uint32_t exponent, int64_t *integer);
/* The exponent that suits most of the values, and how many have none with it (they may be odd). */
uint32_t codec_decimal_exponent(const double *values, uint32_t count);
/* Fills integers; at values that are not integer / 10^exponent, bit for bit, the integer before goes on and is_odd is
 * set. Returns the number of odd ones. */
uint32_t codec_decimal_convert(const double *values, uint32_t count, uint32_t exponent,
                               int64_t *integers, bool *is_odd);

/* The nearest integer / 10^exponent, and by how many doubles the value is above it. False where there is none. */
bool codec_decimal_near(double value, uint32_t exponent, int64_t *integer, int64_t *units);

/* What all encoders of values write alike (codec.c). */
bool codec_is_constant(const double *values, uint32_t count);
void codec_write_constant(double value, struct buf *out);
void codec_write_odd(const bool *is_odd, const double *values, uint32_t count, struct buf *out);

/* Bits of a double as an integer in the same order, and back. */
static inline int64_t codec_bits_order(uint64_t bits)
{
    return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) >> 1));
}
static inline uint64_t codec_bits_restore(int64_t ordered)
{
    return (uint64_t)ordered ^ ((uint64_t)(ordered >> 63) >> 1);
}

/* An integer column to the end of its bytes. */
struct codec_ints_scratch {
    uint64_t candidate[CODEC_VALUES_MAX];
    uint64_t residuals[CODEC_VALUES_MAX];
    int64_t reduced[CODEC_VALUES_MAX];
    uint8_t classes[CODEC_VALUES_MAX];
    uint16_t words[CODEC_VALUES_MAX];
    uint32_t histogram[CODEC_CLASSES_ALL];
};
void codec_ints_encode(struct codec_ints_scratch *scratch, const int64_t *integers, uint32_t count,
                       struct buf *out);
/* The same bytes by an encoder that tries little (codec_quick.c). */
void codec_quick_ints(struct codec_quick *quick, const int64_t *integers, uint32_t count,
                      struct buf *out);
MUST_CHECK bool codec_ints_decode(struct reader *in, uint32_t count, int64_t *integers);
/* The same piece by piece: first the residuals, all of them, in the integers' places; then, from the front to the back,
 * pieces of CODEC_PIECE integers. What else is to be done with a piece is done while the cache still has it. */
#define CODEC_PIECE 512
struct codec_ints {
    uint32_t transform, skip; /* Places before the first residual. */
    bool is_zigzag;
    bool is_still; /* All are the first: there are no residuals. */
    uint64_t first, divisor, bias, last, step;
    int64_t slope, offset;
};
MUST_CHECK bool codec_ints_begin(struct codec_ints *ints, struct reader *in, uint32_t count,
                                 int64_t *integers);
void codec_ints_next(struct codec_ints *ints, int64_t *integers, uint32_t from, uint32_t to);

/* Residuals. Costs are estimates in bits. */
uint64_t codec_pack_cost(const uint64_t *residuals, uint32_t count, bool framed);
void codec_pack_encode(const uint64_t *residuals, uint32_t count, bool framed, struct buf *out);
MUST_CHECK bool codec_pack_decode(struct reader *in, uint32_t count, uint64_t *residuals);

uint64_t codec_list_cost(const uint64_t *residuals, uint32_t count);
void codec_list_encode(const uint64_t *residuals, uint32_t count, struct buf *out);
MUST_CHECK bool codec_list_decode(struct reader *in, uint32_t count, uint64_t *residuals);

/* Of lengths alone: a rough upper bound, for choosing among transforms. */
uint64_t codec_rans_cost(const uint64_t *residuals, uint32_t count);
/* What the coder is to be, and what it will write. */
struct codec_rans_plan {
    bool is_wide;
    uint32_t sub_bits, first, last; /* Classes. */
    uint64_t cost;                  /* CODEC_COST_NONE: the residuals do not suit. */
};
struct codec_rans_plan codec_rans_choose(struct codec_ints_scratch *scratch,
                                         const uint64_t *residuals, uint32_t count);
/* Residuals of many even low bits; *shift: how many of them. CODEC_COST_NONE: there are none. */
uint64_t codec_split_cost(const uint64_t *residuals, uint32_t count, uint32_t *shift);
/* False (and nothing written) when the residuals do not suit; spoils them. */
bool codec_split_encode(struct codec_ints_scratch *scratch, uint64_t *residuals, uint32_t count,
                        uint32_t shift, struct buf *out);
MUST_CHECK bool codec_split_decode(struct reader *in, uint32_t count, uint64_t *residuals);
uint64_t codec_rice_cost(const uint64_t *residuals, uint32_t count, uint32_t *k);
void codec_rice_encode(const uint64_t *residuals, uint32_t count, uint32_t k, struct buf *out);
MUST_CHECK bool codec_rice_decode(struct reader *in, uint32_t count, uint64_t *residuals);
struct codec_widths {
    uint8_t few, many; /* Bits. */
};
uint64_t codec_mask_cost(const uint64_t *residuals, uint32_t count, struct codec_widths *widths);
void codec_mask_encode(const uint64_t *residuals, uint32_t count, struct codec_widths widths,
                       struct buf *out);
MUST_CHECK bool codec_mask_decode(struct reader *in, uint32_t count, uint64_t *residuals);
/* False (and nothing written) when the residuals do not suit. */
bool codec_rans_encode(struct codec_ints_scratch *scratch, const struct codec_rans_plan *plan,
                       const uint64_t *residuals, uint32_t count, struct buf *out);
MUST_CHECK bool codec_rans_decode(struct reader *in, bool is_wide, uint32_t count,
                                  uint64_t *residuals);

/* Bit fields, low bit first. */
struct codec_bits {
    struct buf *out;
    uint64_t word;
    uint32_t fill;
};
static inline uint32_t codec_length(uint64_t value)
{
    return value ? 64 - (uint32_t)__builtin_clzll(value) : 0;
}
static inline uint64_t codec_mask(uint32_t width)
{
    return width ? UINT64_MAX >> (64 - width) : 0;
}
static inline void codec_bits_put(struct codec_bits *bits, uint64_t value, uint32_t width)
{
    value &= codec_mask(width);
    bits->word |= value << bits->fill;
    if (bits->fill + width < 64) {
        bits->fill += width;
        return;
    }
    write_u64(bits->out, bits->word);
    uint32_t used = 64 - bits->fill;
    bits->word = used < 64 ? value >> used : 0;
    bits->fill = bits->fill + width - 64;
}
static inline void codec_bits_flush(struct codec_bits *bits)
{
    for (; bits->fill > 0; bits->fill = bits->fill > 8 ? bits->fill - 8 : 0) {
        write_u8(bits->out, (uint8_t)bits->word);
        bits->word >>= 8;
    }
    bits->word = 0;
}
/* 57 bits at least; zeroes beyond the end. */
static inline uint64_t codec_bits_near(struct str bytes, size_t bit)
{
    uint64_t word = 0;
    size_t at = bit >> 3;
    if (LIKELY(bytes.len >= sizeof(word) && at <= bytes.len - sizeof(word)))
        memcpy(&word, bytes.ptr + at, sizeof(word));
    else if (at < bytes.len)
        memcpy(&word, bytes.ptr + at, bytes.len - at);
    return word >> (bit & 7);
}
/* Reads 9 bytes at most from `in` + at / 8: the caller has padded. */
static inline uint64_t codec_bits_get(const uint8_t *in, size_t at, uint32_t width)
{
    uint64_t word;
    uint32_t shift = (uint32_t)(at & 7);
    memcpy(&word, in + (at >> 3), sizeof(word));
    word >>= shift;
    if (width + shift > 64)
        word |= (uint64_t)in[(at >> 3) + 8] << (64 - shift);
    return word & codec_mask(width);
}

#endif
