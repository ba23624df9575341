/* day_build_write: entries to packs, packs to the file.
 *
 * LMDB gives a large value whole pages, with a head of 16 bytes in the first. A pack is therefore cut after the entry
 * that leaves the least of its last page empty: entries are gathered until there are 64 KiB of them, then the best place from
 * 16 KiB on is taken and the rest waits for the next pack. Of large entries (a day of full floats is 38 KB) 64 KiB hold too
 * few for a good place: up to sixteen of them are gathered, 640 KiB at most. */
#include <string.h>

#include "base/hash.h"
#include "day_build_private.h"

#define PAGE          4096u
#define PAGE_HEAD     16u
#define PACK_MIN      (4 * PAGE - PAGE_HEAD)
#define PACK_MAX      (16 * PAGE - PAGE_HEAD)
#define PACK_FEW      16
#define PACK_FEW_MAX  (160 * PAGE - PAGE_HEAD)
#define PACK_FEW_GAIN 0.001 /* What a longer one must save of its bytes. */
#define TXN_BYTES_MAX ((size_t)16 << 20)
#define MAP_LEAST     ((uint64_t)64 << 20)

static void packer_init(struct day_packer *packer, unsigned table, uint32_t magic)
{
    *packer = (struct day_packer){.table = table, .magic = magic};
    buf_init(&packer->bytes, (size_t)1 << 31);
}

bool day_writer_open(struct day_writer *writer, const char *path, uint64_t bytes_max,
                     struct err *err)
{
    *writer = (struct day_writer){0};
    packer_init(&writer->chunks, DAY_CHUNKS, DAY_CHUNK_MAGIC);
    packer_init(&writer->columns, DAY_COLUMNS, DAY_COLUMN_MAGIC);
    buf_init(&writer->value, (size_t)1 << 31);
    uint64_t map_bytes = (bytes_max + MAP_LEAST) / PAGE * PAGE;
    return kv_open_builder(&writer->kv, path, DAY_TABLE_NAMES, DAY_TABLES, map_bytes, err);
}

void day_writer_close(struct day_writer *writer)
{
    kv_abort(writer->write);
    kv_close(writer->kv);
    VEC_FREE(&writer->chunks.ends);
    VEC_FREE(&writer->columns.ends);
    buf_deinit(&writer->chunks.bytes);
    buf_deinit(&writer->columns.bytes);
    buf_deinit(&writer->value);
    writer->write = NULL;
    writer->kv = NULL;
}

bool day_writer_put(struct day_writer *writer, unsigned table, uint64_t key, struct str value,
                    struct err *err)
{
    if (writer->write_bytes > TXN_BYTES_MAX && !day_writer_commit(writer, err))
        return false;
    if (!writer->write && !kv_write_begin(writer->kv, &writer->write, err))
        return false;
    writer->write_bytes += value.len;
    writer->table_bytes[table] += value.len;
    return kv_append(writer->write, table, key, value, err);
}

bool day_writer_commit(struct day_writer *writer, struct err *err)
{
    struct kv_write *write = writer->write;
    writer->write = NULL;
    writer->write_bytes = 0;
    return !write || kv_commit(write, err);
}

static size_t pack_len(const struct day_packer *packer, size_t count)
{
    size_t groups = (count + DAY_PACK_GROUP - 1) / DAY_PACK_GROUP;
    return DAY_PACK_HEAD + groups * 4 + packer->ends.items[count - 1];
}

static bool cut_pack(struct day_writer *writer, struct day_packer *packer, size_t count,
                     struct err *err)
{
    struct buf *out = &writer->value;
    size_t groups = (count + DAY_PACK_GROUP - 1) / DAY_PACK_GROUP;
    uint32_t begin = (uint32_t)(DAY_PACK_HEAD + groups * 4), end = packer->ends.items[count - 1];
    buf_clear(out);
    write_u32(out, packer->magic);
    write_u32(out, 0);
    write_u32(out, packer->first);
    write_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i += DAY_PACK_GROUP)
        write_u32(out, begin + (i > 0 ? packer->ends.items[i - 1] : 0));
    buf_add(out, packer->bytes.ptr, end);
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 8));
    memcpy(out->ptr + 4, &crc, 4);
    if (!day_writer_put(writer, packer->table, packer->first, buf_str(out), err))
        return false;
    buf_drop_front(&packer->bytes, end);
    packer->ends.count -= count;
    memmove(packer->ends.items, packer->ends.items + count, packer->ends.count * sizeof(uint32_t));
    VEC_EACH (at, &packer->ends) {
        *at -= end;
    }
    packer->first += (uint32_t)count;
    return true;
}

/* More than a pack may have. */
static bool is_too_long(const struct day_packer *packer, size_t count)
{
    size_t len = pack_len(packer, count);
    return len > PACK_FEW_MAX || (len > PACK_MAX && count > PACK_FEW);
}

/* After how many entries the pack is to end. */
static size_t best_cut(const struct day_packer *packer)
{
    size_t best = 1;
    double best_waste = 2;
    for (size_t count = 1; count <= packer->ends.count; count++) {
        size_t len = pack_len(packer, count);
        if (is_too_long(packer, count) && count > 1)
            break;
        size_t disk = (len + PAGE_HEAD + PAGE - 1) / PAGE * PAGE;
        double waste = (double)(disk - len) / (double)disk;
        if (len < PACK_MIN)
            waste = 1;
        if (waste + (len > PACK_MAX ? PACK_FEW_GAIN : 0) <= best_waste) {
            best = count;
            best_waste = waste;
        }
    }
    return best;
}

bool day_writer_add(struct day_writer *writer, struct day_packer *packer, struct str entry,
                    struct err *err)
{
    write_varint_str(&packer->bytes, entry);
    if (packer->bytes.overflow)
        return err_set(err, ERR_LIMIT, "an entry is too large");
    VEC_PUSH(&packer->ends, (uint32_t)packer->bytes.len);
    while (packer->ends.count > 0 && is_too_long(packer, packer->ends.count)) {
        if (!cut_pack(writer, packer, best_cut(packer), err))
            return false;
    }
    return true;
}

bool day_writer_flush(struct day_writer *writer, struct day_packer *packer, struct err *err)
{
    return packer->ends.count == 0 || cut_pack(writer, packer, packer->ends.count, err);
}
