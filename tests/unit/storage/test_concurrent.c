/* Readers against the writer: a select sees each batch whole, in order and with its values, while batches go in, slots are
 * sealed on a real lane thread and old chunks are freed. Run under ThreadSanitizer as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "store_fixture.h"

#define SERIES_COUNT 40
#define ROW_COUNT    3000
#define T0           INT64_C(1700000000000)

/* A lane of one thread; its done callbacks run when the writer asks, as a loop would. */
struct thread_lane {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list todo, finished;
    bool stop;
};

static void thread_lane_submit(void *ctx, struct job *job)
{
    struct thread_lane *lane = ctx;
    pthread_mutex_lock(&lane->lock);
    list_push_back(&lane->todo, &job->node);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

static void *thread_lane_main(void *ctx)
{
    struct thread_lane *lane = ctx;
    pthread_mutex_lock(&lane->lock);
    for (;;) {
        struct list_node *node = list_pop_front(&lane->todo);
        if (node) {
            struct job *job = CONTAINER_OF(node, struct job, node);
            pthread_mutex_unlock(&lane->lock);
            job->run(job);
            pthread_mutex_lock(&lane->lock);
            list_push_back(&lane->finished, &job->node);
        } else if (lane->stop) {
            break;
        } else {
            pthread_cond_wait(&lane->changed, &lane->lock);
        }
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

static void thread_lane_finish(struct thread_lane *lane)
{
    for (;;) {
        pthread_mutex_lock(&lane->lock);
        struct list_node *node = list_pop_front(&lane->finished);
        pthread_mutex_unlock(&lane->lock);
        if (!node)
            return;
        struct job *job = CONTAINER_OF(node, struct job, node);
        job->done(job);
    }
}

struct reader {
    struct storage *storage;
    atomic_bool stop;
    size_t selects, torn, wrong, failed;
    size_t rows_max;
};

/* One select: every series must show the same rows 0..n-1. */
static void read_once(struct reader *reader)
{
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    size_t rows = SIZE_MAX;
    if (!storage_select(reader->storage, NULL, 0, INT64_MIN, INT64_MAX, &selection, &err)) {
        reader->failed++;
        return;
    }
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        size_t count = 0;
        cursor_seek(cursor, i);
        for (;;) {
            if (!cursor_next(cursor, &block, &err)) {
                reader->failed++;
                break;
            }
            if (block.count == 0)
                break;
            for (size_t k = 0; k < block.count; k++, count++) {
                if (block.time_ms[k] != T0 + (int64_t)count * 1000 ||
                    block.value[k] != (double)count)
                    reader->wrong++;
            }
        }
        if (rows != SIZE_MAX && count != rows)
            reader->torn++;
        rows = count;
    }
    if (rows != SIZE_MAX && rows > reader->rows_max)
        reader->rows_max = rows;
    cursor_free(cursor);
    selection_free(selection);
    reader->selects++;
}

static void *reader_main(void *ctx)
{
    struct reader *reader = ctx;
    while (!atomic_load(&reader->stop))
        read_once(reader);
    return NULL;
}

static void append_row(struct store_fixture *f, const series_ref *refs, int row)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    for (int i = 0; i < SERIES_COUNT; i++)
        batch_add(&batch, refs[i], T0 + row * 1000, row);
    assert_true(storage_append(f->storage, f->group, &batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED], SERIES_COUNT);
    batch_deinit(&batch);
}

/* The promise of design: readers never block the writer, and see a batch as a whole or not at all. */
static void test_select__sees_whole_batches_while_slots_are_sealed(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct thread_lane lane = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};
    struct reader readers[2] = {{0}};
    pthread_t threads[2], lane_thread;
    series_ref refs[SERIES_COUNT];
    store_setup(&f);
    store_close(&f);
    list_init(&lane.todo);
    list_init(&lane.finished);
    pthread_create(&lane_thread, NULL, thread_lane_main, &lane);
    f.options.path = str_of(f.dir);
    f.options.submit_commit = thread_lane_submit;
    f.options.submit_ctx = &lane;
    struct err err = {0};
    assert_true(storage_open(&f.storage, &f.options, &err));
    f.group = storage_group_open(f.storage, 42);
    for (int i = 0; i < SERIES_COUNT; i++)
        refs[i] = store_series(&f, "x", i);
    append_row(&f, refs, 0);
    for (int r = 0; r < 2; r++) {
        readers[r].storage = f.storage;
        pthread_create(&threads[r], NULL, reader_main, &readers[r]);
    }
    for (int row = 1; row < ROW_COUNT; row++) {
        append_row(&f, refs, row);
        /* Each 200 rows the clock jumps over a slot's end. */
        storage_tick(f.storage, clock_mono_ms() + (int64_t)(row / 200) * 40 * 60 * 1000);
        thread_lane_finish(&lane);
    }
    /* A group's slots are sealed one after the other. */
    struct storage_stats stats;
    do {
        storage_tick(f.storage, clock_mono_ms() + (int64_t)(ROW_COUNT / 200) * 40 * 60 * 1000);
        thread_lane_finish(&lane);
        usleep(1000);
        storage_get_stats(f.storage, &stats);
    } while (stats.slots_sealed < 5);
    for (int r = 0; r < 2; r++) {
        atomic_store(&readers[r].stop, true);
        pthread_join(threads[r], NULL);
        assert_int_equal(readers[r].torn, 0);
        assert_int_equal(readers[r].wrong, 0);
        assert_int_equal(readers[r].failed, 0);
        assert_true(readers[r].selects > 0);
    }
    struct reader last = {.storage = f.storage};
    read_once(&last);
    assert_int_equal(last.rows_max, ROW_COUNT);
    assert_int_equal(last.torn + last.wrong + last.failed, 0);
    pthread_mutex_lock(&lane.lock);
    lane.stop = true;
    pthread_cond_signal(&lane.changed);
    pthread_mutex_unlock(&lane.lock);
    pthread_join(lane_thread, NULL);
    thread_lane_finish(&lane);
    storage_group_close(f.group);
    storage_close(f.storage);
    store_remove_dir(&f);
}

