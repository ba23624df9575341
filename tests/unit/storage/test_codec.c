/* codec: each mode is chosen for the data it is made for, and every value comes back bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "codec_private.h"
#include "model/sample.h"

#define DAY       5760
#define BYTES_MAX (16 * CODEC_VALUES_MAX)

static uint64_t seed = 12345;
static struct codec_encoder *encoder;
static struct codec_column fast, portable, encoded;
static double values[CODEC_VALUES_MAX];

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double random_below(double bound)
{
    return floor((double)(random_u64() >> 11) / 9007199254740992.0 * bound);
}

static void assert_columns_same(const struct codec_column *a, const struct codec_column *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->has_integers, b->has_integers);
    assert_int_equal(a->has_base, b->has_base);
    assert_int_equal(a->exponent, b->exponent);
    assert_memory_equal(a->values, b->values, a->count * sizeof(double));
    if (a->has_base)
        assert_memory_equal(a->integers, b->integers, a->count * sizeof(int64_t));
}

/* Appends the chunk of values[0..count) to *out and reads it back by both kinds of kernels. */
static void round_trip_after(uint32_t count, const struct codec_column *previous, struct buf *out)
{
    size_t start = out->len;
    codec_encode(encoder, values, count, previous, &encoded, out);
    struct str bytes = str_from(out->ptr + start, out->len - start);
    assert_true(codec_decode(bytes, count, previous, &fast));
    assert_memory_equal(values, fast.values, count * sizeof(double));
    assert_columns_same(&fast, &encoded);
    codec_kernels_force_portable(true);
    assert_true(codec_decode(bytes, count, previous, &portable));
    codec_kernels_force_portable(false);
    assert_columns_same(&fast, &portable);
    for (uint32_t i = 0; fast.has_integers && i < count; i++) {
        double value = (double)fast.integers[i] / CODEC_POWERS[fast.exponent];
        assert_memory_equal(&value, &values[i], sizeof(value));
    }
}

struct outcome {
    enum codec_mode mode;
    enum codec_coder coder;
    size_t len;
};

static struct outcome outcome_of(struct str bytes)
{
    return (struct outcome){codec_mode(bytes), bytes.len > 1 ? codec_coder(bytes) : CODEC_ZERO,
                            bytes.len};
}

static struct outcome round_trip(uint32_t count)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    round_trip_after(count, NULL, &out);
    struct outcome outcome = outcome_of(buf_str(&out));
    buf_deinit(&out);
    return outcome;
}

static int setup(void **state)
{
    (void)state;
    seed = 12345;
    encoder = codec_encoder_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codec_encoder_free(encoder);
    return 0;
}

/* A fifth of a cluster's series never changes: a day of one must be a few bytes. */
static void test_codec_encode__writes_a_constant_in_a_few_bytes(void **state)
{
    (void)state;
    static const struct {
        double value;
        size_t len_max;
        enum codec_mode mode;
    } rows[] = {{0, 2, CODEC_CONST_INTEGER},      {1, 2, CODEC_CONST_INTEGER},
                {0.25, 3, CODEC_CONST_INTEGER},   {-1700000000.123, 8, CODEC_CONST_INTEGER},
                {0.1 + 0.2, 9, CODEC_CONST_BITS}, {-0.0, 9, CODEC_CONST_BITS},
                {INFINITY, 9, CODEC_CONST_BITS},  {5e-324, 9, CODEC_CONST_BITS}};
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        for (uint32_t i = 0; i < DAY; i++)
            values[i] = rows[row].value;
        struct outcome outcome = round_trip(DAY);
        assert_int_equal(outcome.mode, rows[row].mode);
        assert_true(outcome.len <= rows[row].len_max);
    }
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = sample_stale();
    assert_int_equal(round_trip(DAY).mode, CODEC_CONST_BITS);
}

