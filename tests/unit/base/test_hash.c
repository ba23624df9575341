/* Unit tests of base/hash, with the vectors that their authors publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

/* The WAL and the chunks on disk depend on it: it must be Castagnoli and go on over pieces. */
static void test_hash_crc32c__matches_rfc3720(void **state)
{
    (void)state;
    char zeroes[32] = {0};
    char rising[32];

    for (int i = 0; i < 32; i++)
        rising[i] = (char)i;
    assert_int_equal(hash_crc32c(0, STR("123456789")), 0xe3069283);
    assert_int_equal(hash_crc32c(0, (struct str){zeroes, 32}), 0x8a9136aa);
    assert_int_equal(hash_crc32c(0, (struct str){rising, 32}), 0x46dd794e);
    assert_int_equal(hash_crc32c(0, (struct str){NULL, 0}), 0);
    for (size_t cut = 0; cut <= 32; cut++) {
        uint32_t crc = hash_crc32c(0, (struct str){rising, cut});
        crc = hash_crc32c(crc, (struct str){rising + cut, 32 - cut});
        assert_int_equal(crc, 0x46dd794e);
    }
}

/* hashmod takes the MD5's bytes; a sharded fleet depends on them. */
static void test_hash_md5__matches_rfc1321(void **state)
{
    (void)state;
    uint8_t out[16];
    static const uint8_t empty[16] = {0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04,
                                      0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e};
    static const uint8_t abc[16] = {0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0,
                                    0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72};

    hash_md5((struct str){NULL, 0}, out);
    assert_memory_equal(out, empty, 16);
    hash_md5(STR("abc"), out);
    assert_memory_equal(out, abc, 16);
}

static void test_hash_fnv1a__matches_its_vectors(void **state)
{
    (void)state;
    assert_true(hash_fnv1a(HASH_FNV1A_INIT, STR("a")) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_fnv1a(HASH_FNV1A_INIT, STR("foobar")) == UINT64_C(0x85944171f73967e8));
}

static void test_hash64__is_xxh3_and_mix_minds_order(void **state)
{
    (void)state;
    assert_true(hash64(STR("")) == UINT64_C(0x2d06800538d394c2));
    assert_true(hash64_seed(STR("a"), 1) != hash64_seed(STR("a"), 2));
    assert_true(hash64_mix(1, 2) != hash64_mix(2, 1));
    assert_true(hash64_mix(0, 0) != 0);
}

/* Which series limit_ratio keeps hangs on it. */
static void test_hash_xxh64__matches_its_vectors(void **state)
{
    (void)state;
    assert_true(hash_xxh64(STR("")) == UINT64_C(0xef46db3751d8e999));
    assert_true(hash_xxh64(STR("a")) == UINT64_C(0xd24ec4f1a98c6e5b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_crc32c__matches_rfc3720),
        cmocka_unit_test(test_hash_md5__matches_rfc1321),
        cmocka_unit_test(test_hash_fnv1a__matches_its_vectors),
        cmocka_unit_test(test_hash_xxh64__matches_its_vectors),
        cmocka_unit_test(test_hash64__is_xxh3_and_mix_minds_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
