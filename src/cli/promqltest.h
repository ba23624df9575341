/* promqltest: runs test files in the language of Prometheus' promqltest.
 *
 *     load 15s
 *       up{job="a"} 1 1 _ 0+1x10 stale
 *     eval instant at 1m sum(up)
 *       {} 1
 *     eval range from 0 to 1m step 15s up
 *       up{job="a"} 1 1 _ 0 1
 *     eval_fail instant at 0 bad(          eval_ordered ...   eval_warn ...   eval_info ...
 *     eval instant at 0 "x"
 *       expect string "x"       also: expect fail|warn|info [msg:TEXT | regex:RE], no_warn,
 * no_info, ordered clear
 *
 * An instant query is run a second time as a range query around its time and must give the same
 * there.
 *
 * Histograms:  {{schema:1 count:5 sum:3.5 buckets:[1 2 2]}}x3   {{..}}+{{..}}x5   {{..}}-{{..}}x5
 * with the keys schema sum count z_bucket z_bucket_w buckets offset n_buckets n_offset
 * custom_values counter_reset_hint. load_with_nhcb makes histograms with custom buckets of classic
 * ones, too. */
#ifndef CLI_PROMQLTEST_H
#define CLI_PROMQLTEST_H

#include "base/err.h"
#include "base/str.h"
#include "query.h"

struct promqltest_result {
    size_t evals, failures, skipped;
};

struct promqltest_options {
    unsigned features;
    bool verbose;    /* Prints what was expected and found for each failure. */
    bool skip_start; /* Failures after a load with start timestamps are only counted as skipped. */
};

/* False when the file is not well-formed or there is no room for a store; failed evals are counted and printed, with `name`
 * and line. */
MUST_CHECK bool promqltest_run(const char *name, struct str text,
                               const struct promqltest_options *options,
                               struct promqltest_result *result, struct err *err);

#endif
