/* bench: storage */
/* Start after a kill: the log of 100,000 series and an average of half a slot is read back. */
#include "bench_store.h"

#define TARGETS 200
#define SCRAPES 60

int main(void)
{
    struct bench_store store;
    struct bench_rounds cpu = {0}, sample = {0}, speed = {0};
    bench_store_open(&store);
    for (int i = 0; i < TARGETS; i++)
        bench_add_target(&store);
    bench_fill(&store, SCRAPES);
    bench_print("live_memory", bench_anonymous_bytes() / (TARGETS * BENCH_TARGET_SERIES),
                "B/series");
    bench_store_release(&store);
    for (int round = 0; round < 5; round++) {
        store_close(&store.fixture);
        int64_t begin_ns = bench_cpu_ns();
        store_open(&store.fixture);
        int64_t spent_ns = bench_cpu_ns() - begin_ns;
        struct storage_stats stats = bench_stats(&store);
        ENSURE(stats.replay_samples == (uint64_t)TARGETS * BENCH_TARGET_SERIES * SCRAPES);
        bench_round(&cpu, (double)spent_ns / 1e6);
        bench_round(&sample, (double)spent_ns / (double)stats.replay_samples);
        bench_round(&speed, (double)stats.log_bytes * 1e3 / (double)spent_ns);
        if (round == 0)
            bench_print("log_size", (double)stats.log_bytes / 1e6, "MB");
    }
    bench_print_rounds("replay", &cpu, "ms");
    bench_print_rounds("replay_sample", &sample, "ns/sample");
    bench_print_rounds("replay_speed", &speed, "MB/s");
    store_teardown(&store.fixture);
    return 0;
}
