/* build: checked sections become the public structs. Texts are borrowed from the sections' arena.
 */
#include "sections.h"

static void params_build(struct arena *arena, struct config_scrape *out, const struct value *params)
{
    size_t count = params->as.pairs.count;
    out->params = arena_alloc_array(arena, count, sizeof(*out->params));
    out->param_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct pair *pair = &params->as.pairs.items[i];
        out->params[i] = (struct config_param){.name = pair->name, .values = pair->texts};
    }
}

/* The regexes stay with the section's rule, whose owner frees them. */
static void rules_build(struct arena *arena, struct relabel_rules *out, const struct value *list)
{
    out->count = list->as.sections.count;
    out->items = arena_alloc_array(arena, out->count, sizeof(*out->items));
    for (size_t i = 0; i < out->count; i++) {
        ENSURE(list->as.sections.items[i]->rule);
        out->items[i] = *list->as.sections.items[i]->rule;
    }
}

struct target_group *static_group_build(const struct section *group, struct str source,
                                        struct label meta)
{
    const struct str_list *targets = &group->values[STATIC_targets].as.texts;
    const struct value *labels = &group->values[STATIC_labels];
    struct group_writer writer;
    struct labels_builder builder;

    group_writer_init(&writer);
    labels_builder_init(&builder);
    for (size_t i = 0; i < targets->count; i++) {
        labels_builder_clear(&builder);
        /* An empty address is no label; the target is then dropped for its lack. */
        labels_builder_set(&builder, STR("__address__"), targets->items[i]);
        group_writer_add(&writer, &builder);
    }
    labels_builder_clear(&builder);
    for (size_t i = 0; i < labels->as.pairs.count; i++)
        labels_builder_set(&builder, labels->as.pairs.items[i].name,
                           labels->as.pairs.items[i].text);
    if (meta.name.len > 0)
        labels_builder_set(&builder, meta.name, meta.value);
    struct target_group *out = group_writer_end(&writer, source, &builder);
    labels_builder_deinit(&builder);
    return out;
}

static void static_sd_build(struct arena *arena, struct config_static_sd *out,
                            const struct value *groups)
{
    out->count = groups->as.sections.count;
    out->groups = arena_alloc_array(arena, out->count, sizeof(struct target_group *));
    for (size_t i = 0; i < out->count; i++)
        out->groups[i] = static_group_build(groups->as.sections.items[i],
                                            arena_strf(arena, "%zu", i), (struct label){0});
}

static struct str printed_fields(struct arena *arena, const struct section *section, size_t from,
                                 size_t to)
{
    struct buf text;
    buf_init(&text, 8 * (size_t)YAML_TEXT_MAX);
    section_print_fields(&text, section, from, to, false);
    struct str out = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return out;
}

static void file_sd_build(struct arena *arena, struct config_scrape *out, const struct value *list)
{
    out->file_sd_count = list->as.sections.count;
    out->file_sd = arena_alloc_array(arena, out->file_sd_count, sizeof(*out->file_sd));
    for (size_t i = 0; i < out->file_sd_count; i++) {
        const struct value *v = list->as.sections.items[i]->values;
        out->file_sd[i] = (struct config_file_sd){
            .files = v[FILE_SD_files].as.texts,
            .refresh_ms = v[FILE_SD_refresh_interval].as.integer,
            .key = printed_fields(arena, list->as.sections.items[i], 0, FILE_SD_COUNT),
        };
    }
}

static void http_sd_build(struct arena *arena, struct config_scrape *out, const struct value *list)
{
    out->http_sd_count = list->as.sections.count;
    out->http_sd = arena_alloc_array(arena, out->http_sd_count, sizeof(*out->http_sd));
    for (size_t i = 0; i < out->http_sd_count; i++) {
        const struct value *v = list->as.sections.items[i]->values;
        out->http_sd[i] = (struct config_http_sd){
            .url = v[HTTP_SD_url].as.text,
            .refresh_ms = v[HTTP_SD_refresh_interval].as.integer,
            .key = printed_fields(arena, list->as.sections.items[i], 0, HTTP_SD_COUNT),
        };
        http_build(arena, &out->http_sd[i].http, &v[HTTP_SD_basic_auth]);
    }
}

static void dns_sd_build(struct arena *arena, struct config_scrape *out, const struct value *list)
{
    out->dns_sd_count = list->as.sections.count;
    out->dns_sd = arena_alloc_array(arena, out->dns_sd_count, sizeof(*out->dns_sd));
    for (size_t i = 0; i < out->dns_sd_count; i++) {
        const struct value *v = list->as.sections.items[i]->values;
        out->dns_sd[i] = (struct config_dns_sd){
            .names = v[DNS_SD_names].as.texts,
            .refresh_ms = v[DNS_SD_refresh_interval].as.integer,
            .type = v[DNS_SD_type].as.text,
            .port = v[DNS_SD_port].as.integer,
            .key = printed_fields(arena, list->as.sections.items[i], 0, DNS_SD_COUNT),
        };
    }
}

static void selectors_build(struct arena *arena, struct config_kubernetes_sd *out,
                            const struct value *list)
{
    out->selector_count = list->as.sections.count;
    out->selectors = arena_alloc_array(arena, out->selector_count, sizeof(*out->selectors));
    for (size_t i = 0; i < out->selector_count; i++) {
        const struct value *v = list->as.sections.items[i]->values;
        out->selectors[i] = (struct config_kubernetes_selector){
            .role = v[KUBERNETES_SELECTOR_role].as.text,
            .label = v[KUBERNETES_SELECTOR_label].as.text,
            .field = v[KUBERNETES_SELECTOR_field].as.text,
        };
    }
}

