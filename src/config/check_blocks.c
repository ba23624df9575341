/* check_blocks: the rules of the blocks around scraping: alerting, storage, tracing, remote write
 * and read, OTLP. */
#include <string.h>

#include "base/number.h"
#include "sections.h"

#define ATTRIBUTES_CHECKED_MAX 10000 /* More are not compared with each other. */

static bool fail(struct decoder *decoder, const char *text)
{
    return err_set(decoder->err, ERR_BAD_DATA, "%s", text);
}

static bool any_null(const struct value *list)
{
    for (size_t i = 0; i < list->as.sections.count; i++)
        if (!list->as.sections.items[i])
            return true;
    return false;
}

bool section_check_alerting(struct decoder *decoder, struct section *section)
{
    if (any_null(&section->values[ALERTING_alert_relabel_configs]))
        return fail(decoder, "empty or null alert relabeling rule");
    return true;
}

static bool manager_targets_check(const struct value *groups, struct err *err)
{
    for (size_t i = 0; i < groups->as.sections.count; i++) {
        const struct str_list *targets =
            &groups->as.sections.items[i]->values[STATIC_targets].as.texts;
        for (size_t k = 0; k < targets->count; k++)
            if (str_find_char(targets->items[k], '/') < targets->items[k].len)
                return quoted_error(err, "", targets->items[k], " is not a valid hostname");
    }
    return true;
}

bool section_check_alertmanager(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    if (!sd_check(decoder, section))
        return false;
    if (!http_check(decoder, &v[ALERTMANAGER_basic_auth]))
        return false;
    if (v[ALERTMANAGER_sigv4].as.section &&
        (v[ALERTMANAGER_basic_auth].as.section || v[ALERTMANAGER_authorization].as.section ||
         v[ALERTMANAGER_oauth2].as.section))
        return fail(decoder, "at most one of basic_auth, authorization, oauth2, & sigv4 must be "
                             "configured");
    if (v[ALERTMANAGER_relabel_configs].as.sections.count == 0 &&
        !manager_targets_check(&v[ALERTMANAGER_static_configs], decoder->err))
        return false;
    if (any_null(&v[ALERTMANAGER_relabel_configs]))
        return fail(decoder, "empty or null Alertmanager target relabeling rule");
    if (any_null(&v[ALERTMANAGER_alert_relabel_configs]))
        return fail(decoder, "empty or null Alertmanager alert relabeling rule");
    return true;
}

