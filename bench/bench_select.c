/* bench: storage */
/* From matchers to series and from series to samples: 1,000 series of 100,000, from the head and
 * from files. */
#include "bench_store.h"

#define TARGETS 200
#define ROUNDS  9

static double checksum;

struct found {
    int64_t select_ns, decode_ns;
    size_t series, samples;
};

static struct found run(struct storage *storage, const struct matcher *matchers, size_t count,
                        int64_t from_ms, int64_t to_ms)
{
    struct found found = {0};
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    int64_t begin_ns = bench_cpu_ns();
    bench_must(storage_select(storage, matchers, count, from_ms, to_ms, &selection, &err), &err);
    int64_t selected_ns = bench_cpu_ns();
    struct cursor *cursor = cursor_new(selection);
    found.series = selection_count(selection);
    for (size_t i = 0; i < found.series; i++) {
        cursor_seek(cursor, i);
        for (;;) {
            bench_must(cursor_next(cursor, &block, &err), &err);
            if (block.count == 0)
                break;
            checksum += block.value[block.count - 1];
            found.samples += block.count;
        }
    }
    cursor_free(cursor);
    found.decode_ns = bench_cpu_ns() - selected_ns;
    found.select_ns = selected_ns - begin_ns;
    selection_free(selection);
    return found;
}

static void bench_select(struct bench_store *store, const char *name, int64_t from_ms,
                         int64_t to_ms, const struct matcher *matchers, size_t count,
                         size_t series_wanted)
{
    struct bench_rounds select = {0}, decode = {0};
    struct found found = {0};
    char label[64];
    for (int round = 0; round < ROUNDS; round++) {
        found = run(store->fixture.storage, matchers, count, from_ms, to_ms);
        ENSURE(found.series == series_wanted);
        bench_round(&select, (double)found.select_ns / (double)found.series);
        bench_round(&decode, found.samples ? (double)found.decode_ns / (double)found.samples : 0);
    }
    snprintf(label, sizeof(label), "select_%s_%zu", name, found.series);
    bench_print_rounds(label, &select, "ns/series");
    snprintf(label, sizeof(label), "decode_%s_%zu", name, found.samples);
    bench_print_rounds(label, &decode, "ns/sample");
}

static void matcher(struct matcher *out, enum matcher_type type, const char *name,
                    const char *value)
{
    struct err err = {0};
    bench_must(matcher_init(out, type, str_of(name), str_of(value), &err), &err);
}

int main(void)
{
    struct bench_store store;
    struct matcher by_name[2], by_regex[2], all[1], none[2];
    int64_t slot_ms = 120 * BENCH_INTERVAL_MS;
    bench_store_open(&store);
    for (int i = 0; i < TARGETS; i++)
        bench_add_target(&store);
    for (int slot = 0; slot < 6; slot++) {
        bench_fill(&store, 120);
        bench_seal(&store);
    }
    int64_t sealed_ms = store.time_ms;
    bench_fill(&store, 120);
    matcher(&by_name[0], MATCH_EQUAL, "__name__", "kube_node_family_07_seconds_total");
    matcher(&by_name[1], MATCH_REGEX, "cpu", "1|2|3|4|5");
    matcher(&by_regex[0], MATCH_REGEX, "__name__", "kube_node_family_.7_seconds_total");
    matcher(&by_regex[1], MATCH_EQUAL, "cpu", "3");
    matcher(&all[0], MATCH_EQUAL, "job", "kubernetes-pods");
    matcher(&none[0], MATCH_EQUAL, "__name__", "kube_node_family_07_seconds_total");
    matcher(&none[1], MATCH_REGEX, "instance", "10[.]0[.]0[.]7:.*");

    int64_t end_ms = store.time_ms;
    bench_select(&store, "head", sealed_ms, end_ms, by_name, 2, 1000);
    bench_select(&store, "sealed_30m", sealed_ms - slot_ms, sealed_ms - 1, by_name, 2, 1000);
    bench_select(&store, "sealed_3h", BENCH_START_MS, sealed_ms - 1, by_name, 2, 1000);
    bench_select(&store, "both", BENCH_START_MS, end_ms, by_name, 2, 1000);
    bench_select(&store, "regex_head", sealed_ms, end_ms, by_regex, 2, 1000);
    bench_select(&store, "all_head", end_ms - 300000, end_ms, all, 1,
                 TARGETS * BENCH_TARGET_SERIES);
    bench_select(&store, "one_target_sealed_3h", BENCH_START_MS, sealed_ms - 1, none, 2, 10);
    for (int i = 0; i < 2; i++) {
        matcher_deinit(&by_name[i]);
        matcher_deinit(&by_regex[i]);
        matcher_deinit(&none[i]);
    }
    matcher_deinit(&all[0]);
    bench_store_close(&store);
    return checksum == 0;
}
