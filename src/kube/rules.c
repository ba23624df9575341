/* rules: see rules.h. What is not known is refused with its line: a rule that is half understood
 * scales somebody's workers by a wrong number. */
#include "rules.h"

#include <errno.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "config/yaml_tree.h"
#include "model/duration.h"
#include "query.h"

#define FILE_BYTES_MAX  ((size_t)4 << 20)
#define RULES_MAX       10000
#define WINDOW_MS_USUAL 60000

struct reader {
    struct arena *arena;
    struct err *err;
};

/* --- YAML --- */

static bool fail_at(const struct reader *reader, const struct yaml_node *node)
{
    return err_wrap(reader->err, "line %u", node->line);
}

static bool refuse(const struct reader *reader, const struct yaml_node *node, const char *what)
{
    err_set(reader->err, ERR_BAD_DATA, "%s", what);
    return fail_at(reader, node);
}

/* The value of one name of a mapping. */
typedef bool (*field_fn)(struct reader *reader, const struct yaml_node *value, void *out);

struct field {
    const char *name;
    field_fn read;
    size_t offset; /* Of what is read, in the struct. */
};

static const struct field *field_find(const struct field *fields, struct str name)
{
    for (; fields->name; fields++)
        if (str_eq(name, str_of(fields->name)))
            return fields;
    return NULL;
}

/* A null leaves all as it is. */
static bool read_mapping(struct reader *reader, const struct yaml_node *node,
                         const struct field *fields, const char *what, void *out)
{
    if (yaml_is_null(node))
        return true;
    if (node->kind != YAML_MAPPING)
        return refuse(reader, node, arena_strf(reader->arena, "%s must be a mapping", what).ptr);
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_pair *pair = &node->as.pairs[i];
        const struct field *field =
            pair->name->kind == YAML_SCALAR ? field_find(fields, pair->name->text) : NULL;
        if (!field)
            return refuse(reader, pair->name,
                          arena_strf(reader->arena, "field " STR_FMT " is not known in %s",
                                     STR_ARG(pair->name->text), what)
                              .ptr);
        if (pair->duplicate)
            return refuse(
                reader, pair->name,
                arena_strf(reader->arena, "field %s stands twice in %s", field->name, what).ptr);
        if (!field->read(reader, pair->value, (char *)out + field->offset))
            return false;
    }
    return true;
}

static bool read_text(struct reader *reader, const struct yaml_node *value, void *out)
{
    if (value->kind != YAML_SCALAR)
        return refuse(reader, value, "a text was expected");
    if (!yaml_is_null(value))
        *(struct str *)out = arena_str(reader->arena, value->text);
    return true;
}

static bool read_bool(struct reader *reader, const struct yaml_node *value, void *out)
{
    if (value->kind != YAML_SCALAR || value->type != YAML_BOOL)
        return refuse(reader, value, "true or false was expected");
    *(bool *)out = value->as.boolean;
    return true;
}

/* A query that cannot be parsed is better told now than to a scaler. Of values by name it is not known what they stand for. */
static bool check_query(const struct template *template, struct err *err)
{
    struct template_values any = {.series = STR("series"),
                                  .matchers = STR("label=\"value\""),
                                  .group_by = {STR("a"), STR("b"), STR("c")},
                                  .group_by_count = 3};
    struct query_options options;
    struct query *query = NULL;
    struct buf text;

    if (template->count == 0 || template_has_values(template))
        return true;
    query_options_init(&options);
    buf_init(&text, FILE_BYTES_MAX);
    bool good = template_render(template, &any, &text, err) &&
                query_new(&query, buf_str(&text), &options, err);
    enum query_value_type type = good ? query_type(query) : QUERY_NONE;
    if (good && type != QUERY_VECTOR && type != QUERY_SCALAR)
        good = err_set(err, ERR_BAD_DATA, "it gives a %s; an instant vector is wanted",
                       query_value_type_text(type));
    query_free(query);
    buf_deinit(&text);
    return good || err_wrap(err, "query");
}

