/* bench: storage */
/* The index of a day: its size, how fast it is written, matched and read. Days of 200 k series that live all day, of
 * 2.4 M series of pods that are replaced each hour, and of 200 k series that have five texts of their own each. */
#include "base/vec.h"
#include "bench.h"
#include "disk_index.h"

#define ROUNDS      9
#define TEXT_BYTES  64
#define METRICS_MAX 200
#define BOUNDS      12
#define CODES       4
#define LABELS_MAX  12

struct pod {
    char container[TEXT_BYTES], instance[TEXT_BYTES], job[TEXT_BYTES], namespace[TEXT_BYTES];
    char node[TEXT_BYTES], pod[TEXT_BYTES], uid[TEXT_BYTES];
};

struct day {
    const char *name;
    size_t pod_count, counters, codes, histograms, gauges;
    bool uids; /* One gauge has the pod's uid and one of its own in each series. */
    struct pod *pods;
    char metrics[METRICS_MAX][TEXT_BYTES];
    char (*own_uids)[TEXT_BYTES];
    uint32_t series_count;
    uint64_t text_bytes; /* Of texts that only one pod has. */
    struct buf sections[DISK_INDEX_SECTIONS];
    struct disk_index *index;
};

static const char *const codes[CODES] = {"200", "404", "500", "503"};
static const char *const bounds[BOUNDS] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
                                           "0.5",   "1",    "2.5",   "5",    "10",  "+Inf"};
static const char *const workloads[] = {"web-frontend", "web-api",    "checkout", "cart",
                                        "search",       "prometheus", "billing",  "auth-proxy"};

static uint64_t random_state = 1;

static void uid_make(char out[TEXT_BYTES])
{
    uint64_t a = bench_random(&random_state), b = bench_random(&random_state);
    snprintf(out, TEXT_BYTES, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)a,
             (unsigned)(a >> 32 & 0xffff), (unsigned)(a >> 48 & 0xfff), (unsigned)(b & 0xfff),
             (unsigned long long)(b >> 16));
}

static void suffix_make(char *out, size_t len)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    for (size_t i = 0; i < len; i++)
        out[i] = alphabet[bench_random(&random_state) % (sizeof(alphabet) - 1)];
    out[len] = '\0';
}

static void pod_make(struct pod *pod)
{
    const char *workload = workloads[bench_random(&random_state) % COUNT_OF(workloads)];
    char hash[11], tail[6];
    suffix_make(hash, 10);
    suffix_make(tail, 5);
    uint64_t dice = bench_random(&random_state);
    snprintf(pod->container, TEXT_BYTES, "%s", workload);
    snprintf(pod->job, TEXT_BYTES, "%s", workload);
    snprintf(pod->namespace, TEXT_BYTES, "team-%u", (unsigned)(dice % 12));
    snprintf(pod->node, TEXT_BYTES, "ip-10-0-%u-%u.eu-central-1.compute.internal",
             (unsigned)(dice >> 8 & 3), (unsigned)(dice >> 16 & 31));
    snprintf(pod->instance, TEXT_BYTES, "10.%u.%u.%u:8080", (unsigned)(dice >> 24 & 3),
             (unsigned)(dice >> 32 & 255), (unsigned)(dice >> 40 & 255));
    snprintf(pod->pod, TEXT_BYTES, "%s-%s-%s", workload, hash, tail);
    uid_make(pod->uid);
}

static size_t pod_labels(const struct day *day, const struct pod *pod, size_t metric,
                         const char *code, const char *bound, const char *own, struct label *out)
{
    size_t count = 0;
    out[count++] = (struct label){LABEL_NAME, str_of(day->metrics[metric])};
    if (code)
        out[count++] = (struct label){STR("code"), str_of(code)};
    out[count++] = (struct label){STR("container"), str_of(pod->container)};
    out[count++] = (struct label){LABEL_INSTANCE, str_of(pod->instance)};
    out[count++] = (struct label){LABEL_JOB, str_of(pod->job)};
    if (bound)
        out[count++] = (struct label){LABEL_LE, str_of(bound)};
    out[count++] = (struct label){STR("namespace"), str_of(pod->namespace)};
    out[count++] = (struct label){STR("node"), str_of(pod->node)};
    out[count++] = (struct label){STR("pod"), str_of(pod->pod)};
    if (own) {
        out[count++] = (struct label){STR("pod_uid"), str_of(pod->uid)};
        out[count++] = (struct label){STR("uid"), str_of(own)};
    }
    return count;
}

static int pod_compare(const void *a, const void *b)
{
    struct day day = {.metrics = {"x"}};
    struct label x[LABELS_MAX], y[LABELS_MAX];
    size_t x_count = pod_labels(&day, a, 0, NULL, NULL, NULL, x);
    size_t y_count = pod_labels(&day, b, 0, NULL, NULL, NULL, y);
    return series_order(x, x_count, y, y_count);
}