/* --- series and files that come and go --- */

#define CHURN_STABLE 12
#define CHURN_NEW    6
#define CHURN_LIFE   10 /* Scrapes that a short-lived series is there for. */
#define CHURN_ROWS   1500
#define CHURN_STEP   60000
#define CHURN_KEPT   400 /* Scrapes that retention surely leaves: less than its eight hours. */
#define CHURN_LATE   (90 * CHURN_STEP)

struct churn_reader {
    struct storage *storage;
    atomic_bool stop;
    _Atomic int row_now;
    size_t selects, torn, wrong, failed;
};

/* What a series' value says of itself: a place in memory that is used again must not show another's. */
static double churn_value(int kind, int number, int row)
{
    return (double)row * 1e6 + number * 10 + kind;
}

static int label_number(const struct labels *labels, struct str name)
{
    uint64_t number = 0;
    for (size_t i = 0; i < labels->count; i++) {
        if (str_eq(labels->items[i].name, name))
            (void)str_to_u64(labels->items[i].value, &number);
    }
    return (int)number;
}

static void churn_read_series(struct churn_reader *reader, struct cursor *cursor,
                              const struct labels *labels, int first, uint8_t *counts)
{
    struct sample_block block;
    struct err err = {0};
    int kind = label_number(labels, STR("kind")), number = label_number(labels, STR("i"));
    do {
        if (!cursor_next(cursor, &block, &err)) {
            fprintf(stderr, "cursor_next: %s\n", err.text);
            reader->failed++;
            return;
        }
        for (size_t k = 0; k < block.count; k++) {
            int row = (int)((block.time_ms[k] - T0) / CHURN_STEP);
            bool good =
                row >= first && row < CHURN_ROWS && (block.time_ms[k] - T0) % CHURN_STEP == 0;
            double value =
                block.histogram && block.histogram[k] ? block.histogram[k]->sum : block.value[k];
            good = good && value == churn_value(kind, number, row);
            reader->wrong += !good;
            if (good && kind != 2)
                counts[row]++;
        }
    } while (block.count);
}

