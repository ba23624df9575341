/* bench: storage */
/* What a day of virtual time writes to the disk, by kind of file: log, sealed slots, head.mdb, index segments, the build's
 * scratch and the day file. Counted where the program calls write(2) and its like, LMDB's calls too.
 *
 *     bench_writes                                   TARGETS=200 HOURS=24        (500 series each, 15 s) */
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "bench_store.h"

#define STEPS_PER_SCRAPE 3 /* The log is written at least so often between two scrapes. */

enum kind { LOG, OPEN, HEAD, SPILLED, SCRATCH, DAY, OTHER, KINDS };
static const char *const KIND_NAMES[KINDS] = {"log",     "open", "head", "segments",
                                              "scratch", "day",  "other"};
static uint64_t written[KINDS], calls[KINDS];

static enum kind kind_of(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = 0;
    return strstr(path, "/log/")       ? LOG
           : strstr(path, ".open.mdb") ? OPEN
           : strstr(path, ".ooo.mdb")  ? OPEN
           : strstr(path, "head.mdb")  ? HEAD
           : strstr(path, ".idx")      ? SPILLED
           : strstr(path, ".scratch")  ? SCRATCH
           : strstr(path, ".mdb")      ? DAY
                                       : OTHER;
}

static ssize_t count(int fd, ssize_t wrote)
{
    if (fd > 2 && wrote > 0) {
        enum kind kind = kind_of(fd);
        written[kind] += (uint64_t)wrote;
        calls[kind]++;
    }
    return wrote;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return count(fd, syscall(SYS_write, fd, bytes, len));
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return count(fd, syscall(SYS_pwrite64, fd, bytes, len, at));
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return count(fd, syscall(SYS_pwrite64, fd, bytes, len, at));
}
ssize_t writev(int fd, const struct iovec *parts, int parts_count)
{
    return count(fd, syscall(SYS_writev, fd, parts, parts_count));
}
ssize_t pwritev(int fd, const struct iovec *parts, int parts_count, off_t at)
{
    return count(fd, syscall(SYS_pwritev, fd, parts, parts_count, at, 0));
}

/* What is written is counted, not how long the disk takes. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}
int fsync(int fd)
{
    (void)fd;
    return 0;
}

/* Days pass as fast as the work is done. */
static int64_t ahead_ms;
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_MONOTONIC) {
        now->tv_sec += ahead_ms / 1000;
        now->tv_nsec += ahead_ms % 1000 * 1000000;
        now->tv_sec += now->tv_nsec / 1000000000;
        now->tv_nsec %= 1000000000;
    }
    return result;
}

static unsigned from_env(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void tick(struct bench_store *store)
{
    storage_tick(store->fixture.storage, clock_mono_ms());
    lane_now_run(&store->fixture.lane);
}

/* One scrape of all targets, a part of them at a time, as they are spread over the interval. */
static uint64_t scrape(struct bench_store *store)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    uint64_t stored = 0;
    size_t count_all = store->targets.count, step = 0;
    for (size_t i = 0; i < count_all; i++) {
        struct bench_target *target = &store->targets.items[i];
        VEC_CLEAR(&target->batch.samples);
        VEC_EACH (series, &target->series) {
            batch_add(&target->batch, series->ref,
                      store->time_ms + (int64_t)(i * BENCH_INTERVAL_MS / count_all),
                      bench_next_value(series, &store->random));
        }
        bool good = storage_append(store->fixture.storage, target->group, &target->batch, &options,
                                   &result, &err);
        bench_must(good, &err);
        stored += result.outcome_count[SAMPLE_STORED];
        if ((i + 1) * STEPS_PER_SCRAPE / count_all > step) {
            step++;
            ahead_ms += BENCH_INTERVAL_MS / STEPS_PER_SCRAPE;
            tick(store);
        }
    }
    store->time_ms += BENCH_INTERVAL_MS;
    return stored;
}

int main(void)
{
    unsigned targets = from_env("TARGETS", 200), hours = from_env("HOURS", 24);
    int64_t day_ms = INT64_C(24) * 60 * 60 * 1000;
    struct bench_store store;
    uint64_t samples = 0;
    char label[64];
    mem_setup();
    bench_store_open(&store);
    store.time_ms = store.time_ms / day_ms * day_ms;
    for (unsigned i = 0; i < targets; i++)
        bench_add_target(&store);
    for (unsigned i = 0; i < hours * 240; i++)
        samples += scrape(&store);
    bench_seal(&store);
    bench_store_release(&store);
    store_close(&store.fixture);
    /* The day is built at once when its time has come. */
    store.fixture.options.build_delay_ms = hours == 24 ? 0 : INT64_MAX / 4;
    store_open(&store.fixture);
    for (int i = 0; hours == 24 && i < 1000 && written[DAY] == 0; i++) {
        series_ref ref = store_series(&store.fixture, "later", i);
        store_add(&store.fixture, ref, store.time_ms + day_ms / 24 + i * 60000, 1);
        ahead_ms += 61000;
        tick(&store);
    }
    for (int i = 0; i < KINDS; i++) {
        snprintf(label, sizeof(label), "writes_%s", KIND_NAMES[i]);
        bench_print(label, (double)written[i] / (double)samples, "B/sample");
        snprintf(label, sizeof(label), "writes_%s_calls", KIND_NAMES[i]);
        bench_print(label, (double)calls[i], "");
    }
    uint64_t all = 0;
    for (int i = 0; i < KINDS; i++)
        all += written[i];
    bench_print("writes_all", (double)all / (double)samples, "B/sample");
    bench_print("writes_rate", (double)all / (hours * 3600.0), "B/s");
    store_teardown(&store.fixture);
    return 0;
}
