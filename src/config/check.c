/* check: what a configuration must fulfil beyond the types of its fields, block by block, and what
 * blocks take over from global. Texts are Prometheus'; they carry no line there and none here. */
#include "base/hash.h"
#include "base/map.h"
#include "sections.h"

#define INTERVAL_MS   60000
#define TIMEOUT_MS    10000
#define EVALUATION_MS 60000

static const char *const protocols[] = {
    "OpenMetricsText0.0.1", "OpenMetricsText1.0.0", "PrometheusProto",
    "PrometheusText0.0.4",  "PrometheusText1.0.0",
};

/* Without PrometheusProto in front it is the default list, with it that for native histograms. */
static struct str protocols_default[] = {
    {"PrometheusProto", 15},     {"OpenMetricsText1.0.0", 20}, {"OpenMetricsText0.0.1", 20},
    {"PrometheusText1.0.0", 19}, {"PrometheusText0.0.4", 19},
};

static bool fail(struct decoder *decoder, const char *text)
{
    return err_set(decoder->err, ERR_BAD_DATA, "%s", text);
}

static bool protocol_check(struct str protocol, struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(protocols); i++)
        if (str_eq(protocol, str_of(protocols[i])))
            return true;
    return err_set(
        err, ERR_BAD_DATA, "unknown scrape protocol " STR_FMT ", supported: [%s %s %s %s %s]",
        STR_ARG(protocol), protocols[0], protocols[1], protocols[2], protocols[3], protocols[4]);
}

static bool duplicate_protocol(const struct str_list *list, struct err *err)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            buf_add_char(&text, ' ');
        buf_add_str(&text, list->items[i]);
    }
    err_set(err, ERR_BAD_DATA, "duplicated protocol in scrape_protocols, got [" STR_FMT "]",
            STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return false;
}

static bool protocols_check(const struct str_list *list, struct err *err)
{
    if (list->count == 0)
        return err_set(err, ERR_BAD_DATA, "scrape_protocols cannot be empty");
    for (size_t i = 0; i < list->count; i++) {
        for (size_t k = 0; k < i; k++)
            if (str_eq_nocase(list->items[i], list->items[k]))
                return duplicate_protocol(list, err);
        if (!protocol_check(list->items[i], err))
            return err_wrap(err, "scrape_protocols");
    }
    return true;
}

/* Appends to an error's text. */
static bool err_append_job(struct err *err, const char *text, struct str job)
{
    struct err before = *err;
    struct buf tail;
    buf_init(&tail, ERR_TEXT_MAX);
    BUF_ADD(&tail, " ");
    buf_add_str(&tail, str_of(text));
    if (job.ptr)
        buf_add_go_quoted(&tail, job);
    err_set(err, before.code, "%s" STR_FMT, before.text, STR_ARG(buf_str(&tail)));
    buf_deinit(&tail);
    return false;
}

static bool external_labels_check(const struct value *labels, bool legacy, struct err *err)
{
    for (size_t i = 0; i < labels->as.pairs.count; i++) {
        struct str name = labels->as.pairs.items[i].name;
        if (legacy ? !label_name_is_legacy(name) : !label_name_is_valid(name))
            return quoted_error(err, "", name, " is not a valid label name");
        if (!str_is_utf8(labels->as.pairs.items[i].text))
            return quoted_error(err, "", labels->as.pairs.items[i].text,
                                " is not a valid label value");
    }
    return true;
}

static bool extra_scrape_metrics_default; /* Set once, before anything is loaded. */

void config_set_extra_scrape_metrics(bool value)
{
    extra_scrape_metrics_default = value;
}

static bool exemplar_storage; /* The same. */

void config_set_exemplar_storage(bool on)
{
    exemplar_storage = on;
}

bool section_check_global(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str *scheme = &v[GLOBAL_metric_name_validation_scheme].as.text;
    int64_t *interval = &v[GLOBAL_scrape_interval].as.integer;
    int64_t *timeout = &v[GLOBAL_scrape_timeout].as.integer;
    int64_t *evaluation = &v[GLOBAL_evaluation_interval].as.integer;

    if (scheme->len == 0)
        *scheme = STR("utf8");
    if (!external_labels_check(&v[GLOBAL_external_labels], str_eq(*scheme, STR("legacy")),
                               decoder->err))
        return false;
    if (*interval == 0)
        *interval = INTERVAL_MS;
    if (*timeout > *interval)
        return fail(decoder, "global scrape timeout greater than scrape interval");
    if (*timeout == 0)
        *timeout = *interval < TIMEOUT_MS ? *interval : TIMEOUT_MS;
    if (*evaluation == 0)
        *evaluation = EVALUATION_MS;
    v[GLOBAL_scrape_native_histograms].set = true; /* Printed even when they are defaults. */
    if (!v[GLOBAL_extra_scrape_metrics].set)
        v[GLOBAL_extra_scrape_metrics].as.boolean = extra_scrape_metrics_default;
    v[GLOBAL_extra_scrape_metrics].set = true;
    if (v[GLOBAL_scrape_protocols].set &&
        !protocols_check(&v[GLOBAL_scrape_protocols].as.texts, decoder->err))
        return err_append_job(decoder->err, "for global config", (struct str){0});
    return true;
}

