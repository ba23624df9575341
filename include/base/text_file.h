/* text_file: small files that somebody replaces while we run: their bytes, and whether they have changed. */
#ifndef BASE_TEXT_FILE_H
#define BASE_TEXT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* The whole file, up to the buffer's maximum. Does not wait for a pipe. Errors in Go's words: open x: no such file or
 * directory. */
MUST_CHECK bool text_file_read(struct str path, struct buf *out, struct err *err);
/* Written beside and renamed, with mode 0600. */
MUST_CHECK bool text_file_write(struct str path, struct str text, struct err *err);

/* Files as they were when they were looked at. Begin with {0}. */
struct text_file_stamp {
    uint64_t hash;
    bool is_fresh; /* One changed just now: it may do so again within the same time stamp. */
};

void text_file_stamp_add(struct text_file_stamp *stamp, struct str path); /* An empty path: nothing. */
bool text_file_stamp_differs(const struct text_file_stamp *before, const struct text_file_stamp *now);

#endif
