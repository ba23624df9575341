/* day_build_scratch: files without a name. The name is taken away as soon as the file is open: whatever happens to the
 * process, nothing is left behind (but when it dies between the two calls: day_build_run removes such files). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "day_build_private.h"

#define PENDING_BYTES 16384

void day_scratch_init(struct day_scratch *scratch)
{
    *scratch = (struct day_scratch){.read_fd = -1};
    file_init(&scratch->file);
    buf_init(&scratch->pending, (size_t)1 << 31);
}

bool day_scratch_open(struct day_scratch *scratch, const char *stem, uint32_t number,
                      struct err *err)
{
    struct err ignored = {0};
    char path[4200];
    int len = snprintf(path, sizeof(path), "%s.%u.scratch", stem, number);
    if (len < 0 || (size_t)len >= sizeof(path))
        return err_set(err, ERR_LIMIT, "%s: the path is too long", stem);
    if (!file_unlink(path, err) || !file_open_append(&scratch->file, path, err))
        return false;
    scratch->read_fd = open(path, O_RDONLY | O_CLOEXEC);
    int code = scratch->read_fd < 0 ? errno : 0;
    if (!file_unlink(path, code ? &ignored : err))
        return code ? err_errno(err, code, "open %s", path) : false;
    return code == 0 || err_errno(err, code, "open %s", path);
}

void day_scratch_close(struct day_scratch *scratch)
{
    if (scratch->read_fd >= 0)
        close(scratch->read_fd);
    scratch->read_fd = -1;
    file_close(&scratch->file);
    buf_deinit(&scratch->pending);
}

uint64_t day_scratch_len(const struct day_scratch *scratch)
{
    return scratch->file.len + scratch->pending.len;
}

static bool flush(struct day_scratch *scratch, struct err *err)
{
    if (scratch->pending.len > 0 && !file_append(&scratch->file, buf_str(&scratch->pending), err))
        return false;
    buf_clear(&scratch->pending);
    return true;
}

bool day_scratch_add(struct day_scratch *scratch, struct str bytes, struct err *err)
{
    buf_add_str(&scratch->pending, bytes);
    return scratch->pending.len < PENDING_BYTES || flush(scratch, err);
}

bool day_scratch_read(struct day_scratch *scratch, uint64_t offset, char *out, size_t len,
                      struct err *err)
{
    ENSURE(offset <= day_scratch_len(scratch) && len <= day_scratch_len(scratch) - offset);
    if (offset + len > scratch->file.len && !flush(scratch, err))
        return false;
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(scratch->read_fd, out + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_errno(err, got < 0 ? errno : EIO, "read %s", scratch->file.path);
        done += (size_t)got;
    }
    return true;
}