static bool none_null(struct decoder *decoder, const struct value *list, const char *text)
{
    for (size_t i = 0; i < list->as.sections.count; i++)
        if (!list->as.sections.items[i])
            return fail(decoder, text);
    return true;
}

/* Users who put URLs where addresses belong. Relabelling may still make sense of them. */
static bool static_targets_check(const struct value *static_sd, struct err *err)
{
    for (size_t i = 0; i < static_sd->as.sections.count; i++) {
        const struct section *group = static_sd->as.sections.items[i];
        const struct str_list *targets = &group->values[STATIC_targets].as.texts;
        for (size_t k = 0; k < targets->count; k++)
            if (str_find_char(targets->items[k], '/') < targets->items[k].len)
                return quoted_error(err, "", targets->items[k], " is not a valid hostname");
    }
    return true;
}

bool section_check_scrape(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    const struct value *relabel = &v[SCRAPE_relabel_configs];
    const struct value *metric_relabel = &v[SCRAPE_metric_relabel_configs];

    if (!sd_check(decoder, section))
        return false;
    if (v[SCRAPE_job_name].as.text.len == 0)
        return fail(decoder, "job_name is empty");
    if (!http_check(decoder, &v[SCRAPE_basic_auth]))
        return false;
    if (relabel->as.sections.count == 0 &&
        !static_targets_check(&v[SCRAPE_static_configs], decoder->err))
        return false;
    return none_null(decoder, relabel, "empty or null target relabeling rule in scrape config") &&
           none_null(decoder, metric_relabel,
                     "empty or null metric relabeling rule in scrape config");
}

/* ^[^*]*(\*[^/]*)?$ : one star, in the last part of the path. More stars may follow in that part.
 */
static bool glob_is_last(struct str path)
{
    struct str rest = str_after(path, str_find_char(path, '*'));
    return str_find_char(rest, '/') == rest.len;
}

bool section_check_file_sd(struct decoder *decoder, struct section *section)
{
    static const char *const extensions[] = {".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"};
    const struct str_list *files = &section->values[FILE_SD_files].as.texts;

    if (files->count == 0)
        return fail(decoder, "file service discovery config must contain at least one path name");
    for (size_t i = 0; i < files->count; i++) {
        bool known = false;
        for (size_t k = 0; k < COUNT_OF(extensions); k++)
            known |= str_ends(files->items[i], str_of(extensions[k]));
        if (!known || !glob_is_last(files->items[i]))
            return quoted_error(decoder->err, "path name ", files->items[i],
                                " is not valid for file discovery");
    }
    return true;
}

/* Makes the rule of a relabel section and checks it; the decoder keeps it for its owner to free. */
static bool rule_check(struct decoder *decoder, struct section *section, bool legacy)
{
    const struct value *v = section->values;
    struct relabel_rule *rule = ARENA_NEW(decoder->arena, struct relabel_rule);

    ENSURE(!section->rule);
    relabel_rule_init(rule);
    rule->source_labels = v[RELABEL_source_labels].as.texts.items;
    rule->source_label_count = v[RELABEL_source_labels].as.texts.count;
    rule->separator = v[RELABEL_separator].as.text;
    rule->regex_text = v[RELABEL_regex].as.text;
    rule->modulus = v[RELABEL_modulus].as.number;
    rule->target_label = v[RELABEL_target_label].as.text;
    rule->replacement = v[RELABEL_replacement].as.text;
    rule->has_source_labels = v[RELABEL_source_labels].written;
    rule->has_separator = v[RELABEL_separator].written;
    rule->has_regex = v[RELABEL_regex].written;
    rule->has_modulus = v[RELABEL_modulus].written;
    rule->has_target_label = v[RELABEL_target_label].written;
    rule->has_replacement = v[RELABEL_replacement].written;
    rule->has_action = v[RELABEL_action].written;
    if (!relabel_action_parse(v[RELABEL_action].as.text, &rule->action))
        return fail(decoder, "relabel action cannot be empty");
    section->rule = rule;
    VEC_PUSH(&decoder->rules, rule);
    return relabel_rule_check(rule, legacy, decoder->err);
}

