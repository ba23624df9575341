/* stream: see stream.h. Byte-aligned, so that a reader needs no lock while bytes are added, and the log carries the very
 * same bytes; density is won in day files. */
#include "stream.h"

#include <math.h>
#include <string.h>

#include "base/ensure.h"
#include "codec.h"
#include "model/sample.h"

#define INTEGER_MAX 9007199254740992.0 /* 2^53 */
#define STEP_MAX    (INT64_C(1) << 54)

#define INTEGER_SURE (INT64_C(1) << 50) /* Below, an integer is found again in its value's bits. */
#define WALK_MARGIN  12                 /* No short entry is longer. */
#define STEPS_SURE                                                                                 \
    (INTEGER_SURE / 2) /* From here a run of two-byte steps stays below INTEGER_SURE. */

/* (offset, length) pairs of the XOR codes: code 1 + index. */
static const struct xor_window {
    uint8_t offset, len;
} XOR_WINDOWS[36] = {
    {0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {0, 2}, {1, 2}, {2, 2}, {3, 2},
    {4, 2}, {5, 2}, {6, 2}, {0, 3}, {1, 3}, {2, 3}, {3, 3}, {4, 3}, {5, 3}, {0, 4}, {1, 4}, {2, 4},
    {3, 4}, {4, 4}, {0, 5}, {1, 5}, {2, 5}, {3, 5}, {0, 6}, {1, 6}, {2, 6}, {0, 7}, {1, 7}, {0, 8},
};
/* Index of the first window of each length: code = XOR_FIRST[len] + offset + 1. */
static const uint8_t XOR_FIRST[9] = {0, 0, 8, 15, 21, 26, 30, 33, 35};

static const double POWERS[STREAM_EXPONENT_MAX + 1] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                                       1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t len = 0;
    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

/* True, and the integer, when (double)integer / 10^exponent has exactly these bits. */
static inline bool bits_decimal(uint64_t bits, uint8_t exponent, int64_t *out)
{
    double scaled = sample_from_bits(bits);
    if (exponent > 0)
        scaled *= POWERS[exponent];
    if (!(scaled > -INTEGER_MAX && scaled < INTEGER_MAX))
        return false;
    int64_t integer = exponent > 0 ? (int64_t)nearbyint(scaled) : (int64_t)scaled;
    double back = (double)integer;
    if (exponent > 0)
        back /= POWERS[exponent];
    *out = integer;
    return sample_bits(back) == bits;
}

static inline uint64_t decimal_bits(int64_t integer, uint8_t exponent)
{
    double value = (double)integer;
    return sample_bits(exponent > 0 ? value / POWERS[exponent] : value);
}

static size_t encode_xor(uint64_t before, uint64_t bits, uint8_t *out)
{
    uint64_t difference = before ^ bits;
    if (difference == 0) { /* The first of a run may be 0. */
        out[0] = STREAM_XOR_FIRST;
        out[1] = 0;
        return 2;
    }
    unsigned offset = (unsigned)__builtin_ctzll(difference) / 8;
    unsigned end = 8 - (unsigned)__builtin_clzll(difference) / 8;
    unsigned len = end - offset;
    difference >>= 8 * offset;
    out[0] = (uint8_t)(XOR_FIRST[len] + offset + 1);
    for (unsigned i = 0; i < len; i++)
        out[1 + i] = (uint8_t)(difference >> (8 * i));
    return 1 + len;
}

static size_t encode_step(int64_t step, uint8_t *out)
{
    if (step >= -32 && step <= 31) {
        out[0] = (uint8_t)(72 + step);
        return 1;
    }
    out[0] = STREAM_STEP;
    return 1 + put_varint(out + 1, zigzag_encode(step));
}

/* A higher exponent under which the value is decimal; false when there is none. */
static bool raise_exponent(struct stream_state *state, uint64_t bits, int64_t *integer)
{
    if (state->wanted == STREAM_NO_EXPONENT)
        return false;
    for (uint8_t e = (uint8_t)(state->exponent + 1); e <= STREAM_EXPONENT_MAX; e++) {
        if (bits_decimal(bits, e, integer)) {
            state->exponent = state->wanted = e;
            return true;
        }
    }
    double value = sample_from_bits(bits);
    if (value == value && value - value == 0) /* NaN and infinities tell nothing. */
        state->wanted = STREAM_NO_EXPONENT;
    return false;
}

size_t stream_encode(struct stream_state *state, uint64_t bits, uint8_t out[STREAM_ENTRY_MAX])
{
    int64_t integer, before;
    uint8_t other[STREAM_ENTRY_MAX];
    size_t len;
    if (bits == SAMPLE_STALE_BITS) {
        out[0] = STREAM_STALE;
        len = 1;
    } else if (bits_decimal(bits, state->exponent, &integer)) {
        if (bits_decimal(state->bits, state->exponent, &before)) {
            len = encode_step(integer - before, out);
        } else {
            out[0] = STREAM_DECIMAL;
            out[1] = state->exponent;
            len = 2 + put_varint(out + 2, zigzag_encode(integer));
        }
        size_t other_len = len > 3 ? encode_xor(state->bits, bits, other) : SIZE_MAX;
        if (other_len < len) {
            len = other_len;
            memcpy(out, other, len);
        }
    } else if (raise_exponent(state, bits, &integer)) {
        out[0] = STREAM_DECIMAL;
        out[1] = state->exponent;
        len = 2 + put_varint(out + 2, zigzag_encode(integer));
    } else {
        len = encode_xor(state->bits, bits, out);
    }
    state->bits = bits;
    return len;
}

bool stream_decode(struct stream_state *state, uint8_t code, struct reader *in)
{
    int64_t integer, step;
    if (code >= STREAM_STEP_FIRST && code <= STREAM_STEP) {
        if (!bits_decimal(state->bits, state->exponent, &integer))
            return false;
        step = code == STREAM_STEP ? read_zigzag(in) : (int64_t)code - 72;
        if (step > STEP_MAX || step < -STEP_MAX)
            return false;
        state->bits = decimal_bits(integer + step, state->exponent);
        return !in->bad;
    }
    if (code >= STREAM_XOR_FIRST && code <= STREAM_XOR_LAST) {
        const struct xor_window *window = &XOR_WINDOWS[code - 1];
        struct str bytes = read_bytes(in, window->len);
        uint64_t difference = 0;
        for (size_t i = 0; i < bytes.len; i++)
            difference |= (uint64_t)(uint8_t)bytes.ptr[i] << (8 * (i + window->offset));
        state->bits ^= difference;
        return !in->bad;
    }
    switch (code) {
    case STREAM_STALE:
        state->bits = SAMPLE_STALE_BITS;
        return true;
    case STREAM_RAW:
        state->bits = read_u64(in);
        return !in->bad;
    case STREAM_DECIMAL:
        state->exponent = state->wanted = read_u8(in);
        integer = read_zigzag(in);
        if (in->bad || state->exponent > STREAM_EXPONENT_MAX || integer > STEP_MAX ||
            integer < -STEP_MAX)
            return false;
        state->bits = decimal_bits(integer, state->exponent);
        return true;
    default:
        return false;
    }
}

bool stream_skip(uint8_t code, struct reader *in)
{
    if (code >= STREAM_XOR_FIRST && code <= STREAM_XOR_LAST)
        (void)read_bytes(in, XOR_WINDOWS[code - 1].len);
    else if (code == STREAM_ABSENT || code == STREAM_STEP)
        (void)read_varint(in);
    else if (code == STREAM_RAW)
        (void)read_u64(in);
    else if (code == STREAM_DECIMAL)
        (void)read_u8(in), (void)read_varint(in);
    else if (code == STREAM_HISTOGRAM)
        (void)read_varint_str(in);
    else if (code > STREAM_HISTOGRAM)
        return false;
    return !in->bad;
}

/* Where a reader stands in a run. */
struct walk {
    struct stream_state state;
    const struct histogram *histogram; /* The newest value, when it is one. */
    uint32_t row, last_row;
    const int64_t *times_ms;
    struct samples *out;
    bool any; /* An entry was seen. */
};

static void walk_emit(struct walk *walk, uint32_t count)
{
    struct samples *out = walk->out;
    const int64_t *times = walk->times_ms + walk->row;
    if (walk->histogram) {
        for (uint32_t i = 0; i < count; i++)
            samples_add_histogram(out, times[i], walk->histogram);
    } else {
        double value = sample_from_bits(walk->state.bits);
        for (uint32_t i = 0; i < count; i++)
            samples_add(out, times[i], value);
    }
    walk->row += count;
}

/* A varint of at most three bytes; NULL when it is longer. Three bytes can be read. */
static inline const uint8_t *short_varint(const uint8_t *at, uint32_t *out)
{
    uint32_t value = at[0] & 0x7f;
    if (at[0] < 0x80) {
        *out = value;
        return at + 1;
    }
    value |= (uint32_t)(at[1] & 0x7f) << 7;
    if (at[1] < 0x80) {
        *out = value;
        return at + 2;
    }
    *out = value | (uint32_t)(at[2] & 0x7f) << 14;
    return at[2] < 0x80 ? at + 3 : NULL;
}

/* Moves *bits on by a step; the integer is kept from step to step where it surely is what the bits say. */
static inline bool step_on(const struct walk *walk, int32_t step, uint64_t *bits, int64_t *integer,
                           bool *known)
{
    uint8_t exponent = walk->state.exponent;
    if (!*known && !bits_decimal(*bits, exponent, integer))
        return false;
    *integer += step;
    *known = *integer > -INTEGER_SURE && *integer < INTEGER_SURE;
    *bits = decimal_bits(*integer, exponent);
    return *known;
}

/* Bytes of a run: an entry may begin before `stop`, then WALK_MARGIN bytes can be read; none goes beyond `end`. */
struct span_bytes {
    const uint8_t *stop, *end;
};

/* An integer below 2^51 as the low bits of a double of 1.5 * 2^52: taken from that, it is the integer as a double. */
#define LIFTED_BITS  UINT64_C(0x4338000000000000)
#define LIFTED_VALUE 6755399441055744.0

typedef double four_doubles __attribute__((vector_size(32)));

/* Lifted integers become values, four at a time. */
static void settle_values(double *value, uint32_t count, uint8_t exponent)
{
    const four_doubles lifted = {LIFTED_VALUE, LIFTED_VALUE, LIFTED_VALUE, LIFTED_VALUE};
    double power = POWERS[exponent];
    const four_doubles powers = {power, power, power, power};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        four_doubles four;
        memcpy(&four, value + i, sizeof(four));
        four -= lifted;
        if (exponent > 0)
            four /= powers;
        memcpy(value + i, &four, sizeof(four));
    }
    for (; i < count; i++) {
        value[i] -= LIFTED_VALUE;
        if (exponent > 0)
            value[i] /= power;
    }
}

