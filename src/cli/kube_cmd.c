/* kube_cmd: asks a server why a metric of Kubernetes' metrics APIs has its value, and prints the answer
 * for a person: what is served, by which rule and query, what was found, what is missing and why. */
#include <stdio.h>

#include "base/json.h"
#include "commands.h"

#define PRINT_BYTES_MAX ((size_t)64 << 20)
#define ROWS_MAX        50

static struct str text_of(const struct json *node, const char *key)
{
    return json_str(json_get(node, key));
}

static void add_line(struct buf *out, const char *name, struct str value)
{
    if (value.len > 0)
        buf_addf(out, "%-10s " STR_FMT "\n", name, STR_ARG(value));
}

static void add_labels(struct buf *out, const struct json *labels)
{
    BUF_ADD(out, "{");
    for (size_t i = 0; i < json_count(labels); i++) {
        struct str key;
        struct str value = json_str(json_entry(labels, i, &key));
        buf_addf(out, "%s" STR_FMT "=\"" STR_FMT "\"", i ? "," : "", STR_ARG(key), STR_ARG(value));
    }
    BUF_ADD(out, "}");
}

static void add_item(struct buf *out, const struct json *item)
{
    struct str value = text_of(item, "value"), why = text_of(item, "why");
    struct str time = text_of(item, "timestamp"), ended = text_of(item, "ended");

    buf_addf(out, "  " STR_FMT, STR_ARG(text_of(item, "name")));
    if (json_get(item, "labels"))
        add_labels(out, json_get(item, "labels"));
    if (value.len > 0)
        buf_addf(out, " = " STR_FMT, STR_ARG(value));
    if (why.len > 0)
        buf_addf(out, ": " STR_FMT, STR_ARG(why));
    if (time.len > 0)
        buf_addf(out, "  (" STR_FMT ")", STR_ARG(time));
    if (ended.len > 0)
        buf_addf(out, "  (last " STR_FMT ")", STR_ARG(ended));
    BUF_ADD(out, "\n");
}

static void add_items(struct buf *out, const struct json *data, const char *key)
{
    const struct json *items = json_get(data, key);
    size_t count = json_count(items);

    if (count == 0)
        return;
    buf_addf(out, "\n%s (%zu)\n", key, count);
    for (size_t i = 0; i < count && i < ROWS_MAX; i++)
        add_item(out, json_at(items, i));
    if (count > ROWS_MAX)
        buf_addf(out, "  and %zu more\n", count - ROWS_MAX);
}

static void add_rules(struct buf *out, const struct json *data)
{
    const struct json *rules = json_get(data, "rules");
    struct str file = text_of(data, "rulesFile");

    buf_addf(out, "\nrules, the last one first (" STR_FMT ")\n",
             STR_ARG(file.len > 0 ? file : STR("built in")));
    for (size_t i = 0; i < json_count(rules); i++) {
        const struct json *rule = json_at(rules, i);
        struct str why = text_of(rule, "why");
        int line = (int)json_number(json_get(rule, "line"));
        if (line > 0)
            buf_addf(out, "  line %d: ", line);
        else
            BUF_ADD(out, "  ");
        buf_addf(out, STR_FMT "\n      " STR_FMT "\n", STR_ARG(text_of(rule, "seriesQuery")),
                 STR_ARG(why.len > 0 ? why : STR("serves it")));
    }
}

static void add_others(struct buf *out, const struct json *data)
{
    const struct json *others = json_get(data, "otherObjects");

    for (size_t i = 0; i < json_count(others); i++)
        buf_addf(out, "%s" STR_FMT, i ? ", " : "\nobjects that do have series: ",
                 STR_ARG(json_str(json_at(others, i))));
    if (json_count(others) > 0)
        BUF_ADD(out, "\n");
}

static bool print_answer(const struct buf *body, int status, struct err *err)
{
    struct json *root;
    struct buf out;

    if (!json_parse(&root, buf_str(body), err))
        return err_set(err, ERR_BAD_DATA, "the answer is no JSON: HTTP status %d", status);
    const struct json *data = json_get(root, "data");
    if (!data) {
        struct str text = text_of(root, "error");
        err_set(err, ERR_EXECUTION, STR_FMT, STR_ARG(text));
        json_free(root);
        return false;
    }
    buf_init(&out, PRINT_BYTES_MAX);
    add_line(&out, "verdict", text_of(data, "verdict"));
    add_line(&out, "asked as", text_of(data, "path"));
    add_line(&out, "series", text_of(data, "series"));
    add_line(&out, "query", text_of(data, "query"));
    add_line(&out, "objects", text_of(data, "objectsFrom"));
    add_items(&out, data, "found");
    add_items(&out, data, "missing");
    add_others(&out, data);
    add_rules(&out, data);
    fwrite(out.ptr, 1, out.len, stdout);
    bool served = str_eq(text_of(data, "verdict"), STR("ok"));
    buf_deinit(&out);
    json_free(root);
    return served || err_set(err, ERR_NOT_FOUND, "the metric is not served");
}

static void form_add(struct buf *form, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_addf(form, "%s%s=", form->len ? "&" : "", name);
    buf_add_url_escaped(form, value);
}

static int usage(const char *what)
{
    fprintf(stderr, "error: %s\n", what);
    return 2;
}

int command_kube_explain(int argc, char **argv)
{
    static const struct {
        const char *flag, *parameter;
    } parameters[] = {{"namespace", "namespace"},
                      {"resource", "resource"},
                      {"name", "name"},
                      {"selector", "labelSelector"},
                      {"metric-selector", "metricLabelSelector"}};
    struct command_flag flags[COUNT_OF(parameters) + 1] = {{.name = "external"}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf form, body;
    int status = 0;

    for (size_t i = 0; i < COUNT_OF(parameters); i++)
        flags[i + 1] = (struct command_flag){.name = parameters[i].flag, .takes_value = true};
    if (!command_parse(&line, argc, argv, &err))
        return usage(err.text);
    if (line.arg_count != 2)
        return usage("required arguments: server URL and name of the metric");
    buf_init(&form, 1 << 20);
    buf_init(&body, PRINT_BYTES_MAX);
    form_add(&form, "metric", str_of(line.args[1]));
    for (size_t i = 0; i < COUNT_OF(parameters); i++)
        form_add(&form, parameters[i].parameter, command_flag_value(&line, parameters[i].flag));
    if (command_flag_value(&line, "external").ptr)
        form_add(&form, "api", STR("external"));
    bool good = command_post(str_of(line.args[0]), "/api/v1/kube/explain", buf_str(&form), &body,
                             &status, &err) &&
                print_answer(&body, status, &err);
    if (!good)
        fprintf(stderr, "error: %s\n", err.text);
    buf_deinit(&form);
    buf_deinit(&body);
    return good ? 0 : 1;
}
