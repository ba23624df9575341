/* query_print: answers of the HTTP API as text. Private. */
#ifndef CLI_QUERY_PRINT_H
#define CLI_QUERY_PRINT_H

#include "base/buf.h"
#include "base/json.h"

void query_print(struct buf *out, const struct json *data); /* Of query and query_range. */
/* Of series and label values: one a line. */
void query_print_list(struct buf *out, const struct json *data);
/* The value of a key (as it stands: "data":) as it came. */
void query_print_json(struct buf *out, struct str body, struct str key);

void query_print_metric(struct buf *out, const struct json *metric);

/* --- query_cmd.c --- */

void query_form_add(struct buf *form, const char *name, struct str value);
void query_form_add_time(struct buf *form, const char *name, int64_t time_ms);
/* As Go's time.ParseDuration, to the millisecond. */
MUST_CHECK bool query_duration_parse(struct str text, int64_t *out_ms, struct err *err);
/* POSTs the form; *out is a good answer, the caller's to free. */
MUST_CHECK bool query_ask(struct str server, const char *path, struct str form, struct json **out,
                          struct err *err);

#endif
