/* partition: the files of sealed slots, one a [from, to) of partition_ms, and the bundles in them.
 *
 *     lane: partition_for -> kv_put bundles -> commit
 *     loop: partition_publish -> readers ... -> retire     lane: unlink
 *
 * In memory a partition keeps one small entry a bundle (ids and times that it spans); what is in a
 * bundle stands in its own directory on disk (bundle.c). How one goes: retention.c. */
#include <dirent.h>
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

static const char *const TABLES[PARTITION_TABLES] = {"meta", "series", "bundles"};

/* --- files --- */

static void stamp(struct buf *out, int64_t time_ms)
{
    struct time_civil civil = time_civil_utc(time_ms / 1000 - (time_ms % 1000 < 0));
    buf_addf(out, "%04" PRId64 "%02d%02dT%02dZ", civil.year, civil.month, civil.day, civil.hour);
}

static char *partition_path(const struct storage *storage, int64_t from_ms, int64_t to_ms)
{
    struct buf path;
    buf_init(&path, 4096);
    buf_addf(&path, "%s/", storage->dir);
    stamp(&path, from_ms);
    buf_add_char(&path, '-');
    stamp(&path, to_ms);
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

static bool partition_make(struct storage *storage, int64_t from_ms, int64_t to_ms,
                           struct partition **out, struct err *err)
{
    struct partition *partition = MEM_NEW(struct partition);
    struct kv_write *write = NULL;
    partition->from_ms = from_ms;
    partition->to_ms = to_ms;
    partition->path = partition_path(storage, from_ms, to_ms);
    bool is_new = access(partition->path, F_OK) != 0;
    if (kv_open(&partition->kv, partition->path, TABLES, PARTITION_TABLES, err) &&
        kv_write_begin(partition->kv, &write, err)) {
        if (put_u64(write, PARTITION_META, META_VERSION, STORE_VERSION, err) &&
            put_u64(write, PARTITION_META, META_FROM, (uint64_t)from_ms, err) &&
            put_u64(write, PARTITION_META, META_TO, (uint64_t)to_ms, err)) {
            if (kv_commit(write, err) && file_sync_dir(storage->dir, err)) {
                *out = partition;
                return true;
            }
        } else {
            kv_abort(write);
        }
    }
    /* Half a file would be in the way of the next try. */
    struct err ignored = {0};
    if (is_new && !file_unlink(partition->path, &ignored))
        LOG_W("A partition that could not be made could not be removed", "err", ignored.text);
    partition_free(partition);
    return false;
}

bool partition_edge(const struct storage *storage, int64_t *edge_ms)
{
    int64_t newest = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    int64_t span = storage->options.retention_ms;
    if (span <= 0 || newest == INT64_MIN || newest < INT64_MIN + span)
        return false;
    *edge_ms = newest - span;
    return true;
}

bool partition_for(struct storage *storage, int64_t time_ms, struct partition **out,
                   struct err *err)
{
    int64_t span = storage->options.partition_ms;
    int64_t number = time_ms / span - (time_ms % span < 0);
    for (size_t i = storage->lane_partitions.count; i-- > 0;) {
        struct partition *partition = storage->lane_partitions.items[i];
        if (time_ms >= partition->from_ms && time_ms < partition->to_ms) {
            *out = partition;
            return true;
        }
    }
    if (!partition_make(storage, number * span, number * span + span, out, err))
        return false;
    VEC_PUSH(&storage->lane_partitions, *out);
    return true;
}

/* --- the published list: loop thread writes --- */

struct partition_list *partition_list_now(const struct storage *storage)
{
    return atomic_load_explicit(&storage->partitions, memory_order_acquire);
}

static int compare_from(const void *a, const void *b)
{
    const struct partition *x = *(struct partition *const *)a, *y = *(struct partition *const *)b;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

void partition_list_update(struct storage *storage, struct partition *added)
{
    struct partition_list *old = partition_list_now(storage);
    uint32_t count = old ? old->count : 0;
    struct partition_list *list = mem_alloc(sizeof(*list) + (count + 1) * sizeof(list->items[0]));
    list->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!old->items[i]->retired)
            list->items[list->count++] = old->items[i];
    }
    if (added)
        list->items[list->count++] = added;
    qsort(list->items, list->count, sizeof(list->items[0]), compare_from);
    atomic_store_explicit(&storage->partitions, list, memory_order_release);
    if (old)
        epoch_retire(&storage->epoch, mem_free, old);
}

