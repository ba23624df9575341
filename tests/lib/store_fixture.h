/* store_fixture: a storage in a fresh directory, with a lane that the test drives. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lane_now.h"
#include "storage.h"

struct store_fixture {
    char dir[64];
    struct lane_now lane;
    struct storage_options options;
    struct storage *storage;
    struct storage_group *group;
    bool one_thread; /* The start's. */
};

/* What a lane's threads do for a start: one helps. */
struct store_share {
    void (*run)(void *arg, unsigned index);
    void *arg;
};

static inline void *store_share_main(void *ctx)
{
    struct store_share *share = ctx;
    share->run(share->arg, 1);
    return NULL;
}

static inline void store_parallel(void *ctx, unsigned count, void (*run)(void *arg, unsigned index),
                                  void *arg)
{
    struct store_share share = {run, arg};
    pthread_t thread;
    (void)ctx;
    if (count != 2 || pthread_create(&thread, NULL, store_share_main, &share) != 0)
        abort();
    run(arg, 0);
    if (pthread_join(thread, NULL) != 0)
        abort();
}

static inline bool store_try_open(struct store_fixture *f, struct err *err)
{
    f->options.path = str_of(f->dir);
    f->options.parallel = f->one_thread ? NULL : store_parallel;
    f->options.parallel_count = 2;
    f->options.submit_commit = lane_now_submit;
    f->options.submit_ctx = &f->lane;
    if (!storage_open(&f->storage, &f->options, err))
        return false;
    f->group = storage_group_open(f->storage, 42);
    return true;
}

static inline void store_open(struct store_fixture *f)
{
    struct err err = {0};
    if (!store_try_open(f, &err)) {
        fprintf(stderr, "storage_open: %s\n", err.text);
        abort();
    }
}

static inline void store_setup(struct store_fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/narthex-test-XXXXXX");
    if (!mkdtemp(f->dir))
        abort();
    storage_options_init(&f->options);
    f->options.build_delay_ms = INT64_MAX / 4; /* Days are built where a test wants them. */
    lane_now_init(&f->lane);
    store_open(f);
}

static inline void store_close(struct store_fixture *f)
{
    lane_now_run(&f->lane);
    storage_group_close(f->group);
    storage_close(f->storage);
    f->storage = NULL;
}

static inline void store_remove_dir(struct store_fixture *f)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    if (system(command) != 0)
        abort();
}

static inline void store_teardown(struct store_fixture *f)
{
    if (f->storage)
        store_close(f);
    store_remove_dir(f);
}

/* For code in a child, where cmocka's assertions must not jump. */
#define STORE_REQUIRE(x)                                                                           \
    ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), _exit(1)))

/* Opens the store in a child, runs `run` and ends it as kill -9 would: nothing is closed, no job
 * runs, pending bytes are lost. The parent's store must be closed. True when the child came
 * through. */
static inline bool store_killed_after(struct store_fixture *f, void (*run)(struct store_fixture *f))
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        store_open(f);
        run(f);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* Runs what is due until nothing is, with the monotonic clock `ms` ahead. */
static inline void store_tick(struct store_fixture *f, int64_t ahead_ms)
{
    for (int i = 0; i < 4; i++) {
        storage_tick(f->storage, clock_mono_ms() + ahead_ms);
        lane_now_run(&f->lane);
    }
}

/* Pins the series name{i="number"}. */
static inline series_ref store_series(struct store_fixture *f, const char *name, int number)
{
    char text[32];
    struct err err = {0};
    snprintf(text, sizeof(text), "%d", number);
    struct label labels[3] = {
        {LABEL_NAME, str_of(name)}, {STR("i"), str_of(text)}, {STR("job"), STR("test")}};
    series_ref ref = storage_series(f->storage, f->group, labels, 3, labels_hash(labels, 3), &err);
    if (ref == SERIES_REF_NONE) {
        fprintf(stderr, "storage_series: %s\n", err.text);
        abort();
    }
    return ref;
}