static bool read_template(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct str text = STR_EMPTY;

    return read_text(reader, value, &text) &&
           ((template_parse(out, text, TEMPLATE_QUERY, reader->arena, reader->err) &&
             check_query(out, reader->err)) ||
            fail_at(reader, value));
}

/* --- resources --- */

struct group_resource {
    struct str group, resource;
};

static bool read_override(struct reader *reader, const struct yaml_pair *pair,
                          struct label_resource *out)
{
    static const struct field fields[] = {
        {"group", read_text, offsetof(struct group_resource, group)},
        {"resource", read_text, offsetof(struct group_resource, resource)},
        {0},
    };
    struct group_resource found = {STR_EMPTY, STR_EMPTY};

    if (pair->name->kind != YAML_SCALAR || pair->name->text.len == 0)
        return refuse(reader, pair->name, "the name of a label was expected");
    if (!read_mapping(reader, pair->value, fields, "an override", &found))
        return false;
    if (found.resource.len == 0)
        return refuse(reader, pair->value, "an override needs a resource");
    out->label = arena_str(reader->arena, pair->name->text);
    out->resource = resource_find(found.resource, found.group, reader->arena);
    return true;
}

static bool read_overrides(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct resource_map *map = CONTAINER_OF(out, struct resource_map, overrides);

    if (yaml_is_null(value))
        return true;
    if (value->kind != YAML_MAPPING)
        return refuse(reader, value, "overrides must be a mapping");
    map->overrides = arena_alloc_array(reader->arena, value->count + 1, sizeof(*map->overrides));
    for (size_t i = 0; i < value->count; i++) {
        if (value->as.pairs[i].duplicate)
            return refuse(reader, value->as.pairs[i].name, "a label stands twice in overrides");
        if (!read_override(reader, &value->as.pairs[i], &map->overrides[i]))
            return false;
    }
    map->override_count = value->count;
    return true;
}

static bool read_label(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct resource_map *map = CONTAINER_OF(out, struct resource_map, label);
    struct str text = STR_EMPTY;

    if (!read_text(reader, value, &text))
        return false;
    map->has_label = text.len > 0;
    return template_parse(&map->label, text, TEMPLATE_LABEL, reader->arena, reader->err) ||
           fail_at(reader, value);
}

static bool read_resources(struct reader *reader, const struct yaml_node *value, void *out)
{
    static const struct field fields[] = {
        {"overrides", read_overrides, offsetof(struct resource_map, overrides)},
        {"template", read_label, offsetof(struct resource_map, label)},
        {"namespaced", read_bool, offsetof(struct resource_map, namespaced)},
        {0},
    };

    return read_mapping(reader, value, fields, "resources", out);
}

bool resource_map_label(const struct resource_map *map, const struct resource *resource,
                        struct arena *arena, struct str *out)
{
    struct template_values values = {.resource = resource->singular};
    struct err err = {0};
    struct buf text;

    for (size_t i = 0; i < map->override_count; i++) {
        if (resource_eq(&map->overrides[i].resource, resource)) {
            *out = map->overrides[i].label;
            return true;
        }
    }
    if (!map->has_label)
        return false;
    char *group = arena_alloc(arena, resource->group.len + 1);
    for (size_t i = 0; i < resource->group.len; i++)
        group[i] = resource->group.ptr[i] == '.' ? '_' : resource->group.ptr[i];
    values.group = (struct str){group, resource->group.len};
    buf_init(&text, 4096);
    /* The resource is named by who asks, and the label goes into the query's grouping. */
    bool good =
        template_render(&map->label, &values, &text, &err) && label_name_is_legacy(buf_str(&text));
    *out = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return good;
}

/* --- one rule --- */

struct texts {
    struct str is, is_not, matches, as;
};

static bool read_filter(struct reader *reader, const struct yaml_node *node,
                        struct name_filter *out)
{
    static const struct field fields[] = {
        {"is", read_text, offsetof(struct texts, is)},
        {"isNot", read_text, offsetof(struct texts, is_not)},
        {0},
    };
    struct texts found = {0};

