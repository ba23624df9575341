/* fakes: storage, query, scrape, discovery and remote write as the API sees them: they remember
 * what they were asked and answer what the test has put in. */
#ifndef API_FAKES_H
#define API_FAKES_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api.h"
#include "base/mem.h"
#include "model/sample.h"
#include "query.h"

/* Series of the fake storage: selected when every matcher matches. */
struct fake_series {
    struct labels *labels;
    int64_t time_ms[4];
    double value[4];
    size_t count;
};

static struct fake {
    struct fake_series series[8];
    size_t series_count;
    int64_t select_from_ms, select_to_ms;
    size_t sets_seen, limit_seen;
    char name_bytes[64];
    bool cut;
    struct query_options query_options;
    char query_text[256];
    _Atomic int queries_run;
    pthread_t query_thread; /* Of the last that was run. */
    atomic_bool hold;       /* While set, the query "hold" does not end. */
    bool write_later;
    write_done_fn write_done;
    void *write_ctx;
    struct write_headers write_headers;
    char write_body[64];
    uint64_t memory_room; /* 0: without end. */
    size_t deletes;
    int64_t delete_from_ms, delete_to_ms;
    char delete_value[32];
    bool delete_fails, hold_clean, snapshot_fails, skip_head;
    storage_commit_fn clean_done;
    void *clean_ctx;
    int reloads, quits;
    bool reload_fails;
    struct target_view targets[4];
    size_t target_count, dropped_from; /* Targets from this index on are dropped ones. */
    struct metadata metadata[6];
    size_t metadata_target[6];
    size_t metadata_count;
} fake;

struct selection {
    size_t items[8];
    size_t count;
};

struct cursor {
    const struct selection *selection;
    size_t at;
    bool read;
};

struct query {
    struct query_result result;
    bool hold;
    char text[256];
    const atomic_bool *canceled;
};

static struct labels *labels_make(const char *first_name, ...)
{
    struct labels_builder builder;
    va_list list;
    labels_builder_init(&builder);
    va_start(list, first_name);
    for (const char *name = first_name; name; name = va_arg(list, const char *))
        labels_builder_set(&builder, str_of(name), str_of(va_arg(list, const char *)));
    va_end(list);
    struct labels *labels = labels_build(&builder);
    labels_builder_deinit(&builder);
    return labels;
}

/* Takes the labels. */
static void fake_add_series(struct labels *labels, int64_t time_ms, double value)
{
    struct fake_series *series = &fake.series[fake.series_count++];
    *series =
        (struct fake_series){.labels = labels, .time_ms = {time_ms}, .value = {value}, .count = 1};
}

bool storage_select(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                    int64_t from_ms, int64_t to_ms, struct selection **out, struct err *err)
{
    struct selection *selection = MEM_NEW(struct selection);
    (void)storage;
    (void)err;
    fake.select_from_ms = from_ms;
    fake.select_to_ms = to_ms;
    for (size_t i = 0; i < fake.series_count; i++) {
        if (matchers_match(matchers, matcher_count, fake.series[i].labels))
            selection->items[selection->count++] = i;
    }
    *out = selection;
    return true;
}

void selection_free(struct selection *selection)
{
    mem_free(selection);
}
size_t selection_count(const struct selection *selection)
{
    return selection->count;
}
struct labels *selection_labels(const struct selection *selection, size_t index)
{
    return fake.series[selection->items[index]].labels;
}

