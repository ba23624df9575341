/* bench: storage */
/* Start after a kill: 500,000 series at 15 s, every slot open for as long as one can be, read back by a process of its own: how
 * long that takes, how many samples a second, and how much more memory it had at its peak than at its end.
 *
 *     bench_start                                    TARGETS=1000 SCRAPES=119 ROUNDS=3 [ONE_THREAD=1] */
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "bench_store.h"

static unsigned from_env(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static double status_bytes(const char *key)
{
    char line[256];
    long kib = 0;
    size_t len = strlen(key);
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, len) == 0 && sscanf(line + len, ": %ld kB", &kib) == 1)
            break;
    }
    if (file)
        fclose(file);
    return (double)kib * 1024;
}

static double process_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void start(const char *dir)
{
    struct store_fixture fixture = {0};
    mem_setup();
    snprintf(fixture.dir, sizeof(fixture.dir), "%s", dir);
    storage_options_init(&fixture.options);
    fixture.options.build_delay_ms = INT64_MAX / 4;
    lane_now_init(&fixture.lane);
    fixture.one_thread = getenv("ONE_THREAD") != NULL;
    int64_t begin_ns = clock_mono_ns();
    store_open(&fixture);
    double wall = (double)(clock_mono_ns() - begin_ns) / 1e9;
    struct storage_stats stats;
    storage_get_stats(fixture.storage, &stats);
    printf("%.4f %.4f %.0f %.0f %.0f\n", wall, process_cpu_seconds(), (double)stats.replay_samples,
           status_bytes("VmHWM"), status_bytes("VmRSS"));
    fflush(stdout);
    _exit(0);
}

static void bench_starts(const char *self, const char *dir, unsigned rounds, double samples)
{
    struct bench_rounds wall = {0}, cpu = {0}, speed = {0}, peak = {0};
    char command[512];
    snprintf(command, sizeof(command), "'%s' start '%s'", self, dir);
    for (unsigned i = 0; i < rounds; i++) {
        double values[5] = {0};
        FILE *child = popen(command, "r");
        ENSURE(child && fscanf(child, "%lf %lf %lf %lf %lf", &values[0], &values[1], &values[2],
                               &values[3], &values[4]) == 5);
        ENSURE(pclose(child) == 0 && values[2] >= samples);
        bench_round(&wall, values[0] * 1e3);
        bench_round(&cpu, values[1] * 1e3);
        bench_round(&speed, values[2] / values[0] / 1e6);
        bench_round(&peak, values[3] / values[4]);
        if (i == 0)
            bench_print("start_memory", values[4] / 1e6, "MB");
    }
    bench_print_rounds("start", &wall, "ms");
    bench_print_rounds("start_cpu", &cpu, "ms");
    bench_print_rounds("start_speed", &speed, "Msamples/s");
    bench_print_rounds("start_peak", &peak, "x");
}

static void tick(struct bench_store *store, int64_t ahead_ms)
{
    storage_tick(store->fixture.storage, clock_mono_ms() + ahead_ms);
    lane_now_run(&store->fixture.lane);
}

static void append(struct bench_store *store)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    for (size_t i = 0; i < store->targets.count; i++) {
        struct bench_target *target = &store->targets.items[i];
        bool good = storage_append(store->fixture.storage, target->group, &target->batch, &options,
                                   &result, &err);
        bench_must(good, &err);
        if (i % 50 == 49)
            tick(store, store->ahead_ms + STORAGE_COMMIT_DELAY_MS);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "start") == 0)
        start(argv[2]);
    unsigned targets = from_env("TARGETS", 1000), scrapes = from_env("SCRAPES", 119);
    struct bench_store store;
    bench_store_open(&store);
    store_close(&store.fixture);
    store.fixture.options.slot_ms = INT64_C(16) * 60 * 60 * 1000; /* The first may be a sixteenth. */
    store_open(&store.fixture);
    for (unsigned i = 0; i < targets; i++)
        bench_add_target(&store);
    for (unsigned i = 0; i < scrapes; i++) {
        bench_make_scrape(&store);
        append(&store);
        /* Segments of five minutes, as a server has them; no slot is due so soon. */
        store.ahead_ms += BENCH_INTERVAL_MS;
        tick(&store, store.ahead_ms + STORAGE_COMMIT_DELAY_MS);
    }
    bench_print("start_log", (double)bench_stats(&store).log_bytes / 1e6, "MB");
    bench_print("start_series", targets * (double)BENCH_TARGET_SERIES, "");
    bench_store_release(&store);
    store_close(&store.fixture);
    if (getenv("KEEP"))
        printf("%s\n", store.fixture.dir), exit(0);
    bench_starts(argv[0], store.fixture.dir, from_env("ROUNDS", 3),
                 (double)targets * BENCH_TARGET_SERIES * scrapes);
    store_remove_dir(&store.fixture);
    return 0;
}
