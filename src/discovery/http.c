/* http: targets from a list that an HTTP server gives (http_sd_configs).
 *
 *   on_refresh -> http_fetch -> on_head (200, JSON) -> on_bytes ... -> on_done
 *       -> (on the lane) parse_run -> parse_done -> the new list
 *
 * Anything but a whole, good list keeps the old one. There is never more than one request. What a
 * closed provider has in flight ends without an owner. */
#include "base/log.h"
#include "base/number.h"
#include "provider.h"

#define BODY_BYTES_MAX     ((size_t)32 << 20)
#define REFRESH_MS_DEFAULT 60000
#define HEADER_COUNT       3

struct request {
    struct http_sd *sd;       /* NULL: closed meanwhile. */
    struct http_fetch *fetch; /* NULL once it has ended. */
    struct arena arena;       /* Of the options' texts. */
    struct buf body;
    struct job parse;
    struct str url;
    struct target_group **groups; /* What the parse gave. */
    size_t group_count;
    bool parsed;
    struct err err;
};

struct http_sd {
    const struct provider_env *env;
    const struct config_http_sd *config;
    provider_changed_fn changed;
    void *ctx;
    int64_t refresh_ms;
    struct timer *refresh;
    struct refresh_figures figures;
    struct request *running;
    struct target_group **groups; /* The last good list. */
    size_t group_count;
};

static void request_free(struct request *request)
{
    target_groups_free(request->groups, request->group_count);
    buf_deinit(&request->body);
    arena_deinit(&request->arena);
    mem_free(request);
}

/* The URL without user and password, which may stand before the host. */
static struct str shown_url(struct str url)
{
    struct str rest = str_after(url, str_find(url, STR("//")) + 2);
    size_t at = 0;

    for (size_t i = 0; i < rest.len && !strchr("/?#", rest.ptr[i]); i++)
        at = rest.ptr[i] == '@' ? i + 1 : at;
    return at > 0 ? str_after(rest, at) : url;
}

static void note_failure(struct http_sd *sd, const struct err *err)
{
    refresh_end(&sd->figures, false);
    sd->env->stats->http_failures++;
    LOG_E("Unable to refresh target groups", "discovery", "http", "url",
          log_str(shown_url(sd->config->url)), "err", err->text);
}

/* application/json, alone or with charset=utf-8. */
static bool type_is_json(struct str type)
{
    struct str charset, media = str_cut(str_trim(type), ';', &charset);

    if (!str_eq_nocase(media, STR("application/json")))
        return false;
    if (!charset.ptr)
        return true;
    while (charset.len > 0 && strchr(" \t\r\n\f", charset.ptr[0]))
        charset = str_after(charset, 1);
    return str_eq_nocase(charset, STR("charset=utf-8")) ||
           str_eq_nocase(charset, STR("charset=\"utf-8\""));
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct buf text;

    (void)ctx;
    if (head->status != 200)
        return err_set(err, ERR_BAD_DATA, "server returned HTTP status %d" STR_FMT STR_FMT,
                       head->status, STR_ARG(head->reason.len ? STR(" ") : STR_EMPTY),
                       STR_ARG(head->reason));
    if (type_is_json(head->content_type))
        return true;
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, "unsupported content type ");
    buf_add_go_quoted(&text, str_first(head->content_type, 256));
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    return false;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct request *request = ctx;

    buf_add_str(&request->body, bytes);
    return !request->body.overflow ||
           err_set(err, ERR_LIMIT, "body is larger than %zu bytes", BODY_BYTES_MAX);
}

static bool same_groups(const struct http_sd *sd, struct target_group **groups, size_t count)
{
    if (count != sd->group_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!target_group_eq(groups[i], sd->groups[i]))
            return false;
    return true;
}

/* On the lane. */
static void parse_run(struct job *job)
{
    struct request *request = CONTAINER_OF(job, struct request, parse);

    request->parsed =
        config_parse_http_groups(buf_str(&request->body), request->url, &request->groups,
                                 &request->group_count, &request->err);
}

static void take_groups(struct http_sd *sd, struct request *request)
{
    refresh_end(&sd->figures, true);
    if (same_groups(sd, request->groups, request->group_count))
        return;
    target_groups_free(sd->groups, sd->group_count);
    sd->groups = request->groups;
    sd->group_count = request->group_count;
    request->groups = NULL;
    request->group_count = 0;
    sd->changed(sd->ctx);
}

