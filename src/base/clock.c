/* clock: clock_gettime, with a wall clock that tests can freeze. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

#include "base/ensure.h"

static _Atomic int64_t frozen_ms = INT64_MIN; /* INT64_MIN: not frozen. */

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    int status = clock_gettime(id, &now);
    ENSURE(status == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    int64_t frozen = atomic_load_explicit(&frozen_ms, memory_order_relaxed);
    return frozen != INT64_MIN ? frozen : read_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_wall_ns(void)
{
    int64_t frozen = atomic_load_explicit(&frozen_ms, memory_order_relaxed);
    return frozen != INT64_MIN ? frozen * 1000000 : read_ns(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_coarse_ns(void)
{
    return read_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

void clock_set_wall_ms(int64_t now_ms)
{
    atomic_store_explicit(&frozen_ms, now_ms, memory_order_relaxed);
}
