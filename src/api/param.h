/* param: parameters of API calls, with Prometheus' error texts. */
#ifndef API_PARAM_H
#define API_PARAM_H

#include "base/arena.h"
#include "core.h"
#include "model/matcher.h"

/* What stands for "no bound": far enough away, and safe to add to. */
#define PARAM_TIME_MIN (-(INT64_C(1) << 61))
#define PARAM_TIME_MAX (INT64_C(1) << 61)

struct str param_get(const struct call *call, const char *name);
/* Prefixes `invalid parameter "name": `. Returns false. */
bool param_wrap(struct err *err, const char *name);
/* 0 when absent, which means no limit. */
MUST_CHECK bool param_limit(const struct call *call, size_t *out, struct err *err);
/* As Go's strconv.Atoi; the text is the caller's to wrap. */
MUST_CHECK bool param_int(struct str text, int64_t *out, struct err *err);
/* As Go's strconv.ParseInt(text, 10, 32). */
MUST_CHECK bool param_int32(struct str text, int64_t *out, struct err *err);
/* A required time: the parser's own text for an empty one. */
MUST_CHECK bool param_time(const struct call *call, const char *name, int64_t *out_ms,
                           struct err *err);
/* An optional time: `invalid parameter "time": invalid time value for 'time': ...` */
MUST_CHECK bool param_time_or(const struct call *call, const char *name, int64_t absent_ms,
                              int64_t *out_ms, struct err *err);
MUST_CHECK bool param_duration(const struct call *call, const char *name, int64_t *out_ms,
                               struct err *err);

/* All match[] of a call as sets of matchers. Compiles regexes: for the lane. The array is in the
 * arena; deinit the sets. */
struct param_sets {
    struct matchers *items;
    size_t count;
};
/* `must_select`: each set needs a matcher that does not match the empty value. */
MUST_CHECK bool param_sets_parse(const struct http_params *params, bool must_select,
                                 struct arena *arena, struct param_sets *out, struct err *err);
void param_sets_deinit(struct param_sets *sets);
size_t param_count(const struct http_params *params, struct str name);

#endif
