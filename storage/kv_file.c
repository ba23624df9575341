/* kv_file: what a file of LMDB says of itself, by plain reads: LMDB maps a file and believes its pages. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv.h"
#include "kv_private.h"

/* LMDB maps a file and trusts its meta pages: one that is shorter than they say would end in
 * SIGBUS. Both metas stand in the first two pages: 16 bytes of page head, then magic, version,
 * address, map size, two tables of 48 bytes (the first begins with the page size), last page,
 * transaction id. */
static bool read_metas(int fd, uint64_t *pages, uint32_t *page_bytes)
{
    uint64_t txn_best = 0;
    *page_bytes = 4096;
    *pages = 0;
    for (off_t at = 0; at <= (off_t)*page_bytes; at += *page_bytes) {
        uint8_t head[16 + 136];
        uint32_t magic, page;
        uint64_t last_page, txn;
        if (pread(fd, head, sizeof(head), at) != (ssize_t)sizeof(head))
            return false;
        memcpy(&magic, head + 16, 4);
        memcpy(&page, head + 16 + 24, 4);
        memcpy(&last_page, head + 16 + 120, 8);
        memcpy(&txn, head + 16 + 128, 8);
        if (magic != 0xBEEFC0DE || page < 512 || page > 65536 || (page & (page - 1)) ||
            last_page >= UINT64_MAX / 65536 - 1)
            return false;
        *page_bytes = page;
        if (txn >= txn_best) {
            txn_best = txn;
            *pages = last_page + 1;
        }
    }
    return true;
}

bool kv_file_pages(const char *path, uint64_t *pages, uint32_t *page_bytes, uint64_t *file_len,
                   struct err *err)
{
    struct stat info;
    int fd = file_open_read(path, err);
    *pages = *file_len = *page_bytes = 0;
    if (fd < 0)
        return false;
    bool good = fstat(fd, &info) == 0;
    if (good && info.st_size > 0)
        good = read_metas(fd, pages, page_bytes);
    close(fd);
    if (!good)
        return err_set(err, ERR_CORRUPT, "open %s: not an LMDB file, or its head is damaged", path);
    *file_len = (uint64_t)info.st_size;
    return true;
}

bool kv_file_check(const char *path, const char *const *names, unsigned name_count, struct err *err)
{
    uint64_t pages, file_len;
    uint32_t page_bytes;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return true;
    if (!kv_file_pages(path, &pages, &page_bytes, &file_len, err))
        return false;
    if (file_len / (page_bytes ? page_bytes : 1) < pages)
        return err_set(err, ERR_CORRUPT,
                       "open %s: the file is cut short: %" PRIu64 " of %" PRIu64 " bytes", path,
                       file_len, pages * page_bytes);
    return pages == 0 || kv_check(path, pages, page_bytes, names, name_count, err);
}

/* LMDB maps the lock file and writes to it, and makes it by a cut: on a full disk that write would be a SIGBUS. Any other
 * descriptor of it that is closed takes LMDB's locks away: only before the env is opened. */
bool kv_file_reserve_lock(const char *path, struct err *err)
{
    struct stat info;
    char lock[4096];
    snprintf(lock, sizeof(lock), "%s-lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        return err_errno(err, errno, "open %s", lock);
    int code = fstat(fd, &info) != 0 ? errno : 0;
    if (!code && (uint64_t)info.st_blocks * 512 < KV_LOCK_BYTES)
        code = posix_fallocate(fd, 0, KV_LOCK_BYTES);
    /* One of an earlier build may be there with its first page only, which is the one that is used. */
    if (code == ENOSPC && (uint64_t)info.st_blocks * 512 >= 4096)
        code = 0;
    close(fd);
    return !code || err_errno(err, code, "make room for %s", lock);
}

/* Page head: u64 number, u16 unused, u16 flags, then of overflow pages u32 how many. */
uint32_t kv_page_overflow(const uint8_t head[KV_PAGE_HEAD])
{
    uint16_t flags;
    uint32_t count;
    memcpy(&flags, head + 10, 2);
    memcpy(&count, head + 12, 4);
    return flags & 4 ? count : 0;
}
