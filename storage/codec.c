/* codec: see codec.h. The choice among the sources of integers, odd values, and the check of each chunk.
 *
 *     u8 mode | exponent << 4
 *     raw             8 bytes a value
 *     xor             first value, 8 bytes; then a control byte: zero low bytes | bytes << 4, and the bytes
 *     repeat          nothing
 *     constant        8 bytes, or zigzag integer
 *     decimal, family [odd values]  integer column to the end (codec_ints.c); of a family, less the column before
 *     bits            integer column of the floats' bits in the order of the floats
 *     near            varint length, integer column; integer column of units in the last place to the end
 *     odd values      varint runs  (varint distance  varint length - 1  u8 kind  [8 bytes])*
 *
 * At odd values the integer before goes on; a column with odd values is still what the next of a family is coded
 * against, so that a stale marker at the end of all buckets costs three bytes each. */
#include "codec_private.h"

#include "base/mem.h"
#include "model/sample.h"

/* From both on true floats may look decimal: their bits are tried, too. */
#define EXPONENT_DOUBTFUL 8
#define INTEGER_DOUBTFUL  (INT64_C(1) << 49)
#define NEAR_PROBE        64
#define NEAR_SHARE        64 /* Of the grid's step: so near are few floats by chance. */

struct codec_encoder {
    struct codec_ints_scratch ints;
    int64_t integers[CODEC_VALUES_MAX];
    int64_t differences[CODEC_VALUES_MAX];
    bool is_odd[CODEC_VALUES_MAX];
    struct buf best, trial, part;
    struct codec_column check;
    uint32_t spoil;
};

/* Bits of the kinds of odd values that are written in one byte; kind 0 is followed by 8 bytes. */
static const uint64_t ODD_BITS[] = {
    0,
    SAMPLE_STALE_BITS,
    SAMPLE_NORMAL_BITS,
    UINT64_C(0x7ff0000000000000), /* +Inf */
    UINT64_C(0xfff0000000000000), /* -Inf */
    UINT64_C(0x8000000000000000), /* -0 */
};

struct codec_encoder *codec_encoder_new(void)
{
    struct codec_encoder *encoder = MEM_NEW(struct codec_encoder);
    buf_init(&encoder->best, CODEC_BYTES_MAX);
    buf_init(&encoder->trial, CODEC_BYTES_MAX);
    buf_init(&encoder->part, CODEC_BYTES_MAX);
    return encoder;
}

void codec_encoder_free(struct codec_encoder *encoder)
{
    if (!encoder)
        return;
    buf_deinit(&encoder->best);
    buf_deinit(&encoder->trial);
    buf_deinit(&encoder->part);
    mem_free(encoder);
}

void codec_encoder_spoil(struct codec_encoder *encoder, uint32_t attempts)
{
    encoder->spoil = attempts;
}

enum codec_mode codec_mode(struct str bytes)
{
    return bytes.len ? (enum codec_mode)(bytes.ptr[0] & 15) : (enum codec_mode)0;
}

enum codec_coder codec_coder(struct str bytes)
{
    ENSURE(bytes.len > 1);
    return (enum codec_coder)((uint8_t)bytes.ptr[1] >> 5);
}

bool codec_is_constant(const double *values, uint32_t count)
{
    uint64_t bits = sample_bits(values[0]);
    for (uint32_t i = 1; i < count; i++) {
        if (sample_bits(values[i]) != bits)
            return false;
    }
    return true;
}

void codec_write_constant(double value, struct buf *out)
{
    int64_t integer;
    bool is_odd;
    uint32_t exponent = codec_decimal_exponent(&value, 1);
    if (codec_decimal_convert(&value, 1, exponent, &integer, &is_odd) > 0) {
        write_u8(out, CODEC_CONST_BITS);
        write_u64(out, sample_bits(value));
        return;
    }
    write_u8(out, (uint8_t)(CODEC_CONST_INTEGER | exponent << 4));
    write_zigzag(out, integer);
}

