/* damage_world: a small store with every kind of file in it, as bytes in memory: days, an open partition, overlays, index
 * segments, tombstones and exemplars, a log. What it has written is known by series and time, so that each sample that is
 * shown later can be judged. */
#ifndef TESTS_DAMAGE_WORLD_H
#define TESTS_DAMAGE_WORLD_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/vec.h"
#include "file.h"
#include "store_fixture.h"

#define WORLD_HOUR   (INT64_C(60) * 60 * 1000)
#define WORLD_T0     (WORLD_HOUR * 24 * 19000)
#define WORLD_STEP   15000
#define WORLD_TIMES  6000 /* Steps from T0: 25 hours. */
#define WORLD_SERIES 48
#define WORLD_FILES  64
#define WORLD_FOLDER "narthex"

enum world_kind { WORLD_FLOAT, WORLD_COUNTER, WORLD_CONSTANT, WORLD_HISTOGRAM, WORLD_KINDS };

struct world_file {
    char name[160]; /* Below <dir>/narthex. */
    char *bytes;
    size_t len;
};

/* Of each series and time: was it written, is it shown. */
struct world_seen {
    uint8_t shown[WORLD_SERIES][WORLD_TIMES];
    uint8_t failed[WORLD_SERIES]; /* A read of it ended in an error. */
    size_t errors, exemplars;
    bool select_failed;
    char wrong[256];         /* Not empty: a value or a series that never was. */
    char text[ERR_TEXT_MAX]; /* Of the last error. */
};

struct world {
    struct world_file files[WORLD_FILES];
    size_t count;
    uint8_t written[WORLD_SERIES][WORLD_TIMES];
    uint64_t hashes[WORLD_SERIES];
};

static inline double world_value(uint32_t number, uint32_t at)
{
    switch (number % WORLD_KINDS) {
    case WORLD_COUNTER:
        return number * 1000.0 + at * 3;
    case WORLD_CONSTANT:
        return number;
    case WORLD_HISTOGRAM:
        return at + 1.0;
    default:
        return (double)(hash64_mix(number, at) >> 20) / 1024;
    }
}

static inline struct histogram *world_histogram(uint32_t number, uint32_t at, struct arena *arena)
{
    uint32_t count = 2 + number % 5;
    struct histogram *histogram = arena_alloc(arena, sizeof(*histogram));
    struct histogram_span *span = arena_alloc(arena, sizeof(*span));
    double *buckets = arena_alloc_array(arena, count, sizeof(*buckets));
    double total = 1;
    *span = (struct histogram_span){(int32_t)number % 3, count};
    for (uint32_t i = 0; i < count; i++)
        total += buckets[i] = at * 2.0 + i;
    *histogram = (struct histogram){.schema = 3,
                                    .is_integer = true,
                                    .zero_threshold = 0.001,
                                    .zero_count = 1,
                                    .count = total,
                                    .sum = world_value(number, at),
                                    .positive_spans = span,
                                    .positive_span_count = 1,
                                    .positive = buckets,
                                    .positive_count = count};
    return histogram;
}

/* --- writing --- */

static inline size_t world_labels(uint32_t number, char text[96], struct label out[4])
{
    static const char *const names[WORLD_KINDS] = {"noise", "requests_total", "up", "latency"};
    snprintf(text, 96, "%u", number);
    snprintf(text + 16, 80, "/a/path/of/some/length/%u/%u", number * 7919, number % 3);
    out[0] = (struct label){LABEL_NAME, str_of(names[number % WORLD_KINDS])};
    out[1] = (struct label){STR("i"), str_of(text)};
    out[2] = (struct label){STR("job"), STR("test")};
    out[3] = (struct label){STR("path"), str_of(text + 16)};
    return 4;
}

static inline series_ref world_series(struct store_fixture *f, uint32_t number)
{
    char text[96];
    struct label labels[4];
    struct err err = {0};
    size_t count = world_labels(number, text, labels);
    return storage_series(f->storage, f->group, labels, count, labels_hash(labels, count), &err);
}

