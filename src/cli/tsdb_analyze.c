/* tsdb_analyze: tsdb analyze: what the series of a day are made of, in promtool's words, and what the day costs.
 *
 * The series of one metric after the other, so that memory holds one metric's labels and the counters. Churn: how much of
 * the day's time a series is not there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "commands.h"
#include "tsdb.h"

#define LIMIT_DEFAULT 20
#define PROGRESS_MS   2000

struct counter {
    struct str key; /* In the arena. */
    uint64_t count, uncovered_ms;
};

struct counters {
    struct map map;
    VEC(struct counter) items;
};

struct analysis {
    struct arena arena;
    struct storage *storage;
    struct storage_file file;
    struct counters pairs, names, values, lengths, metrics; /* values, lengths: by label name. */
    uint64_t series, entries;
    struct buf key;
};

static bool counter_equal(const void *ctx, const void *key, uint32_t at)
{
    const struct counters *counters = ctx;
    return str_eq(counters->items.items[at].key, *(const struct str *)key);
}

/* *is_new may be NULL. */
static struct counter *counter_of(struct analysis *analysis, struct counters *counters,
                                  struct str key, bool *is_new)
{
    uint64_t hash = hash64(key);
    uint32_t at = map_find(&counters->map, hash, &key, counter_equal, counters);
    if (is_new)
        *is_new = at == MAP_NONE;
    if (at == MAP_NONE) {
        struct counter counter = {.key = arena_str(&analysis->arena, key)};
        at = (uint32_t)counters->items.count;
        map_insert(&counters->map, hash, at);
        VEC_PUSH(&counters->items, counter);
    }
    return &counters->items.items[at];
}

static void counters_free(struct counters *counters)
{
    map_deinit(&counters->map);
    VEC_FREE(&counters->items);
}

static void count_series(struct analysis *analysis, const struct labels *labels,
                         uint64_t uncovered_ms)
{
    analysis->series++;
    analysis->entries += labels->count;
    for (uint32_t i = 0; i < labels->count; i++) {
        const struct label *label = &labels->items[i];
        bool is_new;
        buf_clear(&analysis->key);
        buf_addf(&analysis->key, STR_FMT "=" STR_FMT, STR_ARG(label->name), STR_ARG(label->value));
        struct counter *pair =
            counter_of(analysis, &analysis->pairs, buf_str(&analysis->key), &is_new);
        pair->count++;
        pair->uncovered_ms += uncovered_ms;
        struct counter *name = counter_of(analysis, &analysis->names, label->name, NULL);
        name->count++;
        name->uncovered_ms += uncovered_ms;
        if (is_new) {
            counter_of(analysis, &analysis->values, label->name, NULL)->count++;
            counter_of(analysis, &analysis->lengths, label->name, NULL)->count += label->value.len;
        }
        if (str_eq(label->name, LABEL_NAME))
            counter_of(analysis, &analysis->metrics, label->value, NULL)->count++;
    }
}

/* The time between its first and its last sample. */
static bool covered_by(struct cursor *cursor, size_t index, uint64_t *covered_ms, bool *found,
                       struct err *err)
{
    struct sample_block block;
    int64_t first_ms = 0, last_ms = 0;
    *found = false;
    cursor_seek(cursor, index);
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return false;
        if (block.count == 0)
            break;
        if (!*found)
            first_ms = block.time_ms[0];
        *found = true;
        last_ms = block.time_ms[block.count - 1];
    }
    *covered_ms = (uint64_t)(last_ms - first_ms);
    return true;
}

static bool analyze_selection(struct analysis *analysis, const struct matcher *matcher,
                              struct err *err)
{
    uint64_t duration_ms = (uint64_t)(analysis->file.time_max_ms + 1 - analysis->file.time_min_ms);
    struct selection *selection;
    bool good = storage_select(analysis->storage, matcher, 1, analysis->file.time_min_ms,
                               analysis->file.time_max_ms, &selection, err);
    if (!good)
        return false;
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; good && i < selection_count(selection); i++) {
        uint64_t covered_ms;
        bool found;
        good = covered_by(cursor, i, &covered_ms, &found, err);
        if (good && found)
            count_series(analysis, selection_labels(selection, i), duration_ms - covered_ms);
    }
    cursor_free(cursor);
    selection_free(selection);
    return good;
}

static bool analyze_metrics(struct analysis *analysis, struct err *err)
{
    struct str *metrics;
    size_t count;
    bool cut;
    int64_t told_ms = clock_mono_ms();
    if (!storage_label_values(analysis->storage, LABEL_NAME, NULL, 0, analysis->file.time_min_ms,
                              analysis->file.time_max_ms, 0, &analysis->arena, &metrics, &count,
                              &cut, err))
        return false;
    for (size_t i = 0; i <= count; i++) { /* The last: series without a name. */
        struct matcher matcher;
        struct str metric = i < count ? metrics[i] : STR_EMPTY;
        if (!matcher_init(&matcher, MATCH_EQUAL, LABEL_NAME, metric, err))
            return false;
        bool good = analyze_selection(analysis, &matcher, err);
        matcher_deinit(&matcher);
        if (!good)
            return false;
        if (clock_mono_ms() - told_ms >= PROGRESS_MS) {
            told_ms = clock_mono_ms();
            fprintf(stderr, "read %zu of %zu metrics\n", i, count);
        }
    }
    return true;
}

