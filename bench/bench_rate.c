/* bench: query */
/* PromQL over 1,000 series and six hours of samples at 15 s, five and a half of them in files:
 * parse, select, decode and evaluate, with a step of one minute. And over a day that has been built, with a step of five. */
#include "bench_store.h"
#include "query.h"

#define ROUNDS     7
#define HISTOGRAMS 100
#define BUCKETS    10
#define SCRAPES    (6 * 240)
#define DAY_MS     INT64_C(86400000)

static const char *const EXPRESSIONS[][2] = {
    {"plain", "requests_total"},
    {"rate", "rate(requests_total[5m])"},
    {"sum_by_rate", "sum by (pod) (rate(requests_total[5m]))"},
    {"sum_rate_1h", "sum(rate(requests_total[1h]))"},
    {"avg_over_time", "avg_over_time(requests_total[5m])"},
    {"quantile_over_time", "quantile_over_time(0.9, requests_total[5m])"},
    {"topk", "topk(5, rate(requests_total[5m]))"},
    {"ratio", "rate(requests_total[5m]) / rate(requests_total[10m])"},
    {"histogram_quantile", "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))"},
    {"histogram_quantile_each", "histogram_quantile(0.99, rate(latency_bucket[5m]))"},
};

static const char *const DAY_EXPRESSIONS[][2] = {
    {"sum_rate", "sum(rate(requests_total[5m]))"},
    {"sum_rate_count", "sum(rate(latency_count[5m]))"},
    {"sum_rate_buckets", "sum by (le) (rate(latency_bucket[5m]))"},
};

static void add_series(struct bench_store *store, struct bench_target *target, const char *name,
                       size_t number)
{
    static const char *const bounds[BUCKETS] = {"0.005", "0.01", "0.05", "0.1", "0.25",
                                                "0.5",   "1",    "2.5",  "5",   "+Inf"};
    char pod[32], instance[32];
    struct label labels[5];
    size_t count = 0;
    struct err err = {0};
    bool bucket = strcmp(name, "latency_bucket") == 0, counts = strcmp(name, "latency_count") == 0;
    snprintf(pod, sizeof(pod), "pod-%zu", number / 10 % 25);
    snprintf(instance, sizeof(instance), "10.0.0.%zu:%zu", number / 10,
             bucket || counts ? 0 : number % 10);
    labels[count++] = (struct label){LABEL_NAME, str_of(name)};
    labels[count++] = (struct label){LABEL_INSTANCE, str_of(instance)};
    labels[count++] = (struct label){LABEL_JOB, STR("shop")};
    if (bucket)
        labels[count++] = (struct label){LABEL_LE, str_of(bounds[number % BUCKETS])};
    labels[count++] = (struct label){STR("pod"), str_of(pod)};
    struct bench_series series = {.kind = counts ? 500 : bucket ? 400 : 700};
    series.ref = storage_series(store->fixture.storage, target->group, labels, count,
                                labels_hash(labels, count), &err);
    bench_must(series.ref != SERIES_REF_NONE, &err);
    VEC_PUSH(&target->series, series);
}

/* Buckets are cumulative: each adds what fell into the ones below it. */
static void make_scrape(struct bench_store *store)
{
    VEC_EACH (target, &store->targets) {
        double below = 0;
        VEC_CLEAR(&target->batch.samples);
        for (size_t i = 0; i < target->series.count; i++) {
            struct bench_series *series = &target->series.items[i];
            uint64_t dice = bench_random(&store->random);
            if (series->kind == 400) {
                below = i % (BUCKETS + 1) == 0 ? 0 : below;
                below += (double)(dice % 4);
                series->value += below;
            } else if (series->kind == 500) { /* After the buckets: the last one's. */
                series->value =
                    target->series.items[i / (BUCKETS + 1) * (BUCKETS + 1) + BUCKETS - 1].value;
            } else {
                series->value = dice % 2000 == 0 ? 0 : series->value + (double)(dice % 50);
            }
            batch_add(&target->batch, series->ref, store->time_ms, series->value);
        }
    }
    store->time_ms += BENCH_INTERVAL_MS;
}

static void fill(struct bench_store *store, int scrapes)
{
    for (size_t t = 0; t < 2; t++) {
        struct bench_target target = {.group = storage_group_open(store->fixture.storage, 7 + t)};
        for (size_t i = 0; i < HISTOGRAMS * BUCKETS; i++) {
            add_series(store, &target, t == 0 ? "requests_total" : "latency_bucket", i);
            if (t == 1 && i % BUCKETS == BUCKETS - 1)
                add_series(store, &target, "latency_count", i);
        }
        VEC_PUSH(&store->targets, target);
    }
    for (int i = 0; i < scrapes; i++) {
        make_scrape(store);
        bench_append_scrape(store);
        bench_write_log(store);
        if (i % 120 == 119 && i + 1 < scrapes)
            bench_seal(store);
    }
}

