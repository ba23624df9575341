/* index_segment: see index_segment.h. */
#include "index_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "file.h"

#define MAGIC      UINT32_C(0x5349584e) /* "NXIS" */
#define VERSION    2
#define PARTS      (DISK_INDEX_SECTIONS + 1)
#define HEAD_BYTES (16 + 16 * PARTS + 4)
#define PAGE       4096

struct writing {
    struct file file;
    uint64_t offset[PARTS], len[PARTS];
};

static bool pad(struct file *file, struct err *err)
{
    static const char zeros[PAGE];
    size_t more = (PAGE - file->len % PAGE) % PAGE;
    return more == 0 || file_append(file, str_from(zeros, more), err);
}

static bool write_part(void *ctx, unsigned part, struct str bytes, struct err *err)
{
    struct writing *writing = ctx;
    ENSURE(part < PARTS);
    if (!pad(&writing->file, err))
        return false;
    writing->offset[part] = writing->file.len;
    writing->len[part] = bytes.len;
    return bytes.len == 0 || file_append(&writing->file, bytes, err);
}

static bool write_ids(struct writing *writing, const uint64_t *ids, size_t count, struct err *err)
{
    struct str bytes = str_from((const char *)ids, count * sizeof(ids[0]));
    uint32_t crc = hash_crc32c(0, bytes);
    return write_part(writing, DISK_INDEX_SECTIONS, bytes, err) &&
           file_append(&writing->file, str_from((const char *)&crc, 4), err) &&
           pad(&writing->file, err);
}

/* The head goes to the end: all before it is known then, and the file is only ever appended to. */
static bool write_head(struct writing *writing, uint64_t number, struct err *err)
{
    struct buf head;
    buf_init(&head, HEAD_BYTES);
    write_u32(&head, MAGIC);
    write_u32(&head, VERSION);
    write_u64(&head, number);
    for (unsigned i = 0; i < PARTS; i++) {
        write_u64(&head, writing->offset[i]);
        write_u64(&head, writing->len[i]);
    }
    write_u32(&head, hash_crc32c(0, buf_str(&head)));
    bool good = file_append(&writing->file, buf_str(&head), err);
    buf_deinit(&head);
    return good;
}

char *index_segment_path(const char *partition_path, uint64_t number)
{
    size_t len = strlen(partition_path) + 32;
    char *path = mem_alloc(len);
    struct str stem = str_of(partition_path);
    struct str tail = str_ends(stem, STR(".open.mdb")) ? STR(".open.mdb") : STR(".mdb");
    stem.len -= tail.len;
    snprintf(path, len, STR_FMT ".%" PRIu64 ".idx", STR_ARG(stem), number);
    return path;
}

bool index_segment_write(const char *partition_path, uint64_t number,
                         struct disk_index_writer *writer, const uint64_t *ids, size_t count,
                         struct err *err)
{
    struct writing writing = {0};
    struct err ignored = {0};
    char *path = index_segment_path(partition_path, number);
    char temporary[4096];
    snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    file_init(&writing.file);
    bool good = file_unlink(temporary, err) && file_open_append(&writing.file, temporary, err) &&
                disk_index_writer_finish(writer, write_part, &writing, err) &&
                write_ids(&writing, ids, count, err) && write_head(&writing, number, err) &&
                file_sync(&writing.file, err);
    file_close(&writing.file);
    good = good && file_rename(temporary, path, err);
    if (good) {
        char *slash = strrchr(temporary, '/');
        *slash = '\0';
        good = file_sync_dir(temporary, err);
    } else if (!file_unlink(temporary, &ignored)) {
        err_wrap(err, "%s is left behind", temporary);
    }
    mem_free(path);
    return good;
}

