/* schedule: one heap and one timer for all targets.
 *
 * Each target has a grid: wall times t with t mod interval = its phase, from a hash of its labels
 * and URL, mixed with the host's name and the external labels. So it is scraped at the same instants
 * after a restart, load is spread, and two servers of a pair do not scrape together. The next point
 * is computed anew from the wall clock each time: a clock that jumps moves the schedule with it,
 * and nothing drifts. A scrape that still runs when the next is due costs that tick.
 *
 * Phases stand in steps of a hundredth of the interval, at most 50 ms, and all targets of a step
 * start in one turn with one time: to wake up costs more than to parse a hundred lines. */
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "scraper.h"

#define STARTS_PER_TURN 64 /* Thousands may be overdue at once, after a pause say. */
#define STEPS           100
#define STEP_MAX_MS     50
#define EARLY_MS        1 /* Wall and monotonic clock do not tick together. */

static bool due_before(const void *a, const void *b)
{
    return ((const struct target *)a)->due_ms < ((const struct target *)b)->due_ms;
}

int64_t schedule_phase(int64_t interval_ms, uint64_t hash, uint64_t seed)
{
    int64_t step = interval_ms / STEPS < STEP_MAX_MS ? interval_ms / STEPS : STEP_MAX_MS;

    if (step <= 1)
        return (int64_t)((hash ^ seed) % (uint64_t)interval_ms);
    uint64_t steps = (uint64_t)(interval_ms / step);
    return (int64_t)((hash ^ seed) % steps) * step + (int64_t)(seed % (uint64_t)step);
}

static void set_phase(struct target *target)
{
    char digits[17];

    (void)snprintf(digits, sizeof(digits), "%016llx", (unsigned long long)target->labels->hash);
    uint64_t hash = hash_fnv1a(HASH_FNV1A_INIT, str_from(digits, 16));
    hash = hash_fnv1a(hash, str_of(target->url));
    target->phase_ms = schedule_phase(target->interval_ms, hash, target->scraper->offset_seed);
}

int64_t schedule_next(int64_t now_wall_ms, int64_t interval_ms, int64_t phase)
{
    int64_t past = (now_wall_ms - phase) % interval_ms;

    if (past < 0)
        past += interval_ms;
    return now_wall_ms - past + interval_ms;
}

int64_t schedule_snap(const struct target *target, int64_t now_wall_ms)
{
    int64_t interval = target->interval_ms;
    int64_t wanted = target->scraper->tolerance_ms;
    int64_t tolerance = interval / 100 < wanted ? interval / 100 : wanted;
    int64_t after = schedule_next(now_wall_ms, interval, target->phase_ms);

    if (after - now_wall_ms <= tolerance)
        return after;
    if (now_wall_ms - (after - interval) <= tolerance)
        return after - interval;
    return now_wall_ms;
}

/* A timer may be a little early: the point that it was for must not be taken again. */
static int64_t next_point(const struct target *target, int64_t now_wall_ms)
{
    int64_t slack =
        target->interval_ms / 2 < TIMER_SLACK_MS ? target->interval_ms / 2 : TIMER_SLACK_MS;

    return schedule_next(now_wall_ms + slack, target->interval_ms, target->phase_ms);
}

void schedule_target(struct target *target)
{
    int64_t now_wall_ms = clock_wall_ms();

    set_phase(target);
    target->due_ms = clock_mono_ms() + next_point(target, now_wall_ms) - now_wall_ms;
}

void schedule_set_seed(struct scraper *scraper, uint64_t seed)
{
    if (seed == scraper->offset_seed)
        return;
    scraper->offset_seed = seed;
    VEC_EACH (pool, &scraper->pools)
        VEC_EACH (target, &(*pool)->targets)
            schedule_target(*target);
}

void schedule_retire(struct target *target)
{
    int64_t now_wall_ms = clock_wall_ms();
    int64_t interval = target->interval_ms;

    target->stale_ms = next_point(target, now_wall_ms);
    target->due_ms = clock_mono_ms() + target->stale_ms - now_wall_ms + interval + interval / 10;
}

static void on_due(uv_timer_t *timer);

static void timer_arm(struct scraper *scraper)
{
    if (scraper->stopping || scraper->schedule.count == 0) {
        uv_timer_stop(&scraper->due_timer);
        return;
    }
    const struct target *first = scraper->schedule.items[0];
    /* The loop's time stands still while callbacks run: counted from there it would come early. */
    int64_t delay = first->due_ms - (int64_t)uv_now(scraper->loop);
    /* At least 1, and by the loop's own time: else libuv would run it again in the same pass for as long as
     * targets are overdue, and sockets and signals would wait. */
    uv_timer_start(&scraper->due_timer, on_due, delay > 1 ? (uint64_t)delay : 1, 0);
}

static void retired_gone(struct target *target)
{
    append_target_gone(target, target->stale_ms);
    target_unlist(target);
    target_free(target);
}

