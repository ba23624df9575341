/* bench_store: a store in a fresh directory under targets that look like a cluster's.
 *
 * Targets have 500 series each: 50 metrics of 10 series, 8 to 10 labels. Values follow the mix of
 * node and kubelet exporters: a third hardly ever changes, most of the rest are counters, a few are
 * full-mantissa floats. All from one seed. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <math.h>

#include "base/vec.h"
#include "bench.h"
#include "model/batch.h"
#include "store_fixture.h"

#define BENCH_TARGET_SERIES 500
#define BENCH_INTERVAL_MS   15000
#define BENCH_START_MS      INT64_C(1700006400000) /* A multiple of 2 h. */

struct bench_series {
    series_ref ref;
    uint32_t kind; /* 0..999: its place in the mix. */
    double value;
};

struct bench_target {
    struct storage_group *group;
    VEC(struct bench_series) series;
    struct batch batch;
};

struct bench_store {
    struct store_fixture fixture;
    VEC(struct bench_target) targets;
    uint64_t random;
    int64_t time_ms;  /* Of the next scrape. */
    int64_t ahead_ms; /* How far the clock of ticks has been moved on, so that slots are due. */
};

static inline void bench_store_open(struct bench_store *store)
{
    *store = (struct bench_store){.random = 42, .time_ms = BENCH_START_MS};
    store_setup(&store->fixture);
}

static inline void bench_store_release(struct bench_store *store)
{
    VEC_EACH (target, &store->targets) {
        storage_group_close(target->group);
        VEC_FREE(&target->series);
        batch_deinit(&target->batch);
    }
    VEC_FREE(&store->targets);
}

static inline void bench_store_close(struct bench_store *store)
{
    lane_now_run(&store->fixture.lane);
    bench_store_release(store);
    store_teardown(&store->fixture);
}

/* The labels of series `number` of target `target`; texts in `room`. */
static inline size_t bench_labels(char room[8][48], size_t target, size_t number, struct label *out)
{
    size_t count = 0;
    snprintf(room[0], sizeof(room[0]), "kube_node_family_%02zu_seconds_total", number / 10);
    snprintf(room[1], sizeof(room[1]), "container-%zu", target % 8);
    snprintf(room[2], sizeof(room[2]), "%zu", number % 10);
    snprintf(room[3], sizeof(room[3]), "10.%zu.%zu.%zu:9100", target / 65536, target / 256 % 256,
             target % 256);
    snprintf(room[4], sizeof(room[4]), "mode-%zu", number % 7);
    snprintf(room[5], sizeof(room[5]), "namespace-%zu", target % 20);
    snprintf(room[6], sizeof(room[6]), "node-%zu", target / 10);
    snprintf(room[7], sizeof(room[7]), "workload-%zu-7f9c%04zx", target % 40,
             target * 7919 % 65536);
    out[count++] = (struct label){LABEL_NAME, str_of(room[0])};
    out[count++] = (struct label){STR("container"), str_of(room[1])};
    out[count++] = (struct label){STR("cpu"), str_of(room[2])};
    out[count++] = (struct label){LABEL_INSTANCE, str_of(room[3])};
    out[count++] = (struct label){LABEL_JOB, STR("kubernetes-pods")};
    if (number % 3 > 0)
        out[count++] = (struct label){STR("mode"), str_of(room[4])};
    out[count++] = (struct label){STR("namespace"), str_of(room[5])};
    out[count++] = (struct label){STR("node"), str_of(room[6])};
    out[count++] = (struct label){STR("pod"), str_of(room[7])};
    if (number % 3 > 1)
        out[count++] = (struct label){STR("zone"), STR("eu-central-1a")};
    return count;
}

static inline void bench_add_target(struct bench_store *store)
{
    struct bench_target target = {0};
    size_t number = store->targets.count;
    struct err err = {0};
    char room[8][48];
    struct label labels[10];
    target.group = storage_group_open(store->fixture.storage, 1000 + number);
    for (size_t i = 0; i < BENCH_TARGET_SERIES; i++) {
        struct bench_series series = {.kind = (uint32_t)(bench_random(&store->random) % 1000)};
        size_t count = bench_labels(room, number, i, labels);
        series.value = (double)(bench_random(&store->random) % 100000);
        series.ref = storage_series(store->fixture.storage, target.group, labels, count,
                                    labels_hash(labels, count), &err);
        bench_must(series.ref != SERIES_REF_NONE, &err);
        VEC_PUSH(&target.series, series);
    }
    VEC_PUSH(&store->targets, target);
}

