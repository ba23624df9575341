/* feed: series that do not depend on each other, evaluated one after the other or by several threads.
 *
 *     feed_all:      all series -> chunks -> (a worker: part) -> merged in the order of the series
 *     feed_batches:  the same for some thousand values at a time, for who wants no more than to add them up
 *
 * A worker is a query of its own as far as memory, samples and annotations go. What it found in a chunk is put aside
 * and merged chunk after chunk, so that results, texts, peaks and errors are those of a single thread. */
#include "eval.h"

#define CHUNKS_EACH      8
#define WORK_MIN         400000       /* Samples and steps; less is not worth a second thread. */
#define BATCH_VALUES     (256 * 1024) /* 2 MiB */
#define BATCH_SERIES_MIN 16

struct chunk {
    size_t count; /* Of series that it made. */
    bool ok;
    struct err err;
    uint64_t samples;
    struct query_stats stats;
    struct annotations annotations;
};

struct team {
    _Atomic size_t bytes; /* That workers have, as far as they told. */
    size_t base_bytes;
    const struct feed *feed;
    struct query *query;
    struct query *workers;
    unsigned worker_count;
    size_t first, end, chunk_size, chunk_count;
    struct chunk *chunks;
    struct series *items;
    _Atomic size_t next;
    atomic_bool failed;
};

/* --- workers --- */

static void worker_init(struct query *worker, struct team *team)
{
    const struct query *query = team->query;
    *worker = (struct query){.options = query->options,
                             .text = query->text,
                             .expr = query->expr,
                             .selector_count = query->selector_count,
                             .selections = query->selections,
                             .deadline_ns = query->deadline_ns,
                             .keeps_labels = team->feed->keeps_labels,
                             .team = team};
    worker->options.parallel = NULL;
    arena_init(&worker->arena, 0);
    arena_init(&worker->run.arena, 0);
}

/* What workers made may be part of the result: the query takes it. */
static void worker_deinit(struct query *worker, struct query *query)
{
    VEC_EACH (labels, &worker->owned)
        VEC_PUSH(&query->owned, *labels);
    VEC_FREE(&worker->owned);
    query->owned_bytes += worker->owned_bytes;
    query->adopted_bytes += worker->arena.bytes;
    VEC_PUSH(&query->adopted, worker->arena);
    run_cursor_free(worker);
    run_deinit(&worker->run);
    histogram_sum_deinit(&worker->sum);
    histogram_sum_deinit(&worker->spare);
}

size_t team_bytes(struct query *worker, size_t bytes)
{
    struct team *team = worker->team;
    atomic_fetch_add_explicit(&team->bytes, bytes - worker->published, memory_order_relaxed);
    worker->published = bytes;
    return team->base_bytes + atomic_load_explicit(&team->bytes, memory_order_relaxed);
}

static void run_chunk(struct team *team, struct query *worker, size_t index)
{
    struct chunk *chunk = &team->chunks[index];
    size_t first = team->first + index * team->chunk_size;
    size_t end = first + team->chunk_size < team->end ? first + team->chunk_size : team->end;
    struct vector out = {.items = team->items + (first - team->first)};
    worker->samples = team->query->samples;
    worker->result.stats = (struct query_stats){0};
    if (worker->samples > 0)
        worker->result.stats.samples_peak = (uint64_t)worker->samples;
    annotations_init(&worker->annotations);
    chunk->ok = team->feed->part(team->feed->ctx, worker, first, end, &out, &chunk->err);
    chunk->count = out.count;
    chunk->samples = (uint64_t)(worker->samples - team->query->samples);
    chunk->stats = worker->result.stats;
    chunk->stats.samples_peak =
        (uint64_t)((int64_t)chunk->stats.samples_peak - team->query->samples);
    chunk->annotations = worker->annotations;
    if (!chunk->ok)
        atomic_store(&team->failed, true);
}

/* Chunks begin in order, so all before one that failed have been begun and will be whole. */
static void run_worker(void *arg, unsigned number)
{
    struct team *team = arg;
    while (!atomic_load(&team->failed)) {
        size_t index = atomic_fetch_add(&team->next, 1);
        if (index >= team->chunk_count)
            return;
        run_chunk(team, &team->workers[number], index);
    }
}

/* --- a team --- */

static unsigned workers_wanted(const struct feed *feed)
{
    const struct query_options *options = &feed->frame->query->options;
    const struct frame *frame = feed->frame;
    uint64_t least = options->parallel_work_min ? options->parallel_work_min : WORK_MIN;
    uint64_t span = frame->steps * (uint64_t)frame->step_ms / FEED_INTERVAL_MS;
    uint64_t work =
        (frame->steps + (feed->selection ? span + feed->samples_each : 0)) * feed->count;
    if (!options->parallel || frame->query->result.stats.step_count > 0 ||
        options->workers_max < 2 || feed->count < 2 || work < least)
        return 1;
    return feed->count < options->workers_max ? (unsigned)feed->count : options->workers_max;
}

