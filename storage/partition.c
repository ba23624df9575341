/* partition: the files of sealed slots, one a [from, to) of partition_ms, and the list of all files that readers see.
 *
 *     lane: partition_for -> kv_put bundles, directory, labels -> commit
 *     loop: partition_publish -> readers ... -> frozen -> built into a day (publish.c) -> retired     lane: unlink
 *
 * In memory a partition keeps one small entry a bundle (ids and times that it spans) and the indexes of series that have
 * left memory. Late samples of a span that is frozen or built go to an overlay beside it. How one goes: retention.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/timetext.h"
#include "store.h"

const char *const PARTITION_TABLE_NAMES[PARTITION_TABLES] = {"meta", "series", "bundles", "dir"};

#define DIR_ENTRY_BYTES 48
#define EMPTY_BYTES_MAX (UINT64_C(1) << 20)

/* --- files --- */

static void stamp(struct buf *out, int64_t time_ms)
{
    struct time_civil civil = time_civil_utc(time_ms / 1000 - (time_ms % 1000 < 0));
    buf_addf(out, "%04" PRId64 "%02d%02dT%02dZ", civil.year, civil.month, civil.day, civil.hour);
}

char *partition_path(const struct storage *storage, int64_t from_ms, int64_t to_ms,
                     uint64_t overlay)
{
    struct buf path;
    buf_init(&path, 4096);
    buf_addf(&path, "%s/", storage->dir);
    stamp(&path, from_ms);
    buf_add_char(&path, '-');
    stamp(&path, to_ms);
    if (overlay)
        buf_addf(&path, ".%" PRIu64 ".ooo.mdb", overlay);
    else
        buf_addf(&path, ".open.mdb");
    char *text = str_dup(buf_str(&path));
    buf_deinit(&path);
    return text;
}

void partition_free(void *ptr)
{
    struct partition *partition = ptr;
    if (!partition)
        return;
    struct segment_list *list = atomic_load(&partition->spilled);
    for (uint32_t i = 0; list && i < list->count; i++)
        index_segment_close(list->items[i]);
    mem_free(list);
    kv_close(partition->kv);
    mem_free(atomic_load(&partition->dir));
    mem_free(partition->path);
    mem_free(partition);
}

static bool put_u64(struct kv_write *write, unsigned table, uint64_t key, uint64_t number,
                    struct err *err)
{
    char bytes[8];
    memcpy(bytes, &number, 8);
    return kv_put(write, table, key, str_from(bytes, 8), err);
}

/* A file without samples. It appears whole, by the rename: what a kill leaves of one does not look damaged. */
static bool make_file(const struct storage *storage, const struct span *span, const char *path,
                      const char *temporary, struct err *err)
{
    struct kv *kv = NULL;
    struct kv_write *write = NULL;
    struct file file;
    if (!file_unlink(temporary, err) || !kv_open_builder(&kv, temporary, PARTITION_TABLE_NAMES,
                                                         PARTITION_TABLES, EMPTY_BYTES_MAX, err))
        return false;
    bool good = kv_write_begin(kv, &write, err) &&
                put_u64(write, PARTITION_META, META_VERSION, STORE_VERSION, err) &&
                put_u64(write, PARTITION_META, META_FROM, (uint64_t)span->from_ms, err) &&
                put_u64(write, PARTITION_META, META_TO, (uint64_t)span->to_ms, err);
    if (good)
        good = kv_commit(write, err);
    else
        kv_abort(write);
    kv_close(kv);
    file_init(&file);
    good = good && file_open_append(&file, temporary, err) && file_sync(&file, err);
    file_close(&file);
    return good && file_rename(temporary, path, err) && file_sync_dir(storage->dir, err);
}

static bool partition_make(struct storage *storage, const struct span *span, uint64_t overlay,
                           struct partition **out, struct err *err)
{
    char temporary[4096], lock[4096];
    struct err ignored = {0};
    struct partition *partition = MEM_NEW(struct partition);
    partition->from_ms = span->from_ms;
    partition->to_ms = span->to_ms;
    partition->is_overlay = overlay > 0;
    partition->path = partition_path(storage, span->from_ms, span->to_ms, overlay);
    partition->segment_next = 1;
    snprintf(temporary, sizeof(temporary), "%s.new.tmp", partition->path);
    snprintf(lock, sizeof(lock), "%s-lock", partition->path);
    /* Of a file of this name that could not be removed both may be there. */
    if (file_unlink(lock, err) && make_file(storage, span, partition->path, temporary, err) &&
        kv_open(&partition->kv, partition->path, PARTITION_TABLE_NAMES, PARTITION_TABLES, err)) {
        *out = partition;
        return true;
    }
    if (!file_unlink(temporary, &ignored))
        LOG_W("A partition that could not be made could not be removed", "err", ignored.text);
    partition_free(partition);
    return false;
}