/* A counter that hardly ever moves costs its moves, not its samples. */
static void test_codec_encode__lists_the_changes_of_idle_series(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 100 + (i > 700) + 7 * (i > 2000) + (i > 5000);
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_int_equal(outcome.coder, CODEC_LIST);
    assert_true(outcome.len < 20);
}

/* A constant step leaves nothing to write. */
static void test_codec_encode__writes_a_line_in_a_few_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 1.7e9 + 15.5 * i;
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_int_equal(outcome.coder, CODEC_ZERO);
    assert_true(outcome.len < 16);
}

/* Evenly spread differences have no entropy to win: the coder that decodes fastest is taken. */
static void test_codec_encode__packs_even_noise(void **state)
{
    (void)state;
    double total = 0;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_below(1024);
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_int_equal(outcome.coder, CODEC_PACK);
    assert_in_range(outcome.len, DAY * 10 / 8, DAY * 10 / 8 + 120);
}

/* Skewed differences, as most counters', are worth the entropy stage. */
static void test_codec_encode__takes_entropy_where_lengths_are_skewed(void **state)
{
    (void)state;
    double total = 0;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_u64() % 8 ? 0 : 1 + random_below(200);
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_int_equal(outcome.coder, CODEC_RANS_WIDE);
    assert_true(outcome.len < DAY * 7 / 32); /* 1.75 bits; 1.5 are the entropy. */
}

/* Of a short column the states of eight more lanes would be a good part. */
static void test_codec_encode__takes_few_lanes_for_short_columns(void **state)
{
    (void)state;
    double total = 0;
    for (uint32_t i = 0; i < 400; i++)
        values[i] = total += random_u64() % 8 ? 0 : 1 + random_below(4);
    struct outcome outcome = round_trip(400);
    assert_int_equal(outcome.coder, CODEC_RANS);
    assert_true(outcome.len < 120);
}

static double random_normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)(random_u64() >> 11) / 9007199254740992.0;
    return sum - 6;
}

/* A gauge of full floats: its low bits are noise, the upper ones lie around a level. */
static void test_codec_encode__splits_floats_of_a_full_mantissa(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 70 * (1 + 0.05 * random_normal());
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_BITS);
    assert_int_equal(outcome.coder, CODEC_SPLIT);
    assert_true((double)outcome.len < DAY * 6.36); /* 50.55 bits are the entropy, 6.32 bytes. */
    /* One that is none must not take the others' place. */
    values[77] = sample_stale();
    values[78] = -1e300;
    assert_true(round_trip(DAY).len < outcome.len + 64);
    for (uint32_t count = 1; count < 400; count += 13)
        round_trip(count);
}

/* A gauge that stays for some time and then is somewhere else: the difference of two such values is of no use. */
static void test_codec_encode__holds_values_that_stay(void **state)
{
    (void)state;
    double value = 100 * (1 + 0.2 * random_normal());
    uint32_t changes = 0;
    for (uint32_t i = 0; i < DAY; i++) {
        bool changed = random_u64() & 1;
        value = changed ? 100 * (1 + 0.2 * random_normal()) : value;
        changes += changed;
        values[i] = value;
    }
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_BITS);
    assert_true((double)outcome.len < changes * 6.58 + DAY / 8 + 100);
}

/* What follows the clock in steps of its own: where the steps fall is known from the first and the last. */
static void test_codec_encode__lays_a_line_through_clocks(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 1.7e9 + 37 * floor(i * 15.0 / 37);
    assert_true(round_trip(DAY).len < 100);
    for (uint32_t i = 0; i < DAY; i++) /* Whole seconds of steps that are not quite 15 s. */
        values[i] = floor(1.7e9 + i * 15.0071 + 0.2 * random_normal());
    assert_true(round_trip(DAY).len < DAY / 6);
}

