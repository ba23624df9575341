/* eval_selector: an instant vector selector: at each step the newest sample within the lookback. */
#include "eval.h"

/* The instant that a selector looks back from. */
static int64_t look_time(const struct frame *frame, const struct modifiers *mod, size_t step)
{
    return time_sub(mod->at != AT_NONE ? mod->at_ms : frame_time(frame, step), mod->offset_ms);
}

/* The sample that each step sees, over the times of a series; the series of a scrape target share them. */
struct look_places {
    struct known_times known;
    uint32_t *at;    /* [steps] */
    size_t from, to; /* Only these steps see one. */
    bool all;        /* And all of these do. */
};

static void look_places_init(struct look_places *places, const struct frame *frame)
{
    *places = (struct look_places){0};
    places->at = arena_alloc_array(&frame->query->arena, frame->steps + 1, sizeof(uint32_t));
}

static void place_looks(struct look_places *places, const struct frame *frame,
                        const struct modifiers *mod)
{
    const struct sample_run *run = &frame->query->run;
    int64_t lookback_ms = frame->query->options.lookback_ms;
    uint32_t next = 0; /* The first sample after the instant. */
    places->from = places->to = 0;
    places->all = true;
    for (size_t t = 0; t < frame->steps; t++) {
        int64_t at_ms = look_time(frame, mod, t);
        while (next < run->count && run->time_ms[next] <= at_ms)
            next++;
        if (next == 0 || run->time_ms[next - 1] <= time_sub(at_ms, lookback_ms))
            continue;
        if (places->to == 0)
            places->from = places->to = t;
        places->all = places->all && places->to == t;
        places->at[t] = next - 1;
        places->to = t + 1;
    }
}