/* Steps without gaps, of at most two bytes each beside their code, one row after the other. How long an entry is follows from
 * its bytes by arithmetic: counters and gauges mix short and long steps, and a wrong guess would cost more than all of an
 * entry. Returns where it stopped; *rows is how many values were written. */
static const uint8_t *walk_steps(const uint8_t *at, struct span_bytes span, uint8_t exponent,
                                 int64_t *integer, uint32_t rows_max, double *value, uint32_t *rows)
{
    int64_t now = *integer;
    uint32_t row = 0;
    while (at < span.stop && row < rows_max) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        uint32_t code = (uint32_t)word & 0xff;
        uint32_t is_long = code == STREAM_STEP, more = (uint32_t)(word >> 15) & 1;
        uint32_t has_third = is_long & more & (uint32_t)(word >> 23);
        const uint8_t *next = at + 1 + is_long + (is_long & more);
        if ((code - STREAM_STEP_FIRST > STREAM_STEP - STREAM_STEP_FIRST) | has_third |
            (next > span.end))
            break;
        uint32_t raw =
            ((uint32_t)(word >> 8) & 0x7f) | ((uint32_t)(word >> 9) & 0x3f80 & (0 - more));
        int32_t step = (int32_t)(raw >> 1) ^ -(int32_t)(raw & 1), mask = -(int32_t)is_long;
        now += (step & mask) | (((int32_t)code - 72) & ~mask);
        value[row++] = sample_from_bits((uint64_t)now + LIFTED_BITS);
        at = next;
    }
    settle_values(value, row, exponent);
    *integer = now;
    *rows = row;
    return at;
}