/* A sum of nanoseconds as a double is a few units in the last place beside a decimal. */
static void test_codec_encode__finds_sums_near_decimals(void **state)
{
    (void)state;
    double total = 3;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_below(1e8) / 1e9;
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_NEAR);
    assert_true((double)outcome.len <
                DAY * 3.8); /* 26.6 bits of nanoseconds; the rest is how the sum was rounded. */
    values[1000] = sample_stale();
    values[2000] = INFINITY;
    round_trip(DAY);
}

/* Memory gauges are whole pages: the page must not be paid in each difference. */
static void test_codec_encode__divides_by_what_all_values_share(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 4096 * (1000 + random_below(16));
    struct outcome outcome = round_trip(DAY);
    assert_true(outcome.len < DAY * 4 / 8 + 80);
}

/* Values with two decimals are integers of hundredths. */
static void test_codec_encode__finds_the_decimal_exponent(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (500 + random_below(64)) / 100;
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_int_equal(fast.exponent, 2);
    assert_true(fast.has_integers);
    assert_true(outcome.len < DAY * 6 / 8 + 80);
}

/* True floats cost their mantissa and hardly more. */
static void test_codec_encode__takes_the_bits_of_true_floats(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 1.0 + (double)(random_u64() >> 12) * 0x1p-52;
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_BITS);
    assert_false(fast.has_integers);
    assert_true((double)outcome.len < DAY * 6.55);
    /* Of both signs, so that the order of the bits has to be right. */
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (random_u64() & 1 ? -1.0 : 1.0) * sqrt((double)(random_u64() % 1000));
    assert_int_equal(round_trip(DAY).mode, CODEC_BITS);
}

/* One odd sample must not make floats of a day of integers. */
static void test_codec_encode__keeps_odd_values_apart(void **state)
{
    (void)state;
    static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 1.0 / 3, 1e300, 5e-324};
    double total = 1000;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_below(16);
    size_t plain = round_trip(DAY).len;
    for (size_t k = 0; k <= COUNT_OF(odd); k++) {
        double kept = values[3000];
        values[3000] = k < COUNT_OF(odd) ? odd[k] : sample_stale();
        struct outcome outcome = round_trip(DAY);
        assert_int_equal(outcome.mode, CODEC_DECIMAL_ODD);
        assert_true(outcome.len < plain + 24);
        assert_true(fast.has_base && !fast.has_integers);
        values[3000] = kept;
    }
}

/* A series that is absent for half the day by NaN, from its first sample on. */
static void test_codec_encode__keeps_runs_of_odd_values(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = i % 1000 < 500 ? sample_nan() : i;
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL_ODD);
    assert_true(outcome.len < 200);
}

/* A process that restarts: the one great step must not widen the others. */
static void test_codec_encode__patches_the_resets_of_counters(void **state)
{
    (void)state;
    double total = 1e12;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_below(1024);
    size_t plain = round_trip(DAY).len;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = i < 3000 ? values[i] : values[i] - values[3000];
    assert_true(round_trip(DAY).len < plain + 40);
}

/* Integers that only a float of large magnitude can be. */
static void test_codec_encode__keeps_great_integers(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 0x1p60 + 256.0 * random_below(1000);
    struct outcome outcome = round_trip(DAY);
    assert_int_equal(outcome.mode, CODEC_DECIMAL);
    assert_true(outcome.len < DAY * 10 / 8 + 120);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (i % 2 ? -1 : 1) * 0x1p61;
    round_trip(DAY);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (i % 2 ? -1 : 1) * ldexp(1, (int)(i % 1000));
    round_trip(DAY);
}

static double wild_value(double last)
{
    static const double special[] = {0.0,   -0.0,   INFINITY, -INFINITY,          NAN,
                                     1e308, 5e-324, 0.1,      9007199254740993.0, -0x1p62};
    switch (random_u64() % 9) {
    case 0:
        return last;
    case 1:
        return last + random_below(40);
    case 2:
        return last - random_below(5000);
    case 3:
        return random_below(1e6) / 100;
    case 4:
        return sample_from_bits(random_u64());
    case 5:
        return special[random_u64() % COUNT_OF(special)];
    case 6:
        return sample_from_bits(random_u64() % 64); /* Denormals. */
    case 7:
        return sample_from_bits(UINT64_C(0xfff0000000000000) | random_u64() >> 12); /* NaNs. */
    default:
        return random_u64() % 2 ? sample_stale() : 0x1p53 + random_below(100);
    }
}