bool section_check_retention(struct decoder *decoder, struct section *section)
{
    double percentage = section->values[RETENTION_percentage].as.real;
    if (percentage >= 0 && percentage <= 100)
        return true;
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    buf_add_number(&text, percentage, NUMBER_G);
    err_set(decoder->err, ERR_BAD_DATA,
            "'storage.tsdb.retention.percentage' must be in the range [0, 100], got " STR_FMT,
            STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return false;
}

/* Set once, before anything is loaded. */
static int64_t retention_default_ms;
static uint64_t retention_default_bytes;

void config_set_retention(int64_t time_ms, uint64_t bytes)
{
    retention_default_ms = time_ms;
    retention_default_bytes = bytes;
}

/* A block in the file goes before the flags as a whole, also an empty one. */
static struct section *default_retention(struct decoder *decoder)
{
    struct section *section = section_new(decoder->arena, SECTION_RETENTION);
    section->values[RETENTION_time].as.integer = retention_default_ms;
    section->values[RETENTION_size].as.number = retention_default_bytes;
    return section;
}

bool section_check_tsdb(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str floats = v[TSDB_chunk_encoding].as.section->values[CHUNK_ENCODING_floats].as.text;

    v[TSDB_outofordertimewindow].as.integer = v[TSDB_out_of_order_time_window].as.integer;
    if (floats.len > 0 && !str_eq(floats, STR("xor")) && !str_eq(floats, STR("xor2")))
        return quoted_error(decoder->err,
                            "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the "
                            "field must be omitted entirely, got ",
                            floats, "");
    if (!v[TSDB_retention].as.section)
        v[TSDB_retention].as.section = default_retention(decoder);
    return true;
}

static const char *const reserved_headers[] = {
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
};

static bool headers_check(struct decoder *decoder, const struct value *headers,
                          const char *authorization_text)
{
    for (size_t i = 0; i < headers->as.pairs.count; i++) {
        struct str name = headers->as.pairs.items[i].name;
        if (str_eq_nocase(name, STR("authorization")))
            return fail(decoder, authorization_text);
        for (size_t k = 0; k < COUNT_OF(reserved_headers); k++)
            if (str_eq_nocase(name, str_of(reserved_headers[k])))
                return err_set(decoder->err, ERR_BAD_DATA,
                               STR_FMT " is a reserved header. It must not be changed",
                               STR_ARG(name));
    }
    return true;
}

bool section_check_tracing(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str compression = v[TRACING_compression].as.text;

    if (v[TRACING_client_type].as.text.len == 0)
        v[TRACING_client_type].as.text = STR("grpc");
    if (!headers_check(decoder, &v[TRACING_headers],
                       "custom authorization header configuration is not yet supported"))
        return false;
    if (v[TRACING_endpoint].as.text.len == 0)
        return fail(decoder, "tracing endpoint must be set");
    if (compression.len > 0 && !str_eq(compression, STR("gzip")))
        return err_set(decoder->err, ERR_BAD_DATA,
                       "invalid compression type " STR_FMT " provided, valid options: gzip",
                       STR_ARG(compression));
    return true;
}

static bool queue_check(struct decoder *decoder, const struct section *queue)
{
    const struct value *v = queue->values;
    int64_t max_shards = v[QUEUE_max_shards].as.integer;
    int64_t min_shards = v[QUEUE_min_shards].as.integer;

    if (max_shards <= 0)
        return fail(decoder, "remote write queue max_shards must be positive");
    if (min_shards <= 0)
        return fail(decoder, "remote write queue min_shards must be positive");
    if (min_shards > max_shards)
        return fail(decoder, "remote write queue min_shards must not be greater than max_shards");
    if (v[QUEUE_max_samples_per_send].as.integer <= 0)
        return fail(decoder, "remote write queue max_samples_per_send must be positive");
    if (v[QUEUE_capacity].as.integer <= 0)
        return fail(decoder, "remote write queue capacity must be positive");
    if (v[QUEUE_max_backoff].as.integer < v[QUEUE_min_backoff].as.integer)
        return fail(decoder, "remote write queue max_backoff must not be less than min_backoff");
    return true;
}

static bool write_auth_check(struct decoder *decoder, const struct value *v)
{
    static const struct {
        const char *name;
        int index;
    } kinds[] = {
        {"basic_auth", REMOTE_WRITE_basic_auth}, {"authorization", REMOTE_WRITE_authorization},
        {"oauth2", REMOTE_WRITE_oauth2},         {"sigv4", REMOTE_WRITE_sigv4},
        {"azuread", REMOTE_WRITE_azuread},       {"google_iam", REMOTE_WRITE_google_iam},
    };
    struct buf names;
    size_t count = 0;

    buf_init(&names, ERR_TEXT_MAX);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (v[kinds[i].index].as.section)
            buf_addf(&names, "%s%s", count++ ? " " : "", kinds[i].name);
    }
    if (count > 1)
        err_set(decoder->err, ERR_BAD_DATA,
                "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam "
                "must be configured. Currently configured: [" STR_FMT "]",
                STR_ARG(buf_str(&names)));
    buf_deinit(&names);
    return count <= 1;
}

static bool message_check(struct decoder *decoder, struct str message)
{
    if (str_eq(message, STR("prometheus.WriteRequest")) ||
        str_eq(message, STR("io.prometheus.write.v2.Request")))
        return true;
    return err_set(
        decoder->err, ERR_BAD_DATA,
        "invalid protobuf_message value: unknown type for remote write protobuf message " STR_FMT
        ", supported: prometheus.WriteRequest, io.prometheus.write.v2.Request",
        STR_ARG(message));
}

#define WRITE_AUTHORIZATION_TEXT                                                                   \
    "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, "      \
    "azuread or google_iam parameter"

