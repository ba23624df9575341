/* promqltest_runner: what the parts of promqltest share: where a file is being read, and what its lines say. Private. */
#ifndef CLI_PROMQLTEST_RUNNER_H
#define CLI_PROMQLTEST_RUNNER_H

#include "base/arena.h"
#include "base/list.h"
#include "base/regex.h"
#include "base/vec.h"
#include "model/batch.h"
#include "promqltest.h"
#include "storage.h"

struct runner;

struct point {
    bool is_there;
    double value;
    const struct histogram *histogram; /* In the runner's arena. */
    bool has_hint;                     /* Was the hint written? Then it is compared, too. */
};

struct expected {
    struct labels *labels;
    VEC(struct point) points;
};

/* A real store, in a directory of its own. Samples are seen after the commit. */
struct test_store {
    char dir[256];
    struct storage *storage;
    struct storage_group *group;
    struct list jobs;
    struct batch batch;
    VEC(series_ref) refs; /* Pinned until the commit. */
};
MUST_CHECK bool test_store_open(struct test_store *store, struct err *err);
void test_store_close(struct test_store *store); /* Removes the directory. */
MUST_CHECK bool test_store_add(struct test_store *store, const struct labels *labels,
                               int64_t time_ms, double value, const struct histogram *histogram,
                               struct err *err);
MUST_CHECK bool test_store_commit(struct test_store *store, struct err *err);

enum expectation_kind {
    EXPECT_FAIL,
    EXPECT_WARN,
    EXPECT_INFO,
    EXPECT_NO_WARN,
    EXPECT_NO_INFO,
    EXPECT_ORDERED
};

struct expectation {
    enum expectation_kind kind;
    struct str msg;      /* NULL: none. */
    struct regex *regex; /* NULL: none. */
};

/* An eval and what is expected of it. */
struct command {
    size_t line;
    struct str expr;
    bool is_range;
    int64_t from_ms, to_ms, step_ms;
    VEC(struct expectation) expectations;
    VEC(struct expected) series;
    bool has_scalar;
    double scalar;
    bool has_string;
    struct str string; /* In the runner's arena. */
    bool is_matrix;
    int64_t matrix_from_ms, matrix_step_ms;
};
MUST_CHECK bool command_parse_eval(struct runner *runner, struct str word, struct str rest,
                                   struct command *command, struct err *err);
void command_free(struct command *command);

struct runner {
    const char *name;
    struct str rest;
    size_t line;
    struct test_store store;
    const struct promqltest_options *options;
    struct promqltest_result *result;
    struct arena arena;
    bool start_loaded; /* Start timestamps, since the last clear. */
};

bool runner_line(struct runner *runner, struct str *line);
bool runner_block_line(struct runner *runner, struct str *line);
struct str runner_word(struct str *rest);
bool runner_malformed(const struct runner *runner, struct err *err, const char *what);
bool runner_time(const struct runner *runner, const char *what, struct str text, int64_t *out,
                 struct err *err);
bool runner_number(struct str text, double *out);
bool runner_series(struct runner *runner, struct str line, struct expected *out, struct err *err);
size_t series_metric_end(struct str line);
void series_expected_free(struct expected *expected);
const struct histogram_span *series_one_span(struct runner *runner, int32_t offset, uint32_t length,
                                             uint32_t *count);
bool runner_load(struct runner *runner, struct str rest, bool with_nhcb, struct err *err);

#endif