/* Whatever the values and however many. */
static void test_codec_encode__returns_anything(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1,   2,   3,   7,   8,    9,    127, 128,
                                      129, 255, 256, 257, 1000, 8191, 8192};
    for (size_t k = 0; k < COUNT_OF(counts); k++) {
        for (uint32_t mix = 0; mix < 9; mix++) {
            double last = random_below(1000);
            for (uint32_t i = 0; i < counts[k]; i++)
                values[i] = last = mix == 0 || random_u64() % 32 < mix / 2
                                       ? wild_value(last)
                                       : last + (double)(random_u64() & codec_mask(mix * 3));
            round_trip(counts[k]);
        }
    }
}

/* Every width of block, with and without vectors. */
static void test_codec_encode__returns_each_width(void **state)
{
    (void)state;
    for (uint32_t width = 0; width <= 64; width++) {
        for (uint32_t i = 0; i < 300; i++)
            values[i] = width < 54 ? (double)(random_u64() & codec_mask(width))
                                   : sample_from_bits(random_u64() & codec_mask(width));
        round_trip(300);
    }
}

/* A histogram's columns: buckets cost what they add, the count that equals +Inf one byte. */
static void test_codec_encode__codes_a_family_against_the_column_before(void **state)
{
    (void)state;
    static double previous_values[DAY];
    static struct codec_column previous;
    struct buf out;
    double low = 0, high = 5000;
    buf_init(&out, BYTES_MAX);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = previous_values[i] = low += random_below(1000);
    codec_encode(encoder, values, DAY, NULL, &previous, &out);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = previous_values[i] + (high += i % 100 == 0);

    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_FAMILY);
    assert_true(codec_needs_previous(buf_str(&out)));
    assert_true(out.len < 140);
    assert_false(codec_decode(buf_str(&out), DAY, NULL, &fast));

    /* From the top down each bucket is some of the one above. */
    high = 5000;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = previous_values[i] - (high += i % 100 == 0);
    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_UNDER);
    assert_true(codec_needs_previous(buf_str(&out)));
    assert_true(out.len < 140);
    assert_false(codec_decode(buf_str(&out), DAY, NULL, &fast));

    /* Both end with the series: the stale marker does not end the kinship. */
    static struct codec_column stale;
    memcpy(values, previous_values, sizeof(previous_values));
    values[DAY - 1] = sample_stale();
    buf_clear(&out);
    codec_encode(encoder, values, DAY, NULL, &stale, &out);
    assert_true(stale.has_base && !stale.has_integers);
    for (uint32_t i = 0; i < DAY - 1; i++)
        values[i] += 5000 + i / 100;
    buf_clear(&out);
    round_trip_after(DAY, &stale, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_FAMILY_ODD);
    assert_true(out.len < 140);
    for (uint32_t i = 0; i < DAY - 1; i++)
        values[i] -= 20000 + 2 * (i / 100);
    buf_clear(&out);
    round_trip_after(DAY, &stale, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_UNDER_ODD);
    assert_true(out.len < 140);

    buf_clear(&out);
    memcpy(values, previous_values, sizeof(previous_values));
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_REPEAT);
    assert_int_equal(out.len, 1);
    assert_true(fast.has_integers);
    previous.count = DAY - 1;
    assert_false(codec_decode(buf_str(&out), DAY, &previous, &fast));
    buf_deinit(&out);
}