static void parse_done(struct job *job)
{
    struct request *request = CONTAINER_OF(job, struct request, parse);
    struct http_sd *sd = request->sd;

    if (sd) {
        sd->running = NULL;
        if (request->parsed)
            take_groups(sd, request);
        else
            note_failure(sd, &request->err);
    }
    request_free(request);
}

static void on_done(void *ctx, const struct err *err)
{
    struct request *request = ctx;
    struct http_sd *sd = request->sd;

    request->fetch = NULL;
    if (sd && err->code == ERR_NONE) {
        const struct provider_env *env = sd->env;
        request->url = arena_str(&request->arena, sd->config->url);
        request->parse = (struct job){.run = parse_run, .done = parse_done};
        env->submit(env->submit_ctx, &request->parse);
        return;
    }
    if (sd) {
        sd->running = NULL;
        note_failure(sd, err);
    }
    request_free(request);
}

static bool options_build(struct http_fetch_options *out, const struct http_sd *sd,
                          struct request *request, struct err *err)
{
    struct arena *arena = &request->arena;
    struct str *headers = arena_alloc_array(arena, HEADER_COUNT, sizeof(*headers));
    char seconds[NUMBER_TEXT_MAX];
    size_t seconds_len = number_format(seconds, (double)sd->refresh_ms / 1000, NUMBER_F);

    headers[0] = arena_strf(arena, "User-Agent: %s", sd->env->user_agent);
    headers[1] = STR("Accept: application/json");
    headers[2] = arena_strf(arena, "X-Prometheus-Refresh-Interval-Seconds: " STR_FMT,
                            (int)seconds_len, seconds);
    *out = (struct http_fetch_options){
        .url = sd->config->url,
        .headers = headers,
        .header_count = HEADER_COUNT,
        .timeout_ms = sd->refresh_ms,
        .on_head = on_head,
        .on_bytes = on_bytes,
        .on_done = on_done,
        .ctx = request,
    };
    return config_http_fill(out, &sd->config->http, arena, err);
}

static void on_refresh(void *ctx)
{
    struct http_sd *sd = ctx;
    struct http_fetch_options options;
    struct request *request;
    struct err err = {0};

    if (sd->running)
        return; /* It ends any moment: a fetch by its timeout. */
    refresh_begin(&sd->figures);
    request = MEM_NEW(struct request);
    request->sd = sd;
    arena_init(&request->arena, 0);
    buf_init(&request->body, BODY_BYTES_MAX);
    if (!options_build(&options, sd, request, &err)) {
        note_failure(sd, &err);
        request_free(request);
        return;
    }
    sd->running = request;
    options.dialer = http_dialer(sd->env->client, STR("http"));
    request->fetch = http_fetch(sd->env->client, &options);
}

struct http_sd *http_sd_open(const struct provider_env *env, const struct config_http_sd *config,
                             provider_changed_fn changed, void *ctx)
{
    struct http_sd *sd = MEM_NEW(struct http_sd);

    sd->env = env;
    sd->config = config;
    sd->changed = changed;
    sd->ctx = ctx;
    sd->refresh_ms = config->refresh_ms > 0 ? config->refresh_ms : REFRESH_MS_DEFAULT;
    sd->refresh = timer_new(env->loop, on_refresh, sd);
    timer_start(sd->refresh, 0, sd->refresh_ms);
    return sd;
}

void http_sd_collect(const struct http_sd *sd, struct group_list *out)
{
    for (size_t i = 0; i < sd->group_count; i++)
        VEC_PUSH(&out->groups, target_group_ref(sd->groups[i]));
}

const struct refresh_figures *http_sd_figures(const struct http_sd *sd)
{
    return &sd->figures;
}

void http_sd_close(struct http_sd *sd)
{
    if (!sd)
        return;
    timer_free(sd->refresh);
    if (sd->running) {
        sd->running->sd = NULL;
        if (sd->running->fetch)
            http_fetch_cancel(sd->running->fetch);
    }
    target_groups_free(sd->groups, sd->group_count);
    mem_free(sd);
}
