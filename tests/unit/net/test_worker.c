/* worker: jobs run off the loop, their ends come back on it, and nothing is lost at the close. */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "net/worker.h"
#include "net_test.h"

#define JOBS_MAX 2000

struct log {
    pthread_t loop_thread;
    unsigned run_order[JOBS_MAX]; /* Written by a lane of one thread only. */
    unsigned done_order[JOBS_MAX];
    unsigned run_count, done_count;
    _Atomic unsigned ran; /* By any thread. */
    bool done_elsewhere, run_on_loop;
    struct lane *lane;
};

struct numbered {
    struct job job;
    struct log *log;
    unsigned number;
    unsigned resubmits_left;
};

static void numbered_run(struct job *job)
{
    struct numbered *numbered = CONTAINER_OF(job, struct numbered, job);
    struct log *log = numbered->log;
    if (pthread_equal(pthread_self(), log->loop_thread))
        log->run_on_loop = true;
    log->run_order[log->run_count++] = numbered->number;
}

static void counted_run(struct job *job)
{
    atomic_fetch_add(&CONTAINER_OF(job, struct numbered, job)->log->ran, 1);
}

static void numbered_done(struct job *job)
{
    struct numbered *numbered = CONTAINER_OF(job, struct numbered, job);
    struct log *log = numbered->log;
    if (!pthread_equal(pthread_self(), log->loop_thread))
        log->done_elsewhere = true;
    log->done_order[log->done_count++] = numbered->number;
    if (numbered->resubmits_left > 0) {
        numbered->resubmits_left--;
        lane_submit_ctx(log->lane, job);
        return;
    }
    mem_free(numbered);
}

static struct numbered *submit_numbered(struct log *log, unsigned number,
                                        void (*run)(struct job *job))
{
    struct numbered *numbered = MEM_NEW(struct numbered);
    numbered->job.run = run;
    numbered->job.done = numbered_done;
    numbered->log = log;
    numbered->number = number;
    lane_submit(log->lane, &numbered->job);
    return numbered;
}

static struct lane *open_lane(uv_loop_t *loop, unsigned thread_count, enum lane_priority priority)
{
    struct lane_options options = {
        .name = "test-lane", .thread_count = thread_count, .priority = priority};
    return lane_open(loop, &options);
}

static void log_open(struct log *log, uv_loop_t *loop, unsigned thread_count,
                     enum lane_priority priority)
{
    assert_int_equal(uv_loop_init(loop), 0);
    *log = (struct log){.loop_thread = pthread_self()};
    log->lane = open_lane(loop, thread_count, priority);
}

static void log_close(struct log *log, uv_loop_t *loop)
{
    lane_close(log->lane);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

struct held {
    struct job job;
    sem_t go, ran;
    bool done;
};

static void held_run(struct job *job)
{
    struct held *held = CONTAINER_OF(job, struct held, job);
    sem_post(&held->ran);
    sem_wait(&held->go);
}

static void held_done(struct job *job)
{
    CONTAINER_OF(job, struct held, job)->done = true;
}

static void held_submit(struct held *held, struct lane *lane)
{
    sem_init(&held->go, 0, 0);
    sem_init(&held->ran, 0, 0);
    held->job.run = held_run;
    held->job.done = held_done;
    atomic_init(&held->job.patient, true);
    lane_submit(lane, &held->job);
    sem_wait(&held->ran);
}

/* A log write that nobody waits for must not wake the loop, but its end must come with the next
 * thing that does; and somebody may begin to wait while it runs. */
static void test_lane_submit__lets_patient_jobs_wait_for_a_turn(void **state)
{
    (void)state;
    struct log log;
    uv_loop_t loop;
    log_open(&log, &loop, 1, LANE_NORMAL);
    struct held patient = {.done = false}, hurried = {.done = false};
    held_submit(&patient, log.lane);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(patient.done);
    sem_post(&patient.go);
    struct pollfd sockets = {.fd = uv_backend_fd(&loop), .events = POLLIN};
    assert_int_equal(poll(&sockets, 1, 50), 0);
    while (!patient.done)
        uv_run(&loop, UV_RUN_NOWAIT);

    held_submit(&hurried, log.lane);
    atomic_store(&hurried.job.patient, false);
    sem_post(&hurried.go);
    while (!hurried.done)
        uv_run(&loop, UV_RUN_ONCE);
    log_close(&log, &loop);
}

/* What is under way at the end is told, whoever would have woken the loop. */
static void test_lane_close__ends_patient_jobs(void **state)
{
    (void)state;
    struct log log;
    uv_loop_t loop;
    log_open(&log, &loop, 1, LANE_NORMAL);
    struct held patient = {.done = false};
    held_submit(&patient, log.lane);
    sem_post(&patient.go);
    log_close(&log, &loop);
    assert_true(patient.done);
}

/* Log writes rely on it: one thread, so runs and dones come in the order of submission, on the
 * right threads; and the loop stays awake for just as long as something is under way. */
static void test_lane_submit__keeps_the_order_of_one_thread(void **state)
{
    (void)state;
    static struct log log;
    uv_loop_t loop;
    log_open(&log, &loop, 1, LANE_NORMAL);
    for (unsigned i = 0; i < JOBS_MAX; i++)
        submit_numbered(&log, i, numbered_run);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.done_count, JOBS_MAX);
    assert_int_equal(lane_waiting(log.lane), 0);
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        assert_int_equal(log.run_order[i], i);
        assert_int_equal(log.done_order[i], i);
    }
    assert_false(log.done_elsewhere);
    assert_false(log.run_on_loop);
    log_close(&log, &loop);
}

