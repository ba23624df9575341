/* query_api: /query, /query_range and what can be said of an expression without running it. */
#include "core.h"

#include "base/clock.h"
#include "base/number.h"
#include "model/duration.h"
#include "net/worker.h"
#include "param.h"
#include "query.h"
#include "query_log.h"
#include "work.h"

#define QUERY_BYTES_MIN ((uint64_t)1 << 20) /* Less than this is no use to a query. */

#define RANGE_POINTS_MAX 11000

/* Who asks for so little is answered on the loop: some 100 us at most, as long as the reading of a scrape. */
#define LIGHT_WEIGHT     15000
#define LIGHT_TEXT_BYTES 512

struct query_work {
    struct work work;
    struct query *query; /* NULL: not parsed yet. */
    struct str text;
    struct query_options options;
    bool is_range;
    size_t limit;
    struct str stats;
    struct query_stats figures; /* Out. */
    bool ran;                   /* Out. */
};

/* --- on the lane --- */

static void write_result(struct query_work *work, const struct query_result *result,
                         struct buf *out)
{
    struct query_result shown = *result;
    struct str stats = work->stats;

    shown.stats.queue_seconds = work->work.queue_seconds;
    if (stats.len > 0 && !str_eq(stats, STR("true")) && !str_eq(stats, STR("all"))) {
        struct arena *arena = &work->work.arena;
        shown.warnings =
            arena_alloc_array(arena, result->warning_count + 1, sizeof(*shown.warnings));
        for (size_t i = 0; i < result->warning_count; i++)
            shown.warnings[i] = result->warnings[i];
        struct buf quoted;
        buf_init(&quoted, 1 << 16);
        buf_add_go_quoted(&quoted, stats);
        shown.warnings[shown.warning_count++] = arena_strf(
            arena,
            "value " STR_FMT " for parameter \"stats\" is deprecated and will be rejected in the "
            "next major release, use \"true\" or \"all\"",
            STR_ARG(buf_str(&quoted)));
        buf_deinit(&quoted);
    }
    query_result_json(&shown, work->limit, stats.len > 0, out);
}

static bool parse_query(struct query_work *work, struct err *err)
{
    if (query_new(&work->query, work->text, &work->options, err) &&
        (!work->is_range || query_check_range(work->query, err)))
        return true;
    query_free(work->query);
    work->query = NULL;
    err->code = ERR_BAD_DATA;
    return param_wrap(err, "query");
}

static bool run_query(struct work *base, struct buf *out, struct err *err)
{
    struct query_work *work = CONTAINER_OF(base, struct query_work, work);
    int64_t left_ms = work_left_ms(base);
    bool ok = work->query || parse_query(work, err);

    if (!ok)
        return false;
    query_set_timeout(work->query, left_ms == INT64_MAX ? 0 : left_ms < 0 ? 1 : left_ms);
    work->ran = true;
    int64_t begin_ns = clock_mono_ns();
    ok = query_run(work->query, base->storage, err);
    if (ok) {
        const struct query_result *result = query_result(work->query);
        work->figures = result->stats;
        write_result(work, result, out);
    } else {
        work->figures.eval_seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    }
    query_free(work->query);
    work->query = NULL;
    return ok;
}

/* --- on the loop --- */

static void count_query(struct api *api, const struct query_work *work)
{
    const struct query_stats *stats = &work->figures;
    const double seconds[SLICE_COUNT] = {
        [SLICE_QUEUE] = work->work.queue_seconds,
        [SLICE_PREPARE] = stats->prepare_seconds,
        [SLICE_EVAL] = stats->eval_seconds,
        [SLICE_SORT] = stats->sort_seconds,
    };
    if (!work->ran)
        return;
    int64_t now_mono_ms = clock_mono_ms();
    for (size_t slice = 0; slice < SLICE_COUNT; slice++)
        summary_add(&api->engine.slices[slice], seconds[slice], now_mono_ms);
    api->engine.queries++;
    api->engine.samples += stats->samples_total;
    api->engine.samples_read += stats->samples_read;
}