/* From `at`: where the run of equal odd bits ends. */
static uint32_t odd_run_end(const bool *is_odd, const double *values, uint32_t count, uint32_t at)
{
    uint64_t bits = sample_bits(values[at]);
    while (at < count && is_odd[at] && sample_bits(values[at]) == bits)
        at++;
    return at;
}

static uint32_t odd_next(const bool *is_odd, uint32_t count, uint32_t at)
{
    while (at < count && !is_odd[at])
        at++;
    return at;
}

static uint32_t odd_runs(const bool *is_odd, const double *values, uint32_t count)
{
    uint32_t runs = 0;
    for (uint32_t at = odd_next(is_odd, count, 0); at < count; runs++)
        at = odd_next(is_odd, count, odd_run_end(is_odd, values, count, at));
    return runs;
}

void codec_write_odd(const bool *is_odd, const double *values, uint32_t count, struct buf *out)
{
    uint32_t last = 0;
    write_varint(out, odd_runs(is_odd, values, count));
    for (uint32_t at = odd_next(is_odd, count, 0); at < count; at = odd_next(is_odd, count, at)) {
        uint64_t bits = sample_bits(values[at]);
        uint32_t end = odd_run_end(is_odd, values, count, at);
        uint8_t kind = COUNT_OF(ODD_BITS) - 1;
        while (kind > 0 && ODD_BITS[kind] != bits)
            kind--;
        write_varint(out, at - last);
        write_varint(out, end - at - 1);
        write_u8(out, kind);
        if (kind == 0)
            write_u64(out, bits);
        last = at = end;
    }
}

static void keep_shorter(struct codec_encoder *encoder)
{
    if (encoder->trial.overflow)
        return;
    if (encoder->best.len == 0 || encoder->trial.len < encoder->best.len)
        buf_swap(&encoder->best, &encoder->trial);
}

/* The integers as they are, or how far they are from those of `base`, to the side where they are at the end. */
static void try_integers(struct codec_encoder *encoder, const double *values, uint32_t count,
                         uint32_t exponent, uint32_t odd_count, const struct codec_column *base)
{
    const int64_t *integers = encoder->integers;
    bool is_under = base && base->integers[count - 1] > integers[count - 1];
    enum codec_mode plain = is_under ? CODEC_UNDER : base ? CODEC_FAMILY : CODEC_DECIMAL;
    buf_clear(&encoder->trial);
    write_u8(&encoder->trial, (uint8_t)((plain + (odd_count > 0)) | exponent << 4));
    if (odd_count > 0)
        codec_write_odd(encoder->is_odd, values, count, &encoder->trial);
    for (uint32_t i = 0; base && i < count; i++) {
        uint64_t above = (uint64_t)integers[i] - (uint64_t)base->integers[i];
        encoder->differences[i] = (int64_t)(is_under ? 0 - above : above);
    }
    if (base)
        integers = encoder->differences;
    codec_ints_encode(&encoder->ints, integers, count, &encoder->trial);
    keep_shorter(encoder);
}

/* The column before may need a longer exponent: then this one takes it as well, if it can. */
static void try_family(struct codec_encoder *encoder, const double *values, uint32_t count,
                       uint32_t exponent, uint32_t odd_count, const struct codec_column *previous)
{
    if (!previous || !previous->has_base || previous->exponent < exponent)
        return;
    if (previous->exponent > exponent &&
        codec_decimal_convert(values, count, previous->exponent, encoder->integers,
                              encoder->is_odd) != odd_count)
        return;
    try_integers(encoder, values, count, previous->exponent, odd_count, previous);
}

/* Where the decimal grid is about as fine as the floats', any float is decimal: no proof that it is one by nature. */
static bool is_doubtful(const int64_t *integers, uint32_t count, uint32_t exponent)
{
    for (uint32_t i = 0; exponent >= EXPONENT_DOUBTFUL && i < count; i++) {
        if (integers[i] > INTEGER_DOUBTFUL || integers[i] < -INTEGER_DOUBTFUL)
            return true;
    }
    return false;
}

