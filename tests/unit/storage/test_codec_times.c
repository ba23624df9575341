/* codec_times: regular times cost next to nothing, any others come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "codec_private.h"

#define DAY   5760
#define START INT64_C(1700006400000)

static uint64_t seed = 4711;
static int64_t times[CODEC_VALUES_MAX], back[CODEC_VALUES_MAX];

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static size_t round_trip(uint32_t count)
{
    struct buf out;
    buf_init(&out, 16 * CODEC_VALUES_MAX);
    codec_times_encode(times, count, &out);
    assert_true(codec_times_decode(buf_str(&out), count, back));
    assert_memory_equal(times, back, count * sizeof(times[0]));
    codec_kernels_force_portable(true);
    assert_true(codec_times_decode(buf_str(&out), count, back));
    codec_kernels_force_portable(false);
    assert_memory_equal(times, back, count * sizeof(times[0]));
    size_t len = out.len;
    buf_deinit(&out);
    return len;
}

/* The usual case: a day of scrapes on time. */
static void test_codec_times__writes_regular_ones_in_a_few_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DAY; i++)
        times[i] = START + i * INT64_C(15000);
    assert_true(round_trip(DAY) < 16);
}

/* One in a hundred scrapes is some ms late; a few are missing. */
static void test_codec_times__writes_late_ones_and_gaps_as_a_list(void **state)
{
    (void)state;
    int64_t due = START;
    for (uint32_t i = 0; i < DAY; i++) {
        due += i % 1000 == 999 ? 45000 : 15000;
        times[i] = due + (random_u64() % 100 ? 0 : (int64_t)(3 + random_u64() % 21));
    }
    assert_true(round_trip(DAY) < 240);
}

/* Remote write may send any times, as far apart as integers go. */
static void test_codec_times__returns_anything(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 127, 128, 129, 1000, 8192};
    for (size_t k = 0; k < COUNT_OF(counts); k++) {
        for (uint32_t width = 0; width < 50; width += 7) {
            int64_t at = -START;
            for (uint32_t i = 0; i < counts[k]; i++)
                times[i] = at += 1 + (int64_t)(random_u64() & codec_mask(width));
            round_trip(counts[k]);
        }
    }
    times[0] = INT64_MIN;
    times[1] = 0;
    times[2] = INT64_MAX;
    round_trip(3);
}

/* Bytes that would give times out of order are no times. */
static void test_codec_times_decode__refuses_what_no_encoder_writes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 16 * CODEC_VALUES_MAX);
    for (uint32_t i = 0; i < 500; i++)
        times[i] = START + i * INT64_C(15000) + (int64_t)(random_u64() % 5000);
    codec_times_encode(times, 500, &out);
    assert_false(codec_times_decode(buf_str(&out), 0, back));
    assert_false(codec_times_decode(buf_str(&out), CODEC_VALUES_MAX + 1, back));
    assert_false(codec_times_decode(str_first(buf_str(&out), out.len - 1), 500, back));
    assert_false(codec_times_decode(STR("\0\0\0"), 2, back)); /* Two equal times. */
    for (uint32_t round = 0; round < 5000; round++) {
        size_t len = random_u64() % 4 ? out.len : random_u64() % (out.len + 1);
        char *copy = mem_dup(out.ptr, len);
        for (uint64_t edits = random_u64() % 4; len > 0 && edits > 0; edits--)
            copy[random_u64() % len] = (char)random_u64();
        bool good = codec_times_decode(str_from(copy, len), 500, back);
        for (uint32_t i = 1; good && i < 500; i++)
            assert_true(back[i] > back[i - 1]);
        mem_free(copy);
    }
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_times__writes_regular_ones_in_a_few_bytes),
        cmocka_unit_test(test_codec_times__writes_late_ones_and_gaps_as_a_list),
        cmocka_unit_test(test_codec_times__returns_anything),
        cmocka_unit_test(test_codec_times_decode__refuses_what_no_encoder_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
