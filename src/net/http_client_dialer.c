/* http_client_dialer: how many connections were opened for whom, and what became of them: what Prometheus tells as
 * net_conntrack_dialer_conn_*.
 *
 *     dialing --> established --> closed
 *        +------> failed, for a reason
 *
 * A connection that several jobs use counts for the one that opened it. curl says which transfers have made a
 * connection and which socket it closes, but not whose that was: a table by descriptor does. */
#include "http_client_dialer.h"

#include <errno.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "http_client_private.h"

static bool has_name(const void *ctx, const void *key, uint32_t value)
{
    const struct http_client *client = ctx;

    return str_eq(client->dialers.items[value]->name, *(const struct str *)key);
}

struct http_dialer *http_dialer(struct http_client *client, struct str name)
{
    uint32_t index = map_find(&client->dialer_map, hash64(name), &name, has_name, client);

    if (index != MAP_NONE)
        return client->dialers.items[index];
    struct http_dialer *dialer = MEM_NEW(struct http_dialer);
    dialer->name = str_of(str_dup(name));
    map_insert(&client->dialer_map, hash64(name), (uint32_t)client->dialers.count);
    VEC_PUSH(&client->dialers, dialer);
    return dialer;
}

const struct http_dialer *http_dialer_at(const struct http_client *client, size_t index)
{
    return index < client->dialers.count ? client->dialers.items[index] : NULL;
}

void http_dialers_free(struct http_client *client)
{
    VEC_EACH (dialer, &client->dialers) {
        mem_free((char *)(uintptr_t)(*dialer)->name.ptr);
        mem_free(*dialer);
    }
    VEC_FREE(&client->dialers);
    VEC_FREE(&client->socket_dialers);
    map_deinit(&client->dialer_map);
}

void dialer_fail(struct http_dialer *dialer, enum http_dial_failure failure)
{
    if (!dialer)
        return;
    dialer->failed[failure]++;
    if (failure == HTTP_DIAL_REFUSED)
        dialer->failed[HTTP_DIAL_UNKNOWN]++; /* As there. */
}

/* --- curl --- */

/* A new connection of this hop, which it has established. */
static void note_connected(struct http_fetch *fetch)
{
    struct http_client *client = fetch->client;
    curl_socket_t fd = CURL_SOCKET_BAD;

    fetch->dialer->established++;
    if (curl_easy_getinfo(fetch->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        fetch->dialer->closed++; /* Already: a handshake that failed. */
        return;
    }
    while (client->socket_dialers.count <= (size_t)fd)
        VEC_PUSH(&client->socket_dialers, NULL);
    client->socket_dialers.items[fd] = fetch->dialer;
}

/* Before the request goes out. */
static int on_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct http_fetch *fetch = ctx;

    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (!fetch->dial_counted && fetch->dialed) {
        fetch->dialer->attempted++;
        note_connected(fetch);
    }
    fetch->dial_counted = true;
    return CURL_PREREQFUNC_OK;
}

static int on_close_socket(void *ctx, curl_socket_t fd)
{
    struct http_client *client = ctx;

    if ((size_t)fd < client->socket_dialers.count && client->socket_dialers.items[fd]) {
        client->socket_dialers.items[fd]->closed++;
        client->socket_dialers.items[fd] = NULL;
    }
    return close(fd);
}

void fetch_watch_dial(struct http_fetch *fetch)
{
    if (!fetch->dialer)
        return;
    curl_easy_setopt(fetch->easy, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(fetch->easy, CURLOPT_PREREQDATA, fetch);
    curl_easy_setopt(fetch->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(fetch->easy, CURLOPT_CLOSESOCKETDATA, fetch->client);
}

void fetch_note_dial(struct http_fetch *fetch, CURLcode code)
{
    curl_off_t connect_us = 0;

    if (!fetch->dialer || fetch->dial_counted)
        return;
    fetch->dial_counted = true;
    bool resolved = code != CURLE_COULDNT_RESOLVE_HOST && code != CURLE_COULDNT_RESOLVE_PROXY;
    if (resolved && !fetch->dialed)
        return;
    fetch->dialer->attempted++;
    curl_easy_getinfo(fetch->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    if (!resolved) {
        dialer_fail(fetch->dialer, HTTP_DIAL_RESOLUTION);
    } else if (code == CURLE_COULDNT_CONNECT) {
        long errno_value = 0;
        curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &errno_value);
        dialer_fail(fetch->dialer,
                    errno_value == ECONNREFUSED ? HTTP_DIAL_REFUSED : HTTP_DIAL_UNKNOWN);
    } else if (connect_us > 0 ||
               (code != CURLE_OPERATION_TIMEDOUT && code != CURLE_ABORTED_BY_CALLBACK)) {
        note_connected(fetch); /* It was the handshake. */
    } else {
        dialer_fail(fetch->dialer,
                    code == CURLE_OPERATION_TIMEDOUT ? HTTP_DIAL_TIMEOUT : HTTP_DIAL_UNKNOWN);
    }
}
