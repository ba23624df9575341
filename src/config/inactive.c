/* inactive: which accepted options do nothing yet, one line each, so that the server can say so at
 * start. */
#include "sections.h"

struct notes {
    struct arena *arena;
    struct str_list *out;
    size_t capacity;
};

static void note(struct notes *notes, struct str line)
{
    for (size_t i = 0; i < notes->out->count; i++)
        if (str_eq(notes->out->items[i], line))
            return;
    if (notes->out->count == notes->capacity) {
        size_t capacity = notes->capacity ? 2 * notes->capacity : 8;
        struct str *items = arena_alloc_array(notes->arena, capacity, sizeof(*items));
        if (notes->out->count)
            memcpy(items, notes->out->items, notes->out->count * sizeof(*items));
        notes->out->items = items;
        notes->capacity = capacity;
    }
    notes->out->items[notes->out->count++] = line;
}

struct row {
    size_t index;
    const char *text;
};

static const struct row config_rows[] = {
    {CONFIG_runtime, "runtime: accepted, has no effect"},
    {CONFIG_alerting, "alerting: alerts are not sent yet"},
    {CONFIG_rule_files, "rule_files: rules are not evaluated yet"},
    {CONFIG_tracing, "tracing: not active yet"},
    {CONFIG_remote_write, "remote_write: not active yet"},
    {CONFIG_remote_read, "remote_read: not active yet"},
    {CONFIG_otlp, "otlp: not active yet"},
};

static const struct row global_rows[] = {
    {GLOBAL_evaluation_interval, "global.evaluation_interval: rules are not evaluated yet"},
    {GLOBAL_rule_query_offset, "global.rule_query_offset: rules are not evaluated yet"},
    {GLOBAL_query_log_file, "global.query_log_file: not active yet"},
    {GLOBAL_scrape_failure_log_file, "global.scrape_failure_log_file: not active yet"},
    {GLOBAL_scrape_native_histograms, "scrape_native_histograms: not active yet"},
    {GLOBAL_convert_classic_histograms_to_nhcb,
     "convert_classic_histograms_to_nhcb: not active yet"},
    {GLOBAL_always_scrape_classic_histograms,
     "always_scrape_classic_histograms: has no effect yet"},
};

#define HTTP_ROWS(S)                                                                               \
    {S##_oauth2, "oauth2: not active yet"}, {S##_http_headers, "http_headers: not active yet"},    \
        {S##_no_proxy, "no_proxy: not active yet"},                                                \
        {S##_proxy_from_environment, "proxy_from_environment: not active yet"},                    \
    {                                                                                              \
        S##_proxy_connect_header, "proxy_connect_header: not active yet"                           \
    }

static const struct row scrape_rows[] = {
    {SCRAPE_scrape_native_histograms, "scrape_native_histograms: not active yet"},
    {SCRAPE_convert_classic_histograms_to_nhcb,
     "convert_classic_histograms_to_nhcb: not active yet"},
    {SCRAPE_always_scrape_classic_histograms,
     "always_scrape_classic_histograms: has no effect yet"},
    {SCRAPE_native_histogram_bucket_limit, "native_histogram_bucket_limit: not active yet"},
    {SCRAPE_native_histogram_min_bucket_factor,
     "native_histogram_min_bucket_factor: not active yet"},
    {SCRAPE_scrape_failure_log_file, "scrape_failure_log_file: not active yet"},
    HTTP_ROWS(SCRAPE),
};

static const struct row http_sd_rows[] = {HTTP_ROWS(HTTP_SD)};
static const struct row kubernetes_sd_rows[] = {HTTP_ROWS(KUBERNETES_SD)};

static const struct row tls_rows[] = {
    {TLS_ca, "tls_config.ca: not active yet, use ca_file"},
    {TLS_cert, "tls_config.cert: not active yet, use cert_file"},
    {TLS_key, "tls_config.key: not active yet, use key_file"},
    {TLS_ca_ref, "tls_config.ca_ref: not active yet"},
    {TLS_cert_ref, "tls_config.cert_ref: not active yet"},
    {TLS_key_ref, "tls_config.key_ref: not active yet"},
    {TLS_min_version, "tls_config.min_version: not active yet"},
    {TLS_max_version, "tls_config.max_version: not active yet"},
};

static const struct row tsdb_rows[] = {
    {TSDB_stale_series_compaction_threshold,
     "storage.tsdb.stale_series_compaction_threshold: accepted, has no effect"},
    {TSDB_chunk_encoding, "storage.tsdb.chunk_encoding: accepted, has no effect"},
};

static const struct row retention_rows[] = {
    {RETENTION_percentage, "storage.tsdb.retention.percentage: not active yet"},
};

static void rows_collect(struct notes *notes, const struct section *section, const struct row *rows,
                         size_t count)
{
    const struct section_type *type = section_type(section->id);
    for (size_t i = 0; i < count; i++) {
        const struct field *field = &type->fields[rows[i].index];
        const struct value *value = &section->values[rows[i].index];
        bool off = field_kind(field->type) == KIND_BOOL && !value->as.boolean;
        if (value->written && !off && !value_is_zero(field, value))
            note(notes, str_of(rows[i].text));
    }
}

#define ROWS(rows) rows, COUNT_OF(rows)

static void storage_collect(struct notes *notes, const struct section *storage)
{
    const struct section *tsdb = storage->values[STORAGE_tsdb].as.section;
    if (storage->values[STORAGE_exemplars].as.section)
        note(notes, STR("storage.exemplars: exemplars are not stored yet"));
    rows_collect(notes, tsdb, ROWS(tsdb_rows));
    rows_collect(notes, tsdb->values[TSDB_retention].as.section, ROWS(retention_rows));
}

void inactive_collect(struct arena *arena, struct str_list *out, const struct section *config)
{
    struct notes notes = {.arena = arena, .out = out};
    const struct value *scrapes = &config->values[CONFIG_scrape_configs];

    *out = (struct str_list){0};
    rows_collect(&notes, config, ROWS(config_rows));
    rows_collect(&notes, config->values[CONFIG_global].as.section, ROWS(global_rows));
    storage_collect(&notes, config->values[CONFIG_storage].as.section);
    for (size_t i = 0; i < scrapes->as.sections.count; i++) {
        const struct section *scrape = scrapes->as.sections.items[i];
        rows_collect(&notes, scrape, ROWS(scrape_rows));
        rows_collect(&notes, scrape->values[SCRAPE_tls_config].as.section, ROWS(tls_rows));
        const struct value *http_sd = &scrape->values[SCRAPE_http_sd_configs];
        for (size_t k = 0; k < http_sd->as.sections.count; k++) {
            const struct section *block = http_sd->as.sections.items[k];
            rows_collect(&notes, block, ROWS(http_sd_rows));
            rows_collect(&notes, block->values[HTTP_SD_tls_config].as.section, ROWS(tls_rows));
        }
        const struct value *kubernetes_sd = &scrape->values[SCRAPE_kubernetes_sd_configs];
        for (size_t k = 0; k < kubernetes_sd->as.sections.count; k++) {
            const struct section *block = kubernetes_sd->as.sections.items[k];
            rows_collect(&notes, block, ROWS(kubernetes_sd_rows));
            rows_collect(&notes, block->values[KUBERNETES_SD_tls_config].as.section,
                         ROWS(tls_rows));
        }
    }
}
