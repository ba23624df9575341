/* epoch: memory that readers may still look at is freed when no older reader is left.
 *
 *     reader (any thread):  pin = epoch_pin(&epoch); ... read ...; epoch_unpin(&epoch, pin);
 *     writer (loop thread): unlink from all shared places, epoch_retire(&epoch, fn, ptr)
 *                           epoch_collect(&epoch) runs what no pinned epoch can reach any more
 *
 * Scheme: epoch-based reclamation (Fraser, "Practical lock-freedom", 2004), with one slot per pin rather than
 * per thread, because a query's pin moves between threads. When all EPOCH_PINS_MAX slots are taken a pin shares the slot of
 * another, older one: it never waits. */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define EPOCH_PINS_MAX 256

typedef void (*epoch_free_fn)(void *ptr); /* Called on the writer's thread. */

struct epoch_retired;

struct epoch {
    _Atomic uint64_t current;                  /* Starts at 1. */
    _Atomic uint64_t pins[EPOCH_PINS_MAX];     /* 0 free, else the epoch and its readers. */
    struct epoch_retired *oldest, *newest;     /* Writer only. */
    size_t retired_count;
};

void epoch_init(struct epoch *epoch);
void epoch_deinit(struct epoch *epoch); /* No pin may be left; frees all that is retired. */
uint32_t epoch_pin(struct epoch *epoch);
void epoch_unpin(struct epoch *epoch, uint32_t pin);
void epoch_retire(struct epoch *epoch, epoch_free_fn free_fn, void *ptr);
void epoch_collect(struct epoch *epoch);
uint64_t epoch_oldest(struct epoch *epoch); /* The oldest pinned epoch, or the current one. */

#endif
