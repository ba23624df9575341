/* server: see server.h. Everything in here runs on the loop thread, but for storage_open on the
 * commit lane. */
#include "server.h"

#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "api.h"
#include "api/web_gate.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "discovery.h"
#include "feature_flags.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "net/worker.h"
#include "query.h"
#include "remote.h"
#include "scrape.h"
#include "server_kube.h"
#include "server_reload.h"
#include "server_store.h"
#include "storage.h"

#define STOP_GRACE_MS  2000
#define HEAD_BYTES_MAX ((size_t)64 << 10)
#define BODY_BYTES_MAX ((size_t)32 << 20)

struct server {
    const struct options *options; /* Borrowed from main. */
    struct config *config;         /* A reference. */
    uv_loop_t loop;
    uv_signal_t on_term, on_int, on_hup;
    unsigned signals_open;
    struct lane *commit_lane, *build_lane, *query_lane, *side_lane;
    unsigned query_threads;
    struct timer *storage_timer;
    struct reloader *reloader; /* NULL until there is something to reload. */
    int64_t storage_due_ms;    /* When storage_timer fires. */
    int64_t storage_ticked_ms;
    struct storage *storage;
    struct http_client *client;
    struct scraper *scraper;
    struct discovery *discovery;
    struct write_receiver *write_receiver;
    struct api *api;
    struct web_gate *gate;
    struct kube_parts kube;
    VEC(struct http_server *) listeners;
    size_t listeners_open;
    bool stopping;
    bool scraper_stopped;
    bool load_failed; /* The first configuration could not be put in force. */
    int exit_code;
    /* Opening the store, on the commit lane: */
    struct job open_job;
    struct storage_options storage_options;
    struct storage *opened;
    struct err open_err;
    bool opening;
};

static void server_stop(struct server *server);
static void stop_if_quiet(struct server *server);

/* --- storage: opened beside the loop, ticked on it --- */

static void storage_wake(void *ctx, int64_t in_ms)
{
    struct server *server = ctx;
    int64_t due_ms = clock_mono_ms() + in_ms;
    if (!server->storage || !server->storage_timer || due_ms >= server->storage_due_ms)
        return;
    server->storage_due_ms = due_ms;
    timer_start(server->storage_timer, in_ms, 0);
}

static void storage_timer_fire(void *ctx)
{
    struct server *server = ctx;
    server->storage_due_ms = INT64_MAX;
    server->storage_ticked_ms = clock_mono_ms();
    int64_t next_ms = storage_tick(server->storage, server->storage_ticked_ms);
    storage_wake(server, next_ms < 1000 ? next_ms : 1000);
}

/* The log is written with the last of some scrapes: to wake up for it would cost as much again. */
static void scraper_quiet(void *ctx)
{
    struct server *server = ctx;
    if (server->stopping ||
        clock_mono_ms() - server->storage_ticked_ms < STORAGE_COMMIT_DELAY_MS / 2)
        return;
    storage_rest(server->storage);
    storage_timer_fire(server);
}

static void discovery_found(void *ctx, struct str job, struct target_group *const *groups,
                            size_t count)
{
    struct server *server = ctx;
    if (server->scraper && !server->stopping)
        scraper_set_groups(server->scraper, job, groups, count);
}

static void apply_config(struct server *server)
{
    api_set_config(server->api, server->config, clock_wall_ms());
    if (server->storage)
        store_apply_config(server->storage, server->options, server->config);
    scraper_apply(server->scraper, server->config);
    discovery_apply(server->discovery, server->config);
    config_drop_groups(server->config);
    for (size_t i = 0; i < server->config->inactive.count; i++)
        LOG_W("Part of the configuration is not active yet", "what",
              log_str(server->config->inactive.items[i]));
}

/* What a load may still fail at; the rest of the configuration is in force then. The texts are Prometheus'. */
static bool apply_query_log(struct server *server, struct err *err)
{
    struct str path = option_string(server->options, "config.file");
    if (api_set_query_log(server->api, server->config->global.query_log_file, err))
        return true;
    LOG_E("Failed to apply configuration", "err", err->text);
    return err_set(err, ERR_INTERNAL,
                   "one or more errors occurred while applying the new configuration "
                   "(--config.file=\"" STR_FMT "\")",
                   STR_ARG(path));
}