    if (!read_mapping(reader, node, fields, "a filter", &found))
        return false;
    if ((found.is.len > 0) == (found.is_not.len > 0))
        return refuse(reader, node, "a filter needs either `is` or `isNot`");
    out->negated = found.is_not.len > 0;
    return regex_new_unanchored(&out->regex, out->negated ? found.is_not : found.is, reader->arena,
                                reader->err) ||
           fail_at(reader, node);
}

static bool read_filters(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct rule *rule = CONTAINER_OF(out, struct rule, filters);

    if (yaml_is_null(value))
        return true;
    if (value->kind != YAML_SEQUENCE)
        return refuse(reader, value, "seriesFilters must be a list");
    rule->filters = arena_zalloc(reader->arena, (value->count + 1) * sizeof(*rule->filters));
    for (size_t i = 0; i < value->count; i++, rule->filter_count++)
        if (!read_filter(reader, value->as.items[i], &rule->filters[i]))
            return false;
    return true;
}

static bool read_name(struct reader *reader, const struct yaml_node *value, void *out)
{
    static const struct field fields[] = {
        {"matches", read_text, offsetof(struct texts, matches)},
        {"as", read_text, offsetof(struct texts, as)},
        {0},
    };
    struct texts found = {0};

    if (!read_mapping(reader, value, fields, "name", &found))
        return false;
    rule_name_deinit(out);
    return rule_name_init(out, found.matches, found.as, reader->arena, reader->err) ||
           fail_at(reader, value);
}

static bool read_series_query(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct rule *rule = CONTAINER_OF(out, struct rule, series_query);

    if (!read_text(reader, value, &rule->series_query))
        return false;
    if (!query_parse_selector(rule->series_query, &rule->matchers, reader->err)) {
        err_wrap(reader->err, "seriesQuery");
        return fail_at(reader, value);
    }
    for (size_t i = 0; i < rule->matchers.count; i++) {
        const struct matcher *matcher = &rule->matchers.items[i];
        if (matcher->type == MATCH_EQUAL && str_eq(matcher->name, LABEL_NAME))
            rule->pinned = matcher->value;
    }
    return true;
}

static bool read_metrics_query(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct rule *rule = CONTAINER_OF(out, struct rule, query_text);

    return read_text(reader, value, &rule->query_text) &&
           read_template(reader, value, &rule->query);
}

/* Nodes, volumes and what is not known may lie outside of namespaces. */
static bool has_cluster_wide(const struct resource_map *map)
{
    for (size_t i = 0; i < map->override_count; i++)
        if (!map->overrides[i].resource.namespaced)
            return true;
    return false;
}

static bool check_rule(struct reader *reader, const struct yaml_node *node, struct rule *rule,
                       bool external)
{
    struct resource namespaces = resource_find(STR("namespaces"), STR_EMPTY, reader->arena);
    struct str label;

    if (rule->series_query.len == 0)
        return refuse(reader, node, "a rule needs a seriesQuery");
    if (rule->query_text.len == 0)
        return refuse(reader, node, "a rule needs a metricsQuery");
    if (!external && !rule->resources.has_label && rule->resources.override_count == 0)
        return refuse(reader, node, "a rule needs resources: overrides or a template");
    if (rule->resources.namespaced && (external || !has_cluster_wide(&rule->resources)) &&
        !resource_map_label(&rule->resources, &namespaces, reader->arena, &label))
        return refuse(reader, node,
                      "resources name no label for the namespace: add one, or namespaced: false");
    return true;
}

static bool read_rule(struct reader *reader, const struct yaml_node *node, struct rule *rule,
                      bool external)
{
    static const struct field fields[] = {
        {"seriesQuery", read_series_query, offsetof(struct rule, series_query)},
        {"seriesFilters", read_filters, offsetof(struct rule, filters)},
        {"resources", read_resources, offsetof(struct rule, resources)},
        {"name", read_name, offsetof(struct rule, name)},
        {"metricsQuery", read_metrics_query, offsetof(struct rule, query_text)},
        {0},
    };

    rule->line = node->line;
    rule->resources.namespaced = true;
    return (rule_name_init(&rule->name, STR_EMPTY, STR_EMPTY, reader->arena, reader->err) ||
            fail_at(reader, node)) &&
           read_mapping(reader, node, fields, "a rule", rule) &&
           check_rule(reader, node, rule, external);
}

