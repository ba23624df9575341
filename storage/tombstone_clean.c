/* tombstone_clean: takes what is deleted out of the published days.
 *
 *     storage_clean_tombstones -> build lane: which days have series that a tombstone speaks of
 *     -> publish.c builds those anew, one after the other -> the tombstones that nothing needs go -> done
 *
 * What is not yet in a day is left out when its day is built; so long its tombstones stay. One clean at a time; who
 * asks meanwhile is told when one has ended that began after the deletes before the asking. */
#include "base/log.h"
#include "store.h"

struct clean {
    struct job job;
    struct storage *storage;
    uint64_t sequence; /* Deletes up to this one. */
    struct tombstone_list *deletes;
    VEC(struct day_file *) days; /* Referenced. */
    VEC(struct span) due;
    bool looking;
    struct err err;
};

/* --- build lane --- */

static bool day_has_deleted(const struct clean *clean, const struct day_file *day, bool *has,
                            struct err *err)
{
    const struct day_info *info = day_file_info(day);
    struct ordinal_vec found = {0};
    bool good = true;
    *has = false;
    for (uint32_t i = 0; good && !*has && i < clean->deletes->count; i++) {
        const struct tombstone *tombstone = clean->deletes->items[i];
        if (tombstone->sequence <= info->sequence_last || tombstone->from_ms > info->time_max_ms ||
            tombstone->to_ms < info->time_min_ms)
            continue;
        VEC_CLEAR(&found);
        good = disk_index_match(day_file_index(day), tombstone->matchers.items,
                                tombstone->matchers.count, &found, err);
        *has = found.count > 0;
    }
    VEC_FREE(&found);
    return good || err_wrap(err, "%s", day_file_path(day));
}

static void look_run(struct job *base)
{
    struct clean *clean = CONTAINER_OF(base, struct clean, job);
    ensure_set_job("clean tombstones");
    for (size_t i = 0; i < clean->days.count; i++) {
        const struct day_info *info = day_file_info(clean->days.items[i]);
        struct span span = {info->from_ms, info->to_ms};
        bool has;
        if (!day_has_deleted(clean, clean->days.items[i], &has, &clean->err))
            break;
        if (has)
            VEC_PUSH(&clean->due, span);
    }
    ensure_set_job("build lane");
}

/* --- loop --- */

static void clean_free(struct clean *clean)
{
    VEC_EACH (day, &clean->days) {
        day_file_unref(*day);
    }
    VEC_FREE(&clean->days);
    VEC_FREE(&clean->due);
    tombstone_list_free(clean->deletes);
    clean->storage->clean = NULL;
    mem_free(clean);
}

/* Tells those that waited for deletes up to this one. */
static void tell_waiters(struct storage *storage, uint64_t sequence, const struct err *err)
{
    VEC(struct clean_waiter) told = {0};
    size_t kept = 0;
    for (size_t i = 0; i < storage->cleaners.count; i++) {
        struct clean_waiter waiter = storage->cleaners.items[i];
        if (waiter.sequence <= sequence)
            VEC_PUSH(&told, waiter);
        else
            storage->cleaners.items[kept++] = waiter;
    }
    storage->cleaners.count = kept;
    VEC_EACH (waiter, &told) {
        waiter->done(waiter->ctx, err);
    }
    VEC_FREE(&told);
}

static void clean_fail(struct clean *clean, const struct err *err)
{
    struct storage *storage = clean->storage;
    struct err told = *err;
    uint64_t sequence = clean->sequence;
    clean_free(clean);
    tell_waiters(storage, sequence, &told);
}

static void look_done(struct job *base)
{
    struct clean *clean = CONTAINER_OF(base, struct clean, job);
    clean->looking = false;
    VEC_EACH (day, &clean->days) {
        day_file_unref(*day);
    }
    VEC_FREE(&clean->days);
    if (clean->err.code != ERR_NONE)
        clean_fail(clean, &clean->err);
    else if (clean->storage->options.wake)
        clean->storage->options.wake(clean->storage->options.wake_ctx, 0);
}

static void clean_begin(struct storage *storage)
{
    struct clean *clean = MEM_NEW(struct clean);
    const struct file_list *files = file_list_now(storage);
    clean->storage = storage;
    clean->deletes = tombstone_list_over(storage, INT64_MIN, INT64_MAX);
    clean->sequence = clean->deletes->sequence_last;
    for (uint32_t i = 0; files && i < files->count; i++) {
        struct day_file *day = files->items[i].day;
        if (day && day_file_info(day)->sequence_last < clean->sequence)
            VEC_PUSH(&clean->days, day_file_ref(day));
    }
    /* A delete that could not be written is not waited for. */
    VEC_EACH (waiter, &storage->cleaners) {
        if (waiter->sequence > clean->sequence)
            waiter->sequence = clean->sequence;
    }
    clean->job.run = look_run;
    clean->job.done = look_done;
    clean->looking = true;
    storage->clean = clean;
    storage->options.submit_build(storage->options.build_ctx, &clean->job);
}

static bool is_clean(const struct storage *storage, const struct span *span, uint64_t sequence)
{
    const struct file_list *files = file_list_now(storage);
    for (uint32_t i = 0; files && i < files->count; i++) {
        const struct store_file *file = &files->items[i];
        if (file->day && file->from_ms == span->from_ms && file->to_ms == span->to_ms)
            return day_file_info(file->day)->sequence_last >= sequence;
    }
    return true;
}

bool tombstone_clean_due(const struct storage *storage, int64_t *from_ms, int64_t *to_ms)
{
    const struct clean *clean = storage->clean;
    if (!clean || clean->looking || clean->due.count == 0)
        return false;
    *from_ms = clean->due.items[0].from_ms;
    *to_ms = clean->due.items[0].to_ms;
    return true;
}

void tombstone_clean_failed(struct storage *storage, int64_t from_ms, int64_t to_ms,
                            const struct err *err)
{
    struct clean *clean = storage->clean;
    for (size_t i = 0; clean && !clean->looking && i < clean->due.count; i++) {
        if (clean->due.items[i].from_ms == from_ms && clean->due.items[i].to_ms == to_ms) {
            clean_fail(clean, err);
            return;
        }
    }
}

void tombstone_clean_tick(struct storage *storage)
{
    struct clean *clean = storage->clean;
    struct err none = {0};
    if (storage->tombstones_to_forget && !storage->publish && storage->retired.count == 0)
        tombstone_forget(storage, 0);
    if (!clean && storage->cleaners.count > 0 && storage->tombstones_pending == 0)
        clean_begin(storage);
    if (!clean || clean->looking || storage->publish)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < clean->due.count; i++) {
        if (!is_clean(storage, &clean->due.items[i], clean->sequence))
            clean->due.items[kept++] = clean->due.items[i];
    }
    clean->due.count = kept;
    if (kept > 0)
        return;
    uint64_t sequence = clean->sequence;
    clean_free(clean);
    tombstone_forget(storage, sequence);
    tell_waiters(storage, sequence, &none);
}

void storage_clean_tombstones(struct storage *storage, storage_commit_fn done, void *ctx)
{
    struct clean_waiter waiter = {storage->tombstone_sequence, done, ctx};
    VEC_PUSH(&storage->cleaners, waiter);
    if (storage->options.wake)
        storage->options.wake(storage->options.wake_ctx, 0);
}

void tombstone_clean_stop(struct storage *storage)
{
    struct err err = {0};
    err_set(&err, ERR_CANCELED, "the server is stopping");
    if (storage->clean && !storage->clean->looking)
        clean_free(storage->clean);
    tell_waiters(storage, UINT64_MAX, &err);
}
