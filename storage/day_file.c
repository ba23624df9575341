/* day_file: opening a published file, its life, and the walk over all of it. Reading samples: day_file_read.c. */
#include "day_file.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "base/vec.h"
#include "day_file_private.h"

#define MAP_PAGE 4096u

bool day_file_corrupt(const struct day_file *day, struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "%s: %s", day->path, what);
}

void day_info_write(struct buf *out, const struct day_info *info, uint32_t column_count)
{
    write_u32(out, DAY_VERSION);
    write_u32(out, info->series_count);
    write_u32(out, column_count);
    write_u32(out, 0);
    write_u64(out, (uint64_t)info->from_ms);
    write_u64(out, (uint64_t)info->to_ms);
    write_u64(out, (uint64_t)info->time_min_ms);
    write_u64(out, (uint64_t)info->time_max_ms);
    write_u64(out, info->sample_count);
    write_u64(out, info->slot_last);
    write_u64(out, info->sequence_last);
    write_u64(out, info->index_bytes);
    write_u64(out, info->column_bytes);
    write_u64(out, info->chunk_bytes);
}

static bool read_info(struct day_file *day, struct err *err)
{
    struct day_info *info = &day->info;
    struct str value = STR_EMPTY;
    bool found;
    if (!kv_get(day->read, DAY_META, DAY_META_INFO, &found, &value, err))
        return false;
    struct reader in = reader_over(found ? value : STR_EMPTY);
    uint32_t version = read_u32(&in);
    if (!in.bad && version != DAY_VERSION)
        return err_set(err, ERR_UNAVAILABLE, "%s has format version %" PRIu32, day->path, version);
    info->series_count = read_u32(&in);
    day->column_count = read_u32(&in);
    (void)read_u32(&in);
    info->from_ms = (int64_t)read_u64(&in);
    info->to_ms = (int64_t)read_u64(&in);
    info->time_min_ms = (int64_t)read_u64(&in);
    info->time_max_ms = (int64_t)read_u64(&in);
    info->sample_count = read_u64(&in);
    info->slot_last = read_u64(&in);
    info->sequence_last = read_u64(&in);
    info->index_bytes = read_u64(&in);
    info->column_bytes = read_u64(&in);
    info->chunk_bytes = read_u64(&in);
    if (in.bad || info->from_ms >= info->to_ms || info->time_min_ms > info->time_max_ms ||
        info->time_min_ms < info->from_ms || info->time_max_ms >= info->to_ms)
        return day_file_corrupt(day, err, "its description makes no sense");
    return true;
}

static bool open_index(struct day_file *day, struct err *err)
{
    struct str sections[DISK_INDEX_SECTIONS];
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++) {
        bool found;
        sections[i] = STR_EMPTY;
        if (!kv_get(day->read, DAY_INDEX, i, &found, &sections[i], err))
            return false;
        if (!found)
            sections[i] = STR_EMPTY;
    }
    if (!disk_index_open(&day->index, sections, err))
        return err_wrap(err, "%s", day->path);
    return disk_index_count(day->index) == day->info.series_count ||
           day_file_corrupt(day, err, "its index is of another number of series");
}

/* LMDB reads its two heads after it has allocated the transaction: they are touched before, so that a fault loses
 * nothing. */
bool day_file_begin(struct day_file *day, struct kv_read **out, struct err *err)
{
    (void)*(const volatile char *)day->map.begin;
    (void)*(const volatile char *)(day->map.begin + day->page_bytes);
    return kv_read_begin(day->kv, out, err);
}

static bool read_head(void *ctx, struct err *err)
{
    struct day_file *day = ctx;
    return day_file_begin(day, &day->read, err) && read_info(day, err) && open_index(day, err);
}

