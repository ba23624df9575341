/* tombstone: see tombstone.h. */
#include "tombstone.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "store.h"

#define MATCHERS_MAX 1024

struct tombstone *tombstone_ref(struct tombstone *tombstone)
{
    atomic_fetch_add_explicit(&tombstone->refs, 1, memory_order_relaxed);
    return tombstone;
}

void tombstone_unref(struct tombstone *tombstone)
{
    if (!tombstone || atomic_fetch_sub_explicit(&tombstone->refs, 1, memory_order_acq_rel) != 1)
        return;
    matchers_deinit(&tombstone->matchers);
    mem_free(tombstone);
}

bool tombstone_matches(const struct tombstone *tombstone, const struct label *labels, size_t count)
{
    for (size_t m = 0; m < tombstone->matchers.count; m++) {
        const struct matcher *matcher = &tombstone->matchers.items[m];
        struct str value = STR_EMPTY;
        for (size_t i = 0; i < count; i++) {
            if (str_eq(labels[i].name, matcher->name)) {
                value = labels[i].value;
                break;
            }
        }
        if (!matcher_matches(matcher, value))
            return false;
    }
    return true;
}

void tombstone_encode(const struct tombstone *tombstone, struct buf *out)
{
    buf_clear(out);
    write_u32(out, 0);
    write_u64(out, (uint64_t)tombstone->from_ms);
    write_u64(out, (uint64_t)tombstone->to_ms);
    write_u64(out, tombstone->slot);
    write_varint(out, tombstone->matchers.count);
    for (size_t i = 0; i < tombstone->matchers.count; i++) {
        const struct matcher *matcher = &tombstone->matchers.items[i];
        write_u8(out, (uint8_t)matcher->type);
        write_varint_str(out, matcher->name);
        write_varint_str(out, matcher->value);
    }
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 4));
    memcpy(out->ptr, &crc, 4);
}

static bool decode_matchers(struct reader *in, struct matchers *out, struct err *err)
{
    uint64_t count = read_varint(in);
    if (in->bad || count > MATCHERS_MAX)
        return err_set(err, ERR_CORRUPT, "it claims %" PRIu64 " matchers", count);
    out->items = mem_zalloc((count + 1) * sizeof(out->items[0]));
    for (; out->count < count; out->count++) {
        uint8_t type = read_u8(in);
        struct str name = read_varint_str(in), value = read_varint_str(in);
        if (in->bad || type > MATCH_NOT_REGEX)
            return err_set(err, ERR_CORRUPT, "its matchers are cut short");
        if (!matcher_init(&out->items[out->count], (enum matcher_type)type, name, value, err)) {
            err->code = ERR_CORRUPT;
            return false;
        }
    }
    return true;
}

bool tombstone_decode(struct tombstone **out, uint64_t sequence, struct str bytes, struct err *err)
{
    struct tombstone *tombstone = MEM_NEW(struct tombstone);
    struct reader in = reader_over(bytes);
    uint32_t crc = read_u32(&in);
    atomic_init(&tombstone->refs, 1);
    tombstone->sequence = sequence;
    tombstone->from_ms = (int64_t)read_u64(&in);
    tombstone->to_ms = (int64_t)read_u64(&in);
    tombstone->slot = read_u64(&in);
    bool good = !in.bad && crc == hash_crc32c(0, str_after(bytes, 4)) &&
                tombstone->from_ms <= tombstone->to_ms && tombstone->slot <= NUMBER_MAX &&
                sequence > 0 && sequence <= NUMBER_MAX;
    good = good || err_set(err, ERR_CORRUPT, "its bytes are damaged");
    good = good && decode_matchers(&in, &tombstone->matchers, err);
    if (good && in.at != in.end)
        good = err_set(err, ERR_CORRUPT, "bytes are left behind it");
    if (!good) {
        tombstone_unref(tombstone);
        return err_wrap(err, "tombstone %" PRIu64, sequence);
    }
    *out = tombstone;
    return true;
}

/* --- the list --- */

const struct tombstone_list *tombstone_list_now(const struct storage *storage)
{
    return atomic_load_explicit(&storage->tombstones, memory_order_acquire);
}

static struct tombstone_list *list_new(uint32_t room, uint64_t sequence_last)
{
    struct tombstone_list *list = mem_alloc(sizeof(*list) + (room + 1) * sizeof(list->items[0]));
    list->count = 0;
    list->sequence_last = sequence_last;
    return list;
}

