/* series_cache: see the header. */
#include "series_cache.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"

#define BUCKET_ENTRIES 6
#define BUCKETS_MIN    64
/* Above so many sixteenths of all places few keys find a free one in their two buckets. */
#define LOAD_SIXTEENTHS 15

struct series_bucket {
    uint32_t ref[BUCKET_ENTRIES]; /* SERIES_CACHE_NONE: free. */
    uint32_t tag[BUCKET_ENTRIES];
    uint16_t more[BUCKET_ENTRIES];
    uint32_t unused;
};
_Static_assert(sizeof(struct series_bucket) == 64, "one cache line");

void series_cache_init(struct series_cache *cache)
{
    *cache = (struct series_cache){0};
}

void series_cache_deinit(struct series_cache *cache)
{
    mem_free(cache->memory);
    series_cache_init(cache);
}

static size_t place_count(const struct series_cache *cache)
{
    return cache->bucket_count * BUCKET_ENTRIES;
}

static struct series_bucket *bucket_of(const struct series_cache *cache, struct hash128 key,
                                       bool second)
{
    uint64_t bits = second ? key.high & UINT32_MAX : key.high >> 32;
    return &cache->buckets[(size_t)((bits * cache->bucket_count) >> 32)];
}

static uint32_t bucket_find(const struct series_bucket *bucket, struct hash128 key)
{
    uint32_t tag = (uint32_t)key.low;
    uint16_t more = (uint16_t)(key.low >> 32);
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (bucket->tag[i] == tag && bucket->more[i] == more && bucket->ref[i] != SERIES_CACHE_NONE)
            return i;
    }
    return BUCKET_ENTRIES;
}

uint32_t series_cache_find(const struct series_cache *cache, struct hash128 key)
{
    if (!cache->buckets)
        return SERIES_CACHE_NONE;
    const struct series_bucket *bucket = bucket_of(cache, key, false);
    uint32_t i = bucket_find(bucket, key);
    if (i == BUCKET_ENTRIES) {
        bucket = bucket_of(cache, key, true);
        i = bucket_find(bucket, key);
    }
    return i == BUCKET_ENTRIES ? SERIES_CACHE_NONE : bucket->ref[i];
}

static void remake(struct series_cache *cache, size_t bucket_count)
{
    series_cache_deinit(cache);
    size_t bytes = bucket_count * sizeof(struct series_bucket), line = sizeof(struct series_bucket);
    cache->memory = mem_alloc(bytes + line);
    cache->buckets = (void *)(((uintptr_t)cache->memory + line - 1) / line * line);
    cache->bucket_count = bucket_count;
    memset(cache->buckets, 0xff, bytes);
}

/* For all series, or an eighth more entries than there are. */
static void grow(struct series_cache *cache, size_t series_count)
{
    size_t places = cache->used + cache->used / 8;
    places = (places > series_count ? places : series_count) * 16 / LOAD_SIXTEENTHS;
    size_t bucket_count = places / BUCKET_ENTRIES + 1;
    remake(cache, bucket_count < BUCKETS_MIN ? BUCKETS_MIN : bucket_count);
}

static uint32_t free_count(const struct series_bucket *bucket)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++)
        count += bucket->ref[i] == SERIES_CACHE_NONE;
    return count;
}

void series_cache_put(struct series_cache *cache, struct hash128 key, uint32_t ref,
                      size_t series_count)
{
    ENSURE(ref != SERIES_CACHE_NONE);
    bool is_full = cache->used >= place_count(cache) / 16 * LOAD_SIXTEENTHS;
    if (!cache->buckets || (is_full && cache->used <= series_count + series_count / 8))
        grow(cache, series_count);
    struct series_bucket *bucket = bucket_of(cache, key, false),
                         *other = bucket_of(cache, key, true);
    uint32_t i = bucket_find(bucket, key);
    if (i == BUCKET_ENTRIES && bucket_find(other, key) < BUCKET_ENTRIES) {
        bucket = other;
        i = bucket_find(other, key);
    }
    if (i == BUCKET_ENTRIES) {
        bucket = free_count(other) > free_count(bucket) ? other : bucket;
        for (i = 0; i < BUCKET_ENTRIES && bucket->ref[i] != SERIES_CACHE_NONE;)
            i++;
        cache->used += i < BUCKET_ENTRIES;
        i = i < BUCKET_ENTRIES ? i : (uint32_t)(key.low >> 48) % BUCKET_ENTRIES;
    }
    bucket->ref[i] = ref;
    bucket->tag[i] = (uint32_t)key.low;
    bucket->more[i] = (uint16_t)(key.low >> 32);
}

void series_cache_sweep(struct series_cache *cache, bool (*gone)(void *ctx, uint32_t ref),
                        void *ctx)
{
    for (size_t i = 0; i < place_count(cache); i++) {
        uint32_t *ref = &cache->buckets[i / BUCKET_ENTRIES].ref[i % BUCKET_ENTRIES];
        if (*ref == SERIES_CACHE_NONE || !gone(ctx, *ref))
            continue;
        *ref = SERIES_CACHE_NONE;
        cache->used--;
    }
    if (cache->used < place_count(cache) / 4)
        series_cache_deinit(cache); /* It is made anew as small as it needs to be. */
}
