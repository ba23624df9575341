/* tls_files: see tls_files.h.
 *
 * curl reads the files itself, once per connection, and takes an idle connection again when its file
 * names are the same. So it would go on with what a file said long ago. Names that change with the
 * file keep old and new apart: connections, sessions and parsed authorities that belong to the old
 * content are then not found any more and age out. Why not give curl the bytes: it keeps a copy of
 * them per connection, which for a bundle of authorities and thousands of targets is a gigabyte.
 *
 *   /etc/tls/ca.crt  ->  /etc/tls/ + "./" or ".//" per bit of the state + ca.crt */
#include "tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net_text.h"

#define STATE_BITS 24

static bool look_failed(struct err *err, const char *what, struct str path, const char *verb,
                        const char *why)
{
    return err_set(err, ERR_IO,
                   "unable to read %s: unable to read file " STR_FMT ": %s " STR_FMT ": %s", what,
                   STR_ARG(path), verb, STR_ARG(path), why);
}

bool file_look(struct file_state *out, struct str path, const char *what, struct err *err)
{
    char text[NET_ERRNO_TEXT_MAX];
    struct stat state;

    *out = (struct file_state){0};
    char *name = str_dup(path);
    /* Without waiting: the name may be that of a pipe to which nobody writes. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int saved = errno;
    mem_free(name);
    if (fd < 0)
        return look_failed(err, what, path, "open", net_errno_text(saved, text));
    int failed = fstat(fd, &state);
    (void)close(fd);
    if (failed)
        return look_failed(err, what, path, "read", "it cannot be looked at");
    if (S_ISDIR(state.st_mode))
        return look_failed(err, what, path, "read", "is a directory");
    if (!S_ISREG(state.st_mode))
        return look_failed(err, what, path, "read", "is no plain file");
    uint64_t facts[] = {
        (uint64_t)state.st_dev,          (uint64_t)state.st_ino,
        (uint64_t)state.st_size,         (uint64_t)state.st_mtim.tv_sec,
        (uint64_t)state.st_mtim.tv_nsec, (uint64_t)state.st_ctim.tv_sec,
        (uint64_t)state.st_ctim.tv_nsec,
    };
    out->hash = hash64(str_from((const char *)facts, sizeof(facts)));
    return true;
}

void file_name_add(struct buf *out, struct str path, struct file_state state)
{
    size_t last = path.len;

    while (last > 0 && path.ptr[last - 1] != '/')
        last--;
    buf_add_str(out, str_first(path, last));
    for (unsigned bit = 0; bit < STATE_BITS; bit++)
        buf_add_str(out, (state.hash >> bit) & 1 ? STR(".//") : STR("./"));
    buf_add_str(out, str_after(path, last));
}
