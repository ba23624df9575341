/* log_replay: the log back into the head at start; the same chunks as before, entry by entry.
 *
 * Two passes over the segments: the first checks every record (a bad one ends its segment, which is
 * cut there when it is the torn tail of the last) and takes the series; the second takes the
 * samples of slots that are not sealed. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "log_format.h"
#include "store.h"

#define SEGMENT_READ_MAX   ((size_t)4 << 30)
#define SEGMENT_NUMBER_MAX UINT64_C(999999999999)

struct replay {
    struct storage *storage;
    uint64_t segment;
    uint64_t samples;
    series_ref ref_last;  /* Records go in the order of ids, as refs mostly do. */
    struct kv_read *head; /* For the sealed slots; NULL when there is none. */
};

/* Our names only: eight digits or more, a plain file, a number that a store can come to. */
static bool is_segment(DIR *dir, const char *name, uint64_t *number)
{
    char canonical[32];
    struct stat info;
    if (!str_to_u64(str_of(name), number) || *number == 0 || *number > SEGMENT_NUMBER_MAX)
        return false;
    snprintf(canonical, sizeof(canonical), "%08" PRIu64, *number);
    return strcmp(canonical, name) == 0 &&
           fstatat(dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool replay_series(struct replay *replay, struct reader *in)
{
    struct storage *storage = replay->storage;
    struct label labels[SERIES_LABELS_MAX];
    struct err err = {0};
    size_t count;
    uint64_t id = read_varint(in);
    (void)read_u64(in);
    if (in->bad || id == 0 || id > NUMBER_MAX ||
        !series_decode_labels(in, labels, SERIES_LABELS_MAX, &count, &err) || count == 0)
        return false;
    uint64_t hash = labels_hash(labels, count);
    series_ref ref = head_find_id(storage, id);
    if (ref == MAP_NONE)
        ref = head_add_series(storage, id, labels, count, hash);
    else if (head_series(storage, ref)->labels_hash != hash)
        return false; /* Of another store. */
    head_series(storage, ref)->logged_segment = replay->segment;
    return true;
}

/* The series of an id: most often the one after the last. */
static series_ref entry_ref(struct replay *replay, uint64_t id)
{
    struct storage *storage = replay->storage;
    series_ref next = replay->ref_last + 1;
    bool hit = next < segments_count(&storage->series) && head_series(storage, next)->id == id &&
               !atomic_load_explicit(&head_series(storage, next)->gone, memory_order_relaxed);
    replay->ref_last = hit ? next : head_find_id(storage, id);
    return replay->ref_last;
}

static bool replay_entry(struct replay *replay, struct storage_group *group, struct reader *in,
                         uint64_t id)
{
    struct storage *storage = replay->storage;
    series_ref ref = entry_ref(replay, id);
    struct series *series = ref == MAP_NONE ? NULL : head_series(storage, ref);
    const uint8_t *begin = in->at;
    uint8_t control = read_u8(in);
    bool starts = control == CHUNK_CONTROL_START, started = false;
    if (starts) {
        begin = in->at;
        control = read_u8(in);
    }
    if (!series || (!starts && (!series->open || series->open->slot != group->slot)))
        return chunk_skip_entry(in, control);
    if (starts) {
        series->group = group->index;
        /* A writer that came after a hole starts anew before the last chunk is full. */
        series->open = NULL;
    } else if (series->open->state.count >= CHUNK_SAMPLES_MAX) {
        return false;
    }
    struct chunk_state state = starts ? (struct chunk_state){0} : series->open->state;
    if (!chunk_decode_entry(&state, in, control) ||
        (!starts && state.time_ms <= series->open->state.time_ms))
        return false;
    struct chunk *chunk = head_open_chunk(storage, series, ref, group->slot, &started);
    chunk->state = state;
    storage->chunk_bytes -= chunk->bytes;
    chunk_add(chunk, begin, (size_t)(in->at - begin));
    storage->chunk_bytes += chunk->bytes;
    if (started)
        atomic_store_explicit(&series->newest, chunk, memory_order_release);
    head_stored(storage, series, chunk->state.time_ms);
    group->slot_samples++;
    replay->samples++;
    return true;
}

static uint64_t sealed_slot(struct replay *replay, uint64_t group_key)
{
    struct str value;
    struct err err = {0};
    bool found = false;
    if (!replay->head || !kv_get(replay->head, HEAD_SEALED, group_key, &found, &value, &err) ||
        !found)
        return 0;
    struct reader in = reader_over(value);
    return read_u64(&in);
}

static bool replay_samples(struct replay *replay, struct reader *in)
{
    struct storage *storage = replay->storage;
    uint64_t key = read_u64(in), slot = read_varint(in), id = 0;
    if (in->bad || slot == 0 || slot > NUMBER_MAX)
        return false;
    if (slot <= sealed_slot(replay, key))
        return true;
    struct storage_group *group = head_group(storage, key);
    if (slot < group->slot)
        return true;
    if (group->slot != 0 && slot != group->slot)
        slot_cut(storage, group);
    if (group->slot == 0)
        head_slot_begin(storage, group, slot, clock_mono_ms());
    while (in->at < in->end) {
        id += (uint64_t)read_zigzag(in);
        if (in->bad || !replay_entry(replay, group, in, id))
            return false;
    }
    return true;
}

/* After a hole no open chunk's state can be trusted: what follows is skipped until a chunk starts.
 */
static void freeze_all(struct storage *storage)
{
    for (uint32_t ref = 0; ref < segments_count(&storage->series); ref++)
        head_series(storage, ref)->open = NULL;
}

/* False with ERR_UNAVAILABLE for a file of a newer program, which nobody may touch, else for one
 * that is damaged. */
static bool check_head(struct str bytes, uint64_t number, struct err *err)
{
    struct reader in = reader_over(bytes);
    struct str magic = read_bytes(&in, 4);
    uint32_t version = read_u32(&in);
    if (read_u64(&in) != number || !str_eq(magic, STR(LOG_MAGIC)) || version > 0xffff)
        return err_set(err, ERR_CORRUPT, "its head is damaged");
    if (version != STORE_VERSION)
        return err_set(err, ERR_UNAVAILABLE,
                       "format version %" PRIu32 "; this program reads version %d", version,
                       STORE_VERSION);
    return true;
}

/* The records of a segment up to the first torn one; *good_len is where that is. Records that are
 * whole but make no sense are stepped over. */
static bool replay_segment(struct replay *replay, struct str bytes, bool samples, size_t *good_len)
{
    struct reader in = reader_over(str_after(bytes, LOG_SEGMENT_HEAD));
    *good_len = bytes.len < LOG_SEGMENT_HEAD ? 0 : LOG_SEGMENT_HEAD;
    if (*good_len == 0)
        return false;
    while (in.at < in.end) {
        uint32_t len = read_u32(&in), crc = read_u32(&in);
        if (in.bad || len == 0 || len > LOG_RECORD_MAX || len > reader_left(&in))
            return false;
        struct str payload = read_bytes(&in, len);
        struct reader body = reader_over(payload);
        if (!samples && hash_crc32c(0, payload) != crc)
            return false;
        uint8_t kind = read_u8(&body);
        bool good = kind == LOG_SERIES    ? samples || replay_series(replay, &body)
                    : kind == LOG_SAMPLES ? !samples || replay_samples(replay, &body)
                                          : false;
        if (!good) {
            replay->storage->stats.log_corruptions++;
            if (samples)
                freeze_all(replay->storage);
        }
        *good_len = LOG_SEGMENT_HEAD + (size_t)(in.at - in.begin);
    }
    return true;
}

struct segment_file {
    uint64_t number;
    size_t good_len;
    bool whole;
    bool aside;
};

static bool replay_pass(struct replay *replay, struct segment_file *files, size_t count,
                        bool samples, struct err *err)
{
    struct storage *storage = replay->storage;
    for (size_t i = 0; i < count; i++) {
        struct buf bytes;
        char path[4096];
        size_t good_len;
        struct err why = {0};
        if (files[i].aside) {
            freeze_all(storage);
            continue;
        }
        buf_init(&bytes, SEGMENT_READ_MAX);
        snprintf(path, sizeof(path), "%s/log/%08" PRIu64, storage->dir, files[i].number);
        if (!file_read_all(path, &bytes, err)) {
            buf_deinit(&bytes);
            return false;
        }
        replay->segment = storage->log.segment = files[i].number;
        struct str text = buf_str(&bytes);
        if (!samples && text.len >= LOG_SEGMENT_HEAD && !check_head(text, files[i].number, &why)) {
            buf_deinit(&bytes);
            if (why.code != ERR_CORRUPT)
                return err_set(err, why.code, "%s has %s", path, why.text);
            if (!file_set_aside(path, &why, err))
                return false;
            storage->stats.log_corruptions++;
            files[i].aside = true;
            continue;
        }
        if (samples)
            text.len = files[i].good_len < text.len ? files[i].good_len : text.len;
        bool whole = text.len == 0 || replay_segment(replay, text, samples, &good_len);
        if (!samples) {
            files[i].whole = whole;
            files[i].good_len = text.len == 0 ? 0 : good_len;
            if (!whole) {
                LOG_W("Log segment has a bad record: what follows in it is left out", "segment",
                      path, "offset", log_fmt("%zu", good_len), "bytes", log_fmt("%zu", text.len));
                storage->stats.log_corruptions++;
            }
        } else if (!files[i].whole || !whole) {
            freeze_all(storage);
        }
        buf_deinit(&bytes);
        /* Only a tail can be cut: in the middle the file is kept as it is, for a person to look at.
         */
        if (!samples && !whole && i + 1 == count && !file_truncate(path, good_len, err))
            return false;
    }
    return true;
}

bool log_replay(struct storage *storage, struct err *err)
{
    VEC(struct segment_file) files = {0};
    VEC(uint64_t) numbers = {0};
    struct replay replay = {.storage = storage};
    int64_t begin_ns = clock_mono_ns();
    char path[4096];
    snprintf(path, sizeof(path), "%s/log", storage->dir);
    if (!file_mkdirs(path, err))
        return false;
    DIR *dir = opendir(path);
    if (!dir)
        return err_set(err, ERR_IO, "open %s: cannot be read", path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t number;
        if (is_segment(dir, entry->d_name, &number))
            VEC_PUSH(&numbers, number);
    }
    closedir(dir);
    VEC_SORT(&numbers, compare_u64);
    VEC_EACH (number, &numbers) {
        struct segment_file file = {.number = *number};
        VEC_PUSH(&files, file);
    }
    struct err ignored = {0};
    if (storage->head && !kv_read_begin(storage->head, &replay.head, &ignored))
        replay.head = NULL;
    bool good = replay_pass(&replay, files.items, files.count, false, err) &&
                replay_pass(&replay, files.items, files.count, true, err);
    kv_read_end(replay.head);
    VEC_EACH (file, &files) {
        if (!file->aside)
            VEC_PUSH(&storage->log.segments, file->number);
    }
    storage->log.segment = numbers.count ? numbers.items[numbers.count - 1] + 1 : 1;
    storage->log.segment_since_mono_ms = storage->log.synced_mono_ms = clock_mono_ms();
    storage->stats.replay_seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    storage->stats.replay_samples = replay.samples;
    VEC_FREE(&files);
    VEC_FREE(&numbers);
    return good;
}
