/* query_cmd: asks a server's HTTP API, and prints the answer and what is wrong as promtool does. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "commands.h"
#include "model/duration.h"
#include "net/http_client.h"
#include "query_print.h"

#define ANSWER_BYTES_MAX ((size_t)1 << 30)
#define ASK_TIMEOUT_MS   120000
#define HEADERS_MAX      32

struct ask {
    struct buf body;
    int status;
    struct err err;
    const struct str *headers; /* Beside our own. */
    size_t header_count;
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
    struct str headers[HEADERS_MAX + 1];
    size_t header_count = ask->header_count;
    for (size_t i = 0; i < ask->header_count; i++)
        headers[i] = ask->headers[i];
    if (!get)
        headers[header_count++] = STR("Content-Type: application/x-www-form-urlencoded");
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
                                         .header_count = header_count,
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

/* What is not the API's: told by the status, with the body as the detail. */
static bool refuse_status(const struct ask *ask, struct err *err)
{
    struct str detail = str_trim(buf_str(&ask->body));
    const char *whose = ask->status / 100 == 4 ? "client" : "server";
    if (ask->status / 100 != 4 && ask->status / 100 != 5)
        return err_set(err, ERR_BAD_DATA, "bad_response: bad response code %d", ask->status);
    err_set(err, ERR_BAD_DATA, "%s_error: %s error: %d", whose, whose, ask->status);
    if (detail.len)
        err_set(err, ERR_BAD_DATA, "%s_error: %s error: %d (detail: " STR_FMT ")", whose, whose,
                ask->status, STR_ARG(detail));
    return false;
}

static bool parse_answer(const struct ask *ask, struct json **out, struct err *err)
{
    struct json *root;
    if (ask->status / 100 != 2 && ask->status != 400 && ask->status != 422)
        return refuse_status(ask, err);
    if (!json_parse(&root, buf_str(&ask->body), err))
        return err_set(err, ERR_BAD_DATA, "bad_response: no JSON in an answer of status %d",
                       ask->status);
    if (!str_eq(json_str(json_get(root, "status")), STR("success"))) {
        struct str type = json_str(json_get(root, "errorType")),
                   text = json_str(json_get(root, "error"));
        err_set(err, ERR_EXECUTION, STR_FMT ": " STR_FMT, STR_ARG(type), STR_ARG(text));
        json_free(root);
        return false;
    }
    *out = root;
    return true;
}

bool query_ask(struct str server, const char *path, struct str form, struct json **out,
               struct err *err)
{
    struct ask ask = {0};
    buf_init(&ask.body, ANSWER_BYTES_MAX);
    bool good = ask_server(&ask, server, path, form, false, err) && parse_answer(&ask, out, err);
    buf_deinit(&ask.body);
    return good;
}

static bool print_answer(const struct ask *ask, bool as_json, bool is_list, struct err *err)
{
    struct json *root;
    struct buf out;
    if (!parse_answer(ask, &root, err))
        return false;
    buf_init(&out, ANSWER_BYTES_MAX);
    if (as_json)
        query_print_json(&out, buf_str(&ask->body),
                         is_list ? STR("\"data\":") : STR("\"result\":"));
    else if (is_list)
        query_print_list(&out, json_get(root, "data"));
    else
        query_print(&out, json_get(root, "data"));
    if (out.len > 0)
        fwrite(out.ptr, 1, out.len, stdout);
    buf_deinit(&out);
    json_free(root);
    return true;
}

void query_form_add(struct buf *form, const char *name, struct str value)
{
    buf_addf(form, "%s%s=", form->len ? "&" : "", name);
    buf_add_url_escaped(form, value);
}

void query_form_add_time(struct buf *form, const char *name, int64_t time_ms)
{
    struct buf text;
    buf_init(&text, 64);
    buf_add_time_ms(&text, time_ms);
    query_form_add(form, name, buf_str(&text));
    buf_deinit(&text);
}

/* name=value or name:value; goes out of argv, which the rest is parsed from. */
struct headers {
    struct str items[HEADERS_MAX];
    size_t count;
};

