/* bench: storage
 *
 * A day of 1,000 series (mix d1) and of 60 histograms (mix d2), sealed in slots of 120 rows as a server would have them:
 * built into a day file, which is read back whole. CPU time of one thread. */
#include <malloc.h>
#include <unistd.h>

#include "bench.h"
#include "day_fixture.h"
#include "mix.h"

#define SLOT_ROWS   120
#define SLOTS       (MIX_SAMPLES / SLOT_ROWS)
#define TARGETS     10
#define SERIES_MAX  1000
#define ROUNDS      5
#define READ_ROUNDS 15

struct bench_series {
    struct label labels[5];
    size_t label_count;
    char texts[4][64];
    uint32_t target;
    double *values;
};

struct bench_mix {
    const char *name;
    struct bench_series series[SERIES_MAX];
    size_t count;
    uint32_t counts; /* Series that are the count of a histogram. */
    int64_t times_ms[TARGETS][MIX_SAMPLES];
};

static struct bench_series *add_series(struct bench_mix *mix, uint32_t target)
{
    struct bench_series *series = &mix->series[mix->count++];
    ENSURE(mix->count <= SERIES_MAX);
    series->target = target;
    series->values = mem_alloc(MIX_SAMPLES * sizeof(double));
    return series;
}

static void set_labels(struct bench_series *series, const char *metric, const char *tail,
                       const char *le, uint32_t number)
{
    size_t count = 0;
    snprintf(series->texts[0], 64, "%s%s", metric, tail);
    snprintf(series->texts[1], 64, "10.0.3.%u:9100", series->target);
    snprintf(series->texts[2], 64, "pod-%05u", number * 7919 % 65536);
    series->labels[count++] = (struct label){LABEL_NAME, str_of(series->texts[0])};
    series->labels[count++] = (struct label){STR("instance"), str_of(series->texts[1])};
    series->labels[count++] = (struct label){STR("job"), STR("node")};
    if (le) {
        snprintf(series->texts[3], 64, "%s", le);
        series->labels[count++] = (struct label){LABEL_LE, str_of(series->texts[3])};
    }
    series->labels[count++] = (struct label){STR("pod"), str_of(series->texts[2])};
    series->label_count = count;
}

static void make_d1(struct bench_mix *mix)
{
    uint64_t random = 1;
    char metric[64];
    mix->name = "d1";
    for (int kind = 0; kind < MIX_KIND_COUNT; kind++) {
        for (uint32_t i = 0; i < MIX_KINDS[kind].d1_series; i++) {
            struct bench_series *series = add_series(mix, i % TARGETS);
            mix_series((enum mix_kind)kind, &random, series->values);
            snprintf(metric, sizeof(metric), "node_%s_%u_total", MIX_KINDS[kind].name,
                     i / TARGETS % 5);
            set_labels(series, metric, "", NULL, i);
        }
    }
}

static void make_d2(struct bench_mix *mix)
{
    static const char *const les[MIX_FAMILY_COLUMNS - 1] = {
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"};
    static double columns[MIX_FAMILY_COLUMNS][MIX_SAMPLES];
    uint64_t random = 1;
    mix->name = "d2";
    mix->counts = MIX_D2_FAMILIES;
    for (uint32_t family = 0; family < MIX_D2_FAMILIES; family++) {
        mix_family(&random, columns);
        for (uint32_t k = 0; k < MIX_FAMILY_COLUMNS; k++) {
            struct bench_series *series = add_series(mix, family % TARGETS);
            bool is_count = k + 1 == MIX_FAMILY_COLUMNS;
            memcpy(series->values, columns[k], sizeof(columns[k]));
            set_labels(series, "request_duration_seconds", is_count ? "_count" : "_bucket",
                       is_count ? NULL : les[k], family);
        }
    }
}

static void seal_slot(struct bench_mix *mix, struct fixture *fixture, uint32_t target, size_t slot,
                      struct samples *samples)
{
    const int64_t *times_ms = mix->times_ms[target] + slot * SLOT_ROWS;
    bool is_open = false;
    uint16_t column = 0;
    for (size_t i = 0; i < mix->count; i++) {
        const struct bench_series *series = &mix->series[i];
        if (series->target != target)
            continue;
        if (!is_open || bundle_writer_is_full(&fixture->bundle)) {
            if (is_open)
                fixture_end_bundle(fixture);
            bundle_writer_begin(&fixture->bundle, target + 1, slot * TARGETS + target + 1);
            column = bundle_writer_column(&fixture->bundle, times_ms, SLOT_ROWS);
            is_open = true;
        }
        samples_clear(samples);
        samples_reserve(samples, SLOT_ROWS);
        for (size_t row = 0; row < SLOT_ROWS; row++)
            samples_add(samples, times_ms[row], series->values[slot * SLOT_ROWS + row]);
        fixture_run(fixture, i + 1, column, samples, times_ms, SLOT_ROWS);
    }
    fixture_end_bundle(fixture);
}

static void make_input(struct bench_mix *mix, struct fixture *fixture, const char *path)
{
    struct samples samples;
    uint64_t random = 3;
    samples_init(&samples);
    for (uint32_t target = 0; target < TARGETS; target++)
        mix_times(&random, mix->times_ms[target]);
    fixture_open(fixture, path);
    for (size_t i = 0; i < mix->count; i++)
        fixture_series(fixture, i + 1, mix->series[i].labels, mix->series[i].label_count);
    for (size_t slot = 0; slot < SLOTS; slot++) {
        for (uint32_t target = 0; target < TARGETS; target++)
            seal_slot(mix, fixture, target, slot, &samples);
    }
    fixture_commit(fixture);
    samples_deinit(&samples);
    for (size_t i = 0; i < mix->count; i++)
        mem_free(mix->series[i].values);
}

static double status_mb(const char *field)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, field, strlen(field)) == 0)
            kb = strtod(line + strlen(field) + 1, NULL);
    }
    if (file)
        fclose(file);
    return kb / 1024;
}

