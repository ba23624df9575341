/* day_build: random inputs, built and read back, must be what a naive merge of the same samples is, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "day_fixture.h"
#include "file.h"
#include "index_segment.h"
#include "model/sample.h"

#define FROM_MS  INT64_C(1700000000000) / 86400000 * 86400000
#define TO_MS    (FROM_MS + 86400000)
#define MODELS   48
#define LABELS   6
#define TEXT_MAX 40

static char dir[64];

static int begin(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/narthex-test-XXXXXX");
    return mkdtemp(dir) ? 0 : 1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    file_faults = NULL;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

/* --- numbers from a seed --- */

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* --- the naive reference --- */

struct known {
    int64_t time_ms;
    uint64_t order, slot;
    double value;
    const struct histogram *histogram;
};

struct model {
    char texts[LABELS * 2][TEXT_MAX];
    struct label labels[LABELS];
    size_t label_count;
    unsigned kind;
    uint32_t group;
    double value;
    VEC(struct known) known;
};

struct world {
    struct model models[MODELS];
    size_t model_count;
    uint64_t order, next_slot, slot_last, next_id;
    struct arena arena;
    bool deletes;
    size_t input_count;
    struct fixture fixtures[4];
    struct index_segment *segments[4];
    struct day_input inputs[4];
};

static void add_label(struct model *model, const char *name, const char *format, uint64_t number)
{
    char *texts[2] = {model->texts[model->label_count * 2],
                      model->texts[model->label_count * 2 + 1]};
    snprintf(texts[0], TEXT_MAX, "%s", name);
    snprintf(texts[1], TEXT_MAX, format, number);
    model->labels[model->label_count++] = (struct label){str_of(texts[0]), str_of(texts[1])};
}

/* Families of four buckets and a count, native histograms, and plain series of several kinds. */
static void make_models(struct world *world)
{
    static const char *const les[4] = {"0.5", "1", "10", "+Inf"};
    world->model_count = 6 + draw(MODELS - 16);
    for (size_t i = 0; i < world->model_count; i++) {
        struct model *model = &world->models[i];
        unsigned role = (unsigned)(i % 8);
        model->kind = role < 5 ? 100 : (unsigned)draw(6);
        model->group = (uint32_t)(role < 5 ? (i / 8) % 3 : draw(3));
        if (role < 4)
            add_label(model, "__name__", "latency_%" PRIu64 "_bucket", i / 16);
        else if (role == 4)
            add_label(model, "__name__", "latency_%" PRIu64 "_count", i / 16);
        else
            add_label(model, "__name__", "metric_%" PRIu64, draw(5));
        add_label(model, "instance", "host-%" PRIu64, model->group);
        if (role < 4)
            add_label(model, "le", les[role], 0);
        add_label(model, "n", "%" PRIu64, role < 5 ? i / 8 : i);
        model->value = (double)draw(1000);
    }
}

static const struct histogram *make_histogram(struct world *world, double count)
{
    static const struct histogram_span spans[2] = {{-2, 3}, {5, 2}};
    struct histogram histogram = {.schema = (int32_t)draw(4),
                                  .is_integer = true,
                                  .zero_threshold = 0.001,
                                  .zero_count = (double)draw(3),
                                  .count = count,
                                  .sum = count * 0.37,
                                  .positive_spans = spans,
                                  .positive_span_count = 2,
                                  .positive_count = 5};
    double values[5];
    for (int i = 0; i < 5; i++)
        values[i] = (double)draw(50);
    histogram.positive = values;
    return histogram_copy(&world->arena, &histogram);
}

