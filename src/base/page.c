/* page: see the header.
 *
 * Chunks of a MiB, aligned to their size, so that a page's address tells its chunk; the first page of each says which of
 * the others are free, and which of these the kernel has something behind. Chunks are never unmapped: empty ones cost a
 * page of the kernel's, which is two of ours. */
#include "base/page.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/vec.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define CHUNK_PAGES (CHUNK_BYTES / PAGE_BYTES)
#define WORDS       (CHUNK_PAGES / 64)
#define KEPT_MIN    128 /* Pages. */
#define KERNEL_PAGE 2   /* Of ours. */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PAGES_OF_MALLOC
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define PAGES_OF_MALLOC
#endif

_Static_assert(PAGE_BYTES *KERNEL_PAGE == 4096, "pairs of pages are the kernel's");

#ifdef PAGES_OF_MALLOC /* It finds who uses a page after its end. */

void *page_alloc(void)
{
    return mem_alloc(PAGE_BYTES);
}

void page_free(void *page)
{
    mem_free(page);
}

void page_trim(void) {}

size_t page_in_use(void)
{
    return 0;
}

#else

struct chunk {
    size_t number;
    uint32_t free_count;
    uint64_t free[WORDS];
    uint64_t resident[WORDS]; /* Of the free ones. */
};

static struct {
    pthread_mutex_t lock;
    VEC(struct chunk *) chunks;
    size_t first; /* No chunk before this one has a free page. */
    size_t used, resident;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct chunk *chunk_of(const void *page)
{
    return (struct chunk *)((uintptr_t)page & ~(uintptr_t)(CHUNK_BYTES - 1));
}

static char *chunk_map(void)
{
    char *map =
        mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        fputs("narthex: out of memory: no more pages\n", stderr);
        abort();
    }
    size_t before = (size_t)(-(uintptr_t)map & (CHUNK_BYTES - 1));
    if (before > 0)
        (void)munmap(map, before);
    (void)munmap(map + before + CHUNK_BYTES, CHUNK_BYTES - before);
    /* A huge page would come back whole with its first byte. */
    (void)madvise(map + before, CHUNK_BYTES, MADV_NOHUGEPAGE);
    return map + before;
}

static void chunk_add(void)
{
    struct chunk *chunk = (struct chunk *)(void *)chunk_map();
    chunk->number = pool.chunks.count;
    chunk->free_count = CHUNK_PAGES - 1;
    for (size_t i = 0; i < WORDS; i++)
        chunk->free[i] = UINT64_MAX;
    chunk->free[0] &= ~UINT64_C(1);
    VEC_PUSH(&pool.chunks, chunk);
}

void *page_alloc(void)
{
    size_t word = 0;
    pthread_mutex_lock(&pool.lock);
    while (pool.first < pool.chunks.count && pool.chunks.items[pool.first]->free_count == 0)
        pool.first++;
    if (pool.first == pool.chunks.count)
        chunk_add();
    struct chunk *chunk = pool.chunks.items[pool.first];
    while (!chunk->free[word])
        word++;
    uint64_t bit = chunk->free[word] & -chunk->free[word];
    size_t place = word * 64 + (size_t)__builtin_ctzll(bit);
    pool.resident -= (chunk->resident[word] & bit) != 0;
    chunk->resident[word] &= ~bit;
    chunk->free[word] &= ~bit;
    chunk->free_count--;
    pool.used++;
    pthread_mutex_unlock(&pool.lock);
    return (char *)chunk + place * PAGE_BYTES;
}

void page_free(void *page)
{
    struct chunk *chunk = chunk_of(page);
    size_t place = (size_t)((char *)page - (char *)chunk) / PAGE_BYTES;
    pthread_mutex_lock(&pool.lock);
    chunk->free[place / 64] |= UINT64_C(1) << place % 64;
    chunk->resident[place / 64] |= UINT64_C(1) << place % 64;
    chunk->free_count++;
    pool.first = chunk->number < pool.first ? chunk->number : pool.first;
    pool.resident++;
    pool.used--;
    pthread_mutex_unlock(&pool.lock);
}

/* All of a page of the kernel's is free, and there is something behind it. */
static bool may_go(const struct chunk *chunk, size_t place)
{
    uint64_t mask = UINT64_C(3) << place % 64;
    return (chunk->free[place / 64] & mask) == mask && (chunk->resident[place / 64] & mask);
}

/* Runs of pages at a time. */
static void chunk_trim(struct chunk *chunk)
{
    for (size_t from = 0, to; from < CHUNK_PAGES; from = to) {
        for (to = from; to < CHUNK_PAGES && may_go(chunk, to); to += KERNEL_PAGE) {
            uint64_t mask = UINT64_C(3) << to % 64;
            pool.resident -= (size_t)__builtin_popcountll(chunk->resident[to / 64] & mask);
            chunk->resident[to / 64] &= ~mask;
        }
        if (to > from)
            (void)madvise((char *)chunk + from * PAGE_BYTES, (to - from) * PAGE_BYTES,
                          MADV_DONTNEED);
        else
            to += KERNEL_PAGE;
    }
}

/* From the end: what is taken next is at the begin. */
void page_trim(void)
{
    pthread_mutex_lock(&pool.lock);
    for (size_t i = pool.chunks.count; i-- > 0 && pool.resident > pool.used / 64 + KEPT_MIN;)
        chunk_trim(pool.chunks.items[i]);
    pthread_mutex_unlock(&pool.lock);
}

size_t page_in_use(void)
{
    pthread_mutex_lock(&pool.lock);
    size_t used = pool.used;
    pthread_mutex_unlock(&pool.lock);
    return used * PAGE_BYTES;
}

#endif