/* Several threads: each job runs once and is done once. */
static void test_lane_submit__runs_each_job_once_on_many_threads(void **state)
{
    (void)state;
    static struct log log;
    static bool seen[JOBS_MAX];
    uv_loop_t loop;
    memset(seen, 0, sizeof(seen));
    log_open(&log, &loop, 4, LANE_NICE);
    for (unsigned i = 0; i < JOBS_MAX; i++)
        submit_numbered(&log, i, counted_run);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.ran, JOBS_MAX);
    assert_int_equal(log.done_count, JOBS_MAX);
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        assert_false(seen[log.done_order[i]]);
        seen[log.done_order[i]] = true;
    }
    log_close(&log, &loop);
}

/* A done may submit its job again. */
static void test_lane_submit__takes_a_job_again_from_its_done(void **state)
{
    (void)state;
    static struct log log;
    uv_loop_t loop;
    log_open(&log, &loop, 1, LANE_IDLE);
    submit_numbered(&log, 7, numbered_run)->resubmits_left = 99;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.run_count, 100);
    assert_int_equal(log.done_count, 100);
    log_close(&log, &loop);
}

/* Shutdown: what was submitted is run and done, without a turn of the loop, even what a done adds.
 */
static void test_lane_close__ends_all_that_was_submitted(void **state)
{
    (void)state;
    static struct log log;
    uv_loop_t loop;
    log_open(&log, &loop, 2, LANE_NORMAL);
    for (unsigned i = 0; i < 500; i++)
        submit_numbered(&log, i, counted_run)->resubmits_left = i % 3 == 0 ? 1 : 0;
    lane_close(log.lane);
    assert_int_equal(log.ran, 500 + 167);
    assert_int_equal(log.done_count, 500 + 167);
    assert_false(log.done_elsewhere);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct gate {
    struct job job;
    sem_t entered, open;
};

static void gate_run(struct job *job)
{
    struct gate *gate = CONTAINER_OF(job, struct gate, job);
    sem_post(&gate->entered);
    sem_wait(&gate->open);
}

static void gate_done(struct job *job)
{
    (void)job;
}

/* A canceled query that has not started costs nothing; one that runs cannot be taken back. */
static void test_lane_withdraw__takes_only_what_has_not_started(void **state)
{
    (void)state;
    static struct log log;
    uv_loop_t loop;
    struct gate gate = {.job = {.run = gate_run, .done = gate_done}};
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.open, 0, 0);
    log_open(&log, &loop, 1, LANE_NORMAL);
    lane_submit(log.lane, &gate.job);
    sem_wait(&gate.entered);
    struct numbered *first = submit_numbered(&log, 1, numbered_run);
    submit_numbered(&log, 2, numbered_run);
    assert_int_equal(lane_waiting(log.lane), 2);
    assert_true(lane_withdraw(log.lane, &first->job));
    assert_false(lane_withdraw(log.lane, &first->job));
    assert_false(lane_withdraw(log.lane, &gate.job));
    assert_int_equal(lane_waiting(log.lane), 1);
    mem_free(first);
    sem_post(&gate.open);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(log.done_count, 1);
    assert_int_equal(log.done_order[0], 2);
    log_close(&log, &loop);
    sem_destroy(&gate.entered);
    sem_destroy(&gate.open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lane_submit__keeps_the_order_of_one_thread),
        cmocka_unit_test(test_lane_submit__runs_each_job_once_on_many_threads),
        cmocka_unit_test(test_lane_submit__takes_a_job_again_from_its_done),
        cmocka_unit_test(test_lane_close__ends_all_that_was_submitted),
        cmocka_unit_test(test_lane_withdraw__takes_only_what_has_not_started),
        cmocka_unit_test(test_lane_submit__lets_patient_jobs_wait_for_a_turn),
        cmocka_unit_test(test_lane_close__ends_patient_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
