/* log: what was appended since the last seal, on its way to plain files.
 *
 *     append -> log.pending --log_tick, within 50 ms--> job on the commit lane: write, fdatasync
 *            -> waiters (remote write's 204) are told on the loop thread
 *
 * Segment file narthex/log/<8 digits>: head { "NXLG", u32 version, u64 number }, then records
 *     { u32 payload length, u32 CRC32C of the payload, payload }
 *     payload: u8 1 (series), varint id, u64 group key, varint label count, (name, value) texts
 *              u8 2 (rows), u64 group key, varint slot, varint number of the record in its slot, tokens
 * A token speaks of one row of a column and of the slot's members in the order of their joining:
 *     120 varint column, zigzag time - time of the token before   the row that follows; back to member 0
 *     121 zigzag id - id before, entry                            a new member
 *     122 varint member                                           go to this one
 *     128..254                                                    so many - 127 members keep their value
 *     255 varint count                                            so many members have no sample
 *     less than 120: an entry of stream.h                         the member's new value
 *     payload: u8 3 (late samples): late.c
 *     payload: u8 4 (exemplars): exemplar_log.c
 * All little-endian. A slot's first record tells all that the others build on. A torn tail is cut at the first record whose
 * length or CRC is wrong.
 *
 * A segment is unlinked when every slot that has records in it is sealed and its exemplars are in a later one. When a write fails the
 * records stay in memory (bounded), appends are refused beyond that, and the write is tried again
 * into a new segment. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "exemplar_log.h"
#include "log_format.h"
#include "store.h"

#define SEGMENT_MS        (5 * 60 * 1000)
#define SEGMENT_BYTES_MAX (UINT64_C(128) << 20)
#define PENDING_BYTES_MAX ((size_t)64 << 20) /* Refuse appends while the disk refuses ours. */
#define BATCH_LABELS_MAX  ((size_t)256 << 20)
#define RETRY_MS          1000

struct log_job {
    struct job job;
    struct storage *storage;
    struct buf bytes;
    uint64_t sequence; /* Of the last byte in `bytes`. */
    uint64_t segment;
    bool rotate; /* Close the old file first and begin `segment`. */
    bool sync;
    /* Out: */
    bool began;  /* The file of `segment` was made, or its number cannot be had. */
    bool opened; /* It is there. */
    bool failed;
    double sync_seconds;
    struct err err;
};

static void segment_path(const struct storage *storage, uint64_t segment, char out[4096])
{
    snprintf(out, 4096, "%s/log/%08" PRIu64, storage->dir, segment);
}

size_t log_record_begin(struct storage *storage, uint8_t kind)
{
    struct buf *out = &storage->log.pending;
    size_t start = out->len;
    write_u32(out, 0);
    write_u32(out, 0);
    write_u8(out, kind);
    return start;
}

void log_record_finish(struct storage *storage, size_t start)
{
    struct buf *out = &storage->log.pending;
    if (out->overflow)
        return;
    struct str payload =
        str_from(out->ptr + start + LOG_RECORD_HEAD, out->len - start - LOG_RECORD_HEAD);
    uint32_t head[2] = {(uint32_t)payload.len, hash_crc32c(0, payload)};
    memcpy(out->ptr + start, head, sizeof(head));
    storage->log.sequence += out->len - start;
    if (!storage->log.dirty_since_mono_ms)
        storage->log.dirty_since_mono_ms = clock_mono_ms();
}

void log_add_series(struct storage *storage, series_ref ref, uint64_t group_key)
{
    struct buf *out = &storage->log.pending;
    struct series *series = head_series(storage, ref);
    struct label labels[SERIES_LABELS_MAX];
    size_t start = log_record_begin(storage, LOG_SERIES);
    write_varint(out, series->id);
    write_u64(out, group_key);
    series_labels_encode(labels, series_labels(storage, series, labels), out);
    log_record_finish(storage, start);
    series_set_logged(series, storage->log.segment);
}

void log_end(struct storage *storage, struct log_record *record)
{
    if (record->group)
        log_record_finish(storage, record->start);
    *record = (struct log_record){0};
}

void log_row(struct storage *storage, struct log_record *record, struct storage_group *group,
             const struct column *column, uint32_t row)
{
    struct buf *out = &storage->log.pending;
    if (record->group == group && record->column == column && record->row == row)
        return;
    if (record->group != group) {
        log_end(storage, record);
        record->group = group;
        record->start = log_record_begin(storage, LOG_ROWS);
        write_u64(out, group->key);
        write_varint(out, group->slot->number);
        write_varint(out, group->slot->sequence++);
    }
    int64_t time_ms = column_time(column, row);
    write_u8(out, LOG_ROW);
    write_varint(out, column->number);
    write_zigzag(out, time_ms - record->time_last_ms);
    record->time_last_ms = time_ms;
    record->column = column;
    record->row = row;
    record->member = 0;
    record->unchanged_at = 0;
}

