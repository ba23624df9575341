/* segments: an array that grows without moving, one writer, any readers.
 *
 * Items live in segments of a fixed number; the table of segments is allocated once. The writer
 * fills the item past the end and publishes the count with release; a reader that got an item
 * number by acquire may read that item. */
#ifndef STORAGE_SEGMENTS_H
#define STORAGE_SEGMENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ensure.h"
#include "base/mem.h"

#define SEGMENTS_MAX 8192

struct segments {
    _Atomic(char *) *table; /* SEGMENTS_MAX places. */
    size_t item_bytes;
    uint32_t per_segment; /* A power of two. */
    uint32_t shift;
    _Atomic uint32_t count;
};

static inline void segments_init(struct segments *segments, size_t item_bytes, uint32_t per_segment)
{
    ENSURE((per_segment & (per_segment - 1)) == 0);
    segments->table = mem_zalloc(SEGMENTS_MAX * sizeof(segments->table[0]));
    segments->item_bytes = item_bytes;
    segments->per_segment = per_segment;
    segments->shift = (uint32_t)__builtin_ctz(per_segment);
    atomic_init(&segments->count, 0);
}

static inline void segments_deinit(struct segments *segments)
{
    for (size_t i = 0; segments->table && i < SEGMENTS_MAX; i++)
        mem_free(atomic_load_explicit(&segments->table[i], memory_order_relaxed));
    mem_free((void *)segments->table);
    segments->table = NULL;
}

static inline uint32_t segments_count(const struct segments *segments)
{
    return atomic_load_explicit(&segments->count, memory_order_acquire);
}

static inline bool segments_have_room(const struct segments *segments, size_t more)
{
    return segments_count(segments) + more <= (size_t)SEGMENTS_MAX << segments->shift;
}

static inline void *segments_at(const struct segments *segments, uint32_t i)
{
    char *segment =
        atomic_load_explicit(&segments->table[i >> segments->shift], memory_order_acquire);
    return segment + (size_t)(i & (segments->per_segment - 1)) * segments->item_bytes;
}

/* The zeroed place past the end, for the writer to fill; then segments_publish. */
static inline void *segments_next(struct segments *segments)
{
    uint32_t i = atomic_load_explicit(&segments->count, memory_order_relaxed);
    uint32_t number = i >> segments->shift;
    ENSURE(number < SEGMENTS_MAX);
    if (!atomic_load_explicit(&segments->table[number], memory_order_relaxed)) {
        char *segment = mem_zalloc(segments->per_segment * segments->item_bytes);
        atomic_store_explicit(&segments->table[number], segment, memory_order_release);
    }
    return segments_at(segments, i);
}

static inline void segments_publish(struct segments *segments)
{
    uint32_t i = atomic_load_explicit(&segments->count, memory_order_relaxed);
    atomic_store_explicit(&segments->count, i + 1, memory_order_release);
}

static inline uint64_t segments_bytes(const struct segments *segments)
{
    uint64_t used =
        ((uint64_t)segments_count(segments) + segments->per_segment - 1) >> segments->shift;
    return used * segments->per_segment * segments->item_bytes;
}

/* A typed reader: NAME_at(segments, i). */
#define SEGMENTS_TYPED(name, type)                                                                 \
    static inline type *name##_at(const struct segments *segments, uint32_t i)                     \
    {                                                                                              \
        return (type *)segments_at(segments, i);                                                   \
    }

#endif
