/* heap: a binary min-heap of pointers, order by the caller; for merges and schedules. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

typedef bool (*heap_less_fn)(const void *a, const void *b);

struct heap {
    void **items; /* Owned array of borrowed pointers; items[0] is the least. */
    size_t count;
    size_t capacity;
    heap_less_fn less;
};

void heap_init(struct heap *heap, heap_less_fn less);
void heap_deinit(struct heap *heap);
void heap_push(struct heap *heap, void *item);
void *heap_pop(struct heap *heap);   /* NULL when empty. */
void heap_fix_top(struct heap *heap); /* After items[0] has changed its key. */

#endif
