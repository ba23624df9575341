/* timer: one libuv timer behind a plain interface. The struct lives on until libuv has let go of
 * the handle, so a timer may be freed from its own callback. */
#include <uv.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "net/loop.h"

struct timer {
    uv_timer_t handle;
    timer_fn fn;
    void *ctx; /* Borrowed from the owner. */
};

struct timer *timer_new(struct uv_loop_s *loop, timer_fn fn, void *ctx)
{
    ENSURE(fn != NULL);
    struct timer *timer = MEM_NEW(struct timer);
    timer->fn = fn;
    timer->ctx = ctx;
    ENSURE(uv_timer_init(loop, &timer->handle) == 0);
    return timer;
}

static void timer_on_due(uv_timer_t *handle)
{
    struct timer *timer = CONTAINER_OF(handle, struct timer, handle);
    timer->fn(timer->ctx);
}

void timer_start(struct timer *timer, int64_t delay_ms, int64_t repeat_ms)
{
    /* At least 1: libuv runs a timer of delay 0 again in the same pass when its callback restarts
     * it, and sockets and signals would wait. */
    uint64_t delay = delay_ms > 1 ? (uint64_t)delay_ms : 1;
    uint64_t repeat = repeat_ms > 0 ? (uint64_t)repeat_ms : 0;
    ENSURE(uv_timer_start(&timer->handle, timer_on_due, delay, repeat) == 0);
}

void timer_stop(struct timer *timer)
{
    uv_timer_stop(&timer->handle);
}

static void timer_on_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF((uv_timer_t *)(void *)handle, struct timer, handle));
}

void timer_free(struct timer *timer)
{
    if (!timer)
        return;
    uv_timer_stop(&timer->handle);
    uv_close((uv_handle_t *)&timer->handle, timer_on_closed);
}
