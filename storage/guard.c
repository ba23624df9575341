/* guard: see guard.h. The handler looks only at atomics and at its own thread's frames, and calls only what a signal
 * handler may call (mmap is a bare system call). A frame saves the signal mask, because the jump leaves the handler with
 * its signal blocked: one system call a run. */
#include "guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/ensure.h"

struct guard_frame {
    struct guard_frame *outer;
    struct guard_map *map;
    sigjmp_buf jump;
};

static _Thread_local struct guard_frame *volatile frames; /* Of this thread, innermost first. */
static _Atomic(struct guard_map *) maps[GUARD_MAPS_MAX];
static _Atomic uint32_t maps_end; /* No map is at or behind this place. */
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before_bus, before_segv;
static uintptr_t page_bytes;

/* A damaged page makes its reader run on past the end: LMDB counts entries as an unsigned half of a difference, which may be
 * below zero. */
#define BEHIND_BYTES ((size_t)1 << 32)

static bool map_has(const struct guard_map *map, const char *address)
{
    return address >= map->begin && address < map->end;
}

static struct guard_map *map_of(const char *address)
{
    uint32_t end = atomic_load(&maps_end);
    for (uint32_t i = 0; i < end; i++) {
        struct guard_map *map = atomic_load(&maps[i]);
        if (map && map_has(map, address))
            return map;
    }
    return NULL;
}

static _Thread_local volatile bool in_library;

void guard_set_in_library(bool now)
{
    in_library = now;
}

/* The innermost run whose map has the address, or else ends shortly before it. */
static struct guard_frame *frame_of(const char *address)
{
    struct guard_frame *frame = frames;
    if (in_library && (uintptr_t)address < page_bytes)
        return frame;
    while (frame && !map_has(frame->map, address))
        frame = frame->outer;
    if (frame || map_of(address))
        return frame;
    for (frame = frames; frame; frame = frame->outer) {
        if (address >= frame->map->end && address < frame->map->end + BEHIND_BYTES)
            return frame;
    }
    return NULL;
}

static void chain(int signal_number, siginfo_t *info, void *context)
{
    const struct sigaction *before = signal_number == SIGBUS ? &before_bus : &before_segv;
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(signal_number, info, context);
    } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(signal_number);
    } else {
        struct sigaction plain;
        memset(&plain, 0, sizeof(plain));
        plain.sa_handler = SIG_DFL;
        sigaction(signal_number, &plain, NULL); /* The access is tried again and ends us. */
    }
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    char *address = info->si_addr;
    /* Not sent by kill(), and not a write to a map that is only to be read: that is a bug of ours. */
    bool is_access = info->si_code > 0 && (signal_number == SIGBUS || info->si_code == SEGV_MAPERR);
    struct guard_frame *frame = is_access ? frame_of(address) : NULL;
    if (frame) {
        atomic_store(&frame->map->damaged, true);
        frames = frame->outer;
        in_library = false;
        siglongjmp(frame->jump, 1);
    }
    struct guard_map *map = is_access ? map_of(address) : NULL;
    if (map) {
        char *page = address - (uintptr_t)address % page_bytes;
        atomic_store(&map->damaged, true);
        if (mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            page)
            return;
    }
    chain(signal_number, info, context);
}

/* Again when somebody has put another handler in our place: then that one comes after us. */
static void install(int signal_number, struct sigaction *before)
{
    struct sigaction action, now;
    ENSURE(sigaction(signal_number, NULL, &now) == 0);
    bool is_ours = now.sa_sigaction == on_fault;
    if (is_ours && (now.sa_flags & SA_SIGINFO))
        return;
    if (!is_ours)
        *before = now;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ENSURE(sigaction(signal_number, &action, NULL) == 0);
}

void guard_map_add(struct guard_map *map, const void *base, size_t len)
{
    ENSURE(base && len > 0 && map->place == 0);
    map->begin = base;
    map->end = map->begin + len;
    atomic_store(&map->damaged, false);
    ENSURE(pthread_mutex_lock(&installing) == 0);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    install(SIGBUS, &before_bus);
    install(SIGSEGV, &before_segv);
    ENSURE(pthread_mutex_unlock(&installing) == 0);
    for (uint32_t i = 0; i < GUARD_MAPS_MAX; i++) {
        struct guard_map *none = NULL;
        uint32_t end = atomic_load(&maps_end);
        if (!atomic_compare_exchange_strong(&maps[i], &none, map))
            continue;
        while (end <= i && !atomic_compare_exchange_weak(&maps_end, &end, i + 1))
            continue;
        map->place = i + 1;
        return;
    }
}

void guard_map_remove(struct guard_map *map)
{
    if (map->place > 0)
        atomic_store(&maps[map->place - 1], NULL);
    map->place = 0;
    map->begin = map->end = NULL;
}

bool guard_map_is_damaged(const struct guard_map *map)
{
    return atomic_load_explicit(&map->damaged, memory_order_relaxed);
}

void guard_escape(struct guard_map *map)
{
    for (struct guard_frame *frame = frames; frame; frame = frame->outer) {
        if (frame->map != map)
            continue;
        atomic_store(&map->damaged, true);
        frames = frame->outer;
        in_library = false;
        siglongjmp(frame->jump, 1);
    }
}

bool guard_run(struct guard_map *map, void (*fn)(void *ctx), void *ctx)
{
    struct guard_frame frame;
    frame.outer = frames;
    frame.map = map;
    /* The mask is not saved, which would be a system call each time: what the handler blocked is unblocked here. */
    if (sigsetjmp(frame.jump, 0) != 0) {
        sigset_t faults;
        sigemptyset(&faults);
        sigaddset(&faults, SIGBUS);
        sigaddset(&faults, SIGSEGV);
        ENSURE(pthread_sigmask(SIG_UNBLOCK, &faults, NULL) == 0);
        return false;
    }
    frames = &frame;
    fn(ctx);
    ENSURE(frames == &frame);
    frames = frame.outer;
    return true;
}
