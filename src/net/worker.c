/* worker: lanes of threads behind one lock each.
 *
 *     lane_submit -> waiting -> (a thread: run) -> finished -> uv_async -> (loop thread: done)
 *
 * A patient job sends no uv_async: each turn of the loop looks for it while one is under way.
 *
 * Invariants: a job is in `waiting`, or with one thread, or in `finished`, or back with its owner;
 * both lists and `closing` are touched under the lock only. `outstanding` belongs to the loop
 * thread: the async handle keeps the loop alive exactly while a job is under way. Done callbacks
 * come in the order in which the runs ended. A lane may not be closed from one of its own done
 * callbacks. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/worker.h"

#define LANE_THREADS_MAX 256

/* The loop stays at 0; queries may take what it leaves, background builds what those leave. */
#define NICE_OF_LANE_NICE 5
#define NICE_OF_LANE_IDLE 10

/* linux/ioprio.h is not in every libc's headers. */
#define IO_PRIORITY_WHO_PROCESS 1
#define IO_PRIORITY_CLASS_IDLE  (3 << 13)

/* A piece of work that a job of the lane has cut; threads that have no job of their own help. */
struct share {
    struct list_node node;
    void (*run)(void *arg, unsigned index);
    void *arg;
    unsigned count, next, running; /* Under the lock. */
};

struct lane {
    uv_async_t finished_async;
    uv_check_t finished_check; /* Started while a patient job may be under way. */
    unsigned handles_open;
    struct lane_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list waiting;  /* Under the lock. */
    struct list finished; /* Under the lock; oldest first. */
    struct list shares;   /* Under the lock; those with something left to begin. */
    pthread_cond_t share_done;
    bool closing;                 /* Under the lock. */
    _Atomic size_t waiting_count; /* Written under the lock, read without. */
    size_t outstanding;           /* Loop thread: submitted, done not called yet. */
    bool delivering;              /* Loop thread. */
    pthread_t *threads;
};

static void lane_lock(struct lane *lane)
{
    ENSURE(pthread_mutex_lock(&lane->lock) == 0);
}
static void lane_unlock(struct lane *lane)
{
    ENSURE(pthread_mutex_unlock(&lane->lock) == 0);
}

/* --- the lane's threads --- */

/* Priorities are a kindness to others: where the kernel refuses, the lane works at the normal one.
 */
static void lane_lower_priority(enum lane_priority priority)
{
    if (priority == LANE_NORMAL)
        return;
    id_t thread_id = (id_t)syscall(SYS_gettid);
    int nice_value = priority == LANE_NICE ? NICE_OF_LANE_NICE : NICE_OF_LANE_IDLE;
    if (setpriority(PRIO_PROCESS, thread_id, nice_value) != 0)
        LOG_D("Lane keeps its normal priority", "err", log_fmt("errno %d", errno));
    if (priority != LANE_IDLE)
        return;
    if (syscall(SYS_ioprio_set, IO_PRIORITY_WHO_PROCESS, 0, IO_PRIORITY_CLASS_IDLE) != 0)
        LOG_D("Lane keeps its normal I/O class", "err", log_fmt("errno %d", errno));
}

/* Under the lock, with an index left. Gives the lock up meanwhile. */
static void share_run_one(struct lane *lane, struct share *share)
{
    unsigned index = share->next++;
    share->running++;
    if (share->next == share->count)
        list_remove(&share->node);
    lane_unlock(lane);
    share->run(share->arg, index);
    lane_lock(lane);
    share->running--;
    if (share->running == 0 && share->next == share->count)
        ENSURE(pthread_cond_broadcast(&lane->share_done) == 0);
}

void lane_share(void *ctx, unsigned count, void (*run)(void *arg, unsigned index), void *arg)
{
    struct lane *lane = ctx;
    struct share share = {.run = run, .arg = arg, .count = count};
    if (count == 0)
        return;
    lane_lock(lane);
    list_push_back(&lane->shares, &share.node);
    for (unsigned i = 1; i < count; i++)
        ENSURE(pthread_cond_signal(&lane->wake) == 0);
    while (share.next < share.count)
        share_run_one(lane, &share);
    while (share.running > 0)
        ENSURE(pthread_cond_wait(&lane->share_done, &lane->lock) == 0);
    lane_unlock(lane);
}

