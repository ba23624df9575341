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
};

/* There is no store of secrets, here as in Prometheus' own server. */
#define REF(section, field)                                                                        \
    {                                                                                              \
        section##_##field, #field ": there is no secret manager to ask"                            \
    }

static const struct row tls_rows[] = {REF(TLS, ca_ref), REF(TLS, cert_ref), REF(TLS, key_ref)};
static const struct row basic_rows[] = {REF(BASIC_AUTH, username_ref),
                                        REF(BASIC_AUTH, password_ref)};
static const struct row authorization_rows[] = {REF(AUTHORIZATION, credentials_ref)};
static const struct row oauth2_rows[] = {
    REF(OAUTH2, client_secret_ref),
    {OAUTH2_client_certificate_key_id, "oauth2: the grant type jwt-bearer is not supported"},
    {OAUTH2_client_certificate_key, "oauth2: the grant type jwt-bearer is not supported"},
    {OAUTH2_client_certificate_key_file, "oauth2: the grant type jwt-bearer is not supported"},
};

static const struct row tsdb_rows[] = {
    {TSDB_stale_series_compaction_threshold,
     "storage.tsdb.stale_series_compaction_threshold: accepted, has no effect"},
    {TSDB_chunk_encoding, "storage.tsdb.chunk_encoding: accepted, has no effect"},
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

/* The HTTP fields stand in one run and one order in every block (HTTP_FIELDS in fields.def). */
#define HTTP_AT(values, field) (&(values)[SCRAPE_##field - SCRAPE_basic_auth])

/* `values` begins at basic_auth. */
static void http_collect(struct notes *notes, const struct value *values)
{
    const struct section *basic = HTTP_AT(values, basic_auth)->as.section;
    const struct section *authorization = HTTP_AT(values, authorization)->as.section;
    const struct section *oauth2 = HTTP_AT(values, oauth2)->as.section;

    rows_collect(notes, HTTP_AT(values, tls_config)->as.section, ROWS(tls_rows));
    if (basic)
        rows_collect(notes, basic, ROWS(basic_rows));
    if (authorization)
        rows_collect(notes, authorization, ROWS(authorization_rows));
    if (!oauth2)
        return;
    rows_collect(notes, oauth2, ROWS(oauth2_rows));
    rows_collect(notes, oauth2->values[OAUTH2_tls_config].as.section, ROWS(tls_rows));
}

static void storage_collect(struct notes *notes, const struct section *storage)
{
    const struct section *tsdb = storage->values[STORAGE_tsdb].as.section;
    rows_collect(notes, tsdb, ROWS(tsdb_rows));
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
        http_collect(&notes, &scrape->values[SCRAPE_basic_auth]);
        const struct value *http_sd = &scrape->values[SCRAPE_http_sd_configs];
        for (size_t k = 0; k < http_sd->as.sections.count; k++)
            http_collect(&notes, &http_sd->as.sections.items[k]->values[HTTP_SD_basic_auth]);
        const struct value *kubernetes_sd = &scrape->values[SCRAPE_kubernetes_sd_configs];
        for (size_t k = 0; k < kubernetes_sd->as.sections.count; k++)
            http_collect(&notes,
                         &kubernetes_sd->as.sections.items[k]->values[KUBERNETES_SD_basic_auth]);
    }
}
