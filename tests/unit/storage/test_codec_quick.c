/* codec_quick: whatever it writes any reader of the codec reads, bit for bit; short runs are nearly as small as by codec.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "codec_private.h"
#include "model/sample.h"

#define RUN       120
#define BYTES_MAX (16 * CODEC_VALUES_MAX)

static uint64_t seed;
static struct codec_quick *quick;
static struct codec_column column, portable, before;
static double values[CODEC_VALUES_MAX];
static struct buf out;

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t random_below(uint64_t bound)
{
    return random_u64() % bound;
}

/* The length of the chunk; 0 when no way is known. */
static size_t round_trip(uint32_t count, const struct codec_column *previous)
{
    buf_clear(&out);
    if (!codec_quick_encode(quick, values, count, previous, &column, &out)) {
        assert_int_equal(out.len, 0);
        return 0;
    }
    assert_memory_equal(column.values, values, count * sizeof(double));
    codec_kernels_force_portable(true);
    assert_true(codec_decode(buf_str(&out), count, previous, &portable));
    codec_kernels_force_portable(false);
    assert_memory_equal(portable.values, values, count * sizeof(double));
    assert_true(previous || !codec_needs_previous(buf_str(&out)));
    return out.len;
}

static int setup(void **state)
{
    (void)state;
    seed = 4711;
    quick = codec_quick_new();
    buf_init(&out, BYTES_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codec_quick_free(quick);
    buf_deinit(&out);
    return 0;
}

static double wild_value(double last)
{
    static const double special[] = {0.0,   -0.0,   INFINITY, -INFINITY,          NAN,
                                     1e308, 5e-324, 0.1,      9007199254740993.0, -0x1p62};
    switch (random_below(9)) {
    case 0:
        return last;
    case 1:
        return last + (double)random_below(40);
    case 2:
        return last - (double)random_below(5000);
    case 3:
        return (double)random_below(1000000) / 100;
    case 4:
        return sample_from_bits(random_u64());
    case 5:
        return special[random_below(COUNT_OF(special))];
    case 6:
        return sample_from_bits(random_below(64));
    case 7:
        return sample_stale();
    default:
        return 0x1p53 + (double)random_below(100);
    }
}

/* Whatever the values, however many, with and without a column before. */
static void test_codec_quick_encode__returns_anything(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1,   2,   3,   7,   64,  119,  120,
                                      121, 128, 129, 255, 257, 1000, 8192};
    for (uint32_t round = 0; round < 40 * COUNT_OF(counts); round++) {
        uint32_t count = counts[round % COUNT_OF(counts)], mix = (uint32_t)random_below(12);
        double last = (double)random_below(1000);
        for (uint32_t i = 0; i < count; i++)
            values[i] = last = mix == 0 || random_below(32) < mix / 3
                                   ? wild_value(last)
                                   : last + (double)(random_u64() & codec_mask(mix * 3));
        round_trip(count, before.count == count ? &before : NULL);
        if (random_below(2)) {
            before.count = 0;
            buf_clear(&out);
            (void)!codec_quick_encode(quick, values, count, NULL, &before, &out);
        }
    }
}

/* The kinds of series that a target has, and what a run of each may cost. */
static void test_codec_quick_encode__is_small(void **state)
{
    (void)state;
    enum { CONSTANT, IDLE, COUNTS, EVEN, PAGES, DECIMALS, CLOCK, STALE, RESET, KINDS };
    static const size_t bytes_max[KINDS] = {4, 24, 42, 105, 225, 250, 14, 50, 60};
    for (int kind = 0; kind < KINDS; kind++) {
        double value = 1000;
        for (uint32_t i = 0; i < RUN; i++) {
            uint64_t dice = random_u64();
            value += kind == IDLE ? dice % 40 == 0
                     : kind == COUNTS || kind == STALE || kind == RESET
                         ? (dice % 3 == 0 ? (double)(1 + (dice >> 32) % 5) : 0)
                     : kind == EVEN  ? (double)(dice % 50)
                     : kind == CLOCK ? 15
                                     : 0;
            value = kind == RESET && i == 77 ? 0 : value;
            values[i] = kind == PAGES      ? 4096 * (double)(200000 + dice % 5000)
                        : kind == DECIMALS ? (double)(dice % 10000) / 100
                                           : value;
        }
        if (kind == STALE)
            values[RUN - 1] = sample_stale();
        size_t len = round_trip(RUN, NULL);
        if (len == 0 || len > bytes_max[kind])
            fail_msg("kind %d: %zu bytes", kind, len);
    }
}