/* The deletes, cleans and snapshots that were asked for; the test says when they end. */
bool storage_delete(struct storage *storage, struct matchers *sets, size_t set_count,
                    int64_t from_ms, int64_t to_ms, storage_commit_fn done, void *ctx,
                    struct err *err)
{
    struct err none = {0};
    (void)storage;
    if (fake.delete_fails)
        return err_set(err, ERR_LIMIT, "too many");
    fake.deletes += set_count;
    fake.delete_from_ms = from_ms;
    fake.delete_to_ms = to_ms;
    snprintf(fake.delete_value, sizeof(fake.delete_value), STR_FMT,
             STR_ARG(sets[0].items[0].value));
    done(ctx, &none);
    return true;
}
void storage_clean_tombstones(struct storage *storage, storage_commit_fn done, void *ctx)
{
    (void)storage;
    fake.clean_done = done;
    fake.clean_ctx = ctx;
    if (!fake.hold_clean)
        done(ctx, &(struct err){0});
}
void storage_snapshot(struct storage *storage, bool skip_head, storage_snapshot_fn done, void *ctx)
{
    struct err err = {0};
    (void)storage;
    fake.skip_head = skip_head;
    if (fake.snapshot_fails)
        err_set(&err, ERR_NO_SPACE, "no space");
    done(ctx, "20230102T030405Z-00000000000000ab", &err);
}

struct cursor *cursor_new(const struct selection *selection)
{
    struct cursor *cursor = MEM_NEW(struct cursor);
    cursor->selection = selection;
    return cursor;
}
void cursor_free(struct cursor *cursor)
{
    mem_free(cursor);
}
void cursor_seek(struct cursor *cursor, size_t index)
{
    cursor->at = index;
    cursor->read = false;
}
bool cursor_next(struct cursor *cursor, struct sample_block *out, struct err *err)
{
    const struct fake_series *series = &fake.series[cursor->selection->items[cursor->at]];
    (void)err;
    *out = (struct sample_block){0};
    if (!cursor->read)
        *out = (struct sample_block){
            .count = series->count, .time_ms = series->time_ms, .value = series->value};
    cursor->read = true;
    return true;
}

static void fake_texts(struct arena *arena, size_t set_count, size_t limit, struct str **out,
                       size_t *count, bool *cut)
{
    fake.sets_seen = set_count;
    fake.limit_seen = limit;
    *out = arena_alloc_array(arena, 2, sizeof(struct str));
    (*out)[0] = STR("a\"b");
    (*out)[1] = STR("job");
    *count = limit == 1 ? 1 : 2;
    *cut = limit == 1;
}

bool storage_label_names(struct storage *storage, const struct matchers *sets, size_t set_count,
                         int64_t from_ms, int64_t to_ms, size_t limit, struct arena *arena,
                         struct str **out, size_t *count, bool *cut, struct err *err)
{
    (void)storage;
    (void)sets;
    (void)err;
    fake.select_from_ms = from_ms;
    fake.select_to_ms = to_ms;
    fake_texts(arena, set_count, limit, out, count, cut);
    return true;
}

bool storage_label_values(struct storage *storage, struct str name, const struct matchers *sets,
                          size_t set_count, int64_t from_ms, int64_t to_ms, size_t limit,
                          struct arena *arena, struct str **out, size_t *count, bool *cut,
                          struct err *err)
{
    (void)storage;
    (void)sets;
    (void)from_ms;
    (void)to_ms;
    (void)err;
    snprintf(fake.name_bytes, sizeof(fake.name_bytes), STR_FMT, STR_ARG(name));
    fake_texts(arena, set_count, limit, out, count, cut);
    return true;
}

uint64_t storage_memory_share(struct storage *storage, unsigned query_count)
{
    (void)storage;
    (void)query_count;
    return fake.memory_room ? fake.memory_room : UINT64_MAX;
}

void storage_get_stats(const struct storage *storage, struct storage_stats *out)
{
    ENSURE(storage != NULL);
    *out = (struct storage_stats){.series = 3,
                                  .label_pairs = 4,
                                  .chunks = 5,
                                  .time_min_ms = 1000,
                                  .time_max_ms = 2000,
                                  .samples_appended = 1000000};
}

