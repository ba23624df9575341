/* documents: see documents.h. */
#include "documents.h"

#include "base/timetext.h"
#include "quantity.h"

void document_status(struct buf *out, struct str reason, int code, struct str message)
{
    BUF_ADD(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                 "\"Failure\",\"message\":");
    buf_add_json_string(out, message);
    BUF_ADD(out, ",\"reason\":");
    buf_add_json_string(out, reason);
    buf_addf(out, ",\"code\":%d}\n", code);
}

void document_add_time(struct buf *out, int64_t time_ms)
{
    int64_t seconds = time_ms / 1000 - (time_ms % 1000 < 0);

    BUF_ADD(out, "\"");
    buf_add_rfc3339_nano(out, seconds * 1000000000);
    BUF_ADD(out, "\"");
}

static void add_object(struct buf *out, const struct ask *ask, const struct item *item)
{
    BUF_ADD(out, "{\"describedObject\":{\"kind\":");
    buf_add_json_string(out, ask->resource.kind);
    if (item->namespace_name.len > 0) {
        BUF_ADD(out, ",\"namespace\":");
        buf_add_json_string(out, item->namespace_name);
    }
    BUF_ADD(out, ",\"name\":");
    buf_add_json_string(out, item->name);
    BUF_ADD(out, ",\"apiVersion\":\"");
    resource_add_api_version(out, &ask->resource);
    BUF_ADD(out, "\"}");
}

static void add_window(struct buf *out, const char *name, int64_t window_ms)
{
    if (window_ms >= 1000)
        buf_addf(out, ",\"%s\":%lld", name, (long long)(window_ms / 1000));
}

static void add_value_v1beta1(struct buf *out, const struct measurement *m, const struct item *item)
{
    BUF_ADD(out, ",\"metricName\":");
    buf_add_json_string(out, m->ask->metric);
    BUF_ADD(out, ",\"timestamp\":");
    document_add_time(out, item->time_ms);
    add_window(out, "window", m->window_ms);
    BUF_ADD(out, ",\"value\":\"");
    (void)quantity_add_milli(out, item->value);
    BUF_ADD(out, "\",\"selector\":");
    selector_add_json(&m->ask->series, out);
    BUF_ADD(out, "}");
}

static void add_value_v1beta2(struct buf *out, const struct measurement *m, const struct item *item)
{
    BUF_ADD(out, ",\"metric\":{\"name\":");
    buf_add_json_string(out, m->ask->metric);
    BUF_ADD(out, ",\"selector\":");
    selector_add_json(&m->ask->series, out);
    BUF_ADD(out, "},\"timestamp\":");
    document_add_time(out, item->time_ms);
    add_window(out, "windowSeconds", m->window_ms);
    BUF_ADD(out, ",\"value\":\"");
    (void)quantity_add_milli(out, item->value);
    BUF_ADD(out, "\"}");
}

static void begin_list(struct buf *out, const char *kind, const struct ask *ask)
{
    buf_addf(out,
             "{\"kind\":\"%s\",\"apiVersion\":\"" STR_FMT "/" STR_FMT
             "\",\"metadata\":{},\"items\":[",
             kind, STR_ARG(ask->group), STR_ARG(ask->version));
}

void document_values(struct buf *out, const struct measurement *m)
{
    bool first = true;

    begin_list(out, "MetricValueList", m->ask);
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].state != ITEM_GOOD)
            continue;
        if (!first)
            BUF_ADD(out, ",");
        first = false;
        add_object(out, m->ask, &m->items[i]);
        if (str_eq(m->ask->version, STR("v1beta1")))
            add_value_v1beta1(out, m, &m->items[i]);
        else
            add_value_v1beta2(out, m, &m->items[i]);
    }
    BUF_ADD(out, "]}\n");
}

static void add_labels(struct buf *out, const struct labels *labels)
{
    bool first = true;

    BUF_ADD(out, "{");
    for (size_t i = 0; labels && i < labels->count; i++) {
        if (str_eq(labels->items[i].name, LABEL_NAME))
            continue;
        if (!first)
            BUF_ADD(out, ",");
        first = false;
        buf_add_json_string(out, labels->items[i].name);
        BUF_ADD(out, ":");
        buf_add_json_string(out, labels->items[i].value);
    }
    BUF_ADD(out, "}");
}

void document_external(struct buf *out, const struct measurement *m)
{
    bool first = true;

    begin_list(out, "ExternalMetricValueList", m->ask);
    for (size_t i = 0; i < m->count; i++) {
        const struct item *item = &m->items[i];
        if (item->state != ITEM_GOOD)
            continue;
        if (!first)
            BUF_ADD(out, ",");
        first = false;
        BUF_ADD(out, "{\"metricName\":");
        buf_add_json_string(out, m->ask->metric);
        BUF_ADD(out, ",\"metricLabels\":");
        add_labels(out, item->labels);
        BUF_ADD(out, ",\"timestamp\":");
        document_add_time(out, item->time_ms);
        add_window(out, "window", m->window_ms);
        BUF_ADD(out, ",\"value\":\"");
        (void)quantity_add_milli(out, item->value);
        BUF_ADD(out, "\"}");
    }
    BUF_ADD(out, "]}\n");
}

