/* server_tls: the door of the metrics APIs: their certificate, and who may ask. From the flags --kube.*. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "kube.h"
#include "options.h"

struct kube_door {
    struct kube_cert *cert; /* NULL: plain HTTP, with --kube.insecure-no-auth only. */
    struct kube_auth *auth; /* NULL: everyone may ask. */
};

MUST_CHECK bool kube_door_open(struct kube_door *out, const struct options *options,
                               struct uv_loop_s *loop, struct http_client *client, struct err *err);
/* Fills tls_context and tls_ctx. */
void kube_door_set_listener(const struct kube_door *door, struct http_server_options *listener);
/* Before the client closes. {0} is fine. */
void kube_door_close(struct kube_door *door);

#endif
