/* write_api: /api/v1/write: hands the body to remote write and answers when that says so. */
#include "core.h"

#include "base/clock.h"

static void write_done(void *ctx, int status, struct str text)
{
    struct call *call = ctx;

    if (status == 204)
        answer(call, 204, NULL, NULL);
    else
        answer_plain_error(call, status, text);
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