bool day_file_open(struct day_file **out, const char *path, struct err *err)
{
    struct day_file *day = MEM_NEW(struct day_file);
    struct day_trailer trailer;
    const void *base;
    uint64_t len;
    atomic_init(&day->refs, 1);
    day->path = str_dup(str_of(path));
    bool good = day_trailer_check(path, &trailer, &day->info.bytes, err) &&
                kv_open_published(&day->kv, path, DAY_TABLE_NAMES, DAY_TABLES, trailer.pages,
                                  trailer.page_bytes, err) &&
                kv_map(day->kv, &base, &len, err);
    if (good) {
        day->page_bytes = trailer.page_bytes;
        guard_map_add(&day->map, base, len);
        good = day_file_guard(day, read_head, day, err);
    }
    if (!good) {
        day_file_unref(day);
        return false;
    }
    *out = day;
    return true;
}

struct day_file *day_file_ref(struct day_file *day)
{
    ENSURE(atomic_fetch_add(&day->refs, 1) > 0);
    return day;
}

void day_file_unref(struct day_file *day)
{
    if (!day || atomic_fetch_sub(&day->refs, 1) != 1)
        return;
    disk_index_close(day->index);
    kv_read_end(day->read);
    guard_map_remove(&day->map);
    kv_close(day->kv);
    mem_free(day->path);
    mem_free(day);
}

const char *day_file_path(const struct day_file *day)
{
    return day->path;
}

const struct day_info *day_file_info(const struct day_file *day)
{
    return &day->info;
}

bool day_file_judge(struct day_file *day, bool good, struct err *err)
{
    if (good && day_file_is_damaged(day))
        good = err_set(err, ERR_CORRUPT, "index: a page of it cannot be read");
    if (good)
        return true;
    if (err->code == ERR_CORRUPT)
        atomic_store_explicit(&day->map.damaged, true, memory_order_relaxed);
    return err_wrap(err, "%s", day->path);
}

bool day_file_is_damaged(const struct day_file *day)
{
    return guard_map_is_damaged(&day->map);
}

const struct disk_index *day_file_index(const struct day_file *day)
{
    return day->index;
}

struct guarded {
    day_file_fn fn;
    void *ctx;
    struct err *err;
    bool good;
};

static void run_guarded(void *ctx)
{
    struct guarded *guarded = ctx;
    guarded->good = guarded->fn(guarded->ctx, guarded->err);
}

bool day_file_guard(struct day_file *day, day_file_fn fn, void *ctx, struct err *err)
{
    struct guarded guarded = {fn, ctx, err, false};
    if (!guard_run(&day->map, run_guarded, &guarded))
        return day_file_corrupt(day, err, "a page of it cannot be read");
    if (!guarded.good && err->code == ERR_CORRUPT)
        atomic_store_explicit(&day->map.damaged, true, memory_order_relaxed);
    return guarded.good;
}