/* XORs without gaps, one row after the other. At least one, unless it goes beyond the end. */
static const uint8_t *walk_xors(const uint8_t *at, struct span_bytes span, uint64_t *bits,
                                uint32_t rows_max, double *value, uint32_t *rows)
{
    uint64_t now = *bits;
    uint32_t row = 0;
    while (at < span.stop && row < rows_max) {
        uint32_t index = (uint32_t)*at - STREAM_XOR_FIRST;
        if (index > STREAM_XOR_LAST - STREAM_XOR_FIRST)
            break;
        struct xor_window window = XOR_WINDOWS[index];
        const uint8_t *next = at + 1 + window.len;
        uint64_t difference;
        if (next > span.end)
            break;
        memcpy(&difference, at + 1, sizeof(difference));
        now ^= (difference & UINT64_MAX >> (64 - 8 * window.len)) << (8 * window.offset);
        value[row++] = sample_from_bits(now);
        at = next;
    }
    *bits = now;
    *rows = row;
    return at;
}

/* The bulk of what there is: short steps and XORs of floats, far enough from the end to be read without care. Stops in
 * front of the first entry that is anything else, be it good or not. */
static const uint8_t *walk_plain(struct walk *walk, const uint8_t *at, struct span_bytes span)
{
    struct samples *out = walk->out;
    uint64_t bits = walk->state.bits;
    int64_t integer = 0;
    bool known = false;
    uint32_t row = walk->row;
    double *value = out->value + out->count;
    int64_t *time_ms = out->time_ms + out->count;
    while (at < span.stop && row < walk->last_row) {
        uint8_t code = *at & (STREAM_GAP - 1);
        const uint8_t *next = at + 1;
        uint32_t gap = 0, step = 0, rows = 0;
        if ((uint32_t)*at - STREAM_XOR_FIRST <= STREAM_XOR_LAST - STREAM_XOR_FIRST) {
            known = false;
            at = walk_xors(at, span, &bits, walk->last_row - row, value, &rows);
            if (rows == 0)
                break;
            memcpy(time_ms, walk->times_ms + row, rows * sizeof(*time_ms));
            time_ms += rows;
            value += rows;
            row += rows;
            continue;
        }
        if (code == STREAM_ABSENT || code > STREAM_STEP ||
            (code > STREAM_XOR_LAST && code < STREAM_STEP_FIRST))
            break;
        if (*at & STREAM_GAP && !(next = short_varint(next, &gap)))
            break;
        if (gap >= walk->last_row - row ||
            (code == STREAM_STEP && !(next = short_varint(next, &step))))
            break;
        double before = sample_from_bits(bits);
        if (code <= STREAM_XOR_LAST) {
            const struct xor_window *window = &XOR_WINDOWS[code - 1];
            uint64_t difference;
            memcpy(&difference, next, sizeof(difference));
            difference &= UINT64_MAX >> (64 - 8 * window->len);
            next += window->len;
            if (next > span.end)
                break;
            bits ^= difference << (8 * window->offset);
            known = false;
        } else {
            int32_t change = code == STREAM_STEP ? (int32_t)(step >> 1) ^ -(int32_t)(step & 1)
                                                 : (int32_t)code - 72;
            uint64_t stepped = bits;
            if (next > span.end || !step_on(walk, change, &stepped, &integer, &known))
                break;
            bits = stepped;
        }
        for (; gap > 0; gap--) {
            *time_ms++ = walk->times_ms[row++];
            *value++ = before;
        }
        *time_ms++ = walk->times_ms[row++];
        *value++ = sample_from_bits(bits);
        at = next;
        if (!known || integer <= -STEPS_SURE || integer >= STEPS_SURE)
            continue;
        at = walk_steps(at, span, walk->state.exponent, &integer, walk->last_row - row, value,
                        &rows);
        memcpy(time_ms, walk->times_ms + row, rows * sizeof(*time_ms));
        time_ms += rows;
        value += rows;
        row += rows;
        bits = rows ? sample_bits(value[-1]) : bits;
    }
    out->count += row - walk->row;
    walk->row = row;
    walk->state.bits = bits;
    return at;
}

