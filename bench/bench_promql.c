/* bench: query */
/* Expressions over the series of promql_set.h in a store of our own: CPU of this thread, parse to JSON.
 *
 *     bench_promql [hundred|many] [part of a printed name]       SERIES=10000 of many, ROUNDS=3 */
#include "bench_store.h"
#include "promql_set.h"
#include "query.h"

struct question {
    const char *text;
    int64_t range_s, step_s;
};

static const struct question HUNDRED[] = {
    {"a_hundred", 9990, 10},
    {"rate(a_hundred[1m])", 9990, 10},
    {"rate(sparse[1m])", 9990, 10},
    {"double_exponential_smoothing(a_hundred[1d], 0.3, 0.3)", 9990, 10},
    {"changes(a_hundred[1d])", 9990, 10},
    {"rate(a_hundred[1d])", 9990, 10},
    {"absent_over_time(a_hundred[1d])", 9990, 10},
    {"-a_hundred", 9990, 10},
    {"a_hundred - b_hundred", 9990, 10},
    {"a_hundred and b_hundred{l=~'.*[0-4]$'}", 9990, 10},
    {"a_hundred or b_hundred{l=~'.*[0-4]$'}", 9990, 10},
    {"a_hundred unless b_hundred{l=~'.*[0-4]$'}", 9990, 10},
    {"abs(a_hundred)", 9990, 10},
    {"label_replace(a_hundred, 'l2', '$1', 'l', '(.*)')", 9990, 10},
    {"label_join(a_hundred, 'l2', '-', 'l', 'l')", 9990, 10},
    {"sum(a_hundred)", 9990, 10},
    {"sum without (l)(h_hundred)", 9990, 10},
    {"sum without (le)(h_hundred)", 9990, 10},
    {"count_values('value', h_hundred)", 9990, 10},
    {"topk(5, a_hundred)", 9990, 10},
    {"limitk(5, a_hundred)", 9990, 10},
    {"rate(a_hundred[1m]) + rate(b_hundred[1m])", 9990, 10},
    {"histogram_quantile(0.9, rate(h_hundred[5m]))", 9990, 10},
    {"a_hundred + on(l) group_right a_one", 9990, 10},
    {"count({__name__!=''})", 9990, 10},
    {"timestamp(a_hundred)", 9990, 10},
    {"max_over_time(a_hundred[1d])", 9990, 10},
    {"avg_over_time(a_hundred[1h])", 9990, 10},
    {"stddev_over_time(a_hundred[1h])", 9990, 10},
    {"quantile_over_time(0.9, a_hundred[1h])", 9990, 10},
    {"max_over_time(rate(a_hundred[5m])[1h:1m])", 9990, 10},
    {"h_hundred{le=~'0|0.1|0.2'}", 9990, 10},
    {"a_hundred", 0, 0},
    {"sum(a_one)", 0, 0},
    {"rate(a_hundred[1m])", 0, 0},
    {"rate(a_hundred[1d])", 0, 0},
    {"histogram_quantile(0.9, rate(h_hundred[5m]))", 0, 0},
    {"count({__name__!=''})", 0, 0},
    {NULL, 0, 0},
};

static const struct question MANY[] = {
    {"sum by (job) (rate(x_total[5m]))", 21000, 60},
    {"histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))", 21000, 60},
    {"topk(10, x_total)", 21000, 60},
    {"x_total * on (instance) group_left (node) node_info", 21000, 60},
    {"rate(x_total[5m])", 21000, 60},
    {"sum by (job) (rate(x_total[5m]))", 0, 0},
    {NULL, 0, 0},
};

