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
                if (block.time_ms[k] != T0 + (int64_t)count * 1000 || block.value[k] != (double)count)
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
    struct thread_lane lane = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select__sees_whole_batches_while_slots_are_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