static bool walk_histogram(struct walk *walk, struct reader *in)
{
    struct reader body = reader_over(read_varint_str(in));
    struct histogram *histogram;
    if (in->bad ||
        !codec_histogram_decode(&body, walk->histogram, &walk->out->histograms, &histogram))
        return false;
    walk->histogram = histogram;
    return body.at == body.end;
}

bool stream_read(struct str bytes, uint32_t first_row, uint32_t last_row, const int64_t *times_ms,
                 uint32_t rows, struct samples *out)
{
    return stream_read_amid(bytes, 0, first_row, last_row, times_ms, rows, out);
}

bool stream_read_amid(struct str bytes, size_t beyond, uint32_t first_row, uint32_t last_row,
                      const int64_t *times_ms, uint32_t rows, struct samples *out)
{
    struct reader in = reader_over(bytes);
    size_t short_of = beyond < WALK_MARGIN ? WALK_MARGIN - beyond : 0;
    struct span_bytes span = {.stop = in.at + (bytes.len > short_of ? bytes.len - short_of : 0),
                              .end = in.end};
    struct walk walk = {.row = first_row, .last_row = last_row, .times_ms = times_ms, .out = out};
    if (first_row > last_row || last_row >= rows)
        return false;
    samples_reserve(out, last_row - first_row + 1);
    while (in.at < in.end) {
        if (walk.any && !walk.histogram && !out->histogram)
            in.at = walk_plain(&walk, in.at, span);
        if (in.at == in.end)
            break;
        if (walk.row > last_row)
            return false;
        uint8_t control = *in.at++;
        uint8_t code = control & (STREAM_GAP - 1);
        if (control & STREAM_GAP) {
            uint64_t gap = read_varint(&in);
            if (in.bad || !walk.any || gap > last_row - walk.row)
                return false;
            walk_emit(&walk, (uint32_t)gap);
        }
        if (code == STREAM_ABSENT) {
            uint64_t absent = read_varint(&in);
            if (in.bad || absent == 0 || absent > last_row - walk.row)
                return false;
            walk.row += (uint32_t)absent;
            continue;
        }
        if (code == STREAM_HISTOGRAM) {
            if (!walk_histogram(&walk, &in))
                return false;
        } else {
            if (!stream_decode(&walk.state, code, &in))
                return false;
            walk.histogram = NULL;
        }
        walk.any = true;
        walk_emit(&walk, 1);
    }
    if (!walk.any)
        return false;
    walk_emit(&walk, last_row + 1 - walk.row);
    return true;
}

