/* ask: see ask.h. Paths are those of the reference server (custom-metrics-apiserver); attributes those
 * that an API server works out for its own authorisation. */
#include "ask.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct str raw, struct arena *arena, struct str *out)
{
    char *text = arena_alloc(arena, raw.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            if (raw.len - i < 3 || hex(raw.ptr[i + 1]) < 0 || hex(raw.ptr[i + 2]) < 0)
                return false;
            c = (char)(hex(raw.ptr[i + 1]) * 16 + hex(raw.ptr[i + 2]));
            i += 2;
        }
        text[len++] = c;
    }
    *out = (struct str){text, len};
    return str_is_utf8(*out);
}

bool path_parse(struct path *out, struct str target, struct arena *arena)
{
    struct str rest = str_first(target, str_find_char(target, '?'));

    *out = (struct path){0};
    while (rest.ptr) {
        struct str segment = str_cut(rest, '/', &rest);
        if (segment.len == 0)
            continue;
        if (out->count == PATH_SEGMENTS_MAX ||
            !decode(segment, arena, &out->segments[out->count++]))
            return false;
    }
    return true;
}

static bool segment_is(const struct ask *ask, size_t index, const char *text)
{
    return index < ask->path.count && str_eq(ask->path.segments[index], str_of(text));
}

static void set_name(struct ask *ask, struct str name)
{
    ask->name = str_eq(name, STR("*")) ? STR_EMPTY : name;
}

static void set_objects(struct ask *ask, struct str resource, struct str name, struct str metric,
                        struct arena *arena)
{
    ask->kind = ASK_OBJECTS;
    ask->resource = resource_parse(resource, arena);
    set_name(ask, name);
    ask->metric = metric;
    ask->attributes.resource = resource;
    ask->attributes.name = name;
    ask->attributes.subresource = metric;
    ask->attributes.verb = STR("get");
}

/* The namespace itself is what the metric is about. */
static void set_namespace_metric(struct ask *ask, struct str namespace_name, struct str metric,
                                 struct arena *arena)
{
    ask->kind = ASK_OBJECTS;
    ask->resource = resource_find(STR("namespaces"), STR_EMPTY, arena);
    set_name(ask, namespace_name);
    ask->metric = metric;
    ask->attributes.resource = STR("metrics");
    ask->attributes.name = metric;
    ask->attributes.namespace_name = namespace_name;
    ask->attributes.verb = STR("get");
}

#define NO_RESOURCE "the server could not find the requested resource"

/* Who knows only custom metrics names an object here, too. */
static void refuse_external(const struct ask *ask, struct err *err)
{
    const struct str *s = ask->path.segments;
    size_t count = ask->path.count;
    bool in_namespace = count > 6 && segment_is(ask, 3, "namespaces");

    if (count != 4 && !in_namespace)
        err_set(err, ERR_NOT_FOUND, NO_RESOURCE);
    else
        err_set(err, ERR_NOT_FOUND,
                NO_RESOURCE ": did you mean /apis/" STR_FMT "/" STR_FMT "/namespaces/" STR_FMT
                            "/" STR_FMT "? External metrics have no objects",
                STR_ARG(s[1]), STR_ARG(s[2]), STR_ARG(in_namespace ? s[4] : STR("NAMESPACE")),
                STR_ARG(s[count - 1]));
}

static void refuse_custom(const struct ask *ask, struct arena *arena, struct err *err)
{
    const struct str *s = ask->path.segments;
    size_t count = ask->path.count;

    if (count == 7 && segment_is(ask, 3, "namespaces"))
        err_set(err, ERR_NOT_FOUND,
                NO_RESOURCE ": the path names no object; did "
                            "you mean /apis/" STR_FMT "/" STR_FMT "/namespaces/" STR_FMT "/" STR_FMT
                            "/*/" STR_FMT " (all " STR_FMT ") or .../" STR_FMT "/NAME/" STR_FMT
                            " (one)?",
                STR_ARG(s[1]), STR_ARG(s[2]), STR_ARG(s[4]), STR_ARG(s[5]), STR_ARG(s[6]),
                STR_ARG(s[5]), STR_ARG(s[5]), STR_ARG(s[6]));
    else if (count == 6 && segment_is(ask, 3, "namespaces"))
        err_set(err, ERR_NOT_FOUND,
                NO_RESOURCE ": did you mean /apis/" STR_FMT "/" STR_FMT "/namespaces/" STR_FMT
                            "/metrics/" STR_FMT " (a metric of the namespace itself)?",
                STR_ARG(s[1]), STR_ARG(s[2]), STR_ARG(s[4]), STR_ARG(s[5]));
    else if (count == 6)
        err_set(err, ERR_NOT_FOUND,
                "the server could not find the requested resource: " STR_FMT
                " are in namespaces; did you mean /apis/" STR_FMT "/" STR_FMT
                "/namespaces/NAMESPACE/" STR_FMT "/" STR_FMT "/" STR_FMT "?",
                STR_ARG(s[3]), STR_ARG(s[1]), STR_ARG(s[2]), STR_ARG(s[3]), STR_ARG(s[4]),
                STR_ARG(s[5]));
    else if (count == 5)
        err_set(err, ERR_NOT_FOUND,
                NO_RESOURCE ": the path names no object; did you mean /apis/" STR_FMT "/" STR_FMT
                            "%s/" STR_FMT "/*/" STR_FMT "?",
                STR_ARG(s[1]), STR_ARG(s[2]),
                resource_parse(s[3], arena).namespaced ? "/namespaces/NAMESPACE" : "",
                STR_ARG(s[3]), STR_ARG(s[4]));
    else
        err_set(err, ERR_NOT_FOUND, NO_RESOURCE);
}