void storage_get_cardinality(struct storage *storage, size_t limit, struct arena *arena,
                             struct storage_cardinality *out)
{
    (void)storage;
    fake.limit_seen = limit;
    out->series_by_metric.items = arena_alloc_array(arena, 1, sizeof(struct storage_top_entry));
    out->series_by_metric.items[0] = (struct storage_top_entry){STR("u<p"), 3};
    out->series_by_metric.count = 1;
}

void query_options_init(struct query_options *options)
{
    *options = (struct query_options){.lookback_ms = 1};
}

bool query_new(struct query **out, struct str text, const struct query_options *options,
               struct err *err)
{
    *out = NULL;
    if (text.len == 0)
        return err_set(err, ERR_BAD_DATA, "1:1: parse error: no expression found in input");
    fake.query_options = *options;
    snprintf(fake.query_text, sizeof(fake.query_text), STR_FMT, STR_ARG(text));
    struct query *query = MEM_NEW(struct query);
    snprintf(query->text, sizeof(query->text), STR_FMT, STR_ARG(text));
    query->hold = str_eq(text, STR("hold"));
    query->canceled = options->canceled;
    *out = query;
    return true;
}

void query_free(struct query *query)
{
    mem_free(query);
}

bool query_check_range(const struct query *query, struct err *err)
{
    if (strcmp(query->text, "up[5m]") != 0)
        return true;
    return err_set(err, ERR_BAD_DATA,
                   "invalid expression type \"range vector\" for range query, must be Scalar or "
                   "instant Vector");
}

uint64_t query_weight(const struct query *query, struct storage *storage)
{
    (void)storage;
    return strcmp(query->text, "light") == 0 ? 1 : UINT64_MAX;
}

void query_set_timeout(struct query *query, int64_t timeout_ms)
{
    (void)query;
    fake.query_options.timeout_ms = timeout_ms;
}

bool query_run(struct query *query, struct storage *storage, struct err *err)
{
    (void)storage;
    fake.queries_run++;
    fake.query_thread = pthread_self();
    while (query->hold && atomic_load(&fake.hold)) {
        if (atomic_load(query->canceled))
            return err_set(err, ERR_CANCELED, "query was canceled in expression evaluation");
        usleep(1000);
    }
    if (strcmp(query->text, "fail") == 0)
        return err_set(err, ERR_EXECUTION, "multiple matches for labels");
    query->result.stats.samples_total = 7;
    return true;
}

const struct query_result *query_result(const struct query *query)
{
    return &query->result;
}

void query_result_json(const struct query_result *result, size_t limit, bool with_stats,
                       struct buf *out)
{
    buf_addf(out, "{\"limit\":%zu,\"stats\":%s,\"warnings\":[", limit,
             with_stats ? "true" : "false");
    for (size_t i = 0; i < result->warning_count; i++)
        buf_add_json_string(out, result->warnings[i]);
    BUF_ADD(out, "]}");
}

void query_stats_json(const struct query_stats *stats, struct buf *out)
{
    buf_addf(out, ",\"stats\":{\"steps\":%zu}", stats->step_count);
}

const char *query_function_name(size_t index, bool *experimental)
{
    *experimental = index == 1;
    return index == 0 ? "abs" : index == 1 ? "info" : NULL;
}
bool query_format(struct str text, unsigned features, struct buf *out, struct err *err)
{
    (void)features;
    if (text.len == 0)
        return err_set(err, ERR_BAD_DATA, "1:1: parse error: no expression found in input");
    buf_add_str(out, text);
    BUF_ADD(out, "\n  pretty");
    return true;
}

bool query_ast_json(struct str text, unsigned features, struct buf *out, struct err *err)
{
    (void)features;
    if (text.len == 0)
        return err_set(err, ERR_BAD_DATA, "1:1: parse error: no expression found in input");
    if (str_eq(text, STR("up")))
        BUF_ADD(out, "{\"type\":\"vectorSelector\"}");
    else
        BUF_ADD(out,
                "{\"type\":\"stringLiteral\",\"val\":\"\\\"type\\\":\\\"vectorSelector\\\"\"}");
    return true;
}

