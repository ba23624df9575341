/* file: the system calls of the store's own files, behind one seam so that tests can break them.
 *
 * Any thread. `file_faults`, when set by a test, is asked before each operation and may make it
 * fail or stop short. */
#ifndef STORAGE_FILE_H
#define STORAGE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum file_op { FILE_OPEN, FILE_WRITE, FILE_SYNC, FILE_UNLINK, FILE_RENAME };

/* Returns 0 to go on, else an errno. For FILE_WRITE it may shorten *len (a torn write). */
typedef int (*file_fault_fn)(enum file_op op, const char *path, size_t *len);
extern file_fault_fn file_faults; /* Tests only; set before threads start. */

struct file {
    int fd; /* -1 when closed. */
    char *path;
    uint64_t len; /* Where the next append goes. */
};

void file_init(struct file *file);
MUST_CHECK bool file_open_append(struct file *file, const char *path,
                                 struct err *err); /* Created when missing. */
MUST_CHECK bool file_append(struct file *file, struct str bytes,
                            struct err *err);                  /* All, or cut back to before. */
MUST_CHECK bool file_sync(struct file *file, struct err *err); /* fdatasync */
void file_close(struct file *file);

/* To read; what is no plain file is an error (ERR_CORRUPT), and a pipe does not block. -1 with err. */
int file_open_read(const char *path, struct err *err);
MUST_CHECK bool file_read_all(const char *path, struct buf *out, struct err *err);
MUST_CHECK bool file_truncate(const char *path, uint64_t len, struct err *err);
MUST_CHECK bool file_unlink(const char *path, struct err *err);
MUST_CHECK bool file_rename(const char *from, const char *to, struct err *err);
/* A damaged file goes to <path>.damaged-<ms>: the rest serves. */
MUST_CHECK bool file_set_aside(const char *path, const struct err *why, struct err *err);
MUST_CHECK bool file_mkdirs(const char *path, struct err *err);
MUST_CHECK bool file_sync_dir(const char *path, struct err *err);
uint64_t file_bytes(const char *path); /* Disk blocks in use; 0 when missing. */

/* flock on path/lock; the returned fd is closed to give it back. */
MUST_CHECK bool file_lock(const char *path, int *fd, struct err *err);

#endif