void log_member(struct storage *storage, struct log_record *record, const struct run *run,
                const struct series *series, bool joins)
{
    struct buf *out = &storage->log.pending;
    if (joins) {
        write_u8(out, LOG_JOIN);
        write_zigzag(out, (int64_t)(series->id - record->id_last));
        record->id_last = series->id;
    } else if (run->member > record->member) {
        write_u8(out, LOG_SKIP);
        write_varint(out, run->member - record->member);
    } else if (run->member < record->member) {
        write_u8(out, LOG_SEEK);
        write_varint(out, run->member);
    } else {
        return;
    }
    record->member = run->member;
    record->unchanged_at = 0;
}

void log_unchanged(struct storage *storage, struct log_record *record)
{
    struct buf *out = &storage->log.pending;
    uint8_t *token = (uint8_t *)out->ptr + record->unchanged_at;
    record->member++;
    if (record->unchanged_at && *token < LOG_UNCHANGED + LOG_UNCHANGED_MAX) {
        ++*token;
        return;
    }
    record->unchanged_at = out->len;
    write_u8(out, LOG_UNCHANGED + 1);
}

void log_entry(struct storage *storage, struct log_record *record, struct str entry)
{
    buf_add_str(&storage->log.pending, entry);
    record->member++;
    record->unchanged_at = 0;
}

/* The labels that the log has to have before the samples of this batch. Bytes are only counted when they may be too many. */
bool log_takes_labels(const struct storage *storage, const struct batch *batch, struct err *err)
{
    size_t bytes = 0;
    if (batch->samples.count < BATCH_LABELS_MAX / SERIES_BYTES_MAX ||
        batch->samples.count <= BATCH_LABELS_MAX / (storage->labels_bytes_max + 1))
        return true;
    for (size_t i = 0; i < batch->samples.count; i++) {
        const struct series *series = series_at(&storage->series, batch->samples.items[i].ref);
        if (i > 0 && batch->samples.items[i].ref == batch->samples.items[i - 1].ref)
            continue;
        struct label labels[SERIES_LABELS_MAX];
        if (series_has_labels(storage, series) || series->logged_segment >= storage->log.segment)
            continue;
        uint32_t count = series_labels(storage, series, labels);
        for (uint32_t l = 0; l < count; l++)
            bytes += labels[l].name.len + labels[l].value.len;
        if (bytes > BATCH_LABELS_MAX)
            return err_set(err, ERR_LIMIT,
                           "the new series of one request have more than %zu MiB of labels",
                           BATCH_LABELS_MAX >> 20);
    }
    return true;
}

bool log_has_room(const struct storage *storage)
{
    return storage->log.pending.len < PENDING_BYTES_MAX &&
           !(storage->log.failing && storage->log.pending.len > 0);
}

/* --- the job, on the commit lane --- */

/* Makes the file. A failure that leaves it empty leaves *began false: the number is tried again. */
static bool segment_start(struct storage *storage, uint64_t segment, bool *began, bool *opened,
                          struct err *err)
{
    struct file *file = &storage->log.file;
    char path[4096];
    struct buf head;
    if (file->fd >= 0) {
        struct err ignored = {0};
        if (!file_sync(file, &ignored))
            LOG_W("Log segment could not be synced", "err", ignored.text);
    }
    file_close(file);
    segment_path(storage, segment, path);
    *began = true;
    if (!file_open_append(file, path, err))
        return false;
    *opened = true;
    if (file->len > 0) {
        file_close(file);
        return err_set(err, ERR_IO, "open %s: a file is there already", path);
    }
    buf_init(&head, 64);
    buf_add(&head, LOG_MAGIC, 4);
    write_u32(&head, STORE_VERSION);
    write_u64(&head, segment);
    bool good = file_append(file, buf_str(&head), err);
    buf_deinit(&head);
    if (!good) {
        *began = false;
        file_close(file);
        return false;
    }
    snprintf(path, sizeof(path), "%s/log", storage->dir);
    struct err ignored = {0};
    if (!file_sync_dir(path, &ignored))
        LOG_W("Log directory could not be synced", "err", ignored.text);
    return true;
}