/* True when a decimal exponent suits well enough for bits not to be tried. */
static bool try_decimal(struct codec_encoder *encoder, const double *values, uint32_t count,
                        const struct codec_column *previous)
{
    uint32_t exponent = codec_decimal_exponent(values, count);
    uint32_t odd_count =
        codec_decimal_convert(values, count, exponent, encoder->integers, encoder->is_odd);
    if (odd_count == count || odd_runs(encoder->is_odd, values, count) > count / 4 + 1)
        return false;
    try_integers(encoder, values, count, exponent, odd_count, NULL);
    try_family(encoder, values, count, exponent, odd_count, previous);
    return odd_count <= count / 64 && !is_doubtful(encoder->integers, count, exponent);
}

static void try_bits(struct codec_encoder *encoder, const double *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        encoder->integers[i] = codec_bits_order(sample_bits(values[i]));
    buf_clear(&encoder->trial);
    write_u8(&encoder->trial, CODEC_BITS);
    codec_ints_encode(&encoder->ints, encoder->integers, count, &encoder->trial);
    keep_shorter(encoder);
}

/* Sums of decimals, as doubles add them up, are a few units in the last place beside a decimal. True when this one's
 * distance from the grid is far below what it would be by chance. */
static bool is_near(double value, uint32_t exponent)
{
    int64_t integer, units;
    if (!codec_decimal_near(value, exponent, &integer, &units))
        return false;
    int64_t step = codec_bits_order(sample_bits((double)(integer + 1) / CODEC_POWERS[exponent])) -
                   codec_bits_order(sample_bits((double)integer / CODEC_POWERS[exponent]));
    return step / NEAR_SHARE > 0 && units <= step / NEAR_SHARE && units >= -step / NEAR_SHARE;
}

static bool near_exponent(const double *values, uint32_t count, uint32_t *out)
{
    uint32_t step = count / NEAR_PROBE + 1;
    for (uint32_t exponent = 0; exponent <= CODEC_EXPONENT_MAX; exponent++) {
        uint32_t probed = 0, near = 0;
        for (uint32_t i = 0; i < count; i += step, probed++)
            near += is_near(values[i], exponent);
        if (near >= probed - probed / 8) {
            *out = exponent;
            return true;
        }
    }
    return false;
}

static void try_near(struct codec_encoder *encoder, const double *values, uint32_t count)
{
    uint32_t exponent;
    int64_t last = 0;
    if (!near_exponent(values, count, &exponent))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (!codec_decimal_near(values[i], exponent, &encoder->integers[i],
                                &encoder->differences[i])) {
            uint64_t grid = sample_bits((double)last / CODEC_POWERS[exponent]);
            encoder->integers[i] = last;
            encoder->differences[i] = (int64_t)((uint64_t)codec_bits_order(sample_bits(values[i])) -
                                                (uint64_t)codec_bits_order(grid));
        }
        last = encoder->integers[i];
    }
    buf_clear(&encoder->part);
    codec_ints_encode(&encoder->ints, encoder->integers, count, &encoder->part);
    buf_clear(&encoder->trial);
    write_u8(&encoder->trial, (uint8_t)(CODEC_NEAR | exponent << 4));
    write_varint_str(&encoder->trial, buf_str(&encoder->part));
    codec_ints_encode(&encoder->ints, encoder->differences, count, &encoder->trial);
    keep_shorter(encoder);
}

