/* spare: large blocks that one answer has done with, for the next one: else each would be a map of its own whose pages the
 * kernel clears and hands out one by one. Any thread. */
#ifndef BASE_SPARE_H
#define BASE_SPARE_H

#include <stddef.h>

#define SPARE_MIN ((size_t)256 << 10) /* Smaller ones are malloc's business. */
#define SPARE_MAX ((size_t)16 << 20)  /* All that is kept. */

/* A block that is kept, the largest, its size in *bytes; NULL when there is none. From mem_alloc. */
void *spare_take(size_t *bytes);
/* Keeps or frees a block from mem_alloc. */
void spare_give(void *block, size_t bytes);
/* Now and then: frees what nobody has taken since the last call. */
void spare_tick(void);
void spare_trim(void);         /* Frees all. */
size_t spare_bytes(void); /* That are kept. */

#endif
