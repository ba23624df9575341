/* listen_tls: HTTPS of the exporter's own listener, from the flags tls-server-*. Private to redis; loop thread. */
#ifndef REDIS_LISTEN_TLS_H
#define REDIS_LISTEN_TLS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/text_file.h"
#include "flags.h"
#include "net/tls.h"

struct listen_tls {
    const struct flags *flags;   /* Borrowed. */
    struct tls_context *context; /* A reference. NULL: plain HTTP. */
    struct text_file_stamp stamp;
    bool has_failed; /* The last time; said once. */
};

MUST_CHECK bool listen_tls_open(struct listen_tls *out, const struct flags *flags, struct err *err);
void listen_tls_close(struct listen_tls *listen);
/* For http_server_options: the files as they are now or, while they are bad, as they were. */
struct tls_context *listen_tls_context(void *listen);

#endif
