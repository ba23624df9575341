/* job: a piece of work that runs on a lane and is then told on the loop thread.
 *
 * Embedded in the struct of the operation; recovered with CONTAINER_OF. */
#ifndef BASE_JOB_H
#define BASE_JOB_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"

struct job {
    struct list_node node;
    void (*run)(struct job *job);  /* On the lane's thread. */
    void (*done)(struct job *job); /* On the loop thread, exactly once; may free the job. */
    /* Nobody waits for done: it may come with what wakes the loop next. The loop thread may take
     * this back at any time until then, if it sees to it that the loop turns once more. */
    _Atomic bool patient;
};

/* Gives a job to a lane; tests give one that runs it at once. */
typedef void (*job_submit_fn)(void *ctx, struct job *job);

#endif
