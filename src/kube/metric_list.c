/* metric_list: discovery's list of metrics: pods/redis_db_keys, ...
 *
 * Scalers never read it; people, quota and garbage collection do, every half minute. So it is made from
 * the store when it is asked for, and ends at some thousands of metrics. */
#include "documents.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/vec.h"

#define METRICS_MAX      5000
#define METRIC_BYTES_MAX 65536

struct entry {
    struct str name; /* pods/redis_db_keys */
    bool namespaced;
};

struct listing {
    const struct finder *finder;
    VEC(struct entry) entries;
    struct map by_name;
};

static bool entry_has_name(const void *ctx, const void *key, uint32_t value)
{
    const struct listing *listing = ctx;
    return str_eq(listing->entries.items[value].name, *(const struct str *)key);
}

/* `name` may be borrowed. */
static void add_entry(struct listing *listing, struct str name, bool namespaced)
{
    uint64_t hash = hash64(name);

    if (listing->entries.count == METRICS_MAX ||
        map_find(&listing->by_name, hash, &name, entry_has_name, listing) != MAP_NONE)
        return;
    struct entry entry = {arena_str(listing->finder->arena, name), namespaced};
    map_insert(&listing->by_name, hash, (uint32_t)listing->entries.count);
    VEC_PUSH(&listing->entries, entry);
}

/* Metrics of a rule about one resource (NULL: external). */
static bool list_names(struct listing *listing, const struct rule *rule,
                       const struct resource *resource, struct str label, bool namespaced,
                       struct err *err)
{
    struct constraint constraint = {label, STR_EMPTY, true};
    struct str *names;
    size_t count;
    struct buf text;

    if (!rule_series_names(listing->finder, rule, &constraint, label.len > 0, 0, &names, &count,
                           err))
        return false;
    buf_init(&text, METRIC_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&text);
        if (resource) {
            resource_add_name(&text, resource);
            BUF_ADD(&text, "/");
        }
        size_t before = text.len;
        if (rule_metric(rule, names[i], &text) && text.len > before)
            add_entry(listing, buf_str(&text), namespaced);
    }
    buf_deinit(&text);
    return true;
}

static bool has_name(struct str *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

/* For each resource whose label there is. */
static bool list_rule(struct listing *listing, const struct rule *rule, struct str *labels,
                      size_t label_count, struct err *err)
{
    struct resource namespaces =
        resource_find(STR("namespaces"), STR_EMPTY, listing->finder->arena);
    const struct resource *resource;
    struct str label;

    for (size_t i = 0; (resource = resource_at(i)) != NULL; i++) {
        if (!resource_map_label(&rule->resources, resource, listing->finder->arena, &label) ||
            !has_name(labels, label_count, label))
            continue;
        bool namespaced = resource->namespaced && !resource_eq(resource, &namespaces);
        if (!list_names(listing, rule, resource, label, namespaced, err))
            return false;
    }
    for (size_t i = 0; i < rule->resources.override_count; i++) {
        const struct label_resource *override = &rule->resources.overrides[i];
        if (has_name(labels, label_count, override->label) &&
            !list_names(listing, rule, &override->resource, override->label,
                        override->resource.namespaced, err))
            return false;
    }
    return true;
}

static bool list_all(struct listing *listing, bool external, struct err *err)
{
    const struct finder *finder = listing->finder;
    const struct rule_set *set = finder->rules;
    struct str *labels;
    size_t label_count;
    bool cut;

    if (external) {
        for (size_t i = 0; i < set->external_count; i++)
            if (!list_names(listing, &set->external[i], NULL, STR_EMPTY, true, err))
                return false;
        return true;
    }
    if (!storage_label_names(finder->storage, NULL, 0, finder->from_ms, finder->to_ms, 0,
                             finder->arena, &labels, &label_count, &cut, err))
        return false;
    for (size_t i = 0; i < set->rule_count; i++)
        if (!list_rule(listing, &set->rules[i], labels, label_count, err))
            return false;
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    return str_cmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

bool document_metrics(struct buf *out, const struct ask *ask, const struct finder *finder,
                      struct err *err)
{
    struct listing listing = {.finder = finder};
    bool external = str_eq(ask->path.segments[1], STR(GROUP_EXTERNAL));

    map_init(&listing.by_name);
    bool good = list_all(&listing, external, err);
    VEC_SORT(&listing.entries, compare_entries);
    buf_addf(out,
             "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"" STR_FMT
             "/" STR_FMT "\",\"resources\":[",
             STR_ARG(ask->path.segments[1]), STR_ARG(ask->path.segments[2]));
    for (size_t i = 0; good && i < listing.entries.count; i++) {
        buf_addf(out, "%s{\"name\":", i ? "," : "");
        buf_add_json_string(out, listing.entries.items[i].name);
        buf_addf(out,
                 ",\"singularName\":\"\",\"namespaced\":%s,\"kind\":\"%s\",\"verbs\":[\"get\"]}",
                 listing.entries.items[i].namespaced ? "true" : "false",
                 external ? "ExternalMetricValueList" : "MetricValueList");
    }
    BUF_ADD(out, "]}\n");
    VEC_FREE(&listing.entries);
    map_deinit(&listing.by_name);
    return good;
}