static void team_init(struct team *team, const struct feed *feed, unsigned worker_count)
{
    struct query *query = feed->frame->query;
    *team = (struct team){.feed = feed, .query = query, .worker_count = worker_count};
    team->base_bytes = query_bytes(query);
    team->workers = mem_alloc_array(worker_count, sizeof(*team->workers));
    for (unsigned i = 0; i < worker_count; i++)
        worker_init(&team->workers[i], team);
    team->chunks = mem_alloc_array(worker_count * CHUNKS_EACH + 1, sizeof(*team->chunks));
}

static void team_deinit(struct team *team)
{
    for (unsigned i = 0; i < team->worker_count; i++)
        worker_deinit(&team->workers[i], team->query);
    mem_free(team->workers);
    mem_free(team->chunks);
}

static bool merge_chunk(struct team *team, struct chunk *chunk, struct err *err)
{
    struct query *query = team->query;
    struct query_stats *stats = &query->result.stats;
    uint64_t peak = chunk->stats.samples_peak;
    annotations_merge(query, &chunk->annotations);
    stats->samples_total += chunk->stats.samples_total;
    stats->samples_read += chunk->stats.samples_read;
    if (!query_hold_briefly(query, peak, err))
        return false;
    if (!chunk->ok) {
        *err = chunk->err;
        return false;
    }
    return query_hold(query, chunk->samples, err);
}

/* Evaluates [first, end) into `items`, side by side; *count of them have values. */
static bool team_run(struct team *team, size_t first, size_t end, struct series *items,
                     size_t *count, struct err *err)
{
    const struct query_options *options = &team->query->options;
    size_t parts = team->worker_count > 1 ? team->worker_count * CHUNKS_EACH : 1;
    bool ok = true;
    *count = 0;
    team->first = first;
    team->end = end;
    team->items = items;
    team->chunk_size = (end - first + parts - 1) / parts;
    team->chunk_count = (end - first + team->chunk_size - 1) / team->chunk_size;
    memset(team->chunks, 0, team->chunk_count * sizeof(*team->chunks));
    atomic_store(&team->next, 0);
    if (team->worker_count > 1)
        options->parallel(options->parallel_ctx, team->worker_count, run_worker, team);
    else
        run_worker(team, 0);
    for (size_t i = 0; i < team->chunk_count; i++) {
        struct chunk *chunk = &team->chunks[i];
        ok = ok && merge_chunk(team, chunk, err);
        if (ok)
            memmove(items + *count, items + i * team->chunk_size, chunk->count * sizeof(*items));
        *count += chunk->count;
        annotations_deinit(&chunk->annotations);
    }
    return ok;
}

bool feed_all(struct feed *feed, struct vector *out, struct err *err)
{
    unsigned workers = workers_wanted(feed);
    struct team team;
    *out = vector_new(feed->frame, feed->count);
    if (workers < 2)
        return feed->part(feed->ctx, feed->frame->query, 0, feed->count, out, err);
    team_init(&team, feed, workers);
    bool ok = team_run(&team, 0, feed->count, out->items, &out->count, err);
    team_deinit(&team);
    return ok;
}

/* --- batches --- */

struct feed_batches {
    struct team team;
    struct series *items;
    size_t size, next;
};

struct feed_batches *feed_batches_new(struct feed *feed)
{
    struct feed_batches *batches = MEM_NEW(struct feed_batches);
    size_t steps = feed->frame->steps;
    batches->size = BATCH_VALUES / (steps + 1);
    if (batches->size < BATCH_SERIES_MIN)
        batches->size = BATCH_SERIES_MIN;
    if (batches->size > feed->count)
        batches->size = feed->count + 1;
    batches->items =
        arena_alloc_array(&feed->frame->query->arena, batches->size, sizeof(*batches->items));
    team_init(&batches->team, feed, workers_wanted(feed));
    return batches;
}

/* The last batch is no longer needed. */
static void forget_batch(struct team *team)
{
    for (unsigned i = 0; i < team->worker_count; i++) {
        struct query *worker = &team->workers[i];
        VEC_EACH (labels, &worker->owned)
            labels_unref(*labels);
        VEC_CLEAR(&worker->owned);
        worker->owned_bytes = 0;
        arena_reset(&worker->arena);
    }
}

bool feed_batches_next(struct feed_batches *batches, struct vector *out, size_t *first,
                       struct err *err)
{
    size_t count = batches->team.feed->count;
    *first = batches->next;
    *out = (struct vector){.items = batches->items};
    if (*first == count)
        return true;
    forget_batch(&batches->team);
    batches->next = count - *first < batches->size ? count : *first + batches->size;
    return team_run(&batches->team, *first, batches->next, batches->items, &out->count, err);
}

void feed_batches_free(struct feed_batches *batches)
{
    forget_batch(&batches->team);
    team_deinit(&batches->team);
    mem_free(batches);
}
