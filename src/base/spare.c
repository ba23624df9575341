/* spare: see spare.h. A few slots under a lock, newest last; what has lain through a whole tick goes. */
#include "base/spare.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"

#define SPARE_BLOCKS 4

struct spare_block {
    void *ptr;
    size_t bytes;
    bool ticked; /* Lay here at the last tick. */
};

static struct {
    pthread_mutex_t lock;
    struct spare_block blocks[SPARE_BLOCKS];
    size_t count, bytes;
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock. */
static struct spare_block remove_at(size_t at)
{
    struct spare_block block = spare.blocks[at];
    spare.count--;
    spare.bytes -= block.bytes;
    for (size_t i = at; i < spare.count; i++)
        spare.blocks[i] = spare.blocks[i + 1];
    return block;
}

void *spare_take(size_t *bytes)
{
    struct spare_block block = {0};
    size_t largest = 0;
    pthread_mutex_lock(&spare.lock);
    for (size_t i = 1; i < spare.count; i++)
        largest = spare.blocks[i].bytes > spare.blocks[largest].bytes ? i : largest;
    if (spare.count > 0)
        block = remove_at(largest);
    pthread_mutex_unlock(&spare.lock);
    *bytes = block.bytes;
    return block.ptr;
}

void spare_give(void *ptr, size_t bytes)
{
    struct spare_block block = {.ptr = ptr, .bytes = bytes};
    pthread_mutex_lock(&spare.lock);
    if (bytes >= SPARE_MIN && spare.count < SPARE_BLOCKS && bytes <= SPARE_MAX - spare.bytes) {
        spare.blocks[spare.count++] = block;
        spare.bytes += bytes;
        block.ptr = NULL;
    }
    pthread_mutex_unlock(&spare.lock);
    mem_free(block.ptr);
}

static void drop(bool only_ticked)
{
    struct spare_block old[SPARE_BLOCKS];
    size_t old_count = 0;
    pthread_mutex_lock(&spare.lock);
    for (size_t i = spare.count; i-- > 0;) {
        if (!only_ticked || spare.blocks[i].ticked)
            old[old_count++] = remove_at(i);
        else
            spare.blocks[i].ticked = true;
    }
    pthread_mutex_unlock(&spare.lock);
    for (size_t i = 0; i < old_count; i++)
        mem_free(old[i].ptr);
}

void spare_tick(void)
{
    drop(true);
}

void spare_trim(void)
{
    drop(false);
}

size_t spare_bytes(void)
{
    pthread_mutex_lock(&spare.lock);
    size_t bytes = spare.bytes;
    pthread_mutex_unlock(&spare.lock);
    return bytes;
}