/* --- printing --- */

static int compare_counter(const void *a, const void *b)
{
    const struct counter *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return str_cmp(x->key, y->key);
}

static int compare_uncovered(const void *a, const void *b)
{
    const struct counter *x = a, *y = b;
    if (x->uncovered_ms != y->uncovered_ms)
        return x->uncovered_ms < y->uncovered_ms ? 1 : -1;
    return str_cmp(x->key, y->key);
}

static void print_counts(const char *title, struct counters *counters, uint64_t limit)
{
    printf("\n%s:\n", title);
    VEC_SORT(&counters->items, compare_counter);
    for (size_t i = 0; i < counters->items.count && i < limit; i++)
        printf("%" PRIu64 " " STR_FMT "\n", counters->items.items[i].count,
               STR_ARG(counters->items.items[i].key));
}

static void print_churn(const char *title, struct counters *counters, uint64_t duration_ms,
                        uint64_t limit)
{
    printf("\n%s:\n", title);
    VEC_SORT(&counters->items, compare_uncovered);
    for (size_t i = 0; i < counters->items.count && i < limit; i++)
        printf("%" PRIu64 " " STR_FMT "\n", counters->items.items[i].uncovered_ms / duration_ms,
               STR_ARG(counters->items.items[i].key));
}

static void print_analysis(struct analysis *analysis, uint64_t limit)
{
    const struct storage_file *file = &analysis->file;
    uint64_t duration_ms = (uint64_t)(file->time_max_ms + 1 - file->time_min_ms);
    double samples = file->samples ? (double)file->samples : 1;
    struct buf duration;
    buf_init(&duration, 64);
    tsdb_add_duration(&duration, (int64_t)duration_ms);
    printf("Block ID: " STR_FMT "\n", STR_ARG(str_first(file->name, file->name.len - 4)));
    printf("Duration: " STR_FMT "\n", STR_ARG(buf_str(&duration)));
    printf("Total Series: %" PRIu64 "\n", analysis->series);
    printf("Label names: %zu\n", analysis->names.items.count);
    printf("Postings (unique label pairs): %zu\n", analysis->pairs.items.count);
    printf("Postings entries (total label pairs): %" PRIu64 "\n", analysis->entries);
    printf("Samples: %" PRIu64 "\n", file->samples);
    printf("Bytes: %" PRIu64 " (%.3f a sample: values %.3f, times %.3f, index %.3f)\n", file->bytes,
           (double)file->bytes / samples, (double)file->chunk_bytes / samples,
           (double)file->column_bytes / samples, (double)file->index_bytes / samples);
    buf_deinit(&duration);
    print_churn("Label pairs most involved in churning", &analysis->pairs, duration_ms, limit);
    print_churn("Label names most involved in churning", &analysis->names, duration_ms, limit);
    print_counts("Most common label pairs", &analysis->pairs, limit);
    print_counts("Label names with highest cumulative label value length", &analysis->lengths,
                 limit);
    print_counts("Highest cardinality labels", &analysis->values, limit);
    print_counts("Highest cardinality metric names", &analysis->metrics, limit);
}

/* --- the command --- */

struct finding {
    struct str wanted; /* Empty: the newest. */
    struct storage_file found;
    bool any;
};

static bool find_file(void *ctx, const struct storage_file *file)
{
    struct finding *finding = ctx;
    struct str stem = str_first(file->name, file->name.len - 4);
    if (!file->is_day)
        return true;
    if (finding->wanted.len > 0 && !str_eq(finding->wanted, file->name) &&
        !str_eq(finding->wanted, stem))
        return true;
    finding->found = *file; /* They come by time. */
    finding->any = true;
    return true;
}

static bool analyze(struct analysis *analysis, struct str dir, struct str wanted, struct err *err)
{
    struct finding finding = {.wanted = wanted};
    if (!tsdb_open(&analysis->storage, dir, true, err))
        return false;
    (void)storage_each_file(analysis->storage, find_file, &finding);
    if (!finding.any)
        return wanted.len > 0
                   ? err_set(err, ERR_NOT_FOUND, "block " STR_FMT " not found", STR_ARG(wanted))
                   : err_set(err, ERR_NOT_FOUND, "no blocks found");
    analysis->file = finding.found;
    return analyze_metrics(analysis, err);
}

int command_tsdb_analyze(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "limit", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct analysis analysis = {0};
    struct err err = {0};
    uint64_t limit = LIMIT_DEFAULT;
    if (!command_parse(&line, argc, argv, &err))
        return tsdb_usage(err.text);
    struct str text = command_flag_value(&line, "limit");
    if (line.arg_count > 2 || (text.ptr && !str_to_u64(text, &limit)))
        return tsdb_usage("analyze takes a directory, a day, and a number as --limit");
    arena_init(&analysis.arena, 0);
    buf_init(&analysis.key, (size_t)64 << 20);
    bool good = analyze(&analysis, command_arg(&line, 0, "data/"), command_arg(&line, 1, ""), &err);
    if (good)
        print_analysis(&analysis, limit);
    counters_free(&analysis.pairs);
    counters_free(&analysis.names);
    counters_free(&analysis.values);
    counters_free(&analysis.lengths);
    counters_free(&analysis.metrics);
    buf_deinit(&analysis.key);
    arena_deinit(&analysis.arena);
    storage_close(analysis.storage);
    return good ? 0 : tsdb_fail(&err);
}