static void next_sample(struct world *world, struct model *model, int64_t time_ms,
                        struct samples *out)
{
    const struct histogram *histogram = NULL;
    switch (model->kind) {
    case 0:
        break;
    case 1:
        model->value += (double)draw(100);
        break;
    case 2:
        model->value = (double)draw(UINT64_C(1) << 50) * 1e-7;
        break;
    case 3:
        model->value = draw(10) ? model->value + 0.25 : draw(2) ? 0.0 / 0.0 : -0.0;
        break;
    case 4:
        if (draw(8))
            histogram = make_histogram(world, (double)draw(1000));
        break;
    case 5:
        model->value = sample_from_bits(draw(UINT64_MAX));
        break;
    default: /* Buckets: those of a family grow on the same rows alike, the higher ones more. */
        model->value += (double)(time_ms / 1000 % 7);
    }
    samples_reserve(out, 1);
    if (histogram)
        samples_add_histogram(out, time_ms, histogram);
    else
        samples_add(out, time_ms, draw(200) ? model->value : sample_stale());
}

static void remember(struct world *world, struct model *model, const struct samples *samples,
                     uint64_t slot)
{
    for (size_t i = 0; i < samples->count; i++) {
        struct known known = {samples->time_ms[i], world->order++, slot, samples->value[i],
                              samples->histogram ? samples->histogram[i] : NULL};
        VEC_PUSH(&model->known, known);
    }
}

/* The runs of one group's slot: rows of one column, with gaps; some late, some out of the partition. */
static void make_slot(struct world *world, struct fixture *fixture, uint32_t group,
                      const uint64_t ids[2][MODELS])
{
    int64_t times_ms[2][150], time_ms = FROM_MS - 600000 + (int64_t)draw(86400000 + 1200000);
    uint32_t rows = 1 + (uint32_t)draw(150);
    uint64_t slot = world->next_slot++;
    struct samples samples;
    uint16_t columns[2];
    samples_init(&samples);
    for (uint32_t row = 0; row < rows; row++) {
        time_ms += 15000 + (draw(20) ? 0 : (int64_t)draw(20));
        times_ms[0][row] = time_ms;
        times_ms[1][row] = time_ms + 7;
    }
    bundle_writer_begin(&fixture->bundle, group, slot);
    for (int c = 0; c < 2; c++)
        columns[c] = bundle_writer_column(&fixture->bundle, times_ms[c], rows);
    for (int twin = 0; twin < 2; twin++) {
        for (size_t m = 0; m < world->model_count; m++) {
            struct model *model = &world->models[m];
            uint64_t id = ids[twin][m];
            int column = model->kind < 100 && draw(8) == 0;
            if (id == 0 || model->group != group || (model->kind < 100 && draw(6) == 0))
                continue;
            bool has_gaps = model->kind < 100 && draw(3) == 0;
            samples_clear(&samples);
            for (uint32_t row = 0; row < rows; row++) {
                if (!has_gaps || draw(10))
                    next_sample(world, model, times_ms[column][row], &samples);
            }
            if (samples.count == 0)
                continue;
            fixture_run(fixture, id, columns[column], &samples, times_ms[column], rows);
            remember(world, model, &samples, slot);
            world->slot_last = slot;
        }
    }
    fixture_end_bundle(fixture);
    samples_deinit(&samples);
}

static int compare_models(const void *a, const void *b)
{
    const struct model *x = *(struct model *const *)a, *y = *(struct model *const *)b;
    return series_order(x->labels, x->label_count, y->labels, y->label_count);
}

/* Labels of every third series are in an index segment instead of the table. */
static struct index_segment *make_segment(struct world *world, const char *path,
                                          const uint64_t ids[MODELS])
{
    struct model *sorted[MODELS];
    uint64_t sorted_ids[MODELS];
    struct index_segment *segment;
    struct err err = {0};
    size_t count = 0;
    for (size_t m = 0; m < world->model_count; m += 3)
        sorted[count++] = &world->models[m];
    qsort(sorted, count, sizeof(sorted[0]), compare_models);
    struct disk_index_writer *writer = disk_index_writer_new();
    for (size_t i = 0; i < count; i++) {
        sorted_ids[i] = ids[sorted[i] - world->models];
        disk_index_writer_add(writer, sorted[i]->labels, sorted[i]->label_count);
    }
    fixture_must(index_segment_write(path, 1, writer, sorted_ids, count, &err), &err);
    disk_index_writer_free(writer);
    char *segment_path = index_segment_path(path, 1);
    fixture_must(index_segment_open(&segment, segment_path, &err), &err);
    mem_free(segment_path);
    return segment;
}