static bool read_list(struct reader *reader, const struct yaml_node *value, bool external,
                      struct rule **out, size_t *count)
{
    if (yaml_is_null(value))
        return true;
    if (value->kind != YAML_SEQUENCE)
        return refuse(reader, value, "rules must be a list");
    if (value->count > RULES_MAX)
        return refuse(reader, value, "there are more than 10000 rules");
    *out = arena_zalloc(reader->arena, (value->count + 1) * sizeof(**out));
    for (size_t i = 0; i < value->count; i++) {
        *count = i + 1; /* What is begun is freed, too. */
        if (!read_rule(reader, value->as.items[i], &(*out)[i], external))
            return false;
    }
    return true;
}

static bool read_rules(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct rule_set *set = CONTAINER_OF(out, struct rule_set, rules);
    return read_list(reader, value, false, &set->rules, &set->rule_count);
}

static bool read_external(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct rule_set *set = CONTAINER_OF(out, struct rule_set, external);
    return read_list(reader, value, true, &set->external, &set->external_count);
}

/* --- resourceRules --- */

static bool read_resource_rule(struct reader *reader, const struct yaml_node *value, void *out)
{
    static const struct field fields[] = {
        {"containerQuery", read_template, offsetof(struct resource_rule, container_query)},
        {"nodeQuery", read_template, offsetof(struct resource_rule, node_query)},
        {"resources", read_resources, offsetof(struct resource_rule, resources)},
        {"containerLabel", read_text, offsetof(struct resource_rule, container_label)},
        {0},
    };
    static const char *const needed[] = {"pods", "nodes", "namespaces"};
    struct resource_rule *rule = out;
    struct str label;

    rule->resources.namespaced = true;
    if (!read_mapping(reader, value, fields, "a resource rule", rule))
        return false;
    rule->line = value->line;
    rule->given = true;
    if (rule->container_query.count == 0 || rule->node_query.count == 0)
        return refuse(reader, value, "a resource rule needs a containerQuery and a nodeQuery");
    if (rule->container_label.len == 0)
        return refuse(reader, value, "a resource rule needs a containerLabel");
    for (size_t i = 0; i < COUNT_OF(needed); i++) {
        struct resource resource = resource_find(str_of(needed[i]), STR_EMPTY, reader->arena);
        if (!resource_map_label(&rule->resources, &resource, reader->arena, &label))
            return refuse(reader, value, "resources need labels for pods, nodes and namespaces");
    }
    return true;
}

static bool read_window(struct reader *reader, const struct yaml_node *value, void *out)
{
    struct str text = STR_EMPTY;

    return read_text(reader, value, &text) &&
           (duration_parse(text, out, reader->err) || fail_at(reader, value));
}

static bool read_resource_rules(struct reader *reader, const struct yaml_node *value, void *out)
{
    static const struct field fields[] = {
        {"cpu", read_resource_rule, offsetof(struct rule_set, cpu)},
        {"memory", read_resource_rule, offsetof(struct rule_set, memory)},
        {"window", read_window, offsetof(struct rule_set, window_ms)},
        {0},
    };
    struct rule_set *set = CONTAINER_OF(out, struct rule_set, cpu);

    if (!read_mapping(reader, value, fields, "resourceRules", set))
        return false;
    if (!yaml_is_null(value) && set->cpu.given != set->memory.given)
        return refuse(reader, value, "resourceRules need both cpu and memory");
    return true;
}

/* --- the whole --- */

