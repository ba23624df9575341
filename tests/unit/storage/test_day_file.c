/* day_file: whatever byte of a file is wrong, and wherever it is cut: an error or the right data, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "day_fixture.h"
#include "model/sample.h"

#define FROM_MS INT64_C(1700006400000)
#define ROWS    40
#define SLOTS   3
#define SERIES  12
#define PAGE    4096

static char dir[64], path[200];

/* What is right: the samples of all series in order. */
static struct {
    struct samples samples[SERIES];
    uint64_t hashes[SERIES];
} right;

static double value_of(uint64_t id, int64_t i)
{
    switch (id % 5) {
    case 0:
        return 17;
    case 1:
        return (double)(i * 3 + i % 7);
    case 2:
        return 0.1 * (double)(i * i % 97);
    case 3:
        return sample_from_bits((uint64_t)i * UINT64_C(0x9e3779b97f4a7c15));
    default:
        return i % 11 ? 5.5 : sample_stale();
    }
}

static void add_sample(struct samples *samples, uint64_t id, int64_t time_ms, int64_t i)
{
    static const struct histogram_span spans[1] = {{1, 2}};
    static double buckets[2] = {3, 4};
    static struct histogram histogram = {.schema = 3,
                                         .is_integer = true,
                                         .count = 7,
                                         .sum = 1.5,
                                         .positive_spans = spans,
                                         .positive_span_count = 1,
                                         .positive = buckets,
                                         .positive_count = 2};
    samples_reserve(samples, 1);
    if (id == SERIES)
        samples_add_histogram(samples, time_ms, &histogram);
    else
        samples_add(samples, time_ms, value_of(id, i));
}

static void make_input(struct fixture *fixture)
{
    char input_path[200], texts[SERIES + 1][32];
    struct samples samples;
    snprintf(input_path, sizeof(input_path), "%s/a.open.mdb", dir);
    fixture_open(fixture, input_path);
    samples_init(&samples);
    for (uint64_t id = 1; id <= SERIES; id++) {
        struct label labels[3] = {{STR("__name__"), STR("metric")}, {STR("le"), STR("")}};
        size_t count = 2;
        snprintf(texts[id], sizeof(texts[id]), "%u", (unsigned)id);
        labels[1].value = str_of(texts[id]);
        if (id <= 4)
            labels[0].value = STR("latency_bucket");
        else
            labels[1].name = STR("id");
        fixture_series(fixture, id, labels, count);
    }
    for (int64_t slot = 0; slot < SLOTS; slot++) {
        int64_t times_ms[ROWS];
        for (int64_t row = 0; row < ROWS; row++)
            times_ms[row] = FROM_MS + (slot * ROWS + row) * 15000 + row % 3;
        bundle_writer_begin(&fixture->bundle, 1, (uint64_t)slot + 1);
        uint16_t column = bundle_writer_column(&fixture->bundle, times_ms, ROWS);
        for (uint64_t id = 1; id <= SERIES; id++) {
            samples_clear(&samples);
            for (int64_t row = 0; row < ROWS; row++) {
                if (id != 7 || row % 9 != 4)
                    add_sample(&samples, id <= 4 ? 1 : id, times_ms[row], slot * ROWS + row);
            }
            fixture_run(fixture, id, column, &samples, times_ms, ROWS);
        }
        fixture_end_bundle(fixture);
    }
    fixture_commit(fixture);
    samples_deinit(&samples);
}

static void read_right(void)
{
    struct day_file *day;
    struct err err = {0};
    fixture_must(day_file_open(&day, path, &err), &err);
    struct day_reader *reader = day_reader_new(day);
    ENSURE(day_file_info(day)->series_count == SERIES);
    for (uint32_t i = 0; i < SERIES; i++) {
        samples_init(&right.samples[i]);
        fixture_must(day_reader_read(reader, i, INT64_MIN, INT64_MAX, &right.samples[i], &err),
                     &err);
        right.hashes[i] = disk_index_hash(day_file_index(day), i);
    }
    day_reader_free(reader);
    day_file_unref(day);
}

