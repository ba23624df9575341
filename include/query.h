/* query: PromQL. Parse, check, evaluate, print.
 *
 * Synchronous and thread-agnostic: query_run is called on a query lane; it owns no thread. Everything a query makes
 * lives in its own arena; query_free frees all. Behaviour: Prometheus 3.14 (docs name what is behind a feature). */
#ifndef QUERY_H
#define QUERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/matcher.h"
#include "storage.h"

/* --enable-feature names that change the language; bits of query_options.features. */
enum query_feature {
    QUERY_EXPERIMENTAL_FUNCTIONS = 1 << 0, /* promql-experimental-functions */
    QUERY_FILL_MODIFIERS = 1 << 1,         /* promql-binop-fill-modifiers */
    QUERY_EXTENDED_RANGES = 1 << 2,        /* promql-extended-range-selectors */
    QUERY_DELAYED_NAMES = 1 << 3,          /* promql-delayed-name-removal */
    QUERY_PER_STEP_STATS = 1 << 4,         /* promql-per-step-stats */
};

struct query_options {
    unsigned features;
    int64_t start_ms, end_ms;
    int64_t step_ms;               /* 0: an instant query at start_ms (== end_ms). */
    int64_t lookback_ms;           /* 5 min */
    int64_t default_step_ms;       /* Of subqueries without one: global evaluation_interval. */
    int64_t timeout_ms;            /* From query_run on; 0: none. */
    uint64_t samples_max;          /* Held at once; 50 M. */
    size_t bytes_max;              /* Of the arena; 0: none. */
    const atomic_bool *canceled;   /* Set by any thread: the query ends soon with ERR_CANCELED. May be NULL. */
    /* Runs run(arg, 0 .. count - 1), each once, on the caller's thread and others, and returns when all are done. The
     * result does not depend on it. NULL: one thread. */
    void (*parallel)(void *ctx, unsigned count, void (*run)(void *arg, unsigned index), void *arg);
    void *parallel_ctx;
    unsigned workers_max;       /* The largest `count`. */
    uint64_t parallel_work_min; /* Samples and steps that are worth it; 0: the default. */
};
void query_options_init(struct query_options *options);

enum query_value_type { QUERY_NONE, QUERY_SCALAR, QUERY_VECTOR, QUERY_MATRIX, QUERY_STRING };
const char *query_value_type_text(enum query_value_type type); /* "vector"; "instant vector" in errors is the parser's. */

/* One series of a result. A vector has one point each. */
struct query_series {
    struct labels *labels; /* A reference that the query owns. */
    size_t count;
    int64_t *time_ms; /* In the query's arena. */
    double *value;
    const struct histogram *const *histogram; /* NULL: all floats. Else by point; NULL at a float. */
};

struct query_stats {
    uint64_t samples_total, samples_peak; /* totalQueryableSamples, peakSamples */
    uint64_t samples_read;                /* samplesRead */
    size_t step_count;                    /* With QUERY_PER_STEP_STATS, else 0: */
    uint64_t *step_total, *step_read;     /* by step, in the query's arena */
    int64_t step_start_ms, step_ms;
    double parse_seconds, prepare_seconds, eval_seconds, sort_seconds, queue_seconds;
};

struct query; /* One parsed query and, after query_run, its result. */

/* Parses and type-checks. Error text: 1:5: parse error: unexpected ... */
MUST_CHECK bool query_new(struct query **out, struct str text, const struct query_options *options,
                          struct err *err);
void query_free(struct query *query); /* NULL is fine. */

/* All functions by name, ascending: NULL behind the last. */
const char *query_function_name(size_t index, bool *experimental);

/* What the expression is, before it is run. A range query takes scalars and instant vectors only:
 * query_check_range gives Prometheus' text (invalid expression type "range vector" for range query, must be Scalar or instant Vector). */
enum query_value_type query_type(const struct query *query);
MUST_CHECK bool query_check_range(const struct query *query, struct err *err);

/* About how much it would do, in units of some 10 ns; UINT64_MAX: much, or not known. Does not look at samples. */
uint64_t query_weight(const struct query *query, struct storage *storage);
/* What is left of the time that it may take, before it is run. */
void query_set_timeout(struct query *query, int64_t timeout_ms);

/* Evaluates. On failure: ERR_EXECUTION, ERR_TIMEOUT, ERR_CANCELED, ERR_INTERNAL with Prometheus' texts. */
MUST_CHECK bool query_run(struct query *query, struct storage *storage, struct err *err);

/* The result: valid after a successful query_run until query_free. Range queries: QUERY_MATRIX, sorted by labels.
 * Instant ones: any type. */
struct query_result {
    enum query_value_type type;
    struct query_series *series;
    size_t count;
    double scalar;
    struct str string;
    int64_t time_ms; /* Of scalar and string. */
    struct str *warnings, *infos; /* With the prefixes `PromQL warning: ` / `PromQL info: ` and position suffix. */
    size_t warning_count, info_count;
    struct query_stats stats;
};
const struct query_result *query_result(const struct query *query);

/* The API's answer {"status":"success","data":{...},...}: the whole envelope, at most `limit` series (0: all; adds
 * the truncation warning). stats: NULL or the name of what to include ("true", "all"). */
void query_result_json(const struct query_result *result, size_t limit, bool with_stats, struct buf *out);
/* ,"stats":{...} */
void query_stats_json(const struct query_stats *stats, struct buf *out);

/* --- without running --- */

/* Pretty-printed as Prometheus' format_query: 2 spaces, 100 characters a line. */
MUST_CHECK bool query_format(struct str text, unsigned features, struct buf *out, struct err *err);
/* The AST of /api/v1/parse_query. */
MUST_CHECK bool query_ast_json(struct str text, unsigned features, struct buf *out, struct err *err);
/* A series selector, as in match[]; refuses anything else with the parser's text. Names become __name__ matchers. */
MUST_CHECK bool query_parse_selector(struct str text, struct matchers *out, struct err *err);
/* The series selectors inside an expression; an owned array. */
MUST_CHECK bool query_selectors(struct str text, unsigned features, struct matchers **out, size_t *count,
                                struct err *err);
void query_selectors_free(struct matchers *selectors, size_t count);
/* The expression with each selector's matchers of `name` set to `matcher` (whose pattern compiles), or one added; NULL: they
 * are taken away. Pretty-printed. */
MUST_CHECK bool query_edit_matchers(struct str text, unsigned features, struct str name,
                                    const struct matcher *matcher, struct buf *out, struct err *err);
/* A metric with labels, as rule tests and promtool write it: up{job="x"} */
MUST_CHECK bool query_parse_metric(struct str text, struct labels **out, struct err *err);

#endif
