/* query_analyze: how many buckets of histograms are populated, over the samples of a time frame, as promtool tells it.
 *
 * Series without floats are native histograms; others, with a name that ends in _bucket and an le, are buckets of classic ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/vec.h"
#include "commands.h"
#include "model/duration.h"
#include "model/labels.h"
#include "query_print.h"

#define FORM_BYTES_MAX   (1 << 20)
#define OUTPUT_BYTES_MAX ((size_t)1 << 30)

static const char header[] =
    "Bucket stats for each histogram series over time\n"
    "------------------------------------------------\n"
    "First the min, avg, and max number of populated buckets, followed by the total\n"
    "number of buckets (only if different from the max number of populated buckets\n"
    "which is typical for classic but not native histograms).\n\n";
static const char footer[] = "\nAggregated bucket stats\n"
                             "-----------------------\n"
                             "Each line shows min/avg/max over the series above.\n";

/* Of one histogram series: populated buckets of its samples. */
struct populated {
    int64_t min, max, total;
    double average;
};

/* Of one of those numbers, over all series. */
struct spread {
    int64_t min, max;
    double average;
};

enum { SPREAD_MIN, SPREAD_AVERAGE, SPREAD_MAX, SPREAD_TOTAL, SPREAD_COUNT };

struct summary {
    size_t count;
    struct spread spreads[SPREAD_COUNT];
};

struct bucket_series {
    double le;
    const struct json *values;
    size_t order;
};

/* A classic histogram. */
struct classic {
    struct buf name;
    VEC(struct bucket_series) buckets;
};

struct analysis {
    struct buf out;
    struct summary native, classic;
};

/* --- numbers --- */

static void populated_add(struct populated *populated, size_t samples_before, int64_t count)
{
    if (samples_before == 0 || count < populated->min)
        populated->min = count;
    if (count > populated->max)
        populated->max = count;
    populated->average += (double)count; /* Their sum, until all are there. */
}

static void summary_take(struct summary *summary, const struct populated *populated)
{
    const int64_t numbers[SPREAD_COUNT] = {[SPREAD_MIN] = populated->min,
                                           [SPREAD_AVERAGE] = (int64_t)populated->average,
                                           [SPREAD_MAX] = populated->max,
                                           [SPREAD_TOTAL] = populated->total};
    double count = (double)++summary->count;
    for (size_t i = 0; i < SPREAD_COUNT; i++) {
        struct spread *spread = &summary->spreads[i];
        if (summary->count == 1 || numbers[i] < spread->min)
            spread->min = numbers[i];
        if (numbers[i] > spread->max)
            spread->max = numbers[i];
        spread->average += (double)numbers[i] / count - spread->average / count;
    }
}

static void print_populated(struct buf *out, const struct populated *populated)
{
    buf_addf(out, "%lld/%.3f/%lld", (long long)populated->min, populated->average,
             (long long)populated->max);
    if (populated->max != populated->total)
        buf_addf(out, "/%lld", (long long)populated->total);
    BUF_ADD(out, "\n");
}

static void print_summary(struct buf *out, const char *kind, const struct summary *summary)
{
    static const char *const names[SPREAD_COUNT] = {"min populated", "avg populated",
                                                    "max populated", "total"};
    const struct spread *max = &summary->spreads[SPREAD_MAX],
                        *total = &summary->spreads[SPREAD_TOTAL];
    bool same = max->min == total->min && max->max == total->max && max->average == total->average;
    if (summary->count == 0)
        return;
    buf_addf(out, "\n%s histogram series (%zu in total):\n", kind, summary->count);
    for (size_t i = 0; i < SPREAD_COUNT - (same ? 1 : 0); i++)
        buf_addf(out, "- %s: %lld/%.3f/%lld\n", names[i], (long long)summary->spreads[i].min,
                 summary->spreads[i].average, (long long)summary->spreads[i].max);
}