/* From now on the peak is counted anew. */
static double begin_peak(void)
{
    malloc_trim(0);
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
    return status_mb("VmRSS");
}

static void print(const char *mix, const char *what, double value, const char *unit)
{
    char name[64];
    snprintf(name, sizeof(name), "day_%s_%s", mix, what);
    bench_print(name, value, unit);
}

/* As a cursor reads a series: shown in place, or copied. Returns the samples seen. */
static uint64_t read_series(struct day_reader *reader, uint32_t ordinal, struct samples *samples)
{
    struct err err = {0};
    struct day_view view;
    bool viewed;
    bench_must(day_reader_view(reader, ordinal, INT64_MIN, INT64_MAX, &view, &viewed, &err), &err);
    if (viewed)
        return view.count;
    samples_clear(samples);
    bench_must(day_reader_read(reader, ordinal, INT64_MIN, INT64_MAX, samples, &err), &err);
    return samples->count;
}

/* Series from `first` to before `end`, in order. */
static double read_rate(struct day_file *day, uint32_t first, uint32_t end, uint64_t *seen)
{
    struct bench_rounds rounds = {0};
    struct samples samples;
    samples_init(&samples);
    for (int round = 0; round < READ_ROUNDS; round++) {
        struct day_reader *reader = day_reader_new(day);
        *seen = 0;
        int64_t start = bench_cpu_ns();
        for (uint32_t i = first; i < end; i++)
            *seen += read_series(reader, i, &samples);
        bench_round(&rounds, (double)*seen * 1e3 / (double)(bench_cpu_ns() - start));
        day_reader_free(reader);
    }
    samples_deinit(&samples);
    return bench_median(&rounds);
}

static void measure_read(const struct bench_mix *mix, const char *path, uint64_t samples_all)
{
    struct day_file *day;
    struct err err = {0};
    uint64_t seen;
    bench_must(day_file_open(&day, path, &err), &err);
    const struct day_info *info = day_file_info(day);
    uint32_t counts = mix->counts, all = info->series_count;
    print(mix->name, "read", read_rate(day, 0, all, &seen), "Msamples/s");
    ENSURE(seen == samples_all);
    if (counts > 0) { /* They are last by name; each leads to its family's last bucket. */
        print(mix->name, "read_buckets", read_rate(day, 0, all - counts, &seen), "Msamples/s");
        print(mix->name, "read_counts", read_rate(day, all - counts, all, &seen), "Msamples/s");
    }
    print(mix->name, "file", (double)info->bytes / (double)samples_all, "B/sample");
    print(mix->name, "chunks", (double)info->chunk_bytes / (double)samples_all, "B/sample");
    print(mix->name, "columns", (double)info->column_bytes, "B");
    print(mix->name, "index", (double)info->index_bytes / info->series_count, "B/series");
    day_file_unref(day);
}

static void measure(struct bench_mix *mix, const char *dir)
{
    struct bench_rounds rounds = {0}, bucket_rounds = {0};
    struct fixture fixture;
    struct err err = {0};
    char input_path[128], *path = NULL;
    snprintf(input_path, sizeof(input_path), "%s/%s.open.mdb", dir, mix->name);
    make_input(mix, &fixture, input_path);
    struct day_input input = {.kv = fixture.kv};
    struct day_build build = {.inputs = &input,
                              .input_count = 1,
                              .from_ms = MIX_START_MS,
                              .to_ms = MIX_START_MS + 86400000,
                              .dir = dir};
    double samples = (double)mix->count * MIX_SAMPLES, before_mb = begin_peak(), peak_mb = 0;
    for (int round = 0; round < ROUNDS * 2; round++) {
        bool in_buckets = round >= ROUNDS;
        if (round == ROUNDS) {
            peak_mb = status_mb("VmHWM") - before_mb;
            before_mb = begin_peak();
        }
        build.memory_bytes = in_buckets ? (size_t)1 << 20 : 0;
        mem_free(path);
        int64_t start = bench_cpu_ns();
        bench_must(day_build_run(&build, &path, &err), &err);
        bench_round(in_buckets ? &bucket_rounds : &rounds,
                    samples * 1e3 / (double)(bench_cpu_ns() - start));
    }
    print(mix->name, "build", bench_median(&rounds), "Msamples/s");
    print(mix->name, "build_in_buckets", bench_median(&bucket_rounds), "Msamples/s");
    print(mix->name, "peak", peak_mb, "MB");
    print(mix->name, "peak_in_buckets", status_mb("VmHWM") - before_mb, "MB");
    measure_read(mix, path, (uint64_t)samples);
    mem_free(path);
    fixture_close(&fixture);
}

int main(void)
{
    static struct bench_mix mix;
    char dir[] = "/tmp/narthex-bench-XXXXXX", command[64];
    if (!mkdtemp(dir))
        return 1;
    make_d1(&mix);
    measure(&mix, dir);
    memset(&mix, 0, sizeof(mix));
    make_d2(&mix);
    measure(&mix, dir);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}