/* Samples of the range that a second of CPU reads, by an expression over a whole day in its file. */
static void run_day(struct bench_store *store, const char *name, const char *text)
{
    struct bench_rounds rounds = {0};
    char label[64];
    for (int round = 0; round < ROUNDS; round++) {
        struct query_options options;
        struct query *query;
        struct err err = {0};
        query_options_init(&options);
        options.start_ms = store->time_ms - DAY_MS + 300000;
        options.end_ms = store->time_ms - BENCH_INTERVAL_MS;
        options.step_ms = 300000;
        int64_t begin_ns = bench_cpu_ns();
        bench_must(query_new(&query, str_of(text), &options, &err), &err);
        bench_must(query_run(query, store->fixture.storage, &err), &err);
        const struct query_result *result = query_result(query);
        ENSURE(result->count > 0);
        double read = (double)result->stats.samples_read;
        query_free(query);
        bench_round(&rounds, read * 1e3 / (double)(bench_cpu_ns() - begin_ns));
    }
    snprintf(label, sizeof(label), "day_%s", name);
    bench_print_rounds(label, &rounds, "Msamples/s");
}

static void measure_day(void)
{
    struct bench_store store;
    struct storage_stats stats;
    bench_store_open(&store);
    store.time_ms = store.time_ms / DAY_MS * DAY_MS;
    fill(&store, (int)(DAY_MS / BENCH_INTERVAL_MS));
    bench_seal(&store);
    bench_store_release(&store);
    store_close(&store.fixture);
    store.fixture.options.build_delay_ms = 0;
    store_open(&store.fixture);
    for (int i = 0; i < 1000; i++) {
        series_ref ref = store_series(&store.fixture, "later", i);
        store_add(&store.fixture, ref, store.time_ms + DAY_MS / 24 + i * 60000, 1);
        store.ahead_ms += 61000;
        store_tick(&store.fixture, store.ahead_ms);
        storage_get_stats(store.fixture.storage, &stats);
        if (stats.builds > 0)
            break;
    }
    ENSURE(stats.builds > 0);
    for (size_t i = 0; i < sizeof(DAY_EXPRESSIONS) / sizeof(DAY_EXPRESSIONS[0]); i++)
        run_day(&store, DAY_EXPRESSIONS[i][0], DAY_EXPRESSIONS[i][1]);
    bench_store_close(&store);
}

static void run(struct bench_store *store, const char *name, const char *text, bool instant)
{
    struct bench_rounds whole = {0}, prepare = {0}, sample = {0};
    char label[64];
    for (int round = 0; round < ROUNDS; round++) {
        struct query_options options;
        struct query *query;
        struct err err = {0};
        query_options_init(&options);
        options.start_ms = instant ? store->time_ms - BENCH_INTERVAL_MS : BENCH_START_MS;
        options.end_ms = store->time_ms - BENCH_INTERVAL_MS;
        options.step_ms = instant ? 0 : 60000;
        int64_t begin_ns = bench_cpu_ns();
        bench_must(query_new(&query, str_of(text), &options, &err), &err);
        bench_must(query_run(query, store->fixture.storage, &err), &err);
        const struct query_result *result = query_result(query);
        ENSURE(result->count > 0);
        double seconds = result->stats.prepare_seconds;
        double read = (double)result->stats.samples_read;
        query_free(query);
        double spent_ns = (double)(bench_cpu_ns() - begin_ns);
        bench_round(&whole, spent_ns / 1e6);
        bench_round(&prepare, seconds * 1e3);
        bench_round(&sample, read > 0 ? spent_ns / read : 0);
    }
    snprintf(label, sizeof(label), "%s_%s", instant ? "instant" : "range", name);
    bench_print_rounds(label, &whole, "ms");
    if (instant)
        return;
    snprintf(label, sizeof(label), "range_%s_prepare", name);
    bench_print_rounds(label, &prepare, "ms");
    snprintf(label, sizeof(label), "range_%s_sample", name);
    bench_print_rounds(label, &sample, "ns/sample_read");
}

int main(int argc, char **argv)
{
    struct bench_store store;
    if (argc > 1 && strcmp(argv[1], "day") == 0) {
        measure_day();
        return 0;
    }
    bench_store_open(&store);
    fill(&store, SCRAPES);
    for (size_t i = 0; i < sizeof(EXPRESSIONS) / sizeof(EXPRESSIONS[0]); i++) {
        if (argc > 1 && strcmp(argv[1], EXPRESSIONS[i][0]) != 0)
            continue;
        run(&store, EXPRESSIONS[i][0], EXPRESSIONS[i][1], false);
        run(&store, EXPRESSIONS[i][0], EXPRESSIONS[i][1], true);
    }
    bench_store_close(&store);
    if (argc < 2)
        measure_day();
    return 0;
}