/* A bucket of whole numbers after one with decimals takes the longer exponent, unless that is too long for it. */
static void test_codec_encode__takes_the_exponent_of_the_column_before(void **state)
{
    (void)state;
    static struct codec_column previous;
    static double before[DAY];
    struct buf out;
    double total = 0;
    buf_init(&out, BYTES_MAX);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = before[i] = floor(total += random_below(1000)) + (i < DAY / 2 ? 0 : 0.25);
    codec_encode(encoder, values, DAY, NULL, &previous, &out);
    assert_int_equal(previous.exponent, 2);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = floor(before[i]) + 7;
    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_FAMILY);
    assert_int_equal(fast.exponent, 2);
    assert_true(out.len < 40);

    for (uint32_t i = 0; i < DAY; i++)
        values[i] = 0x1p53 + 2 * random_below(1000);
    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_DECIMAL);
    assert_int_equal(fast.exponent, 0);
    buf_deinit(&out);
}

/* Columns that are no kin are not spoilt by the column before. */
static void test_codec_encode__leaves_strangers_alone(void **state)
{
    (void)state;
    static struct codec_column previous;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = random_below(1e9);
    codec_encode(encoder, values, DAY, NULL, &previous, &out);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (double)(i / 1000) / 10;
    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_false(codec_needs_previous(buf_str(&out)));
    assert_true(out.len < 40);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = sqrt(i);
    buf_clear(&out);
    round_trip_after(DAY, &previous, &out);
    assert_int_equal(codec_mode(buf_str(&out)), CODEC_BITS);
    buf_deinit(&out);
}

/* Were the codec wrong, the check must find it and the values be written plainly. */
static void test_codec_encode__falls_back_when_its_check_fails(void **state)
{
    (void)state;
    double total = 0;
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = total += random_below(1000);
    codec_encoder_spoil(encoder, 1);
    assert_int_equal(round_trip(DAY).mode, CODEC_XOR);
    codec_encoder_spoil(encoder, 2);
    assert_int_equal(round_trip(DAY).mode, CODEC_RAW);
    assert_int_equal(round_trip(DAY).mode, CODEC_DECIMAL);
    values[7] = sample_stale();
    values[9] = -0.0;
    codec_encoder_spoil(encoder, 1);
    assert_int_equal(round_trip(DAY).mode, CODEC_XOR);
}

/* Bytes from a damaged disk: cut or changed anywhere, they end in false or in some values, never in a crash. */
static void test_codec_decode__survives_any_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t count = 1 + (uint32_t)(random_u64() % 600), span = (uint32_t)(random_u64() % 50);
        double total = 0;
        for (uint32_t i = 0; i < count; i++)
            values[i] = random_u64() % 100 == 0
                            ? wild_value(total)
                            : (total += (double)(random_u64() & codec_mask(span)));
        for (uint32_t i = 0; round % 3 == 0 && i < count; i++)
            values[i] = values[i] / 3 * (round % 2 ? 1 : random_normal());
        buf_clear(&out);
        codec_encode(encoder, values, count, NULL, &encoded, &out);
        assert_false(codec_decode(str_first(buf_str(&out), out.len - 1), count, NULL, &fast));
        for (uint32_t change = 0; change < 100; change++) {
            size_t len = random_u64() % 4 ? out.len : random_u64() % (out.len + 1);
            char *copy = mem_dup(out.ptr, len); /* Of exact size, for sanitizers. */
            for (uint64_t edits = random_u64() % 4; len > 0 && edits > 0; edits--)
                copy[random_u64() % len] = (char)random_u64();
            bool good = codec_decode(str_from(copy, len), count, &encoded, &fast);
            codec_kernels_force_portable(true);
            assert_int_equal(codec_decode(str_from(copy, len), count, &encoded, &portable), good);
            codec_kernels_force_portable(false);
            if (good)
                assert_columns_same(&fast, &portable);
            mem_free(copy);
        }
    }
    buf_deinit(&out);
}

