/* hash: the hashes that more than one floor needs. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

uint64_t hash64(struct str bytes);                  /* XXH3, 64 bits. */
uint64_t hash64_seed(struct str bytes, uint64_t seed);
uint64_t hash_xxh64(struct str bytes);              /* XXH64 with seed 0, as Prometheus takes of labels. */
struct hash128 {
    uint64_t low, high;
};
struct hash128 hash128_seed(struct str bytes, uint64_t seed); /* XXH3, 128 bits. */
uint64_t hash64_mix(uint64_t a, uint64_t b);        /* Order matters. */
uint64_t hash_fnv1a(uint64_t state, struct str bytes); /* FNV-1a, 64 bits. */
#define HASH_FNV1A_INIT UINT64_C(14695981039346656037)
uint32_t hash_crc32c(uint32_t crc, struct str bytes); /* Castagnoli; start with 0; SSE4.2 when there. */
void hash_md5(struct str bytes, uint8_t out[16]);
#define HASH_SHA256_BYTES 32
void hash_sha256(struct str bytes, uint8_t out[HASH_SHA256_BYTES]);

#endif
