/* query_cmd: asks a server's HTTP API and prints the answer as promtool does:
 *
 *     up{instance="x", job="y"} => 1 @[1700000000.5]        a vector's element
 *     up{...} =>\n1 @[..]\n0 @[..]                           a matrix' series
 *     scalar: 1 @[...]                                      a scalar; a string is printed as it is
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/number.h"
#include "commands.h"
#include "model/duration.h"
#include "model/labels.h"
#include "net/http_client.h"

#define ANSWER_BYTES_MAX ((size_t)1 << 30)
#define ASK_TIMEOUT_MS   120000

struct ask {
    struct buf body;
    int status;
    struct err err;
};

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct ask *ask = ctx;
    (void)err;
    ask->status = head->status;
    return true;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct ask *ask = ctx;
    buf_add_str(&ask->body, bytes);
    return ask->body.overflow ? err_set(err, ERR_LIMIT, "the answer is too large") : true;
}

static void on_done(void *ctx, const struct err *err)
{
    struct ask *ask = ctx;
    ask->err = *err;
}

/* The form to <server><path>, as a POST or a GET; a loop of its own, until the answer is there. */
static bool ask_server(struct ask *ask, struct str server, const char *path, struct str form,
                       bool get, struct err *err)
{
    uv_loop_t loop;
    struct http_client *client;
    struct buf url;
    struct str headers[] = {STR("Content-Type: application/x-www-form-urlencoded")};
    uv_loop_init(&loop);
    if (!http_client_open(&client, &loop, err))
        return false;
    while (server.len > 0 && server.ptr[server.len - 1] == '/')
        server.len--;
    buf_init(&url, 1 << 20);
    if (str_find(server, STR("://")) == server.len)
        BUF_ADD(&url, "http://");
    buf_addf(&url, STR_FMT "%s", STR_ARG(server), path);
    if (get && form.len > 0)
        buf_addf(&url, "?" STR_FMT, STR_ARG(form));
    struct http_fetch_options options = {.url = buf_str(&url),
                                         .method = get ? STR("GET") : STR("POST"),
                                         .headers = headers,
                                         .header_count = get ? 0 : 1,
                                         .body = get ? STR_EMPTY : form,
                                         .timeout_ms = ASK_TIMEOUT_MS,
                                         .follow_redirects = true,
                                         .on_head = on_head,
                                         .on_bytes = on_bytes,
                                         .on_done = on_done,
                                         .ctx = ask};
    ask->err.code = ERR_INTERNAL;
    ask->status = 0;
    (void)http_fetch(client, &options);
    while (ask->err.code == ERR_INTERNAL && ask->err.text[0] == '\0' && uv_run(&loop, UV_RUN_ONCE))
        ;
    http_client_close(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    buf_deinit(&url);
    if (ask->err.code != ERR_NONE)
        *err = ask->err;
    return ask->err.code == ERR_NONE;
}

bool command_get(struct str server, const char *path, struct buf *body, int *status,
                 struct err *err)
{
    struct ask ask = {0};

    buf_init(&ask.body, ANSWER_BYTES_MAX);
    bool good = ask_server(&ask, server, path, STR_EMPTY, true, err);
    buf_swap(body, &ask.body);
    buf_deinit(&ask.body);
    *status = ask.status;
    return good;
}

bool command_post(struct str server, const char *path, struct str form, struct buf *body,
                  int *status, struct err *err)
{
    struct ask ask = {0};

    buf_init(&ask.body, ANSWER_BYTES_MAX);
    bool good = ask_server(&ask, server, path, form, false, err);
    buf_swap(body, &ask.body);
    buf_deinit(&ask.body);
    *status = ask.status;
    return good;
}

static int compare_label(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static struct labels *metric_labels(const struct json *metric)
{
    size_t count = json_count(metric);
    struct label *items = mem_alloc_array(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i].value = json_str(json_entry(metric, i, &items[i].name));
    if (count > 1)
        qsort(items, count, sizeof(*items), compare_label);
    struct labels *labels = labels_new(items, count);
    mem_free(items);
    return labels;
}

static void print_metric(struct buf *out, const struct json *metric)
{
    struct labels *labels = metric_labels(metric);
    labels_print_metric(out, labels);
    labels_unref(labels);
}

/* [time, "value"] as `value @[time]`. */
static void print_pair(struct buf *out, const struct json *pair)
{
    double value;
    if (number_parse(json_str(json_at(pair, 1)), &value))
        buf_add_number(out, value, NUMBER_F);
    BUF_ADD(out, " @[");
    buf_add_number(out, json_number(json_at(pair, 0)), NUMBER_F);
    BUF_ADD(out, "]");
}

static void print_result(struct buf *out, const struct json *data)
{
    struct str type = json_str(json_get(data, "resultType"));
    const struct json *result = json_get(data, "result");
    if (str_eq(type, STR("scalar"))) {
        BUF_ADD(out, "scalar: ");
        print_pair(out, result);
        BUF_ADD(out, "\n");
    } else if (str_eq(type, STR("string"))) {
        buf_add_str(out, json_str(json_at(result, 1)));
        BUF_ADD(out, "\n");
    } else {
        for (size_t i = 0; i < json_count(result); i++) {
            const struct json *series = json_at(result, i), *values = json_get(series, "values");
            if (i > 0)
                BUF_ADD(out, "\n");
            print_metric(out, json_get(series, "metric"));
            BUF_ADD(out, " =>");
            for (size_t k = 0; k < json_count(values); k++) {
                BUF_ADD(out, "\n");
                print_pair(out, json_at(values, k));
            }
            if (!values) {
                BUF_ADD(out, " ");
                print_pair(out, json_get(series, "value"));
            }
        }
        BUF_ADD(out, "\n"); /* Of an empty result this is all, as with promtool. */
    }
}

/* The raw result, cut out of the text, so that nothing is lost on the way: the value of a key. */
static void print_json_result(struct buf *out, struct str body, struct str key)
{
    size_t at = str_find(body, key);
    if (at == body.len)
        return;
    struct str rest = str_after(body, at + key.len);
    size_t depth = 0, end = 0;
    bool quoted = false;
    for (; end < rest.len; end++) {
        char c = rest.ptr[end];
        if (quoted) {
            end += c == '\\';
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        depth += c == '[' || c == '{';
        if (c != ']' && c != '}')
            continue;
        if (--depth == 0)
            break;
    }
    buf_add_str(out, str_first(rest, end + 1));
    BUF_ADD(out, "\n");
}

/* /series and /label/x/values: one a line, or the list as it came. */
static void print_list(struct buf *out, const struct json *data)
{
    for (size_t i = 0; i < json_count(data); i++) {
        const struct json *item = json_at(data, i);
        if (json_type(item) == JSON_OBJECT) {
            struct labels *labels = metric_labels(item);
            labels_print(out, labels);
            labels_unref(labels);
        } else {
            buf_add_str(out, json_str(item));
        }
        BUF_ADD(out, "\n");
    }
}

static bool print_answer(struct ask *ask, bool as_json, bool is_list, struct err *err)
{
    struct json *root;
    struct buf out;
    if (!json_parse(&root, buf_str(&ask->body), err))
        return err_set(err, ERR_BAD_DATA,
                       "bad_response: invalid character in answer: HTTP status %d", ask->status);
    if (!str_eq(json_str(json_get(root, "status")), STR("success"))) {
        struct str type = json_str(json_get(root, "errorType")),
                   text = json_str(json_get(root, "error"));
        err_set(err, ERR_EXECUTION, STR_FMT ": " STR_FMT " (detail: )", STR_ARG(type),
                STR_ARG(text));
        json_free(root);
        return false;
    }
    buf_init(&out, ANSWER_BYTES_MAX);
    if (as_json)
        print_json_result(&out, buf_str(&ask->body),
                          is_list ? STR("\"data\":") : STR("\"result\":"));
    else if (is_list)
        print_list(&out, json_get(root, "data"));
    else
        print_result(&out, json_get(root, "data"));
    if (out.len > 0)
        fwrite(out.ptr, 1, out.len, stdout);
    buf_deinit(&out);
    json_free(root);
    return true;
}

static void form_add(struct buf *form, const char *name, struct str value)
{
    buf_addf(form, "%s%s=", form->len ? "&" : "", name);
    buf_add_url_escaped(form, value);
}

static void form_add_time(struct buf *form, const char *name, int64_t time_ms)
{
    struct buf text;
    buf_init(&text, 64);
    buf_add_time_ms(&text, time_ms);
    form_add(form, name, buf_str(&text));
    buf_deinit(&text);
}

static int usage(const char *what)
{
    fprintf(stderr, "error: %s\n", what);
    return 2;
}

static int run(const struct command_line *line, const char *path, bool is_list, struct buf *form)
{
    struct ask ask = {0};
    struct err err = {0};
    bool as_json = str_eq(command_flag_value(line, "o"), STR("json")) ||
                   str_eq(command_flag_value(line, "format"), STR("json"));
    buf_init(&ask.body, ANSWER_BYTES_MAX);
    bool good = ask_server(&ask, command_arg(line, 0, ""), path, buf_str(form), is_list, &err);
    if (!good)
        fprintf(stderr, "query error: %s\n", err.text);
    else if (!print_answer(&ask, as_json, is_list, &err)) {
        fprintf(stderr, "%s\n", err.text);
        good = false;
    }
    buf_deinit(&ask.body);
    buf_deinit(form);
    return good ? 0 : 1;
}

int command_query_instant(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "time", .takes_value = true},
                                   {.name = "o", .takes_value = true},
                                   {.name = "format", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf form;
    int64_t time_ms = clock_wall_ms();
    if (!command_parse(&line, argc, argv, &err))
        return usage(err.text);
    if (line.arg_count != 2)
        return usage("required arguments: server URL and expression");
    struct str time = command_flag_value(&line, "time");
    if (time.ptr && !api_time_parse(time, &time_ms, &err))
        return usage(err.text);
    buf_init(&form, 1 << 20);
    form_add_time(&form, "time", time_ms);
    form_add(&form, "query", command_arg(&line, 1, ""));
    return run(&line, "/api/v1/query", false, &form);
}

int command_query_range(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "start", .takes_value = true},
                                   {.name = "end", .takes_value = true},
                                   {.name = "step", .takes_value = true},
                                   {.name = "o", .takes_value = true},
                                   {.name = "format", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf form;
    int64_t start_ms, end_ms = clock_wall_ms(), step_ms;
    if (!command_parse(&line, argc, argv, &err))
        return usage(err.text);
    if (line.arg_count != 2)
        return usage("required arguments: server URL and expression");
    struct str start = command_flag_value(&line, "start"), end = command_flag_value(&line, "end");
    struct str step = command_flag_value(&line, "step");
    if (end.ptr && !api_time_parse(end, &end_ms, &err))
        return usage(err.text);
    start_ms = end_ms - 5 * 60 * 1000;
    if (start.ptr && !api_time_parse(start, &start_ms, &err))
        return usage(err.text);
    if (start_ms > end_ms)
        return usage("start time is not before end time");
    /* As promtool: 250 points, at least a second apart. */
    step_ms = (end_ms - start_ms) / 250000 * 1000;
    step_ms = step_ms < 1000 ? 1000 : step_ms;
    if (step.ptr && !api_duration_parse(step, &step_ms, &err))
        return usage(err.text);
    buf_init(&form, 1 << 20);
    form_add_time(&form, "start", start_ms);
    form_add_time(&form, "end", end_ms);
    form_add_time(&form, "step", step_ms);
    form_add(&form, "query", command_arg(&line, 1, ""));
    return run(&line, "/api/v1/query_range", false, &form);
}

/* --match may be there several times: goes to the form and out of argv, which the rest is parsed from. */
static bool take_matches(int *argc, char **argv, struct buf *form, struct err *err)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]);
        if (str_starts(arg, STR("--match="))) {
            form_add(form, "match[]", str_after(arg, 8));
        } else if (str_eq(arg, STR("--match"))) {
            if (++i == *argc)
                return err_set(err, ERR_BAD_DATA, "expected argument for flag '--match'");
            form_add(form, "match[]", str_of(argv[i]));
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return true;
}

/* series and labels: from ever to ever unless told. */
static bool list_form(struct command_line *line, int argc, char **argv, struct buf *form,
                      struct err *err)
{
    int64_t now_ms = clock_wall_ms(), ever_ms = INT64_C(9999) * 3600 * 1000;
    int64_t start_ms = now_ms - ever_ms, end_ms = now_ms + ever_ms;
    if (!take_matches(&argc, argv, form, err) || !command_parse(line, argc, argv, err))
        return false;
    struct str start = command_flag_value(line, "start"), end = command_flag_value(line, "end");
    if (start.ptr && !api_time_parse(start, &start_ms, err))
        return false;
    if (end.ptr && !api_time_parse(end, &end_ms, err))
        return false;
    form_add_time(form, "start", start_ms);
    form_add_time(form, "end", end_ms);
    return true;
}

#define LIST_FLAGS                                                                                 \
    {                                                                                              \
        {.name = "start", .takes_value = true}, {.name = "end", .takes_value = true},              \
            {.name = "o", .takes_value = true}, {.name = "format", .takes_value = true},           \
    }

int command_query_series(int argc, char **argv)
{
    struct command_flag flags[] = LIST_FLAGS;
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf form;
    buf_init(&form, 1 << 20);
    bool good = list_form(&line, argc, argv, &form, &err);
    if (good && !str_starts(buf_str(&form), STR("match")))
        good = err_set(&err, ERR_BAD_DATA, "required flag --match not provided, try --help");
    if (good && line.arg_count != 1)
        good = err_set(&err, ERR_BAD_DATA, "required argument 'server' not provided");
    if (good)
        return run(&line, "/api/v1/series", true, &form);
    buf_deinit(&form);
    return usage(err.text);
}

int command_query_labels(int argc, char **argv)
{
    struct command_flag flags[] = LIST_FLAGS;
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf form, path;
    int code;
    buf_init(&form, 1 << 20);
    buf_init(&path, 1 << 20);
    bool good = list_form(&line, argc, argv, &form, &err);
    if (good && line.arg_count != 2)
        good = err_set(&err, ERR_BAD_DATA, "required arguments: server URL and label name");
    if (good) {
        BUF_ADD(&path, "/api/v1/label/");
        buf_add_url_escaped(&path, command_arg(&line, 1, ""));
        BUF_ADD(&path, "/values");
        buf_add_char(&path, '\0');
        code = run(&line, path.ptr, true, &form);
    } else {
        code = usage(err.text);
        buf_deinit(&form);
    }
    buf_deinit(&path);
    return code;
}
