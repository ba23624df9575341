/* log_replay: the log back into the head at start.
 *
 *     first pass     every record is checked (a bad one ends its segment, which is cut there when it is the torn tail of the
 *                    last) and the series are taken
 *     second pass    windows of a segment, one after the other: the rows of slots that are not sealed, group by group, so that
 *                    what a slot has in memory stays in the processor's cache; the groups of a window on several threads
 *
 * A series has samples in memory of one group only, so threads do not meet (log_rows.c). But when head.mdb was lost, slots
 * that are sealed come back, and a series that has moved since then is in two groups: then the rows are taken as they were
 * written, by one thread. Segments are read piece by piece: the memory of a start is that of what it finds. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "exemplar_log.h"
#include "log_format.h"
#include "log_rows.h"
#include "log_segment.h"
#include "seal_target.h"
#include "store.h"

#define SEGMENT_NUMBER_MAX UINT64_C(999999999999)

#define CHECK_WINDOW ((size_t)1 << 20)
#define ROWS_WINDOW  ((size_t)4 << 20)
#define THREADS_MAX  64u

/* Where a record of rows is. */
struct record_place {
    struct storage_group *group;
    struct str body; /* Behind kind and group key. */
};

/* The records of one group in a window. */
struct batch_of_rows {
    size_t first, count;
    uint64_t bytes;
};

struct replay {
    struct storage *storage;
    uint64_t segment;
    uint64_t late_samples;
    struct kv_read *head; /* For the sealed slots; NULL when there is none. */
    uint64_t late_sealed; /* The newest sealed slot of late samples. */
    VEC(uint64_t) sealed; /* By group index: the newest sealed slot + 1; 0: not asked yet. */
    bool as_written;
    struct exemplar_finds exemplars;
    /* Of the window: */
    VEC(struct record_place) places;
    VEC(struct batch_of_rows) batches;
    _Atomic uint32_t batch_next;
    /* Until all rows are in: */
    unsigned thread_count;
    struct log_rows threads[THREADS_MAX];
    VEC(struct slot_cut) cut;
    struct open_histograms histograms;
};

static void segment_path(const struct storage *storage, uint64_t segment, char out[4096])
{
    snprintf(out, 4096, "%s/log/%08" PRIu64, storage->dir, segment);
}

/* Our names only: eight digits or more, a plain file, a number that a store can come to. Of what has such a name and is no
 * file *taken is told: no segment can be made there. */