static bool query_log_begin(struct server *server, struct err *err)
{
    struct str path = option_string(server->options, "config.file");
    server->load_failed = !apply_query_log(server, err);
    return !server->load_failed ||
           err_wrap(err, "error loading config from \"" STR_FMT "\"", STR_ARG(path));
}

/* --web.remote-write-receiver.accepted-protobuf-messages */
static unsigned write_messages(const struct options *options)
{
    static const char name[] = "web.remote-write-receiver.accepted-protobuf-messages";
    unsigned accepted = 0;
    for (size_t i = 0; option_is_set(options, name) && i < option_count(options, name); i++)
        accepted |= str_eq(option_at(options, name, i), STR(WRITE_MESSAGE_V1)) ? WRITE_ACCEPT_V1
                                                                               : WRITE_ACCEPT_V2;
    return accepted ? accepted : WRITE_ACCEPT_V1 | WRITE_ACCEPT_V2;
}

static void open_run(struct job *job)
{
    struct server *server = CONTAINER_OF(job, struct server, open_job);
    if (!storage_open(&server->opened, &server->storage_options, &server->open_err))
        server->opened = NULL;
}

static void open_done(struct job *job)
{
    struct server *server = CONTAINER_OF(job, struct server, open_job);
    struct storage_stats stats;
    server->opening = false;
    if (!server->opened) {
        LOG_E("Storage cannot be opened", "err", server->open_err.text);
        server->exit_code = 1;
        server_stop(server);
        return;
    }
    server->storage = server->opened;
    storage_get_stats(server->storage, &stats);
    LOG_I("Storage is open", "replayed_samples",
          log_fmt("%llu", (unsigned long long)stats.replay_samples), "seconds",
          log_fmt("%.3f", stats.replay_seconds), "series",
          log_fmt("%llu", (unsigned long long)stats.series));
    if (server->stopping) {
        server_stop(server);
        return;
    }
    server->storage_timer = timer_new(&server->loop, storage_timer_fire, server);
    timer_start(server->storage_timer, 0, 0);
    store_apply_config(server->storage, server->options, server->config);
    scraper_attach_storage(server->scraper, server->storage);
    if (option_bool(server->options, "web.enable-remote-write-receiver"))
        server->write_receiver =
            write_receiver_open(server->storage, write_messages(server->options));
    api_attach_storage(server->api, server->storage, server->scraper, server->write_receiver);
    if (server->kube.kube)
        kube_attach_storage(server->kube.kube, server->storage);
    api_set_ready(server->api, true);
    LOG_I("Server is ready to receive web requests.");
}

static void storage_begin(struct server *server)
{
    store_options_read(&server->storage_options, server->options, server->config);
    server->storage_options.submit_commit = lane_submit_ctx;
    server->storage_options.submit_ctx = server->commit_lane;
    server->storage_options.submit_build = lane_submit_ctx;
    server->storage_options.build_ctx = server->build_lane;
    server->storage_options.parallel = lane_share;
    server->storage_options.parallel_ctx = server->query_lane;
    server->storage_options.parallel_count = 1 + server->query_threads;
    server->storage_options.wake = storage_wake;
    server->storage_options.wake_ctx = server;
    server->open_job.run = open_run;
    server->open_job.done = open_done;
    server->opening = true;
    /* At normal priority: nothing else has the lane before there is a store, and /-/ready waits for it. */
    lane_submit(server->commit_lane, &server->open_job);
}

/* From the first second on: what comes before the store is open is held. */
static void scraping_begin(struct server *server)
{
    struct scraper_options options = {
        .loop = &server->loop,
        .client = server->client,
        .user_agent = STR("Prometheus/" PROMETHEUS_VERSION),
        .tolerance_ms = option_bool(server->options, "scrape.adjust-timestamps")
                            ? option_duration_ms(server->options, "scrape.timestamp-tolerance")
                            : -1,
        .on_quiet = scraper_quiet,
        .ctx = server,
    };
    server->scraper = scraper_open(&options);
    apply_config(server);
}

/* --- reload --- */

