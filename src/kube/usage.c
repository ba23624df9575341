/* usage: see usage.h.
 *
 * Two queries by resourceRules, for CPU and memory, give rows of (namespace, object, container). A
 * pod of which one container lacks one of both is left out: half of its use would be taken for all. */
#include "usage.h"

#include <stdlib.h>

#include "base/vec.h"
#include "quantity.h"

#define QUERY_BYTES_MAX ((size_t)4 << 20)

struct row {
    struct str namespace_name, name, container;
    double cpu, memory;
    bool has_cpu, has_memory;
    bool seen, alive; /* By the series of the CPU query. */
    int64_t time_ms;
};

struct rows {
    VEC(struct row) list;                               /* Sorted once both queries are in. */
    struct str namespace_label, label, container_label; /* container_label is empty for nodes. */
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = str_cmp(x->namespace_name, y->namespace_name);

    order = order ? order : str_cmp(x->name, y->name);
    return order ? order : str_cmp(x->container, y->container);
}

/* --- queries --- */

static bool set_labels(struct rows *rows, const struct usage *usage,
                       const struct resource_rule *rule)
{
    struct arena *arena = usage->finder.arena;
    struct resource namespaces = resource_find(STR("namespaces"), STR_EMPTY, arena);
    bool pods = usage->ask->kind == ASK_PODS;

    rows->container_label = pods ? rule->container_label : STR_EMPTY;
    rows->namespace_label = STR_EMPTY;
    return resource_map_label(&rule->resources, &usage->ask->resource, arena, &rows->label) &&
           (!pods ||
            resource_map_label(&rule->resources, &namespaces, arena, &rows->namespace_label));
}

static void add_matchers(struct buf *out, const struct usage *usage, const struct rows *rows)
{
    const struct objects *objects = usage->objects;
    const struct ask *ask = usage->ask;
    struct str *names = arena_alloc_array(usage->finder.arena, objects->count + 1, sizeof(*names));
    bool first = true;

    if (ask->namespace_name.len > 0)
        matcher_add_values(out, &first, rows->namespace_label, "=", "=~", &ask->namespace_name, 1);
    else if (rows->namespace_label.len > 0)
        matcher_add_values(out, &first, rows->namespace_label, "!=", "!~", &STR_EMPTY, 1);
    if (objects->source == OBJECTS_UNWATCHED) {
        matcher_add_values(out, &first, rows->label, "!=", "!~", &STR_EMPTY, 1);
        return;
    }
    for (size_t i = 0; i < objects->count; i++)
        names[i] = objects->items[i].name;
    matcher_add_values(out, &first, rows->label, "=", "=~", names, objects->count);
}

static bool render(struct buf *out, const struct usage *usage, const struct rows *rows,
                   const struct template *template, struct err *err)
{
    struct template_values values = {.series = STR_EMPTY};
    struct buf matchers;

    if (rows->namespace_label.len > 0 && usage->ask->namespace_name.len == 0)
        values.group_by[values.group_by_count++] = rows->namespace_label;
    values.group_by[values.group_by_count++] = rows->label;
    if (rows->container_label.len > 0)
        values.group_by[values.group_by_count++] = rows->container_label;
    buf_init(&matchers, QUERY_BYTES_MAX);
    add_matchers(&matchers, usage, rows);
    values.matchers = buf_str(&matchers);
    bool good = template_render(template, &values, out, err);
    if (good && (matchers.overflow || out->overflow))
        good =
            err_set(err, ERR_LIMIT, "the query for %zu objects is too long", usage->objects->count);
    buf_deinit(&matchers);
    return good;
}

static struct row row_of(const struct usage *usage, const struct rows *rows,
                         const struct labels *labels)
{
    struct arena *arena = usage->finder.arena;
    struct str namespace_name = usage->ask->namespace_name;

    if (namespace_name.len == 0 && rows->namespace_label.len > 0)
        namespace_name = arena_str(arena, labels_get(labels, rows->namespace_label));
    return (struct row){.namespace_name = namespace_name,
                        .name = arena_str(arena, labels_get(labels, rows->label)),
                        .container =
                            rows->container_label.len > 0
                                ? arena_str(arena, labels_get(labels, rows->container_label))
                                : STR_EMPTY};
}

static bool row_counts(const struct rows *rows, const struct row *row)
{
    bool pause = rows->container_label.len > 0 &&
                 (row->container.len == 0 || str_eq(row->container, STR("POD")));
    return row->name.len > 0 && !pause;
}