static bool is_segment(DIR *dir, const char *name, uint64_t *number, uint64_t *taken)
{
    char canonical[32];
    struct stat info;
    if (!str_to_u64(str_of(name), number) || *number == 0 || *number > SEGMENT_NUMBER_MAX)
        return false;
    snprintf(canonical, sizeof(canonical), "%08" PRIu64, *number);
    if (strcmp(canonical, name) != 0 || fstatat(dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (S_ISREG(info.st_mode))
        return true;
    LOG_W("A name of a log segment is taken by something else", "dir", "log", "name", name);
    *taken = *number > *taken ? *number : *taken;
    return false;
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
    series_set_logged(head_series(storage, ref), replay->segment);
    return true;
}

static uint64_t sealed_number(const struct replay *replay, uint64_t group_key)
{
    struct str value;
    struct err err = {0};
    bool found = false;
    if (!replay->head || !kv_get(replay->head, HEAD_SEALED, group_key, &found, &value, &err) ||
        !found)
        return 0;
    uint64_t slot;
    if (sealed_decode(group_key, value, &slot))
        return slot;
    LOG_W("A sealed slot's number in head.mdb is damaged: its group's rows are replayed");
    return 0;
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
    if (read_u64(&in) != number || !str_eq(magic, STR(LOG_MAGIC)) || version == 0 ||
        version > STORE_VERSION_MAX)
        return err_set(err, ERR_CORRUPT, "its head is damaged");
    if (version != STORE_VERSION)
        return err_set(err, ERR_UNAVAILABLE,
                       "format version %" PRIu32 "; this program reads version %d", version,
                       STORE_VERSION);
    return true;
}

/* --- first pass --- */

/* A record that is whole but makes no sense is stepped over. */
static bool check_record(struct replay *replay, struct str payload, uint32_t crc)
{
    struct reader body = reader_over(payload);
    if (hash_crc32c(0, payload) != crc)
        return false;
    uint8_t kind = read_u8(&body);
    if ((kind == LOG_SERIES && !replay_series(replay, &body)) ||
        (kind == LOG_EXEMPLARS &&
         !exemplar_log_replay(replay->storage, &body, replay->segment, &replay->exemplars)) ||
        kind < LOG_SERIES || kind > LOG_EXEMPLARS)
        replay->storage->stats.log_corruptions++;
    return true;
}

/* The records up to the first torn one. */
static bool check_records(struct replay *replay, struct segment_in *in, bool *whole,
                          struct err *err)
{
    *whole = true;
    for (;;) {
        struct str payload;
        uint32_t crc;
        size_t needed;
        enum record_found found = record_here(in, &payload, &crc, &needed);
        if (found == RECORD_END)
            return true;
        if (found == RECORD_BEYOND) {
            if (!segment_fill(in, needed > CHECK_WINDOW ? needed : CHECK_WINDOW, err))
                return false;
            if (in->window.len < needed) /* It has become shorter. */
                in->left = 0;
            continue;
        }
        *whole = found == RECORD_FOUND && check_record(replay, payload, crc);
        if (!*whole)
            return true;
        in->at += needed;
        in->good_len += needed;
    }
}

struct segment_file {
    uint64_t number;
    size_t good_len;
    bool aside;
};

static bool set_aside(struct replay *replay, struct segment_file *file, const char *path,
                      const struct err *why, struct err *err)
{
    if (why->code != ERR_CORRUPT)
        return err_set(err, why->code, "%s has %s", path, why->text);
    if (!file_set_aside(path, why, err))
        return false;
    replay->storage->stats.log_corruptions++;
    file->aside = true;
    return true;
}

static bool check_segment(struct replay *replay, struct segment_in *in, struct segment_file *file,
                          bool is_last, struct err *err)
{
    struct err why = {0};
    bool whole = false;
    uint64_t file_len = in->left;
    if (!segment_fill(in, LOG_SEGMENT_HEAD, err))
        return false;
    if (in->window.len >= LOG_SEGMENT_HEAD) {
        if (!check_head(buf_str(&in->window), file->number, &why))
            return set_aside(replay, file, in->path, &why, err);
        in->at = LOG_SEGMENT_HEAD;
        in->good_len = LOG_SEGMENT_HEAD;
        if (!check_records(replay, in, &whole, err))
            return false;
    }
    file->good_len = in->good_len;
    if (whole || file_len == 0)
        return true;
    LOG_W("Log segment has a bad record: what follows in it is left out", "segment", in->path,
          "offset", log_fmt("%zu", file->good_len), "bytes", log_fmt("%" PRIu64, file_len));
    replay->storage->stats.log_corruptions++;
    /* Only a tail can be cut: in the middle the file is kept as it is, for a person to look at. */
    return !is_last || file_truncate(in->path, file->good_len, err);
}

/* --- second pass --- */

static int compare_place(const void *a, const void *b)
{
    const struct record_place *x = a, *y = b;
    if (x->group->index != y->group->index)
        return x->group->index < y->group->index ? -1 : 1;
    return (x->body.ptr > y->body.ptr) - (x->body.ptr < y->body.ptr);
}

static int compare_batch(const void *a, const void *b)
{
    const struct batch_of_rows *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* The group of a record of rows that is to be taken; NULL when its slot is sealed. */
static struct storage_group *place_group(struct replay *replay, struct reader *body, bool *good)
{
    struct storage *storage = replay->storage;
    uint64_t key = read_u64(body);
    struct reader ahead = *body;
    uint64_t number = read_varint(&ahead);
    *good = !ahead.bad && number > 0 && number <= NUMBER_MAX;
    if (!*good)
        return NULL;
    struct storage_group *group = group_for(storage, key);
    if (number <= sealed_slot(replay, group))
        return NULL;
    if (number >= storage->next_slot)
        storage->next_slot = number + 1;
    return group;
}

static void see_record(struct replay *replay, struct str payload)
{
    struct storage *storage = replay->storage;
    struct reader body = reader_over(payload);
    uint8_t kind = read_u8(&body);
    bool good = true;
    if (kind == LOG_ROWS) {
        struct storage_group *group = place_group(replay, &body, &good);
        struct record_place place = {.group = group,
                                     .body = str_from((const char *)body.at, reader_left(&body))};
        if (group)
            VEC_PUSH(&replay->places, place);
    } else if (kind == LOG_LATE) { /* It steps over what it has. */
        good = late_replay(storage, &body, replay->late_sealed, &replay->late_samples);
    }
    storage->stats.log_corruptions += !good;
}

/* Each group's records, large groups first; or all of them as they were written. */
static void make_batches(struct replay *replay)
{
    VEC_CLEAR(&replay->batches);
    if (!replay->as_written)
        VEC_SORT(&replay->places, compare_place);
    for (size_t i = 0; i < replay->places.count; i++) {
        const struct record_place *place = &replay->places.items[i];
        struct batch_of_rows *last =
            replay->batches.count ? &replay->batches.items[replay->batches.count - 1] : NULL;
        if (!last || (!replay->as_written && place[-1].group != place->group)) {
            struct batch_of_rows batch = {.first = i};
            VEC_PUSH(&replay->batches, batch);
            last = &replay->batches.items[replay->batches.count - 1];
        }
        last->count++;
        last->bytes += place->body.len;
    }
    VEC_SORT(&replay->batches, compare_batch);
}

/* Any thread. */
static void take_batches(void *arg, unsigned index)
{
    struct replay *replay = arg;
    struct log_rows *rows = &replay->threads[index];
    rows->as_written = replay->as_written;
    for (;;) {
        uint32_t number = atomic_fetch_add_explicit(&replay->batch_next, 1, memory_order_relaxed);
        if (number >= replay->batches.count)
            return;
        const struct batch_of_rows *batch = &replay->batches.items[number];
        const struct record_place *places = replay->places.items + batch->first;
        for (size_t i = 0; i < batch->count; i++) {
            struct reader body = reader_over(places[i].body);
            rows->corruptions += !log_rows_take(rows, places[i].group, &body);
        }
    }
}

/* The window's records; false when a series turns out to be in two groups. */
static bool take_window(struct replay *replay)
{
    const struct storage_options *options = &replay->storage->options;
    bool conflict = false;
    make_batches(replay);
    atomic_store_explicit(&replay->batch_next, 0, memory_order_relaxed);
    if (replay->thread_count > 1 && replay->batches.count > 1)
        options->parallel(options->parallel_ctx, replay->thread_count, take_batches, replay);
    else
        take_batches(replay, 0);
    for (unsigned i = 0; i < replay->thread_count; i++) {
        struct log_rows *rows = &replay->threads[i];
        VEC_EACH (cut, &rows->cut) {
            VEC_PUSH(&replay->cut, *cut);
        }
        VEC_CLEAR(&rows->cut);
        open_histograms_move(&replay->histograms, &rows->histograms);
        conflict |= rows->conflict;
    }
    VEC_CLEAR(&replay->places);
    return !conflict;
}

static bool take_segment(struct replay *replay, struct segment_in *in, bool *conflict,
                         struct err *err)
{
    size_t want = ROWS_WINDOW;
    *conflict = false;
    if (!segment_fill(in, LOG_SEGMENT_HEAD, err))
        return false;
    in->at = in->window.len;
    for (;;) {
        struct str payload;
        uint32_t crc;
        size_t needed;
        enum record_found found;
        if (!segment_fill(in, want, err))
            return false;
        while ((found = record_here(in, &payload, &crc, &needed)) == RECORD_FOUND) {
            see_record(replay, payload);
            in->at += needed;
        }
        *conflict = !take_window(replay);
        if (*conflict || found != RECORD_BEYOND)
            return true;
        want = needed > ROWS_WINDOW ? needed : ROWS_WINDOW;
    }
}

static bool take_rows(struct replay *replay, const struct segment_file *files, size_t count,
                      bool *conflict, struct err *err)
{
    struct storage *storage = replay->storage;
    *conflict = false;
    for (size_t i = 0; i < count && !*conflict; i++) {
        struct segment_in in;
        char path[4096];
        if (files[i].aside || files[i].good_len <= LOG_SEGMENT_HEAD)
            continue;
        segment_path(storage, files[i].number, path);
        replay->segment = storage->log.segment = files[i].number;
        bool good = segment_open(&in, path, files[i].good_len, err) &&
                    take_segment(replay, &in, conflict, err);
        segment_close(&in);
        if (!good)
            return false;
    }
    return true;
}

/* As before the second pass. */
static void take_back(struct replay *replay)
{
    struct storage *storage = replay->storage;
    for (uint32_t i = 0; i < segments_count(&storage->series); i++)
        atomic_store_explicit(&head_series(storage, i)->newest, NULL, memory_order_relaxed);
    VEC_EACH (cut, &replay->cut) {
        slot_free(cut->slot);
    }
    VEC_CLEAR(&replay->cut);
    VEC_EACH (group, &storage->groups) {
        if (!*group)
            continue;
        slot_free((*group)->slot);
        (*group)->slot = NULL;
        (*group)->broken_slot = 0;
    }
    for (unsigned i = 0; i < replay->thread_count; i++) {
        log_rows_deinit(&replay->threads[i]);
        log_rows_init(&replay->threads[i], storage, &replay->histograms);
    }
    open_histograms_deinit(&replay->histograms);
    open_histograms_init(&replay->histograms);
}

/* What the threads have found out about the whole store. */
static void take_in(struct replay *replay)
{
    struct storage *storage = replay->storage;
    open_histograms_move(&storage->histograms, &replay->histograms);
    for (unsigned i = 0; i < replay->thread_count; i++) {
        VEC_EACH (ref, &replay->threads[i].born) {
            if (series_is_live(head_series(storage, *ref)))
                series_note_live(storage, *ref, false);
        }
        storage->stats.replay_samples += replay->threads[i].samples;
        storage->stats.log_corruptions += replay->threads[i].corruptions;
    }
    VEC_EACH (cut, &replay->cut) {
        struct slot *open = cut->group->slot;
        log_rows_note_newest(storage, cut->slot);
        cut->group->slot = cut->slot;
        seal_cut(storage, cut->group);
        cut->group->slot = open;
    }
    VEC_EACH (group, &storage->groups) {
        if (*group && (*group)->slot)
            log_rows_note_newest(storage, (*group)->slot);
    }
}

static bool replay_rows(struct replay *replay, const struct segment_file *files, size_t count,
                        struct err *err)
{
    struct storage *storage = replay->storage;
    const struct storage_options *options = &storage->options;
    bool conflict;
    replay->thread_count = options->parallel ? options->parallel_count : 1;
    replay->thread_count = replay->thread_count < 1             ? 1
                           : replay->thread_count > THREADS_MAX ? THREADS_MAX
                                                                : replay->thread_count;
    replay->as_written = storage->head_is_new;
    open_histograms_init(&replay->histograms);
    for (unsigned i = 0; i < replay->thread_count; i++)
        log_rows_init(&replay->threads[i], storage, &replay->histograms);
    bool good = take_rows(replay, files, count, &conflict, err);
    if (good && conflict) {
        LOG_I("Series of two targets in the log: it is read again as it was written");
        take_back(replay);
        replay->as_written = true;
        good = take_rows(replay, files, count, &conflict, err);
    }
    take_in(replay);
    for (unsigned i = 0; i < replay->thread_count; i++)
        log_rows_deinit(&replay->threads[i]);
    open_histograms_deinit(&replay->histograms);
    VEC_FREE(&replay->places);
    VEC_FREE(&replay->batches);
    VEC_FREE(&replay->cut);
    return good;
}

static bool check_all(struct replay *replay, struct segment_file *files, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct segment_in in;
        char path[4096];
        segment_path(replay->storage, files[i].number, path);
        replay->segment = replay->storage->log.segment = files[i].number;
        bool good = segment_open(&in, path, UINT64_MAX, err) &&
                    check_segment(replay, &in, &files[i], i + 1 == count, err);
        segment_close(&in);
        if (!good)
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
    uint64_t taken = 0;
    char path[4096];
    snprintf(path, sizeof(path), "%s/log", storage->dir);
    if (!file_mkdirs(path, err))
        return false;
    DIR *dir = opendir(path);
    if (!dir)
        return err_errno(err, errno, "open %s", path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t number;
        if (is_segment(dir, entry->d_name, &number, &taken))
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
    bool good = check_all(&replay, files.items, files.count, err) &&
                replay_rows(&replay, files.items, files.count, err);
    exemplar_log_replay_end(storage, &replay.exemplars);
    kv_read_end(replay.head);
    VEC_FREE(&replay.sealed);
    drop_empty_groups(storage);
    VEC_EACH (file, &files) {
        if (!file->aside)
            VEC_PUSH(&storage->log.segments, file->number);
    }
    if (numbers.count > 0 && numbers.items[numbers.count - 1] > taken)
        taken = numbers.items[numbers.count - 1];
    storage->log.segment = taken + 1;
    storage->log.segment_since_mono_ms = storage->log.synced_mono_ms = clock_mono_ms();
    storage->stats.replay_seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    storage->stats.replay_samples += replay.late_samples;
    VEC_FREE(&files);
    VEC_FREE(&numbers);
    return good;
}
