/* server_kube: see server_kube.h. */
#include "server_kube.h"

#include "base/log.h"
#include "server.h"

#define HEAD_BYTES_MAX ((size_t)64 << 10)
#define BODY_BYTES_MAX ((size_t)64 << 10) /* Nobody has a reason to send one. */

static void explain(void *kube, struct http_exchange *exchange)
{
    kube_explain(kube, exchange);
}

static void write_metrics(void *kube, struct buf *out)
{
    kube_write_metrics(kube, out);
}

static bool open_apis(struct kube_parts *out, const struct kube_env *env, struct err *err)
{
    const struct options *options = env->options;
    struct kube_options kube = {
        .loop = env->loop,
        .discovery = env->discovery,
        .query_lane = env->query_lane,
        .auth = out->door.auth,
        .rules_file = option_string(options, "kube.rules-file"),
        .serve_external = option_bool(options, "kube.external-metrics"),
        .serve_resource = option_bool(options, "kube.resource-metrics"),
        .lookback_ms = option_duration_ms(options, "query.lookback-delta"),
        .query_timeout_ms = option_duration_ms(options, "query.timeout"),
        .query_samples_max = option_number(options, "query.max-samples"),
        .query_bytes_max = option_number(options, "query.max-bytes"),
        .version = STR(NARTHEX_VERSION),
    };
    return kube_open(&out->kube, &kube, err);
}

static bool open_listener(struct kube_parts *out, const struct kube_env *env, struct err *err)
{
    struct http_server_options options = {
        .address = option_string(env->options, "kube.listen-address"),
        .handler = kube_handle,
        .ctx = out->kube,
        .connections_max = (unsigned)option_number(env->options, "web.max-connections"),
        .head_bytes_max = HEAD_BYTES_MAX,
        .body_bytes_max = BODY_BYTES_MAX,
        .read_timeout_ms = option_duration_ms(env->options, "web.read-timeout"),
        .write_timeout_ms = 60000,
    };
    kube_door_set_listener(&out->door, &options);
    if (!http_server_open(&out->listener, env->loop, &options, err))
        return false;
    LOG_I("Serving the metrics APIs of Kubernetes on", "address", log_str(options.address), "port",
          log_fmt("%u", http_server_port(out->listener)));
    return true;
}

bool open_kube(struct kube_parts *out, const struct kube_env *env, struct err *err)
{
    *out = (struct kube_parts){0};
    if (option_string(env->options, "kube.listen-address").len == 0)
        return true;
    if (!kube_door_open(&out->door, env->options, env->loop, env->client, err) ||
        !open_apis(out, env, err) || !open_listener(out, env, err))
        return false;
    api_set_explain(env->api, explain, out->kube);
    api_set_more_metrics(env->api, write_metrics, out->kube);
    return true;
}

void close_kube(struct kube_parts *parts)
{
    kube_close(parts->kube);
    parts->kube = NULL;
}