static void refuse_path(const struct ask *ask, struct arena *arena, struct err *err)
{
    if (str_eq(ask->group, STR(GROUP_CUSTOM)))
        refuse_custom(ask, arena, err);
    else if (str_eq(ask->group, STR(GROUP_EXTERNAL)))
        refuse_external(ask, err);
    else
        err_set(err, ERR_NOT_FOUND, NO_RESOURCE);
}

/* A namespace lies in no other: who may ask in one must not learn of the next that way. */
static bool is_namespace(struct str resource, struct arena *arena)
{
    struct resource found = resource_parse(resource, arena);
    struct resource namespaces = resource_find(STR("namespaces"), STR_EMPTY, arena);

    return resource_eq(&found, &namespaces);
}

/* /apis/custom.metrics.k8s.io/VERSION/... */
static void parse_custom(struct ask *ask, struct arena *arena)
{
    const struct str *s = ask->path.segments;
    size_t count = ask->path.count;
    bool in_namespace = segment_is(ask, 3, "namespaces");

    if (count == 7 && in_namespace && segment_is(ask, 5, "metrics")) {
        set_namespace_metric(ask, s[4], s[6], arena);
    } else if (count == 8 && in_namespace && !is_namespace(s[5], arena)) {
        set_objects(ask, s[5], s[6], s[7], arena);
        ask->namespace_name = s[4];
        ask->attributes.namespace_name = s[4];
    } else if (count == 6 && !in_namespace && !resource_parse(s[3], arena).namespaced) {
        set_objects(ask, s[3], s[4], s[5], arena);
    }
}

/* /apis/external.metrics.k8s.io/VERSION/namespaces/NAMESPACE/METRIC */
static void parse_external(struct ask *ask)
{
    const struct str *s = ask->path.segments;

    if (ask->path.count != 6 || !segment_is(ask, 3, "namespaces"))
        return;
    ask->kind = ASK_EXTERNAL;
    ask->namespace_name = s[4];
    ask->metric = s[5];
    ask->attributes.verb = STR("list");
    ask->attributes.namespace_name = s[4];
    ask->attributes.resource = s[5];
}

/* /apis/metrics.k8s.io/VERSION/nodes[/NAME], pods, namespaces/NAMESPACE/pods[/NAME] */
static void parse_resource(struct ask *ask, struct arena *arena)
{
    const struct str *s = ask->path.segments;
    size_t count = ask->path.count, at = 3;

    if (segment_is(ask, 3, "namespaces") && count >= 6) {
        ask->namespace_name = s[4];
        at = 5;
    }
    bool pods = segment_is(ask, at, "pods"), nodes = at == 3 && segment_is(ask, at, "nodes");
    bool named = count == at + 2;
    if ((!pods && !nodes) || (count != at + 1 && !named) || (named && pods && at == 3))
        return;
    ask->kind = pods ? ASK_PODS : ASK_NODES;
    ask->resource = resource_find(s[at], STR_EMPTY, arena);
    ask->name = named ? s[at + 1] : STR_EMPTY;
    ask->attributes.verb = named ? STR("get") : STR("list");
    ask->attributes.namespace_name = ask->namespace_name;
    ask->attributes.resource = s[at];
    ask->attributes.name = ask->name;
}

static bool is_health(const struct ask *ask)
{
    return ask->path.count > 0 && (segment_is(ask, 0, "healthz") || segment_is(ask, 0, "livez") ||
                                   segment_is(ask, 0, "readyz"));
}