static void log_job_run(struct job *base)
{
    struct log_job *job = CONTAINER_OF(base, struct log_job, job);
    struct storage *storage = job->storage;
    struct file *file = &storage->log.file;
    if ((job->rotate || file->fd < 0) &&
        !segment_start(storage, job->segment, &job->began, &job->opened, &job->err)) {
        job->failed = true;
        return;
    }
    if (job->bytes.len > 0 && !file_append(file, buf_str(&job->bytes), &job->err)) {
        job->failed = true;
        return;
    }
    if (job->sync) {
        int64_t begin = clock_mono_ns();
        if (!file_sync(file, &job->err)) {
            /* Never tried again on the same file: what it holds is suspect, a new one is begun. */
            LOG_E("Log segment could not be synced", "err", job->err.text);
            file_close(file);
        }
        job->sync_seconds = (double)(clock_mono_ns() - begin) / 1e9;
    }
}

static void tell_waiters(struct storage *storage, const struct err *failure)
{
    struct log *log = &storage->log;
    size_t kept = 0, count = log->waiters.count;
    for (size_t i = 0; i < count; i++) {
        struct log_waiter waiter = log->waiters.items[i];
        if (waiter.sequence <= log->sequence_written || failure) {
            struct err none = {0};
            waiter.done(waiter.ctx, failure ? failure : &none);
        } else {
            log->waiters.items[kept++] = waiter;
        }
    }
    /* Waiters that came meanwhile stand behind the ones that were there. */
    if (log->waiters.count > count)
        memmove(log->waiters.items + kept, log->waiters.items + count,
                (log->waiters.count - count) * sizeof(log->waiters.items[0]));
    log->waiters.count -= count - kept;
    log->hurry = log->waiters.count > 0;
}

/* What a file holds whose fdatasync failed is not known: the next write begins a new file, and what was
 * written goes from memory to the partitions at once. */
static void suspect_segment(struct storage *storage)
{
    storage->log.segment_bytes = SEGMENT_BYTES_MAX + 1;
    storage->stats.degraded = true;
    for (size_t i = 0; i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot)
            seal_cut(storage, group);
    }
}

static void log_job_done(struct job *base)
{
    struct log_job *job = CONTAINER_OF(base, struct log_job, job);
    struct storage *storage = job->storage;
    struct log *log = &storage->log;
    int64_t now = clock_mono_ms();
    log->job = NULL;
    log->segment_begun = log->segment_begun || job->began;
    if (job->opened &&
        (log->segments.count == 0 || log->segments.items[log->segments.count - 1] < job->segment))
        VEC_PUSH(&log->segments, job->segment);
    if (job->failed) {
        if (!log->failing)
            LOG_E("Log cannot be written: samples are refused until it can", "err", job->err.text);
        /* What was not written goes first the next time, in front of what came since. */
        buf_add(&job->bytes, log->pending.ptr, log->pending.len);
        buf_swap(&job->bytes, &log->pending);
        log->failing = true;
        log->retry_mono_ms = now + RETRY_MS;
        storage->stats.log_failures++;
        storage->stats.degraded = true;
        tell_waiters(storage, &job->err);
    } else {
        if (log->failing)
            LOG_I("Log can be written again");
        log->failing = false;
        storage->stats.degraded = false;
        log->sequence_written = job->sequence;
        log->segment_bytes += job->bytes.len;
        storage->stats.log_bytes_written += job->bytes.len;
        if (job->bytes.len > 0)
            log->unsynced = true;
        if (job->sync) {
            log->unsynced = job->err.code != ERR_NONE;
            log->synced_mono_ms = now;
            summary_add(&storage->stats.log_fsync, job->sync_seconds, now);
            storage->stats.log_failures += job->err.code != ERR_NONE;
            if (job->err.code != ERR_NONE)
                suspect_segment(storage);
        }
        tell_waiters(storage, NULL);
    }
    bool odd = job->failed || job->rotate || job->err.code != ERR_NONE;
    buf_deinit(&job->bytes);
    mem_free(job);
    int64_t next_ms = odd ? 0 : log_next_ms(storage, now);
    if (storage->options.wake && next_ms < INT64_MAX)
        storage->options.wake(storage->options.wake_ctx, next_ms);
}

/* --- loop thread --- */