static void make_input(struct world *world, const char *name, uint32_t slots)
{
    size_t number = world->input_count++;
    struct fixture *fixture = &world->fixtures[number];
    uint64_t ids[2][MODELS] = {{0}};
    bool has_segment = draw(2);
    char path[200];
    static unsigned files;
    snprintf(path, sizeof(path), "%s/%s-%u.open.mdb", dir, name, ++files);
    fixture_open(fixture, path);
    for (int twin = 0; twin < 2; twin++) {
        for (size_t m = 0; m < world->model_count; m++) {
            if (twin && draw(5))
                continue;
            ids[twin][m] = ++world->next_id;
            if (!has_segment || twin || m % 3 != 0)
                fixture_series(fixture, world->next_id, world->models[m].labels,
                               world->models[m].label_count);
        }
    }
    if (has_segment)
        world->segments[number] = make_segment(world, path, ids[0]);
    for (uint32_t i = 0; i < slots; i++)
        make_slot(world, fixture, (uint32_t)draw(3), (const uint64_t(*)[MODELS])ids);
    fixture_commit(fixture);
    world->inputs[number] = (struct day_input){
        .kv = fixture->kv,
        .segments = &world->segments[number],
        .segment_count = has_segment};
}

static struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof(*world));
    arena_init(&world->arena, 0);
    world->next_slot = 100;
    make_models(world);
    return world;
}

static void world_free(struct world *world)
{
    for (size_t i = 0; i < world->model_count; i++)
        VEC_FREE(&world->models[i].known);
    for (size_t i = 0; i < world->input_count; i++) {
        if (world->fixtures[i].kv)
            fixture_close(&world->fixtures[i]);
        index_segment_close(world->segments[i]);
        day_file_unref(world->inputs[i].day);
    }
    arena_deinit(&world->arena);
    free(world);
}

/* Every fourth series of a kind loses an hour, but for slots from 110 on. */
static size_t delete_some(void *ctx, const struct label *labels, size_t count,
                          struct delete_range *out, size_t max)
{
    const bool *wanted = ctx;
    if (!*wanted || max < 1 || labels[count - 1].value.ptr[0] % 4 != 0)
        return 0;
    out[0] = (struct delete_range){FROM_MS + 3600000, FROM_MS + 14400000, 110};
    return 1;
}

static bool known_is_deleted(const struct world *world, const struct model *model,
                             const struct known *known)
{
    struct delete_range range;
    bool wanted = world->deletes;
    return delete_some(&wanted, model->labels, model->label_count, &range, 1) &&
           known->slot <= range.slot && known->time_ms >= range.from_ms &&
           known->time_ms <= range.to_ms;
}

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* What is left of a model: in the partition, not deleted, the last written of each time. */
static void settle(const struct world *world, struct model *model, int64_t from_ms)
{
    size_t kept = 0;
    VEC_SORT(&model->known, compare_known);
    for (size_t i = 0; i < model->known.count; i++) {
        const struct known *known = &model->known.items[i];
        if (known->time_ms < from_ms || known->time_ms >= TO_MS ||
            known_is_deleted(world, model, known))
            continue;
        if (kept > 0 && model->known.items[kept - 1].time_ms == known->time_ms)
            kept--;
        model->known.items[kept++] = *known;
    }
    model->known.count = kept;
}

static void check_samples(struct model *model, const struct samples *samples, int64_t from_ms,
                          int64_t to_ms)
{
    size_t at = 0;
    VEC_EACH (known, &model->known) {
        if (known->time_ms < from_ms || known->time_ms > to_ms)
            continue;
        const struct histogram *histogram =
            at < samples->count && samples->histogram ? samples->histogram[at] : NULL;
        assert_true(at < samples->count);
        assert_true(samples->time_ms[at] == known->time_ms);
        assert_true((histogram == NULL) == (known->histogram == NULL));
        if (histogram)
            assert_true(histogram_same(histogram, known->histogram));
        else
            assert_true(sample_bits(samples->value[at]) == sample_bits(known->value));
        at++;
    }
    assert_int_equal(at, samples->count);
}