static void day_make(struct day *day)
{
    size_t metrics = day->counters + day->histograms + day->gauges;
    ENSURE(metrics <= METRICS_MAX);
    for (size_t i = 0; i < metrics; i++)
        snprintf(day->metrics[i], TEXT_BYTES, "app_subsystem_thing_%03zu_seconds_total", i);
    day->pods = mem_alloc_array(day->pod_count, sizeof(*day->pods));
    day->own_uids = mem_alloc_array(day->pod_count, TEXT_BYTES);
    for (size_t i = 0; i < day->pod_count; i++) {
        pod_make(&day->pods[i]);
        uid_make(day->own_uids[i]);
    }
    qsort(day->pods, day->pod_count, sizeof(*day->pods), pod_compare);
    for (size_t i = 0; i < day->pod_count; i++) {
        day->text_bytes += strlen(day->pods[i].pod) + strlen(day->pods[i].instance);
        day->text_bytes += day->uids ? strlen(day->pods[i].uid) + strlen(day->own_uids[i]) : 0;
    }
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        buf_init(&day->sections[i], UINT32_MAX);
}

static void add_series(struct day *day, struct disk_index_writer *writer, size_t metric,
                       const char *code, bool histogram, const char *own, size_t pod)
{
    struct label labels[LABELS_MAX];
    for (size_t b = 0; b < (histogram ? BOUNDS : 1); b++) {
        size_t count = pod_labels(day, &day->pods[pod], metric, code, histogram ? bounds[b] : NULL,
                                  own, labels);
        disk_index_writer_add(writer, labels, count);
        day->series_count++;
    }
}

static void add_all(struct day *day, struct disk_index_writer *writer)
{
    size_t metrics = day->counters + day->histograms + day->gauges;
    day->series_count = 0;
    for (size_t metric = 0; metric < metrics; metric++) {
        bool counter = metric < day->counters;
        bool histogram = !counter && metric < day->counters + day->histograms;
        bool owns = day->uids && metric == metrics - 1;
        for (size_t code = 0; code < (counter ? day->codes : 1); code++) {
            for (size_t pod = 0; pod < day->pod_count; pod++)
                add_series(day, writer, metric, counter ? codes[code] : NULL, histogram,
                           owns ? day->own_uids[pod] : NULL, pod);
        }
    }
}

static bool keep_section(void *ctx, unsigned section, struct str bytes, struct err *err)
{
    struct day *day = ctx;
    (void)err;
    buf_clear(&day->sections[section]);
    buf_add_str(&day->sections[section], bytes);
    return true;
}

static void line(const struct day *day, const char *what, double value, const char *unit)
{
    char name[128];
    snprintf(name, sizeof(name), "index_%s_%s", day->name, what);
    bench_print(name, value, unit);
}

static void measure_write(struct day *day, int rounds)
{
    static const char *const parts[] = {"values",   "series", "groups", "postings",
                                        "restarts", "names",  "hashes", "head"};
    struct bench_rounds add = {0}, all = {0};
    struct str sections[DISK_INDEX_SECTIONS];
    struct err err;
    double bytes = 0;
    for (int round = 0; round < rounds; round++) {
        int64_t start = bench_cpu_ns();
        struct disk_index_writer *writer = disk_index_writer_new();
        add_all(day, writer);
        bench_round(&add, (double)day->series_count * 1e3 / (double)(bench_cpu_ns() - start));
        bench_must(disk_index_writer_finish(writer, keep_section, day, &err), &err);
        disk_index_writer_free(writer);
        bench_round(&all, (double)day->series_count * 1e3 / (double)(bench_cpu_ns() - start));
    }
    line(day, "series", day->series_count, "series");
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "bytes_%s", parts[i]);
        sections[i] = buf_str(&day->sections[i]);
        bytes += (double)sections[i].len;
        line(day, name, (double)sections[i].len / day->series_count, "B/series");
    }
    line(day, "bytes", bytes / day->series_count, "B/series");
    line(day, "unique_text", (double)day->text_bytes / day->series_count, "B/series");
    line(day, "add", bench_median(&add), "Mseries/s");
    line(day, "write", bench_median(&all), "Mseries/s");
    bench_must(disk_index_open(&day->index, sections, &err), &err);
    line(day, "heap", (double)disk_index_heap_bytes(day->index), "B");
}

struct condition {
    enum matcher_type type;
    const char *name, *value;
};

