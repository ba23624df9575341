/* http_client_private: what http_client.c (fetches, their course) and http_client_poll.c (curl's sockets on the loop) share. */
#ifndef NET_HTTP_CLIENT_PRIVATE_H
#define NET_HTTP_CLIENT_PRIVATE_H

#include <uv.h>

#include "base/map.h"
#include "base/vec.h"
#include "http_client_dialer.h"
#include "http_fetch.h"
#include "tls_watch.h"

/* Handles kept for the next fetches: making one costs tens of microseconds. */
#define IDLE_EASY_MAX 32

struct client_socket {
    struct list_node node; /* In client->sockets. */
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    struct direct_pool *direct_pool;
    bool direct;           /* It may be used. */
    uv_timer_t curl_timer; /* When curl wants to be called without a socket event. */
    uv_idle_t deferred;
    bool curl_due; /* Curl asked to be called at once. */
    struct list fetches;
    struct list due;     /* Fetches with a mark that client_on_deferred shall look at. */
    struct list sockets; /* Those that curl has not let go of. */
    struct list tokens;  /* OAuth2. */
    struct tls_watch tls; /* Of the sockets that curl is acting on. */
    VEC(struct http_dialer *) dialers;        /* Owned. */
    struct map dialer_map;                    /* Name to index. */
    VEC(struct http_dialer *) socket_dialers; /* By descriptor of curl's connections. NULL: none. */
    CURL *idle[IDLE_EASY_MAX];
    unsigned idle_count;
    unsigned depth; /* Entry points on the stack. */
    bool closing;
    unsigned handles_open; /* The two timers and every client_socket. */
};

/* --- http_client.c --- */

/* Lets curl act on a socket's events, or (CURL_SOCKET_TIMEOUT) on time that has passed, and ends what has ended. */
void http_client_act(struct http_client *client, curl_socket_t fd, int events);
void http_client_on_deferred(uv_idle_t *idle);

/* --- http_client_poll.c --- */

void http_client_listen_to_curl(struct http_client *client);
void http_client_socket_close(struct client_socket *client_socket);
/* The last of its handles takes the client with it. */
void http_client_on_handle_closed(struct http_client *client);

#endif
