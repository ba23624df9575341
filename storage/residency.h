/* residency: keeps what the kernel counts for us near what we use. Loop thread.
 *
 * Two things pile up by themselves: pages of mapped files that somebody read once, and free memory between used blocks of
 * the heap (slots, which leave most of them, have pages of their own). Both are looked at now and then and given back when there is more
 * of them than is worth keeping. */
#ifndef STORAGE_RESIDENCY_H
#define STORAGE_RESIDENCY_H

#include <stdint.h>

struct storage;
struct residency {
    int64_t looked_mono_ms; /* 0: never. */
    int64_t trimmed_mono_ms;
    uint64_t file_bytes_floor; /* What stayed last time: the program itself. */
};
void residency_tick(struct storage *storage, int64_t now_mono_ms);

#endif
