/* features_api: /features: what this server can do, for those who complete queries and draw pages. Categories and names as
 * Prometheus has them, both ascending; what is not built is false or not there. */
#include "core.h"

#include <string.h>

#include "query.h"
#include "storage.h"

struct feature {
    const char *category, *name;
    bool on;
};

static const char *const operators[] = {"!=",
                                        "!~",
                                        "%",
                                        "*",
                                        "+",
                                        "-",
                                        "/",
                                        "<",
                                        "</",
                                        "<=",
                                        "==",
                                        "=~",
                                        ">",
                                        ">/",
                                        ">=",
                                        "@",
                                        "^",
                                        "and",
                                        "atan2",
                                        "avg",
                                        "bottomk",
                                        "count",
                                        "count_values",
                                        "group",
                                        "limit_ratio",
                                        "limitk",
                                        "max",
                                        "min",
                                        "or",
                                        "quantile",
                                        "stddev",
                                        "stdvar",
                                        "sum",
                                        "topk",
                                        "unless"};

static bool on(const struct api_options *options, unsigned feature)
{
    return (options->query_features & feature) != 0;
}

static bool flag_is_true(const struct api_options *options, struct str name)
{
    for (size_t i = 0; i < options->flag_count; i++) {
        if (str_eq(options->flags[i].name, name))
            return str_eq(options->flags[i].value, STR("true"));
    }
    return false;
}

static void add_feature(struct buf *out, bool *first, const char *name, bool on)
{
    json_key(out, first, name);
    buf_addf(out, "%s", on ? "true" : "false");
}

static void add_table(struct buf *out, bool *first_category, const struct feature *features,
                      size_t count)
{
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(features[i - 1].category, features[i].category) != 0) {
            if (i > 0)
                BUF_ADD(out, "}");
            json_key(out, first_category, features[i].category);
            BUF_ADD(out, "{");
            first = true;
        }
        add_feature(out, &first, features[i].name, features[i].on);
    }
    BUF_ADD(out, "}");
}

static void add_language(struct buf *out, bool *first_category, bool experimental_functions)
{
    bool first = true, experimental;
    const char *name;
    json_key(out, first_category, "promql_functions");
    BUF_ADD(out, "{");
    for (size_t i = 0; (name = query_function_name(i, &experimental)) != NULL; i++)
        add_feature(out, &first, name, !experimental || experimental_functions);
    BUF_ADD(out, "}");
    json_key(out, first_category, "promql_operators");
    BUF_ADD(out, "{");
    first = true;
    for (size_t i = 0; i < COUNT_OF(operators); i++)
        add_feature(out, &first, operators[i],
                    strncmp(operators[i], "limit", 5) != 0 || experimental_functions);
    BUF_ADD(out, "}");
}

void serve_features(struct call *call)
{
    const struct api_options *options = &call->api->options;
    const struct feature before[] = {
        {"api", "admin", options->enable_admin},
        {"api", "exclude_alerts", true},
        {"api", "label_values_match", true},
        {"api", "lifecycle", options->enable_lifecycle},
        {"api", "openapi_3.1", false},
        {"api", "openapi_3.2", false},
        {"api", "otlp_write_receiver", false},
        {"api", "query_stats", true},
        {"api", "query_warnings", true},
        {"api", "remote_write_receiver", options->write_receiver != NULL},
        {"api", "search", false},
        {"api", "time_range_labels", true},
        {"api", "time_range_series", true},
        {"otlp_receiver", "delta_conversion", false},
        {"otlp_receiver", "native_delta_ingestion", false},
        {"prometheus", "agent_mode", false},
        {"prometheus", "auto_reload_config", flag_is_true(options, STR("config.auto-reload"))},
        {"prometheus", "server_mode", true},
        {"prometheus", "stringlabels", true},
        {"promql", "anchored", on(options, QUERY_EXTENDED_RANGES)},
        {"promql", "at_modifier", true},
        {"promql", "bool", true},
        {"promql", "by", true},
        {"promql", "delayed_name_removal", on(options, QUERY_DELAYED_NAMES)},
        {"promql", "duration_expr", true},
        {"promql", "fill", on(options, QUERY_FILL_MODIFIERS)},
        {"promql", "fill_left", on(options, QUERY_FILL_MODIFIERS)},
        {"promql", "fill_right", on(options, QUERY_FILL_MODIFIERS)},
        {"promql", "group_left", true},
        {"promql", "group_right", true},
        {"promql", "ignoring", true},
        {"promql", "negative_offset", true},
        {"promql", "offset", true},
        {"promql", "on", true},
        {"promql", "per_query_lookback_delta", true},
        {"promql", "per_step_stats", on(options, QUERY_PER_STEP_STATS)},
        {"promql", "smoothed", on(options, QUERY_EXTENDED_RANGES)},
        {"promql", "subqueries", true},
        {"promql", "type_and_unit_labels", false},
        {"promql", "without", true},
    };
    const struct feature after[] = {
        {"rules", "concurrent_rule_eval", false},
        {"rules", "keep_firing_for", false},
        {"rules", "query_offset", false},
        {"scrape", "extra_scrape_metrics", true},
        {"scrape", "start_timestamp_zero_ingestion", false},
        {"scrape", "type_and_unit_labels", false},
        {"service_discovery_providers", "dns", true},
        {"service_discovery_providers", "file", true},
        {"service_discovery_providers", "http", true},
        {"service_discovery_providers", "kubernetes", true},
        {"service_discovery_providers", "static", true},
        {"tsdb", "delayed_compaction", false},
        {"tsdb", "exemplar_storage",
         options->storage && storage_get_exemplars_max(options->storage) > 0},
        {"tsdb", "histograms_st_encoding", false},
        {"tsdb", "isolation", true},
        {"tsdb", "native_histograms", true},
        {"tsdb", "st_storage", false},
        {"tsdb", "use_uncached_io", false},
        {"tsdb", "xor2_encoding", false},
        {"ui", "ui_v2", false},
        {"ui", "ui_v3", true},
    };
    struct buf out;
    bool first = true;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    add_table(&out, &first, before, COUNT_OF(before));
    add_language(&out, &first, on(options, QUERY_EXPERIMENTAL_FUNCTIONS));
    add_table(&out, &first, after, COUNT_OF(after));
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}
