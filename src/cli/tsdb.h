/* tsdb: what the tsdb commands share. Private to cli. */
#ifndef CLI_TSDB_H
#define CLI_TSDB_H

#include <stdio.h>

#include "base/buf.h"
#include "model/matcher.h"
#include "storage.h"

/* The store of a data directory. All of it when no server has it: that is a start and a stop of a server, the log
 * included. Else, or when `days_only`, the published days; a line on stderr says so. Close with storage_close. */
MUST_CHECK bool tsdb_open(struct storage **out, struct str path, bool days_only, struct err *err);
void tsdb_add_duration(struct buf *out, int64_t ms); /* As Go: 2h0m0s, 15.001s. */
void tsdb_add_time(struct buf *out, int64_t time_ms, bool for_people);
void tsdb_add_bytes(struct buf *out, uint64_t bytes, bool for_people);
/* `rows` of text, cells parted by tabs, in columns as wide as they need to be. */
void tsdb_print_table(FILE *to, struct str rows);
int tsdb_fail(const struct err *err); /* Prints it; 1. */
int tsdb_usage(const char *what);     /* 2 */

#endif
