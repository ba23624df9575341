/* oauth2: the client credentials grant as texts: what is asked, and what the answer means. Pure. */
#ifndef NET_OAUTH2_H
#define NET_OAUTH2_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/http_client.h"

/* The form to POST, sorted by name. With `secret_in_form` it also says who asks. */
MUST_CHECK bool oauth2_form(struct buf *out, const struct http_oauth2 *oauth2, bool secret_in_form,
                            struct err *err);

struct oauth2_reply {
    int status;
    struct str reason, content_type, body;
};

struct oauth2_token {
    struct str authorization; /* "Bearer abc". The arena's. */
    int64_t lives_s;          /* 0: for ever. */
};

/* Errors in the words of Go's oauth2: oauth2: "invalid_client" "no such client"; oauth2: cannot
 * fetch token: 401 Unauthorized, and the answer. */
MUST_CHECK bool oauth2_token_parse(struct oauth2_token *out, const struct oauth2_reply *reply,
                                   struct arena *arena, struct err *err);

#endif