/* "up" has a selector, other texts have none. */
bool query_selectors(struct str text, unsigned features, struct matchers **out, size_t *count,
                     struct err *err)
{
    (void)features;
    *out = NULL;
    *count = 0;
    if (text.len == 0)
        return err_set(err, ERR_BAD_DATA, "1:1: parse error: no expression found in input");
    if (!str_starts(text, STR("up")))
        return true;
    *out = MEM_NEW(struct matchers);
    (*out)->items = MEM_NEW(struct matcher);
    (*out)->count = *count = 1;
    return matcher_init((*out)->items, MATCH_EQUAL, LABEL_NAME, text, err);
}
void query_selectors_free(struct matchers *selectors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        matchers_deinit(&selectors[i]);
    mem_free(selectors);
}

static struct labels *fake_labels(struct str name, struct str value)
{
    struct label label = {name, value};
    return labels_new(&label, 1);
}

/* Two exemplars of up2 and one of up1. */
struct exemplar_list *storage_exemplars(const struct storage *storage, int64_t from_ms,
                                        int64_t to_ms)
{
    struct exemplar_list *list = MEM_NEW(struct exemplar_list);
    struct labels *second = fake_labels(LABEL_NAME, STR("up2"));
    (void)storage;
    list->items = mem_alloc_array(3, sizeof(*list->items));
    if (from_ms <= 1500 && to_ms >= 2000) {
        list->items[0] =
            (struct exemplar_item){labels_ref(second), fake_labels(STR("t"), STR("x")), 1500, 0.25};
        list->items[1] =
            (struct exemplar_item){labels_ref(second), labels_new(NULL, 0), 2000, 1e300};
        list->items[2] = (struct exemplar_item){fake_labels(LABEL_NAME, STR("up1")),
                                                fake_labels(STR("t"), STR("y")), 1000, 3};
        list->count = 3;
    }
    labels_unref(second);
    return list;
}
size_t storage_get_exemplars_max(const struct storage *storage)
{
    (void)storage;
    return 100;
}
void exemplar_list_free(struct exemplar_list *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++) {
        labels_unref(list->items[i].series);
        labels_unref(list->items[i].labels);
    }
    mem_free(list->items);
    mem_free(list);
}
void storage_get_exemplar_stats(const struct storage *storage, struct exemplar_stats *out)
{
    ENSURE(storage != NULL);
    *out = (struct exemplar_stats){.stored = 5};
}

/* name, or name with one matcher: {job=~".*"} is written any; anything with '(' does not parse. */
bool query_parse_selector(struct str text, struct matchers *out, struct err *err)
{
    if (str_find_char(text, '(') < text.len)
        return err_set(err, ERR_BAD_DATA, "1:1: parse error: unexpected \"(\"");
    bool any = str_eq(text, STR("any"));
    out->items = mem_zalloc(sizeof(struct matcher));
    out->count = 1;
    return matcher_init(out->items, any ? MATCH_REGEX : MATCH_EQUAL, any ? LABEL_JOB : LABEL_NAME,
                        any ? STR(".*") : text, err);
}

const char *target_health_text(enum target_health health)
{
    return health == TARGET_UP ? "up" : health == TARGET_DOWN ? "down" : "unknown";
}

