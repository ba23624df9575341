/* partition_open: what is on the disk at a start, before the log is replayed.
 *
 *     head.mdb -> counters        *.mdb -> days        *.open.mdb, *.ooo.mdb, *.idx -> series in memory, bundles, segments
 *
 * A file that is damaged is set aside and the rest serves. A day that covers all of its open file wins over it: the
 * unlink that should have followed was cut off. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "store.h"

struct load {
    struct storage *storage;
    struct partition *partition;
    VEC(struct bundle_entry) entries;
    VEC(series_ref) refs;
    VEC(uint64_t) bad_rows; /* Ids of series. */
    uint64_t bad_bundles;
};

static bool get_u64(struct kv_read *read, unsigned table, uint64_t key, uint64_t *out,
                    struct err *err)
{
    bool found;
    struct str value;
    if (!kv_get(read, table, key, &found, &value, err))
        return false;
    struct reader in = reader_over(found ? value : STR_EMPTY);
    *out = read_u64(&in);
    return in.bad ? err_set(err, ERR_CORRUPT, "meta entry %" PRIu64 " is missing", key) : true;
}

static bool load_series(void *ctx, uint64_t id, struct str value, struct err *err)
{
    struct load *load = ctx;
    struct storage *storage = load->storage;
    struct label labels[SERIES_LABELS_MAX];
    size_t count;
    struct err why = {0};
    if (id == 0 || id > NUMBER_MAX ||
        !series_row_decode(id, value, labels, SERIES_LABELS_MAX, &count, &why) || count == 0) {
        VEC_PUSH(&load->bad_rows, id);
        return true;
    }
    uint64_t hash = labels_hash(labels, count);
    series_ref ref = series_find_id(storage, id);
    if (ref == MAP_NONE) {
        ref = series_add(storage, id, labels, count, hash);
        VEC_PUSH(&storage->dead, ref);
    } else if (series_hash(storage, head_series(storage, ref)) != hash) {
        return err_set(err, ERR_CORRUPT, "series %" PRIu64 " is another one elsewhere", id);
    }
    VEC_PUSH(&load->refs, ref);
    return true;
}

static bool entry_is_sane(const struct load *load, const struct bundle_entry *entry)
{
    return entry->id_min <= entry->id_max && entry->time_min_ms <= entry->time_max_ms &&
           entry->time_min_ms >= load->partition->from_ms &&
           entry->time_max_ms < load->partition->to_ms && entry->id_max <= NUMBER_MAX;
}

static bool load_dir(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct load *load = ctx;
    size_t count = 0;
    (void)err;
    if (!bundle_dir_decode(value, NULL, &count)) {
        load->bad_bundles++;
        return true;
    }
    VEC_RESERVE(&load->entries, count);
    struct bundle_entry *entries = load->entries.items + load->entries.count;
    if (count == 0 || !bundle_dir_decode(value, entries, &count) || entries->key != key) {
        load->bad_bundles++;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (entry_is_sane(load, &entries[i]))
            load->entries.items[load->entries.count++] = entries[i];
        else
            load->bad_bundles++;
    }
    return true;
}

/* The directory is damaged somewhere: the bundles tell themselves. */
static bool load_bundle(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct load *load = ctx;
    struct bundle_entry entry;
    (void)err;
    if (!bundle_entry_of(value, &entry) || !bundle_verify(value) || !entry_is_sane(load, &entry)) {
        load->bad_bundles++;
        return true;
    }
    entry.key = key;
    VEC_PUSH(&load->entries, entry);
    return true;
}

static bool load_bundles(struct load *load, struct kv_read *read, struct err *err)
{
    if (!kv_each(read, PARTITION_DIR, load_dir, load, err))
        return false;
    if (load->bad_bundles == 0)
        return true;
    VEC_CLEAR(&load->entries);
    load->bad_bundles = 0;
    return kv_each(read, PARTITION_BUNDLES, load_bundle, load, err);
}