static void dir_add(struct storage *storage, struct partition *partition,
                    const struct bundle_entry *entries, size_t count)
{
    struct bundle_dir *dir = atomic_load_explicit(&partition->dir, memory_order_relaxed);
    uint32_t have = dir ? atomic_load_explicit(&dir->count, memory_order_relaxed) : 0;
    if (!dir || have + count > dir->capacity) {
        uint32_t capacity = have * 2 + (uint32_t)count + 16;
        struct bundle_dir *grown =
            mem_zalloc(sizeof(*grown) + capacity * sizeof(grown->entries[0]));
        grown->capacity = capacity;
        for (uint32_t i = 0; i < have; i++) {
            grown->entries[i].key = dir->entries[i].key;
            grown->entries[i].id_min = dir->entries[i].id_min;
            grown->entries[i].id_max = dir->entries[i].id_max;
            grown->entries[i].time_min_ms = dir->entries[i].time_min_ms;
            grown->entries[i].time_max_ms = dir->entries[i].time_max_ms;
        }
        atomic_init(&grown->count, have);
        atomic_store_explicit(&partition->dir, grown, memory_order_release);
        if (dir)
            epoch_retire(&storage->epoch, mem_free, dir);
        dir = grown;
    }
    for (size_t i = 0; i < count; i++) {
        struct bundle_entry *entry = &dir->entries[have + i];
        entry->key = entries[i].key;
        entry->id_min = entries[i].id_min;
        entry->id_max = entries[i].id_max;
        entry->time_min_ms = entries[i].time_min_ms;
        entry->time_max_ms = entries[i].time_max_ms;
    }
    atomic_store_explicit(&dir->count, have + (uint32_t)count, memory_order_release);
}

void partition_publish(struct storage *storage, struct partition *partition,
                       const struct bundle_entry *entries, size_t count)
{
    if (partition->retired)
        return;
    dir_add(storage, partition, entries, count);
    if (!partition->published) {
        partition->published = true;
        partition_list_update(storage, partition);
    }
}

/* --- open --- */

struct load {
    struct storage *storage;
    struct partition *partition;
    VEC(struct bundle_entry) entries;
    VEC(series_ref) refs;
    int64_t time_min_ms, time_max_ms; /* Of the good bundles. */
    uint64_t bad_bundles;
};

static bool load_series(void *ctx, uint64_t id, struct str value, struct err *err)
{
    struct load *load = ctx;
    struct label labels[SERIES_LABELS_MAX];
    size_t count;
    struct reader in = reader_over(value);
    if (id == 0 || id > NUMBER_MAX ||
        !series_decode_labels(&in, labels, SERIES_LABELS_MAX, &count, err) || count == 0)
        return err_set(err, ERR_CORRUPT, "series %" PRIu64 " has bad labels", id);
    uint64_t hash = labels_hash(labels, count);
    series_ref ref = head_find_id(load->storage, id);
    if (ref == MAP_NONE)
        ref = head_add_series(load->storage, id, labels, count, hash);
    struct series *series = head_series(load->storage, ref);
    if (series->labels_hash != hash)
        return err_set(err, ERR_CORRUPT, "series %" PRIu64 " is another one elsewhere", id);
    VEC_PUSH(&load->refs, ref);
    if (load->partition->from_ms < atomic_load(&series->time_first_ms))
        atomic_store(&series->time_first_ms, load->partition->from_ms);
    if (load->partition->to_ms - 1 > atomic_load(&series->time_last_ms))
        atomic_store(&series->time_last_ms, load->partition->to_ms - 1);
    return true;
}

static bool load_bundle(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct load *load = ctx;
    struct bundle_entry entry = {.key = key};
    uint32_t rows;
    (void)err;
    bool good =
        bundle_head(value, &entry, &rows) && entry.time_min_ms >= load->partition->from_ms &&
        entry.time_min_ms <= entry.time_max_ms && entry.time_max_ms < load->partition->to_ms;
    if (!good) {
        load->bad_bundles++;
        return true;
    }
    /* The store's newest time decides about retention and about what is too old: it is not believed
     * unchecked. What is read of a bundle with a bad checksum is an error, not a gap, so it stays.
     */
    if (entry.time_max_ms > load->time_max_ms && bundle_verify(value))
        load->time_max_ms = entry.time_max_ms;
    if (entry.time_min_ms < load->time_min_ms)
        load->time_min_ms = entry.time_min_ms;
    entry.key = key;
    VEC_PUSH(&load->entries, entry);
    return true;
}

