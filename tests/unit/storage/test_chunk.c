/* chunk: what goes in comes out bit for bit, whatever the values and times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "chunk.h"
#include "model/sample.h"

static uint64_t seed = 12345;

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double random_value(uint64_t kind, double last)
{
    static const double special[] = {0.0, -0.0, 1.0 / 0.0, -1.0 / 0.0, 9007199254740992.0, 9007199254740993.0, 1e308, 5e-324};
    switch (kind % 8) {
    case 0:
        return last;
    case 1:
        return last + (double)(random_u64() % 40);
    case 2:
        return last - (double)(random_u64() % 5000);
    case 3:
        return (double)(random_u64() % 1000000) / 100;
    case 4:
        return sample_from_bits(random_u64());
    case 5:
        return special[random_u64() % 8];
    case 6:
        return sample_stale();
    default:
        return last + 1e12 * (double)(random_u64() % 100);
    }
}

/* Every kind of value and any step of time must survive, in the head's blocks and in the flat form. */
static void test_chunk__returns_what_was_added(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct chunk *chunk = chunk_new(0, 1);
        struct buf flat;
        int64_t times[CHUNK_SAMPLES_MAX], times_out[CHUNK_SAMPLES_MAX];
        double values[CHUNK_SAMPLES_MAX], values_out[CHUNK_SAMPLES_MAX];
        uint32_t count = 1 + (uint32_t)(random_u64() % CHUNK_SAMPLES_MAX);
        int64_t time = (int64_t)(random_u64() % 4000000000000) - 1000000000000;
        double value = 0;
        buf_init(&flat, 1 << 20);
        for (uint32_t i = 0; i < count; i++) {
            uint8_t entry[CHUNK_ENTRY_MAX];
            time += random_u64() % 4 ? 15000 : 1 + (int64_t)(random_u64() % 100000000);
            value = random_value(random_u64() >> (round % 40), value);
            times[i] = time;
            values[i] = value;
            size_t len = chunk_encode(&chunk->state, time, sample_bits(value), entry);
            assert_in_range(len, 1, CHUNK_ENTRY_MAX);
            chunk_add(chunk, entry, len);
            buf_add(&flat, entry, len);
        }
        chunk_read(chunk, count, times_out, values_out);
        assert_memory_equal(times, times_out, count * sizeof(times[0]));
        assert_memory_equal(values, values_out, count * sizeof(values[0]));
        assert_true(chunk_read_flat(buf_str(&flat), count, times_out, values_out));
        assert_memory_equal(values, values_out, count * sizeof(values[0]));
        assert_int_equal(chunk->time_first_ms, times[0]);
        buf_deinit(&flat);
        chunk_free(chunk);
    }
}

/* Bundles come from disk: a cut or flipped one must end in false, not in a read past the end. */
static void test_chunk_read_flat__refuses_cut_bytes(void **state)
{
    (void)state;
    struct chunk_state encoder = {0};
    struct buf flat;
    int64_t times[50];
    double values[50];
    buf_init(&flat, 1 << 20);
    for (int i = 0; i < 50; i++) {
        uint8_t entry[CHUNK_ENTRY_MAX];
        size_t len = chunk_encode(&encoder, i * 15000, sample_bits(i * 1.25), entry);
        buf_add(&flat, entry, len);
    }
    assert_true(chunk_read_flat(buf_str(&flat), 50, times, values));
    for (size_t len = 0; len < flat.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, flat.ptr, len);
        assert_false(chunk_read_flat(str_from(copy, len), 50, times, values));
        free(copy);
    }
    assert_false(chunk_read_flat(buf_str(&flat), 49, times, values));
    buf_deinit(&flat);
}

/* A counter at a steady pace is the common case: about a byte and a half a sample at most. */
static void test_chunk_encode__is_small_for_counters(void **state)
{
    (void)state;
    struct chunk_state encoder = {0};
    size_t bytes = 0;
    for (int i = 0; i < 120; i++) {
        uint8_t entry[CHUNK_ENTRY_MAX];
        bytes += chunk_encode(&encoder, INT64_C(1700000000000) + i * 15000, sample_bits(1000.0 + i * 7), entry);
    }
    assert_in_range(bytes, 120, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk__returns_what_was_added),
        cmocka_unit_test(test_chunk_read_flat__refuses_cut_bytes),
        cmocka_unit_test(test_chunk_encode__is_small_for_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