/* Of each scrape all or nothing. */
static void churn_read(struct churn_reader *reader)
{
    static _Thread_local uint8_t counts[CHURN_ROWS];
    struct selection *selection;
    struct err err = {0};
    int first = atomic_load(&reader->row_now) - 200;
    first = first < 0 ? 0 : first;
    memset(counts, 0, sizeof(counts));
    if (!storage_select(reader->storage, NULL, 0, T0 + (int64_t)first * CHURN_STEP, INT64_MAX,
                        &selection, &err)) {
        fprintf(stderr, "storage_select: %s\n", err.text);
        reader->failed++;
        return;
    }
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        cursor_seek(cursor, i);
        churn_read_series(reader, cursor, selection_labels(selection, i), first, counts);
    }
    /* Who was slow looks at rows that retention takes away meanwhile, series by series. */
    int kept = atomic_load(&reader->row_now) - CHURN_KEPT;
    for (int row = first > kept ? first : kept; row < CHURN_ROWS; row++)
        reader->torn += counts[row] != 0 && counts[row] != CHURN_STABLE + CHURN_NEW;
    cursor_free(cursor);
    selection_free(selection);
    reader->selects++;
}

static void *churn_reader_main(void *ctx)
{
    struct churn_reader *reader = ctx;
    while (!atomic_load(&reader->stop))
        churn_read(reader);
    return NULL;
}

static series_ref churn_series(struct store_fixture *f, struct storage_group *group, int kind,
                               int i)
{
    char texts[2][16];
    struct err err = {0};
    snprintf(texts[0], 16, "%d", i);
    snprintf(texts[1], 16, "%d", kind);
    struct label labels[3] = {
        {LABEL_NAME, STR("c")}, {STR("i"), str_of(texts[0])}, {STR("kind"), str_of(texts[1])}};
    series_ref ref = storage_series(f->storage, group, labels, 3, labels_hash(labels, 3), &err);
    assert_int_not_equal(ref, SERIES_REF_NONE);
    return ref;
}

static void churn_append(struct store_fixture *f, struct storage_group *group, int row)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    struct histogram histograms[CHURN_STABLE + CHURN_NEW];
    series_ref refs[CHURN_STABLE + CHURN_NEW];
    for (int i = 0; i < CHURN_STABLE + CHURN_NEW; i++) {
        int kind = i >= CHURN_STABLE, number = i;
        if (kind) /* A new one every so many rows, not all in the same. */
            number = (row + i) / CHURN_LIFE * CHURN_NEW + i - CHURN_STABLE;
        double value = churn_value(kind, number, row);
        refs[i] = churn_series(f, group, kind, number);
        if (i % 5 == 0) {
            histograms[i] = (struct histogram){.sum = value, .count = 1, .zero_count = 1};
            batch_add_histogram(&batch, refs[i], T0 + (int64_t)row * CHURN_STEP, &histograms[i]);
        } else {
            batch_add(&batch, refs[i], T0 + (int64_t)row * CHURN_STEP, value);
        }
    }
    assert_true(storage_append(f->storage, group, &batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED], CHURN_STABLE + CHURN_NEW);
    for (int i = 0; i < CHURN_STABLE + CHURN_NEW; i++)
        storage_series_release(f->storage, refs[i]);
    batch_deinit(&batch);
}

/* One sample now and one long ago. */
static void churn_append_late(struct store_fixture *f, struct storage_group *group, int row)
{
    struct batch batch = {0};
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    series_ref ref = churn_series(f, group, 2, row % 7);
    int late = row - CHURN_LATE / CHURN_STEP;
    batch_add(&batch, ref, T0 + (int64_t)row * CHURN_STEP, churn_value(2, row % 7, row));
    if (late > 0)
        batch_add(&batch, ref, T0 + (int64_t)late * CHURN_STEP, churn_value(2, row % 7, late));
    assert_true(storage_append(f->storage, group, &batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED] + result.outcome_count[SAMPLE_LATE],
                     batch.samples.count);
    storage_series_release(f->storage, ref);
    batch_deinit(&batch);
}

static void thread_lane_end(struct thread_lane *lane, pthread_t thread)
{
    pthread_mutex_lock(&lane->lock);
    lane->stop = true;
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
    pthread_join(thread, NULL);
    thread_lane_finish(lane);
}

