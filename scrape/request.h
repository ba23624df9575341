/* request: what we send to a target, and whether what it says of its answer suits us. Pure but for
 * credential files. */
#ifndef SCRAPE_REQUEST_H
#define SCRAPE_REQUEST_H

#include "base/arena.h"
#include "base/err.h"
#include "config.h"
#include "net/http_client.h"
#include "parse_text.h"

/* Fills URL-independent parts of *out; texts live in the arena. `lines` are request_lines'. Reads
 * credential files. */
MUST_CHECK bool request_build(struct http_fetch_options *out, const struct config_scrape *options,
                              struct str lines, int64_t timeout_ms, struct arena *arena,
                              struct err *err);
/* The fields that are the same for all targets of a job, one a line: made once. */
char *request_lines(const struct config_scrape *options, struct str user_agent);
/* Status and Content-Type as Prometheus judges them; *format is what the body is to be read as. */
MUST_CHECK bool request_check_head(const struct http_fetch_head *head, struct str fallback_protocol,
                                   enum text_format *format, struct err *err);

#endif
