/* write_api: /api/v1/write: hands the body to remote write and answers when that says so. */
#include "core.h"

#include <stdio.h>

#include "base/clock.h"

/* Version 2: what was stored, also when something else was refused. */
static void answer_written(struct call *call, int status, struct str text,
                           const struct write_written *written)
{
    char numbers[3][24];
    snprintf(numbers[0], sizeof(numbers[0]), "%llu", (unsigned long long)written->samples);
    snprintf(numbers[1], sizeof(numbers[1]), "%llu", (unsigned long long)written->histograms);
    snprintf(numbers[2], sizeof(numbers[2]), "%llu", (unsigned long long)written->exemplars);
    struct http_header headers[] = {
        {STR("X-Prometheus-Remote-Write-Samples-Written"), str_of(numbers[0])},
        {STR("X-Prometheus-Remote-Write-Histograms-Written"), str_of(numbers[1])},
        {STR("X-Prometheus-Remote-Write-Exemplars-Written"), str_of(numbers[2])},
        {STR("X-Content-Type-Options"), STR("nosniff")},
    };
    struct buf body;

    if (status == 204) {
        answer_with(call, status, headers, 3, NULL);
        return;
    }
    buf_init(&body, ANSWER_BYTES_MAX);
    buf_add_str(&body, text);
    buf_add_char(&body, '\n');
    answer_with(call, status, headers, COUNT_OF(headers), &body);
}

static void write_done(void *ctx, int status, struct str text, const struct write_written *written)
{
    struct call *call = ctx;

    if (written)
        answer_written(call, status, text, written);
    else if (status == 204)
        answer(call, 204, NULL, NULL);
    else
        answer_plain_error(call, status, text);
}

void serve_otlp(struct call *call)
{
    answer_plain_error(
        call, 404, STR("otlp write receiver needs to be enabled with --web.enable-otlp-receiver"));
}

void serve_write(struct call *call)
{
    struct write_receiver *receiver = call->api->options.write_receiver;

    if (!receiver) {
        answer_plain_error(call, 404,
                           STR("remote write receiver needs to be enabled with "
                               "--web.enable-remote-write-receiver"));
        return;
    }
    struct write_headers headers = {
        .content_type = http_request_header(call->request, "Content-Type"),
        .content_encoding = http_request_header(call->request, "Content-Encoding"),
    };
    write_receive(receiver, &headers, call->request->body, clock_wall_ms(), write_done, call);
}