static void kubernetes_sd_build_one(struct arena *arena, struct config_kubernetes_sd *out,
                                    const struct section *block)
{
    const struct value *v = block->values;
    const struct value *namespaces = v[KUBERNETES_SD_namespaces].as.section->values;
    const struct value *attach = v[KUBERNETES_SD_attach_metadata].as.section->values;
    struct str server = printed_fields(arena, block, 0, KUBERNETES_SD_role);
    struct str rest =
        printed_fields(arena, block, KUBERNETES_SD_kubeconfig_file, KUBERNETES_SD_namespaces);

    *out = (struct config_kubernetes_sd){
        .role = v[KUBERNETES_SD_role].as.text,
        .api_server = v[KUBERNETES_SD_api_server].as.text,
        .kubeconfig_file = v[KUBERNETES_SD_kubeconfig_file].as.text,
        .own_namespace = namespaces[KUBERNETES_NAMESPACES_own_namespace].as.boolean,
        .namespaces = namespaces[KUBERNETES_NAMESPACES_names].as.texts,
        .attach_node = attach[KUBERNETES_ATTACH_node].as.boolean,
        .attach_namespace = attach[KUBERNETES_ATTACH_namespace].as.boolean,
        .attach_deployment = attach[KUBERNETES_ATTACH_deployment].as.boolean,
        .attach_job = attach[KUBERNETES_ATTACH_job].as.boolean,
        .attach_cronjob = attach[KUBERNETES_ATTACH_cronjob].as.boolean,
        .client_key = arena_strf(arena, STR_FMT STR_FMT, STR_ARG(server), STR_ARG(rest)),
        .key = printed_fields(arena, block, 0, KUBERNETES_SD_COUNT),
    };
    http_build(arena, &out->http, &v[KUBERNETES_SD_basic_auth]);
    selectors_build(arena, out, &v[KUBERNETES_SD_selectors]);
}

static void kubernetes_sd_build(struct arena *arena, struct config_scrape *out,
                                const struct value *list)
{
    out->kubernetes_sd_count = list->as.sections.count;
    out->kubernetes_sd =
        arena_alloc_array(arena, out->kubernetes_sd_count, sizeof(*out->kubernetes_sd));
    for (size_t i = 0; i < out->kubernetes_sd_count; i++)
        kubernetes_sd_build_one(arena, &out->kubernetes_sd[i], list->as.sections.items[i]);
}

void scrape_build(struct arena *arena, struct config_scrape *out, const struct section *scrape)
{
    const struct value *v = scrape->values;
    *out = (struct config_scrape){
        .job_name = v[SCRAPE_job_name].as.text,
        .interval_ms = v[SCRAPE_scrape_interval].as.integer,
        .timeout_ms = v[SCRAPE_scrape_timeout].as.integer,
        .metrics_path = v[SCRAPE_metrics_path].as.text,
        .scheme = v[SCRAPE_scheme].as.text,
        .honor_labels = v[SCRAPE_honor_labels].as.boolean,
        .honor_timestamps = v[SCRAPE_honor_timestamps].as.boolean,
        .track_timestamps_staleness = v[SCRAPE_track_timestamps_staleness].as.boolean,
        .enable_compression = v[SCRAPE_enable_compression].as.boolean,
        .extra_scrape_metrics = v[SCRAPE_extra_scrape_metrics].as.boolean,
        .native_histograms = v[SCRAPE_scrape_native_histograms].as.boolean,
        .always_classic_histograms = v[SCRAPE_always_scrape_classic_histograms].as.boolean,
        .classic_to_native = v[SCRAPE_convert_classic_histograms_to_nhcb].as.boolean,
        .legacy_names = str_eq(v[SCRAPE_metric_name_validation_scheme].as.text, STR("legacy")),
        .fallback_scrape_protocol = v[SCRAPE_fallback_scrape_protocol].as.text,
        .failure_log_file = v[SCRAPE_scrape_failure_log_file].as.text,
        .scrape_protocols = v[SCRAPE_scrape_protocols].as.texts,
        .escaping_scheme = v[SCRAPE_metric_name_escaping_scheme].as.text,
        .limits =
            {
                .body_bytes = v[SCRAPE_body_size_limit].as.number,
                .samples = v[SCRAPE_sample_limit].as.number,
                .labels = v[SCRAPE_label_limit].as.number,
                .label_name_len = v[SCRAPE_label_name_length_limit].as.number,
                .label_value_len = v[SCRAPE_label_value_length_limit].as.number,
                .targets = v[SCRAPE_target_limit].as.number,
                .keep_dropped_targets = v[SCRAPE_keep_dropped_targets].as.number,
                .histogram_buckets = v[SCRAPE_native_histogram_bucket_limit].as.number,
                .histogram_bucket_factor = v[SCRAPE_native_histogram_min_bucket_factor].as.real,
            },
    };
    params_build(arena, out, &v[SCRAPE_params]);
    rules_build(arena, &out->relabel, &v[SCRAPE_relabel_configs]);
    rules_build(arena, &out->metric_relabel, &v[SCRAPE_metric_relabel_configs]);
    static_sd_build(arena, &out->static_sd, &v[SCRAPE_static_configs]);
    file_sd_build(arena, out, &v[SCRAPE_file_sd_configs]);
    http_sd_build(arena, out, &v[SCRAPE_http_sd_configs]);
    dns_sd_build(arena, out, &v[SCRAPE_dns_sd_configs]);
    kubernetes_sd_build(arena, out, &v[SCRAPE_kubernetes_sd_configs]);
    http_build(arena, &out->http, &v[SCRAPE_basic_auth]);
    out->key = printed_fields(arena, scrape, 0, SCRAPE_COUNT);
}