/* Every k, values that need the escape, and ends at any bit. */
static void test_codec_rice__returns_anything(void **state)
{
    (void)state;
    static uint64_t residuals[300], back[300];
    for (uint32_t round = 0; round < 4000; round++) {
        uint32_t count = 1 + (uint32_t)random_below(300), k = round % 33;
        uint32_t width = (uint32_t)random_below(k + 6 < 64 ? k + 6 : 64);
        for (uint32_t i = 0; i < count; i++) {
            residuals[i] = random_u64() & codec_mask(random_below(20) ? width : 64);
            if (k < 4 && random_below(30) == 0)
                residuals[i] = random_below(40) << k;
        }
        buf_clear(&out);
        codec_rice_encode(residuals, count, k, &out);
        struct reader in = reader_over(buf_str(&out));
        assert_true(codec_rice_decode(&in, count, back));
        assert_true(in.at == in.end);
        assert_memory_equal(back, residuals, count * sizeof(residuals[0]));
        in = reader_over(str_from(out.ptr, out.len - 1));
        assert_false(codec_rice_decode(&in, count, back));
        for (int i = 0; i < 20; i++) { /* Any bytes are something or nothing. */
            out.ptr[random_below(out.len)] ^= (char)(1 << random_below(8));
            in = reader_over(str_from(out.ptr, random_below(out.len) + 1));
            (void)!codec_rice_decode(&in, count, back);
            assert_true(in.at <= in.end);
        }
    }
}

/* Both widths anything from nothing to all bits. */
static void test_codec_mask__returns_anything(void **state)
{
    (void)state;
    static uint64_t residuals[300], back[300];
    for (uint32_t round = 0; round < 4000; round++) {
        uint32_t count = 1 + (uint32_t)random_below(300), few = round % 65;
        uint32_t many = few + (uint32_t)random_below(65 - few), share = (uint32_t)random_below(5);
        struct codec_widths widths;
        residuals[0] = 1;
        for (uint32_t i = 1; i < count; i++)
            residuals[i] = random_u64() & codec_mask(random_below(5) < share ? many : few);
        uint64_t cost = codec_mask_cost(residuals, count, &widths);
        buf_clear(&out);
        codec_mask_encode(residuals, count, widths, &out);
        assert_int_equal(out.len, (cost + 7) / 8);
        struct reader in = reader_over(buf_str(&out));
        assert_true(codec_mask_decode(&in, count, back));
        assert_true(in.at == in.end);
        assert_memory_equal(back, residuals, count * sizeof(residuals[0]));
        in = reader_over(str_from(out.ptr, out.len - 1));
        assert_false(codec_mask_decode(&in, count, back));
        for (int i = 0; i < 20; i++) {
            out.ptr[random_below(out.len)] ^= (char)(1 << random_below(8));
            in = reader_over(str_from(out.ptr, random_below(out.len) + 1));
            (void)!codec_mask_decode(&in, count, back);
            assert_true(in.at <= in.end);
        }
    }
}

/* Times of targets that are on time, late at times, or have none. */
static void test_codec_quick_times__returns_times(void **state)
{
    (void)state;
    static int64_t times_ms[CODEC_VALUES_MAX], back[CODEC_VALUES_MAX];
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t count = round % 10 ? 1 + (uint32_t)random_below(140) : CODEC_VALUES_MAX;
        int64_t time_ms = (int64_t)random_below(UINT64_C(1) << 42);
        for (uint32_t i = 0; i < count; i++) {
            times_ms[i] = time_ms += round % 3 == 0 ? 1 + (int64_t)random_below(1u << 30) : 15000;
            if (round % 3 == 1 && random_below(20) == 0)
                times_ms[i] += (int64_t)random_below(900);
        }
        buf_clear(&out);
        codec_quick_times(quick, times_ms, count, &out);
        assert_true(codec_times_decode(buf_str(&out), count, back));
        assert_memory_equal(back, times_ms, count * sizeof(times_ms[0]));
        assert_true(round % 3 != 2 || out.len < 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_quick_encode__returns_anything),
        cmocka_unit_test(test_codec_quick_encode__is_small),
        cmocka_unit_test(test_codec_rice__returns_anything),
        cmocka_unit_test(test_codec_mask__returns_anything),
        cmocka_unit_test(test_codec_quick_times__returns_times),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
