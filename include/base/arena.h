/* arena: memory of one scrape, query or request; its end frees all.
 *
 * Over its budget an arena still gives memory but `over_budget` becomes true: the owner looks at the
 * flag at its one check place and ends the work. Not thread-safe; each worker has its own. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ensure.h"
#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* Newest first. */
    char *at, *end;             /* Free room in the newest. */
    size_t bytes;               /* Taken from the heap in all. */
    size_t bytes_max;           /* 0: no budget. */
    bool over_budget;
};

void arena_init(struct arena *arena, size_t bytes_max);
void arena_deinit(struct arena *arena); /* Frees all; the arena can be used again after arena_init. */
void arena_reset(struct arena *arena);  /* Frees all but one block: ready for the next round. */

void *arena_alloc(struct arena *arena, size_t bytes);  /* 16-byte aligned, not zeroed. */
void *arena_zalloc(struct arena *arena, size_t bytes); /* Zeroed. */
void *arena_alloc_array(struct arena *arena, size_t count, size_t item_bytes);
struct str arena_str(struct arena *arena, struct str s); /* A copy, with a NUL after it. */
struct str arena_strf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))

#endif
