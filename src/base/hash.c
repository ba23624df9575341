/* hash: XXH3 for tables, SHA-256 for secrets, XXH64, FNV-1a and MD5 where a format or a peer demands them, CRC-32C for our
 * disk.
 *
 * CRC-32C (polynomial 0x1EDC6F41, reflected 0x82F63B78) is the one checksum that x86-64 has an
 * instruction for; which of the two ways is taken is settled before main runs. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <openssl/evp.h>
#include <xxhash.h>

#include "base/ensure.h"

uint64_t hash64(struct str bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}

uint64_t hash64_seed(struct str bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.ptr, bytes.len, seed);
}

uint64_t hash_xxh64(struct str bytes)
{
    return XXH64(bytes.ptr, bytes.len, 0);
}

struct hash128 hash128_seed(struct str bytes, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.ptr, bytes.len, seed);
    return (struct hash128){.low = hash.low64, .high = hash.high64};
}

/* The finalizer of splitmix64: each input bit moves each output bit. */
static uint64_t bits_spread(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t hash64_mix(uint64_t a, uint64_t b)
{
    return bits_spread(bits_spread(a + UINT64_C(0x9e3779b97f4a7c15)) + b);
}

uint64_t hash_fnv1a(uint64_t state, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        state = (state ^ (unsigned char)bytes.ptr[i]) * UINT64_C(1099511628211);
    return state;
}

typedef uint32_t (*crc_fn)(uint32_t crc, const unsigned char *at, size_t len);

static uint32_t crc_table[256];

static uint32_t crc_by_table(uint32_t crc, const unsigned char *at, size_t len)
{
    for (; len > 0; at++, len--)
        crc = crc_table[(crc ^ *at) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(uint32_t crc,
                                                               const unsigned char *at, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof(eight));
        wide = __builtin_ia32_crc32di(wide, eight);
    }
    crc = (uint32_t)wide;
    for (; len > 0; at++, len--)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}

static crc_fn crc_best(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") ? crc_by_sse42 : crc_by_table;
}
#else
static crc_fn crc_best(void)
{
    return crc_by_table;
}
#endif

static crc_fn crc_chosen;

__attribute__((constructor)) static void crc_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
        crc_table[i] = crc;
    }
    crc_chosen = crc_best();
}

uint32_t hash_crc32c(uint32_t crc, struct str bytes)
{
    return ~crc_chosen(~crc, (const unsigned char *)bytes.ptr, bytes.len);
}

void hash_md5(struct str bytes, uint8_t out[16])
{
    unsigned int len = 0;
    int done = EVP_Digest(bytes.len ? bytes.ptr : "", bytes.len, out, &len, EVP_md5(), NULL);
    ENSURE(done == 1 && len == 16);
}

void hash_sha256(struct str bytes, uint8_t out[HASH_SHA256_BYTES])
{
    unsigned len = 0;
    ENSURE(EVP_Digest(bytes.ptr ? bytes.ptr : "", bytes.len, out, &len, EVP_sha256(), NULL) == 1);
    ENSURE(len == HASH_SHA256_BYTES);
}
