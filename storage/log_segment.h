/* log_segment: a file of the log, read piece by piece: a window that moves over it, as large as is asked for or as its
 * longest record. What it says is suspect. */
#ifndef STORAGE_LOG_SEGMENT_H
#define STORAGE_LOG_SEGMENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct segment_in {
    const char *path;
    int fd;
    uint64_t left;     /* Of what is to be read of the file. */
    uint64_t good_len; /* What whole records were before `at`, from the file's begin. */
    struct buf window;
    size_t at;
};

/* At most len_max bytes of it. segment_close in any case. */
MUST_CHECK bool segment_open(struct segment_in *in, const char *path, uint64_t len_max,
                             struct err *err);
void segment_close(struct segment_in *in);
/* What has been used goes, and the window is filled up to `len` bytes. */
MUST_CHECK bool segment_fill(struct segment_in *in, size_t len, struct err *err);

enum record_found { RECORD_FOUND, RECORD_END, RECORD_BAD, RECORD_BEYOND };
/* The record at in->at, or how many bytes the window needs for it. */
enum record_found record_here(const struct segment_in *in, struct str *payload, uint32_t *crc,
                              size_t *needed);

#endif