/* The whole file is good: what it tells may be believed. */
static void load_accept(struct load *load)
{
    struct storage *storage = load->storage;
    if (load->time_max_ms > atomic_load(&storage->time_max_ms))
        atomic_store(&storage->time_max_ms, load->time_max_ms);
    if (load->time_min_ms < atomic_load(&storage->time_min_ms))
        atomic_store(&storage->time_min_ms, load->time_min_ms);
    VEC_EACH (ref, &load->refs) {
        struct series *series = head_series(storage, *ref);
        if (load->partition->to_ms > series->labels_until_ms)
            series->labels_until_ms = load->partition->to_ms;
    }
    VEC_PUSH(&storage->lane_partitions, load->partition);
    partition_publish(storage, load->partition, load->entries.items, load->entries.count);
}

/* [from, to) is in the name as well: a flipped bit in one is seen by the other. */
static bool is_sane_range(const struct storage *storage, const char *path,
                          const struct partition *partition)
{
    if (partition->from_ms < -2 * TIME_MS_MAX || partition->to_ms > 2 * TIME_MS_MAX ||
        partition->from_ms >= partition->to_ms)
        return false;
    char *named = partition_path(storage, partition->from_ms, partition->to_ms);
    bool same = strcmp(named, path) == 0;
    mem_free(named);
    return same;
}

static bool load_partition(struct storage *storage, const char *path, struct err *err)
{
    struct load load = {.storage = storage,
                        .partition = MEM_NEW(struct partition),
                        .time_min_ms = INT64_MAX,
                        .time_max_ms = INT64_MIN};
    struct kv_read *read = NULL;
    uint64_t version, from = 0, to = 0;
    load.partition->path = str_dup(str_of(path));
    bool good = kv_open(&load.partition->kv, path, TABLES, PARTITION_TABLES, err) &&
                kv_read_begin(load.partition->kv, &read, err) &&
                get_u64(read, PARTITION_META, META_VERSION, &version, err) &&
                get_u64(read, PARTITION_META, META_FROM, &from, err) &&
                get_u64(read, PARTITION_META, META_TO, &to, err);
    load.partition->from_ms = (int64_t)from;
    load.partition->to_ms = (int64_t)to;
    if (good && version != STORE_VERSION && version <= 0xffff)
        good = err_set(err, ERR_UNAVAILABLE,
                       "%s has format version %" PRIu64 "; this program reads version %d", path,
                       version, STORE_VERSION);
    if (good && (version != STORE_VERSION || !is_sane_range(storage, path, load.partition)))
        good = err_set(err, ERR_CORRUPT, "%s tells wild numbers of itself", path);
    good = good && kv_each(read, PARTITION_SERIES, load_series, &load, err) &&
           kv_each(read, PARTITION_BUNDLES, load_bundle, &load, err);
    kv_read_end(read);
    if (good) {
        load_accept(&load);
        if (load.bad_bundles)
            LOG_W("Partition has damaged bundles: they are left out", "file", path, "bundles",
                  log_fmt("%" PRIu64, load.bad_bundles));
    } else {
        partition_free(load.partition);
    }
    VEC_FREE(&load.entries);
    VEC_FREE(&load.refs);
    return good;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool open_head(struct storage *storage, struct err *err)
{
    static const char *const tables[HEAD_TABLES] = {"meta", "sealed"};
    struct kv_read *read = NULL;
    struct err why = {0};
    uint64_t version;
    char path[4096];
    snprintf(path, sizeof(path), "%s/head.mdb", storage->dir);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct kv_write *write = NULL;
        if (kv_open(&storage->head, path, tables, HEAD_TABLES, &why) &&
            kv_read_begin(storage->head, &read, &why)) {
            uint64_t next = 0, slot = 0;
            bool known = get_u64(read, HEAD_META, META_VERSION, &version, &why);
            if (known) {
                struct err none = {0};
                (void)!get_u64(read, HEAD_META, META_NEXT_ID, &next, &none);
                (void)!get_u64(read, HEAD_META, META_NEXT_SLOT, &slot, &none);
            }
            kv_read_end(read);
            if (known && version != STORE_VERSION)
                return err_set(err, ERR_CORRUPT,
                               "%s has format version %" PRIu64 "; this program reads version %d",
                               path, version, STORE_VERSION);
            if (next <= NUMBER_MAX && next > storage->next_id)
                storage->next_id = next;
            if (slot <= NUMBER_MAX && slot > storage->next_slot)
                storage->next_slot = slot;
            if (known)
                return true;
            if (kv_write_begin(storage->head, &write, &why)) {
                if (put_u64(write, HEAD_META, META_VERSION, STORE_VERSION, &why)) {
                    if (kv_commit(write, &why))
                        return true;
                } else {
                    kv_abort(write);
                }
            }
        }
        kv_close(storage->head);
        storage->head = NULL;
        if (why.code != ERR_CORRUPT)
            break;
        if (!file_set_aside(path, &why, err))
            return false;
    }
    *err = why;
    return false;
}