/* Partitions do not cross: *span, which has time_ms, loses what [from, to), which has not, takes of it. */
static void span_clip(struct span *span, int64_t time_ms, int64_t from_ms, int64_t to_ms)
{
    if (to_ms <= time_ms && to_ms > span->from_ms)
        span->from_ms = to_ms;
    if (from_ms > time_ms && from_ms < span->to_ms)
        span->to_ms = from_ms;
}

/* The span of a partition at time_ms that no file has. */
static struct span span_free(struct storage *storage, int64_t time_ms)
{
    int64_t length = atomic_load_explicit(&storage->partition_length_ms, memory_order_relaxed);
    int64_t number = time_ms / length - (time_ms % length < 0);
    struct span span = {number * length, number * length + length};
    VEC_EACH (partition, &storage->lane_partitions) {
        span_clip(&span, time_ms, (*partition)->from_ms, (*partition)->to_ms);
    }
    VEC_EACH (taken, &storage->lane_spans) {
        span_clip(&span, time_ms, taken->from_ms, taken->to_ms);
    }
    return span;
}

bool partition_for(struct storage *storage, int64_t time_ms, struct partition **out,
                   struct err *err)
{
    struct span span = span_free(storage, time_ms);
    uint64_t overlay = 0;
    for (size_t i = storage->lane_partitions.count; i-- > 0;) {
        struct partition *partition = storage->lane_partitions.items[i];
        if (time_ms >= partition->from_ms && time_ms < partition->to_ms) {
            *out = partition;
            return true;
        }
    }
    VEC_EACH (taken, &storage->lane_spans) {
        if (time_ms < taken->from_ms || time_ms >= taken->to_ms)
            continue;
        span = *taken;
        overlay = ++storage->overlay_next;
        break;
    }
    if (!partition_make(storage, &span, overlay, out, err))
        return false;
    VEC_PUSH(&storage->lane_partitions, *out);
    return true;
}

/* --- directories of bundles --- */

bool bundle_entry_of(struct str bytes, struct bundle_entry *out)
{
    struct bundle bundle;
    if (!bundle_open(&bundle, bytes))
        return false;
    *out = (struct bundle_entry){.id_min = bundle_id_at(&bundle, 0),
                                 .id_max = bundle_id_at(&bundle, bundle.run_count - 1),
                                 .slot = bundle.slot,
                                 .time_min_ms = bundle.time_min_ms,
                                 .time_max_ms = bundle.time_max_ms};
    return out->id_min <= out->id_max;
}

void bundle_dir_encode(const struct bundle_entry *entries, size_t count, struct buf *out)
{
    buf_clear(out);
    write_u32(out, 0);
    for (size_t i = 0; i < count; i++) {
        write_u64(out, entries[i].key);
        write_u64(out, entries[i].id_min);
        write_u64(out, entries[i].id_max);
        write_u64(out, entries[i].slot);
        write_u64(out, (uint64_t)entries[i].time_min_ms);
        write_u64(out, (uint64_t)entries[i].time_max_ms);
    }
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 4));
    memcpy(out->ptr, &crc, 4);
}

bool bundle_dir_decode(struct str bytes, struct bundle_entry *out, size_t *count)
{
    struct reader in = reader_over(bytes);
    uint32_t crc = read_u32(&in);
    size_t room = *count;
    *count = in.bad ? 0 : (bytes.len - 4) / DIR_ENTRY_BYTES;
    if (in.bad || hash_crc32c(0, str_after(bytes, 4)) != crc || (bytes.len - 4) % DIR_ENTRY_BYTES)
        return false;
    for (size_t i = 0; out && i < *count && i < room; i++) {
        out[i].key = read_u64(&in);
        out[i].id_min = read_u64(&in);
        out[i].id_max = read_u64(&in);
        out[i].slot = read_u64(&in);
        out[i].time_min_ms = (int64_t)read_u64(&in);
        out[i].time_max_ms = (int64_t)read_u64(&in);
    }
    return true;
}

static void entry_copy(struct bundle_entry *to, const struct bundle_entry *from)
{
    to->key = from->key;
    to->id_min = from->id_min;
    to->id_max = from->id_max;
    to->slot = from->slot;
    to->time_min_ms = from->time_min_ms;
    to->time_max_ms = from->time_max_ms;
}

