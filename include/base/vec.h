/* vec: a typed growable array.
 *
 *     VEC(struct label) labels = {0};
 *     VEC_PUSH(&labels, label);   labels.items[i], labels.count
 *     VEC_FREE(&labels);
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stddef.h>

#include "base/mem.h"

#define VEC(type)          \
    struct {               \
        type *items;       \
        size_t count;      \
        size_t capacity;   \
    }

#define VEC_PUSH(vec, item) (VEC_RESERVE((vec), 1), (void)((vec)->items[(vec)->count++] = (item)))
/* Room for `more` items beyond count. */
#define VEC_RESERVE(vec, more) \
    vec_reserve((void **)&(vec)->items, &(vec)->capacity, (vec)->count + (more), sizeof(*(vec)->items))
#define VEC_POP(vec)   ((vec)->items[--(vec)->count])
#define VEC_CLEAR(vec) ((void)((vec)->count = 0))
#define VEC_FREE(vec) \
    (mem_free((vec)->items), (vec)->items = NULL, (void)((vec)->count = (vec)->capacity = 0))
#define VEC_EACH(item, vec) \
    for (__typeof__((vec)->items) item = (vec)->items; item && item < (vec)->items + (vec)->count; item++)
#define VEC_SORT(vec, compare) \
    ((vec)->count > 1 ? qsort((vec)->items, (vec)->count, sizeof(*(vec)->items), (compare)) : (void)0)

void vec_reserve(void **items, size_t *capacity, size_t count_wanted, size_t item_bytes);

#endif