/* A column that only leads to the next one goes without values; they can be had later. */
static void test_codec_decode_base__leaves_out_values_only(void **state)
{
    (void)state;
    static struct codec_column first, second, base;
    struct buf out;
    double total = 0;
    buf_init(&out, BYTES_MAX);
    for (uint32_t i = 0; i < DAY; i++)
        values[i] = (total += random_below(30)) / 10;
    codec_encode(encoder, values, DAY, NULL, &first, &out);
    assert_true(codec_decode_base(buf_str(&out), DAY, NULL, &base));
    assert_false(base.has_values);
    assert_memory_equal(base.integers, first.integers, DAY * sizeof(int64_t));
    for (int repeated = 0; repeated < 2; repeated++) {
        for (uint32_t i = 0; i < DAY && !repeated; i++)
            values[i] = (double)(first.integers[i] + 10 * (i / 100)) / 10;
        buf_clear(&out);
        codec_encode(encoder, values, DAY, repeated ? &second : &first, &second, &out);
        assert_int_equal(codec_mode(buf_str(&out)), repeated ? CODEC_REPEAT : CODEC_FAMILY);
        struct codec_column *before = &base, *after = &fast;
        assert_true(codec_decode_base(buf_str(&out), DAY, before, after));
        assert_false(after->has_values);
        memcpy(before, after, sizeof(*before));
        codec_column_fill(after);
        assert_memory_equal(after->values, values, DAY * sizeof(double));
    }
    assert_true(codec_decode(buf_str(&out), DAY, &base, &fast));
    assert_memory_equal(fast.values, values, DAY * sizeof(double));
    buf_deinit(&out);
}

/* Counts come from other bytes and are as suspect. */
static void test_codec_decode__refuses_another_count(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    for (uint32_t i = 0; i < 1000; i++)
        values[i] = random_below(1e6);
    codec_encode(encoder, values, 1000, NULL, NULL, &out);
    assert_false(codec_decode(buf_str(&out), 0, NULL, &fast));
    assert_false(codec_decode(buf_str(&out), 900, NULL, &fast));
    assert_false(codec_decode(buf_str(&out), 1100, NULL, &fast));
    assert_false(codec_decode(buf_str(&out), CODEC_VALUES_MAX + 1, NULL, &fast));
    assert_false(codec_decode(STR_EMPTY, 1, NULL, &fast));
    assert_false(codec_needs_previous(STR_EMPTY));
    buf_deinit(&out);
}

/* Any 64-bit integer may come out of suspect bytes: both conversions must round alike. */
static void test_codec_kernels__convert_alike(void **state)
{
    (void)state;
    static int64_t integers[1003];
    static double a[1003], b[1003];
    const struct codec_kernels *kernels = codec_kernels_fast();
    if (!kernels)
        skip();
    for (uint32_t exponent = 0; exponent <= CODEC_EXPONENT_MAX; exponent++) {
        for (uint32_t i = 0; i < COUNT_OF(integers); i++)
            integers[i] = (int64_t)random_u64() >> random_u64() % 64;
        integers[0] = INT64_MIN;
        integers[1] = INT64_MAX;
        integers[2] = 0;
        kernels->to_doubles(integers, COUNT_OF(integers), exponent, a);
        codec_kernels_portable.to_doubles(integers, COUNT_OF(integers), exponent, b);
        assert_memory_equal(a, b, sizeof(a));
    }
}