/* Rows that are damaged go: of a series that lives the next seal writes another one. */
static bool remove_bad_rows(struct load *load, struct err *err)
{
    struct kv_write *write;
    if (load->bad_rows.count == 0)
        return true;
    load->storage->labels_lost = true;
    LOG_W("Partition has series with damaged labels: they are left out", "file",
          load->partition->path, "series", log_fmt("%zu", load->bad_rows.count));
    if (!kv_write_begin(load->partition->kv, &write, err))
        return false;
    bool good = true;
    VEC_EACH (id, &load->bad_rows) {
        good = good && kv_delete(write, PARTITION_SERIES, *id, err);
    }
    if (good)
        return kv_commit(write, err);
    kv_abort(write);
    return false;
}

static void note_registered(struct load *load)
{
    uint32_t number = partition_number(load->partition->to_ms);
    VEC_EACH (ref, &load->refs) {
        struct series *series = head_series(load->storage, *ref);
        if (!load->partition->is_overlay && number > series->registered)
            series_set_registered(series, number);
    }
}

/* The whole file is good: what it tells may be believed. */
static void load_accept(struct load *load, bool may_write)
{
    struct storage *storage = load->storage;
    struct partition *partition = load->partition;
    VEC_EACH (entry, &load->entries) {
        head_note_time(storage, entry->time_min_ms);
        head_note_time(storage, entry->time_max_ms);
        if (entry->slot < NUMBER_MAX && entry->slot >= storage->next_slot)
            storage->next_slot = entry->slot + 1;
        /* Series that were spilled have no row any more, and head.mdb may be lost. */
        if (entry->id_max < NUMBER_MAX && entry->id_max >= storage->next_id)
            storage->next_id = entry->id_max + 1;
    }
    note_registered(load);
    partition->frozen = !may_write;
    if (may_write) {
        VEC_PUSH(&storage->lane_partitions, partition);
    } else {
        struct span span = {partition->from_ms, partition->to_ms};
        VEC_PUSH(&storage->lane_spans, span);
    }
    partition_publish(storage, partition, load->entries.items, load->entries.count);
}

/* [from, to) is in the name as well: a flipped bit in one is seen by the other. */
static bool is_sane_range(const struct storage *storage, const char *path, uint64_t overlay,
                          const struct partition *partition)
{
    if (partition->from_ms < -2 * TIME_MS_MAX || partition->to_ms > 2 * TIME_MS_MAX ||
        partition->from_ms >= partition->to_ms)
        return false;
    char *named = partition_path(storage, partition->from_ms, partition->to_ms, overlay);
    bool same = strcmp(named, path) == 0;
    mem_free(named);
    return same;
}

/* The number in <from>-<to>.<n>.ooo.mdb; 0 in any other name. */
static uint64_t overlay_number(const char *path)
{
    struct str stem = str_of(path);
    uint64_t number = 0;
    if (!str_ends(stem, STR(".ooo.mdb")))
        return 0;
    stem.len -= strlen(".ooo.mdb");
    const char *dot = memrchr(stem.ptr, '.', stem.len);
    if (!dot || !str_to_u64(str_after(stem, (size_t)(dot + 1 - stem.ptr)), &number))
        return 0;
    return number;
}

static bool load_head(struct load *load, const char *path, uint64_t overlay, struct kv_read *read,
                      struct err *err)
{
    uint64_t version, from = 0, to = 0;
    if (!get_u64(read, PARTITION_META, META_VERSION, &version, err) ||
        !get_u64(read, PARTITION_META, META_FROM, &from, err) ||
        !get_u64(read, PARTITION_META, META_TO, &to, err))
        return false;
    load->partition->from_ms = (int64_t)from;
    load->partition->to_ms = (int64_t)to;
    if (version != STORE_VERSION && version <= STORE_VERSION_MAX)
        return err_set(err, ERR_UNAVAILABLE,
                       "%s has format version %" PRIu64 "; this program reads version %d", path,
                       version, STORE_VERSION);
    if (version != STORE_VERSION || !is_sane_range(load->storage, path, overlay, load->partition))
        return err_set(err, ERR_CORRUPT, "%s tells wild numbers of itself", path);
    return true;
}

