/* oauth2_token: tokens that fetches share.
 *
 *   token_ref -> token_authorize: at once true, or the fetch waits and is told -> token_unref
 *
 * A token is asked for when a fetch needs it and there is none that lives for TOKEN_SPARE_MS more;
 * all that come meanwhile wait for the same answer. Loop thread. */
#ifndef NET_OAUTH2_TOKEN_H
#define NET_OAUTH2_TOKEN_H

#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "net/http_client.h"

struct token;

struct token_waiter {
    struct list_node node;
    /* Exactly once, unless it leaves before. `err` is NULL when there is a token. */
    void (*told)(struct token_waiter *waiter, struct str authorization, const struct err *err);
};

struct token *token_ref(struct list *tokens, struct http_client *client,
                        const struct http_oauth2 *oauth2);
void token_unref(struct token *token); /* NULL is fine. The token stays for who comes next. */
/* True: *authorization is "Bearer abc", valid for the call. False: the waiter has been queued. */
bool token_authorize(struct token *token, struct token_waiter *waiter, struct str *authorization);
void token_waiter_leave(struct token_waiter *waiter);
/* When the client goes, after the last fetch. */
void tokens_free(struct list *tokens);

#endif
