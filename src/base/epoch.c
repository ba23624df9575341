/* epoch: epoch-based reclamation (Fraser 2004) with slots that belong to pins.
 *
 * A retired thing carries the epoch in which it was retired, t; retiring then moves `current` on.
 * It is freed when every pin is of an epoch > t.
 *
 * Why that is safe: a pin first stores its epoch into its slot, then does a read-modify-write on
 * `current`; collecting does one on `current`, too, before it looks at the slots. Of any two
 * read-modify-writes on one place one sees the other. Either the collector sees the pin's slot and
 * keeps what is not older; or the pin comes later, and then all that had been unlinked before the
 * collector's own step is out of the reader's sight. No fence is needed, so TSan can follow it. */
#include "base/epoch.h"

#include <sched.h>

#include "base/ensure.h"
#include "base/mem.h"

struct epoch_retired {
    struct epoch_retired *next;
    epoch_free_fn free_fn;
    void *ptr;
    uint64_t retired_at;
};

void epoch_init(struct epoch *epoch)
{
    atomic_init(&epoch->current, 1);
    for (size_t i = 0; i < EPOCH_PINS_MAX; i++)
        atomic_init(&epoch->pins[i], 0);
    epoch->oldest = epoch->newest = NULL;
    epoch->retired_count = 0;
}

void epoch_deinit(struct epoch *epoch)
{
    if (!epoch)
        return;
    epoch_collect(epoch);
    ENSURE(epoch->oldest == NULL && epoch->retired_count == 0);
    for (size_t i = 0; i < EPOCH_PINS_MAX; i++)
        ENSURE(atomic_load_explicit(&epoch->pins[i], memory_order_acquire) == 0);
}

/* Threads start their search at different slots, and each at the one that it used last. */
static uint32_t *slot_hint(void)
{
    static _Atomic uint32_t threads;
    static _Thread_local uint32_t hint = UINT32_MAX;
    if (hint == UINT32_MAX)
        hint = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) * 8 % EPOCH_PINS_MAX;
    return &hint;
}

uint32_t epoch_pin(struct epoch *epoch)
{
    uint32_t *hint = slot_hint();
    uint32_t slot = *hint;

    for (uint32_t tries = 1;; tries++) {
        uint64_t expected = 0;
        uint64_t now = atomic_load_explicit(&epoch->current, memory_order_acquire);
        if (atomic_load_explicit(&epoch->pins[slot], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&epoch->pins[slot], &expected, now))
            break;
        slot = (slot + 1) % EPOCH_PINS_MAX;
        if (tries % EPOCH_PINS_MAX == 0)
            sched_yield();
    }
    /* Nothing has been read yet, so the pin may move on to the epoch that this step meets. */
    uint64_t met = atomic_fetch_add(&epoch->current, 0);
    atomic_store_explicit(&epoch->pins[slot], met, memory_order_release);
    *hint = slot;
    return slot;
}

void epoch_unpin(struct epoch *epoch, uint32_t pin)
{
    ENSURE(pin < EPOCH_PINS_MAX);
    uint64_t pinned = atomic_exchange_explicit(&epoch->pins[pin], 0, memory_order_release);
    ENSURE(pinned != 0);
}

void epoch_retire(struct epoch *epoch, epoch_free_fn free_fn, void *ptr)
{
    struct epoch_retired *retired = mem_alloc(sizeof(*retired));
    *retired = (struct epoch_retired){.free_fn = free_fn, .ptr = ptr};
    retired->retired_at = atomic_fetch_add(&epoch->current, 1);
    if (epoch->newest)
        epoch->newest->next = retired;
    else
        epoch->oldest = retired;
    epoch->newest = retired;
    epoch->retired_count++;
}

uint64_t epoch_oldest(struct epoch *epoch)
{
    uint64_t oldest = atomic_fetch_add(&epoch->current, 0);
    for (size_t i = 0; i < EPOCH_PINS_MAX; i++) {
        uint64_t pinned = atomic_load(&epoch->pins[i]);
        if (pinned != 0 && pinned < oldest)
            oldest = pinned;
    }
    return oldest;
}

void epoch_collect(struct epoch *epoch)
{
    if (!epoch->oldest)
        return;
    uint64_t bound = epoch_oldest(epoch);
    while (epoch->oldest && epoch->oldest->retired_at < bound) {
        struct epoch_retired *retired = epoch->oldest;
        epoch->oldest = retired->next;
        if (!epoch->oldest)
            epoch->newest = NULL;
        epoch->retired_count--;
        retired->free_fn(retired->ptr); /* May retire more. */
        mem_free(retired);
    }
}