static bool has_day(const struct storage *storage, int64_t from_ms, int64_t to_ms, uint64_t *slot)
{
    const struct file_list *list = file_list_now(storage);
    bool found = false;
    *slot = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct store_file *file = &list->items[i];
        if (file->day && file->from_ms < to_ms && file->to_ms > from_ms) {
            found = true;
            if (file->from_ms <= from_ms && file->to_ms >= to_ms)
                *slot = day_file_info(file->day)->slot_last;
        }
    }
    return found;
}

/* A day was published from it, and the end of its file was cut off by the end of the program. Its labels may be all that
 * the log's rows have: it goes when they are in the log. */
static void retire_covered(struct load *load)
{
    struct storage *storage = load->storage;
    struct retired_file retired = {.file = {.from_ms = load->partition->from_ms,
                                            .to_ms = load->partition->to_ms,
                                            .open = load->partition}};
    note_registered(load);
    load->partition->retired = load->partition->frozen = true;
    VEC_PUSH(&storage->retired, retired);
    storage->files_went = true;
}

static bool load_partition(struct storage *storage, const char *path, struct err *err)
{
    struct load load = {.storage = storage, .partition = MEM_NEW(struct partition)};
    struct kv_read *read = NULL;
    uint64_t overlay = overlay_number(path), slot_last, newest_slot = 0;
    load.partition->path = str_dup(str_of(path));
    load.partition->segment_next = 1;
    storage->overlay_next = overlay > storage->overlay_next ? overlay : storage->overlay_next;
    bool good = kv_open(&load.partition->kv, path, PARTITION_TABLE_NAMES, PARTITION_TABLES, err) &&
                kv_read_begin(load.partition->kv, &read, err) &&
                load_head(&load, path, overlay, read, err) && load_bundles(&load, read, err);
    VEC_EACH (entry, &load.entries) {
        newest_slot = entry->slot > newest_slot ? entry->slot : newest_slot;
    }
    bool day = good && has_day(storage, load.partition->from_ms, load.partition->to_ms, &slot_last);
    /* Of an overlay nobody knows whether a build had it: it is merged once more at worst. */
    bool covered = day && overlay == 0 && newest_slot <= slot_last && load.bad_bundles == 0;
    good = good && kv_each(read, PARTITION_SERIES, load_series, &load, err);
    kv_read_end(read);
    good = good && remove_bad_rows(&load, err);
    if (good && covered) {
        retire_covered(&load);
    } else if (good) {
        load.partition->is_overlay = overlay > 0 || day;
        load_accept(&load, !day);
        if (load.bad_bundles)
            LOG_W("Partition has damaged bundles: they are left out", "file", path, "bundles",
                  log_fmt("%" PRIu64, load.bad_bundles));
    } else {
        partition_free(load.partition);
    }
    VEC_FREE(&load.entries);
    VEC_FREE(&load.refs);
    VEC_FREE(&load.bad_rows);
    return good;
}

static bool load_day(struct storage *storage, const char *path, struct err *err)
{
    struct day_file *day;
    if (!day_file_open(&day, path, err))
        return false;
    const struct day_info *info = day_file_info(day);
    struct store_file file = {.from_ms = info->from_ms, .to_ms = info->to_ms, .day = day};
    struct span span = {info->from_ms, info->to_ms};
    uint32_t number = partition_number(info->to_ms);
    VEC_PUSH(&storage->lane_spans, span);
    head_note_time(storage, info->time_min_ms);
    head_note_time(storage, info->time_max_ms);
    storage->retired_number = number > storage->retired_number ? number : storage->retired_number;
    if (info->slot_last < NUMBER_MAX && info->slot_last >= storage->next_slot)
        storage->next_slot = info->slot_last + 1;
    file_list_update(storage, &file);
    return true;
}

/* What cannot be removed is in nobody's way. */
static bool remove_leftover(struct storage *storage, const char *path, struct err *err)
{
    struct err ignored = {0};
    (void)storage, (void)err;
    if (!file_unlink(path, &ignored))
        LOG_W("A leftover could not be removed", "err", ignored.text);
    return true;
}

