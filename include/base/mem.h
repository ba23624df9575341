/* mem: allocation that never fails to its caller. Exhaustion aborts; limits elsewhere keep us from it. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes);                /* Not zeroed. Size 0 yields a valid pointer. */
void *mem_zalloc(size_t bytes);               /* Zeroed. */
void *mem_alloc_array(size_t count, size_t item_bytes); /* Overflow aborts. Not zeroed. */
void *mem_realloc(void *ptr, size_t bytes);
void mem_free(void *ptr); /* NULL is fine. */
/* Once, before there are threads. */
void mem_setup(void);
/* Gives what the heap keeps for later back to the kernel. May take milliseconds per 100 MB. */
void mem_trim(void);
size_t mem_in_use(void); /* Bytes of all blocks that are not freed (nor spare). */
void *mem_dup(const void *ptr, size_t bytes);

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

#endif