/* As look_back for values; false when some step sees none or a stale one. */
static bool look_back_whole(const struct frame *frame, const struct modifiers *mod,
                            struct look_places *places, struct steps *steps)
{
    const struct sample_run *run = &frame->query->run;
    uint64_t stale = 0;
    if (!known_times_are(&places->known, run)) {
        place_looks(places, frame, mod);
        known_times_set(&places->known, run);
    }
    if (!places->all)
        return false;
    for (size_t t = places->from; t < places->to; t++) {
        double value = run->value[places->at[t]];
        stale += sample_is_stale(value);
        steps->values[t] = value;
    }
    if (stale)
        return false;
    if (places->to > places->from)
        steps_mark_all(steps, places->from, places->to);
    return true;
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

/* The newest of what is within the lookback: a float of the run, a histogram of the run, or
 * neither. */
struct newest {
    size_t next, next_histogram; /* The first samples after the instant. */
    size_t copied;               /* The histogram that was taken last, plus 1. */
    const struct histogram *copy;
};

static void take_newest(const struct frame *frame, struct newest *newest, int64_t after_ms,
                        bool want_times, size_t t, struct steps *steps)
{
    const struct sample_run *run = &frame->query->run;
    size_t next = newest->next, next_histogram = newest->next_histogram;
    int64_t float_ms = next ? run->time_ms[next - 1] : INT64_MIN;
    int64_t time_ms = next_histogram ? run->histogram_time_ms[next_histogram - 1] : INT64_MIN;
    if (next && float_ms >= time_ms) {
        if (float_ms > after_ms && !sample_is_stale(run->value[next - 1]))
            steps_set(steps, t, want_times ? (double)float_ms / 1000 : run->value[next - 1]);
        return;
    }
    if (next_histogram == 0 || time_ms <= after_ms ||
        histogram_is_stale(run->histogram[next_histogram - 1]))
        return;
    if (want_times) {
        steps_set(steps, t, (double)time_ms / 1000);
        return;
    }
    if (newest->copied != next_histogram) {
        newest->copied = next_histogram;
        newest->copy = histogram_copy(&frame->query->arena, run->histogram[next_histogram - 1]);
    }
    steps_set_histogram(steps, t, newest->copy);
}

/* As look_back, for series that have histograms. */
static void look_back_mixed(const struct frame *frame, const struct modifiers *mod, bool want_times,
                            struct steps *steps)
{
    const struct sample_run *run = &frame->query->run;
    struct newest newest = {0};
    for (size_t t = 0; t < frame->steps; t++) {
        int64_t at_ms = look_time(frame, mod, t);
        while (newest.next < run->count && run->time_ms[newest.next] <= at_ms)
            newest.next++;
        while (newest.next_histogram < run->histogram_count &&
               run->histogram_time_ms[newest.next_histogram] <= at_ms)
            newest.next_histogram++;
        take_newest(frame, &newest, time_sub(at_ms, frame->query->options.lookback_ms), want_times,
                    t, steps);
    }
}

struct around {
    size_t low, high, low_histogram, high_histogram;
};

static void move_around(struct around *around, const struct sample_run *run, int64_t start_ms,
                        int64_t end_ms)
{
    while (around->high < run->count && run->time_ms[around->high] <= end_ms)
        around->high++;
    while (around->low < around->high && run->time_ms[around->low] <= start_ms)
        around->low++;
    while (around->high_histogram < run->histogram_count &&
           run->histogram_time_ms[around->high_histogram] <= end_ms)
        around->high_histogram++;
    while (around->low_histogram < around->high_histogram &&
           run->histogram_time_ms[around->low_histogram] <= start_ms)
        around->low_histogram++;
}

/* Smoothed: on the line between the samples around the instant. Stale markers are left out. */
/* Samples in the windows that it looks at; a histogram counts more. */
struct around_sizes {
    uint64_t widest, last;
};

static void look_around(const struct frame *frame, const struct expr *selector,
                        const struct labels *labels, struct steps *steps,
                        struct around_sizes *sizes)
{
    const struct sample_run *run = &frame->query->run;
    int64_t lookback_ms = frame->query->options.lookback_ms;
    struct str name = labels_get(labels, LABEL_NAME);
    struct around around = {0};
    for (size_t t = 0; t < frame->steps; t++) {
        bool found = false;
        int64_t at_ms = look_time(frame, &selector->as.vector.mod, t);
        move_around(&around, run, time_sub(at_ms, lookback_ms), time_add(at_ms, lookback_ms));
        sizes->last = around.high - around.low;
        if (around.low_histogram < around.high_histogram)
            sizes->last += run->histogram_samples[around.high_histogram] -
                           run->histogram_samples[around.low_histogram];
        if (sizes->last > sizes->widest)
            sizes->widest = sizes->last;
        if (around.low_histogram < around.high_histogram) {
            if (around.low < around.high)
                annotate_named(frame->query, true, selector,
                               "encountered a mix of histograms and floats for metric name", name);
            else
                smoothed_histogram(frame, selector, name, around.low_histogram,
                                   around.high_histogram, at_ms, t, steps);
            continue;
        }
        double value = smoothed_value(run, around.low, around.high, at_ms, &found);
        if (found)
            steps_set(steps, t, value);
    }
}

enum looking { LOOK_AT_VALUES, LOOK_AT_TIMES, LOOK_AROUND };

struct look {
    const struct frame *frame;
    const struct expr *selector;
    struct modifiers mod;
    enum looking looking;
};

/* One step that sees the newest sample there is: true when it is known without reading, and *steps is right. */
static bool look_at_newest(const struct frame *frame, const struct look *look, size_t index,
                           struct steps *steps)
{
    const struct selection *selection = frame->query->selections[look->selector->as.vector.index];
    int64_t time_ms, at_ms = look_time(frame, &look->mod, 0);
    double value;
    if (frame->steps != 1 || look->looking == LOOK_AROUND ||
        !selection_newest(selection, index, &time_ms, &value) || time_ms > at_ms)
        return false;
    if (time_ms > time_sub(at_ms, frame->query->options.lookback_ms) && !sample_is_stale(value))
        steps_set(steps, 0, look->looking == LOOK_AT_TIMES ? (double)time_ms / 1000 : value);
    return true;
}

/* Of the samples in the run. */
static void look_at_run(const struct frame *frame, const struct look *look,
                        struct look_places *places, const struct labels *labels,
                        struct steps *steps, struct around_sizes *sizes)
{
    if (look->looking == LOOK_AROUND)
        look_around(frame, look->selector, labels, steps, sizes);
    else if (frame->query->run.histogram_count)
        look_back_mixed(frame, &look->mod, look->looking == LOOK_AT_TIMES, steps);
    else if (look->looking == LOOK_AT_TIMES || !look_back_whole(frame, &look->mod, places, steps))
        look_back(frame, &look->mod, look->looking == LOOK_AT_TIMES, steps);
}

static bool hold_found(const struct frame *frame, const struct steps *steps, struct err *err)
{
    struct query_stats *stats = &frame->query->result.stats;
    stats->samples_total += steps_samples(steps);
    stats->samples_read += steps_samples(steps);
    step_stats_add_found(frame, steps);
    return query_hold(frame->query, steps_samples(steps), err);
}

/* As Prometheus: it does not count what it has read nor what comes out of that, and keeps each last window in mind. */
static bool hold_around(struct query *query, const struct around_sizes *sizes, struct err *err)
{
    return query_hold_briefly(query, sizes->widest, err) && query_hold(query, sizes->last, err);
}

static bool look_part(void *ctx, struct query *query, size_t first, size_t end, struct vector *out,
                      struct err *err)
{
    const struct look *look = ctx;
    const struct expr *selector = look->selector;
    const struct selection *selection = query->selections[selector->as.vector.index];
    struct run_wants wants = {.stale = look->looking != LOOK_AROUND,
                              .no_buckets = selector->as.vector.no_buckets};
    struct frame frame = *look->frame;
    struct look_places places;
    struct steps steps;
    bool ok = true;