static void fake_each_target(size_t from, size_t to, struct str pool, target_view_fn fn, void *ctx)
{
    for (size_t i = from; i < to; i++) {
        if (pool.len == 0 || str_eq(pool, fake.targets[i].pool))
            fn(ctx, &fake.targets[i]);
    }
}
void scraper_each_active(struct scraper *scraper, struct str pool, target_view_fn fn, void *ctx)
{
    (void)scraper;
    fake_each_target(0, fake.dropped_from, pool, fn, ctx);
}
void scraper_each_dropped(struct scraper *scraper, struct str pool, target_view_fn fn, void *ctx)
{
    (void)scraper;
    fake_each_target(fake.dropped_from, fake.target_count, pool, fn, ctx);
}
/* Two values: 0.25 and 30 s. */
static const struct summary fake_length = {.count = 2, .sum = 30.25, .buckets = {0, 0, 1, 0}};
void scraper_each_pool(struct scraper *scraper, pool_view_fn fn, void *ctx)
{
    (void)scraper;
    if (fake.target_count > 0)
        fn(ctx, &(struct pool_view){.name = STR("node \"x\""),
                                    .active_count = fake.dropped_from,
                                    .dropped_count = fake.target_count - fake.dropped_from,
                                    .target_limit = 30,
                                    .syncs = 4,
                                    .sync_failures = 2,
                                    .metadata_entries = 5,
                                    .metadata_bytes = 600,
                                    .sync_length = &fake_length});
}
void scraper_each_interval(const struct scraper *scraper, interval_view_fn fn, void *ctx)
{
    (void)scraper;
    fn(ctx, 90000, &fake_length);
    fn(ctx, 500, &fake_length);
}
void scraper_each_metadata(struct scraper *scraper, struct str metric, metadata_view_fn fn,
                           void *ctx)
{
    (void)scraper;
    for (size_t i = 0; i < fake.metadata_count; i++) {
        if (metric.len == 0 || str_eq(metric, fake.metadata[i].metric))
            fn(ctx, &fake.targets[fake.metadata_target[i]], &fake.metadata[i]);
    }
}
bool scraper_has_pool(const struct scraper *scraper, struct str pool)
{
    (void)scraper;
    (void)pool;
    return true;
}
void scraper_get_stats(const struct scraper *scraper, struct scraper_stats *out)
{
    (void)scraper;
    *out = (struct scraper_stats){
        .pools_created = 1, .targets = 2, .scrapes = 8, .scrape_seconds = 1.5};
}
void discovery_get_stats(const struct discovery *discovery, struct discovery_stats *out)
{
    (void)discovery;
    *out = (struct discovery_stats){.updates = 4};
}
void discovery_each_refresh(const struct discovery *discovery, refresh_view_fn fn, void *ctx)
{
    (void)discovery;
    fn(ctx, &(struct refresh_view){
                .job = STR("a"), .mechanism = "http", .length = &fake_length, .failures = 1});
    fn(ctx, &(struct refresh_view){.job = STR("b"), .mechanism = "http", .length = &fake_length});
}
int64_t discovery_told_ms(const struct discovery *discovery, struct str job)
{
    (void)discovery;
    (void)job;
    return 1700000000500;
}
void discovery_each_file(const struct discovery *discovery, sd_file_fn fn, void *ctx)
{
    (void)discovery;
    fn(ctx, STR("/etc/a\\b.json"), 1.5);
}
size_t discovery_target_count(const struct discovery *discovery, struct str job)
{
    (void)discovery;
    (void)job;
    return 2;
}

void write_receive(struct write_receiver *receiver, const struct write_headers *headers,
                   struct str body, int64_t now_ms, write_done_fn done, void *ctx)
{
    (void)receiver;
    (void)now_ms;
    fake.write_headers = *headers;
    snprintf(fake.write_body, sizeof(fake.write_body), STR_FMT, STR_ARG(body));
    struct write_written written = {3, 2, 1};
    if (str_eq(body, STR("bad")))
        done(ctx, 400, STR("out of order sample"), NULL);
    else if (str_eq(body, STR("part")))
        done(ctx, 400, STR("one of them"), &written);
    else
        done(ctx, 204, STR_EMPTY, str_eq(body, STR("v2")) ? &written : NULL);
}
void write_receiver_get_stats(const struct write_receiver *receiver, struct write_stats *out)
{
    (void)receiver;
    *out = (struct write_stats){.requests = 1};
}

#endif
