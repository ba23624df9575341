/* log_replay: the log back into the head at start; the same chunks as before, entry by entry.
 *
 * Two passes over the segments: the first checks every record (a bad one ends its segment, which is cut there when it is the
 * torn tail of the last) and takes the series; the second takes the rows of slots that are not sealed. A record speaks of
 * what the slot's records before it have told; after a hole the rest of that slot is left out. */
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
#include "codec.h"
#include "log_format.h"
#include "store.h"

#define SEGMENT_READ_MAX   ((size_t)4 << 30)
#define SEGMENT_NUMBER_MAX UINT64_C(999999999999)

struct replay {
    struct storage *storage;
    uint64_t segment;
    uint64_t samples;
    struct kv_read *head; /* For the sealed slots; NULL when there is none. */
    uint64_t late_sealed; /* The newest sealed slot of late samples. */
    VEC(uint64_t) sealed; /* By group index: the newest sealed slot + 1; 0: not asked yet. */
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
        !series_labels_decode(in, labels, SERIES_LABELS_MAX, &count, &err) || count == 0)
        return false;
    uint64_t hash = labels_hash(labels, count);
    series_ref ref = series_find_id(storage, id);
    if (ref == MAP_NONE) {
        ref = series_add(storage, id, labels, count, hash);
        VEC_PUSH(&storage->dead, ref);
    } else if (series_hash(storage, head_series(storage, ref)) != hash) {
        return false; /* Of another store. */
    }
    head_series(storage, ref)->logged_segment = (uint32_t)replay->segment;
    return true;
}

/* Rows of one record, as they are read. */
struct rows {
    struct replay *replay;
    struct storage_group *group;
    struct slot *slot;
    struct column *column;
    uint32_t row;
    uint32_t member;
    struct slot_walk walk; /* Stands on `member` while walk.left > 0. */
    int64_t time_ms;
    uint64_t id_last;
};

static void rows_go_to(struct rows *rows, uint32_t member)
{
    rows->member = member;
    rows->walk.left = 0;
    if (member < rows->slot->member_count)
        slot_walk_to(&rows->walk, rows->slot, member);
}

static void rows_next(struct rows *rows)
{
    rows->member++;
    if (rows->walk.left > 0)
        slot_walk_next(&rows->walk, rows->slot);
}

static bool rows_select(struct rows *rows, struct reader *in)
{
    uint64_t number = read_varint(in);
    int64_t step = read_zigzag(in);
    if (in->bad || number > UINT16_MAX ||
        __builtin_add_overflow(rows->time_ms, step, &rows->time_ms) ||
        rows->time_ms > TIME_MS_MAX || rows->time_ms < -TIME_MS_MAX)
        return false;
    rows_go_to(rows, 0);
    return slot_place_at(rows->slot, &rows->replay->storage->epoch, (uint32_t)number, rows->time_ms,
                         &rows->column, &rows->row);
}

/* A member's newest row must be before this one, in the same column. */
static struct run *rows_member(const struct rows *rows)
{
    if (!rows->column || rows->member >= rows->slot->member_count || rows->walk.left == 0)
        return NULL;
    struct run *run = rows->walk.run;
    bool fits = run->column == rows->column &&
                rows->row > atomic_load_explicit(&run->last_row, memory_order_relaxed);
    return fits ? run : NULL;
}

static void rows_stored(struct rows *rows, struct series *series, uint64_t bits)
{
    /* The next entry is coded against these bits, even if a file has newer samples already. */
    series->bits = bits;
    series->bits_known = rows->time_ms >= series_newest_ms(series);
    if (series->bits_known)
        series_set_newest_ms(series, rows->time_ms);
}

static bool rows_unchanged(struct rows *rows, uint32_t count)
{
    struct storage *storage = rows->replay->storage;
    for (uint32_t i = 0; i < count; i++) {
        struct run *run = rows_member(rows);
        if (!run || run->flags & RUN_IS_HISTOGRAM)
            return false;
        struct series *series = head_series(storage, *rows->walk.ref);
        run_repeat(run, (uint16_t)rows->row);
        rows_stored(rows, series, series->bits);
        rows_next(rows);
    }
    rows->slot->samples += count;
    rows->replay->samples += count;
    return true;
}