static void put_control(struct buf *out, uint8_t code, uint32_t gap)
{
    write_u8(out, gap ? code | STREAM_GAP : code);
    if (gap)
        write_varint(out, gap);
}

void stream_write(const struct samples *samples, size_t first, size_t count,
                  const int64_t *times_ms, uint32_t rows, struct buf *out, uint32_t *first_row,
                  uint32_t *last_row)
{
    struct stream_state state = {0};
    const struct histogram *histogram = NULL;
    uint32_t row = 0, gap = 0, expected;
    while (times_ms[row] != samples->time_ms[first])
        row++;
    *first_row = expected = row;
    for (size_t i = first; i < first + count; i++, expected = ++row) {
        while (times_ms[row] != samples->time_ms[i]) {
            row++;
            ENSURE(row < rows);
        }
        if (row > expected) {
            put_control(out, STREAM_ABSENT, gap);
            write_varint(out, row - expected);
            gap = 0;
        }
        const struct histogram *now = samples->histogram ? samples->histogram[i] : NULL;
        uint64_t bits = sample_bits(samples->value[i]);
        if (now) {
            struct buf body;
            buf_init(&body, (size_t)64 << 20);
            codec_histogram_encode(now, histogram, &body);
            put_control(out, STREAM_HISTOGRAM, gap);
            write_varint_str(out, buf_str(&body));
            buf_deinit(&body);
            gap = 0;
        } else if (i > first && !histogram && bits == state.bits) {
            gap++;
        } else {
            uint8_t entry[STREAM_ENTRY_MAX];
            size_t len = stream_encode(&state, bits, entry);
            put_control(out, entry[0], gap);
            buf_add(out, entry + 1, len - 1);
            gap = 0;
        }
        histogram = now;
    }
    *last_row = row - 1;
}
