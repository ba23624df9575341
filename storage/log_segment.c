/* log_segment: see log_segment.h. */
#include "log_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "log_format.h"

#define WINDOW_MAX ((size_t)LOG_RECORD_MAX + ((size_t)64 << 20))

bool segment_open(struct segment_in *in, const char *path, uint64_t len_max, struct err *err)
{
    struct stat info;
    *in = (struct segment_in){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    buf_init(&in->window, WINDOW_MAX);
    if (in->fd < 0 || fstat(in->fd, &info) != 0)
        return err_errno(err, errno, "read %s", path);
    in->left = (uint64_t)info.st_size < len_max ? (uint64_t)info.st_size : len_max;
    return true;
}

void segment_close(struct segment_in *in)
{
    if (in->fd >= 0)
        close(in->fd);
    buf_deinit(&in->window);
}

bool segment_fill(struct segment_in *in, size_t len, struct err *err)
{
    struct buf *window = &in->window;
    if (in->at > 0)
        memmove(window->ptr, window->ptr + in->at, window->len - in->at);
    window->len -= in->at;
    in->at = 0;
    while (window->len < len && in->left > 0) {
        size_t part = len - window->len;
        part = part < in->left ? part : (size_t)in->left;
        ssize_t got = read(in->fd, buf_reserve(window, part), part);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, errno, "read %s", in->path);
        buf_commit(window, (size_t)got);
        in->left = got == 0 ? 0 : in->left - (uint64_t)got;
    }
    return true;
}

enum record_found record_here(const struct segment_in *in, struct str *payload, uint32_t *crc,
                              size_t *needed)
{
    size_t have = in->window.len - in->at;
    struct reader reader = reader_over(str_from(in->window.ptr + in->at, have));
    *needed = LOG_RECORD_HEAD;
    if (have == 0 && in->left == 0)
        return RECORD_END;
    if (have < LOG_RECORD_HEAD)
        return in->left > 0 ? RECORD_BEYOND : RECORD_BAD;
    uint32_t len = read_u32(&reader);
    *crc = read_u32(&reader);
    if (len == 0 || len > LOG_RECORD_MAX || len > have - LOG_RECORD_HEAD + in->left)
        return RECORD_BAD;
    *needed = LOG_RECORD_HEAD + len;
    if (have < *needed)
        return RECORD_BEYOND;
    *payload = read_bytes(&reader, len);
    return RECORD_FOUND;
}