/* --- discovery --- */

static void add_group(struct buf *out, struct str group)
{
    bool custom = str_eq(group, STR(GROUP_CUSTOM));
    const char *versions[] = {"v1beta2", "v1beta1"};

    buf_addf(out, "\"name\":\"" STR_FMT "\",\"versions\":[", STR_ARG(group));
    for (size_t i = custom ? 0 : 1; i < 2; i++)
        buf_addf(out, "%s{\"groupVersion\":\"" STR_FMT "/%s\",\"version\":\"%s\"}",
                 i == 1 && custom ? "," : "", STR_ARG(group), versions[i], versions[i]);
    const char *preferred = versions[custom ? 0 : 1];
    buf_addf(out, "],\"preferredVersion\":{\"groupVersion\":\"" STR_FMT "/%s\",\"version\":\"%s\"}",
             STR_ARG(group), preferred, preferred);
}

static void add_group_list(struct buf *out, const struct ask_groups *groups)
{
    BUF_ADD(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{");
    add_group(out, STR(GROUP_CUSTOM));
    if (groups->external) {
        BUF_ADD(out, "},{");
        add_group(out, STR(GROUP_EXTERNAL));
    }
    if (groups->resource) {
        BUF_ADD(out, "},{");
        add_group(out, STR(GROUP_RESOURCE));
    }
    BUF_ADD(out, "}]}\n");
}

static void add_root(struct buf *out, const struct ask_groups *groups)
{
    BUF_ADD(out, "{\"paths\":[\"/api\",\"/apis\",\"/apis/" GROUP_CUSTOM "\",\"/apis/" GROUP_CUSTOM
                 "/v1beta1\",\"/apis/" GROUP_CUSTOM "/v1beta2\"");
    if (groups->external)
        BUF_ADD(out, ",\"/apis/" GROUP_EXTERNAL "\",\"/apis/" GROUP_EXTERNAL "/v1beta1\"");
    if (groups->resource)
        BUF_ADD(out, ",\"/apis/" GROUP_RESOURCE "\",\"/apis/" GROUP_RESOURCE "/v1beta1\"");
    BUF_ADD(
        out,
        ",\"/healthz\",\"/livez\",\"/openapi/v2\",\"/openapi/v3\",\"/readyz\",\"/version\"]}\n");
}

/* Kubernetes' clients read major and minor: a release that has all that is served here. */
static void add_version(struct buf *out, struct str version)
{
    BUF_ADD(out, "{\"major\":\"1\",\"minor\":\"29\",\"gitVersion\":\"v1.29.0+narthex-");
    buf_addf(out, STR_FMT, STR_ARG(version));
    BUF_ADD(out, "\",\"gitCommit\":\"\",\"gitTreeState\":\"clean\",\"buildDate\":"
                 "\"1970-01-01T00:00:00Z\",\"goVersion\":\"\",\"compiler\":\"\",\"platform\":"
                 "\"linux/amd64\"}\n");
}

/* Nothing is described. But there has to be a document: an API server logs an error for each APIService each minute while it
 * finds none. */
static void add_open_api(struct buf *out, bool v2, struct str version)
{
    if (v2)
        buf_addf(out,
                 "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Narthex\",\"version\":\"" STR_FMT
                 "\"},",
                 STR_ARG(version));
    else
        BUF_ADD(out, "{");
    BUF_ADD(out, "\"paths\":{}}\n");
}

static void add_resource_metrics(struct buf *out)
{
    BUF_ADD(out,
            "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"" GROUP_RESOURCE
            "/v1beta1\",\"resources\":["
            "{\"name\":\"nodes\",\"singularName\":\"\",\"namespaced\":false,\"kind\":"
            "\"NodeMetrics\",\"verbs\":[\"get\",\"list\"]},"
            "{\"name\":\"pods\",\"singularName\":\"\",\"namespaced\":true,\"kind\":"
            "\"PodMetrics\",\"verbs\":[\"get\",\"list\"]}]}\n");
}

bool document_static(struct buf *out, const struct ask *ask, const struct ask_groups *groups,
                     struct str version)
{
    const struct path *path = &ask->path;
    struct str first = path->count > 0 ? path->segments[0] : STR_EMPTY;

    if (path->count == 3 && !str_eq(path->segments[1], STR(GROUP_RESOURCE)))
        return false;
    if (path->count == 0) {
        add_root(out, groups);
    } else if (path->count == 3) {
        add_resource_metrics(out);
    } else if (str_eq(first, STR("openapi"))) {
        add_open_api(out, str_eq(path->segments[1], STR("v2")), version);
    } else if (path->count == 2) {
        BUF_ADD(out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
        add_group(out, path->segments[1]);
        BUF_ADD(out, "}\n");
    } else if (str_eq(first, STR("api"))) {
        BUF_ADD(out,
                "{\"kind\":\"APIVersions\",\"versions\":[],\"serverAddressByClientCIDRs\":[]}\n");
    } else if (str_eq(first, STR("version"))) {
        add_version(out, version);
    } else {
        add_group_list(out, groups);
    }
    return true;
}
