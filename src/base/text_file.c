/* text_file: see text_file.h. */
#include "base/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define FRESH_MS 2000

static bool fail(struct err *err, int errno_value, const char *verb, const char *name)
{
    err_errno(err, errno_value, "%s %s", verb, name);
    size_t at = strlen(verb) + strlen(name) + 3;
    if (at < strlen(err->text) && err->text[at] >= 'A' && err->text[at] <= 'Z')
        err->text[at] = (char)(err->text[at] | 0x20);
    return false;
}

static bool read_fd(int fd, const char *name, struct buf *out, struct err *err)
{
    char chunk[8192];
    for (;;) {
        ssize_t len = read(fd, chunk, sizeof(chunk));
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return fail(err, errno, "read", name);
        if (len == 0)
            return true;
        buf_add(out, chunk, (size_t)len);
        if (out->overflow)
            return err_set(err, ERR_LIMIT, "read %s: file is too large", name);
    }
}

bool text_file_read(struct str path, struct buf *out, struct err *err)
{
    char *name = str_dup(path);
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool good = fd >= 0 ? read_fd(fd, name, out, err) : fail(err, errno, "open", name);
    if (fd >= 0)
        (void)close(fd);
    mem_free(name);
    return good;
}

static bool write_fd(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t len = write(fd, text.ptr, text.len);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return false;
        text = str_after(text, (size_t)len);
    }
    return fsync(fd) == 0;
}

bool text_file_write(struct str path, struct str text, struct err *err)
{
    struct buf names;
    buf_init(&names, 8192);
    buf_addf(&names, STR_FMT ".new", STR_ARG(path));
    char *beside = str_dup(buf_str(&names)), *name = str_dup(path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write_fd(fd, text);
    if (fd >= 0 && close(fd) != 0)
        good = false;
    good = good && rename(beside, name) == 0;
    if (!good)
        fail(err, errno, "write", name);
    buf_deinit(&names);
    mem_free(beside);
    mem_free(name);
    return good;
}

void text_file_stamp_add(struct text_file_stamp *stamp, struct str path)
{
    struct stat state = {0};
    if (path.len == 0)
        return;
    char *name = str_dup(path);
    int failed = stat(name, &state);
    mem_free(name);
    uint64_t facts[] = {
        failed ? 1 : 0,
        (uint64_t)state.st_dev,
        (uint64_t)state.st_ino,
        (uint64_t)state.st_size,
        (uint64_t)state.st_mtim.tv_sec,
        (uint64_t)state.st_mtim.tv_nsec,
        (uint64_t)state.st_ctim.tv_sec,
        (uint64_t)state.st_ctim.tv_nsec,
    };
    int64_t age_ms = clock_wall_ms() - (int64_t)state.st_ctim.tv_sec * 1000;
    stamp->hash = hash64_mix(stamp->hash, hash64(str_from((const char *)facts, sizeof(facts))));
    stamp->is_fresh = stamp->is_fresh || (!failed && age_ms < FRESH_MS);
}

bool text_file_stamp_differs(const struct text_file_stamp *before,
                             const struct text_file_stamp *now)
{
    return before->hash != now->hash || before->is_fresh;
}
