/* eval: evaluation of a planned tree, over all steps at once.
 *
 *     query_new: parse, plan_durations        query_run: plan_select -> eval_expr -> result
 *
 * A node is evaluated once for all steps of its frame, not once a step: its value is an array of
 * series, each with an array of values over steps, and beside it one of histograms where a series
 * has any. So labels, groups and match keys are worked out
 * once per series, samples are decoded once per series, and the inner loops run over plain arrays.
 * A subquery opens a frame of its own; a part that is the same at every step is evaluated in a
 * frame of one step and repeated.
 *
 * Memory: series and values live in the query's arena until the query ends. Label sets are
 * refcounted: the query owns one reference of each that it makes (query_own); those of selections
 * are borrowed from them.
 *
 * All functions return false with *err set when the query must end. query_check is the one place
 * that looks at the deadline, the cancel flag and the memory budget; query_hold at the sample
 * budget. */
#ifndef QUERY_EVAL_H
#define QUERY_EVAL_H

#include <math.h>

#include "base/map.h"
#include "base/vec.h"
#include "model/histogram_math.h"
#include "model/sample.h"
#include "query.h"

#include "ast.h"
#include "functions.h"

/* --- values --- */

/* One series of an instant vector, over the steps [from, to) of its frame. */
struct series {
    struct labels *labels; /* Borrowed; the query or a selection holds a reference. */
    size_t from, to;
    double *values;    /* [to - from]; unset where absent. */
    uint64_t *present; /* Bit t - from: has step t a value? NULL: all steps have one. */
    const struct histogram **histograms; /* NULL: all are floats. Else by step; NULL at a float. */
    bool drop_name;                      /* Delayed name removal only: the name goes at the end. */
};

struct vector {
    struct series *items;
    size_t count;
};

struct value {
    enum value_type type; /* TYPE_VECTOR, TYPE_SCALAR or TYPE_STRING. */
    struct vector vector;
    double *scalar; /* [steps] */
    struct str string;
};

