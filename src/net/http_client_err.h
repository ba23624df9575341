/* http_client_err: what curl says went wrong, in the words of Go's net/http, which operators search
 * for. */
#ifndef NET_HTTP_CLIENT_ERR_H
#define NET_HTTP_CLIENT_ERR_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* What a failed transfer knows. curl's own code is translated by the caller, inside curl's fence.
 */
enum fetch_failure {
    FETCH_TIMEOUT,
    FETCH_CONNECT_TIMEOUT,
    FETCH_CONNECT,
    FETCH_RESOLVE,
    FETCH_RESOLVE_PROXY,
    FETCH_EMPTY_ANSWER,
    FETCH_CUT_SHORT,
    FETCH_RECEIVE,
    FETCH_SEND,
    FETCH_REDIRECTS,
    FETCH_BAD_SCHEME,
    FETCH_CERTIFICATE,
    FETCH_OTHER,
};

struct fetch_failure_facts {
    enum fetch_failure failure;
    struct str method;   /* GET */
    struct str url;      /* Of the last hop. */
    struct str host;     /* Of that, for lookups. */
    const char *address; /* First one that was dialled, 127.0.0.1:9090; "" when none. */
    int errno_value;     /* 0: unknown. */
    const char *text;    /* curl's words. */
    bool through_proxy;
    bool head_seen; /* Go names method and URL only before the head. */
};

void fetch_err_set(struct err *err, const struct fetch_failure_facts *facts);

#endif
