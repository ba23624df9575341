/* status: facts of the server that the API, the metrics and the pages all tell. */
#ifndef API_STATUS_H
#define API_STATUS_H

#include "core.h"

/* The configuration's, else the flags'. 0: for ever. */
int64_t status_retention_ms(const struct api *api);
void status_add_retention(struct buf *out, const struct api *api); /* 15d or 10GiB */

#endif