bool rule_set_parse(struct rule_set **out, struct str text, struct err *err)
{
    static const struct field fields[] = {
        {"rules", read_rules, offsetof(struct rule_set, rules)},
        {"externalRules", read_external, offsetof(struct rule_set, external)},
        {"resourceRules", read_resource_rules, offsetof(struct rule_set, cpu)},
        {0},
    };
    struct rule_set *set = MEM_NEW(struct rule_set);
    struct reader reader = {.arena = &set->arena, .err = err};
    struct yaml_node *root = NULL;

    *out = NULL;
    set->refs = 1;
    set->window_ms = WINDOW_MS_USUAL;
    arena_init(&set->arena, 0);
    if (!yaml_tree_parse(&root, text, &set->arena, err))
        goto fail;
    if (root && !read_mapping(&reader, root, fields, "the configuration", set))
        goto fail;
    *out = set;
    return true;

fail:
    rule_set_unref(set);
    return false;
}

static bool file_read(struct str path, struct buf *out, struct err *err)
{
    char *name = str_dup(path);
    FILE *file = fopen(name, "rb");
    bool good = file || err_errno(err, errno, "open " STR_FMT, STR_ARG(path));

    while (good) {
        char *room = buf_reserve(out, 65536);
        if (!room) {
            good = err_set(err, ERR_LIMIT, STR_FMT " is larger than %zu bytes", STR_ARG(path),
                           FILE_BYTES_MAX);
            break;
        }
        size_t len = fread(room, 1, 65536, file);
        buf_commit(out, len);
        if (len == 0)
            break;
    }
    if (good && ferror(file))
        good = err_errno(err, errno ? errno : EIO, "read " STR_FMT, STR_ARG(path));
    if (file)
        fclose(file);
    mem_free(name);
    return good;
}

bool rule_set_load(struct rule_set **out, struct str path, struct err *err)
{
    struct buf text;

    *out = NULL;
    if (path.len == 0) {
        if (!rule_set_parse(out, str_of(rules_built_in), err))
            return err_wrap(err, "rules that are built in");
        (*out)->built_in = true;
        return true;
    }
    buf_init(&text, FILE_BYTES_MAX);
    bool good = file_read(path, &text, err) &&
                (rule_set_parse(out, buf_str(&text), err) || err_wrap(err, STR_FMT, STR_ARG(path)));
    buf_deinit(&text);
    return good;
}

uint64_t rule_file_checksum(struct str path)
{
    struct err err = {0};
    struct buf text;

    buf_init(&text, FILE_BYTES_MAX);
    uint64_t sum = path.len > 0 && file_read(path, &text, &err) ? hash64(buf_str(&text)) : 0;
    buf_deinit(&text);
    return sum;
}

struct rule_set *rule_set_ref(struct rule_set *set)
{
    ENSURE(set->refs > 0);
    set->refs++;
    return set;
}

static void rules_free(struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < rules[i].filter_count; k++)
            regex_free(rules[i].filters[k].regex);
        matchers_deinit(&rules[i].matchers);
        rule_name_deinit(&rules[i].name);
    }
}

void rule_set_unref(struct rule_set *set)
{
    if (!set)
        return;
    ENSURE(set->refs > 0);
    if (--set->refs > 0)
        return;
    rules_free(set->rules, set->rule_count);
    rules_free(set->external, set->external_count);
    arena_deinit(&set->arena);
    mem_free(set);
}

/* A series' name goes into the query as it is, and targets choose their names: what could be more than a name there gives
 * no metric. Dots and letters of other scripts cannot be more, and are of use between quotes. */
static bool series_is_plain(struct str series)
{
    for (size_t i = 0; i < series.len; i++) {
        char c = series.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == ':' || c == '.' || (unsigned char)c >= 0x80))
            return false;
    }
    return true;
}

bool rule_metric(const struct rule *rule, struct str series, struct buf *out)
{
    if (!str_eq(series, rule->pinned) && !series_is_plain(series))
        return false;
    for (size_t i = 0; i < rule->filter_count; i++)
        if (regex_matches(rule->filters[i].regex, series) == rule->filters[i].negated)
            return false;
    return rule_name_metric(&rule->name, series, out);
}