/* --- native --- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static uint64_t bucket_key(const struct json *bucket)
{
    uint64_t key = (uint64_t)json_number(json_at(bucket, 0));
    return hash64_mix(hash64_mix(key, hash64(json_str(json_at(bucket, 1)))),
                      hash64(json_str(json_at(bucket, 2))));
}

static size_t count_distinct(uint64_t *keys, size_t count)
{
    size_t distinct = 0;
    qsort(keys, count, sizeof(*keys), compare_u64);
    for (size_t i = 0; i < count; i++)
        distinct += i == 0 || keys[i] != keys[i - 1];
    return distinct;
}

static void analyze_native(struct analysis *analysis, const struct json *series)
{
    const struct json *samples = json_get(series, "histograms");
    struct populated populated = {0};
    VEC(uint64_t) keys = {0};
    size_t count = json_count(samples);
    if (count < 2)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct json *buckets = json_get(json_at(json_at(samples, i), 1), "buckets");
        populated_add(&populated, i, (int64_t)json_count(buckets));
        for (size_t b = 0; b < json_count(buckets); b++)
            VEC_PUSH(&keys, bucket_key(json_at(buckets, b)));
    }
    populated.average /= (double)count;
    if (keys.count)
        populated.total = (int64_t)count_distinct(keys.items, keys.count);
    VEC_FREE(&keys);
    BUF_ADD(&analysis->out, "- ");
    query_print_metric(&analysis->out, json_get(series, "metric"));
    BUF_ADD(&analysis->out, " (native): ");
    print_populated(&analysis->out, &populated);
    summary_take(&analysis->native, &populated);
}

/* --- classic --- */