static void submit(struct storage *storage, int64_t now_mono_ms)
{
    struct log *log = &storage->log;
    struct log_job *job = MEM_NEW(struct log_job);
    job->job.run = log_job_run;
    job->job.done = log_job_done;
    job->storage = storage;
    buf_init(&job->bytes, LOG_PENDING_MAX);
    buf_swap(&job->bytes, &log->pending);
    log->asked = false;
    job->sequence = log->sequence;
    if (log->failing || now_mono_ms - log->segment_since_mono_ms >= SEGMENT_MS ||
        log->segment_bytes > SEGMENT_BYTES_MAX) {
        log->segment += log->segment_begun;
        log->segment_begun = false;
        log->segment_since_mono_ms = now_mono_ms;
        log->segment_bytes = 0;
        job->rotate = true;
    }
    job->segment = log->segment;
    job->sync =
        log->unsynced && now_mono_ms - log->synced_mono_ms >= storage->options.fsync_interval_ms;
    log->dirty_since_mono_ms = 0;
    log->job = job;
    atomic_init(&job->job.patient, log->waiters.count == 0);
    storage->options.submit_commit(storage->options.submit_ctx, &job->job);
}

int64_t log_next_ms(const struct storage *storage, int64_t now_mono_ms)
{
    const struct log *log = &storage->log;
    int64_t next = INT64_MAX, wait;
    if (log->job)
        return INT64_MAX; /* Its end wakes us. */
    if (log->failing)
        return log->retry_mono_ms > now_mono_ms ? log->retry_mono_ms - now_mono_ms : 0;
    if (log->pending.len > 0)
        next =
            log->hurry ? 0 : log->dirty_since_mono_ms + STORAGE_COMMIT_DELAY_MS / 2 - now_mono_ms;
    if (log->unsynced) {
        wait = log->synced_mono_ms + storage->options.fsync_interval_ms - now_mono_ms;
        next = wait < next ? wait : next;
    }
    return next < 0 ? 0 : next;
}

void log_tick(struct storage *storage, int64_t now_mono_ms)
{
    if (log_next_ms(storage, now_mono_ms) == 0)
        submit(storage, now_mono_ms);
}

void storage_commit(struct storage *storage, storage_commit_fn done, void *ctx)
{
    struct log *log = &storage->log;
    struct log_waiter waiter = {.sequence = log->sequence, .done = done, .ctx = ctx};
    VEC_PUSH(&log->waiters, waiter);
    log->hurry = true;
    if (log->sequence == log->sequence_written && !log->job)
        log->dirty_since_mono_ms = 0;
    if (log->job)
        atomic_store(&log->job->job.patient, false); /* ... and the loop turns once more: */
    if (storage->options.wake)
        storage->options.wake(storage->options.wake_ctx, 0);
    if (!log->job && !log->failing)
        submit(storage, clock_mono_ms());
}

void storage_rest(struct storage *storage)
{
    struct log *log = &storage->log;
    if (log->pending.len > 0 && !log->job && !log->failing)
        submit(storage, clock_mono_ms());
}

void log_drop_sealed_segments(struct storage *storage)
{
    struct log *log = &storage->log;
    uint64_t needed = exemplar_log_oldest_segment(storage, seal_oldest_segment(storage));
    size_t dropped = 0;
    for (; dropped < log->segments.count && log->segments.items[dropped] < needed; dropped++) {
        char path[4096];
        struct err err = {0};
        segment_path(storage, log->segments.items[dropped], path);
        if (!file_unlink(path, &err)) {
            LOG_W("Log segment could not be removed", "err", err.text);
            break;
        }
    }
    log->segments.count -= dropped;
    if (dropped > 0 && log->segments.count > 0)
        memmove(log->segments.items, log->segments.items + dropped,
                log->segments.count * sizeof(log->segments.items[0]));
}

/* At the end of a file whose last write failed may stand a part of it, which could not be cut off: then in a new one. Of that
 * one, too, a part of the head may be there from an earlier try. */
static bool write_last(struct storage *storage, struct err *err)
{
    struct log *log = &storage->log;
    uint64_t segment = log->segment + log->segment_begun;
    bool began, opened;
    if (log->pending.len == 0)
        return true;
    if ((log->failing || log->file.fd < 0) &&
        !segment_start(storage, segment, &began, &opened, err) &&
        !segment_start(storage, segment + 1, &began, &opened, err))
        return false;
    return file_append(&log->file, buf_str(&log->pending), err);
}

void log_close(struct storage *storage)
{
    struct log *log = &storage->log;
    struct err err = {0};
    ENSURE(!log->job);
    bool good = write_last(storage, &err);
    if (good && log->file.fd >= 0)
        good = file_sync(&log->file, &err);
    if (!good)
        LOG_E("Log could not be written at the end", "err", err.text);
    struct err closed = {.code = ERR_UNAVAILABLE, .text = "storage is closed"};
    log->sequence_written = good ? log->sequence : log->sequence_written;
    tell_waiters(storage, good ? NULL : &closed);
    file_close(&log->file);
    buf_deinit(&log->pending);
    VEC_FREE(&log->waiters);
    VEC_FREE(&log->segments);
}
