/* account: requests of ours to the API server: where it is and who we are is read anew for each, since tokens live for an
 * hour. Loop thread.
 *
 *     kube_call -> on_line ... -> on_end   (on_end exactly once, never inside kube_call; or kube_call_drop at any time) */
#ifndef KUBE_ACCOUNT_H
#define KUBE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "net/http_client.h"

struct kube_account {
    struct http_client *client; /* Borrowed. */
    char *api_server;           /* Owned, as the next. Empty: that of the environment. */
    char *token_file,
        *ca_file; /* Empty: those of the service account, when api_server is empty, too. */
};

void kube_account_init(struct kube_account *account, struct http_client *client,
                       struct str api_server, struct str token_file, struct str ca_file);
void kube_account_deinit(struct kube_account *account);
/* Whether it is known where the API server is. */
MUST_CHECK bool kube_account_check(const struct kube_account *account, struct err *err);
/* For tests: where the files of the service account are. NULL: where Kubernetes puts them. */
void kube_account_set_dir(const char *dir);

struct kube_call;

/* One line of a watch. False: an error, with which the call ends. */
typedef bool (*kube_line_fn)(void *ctx, struct str line, struct err *err);
/* err->code is ERR_NONE when the status is 2xx; `body` is then JSON or nothing. */
typedef void (*kube_end_fn)(void *ctx, const struct json *body, const struct err *err);

struct kube_call_options {
    const char *method;
    struct str path;          /* With the query. */
    const char *content_type; /* With a body. */
    struct str body;
    int64_t timeout_ms;
    kube_line_fn on_line; /* NULL: not a watch. */
    kube_end_fn on_end;
    void *ctx;
};

/* False: it could not even begin, and no callback comes. */
MUST_CHECK bool kube_call(struct kube_call **out, const struct kube_account *account,
                          const struct kube_call_options *options, struct err *err);
void kube_call_drop(
    struct kube_call *call); /* Before on_end; nothing comes any more. NULL is fine. */
int kube_call_status(const struct kube_call *call); /* In on_end: of HTTP; 0: none came. */

#endif