bool section_check_remote_write(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    if (!v[REMOTE_WRITE_url].set)
        return fail(decoder, "url for remote_write is empty");
    if (any_null(&v[REMOTE_WRITE_write_relabel_configs]))
        return fail(decoder, "empty or null relabeling rule in remote write config");
    return headers_check(decoder, &v[REMOTE_WRITE_headers], WRITE_AUTHORIZATION_TEXT) &&
           message_check(decoder, v[REMOTE_WRITE_protobuf_message].as.text) &&
           http_check(decoder, &v[REMOTE_WRITE_basic_auth]) && write_auth_check(decoder, v) &&
           queue_check(decoder, v[REMOTE_WRITE_queue_config].as.section);
}

bool section_check_remote_read(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    if (!v[REMOTE_READ_url].set)
        return fail(decoder, "url for remote_read is empty");
    return headers_check(decoder, &v[REMOTE_READ_headers], WRITE_AUTHORIZATION_TEXT) &&
           http_check(decoder, &v[REMOTE_READ_basic_auth]);
}

bool section_check_sigv4(struct decoder *decoder, struct section *section)
{
    const struct value *v = section->values;
    if ((v[SIGV4_access_key].as.text.len == 0) != (v[SIGV4_secret_key].as.text.len == 0))
        return fail(decoder, "must provide a AWS SigV4 Access key and Secret Key if credentials "
                             "are specified in the SigV4 config");
    if (v[SIGV4_external_id].as.text.len > 0 && v[SIGV4_role_arn].as.text.len == 0)
        return fail(decoder, "external_id can only be used with role_arn");
    return true;
}

static bool is_one_of(char c, const char *all)
{
    return c != 0 && strchr(all, c) != NULL;
}

/* 8-4-4-4-12 hexadecimal digits; in braces, behind urn:uuid:, or without the dashes. */
static bool is_uuid(struct str s)
{
    if (s.len == 45 && str_eq_nocase(str_first(s, 9), STR("urn:uuid:")))
        s = str_after(s, 9);
    else if (s.len == 38)
        s = str_from(s.ptr + 1, 36);
    bool dashed = s.len == 36;
    for (size_t i = 0; i < s.len; i++) {
        bool dash = dashed && (i == 8 || i == 13 || i == 18 || i == 23);
        if (dash ? s.ptr[i] != '-' : !is_one_of(s.ptr[i], "0123456789abcdefABCDEF"))
            return false;
    }
    return dashed || s.len == 32;
}

static const struct azure_field {
    int kind, field;
    const char *name;
    bool is_uuid;
} azure_fields[] = {
    {AZUREAD_workload_identity, AZURE_WORKLOAD_client_id, "Workload Identity client_id", true},
    {AZUREAD_workload_identity, AZURE_WORKLOAD_tenant_id, "Workload Identity tenant_id", true},
    {AZUREAD_oauth, AZURE_OAUTH_client_id, "OAuth client_id", true},
    {AZUREAD_oauth, AZURE_OAUTH_client_secret, "OAuth client_secret", false},
    {AZUREAD_oauth, AZURE_OAUTH_tenant_id, "OAuth tenant_id", false},
    {AZUREAD_certificate, AZURE_CERTIFICATE_client_id, "Certificate client_id", true},
    {AZUREAD_certificate, AZURE_CERTIFICATE_tenant_id, "Certificate tenant_id", false},
    {AZUREAD_certificate, AZURE_CERTIFICATE_certificate_path, "Certificate certificate_path",
     false},
};

static struct str azure_text(const struct section *section, const struct azure_field *field)
{
    const struct section *kind = section->values[field->kind].as.section;
    return kind ? kind->values[field->field].as.text : STR_EMPTY;
}

