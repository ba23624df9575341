/* sample_run: the samples of one series as they come from storage, floats and histograms apart.
 *
 * A cursor's block is gone with the next one, so histograms are copied into the run's own arena,
 * which is emptied when the next series is loaded: what outlives it is to be copied again. */
#include "eval.h"

void run_reserve(struct query *query, size_t more)
{
    struct sample_run *run = &query->run;
    size_t wanted = run->count + more;
    if (wanted > run->capacity) {
        size_t capacity = run->capacity ? run->capacity * 2 : 1024;
        if (capacity < wanted)
            capacity = wanted;
        run->own_time_ms = mem_realloc(run->own_time_ms, capacity * sizeof(*run->own_time_ms));
        run->own_value = mem_realloc(run->own_value, capacity * sizeof(*run->own_value));
        run->capacity = capacity;
    }
    run->time_ms = run->own_time_ms;
    run->value = run->own_value;
}

void run_clear(struct query *query)
{
    struct sample_run *run = &query->run;
    run->count = 0;
    run->time_ms = run->own_time_ms;
    run->value = run->own_value;
    run->mark_count = 0;
    if (run->histogram_count)
        arena_reset(&run->arena);
    run->histogram_count = 0;
}

void run_add_float(struct query *query, int64_t time_ms, double value)
{
    struct sample_run *run = &query->run;
    run->own_time_ms[run->count] = time_ms;
    run->own_value[run->count++] = value;
}

void run_add_histogram(struct query *query, int64_t time_ms, const struct histogram *histogram)
{
    struct sample_run *run = &query->run;
    size_t at = run->histogram_count;
    if (at == run->histogram_capacity) {
        size_t capacity = at ? at * 2 : 256;
        run->histogram_time_ms =
            mem_realloc(run->histogram_time_ms, capacity * sizeof(*run->histogram_time_ms));
        run->histogram = mem_realloc(run->histogram, capacity * sizeof(*run->histogram));
        run->histogram_samples =
            mem_realloc(run->histogram_samples, (capacity + 1) * sizeof(*run->histogram_samples));
        run->histogram_capacity = capacity;
    }
    if (at == 0)
        run->histogram_samples[0] = 0;
    run->histogram_time_ms[at] = time_ms;
    run->histogram[at] = histogram;
    run->histogram_samples[at + 1] = run->histogram_samples[at] + histogram_samples(histogram);
    run->histogram_count++;
}

void run_deinit(struct sample_run *run)
{
    mem_free(run->own_time_ms);
    mem_free(run->own_value);
    mem_free(run->marks);
    mem_free(run->histogram_time_ms);
    mem_free(run->histogram);
    mem_free(run->histogram_samples);
    arena_deinit(&run->arena);
}

/* --- times that are known --- */

bool known_times_are(const struct known_times *known, const struct sample_run *run)
{
    return known->any && known->count == run->count &&
           (run->count == 0 ||
            (known->items[run->count - 1] == run->time_ms[run->count - 1] &&
             memcmp(known->items, run->time_ms, run->count * sizeof(*run->time_ms)) == 0));
}

void known_times_set(struct known_times *known, const struct sample_run *run)
{
    if (run->count > known->capacity) {
        known->capacity = run->count;
        known->items = mem_realloc(known->items, known->capacity * sizeof(*known->items));
    }
    if (run->count)
        memcpy(known->items, run->time_ms, run->count * sizeof(*run->time_ms));
    known->count = run->count;
    known->any = true;
}

void known_times_deinit(struct known_times *known)
{
    mem_free(known->items);
}

/* --- from storage --- */

struct cursor *run_cursor(struct query *query, const struct selection *selection)
{
    if (query->cursor && query->cursor_over == selection)
        return query->cursor;
    run_cursor_free(query);
    query->cursor = cursor_new(selection);
    query->cursor_over = selection;
    return query->cursor;
}

void run_cursor_done(struct query *query)
{
    if (!query->team)
        run_cursor_free(query);
}

void run_cursor_free(struct query *query)
{
    cursor_free(query->cursor);
    query->cursor = NULL;
}

/* Only what count, sum and rates of them need. The hint says what the buckets would have told. */
static const struct histogram *without_buckets(struct arena *arena,
                                               const struct histogram *histogram,
                                               const struct histogram *before)
{
    struct histogram *bare = ARENA_NEW(arena, struct histogram);
    *bare = (struct histogram){.schema = histogram->schema,
                               .hint = histogram->hint,
                               .count = histogram->count,
                               .sum = histogram->sum};
    if (before && histogram->hint == HISTOGRAM_UNKNOWN_RESET)
        bare->hint = histogram_was_reset(histogram, before) ? HISTOGRAM_RESET : HISTOGRAM_NOT_RESET;
    return bare;
}

struct loading {
    struct run_wants wants;
    const struct histogram *before; /* The last one with its buckets; in the run's arena. */
};

static void load_histogram(struct query *query, struct loading *loading, int64_t time_ms,
                           const struct histogram *histogram)
{
    struct sample_run *run = &query->run;
    bool is_stale = histogram_is_stale(histogram);
    if (is_stale && !loading->wants.stale)
        return;
    if (!loading->wants.no_buckets || is_stale) {
        run_add_histogram(query, time_ms, histogram_copy(&run->arena, histogram));
        return;
    }
    run_add_histogram(query, time_ms, without_buckets(&run->arena, histogram, loading->before));
    loading->before = histogram_copy(&run->arena, histogram);
}

/* All there is of the series, as it came: nothing is copied. It stays until the cursor moves, as the run does. */
static bool borrow_block(struct query *query, const struct loading *loading,
                         const struct sample_block *block)
{
    struct sample_run *run = &query->run;
    if (run->count || run->histogram_count || !block->is_last || block->histogram ||
        (!loading->wants.stale && scan_stale(block->value, block->count)))
        return false;
    run->time_ms = block->time_ms;
    run->value = block->value;
    run->count = block->count;
    return true;
}

static void load_block(struct query *query, struct loading *loading,
                       const struct sample_block *block)
{
    struct sample_run *run = &query->run;
    bool with_stale = loading->wants.stale;
    run_reserve(query, block->count);
    if (!block->histogram && (with_stale || !scan_stale(block->value, block->count))) {
        memcpy(run->own_time_ms + run->count, block->time_ms, block->count * sizeof(int64_t));
        memcpy(run->own_value + run->count, block->value, block->count * sizeof(double));
        run->count += block->count;
        return;
    }
    for (size_t i = 0; i < block->count; i++) {
        if (block->histogram && block->histogram[i])
            load_histogram(query, loading, block->time_ms[i], block->histogram[i]);
        else if (with_stale || !sample_is_stale(block->value[i]))
            run_add_float(query, block->time_ms[i], block->value[i]);
    }
}

bool run_load(struct query *query, struct cursor *cursor, size_t index, struct run_wants wants,
              struct err *err)
{
    struct sample_run *run = &query->run;
    struct loading loading = {.wants = wants};
    struct sample_block block;
    run_clear(query);
    if (!query_check(query, err))
        return false;
    cursor_seek(cursor, index);
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return err_wrap(err, "expanding series");
        if (block.count == 0)
            return true;
        if (borrow_block(query, &loading, &block))
            return true;
        load_block(query, &loading, &block);
        if ((run->count > 65536 || run->histogram_count) && !query_check(query, err))
            return false;
    }
}