static inline size_t bitmap_words(size_t bits)
{
    return (bits + 63) / 64;
}
static inline bool bitmap_has(const uint64_t *bits, size_t index)
{
    return bits[index / 64] >> (index % 64) & 1;
}
static inline void bitmap_add(uint64_t *bits, size_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}
static inline void bitmap_del(uint64_t *bits, size_t index)
{
    bits[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

static inline bool series_has(const struct series *series, size_t step)
{
    return step >= series->from && step < series->to &&
           (!series->present || bitmap_has(series->present, step - series->from));
}
static inline double *series_at(const struct series *series, size_t step)
{
    return &series->values[step - series->from];
}

/* NULL: a float, or nothing. */
static inline const struct histogram *series_histogram(const struct series *series, size_t step)
{
    return series->histograms ? series->histograms[step - series->from] : NULL;
}

/* --- annotations.c --- */

struct annotation {
    struct str text;
    size_t position;
    bool is_warning;
    bool is_monotonicity; /* Then what follows is part of the text that is shown. */
    int64_t time_min_ms, time_max_ms;
    double bucket_min, bucket_max, diff_max;
    uint64_t count;
};

struct annotations {
    VEC(struct annotation) items;
    struct map by_text;
};

/* --- the query --- */

/* Samples of one series as they are decoded, floats and histograms apart; reused from series to
 * series. */
struct sample_run {
    const int64_t *time_ms; /* [count]: own ones, or borrowed from the cursor. */
    const double *value;
    size_t count;
    int64_t *own_time_ms;
    double *own_value;
    size_t capacity; /* Of the own ones. */
    uint32_t *marks; /* Positions that a range function counts. */
    size_t mark_count, mark_capacity;
    int64_t *histogram_time_ms;
    const struct histogram **histogram; /* In the arena, until the next series is loaded. */
    uint64_t
        *histogram_samples; /* [i]: what those before i count as; one longer than the others. */
    size_t histogram_count, histogram_capacity;
    struct arena arena;
};

struct query {
    struct query_options options;
    struct str text; /* In the arena. */
    struct arena arena;
    struct expr *expr;
    size_t selector_count;
    struct selection **selections; /* By expr.as.vector.index; owned. */
    VEC(struct labels *) owned;
    size_t owned_bytes;
    struct annotations annotations;
    struct sample_run run;
    struct histogram_sum sum, spare; /* Scratch. */
    struct matcher info_names;       /* info() with nothing but negative names: .+_info */
    bool has_info_names;
    int64_t deadline_ns; /* INT64_MAX: none. */
    int64_t samples;     /* Held now, as Prometheus counts: it may let go of what it has not counted. */
    struct tally *tally; /* Of the node whose operands are evaluated; NULL: it does not gather. */
    struct query_result result;
    bool has_run;
    /* Of a worker (feed.c): what all of its team use, and its share of that. */
    struct team *team;
    size_t published;
    struct cursor
        *cursor; /* Of run_cursor; what it has opened and decoded serves the next part, too. */
    const struct selection *cursor_over;
    bool keeps_labels;         /* As its feed says. */
    VEC(struct arena) adopted; /* Of workers that are done. */
    size_t adopted_bytes;
};

/* One evaluation over steps. */
struct frame {
    struct query *query;
    int64_t start_ms, step_ms;
    size_t steps;  /* 0: an empty range. */
    bool is_range; /* Its end is not its start, though it may have one step only. */
};

static inline int64_t frame_time(const struct frame *frame, size_t step)
{
    return frame->start_ms + (int64_t)step * frame->step_ms;
}

MUST_CHECK bool query_check(struct query *query, struct err *err);
/* Takes `count` samples into account; false when the sample budget is spent. */
MUST_CHECK bool query_hold(struct query *query, uint64_t count, struct err *err);
/* Would `count` more be too many? They are counted in the peak, but not held. */
MUST_CHECK bool query_hold_briefly(struct query *query, uint64_t count, struct err *err);
/* Would scratch arrays of this many steps pass the budgets? To be asked before a frame is opened.
 */
MUST_CHECK bool query_allows_steps(struct query *query, size_t steps, struct err *err);
struct labels *query_own(struct query *query, struct labels *labels); /* Takes the reference. */
size_t query_bytes(const struct query *query);
size_t team_bytes(struct query *worker, size_t bytes); /* What a worker has; gives what all have. */

/* --- tally.c: samples held by a node that Prometheus evaluates step by step --- */

struct tally {
    uint64_t each;    /* Samples at every step, */
    int64_t *changes; /* and from step to step, in the query's arena; NULL: none. */
};

struct value;
struct vector;
/* What eval_expr does with each operand while query->tally is set. */
void tally_gather(struct tally *tally, const struct frame *frame, const struct value *operand);
/* The node is done: what it held at most, and that it holds nothing but `out` beside `before`. */
MUST_CHECK bool tally_hold(const struct tally *gathered, const struct frame *frame, int64_t before,
                           const struct value *out, struct err *err);

/* --- step_stats.c: samples of each step, when they are wanted --- */

struct steps;
struct step_totals {
    uint64_t samples;
    uint64_t *by_step;
};

void step_stats_begin(struct query *query, const struct frame *frame);
void step_stats_add(const struct frame *frame, size_t step, uint64_t total, uint64_t read);
void step_stats_add_found(const struct frame *frame, const struct steps *steps);
/* Around the evaluation of a subquery. */
void step_stats_enter(const struct frame *sub, bool has_gaps, struct query_stats *outside);
void step_stats_leave(const struct frame *frame, const struct query_stats *outside,
                      int64_t offset_ms, int64_t range_ms);
struct step_totals step_totals_save(struct query *query);
void step_totals_restore(struct query *query, const struct step_totals *saved);
/* What has been taken since was taken at one step, and counts at each of the frame's. */
void step_totals_repeat(const struct frame *frame, const struct step_totals *saved);

static inline int64_t time_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (b > 0 ? INT64_MAX : INT64_MIN) : sum;
}
static inline int64_t time_sub(int64_t a, int64_t b)
{
    int64_t difference;
    return __builtin_sub_overflow(a, b, &difference) ? (b < 0 ? INT64_MAX : INT64_MIN) : difference;
}

/* --- annotations.c --- */

void annotations_init(struct annotations *annotations);
void annotations_deinit(struct annotations *annotations);
/* `text` is copied. An equal text is kept once, at the newest position. */
void annotate(struct query *query, bool is_warning, const struct expr *where, struct str text);
/* What a worker found after all that is there. None of it adds up. */
void annotations_merge(struct query *query, struct annotations *later);
/* PromQL warning: <text>, or info. */
void annotate_text(struct query *query, bool is_warning, const struct expr *where,
                   const char *text);
/* PromQL warning: <text> "<name>" */
void annotate_named(struct query *query, bool is_warning, const struct expr *where,
                    const char *text, struct str name);
/* PromQL info: <text> for metric name "<name>", or without when that is empty. */
void annotate_maybe_named(struct query *query, bool is_warning, const struct expr *where,
                          const char *text, struct str name);
void annotate_quantile(struct query *query, const struct expr *where, double quantile);
void annotate_bad_bucket(struct query *query, const struct expr *where, struct str name,
                         struct str le);
/* What one call had to level to make buckets monotonic, by metric name; in the query's arena. */
struct leveled {
    struct leveled *next;
    struct str name;
    int64_t time_min_ms, time_max_ms;
    double bucket_min, bucket_max, diff_max;
    uint64_t *by_step; /* How often. */
};
/* Of `one` only the last three numbers count. */
void leveled_add(struct leveled **all, const struct frame *frame, struct str name, size_t step,
                 struct leveled one);
void leveled_annotate(const struct leveled *all, const struct frame *frame,
                      const struct expr *where);
/* Fills the texts of the result, at most 10 of each kind. */
void annotations_finish(struct query *query);

/* --- plan.c --- */

/* Evaluates duration expressions, resolves start() and end() of modifiers, marks what is the same
 * at every step. */
MUST_CHECK bool plan_tree(struct query *query, struct err *err);
/* Selects the series of all selectors over the times that they need. */
MUST_CHECK bool plan_select(struct query *query, struct storage *storage, struct err *err);
int64_t plan_subquery_step_ms(const struct query *query, const struct expr *subquery);

/* --- value.c --- */

/* One series being built over all steps of a frame. */
struct steps {
    double *values;
    uint64_t *present;
    size_t from, to, count;
    const struct histogram **histograms; /* NULL until one is set. */
    size_t histogram_count;
    uint64_t histogram_samples; /* What they count as. */
    struct arena *arena;
    size_t room;
};

void steps_init(struct steps *steps, const struct frame *frame);
static inline void steps_set(struct steps *steps, size_t step, double value)
{
    if (steps->count == 0)
        steps->from = step, steps->to = step + 1;
    else if (step >= steps->to)
        steps->to = step + 1;
    else if (step < steps->from)
        steps->from = step;
    steps->values[step] = value;
    bitmap_add(steps->present, step);
    steps->count++;
}
/* `histogram` lives in the query's arena. */
void steps_set_histogram(struct steps *steps, size_t step, const struct histogram *histogram);
/* The series' value of that step, a float or a histogram. */
void steps_set_from(struct steps *steps, size_t step, const struct series *series);
void steps_unset(struct steps *steps, size_t step);
static inline uint64_t steps_samples(const struct steps *steps)
{
    return steps->count - steps->histogram_count + steps->histogram_samples;
}
static inline bool steps_has(const struct steps *steps, size_t step)
{
    return bitmap_has(steps->present, step);
}
/* Empty before: all of [from, to) have values. */
void steps_mark_all(struct steps *steps, size_t from, size_t to);
void steps_reset(struct steps *steps); /* Empties it. */
/* Copies what was built into the arena and empties *steps. False when there was nothing. */
bool steps_take(struct steps *steps, const struct frame *frame, struct labels *labels,
                struct series *out);

struct vector vector_new(const struct frame *frame, size_t count_max); /* Empty, with room. */
size_t series_count(const struct series *series);
uint64_t vector_samples(const struct vector *vector); /* A histogram counts as several. */
/* Leaves the floats, and gives what was taken out in *histograms (may be NULL) as series of their
 * own. True when there was any. */
bool vector_split(const struct frame *frame, struct vector *vector, struct vector *histograms);
void series_need_bitmap(const struct frame *frame, struct series *series);
/* Removes the series without values. */
void vector_drop_empty(struct vector *vector);
/* Drops the metric names (and __type__ and __unit__) and merges what has become equal. */
MUST_CHECK bool vector_drop_names(const struct frame *frame, struct vector *vector,
                                  struct err *err);
struct labels *labels_without_name(struct query *query, struct labels *labels);
/* Merges series of equal labels; an error when they meet at a step. */
MUST_CHECK bool vector_merge_same(const struct frame *frame, struct vector *vector,
                                  struct err *err);
/* An error when any two series have equal labels. */
MUST_CHECK bool vector_refuse_same(const struct vector *vector, struct err *err);
/* A stable sort of pointers or indexes. */
typedef bool (*before_fn)(const void *ctx, uint32_t a, uint32_t b);
void sort_stable(uint32_t *items, size_t count, uint32_t *scratch, before_fn before,
                 const void *ctx);

/* Groups series by some of their labels. Ids count up from 0 in order of first appearance. */
struct grouping {
    struct str *names; /* Sorted. */
    size_t name_count;
    bool by; /* By these names; else by all others but the metric name. */
    struct map map;
    VEC(struct labels *) first; /* By id: labels of the first that was seen; borrowed. */
};
void grouping_init(struct grouping *grouping, struct query *query, const struct str *names,
                   size_t name_count, bool by);
void grouping_deinit(struct grouping *grouping);
uint32_t grouping_id(struct grouping *grouping, struct labels *labels);
uint32_t grouping_find(const struct grouping *grouping, const struct labels *labels); /* MAP_NONE */
/* The labels that the grouping keeps; owned by the query. */
struct labels *grouping_labels(const struct grouping *grouping, struct query *query,
                               const struct labels *labels);

/* --- eval.c --- */

MUST_CHECK bool eval_expr(const struct frame *frame, struct expr *expr, struct value *out,
                          struct err *err);
MUST_CHECK bool eval_vector(const struct frame *frame, struct expr *expr, struct vector *out,
                            struct err *err);
MUST_CHECK bool eval_scalar(const struct frame *frame, struct expr *expr, double **out,
                            struct err *err);
double *scalar_new(const struct frame *frame); /* [steps], not set. */

/* --- feed.c: series one after the other, by one thread or by several --- */

/* Evaluates the series [first, end) into out->items[out->count ...], with what it needs from `query`: that is a
 * worker's own when several are at it. */
typedef bool (*feed_part_fn)(void *ctx, struct query *query, size_t first, size_t end,
                             struct vector *out, struct err *err);
struct feed {
    const struct frame *frame;
    feed_part_fn part;
    void *ctx;
    size_t count;                      /* Series. */
    const struct selection *selection; /* Where they come from; NULL: a subquery. */
    bool keeps_labels;     /* Names that are to go may stay: for who groups by others. */
    uint64_t samples_each; /* About how many a series has beside those of the steps themselves. */
};
#define FEED_INTERVAL_MS 15000 /* What samples are guessed to be apart. */
/* All of it as one vector. The same to the last bit however many threads there are. */
MUST_CHECK bool feed_all(struct feed *feed, struct vector *out, struct err *err);
/* Some of it; what is made lives in `scratch` queries until feed_batches_end. */
struct feed_batches;
struct feed_batches *feed_batches_new(struct feed *feed);
MUST_CHECK bool
feed_batches_next(struct feed_batches *batches, struct vector *out, size_t *first,
                  struct err *err); /* Ends with an empty vector and *first == count. */
void feed_batches_free(struct feed_batches *batches);

/* --- eval_selector.c --- */

void selector_feed(const struct frame *frame, struct expr *selector, struct feed *out);

MUST_CHECK bool eval_selector(const struct frame *frame, struct expr *selector, struct vector *out,
                              struct err *err);
/* timestamp() of a bare selector: the times of the samples themselves. */
MUST_CHECK bool eval_selector_times(const struct frame *frame, struct expr *selector,
                                    struct vector *out, struct err *err);
/* Which samples of a series are wanted, and what of them. */
struct run_wants {
    bool stale;      /* Stale markers, too. */
    bool no_buckets; /* Of histograms only count, sum and hint, which is worked out then. */
};
/* The times of the samples of a whole selection, in seconds; names stay. */
MUST_CHECK bool eval_selection_times(const struct frame *frame, const struct selection *selection,
                                     struct vector *out, struct err *err);
/* A cursor for a part of a feed. A worker keeps it from part to part. */
struct cursor *run_cursor(struct query *query, const struct selection *selection);
void run_cursor_done(struct query *query);
void run_cursor_free(struct query *query);
/* Decodes one series into query->run. */
MUST_CHECK bool run_load(struct query *query, struct cursor *cursor, size_t index,
                         struct run_wants wants, struct err *err);
void run_clear(struct query *query);
void run_reserve(struct query *query, size_t more);
void run_add_float(struct query *query, int64_t time_ms,
                   double value); /* Room must have been reserved. */
void run_add_histogram(struct query *query, int64_t time_ms, const struct histogram *histogram);
void run_deinit(struct sample_run *run);
/* run_scan.c: is there a stale marker? The positions of values below the one before, into `marks`. */
bool scan_stale(const double *values, size_t count);
size_t scan_falls(const double *values, size_t count, uint32_t *marks);
/* Remembers the times of a series, for what follows from them alone. */
struct known_times {
    int64_t *items;
    size_t count, capacity;
    bool any;
};
bool known_times_are(const struct known_times *known, const struct sample_run *run);
void known_times_set(struct known_times *known, const struct sample_run *run);
void known_times_deinit(struct known_times *known);

/* --- eval_range.c, eval_subquery.c --- */

MUST_CHECK bool eval_range_call(const struct frame *frame, struct expr *call, struct vector *out,
                                struct err *err);
MUST_CHECK bool range_feed(const struct frame *frame, struct expr *call, struct feed *out,
                           struct err *err);
/* Evaluates a subquery in its own frame, *sub. */
MUST_CHECK bool eval_subquery(const struct frame *frame, struct expr *subquery, struct frame *sub,
                              struct vector *out, uint64_t *samples, struct err *err);
/* A range vector as the result of an instant query. */
MUST_CHECK bool eval_matrix_result(const struct frame *frame, struct expr *matrix, struct err *err);

/* What a range function sees at one step. */
struct window {
    const struct frame *frame;
    const struct expr *call;
    const struct expr *where;    /* Of annotations: the first argument. */
    const struct labels *labels; /* Of the input series. */
    int64_t time_ms;             /* Evaluation time. */
    int64_t start_ms, end_ms;    /* (start, end] of the range, offset applied. */
    int64_t range_ms;
    double args[2]; /* Scalar arguments at this step. */
    const int64_t *times;
    const double *values;
    size_t count;          /* At least 1. */
    const uint32_t *marks; /* Marked positions in (first, last], counted from `mark_base`. */
    size_t mark_count;
    size_t mark_base;
    double *scratch; /* Room for `count` values. */
    const int64_t *histogram_times;
    const struct histogram *const *histograms;
    size_t histogram_count;            /* When not 0, `count` may be 0. */
    const struct histogram *histogram; /* Out: the result when it is one. */
    bool anchored, smoothed;           /* Then the samples reach beyond (start, end]. */
    struct err *err;
    bool failed; /* Set with *err by a function that must end the query. */
};
/* False: no value at this step. */
typedef bool (*window_fn)(struct window *window, double *out);
/* NULL when the function is not one over a range. */
window_fn window_function(enum function_id id);
/* What the function wants marked: decreases (resets), changes, or nothing. */
enum window_marks { MARK_NOTHING, MARK_RESETS, MARK_CHANGES };
enum window_marks window_wants(enum function_id id);

/* The factor by which a difference between the first and the last of `count` samples is
 * extrapolated; `zero_at` is the share of the difference that the first sample is, or negative when
 * that does not matter. */
double window_extrapolation(const struct window *window, const int64_t *times, size_t count,
                            double zero_at, bool is_rate);

/* --- window_lanes.c, window_slide.c: all windows of a series at once --- */

/* Windows over the floats of one series, in the order of the steps. */
struct windows {
    const int64_t *times;
    const double *values;
    size_t sample_count;
    const uint32_t *low, *high; /* [count]: samples [low, high) of each; empty where equal. */
    size_t count;
    uint64_t window_samples; /* In all windows. */
    void *scratch;           /* sample_count + 1 numbers of 8 bytes. */
};
bool lanes_have(enum function_id id);
/* Some windows from `t` on: their values, and which of them are `good`. Returns how many were looked at. */
size_t lanes_run(enum function_id id, const struct windows *windows, size_t t, const double *args,
                 double *out, bool *good);
#define LANES_MAX 8
/* kahan_add of each. */
void lanes_add(double *sum, double *rest, const double *add, size_t count);
/* --- window_rate.c: rate, increase and delta of all windows of a series that has no resets --- */

/* What follows from the times alone, in seconds, for the steps [from, to) that have a value. */
struct rate_places {
    bool usable; /* All steps with two samples follow each other. */
    size_t from, to;
    double *to_start, *to_end, *sampled; /* [steps] */
    double range_seconds;
};
bool rate_has(enum function_id id);
void rate_place(struct rate_places *places, const struct windows *windows,
                const struct frame *frame, const struct modifiers *mod, int64_t range_ms);
void rate_run(enum function_id id, const struct rate_places *places, const struct windows *windows,
              double *out);

/* The values of all windows that are not empty; false when this function has no such way. */
bool windows_slide(enum function_id id, const struct windows *windows, const double *quantiles,
                   double *out);

/* --- fn_range_histogram.c --- */

/* For windows with histograms in them: `floats` is what the function is for floats alone. */
bool histogram_window(struct window *window, enum function_id id, window_fn floats, double *out);
static inline struct str window_name(const struct window *window)
{
    return labels_get(window->labels, LABEL_NAME);
}

/* --- histogram_fold.c: sums and means of histograms --- */

#define MIXED_SCHEMAS                                                                              \
    "vector contains a mix of histograms with exponential and custom buckets schemas for metric "  \
    "name"
#define BOUNDS_RECONCILED "mismatched custom buckets were reconciled during "

/* Adds up in query->sum. */
struct histogram_fold {
    struct query *query;
    double count;
    bool is_mean, incremental;
    bool failed; /* Exponential and custom ones were mixed. */
    bool saw_reset, saw_no_reset, bounds_reconciled;
};
void histogram_fold_init(struct histogram_fold *fold, struct query *query, bool is_mean);
bool histogram_fold_add(struct histogram_fold *fold, const struct histogram *histogram);
const struct histogram *histogram_fold_take(struct histogram_fold *fold, bool keep_empty);
/* Tells of colliding resets and of reconciled bounds. */
void histogram_fold_annotate(const struct histogram_fold *fold, const struct expr *where);

/* --- fn_extended_histogram.c --- */

bool extended_histogram_rate(struct window *window, bool is_counter, bool is_rate);
/* The histogram at a time between two samples; NULL when they do not mix. */
const struct histogram *histogram_between(struct query *query, const struct expr *where,
                                          struct str name, const struct window *window, size_t a,
                                          int64_t at_ms, bool is_counter);

/* --- fn_extended.c: anchored and smoothed --- */

bool extended_rate(struct window *window, bool is_counter, bool is_rate, double *out);
bool extended_marks(struct window *window, double *out);
/* The points of such a range as a result, bounds included: at most two more than samples. */
size_t extended_points(const struct window *window, int64_t *times_out, double *values_out);
/* Why the function cannot take the selector, or NULL. The function's name is to follow. */
const char *extended_refusal(const struct expr *selector, enum function_id id);
/* The same of a series with histograms: sets step t when there is one. */
void smoothed_histogram(const struct frame *frame, const struct expr *selector, struct str name,
                        size_t low, size_t high, int64_t at_ms, size_t t, struct steps *steps);
/* The value of a smoothed instant selector, from the samples [low, high) of the run. */
double smoothed_value(const struct sample_run *run, size_t low, size_t high, int64_t at_ms,
                      bool *found);

/* --- numbers that several share: value_math.c --- */

double quantile_of(double quantile, double *values, size_t count); /* Sorts the values. */
/* Where a quantile in [0, 1] lies among `count` sorted values: between two of them. */
struct quantile_place {
    size_t lower, upper;
    double weight; /* Of the upper. */
};
struct quantile_place quantile_place(double quantile, size_t count);
void doubles_sort(double *items, size_t count); /* Stable; without NaN. */
double max_go(double a, double b);              /* As Go's math.Max: NaN wins. */
double min_go(double a, double b);

/* --- eval_binary.c, eval_match.c, eval_set.c --- */

double binary_value(enum binary_op op, double lhs, double rhs);
/* Comparisons: is it true? Other operators: true, but those on histograms only. */
bool binary_keeps(enum binary_op op, double lhs, double rhs);
/* When at least one side is a histogram; `histogram` NULL: a float. */
struct binary_operand {
    double value;
    const struct histogram *histogram;
};
/* What there is to tell of an operation. The first four: types that do not go together, left and right. */
enum binary_note {
    NOTE_FLOAT_FLOAT,
    NOTE_FLOAT_HISTOGRAM,
    NOTE_HISTOGRAM_FLOAT,
    NOTE_HISTOGRAM_HISTOGRAM,
    NOTE_LAYOUT,
    NOTE_COLLISION,
    NOTE_RECONCILED, /* There is a result, too. */
    NOTE_NONE
};
struct binary_result {
    bool keep;
    enum binary_note note;
    double value;
    const struct histogram *histogram;
};
struct binary_result binary_histograms(const struct frame *frame, const struct expr *binary,
                                       struct binary_operand lhs, struct binary_operand rhs);
/* Can there be no result at all, not even one that a comparison drops? */
bool binary_fails(enum binary_op op, const struct histogram *lhs, const struct histogram *rhs);
/* Of each step Prometheus tells only what came last. */
struct binary_notes {
    uint8_t *by_step; /* One more than an enum binary_note; NULL: none yet. */
};
void binary_notes_add(struct binary_notes *notes, const struct frame *frame, size_t step,
                      enum binary_note note);
void binary_notes_annotate(const struct binary_notes *notes, const struct frame *frame,
                           const struct expr *binary);
bool binary_drops_name(enum binary_op op);
MUST_CHECK bool eval_binary(const struct frame *frame, struct expr *binary, struct value *out,
                            struct err *err);
MUST_CHECK bool eval_match(const struct frame *frame, struct expr *binary, struct vector *lhs,
                           struct vector *rhs, struct vector *out, struct err *err);
MUST_CHECK bool eval_set(const struct frame *frame, struct expr *binary, struct vector *lhs,
                         struct vector *rhs, struct vector *out, struct err *err);
/* Gives each series of both sides the id of its match group. Returns the count of groups. */
size_t match_groups(const struct frame *frame, const struct vector_matching *matching,
                    const struct vector *lhs, const struct vector *rhs, uint32_t **lhs_ids,
                    uint32_t **rhs_ids);

/* --- eval_aggregate.c, eval_choose.c --- */

/* The series of each group as lists: first[id], then next[index]; MAP_NONE ends. */
struct group_lists {
    uint32_t *first, *next;
    uint32_t *id; /* By series. */
    size_t count;
};
void group_lists_init(struct group_lists *lists, const struct frame *frame,
                      const struct vector *vector, struct grouping *grouping);
MUST_CHECK bool eval_aggregate(const struct frame *frame, struct expr *aggregate,
                               struct vector *out, struct err *err);
/* topk, bottomk, limitk, limit_ratio */
MUST_CHECK bool eval_choose(const struct frame *frame, struct expr *aggregate, struct vector *in,
                            const double *param, struct vector *out, struct err *err);
/* eval_topk.c: topk and bottomk of several steps, as bits of `chosen` by series. *done: it was the way to go. */
MUST_CHECK bool eval_topk(const struct frame *frame, enum aggregate_op op, const struct vector *in,
                          const struct group_lists *lists, const double *param, uint64_t **chosen,
                          bool *done, struct err *err);
MUST_CHECK bool eval_count_values(const struct frame *frame, struct expr *aggregate,
                                  struct vector *out, struct err *err);

/* --- eval_call.c and the functions --- */

MUST_CHECK bool eval_call(const struct frame *frame, struct expr *call, struct value *out,
                          struct err *err);
typedef double (*math_fn)(double);
math_fn math_function(enum function_id id); /* NULL when it is not element by element. */
MUST_CHECK bool fn_clamp(const struct frame *frame, struct expr *call, struct vector *out,
                         struct err *err);
MUST_CHECK bool fn_round(const struct frame *frame, struct expr *call, struct vector *out,
                         struct err *err);
MUST_CHECK bool fn_date(const struct frame *frame, struct expr *call, struct vector *out,
                        struct err *err);
MUST_CHECK bool fn_timestamp(const struct frame *frame, struct expr *call, struct vector *out,
                             struct err *err);
MUST_CHECK bool fn_label_replace(const struct frame *frame, struct expr *call, struct vector *out,
                                 struct err *err);
MUST_CHECK bool fn_label_join(const struct frame *frame, struct expr *call, struct vector *out,
                              struct err *err);
MUST_CHECK bool fn_sort(const struct frame *frame, struct expr *call, struct vector *out,
                        struct err *err);
/* One series that has a 1 at the steps where none of `in` has a value. */
void vector_absent(const struct frame *frame, const struct vector *in, struct labels *labels,
                   struct vector *out);
MUST_CHECK bool fn_absent(const struct frame *frame, struct expr *call, struct vector *out,
                          struct err *err);
/* The labels that a selector pins down; for absent and absent_over_time. */
struct labels *absent_labels(struct query *query, const struct expr *argument);
MUST_CHECK bool fn_histogram_quantile(const struct frame *frame, struct expr *call,
                                      struct vector *out, struct err *err);
MUST_CHECK bool fn_histogram_quantiles(const struct frame *frame, struct expr *call,
                                       struct vector *out, struct err *err);
MUST_CHECK bool fn_histogram_fraction(const struct frame *frame, struct expr *call,
                                      struct vector *out, struct err *err);

/* --- fn_info.c --- */

/* What selects the info series; in the arena, but for the regexes: those belong to the call's
 * selector or to the query. */
MUST_CHECK bool info_matchers(struct query *query, const struct expr *call, struct matchers *out,
                              struct err *err);
MUST_CHECK bool fn_info(const struct frame *frame, struct expr *call, struct vector *out,
                        struct err *err);

/* --- fn_native.c: figures of native histograms --- */

/* histogram_count, _sum, _avg, _stddev, _stdvar */
MUST_CHECK bool fn_native(const struct frame *frame, struct expr *call, struct vector *out,
                          struct err *err);
/* Infos are annotated at `where`. */
double native_quantile(struct query *query, const struct expr *where, struct str name,
                       double quantile, const struct histogram *histogram);
double native_fraction(struct query *query, const struct expr *where, struct str name, double lower,
                       double upper, const struct histogram *histogram);

static inline struct expr *call_arg(const struct expr *call, size_t index)
{
    return expr_unwrap(call->as.call.args[index]);
}
static inline struct str call_string(const struct expr *call, size_t index)
{
    return call_arg(call, index)->as.string.value;
}

#endif