static void write_xor(const double *values, uint32_t count, struct buf *out)
{
    uint64_t last = sample_bits(values[0]);
    write_u8(out, CODEC_XOR);
    write_u64(out, last);
    for (uint32_t i = 1; i < count; i++) {
        uint64_t bits = sample_bits(values[i]), changed = bits ^ last;
        uint32_t low = changed ? (uint32_t)__builtin_ctzll(changed) / 8 : 0;
        uint32_t len = (codec_length(changed) + 7) / 8 - low;
        write_u8(out, (uint8_t)(low | len << 4));
        for (uint32_t byte = 0; byte < len; byte++)
            write_u8(out, (uint8_t)(changed >> (low + byte) * 8));
        last = bits;
    }
}

static void write_raw(const double *values, uint32_t count, struct buf *out)
{
    write_u8(out, CODEC_RAW);
    for (uint32_t i = 0; i < count; i++)
        write_u64(out, sample_bits(values[i]));
}

/* Decodes what was written and compares each bit: a bug here may cost bytes, never a value. */
static bool check(struct codec_encoder *encoder, const double *values, uint32_t count,
                  const struct codec_column *previous)
{
    struct buf *best = &encoder->best;
    if (encoder->spoil > 0 && best->len > 0) {
        encoder->spoil--;
        best->ptr[best->len / 2] = (char)(best->ptr[best->len / 2] ^ 0x10);
    }
    if (best->overflow || !codec_decode(buf_str(best), count, previous, &encoder->check))
        return false;
    return memcmp(values, encoder->check.values, count * sizeof(*values)) == 0;
}

static void write_shortest(struct codec_encoder *encoder, const double *values, uint32_t count,
                           const struct codec_column *previous)
{
    if (codec_is_constant(values, count)) {
        codec_write_constant(values[0], &encoder->best);
        return;
    }
    if (previous && memcmp(previous->values, values, count * sizeof(*values)) == 0) {
        write_u8(&encoder->best, CODEC_REPEAT);
        return;
    }
    if (!try_decimal(encoder, values, count, previous)) {
        try_bits(encoder, values, count);
        try_near(encoder, values, count);
    }
    if (encoder->best.len > 1 + count * sizeof(*values)) {
        buf_clear(&encoder->best);
        write_raw(values, count, &encoder->best);
    }
}

static void column_copy(struct codec_column *to, const struct codec_column *from)
{
    to->count = from->count;
    to->has_integers = from->has_integers;
    to->has_values = from->has_values;
    to->has_base = from->has_base;
    to->exponent = from->exponent;
    if (from->has_values)
        memcpy(to->values, from->values, from->count * sizeof(from->values[0]));
    if (from->has_base)
        memcpy(to->integers, from->integers, from->count * sizeof(from->integers[0]));
}

void codec_encode(struct codec_encoder *encoder, const double *values, uint32_t count,
                  const struct codec_column *previous, struct codec_column *column, struct buf *out)
{
    ENSURE(count >= 1 && count <= CODEC_VALUES_MAX);
    ENSURE(!previous || previous->count == count);
    buf_clear(&encoder->best);
    write_shortest(encoder, values, count, previous);
    if (!check(encoder, values, count, previous)) {
        buf_clear(&encoder->best);
        write_xor(values, count, &encoder->best);
        if (!check(encoder, values, count, previous)) {
            buf_clear(&encoder->best);
            write_raw(values, count, &encoder->best);
            ENSURE(check(encoder, values, count, previous));
        }
    }
    buf_add_str(out, buf_str(&encoder->best));
    if (column)
        column_copy(column, &encoder->check);
}

bool codec_needs_previous(struct str bytes)
{
    enum codec_mode mode = codec_mode(bytes);
    return mode == CODEC_REPEAT || mode == CODEC_FAMILY || mode == CODEC_FAMILY_ODD ||
           mode == CODEC_UNDER || mode == CODEC_UNDER_ODD;
}

static bool read_raw(struct reader *in, uint32_t count, double *values)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = sample_from_bits(read_u64(in));
    return !in->bad;
}

