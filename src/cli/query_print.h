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

#endif
