/* http_client_poll: what curl waits for, its sockets and its timer, on libuv's loop. */
#include <uv.h>

#include "base/mem.h"
#include "http_client_private.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct client_socket *client_socket = CONTAINER_OF(poll, struct client_socket, poll);
    int curl_events = 0;
    if (status < 0) /* Reset: what came before is still to be read, like the alert that says why. */
        curl_events |= CURL_CSELECT_ERR | CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if (events & UV_READABLE)
        curl_events |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        curl_events |= CURL_CSELECT_OUT;
    http_client_act(client_socket->client, client_socket->fd, curl_events);
}

static void on_curl_timer(uv_timer_t *timer)
{
    http_client_act(CONTAINER_OF(timer, struct http_client, curl_timer), CURL_SOCKET_TIMEOUT, 0);
}

void http_client_on_handle_closed(struct http_client *client)
{
    ENSURE(client->handles_open > 0);
    if (--client->handles_open > 0)
        return;
    http_dialers_free(client);
    mem_free(client);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct client_socket *client_socket =
        CONTAINER_OF((uv_poll_t *)(void *)handle, struct client_socket, poll);
    struct http_client *client = client_socket->client;
    mem_free(client_socket);
    http_client_on_handle_closed(client);
}

void http_client_socket_close(struct client_socket *client_socket)
{
    list_remove(&client_socket->node);
    uv_poll_stop(&client_socket->poll);
    uv_close((uv_handle_t *)&client_socket->poll, on_socket_closed);
}

static struct client_socket *client_socket_new(struct http_client *client, curl_socket_t fd)
{
    struct client_socket *client_socket = MEM_NEW(struct client_socket);
    client_socket->client = client;
    client_socket->fd = fd;
    if (uv_poll_init_socket(client->loop, &client_socket->poll, fd) != 0) {
        mem_free(client_socket);
        return NULL;
    }
    list_push_back(&client->sockets, &client_socket->node);
    client->handles_open++;
    curl_multi_assign(client->multi, fd, client_socket);
    return client_socket;
}

/* curl tells which events of a socket it waits for now. */
static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct http_client *client = ctx;
    struct client_socket *client_socket = socket_ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (client_socket) {
            curl_multi_assign(client->multi, fd, NULL);
            http_client_socket_close(client_socket);
        }
        return 0;
    }
    if (!client_socket)
        client_socket = client_socket_new(client, fd);
    if (!client_socket)
        return -1;
    int events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= UV_READABLE;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&client_socket->poll, events, on_poll) == 0 ? 0 : -1;
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http_client *client = ctx;
    (void)multi;
    client->curl_due = timeout_ms == 0 && !client->closing;
    if (client->curl_due)
        uv_idle_start(&client->deferred, http_client_on_deferred);
    if (timeout_ms > 0 && !client->closing)
        uv_timer_start(&client->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
    else
        uv_timer_stop(&client->curl_timer);
    return 0;
}

void http_client_listen_to_curl(struct http_client *client)
{
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
}