static struct model *model_of(struct world *world, const struct day_file *day, uint32_t ordinal)
{
    struct label labels[LABELS];
    struct arena arena;
    struct err err = {0};
    struct model *found = NULL;
    size_t count;
    arena_init(&arena, 0);
    assert_true(
        disk_index_labels(day_file_index(day), ordinal, &arena, labels, LABELS, &count, &err));
    for (size_t m = 0; m < world->model_count && !found; m++) {
        struct model *model = &world->models[m];
        if (series_order(labels, count, model->labels, model->label_count) == 0)
            found = model;
    }
    arena_deinit(&arena);
    assert_non_null(found);
    return found;
}

/* All of it in order, then windows of series at random. */
static void check_file(struct world *world, struct day_file *day)
{
    const struct day_info *info = day_file_info(day);
    struct day_reader *reader = day_reader_new(day);
    struct samples samples;
    struct err err = {0};
    size_t series = 0, count = 0;
    samples_init(&samples);
    for (size_t m = 0; m < world->model_count; m++) {
        settle(world, &world->models[m], FROM_MS);
        series += world->models[m].known.count > 0;
        count += world->models[m].known.count;
    }
    assert_int_equal(info->series_count, series);
    assert_int_equal(info->sample_count, count);
    assert_true(info->slot_last == world->slot_last);
    for (uint32_t i = 0; i < info->series_count; i++) {
        samples_clear(&samples);
        if (!day_reader_read(reader, i, INT64_MIN, INT64_MAX, &samples, &err))
            fail_msg("%s", err.text);
        check_samples(model_of(world, day, i), &samples, INT64_MIN, INT64_MAX);
    }
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t ordinal = (uint32_t)draw(info->series_count);
        int64_t from_ms = FROM_MS + (int64_t)draw(86400000);
        int64_t to_ms = from_ms + (int64_t)draw(7200000);
        samples_clear(&samples);
        assert_true(day_reader_read(reader, ordinal, from_ms, to_ms, &samples, &err));
        check_samples(model_of(world, day, ordinal), &samples, from_ms, to_ms);
    }
    samples_deinit(&samples);
    day_reader_free(reader);
}

/* Nothing but the inputs and the result is in the folder. */
static void check_nothing_left(void)
{
    DIR *found = opendir(dir);
    assert_non_null(found);
    for (struct dirent *entry = readdir(found); entry; entry = readdir(found)) {
        assert_null(strstr(entry->d_name, ".tmp"));
        assert_null(strstr(entry->d_name, ".scratch"));
    }
    closedir(found);
}

static struct day_build build_of(struct world *world)
{
    return (struct day_build){.inputs = world->inputs,
                              .input_count = world->input_count,
                              .from_ms = FROM_MS,
                              .to_ms = TO_MS,
                              .cutoff_ms = INT64_MIN,
                              .dir = dir,
                              .deleted = delete_some,
                              .deleted_ctx = &world->deletes,
                              .sequence_last = 77};
}

static struct day_file *build_and_open(const struct day_build *build)
{
    struct day_file *day;
    struct err err = {0};
    char *path;
    if (!day_build_run(build, &path, &err))
        fail_msg("%s", err.text);
    if (!day_file_open(&day, path, &err))
        fail_msg("%s", err.text);
    assert_true(day_file_info(day)->sequence_last == 77);
    mem_free(path);
    check_nothing_left();
    return day;
}

