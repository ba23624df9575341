/* http_request: a parsed request in the public form. */
#ifndef NET_HTTP_REQUEST_H
#define NET_HTTP_REQUEST_H

#include <stdbool.h>

#include "base/err.h"
#include "http_parse.h"
#include "net/http_server.h"

/* Fills all but body and remote_address; the texts are copies in out->arena. Fails on a target that
 * has no path. */
MUST_CHECK bool http_request_build(const struct http_parse *parse, struct http_request *out,
                                   struct err *err);

#endif