/* Sums wrap around like any machine's. */
static void test_codec_kernels__sum_alike(void **state)
{
    (void)state;
    static uint64_t a[1003], b[1003];
    const struct codec_kernels *kernels = codec_kernels_fast();
    if (!kernels)
        skip();
    for (uint32_t round = 0; round < 64; round++) {
        uint32_t count = round < 10 ? round : COUNT_OF(a);
        uint64_t first = random_u64(), bias = random_u64() >> round;
        for (uint32_t i = 0; i < count; i++)
            a[i] = b[i] = random_u64() >> random_u64() % 64;
        kernels->sum(a, count, round % 2, first, bias, round % 7);
        codec_kernels_portable.sum(b, count, round % 2, first, bias, round % 7);
        assert_memory_equal(a, b, sizeof(a));
        kernels->offset(a, count, round % 2, first, bias, round % 7);
        codec_kernels_portable.offset(b, count, round % 2, first, bias, round % 7);
        assert_memory_equal(a, b, sizeof(a));
        kernels->add((int64_t *)a, (const int64_t *)(b + 1), count - (count > 1002));
        codec_kernels_portable.add((int64_t *)b, (const int64_t *)(b + 1), count - (count > 1002));
        assert_memory_equal(a, b, sizeof(a));
        kernels->take((int64_t *)a, (const int64_t *)(b + 1), count - (count > 1002));
        codec_kernels_portable.take((int64_t *)b, (const int64_t *)(b + 1), count - (count > 1002));
        assert_memory_equal(a, b, sizeof(a));
    }
}

/* Every width of packed block. */
static void test_codec_kernels__unpack_alike(void **state)
{
    (void)state;
    uint64_t a[CODEC_BLOCK], b[CODEC_BLOCK];
    const struct codec_kernels *kernels = codec_kernels_fast();
    if (!kernels)
        skip();
    for (uint32_t width = 1; width <= 32; width++) {
        uint8_t *bytes = mem_alloc(16 * width);
        for (uint32_t i = 0; i < 16 * width; i++)
            bytes[i] = (uint8_t)random_u64();
        kernels->unpack(bytes, width, a);
        codec_kernels_portable.unpack(bytes, width, b);
        assert_memory_equal(a, b, sizeof(a));
        mem_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_encode__writes_a_constant_in_a_few_bytes),
        cmocka_unit_test(test_codec_encode__lists_the_changes_of_idle_series),
        cmocka_unit_test(test_codec_encode__writes_a_line_in_a_few_bytes),
        cmocka_unit_test(test_codec_encode__packs_even_noise),
        cmocka_unit_test(test_codec_encode__takes_entropy_where_lengths_are_skewed),
        cmocka_unit_test(test_codec_encode__takes_few_lanes_for_short_columns),
        cmocka_unit_test(test_codec_encode__splits_floats_of_a_full_mantissa),
        cmocka_unit_test(test_codec_encode__holds_values_that_stay),
        cmocka_unit_test(test_codec_encode__lays_a_line_through_clocks),
        cmocka_unit_test(test_codec_encode__finds_sums_near_decimals),
        cmocka_unit_test(test_codec_encode__divides_by_what_all_values_share),
        cmocka_unit_test(test_codec_encode__finds_the_decimal_exponent),
        cmocka_unit_test(test_codec_encode__takes_the_bits_of_true_floats),
        cmocka_unit_test(test_codec_encode__keeps_odd_values_apart),
        cmocka_unit_test(test_codec_encode__keeps_runs_of_odd_values),
        cmocka_unit_test(test_codec_encode__patches_the_resets_of_counters),
        cmocka_unit_test(test_codec_encode__keeps_great_integers),
        cmocka_unit_test(test_codec_encode__returns_anything),
        cmocka_unit_test(test_codec_encode__returns_each_width),
        cmocka_unit_test(test_codec_encode__codes_a_family_against_the_column_before),
        cmocka_unit_test(test_codec_encode__takes_the_exponent_of_the_column_before),
        cmocka_unit_test(test_codec_encode__leaves_strangers_alone),
        cmocka_unit_test(test_codec_encode__falls_back_when_its_check_fails),
        cmocka_unit_test(test_codec_decode__survives_any_bytes),
        cmocka_unit_test(test_codec_decode_base__leaves_out_values_only),
        cmocka_unit_test(test_codec_decode__refuses_another_count),
        cmocka_unit_test(test_codec_kernels__convert_alike),
        cmocka_unit_test(test_codec_kernels__sum_alike),
        cmocka_unit_test(test_codec_kernels__unpack_alike),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