static void take_results(struct rows *rows, const struct usage *usage,
                         const struct evaluation *evaluation, bool memory)
{
    const struct query_result *result = evaluation->result;

    for (size_t i = 0; result->type == QUERY_VECTOR && i < result->count; i++) {
        struct row row = row_of(usage, rows, result->series[i].labels);
        double value = result->series[i].value[0];
        if (!row_counts(rows, &row) || result->series[i].histogram ||
            !quantity_is_possible(memory ? value : value * 1e6) || value < 0)
            continue;
        row.has_memory = memory;
        row.has_cpu = !memory;
        *(memory ? &row.memory : &row.cpu) = value;
        VEC_PUSH(&rows->list, row);
    }
}

static void take_times(struct rows *rows, const struct usage *usage,
                       const struct evaluation *evaluation)
{
    for (size_t i = 0; i < evaluation->last_count; i++) {
        const struct last_sample *last = &evaluation->last[i];
        struct row row = row_of(usage, rows, last->labels);
        if (!row_counts(rows, &row))
            continue;
        row.seen = true;
        row.alive = !last->stale;
        row.time_ms = last->time_ms;
        VEC_PUSH(&rows->list, row);
    }
}

static bool run_query(struct rows *rows, const struct usage *usage, bool memory, struct err *err)
{
    const struct rule_set *set = usage->finder.rules;
    const struct resource_rule *rule = memory ? &set->memory : &set->cpu;
    struct evaluation evaluation = {0};
    struct buf query;

    if (!set_labels(rows, usage, rule))
        return err_set(err, ERR_INTERNAL, "resourceRules name no label for " STR_FMT,
                       STR_ARG(usage->ask->resource.plural));
    buf_init(&query, QUERY_BYTES_MAX);
    bool good =
        render(&query, usage, rows,
               usage->ask->kind == ASK_PODS ? &rule->container_query : &rule->node_query, err) &&
        evaluate(&usage->evaluator, buf_str(&query), &evaluation, err);
    if (good) {
        take_results(rows, usage, &evaluation, memory);
        if (!memory)
            take_times(rows, usage, &evaluation);
    } else {
        err_wrap(err, "unable to fetch metrics");
    }
    evaluation_deinit(&evaluation);
    buf_deinit(&query);
    return good;
}

/* Rows of one container become one. */
static void merge_rows(struct rows *rows)
{
    size_t kept = 0;

    VEC_SORT(&rows->list, compare_rows);
    for (size_t i = 0; i < rows->list.count; i++) {
        struct row *row = &rows->list.items[i];
        struct row *into = kept ? &rows->list.items[kept - 1] : NULL;
        if (!into || compare_rows(into, row) != 0) {
            rows->list.items[kept++] = *row;
            continue;
        }
        into->cpu = row->has_cpu ? row->cpu : into->cpu;
        into->memory = row->has_memory ? row->memory : into->memory;
        into->has_cpu |= row->has_cpu;
        into->has_memory |= row->has_memory;
        if (row->alive && (!into->alive || row->time_ms > into->time_ms))
            into->time_ms = row->time_ms;
        into->alive |= row->alive;
        into->seen |= row->seen;
    }
    rows->list.count = kept;
}

/* --- documents --- */

static bool row_has_ended(const struct row *row)
{
    return row->seen && !row->alive;
}

/* The rows of one object from `at` on; *good: it can be shown. */
static size_t object_end(const struct rows *rows, size_t at, bool *good, int64_t *time_ms)
{
    const struct row *first = &rows->list.items[at];
    size_t alive = 0;

    *good = true;
    *time_ms = INT64_MIN;
    for (; at < rows->list.count; at++) {
        const struct row *row = &rows->list.items[at];
        if (!str_eq(row->name, first->name) || !str_eq(row->namespace_name, first->namespace_name))
            break;
        if (row_has_ended(row))
            continue;
        alive++;
        *good = *good && row->has_cpu && row->has_memory;
        *time_ms = row->seen && row->time_ms > *time_ms ? row->time_ms : *time_ms;
    }
    *good = *good && alive > 0;
    return at;
}

static void add_usage(struct buf *out, const struct row *row)
{
    BUF_ADD(out, "\"usage\":{\"cpu\":\"");
    (void)quantity_add_nano(out, row->cpu);
    BUF_ADD(out, "\",\"memory\":\"");
    (void)quantity_add_bytes(out, row->memory);
    BUF_ADD(out, "\"}");
}

static void add_metadata(struct buf *out, const struct row *row, const struct object *object,
                         int64_t time_ms)
{
    BUF_ADD(out, "\"metadata\":{\"name\":");
    buf_add_json_string(out, row->name);
    if (row->namespace_name.len > 0) {
        BUF_ADD(out, ",\"namespace\":");
        buf_add_json_string(out, row->namespace_name);
    }
    BUF_ADD(out, ",\"creationTimestamp\":");
    document_add_time(out, time_ms);
    for (size_t i = 0; object && i < object->label_count; i++) {
        buf_addf(out, "%s", i ? "," : ",\"labels\":{");
        buf_add_json_string(out, object->labels[i].name);
        BUF_ADD(out, ":");
        buf_add_json_string(out, object->labels[i].value);
    }
    buf_addf(out, "%s}", object && object->label_count > 0 ? "}" : "");
}