void tombstone_list_free(void *ptr)
{
    struct tombstone_list *list = ptr;
    for (uint32_t i = 0; list && i < list->count; i++)
        tombstone_unref(list->items[i]);
    mem_free(list);
}

static void list_publish(struct storage *storage, struct tombstone_list *list)
{
    struct tombstone_list *old = atomic_load_explicit(&storage->tombstones, memory_order_relaxed);
    atomic_store_explicit(&storage->tombstones, list, memory_order_release);
    if (old)
        epoch_retire(&storage->epoch, tombstone_list_free, old);
}

struct tombstone_list *tombstone_list_over(const struct storage *storage, int64_t from_ms,
                                           int64_t to_ms)
{
    const struct tombstone_list *all = tombstone_list_now(storage);
    struct tombstone_list *list = list_new(all->count, all->sequence_last);
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->items[i]->from_ms < to_ms && all->items[i]->to_ms >= from_ms)
            list->items[list->count++] = tombstone_ref(all->items[i]);
    }
    return list;
}

size_t tombstone_ranges(void *ctx, const struct label *labels, size_t count,
                        struct delete_range *out, size_t max)
{
    const struct tombstone_list *list = ctx;
    size_t found = 0;
    for (uint32_t i = 0; i < list->count && found < max; i++) {
        const struct tombstone *tombstone = list->items[i];
        if (tombstone_matches(tombstone, labels, count))
            out[found++] =
                (struct delete_range){tombstone->from_ms, tombstone->to_ms, tombstone->slot};
    }
    return found;
}

/* --- a delete --- */

struct tombstone_job {
    struct job job;
    struct storage *storage;
    struct tombstone_list *added; /* In force when they are written. */
    VEC(uint64_t) removed;
    uint64_t next_slot;
    storage_commit_fn done; /* NULL: only `removed`. */
    void *ctx;
    bool failed;
    struct err err;
};

static bool write_added(struct tombstone_job *job, struct kv_write *write, struct err *err)
{
    struct buf value;
    bool good = true;
    buf_init(&value, (size_t)1 << 30);
    for (uint32_t i = 0; i < job->added->count && good; i++) {
        tombstone_encode(job->added->items[i], &value);
        good = kv_put(write, HEAD_TOMBSTONES, job->added->items[i]->sequence, buf_str(&value), err);
    }
    buf_deinit(&value);
    if (!good || job->added->count == 0)
        return good;
    return kv_put(write, HEAD_META, META_SEQUENCE,
                  str_from((const char *)&job->added->sequence_last, 8), err) &&
           kv_put(write, HEAD_META, META_NEXT_SLOT, str_from((const char *)&job->next_slot, 8),
                  err);
}

static void tombstone_run(struct job *base)
{
    struct tombstone_job *job = CONTAINER_OF(base, struct tombstone_job, job);
    struct kv_write *write = NULL;
    if (!job->done && job->storage->unlink_failed)
        return;
    ensure_set_job("write tombstones");
    bool good =
        kv_write_begin(job->storage->head, &write, &job->err) && write_added(job, write, &job->err);
    for (size_t i = 0; i < job->removed.count && good; i++)
        good = kv_delete(write, HEAD_TOMBSTONES, job->removed.items[i], &job->err);
    if (good)
        good = kv_commit(write, &job->err);
    else
        kv_abort(write);
    job->failed = !good;
    ensure_set_job("commit lane");
}

static bool is_among(const uint64_t *numbers, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == number)
            return true;
    }
    return false;
}

/* The list as it is now, with these and without those. */
static void list_change(struct storage *storage, const struct tombstone_list *added,
                        const uint64_t *removed, size_t removed_count)
{
    const struct tombstone_list *old = tombstone_list_now(storage);
    uint64_t last =
        added->sequence_last > old->sequence_last ? added->sequence_last : old->sequence_last;
    struct tombstone_list *list = list_new(old->count + added->count, last);
    for (uint32_t i = 0; i < old->count; i++) {
        if (!is_among(removed, removed_count, old->items[i]->sequence))
            list->items[list->count++] = tombstone_ref(old->items[i]);
    }
    for (uint32_t i = 0; i < added->count; i++)
        list->items[list->count++] = tombstone_ref(added->items[i]);
    list_publish(storage, list);
}