unsigned lane_threads(const struct lane *lane)
{
    return lane->options.thread_count;
}

/* NULL when the lane closes and nothing waits any more. Helps with shares as long as there is no job. */
static struct job *lane_next_job(struct lane *lane)
{
    lane_lock(lane);
    while (list_empty(&lane->waiting)) {
        if (!list_empty(&lane->shares))
            share_run_one(lane, CONTAINER_OF(lane->shares.head.next, struct share, node));
        else if (lane->closing)
            break;
        else
            ENSURE(pthread_cond_wait(&lane->wake, &lane->lock) == 0);
    }
    struct list_node *node = list_pop_front(&lane->waiting);
    if (node)
        atomic_fetch_sub_explicit(&lane->waiting_count, 1, memory_order_relaxed);
    lane_unlock(lane);
    return node ? CONTAINER_OF(node, struct job, node) : NULL;
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    pthread_setname_np(pthread_self(), lane->options.name);
    lane_lower_priority(lane->options.priority);
    ensure_set_job(lane->options.name);
    for (struct job *job; (job = lane_next_job(lane)) != NULL;) {
        job->run(job);
        lane_lock(lane);
        list_push_back(&lane->finished, &job->node);
        bool patient = atomic_load(&job->patient);
        lane_unlock(lane);
        /* After this the loop thread may free the job, but not the lane: that joins us first. */
        if (!patient)
            uv_async_send(&lane->finished_async);
    }
    return NULL;
}

/* --- the loop thread --- */

static struct job *lane_take_finished(struct lane *lane)
{
    lane_lock(lane);
    struct list_node *node = list_pop_front(&lane->finished);
    lane_unlock(lane);
    return node ? CONTAINER_OF(node, struct job, node) : NULL;
}

static void lane_call_done(struct lane *lane, struct job *job)
{
    ENSURE(lane->outstanding > 0);
    lane->outstanding--;
    if (lane->outstanding == 0)
        uv_unref((uv_handle_t *)&lane->finished_async);
    job->done(job);
}

static void lane_deliver(struct lane *lane)
{
    /* At most what is outstanding now: a done that submits again may not keep the loop in here. */
    lane->delivering = true;
    for (size_t left = lane->outstanding; left > 0; left--) {
        struct job *job = lane_take_finished(lane);
        if (!job)
            break;
        lane_call_done(lane, job);
    }
    lane->delivering = false;
    lane_lock(lane);
    bool more = !list_empty(&lane->finished);
    lane_unlock(lane);
    if (more)
        uv_async_send(&lane->finished_async);
    if (lane->outstanding == 0)
        uv_check_stop(&lane->finished_check);
}

static void lane_on_finished(uv_async_t *handle)
{
    lane_deliver(CONTAINER_OF(handle, struct lane, finished_async));
}

static void lane_on_turn(uv_check_t *handle)
{
    lane_deliver(CONTAINER_OF(handle, struct lane, finished_check));
}

