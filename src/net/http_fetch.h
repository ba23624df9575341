/* http_fetch: one request with its redirects: what http_client.c (its course), http_fetch_options.c
 * (its options), http_fetch_hop.c (one transfer after the other), http_fetch_curl.c (what curl says) and http_fetch_end.c
 * (its errors) share. Inside curl's fence. What can do without curl (http_direct.h) is a `direct` first.
 *
 *   options -> (token) -> hop -> transfer -> redirect? -> hop -> transfer -> end
 *
 * A hop is one transfer of curl's. Redirects are not left to curl, since each hop decides anew: is
 * there a proxy for that host, do credentials go there, which name has the certificate. */
#ifndef NET_HTTP_FETCH_H
#define NET_HTTP_FETCH_H

#include <curl/curl.h>

#include "base/buf.h"
#include "base/list.h"
#include "http_direct.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "net_text.h"
#include "oauth2_token.h"

#define FETCH_CONNECT_TIMEOUT_MS 30000 /* As Go's default dialer. */

struct http_fetch {
    struct list_node node;     /* In client->fetches. */
    struct list_node due_node; /* In client->due. */
    struct http_client *client;
    struct direct *direct; /* While it goes without curl; what follows is curl's then. */
    CURL *easy;            /* NULL until curl is needed. */
    struct curl_slist *headers, *private_headers, *proxy_headers; /* Lists of their own. */
    struct curl_slist *host_header, *connect_to;                  /* Of the hop. */
    http_head_fn on_head;
    http_bytes_fn on_bytes;
    http_done_fn on_done;
    void *ctx;
    /* Owned texts; NULL: none. `url` is that of the hop, `shown_url` that of errors. */
    char *url, *shown_url, *method, *user, *password, *server_name, *proxy_url, *no_proxy;
    char *ca_file, *cert_file, *key_file;
    struct http_dialer *dialer; /* NULL: connections are not counted. */
    bool dialed, dial_counted;  /* Of the hop. */
    bool fresh;                 /* No old connections any more. */
    char *first_host; /* Credentials are for this one and what is below. */
    bool host_given;  /* The owner has a Host field of its own. */
    bool proxy_from_environment, through_proxy;
    int64_t timeout_ms, deadline_ms; /* 0: none. */
    bool follow_redirects;
    bool redirecting; /* The head was one that we follow, to `location`. */
    unsigned hop_count;
    size_t skipped_bytes; /* Of a redirect's body. */
    struct buf location;
    bool credentials_dropped;
    struct token *token; /* NULL: none needed, or had. */
    struct token_waiter waiter;
    struct timer *wait_timer;
    bool added; /* To the multi. */
    bool canceled;
    bool refused; /* Before it began, for its options; err has no operation before it. */
    bool paused;      /* The owner's wish. */
    bool curl_paused; /* on_body has handed bytes back. */
    bool ended;       /* Well, while paused: on_done is held back. */
    bool done_called;
    bool head_told;
    int status;
    struct buf content_type, content_encoding, reason;
    char address[2 * NET_ADDRESS_TEXT_MAX + 2]; /* First one dialled, or both ends. */
    char curl_text[CURL_ERROR_SIZE];
    struct err err; /* Set by a callback of the owner's, or before the start. Last: it is large. */
};

/* --- http_fetch_options.c --- */

/* Copies the options, and hands to curl what is the same for all hops. What is wrong with them goes
 * to fetch->err, and on_done tells it. */
void fetch_set_options(struct http_fetch *fetch, const struct http_fetch_options *options);
void fetch_options_free(struct http_fetch *fetch);
/* Line by line; `between` and `value` may be empty. */
void fetch_add_header(struct http_fetch *fetch, struct curl_slist **list, struct str name,
                      struct str between, struct str value);
/* "text" is the error, unless there is one. */
void fetch_refuse(struct http_fetch *fetch, const char *text);

/* --- http_fetch_curl.c --- */

void fetch_set_callbacks(struct http_fetch *fetch);
/* A hash of who asks whom: the dialer, the hop's host and port. */
uint64_t fetch_peer(const struct http_fetch *fetch);
/* on_head, once. False: the owner has had enough, and fetch->err says why. */
bool fetch_tell_head(struct http_fetch *fetch);

/* --- http_fetch_hop.c --- */

/* Hands to curl what this hop needs. False: fetch->err says why not. */
bool fetch_set_hop(struct http_fetch *fetch);
void fetch_hop_free(struct http_fetch *fetch); /* Before fetch_options_free. */
/* From the redirect's Location to the next hop's URL. False: as above. */
bool fetch_follow(struct http_fetch *fetch);
/* Whether a head with this status and fetch->location is one to follow. */
bool fetch_is_redirect(const struct http_fetch *fetch);

/* --- http_fetch_end.c --- */

/* The error of a transfer that has failed, or of what came before it. */
void fetch_set_failure(struct http_fetch *fetch, CURLcode code);
void fetch_set_timeout(struct http_fetch *fetch);
/* What is wrong with the options, behind the operation. */
void fetch_set_refusal(struct http_fetch *fetch);
/* Get "url": text. */
void fetch_set_text(struct http_fetch *fetch, enum err_code code, const char *text);

#endif
