/* http_client_dialer: whose connections are counted where. NULL: nobody's. */
#ifndef NET_HTTP_CLIENT_DIALER_H
#define NET_HTTP_CLIENT_DIALER_H

#include <curl/curl.h>

#include "net/http_client.h"

struct http_fetch;

void http_dialers_free(struct http_client *client);
/* curl shall tell of this fetch's connections. */
void fetch_watch_dial(struct http_fetch *fetch);
/* At the end of a hop, with its handle still in the multi. */
void fetch_note_dial(struct http_fetch *fetch, CURLcode code);

#endif
