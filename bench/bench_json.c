/* bench: query */
/* The API's answer of a matrix of 1,000 series x 300 points as text: long floats (a rate), integers
 * (a counter). */
#include "bench.h"
#include "query.h"

#define SERIES 1000
#define POINTS 300
#define ROUNDS 9

static void run(struct query_result *result, const char *name)
{
    struct bench_rounds speed = {0}, point = {0};
    struct buf out;
    char label[64];
    buf_init(&out, (size_t)1 << 30);
    for (int round = 0; round < ROUNDS; round++) {
        buf_clear(&out);
        int64_t begin_ns = bench_cpu_ns();
        query_result_json(result, 0, false, &out);
        double spent_ns = (double)(bench_cpu_ns() - begin_ns);
        ENSURE(!out.overflow && out.len > (size_t)SERIES * POINTS * 10);
        bench_round(&speed, (double)out.len * 1e3 / spent_ns);
        bench_round(&point, spent_ns / (SERIES * POINTS));
    }
    snprintf(label, sizeof(label), "json_%s", name);
    bench_print_rounds(label, &speed, "MB/s");
    snprintf(label, sizeof(label), "json_%s_point", name);
    bench_print_rounds(label, &point, "ns/point");
    buf_deinit(&out);
}

static void fill(struct query_result *result, double (*next)(uint64_t *random, double last))
{
    uint64_t random = 42;
    for (size_t i = 0; i < SERIES; i++) {
        double last = 0;
        for (size_t k = 0; k < POINTS; k++)
            last = result->series[i].value[k] = next(&random, last);
    }
}

static double next_float(uint64_t *random, double last)
{
    (void)last;
    return bench_uniform(random) * 100;
}

static double next_integer(uint64_t *random, double last)
{
    return last + (double)(bench_random(random) % 100000);
}

static double next_short(uint64_t *random, double last)
{
    (void)last;
    return (double)(bench_random(random) % 10000) / 100;
}

int main(void)
{
    struct query_result result = {.type = QUERY_MATRIX, .count = SERIES};
    struct arena arena;
    arena_init(&arena, 0);
    result.series = arena_alloc_array(&arena, SERIES, sizeof(result.series[0]));
    for (size_t i = 0; i < SERIES; i++) {
        struct query_series *series = &result.series[i];
        char instance[32];
        snprintf(instance, sizeof(instance), "10.0.%zu.%zu:9100", i / 256, i % 256);
        struct label labels[] = {{LABEL_NAME, STR("requests_total")},
                                 {LABEL_INSTANCE, str_of(instance)},
                                 {LABEL_JOB, STR("shop")},
                                 {STR("pod"), STR("cart-7f9c55c54-x8hvq")}};
        series->labels = labels_new(labels, 4);
        series->count = POINTS;
        series->time_ms = arena_alloc_array(&arena, POINTS, sizeof(int64_t));
        series->value = arena_alloc_array(&arena, POINTS, sizeof(double));
        for (size_t k = 0; k < POINTS; k++)
            series->time_ms[k] = INT64_C(1700000000000) + (int64_t)k * 15000;
    }
    fill(&result, next_float);
    run(&result, "floats");
    fill(&result, next_integer);
    run(&result, "integers");
    fill(&result, next_short);
    run(&result, "two_decimals");
    for (size_t i = 0; i < SERIES; i++)
        labels_unref(result.series[i].labels);
    arena_deinit(&arena);
    return 0;
}
