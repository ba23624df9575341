/* door: who may ask the exporter: nobody in particular, or one user, by a password or by its bcrypt hash.
 *
 *     door_ask -> as the last good header? -> pass
 *              -> (bcrypt, on a lane: tens of milliseconds) -> pass or 401
 *
 * Loop thread. */
#ifndef REDIS_DOOR_H
#define REDIS_DOOR_H

#include "base/err.h"
#include "flags.h"
#include "net/http_server.h"
#include "net/loop.h"

struct door;

MUST_CHECK bool door_open(struct door **out, struct uv_loop_s *loop, const struct flags *flags,
                          struct err *err);
/* Calls pass(ctx, exchange), maybe later, or answers by itself. */
void door_ask(struct door *door, struct http_exchange *exchange, http_handler_fn pass, void *ctx);
void door_stop(struct door *door);  /* Nobody passes any more. */
void door_close(struct door *door); /* NULL is fine. */

#endif
