/* kube_api: why a metric of Kubernetes' metrics APIs has its value. Answered by who serves those. */
#include "core.h"

void api_set_explain(struct api *api, void (*explain)(void *ctx, struct http_exchange *exchange),
                     void *ctx)
{
    api->explain = explain;
    api->explain_ctx = ctx;
}

void api_set_more_metrics(struct api *api, void (*write)(void *ctx, struct buf *out), void *ctx)
{
    api->more_metrics = write;
    api->more_metrics_ctx = ctx;
}

void serve_kube_explain(struct call *call)
{
    struct err err;

    if (call->api->explain) {
        call->api->explain(call->api->explain_ctx, call->exchange);
        return;
    }
    err_set(&err, ERR_NOT_FOUND,
            "the metrics APIs of Kubernetes are not served: --kube.listen-address is not set");
    answer_error(call, &err);
}
