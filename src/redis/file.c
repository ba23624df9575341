/* file: see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

#define BLOCK_BYTES 65536

bool file_read_whole(struct str path, struct buf *out, struct err *err)
{
    char *name = str_dup(path);
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len = -1;
    mem_free(name);
    if (fd < 0)
        return err_errno(err, errno, "open " STR_FMT, STR_ARG(path));
    do {
        char *room = buf_reserve(out, BLOCK_BYTES);
        if (!room)
            break;
        len = read(fd, room, BLOCK_BYTES);
        if (len > 0)
            buf_commit(out, (size_t)len);
    } while (len > 0);
    int failure = errno;
    close(fd);
    if (out->overflow)
        return err_set(err, ERR_LIMIT, "read " STR_FMT ": the file is too large", STR_ARG(path));
    return len == 0 || err_errno(err, failure, "read " STR_FMT, STR_ARG(path));
}
