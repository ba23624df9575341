/* file: see file.h. A failed append is cut back, so that what follows starts at a whole record. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

file_fault_fn file_faults;

static int fault(enum file_op op, const char *path, size_t *len)
{
    size_t ignored = 0;
    return file_faults ? file_faults(op, path, len ? len : &ignored) : 0;
}

void file_init(struct file *file)
{
    *file = (struct file){.fd = -1};
}

bool file_open_append(struct file *file, const char *path, struct err *err)
{
    struct stat stat_now;
    int fd = -1, code = fault(FILE_OPEN, path, NULL);
    if (!code) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        code = fd < 0 ? errno : 0;
    }
    if (code || fstat(fd, &stat_now) != 0) {
        code = code ? code : errno;
        if (fd >= 0)
            close(fd);
        return err_errno(err, code, "open %s", path);
    }
    file->fd = fd;
    file->path = str_dup(str_of(path));
    file->len = (uint64_t)stat_now.st_size;
    return true;
}

bool file_append(struct file *file, struct str bytes, struct err *err)
{
    size_t done = 0;
    int code = 0;
    while (done < bytes.len && !code) {
        size_t len = bytes.len - done;
        ssize_t wrote = 0;
        code = fault(FILE_WRITE, file->path, &len);
        if (len)
            wrote = write(file->fd, bytes.ptr + done, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            code = errno;
        else
            done += (size_t)wrote;
    }
    if (!code) {
        file->len += bytes.len;
        return true;
    }
    if (done && ftruncate(file->fd, (off_t)file->len) != 0)
        return err_errno(err, code, "write %s (and it cannot be cut back)", file->path);
    return err_errno(err, code, "write %s", file->path);
}

bool file_sync(struct file *file, struct err *err)
{
    int code = fault(FILE_SYNC, file->path, NULL);
    if (!code && fdatasync(file->fd) != 0)
        code = errno;
    return code ? err_errno(err, code, "fdatasync %s", file->path) : true;
}

void file_close(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    mem_free(file->path);
    file_init(file);
}

int file_open_read(const char *path, struct err *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        err_errno(err, errno, "open %s", path);
        return -1;
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        return fd;
    close(fd);
    err_set(err, ERR_CORRUPT, "open %s: it is not a plain file", path);
    return -1;
}

bool file_read_all(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    for (;;) {
        char *room = buf_reserve(out, 1 << 18);
        ssize_t got = room ? read(fd, room, 1 << 18) : 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int code = got < 0 ? errno : 0;
            close(fd);
            if (code)
                return err_errno(err, code, "read %s", path);
            return out->overflow ? err_set(err, ERR_LIMIT, "read %s: larger than %zu bytes", path,
                                           out->len_max)
                                 : true;
        }
        buf_commit(out, (size_t)got);
    }
}

bool file_truncate(const char *path, uint64_t len, struct err *err)
{
    return truncate(path, (off_t)len) == 0 ? true : err_errno(err, errno, "truncate %s", path);
}

bool file_unlink(const char *path, struct err *err)
{
    int code = fault(FILE_UNLINK, path, NULL);
    if (!code && unlink(path) != 0 && errno != ENOENT)
        code = errno;
    return code ? err_errno(err, code, "unlink %s", path) : true;
}

bool file_rename(const char *from, const char *to, struct err *err)
{
    int code = fault(FILE_RENAME, from, NULL);
    if (!code && rename(from, to) != 0)
        code = errno;
    return code ? err_errno(err, code, "rename %s to %s", from, to) : true;
}

bool file_set_aside(const char *path, const struct err *why, struct err *err)
{
    char aside[4200];
    snprintf(aside, sizeof(aside), "%s.damaged-%" PRId64, path, clock_wall_ms());
    LOG_E("File is damaged and set aside", "file", path, "as", aside, "err", why->text);
    return file_rename(path, aside, err);
}

bool file_mkdirs(const char *path, struct err *err)
{
    char *copy = str_dup(str_of(path));
    bool good = true;
    for (char *at = copy + 1; good; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char saved = *at;
        *at = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            good = err_errno(err, errno, "mkdir %s", copy);
        *at = saved;
        if (saved == '\0')
            break;
    }
    mem_free(copy);
    return good;
}

bool file_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code ? err_errno(err, code, "fsync %s", path) : true;
}

uint64_t file_bytes(const char *path)
{
    struct stat stat_now;
    return stat(path, &stat_now) == 0 ? (uint64_t)stat_now.st_blocks * 512 : 0;
}

bool file_lock(const char *path, int *fd, struct err *err)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0)
        return err_errno(err, errno, "open %s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    int code = errno;
    close(*fd);
    *fd = -1;
    if (code == EWOULDBLOCK)
        return err_set(err, ERR_UNAVAILABLE, "lock %s: another process uses this data directory",
                       path);
    return err_errno(err, code, "lock %s", path);
}
