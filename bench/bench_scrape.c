/* bench: scrape */
/* CPU per sample of whole scrapes, from the socket to the log: a child process serves 500 lines to
 * each of 40 targets that are scraped every 250 ms into a storage of our own. Values change, lines
 * do not. Prints what this process alone used. The first argument names a directory for the
 * storage; the second, "gzip", asks for compressed answers. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/log.h"
#include "net/http_server.h"
#include "scrape.h"

#define TARGETS 40
#define LINES   500
#define BODIES  8

struct bench {
    uv_loop_t loop;
    struct storage *storage;
    struct scraper *scraper;
    uv_timer_t tick;
    uv_timer_t end;
    bool stopped, measuring;
    struct rusage before;
    uint64_t samples_before;
    int64_t wall_before_ns;
};

static struct buf bodies[BODIES];
static bool use_gzip;

static void serve(void *ctx, struct http_exchange *exchange)
{
    static unsigned turn;
    struct http_header encoding = {STR("Content-Encoding"), STR("gzip")};
    struct http_response response = {.status = 200,
                                     .content_type = "text/plain; version=0.0.4",
                                     .headers = &encoding,
                                     .header_count = use_gzip,
                                     .no_compression = true};
    struct buf body;

    (void)ctx;
    buf_init(&body, (size_t)1 << 24);
    buf_add_str(&body, buf_str(&bodies[turn++ / TARGETS % BODIES]));
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void body_fill(struct buf *body, int round)
{
    struct buf text;

    buf_init(&text, (size_t)1 << 24);
    for (int i = 0; i < LINES; i++) {
        if (i % 5 == 0)
            buf_addf(&text,
                     "# HELP node_metric_%d_total Something of group %d.\n"
                     "# TYPE node_metric_%d_total counter\n",
                     i / 5, i / 5, i / 5);
        buf_addf(&text,
                 "node_metric_%d_total{cpu=\"%d\",device=\"nvme%dn1\",mode=\"iowait\"} %d.%d\n",
                 i / 5, i % 5, i % 4, i * 7919 + round * (i % 3), i % 100);
    }
    buf_init(body, (size_t)1 << 24);
    if (use_gzip)
        deflate_encode(DEFLATE_GZIP, buf_str(&text), body);
    else
        buf_add_str(body, buf_str(&text));
    buf_deinit(&text);
}

/* The child: never returns. */
static void run_server(int port_pipe)
{
    uv_loop_t loop;
    struct http_server *server;
    struct err err;
    struct http_server_options options = {.address = STR("127.0.0.1:0"),
                                          .handler = serve,
                                          .connections_max = 2 * TARGETS,
                                          .head_bytes_max = 65536,
                                          .body_bytes_max = 65536,
                                          .read_timeout_ms = 60000,
                                          .write_timeout_ms = 60000};

    for (int i = 0; i < BODIES; i++)
        body_fill(&bodies[i], i);
    uv_loop_init(&loop);
    if (!http_server_open(&server, &loop, &options, &err))
        _exit(1);
    uint16_t port = http_server_port(server);
    if (write(port_pipe, &port, sizeof(port)) != sizeof(port))
        _exit(1);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

static void submit_now(void *ctx, struct job *job)
{
    (void)ctx;
    job->run(job);
    job->done(job);
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *bench = CONTAINER_OF(timer, struct bench, tick);
    (void)storage_tick(bench->storage, clock_mono_ms());
}

static void on_stopped(void *ctx)
{
    struct bench *bench = ctx;
    bench->stopped = true;
    uv_stop(&bench->loop);
}

static double cpu_seconds(const struct rusage *usage)
{
    return (double)usage->ru_utime.tv_sec + (double)usage->ru_utime.tv_usec / 1e6 +
           (double)usage->ru_stime.tv_sec + (double)usage->ru_stime.tv_usec / 1e6;
}

static void on_end(uv_timer_t *timer)
{
    struct bench *bench = CONTAINER_OF(timer, struct bench, end);
    struct storage_stats stats;
    struct scraper_stats scraper_stats;
    struct rusage now;

    storage_get_stats(bench->storage, &stats);
    scraper_get_stats(bench->scraper, &scraper_stats);
    getrusage(RUSAGE_SELF, &now);
    if (!bench->measuring) {
        bench->measuring = true;
        bench->before = now;
        bench->samples_before = stats.samples_appended;
        uv_timer_start(&bench->end, on_end, 8000, 0);
        return;
    }
    double samples = (double)(stats.samples_appended - bench->samples_before);
    double seconds = cpu_seconds(&now) - cpu_seconds(&bench->before);
    double user = (double)(now.ru_utime.tv_sec - bench->before.ru_utime.tv_sec) +
                  (double)(now.ru_utime.tv_usec - bench->before.ru_utime.tv_usec) / 1e6;
    const char *kind = use_gzip ? "gzip" : "plain";
    printf("scrape_%s_cpu %.3f us/sample\n", kind, seconds * 1e6 / samples);
    printf("scrape_%s_cpu_user %.3f us/sample\n", kind, user * 1e6 / samples);
    printf("scrape_%s_samples %.0f samples\n", kind, samples);
    printf("scrape_%s_failures %llu scrapes\n", kind,
           (unsigned long long)scraper_stats.scrape_failures);
    scraper_stop(bench->scraper, on_stopped, bench);
}

static struct config *make_config(uint16_t port)
{
    struct config *config = NULL;
    struct err err;
    struct buf yaml;

    buf_init(&yaml, 1 << 20);
    buf_addf(&yaml, "scrape_configs:\n- job_name: bench\n  scrape_interval: 250ms\n"
                    "  scrape_timeout: 250ms\n  static_configs:\n");
    for (int i = 0; i < TARGETS; i++)
        buf_addf(&yaml, "  - {targets: ['127.0.0.1:%u'], labels: {instance: 'host-%d'}}\n", port,
                 i);
    if (!config_parse(&config, buf_str(&yaml), STR("bench.yml"), &err))
        fprintf(stderr, "%s\n", err.text);
    buf_deinit(&yaml);
    return config;
}

static void bench_run(struct bench *bench, const char *directory, uint16_t port)
{
    struct http_client *client;
    struct storage_options options;
    struct config *config = make_config(port);
    struct err err;

    storage_options_init(&options);
    options.path = str_of(directory);
    options.submit_commit = submit_now;
    uv_loop_init(&bench->loop);
    if (!config || !storage_open(&bench->storage, &options, &err) ||
        !http_client_open(&client, &bench->loop, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    struct scraper_options scraper = {.loop = &bench->loop,
                                      .client = client,
                                      .storage = bench->storage,
                                      .user_agent = STR("bench"),
                                      .tolerance_ms = 2};
    bench->scraper = scraper_open(&scraper);
    scraper_apply(bench->scraper, config);
    scraper_set_groups(bench->scraper, STR("bench"), config->scrapes[0].static_sd.groups,
                       config->scrapes[0].static_sd.count);
    uv_timer_init(&bench->loop, &bench->tick);
    uv_timer_start(&bench->tick, on_tick, 50, 50);
    uv_timer_init(&bench->loop, &bench->end);
    uv_timer_start(&bench->end, on_end, 2000, 0);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    scraper_free(bench->scraper);
    http_client_close(client);
    storage_close(bench->storage);
    config_unref(config);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    int port_pipe[2];
    uint16_t port = 0;

    if (argc < 2 || pipe(port_pipe) != 0) {
        fprintf(stderr, "usage: %s DIRECTORY [gzip]\n", argv[0]);
        return 2;
    }
    use_gzip = argc > 2;
    log_setup(LOG_WARN, LOG_LOGFMT);
    pid_t child = fork();
    if (child == 0)
        run_server(port_pipe[1]);
    if (child < 0 || read(port_pipe[0], &port, sizeof(port)) != sizeof(port))
        return 1;
    bench_run(&bench, argv[1], port);
    kill(child, SIGTERM);
    (void)waitpid(child, NULL, 0);
    return 0;
}