static bool rules_check(struct decoder *decoder, const struct value *list, bool legacy)
{
    for (size_t i = 0; i < list->as.sections.count; i++)
        if (!rule_check(decoder, list->as.sections.items[i], legacy))
            return false;
    return true;
}

static const struct {
    int to, from;
} inherited_numbers[] =
    {
        {SCRAPE_body_size_limit, GLOBAL_body_size_limit},
        {SCRAPE_sample_limit, GLOBAL_sample_limit},
        {SCRAPE_target_limit, GLOBAL_target_limit},
        {SCRAPE_label_limit, GLOBAL_label_limit},
        {SCRAPE_label_name_length_limit, GLOBAL_label_name_length_limit},
        {SCRAPE_label_value_length_limit, GLOBAL_label_value_length_limit},
        {SCRAPE_keep_dropped_targets, GLOBAL_keep_dropped_targets},
},
  inherited_switches[] = {
      {SCRAPE_scrape_native_histograms, GLOBAL_scrape_native_histograms},
      {SCRAPE_always_scrape_classic_histograms, GLOBAL_always_scrape_classic_histograms},
      {SCRAPE_convert_classic_histograms_to_nhcb, GLOBAL_convert_classic_histograms_to_nhcb},
      {SCRAPE_extra_scrape_metrics, GLOBAL_extra_scrape_metrics},
};

static bool scrape_times_inherit(struct decoder *decoder, struct value *v, const struct value *g)
{
    int64_t *interval = &v[SCRAPE_scrape_interval].as.integer;
    int64_t *timeout = &v[SCRAPE_scrape_timeout].as.integer;
    int64_t global_timeout = g[GLOBAL_scrape_timeout].as.integer;

    if (*interval == 0)
        *interval = g[GLOBAL_scrape_interval].as.integer;
    if (*timeout > *interval)
        return quoted_error(
            decoder->err,
            "scrape timeout greater than scrape interval for scrape config with job name ",
            v[SCRAPE_job_name].as.text, "");
    if (*timeout == 0)
        *timeout = global_timeout < *interval ? global_timeout : *interval;
    return true;
}

static bool scrape_protocols_inherit(struct decoder *decoder, struct value *v,
                                     const struct value *g)
{
    struct value *own = &v[SCRAPE_scrape_protocols];
    struct str job = v[SCRAPE_job_name].as.text;
    if (v[SCRAPE_fallback_scrape_protocol].as.text.len == 0)
        v[SCRAPE_fallback_scrape_protocol].as.text = g[GLOBAL_fallback_scrape_protocol].as.text;
    struct str fallback = v[SCRAPE_fallback_scrape_protocol].as.text;
    size_t skip = v[SCRAPE_scrape_native_histograms].as.boolean ? 0 : 1;

    if (!own->set) {
        own->set = true;
        own->as.texts = g[GLOBAL_scrape_protocols].as.texts;
        if (!g[GLOBAL_scrape_protocols].set)
            own->as.texts =
                (struct str_list){protocols_default + skip, COUNT_OF(protocols_default) - skip};
    }
    if (!protocols_check(&own->as.texts, decoder->err))
        return err_append_job(decoder->err, "for scrape config with job name ", job);
    if (fallback.len == 0 || protocol_check(fallback, decoder->err))
        return true;
    struct err inner = *decoder->err;
    quoted_error(decoder->err, "invalid fallback_scrape_protocol for scrape config with job name ",
                 job, ": ");
    struct err outer = *decoder->err;
    return err_set(decoder->err, ERR_BAD_DATA, "%s%s", outer.text, inner.text);
}

static bool escaping_is_known(struct str escaping)
{
    return str_eq(escaping, STR("allow-utf-8")) || str_eq(escaping, STR("underscores")) ||
           str_eq(escaping, STR("dots")) || str_eq(escaping, STR("values"));
}

static bool escaping_unknown(struct err *err, bool global, struct str escaping)
{
    return quoted_error(err,
                        global ? "unknown global name escaping method specified, must be one of "
                                 "'allow-utf-8', 'underscores', 'dots', or 'values', got "
                               : "unknown scrape config name escaping method specified, must be "
                                 "one of 'allow-utf-8', 'underscores', 'dots', or 'values', got ",
                        escaping, "");
}

