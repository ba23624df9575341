/* eval_selector: an instant vector selector: at each step the newest sample within the lookback. */
#include "eval.h"

void run_reserve(struct query *query, size_t more)
{
    struct sample_run *run = &query->run;
    size_t wanted = run->count + more;
    if (wanted <= run->capacity)
        return;
    size_t capacity = run->capacity ? run->capacity * 2 : 1024;
    if (capacity < wanted)
        capacity = wanted;
    run->time_ms = mem_realloc(run->time_ms, capacity * sizeof(*run->time_ms));
    run->value = mem_realloc(run->value, capacity * sizeof(*run->value));
    run->marks = mem_realloc(run->marks, capacity * sizeof(*run->marks));
    run->capacity = capacity;
}

bool run_load(struct query *query, struct cursor *cursor, size_t index, bool with_stale,
              struct err *err)
{
    struct sample_run *run = &query->run;
    struct sample_block block;
    run->count = 0;
    if (!query_check(query, err))
        return false;
    cursor_seek(cursor, index);
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return err_wrap(err, "expanding series");
        if (block.count == 0)
            return true;
        run_reserve(query, block.count);
        for (size_t i = 0; i < block.count; i++) {
            run->time_ms[run->count] = block.time_ms[i];
            run->value[run->count] = block.value[i];
            run->count += with_stale || !sample_is_stale(block.value[i]);
        }
        if (run->count > 65536 && !query_check(query, err))
            return false;
    }
}

/* The instant that a selector looks back from. */
static int64_t look_time(const struct frame *frame, const struct modifiers *mod, size_t step)
{
    return time_sub(mod->at != AT_NONE ? mod->at_ms : frame_time(frame, step), mod->offset_ms);
}

/* Fills *steps from the run: values, or the samples' times in seconds. */
static void look_back(const struct frame *frame, const struct modifiers *mod, bool want_times,
                      struct steps *steps)
{
    const struct sample_run *run = &frame->query->run;
    int64_t lookback_ms = frame->query->options.lookback_ms;
    size_t next = 0; /* The first sample after the instant. */
    for (size_t t = 0; t < frame->steps; t++) {
        int64_t at_ms = look_time(frame, mod, t);
        while (next < run->count && run->time_ms[next] <= at_ms)
            next++;
        if (next == 0 || run->time_ms[next - 1] <= time_sub(at_ms, lookback_ms))
            continue;
        double value = run->value[next - 1];
        if (!sample_is_stale(value))
            steps_set(steps, t, want_times ? (double)run->time_ms[next - 1] / 1000 : value);
    }
}

/* Smoothed: on the line between the samples around the instant. Stale markers are left out. */
static void look_around(const struct frame *frame, const struct modifiers *mod, struct steps *steps)
{
    const struct sample_run *run = &frame->query->run;
    int64_t lookback_ms = frame->query->options.lookback_ms;
    size_t low = 0, high = 0;
    for (size_t t = 0; t < frame->steps; t++) {
        bool found;
        int64_t at_ms = look_time(frame, mod, t);
        while (high < run->count && run->time_ms[high] <= time_add(at_ms, lookback_ms))
            high++;
        while (low < high && run->time_ms[low] <= time_sub(at_ms, lookback_ms))
            low++;
        double value = smoothed_value(run, low, high, at_ms, &found);
        if (found)
            steps_set(steps, t, value);
    }
}

enum looking { LOOK_AT_VALUES, LOOK_AT_TIMES, LOOK_AROUND };

static bool eval_looking(const struct frame *frame, struct expr *selector,
                         const struct modifiers *mod, enum looking looking, struct vector *out,
                         struct err *err)
{
    struct query *query = frame->query;
    const struct selection *selection = query->selections[selector->as.vector.index];
    size_t count = selection_count(selection);
    struct cursor *cursor = cursor_new(selection);
    struct steps steps;
    bool ok = true;

    *out = vector_new(frame, count);
    steps_init(&steps, frame);
    for (size_t i = 0; ok && i < count; i++) {
        ok = run_load(query, cursor, i, looking != LOOK_AROUND, err);
        if (!ok)
            break;
        if (looking == LOOK_AROUND)
            look_around(frame, mod, &steps);
        else
            look_back(frame, mod, looking == LOOK_AT_TIMES, &steps);
        size_t found = steps.count;
        query->result.stats.samples_total += found;
        query->result.stats.samples_read += found;
        ok = query_hold(query, found, err);
        if (steps_take(&steps, frame, selection_labels(selection, i), &out->items[out->count]))
            out->count++;
    }
    cursor_free(cursor);
    return ok;
}

bool eval_selector(const struct frame *frame, struct expr *selector, struct vector *out,
                   struct err *err)
{
    return eval_looking(frame, selector, &selector->as.vector.mod,
                        selector->as.vector.smoothed ? LOOK_AROUND : LOOK_AT_VALUES, out, err);
}

bool eval_selector_times(const struct frame *frame, struct expr *selector, struct vector *out,
                         struct err *err)
{
    struct modifiers mod = selector->as.vector.mod;
    if (mod.at != AT_NONE)
        mod.offset_ms = 0; /* As Prometheus: its special case for @ forgets the offset. */
    return eval_looking(frame, selector, &mod, LOOK_AT_TIMES, out, err) &&
           vector_drop_names(frame, out, err);
}