/* Several slots, twins, gaps, overlaps, stale markers, histograms, deletes, buckets: all at once, from a seed. */
static void test_day_build_run__keeps_every_sample(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 40; round++) {
        seed = round;
        struct world *world = world_new();
        world->deletes = draw(2);
        make_input(world, "a", 1 + (uint32_t)draw(12));
        if (draw(2))
            make_input(world, "b", 1 + (uint32_t)draw(4));
        struct day_build build = build_of(world);
        build.memory_bytes = draw(2) ? 3000 : 0;
        struct day_file *day = build_and_open(&build);
        check_file(world, day);
        day_file_unref(day);
        world_free(world);
    }
}

/* A published file and an overlay of late samples: built again, to the same name. */
static void test_day_build_run__rebuilds_a_day_with_its_overlay(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 15; round++) {
        seed = 1000 + round;
        struct world *world = world_new();
        make_input(world, "a", 4 + (uint32_t)draw(10));
        struct day_build build = build_of(world);
        struct day_file *first = build_and_open(&build);
        for (size_t m = 0; m < world->model_count; m++)
            settle(world, &world->models[m], FROM_MS);
        fixture_close(&world->fixtures[0]);
        world->fixtures[0].kv = NULL;
        world->inputs[0] = (struct day_input){.day = first};
        make_input(world, "b", 1 + (uint32_t)draw(3));
        world->deletes = draw(2);
        for (size_t m = 0; m < world->model_count; m++) {
            VEC_EACH (known, &world->models[m].known) {
                if (known->slot < day_file_info(first)->slot_last)
                    known->slot = day_file_info(first)->slot_last;
            }
        }
        build = build_of(world);
        struct day_file *day = build_and_open(&build);
        check_file(world, day);
        day_file_unref(day);
        world_free(world);
    }
}