static bool rows_histogram(struct rows *rows, struct run *run, series_ref ref, bool joins,
                           struct reader *in, const uint8_t *begin)
{
    struct storage *storage = rows->replay->storage;
    struct histogram *histogram;
    struct arena arena;
    struct reader body = reader_over(read_varint_str(in));
    arena_init(&arena, 0);
    bool good = !in->bad &&
                codec_histogram_decode(&body, joins ? NULL : head_last_histogram(storage, ref),
                                       &arena, &histogram) &&
                body.at == body.end;
    if (good) {
        struct buf whole;
        buf_init(&whole, (size_t)64 << 20);
        codec_histogram_encode(histogram, NULL, &whole);
        run->flags |= RUN_IS_HISTOGRAM;
        run_add(run, rows->row, str_from((const char *)begin, (size_t)(in->at - begin)));
        head_set_histogram(storage, ref, histogram);
        rows_stored(rows, head_series(storage, ref), hash64(buf_str(&whole)));
        head_series(storage, ref)->is_histogram = true;
        buf_deinit(&whole);
    }
    arena_deinit(&arena);
    return good;
}

static bool rows_entry(struct rows *rows, struct run *run, series_ref ref, bool joins, uint8_t code,
                       struct reader *in)
{
    const uint8_t *begin = in->at - 1;
    struct series *series = head_series(rows->replay->storage, ref);
    rows->slot->samples++;
    rows->replay->samples++;
    if (code == STREAM_HISTOGRAM)
        return rows_histogram(rows, run, ref, joins, in, begin);
    struct stream_state state = {.bits = joins ? 0 : series->bits, .exponent = run->exponent};
    if ((run->flags & RUN_IS_HISTOGRAM) || code == STREAM_ABSENT ||
        !stream_decode(&state, code, in))
        return false;
    run->exponent = state.exponent;
    run_add(run, rows->row, str_from((const char *)begin, (size_t)(in->at - begin)));
    rows_stored(rows, series, state.bits);
    series->is_histogram = false;
    return true;
}

static bool rows_join(struct rows *rows, struct reader *in)
{
    struct storage *storage = rows->replay->storage;
    rows->id_last += (uint64_t)read_zigzag(in);
    uint8_t code = read_u8(in);
    series_ref ref = series_find_id(storage, rows->id_last);
    if (in->bad || !rows->column || ref == MAP_NONE)
        return false;
    struct series *series = head_series(storage, ref);
    struct run *run = slot_add_run(rows->slot, rows->column, rows->row, ref);
    bool was_live = series_is_live(series);
    series->group = rows->group->index;
    if (!rows_entry(rows, run, ref, true, code, in)) {
        rows->slot->member_count--; /* Nothing of it may be sealed. */
        memset(run, 0, sizeof(*run));
        return false;
    }
    atomic_init(&run->older, atomic_load_explicit(&series->newest, memory_order_relaxed));
    atomic_store_explicit(&series->newest, run, memory_order_release);
    series_note_live(storage, ref, was_live);
    rows_go_to(rows, run->member + 1);
    return true;
}

static bool rows_token(struct rows *rows, struct reader *in)
{
    uint8_t token = read_u8(in);
    uint64_t number;
    switch (token) {
    case LOG_ROW:
        return rows_select(rows, in);
    case LOG_JOIN:
        return rows_join(rows, in);
    case LOG_SEEK:
    case LOG_SKIP:
        number = read_varint(in) + (token == LOG_SKIP ? rows->member : 0);
        if (in->bad || number >= rows->slot->member_count)
            return false;
        rows_go_to(rows, (uint32_t)number);
        return true;
    default:
        break;
    }
    if (token > LOG_UNCHANGED)
        return rows_unchanged(rows, token - LOG_UNCHANGED);
    struct run *run = rows_member(rows);
    if (!run)
        return false;
    series_ref ref = *rows->walk.ref;
    rows_next(rows);
    return rows_entry(rows, run, ref, false, token, in);
}

static uint64_t sealed_number(const struct replay *replay, uint64_t group_key)
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

static uint64_t sealed_slot(struct replay *replay, const struct storage_group *group)
{
    while (replay->sealed.count <= group->index)
        VEC_PUSH(&replay->sealed, 0);
    uint64_t *known = &replay->sealed.items[group->index];
    if (*known == 0)
        *known = sealed_number(replay, group->key) + 1;
    return *known - 1;
}