static bool take_headers(int *argc, char **argv, struct arena *arena, struct headers *headers,
                         struct err *err)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]), value = {0};
        if (!str_starts(arg, STR("--header"))) {
            argv[kept++] = argv[i];
            continue;
        }
        (void)str_cut(arg, '=', &value);
        if (!value.ptr && ++i < *argc)
            value = str_of(argv[i]);
        size_t at = 0;
        while (at < value.len && value.ptr[at] != '=' && value.ptr[at] != ':')
            at++;
        if (at == value.len)
            return err_set(err, ERR_BAD_DATA, "expected KEY=VALUE got '" STR_FMT "'",
                           STR_ARG(value));
        if (headers->count == HEADERS_MAX)
            return err_set(err, ERR_BAD_DATA, "too many headers");
        headers->items[headers->count++] =
            arena_strf(arena, STR_FMT ": " STR_FMT, STR_ARG(str_first(value, at)),
                       STR_ARG(str_after(value, at + 1)));
    }
    *argc = kept;
    return true;
}

/* As Go's time.ParseDuration, to the millisecond. */
bool query_duration_parse(struct str text, int64_t *out_ms, struct err *err)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\u00b5s", 1e-3}, {"ms", 1},
                 {"s", 1e3},   {"m", 6e4},   {"h", 3.6e6}};
    bool negative = str_starts(text, STR("-"));
    struct str rest = str_after(text, negative || str_starts(text, STR("+")));
    double total = 0;
    *out_ms = 0;
    if (str_eq(rest, STR("0")))
        return true;
    if (rest.len == 0)
        return err_set(err, ERR_BAD_DATA, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text));
    while (rest.len) {
        size_t digits = 0, letters = 0, unit = 0;
        double number;
        while (digits < rest.len &&
               ((rest.ptr[digits] >= '0' && rest.ptr[digits] <= '9') || rest.ptr[digits] == '.'))
            digits++;
        struct str after = str_after(rest, digits);
        while (letters < after.len && after.ptr[letters] != '.' &&
               (after.ptr[letters] < '0' || after.ptr[letters] > '9'))
            letters++;
        struct str name = str_first(after, letters);
        if (!number_parse(str_first(rest, digits), &number))
            return err_set(err, ERR_BAD_DATA, "time: invalid duration \"" STR_FMT "\"",
                           STR_ARG(text));
        if (letters == 0)
            return err_set(err, ERR_BAD_DATA, "time: missing unit in duration \"" STR_FMT "\"",
                           STR_ARG(text));
        while (unit < COUNT_OF(units) && !str_eq(name, str_of(units[unit].unit)))
            unit++;
        if (unit == COUNT_OF(units))
            return err_set(err, ERR_BAD_DATA,
                           "time: unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"",
                           STR_ARG(name), STR_ARG(text));
        total += number * units[unit].ms;
        rest = str_after(after, letters);
    }
    if (total > 9.2e15)
        return err_set(err, ERR_BAD_DATA, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text));
    *out_ms = (int64_t)(negative ? -total : total);
    return true;
}

static bool check_format(const struct command_line *line, bool *as_json, struct err *err)
{
    struct str format = command_flag_value(line, "format");
    if (!format.ptr)
        format = command_flag_value(line, "o");
    *as_json = str_eq(format, STR("json"));
    return !format.ptr || *as_json || str_eq(format, STR("promql")) ||
           err_set(err, ERR_BAD_DATA, "enum value must be one of promql,json, got '" STR_FMT "'",
                   STR_ARG(format));
}

static bool check_args(const struct command_line *line, const char *const *names, size_t count,
                       struct err *err)
{
    if (line->arg_count < count)
        return err_set(err, ERR_BAD_DATA, "required argument '%s' not provided",
                       names[line->arg_count]);
    return line->arg_count == count ||
           err_set(err, ERR_BAD_DATA, "unexpected %s", line->args[count]);
}

