/* http_server: the listening socket and the set of connections.
 *
 * At connections_max we stop accepting: libuv then holds one connection and the kernel's backlog
 * the others, until one of ours closes; so that nobody keeps all places by sending nothing, those who
 * have sent no whole request for give_way_ms give way, the first of them first. Closing: stop the listener, drain, abort what is left after
 * the grace, then tell the owner once every handle is closed. */
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "http_connection.h"
#include "net_text.h"

#define BACKLOG                 1024
#define CONNECTIONS_MAX_DEFAULT 512
#define HEAD_BYTES_MAX_DEFAULT  (64 * 1024)
#define BODY_BYTES_MAX_DEFAULT  (32 * 1024 * 1024)
#define GIVE_WAY_MS_DEFAULT     5000
#define READ_TIMEOUT_MS_DEFAULT (5 * 60 * 1000)
#define WRITE_TIMEOUT_DEFAULT   (60 * 1000)
#define HOST_TEXT_MAX           256

/* --- the address --- */

/* host:port, [v6]:port, :port. Errors as Go's net.Listen. */
static bool split_address(struct str address, char host[HOST_TEXT_MAX], uint16_t *port,
                          struct err *err)
{
    size_t colon = address.len;
    while (colon > 0 && address.ptr[colon - 1] != ':')
        colon--;
    struct str host_text = str_first(address, colon > 0 ? colon - 1 : 0);
    bool bracketed = str_starts(host_text, STR("[")) && str_ends(host_text, STR("]"));
    if (colon == 0)
        return err_set(err, ERR_BAD_DATA,
                       "listen tcp: address " STR_FMT ": missing port in address",
                       STR_ARG(address));
    if (!bracketed && str_find_char(host_text, ':') < host_text.len)
        return err_set(err, ERR_BAD_DATA,
                       "listen tcp: address " STR_FMT ": too many colons in address",
                       STR_ARG(address));
    if (bracketed)
        host_text = str_from(host_text.ptr + 1, host_text.len - 2);
    struct str port_text = str_after(address, colon);
    uint64_t value = 0;
    if (port_text.len > 0 && !str_to_u64(port_text, &value))
        return err_set(err, ERR_BAD_DATA, "listen tcp: lookup tcp/" STR_FMT ": unknown port",
                       STR_ARG(port_text));
    if (port_text.len == 0 || value > UINT16_MAX)
        return err_set(err, ERR_BAD_DATA, "listen tcp: address " STR_FMT ": invalid port",
                       STR_ARG(port_text));
    if (host_text.len >= HOST_TEXT_MAX || memchr(address.ptr, '\0', address.len))
        return err_set(err, ERR_BAD_DATA, "listen tcp: lookup: no such host");
    if (host_text.len > 0)
        memcpy(host, host_text.ptr, host_text.len);
    host[host_text.len] = '\0';
    *port = (uint16_t)value;
    return true;
}

/* An empty host means every interface, v6 and v4 in one socket. Blocks: only at the start of the
 * process. */
