/* json_lines: files of one JSON object a line, as Prometheus' query log and log of failed scrapes: opened for appending, so
 * that a line is one write and a file can be rotated under it. */
#ifndef BASE_JSON_LINES_H
#define BASE_JSON_LINES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* can't create json log file: open /x/y: no such file or directory */
MUST_CHECK bool json_lines_open(const char *path, int *fd, struct err *err);
/* {"time":"...","level":"INFO","source":"...": what follows begins with a comma, the line ends with "}\n". */
void json_line_begin(struct buf *out, const char *level, const char *source);
/* ,"name":"value" */
void json_line_add(struct buf *out, const char *name, struct str value);
/* 2026-11-22T10:00:00.000Z */
void buf_add_utc_ms(struct buf *out, int64_t time_ms);

#endif
