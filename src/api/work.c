/* work: calls on the query lane and the side lane, and the gate before the former for queries.
 *
 * A query that finds query_concurrency others before it waits in `waiting`. What waits too long,
 * there or in the lane, is ended by the sweep, so that a caller's timeout holds while slow queries
 * of others fill all threads. */
#include "work.h"

#include "base/clock.h"

#define SWEEP_MS 100

int64_t work_left_ms(const struct work *work)
{
    if (!work->deadline_ns)
        return INT64_MAX;
    int64_t left_ns = work->deadline_ns - clock_mono_ns();
    return left_ns / 1000000 + (left_ns % 1000000 > 0); /* The last millisecond is one, too. */
}

/* Prometheus waits for its turn twice, before it reads the expression and after; only the caller's timeout ends the first. */
static void set_timed_out(const struct work *work, struct err *err)
{
    if (work->deadline_asked)
        err_set(err, ERR_BAD_DATA, "invalid parameter \"query\": context deadline exceeded");
    else
        err_set(err, ERR_TIMEOUT, "query timed out in query queue");
}

static void answer_work(struct work *work)
{
    struct call *call = work->call;

    if (work->err.code == ERR_NONE && work->out.overflow)
        err_set(&work->err, ERR_INTERNAL, "the answer is larger than %zu bytes", ANSWER_BYTES_MAX);
    arena_deinit(&work->arena);
    if (work->finish) {
        work->finish(work);
        return;
    }
    if (work->err.code == ERR_NONE) {
        answer(call, 200, CONTENT_JSON, &work->out);
        return;
    }
    buf_deinit(&work->out);
    answer_error(call, &work->err);
}

static void work_run(struct job *job)
{
    struct work *work = CONTAINER_OF(job, struct work, job);

    work->queue_seconds = (double)(clock_mono_ns() - work->arrived_ns) / 1e9;
    if (atomic_load(&work->canceled)) {
        err_set(&work->err, ERR_CANCELED, "query was canceled in query queue");
        return;
    }
    if (work_left_ms(work) <= 0) {
        set_timed_out(work, &work->err);
        return;
    }
    if (!work->run(work, &work->out, &work->err))
        ENSURE(work->err.code != ERR_NONE);
}

/* Who asks for labels does not wait for slow queries. */
static struct lane *lane_of(const struct work *work)
{
    const struct api_options *options = &work->call->api->options;
    return work->gated || !options->side_lane ? options->query_lane : options->side_lane;
}

static void work_enter(struct work *work)
{
    struct api *api = work->call->api;

    work->submitted = true;
    if (work->gated)
        api->queries_running++;
    lane_submit(lane_of(work), &work->job);
}

static void admit_waiting(struct api *api)
{
    unsigned concurrency = api->options.query_concurrency ? api->options.query_concurrency : 1;

    while (api->queries_running < concurrency && !list_empty(&api->waiting)) {
        struct list_node *first = list_pop_front(&api->waiting);
        work_enter(CONTAINER_OF(first, struct work, wait_node));
    }
}

/* Takes the work off all lists, before its answer. */
static void work_leave(struct work *work)
{
    struct api *api = work->call->api;

    http_exchange_on_gone(work->call->exchange, NULL, NULL);
    list_remove(&work->node);
    list_remove(&work->wait_node);
    if (work->submitted && work->gated)
        api->queries_running--;
    if (list_empty(&api->works)) {
        timer_stop(api->sweep);
        api->sweeping = false;
    }
}

static void work_done(struct job *job)
{
    struct work *work = CONTAINER_OF(job, struct work, job);
    struct api *api = work->call->api;

    work_leave(work);
    answer_work(work);
    admit_waiting(api);
}

/* Ends a work that no thread has begun; false when one has. */
static bool work_end_early(struct work *work)
{
    if (work->submitted && !lane_withdraw(lane_of(work), &work->job))
        return false;
    if (atomic_load(&work->canceled))
        err_set(&work->err, ERR_CANCELED, "query was canceled in query queue");
    else
        set_timed_out(work, &work->err);
    work->queue_seconds = (double)(clock_mono_ns() - work->arrived_ns) / 1e9;
    work_leave(work);
    answer_work(work);
    return true;
}

void work_sweep(void *ctx)
{
    struct api *api = ctx;

    LIST_EACH (node, &api->works) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        if (atomic_load(&work->canceled) || work_left_ms(work) <= 0)
            work_end_early(work);
    }
    admit_waiting(api);
}

/* The client has gone: the answer will not be read. The sweep or the run itself ends it. */
static void work_gone(void *ctx)
{
    struct work *work = ctx;
    atomic_store(&work->canceled, true);
}

static void work_begin(struct work *work)
{
    struct api *api = work->call->api;

    work->storage = api->options.storage;
    work->arrived_ns = work->call->begin_ns;
    if (!work->deadline_ns && api->options.query_timeout_ms > 0)
        work->deadline_ns = work->arrived_ns + api->options.query_timeout_ms * 1000000;
    arena_init(&work->arena, 0);
    buf_init(&work->out, ANSWER_BYTES_MAX);
    work->out.reuses = true;
}

bool work_must_wait(const struct api *api)
{
    unsigned concurrency = api->options.query_concurrency ? api->options.query_concurrency : 1;
    return api->queries_running >= concurrency;
}

void work_run_here(struct work *work)
{
    work_begin(work);
    work_run(&work->job);
    answer_work(work);
}

void work_submit(struct work *work)
{
    struct api *api = work->call->api;

    work->job.run = work_run;
    work->job.done = work_done;
    work_begin(work);
    list_push_back(&api->works, &work->node);
    http_exchange_on_gone(work->call->exchange, work_gone, work);
    if (!api->sweeping) {
        api->sweeping = true;
        timer_start(api->sweep, SWEEP_MS, SWEEP_MS);
    }
    if (work->gated && work_must_wait(api))
        list_push_back(&api->waiting, &work->wait_node);
    else
        work_enter(work);
}

void work_cancel_all(struct api *api)
{
    LIST_EACH (node, &api->works) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        atomic_store(&work->canceled, true);
    }
    work_sweep(api);
}