/* The newest sample of each series that had some lately, so that the next one is judged by it. */
static void note_newest(struct storage *storage, const struct partition *partition, int64_t from_ms)
{
    const struct bundle_dir *dir = atomic_load(&partition->dir);
    struct kv_read *read = NULL;
    struct err ignored = {0};
    if (!dir || !kv_read_begin(partition->kv, &read, &ignored))
        return;
    for (uint32_t i = 0; i < atomic_load(&dir->count); i++) {
        const struct bundle_entry *entry = &dir->entries[i];
        struct bundle_entry head;
        struct str bytes;
        bool found;
        uint32_t rows;
        if (entry->time_max_ms < from_ms ||
            !kv_get(read, PARTITION_BUNDLES, entry->key, &found, &bytes, &ignored) || !found ||
            !bundle_verify(bytes) || !bundle_head(bytes, &head, &rows))
            continue;
        for (uint32_t row = 0; row < rows; row++) {
            struct reader in =
                reader_over(str_after(bytes, BUNDLE_HEAD_BYTES + (size_t)row * BUNDLE_ENTRY_BYTES));
            series_ref ref = head_find_id(storage, read_u64(&in));
            (void)read_bytes(&in, 24); /* Where its bytes are, and the first time. */
            int64_t time_ms = (int64_t)read_u64(&in);
            struct series *series = ref == MAP_NONE ? NULL : head_series(storage, ref);
            if (series &&
                (series->sealed_known == SEALED_NOTHING || time_ms > series->sealed_time_ms)) {
                series->sealed_known = SEALED_TIME;
                series->sealed_time_ms = time_ms;
            }
        }
    }
    kv_read_end(read);
}

static void note_all_newest(struct storage *storage)
{
    int64_t newest = atomic_load(&storage->time_max_ms);
    for (size_t i = 0; i < storage->lane_partitions.count && newest != INT64_MIN; i++) {
        const struct partition *partition = storage->lane_partitions.items[i];
        if (partition->to_ms > newest - HEAD_WINDOW_MS)
            note_newest(storage, partition, newest - HEAD_WINDOW_MS);
    }
}

bool partition_open_all(struct storage *storage, struct err *err)
{
    VEC(char *) names = {0};
    bool good = open_head(storage, err);
    DIR *dir = good ? opendir(storage->dir) : NULL;
    if (!good || !dir)
        return good ? err_set(err, ERR_IO, "open %s: cannot be read", storage->dir) : false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (str_ends(str_of(entry->d_name), STR(".open.mdb")))
            VEC_PUSH(&names, str_dup(str_of(entry->d_name)));
    }
    closedir(dir);
    VEC_SORT(&names, compare_text);
    for (size_t i = 0; i < names.count; i++) {
        char path[4096];
        struct err why = {0};
        snprintf(path, sizeof(path), "%s/%s", storage->dir, names.items[i]);
        if (good && !load_partition(storage, path, &why)) {
            good = why.code == ERR_CORRUPT ? file_set_aside(path, &why, err) : (*err = why, false);
            storage->labels_lost = true;
        }
        mem_free(names.items[i]);
    }
    VEC_FREE(&names);
    if (good)
        note_all_newest(storage);
    return good;
}

void partition_close_all(struct storage *storage)
{
    for (size_t i = 0; i < storage->lane_partitions.count; i++)
        partition_free(storage->lane_partitions.items[i]);
    VEC_FREE(&storage->lane_partitions);
    mem_free(partition_list_now(storage));
    atomic_store(&storage->partitions, NULL);
    kv_close(storage->head);
}
