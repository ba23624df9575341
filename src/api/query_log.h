/* query_log: the file that query_log_file names: one JSON line for each query that was run, with the fields of Prometheus 3.14.
 *
 *     query_log_add -> pending --job on a lane--> one write      the next job takes what came meanwhile
 *
 * Loop thread; a disk that hangs holds up one thread of the side lane, and lines beyond PENDING_BYTES_MAX are dropped and
 * counted. The file is opened anew at each reload, so that it can be rotated. */
#ifndef API_QUERY_LOG_H
#define API_QUERY_LOG_H

#include "core.h"
#include "query.h"

struct query_log;

MUST_CHECK bool query_log_open(struct query_log **out, struct str path, struct lane *lane,
                               struct err *err);
/* What is not yet written is written first. NULL is fine. */
void query_log_close(struct query_log *log);

struct query_log_line {
    struct str query;
    int64_t start_ms, end_ms, step_ms;
    const struct query_stats *stats;
    const struct err *err; /* ERR_NONE: there is none. */
    const struct http_request *request;
};
void query_log_add(struct query_log *log, const struct query_log_line *line, uint64_t *failures);

#endif