static void add_object(struct buf *out, const struct usage *usage, const struct rows *rows,
                       size_t begin, size_t end, int64_t time_ms)
{
    const struct row *first = &rows->list.items[begin];
    const struct object *object = objects_get(usage->objects, first->namespace_name, first->name);
    bool pods = usage->ask->kind == ASK_PODS, comma = false;
    int64_t window_s = usage->finder.rules->window_ms / 1000;

    BUF_ADD(out, "{");
    if (usage->ask->name.len > 0)
        buf_addf(out, "\"kind\":\"%s\",\"apiVersion\":\"" GROUP_RESOURCE "/v1beta1\",",
                 pods ? "PodMetrics" : "NodeMetrics");
    time_ms = time_ms == INT64_MIN ? usage->evaluator.now_ms : time_ms;
    add_metadata(out, first, object, time_ms);
    BUF_ADD(out, ",\"timestamp\":");
    document_add_time(out, time_ms);
    if (window_s >= 60)
        buf_addf(out, ",\"window\":\"%lldm%llds\",", (long long)(window_s / 60),
                 (long long)(window_s % 60));
    else
        buf_addf(out, ",\"window\":\"%llds\",", (long long)window_s);
    if (!pods)
        add_usage(out, first);
    for (size_t i = begin; pods && i < end; i++) {
        if (row_has_ended(&rows->list.items[i]))
            continue;
        buf_addf(out, "%s{\"name\":", comma ? "," : "\"containers\":[");
        comma = true;
        buf_add_json_string(out, rows->list.items[i].container);
        BUF_ADD(out, ",");
        add_usage(out, &rows->list.items[i]);
        BUF_ADD(out, "}");
    }
    buf_addf(out, "%s}", pods ? "]" : "");
}

static bool is_wanted(const struct usage *usage, const struct row *row)
{
    if (usage->objects->source == OBJECTS_UNWATCHED)
        return true;
    return objects_get(usage->objects, row->namespace_name, row->name) != NULL;
}

static size_t write_objects(struct buf *out, const struct usage *usage, const struct rows *rows)
{
    size_t count = 0, end;

    for (size_t at = 0; at < rows->list.count; at = end) {
        bool good;
        int64_t time_ms;
        end = object_end(rows, at, &good, &time_ms);
        if (!good || !is_wanted(usage, &rows->list.items[at]))
            continue;
        buf_addf(out, "%s", count++ ? "," : "");
        add_object(out, usage, rows, at, end, time_ms);
    }
    return count;
}

static bool check_objects(const struct usage *usage, struct err *err)
{
    const struct objects *objects = usage->objects;

    if (!usage->finder.rules->cpu.given)
        return err_set(err, ERR_NOT_FOUND, "the rules file has no resourceRules");
    if (objects->source == OBJECTS_SYNCING)
        return err_set(err, ERR_BUSY, STR_FMT " are not listed yet",
                       STR_ARG(usage->ask->resource.plural));
    if (objects->source == OBJECTS_UNWATCHED && usage->ask->objects.count > 0)
        return err_set(err, ERR_BUSY,
                       STR_FMT " are not watched (there is no kubernetes_sd_configs for them), so "
                               "they cannot be selected by their labels",
                       STR_ARG(usage->ask->resource.plural));
    return true;
}

bool usage_document(struct buf *out, const struct usage *usage, struct err *err)
{
    const struct ask *ask = usage->ask;
    bool pods = ask->kind == ASK_PODS, single = ask->name.len > 0, good = true;
    bool nobody = usage->objects->source != OBJECTS_UNWATCHED && usage->objects->count == 0;
    struct rows rows = {0};

    if (!check_objects(usage, err))
        return false;
    if (!nobody)
        good = run_query(&rows, usage, false, err) && run_query(&rows, usage, true, err);
    if (!good) {
        VEC_FREE(&rows.list);
        return false;
    }
    merge_rows(&rows);
    if (!single)
        buf_addf(out,
                 "{\"kind\":\"%sMetricsList\",\"apiVersion\":\"" GROUP_RESOURCE
                 "/v1beta1\",\"metadata\":{},\"items\":[",
                 pods ? "Pod" : "Node");
    size_t count = write_objects(out, usage, &rows);
    VEC_FREE(&rows.list);
    if (single && count == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "%s.metrics.k8s.io \"" STR_FMT "%s" STR_FMT "\" not found",
                       pods ? "podmetrics" : "nodemetrics", STR_ARG(ask->namespace_name),
                       ask->namespace_name.len ? "/" : "", STR_ARG(ask->name));
    buf_addf(out, "%s\n", single ? "" : "]}");
    return true;
}