static bool read_xor(struct reader *in, uint32_t count, double *values)
{
    uint64_t bits = read_u64(in);
    values[0] = sample_from_bits(bits);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t control = read_u8(in), low = control & 15, len = control >> 4;
        if (low + len > 8)
            return false;
        for (uint32_t byte = 0; byte < len; byte++)
            bits ^= (uint64_t)read_u8(in) << (low + byte) * 8;
        values[i] = sample_from_bits(bits);
    }
    return !in->bad;
}

/* The list goes over values that have been made from integers. */
static bool read_odd(struct reader in, uint32_t count, double *values)
{
    uint64_t runs = read_varint(&in);
    uint32_t at = 0;
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t distance = read_varint(&in), more = read_varint(&in);
        uint8_t kind = read_u8(&in);
        if (in.bad || distance >= count - at || more >= count - at - distance ||
            kind >= COUNT_OF(ODD_BITS))
            return false;
        uint64_t bits = kind ? ODD_BITS[kind] : read_u64(&in);
        at += (uint32_t)distance;
        for (uint64_t end = at + more + 1; at < end; at++)
            values[at] = sample_from_bits(bits);
    }
    return !in.bad;
}

/* Steps over the list, which is applied last. */
static void skip_odd(struct reader *in, uint32_t count)
{
    uint64_t runs = read_varint(in);
    if (runs > count)
        in->bad = true;
    for (uint64_t i = 0; i < runs && !in->bad; i++) {
        read_varint(in);
        read_varint(in);
        if (read_u8(in) == 0)
            read_u64(in);
    }
}

static bool read_decimal(struct reader *in, enum codec_mode mode, uint32_t exponent, uint32_t count,
                         const struct codec_column *previous, struct codec_column *column)
{
    bool has_odd = mode == CODEC_DECIMAL_ODD || mode == CODEC_FAMILY_ODD || mode == CODEC_UNDER_ODD;
    bool is_family = mode == CODEC_FAMILY || mode == CODEC_FAMILY_ODD;
    bool is_under = mode == CODEC_UNDER || mode == CODEC_UNDER_ODD;
    struct reader odd = *in;
    if (exponent > CODEC_EXPONENT_MAX)
        return false;
    if ((is_family || is_under) && (!previous->has_base || previous->exponent != exponent))
        return false;
    if (has_odd)
        skip_odd(in, count);
    struct codec_ints ints;
    if (!codec_ints_begin(&ints, in, count, column->integers))
        return false;
    const struct codec_kernels *kernels = codec_kernels();
    column->has_values |= has_odd;
    for (uint32_t from = 0; from < count; from += CODEC_PIECE) {
        uint32_t n = count - from < CODEC_PIECE ? count - from : CODEC_PIECE;
        codec_ints_next(&ints, column->integers, from, from + n);
        if (is_family)
            kernels->add(column->integers + from, previous->integers + from, n);
        if (is_under)
            kernels->take(column->integers + from, previous->integers + from, n);
        if (column->has_values)
            kernels->to_doubles(column->integers + from, n, exponent, column->values + from);
    }
    column->has_base = true;
    column->has_integers = !has_odd;
    column->exponent = (uint8_t)exponent;
    return !has_odd || read_odd(odd, count, column->values);
}

static bool read_constant(struct reader *in, uint32_t exponent, uint32_t count,
                          struct codec_column *column)
{
    int64_t integer = read_zigzag(in);
    if (in->bad || exponent > CODEC_EXPONENT_MAX)
        return false;
    double value = (double)integer / CODEC_POWERS[exponent];
    for (uint32_t i = 0; i < count; i++) {
        column->integers[i] = integer;
        column->values[i] = value;
    }
    column->has_values = column->has_base = column->has_integers = true;
    column->exponent = (uint8_t)exponent;
    return true;
}