static void measure_match(const struct day *day, const char *what,
                          const struct condition *conditions, size_t count)
{
    struct matcher matchers[4];
    struct bench_rounds rounds = {0};
    struct err err;
    char name[64];
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        bench_must(matcher_init(&matchers[i], conditions[i].type, str_of(conditions[i].name),
                                str_of(conditions[i].value), &err),
                   &err);
    for (int round = 0; round < ROUNDS; round++) {
        struct ordinal_vec out = {0};
        int64_t start = bench_cpu_ns();
        bench_must(disk_index_match(day->index, matchers, count, &out, &err), &err);
        bench_round(&rounds, (double)(bench_cpu_ns() - start) / 1e3);
        found = out.count;
        VEC_FREE(&out);
    }
    snprintf(name, sizeof(name), "match_%s", what);
    line(day, name, bench_median(&rounds), "us");
    snprintf(name, sizeof(name), "match_%s_found", what);
    line(day, name, (double)found, "series");
    for (size_t i = 0; i < count; i++)
        matcher_deinit(&matchers[i]);
}

static void measure_labels(const struct day *day)
{
    struct bench_rounds rounds = {0}, finds = {0};
    struct label labels[LABELS_MAX];
    struct arena arena;
    struct err err;
    size_t count;
    uint32_t step = day->series_count / 20000 + 1;
    arena_init(&arena, 0);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = bench_cpu_ns();
        for (uint32_t i = 0; i < day->series_count; i++) {
            if (i % 1000 == 0)
                arena_reset(&arena);
            bench_must(disk_index_labels(day->index, i, &arena, labels, LABELS_MAX, &count, &err),
                       &err);
        }
        bench_round(&rounds, (double)(bench_cpu_ns() - start) / day->series_count);
    }
    line(day, "labels", bench_median(&rounds), "ns");
    for (int round = 0; round < 3; round++) {
        int64_t spent = 0;
        uint32_t asked = 0, ordinal;
        for (uint32_t i = 0; i < day->series_count; i += step, asked++) {
            bool found;
            arena_reset(&arena);
            bench_must(disk_index_labels(day->index, i, &arena, labels, LABELS_MAX, &count, &err),
                       &err);
            int64_t start = bench_cpu_ns();
            bench_must(disk_index_find(day->index, labels, count, &found, &ordinal, &err), &err);
            spent += bench_cpu_ns() - start;
            ENSURE(found && ordinal == i);
        }
        bench_round(&finds, (double)spent / asked);
    }
    line(day, "find", bench_median(&finds), "ns");
    arena_deinit(&arena);
}

static void measure_queries(const struct day *day)
{
    const char *metric = day->metrics[0], *pod = day->pods[day->pod_count / 2].pod;
    measure_match(day, "metric", &(struct condition){MATCH_EQUAL, "__name__", metric}, 1);
    measure_match(day, "metric_jobs_pods",
                  (struct condition[]){{MATCH_EQUAL, "__name__", metric},
                                       {MATCH_REGEX, "job", "web-api|cart"},
                                       {MATCH_REGEX, "pod", "web-.*"}},
                  3);
    measure_match(day, "metric_regex",
                  (struct condition[]){{MATCH_EQUAL, "__name__", metric},
                                       {MATCH_REGEX, "pod", "web-(api|front)[a-z]*-.*"}},
                  2);
    measure_match(day, "pod", &(struct condition){MATCH_EQUAL, "pod", pod}, 1);
    measure_match(day, "contains", &(struct condition){MATCH_REGEX, "pod", ".*fro.*bb.*"}, 1);
    measure_match(day, "automaton", &(struct condition){MATCH_REGEX, "pod", ".*[0-9]b[a-f]$"}, 1);
    measure_match(day, "no_code", &(struct condition){MATCH_EQUAL, "code", ""}, 1);
    measure_match(day, "all", NULL, 0);
}

static void day_measure(struct day *day, int rounds)
{
    day_make(day);
    measure_write(day, rounds);
    measure_queries(day);
    measure_labels(day);
    disk_index_close(day->index);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        buf_deinit(&day->sections[i]);
    mem_free(day->pods);
    mem_free(day->own_uids);
}

int main(void)
{
    static struct day steady = {.name = "day",
                                .pod_count = 400,
                                .counters = 60,
                                .codes = 4,
                                .histograms = 12,
                                .gauges = 116,
                                .uids = true};
    static struct day churn = {.name = "churn",
                               .pod_count = 24000,
                               .counters = 10,
                               .codes = 3,
                               .histograms = 3,
                               .gauges = 34,
                               .uids = true};
    static struct day unique = {.name = "unique", .pod_count = 200000, .gauges = 1, .uids = true};
    day_measure(&steady, ROUNDS);
    day_measure(&churn, 3);
    day_measure(&unique, 3);
    return 0;
}
