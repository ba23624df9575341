/* bench: storage */
/* Samples into the head: making series, scrapes of known series (on the loop thread), the log's
 * write and the sealing of slots (both on the commit lane). A small and a large head: in the large
 * one every series is a cache miss. */
#include "bench_store.h"

/* What the texts of labels cost, to be left out. */
static int64_t make_texts(size_t targets)
{
    static size_t sink;
    char room[8][48];
    struct label labels[10];
    int64_t begin_ns = bench_cpu_ns();
    for (size_t target = 0; target < targets; target++) {
        for (size_t i = 0; i < BENCH_TARGET_SERIES; i++)
            sink += bench_labels(room, target, i, labels);
    }
    return bench_cpu_ns() - begin_ns + (int64_t)(sink == 0);
}

static void bench_head(const char *name, size_t targets, int scrapes)
{
    struct bench_store store;
    struct bench_rounds create = {0}, first = {0}, append = {0}, write = {0}, seal = {0};
    char label[64];
    bench_store_open(&store);
    for (int round = 0; round < 5; round++) {
        int64_t texts_ns = make_texts(targets / 5), begin_ns = bench_cpu_ns();
        for (size_t i = 0; i < targets / 5; i++)
            bench_add_target(&store);
        bench_round(&create, (double)(bench_cpu_ns() - begin_ns - texts_ns) /
                                 (double)(targets / 5 * BENCH_TARGET_SERIES));
        bench_write_log(&store);
    }
    for (int round = 0; round < 7; round++) {
        int64_t append_ns = 0, write_ns = 0;
        size_t stored = 0;
        for (int i = 0; i < scrapes; i++) {
            bench_make_scrape(&store);
            int64_t begin_ns = bench_cpu_ns();
            size_t count = bench_append_scrape(&store);
            int64_t appended_ns = bench_cpu_ns();
            bench_write_log(&store);
            write_ns += bench_cpu_ns() - appended_ns;
            if (i == 0)
                bench_round(&first, (double)(appended_ns - begin_ns) / (double)count);
            append_ns += i > 0 ? appended_ns - begin_ns : 0;
            stored += i > 0 ? count : 0;
        }
        bench_round(&append, (double)append_ns / (double)stored);
        bench_round(&write, (double)write_ns / (double)stored);
        int64_t begin_ns = bench_cpu_ns();
        bench_seal(&store);
        bench_round(&seal, (double)(bench_cpu_ns() - begin_ns) / (double)stored);
    }
    struct storage_stats stats = bench_stats(&store);
    ENSURE(stats.slots_sealed >= 7 * targets);
    struct {
        const char *what;
        struct bench_rounds *rounds;
        const char *unit;
    } lines[] = {
        {"series_new", &create, "ns/series"}, {"append_first_of_slot", &first, "ns/sample"},
        {"append", &append, "ns/sample"},     {"log_write", &write, "ns/sample"},
        {"seal", &seal, "ns/sample"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(label, sizeof(label), "%s_%s", lines[i].what, name);
        bench_print_rounds(label, lines[i].rounds, lines[i].unit);
    }
    snprintf(label, sizeof(label), "log_bytes_%s", name);
    bench_print(label, (double)stats.log_bytes_written / (double)stats.samples_appended,
                "B/sample");
    snprintf(label, sizeof(label), "partition_bytes_%s", name);
    bench_print(label, (double)stats.partition_bytes / (double)stats.samples_appended, "B/sample");
    bench_store_close(&store);
}

int main(void)
{
    bench_head("10k", 20, 120);
    bench_head("200k", 400, 30);
    return 0;
}