static int compare_buckets(const void *a, const void *b)
{
    const struct bucket_series *left = a, *right = b;
    if (left->le < right->le || left->le > right->le)
        return left->le < right->le ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

static double value_at(const struct bucket_series *bucket, size_t index)
{
    double value = 0;
    if (!number_parse_go(json_str(json_at(json_at(bucket->values, index), 1)), &value))
        return 0;
    return value;
}

/* As Go has it of an int: without its fraction. */
static bool is_some(double count)
{
    return isnan(count) || count >= 1 || count <= -1;
}

static bool count_populated(const struct classic *classic, size_t index, int64_t *out,
                            struct err *err)
{
    const struct bucket_series *buckets = classic->buckets.items;
    double before = 0;
    *out = 0;
    for (size_t i = 0; i < classic->buckets.count; i++) {
        if (index >= json_count(buckets[i].values))
            return true;
        if (i > 0 && json_number(json_at(json_at(buckets[i].values, index), 0)) !=
                         json_number(json_at(json_at(buckets[i - 1].values, index), 0)))
            return err_set(err, ERR_BAD_DATA, "matrix result is not time aligned");
        double value = value_at(&buckets[i], index);
        *out += is_some(value - before);
        before = value;
    }
    return true;
}

static bool analyze_classic(struct analysis *analysis, struct classic *classic, struct err *err)
{
    struct populated populated = {.total = (int64_t)classic->buckets.count};
    size_t count = json_count(classic->buckets.items[0].values);
    if (count < 2)
        return true;
    VEC_SORT(&classic->buckets, compare_buckets);
    for (size_t i = 0; i < count; i++) {
        int64_t found;
        if (!count_populated(classic, i, &found, err))
            return false;
        populated_add(&populated, i, found);
    }
    populated.average /= (double)count;
    buf_addf(&analysis->out, "- " STR_FMT " (classic): ", STR_ARG(buf_str(&classic->name)));
    print_populated(&analysis->out, &populated);
    summary_take(&analysis->classic, &populated);
    return true;
}

/* name{labels}, without the le. */
static void classic_name(struct buf *out, const struct json *metric, struct str name)
{
    struct str key;
    const struct json *value;
    struct labels_builder builder;
    labels_builder_init(&builder);
    for (size_t i = 0; (value = json_entry(metric, i, &key)) != NULL; i++)
        if (!str_eq(key, STR("__name__")) && !str_eq(key, STR("le")))
            labels_builder_set(&builder, key, json_str(value));
    struct labels *labels = labels_build(&builder);
    buf_init(out, OUTPUT_BYTES_MAX);
    buf_add_str(out, name);
    labels_print(out, labels);
    labels_unref(labels);
    labels_builder_deinit(&builder);
}

struct classics {
    VEC(struct classic) items;
};

static void classics_add(struct classics *classics, const struct json *series)
{
    const struct json *metric = json_get(series, "metric");
    struct str name = json_str(json_get(metric, "__name__"));
    struct buf key;
    if (!json_get(metric, "le") || !str_ends(name, STR("_bucket")))
        return;
    struct bucket_series bucket = {.values = json_get(series, "values")};
    if (!number_parse_go(json_str(json_get(metric, "le")), &bucket.le))
        bucket.le = 0;
    classic_name(&key, metric, name);
    size_t at = classics->items.count;
    while (at > 0 && !str_eq(buf_str(&classics->items.items[at - 1].name), buf_str(&key)))
        at--;
    if (at == 0) {
        struct classic classic = {.name = key};
        VEC_PUSH(&classics->items, classic);
        at = classics->items.count;
    } else {
        buf_deinit(&key);
    }
    struct classic *classic = &classics->items.items[at - 1];
    bucket.order = classic->buckets.count;
    VEC_PUSH(&classic->buckets, bucket);
}

static bool analyze_matrix(struct analysis *analysis, const struct json *matrix, struct err *err)
{
    struct classics classics = {0};
    bool ok = true;
    for (size_t i = 0; i < json_count(matrix); i++) {
        const struct json *series = json_at(matrix, i);
        if (json_count(json_get(series, "values")) == 0)
            analyze_native(analysis, series);
        else
            classics_add(&classics, series);
    }
    VEC_EACH (classic, &classics.items) {
        ok = ok && analyze_classic(analysis, classic, err);
        buf_deinit(&classic->name);
        VEC_FREE(&classic->buckets);
    }
    VEC_FREE(&classics.items);
    return ok;
}

/* --- asking --- */

/* 1h0m0s, 1.5s, 20ms */
static void add_go_duration(struct buf *out, int64_t ms)
{
    int64_t seconds = ms / 1000;
    if (ms != 0 && ms < 1000 && ms > -1000) {
        buf_addf(out, "%lldms", (long long)ms);
        return;
    }
    if (ms < 0)
        BUF_ADD(out, "-");
    seconds = llabs(seconds);
    if (seconds >= 3600)
        buf_addf(out, "%lldh", (long long)(seconds / 3600));
    if (seconds >= 60)
        buf_addf(out, "%lldm", (long long)(seconds / 60 % 60));
    buf_add_number(out, (double)(seconds % 60) + (double)(llabs(ms) % 1000) / 1000, NUMBER_F);
    BUF_ADD(out, "s");
}

struct analyze_options {
    struct str server, type, time;
    int64_t duration_ms, time_ms;
};

static bool analyze(struct analysis *analysis, const struct analyze_options *options,
                    struct str match, struct err *err)
{
    struct buf text, form;
    struct json *root = NULL;
    buf_init(&text, FORM_BYTES_MAX);
    buf_init(&form, FORM_BYTES_MAX);
    buf_addf(&text, STR_FMT "[", STR_ARG(match));
    add_go_duration(&text, options->duration_ms);
    BUF_ADD(&text, "]");
    query_form_add(&form, "query", buf_str(&text));
    query_form_add_time(&form, "time", options->time_ms);
    bool ok = query_ask(options->server, "/api/v1/query", buf_str(&form), &root, err);
    const struct json *data = ok ? json_get(root, "data") : NULL;
    if (ok && !str_eq(json_str(json_get(data, "resultType")), STR("matrix")))
        ok = err_set(err, ERR_BAD_DATA, "query of buckets resulted in non-Matrix");
    ok = ok && analyze_matrix(analysis, json_get(data, "result"), err);
    json_free(root);
    buf_deinit(&form);
    buf_deinit(&text);
    return ok;
}

/* What there is of --match goes to the front of argv, the rest behind it. */
static int take_matches(int *argc, char **argv, struct str *matches)
{
    int count = 0, kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]);
        if (str_starts(arg, STR("--match=")))
            matches[count++] = str_after(arg, 8);
        else if (str_eq(arg, STR("--match")) && i + 1 < *argc)
            matches[count++] = str_of(argv[++i]);
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return count;
}