/* Takes the reference. */
static bool reload_apply(void *ctx, struct config *config, struct err *err)
{
    struct server *server = ctx;
    struct config *before = server->config;

    if (server->kube.kube && !kube_reload(server->kube.kube, err)) {
        config_unref(config);
        return false;
    }
    server->config = config;
    apply_config(server);
    config_unref(before);
    return apply_query_log(server, err);
}

static void reload_failed(void *ctx, const struct err *err)
{
    struct server *server = ctx;

    (void)err;
    api_set_reload_failed(server->api);
}

static uint64_t rules_checksum(void *ctx)
{
    struct server *server = ctx;

    return server->kube.kube ? kube_rules_checksum(server->kube.kube) : 0;
}

static void reload_idle(void *ctx)
{
    struct server *server = ctx;

    if (server->stopping)
        stop_if_quiet(server);
}

static void reload_begin(struct server *server)
{
    const struct options *options = server->options;
    bool watching =
        option_bool(options, "config.auto-reload") || feature_is_on(options, "auto-reload-config");
    struct reloader_options reloader = {
        .loop = &server->loop,
        .lane = server->side_lane,
        .path = option_string(options, "config.file"),
        .watch_ms = watching ? option_duration_ms(options, "config.auto-reload-interval") : 0,
        .apply = reload_apply,
        .failed = reload_failed,
        .more_checksum = rules_checksum,
        .idle = reload_idle,
        .ctx = server,
    };
    server->reloader = reloader_open(&reloader, server->config);
}

/* No request comes before the loop runs, and then there is a reloader. */
static void server_reload(void *ctx, reload_done_fn done, void *done_ctx)
{
    struct server *server = ctx;

    reloader_ask(server->reloader, done, done_ctx);
}

static void server_quit(void *ctx)
{
    struct server *server = ctx;
    server_stop(server);
}

/* --- signals --- */

static void on_stop_signal(uv_signal_t *handle, int signal)
{
    struct server *server = signal == SIGTERM ? CONTAINER_OF(handle, struct server, on_term)
                                              : CONTAINER_OF(handle, struct server, on_int);
    LOG_W("Received an OS signal, exiting gracefully...", "signal",
          signal == SIGTERM ? "terminated" : "interrupt");
    server_stop(server);
}

static void on_hup_signal(uv_signal_t *handle, int signal)
{
    struct server *server = CONTAINER_OF(handle, struct server, on_hup);
    (void)signal;
    if (!server->stopping)
        reloader_ask(server->reloader, NULL, NULL);
}

static void signals_begin(struct server *server)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(&server->loop, &server->on_term);
    uv_signal_init(&server->loop, &server->on_int);
    uv_signal_init(&server->loop, &server->on_hup);
    uv_signal_start(&server->on_term, on_stop_signal, SIGTERM);
    uv_signal_start(&server->on_int, on_stop_signal, SIGINT);
    uv_signal_start(&server->on_hup, on_hup_signal, SIGHUP);
}

/* --- stop: each step waits for the one before --- */

static void stop_if_quiet(struct server *server)
{
    bool reloading = server->reloader && reloader_is_busy(server->reloader);
    if (server->listeners_open == 0 && server->scraper_stopped && !server->opening && !reloading)
        uv_stop(&server->loop);
}

static void on_listener_closed(void *ctx)
{
    struct server *server = ctx;
    server->listeners_open--;
    stop_if_quiet(server);
}

static void on_scraper_stopped(void *ctx)
{
    struct server *server = ctx;
    server->scraper_stopped = true;
    stop_if_quiet(server);
}

