/* series_cache: series by a hash of the bytes that a sender names them with, so that a known one
 * needs no look at its labels.
 *
 *     series_cache_put -> series_cache_find ... -> series_cache_sweep, before the refs are used again
 *
 * A lossy table of buckets of one cache line, six entries each; a key may be in two of them:
 *
 *     u32 ref[6]   u32 tag[6]   u16 more[6]   4 bytes free       10 2/3 bytes an entry
 *
 * An entry keeps 48 bits of a key of 128, the buckets are chosen by others. So a label set that was
 * never seen is taken for one that was with a chance of at most 12 / 2^48, one in 2 * 10^13; the
 * writer's hash is seeded by chance in each process, so nobody can look for such a pair.
 *
 * A full table is emptied and made larger by a part, or entries are overwritten when there are as
 * many as series: what is lost comes back with the next sample. Loop thread. */
#ifndef STORAGE_SERIES_CACHE_H
#define STORAGE_SERIES_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

#define SERIES_CACHE_NONE UINT32_MAX

struct series_bucket;

struct series_cache {
    void *memory; /* Owned; NULL while empty. */
    struct series_bucket *buckets;
    size_t bucket_count;
    size_t used;
};

void series_cache_init(struct series_cache *cache);
void series_cache_deinit(struct series_cache *cache);
/* The ref, or SERIES_CACHE_NONE. */
uint32_t series_cache_find(const struct series_cache *cache, struct hash128 key);
/* `series_count`: so many series there are in memory; more entries than a little above are not kept. */
void series_cache_put(struct series_cache *cache, struct hash128 key, uint32_t ref,
                      size_t series_count);
/* Takes out every entry for which `gone` says so. */
void series_cache_sweep(struct series_cache *cache, bool (*gone)(void *ctx, uint32_t ref),
                        void *ctx);

#endif