static bool check_required(const struct command_line *line, int match_count, struct err *err)
{
    char missing[64] = "";
    size_t len = 0;
    const struct {
        const char *name;
        bool given;
    } flags[] = {{"--server", command_flag_value(line, "server").ptr != NULL},
                 {"--type", command_flag_value(line, "type").ptr != NULL},
                 {"--match", match_count > 0}};
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        if (!flags[i].given)
            len += (size_t)snprintf(missing + len, sizeof(missing) - len, "%s'%s'", len ? ", " : "",
                                    flags[i].name);
    return len == 0 || err_set(err, ERR_BAD_DATA, "required flag(s) %s not provided", missing);
}

static bool read_options(const struct command_line *line, int match_count,
                         struct analyze_options *options, struct err *err)
{
    struct str duration = command_flag_value(line, "duration");
    *options = (struct analyze_options){.server = command_flag_value(line, "server"),
                                        .type = command_flag_value(line, "type"),
                                        .time = command_flag_value(line, "time"),
                                        .duration_ms = 3600 * 1000,
                                        .time_ms = clock_wall_ms()};
    if (line->arg_count > 0)
        return err_set(err, ERR_BAD_DATA, "unexpected %s", line->args[0]);
    return (!duration.ptr || query_duration_parse(duration, &options->duration_ms, err)) &&
           check_required(line, match_count, err);
}

static bool run(const struct analyze_options *options, const struct str *matches, int count,
                struct analysis *analysis, struct err *err)
{
    bool ok = true;
    buf_add_str(&analysis->out, str_of(header));
    for (int i = 0; ok && i < count; i++)
        ok = analyze(analysis, options, matches[i], err);
    if (!ok)
        return false;
    buf_add_str(&analysis->out, str_of(footer));
    print_summary(&analysis->out, "Native", &analysis->native);
    print_summary(&analysis->out, "Classic", &analysis->classic);
    return true;
}

int command_query_analyze(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "server", .takes_value = true},
                                   {.name = "type", .takes_value = true},
                                   {.name = "duration", .takes_value = true},
                                   {.name = "time", .takes_value = true},
                                   {.name = "match", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct analysis analysis = {0};
    struct analyze_options options;
    struct err err = {0};
    struct str *matches = mem_alloc_array((size_t)argc + 1, sizeof(*matches));
    int match_count = take_matches(&argc, argv, matches);
    bool ok =
        command_parse(&line, argc, argv, &err) && read_options(&line, match_count, &options, &err);
    if (!ok) {
        mem_free(matches);
        return command_usage(&err);
    }
    buf_init(&analysis.out, OUTPUT_BYTES_MAX);
    if (!str_eq(options.type, STR("histogram")))
        ok = err_set(&err, ERR_BAD_DATA, "analyze type is " STR_FMT ", must be 'histogram'",
                     STR_ARG(options.type));
    else if (options.time.len > 0 && !api_time_parse(options.time, &options.time_ms, &err))
        ok = err_wrap(&err, "error parsing time '" STR_FMT "'", STR_ARG(options.time));
    ok = ok && run(&options, matches, match_count, &analysis, &err);
    fwrite(analysis.out.ptr, 1, analysis.out.len, stdout);
    if (!ok)
        fprintf(stderr, "%s\n", err.text);
    buf_deinit(&analysis.out);
    mem_free(matches);
    return ok ? 0 : 1;
}