void day_file_let_go(struct str value)
{
    uintptr_t begin = (uintptr_t)value.ptr / MAP_PAGE * MAP_PAGE;
    uintptr_t end = ((uintptr_t)value.ptr + value.len + MAP_PAGE - 1) / MAP_PAGE * MAP_PAGE;
    if (value.len >= 2 * (size_t)MAP_PAGE) /* Smaller ones share pages with the tree. */
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void day_file_let_go_all(struct day_file *day)
{
    if (day->map.begin)
        (void)madvise((void *)(uintptr_t)day->map.begin, (size_t)(day->map.end - day->map.begin),
                      MADV_DONTNEED);
}

bool day_file_pack(struct day_file *day, struct kv_read *read, unsigned table, uint32_t number,
                   struct day_pack *pack, struct err *err)
{
    struct str value;
    uint64_t key;
    bool found;
    if (day_pack_has(pack, number))
        return true;
    if (pack->count > 0)
        day_file_let_go(pack->bytes);
    *pack = (struct day_pack){0};
    if (!kv_floor(read, table, number, &found, &key, &value, err))
        return false;
    struct day_pack next;
    uint32_t magic = table == DAY_COLUMNS ? DAY_COLUMN_MAGIC : DAY_CHUNK_MAGIC;
    if (!found || !day_pack_open(&next, value, magic) || next.first != key ||
        !day_pack_has(&next, number))
        return day_file_corrupt(day, err,
                                table == DAY_COLUMNS ? "a pack of columns is damaged"
                                                     : "a pack of chunks is damaged");
    *pack = next;
    return true;
}

/* --- the walk --- */

struct walk {
    struct day_file *day;
    const atomic_bool *stop;
    unsigned table;
    uint32_t next; /* Number that is expected. */
    uint64_t samples;
    VEC(uint16_t) rows; /* Of each column. */
    int64_t times_ms[CODEC_VALUES_MAX];
};

static bool walk_column(struct walk *walk, struct str entry)
{
    struct reader in = reader_over(entry);
    uint64_t rows = read_varint(&in);
    if (in.bad || rows == 0 || rows > CODEC_VALUES_MAX ||
        !codec_times_decode(read_bytes(&in, reader_left(&in)), (uint32_t)rows, walk->times_ms))
        return false;
    VEC_PUSH(&walk->rows, (uint16_t)rows);
    return true;
}

static bool walk_series(struct walk *walk, uint32_t ordinal, struct str entry)
{
    struct reader in = reader_over(entry);
    bool more = true;
    while (more) {
        struct day_chunk chunk;
        if (!day_chunk_read(&in, &chunk, &more) || chunk.times.column >= walk->rows.count ||
            chunk.distance > ordinal)
            return false;
        uint32_t rows = walk->rows.items[chunk.times.column];
        if (!chunk.times.whole) {
            const struct day_range *last = &chunk.times.ranges[chunk.times.range_count - 1];
            if (last->first + last->rows > rows)
                return false;
            rows = day_times_rows(&chunk.times);
        }
        walk->samples += rows;
    }
    return in.at == in.end;
}

static bool walk_pack(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct walk *walk = ctx;
    bool is_columns = walk->table == DAY_COLUMNS;
    struct day_pack pack;
    if (walk->stop && atomic_load_explicit(walk->stop, memory_order_relaxed))
        return err_set(err, ERR_CANCELED, "stopped");
    bool good = day_pack_open(&pack, value, is_columns ? DAY_COLUMN_MAGIC : DAY_CHUNK_MAGIC) &&
                pack.first == key && pack.first == walk->next;
    for (uint32_t i = 0; good && i < pack.count; i++, walk->next++) {
        struct str entry;
        good = day_pack_entry(&pack, walk->next, &entry) &&
               (is_columns ? walk_column(walk, entry) : walk_series(walk, walk->next, entry));
    }
    day_file_let_go(value);
    return good || day_file_corrupt(walk->day, err, "a pack is damaged");
}

static bool walk_file(void *ctx, struct err *err)
{
    struct walk *walk = ctx;
    const struct day_info *info = &walk->day->info;
    walk->table = DAY_COLUMNS;
    if (!kv_each(walk->day->read, DAY_COLUMNS, walk_pack, walk, err))
        return false;
    bool columns_good = walk->next == walk->day->column_count;
    walk->table = DAY_CHUNKS;
    walk->next = 0;
    if (!kv_each(walk->day->read, DAY_CHUNKS, walk_pack, walk, err))
        return false;
    return (columns_good && walk->next == info->series_count &&
            walk->samples == info->sample_count) ||
           day_file_corrupt(walk->day, err, "its counts do not agree");
}

bool day_file_verify(struct day_file *day, const atomic_bool *stop, struct err *err)
{
    struct walk *walk = MEM_NEW(struct walk);
    walk->day = day;
    walk->stop = stop;
    bool good = day_file_guard(day, walk_file, walk, err);
    VEC_FREE(&walk->rows);
    mem_free(walk);
    return good;
}