static void tombstone_done(struct job *base)
{
    struct tombstone_job *job = CONTAINER_OF(base, struct tombstone_job, job);
    job->storage->tombstones_pending -= job->added->count;
    if (!job->failed)
        list_change(job->storage, job->added, job->removed.items, job->removed.count);
    else
        LOG_E("Tombstones could not be written", "err", job->err.text);
    if (job->done)
        job->done(job->ctx, &job->err);
    tombstone_list_free(job->added);
    VEC_FREE(&job->removed);
    mem_free(job);
}

static struct tombstone_job *job_new(struct storage *storage, uint32_t room)
{
    struct tombstone_job *job = MEM_NEW(struct tombstone_job);
    job->job.run = tombstone_run;
    job->job.done = tombstone_done;
    job->storage = storage;
    job->added = list_new(room, 0);
    return job;
}

static bool same_matchers(const struct matchers *a, const struct matchers *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = a->items[i].type == b->items[i].type && str_eq(a->items[i].name, b->items[i].name) &&
               str_eq(a->items[i].value, b->items[i].value);
    return same;
}

/* Older ones that the new one says all of. */
static void remove_covered(struct tombstone_job *job, const struct tombstone *tombstone)
{
    const struct tombstone_list *list = tombstone_list_now(job->storage);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct tombstone *old = list->items[i];
        if (old->from_ms >= tombstone->from_ms && old->to_ms <= tombstone->to_ms &&
            same_matchers(&old->matchers, &tombstone->matchers))
            VEC_PUSH(&job->removed, old->sequence);
    }
}

static int64_t clamp_time(int64_t time_ms)
{
    return time_ms < -TIME_MS_MAX ? -TIME_MS_MAX : time_ms > TIME_MS_MAX ? TIME_MS_MAX : time_ms;
}

bool storage_delete(struct storage *storage, struct matchers *sets, size_t set_count,
                    int64_t from_ms, int64_t to_ms, storage_commit_fn done, void *ctx,
                    struct err *err)
{
    const struct tombstone_list *list = tombstone_list_now(storage);
    if (list->count + storage->tombstones_pending + set_count > TOMBSTONES_MAX)
        return err_set(err, ERR_LIMIT,
                       "there are %" PRIu32 " deletes that have not been cleaned: clean the "
                       "tombstones first",
                       list->count);
    struct tombstone_job *job = job_new(storage, (uint32_t)set_count);
    seal_cut_all(storage);
    for (size_t i = 0; i < set_count && from_ms <= to_ms; i++) {
        struct tombstone *tombstone = MEM_NEW(struct tombstone);
        atomic_init(&tombstone->refs, 1);
        tombstone->sequence = ++storage->tombstone_sequence;
        tombstone->slot = storage->next_slot - 1;
        tombstone->from_ms = clamp_time(from_ms);
        tombstone->to_ms = clamp_time(to_ms);
        tombstone->matchers = sets[i];
        sets[i] = (struct matchers){0};
        remove_covered(job, tombstone);
        job->added->items[job->added->count++] = tombstone;
    }
    job->added->sequence_last = storage->tombstone_sequence;
    storage->tombstones_pending += job->added->count;
    job->next_slot = storage->next_slot;
    job->done = done;
    job->ctx = ctx;
    storage->options.submit_commit(storage->options.submit_ctx, &job->job);
    return true;
}

/* --- start and end --- */

struct loading {
    struct storage *storage;
    VEC(struct tombstone *) items;
};

static bool load_one(void *ctx, uint64_t sequence, struct str value, struct err *err)
{
    struct loading *loading = ctx;
    struct storage *storage = loading->storage;
    struct tombstone *tombstone;
    struct err why = {0};
    (void)err;
    if (loading->items.count >= TOMBSTONES_MAX)
        return true;
    if (!tombstone_decode(&tombstone, sequence, value, &why)) {
        LOG_E("A delete is damaged and left out", "err", why.text);
        return true;
    }
    if (sequence > storage->tombstone_sequence)
        storage->tombstone_sequence = sequence;
    if (tombstone->slot >= storage->next_slot)
        storage->next_slot = tombstone->slot + 1;
    VEC_PUSH(&loading->items, tombstone);
    return true;
}

