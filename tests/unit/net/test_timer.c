/* timer: once, repeated, stopped, and freed from its own callback. */
#include "net/loop.h"
#include "net_test.h"

struct ticks {
    struct timer *timer;
    unsigned count;
    unsigned stop_at; /* 0: never. */
    bool free_it;
};

static void tick(void *ctx)
{
    struct ticks *ticks = ctx;
    ticks->count++;
    if (ticks->count != ticks->stop_at)
        return;
    if (ticks->free_it)
        timer_free(ticks->timer);
    else
        timer_stop(ticks->timer);
}

static void run_and_close(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

/* Without a repeat the callback comes once; a delay below zero (already late) is due at once. */
static void test_timer_start__fires_once(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct ticks ticks = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    ticks.timer = timer_new(&loop, tick, &ticks);
    timer_start(ticks.timer, -5, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(ticks.count, 1);
    timer_free(ticks.timer);
    run_and_close(&loop);
}

/* A repeated timer goes on until it is stopped, also from its own callback. */
static void test_timer_start__repeats_until_stopped(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct ticks ticks = {.stop_at = 3};
    assert_int_equal(uv_loop_init(&loop), 0);
    ticks.timer = timer_new(&loop, tick, &ticks);
    timer_start(ticks.timer, 1, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(ticks.count, 3);
    timer_free(ticks.timer);
    run_and_close(&loop);
}

/* An owner may end itself, and its timer, from the timer's callback. */
static void test_timer_free__works_in_the_callback(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct ticks ticks = {.stop_at = 2, .free_it = true};
    assert_int_equal(uv_loop_init(&loop), 0);
    ticks.timer = timer_new(&loop, tick, &ticks);
    timer_start(ticks.timer, 0, 1);
    run_and_close(&loop);
    assert_int_equal(ticks.count, 2);
}

/* After timer_free nothing comes, though it was due. */
static void test_timer_free__silences_a_due_timer(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct ticks ticks = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    ticks.timer = timer_new(&loop, tick, &ticks);
    timer_start(ticks.timer, 0, 0);
    timer_free(ticks.timer);
    timer_free(NULL);
    run_and_close(&loop);
    assert_int_equal(ticks.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_start__fires_once),
        cmocka_unit_test(test_timer_start__repeats_until_stopped),
        cmocka_unit_test(test_timer_free__works_in_the_callback),
        cmocka_unit_test(test_timer_free__silences_a_due_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