/* One scrape of the series first..last at time `at`. False when storage refuses it. */
static inline bool world_scrape(struct world *world, struct store_fixture *f, uint32_t first,
                                uint32_t last, uint32_t at)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    struct arena arena;
    series_ref refs[WORLD_SERIES];
    bool good = true;
    arena_init(&arena, 0);
    for (uint32_t n = first; n <= last && good; n++) {
        refs[n] = world_series(f, n);
        good = refs[n] != SERIES_REF_NONE;
        int64_t time_ms = WORLD_T0 + (int64_t)at * WORLD_STEP;
        if (good && n % WORLD_KINDS == WORLD_HISTOGRAM)
            batch_add_histogram(&batch, refs[n], time_ms, world_histogram(n, at, &arena));
        else if (good)
            batch_add(&batch, refs[n], time_ms, world_value(n, at));
    }
    good = good && storage_append(f->storage, f->group, &batch, &options, &result, &err);
    for (size_t i = 0; i < batch.samples.count; i++) {
        enum sample_outcome outcome = batch.samples.items[i].outcome;
        if (good && (outcome == SAMPLE_STORED || outcome == SAMPLE_LATE))
            world->written[first + i][at] = 1;
        storage_series_release(f->storage, refs[first + i]);
    }
    arena_deinit(&arena);
    batch_deinit(&batch);
    return good;
}

static inline void world_exemplar(struct store_fixture *f, uint32_t number, uint32_t at)
{
    struct label labels[1] = {{STR("trace_id"), STR("0af7651916cd43dd8448eb211c80319c")}};
    struct exemplar exemplar = {.time_ms = WORLD_T0 + (int64_t)at * WORLD_STEP,
                                .value = world_value(number, at),
                                .labels = labels,
                                .label_count = 1};
    series_ref ref = world_series(f, number);
    STORE_REQUIRE(storage_exemplar_add(f->storage, ref, &exemplar) == EXEMPLAR_STORED);
    storage_series_release(f->storage, ref);
}

static inline void world_deleted(void *ctx, const struct err *err)
{
    STORE_REQUIRE(err->code == ERR_NONE);
    *(bool *)ctx = true;
}

static inline void world_delete(struct store_fixture *f, const char *number, uint32_t from,
                                uint32_t to)
{
    struct matchers set = {.items = mem_zalloc(sizeof(struct matcher)), .count = 1};
    struct err err = {0};
    bool done = false;
    STORE_REQUIRE(matcher_init(&set.items[0], MATCH_EQUAL, STR("i"), str_of(number), &err));
    STORE_REQUIRE(storage_delete(f->storage, &set, 1, WORLD_T0 + (int64_t)from * WORLD_STEP,
                                 WORLD_T0 + (int64_t)to * WORLD_STEP, world_deleted, &done, &err));
    matchers_deinit(&set);
    lane_now_run(&f->lane);
    STORE_REQUIRE(done);
}

/* Time goes on by `hours`, in steps that let each job follow the one before. */
static inline void world_wait(struct store_fixture *f, int64_t *ahead_ms, int64_t hours)
{
    *ahead_ms += hours * WORLD_HOUR;
    for (int i = 0; i < 12; i++, *ahead_ms += 2000)
        store_tick(f, *ahead_ms);
}

static inline void world_options(struct store_fixture *f, bool builds)
{
    storage_options_init(&f->options);
    f->options.partition_ms = 2 * WORLD_HOUR;
    f->options.out_of_order_ms = 100 * WORLD_HOUR;
    f->options.exemplars_max = 100;
    f->options.build_delay_ms = builds ? 0 : INT64_MAX / 4;
}

/* Two hours are 480 steps. */
static inline void world_fill(struct world *world, struct store_fixture *f)
{
    int64_t ahead_ms = 0;
    world_options(f, true);
    store_open(f);
    for (uint32_t at = 0; at < 960; at += 4) /* Two days. */
        STORE_REQUIRE(world_scrape(world, f, 0, 31, at));
    for (uint32_t at = 2400; at < 2520; at += 2)
        STORE_REQUIRE(world_scrape(world, f, 0, 31, at));
    world_wait(f, &ahead_ms, 3);
    store_close(f);
    world_options(f, false);
    f->options.spill_min = 1;
    store_open(f);
    world_delete(f, "5", 100, 700);
    STORE_REQUIRE(world_scrape(world, f, 3, 4, 101)); /* Overlays. */
    STORE_REQUIRE(world_scrape(world, f, 5, 7, 602));
    for (uint32_t at = 2520; at < 2640; at += 2)
        STORE_REQUIRE(world_scrape(world, f, 0, 39, at));
    world_wait(f, &ahead_ms, 3);
    for (uint32_t at = 2640; at < 2760; at += 2) /* 24 and above have died. */
        STORE_REQUIRE(world_scrape(world, f, 0, 23, at));
    world_wait(f, &ahead_ms, 3);
    world_delete(f, "6", 2500, 2700);
    store_close(f);
    store_open(f);
    ahead_ms = 0;
    for (uint32_t at = 2760; at < 2800; at++)
        STORE_REQUIRE(world_scrape(world, f, 0, 19, at));
    for (uint32_t n = 0; n < 10; n++)
        world_exemplar(f, n, 2790 + n);
    for (int minute = 0; minute < 12; minute += 3) /* Another segment. */
        store_tick(f, minute * 60 * 1000);
    for (uint32_t at = 2800; at < 2840; at++)
        STORE_REQUIRE(world_scrape(world, f, 0, 19, at));
    STORE_REQUIRE(world_scrape(world, f, 2, 3, 2401)); /* Late, in the log. */
    store_close(f);
}

