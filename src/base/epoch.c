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

#define READERS_BITS 20
#define READERS_MAX  ((UINT64_C(1) << READERS_BITS) - 1)

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

/* A slot holds the pinned epoch and, in the low bits, how many readers share it. */
static uint64_t slot_value(uint64_t epoch, uint64_t readers)
{
    return epoch << READERS_BITS | readers;
}

/* A slot of its own, or UINT32_MAX when all are taken. */
static uint32_t pin_free_slot(struct epoch *epoch, uint32_t start)
{
    for (uint32_t i = 0; i < EPOCH_PINS_MAX; i++) {
        uint32_t slot = (start + i) % EPOCH_PINS_MAX;
        uint64_t expected = 0;
        if (atomic_load_explicit(&epoch->pins[slot], memory_order_relaxed) != 0)
            continue;
        uint64_t mine = slot_value(atomic_load_explicit(&epoch->current, memory_order_acquire), 1);
        if (!atomic_compare_exchange_strong(&epoch->pins[slot], &expected, mine))
            continue;
        /* Nothing has been read yet, so the pin may move on to the epoch that this step meets, unless
         * somebody shares it already. */
        uint64_t met = atomic_fetch_add(&epoch->current, 0);
        (void)atomic_compare_exchange_strong(&epoch->pins[slot], &mine, slot_value(met, 1));
        return slot;
    }
    return UINT32_MAX;
}

/* One more reader of an epoch that is pinned already: older than need be, which only holds memory longer. */
static uint32_t pin_shared_slot(struct epoch *epoch, uint32_t start)
{
    for (uint32_t i = 0; i < EPOCH_PINS_MAX; i++) {
        uint32_t slot = (start + i) % EPOCH_PINS_MAX;
        uint64_t seen = atomic_load_explicit(&epoch->pins[slot], memory_order_relaxed);
        while (seen != 0 && (seen & READERS_MAX) < READERS_MAX) {
            if (atomic_compare_exchange_strong(&epoch->pins[slot], &seen, seen + 1)) {
                (void)atomic_fetch_add(&epoch->current, 0);
                return slot;
            }
        }
    }
    return UINT32_MAX;
}

uint32_t epoch_pin(struct epoch *epoch)
{
    uint32_t *hint = slot_hint();
    for (;;) {
        uint32_t slot = pin_free_slot(epoch, *hint);
        if (slot == UINT32_MAX)
            slot = pin_shared_slot(epoch, *hint);
        if (slot != UINT32_MAX) {
            *hint = slot;
            return slot;
        }
        sched_yield();
    }
}

void epoch_unpin(struct epoch *epoch, uint32_t pin)
{
    ENSURE(pin < EPOCH_PINS_MAX);
    uint64_t seen = atomic_load_explicit(&epoch->pins[pin], memory_order_relaxed);
    for (;;) {
        ENSURE((seen & READERS_MAX) > 0);
        uint64_t left = (seen & READERS_MAX) == 1 ? 0 : seen - 1;
        if (atomic_compare_exchange_weak_explicit(&epoch->pins[pin], &seen, left,
                                                  memory_order_release, memory_order_relaxed))
            return;
    }
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
        uint64_t pinned = atomic_load(&epoch->pins[i]) >> READERS_BITS;
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