static bool resolve_address(const char *host, uint16_t port, struct sockaddr_storage *out,
                            struct err *err)
{
    char port_text[8];
    snprintf(port_text, sizeof(port_text), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host[0] != '\0' ? host : "::", port_text, &hints, &found);
    if (status != 0 || !found)
        return err_set(err, ERR_BAD_DATA, "listen tcp: lookup %s: no such host", host);
    /* Go prefers v4 when a name has both. */
    struct addrinfo *best = found;
    for (struct addrinfo *at = found; at && best->ai_family != AF_INET; at = at->ai_next)
        if (at->ai_family == AF_INET)
            best = at;
    memcpy(out, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

/* --- listening --- */

static void make_room(uv_timer_t *timer)
{
    struct http_server *server = CONTAINER_OF(timer, struct http_server, room);
    int64_t give_way_ms = server->options.give_way_ms, now_ms = (int64_t)uv_now(server->loop);
    int64_t first_ms = now_ms; /* Look again after give_way_ms at the latest. */
    struct http_connection *first = NULL;
    if (!server->accept_waits || server->closing)
        return;
    LIST_EACH (node, &server->connections) {
        struct http_connection *connection = http_connection_of_node(node);
        int64_t since_ms = http_connection_idle_since(connection);
        if (since_ms < first_ms || (!first && since_ms == first_ms)) {
            first = connection;
            first_ms = since_ms;
        }
    }
    if (first && now_ms - first_ms >= give_way_ms)
        http_connection_abort(first); /* Its place is given away when it is closed. */
    else
        uv_timer_start(timer, make_room, (uint64_t)(first_ms + give_way_ms - now_ms), 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_server *server =
        CONTAINER_OF((uv_tcp_t *)(void *)listener, struct http_server, listener);
    char text[NET_ERRNO_TEXT_MAX];
    if (status < 0) {
        LOG_W("Accepting a connection failed", "err", net_errno_text(status, text));
        return;
    }
    if (server->connection_count < server->options.connections_max) {
        http_connection_accept(server);
        return;
    }
    server->accept_waits = true;
    make_room(&server->room);
}

static int listen_on(struct http_server *server, const struct sockaddr *address)
{
    int status = uv_tcp_bind(&server->listener, address, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    return status;
}

/* A kernel without v6 still serves ":9090". */
static int listen_anywhere(struct http_server *server, uint16_t port)
{
    struct sockaddr_in any_v4;
    uv_ip4_addr("0.0.0.0", port, &any_v4);
    return listen_on(server, (const struct sockaddr *)&any_v4);
}

static void server_set_options(struct http_server *server,
                               const struct http_server_options *options)
{
    struct http_server_options *to = &server->options;
    *to = *options;
    to->address = STR_EMPTY; /* Borrowed for the call only. */
    if (to->connections_max == 0)
        to->connections_max = CONNECTIONS_MAX_DEFAULT;
    if (to->head_bytes_max == 0)
        to->head_bytes_max = HEAD_BYTES_MAX_DEFAULT;
    if (to->body_bytes_max == 0)
        to->body_bytes_max = BODY_BYTES_MAX_DEFAULT;
    if (to->give_way_ms <= 0)
        to->give_way_ms = GIVE_WAY_MS_DEFAULT;
    if (to->read_timeout_ms <= 0)
        to->read_timeout_ms = READ_TIMEOUT_MS_DEFAULT;
    if (to->write_timeout_ms <= 0)
        to->write_timeout_ms = WRITE_TIMEOUT_DEFAULT;
}

static void server_on_handle_closed(struct http_server *server);

static void on_listener_closed(uv_handle_t *handle)
{
    server_on_handle_closed(CONTAINER_OF((uv_tcp_t *)(void *)handle, struct http_server, listener));
}

static void on_room_closed(uv_handle_t *handle)
{
    server_on_handle_closed(CONTAINER_OF((uv_timer_t *)(void *)handle, struct http_server, room));
}

static void on_grace_closed(uv_handle_t *handle)
{
    server_on_handle_closed(CONTAINER_OF((uv_timer_t *)(void *)handle, struct http_server, grace));
}

bool http_server_open(struct http_server **out, struct uv_loop_s *loop,
                      const struct http_server_options *options, struct err *err)
{
    char host[HOST_TEXT_MAX];
    char text[NET_ERRNO_TEXT_MAX], bound[NET_ADDRESS_TEXT_MAX];
    uint16_t port = 0;
    struct sockaddr_storage address = {0};

    *out = NULL;
    ENSURE(options->handler != NULL);
    if (!split_address(options->address, host, &port, err))
        return false;
    bool anywhere = host[0] == '\0';
    bool resolved = resolve_address(host, port, &address, err);
    if (!resolved && !anywhere)
        return false;

    /* A write to a client that is gone must be an error, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    struct http_server *server = MEM_NEW(struct http_server);
    server->loop = loop;
    server_set_options(server, options);
    list_init(&server->connections);
    server->handles_open = 3;
    ENSURE(uv_tcp_init(loop, &server->listener) == 0);
    ENSURE(uv_timer_init(loop, &server->grace) == 0);
    ENSURE(uv_timer_init(loop, &server->room) == 0);
    int status = resolved ? listen_on(server, (const struct sockaddr *)&address) : UV_EAFNOSUPPORT;
    if (anywhere && (status == UV_EAFNOSUPPORT || status == UV_EADDRNOTAVAIL))
        status = listen_anywhere(server, port);
    if (status == 0) {
        *out = server;
        return true;
    }

    snprintf(bound, sizeof(bound), ":%u", port);
    if (!anywhere)
        net_address_text((const struct sockaddr *)&address, bound);
    err_set(err, ERR_IO, "listen tcp %s: bind: %s", bound, net_errno_text(status, text));
    server->closing = true;
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    uv_close((uv_handle_t *)&server->room, on_room_closed);
    uv_close((uv_handle_t *)&server->grace, on_grace_closed);
    return false;
}

uint16_t http_server_port(const struct http_server *server)
{
    struct sockaddr_storage address = {0};
    int len = (int)sizeof(address);
    struct sockaddr_in v4;
    if (uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &len) != 0)
        return 0;
    /* The port is at the same place in both families. */
    memcpy(&v4, &address, sizeof(v4));
    return ntohs(v4.sin_port);
}

unsigned http_server_connections(const struct http_server *server)
{
    return server->connection_count;
}

uint64_t http_server_accepted(const struct http_server *server)
{
    return server->accepted_count;
}

/* --- closing --- */

static void server_free_when_done(struct http_server *server)
{
    if (!server->closing || server->handles_open > 0 || server->connection_count > 0)
        return;
    void (*closed_fn)(void *) = server->closed_fn;
    void *closed_ctx = server->closed_ctx;
    ENSURE(list_empty(&server->connections));
    mem_free(server);
    if (closed_fn)
        closed_fn(closed_ctx);
}

static void server_on_handle_closed(struct http_server *server)
{
    ENSURE(server->handles_open > 0);
    server->handles_open--;
    server_free_when_done(server);
}

static void server_close_grace(struct http_server *server)
{
    if (!uv_is_closing((uv_handle_t *)&server->grace))
        uv_close((uv_handle_t *)&server->grace, on_grace_closed);
}

void http_server_on_connection_closed(struct http_server *server)
{
    ENSURE(server->connection_count > 0);
    server->connection_count--;
    if (server->accept_waits && !server->closing) {
        server->accept_waits = false;
        http_connection_accept(server);
    }
    if (server->closing && server->connection_count == 0) {
        server_close_grace(server);
        server_free_when_done(server);
    }
}

static void on_grace_over(uv_timer_t *timer)
{
    struct http_server *server = CONTAINER_OF(timer, struct http_server, grace);
    LIST_EACH (node, &server->connections) {
        http_connection_abort(http_connection_of_node(node));
    }
}

void http_server_close(struct http_server *server, int64_t grace_ms, void (*done)(void *ctx),
                       void *ctx)
{
    ENSURE(!server->closing);
    server->closing = true;
    server->closed_fn = done;
    server->closed_ctx = ctx;
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    uv_close((uv_handle_t *)&server->room, on_room_closed);
    LIST_EACH (node, &server->connections) {
        http_connection_drain(http_connection_of_node(node));
    }
    if (server->connection_count == 0)
        server_close_grace(server);
    else
        uv_timer_start(&server->grace, on_grace_over, grace_ms > 0 ? (uint64_t)grace_ms : 0, 0);
}
