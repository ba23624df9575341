/* web_gate: the door of the web listeners, as the file of --web.config.file wants it: TLS, headers on every answer, and
 * users with passwords.
 *
 *     http_server -> web_gate_handle -> (password, on a thread of its own) -> the handler behind
 *
 * The file and what it names are looked at for each connection and request; what changed holds from then on. Loop thread. */
#ifndef WEB_GATE_H
#define WEB_GATE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "net/http_server.h"
#include "net/loop.h"

struct web_gate;

struct web_gate_options {
    struct uv_loop_s *loop;
    struct str path;         /* Of the file; empty: everything is open. */
    http_handler_fn handler; /* Behind the door. */
    void *ctx;
};

MUST_CHECK bool web_gate_open(struct web_gate **out, const struct web_gate_options *options,
                              struct err *err);
bool web_gate_has_tls(const struct web_gate *gate); /* When it was opened: a listener stays what it is. */
struct tls_context *web_gate_tls(void *gate);       /* For http_server_options. NULL: the file is bad. */
void web_gate_handle(void *gate, struct http_exchange *exchange);
/* No exchange may be in flight. Waits for passwords that are being checked. NULL is fine. */
void web_gate_close(struct web_gate *gate);

#endif
