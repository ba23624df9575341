/* serve: the exporter as a program: flags, a loop, a listener, signals. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "exporter.h"
#include "listen_tls.h"
#include "redis.h"

#define STOP_GRACE_MS 2000

struct program {
    uv_loop_t loop;
    struct flags flags;
    struct exporter *exporter;
    struct listen_tls tls;
    struct http_server *server;
    uv_signal_t on_term, on_int, on_hup;
    bool stopping;
};

static void server_closed(void *ctx)
{
    struct program *program = ctx;
    program->server = NULL;
}

static void program_stop(struct program *program)
{
    if (program->stopping)
        return;
    program->stopping = true;
    LOG_I("Received a signal, exiting");
    exporter_stop(program->exporter);
    http_server_close(program->server, STOP_GRACE_MS, server_closed, program);
    uv_close((uv_handle_t *)&program->on_term, NULL);
    uv_close((uv_handle_t *)&program->on_int, NULL);
    uv_close((uv_handle_t *)&program->on_hup, NULL);
}

static void on_term(uv_signal_t *handle, int number)
{
    (void)number;
    program_stop(CONTAINER_OF(handle, struct program, on_term));
}

static void on_int(uv_signal_t *handle, int number)
{
    (void)number;
    program_stop(CONTAINER_OF(handle, struct program, on_int));
}

static void on_hup(uv_signal_t *handle, int number)
{
    struct program *program = CONTAINER_OF(handle, struct program, on_hup);
    struct err err = {0};
    (void)number;
    if (!exporter_reload(program->exporter, &err))
        LOG_E("Reload failed, the old passwords stay", "err", err.text);
}

static void watch(struct program *program, uv_signal_t *handle, int number, uv_signal_cb fn)
{
    ENSURE(uv_signal_init(&program->loop, handle) == 0);
    uv_signal_start(handle, fn, number);
}

/* A request that came while we stop finds no exporter to ask. */
static void handle_request(void *ctx, struct http_exchange *exchange)
{
    struct program *program = ctx;
    if (program->stopping)
        http_reply_text(exchange, 503, "stopping");
    else
        exporter_handle(program->exporter, exchange);
}

static bool program_open(struct program *program, struct err *err)
{
    struct http_server_options options = {
        .address = program->flags.listen_address,
        .handler = handle_request,
        .ctx = program,
        .body_bytes_max = (size_t)1 << 20,
    };
    if (!listen_tls_open(&program->tls, &program->flags, err))
        return false;
    options.tls_context = program->tls.context ? listen_tls_context : NULL;
    options.tls_ctx = &program->tls;
    return exporter_open(&program->exporter, &program->loop, &program->flags, err) &&
           http_server_open(&program->server, &program->loop, &options, err);
}

static int program_run(struct program *program)
{
    struct err err = {0};
    int exit_code = 0;
    ENSURE(uv_loop_init(&program->loop) == 0);
    if (program_open(program, &err)) {
        watch(program, &program->on_term, SIGTERM, on_term);
        watch(program, &program->on_int, SIGINT, on_int);
        watch(program, &program->on_hup, SIGHUP, on_hup);
        LOG_I("Providing metrics", "address", log_str(program->flags.listen_address), "path",
              log_str(program->flags.telemetry_path));
    } else {
        LOG_E("Cannot start", "err", err.text);
        exit_code = 1;
    }
    uv_run(&program->loop, UV_RUN_DEFAULT);
    exporter_close(program->exporter);
    uv_run(&program->loop, UV_RUN_DEFAULT); /* What that has closed. */
    listen_tls_close(&program->tls);
    ENSURE(uv_loop_close(&program->loop) == 0);
    return exit_code;
}

int redis_exporter_main(int argc, char **argv)
{
    struct program *program = MEM_NEW(struct program);
    struct err err = {0};
    int exit_code = 0;
    if (!flags_parse(&program->flags, argc, argv, &err)) {
        fprintf(stderr, "%s\n", err.text);
        flags_print_help();
        exit_code = 2;
    } else if (program->flags.help) {
        flags_print_help();
    } else if (program->flags.version) {
        printf("narthex redis-exporter, a stand-in for redis_exporter\n");
    } else {
        enum log_level level = LOG_INFO;
        (void)log_level_parse(program->flags.log_level, &level);
        log_setup(program->flags.debug ? LOG_DEBUG : level,
                  str_eq(program->flags.log_format, STR("json")) ? LOG_JSON : LOG_LOGFMT);
        exit_code = program_run(program);
    }
    mem_free(program);
    return exit_code;
}
