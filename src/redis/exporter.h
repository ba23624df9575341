/* exporter: HTTP requests into looks at Redis, and these into answers. Private to redis; loop thread.
 *
 *     exporter_open -> exporter_handle (for each request) -> exporter_stop -> exporter_close
 */
#ifndef REDIS_EXPORTER_H
#define REDIS_EXPORTER_H

#include <stdbool.h>

#include "base/err.h"
#include "flags.h"
#include "net/http_server.h"
#include "net/loop.h"

struct exporter;

/* Reads the files that the flags name; flags is borrowed. */
MUST_CHECK bool exporter_open(struct exporter **out, struct uv_loop_s *loop,
                              const struct flags *flags, struct err *err);
void exporter_handle(void *exporter, struct http_exchange *exchange); /* A http_handler_fn. */
/* Reads the password file again, if there is one. */
MUST_CHECK bool exporter_reload(struct exporter *exporter, struct err *err);
void exporter_stop(struct exporter *exporter); /* Ends what is in flight with an answer. */
void exporter_close(struct exporter *exporter);

#endif