/* --- bytes --- */

static inline void world_take(struct world *world, const char *dir, const char *sub)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s/" WORLD_FOLDER "/%s", dir, sub);
    DIR *list = opendir(folder);
    STORE_REQUIRE(list != NULL);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        char path[512];
        struct stat info;
        struct err err = {0};
        struct buf bytes;
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || strstr(path, "-lock") ||
            strcmp(entry->d_name, "lock") == 0)
            continue;
        STORE_REQUIRE(world->count < WORLD_FILES);
        struct world_file *file = &world->files[world->count++];
        snprintf(file->name, sizeof(file->name), "%s%.120s", sub, entry->d_name);
        buf_init(&bytes, 1 << 26);
        STORE_REQUIRE(file_read_all(path, &bytes, &err));
        file->len = bytes.len;
        file->bytes = mem_alloc(bytes.len + 1);
        memcpy(file->bytes, bytes.ptr, bytes.len);
        buf_deinit(&bytes);
    }
    closedir(list);
}

static inline int world_compare(const void *a, const void *b)
{
    return strcmp(((const struct world_file *)a)->name, ((const struct world_file *)b)->name);
}

static inline struct world *world_new(void)
{
    struct world *world = MEM_NEW(struct world);
    struct store_fixture f = {0};
    for (uint32_t n = 0; n < WORLD_SERIES; n++) {
        char text[96];
        struct label labels[4];
        size_t count = world_labels(n, text, labels);
        world->hashes[n] = labels_hash(labels, count);
    }
    store_setup(&f);
    store_close(&f);
    world_fill(world, &f);
    world_take(world, f.dir, "");
    world_take(world, f.dir, "log/");
    qsort(world->files, world->count, sizeof(world->files[0]), world_compare);
    store_remove_dir(&f);
    return world;
}

static inline void world_free(struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        mem_free(world->files[i].bytes);
    mem_free(world);
}

static inline void world_write_file(const char *dir, const char *name, const char *bytes,
                                    size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/" WORLD_FOLDER "/%s", dir, name);
    FILE *file = fopen(path, "wb");
    STORE_REQUIRE(file && (len == 0 || fwrite(bytes, 1, len, file) == len));
    STORE_REQUIRE(fclose(file) == 0);
}

/* The same inode: whoever has it mapped sees it. */
static inline void world_overwrite_file(const char *dir, const char *name, const char *bytes,
                                        size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/" WORLD_FOLDER "/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    STORE_REQUIRE(fd >= 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len &&
                  ftruncate(fd, (off_t)len) == 0);
    close(fd);
}

static inline void world_make_dir(struct store_fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "%s/narthex-damage-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    STORE_REQUIRE(mkdtemp(f->dir));
}

/* Lays the files down in its directory, all but `except` (count: all). */
static inline void world_lay_down(const struct world *world, struct store_fixture *f, size_t except)
{
    char path[128];
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/" WORLD_FOLDER "/log", f->dir);
    STORE_REQUIRE(file_mkdirs(path, &err));
    for (size_t i = 0; i < world->count; i++) {
        if (i != except)
            world_write_file(f->dir, world->files[i].name, world->files[i].bytes,
                             world->files[i].len);
    }
    lane_now_init(&f->lane);
}

/* --- reading --- */