static void dir_add(struct storage *storage, struct partition *partition,
                    const struct bundle_entry *entries, size_t count)
{
    struct bundle_dir *dir = atomic_load_explicit(&partition->dir, memory_order_relaxed);
    uint32_t have = dir ? atomic_load_explicit(&dir->count, memory_order_relaxed) : 0;
    if (!dir || have + count > dir->capacity) {
        uint32_t capacity = have + have / 2 + (uint32_t)count + 16;
        struct bundle_dir *grown =
            mem_zalloc(sizeof(*grown) + capacity * sizeof(grown->entries[0]));
        grown->capacity = capacity;
        for (uint32_t i = 0; i < have; i++)
            entry_copy(&grown->entries[i], &dir->entries[i]);
        atomic_init(&grown->count, have);
        atomic_store_explicit(&partition->dir, grown, memory_order_release);
        if (dir)
            epoch_retire(&storage->epoch, mem_free, dir);
        dir = grown;
    }
    for (size_t i = 0; i < count; i++)
        entry_copy(&dir->entries[have + i], &entries[i]);
    atomic_fetch_add_explicit(&storage->bundles_shown, 1, memory_order_relaxed);
    atomic_store_explicit(&dir->count, have + (uint32_t)count, memory_order_release);
}

/* --- the published list: loop thread writes --- */

struct file_list *file_list_now(const struct storage *storage)
{
    return atomic_load_explicit(&storage->files, memory_order_acquire);
}

static int compare_file(const void *a, const void *b)
{
    const struct store_file *x = a, *y = b;
    if (x->from_ms != y->from_ms)
        return x->from_ms < y->from_ms ? -1 : 1;
    return (x->open != NULL) - (y->open != NULL); /* Days first: what is beside them is newer. */
}

/* The list's references of days. */
static void file_list_free(void *ptr)
{
    struct file_list *list = ptr;
    for (uint32_t i = 0; list && i < list->count; i++)
        day_file_unref(list->items[i].day);
    mem_free(list);
}

static bool is_retired(const struct storage *storage, const struct store_file *file)
{
    if (file->open)
        return file->open->retired;
    for (size_t i = 0; i < storage->retired.count; i++) {
        if (storage->retired.items[i].file.day == file->day)
            return true;
    }
    return false;
}

void file_list_update(struct storage *storage, const struct store_file *added)
{
    struct file_list *old = file_list_now(storage);
    uint32_t count = old ? old->count : 0;
    struct file_list *list = mem_alloc(sizeof(*list) + (count + 1) * sizeof(list->items[0]));
    list->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_retired(storage, &old->items[i]))
            continue;
        list->items[list->count] = old->items[i];
        if (old->items[i].day)
            day_file_ref(old->items[i].day);
        list->count++;
    }
    if (added)
        list->items[list->count++] = *added;
    qsort(list->items, list->count, sizeof(list->items[0]), compare_file);
    atomic_store_explicit(&storage->files, list, memory_order_release);
    if (old)
        epoch_retire(&storage->epoch, file_list_free, old);
}

void partition_publish(struct storage *storage, struct partition *partition,
                       const struct bundle_entry *entries, size_t count)
{
    if (partition->retired)
        return;
    dir_add(storage, partition, entries, count);
    partition->touched_mono_ms = clock_mono_ms();
    if (partition->published)
        return;
    struct store_file file = {
        .from_ms = partition->from_ms, .to_ms = partition->to_ms, .open = partition};
    partition->published = true;
    file_list_update(storage, &file);
}

/* --- index segments --- */

void partition_show_segment(struct storage *storage, struct partition *partition,
                            struct index_segment *segment)
{
    struct segment_list *old = atomic_load_explicit(&partition->spilled, memory_order_relaxed);
    uint32_t count = old ? old->count : 0;
    struct segment_list *list = mem_alloc(sizeof(*list) + (count + 1) * sizeof(list->items[0]));
    list->count = count + 1;
    if (count)
        memcpy((void *)list->items, (void *)old->items, count * sizeof(list->items[0]));
    list->items[count] = segment;
    atomic_store_explicit(&partition->spilled, list, memory_order_release);
    if (old)
        epoch_retire(&storage->epoch, mem_free, old);
}

static void segment_close(void *ptr)
{
    index_segment_close(ptr);
}

void partition_hide_segment(struct storage *storage, struct partition *partition,
                            struct index_segment *segment)
{
    struct segment_list *old = atomic_load_explicit(&partition->spilled, memory_order_relaxed);
    struct segment_list *list = mem_alloc(sizeof(*list) + old->count * sizeof(list->items[0]));
    list->count = 0;
    for (uint32_t i = 0; i < old->count; i++) {
        if (old->items[i] != segment)
            list->items[list->count++] = old->items[i];
    }
    ENSURE(list->count + 1 == old->count);
    atomic_store_explicit(&partition->spilled, list, memory_order_release);
    epoch_retire(&storage->epoch, mem_free, old);
    epoch_retire(&storage->epoch, segment_close, segment);
}

void partition_close_all(struct storage *storage)
{
    struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (list->items[i].open && list->items[i].open->frozen)
            partition_free(list->items[i].open);
    }
    for (size_t i = 0; i < storage->lane_partitions.count; i++)
        partition_free(storage->lane_partitions.items[i]);
    VEC_FREE(&storage->lane_partitions);
    VEC_FREE(&storage->lane_spans);
    file_list_free(list);
    atomic_store(&storage->files, NULL);
    kv_close(storage->head);
}