/* A query command: what it needs, and what came of its command line. */
struct request {
    struct command_line line;
    struct headers headers;
    struct arena arena;
    struct buf form;
    bool as_json;
};

static bool request_parse(struct request *request, int argc, char **argv, const char *const *names,
                          size_t count, struct err *err)
{
    arena_init(&request->arena, 0);
    return take_headers(&argc, argv, &request->arena, &request->headers, err) &&
           command_parse(&request->line, argc, argv, err) &&
           check_format(&request->line, &request->as_json, err) &&
           check_args(&request->line, names, count, err);
}

static int request_refuse(struct request *request, const struct err *err)
{
    buf_deinit(&request->form);
    arena_deinit(&request->arena);
    return command_usage(err);
}

/* What was understood, but makes no sense. */
static int request_fail(struct request *request, const char *context, const struct err *err)
{
    fprintf(stderr, "%s%s\n", context, err->text);
    buf_deinit(&request->form);
    arena_deinit(&request->arena);
    return 1;
}

static int request_run(struct request *request, const char *path, bool is_list)
{
    struct ask ask = {.headers = request->headers.items, .header_count = request->headers.count};
    struct err err = {0};
    struct str server = command_arg(&request->line, 0, "");
    buf_init(&ask.body, ANSWER_BYTES_MAX);
    bool good = ask_server(&ask, server, path, buf_str(&request->form), is_list, &err) &&
                print_answer(&ask, request->as_json, is_list, &err);
    if (!good)
        fprintf(stderr, "query error: %s\n", err.text);
    buf_deinit(&ask.body);
    buf_deinit(&request->form);
    arena_deinit(&request->arena);
    return good ? 0 : 1;
}

/* An empty time is none. */
static bool take_time(const struct request *request, const char *name, int64_t *out,
                      struct err *err)
{
    struct str text = command_flag_value(&request->line, name);
    return text.len == 0 || api_time_parse(text, out, err);
}

int command_query_instant(int argc, char **argv)
{
    static const char *const names[] = {"server", "expr"};
    struct command_flag flags[] = {{.name = "time", .takes_value = true},
                                   {.name = "o", .takes_value = true},
                                   {.name = "format", .takes_value = true}};
    struct request request = {.line = {.flags = flags, .flag_count = COUNT_OF(flags)}};
    struct err err = {0};
    int64_t time_ms = clock_wall_ms();
    if (!request_parse(&request, argc, argv, names, COUNT_OF(names), &err))
        return request_refuse(&request, &err);
    if (!take_time(&request, "time", &time_ms, &err))
        return request_fail(&request, "error parsing evaluation time: ", &err);
    buf_init(&request.form, 1 << 20);
    query_form_add_time(&request.form, "time", time_ms);
    query_form_add(&request.form, "query", command_arg(&request.line, 1, ""));
    return request_run(&request, "/api/v1/query", false);
}

int command_query_range(int argc, char **argv)
{
    static const char *const names[] = {"server", "expr"};
    struct command_flag flags[] = {{.name = "start", .takes_value = true},
                                   {.name = "end", .takes_value = true},
                                   {.name = "step", .takes_value = true},
                                   {.name = "o", .takes_value = true},
                                   {.name = "format", .takes_value = true}};
    struct request request = {.line = {.flags = flags, .flag_count = COUNT_OF(flags)}};
    struct err err = {0};
    int64_t end_ms = clock_wall_ms(), step_ms = 0;
    if (!request_parse(&request, argc, argv, names, COUNT_OF(names), &err))
        return request_refuse(&request, &err);
    struct str step = command_flag_value(&request.line, "step");
    if (step.ptr && !query_duration_parse(step, &step_ms, &err))
        return request_refuse(&request, &err);
    if (!take_time(&request, "end", &end_ms, &err))
        return request_fail(&request, "error parsing end time: ", &err);
    int64_t start_ms = end_ms - 5 * 60 * 1000;
    if (!take_time(&request, "start", &start_ms, &err))
        return request_fail(&request, "error parsing start time: ", &err);
    if (start_ms > end_ms && !err_set(&err, ERR_BAD_DATA, "start time is not before end time"))
        return request_fail(&request, "", &err);
    if (step_ms == 0) { /* 250 points, at least a second apart. */
        step_ms = (end_ms - start_ms) / 250000 * 1000;
        step_ms = step_ms < 1000 ? 1000 : step_ms;
    }
    buf_init(&request.form, 1 << 20);
    query_form_add_time(&request.form, "start", start_ms);
    query_form_add_time(&request.form, "end", end_ms);
    query_form_add_time(&request.form, "step", step_ms);
    query_form_add(&request.form, "query", command_arg(&request.line, 1, ""));
    return request_run(&request, "/api/v1/query_range", false);
}