static inline void world_wrong(struct world_seen *seen, const char *what, uint32_t number,
                               int64_t time_ms, double value)
{
    if (!seen->wrong[0])
        snprintf(seen->wrong, sizeof(seen->wrong), "series %u, step %g: %s, value %g", number,
                 (double)(time_ms - WORLD_T0) / WORLD_STEP, what, value);
}

static inline void world_failed(struct world_seen *seen, const struct err *err)
{
    seen->errors++;
    snprintf(seen->text, sizeof(seen->text), "%s", err->text);
}

static inline void world_judge(const struct world *world, struct world_seen *seen, uint32_t number,
                               const struct sample_block *block, size_t i, struct arena *arena)
{
    int64_t time_ms = block->time_ms[i], at = (time_ms - WORLD_T0) / WORLD_STEP;
    const struct histogram *histogram = block->histogram ? block->histogram[i] : NULL;
    double value = histogram ? histogram->sum : block->value[i];
    if ((time_ms - WORLD_T0) % WORLD_STEP || at < 0 || at >= WORLD_TIMES ||
        !world->written[number][at]) {
        world_wrong(seen, "never written", number, time_ms, value);
        return;
    }
    if (seen->shown[number][at])
        world_wrong(seen, "there twice", number, time_ms, value);
    seen->shown[number][at] = 1;
    if ((histogram != NULL) != (number % WORLD_KINDS == WORLD_HISTOGRAM)) {
        world_wrong(seen, "of another kind", number, time_ms, value);
    } else if (!histogram && value != world_value(number, (uint32_t)at)) {
        world_wrong(seen, "wrong", number, time_ms, value);
    } else if (histogram) {
        arena_reset(arena);
        struct histogram *wanted = world_histogram(number, (uint32_t)at, arena);
        wanted->hint = histogram->hint;
        if (!histogram_same(wanted, histogram))
            world_wrong(seen, "another histogram", number, time_ms, value);
    }
}

static inline uint32_t world_number(const struct world *world, const struct labels *labels)
{
    for (uint32_t n = 0; n < WORLD_SERIES; n++) {
        if (labels_hash(labels->items, labels->count) == world->hashes[n])
            return n;
    }
    return WORLD_SERIES;
}

static inline void world_read_series(const struct world *world, struct world_seen *seen,
                                     struct cursor *cursor, uint32_t number, struct arena *arena)
{
    struct sample_block block;
    struct err err = {0};
    int64_t before = INT64_MIN;
    do {
        if (!cursor_next(cursor, &block, &err)) {
            world_failed(seen, &err);
            seen->failed[number] = 1;
            return;
        }
        for (size_t i = 0; i < block.count; i++) {
            if (block.time_ms[i] <= before)
                world_wrong(seen, "out of order", number, block.time_ms[i], 0);
            before = block.time_ms[i];
            world_judge(world, seen, number, &block, i, arena);
        }
    } while (block.count);
}

static inline void world_read(const struct world *world, struct store_fixture *f,
                              struct world_seen *seen)
{
    struct selection *selection;
    struct err err = {0};
    struct arena arena;
    memset(seen, 0, sizeof(*seen));
    if (!storage_select(f->storage, NULL, 0, INT64_MIN, INT64_MAX, &selection, &err)) {
        world_failed(seen, &err);
        seen->select_failed = true;
        return;
    }
    arena_init(&arena, 0);
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        uint32_t number = world_number(world, selection_labels(selection, i));
        if (number == WORLD_SERIES) {
            world_wrong(seen, "a series that never was", number, WORLD_T0, 0);
            continue;
        }
        cursor_seek(cursor, i);
        world_read_series(world, seen, cursor, number, &arena);
    }
    cursor_free(cursor);
    selection_free(selection);
    struct exemplar_list *exemplars = storage_exemplars(f->storage, INT64_MIN, INT64_MAX);
    for (size_t i = 0; i < exemplars->count; i++) {
        const struct exemplar_item *item = &exemplars->items[i];
        uint32_t number = world_number(world, item->series);
        int64_t at = (item->time_ms - WORLD_T0) / WORLD_STEP;
        if (number == WORLD_SERIES || item->value != world_value(number, (uint32_t)at) ||
            item->labels->count != 1)
            world_wrong(seen, "wrong exemplar", number, item->time_ms, item->value);
    }
    seen->exemplars = exemplars->count;
    exemplar_list_free(exemplars);
    arena_deinit(&arena);
}

#endif