/* The newest number ever given. Days know deletes that a lost head.mdb has forgotten: theirs are not given again. */
static bool load_sequence(struct storage *storage, struct kv_read *read, struct err *err)
{
    const struct file_list *files = file_list_now(storage);
    struct str value;
    bool found;
    if (!kv_get(read, HEAD_META, META_SEQUENCE, &found, &value, err))
        return false;
    struct reader in = reader_over(found ? value : STR_EMPTY);
    uint64_t sequence = read_u64(&in);
    for (uint32_t i = 0; files && i < files->count; i++) {
        uint64_t last = files->items[i].day ? day_file_info(files->items[i].day)->sequence_last : 0;
        sequence = last > sequence && last <= NUMBER_MAX ? last : sequence;
    }
    storage->tombstone_sequence = sequence <= NUMBER_MAX ? sequence : 0;
    return true;
}

bool tombstone_load_all(struct storage *storage, struct err *err)
{
    struct loading loading = {.storage = storage};
    struct kv_read *read = NULL;
    bool good = kv_read_begin(storage->head, &read, err) && load_sequence(storage, read, err) &&
                kv_each(read, HEAD_TOMBSTONES, load_one, &loading, err);
    kv_read_end(read);
    struct tombstone_list *list =
        list_new((uint32_t)loading.items.count, storage->tombstone_sequence);
    VEC_EACH (tombstone, &loading.items) {
        list->items[list->count++] = *tombstone;
    }
    VEC_FREE(&loading.items);
    list_publish(storage, list);
    return good || err_wrap(err, "read tombstones");
}

/* What replay has opened anew may have been written before a delete; what comes now goes to new slots. */
void tombstone_cut(struct storage *storage)
{
    const struct tombstone_list *list = tombstone_list_now(storage);
    if (list->count > 0)
        seal_cut_all(storage);
}

/* --- the end of a tombstone --- */

static bool open_needs(const struct partition *open, const struct tombstone *tombstone)
{
    const struct bundle_dir *dir = atomic_load_explicit(&open->dir, memory_order_relaxed);
    uint32_t count = dir ? atomic_load_explicit(&dir->count, memory_order_relaxed) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct bundle_entry *entry = &dir->entries[i];
        if (entry->slot <= tombstone->slot && entry->time_min_ms <= tombstone->to_ms &&
            entry->time_max_ms >= tombstone->from_ms)
            return true;
    }
    return false;
}

static bool is_needed(const struct storage *storage, const struct tombstone *tombstone,
                      uint64_t cleaned)
{
    const struct file_list *files = file_list_now(storage);
    for (uint32_t i = 0; files && i < files->count; i++) {
        const struct store_file *file = &files->items[i];
        if (file->from_ms > tombstone->to_ms || file->to_ms <= tombstone->from_ms)
            continue;
        if (file->open ? open_needs(file->open, tombstone)
                       : day_file_info(file->day)->sequence_last < tombstone->sequence &&
                             tombstone->sequence > cleaned)
            return true;
    }
    return seal_has_slot(storage, tombstone->slot) || late_has_slot(storage, tombstone->slot);
}

void tombstone_forget(struct storage *storage, uint64_t cleaned)
{
    const struct tombstone_list *list = tombstone_list_now(storage);
    /* A file that is retired and not yet unlinked would come back at a start: its deletes are to be there then. */
    storage->tombstones_cleaned =
        cleaned > storage->tombstones_cleaned ? cleaned : storage->tombstones_cleaned;
    storage->tombstones_to_forget = storage->publish || storage->retired.count > 0;
    if (list->count == 0 || storage->tombstones_to_forget)
        return;
    cleaned = storage->tombstones_cleaned;
    storage->tombstones_cleaned = 0;
    struct tombstone_job *job = job_new(storage, 0);
    for (uint32_t i = 0; i < list->count; i++) {
        if (!is_needed(storage, list->items[i], cleaned))
            VEC_PUSH(&job->removed, list->items[i]->sequence);
    }
    if (job->removed.count > 0) {
        storage->options.submit_commit(storage->options.submit_ctx, &job->job);
        return;
    }
    tombstone_list_free(job->added);
    mem_free(job);
}

void tombstone_free_all(struct storage *storage)
{
    tombstone_list_free(atomic_load(&storage->tombstones));
    atomic_store(&storage->tombstones, NULL);
}
