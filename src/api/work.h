/* work: a call that is answered from the query lane.
 *
 *     work_submit -> [waiting] -> lane: work->run(work, out, err) -> loop: work->finish(work) or
 * the usual answer
 *     work_run_here -> loop: work->run, work->finish
 *
 * Embedded in the struct of what is done, which lives in the request's arena; on the lane only the
 * work's own arena is used. `run` looks at `canceled` now and then: it is set when the client has
 * gone or the server stops. */
#ifndef API_WORK_H
#define API_WORK_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/job.h"
#include "core.h"

struct work {
    struct job job;
    struct list_node node, wait_node;
    struct call *call;
    struct storage *storage;
    atomic_bool canceled;
    bool gated;     /* A query: counts for the concurrency. */
    bool submitted; /* The lane has it. */
    int64_t arrived_ns, deadline_ns;
    bool deadline_asked; /* By the caller. */
    double queue_seconds;
    /* On the lane. Writes the whole answer's body, or fills err. */
    bool (*run)(struct work *work, struct buf *out, struct err *err);
    /* On the loop; NULL: JSON with status 200, or the error. Must answer; takes out. */
    void (*finish)(struct work *work);
    struct arena arena;
    struct buf out;
    struct err err; /* ERR_NONE: out is good. */
};

/* Fill call, run and (if wanted) gated, finish, deadline_ns before. */
void work_submit(struct work *work);
/* The same at once, on the loop: for what takes no longer than to wake a thread and be woken by it. */
void work_run_here(struct work *work);
/* Would a query have to wait? */
bool work_must_wait(const struct api *api);
/* What is left until the deadline, in ms; 0 or less: it has passed. */
int64_t work_left_ms(const struct work *work);
void work_sweep(void *api); /* The timer's: ends what waits and may not any longer. */
void work_cancel_all(struct api *api);

#endif