/* What is past retention is left out; when that is all, there is no file. */
static void test_day_build_run__leaves_out_what_is_past_retention(void **state)
{
    (void)state;
    struct err err = {0};
    char *path;
    seed = 5;
    struct world *world = world_new();
    make_input(world, "a", 12);
    struct day_build build = build_of(world);
    build.cutoff_ms = FROM_MS + 40000000;
    struct day_file *day = build_and_open(&build);
    assert_true(day_file_info(day)->time_min_ms >= build.cutoff_ms);
    for (size_t m = 0; m < world->model_count; m++)
        settle(world, &world->models[m], build.cutoff_ms);
    check_file(world, day);
    assert_int_equal(unlink(day_file_path(day)), 0);
    day_file_unref(day);
    build.cutoff_ms = TO_MS;
    assert_false(day_build_run(&build, &path, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_null(path);
    check_nothing_left();
    world_free(world);
}

/* A series of a sample each second has many chunks, cut at the same times as its neighbours. */
static void test_day_build_run__cuts_dense_series(void **state)
{
    static int64_t times_ms[5000];
    struct label labels[2] = {{STR("__name__"), STR("dense_bucket")}, {STR("le"), STR("1")}};
    static const char *const les[3] = {"1", "2", "+Inf"};
    struct fixture fixture;
    struct samples samples;
    struct err err = {0};
    char path[200];
    (void)state;
    snprintf(path, sizeof(path), "%s/dense.open.mdb", dir);
    fixture_open(&fixture, path);
    samples_init(&samples);
    for (uint64_t id = 1; id <= 3; id++) {
        labels[1].value = str_of(les[id - 1]);
        fixture_series(&fixture, id, labels, 2);
    }
    for (int64_t piece = 0; piece < 17; piece++) {
        bundle_writer_begin(&fixture.bundle, 1, (uint64_t)piece + 1);
        for (int64_t i = 0; i < 5000; i++)
            times_ms[i] = FROM_MS + (piece * 5000 + i) * 1000;
        uint16_t column = bundle_writer_column(&fixture.bundle, times_ms, 5000);
        for (uint64_t id = 1; id <= 3; id++) {
            samples_clear(&samples);
            samples_reserve(&samples, 5000);
            for (int64_t i = id == 2 && piece == 0 ? 100 : 0; i < 5000; i++)
                samples_add(&samples, times_ms[i], (double)((piece * 5000 + i) / 3 + (int64_t)id));
            fixture_run(&fixture, id, column, &samples, times_ms, 5000);
        }
        fixture_end_bundle(&fixture);
    }
    fixture_commit(&fixture);
    struct day_input input = {.kv = fixture.kv};
    struct day_build build = {.inputs = &input,
                              .input_count = 1,
                              .from_ms = FROM_MS,
                              .to_ms = TO_MS,
                              .dir = dir,
                              .sequence_last = 77};
    struct day_file *day = build_and_open(&build);
    struct day_reader *reader = day_reader_new(day);
    for (uint32_t ordinal = 0; ordinal < 3; ordinal++) {
        samples_clear(&samples);
        assert_true(day_reader_read(reader, ordinal, INT64_MIN, INT64_MAX, &samples, &err));
        assert_int_equal(samples.count, ordinal == 1 ? 84900 : 85000);
        for (size_t i = 0; i < samples.count; i++) {
            int64_t n = (int64_t)i + (ordinal == 1 ? 100 : 0);
            assert_true(samples.time_ms[i] == FROM_MS + n * 1000);
            assert_true(samples.value[i] ==
                        (double)(n / 3 + 3 - ordinal)); /* The highest bound first. */
        }
    }
    /* The times are there once, and the second and third bucket cost nearly nothing. */
    assert_in_range(day_file_info(day)->column_bytes, 1, 1000);
    assert_in_range(day_file_info(day)->chunk_bytes, 1, 15000);
    day_reader_free(reader);
    day_file_unref(day);
    samples_deinit(&samples);
    fixture_close(&fixture);
}

/* --- what breaks --- */

/* Damage in an input costs what is damaged, not the day: a bundle of a wrong checksum, one that is none, a run of an id
 * that has no labels, labels that make no sense. */
static void test_day_build_run__leaves_out_what_is_damaged(void **state)
{
    struct samples samples;
    struct err err = {0};
    int64_t time_ms = FROM_MS + 5000;
    (void)state;
    seed = 17;
    struct world *world = world_new();
    make_input(world, "a", 8);
    struct fixture *fixture = &world->fixtures[0];
    assert_true(kv_write_begin(fixture->kv, &fixture->write, &err));
    samples_init(&samples);
    samples_reserve(&samples, 1);
    samples_add(&samples, time_ms, 1);
    for (int bad = 0; bad < 3; bad++) {
        bundle_writer_begin(&fixture->bundle, 9, 1);
        uint16_t column = bundle_writer_column(&fixture->bundle, &time_ms, 1);
        fixture_run(fixture, bad ? 1 : 999999, column, &samples, &time_ms, 1);
        bundle_writer_finish(&fixture->bundle, &fixture->bytes);
        if (bad == 1)
            fixture->bytes.ptr[fixture->bytes.len - 1] ^= 1;
        struct str value = bad == 2 ? STR("no bundle at all") : buf_str(&fixture->bytes);
        assert_true(kv_put(fixture->write, FIXTURE_BUNDLES, fixture->next_key++, value, &err));
    }
    assert_true(kv_put(fixture->write, FIXTURE_SERIES, 5000,
                       STR("\x02\x01"
                           "b\x01"
                           "x\x01"
                           "a"),
                       &err));
    fixture_commit(fixture);
    for (size_t memory = 0; memory <= 3000; memory += 3000) {
        struct day_build build = build_of(world);
        build.memory_bytes = memory;
        struct day_file *day = build_and_open(&build);
        check_file(world, day);
        day_file_unref(day);
    }
    samples_deinit(&samples);
    world_free(world);
}

static int fault_after, fault_code;
static unsigned fault_ops;

static int fail_later(enum file_op op, const char *path, size_t *len)
{
    (void)path;
    (void)len;
    if (!(fault_ops & 1u << op) || fault_after-- > 0)
        return 0;
    return fault_code;
}

/* Whatever fails: an error, nothing left behind, the inputs as they were, and the next try works. */
static void test_day_build_run__survives_every_fault(void **state)
{
    static const unsigned ops[] = {1u << FILE_OPEN, 1u << FILE_WRITE, 1u << FILE_SYNC,
                                   1u << FILE_RENAME};
    (void)state;
    seed = 9;
    struct world *world = world_new();
    make_input(world, "a", 8);
    struct day_build build = build_of(world);
    for (size_t kind = 0; kind < COUNT_OF(ops) * 2; kind++) {
        build.memory_bytes = kind % 2 ? 3000 : 0;
        fault_ops = ops[kind / 2];
        fault_code = kind % 2 ? EIO : ENOSPC;
        int tries = 0;
        for (bool good = false; !good; tries++) {
            struct err err = {0};
            char *path;
            fault_after = tries;
            file_faults = fail_later;
            good = day_build_run(&build, &path, &err);
            file_faults = NULL;
            check_nothing_left();
            if (!good)
                assert_int_equal(err.code, kind % 2 ? ERR_IO : ERR_NO_SPACE);
            assert_true(good == (path != NULL));
            mem_free(path);
        }
        assert_true(tries > 1);
    }
    struct day_file *day = build_and_open(&build);
    check_file(world, day);
    day_file_unref(day);
    world_free(world);
}

/* LMDB's own writes fail as well: no larger file is allowed. */
static void test_day_build_run__survives_a_full_disk(void **state)
{
    struct rlimit before, low;
    (void)state;
    seed = 11;
    struct world *world = world_new();
    make_input(world, "a", 8);
    struct day_build build = build_of(world);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit <= 40000; limit += 2500) {
        struct err err = {0};
        char *path = NULL;
        low = before;
        low.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        bool good = day_build_run(&build, &path, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        check_nothing_left();
        if (good)
            assert_true(limit > 8192);
        mem_free(path);
    }
    struct day_file *day = build_and_open(&build);
    check_file(world, day);
    day_file_unref(day);
    world_free(world);
}

static int stop_after;
static void stop_later(void *ctx, uint64_t done, uint64_t all)
{
    (void)done;
    (void)all;
    if (stop_after-- == 0)
        atomic_store((atomic_bool *)ctx, true);
}

static size_t stop_at_series(void *ctx, const struct label *labels, size_t count,
                             struct delete_range *out, size_t max)
{
    (void)labels;
    (void)count;
    (void)out;
    (void)max;
    stop_later(ctx, 0, 0);
    return 0;
}

/* Stopped at any series: nothing is left, and the next build is whole. What a dead process left is removed. */
static void test_day_build_run__can_be_stopped(void **state)
{
    static const char *const leftovers[] = {"20231114T00Z-20231115T00Z.mdb.tmp",
                                            "20231114T00Z-20231115T00Z.3.scratch"};
    atomic_bool stop = false;
    struct err err = {0};
    char *path;
    (void)state;
    seed = 13;
    struct world *world = world_new();
    make_input(world, "a", 8);
    for (size_t i = 0; i < 2; i++) {
        char left[200];
        snprintf(left, sizeof(left), "%s/%s", dir, leftovers[i]);
        FILE *file = fopen(left, "w");
        assert_non_null(file);
        fclose(file);
    }
    struct day_build build = build_of(world);
    build.stop = &stop;
    build.deleted = stop_at_series;
    build.deleted_ctx = &stop;
    for (int after = 0; after < 6; after++) {
        stop_after = after;
        atomic_store(&stop, false);
        assert_false(day_build_run(&build, &path, &err));
        assert_int_equal(err.code, ERR_CANCELED);
        check_nothing_left();
    }
    build = build_of(world);
    struct day_file *day = build_and_open(&build);
    check_file(world, day);
    day_file_unref(day);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_day_build_run__keeps_every_sample, begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__rebuilds_a_day_with_its_overlay, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_day_build_run__leaves_out_what_is_past_retention,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__cuts_dense_series, begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__leaves_out_what_is_damaged, begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__survives_every_fault, begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__survives_a_full_disk, begin, end),
        cmocka_unit_test_setup_teardown(test_day_build_run__can_be_stopped, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
