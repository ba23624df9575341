/* lane_now: a commit lane for tests: jobs run when the test says so, on its own thread, in order.
 */
#ifndef TESTS_LANE_NOW_H
#define TESTS_LANE_NOW_H

#include <stdbool.h>

#include "base/job.h"
#include "base/list.h"

struct lane_now {
    struct list jobs;
    bool held; /* Jobs wait for lane_now_run. */
};

/* False when there is none. */
static inline bool lane_now_run_one(struct lane_now *lane)
{
    struct list_node *node = list_pop_front(&lane->jobs);
    if (!node)
        return false;
    struct job *job = CONTAINER_OF(node, struct job, node);
    job->run(job);
    job->done(job);
    return true;
}

static inline void lane_now_run(struct lane_now *lane)
{
    while (lane_now_run_one(lane))
        ;
}

static inline void lane_now_init(struct lane_now *lane)
{
    list_init(&lane->jobs);
    lane->held = true;
}

static inline void lane_now_submit(void *ctx, struct job *job)
{
    struct lane_now *lane = ctx;
    list_push_back(&lane->jobs, &job->node);
    if (!lane->held)
        lane_now_run(lane);
}

#endif
