/* bench: storage */
/* Anonymous bytes per active series: 200,000 series of 8 to 10 labels, from birth to a full slot,
 * and with a sealed slot behind it. The batches of this program are not counted: they are there
 * before. */
#include "bench_store.h"

#define TARGETS 400

static double base;

static void print(const struct bench_store *store, const char *name)
{
    double count = TARGETS * BENCH_TARGET_SERIES;
    char label[64];
    snprintf(label, sizeof(label), "rss_%s", name);
    bench_print(label, (bench_anonymous_bytes() - base) / count, "B/series");
    snprintf(label, sizeof(label), "known_%s", name);
    bench_print(label, (double)bench_stats(store).head_bytes / count, "B/series");
}

int main(void)
{
    struct bench_store store;
    double batches = (double)TARGETS * BENCH_TARGET_SERIES *
                     (sizeof(struct batch_sample) + sizeof(struct bench_series));
    bench_store_open(&store);
    base = bench_anonymous_bytes() + batches;
    for (int i = 0; i < TARGETS; i++) {
        bench_add_target(&store);
        struct bench_target *target = &store.targets.items[i];
        VEC_RESERVE(&target->batch.samples, BENCH_TARGET_SERIES);
        memset(target->batch.samples.items, 1,
               target->batch.samples.capacity * sizeof(struct batch_sample));
        if (i % 10 == 9)
            bench_write_log(&store);
    }
    print(&store, "labels_only");
    static const int steps[] = {1, 30, 60, 120};
    int done = 0;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char name[32];
        bench_fill(&store, steps[i] - done);
        done = steps[i];
        snprintf(name, sizeof(name), "samples_%d", done);
        print(&store, name);
    }
    bench_seal(&store);
    print(&store, "just_sealed");
    bench_fill(&store, 60);
    print(&store, "second_slot_half");
    bench_store_close(&store);
    return 0;
}