static void fill(struct bench_store *store, const struct promql_set *set)
{
    struct bench_target target = {.group = storage_group_open(store->fixture.storage, 7)};
    for (size_t i = 0; i < set->maker.series.count; i++) {
        const struct load_series *shape = &set->maker.series.items[i];
        struct label labels[16];
        size_t count = 0;
        struct err err = {0};
        for (const char *at = set->maker.text.ptr + shape->offset;
             at < set->maker.text.ptr + shape->offset + shape->len; count++) {
            labels[count].name = str_of(at);
            at += labels[count].name.len + 1;
            labels[count].value = str_of(at);
            at += labels[count].value.len + 1;
        }
        struct bench_series series = {0};
        series.ref = storage_series(store->fixture.storage, target.group, labels, count,
                                    labels_hash(labels, count), &err);
        bench_must(series.ref != SERIES_REF_NONE, &err);
        VEC_PUSH(&target.series, series);
    }
    VEC_PUSH(&store->targets, target);
    struct bench_target *all = &store->targets.items[0];
    int64_t end_ms = BENCH_START_MS + (int64_t)set->rows * set->interval_ms;
    for (uint32_t row = 0; row < set->rows; row++) {
        VEC_CLEAR(&all->batch.samples);
        for (size_t i = 0; i < all->series.count; i++) {
            double value = set->maker.values.items[i][row];
            if (sample_bits(value) != LOAD_MISSING_BITS)
                batch_add(&all->batch, all->series.items[i].ref, promql_time(set, end_ms, row),
                          value);
        }
        bench_append_scrape(store);
        bench_write_log(store);
        if (row % 120 == 119 && row + 60 < set->rows)
            bench_seal(store);
    }
    store->time_ms = end_ms;
}

#define NAME_MAX_LEN 128
#define AT_ONCE      100 /* Instant queries take microseconds. */

/* The expression without spaces, and @1 when it is asked for one instant. Returns its length. */
static size_t question_name(const struct question *question, char name[NAME_MAX_LEN])
{
    size_t len = 0;
    for (const char *at = question->text; *at && len + 8 < NAME_MAX_LEN; at++)
        if (*at != ' ')
            name[len++] = *at;
    snprintf(name + len, NAME_MAX_LEN - len, "%s", question->step_s ? "" : "@1");
    return len;
}

struct spent {
    double whole_ms, json_ms;
    size_t bytes;
};

static void ask(struct bench_store *store, const struct question *question, struct spent *spent)
{
    struct query_options options;
    struct query *query;
    struct err err = {0};
    struct buf out;
    query_options_init(&options);
    options.features = QUERY_EXPERIMENTAL_FUNCTIONS;
    options.end_ms = store->time_ms;
    options.start_ms = options.end_ms - question->range_s * 1000;
    options.step_ms = question->step_s * 1000;
    int64_t begin_ns = bench_cpu_ns();
    bench_must(query_new(&query, str_of(question->text), &options, &err), &err);
    bench_must(query_run(query, store->fixture.storage, &err), &err);
    int64_t ran_ns = bench_cpu_ns();
    buf_init(&out, (size_t)1 << 30);
    query_result_json(query_result(query), 0, false, &out);
    spent->bytes = out.len;
    int64_t printed_ns = bench_cpu_ns();
    buf_deinit(&out);
    query_free(query);
    spent->whole_ms += (double)(bench_cpu_ns() - begin_ns) / 1e6;
    spent->json_ms += (double)(printed_ns - ran_ns) / 1e6;
}

static void run(struct bench_store *store, const struct question *question, int rounds)
{
    struct bench_rounds whole = {0}, json = {0};
    char name[NAME_MAX_LEN];
    struct spent spent = {0};
    size_t len = question_name(question, name);
    int each = question->step_s ? 1 : AT_ONCE;
    for (int round = 0; round < rounds; round++) {
        spent = (struct spent){0};
        for (int i = 0; i < each; i++)
            ask(store, question, &spent);
        bench_round(&whole, spent.whole_ms / each);
        bench_round(&json, spent.json_ms / each);
    }
    bench_print_rounds(name, &whole, "ms");
    if (spent.bytes > 1000000) {
        snprintf(name + len, sizeof(name) - len, "_json");
        bench_print(name, (double)spent.bytes / 1e3 / bench_median(&json), "MB/s");
    }
}

int main(int argc, char **argv)
{
    bool many = argc > 1 && strcmp(argv[1], "many") == 0;
    const char *series = getenv("SERIES"), *rounds = getenv("ROUNDS");
    struct bench_store store;
    struct promql_set set;
    promql_make(&set, many ? "many" : "hundred",
                (uint32_t)strtoul(series ? series : "10000", NULL, 10), many ? 1620 : 9700);
    bench_store_open(&store);
    fill(&store, &set);
    for (const struct question *at = many ? MANY : HUNDRED; at->text; at++) {
        char name[NAME_MAX_LEN];
        question_name(at, name);
        if (argc < 3 || strstr(name, argv[2]))
            run(&store, at, (int)strtol(rounds ? rounds : "3", NULL, 10));
    }
    bench_store_close(&store);
    return 0;
}
