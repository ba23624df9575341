/* http_fetch: one transfer: what http_client.c (its course) and http_fetch_options.c (its options)
 * share. Inside curl's fence. */
#ifndef NET_HTTP_FETCH_H
#define NET_HTTP_FETCH_H

#include <curl/curl.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/http_client.h"
#include "net_text.h"

#define FETCH_CONNECT_TIMEOUT_MS 30000 /* As Go's default dialer. */

struct http_fetch {
    struct list_node node;     /* In client->fetches. */
    struct list_node due_node; /* In client->due. */
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    http_head_fn on_head;
    http_bytes_fn on_bytes;
    http_done_fn on_done;
    void *ctx;
    char *url, *method; /* Owned. */
    int64_t timeout_ms;
    bool follow_redirects, through_proxy, url_rewritten;
    bool added; /* To the multi. */
    bool canceled;
    bool paused;      /* The owner's wish. */
    bool curl_paused; /* on_body has handed bytes back. */
    bool ended;       /* Well, while paused: on_done is held back. */
    bool done_called;
    bool head_told;
    struct err err; /* Set by a callback of the owner's, or before the start. */
    int status;
    bool has_location;
    struct buf content_type, content_encoding, reason;
    char address[NET_ADDRESS_TEXT_MAX]; /* First one dialled. */
    char curl_text[CURL_ERROR_SIZE];
};

/* Hands the options to curl. What is wrong with them goes to fetch->err, and on_done tells it. */
void fetch_set_options(struct http_fetch *fetch, const struct http_fetch_options *options);

#endif