/* What was never a query is not logged. */
static void log_query(struct api *api, struct query_work *work)
{
    struct query_stats stats = work->figures;
    struct query_log_line line = {
        .query = work->text,
        .start_ms = work->options.start_ms,
        .end_ms = work->options.end_ms,
        .step_ms = work->options.step_ms,
        .stats = &stats,
        .err = &work->work.err,
        .request = work->work.call->request,
    };

    if (work->work.err.code == ERR_BAD_DATA)
        return;
    stats.queue_seconds = work->work.queue_seconds;
    stats.step_count = 0; /* They went with the query's memory. */
    query_log_add(api->query_log, &line, &api->query_log_failures);
}

static void finish_query(struct work *base)
{
    struct query_work *work = CONTAINER_OF(base, struct query_work, work);
    struct call *call = base->call;

    query_free(work->query); /* It did not run. */
    count_query(call->api, work);
    log_query(call->api, work);
    if (base->err.code == ERR_NONE) {
        answer(call, 200, CONTENT_JSON, &base->out);
        return;
    }
    buf_deinit(&base->out);
    answer_error(call, &base->err);
}

/* A query may take its thread's share of the memory that is left, and does not begin without one. */
static bool share_memory(const struct api_options *options, size_t *bytes_max, struct err *err)
{
    uint64_t share = storage_memory_share(options->storage, options->query_threads);

    *bytes_max = options->query_bytes_max;
    if (share == UINT64_MAX)
        return true;
    if (share < QUERY_BYTES_MIN)
        return err_set(
            err, ERR_BUSY,
            "the memory budget is used up, %llu bytes are left for a query: try again later",
            (unsigned long long)share);
    if (*bytes_max == 0 || share < *bytes_max)
        *bytes_max = (size_t)share;
    return true;
}

/* Reads what instant and range queries have in common. */
static bool read_common(struct call *call, struct query_work *work, struct err *err)
{
    const struct api_options *options = &call->api->options;
    int64_t timeout_ms = options->query_timeout_ms, lookback_ms = options->lookback_ms;

    if (!share_memory(options, &work->options.bytes_max, err))
        return false;
    if (param_get(call, "timeout").len > 0) {
        int64_t wanted_ms;
        if (!param_duration(call, "timeout", &wanted_ms, err))
            return false;
        wanted_ms = wanted_ms > 0 ? wanted_ms : 0;
        if (timeout_ms <= 0 || wanted_ms < timeout_ms) {
            timeout_ms = wanted_ms;
            work->work.deadline_asked = true;
        }
    }
    if (param_get(call, "lookback_delta").len > 0) {
        int64_t wanted_ms;
        if (!api_duration_parse(param_get(call, "lookback_delta"), &wanted_ms, err))
            return err_wrap(err, "error parsing lookback delta duration");
        if (wanted_ms > 0)
            lookback_ms = wanted_ms;
    }
    work->text = param_get(call, "query");
    work->stats = param_get(call, "stats");
    work->options.features = options->query_features;
    if (!str_eq(work->stats, STR("all")))
        work->options.features &= ~(unsigned)QUERY_PER_STEP_STATS;
    work->options.lookback_ms = lookback_ms;
    work->options.default_step_ms =
        call->api->config ? call->api->config->global.evaluation_interval_ms : 60000;
    work->options.samples_max = options->query_samples_max;
    work->options.canceled = &work->work.canceled;
    work->options.parallel = lane_share;
    work->options.parallel_ctx = options->query_lane;
    work->options.workers_max = call->api->query_workers;
    work->work.call = call;
    work->work.gated = true;
    work->work.run = run_query;
    work->work.finish = finish_query;
    if (timeout_ms > INT64_MAX / 4000000)
        timeout_ms = INT64_MAX / 4000000;
    if (timeout_ms > 0 || work->work.deadline_asked)
        work->work.deadline_ns = call->begin_ns + timeout_ms * 1000000;
    return true;
}

static struct query_work *query_work_new(struct call *call)
{
    struct query_work *work = ARENA_NEW(call->request->arena, struct query_work);
    query_options_init(&work->options);
    return work;
}

