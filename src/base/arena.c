/* arena: bump allocation from a chain of blocks that double up to ARENA_BLOCK_MAX.
 *
 *     blocks -> [ newest: header | used ... at | free ... end ] -> [ older ] -> ...
 *
 * What does not fit a block of that size gets one of its own, put behind the newest so that the
 * newest's free room stays in use. arena_reset keeps the newest block of ordinary size: a huge
 * answer of one query is not kept for the next. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"

#define ARENA_ALIGN     16u
#define ARENA_BLOCK_MIN 4096u
#define ARENA_BLOCK_MAX (256u * 1024)

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* With this header. */
};

_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "blocks start aligned");

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

static void blocks_free(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_deinit(struct arena *arena)
{
    if (!arena)
        return;
    blocks_free(arena->blocks);
    *arena = (struct arena){.bytes_max = arena->bytes_max};
}

static void block_use(struct arena *arena, struct arena_block *block)
{
    arena->at = (char *)(block + 1);
    arena->end = (char *)block + block->bytes;
}

void arena_reset(struct arena *arena)
{
    struct arena_block **link = &arena->blocks;
    while (*link && (*link)->bytes > ARENA_BLOCK_MAX)
        link = &(*link)->next;
    struct arena_block *kept = *link;
    if (kept) {
        *link = kept->next;
        kept->next = NULL;
    }
    blocks_free(arena->blocks);
    *arena = (struct arena){.blocks = kept, .bytes_max = arena->bytes_max};
    if (kept) {
        arena->bytes = kept->bytes;
        block_use(arena, kept);
    }
}

static struct arena_block *block_new(struct arena *arena, size_t bytes)
{
    struct arena_block *block = mem_alloc(bytes);
    block->bytes = bytes;
    arena->bytes += bytes;
    if (arena->bytes_max && arena->bytes > arena->bytes_max)
        arena->over_budget = true;
    return block;
}

static void *alloc_slow(struct arena *arena, size_t bytes)
{
    size_t block_bytes = arena->blocks ? 2 * arena->blocks->bytes : ARENA_BLOCK_MIN;
    if (block_bytes > ARENA_BLOCK_MAX)
        block_bytes = ARENA_BLOCK_MAX;
    if (bytes > (block_bytes - sizeof(struct arena_block)) / 4 && arena->blocks) {
        struct arena_block *own = block_new(arena, bytes + sizeof(struct arena_block));
        own->next = arena->blocks->next;
        arena->blocks->next = own;
        return own + 1;
    }
    if (block_bytes < bytes + sizeof(struct arena_block))
        block_bytes = bytes + sizeof(struct arena_block);
    struct arena_block *block = block_new(arena, block_bytes);
    block->next = arena->blocks;
    arena->blocks = block;
    block_use(arena, block);
    void *ptr = arena->at;
    arena->at += bytes;
    return ptr;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    ENSURE(bytes < SIZE_MAX / 2);
    bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (UNLIKELY(!arena->at || bytes > (size_t)(arena->end - arena->at)))
        return alloc_slow(arena, bytes);
    void *ptr = arena->at;
    arena->at += bytes;
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
    return memset(arena_alloc(arena, bytes), 0, bytes);
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t item_bytes)
{
    size_t bytes;
    bool overflow = __builtin_mul_overflow(count, item_bytes, &bytes);
    ENSURE(!overflow);
    return arena_alloc(arena, bytes);
}

struct str arena_str(struct arena *arena, struct str s)
{
    char *copy = arena_alloc(arena, s.len + 1);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return (struct str){copy, s.len};
}

struct str arena_strf(struct arena *arena, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ENSURE(len >= 0);
    if ((size_t)len < sizeof(text))
        return arena_str(arena, (struct str){text, (size_t)len});
    char *copy = arena_alloc(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(copy, (size_t)len + 1, format, args);
    va_end(args);
    return (struct str){copy, (size_t)len};
}
