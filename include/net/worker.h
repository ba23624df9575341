/* worker: the lanes. A lane is one or more threads that take jobs in order; a job's done runs on the loop thread.
 *
 *     worker_submit(lane, job) --lane thread--> job->run --loop thread--> job->done
 *
 * commit: one thread, normal priority (log writes, seals). build: one thread, niced, idle I/O class.
 * query: N threads, niced. side: two, niced, for what is looked up and is no query. None of them is libuv's pool, which DNS
 * and files share. The only locks of the program are in here. */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/job.h"
#include "net/loop.h"

enum lane_priority { LANE_NORMAL, LANE_NICE, LANE_IDLE };

struct lane_options {
    const char *name; /* Thread name, at most 15 characters. Borrowed for ever. */
    unsigned thread_count;
    enum lane_priority priority;
};

struct lane;

struct lane *lane_open(struct uv_loop_s *loop, const struct lane_options *options);
void lane_submit(struct lane *lane, struct job *job); /* Loop thread. Jobs of one lane start in order. */
void lane_submit_ctx(void *lane, struct job *job);    /* The same, as a job_submit_fn. */
/* Takes a job out that no thread has started: true, and its done will not be called. */
bool lane_withdraw(struct lane *lane, struct job *job);
size_t lane_waiting(const struct lane *lane); /* Submitted and not started. */
/* Called by a job of the lane, a struct lane: run(arg, 0 .. count - 1), each once, here and on threads of the lane that
 * have no job. Returns when all are done. */
void lane_share(void *lane, unsigned count, void (*run)(void *arg, unsigned index), void *arg);
unsigned lane_threads(const struct lane *lane);
/* Runs all that was submitted to its end (run and done, both), joins the threads and frees the lane. Blocks. */
void lane_close(struct lane *lane);

#endif
