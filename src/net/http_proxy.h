/* http_proxy: whether a request goes through a proxy, and which. Pure but for the environment. */
#ifndef NET_HTTP_PROXY_H
#define NET_HTTP_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct proxy_rule {
    struct str url;      /* Empty: none, or from the environment. */
    struct str no_proxy; /* Looked at with `url`. */
    bool from_environment;
};

/* Where a request goes. `host` has no brackets. */
struct proxy_aim {
    struct str scheme, host;
    uint16_t port;
};

/* Writes the proxy's URL, nothing when the request goes straight. */
void proxy_choose(struct buf *out, const struct proxy_rule *rule, const struct proxy_aim *aim);
/* Whether the list keeps that aim from the proxy: hosts, .domains, *.domains, addresses, networks,
 * each with or without :port, and * for all. Loopback never goes through a proxy that has a list.
 */
bool no_proxy_has(struct str list, const struct proxy_aim *aim);

#endif
