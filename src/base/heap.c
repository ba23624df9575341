/* heap: the textbook binary heap: children of i at 2i+1 and 2i+2. */
#include "base/heap.h"

#include "base/mem.h"

void heap_init(struct heap *heap, heap_less_fn less)
{
    *heap = (struct heap){.less = less};
}

void heap_deinit(struct heap *heap)
{
    if (!heap)
        return;
    mem_free(heap->items);
    *heap = (struct heap){.less = heap->less};
}

static void sift_down(struct heap *heap, size_t at)
{
    void *item = heap->items[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->less(heap->items[child + 1], heap->items[child]))
            child++;
        if (!heap->less(heap->items[child], item))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = item;
}

void heap_push(struct heap *heap, void *item)
{
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity ? 2 * heap->capacity : 16;
        heap->items = mem_realloc(heap->items, heap->capacity * sizeof(*heap->items));
    }
    size_t at = heap->count++;
    while (at > 0 && heap->less(item, heap->items[(at - 1) / 2])) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = item;
}

void *heap_pop(struct heap *heap)
{
    if (heap->count == 0)
        return NULL;
    void *least = heap->items[0];
    heap->items[0] = heap->items[--heap->count];
    heap_fix_top(heap);
    return least;
}

void heap_fix_top(struct heap *heap)
{
    if (heap->count > 1)
        sift_down(heap, 0);
}
