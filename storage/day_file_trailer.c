/* day_file_trailer: what stands behind the last page and vouches for the tree.
 *
 * LMDB believes its pages: a flipped bit in one may send it anywhere. So all pages but those of large values, which have
 * checksums of their own, are read and checked before LMDB sees the file. They are few, and the trailer tells where
 * they are. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/vec.h"
#include "day_file_format.h"
#include "file.h"
#include "kv.h"

#define MAGIC      UINT64_C(0x444e45594144584e) /* "NXDAYEND" */
#define TAIL_BYTES 36
#define READ_BYTES 65536
#define RUNS_MAX   ((size_t)64 << 20)

struct page_run {
    uint64_t first, count;
};
struct page_runs {
    struct page_run *items;
    size_t count, capacity;
};

static bool read_at(int fd, void *out, size_t len, uint64_t at)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(fd, (char *)out + done, len - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool find_tree(int fd, uint64_t pages, uint32_t page_bytes, struct page_runs *runs)
{
    for (uint64_t page = 0; page < pages;) {
        uint8_t head[KV_PAGE_HEAD];
        if (!read_at(fd, head, sizeof(head), page * page_bytes))
            return false;
        uint32_t overflow = kv_page_overflow(head);
        if (overflow > 0) {
            page += overflow;
            continue;
        }
        struct page_run *last = runs->count ? &runs->items[runs->count - 1] : NULL;
        if (last && last->first + last->count == page)
            last->count++;
        else
            VEC_PUSH(runs, ((struct page_run){page, 1}));
        page++;
    }
    return true;
}

static bool checksum(int fd, const struct page_runs *runs, uint32_t page_bytes, uint32_t *crc)
{
    char *room = mem_alloc(READ_BYTES);
    bool good = true;
    *crc = 0;
    for (size_t i = 0; i < runs->count && good; i++) {
        uint64_t at = runs->items[i].first * page_bytes, left = runs->items[i].count * page_bytes;
        while (left > 0 && good) {
            size_t len = left < READ_BYTES ? (size_t)left : READ_BYTES;
            good = read_at(fd, room, len, at);
            *crc = hash_crc32c(*crc, str_from(room, len));
            at += len;
            left -= len;
        }
    }
    mem_free(room);
    return good;
}

static void write_trailer(struct buf *out, const struct page_runs *runs, uint64_t pages,
                          uint32_t page_bytes, uint32_t crc)
{
    uint64_t page = 0;
    for (size_t i = 0; i < runs->count; i++) {
        write_varint(out, runs->items[i].first - page);
        write_varint(out, runs->items[i].count);
        page = runs->items[i].first + runs->items[i].count;
    }
    uint32_t runs_len = (uint32_t)out->len;
    write_u64(out, MAGIC);
    write_u32(out, DAY_VERSION);
    write_u32(out, page_bytes);
    write_u64(out, pages);
    write_u32(out, runs_len);
    write_u32(out, crc);
    write_u32(out, hash_crc32c(0, buf_str(out)));
}

bool day_trailer_append(const char *path, struct err *err)
{
    struct page_runs runs = {0};
    struct file file;
    struct buf trailer;
    uint64_t pages, file_len;
    uint32_t page_bytes, crc = 0;
    file_init(&file);
    buf_init(&trailer, RUNS_MAX);
    bool good = kv_file_pages(path, &pages, &page_bytes, &file_len, err) &&
                (file_len == pages * page_bytes || file_truncate(path, pages * page_bytes, err));
    int fd = good ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (good && (fd < 0 || !find_tree(fd, pages, page_bytes, &runs) ||
                 !checksum(fd, &runs, page_bytes, &crc)))
        good = err_errno(err, errno ? errno : EIO, "read %s", path);
    if (good) {
        write_trailer(&trailer, &runs, pages, page_bytes, crc);
        good = !trailer.overflow || err_set(err, ERR_LIMIT, "%s: too many pages", path);
    }
    good = good && file_open_append(&file, path, err) &&
           file_append(&file, buf_str(&trailer), err) && file_sync(&file, err);
    file_close(&file);
    if (fd >= 0)
        close(fd);
    buf_deinit(&trailer);
    VEC_FREE(&runs);
    return good;
}

/* The runs must be ascending, within the file, and begin with LMDB's two heads. */
static bool read_runs(struct str bytes, uint64_t pages, struct page_runs *runs)
{
    struct reader in = reader_over(bytes);
    uint64_t page = 0;
    while (in.at < in.end) {
        uint64_t skip = read_varint(&in), count = read_varint(&in);
        if (in.bad || count == 0 || skip > pages - page || count > pages - page - skip)
            return false;
        VEC_PUSH(runs, ((struct page_run){page + skip, count}));
        page += skip + count;
    }
    return runs->count > 0 && runs->items[0].first == 0 && runs->items[0].count >= 2;
}

static bool read_tail(int fd, uint64_t len, struct day_trailer *out, struct buf *bytes,
                      uint32_t *crc_tree, const char *path, struct err *err)
{
    char tail[TAIL_BYTES];
    if (len < TAIL_BYTES || !read_at(fd, tail, TAIL_BYTES, len - TAIL_BYTES))
        return err_set(err, ERR_CORRUPT, "open %s: it is cut short", path);
    struct reader in = reader_over(str_from(tail, TAIL_BYTES));
    uint64_t magic = read_u64(&in);
    uint32_t version = read_u32(&in);
    out->page_bytes = read_u32(&in);
    out->pages = read_u64(&in);
    uint32_t runs_len = read_u32(&in), crc = 0;
    *crc_tree = read_u32(&in);
    uint32_t crc_trailer = read_u32(&in);
    if (magic != MAGIC || runs_len > len - TAIL_BYTES || runs_len > RUNS_MAX)
        return err_set(err, ERR_CORRUPT, "open %s: it has no whole trailer", path);
    char *room = buf_reserve(bytes, runs_len + TAIL_BYTES);
    if (!room || !read_at(fd, room, runs_len + TAIL_BYTES, len - TAIL_BYTES - runs_len))
        return err_set(err, ERR_CORRUPT, "open %s: its trailer cannot be read", path);
    buf_commit(bytes, runs_len);
    crc = hash_crc32c(0, str_from(room, runs_len + TAIL_BYTES - 4));
    if (crc != crc_trailer)
        return err_set(err, ERR_CORRUPT, "open %s: its trailer's checksum is wrong", path);
    if (version != DAY_VERSION)
        return err_set(err, ERR_UNAVAILABLE, "%s has format version %" PRIu32, path, version);
    if (out->page_bytes < 512 || out->page_bytes > 65536 || out->pages > len / out->page_bytes ||
        out->pages * out->page_bytes + runs_len + TAIL_BYTES != len)
        return err_set(err, ERR_CORRUPT, "open %s: its length is wrong", path);
    return true;
}

bool day_trailer_check(const char *path, struct day_trailer *out, uint64_t *file_len,
                       struct err *err)
{
    struct page_runs runs = {0};
    struct buf bytes;
    struct stat info;
    uint32_t crc_tree = 0, crc = 0;
    int fd = file_open_read(path, err);
    if (fd < 0)
        return false;
    buf_init(&bytes, RUNS_MAX + TAIL_BYTES);
    bool good = fstat(fd, &info) == 0 || err_errno(err, errno, "open %s", path);
    if (good) {
        *file_len = (uint64_t)info.st_size;
        good = read_tail(fd, *file_len, out, &bytes, &crc_tree, path, err);
    }
    if (good && (!read_runs(buf_str(&bytes), out->pages, &runs) ||
                 !checksum(fd, &runs, out->page_bytes, &crc) || crc != crc_tree))
        good = err_set(err, ERR_CORRUPT, "open %s: its tree's checksum is wrong", path);
    close(fd);
    buf_deinit(&bytes);
    VEC_FREE(&runs);
    return good;
}