/* --match may be there several times: goes to the form and out of argv, which the rest is parsed from. */
static bool take_matches(int *argc, char **argv, struct buf *form, struct err *err)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]);
        if (str_starts(arg, STR("--match="))) {
            query_form_add(form, "match[]", str_after(arg, 8));
        } else if (str_eq(arg, STR("--match"))) {
            if (++i == *argc)
                return err_set(err, ERR_BAD_DATA, "expected argument for flag '--match'");
            query_form_add(form, "match[]", str_of(argv[i]));
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return true;
}

/* series and labels: from ever to ever unless told. *context: where a time is wrong; else the usage is. */
static bool list_form(struct request *request, int argc, char **argv, const char *const *names,
                      size_t count, const char **context, struct err *err)
{
    int64_t now_ms = clock_wall_ms(), ever_ms = INT64_C(9999) * 3600 * 1000;
    int64_t start_ms = now_ms - ever_ms, end_ms = now_ms + ever_ms;
    *context = NULL;
    buf_init(&request->form, 1 << 20);
    if (!take_matches(&argc, argv, &request->form, err) ||
        !request_parse(request, argc, argv, names, count, err))
        return false;
    *context = "error parsing start time: ";
    if (!take_time(request, "start", &start_ms, err))
        return false;
    *context = "error parsing end time: ";
    if (!take_time(request, "end", &end_ms, err))
        return false;
    *context = NULL;
    query_form_add_time(&request->form, "start", start_ms);
    query_form_add_time(&request->form, "end", end_ms);
    return true;
}

#define LIST_FLAGS                                                                                 \
    {                                                                                              \
        {.name = "start", .takes_value = true}, {.name = "end", .takes_value = true},              \
            {.name = "o", .takes_value = true}, {.name = "format", .takes_value = true},           \
    }

int command_query_series(int argc, char **argv)
{
    static const char *const names[] = {"server"};
    struct command_flag flags[] = LIST_FLAGS;
    struct request request = {.line = {.flags = flags, .flag_count = COUNT_OF(flags)}};
    struct err err = {0};
    const char *context;
    bool good = list_form(&request, argc, argv, names, COUNT_OF(names), &context, &err);
    if (good && !str_starts(buf_str(&request.form), STR("match")))
        good = err_set(&err, ERR_BAD_DATA, "required flag(s) '--match' not provided");
    if (good)
        return request_run(&request, "/api/v1/series", true);
    return context ? request_fail(&request, context, &err) : request_refuse(&request, &err);
}

int command_query_labels(int argc, char **argv)
{
    static const char *const names[] = {"server", "name"};
    struct command_flag flags[] = LIST_FLAGS;
    struct request request = {.line = {.flags = flags, .flag_count = COUNT_OF(flags)}};
    struct err err = {0};
    struct buf path;
    const char *context;
    if (!list_form(&request, argc, argv, names, COUNT_OF(names), &context, &err))
        return context ? request_fail(&request, context, &err) : request_refuse(&request, &err);
    buf_init(&path, 1 << 20);
    BUF_ADD(&path, "/api/v1/label/");
    buf_add_url_escaped(&path, command_arg(&request.line, 1, ""));
    BUF_ADD(&path, "/values");
    buf_add_char(&path, '\0');
    int code = request_run(&request, path.ptr, true);
    buf_deinit(&path);
    return code;
}