static bool group_is_served(const struct ask *ask, const struct ask_groups *groups)
{
    if (segment_is(ask, 1, GROUP_CUSTOM))
        return segment_is(ask, 2, "v1beta1") || segment_is(ask, 2, "v1beta2");
    return segment_is(ask, 2, "v1beta1") &&
           ((groups->external && segment_is(ask, 1, GROUP_EXTERNAL)) ||
            (groups->resource && segment_is(ask, 1, GROUP_RESOURCE)));
}

static bool is_document(const struct ask *ask, const struct ask_groups *groups)
{
    size_t count = ask->path.count;

    if (count == 0 || (count == 1 && (segment_is(ask, 0, "api") || segment_is(ask, 0, "apis") ||
                                      segment_is(ask, 0, "version"))))
        return true;
    if (count == 2 && segment_is(ask, 0, "openapi"))
        return segment_is(ask, 1, "v2") || segment_is(ask, 1, "v3");
    if (count == 2 && segment_is(ask, 0, "api") && segment_is(ask, 1, "v1"))
        return false;
    if (!segment_is(ask, 0, "apis") || count > 3)
        return false;
    if (count == 3)
        return group_is_served(ask, groups);
    return segment_is(ask, 1, GROUP_CUSTOM) ||
           (groups->external && segment_is(ask, 1, GROUP_EXTERNAL)) ||
           (groups->resource && segment_is(ask, 1, GROUP_RESOURCE));
}

static void parse_group(struct ask *ask, struct arena *arena, struct err *err)
{
    ask->group = ask->attributes.group = ask->path.segments[1];
    ask->version = ask->attributes.version = ask->path.segments[2];
    if (str_eq(ask->group, STR(GROUP_CUSTOM)))
        parse_custom(ask, arena);
    else if (str_eq(ask->group, STR(GROUP_EXTERNAL)))
        parse_external(ask);
    else
        parse_resource(ask, arena);
    if (ask->kind == ASK_NOTHING)
        refuse_path(ask, arena, err);
}

void ask_parse(struct ask *out, struct str target, const struct ask_groups *groups,
               struct arena *arena, struct err *err)
{
    struct str path = str_first(target, str_find_char(target, '?'));

    *out = (struct ask){0};
    if (!path_parse(&out->path, target, arena)) {
        err_set(err, ERR_NOT_FOUND, NO_RESOURCE);
    } else if (is_health(out)) {
        out->kind = ASK_HEALTH;
        return;
    } else if (is_document(out, groups)) {
        out->kind = ASK_DOCUMENT;
    } else if (out->path.count > 3 && segment_is(out, 0, "apis") && group_is_served(out, groups)) {
        parse_group(out, arena, err);
    } else {
        err_set(err, ERR_NOT_FOUND, NO_RESOURCE);
    }
    if (out->kind == ASK_DOCUMENT || out->kind == ASK_NOTHING)
        out->attributes = (struct kube_attributes){.verb = STR("get"), .path = path};
}

/* Only metadata.name=NAME, as the reference server has it, and nothing for what has another name. */
static bool check_field_selector(struct ask *ask, struct str text, struct arena *arena,
                                 struct err *err)
{
    struct selector fields;

    if (!selector_parse(&fields, text, arena, err))
        return err_wrap(err, "fieldSelector");
    for (size_t i = 0; i < fields.count; i++) {
        const struct selector_part *part = &fields.parts[i];
        if (part->op != SELECT_EQUAL || !str_eq(part->key, STR("metadata.name")))
            return err_set(err, ERR_BAD_DATA,
                           "field label not supported: " STR_FMT ": only metadata.name=NAME is",
                           STR_ARG(part->key));
        if (ask->name.len > 0 && !str_eq(part->values[0], ask->name))
            return err_set(err, ERR_BAD_DATA,
                           "field selector metadata.name=" STR_FMT " contradicts the name " STR_FMT,
                           STR_ARG(part->values[0]), STR_ARG(ask->name));
        ask->name = part->values[0];
    }
    return true;
}

bool ask_parse_query(struct ask *ask, const struct http_params *params, struct arena *arena,
                     struct err *err)
{
    struct str labels = http_params_get(params, "labelSelector");
    struct str metric_labels = http_params_get(params, "metricLabelSelector");
    bool external = ask->kind == ASK_EXTERNAL;

    if (!selector_parse(external ? &ask->series : &ask->objects, labels, arena, err))
        return err_wrap(err, "labelSelector");
    if (!external && !selector_parse(&ask->series, metric_labels, arena, err))
        return err_wrap(err, "metricLabelSelector");
    return external ||
           check_field_selector(ask, http_params_get(params, "fieldSelector"), arena, err);
}