static bool replay_rows(struct replay *replay, struct reader *in)
{
    struct storage *storage = replay->storage;
    uint64_t key = read_u64(in), number = read_varint(in), sequence = read_varint(in);
    if (in->bad || number == 0 || number > NUMBER_MAX)
        return false;
    struct storage_group *group = group_for(storage, key);
    if (number <= sealed_slot(replay, group) || number <= group->broken_slot ||
        (group->slot && number < group->slot->number))
        return true;
    if (group->slot && number != group->slot->number)
        seal_cut(storage, group);
    if (!group->slot)
        group_slot_begin(storage, group, number, clock_mono_ms());
    struct rows rows = {.replay = replay, .group = group, .slot = group->slot};
    if (sequence < group->slot->sequence)
        return true; /* A write that failed behind it was done again in the next segment. */
    bool good = sequence == group->slot->sequence;
    group->slot->sequence++;
    while (good && in->at < in->end)
        good = rows_token(&rows, in);
    if (good)
        return true;
    group->broken_slot = number;
    if (group->slot->member_count > 0)
        seal_cut(storage, group);
    return false;
}

/* Groups that have nothing after all. */
static void drop_empty_groups(struct storage *storage)
{
    for (size_t i = 0; i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot && group->slot->member_count == 0) {
            slot_free(group->slot);
            group->slot = NULL;
        }
        if (group)
            group_drop_unused(storage, group);
    }
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

/* Where a record of rows is. */
struct record_place {
    uint64_t group_key;
    struct str payload;
};

static int compare_place(const void *a, const void *b)
{
    const struct record_place *x = a, *y = b;
    if (x->group_key != y->group_key)
        return x->group_key < y->group_key ? -1 : 1;
    return (x->payload.ptr > y->payload.ptr) - (x->payload.ptr < y->payload.ptr);
}

/* First pass: the records of a segment up to the first torn one; *good_len is where that is. Records that are whole but
 * make no sense are stepped over. */
static bool check_segment(struct replay *replay, struct str bytes, size_t *good_len)
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
        if (hash_crc32c(0, payload) != crc)
            return false;
        uint8_t kind = read_u8(&body);
        if ((kind == LOG_SERIES && !replay_series(replay, &body)) || kind < LOG_SERIES ||
            kind > LOG_LATE)
            replay->storage->stats.log_corruptions++;
        *good_len = LOG_SEGMENT_HEAD + (size_t)(in.at - in.begin);
    }
    return true;
}

/* Second pass, over what the first has found good. Group by group: what a slot has in memory stays in the processor's
 * cache for all of its rows. When head.mdb was lost slots that are sealed come back too, and a series that has moved may
 * be in two groups: then as they were written. */
static void replay_samples(struct replay *replay, struct str bytes)
{
    struct storage *storage = replay->storage;
    struct reader in = reader_over(str_after(bytes, LOG_SEGMENT_HEAD));
    VEC(struct record_place) places = {0};
    while (in.at < in.end) {
        uint32_t len = read_u32(&in);
        (void)read_u32(&in);
        struct str payload = read_bytes(&in, len);
        struct reader body = reader_over(payload);
        uint8_t kind = read_u8(&body);
        if (in.bad)
            break;
        if (kind == LOG_ROWS) {
            struct record_place place = {.payload = payload, .group_key = read_u64(&body)};
            VEC_PUSH(&places, place);
        } else if (kind == LOG_LATE &&
                   !late_replay(storage, &body, replay->late_sealed, &replay->samples)) {
            storage->stats.log_corruptions++;
        }
    }
    if (!storage->head_is_new)
        VEC_SORT(&places, compare_place);
    VEC_EACH (place, &places) {
        struct reader body = reader_over(str_after(place->payload, 1));
        if (!replay_rows(replay, &body))
            storage->stats.log_corruptions++;
    }
    VEC_FREE(&places);
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
        if (files[i].aside)
            continue;
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
        bool whole = text.len == 0 || samples || check_segment(replay, text, &good_len);
        if (samples && text.len > LOG_SEGMENT_HEAD)
            replay_samples(replay, text);
        if (!samples) {
            files[i].whole = whole;
            files[i].good_len = text.len == 0 ? 0 : good_len;
            if (!whole) {
                LOG_W("Log segment has a bad record: what follows in it is left out", "segment",
                      path, "offset", log_fmt("%zu", good_len), "bytes", log_fmt("%zu", text.len));
                storage->stats.log_corruptions++;
            }
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
    replay.late_sealed = sealed_number(&replay, LATE_GROUP_KEY);
    bool good = replay_pass(&replay, files.items, files.count, false, err) &&
                replay_pass(&replay, files.items, files.count, true, err);
    kv_read_end(replay.head);
    VEC_FREE(&replay.sealed);
    drop_empty_groups(storage);
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
