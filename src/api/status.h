/* status: facts of the server that the API, the metrics and the pages all tell. */
#ifndef API_STATUS_H
#define API_STATUS_H

#include "core.h"

void status_add_retention(struct buf *out, const struct api *api); /* 15d or 10GiB */

#endif