static inline enum sample_outcome store_add(struct store_fixture *f, series_ref ref,
                                            int64_t time_ms, double value)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    batch_add(&batch, ref, time_ms, value);
    if (!storage_append(f->storage, f->group, &batch, &options, &result, &err)) {
        fprintf(stderr, "storage_append: %s\n", err.text);
        abort();
    }
    enum sample_outcome outcome = batch.samples.items[0].outcome;
    batch_deinit(&batch);
    return outcome;
}

/* Without abort when storage refuses the batch: SAMPLE_OUTCOME_COUNT. */
static inline enum sample_outcome store_try_add(struct store_fixture *f, series_ref ref,
                                                int64_t time_ms, double value)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    enum sample_outcome outcome = SAMPLE_OUTCOME_COUNT;
    batch_add(&batch, ref, time_ms, value);
    if (storage_append(f->storage, f->group, &batch, &options, &result, &err))
        outcome = batch.samples.items[0].outcome;
    batch_deinit(&batch);
    return outcome;
}

/* All samples of the one series name{i="number"} in the range: count, and the arrays if asked for.
 */
struct store_samples {
    size_t series;
    size_t count;
    int64_t *time_ms;
    double *value;
};

static inline struct store_samples store_read(struct store_fixture *f, const char *name, int number,
                                              int64_t from_ms, int64_t to_ms)
{
    struct store_samples out = {0};
    struct matcher matchers[2];
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    char text[32];
    snprintf(text, sizeof(text), "%d", number);
    if (!matcher_init(&matchers[0], MATCH_EQUAL, LABEL_NAME, str_of(name), &err) ||
        !matcher_init(&matchers[1], MATCH_EQUAL, STR("i"), str_of(text), &err) ||
        !storage_select(f->storage, matchers, 2, from_ms, to_ms, &selection, &err))
        abort();
    out.series = selection_count(selection);
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < out.series; i++) {
        cursor_seek(cursor, i);
        for (;;) {
            if (!cursor_next(cursor, &block, &err)) {
                fprintf(stderr, "cursor_next: %s\n", err.text);
                abort();
            }
            if (block.count == 0)
                break;
            out.time_ms = mem_realloc(out.time_ms, (out.count + block.count) * sizeof(int64_t));
            out.value = mem_realloc(out.value, (out.count + block.count) * sizeof(double));
            memcpy(out.time_ms + out.count, block.time_ms, block.count * sizeof(int64_t));
            memcpy(out.value + out.count, block.value, block.count * sizeof(double));
            out.count += block.count;
        }
    }
    cursor_free(cursor);
    selection_free(selection);
    matcher_deinit(&matchers[0]);
    matcher_deinit(&matchers[1]);
    return out;
}

/* The path of the newest file below <dir>/narthex/<sub> whose name ends in `tail`; false when there
 * is none. */
static inline bool store_last_file(const struct store_fixture *f, const char *sub, const char *tail,
                                   char out[512])
{
    char folder[128], best[256] = "";
    snprintf(folder, sizeof(folder), "%s/narthex/%s", f->dir, sub);
    DIR *dir = opendir(folder);
    if (!dir)
        abort();
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.' && str_ends(str_of(entry->d_name), str_of(tail)) &&
            strcmp(entry->d_name, best) > 0)
            snprintf(best, sizeof(best), "%s", entry->d_name);
    }
    closedir(dir);
    snprintf(out, 512, "%s/%s", folder, best);
    return best[0] != '\0';
}

/* Overwrites bytes of a file. */
static inline void store_poke(const char *path, long at, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "r+b");
    if (!file || fseek(file, at, SEEK_SET) != 0 || fwrite(bytes, 1, len, file) != len ||
        fclose(file) != 0)
        abort();
}

static inline size_t store_file_count(const struct store_fixture *f, const char *sub)
{
    char folder[128];
    size_t count = 0;
    snprintf(folder, sizeof(folder), "%s/narthex/%s", f->dir, sub);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static inline void store_samples_free(struct store_samples *samples)
{
    mem_free(samples->time_ms);
    mem_free(samples->value);
}

#endif