static void on_due(uv_timer_t *timer)
{
    struct scraper *scraper = CONTAINER_OF(timer, struct scraper, due_timer);
    int64_t now_ms = clock_mono_ms(), now_wall_ms = clock_wall_ms();

    for (int started = 0; scraper->schedule.count > 0 && started < STARTS_PER_TURN; started++) {
        struct target *target = scraper->schedule.items[0];
        if (target->due_ms > now_ms + EARLY_MS)
            break;
        if (target->state == TARGET_RETIRING) {
            (void)heap_pop(&scraper->schedule);
            retired_gone(target);
            continue;
        }
        if (target->state == TARGET_NEW) { /* Was retiring; the sync that took it schedules it. */
            (void)heap_pop(&scraper->schedule);
            continue;
        }
        target->due_ms = now_ms + next_point(target, now_wall_ms) - now_wall_ms;
        heap_fix_top(&scraper->schedule);
        if (!target->fetch && !(scraper->held_full && !scraper->storage))
            fetch_start(target, now_wall_ms);
    }
    timer_arm(scraper);
}

void schedule_rebuild(struct scraper *scraper)
{
    heap_deinit(&scraper->schedule);
    heap_init(&scraper->schedule, due_before);
    VEC_EACH (pool, &scraper->pools)
        VEC_EACH (target, &(*pool)->targets)
            heap_push(&scraper->schedule, *target);
    VEC_EACH (target, &scraper->retiring)
        heap_push(&scraper->schedule, *target);
    timer_arm(scraper);
}

static void on_stopped_turn(uv_timer_t *timer)
{
    struct scraper *scraper = CONTAINER_OF(timer, struct scraper, due_timer);
    void (*on_stopped)(void *ctx) = scraper->on_stopped;

    scraper->on_stopped = NULL;
    if (on_stopped)
        on_stopped(scraper->stopped_ctx);
}

/* From the loop, not from within the last fetch's end: the owner may close everything now. */
void schedule_tell_stopped(struct scraper *scraper)
{
    uv_timer_start(&scraper->due_timer, on_stopped_turn, 0, 0);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note_max(double *max, double value)
{
    if (value > *max)
        *max = value;
}

/* The loop goes to its sockets: all since it came back from there the last time was spent in
 * somebody's callbacks. The loop's own time is of that moment, to the millisecond; libuv's idle
 * time would be exact, and costs a second epoll_wait each turn. */
static void on_poll(uv_prepare_t *prepare)
{
    struct scraper *scraper = CONTAINER_OF(prepare, struct scraper, turn_prepare);
    uint64_t now_ns = uv_hrtime(), cpu_ns = thread_cpu_ns();

    if (scraper->turn_from_ns > 0 && now_ns > scraper->turn_from_ns) {
        uint64_t busy_ns = now_ns - scraper->turn_from_ns;
        note_max(&scraper->stats.loop_turn_seconds_max, (double)busy_ns / 1e9);
        note_max(&scraper->stats.loop_turn_cpu_seconds_max,
                 (double)(cpu_ns - scraper->turn_cpu_ns) / 1e9);
        scraper->stats.loop_turns_slow += busy_ns > TURN_SLOW_NS;
    }
    scraper->turn_cpu_ns = cpu_ns;
}

static void on_turn(uv_check_t *check)
{
    struct scraper *scraper = CONTAINER_OF(check, struct scraper, turn_check);

    scraper->turn_left_ns = TURN_BUDGET_NS;
    scraper->turn_from_ns = uv_now(scraper->loop) * 1000000;
    scraper->sync_left_ns = SYNC_BUDGET_NS;
}

void schedule_open(struct scraper *scraper)
{
    heap_init(&scraper->schedule, due_before);
    uv_timer_init(scraper->loop, &scraper->due_timer);
    uv_idle_init(scraper->loop, &scraper->drain_idle);
    uv_idle_init(scraper->loop, &scraper->sync_idle);
    uv_check_init(scraper->loop, &scraper->turn_check);
    uv_check_start(&scraper->turn_check, on_turn);
    uv_unref((uv_handle_t *)&scraper->turn_check);
    uv_prepare_init(scraper->loop, &scraper->turn_prepare);
    uv_prepare_start(&scraper->turn_prepare, on_poll);
    uv_unref((uv_handle_t *)&scraper->turn_prepare);
    scraper->turn_left_ns = TURN_BUDGET_NS;
    scraper->sync_left_ns = SYNC_BUDGET_NS;
    scraper->open_handles = 5;
}

static void handle_closed(struct scraper *scraper)
{
    if (--scraper->open_handles == 0)
        mem_free(scraper);
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct scraper, due_timer));
}

static void on_idle_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct scraper, drain_idle));
}

static void on_sync_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct scraper, sync_idle));
}

static void on_check_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct scraper, turn_check));
}

static void on_prepare_closed(uv_handle_t *handle)
{
    handle_closed(CONTAINER_OF(handle, struct scraper, turn_prepare));
}

/* The last close callback frees the scraper itself. */
void schedule_close(struct scraper *scraper)
{
    heap_deinit(&scraper->schedule);
    uv_close((uv_handle_t *)&scraper->due_timer, on_timer_closed);
    uv_close((uv_handle_t *)&scraper->drain_idle, on_idle_closed);
    uv_close((uv_handle_t *)&scraper->sync_idle, on_sync_closed);
    uv_close((uv_handle_t *)&scraper->turn_check, on_check_closed);
    uv_close((uv_handle_t *)&scraper->turn_prepare, on_prepare_closed);
}