static bool check_parts(struct index_segment *segment, struct reader *in, struct str *sections,
                        struct err *err)
{
    const char *map = segment->map;
    uint64_t body = segment->bytes - HEAD_BYTES;
    for (unsigned i = 0; i < PARTS; i++) {
        uint64_t offset = read_u64(in), len = read_u64(in);
        if (offset > body || len > body - offset)
            return err_set(err, ERR_CORRUPT, "%s: a section is out of bounds", segment->path);
        struct str bytes = str_from(map + offset, len);
        if (i < DISK_INDEX_SECTIONS)
            sections[i] = bytes;
        else
            segment->ids = bytes;
    }
    uint32_t crc;
    if (segment->ids.len + 4 > body ||
        segment->ids.ptr + segment->ids.len + 4 > map + segment->bytes)
        return err_set(err, ERR_CORRUPT, "%s: the ids are out of bounds", segment->path);
    memcpy(&crc, segment->ids.ptr + segment->ids.len, 4);
    if (hash_crc32c(0, segment->ids) != crc)
        return err_set(err, ERR_CORRUPT, "%s: the ids' checksum is wrong", segment->path);
    return true;
}

bool index_segment_open(struct index_segment **out, const char *path, struct err *err)
{
    struct index_segment *segment = MEM_NEW(struct index_segment);
    struct str sections[DISK_INDEX_SECTIONS];
    struct stat info = {0};
    segment->path = str_dup(str_of(path));
    int fd = file_open_read(path, err);
    bool good = fd >= 0;
    if (good && fstat(fd, &info) != 0)
        good = err_errno(err, errno, "open %s", path);
    else if (good && info.st_size < HEAD_BYTES)
        good = err_set(err, ERR_CORRUPT, "%s is cut short", path);
    if (good) {
        segment->bytes = (uint64_t)info.st_size;
        void *map = mmap(NULL, segment->bytes, PROT_READ, MAP_SHARED, fd, 0);
        good = map != MAP_FAILED || err_errno(err, errno, "map %s", path);
        segment->map = map != MAP_FAILED ? map : NULL;
    }
    if (fd >= 0)
        close(fd);
    if (good) {
        struct str head =
            str_from((const char *)segment->map + segment->bytes - HEAD_BYTES, HEAD_BYTES);
        struct reader in = reader_over(head), crc = reader_over(str_after(head, HEAD_BYTES - 4));
        uint32_t magic = read_u32(&in), version = read_u32(&in);
        segment->number = read_u64(&in);
        head.len -= 4;
        if (magic != MAGIC || read_u32(&crc) != hash_crc32c(0, head))
            good = err_set(err, ERR_CORRUPT, "%s: its head is damaged", path);
        else if (version != VERSION)
            good = err_set(err, ERR_UNAVAILABLE, "%s has format version %" PRIu32, path, version);
        else
            good = check_parts(segment, &in, sections, err);
    }
    if (segment->map)
        guard_map_add(&segment->guard, segment->map, segment->bytes);
    good = good && disk_index_open(&segment->index, sections, err);
    if (good && (size_t)disk_index_count(segment->index) * 8 != segment->ids.len)
        good = err_set(err, ERR_CORRUPT, "%s is not whole", path);
    if (!good) {
        index_segment_close(segment);
        return false;
    }
    *out = segment;
    return true;
}

bool index_segment_verify(const struct index_segment *segment, struct err *err)
{
    bool good = disk_index_verify(segment->index, err);
    (void)madvise(segment->map, segment->bytes, MADV_DONTNEED);
    return good || err_wrap(err, "%s", segment->path);
}

bool index_segment_judge(struct index_segment *segment, bool good, struct err *err)
{
    if (good && index_segment_is_damaged(segment))
        good = err_set(err, ERR_CORRUPT, "index: a page of it cannot be read");
    if (good)
        return true;
    if (err->code == ERR_CORRUPT)
        atomic_store_explicit(&segment->guard.damaged, true, memory_order_relaxed);
    return err_wrap(err, "%s", segment->path);
}

bool index_segment_is_damaged(const struct index_segment *segment)
{
    return guard_map_is_damaged(&segment->guard);
}

void index_segment_close(struct index_segment *segment)
{
    if (!segment)
        return;
    disk_index_close(segment->index);
    guard_map_remove(&segment->guard);
    if (segment->map)
        munmap(segment->map, segment->bytes);
    mem_free(segment->path);
    mem_free(segment);
}

uint64_t index_segment_id(const struct index_segment *segment, uint32_t ordinal)
{
    uint64_t id;
    if (((size_t)ordinal + 1) * 8 > segment->ids.len)
        return 0;
    memcpy(&id, segment->ids.ptr + (size_t)ordinal * 8, 8);
    return id;
}