/* Belongs to the open partition of the same stem; without one it is a leftover. */
static bool load_segment(struct storage *storage, const char *path, struct err *err)
{
    const struct file_list *list = file_list_now(storage);
    struct index_segment *segment;
    uint64_t number = 0;
    struct str stem = str_of(path);
    stem.len -= strlen(".idx");
    const char *dot = memrchr(stem.ptr, '.', stem.len);
    if (!dot || !str_to_u64(str_after(stem, (size_t)(dot + 1 - stem.ptr)), &number))
        return true; /* Not a name of ours. */
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct partition *partition = list->items[i].open;
        char *named = partition ? index_segment_path(partition->path, number) : NULL;
        bool same = named && strcmp(named, path) == 0;
        mem_free(named);
        if (!same)
            continue;
        if (!index_segment_open(&segment, path, err))
            return false;
        if (!index_segment_verify(segment, err)) {
            index_segment_close(segment);
            return false;
        }
        if (number >= partition->segment_next)
            partition->segment_next = number + 1;
        partition_show_segment(storage, partition, segment);
        return true;
    }
    return remove_leftover(storage, path, err);
}

/* The newest sample of each series that had some lately, so that the next one is judged by it. */
static void note_newest(struct storage *storage, const struct partition *partition, int64_t from_ms)
{
    const struct bundle_dir *dir = atomic_load(&partition->dir);
    struct kv_read *read = NULL;
    struct err ignored = {0};
    struct time_vec times = {0};
    if (!dir || !kv_read_begin(partition->kv, &read, &ignored))
        return;
    for (uint32_t i = 0; i < atomic_load(&dir->count); i++) {
        const struct bundle_entry *entry = &dir->entries[i];
        struct bundle bundle;
        struct str bytes;
        bool found;
        uint32_t column = UINT32_MAX;
        if (entry->time_max_ms < from_ms ||
            !kv_get(read, PARTITION_BUNDLES, entry->key, &found, &bytes, &ignored) || !found ||
            !bundle_verify(bytes) || !bundle_open(&bundle, bytes))
            continue;
        for (uint32_t at = 0; at < bundle.run_count; at++) {
            struct bundle_run run = bundle_run_at(&bundle, at);
            series_ref ref = series_find_id(storage, run.id);
            if (run.column != column) {
                VEC_CLEAR(&times);
                column = bundle_column(&bundle, run.column, &times) ? run.column : UINT32_MAX;
            }
            if (ref == MAP_NONE || column == UINT32_MAX || run.last_row >= times.count)
                continue;
            struct series *series = head_series(storage, ref);
            if (times.items[run.last_row] > series_newest_ms(series))
                series_set_newest_ms(series, times.items[run.last_row]);
        }
    }
    VEC_FREE(&times);
    kv_read_end(read);
}

static void note_all_newest(struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    int64_t newest = atomic_load(&storage->time_max_ms);
    for (uint32_t i = 0; list && i < list->count && newest != INT64_MIN; i++) {
        if (list->items[i].open && list->items[i].to_ms > newest - HEAD_WINDOW_MS)
            note_newest(storage, list->items[i].open, newest - HEAD_WINDOW_MS);
    }
}

/* --- head.mdb --- */

static bool read_head(struct storage *storage, const char *path, bool *known, struct err *err,
                      struct err *why)
{
    struct kv_read *read = NULL;
    struct err none = {0};
    uint64_t version, next = 0, slot = 0;
    if (!kv_read_begin(storage->head, &read, why))
        return false;
    *known = get_u64(read, HEAD_META, META_VERSION, &version, why);
    if (*known) {
        (void)!get_u64(read, HEAD_META, META_NEXT_ID, &next, &none);
        (void)!get_u64(read, HEAD_META, META_NEXT_SLOT, &slot, &none);
    }
    kv_read_end(read);
    if (*known && version > STORE_VERSION_MAX)
        return err_set(why, ERR_CORRUPT, "%s tells a wild version of itself", path);
    if (*known && version != STORE_VERSION)
        return err_set(err, ERR_UNAVAILABLE,
                       "%s has format version %" PRIu64 "; this program reads version %d", path,
                       version, STORE_VERSION);
    if (next <= NUMBER_MAX && next > storage->next_id)
        storage->next_id = next;
    if (slot <= NUMBER_MAX && slot > storage->next_slot)
        storage->next_slot = slot;
    return true;
}

