/* file: a whole small file into memory, at the start or on reload. Private to redis. */
#ifndef REDIS_FILE_H
#define REDIS_FILE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* At most what the buf may hold. Blocks. */
MUST_CHECK bool file_read_whole(struct str path, struct buf *out, struct err *err);

#endif