/* Threads inherit the mask: signals are for the loop thread only. */
static void lane_start_threads(struct lane *lane)
{
    sigset_t all, before;
    sigfillset(&all);
    ENSURE(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    for (unsigned i = 0; i < lane->options.thread_count; i++)
        ENSURE(pthread_create(&lane->threads[i], NULL, lane_main, lane) == 0);
    ENSURE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

struct lane *lane_open(struct uv_loop_s *loop, const struct lane_options *options)
{
    ENSURE(options->thread_count > 0 && options->thread_count <= LANE_THREADS_MAX);
    struct lane *lane = MEM_NEW(struct lane);
    lane->options = *options;
    list_init(&lane->waiting);
    list_init(&lane->finished);
    list_init(&lane->shares);
    ENSURE(pthread_cond_init(&lane->share_done, NULL) == 0);
    ENSURE(pthread_mutex_init(&lane->lock, NULL) == 0);
    ENSURE(pthread_cond_init(&lane->wake, NULL) == 0);
    ENSURE(uv_async_init(loop, &lane->finished_async, lane_on_finished) == 0);
    uv_unref((uv_handle_t *)&lane->finished_async);
    ENSURE(uv_check_init(loop, &lane->finished_check) == 0);
    uv_unref((uv_handle_t *)&lane->finished_check);
    lane->handles_open = 2;
    lane->threads = mem_alloc_array(options->thread_count, sizeof(*lane->threads));
    lane_start_threads(lane);
    return lane;
}

void lane_submit(struct lane *lane, struct job *job)
{
    ENSURE(job->run != NULL && job->done != NULL);
    if (lane->outstanding++ == 0)
        uv_ref((uv_handle_t *)&lane->finished_async);
    if (atomic_load(&job->patient))
        uv_check_start(&lane->finished_check, lane_on_turn);
    lane_lock(lane);
    list_push_back(&lane->waiting, &job->node);
    atomic_fetch_add_explicit(&lane->waiting_count, 1, memory_order_relaxed);
    ENSURE(pthread_cond_signal(&lane->wake) == 0);
    lane_unlock(lane);
}

void lane_submit_ctx(void *lane, struct job *job)
{
    lane_submit(lane, job);
}

/* A linked node may also be in `finished`, so only the walk tells. Queues are short. */
bool lane_withdraw(struct lane *lane, struct job *job)
{
    bool found = false;
    lane_lock(lane);
    LIST_EACH (node, &lane->waiting) {
        if (node == &job->node) {
            list_remove(node);
            atomic_fetch_sub_explicit(&lane->waiting_count, 1, memory_order_relaxed);
            found = true;
            break;
        }
    }
    lane_unlock(lane);
    if (!found)
        return false;
    ENSURE(lane->outstanding > 0);
    if (--lane->outstanding == 0)
        uv_unref((uv_handle_t *)&lane->finished_async);
    return true;
}

size_t lane_waiting(const struct lane *lane)
{
    return atomic_load_explicit(&lane->waiting_count, memory_order_relaxed);
}

static void lane_handle_closed(struct lane *lane)
{
    if (--lane->handles_open > 0)
        return;
    pthread_cond_destroy(&lane->wake);
    pthread_cond_destroy(&lane->share_done);
    pthread_mutex_destroy(&lane->lock);
    mem_free(lane->threads);
    mem_free(lane);
}

static void lane_on_async_closed(uv_handle_t *handle)
{
    lane_handle_closed(CONTAINER_OF((uv_async_t *)(void *)handle, struct lane, finished_async));
}

static void lane_on_check_closed(uv_handle_t *handle)
{
    lane_handle_closed(CONTAINER_OF((uv_check_t *)(void *)handle, struct lane, finished_check));
}

/* A done may submit once more; with the threads gone such jobs run right here. The lane's memory
 * itself goes when the loop has closed the async handle. */
void lane_close(struct lane *lane)
{
    if (!lane)
        return;
    ENSURE(!lane->delivering);
    lane_lock(lane);
    lane->closing = true;
    ENSURE(pthread_cond_broadcast(&lane->wake) == 0);
    lane_unlock(lane);
    for (unsigned i = 0; i < lane->options.thread_count; i++)
        ENSURE(pthread_join(lane->threads[i], NULL) == 0);

    lane->delivering = true;
    while (lane->outstanding > 0) {
        struct job *job = lane_take_finished(lane);
        if (!job) {
            job = lane_next_job(lane);
            ENSURE(job != NULL);
            job->run(job);
        }
        lane_call_done(lane, job);
    }
    uv_close((uv_handle_t *)&lane->finished_async, lane_on_async_closed);
    uv_close((uv_handle_t *)&lane->finished_check, lane_on_check_closed);
}
