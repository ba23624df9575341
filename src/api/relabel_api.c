/* relabel_api: /targets/relabel_steps: what each rule of a scrape pool makes of a label set. */
#include "core.h"

#include "base/json.h"
#include "param.h"

static bool read_labels(struct call *call, struct labels_builder *labels, struct err *err)
{
    struct json *json = NULL;
    bool good = json_parse(&json, param_get(call, "labels"), err);
    if (good && json_type(json) != JSON_OBJECT)
        good = err_set(err, ERR_BAD_DATA, "json: cannot unmarshal into an object of labels");
    for (size_t i = 0; good && i < json_count(json); i++) {
        struct str name;
        const struct json *value = json_entry(json, i, &name);
        if (json_type(value) == JSON_STRING)
            labels_builder_set(labels, arena_str(call->request->arena, name),
                               arena_str(call->request->arena, json_str(value)));
        else
            good = err_set(err, ERR_BAD_DATA, "json: the value of " STR_FMT " is not a string",
                           STR_ARG(name));
    }
    json_free(json);
    if (!good)
        err->code = ERR_BAD_DATA;
    return good || err_wrap(err, "error parsing labels");
}

static const struct config_scrape *pool_config(const struct api *api, struct str pool)
{
    for (size_t i = 0; api->config && i < api->config->scrape_count; i++) {
        const struct config_scrape *config = &api->config->scrapes[i];
        if (str_eq(config->job_name, pool))
            return config;
    }
    return NULL;
}

static void text_unless_empty(struct buf *out, bool *first, const char *key, struct str text)
{
    if (text.len > 0)
        json_text(out, first, key, text);
}

static void add_rule(struct buf *out, const struct relabel_rule *rule)
{
    bool first = true, first_label = true;
    BUF_ADD(out, "{");
    if (rule->source_label_count > 0) {
        json_key(out, &first, "source_labels");
        BUF_ADD(out, "[");
        for (size_t i = 0; i < rule->source_label_count; i++) {
            json_comma(out, &first_label);
            buf_add_json_string(out, rule->source_labels[i]);
        }
        BUF_ADD(out, "]");
    }
    text_unless_empty(out, &first, "separator", rule->separator);
    text_unless_empty(out, &first, "regex", rule->regex_text);
    if (rule->modulus > 0) {
        json_key(out, &first, "modulus");
        buf_add_u64(out, rule->modulus);
    }
    text_unless_empty(out, &first, "target_label", rule->target_label);
    text_unless_empty(out, &first, "replacement", rule->replacement);
    json_text(out, &first, "action", str_of(relabel_action_text(rule->action)));
    BUF_ADD(out, "}");
}

static void add_steps(struct call *call, const struct relabel_rules *rules,
                      struct labels_builder *labels, struct buf *out)
{
    bool keep = true, first = true;
    BUF_ADD(out, "{\"steps\":[");
    for (size_t i = 0; i < rules->count; i++) {
        const struct relabel_rules one = {&rules->items[i], 1};
        keep = keep && relabel_apply(&one, labels, call->request->arena);
        if (!keep)
            labels_builder_clear(labels);
        struct labels *now = labels_build(labels);
        json_comma(out, &first);
        BUF_ADD(out, "{\"rule\":");
        add_rule(out, one.items);
        BUF_ADD(out, ",\"output\":");
        labels_print_json(out, now);
        buf_addf(out, ",\"keep\":%s}", keep ? "true" : "false");
        labels_unref(now);
    }
    BUF_ADD(out, "]}");
}

static bool check_params(const struct call *call, const struct config_scrape **config,
                         struct err *err)
{
    struct str pool = param_get(call, "scrapePool");
    if (pool.len == 0)
        return err_set(err, ERR_BAD_DATA, "no scrapePool parameter provided");
    if (param_get(call, "labels").len == 0)
        return err_set(err, ERR_BAD_DATA, "no labels parameter provided");
    *config = pool_config(call->api, pool);
    return true;
}

void serve_relabel_steps(struct call *call)
{
    struct str pool = param_get(call, "scrapePool");
    const struct config_scrape *config = NULL;
    struct labels_builder labels;
    struct err err = {0};
    struct buf out;

    labels_builder_init(&labels);
    bool good = check_params(call, &config, &err) && read_labels(call, &labels, &err);
    if (good && !config)
        good = err_set(&err, ERR_BAD_DATA,
                       "error retrieving scrape config: scrape pool \"" STR_FMT "\" not found",
                       STR_ARG(pool));
    if (good) {
        buf_init(&out, ANSWER_BYTES_MAX);
        envelope_begin(&out);
        add_steps(call, &config->relabel, &labels, &out);
        answer_data(call, &out);
    } else {
        answer_error(call, &err);
    }
    labels_builder_deinit(&labels);
}
