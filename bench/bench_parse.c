/* bench: scrape */
/* Lines per second through parser, line cache and batch, in memory: the first time (labels built,
 * merged, hashed) and with a cache that knows all lines. Series are numbered, storage is not asked.
 */
#include <stdio.h>
#include <time.h>

#include "model/batch.h"
#include "parse_text.h"
#include "sample_labels.h"

/* Of this process: others on the machine do not count. */
static int64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct run {
    struct line_cache cache;
    struct batch batch;
    struct arena arena;
    struct sample_labels labels;
    uint64_t hashes;
};

static void on_known(void *ctx, uint32_t index, double value, const int64_t *time_ms)
{
    struct run *run = ctx;

    (void)line_cache_mark(&run->cache, index, true);
    batch_add(&run->batch, run->cache.entries.items[index].ref, time_ms ? *time_ms : 1000, value);
}

static bool on_sample(void *ctx, const struct text_line *line, enum metric_type type,
                      struct err *err)
{
    struct run *run = ctx;
    bool over;

    if (!sample_labels_build(&run->labels, line, type, &over, err))
        return false;
    run->hashes ^= labels_hash(run->labels.builder.items, run->labels.builder.count);
    uint32_t ref = (uint32_t)run->cache.entries.count;
    (void)line_cache_add(&run->cache, line->metric, ref, LINE_TRACKED);
    batch_add(&run->batch, ref, line->has_time ? line->time_ms : 1000, line->value);
    return true;
}

static void on_metadata(void *ctx, const struct text_line *line)
{
    (void)ctx;
    (void)line;
}

static void body_fill(struct buf *body, int lines)
{
    for (int i = 0; i < lines; i++) {
        if (i % 10 == 0)
            buf_addf(body,
                     "# HELP node_metric_%d_total Something of group %d.\n"
                     "# TYPE node_metric_%d_total counter\n",
                     i / 10, i / 10, i / 10);
        buf_addf(body,
                 "node_metric_%d_total{cpu=\"%d\",device=\"nvme%dn1\",mode=\"iowait\","
                 "path=\"/var/lib/data/%d\"} %d.%d\n",
                 i / 10, i % 10, i % 4, i, i * 7919, i % 100);
    }
}

static void body_run(struct run *run, struct str body)
{
    static const struct line_cache_ops ops = {0};
    struct parse_text_sink sink = {
        .known = on_known, .sample = on_sample, .metadata = on_metadata, .ctx = run};
    struct parse_text parser;
    struct err err;

    VEC_CLEAR(&run->batch.samples);
    line_cache_begin(&run->cache);
    parse_text_init(&parser, &run->cache, &sink, PARSE_LINE_BYTES_MAX);
    while (body.len > 0) {
        struct str piece = str_first(body, 16384);
        if (!parse_text_feed(&parser, piece, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return;
        }
        body = str_after(body, piece.len);
    }
    if (!parse_text_end(&parser, &err))
        fprintf(stderr, "%s\n", err.text);
    parse_text_deinit(&parser);
    line_cache_end(&run->cache, &ops);
}

static void bench(int lines)
{
    struct config_scrape options = {.honor_timestamps = true};
    const struct label target_items[] = {{LABEL_INSTANCE, STR("10.1.2.3:9100")},
                                         {LABEL_JOB, STR("node")}};
    struct labels *target = labels_new(target_items, 2);
    struct buf body;
    struct run run = {0};
    int rounds = 4000000 / lines;

    buf_init(&body, (size_t)1 << 30);
    body_fill(&body, lines);
    int64_t first_ns = 0;
    for (int i = 0; i < rounds / 8 + 1; i++) {
        line_cache_init(&run.cache, 42);
        arena_init(&run.arena, 0);
        sample_labels_init(&run.labels, &options, target, &run.arena);
        int64_t from_ns = cpu_ns();
        body_run(&run, buf_str(&body));
        first_ns += cpu_ns() - from_ns;
        if (i < rounds / 8)
            line_cache_deinit(&run.cache);
        sample_labels_deinit(&run.labels);
        arena_deinit(&run.arena);
    }
    int64_t from_ns = cpu_ns();
    for (int i = 0; i < rounds; i++)
        body_run(&run, buf_str(&body));
    int64_t cached_ns = cpu_ns() - from_ns;
    printf("parse_first_%d %.2f M_lines/s\n", lines,
           (double)(rounds / 8 + 1) * lines * 1e3 / (double)first_ns);
    printf("parse_cached_%d %.2f M_lines/s\n", lines,
           (double)rounds * lines * 1e3 / (double)cached_ns);
    line_cache_deinit(&run.cache);
    batch_deinit(&run.batch);
    buf_deinit(&body);
    labels_unref(target);
}

int main(void)
{
    bench(500);
    bench(20000);
    return 0;
}
