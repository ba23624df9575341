/* page: small pages of memory with a heap of their own, for what comes and goes in bulk.
 *
 * Among the blocks of malloc they would leave holes that something else keeps open: here the lowest free page is taken
 * first, and free ones go back to the kernel, two by two. Any thread. */
#ifndef BASE_PAGE_H
#define BASE_PAGE_H

#include <stddef.h>

#define PAGE_BYTES 2048u

void *page_alloc(void); /* Not zeroed. */
void page_free(void *page);
/* Gives free pages back, unless they are few. Cheap when there is nothing to do. */
void page_trim(void);
size_t page_in_use(void); /* Bytes. */

#endif
