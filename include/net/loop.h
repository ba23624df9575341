/* loop: the libuv loop's name for headers that must not include uv.h, and timers on it. Loop thread only. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdint.h>

struct uv_loop_s;

/* A one-shot or repeating timer. Freed by timer_free, whose memory goes when libuv has closed the handle. */
struct timer;
typedef void (*timer_fn)(void *ctx);

struct timer *timer_new(struct uv_loop_s *loop, timer_fn fn, void *ctx);
void timer_start(struct timer *timer, int64_t delay_ms, int64_t repeat_ms); /* repeat 0: once. Restarts. */
void timer_stop(struct timer *timer);
void timer_free(struct timer *timer); /* NULL is fine. The callback does not come again. */

#endif