static bool churn_is_done(const struct storage_stats *stats)
{
    return stats->slots_sealed > 0 && stats->spills > 0 && stats->builds > 0 &&
           stats->partitions_retired > 0 && stats->series_removed > 0;
}

/* Slots are sealed, series spilled and their places used again, days built and swapped in, files unlinked: a reader sees
 * whole scrapes and no other series' values all the while. */
static void test_select__sees_whole_scrapes_while_files_come_and_go(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct thread_lane commit = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER};
    struct thread_lane build = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                .changed = PTHREAD_COND_INITIALIZER};
    struct churn_reader readers[2] = {{0}};
    pthread_t threads[2], commit_thread, build_thread;
    struct err err = {0};
    struct storage_stats stats;
    store_setup(&f);
    store_close(&f);
    list_init(&commit.todo), list_init(&commit.finished);
    list_init(&build.todo), list_init(&build.finished);
    pthread_create(&commit_thread, NULL, thread_lane_main, &commit);
    pthread_create(&build_thread, NULL, thread_lane_main, &build);
    f.options.path = str_of(f.dir);
    f.options.submit_commit = thread_lane_submit;
    f.options.submit_ctx = &commit;
    f.options.submit_build = thread_lane_submit;
    f.options.build_ctx = &build;
    f.options.partition_ms = INT64_C(2) * 60 * 60 * 1000;
    f.options.retention_ms = INT64_C(8) * 60 * 60 * 1000;
    f.options.slot_ms = 60000;
    f.options.out_of_order_ms = 2 * CHURN_LATE;
    f.options.spill_min = 0;
    f.options.build_delay_ms = 0;
    assert_true(storage_open(&f.storage, &f.options, &err));
    struct storage_group *group = storage_group_open(f.storage, 1);
    struct storage_group *late_group = storage_group_open(f.storage, 2);
    for (int r = 0; r < 2; r++) {
        readers[r].storage = f.storage;
        pthread_create(&threads[r], NULL, churn_reader_main, &readers[r]);
    }
    for (int row = 0; row < CHURN_ROWS; row++) {
        churn_append(&f, group, row);
        if (row % 3 == 0)
            churn_append_late(&f, late_group, row);
        atomic_store(&readers[0].row_now, row);
        atomic_store(&readers[1].row_now, row);
        for (int i = 0; i < 3; i++) {
            storage_tick(f.storage, clock_mono_ms() + (int64_t)row * 5000 + i * 1000);
            usleep(200);
            thread_lane_finish(&commit);
            thread_lane_finish(&build);
        }
    }
    storage_get_stats(f.storage, &stats);
    for (int i = 0; i < 60000 && !churn_is_done(&stats);
         i++) { /* A loaded machine is slow with lanes. */
        storage_tick(f.storage, clock_mono_ms() + (int64_t)CHURN_ROWS * 5000 + i * 100);
        usleep(1000);
        thread_lane_finish(&commit);
        thread_lane_finish(&build);
        storage_get_stats(f.storage, &stats);
    }
    for (int r = 0; r < 2; r++) {
        atomic_store(&readers[r].stop, true);
        pthread_join(threads[r], NULL);
        assert_int_equal(readers[r].torn, 0);
        assert_int_equal(readers[r].wrong, 0);
        assert_int_equal(readers[r].failed, 0);
        assert_true(readers[r].selects > 0);
    }
    assert_true(stats.slots_sealed > 0 && stats.spills > 0 && stats.builds > 0);
    assert_true(stats.partitions_retired > 0 && stats.series_removed > 0);
    storage_stop(f.storage);
    for (int i = 0; i < 3; i++) { /* What one lane ends the other may go on with. */
        usleep(20000);
        thread_lane_finish(&build);
        thread_lane_finish(&commit);
    }
    thread_lane_end(&build, build_thread);
    thread_lane_end(&commit, commit_thread);
    storage_group_close(group);
    storage_group_close(late_group);
    storage_close(f.storage);
    store_remove_dir(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select__sees_whole_batches_while_slots_are_sealed),
        cmocka_unit_test(test_select__sees_whole_scrapes_while_files_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