static bool open_head(struct storage *storage, struct err *err)
{
    static const char *const tables[HEAD_TABLES] = {"meta", "sealed", "tombstones"};
    struct err why = {0};
    char path[4096];
    snprintf(path, sizeof(path), "%s/head.mdb", storage->dir);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct kv_write *write = NULL;
        uint64_t version = STORE_VERSION;
        bool known = false;
        if (kv_open(&storage->head, path, tables, HEAD_TABLES, &why) &&
            read_head(storage, path, &known, err, &why)) {
            if (known)
                return true;
            if (kv_write_begin(storage->head, &write, &why)) {
                if (kv_put(write, HEAD_META, META_VERSION, str_from((const char *)&version, 8),
                           &why)) {
                    storage->head_is_new = true;
                    if (kv_commit(write, &why))
                        return true;
                } else {
                    kv_abort(write);
                }
            }
        }
        kv_close(storage->head);
        storage->head = NULL;
        if (err->code != ERR_NONE)
            return false;
        if (why.code != ERR_CORRUPT)
            break;
        if (!file_set_aside(path, &why, err))
            return false;
    }
    *err = why;
    return false;
}

/* --- all of it --- */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef bool (*load_fn)(struct storage *storage, const char *path, struct err *err);

/* Days of a time in ours are 20261121T00Z-..., some of other times have more digits or a sign. What else a person has put
 * there stays as it is. */
static bool is_ours(struct str name)
{
    size_t at = name.len > 0 && name.ptr[0] == '-', digits = 0;
    for (; at + digits < name.len && name.ptr[at + digits] >= '0' && name.ptr[at + digits] <= '9';)
        digits++;
    at += digits;
    return digits >= 8 && at + 4 < name.len && name.ptr[at] == 'T' && name.ptr[at + 3] == 'Z' &&
           name.ptr[at + 4] == '-';
}

/* What a name is: in the order of loading. */
static int kind_of(struct str name)
{
    if (!is_ours(name))
        return -1;
    if (str_ends(name, STR(".open.mdb")) || str_ends(name, STR(".ooo.mdb")))
        return 1;
    if (str_ends(name, STR(".idx")))
        return 2;
    if (str_ends(name, STR(".tmp")))
        return 3;
    if (str_ends(name, STR(".mdb")))
        return 0;
    return -1;
}

bool partition_open_all(struct storage *storage, struct err *err)
{
    static const load_fn loaders[] = {load_day, load_partition, load_segment, remove_leftover};
    VEC(char *) names = {0};
    bool good = open_head(storage, err);
    DIR *dir = good ? opendir(storage->dir) : NULL;
    if (!good || !dir)
        return good ? err_errno(err, errno, "open %s", storage->dir) : false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (kind_of(str_of(entry->d_name)) >= 0)
            VEC_PUSH(&names, str_dup(str_of(entry->d_name)));
    }
    closedir(dir);
    VEC_SORT(&names, compare_text);
    for (int kind = 0; kind < (int)COUNT_OF(loaders); kind++) {
        for (size_t i = 0; good && i < names.count; i++) {
            char path[4096];
            struct err why = {0};
            if (kind_of(str_of(names.items[i])) != kind)
                continue;
            snprintf(path, sizeof(path), "%s/%s", storage->dir, names.items[i]);
            if (loaders[kind](storage, path, &why))
                continue;
            good = why.code == ERR_CORRUPT ? file_set_aside(path, &why, err) : (*err = why, false);
            storage->labels_lost = true;
        }
    }
    VEC_EACH (name, &names) {
        mem_free(*name);
    }
    VEC_FREE(&names);
    if (good)
        note_all_newest(storage);
    return good;
}
