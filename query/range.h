/* range: what the files of range vectors share: range_source.c (where samples come from), range_windows.c (one series over
 * all steps), eval_range.c (the call), eval_matrix.c (a range vector as a result). */
#ifndef QUERY_RANGE_H
#define QUERY_RANGE_H

#include "eval.h"

/* Where the samples come from: a selection, or the series of a subquery. */
struct range_source {
    const struct expr *matrix; /* EXPR_MATRIX_SELECTOR or EXPR_SUBQUERY */
    const struct modifiers *mod;
    int64_t range_ms;
    bool anchored, smoothed;
    int64_t before_ms, after_ms; /* How far windows reach beyond the range. */
    size_t count;
    const struct selection *selection;
    struct frame sub;
    struct vector vector;
    uint64_t samples_inside; /* That the subquery has taken. */
};

MUST_CHECK bool source_open(struct range_source *source, const struct frame *frame,
                            struct expr *matrix, struct err *err);
struct labels *source_labels(const struct range_source *source, size_t index);
/* Brings the samples of one series into the run, without stale markers. */
MUST_CHECK bool source_load(const struct range_source *source, struct query *query,
                            struct cursor *cursor, size_t index, struct err *err);

struct range_walk {
    size_t low, high;           /* The window's samples. */
    size_t mark_low, mark_high; /* The marks after the first of them. */
    size_t low_histogram, high_histogram;
};

/* Moves the window to (start, end]. Returns how many of its samples were not in the window before. */
size_t walk_to(struct range_walk *walk, const struct sample_run *run, int64_t start_ms,
               int64_t end_ms);
/* The same for histograms. Returns what those count as that are new to the window. */
uint64_t walk_histograms(struct range_walk *walk, const struct sample_run *run, int64_t start_ms,
                         int64_t end_ms);

/* The windows of all steps over the times of a series. Series of one scrape target have the same times, so they are worked out
 * when those change. */
struct range_places {
    struct known_times known;
    uint32_t *low, *high; /* [steps] */
    uint64_t total, fresh,
        widest; /* Samples in all windows, of those new ones, and in the largest window. */
    struct rate_places rate; /* When the function is one of those. */
};

struct range_eval {
    const struct frame *frame;
    struct range_source *source;
    struct cursor *cursor; /* Of source->selection. */
    enum function_id id;
    window_fn function;
    enum window_marks marks;
    struct window window;
    double *args[2];
    struct str noted; /* The name that note_non_counter saw last; NULL: none yet. */
    uint64_t last_samples; /* In the window of the last step; a histogram counts more. */
    double *scratch;  /* One number for each sample of the series, and one more. */
    size_t scratch_count;
    struct range_places places;
};

void range_eval_init(struct range_eval *eval);
void range_eval_deinit(struct range_eval *eval);
/* The series in the run over all steps. */
MUST_CHECK bool range_eval_series(struct range_eval *eval, struct steps *steps, struct err *err);

#endif