/* Regular expressions may take long to compile; what is long, to parse. */
static bool is_light(const struct call *call, struct query_work *work, struct err *err)
{
    if (work->text.len > LIGHT_TEXT_BYTES || str_find_char(work->text, '~') < work->text.len ||
        work_must_wait(call->api))
        return false;
    return parse_query(work, err) &&
           query_weight(work->query, call->api->options.storage) <= LIGHT_WEIGHT;
}

void serve_query(struct call *call)
{
    struct query_work *work = query_work_new(call);
    struct err err = {0};
    int64_t time_ms;

    if (!param_limit(call, &work->limit, &err) ||
        !param_time_or(call, "time", clock_wall_ms(), &time_ms, &err) ||
        !read_common(call, work, &err)) {
        answer_error(call, &err);
        return;
    }
    work->options.start_ms = work->options.end_ms = time_ms;
    work->options.step_ms = 0;
    bool light = is_light(call, work, &err);
    if (err.code != ERR_NONE)
        answer_error(call, &err);
    else if (light)
        work_run_here(&work->work);
    else
        work_submit(&work->work);
}

/* A step of less than a millisecond has too many points, or is none. */
static bool is_too_fine(struct call *call, const struct query_options *options)
{
    double step = 0;
    return number_parse_go(param_get(call, "step"), &step) && step > 0 &&
           (double)(options->end_ms - options->start_ms) / 1000 / step > RANGE_POINTS_MAX;
}

static bool read_range(struct call *call, struct query_options *options, struct err *err)
{
    if (!param_time(call, "start", &options->start_ms, err) ||
        !param_time(call, "end", &options->end_ms, err))
        return false;
    if (options->end_ms < options->start_ms) {
        err_set(err, ERR_BAD_DATA, "end timestamp must not be before start time");
        return param_wrap(err, "end");
    }
    if (!param_duration(call, "step", &options->step_ms, err))
        return false;
    if (options->step_ms <= 0 && !is_too_fine(call, options)) {
        err_set(err, ERR_BAD_DATA,
                "zero or negative query resolution step widths are not accepted. Try a positive "
                "integer");
        return param_wrap(err, "step");
    }
    if (options->step_ms == 0 ||
        (options->end_ms - options->start_ms) / options->step_ms > RANGE_POINTS_MAX)
        return err_set(
            err, ERR_BAD_DATA,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
            "resolution (?step=XX)");
    return true;
}

void serve_query_range(struct call *call)
{
    struct query_work *work = query_work_new(call);
    struct err err = {0};

    if (!param_limit(call, &work->limit, &err) || !read_range(call, &work->options, &err) ||
        !read_common(call, work, &err)) {
        answer_error(call, &err);
        return;
    }
    work->is_range = true;
    work_submit(&work->work);
}

/* --- without running --- */

/* On the lane as well: a long expression takes a while to parse. */
struct text_work {
    struct work work;
    struct str text;
    unsigned features;
};

static bool fail_text(struct err *err)
{
    err->code = ERR_BAD_DATA;
    return param_wrap(err, "query");
}

static bool run_format(struct work *base, struct buf *out, struct err *err)
{
    struct text_work *work = CONTAINER_OF(base, struct text_work, work);
    struct buf text;

    buf_init(&text, ANSWER_BYTES_MAX);
    bool ok = query_format(work->text, work->features, &text, err) || fail_text(err);
    if (ok) {
        envelope_begin(out);
        buf_add_json_string(out, buf_str(&text));
        envelope_end(out);
    }
    buf_deinit(&text);
    return ok;
}

static bool run_parse(struct work *base, struct buf *out, struct err *err)
{
    struct text_work *work = CONTAINER_OF(base, struct text_work, work);

    envelope_begin(out);
    if (!query_ast_json(work->text, work->features, out, err))
        return fail_text(err);
    envelope_end(out);
    return true;
}

static void submit_text(struct call *call, bool (*run)(struct work *, struct buf *, struct err *))
{
    struct text_work *work = ARENA_NEW(call->request->arena, struct text_work);

    work->text = param_get(call, "query");
    work->features = call->api->options.query_features;
    work->work.call = call;
    work->work.run = run;
    work_submit(&work->work);
}

void serve_format_query(struct call *call)
{
    submit_text(call, run_format);
}

void serve_parse_query(struct call *call)
{
    submit_text(call, run_parse);
}