static int begin(void **state)
{
    struct fixture fixture;
    struct err err = {0};
    char *built;
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/narthex-test-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    make_input(&fixture);
    struct day_input input = {.kv = fixture.kv};
    struct day_build build = {.inputs = &input,
                              .input_count = 1,
                              .from_ms = FROM_MS,
                              .to_ms = FROM_MS + 86400000,
                              .dir = dir};
    fixture_must(day_build_run(&build, &built, &err), &err);
    snprintf(path, sizeof(path), "%s", built);
    mem_free(built);
    fixture_close(&fixture);
    read_right();
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    for (uint32_t i = 0; i < SERIES; i++)
        samples_deinit(&right.samples[i]);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static bool same_samples(const struct samples *a, const struct samples *b)
{
    if (a->count != b->count || memcmp(a->time_ms, b->time_ms, a->count * sizeof(int64_t)) != 0 ||
        memcmp(a->value, b->value, a->count * sizeof(double)) != 0)
        return false;
    for (size_t i = 0; i < a->count && (a->histogram || b->histogram); i++) {
        if (!a->histogram || !b->histogram || !histogram_same(a->histogram[i], b->histogram[i]))
            return false;
    }
    return true;
}

/* Reads all that there is; what comes without an error must be right. True when there was no error at all. */
static bool read_all(struct day_file *day)
{
    struct day_reader *reader = day_reader_new(day);
    struct samples samples;
    struct label labels[8];
    struct arena arena;
    bool all_good = true;
    samples_init(&samples);
    arena_init(&arena, 0);
    assert_int_equal(day_file_info(day)->series_count, SERIES);
    for (uint32_t i = 0; i < SERIES; i++) {
        struct err err = {0};
        size_t count;
        samples_clear(&samples);
        if (day_reader_read(reader, i, INT64_MIN, INT64_MAX, &samples, &err)) {
            assert_true(same_samples(&samples, &right.samples[i]));
        } else {
            all_good = false;
            assert_int_equal(err.code, ERR_CORRUPT);
        }
        if (disk_index_labels(day_file_index(day), i, &arena, labels, 8, &count, &err))
            assert_true(labels_hash(labels, count) == right.hashes[i]);
        else
            all_good = false;
    }
    arena_deinit(&arena);
    samples_deinit(&samples);
    day_reader_free(reader);
    return all_good;
}

/* True when the file opened and all of it could be read. */
static bool open_and_read(void)
{
    struct day_file *day;
    struct err err = {0};
    if (!day_file_open(&day, path, &err)) {
        assert_true(err.code == ERR_CORRUPT || err.code == ERR_UNAVAILABLE);
        return false;
    }
    bool good = read_all(day);
    day_file_unref(day);
    return good;
}

static off_t file_len(void)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static void test_day_file_open__reads_what_was_built(void **state)
{
    struct day_file *day;
    struct err err = {0};
    (void)state;
    assert_true(open_and_read());
    assert_true(day_file_open(&day, path, &err));
    assert_true(day_file_verify(day, NULL, &err));
    assert_int_equal(day_file_info(day)->sample_count, SERIES * SLOTS * ROWS - SLOTS * 4);
    assert_int_equal(day_file_info(day)->bytes, file_len());
    assert_false(day_file_is_damaged(day));
    struct day_file *again = day_file_ref(day);
    day_file_unref(day);
    assert_true(read_all(again));
    day_file_unref(again);
}

/* What is shown in place is what would have been copied, also where a range cuts it. */
static void test_day_reader_view__shows_what_read_copies(void **state)
{
    struct day_file *day;
    struct samples samples;
    struct err err = {0};
    uint32_t views = 0;
    (void)state;
    samples_init(&samples);
    assert_true(day_file_open(&day, path, &err));
    struct day_reader *reader = day_reader_new(day), *other = day_reader_new(day);
    for (uint32_t i = 0; i < 4 * SERIES; i++) {
        const struct samples *all = &right.samples[i % SERIES];
        int64_t from_ms = i < SERIES ? INT64_MIN : all->time_ms[all->count / 4];
        int64_t to_ms = i < 2 * SERIES ? INT64_MAX : all->time_ms[all->count / 2];
        struct day_view view;
        bool viewed;
        if (i >= 3 * SERIES)
            to_ms = from_ms - 1; /* Nothing. */
        assert_true(day_reader_view(reader, i % SERIES, from_ms, to_ms, &view, &viewed, &err));
        views += viewed;
        if (!viewed)
            continue;
        samples_clear(&samples);
        assert_true(day_reader_read(other, i % SERIES, from_ms, to_ms, &samples, &err));
        assert_int_equal(view.count, samples.count);
        assert_null(samples.histogram);
        for (size_t k = 0; k < view.count; k++) {
            assert_int_equal(view.time_ms[k], samples.time_ms[k]);
            assert_memory_equal(&view.value[k], &samples.value[k], sizeof(double));
        }
    }
    assert_true(views > 0);
    day_reader_free(reader);
    day_reader_free(other);
    day_file_unref(day);
    samples_deinit(&samples);
}

struct worker {
    struct day_file *day;
    uint32_t number;
    bool good;
};

static void *read_many(void *ctx)
{
    struct worker *worker = ctx;
    struct day_reader *reader = day_reader_new(worker->day);
    struct samples samples;
    samples_init(&samples);
    worker->good = true;
    for (uint32_t i = 0; i < 300; i++) {
        struct err err = {0};
        uint32_t ordinal = (i * (worker->number + 1)) % SERIES;
        samples_clear(&samples);
        worker->good = worker->good &&
                       day_reader_read(reader, ordinal, INT64_MIN, INT64_MAX, &samples, &err) &&
                       same_samples(&samples, &right.samples[ordinal]);
    }
    samples_deinit(&samples);
    day_reader_free(reader);
    return NULL;
}

/* Readers share the file and nothing else. */
static void test_day_reader_read__works_on_several_threads(void **state)
{
    struct worker workers[4];
    pthread_t threads[4];
    struct day_file *day;
    struct err err = {0};
    (void)state;
    assert_true(day_file_open(&day, path, &err));
    for (uint32_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){day, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(workers[i].good);
    }
    day_file_unref(day);
}

/* One bit of any byte: most are noticed at the open, those of values when they are read. */
static void test_day_file_open__bears_any_flipped_byte(void **state)
{
    (void)state;
    int fd = open(path, O_RDWR);
    off_t len = file_len();
    size_t noticed = 0;
    assert_true(fd >= 0);
    for (off_t at = 0; at < len; at++) {
        uint8_t byte, flipped;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        flipped = (uint8_t)(byte ^ 1u << at % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        noticed += !open_and_read();
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_true(noticed > (size_t)len / 2);
    assert_true(open_and_read());
}

/* Cut anywhere, or with bytes behind its end. */
static void test_day_file_open__refuses_another_length(void **state)
{
    (void)state;
    off_t len = file_len();
    for (off_t cut = len + 5; cut >= 0; cut -= cut > len - 200 || cut < 300 ? 1 : 97) {
        char copy[200], command[512];
        if (cut == len)
            continue;
        snprintf(copy, sizeof(copy), "%s/cut.mdb", dir);
        snprintf(command, sizeof(command), "cp '%s' '%s'", path, copy);
        if (cut == len + 5)
            assert_int_equal(system(command), 0);
        assert_int_equal(truncate(copy, cut), 0);
        struct day_file *day;
        struct err err = {0};
        assert_false(day_file_open(&day, copy, &err));
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

/* An open file that loses its pages: errors, and it says that it is damaged. */
static void test_day_reader_read__bears_a_file_that_is_cut_meanwhile(void **state)
{
    struct day_file *day;
    struct err err = {0};
    (void)state;
    off_t len = file_len();
    for (off_t pages = len / PAGE; pages >= 0; pages--) {
        char copy[200], command[512];
        snprintf(copy, sizeof(copy), "%s/cut.mdb", dir);
        snprintf(command, sizeof(command), "cp '%s' '%s'", path, copy);
        assert_int_equal(system(command), 0);
        assert_true(day_file_open(&day, copy, &err));
        assert_int_equal(truncate(copy, pages * PAGE), 0);
        bool good = read_all(day);
        if (!good)
            assert_true(day_file_is_damaged(day));
        if (pages == 0)
            assert_false(good);
        struct err ignored = {0};
        bool verified = day_file_verify(day, NULL, &ignored);
        assert_true(good || !verified || pages * PAGE < len);
        day_file_unref(day);
    }
}

static void test_day_file_open__refuses_what_is_no_file_of_ours(void **state)
{
    struct err err = {0};
    struct day_file *day;
    (void)state;
    assert_false(day_file_open(&day, "/nonexistent/file.mdb", &err));
    assert_int_equal(err.code, ERR_IO);
    assert_false(day_file_open(&day, "/dev/null", &err));
    assert_int_equal(err.code, ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_day_file_open__reads_what_was_built, begin, end),
        cmocka_unit_test_setup_teardown(test_day_reader_view__shows_what_read_copies, begin, end),
        cmocka_unit_test_setup_teardown(test_day_reader_read__works_on_several_threads, begin, end),
        cmocka_unit_test_setup_teardown(test_day_file_open__bears_any_flipped_byte, begin, end),
        cmocka_unit_test_setup_teardown(test_day_file_open__refuses_another_length, begin, end),
        cmocka_unit_test_setup_teardown(test_day_reader_read__bears_a_file_that_is_cut_meanwhile,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_day_file_open__refuses_what_is_no_file_of_ours, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