static inline double bench_next_value(struct bench_series *series, uint64_t *random)
{
    uint32_t kind = series->kind;
    uint64_t dice = bench_random(random);
    if (kind < 220)
        return series->value;
    if (kind < 300)
        series->value += dice % 20 == 0 ? (double)(dice >> 32 & 15) - 7 : 0; /* Slow gauge. */
    else if (kind < 460)
        series->value += dice % 30 == 0; /* Nearly idle counter. */
    else if (kind < 660)
        series->value += dice % 3 == 0 ? (double)(1 + (dice >> 32) % 5) : 0; /* Histogram bucket. */
    else if (kind < 730)
        series->value += (double)((dice >> 32) % 50); /* Requests. */
    else if (kind < 780)
        series->value += dice % 4 ? (double)((dice >> 32) % 1500)
                                  : (double)((dice >> 32) % 4000000); /* Bytes. */
    else if (kind < 830)
        series->value =
            (floor(series->value * 100) + (double)(dice % 1500)) / 100; /* CPU, 2 decimals. */
    else if (kind < 855)
        series->value =
            (floor(series->value * 1e9) + (double)(dice % 15000000000)) / 1e9; /* CPU, ns. */
    else if (kind < 905)
        series->value = 4096 * (double)(200000 + dice % 5000); /* Memory. */
    else if (kind < 940)
        series->value = (double)(dice % 200); /* Integer gauge. */
    else if (kind < 960)
        series->value = (double)(dice % 10000) / 100; /* 2 decimals. */
    else if (kind < 970)
        series->value = bench_uniform(random); /* Full mantissa. */
    else if (kind < 990)
        series->value += dice % 2 ? bench_uniform(random) : 0; /* Sum of durations. */
    else
        series->value += BENCH_INTERVAL_MS / 1000; /* Timestamp. */
    return series->value;
}

/* The next scrape of every target, as batches that wait to be appended. */
static inline void bench_make_scrape(struct bench_store *store)
{
    VEC_EACH (target, &store->targets) {
        VEC_CLEAR(&target->batch.samples);
        VEC_EACH (series, &target->series) {
            batch_add(&target->batch, series->ref, store->time_ms,
                      bench_next_value(series, &store->random));
        }
    }
    store->time_ms += BENCH_INTERVAL_MS;
}

static inline size_t bench_append_scrape(struct bench_store *store)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    size_t stored = 0;
    VEC_EACH (target, &store->targets) {
        bool good = storage_append(store->fixture.storage, target->group, &target->batch, &options,
                                   &result, &err);
        bench_must(good, &err);
        stored += result.outcome_count[SAMPLE_STORED];
    }
    return stored;
}

/* Hands the log's bytes to the lane and runs it: what the commit lane does every 25 ms. */
static inline void bench_write_log(struct bench_store *store)
{
    store_tick(&store->fixture, STORAGE_COMMIT_DELAY_MS);
}

/* Cuts and seals every slot, as half an hour would. */
static inline void bench_seal(struct bench_store *store)
{
    for (int i = 0; i < 3; i++) {
        store->ahead_ms += 2 * store->fixture.options.slot_ms;
        store_tick(&store->fixture, store->ahead_ms);
    }
}

static inline void bench_fill(struct bench_store *store, int scrapes)
{
    for (int i = 0; i < scrapes; i++) {
        bench_make_scrape(store);
        bench_append_scrape(store);
        if (i % 8 == 7)
            bench_write_log(store);
    }
    bench_write_log(store);
}

static inline struct storage_stats bench_stats(const struct bench_store *store)
{
    struct storage_stats stats;
    storage_get_stats(store->fixture.storage, &stats);
    return stats;
}

/* Anonymous memory of this process, without files that are mapped. */
static inline double bench_anonymous_bytes(void)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "RssAnon: %ld kB", &kib) == 1)
            break;
    }
    if (file)
        fclose(file);
    return (double)kib * 1024;
}

#endif