static void server_stop(struct server *server)
{
    if (server->stopping) {
        stop_if_quiet(server);
        return;
    }
    server->stopping = true;
    api_set_stopping(server->api);
    if (server->reloader)
        reloader_stop(server->reloader);
    if (server->scraper)
        scraper_stop(server->scraper, on_scraper_stopped, server);
    else
        server->scraper_stopped = true;
    api_cancel_queries(server->api);
    if (server->kube.kube)
        kube_cancel(server->kube.kube);
    for (size_t i = 0; i < server->listeners.count; i++)
        http_server_close(server->listeners.items[i], STOP_GRACE_MS, on_listener_closed, server);
    stop_if_quiet(server);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void server_close(struct server *server)
{
    if (server->query_lane)
        lane_close(server->query_lane);
    if (server->side_lane)
        lane_close(server->side_lane);
    discovery_close(server->discovery);
    if (server->scraper)
        scraper_free(server->scraper);
    kube_door_close(&server->kube.door);
    http_client_close(server->client);
    if (server->storage)
        (void)storage_tick(server->storage, clock_mono_ms());
    reloader_close(server->reloader);
    timer_free(server->storage_timer);
    server->storage_timer = NULL;
    if (server->storage)
        storage_stop(server->storage);
    if (server->build_lane)
        lane_close(server->build_lane);
    if (server->commit_lane)
        lane_close(server->commit_lane);
    write_receiver_close(server->write_receiver);
    storage_close(server->storage);
    web_gate_close(server->gate);
    close_kube(&server->kube);
    api_close(server->api);
    config_unref(server->config);
    uv_close((uv_handle_t *)&server->on_term, NULL);
    uv_close((uv_handle_t *)&server->on_int, NULL);
    uv_close((uv_handle_t *)&server->on_hup, NULL);
    uv_run(&server->loop, UV_RUN_NOWAIT);
    uv_walk(&server->loop, close_handle, NULL);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    VEC_FREE(&server->listeners);
}

/* --- start --- */

/* More threads than cores, so that a light query does not wait behind as many slow ones; not as many as may be asked
 * for, because each may take its share of the memory that is left. */
#define QUERY_THREADS_LEAST    4
#define QUERY_THREADS_PER_CORE 2

static void lanes_begin(struct server *server)
{
    uint64_t query_threads = option_number(server->options, "query.max-concurrency");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t most = cores > 0 ? (uint64_t)cores * QUERY_THREADS_PER_CORE : 0;
    if (most < QUERY_THREADS_LEAST)
        most = QUERY_THREADS_LEAST;
    if (query_threads > most)
        query_threads = most;
    struct lane_options commit = {.name = "commit", .thread_count = 1, .priority = LANE_NORMAL};
    struct lane_options build = {.name = "build", .thread_count = 1, .priority = LANE_IDLE};
    struct lane_options query = {.name = "query", .priority = LANE_NICE};
    struct lane_options side = {.name = "side", .thread_count = 2, .priority = LANE_NICE};
    query.thread_count = query_threads ? (unsigned)query_threads : 1;
    server->query_threads = query.thread_count;
    server->commit_lane = lane_open(&server->loop, &commit);
    server->build_lane = lane_open(&server->loop, &build);
    server->query_lane = lane_open(&server->loop, &query);
    server->side_lane = lane_open(&server->loop, &side);
}

/* With the client that scrapes use, too. */
static bool discovery_begin(struct server *server, struct err *err)
{
    if (!http_client_open(&server->client, &server->loop, err))
        return false;
    (void)http_dialer(server->client, STR("default")); /* As Prometheus names what has no job. */
    struct discovery_options options = {
        .loop = &server->loop,
        .client = server->client,
        .user_agent = STR("Prometheus/" PROMETHEUS_VERSION),
        .dns_servers = option_string(server->options, "discovery.narthex.dns-servers"),
        .tell_ms = option_duration_ms(server->options, "scrape.discovery-reload-interval"),
        .on_groups = discovery_found,
        .ctx = server,
        .submit = lane_submit_ctx,
        .submit_ctx = server->side_lane,
    };
    server->discovery = discovery_open(&options);
    return true;
}

static bool api_begin(struct server *server, struct err *err)
{
    const struct options *options = server->options;
    struct api_options api = {
        .loop = &server->loop,
        .client = server->client,
        .discovery = server->discovery,
        .query_lane = server->query_lane,
        .side_lane = server->side_lane,
        .cors_origin = option_string(options, "web.cors.origin"),
        .external_url = option_string(options, "web.external-url"),
        .route_prefix = options_route_prefix(options),
        .page_title = option_string(options, "web.page-title"),
        .enable_lifecycle = option_bool(options, "web.enable-lifecycle"),
        .enable_admin = option_bool(options, "web.enable-admin-api"),
        .lookback_ms = option_duration_ms(options, "query.lookback-delta"),
        .query_timeout_ms = option_duration_ms(options, "query.timeout"),
        .query_concurrency = (unsigned)option_number(options, "query.max-concurrency"),
        .query_threads = server->query_threads,
        .query_samples_max = option_number(options, "query.max-samples"),
        .query_bytes_max = option_number(options, "query.max-bytes"),
        .query_features = features_of_queries(options),
        .start_time_ms = clock_wall_ms(),
        .version = STR(PROMETHEUS_VERSION),
        .narthex_version = STR(NARTHEX_VERSION),
        .reload = server_reload,
        .quit = server_quit,
        .ctx = server,
    };
    api.flags = options_flags(options, &api.flag_count);
    return api_open(&server->api, &api, err);
}

/* TLS and users of the web listeners. */
static bool gate_begin(struct server *server, struct err *err)
{
    struct web_gate_options options = {
        .loop = &server->loop,
        .path = option_string(server->options, "web.config.file"),
        .handler = api_handle,
        .ctx = server->api,
    };
    if (!web_gate_open(&server->gate, &options, err))
        return false;
    LOG_I(web_gate_has_tls(server->gate) ? "TLS is enabled." : "TLS is disabled.", "http2",
          "false");
    return true;
}

static bool listen_begin(struct server *server, struct err *err)
{
    size_t count = option_count(server->options, "web.listen-address");
    for (size_t i = 0; i < count; i++) {
        struct http_server *listener;
        struct http_server_options options = {
            .address = option_at(server->options, "web.listen-address", i),
            .handler = web_gate_handle,
            .ctx = server->gate,
            .tls_context = web_gate_has_tls(server->gate) ? web_gate_tls : NULL,
            .tls_ctx = server->gate,
            .connections_max = (unsigned)option_number(server->options, "web.max-connections"),
            .head_bytes_max = HEAD_BYTES_MAX,
            .body_bytes_max = BODY_BYTES_MAX,
            .read_timeout_ms = option_duration_ms(server->options, "web.read-timeout"),
            .write_timeout_ms = 60000,
        };
        if (!http_server_open(&listener, &server->loop, &options, err))
            return false;
        VEC_PUSH(&server->listeners, listener);
        server->listeners_open++;
        LOG_I("Listening on", "address", log_str(options.address), "port",
              log_fmt("%u", http_server_port(listener)));
        if (i == 0)
            api_set_server(server->api, listener);
    }
    return true;
}

static bool kube_begin(struct server *server, struct err *err)
{
    struct kube_env env = {
        .options = server->options,
        .loop = &server->loop,
        .client = server->client,
        .discovery = server->discovery,
        .query_lane = server->query_lane,
        .api = server->api,
    };
    bool good = open_kube(&server->kube, &env, err);
    if (server->kube.listener) {
        VEC_PUSH(&server->listeners, server->kube.listener);
        server->listeners_open++;
    }
    return good;
}

int server_run(const struct options *options, struct config *config)
{
    struct server server = {.options = options, .config = config};
    struct err err = {0};
    mem_setup();
    uv_loop_init(&server.loop);
    signals_begin(&server);
    lanes_begin(&server);
    if (discovery_begin(&server, &err) && api_begin(&server, &err) &&
        query_log_begin(&server, &err) && gate_begin(&server, &err) &&
        listen_begin(&server, &err) && kube_begin(&server, &err)) {
        storage_begin(&server);
        scraping_begin(&server);
        reload_begin(&server);
        uv_run(&server.loop, UV_RUN_DEFAULT);
    } else {
        LOG_E(server.load_failed ? "Fatal error"
              : server.gate      ? "Unable to start web listener"
                                 : "Unable to validate web configuration file",
              "err", err.text);
        server.exit_code = 1;
        server.stopping = server.scraper_stopped = true;
        for (size_t i = 0; i < server.listeners.count; i++)
            http_server_close(server.listeners.items[i], 0, on_listener_closed, &server);
    }
    server_close(&server);
    if (server.exit_code == 0)
        LOG_I("See you next time!");
    return server.exit_code;
}
