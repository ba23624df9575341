/* server_kube: the metrics APIs of Kubernetes among the parts of the server. Loop thread. */
#ifndef SERVER_KUBE_H
#define SERVER_KUBE_H

#include "api.h"
#include "discovery.h"
#include "kube.h"
#include "net/http_server.h"
#include "options.h"
#include "server_tls.h"

struct kube_parts {
    struct kube *kube;            /* NULL: not asked for. */
    struct kube_door door;        /* Closed before the client. */
    struct http_server *listener; /* Whoever opened it closes it. */
};

struct kube_env {
    const struct options *options;
    struct uv_loop_s *loop;
    struct http_client *client;
    struct discovery *discovery;
    struct lane *query_lane;
    struct api *api; /* Is told who explains. */
};

/* Does nothing without --kube.listen-address. On failure what is in *out is still to be closed. */
MUST_CHECK bool open_kube(struct kube_parts *out, const struct kube_env *env, struct err *err);
/* Nothing is in flight and the listener is closed. */
void close_kube(struct kube_parts *parts);

#endif