static bool scrape_names_inherit(struct decoder *decoder, struct value *v, const struct value *g)
{
    struct str *scheme = &v[SCRAPE_metric_name_validation_scheme].as.text;
    struct str *escaping = &v[SCRAPE_metric_name_escaping_scheme].as.text;
    struct str global_scheme = g[GLOBAL_metric_name_validation_scheme].as.text;
    struct str global_escaping = g[GLOBAL_metric_name_escaping_scheme].as.text;
    bool own_scheme = scheme->len > 0;

    if (!own_scheme)
        *scheme = global_scheme;
    if (global_escaping.len == 0)
        global_escaping =
            str_eq(global_scheme, STR("legacy")) ? STR("underscores") : STR("allow-utf-8");
    if (!escaping_is_known(global_escaping))
        return escaping_unknown(decoder->err, true, global_escaping);
    if (escaping->len == 0) {
        *escaping = str_eq(*scheme, STR("legacy")) ? STR("underscores") : STR("allow-utf-8");
        if (!own_scheme)
            *escaping = global_escaping;
    }
    if (!escaping_is_known(*escaping))
        return escaping_unknown(decoder->err, false, *escaping);
    if (str_eq(*escaping, STR("allow-utf-8")) && !str_eq(*scheme, STR("utf8")))
        return fail(decoder,
                    "utf8 metric names requested but validation scheme is not set to UTF8");
    return true;
}

bool scrape_check(struct decoder *decoder, struct section *scrape, const struct section *global)
{
    struct value *v = scrape->values;
    const struct value *g = global->values;

    if (!scrape_times_inherit(decoder, v, g))
        return false;
    for (size_t i = 0; i < COUNT_OF(inherited_numbers); i++)
        if (v[inherited_numbers[i].to].as.number == 0)
            v[inherited_numbers[i].to].as.number = g[inherited_numbers[i].from].as.number;
    if (v[SCRAPE_scrape_failure_log_file].as.text.len == 0)
        v[SCRAPE_scrape_failure_log_file].as.text = g[GLOBAL_scrape_failure_log_file].as.text;
    for (size_t i = 0; i < COUNT_OF(inherited_switches); i++) {
        struct value *to = &v[inherited_switches[i].to];
        if (!to->set)
            to->as.boolean = g[inherited_switches[i].from].as.boolean;
        to->set = true;
    }
    if (!scrape_protocols_inherit(decoder, v, g) || !scrape_names_inherit(decoder, v, g))
        return false;
    bool legacy = str_eq(v[SCRAPE_metric_name_validation_scheme].as.text, STR("legacy"));
    return rules_check(decoder, &v[SCRAPE_relabel_configs], legacy) &&
           rules_check(decoder, &v[SCRAPE_metric_relabel_configs], legacy);
}

struct names {
    const struct value *list;
    size_t index; /* Of the name in a section. */
};

static struct str name_at(const struct names *names, size_t i)
{
    return names->list->as.sections.items[i]->values[names->index].as.text;
}

static bool name_is(const void *ctx, const void *key, uint32_t value)
{
    return str_eq(name_at(ctx, value), *(const struct str *)key);
}

/* Adds the name of section i; false when another one has it. Empty names never collide. */
static bool name_add(struct map *seen, const struct names *names, size_t i)
{
    struct str name = name_at(names, i);
    uint64_t hash = hash64(name);
    if (name.len == 0)
        return true;
    if (map_find(seen, hash, &name, name_is, names) != MAP_NONE)
        return false;
    map_insert(seen, hash, (uint32_t)i);
    return true;
}

static bool scrapes_check(struct decoder *decoder, const struct value *scrapes,
                          const struct section *global)
{
    struct names names = {scrapes, SCRAPE_job_name};
    struct map seen;
    bool good = true;

    map_init(&seen);
    for (size_t i = 0; good && i < scrapes->as.sections.count; i++) {
        struct section *scrape = scrapes->as.sections.items[i];
        if (!scrape)
            good = fail(decoder, "empty or null scrape config section");
        else if (!scrape_check(decoder, scrape, global))
            good = false;
        else if (!name_add(&seen, &names, i))
            good = quoted_error(decoder->err, "found multiple scrape configs with job name ",
                                name_at(&names, i), "");
    }
    map_deinit(&seen);
    return good;
}

static bool globs_check(struct decoder *decoder, const struct str_list *globs, const char *text)
{
    for (size_t i = 0; i < globs->count; i++)
        if (!glob_is_last(globs->items[i]))
            return quoted_error(decoder->err, text, globs->items[i], "");
    return true;
}