static bool read_bits(struct reader *in, uint32_t count, struct codec_column *column)
{
    struct codec_ints ints;
    if (!codec_ints_begin(&ints, in, count, column->integers))
        return false;
    for (uint32_t from = 0; from < count; from += CODEC_PIECE) {
        uint32_t to = count - from < CODEC_PIECE ? count : from + CODEC_PIECE;
        codec_ints_next(&ints, column->integers, from, to);
        for (uint32_t i = from; i < to; i++)
            column->values[i] = sample_from_bits(codec_bits_restore(column->integers[i]));
    }
    return true;
}

/* The column's integers are first those of the grid, then the distances from it. */
static bool read_near(struct reader *in, uint32_t exponent, uint32_t count,
                      struct codec_column *column)
{
    struct reader grid = reader_over(read_varint_str(in));
    if (in->bad || exponent > CODEC_EXPONENT_MAX ||
        !codec_ints_decode(&grid, count, column->integers) || grid.at != grid.end)
        return false;
    codec_kernels()->to_doubles(column->integers, count, exponent, column->values);
    if (!codec_ints_decode(in, count, column->integers))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t ordered = (uint64_t)codec_bits_order(sample_bits(column->values[i])) +
                           (uint64_t)column->integers[i];
        column->values[i] = sample_from_bits(codec_bits_restore((int64_t)ordered));
    }
    return true;
}

static bool read_chunk(struct reader *in, enum codec_mode mode, uint32_t exponent,
                       const struct codec_column *previous, struct codec_column *column)
{
    uint32_t count = column->count;
    double bits;
    switch (mode) {
    case CODEC_RAW:
        return read_raw(in, count, column->values);
    case CODEC_XOR:
        return read_xor(in, count, column->values);
    case CODEC_REPEAT:
        column_copy(column, previous);
        return true;
    case CODEC_CONST_BITS:
        bits = sample_from_bits(read_u64(in));
        for (uint32_t i = 0; i < count; i++)
            column->values[i] = bits;
        return true;
    case CODEC_CONST_INTEGER:
        return read_constant(in, exponent, count, column);
    case CODEC_BITS:
        return read_bits(in, count, column);
    case CODEC_NEAR:
        return read_near(in, exponent, count, column);
    case CODEC_DECIMAL:
    case CODEC_DECIMAL_ODD:
    case CODEC_FAMILY:
    case CODEC_FAMILY_ODD:
    case CODEC_UNDER:
    case CODEC_UNDER_ODD:
        return read_decimal(in, mode, exponent, count, previous, column);
    }
    return false;
}

static bool decode(struct str bytes, uint32_t count, const struct codec_column *previous,
                   bool wants_values, struct codec_column *column)
{
    struct reader in = reader_over(bytes);
    uint8_t head = read_u8(&in);
    enum codec_mode mode = (enum codec_mode)(head & 15);
    ENSURE(previous != column);
    column->count = 0;
    column->has_integers = column->has_base = false;
    column->exponent = 0;
    if (in.bad || count < 1 || count > CODEC_VALUES_MAX)
        return false;
    if (codec_needs_previous(bytes) && (!previous || previous->count != count))
        return false;
    column->count = count;
    column->has_values =
        wants_values || (mode != CODEC_DECIMAL && mode != CODEC_FAMILY && mode != CODEC_UNDER);
    if (read_chunk(&in, mode, head >> 4, previous, column) && !in.bad && in.at == in.end) {
        if (wants_values)
            codec_column_fill(column);
        return true;
    }
    column->count = 0;
    return false;
}

bool codec_decode(struct str bytes, uint32_t count, const struct codec_column *previous,
                  struct codec_column *column)
{
    return decode(bytes, count, previous, true, column);
}

bool codec_decode_base(struct str bytes, uint32_t count, const struct codec_column *previous,
                       struct codec_column *column)
{
    return decode(bytes, count, previous, false, column);
}

void codec_column_fill(struct codec_column *column)
{
    if (column->has_values)
        return;
    ENSURE(column->has_integers);
    codec_kernels()->to_doubles(column->integers, column->count, column->exponent, column->values);
    column->has_values = true;
}