    frame.query = query;
    steps_init(&steps, &frame);
    look_places_init(&places, &frame);
    for (size_t i = first; ok && i < end; i++) {
        struct around_sizes sizes = {0};
        if (look_at_newest(&frame, look, i, &steps)) {
            ok = query_check(query, err);
        } else {
            ok = run_load(query, run_cursor(query, selection), i, wants, err);
            if (ok)
                look_at_run(&frame, look, &places, selection_labels(selection, i), &steps, &sizes);
        }
        if (!ok)
            break;
        ok = look->looking == LOOK_AROUND ? hold_around(query, &sizes, err)
                                          : hold_found(&frame, &steps, err);
        if (steps_take(&steps, &frame, selection_labels(selection, i), &out->items[out->count]))
            out->count++;
    }
    run_cursor_done(query);
    known_times_deinit(&places.known);
    return ok;
}

static void look_feed(const struct frame *frame, const struct expr *selector,
                      const struct modifiers *mod, enum looking looking, struct feed *out)
{
    struct look *look = ARENA_NEW(&frame->query->arena, struct look);
    *look = (struct look){frame, selector, *mod, looking};
    *out = (struct feed){.frame = frame, .part = look_part, .ctx = look};
    out->selection = frame->query->selections[selector->as.vector.index];
    out->count = selection_count(out->selection);
    out->samples_each = (uint64_t)frame->query->options.lookback_ms / FEED_INTERVAL_MS;
}

void selector_feed(const struct frame *frame, struct expr *selector, struct feed *out)
{
    look_feed(frame, selector, &selector->as.vector.mod,
              selector->as.vector.smoothed ? LOOK_AROUND : LOOK_AT_VALUES, out);
}

bool eval_selector(const struct frame *frame, struct expr *selector, struct vector *out,
                   struct err *err)
{
    struct feed feed;
    selector_feed(frame, selector, &feed);
    return feed_all(&feed, out, err);
}

bool eval_selection_times(const struct frame *frame, const struct selection *selection,
                          struct vector *out, struct err *err)
{
    struct modifiers none = {0};
    struct cursor *cursor = cursor_new(selection);
    struct steps steps;
    size_t count = selection_count(selection);
    bool ok = true;

    *out = vector_new(frame, count);
    steps_init(&steps, frame);
    for (size_t i = 0; ok && i < count; i++) {
        ok = run_load(frame->query, cursor, i, (struct run_wants){.stale = true}, err);
        if (!ok)
            break;
        if (frame->query->run.histogram_count) {
            look_back_mixed(frame, &none, false, &steps);
            if (steps.histogram_count)
                ok = err_set(err, ERR_EXECUTION, "info sample should be float");
            steps_reset(&steps);
            look_back_mixed(frame, &none, true, &steps);
        } else {
            look_back(frame, &none, true, &steps);
        }
        ok = ok && query_check(frame->query, err);
        if (steps_take(&steps, frame, selection_labels(selection, i), &out->items[out->count]))
            out->count++;
    }
    cursor_free(cursor);
    return ok;
}

bool eval_selector_times(const struct frame *frame, struct expr *selector, struct vector *out,
                         struct err *err)
{
    struct modifiers mod = selector->as.vector.mod;
    if (mod.at != AT_NONE)
        mod.offset_ms = 0; /* As Prometheus: its special case for @ forgets the offset. */
    struct feed feed;
    look_feed(frame, selector, &mod, LOOK_AT_TIMES, &feed);
    return feed_all(&feed, out, err) && vector_drop_names(frame, out, err);
}
