/* failure_log: files that scrape_failure_log_file names, one JSON line for each scrape that brought no answer. Loop
 * thread only.
 *
 * Files are opened anew at each reload, so that they can be rotated. A line is one write to a file opened for
 * appending: small, and not synced; what a full disk refuses is lost. */
#ifndef SCRAPE_FAILURE_LOG_H
#define SCRAPE_FAILURE_LOG_H

#include "base/str.h"
#include "base/vec.h"
#include "config.h"

struct failure_log {
    char *path; /* Owned. */
    int fd;     /* -1: it cannot be opened. */
};

struct failure_logs {
    VEC(struct failure_log) items;
};

/* Those that the configuration names; the others are closed. */
void failure_logs_apply(struct failure_logs *logs, const struct config *config);
void failure_logs_deinit(struct failure_logs *logs);
/* Does nothing when the job has no such file. */
void failure_logs_write(const struct failure_logs *logs, const struct config_scrape *options,
                        const char *target, const char *error);

#endif
