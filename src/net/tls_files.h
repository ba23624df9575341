/* tls_files: certificates and keys in files that somebody replaces while we run. */
#ifndef NET_TLS_FILES_H
#define NET_TLS_FILES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* What a file was when it was looked at: device, inode, size, times. */
struct file_state {
    uint64_t hash;
};

/* A readable plain file, or an error: unable to read CA cert: unable to read file x: open x: ... */
MUST_CHECK bool file_look(struct file_state *out, struct str path, const char *what,
                          struct err *err);
/* Another name of the same file, that is different for each state: dir/././/.//file. */
void file_name_add(struct buf *out, struct str path, struct file_state state);

#endif