/* What the one kind needs is there, and then what has a form has it. */
static bool azure_fields_check(struct decoder *decoder, const struct section *section)
{
    const struct section *identity = section->values[AZUREAD_managed_identity].as.section;
    struct str id = identity ? identity->values[AZURE_IDENTITY_client_id].as.text : STR_EMPTY;

    if (id.len > 0 && !is_uuid(id))
        return fail(decoder, "the provided Azure Managed Identity client_id is invalid");
    for (size_t i = 0; i < COUNT_OF(azure_fields); i++)
        if (section->values[azure_fields[i].kind].as.section &&
            azure_text(section, &azure_fields[i]).len == 0)
            return err_set(decoder->err, ERR_BAD_DATA,
                           "must provide an Azure %s in the Azure AD config", azure_fields[i].name);
    for (size_t i = 0; i < COUNT_OF(azure_fields); i++)
        if (section->values[azure_fields[i].kind].as.section && azure_fields[i].is_uuid &&
            !is_uuid(azure_text(section, &azure_fields[i])))
            return err_set(decoder->err, ERR_BAD_DATA, "the provided Azure %s is invalid",
                           azure_fields[i].name);
    struct str scope = section->values[AZUREAD_scope].as.text;
    for (size_t i = 0; i < scope.len; i++)
        if (!is_one_of(scope.ptr[i],
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
                       " \t\n\f\r:/.-"))
            return fail(decoder, "the provided scope contains invalid characters");
    return true;
}

bool section_check_azuread(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str *cloud = &v[AZUREAD_cloud].as.text;
    size_t kinds = 0;

    if (cloud->len == 0)
        *cloud = STR("AzurePublic");
    if (!str_eq(*cloud, STR("AzurePublic")) && !str_eq(*cloud, STR("AzureChina")) &&
        !str_eq(*cloud, STR("AzureGovernment")))
        return fail(decoder, "must provide a cloud in the Azure AD config");
    for (int i = AZUREAD_managed_identity; i <= AZUREAD_certificate; i++)
        kinds += v[i].as.section != NULL;
    if (kinds == 0)
        return fail(decoder, "must provide an Azure Managed Identity, Azure Workload Identity, "
                             "Azure OAuth, Azure Certificate or Azure SDK in the Azure AD config");
    if (kinds > 1)
        return fail(decoder,
                    "cannot provide multiple authentication methods in the Azure AD config");
    return azure_fields_check(decoder, section);
}

/* All problems of a list, one per line, as Go joins errors. */
static bool attributes_check(struct decoder *decoder, const struct str_list *list,
                             const char *adjective, const char *name)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    for (size_t i = 0; i < list->count && i < ATTRIBUTES_CHECKED_MAX && !text.overflow; i++) {
        struct str attribute = list->items[i] = str_trim(list->items[i]);
        bool seen = false;
        for (size_t k = 0; k < i && attribute.len > 0 && !seen; k++)
            seen = str_eq(list->items[k], attribute);
        if (attribute.len > 0 && !seen)
            continue;
        if (text.len > 0)
            buf_add_char(&text, '\n');
        buf_addf(&text, "%s %s OTel resource attribute", seen ? "duplicated" : "empty", adjective);
        if (seen) {
            buf_add_char(&text, ' ');
            buf_add_go_quoted(&text, attribute);
        }
    }
    bool good = text.len == 0;
    if (!good)
        err_set(decoder->err, ERR_BAD_DATA, "invalid '%s': " STR_FMT, name,
                STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return good;
}

bool section_check_otlp(struct decoder *decoder, struct section *section)
{
    const struct value *v = section->values;
    const struct str_list *promote = &v[OTLP_promote_resource_attributes].as.texts;
    const struct str_list *ignore = &v[OTLP_ignore_resource_attributes].as.texts;

    if (v[OTLP_promote_all_resource_attributes].as.boolean) {
        if (promote->count > 0)
            return fail(decoder, "'promote_all_resource_attributes' and "
                                 "'promote_resource_attributes' cannot be configured "
                                 "simultaneously");
        return attributes_check(decoder, ignore, "ignored", "ignore_resource_attributes");
    }
    if (ignore->count > 0)
        return fail(decoder, "'ignore_resource_attributes' cannot be configured unless "
                             "'promote_all_resource_attributes' is true");
    return attributes_check(decoder, promote, "promoted", "promote_resource_attributes");
}