static bool alerting_whole_check(struct decoder *decoder, const struct section *alerting,
                                 bool legacy)
{
    const struct value *managers = &alerting->values[ALERTING_alertmanagers];
    if (!rules_check(decoder, &alerting->values[ALERTING_alert_relabel_configs], legacy))
        return false;
    for (size_t i = 0; i < managers->as.sections.count; i++) {
        const struct section *manager = managers->as.sections.items[i];
        if (!manager)
            return fail(decoder, "empty or null section in alertmanagers");
        if (!rules_check(decoder, &manager->values[ALERTMANAGER_alert_relabel_configs], legacy) ||
            !rules_check(decoder, &manager->values[ALERTMANAGER_relabel_configs], legacy))
            return false;
    }
    return true;
}

/* Remote write and remote read: no null blocks, no name twice. */
static bool remotes_check(struct decoder *decoder, const struct value *list, size_t name_index,
                          const char *null_text, const char *name_text)
{
    struct names names = {list, name_index};
    struct map seen;
    bool good = true;

    map_init(&seen);
    for (size_t i = 0; good && i < list->as.sections.count; i++) {
        if (!list->as.sections.items[i])
            good = fail(decoder, null_text);
        else if (!name_add(&seen, &names, i))
            good = quoted_error(decoder->err, name_text, name_at(&names, i), "");
    }
    map_deinit(&seen);
    return good;
}

static bool remote_write_rules_check(struct decoder *decoder, const struct value *list, bool legacy)
{
    for (size_t i = 0; i < list->as.sections.count; i++)
        if (!rules_check(decoder,
                         &list->as.sections.items[i]->values[REMOTE_WRITE_write_relabel_configs],
                         legacy))
            return false;
    return true;
}

static bool translation_check(struct decoder *decoder, const struct section *otlp, bool legacy)
{
    struct str strategy = otlp->values[OTLP_translation_strategy].as.text;
    if (strategy.len == 0 || str_eq(strategy, STR("UnderscoreEscapingWithSuffixes")) ||
        str_eq(strategy, STR("UnderscoreEscapingWithoutSuffixes")))
        return true;
    if (!str_eq(strategy, STR("NoTranslation")) &&
        !str_eq(strategy, STR("NoUTF8EscapingWithSuffixes")))
        return quoted_error(decoder->err, "unsupported OTLP translation strategy ", strategy, "");
    if (!legacy)
        return true;
    return quoted_error(decoder->err, "OTLP translation strategy ", strategy,
                        " is not allowed when UTF8 is disabled");
}

bool whole_check(struct decoder *decoder, struct section *config, bool has_global)
{
    struct value *v = config->values;
    struct section *global = v[CONFIG_global].as.section;
    struct section *storage = v[CONFIG_storage].as.section;

    if (!has_global) {
        global->values[GLOBAL_metric_name_escaping_scheme].as.text = STR("allow-utf-8");
        if (!section_check_global(decoder, global))
            return false;
    }
    if (!v[CONFIG_runtime].set)
        v[CONFIG_runtime].as.section = section_new(decoder->arena, SECTION_RUNTIME);
    bool legacy =
        str_eq(global->values[GLOBAL_metric_name_validation_scheme].as.text, STR("legacy"));
    if (!globs_check(decoder, &v[CONFIG_rule_files].as.texts, "invalid rule file path ") ||
        !globs_check(decoder, &v[CONFIG_scrape_config_files].as.texts,
                     "invalid scrape config file path ") ||
        !scrapes_check(decoder, &v[CONFIG_scrape_configs], global) ||
        !alerting_whole_check(decoder, v[CONFIG_alerting].as.section, legacy) ||
        !remotes_check(decoder, &v[CONFIG_remote_write], REMOTE_WRITE_name,
                       "empty or null remote write config section",
                       "found multiple remote write configs with job name ") ||
        !remote_write_rules_check(decoder, &v[CONFIG_remote_write], legacy) ||
        !remotes_check(decoder, &v[CONFIG_remote_read], REMOTE_READ_name,
                       "empty or null remote read config section",
                       "found multiple remote read configs with job name ") ||
        !translation_check(decoder, v[CONFIG_otlp].as.section, legacy))
        return false;
    if (exemplar_storage && !storage->values[STORAGE_exemplars].as.section) {
        struct section *exemplars = section_new(decoder->arena, SECTION_EXEMPLARS);
        exemplars->values[EXEMPLARS_max_exemplars].as.integer = EXEMPLARS_MAX_DEFAULT;
        storage->values[STORAGE_exemplars].as.section = exemplars;
    }
    if (!storage->values[STORAGE_tsdb].as.section) {
        struct section *tsdb = section_new(decoder->arena, SECTION_TSDB);
        storage->values[STORAGE_tsdb].as.section = tsdb;
        return section_check_tsdb(decoder, tsdb);
    }
    return true;
}
