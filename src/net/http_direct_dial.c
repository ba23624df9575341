/* http_direct_dial: a name's addresses, a connection to one after the other, and the time that each may take. */
#include <netdb.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http_direct_private.h"

#define CONNECT_TIMEOUT_MS 30000 /* As Go's default dialer. */
#define ADDRESS_MIN_MS     2000  /* For each of several addresses, as there. */
#define KEEPALIVE_S        15
#define ADDRESSES_MAX      8

struct direct_lookup {
    uv_getaddrinfo_t request;
    struct direct_connection *connection;
};

/* The dial has failed. */
static void dial_failed(struct direct *direct, enum http_dial_failure failure)
{
    dialer_fail(direct->connection->dialer, failure);
    direct->connection->dialer = NULL;
}

/* The same attempt, at its name's next address. */
static void direct_dial_next(struct direct *direct)
{
    direct->address_index++;
    direct->connection->dialer = NULL;
    direct_drop_connection(direct);
    direct_dial(direct);
}

static void direct_fail_lookup(struct direct *direct)
{
    dial_failed(direct, HTTP_DIAL_RESOLUTION);
    direct_fail(direct, FETCH_RESOLVE, 0);
}

/* --- time --- */

int64_t direct_time_left_ms(const struct direct *direct)
{
    int64_t left = direct->deadline_ms - clock_mono_ms();

    return direct->deadline_ms == 0 ? INT64_MAX : left > 0 ? left : 0;
}

static void on_timer(uv_timer_t *timer);

/* The answer's time, or while connecting this address' share of it. */
void direct_arm(struct direct *direct)
{
    struct direct_connection *connection = direct->connection;
    int64_t left = direct_time_left_ms(direct);

    if (!connection->connected) {
        size_t others = direct->address_count > direct->address_index
                            ? direct->address_count - direct->address_index
                            : 1;
        int64_t share = left < CONNECT_TIMEOUT_MS ? left : CONNECT_TIMEOUT_MS;
        share /= (int64_t)others;
        left = share < ADDRESS_MIN_MS && left > ADDRESS_MIN_MS ? ADDRESS_MIN_MS : share;
    }
    if (left == INT64_MAX)
        uv_timer_stop(&connection->timer);
    else /* The loop's time stands still while callbacks run. */
        uv_timer_start(&connection->timer, on_timer,
                       (uint64_t)(left + clock_mono_ms() - (int64_t)uv_now(direct->pool->loop)), 0);
}

static void direct_time_out(struct direct *direct)
{
    bool connecting = !direct->connection->connected;

    if (connecting && direct->address_index + 1 < direct->address_count &&
        direct_time_left_ms(direct) > 0) {
        direct_dial_next(direct);
        return;
    }
    if (connecting)
        dial_failed(direct, HTTP_DIAL_TIMEOUT);
    bool own_limit = direct->timeout_ms <= 0 || direct->timeout_ms > CONNECT_TIMEOUT_MS;
    direct_fail(direct, connecting && own_limit ? FETCH_CONNECT_TIMEOUT : FETCH_TIMEOUT, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct direct_connection *connection = CONTAINER_OF(timer, struct direct_connection, timer);
    struct direct_pool *pool = connection->pool;

    if (!connection->direct)
        return;
    pool->events.enter(pool->events.pool_ctx);
    direct_time_out(connection->direct);
    pool->events.leave(pool->events.pool_ctx);
}

/* --- dialling --- */

static void on_connected(uv_connect_t *dial, int status)
{
    struct direct_connection *connection = CONTAINER_OF(dial, struct direct_connection, dial);
    struct direct_pool *pool = connection->pool;
    struct direct *direct = connection->direct;
    int code = 0;

    if (direct) {
        pool->events.enter(pool->events.pool_ctx);
        if (status == 0) {
            connection->connected = true;
            if (connection->dialer)
                connection->dialer->established++;
            if (!direct_send(direct, &code))
                direct_break(direct, FETCH_SEND, code);
        } else if (direct->address_index + 1 < direct->address_count) {
            direct_dial_next(direct);
        } else {
            dial_failed(direct, status == UV_ECONNREFUSED ? HTTP_DIAL_REFUSED : HTTP_DIAL_UNKNOWN);
            direct_fail(direct, FETCH_CONNECT, -status);
        }
        pool->events.leave(pool->events.pool_ctx);
    }
    connection_unhold(connection);
}

static void direct_connect(struct direct *direct, const struct sockaddr *address)
{
    struct direct_connection *connection = direct->connection;

    if (direct->address[0] == '\0')
        net_address_text(address, direct->address);
    (void)uv_tcp_keepalive(&connection->tcp, 1, KEEPALIVE_S);
    direct_arm(direct);
    int code = uv_tcp_connect(&connection->dial, &connection->tcp, address, on_connected);
    if (code == 0)
        connection->holds++;
    else
        direct_fail(direct, FETCH_CONNECT, -code);
}

static void addresses_take(struct direct *direct, const struct addrinfo *info)
{
    direct->addresses = mem_alloc_array(ADDRESSES_MAX, sizeof(*direct->addresses));
    for (; info && direct->address_count < ADDRESSES_MAX; info = info->ai_next) {
        bool known = info->ai_family == AF_INET || info->ai_family == AF_INET6;
        if (known && info->ai_addrlen <= sizeof(*direct->addresses))
            memcpy(&direct->addresses[direct->address_count++], info->ai_addr, info->ai_addrlen);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *info)
{
    struct direct_lookup *lookup = CONTAINER_OF(request, struct direct_lookup, request);
    struct direct_connection *connection = lookup->connection;
    struct direct_pool *pool = connection->pool;
    struct direct *direct = connection->direct;

    if (direct) {
        pool->events.enter(pool->events.pool_ctx);
        if (status == 0)
            addresses_take(direct, info);
        if (direct->address_count > 0)
            direct_connect(direct, (const struct sockaddr *)&direct->addresses[0]);
        else
            direct_fail_lookup(direct);
        pool->events.leave(pool->events.pool_ctx);
    }
    uv_freeaddrinfo(info);
    mem_free(lookup);
    connection_unhold(connection);
}

static void direct_resolve(struct direct *direct)
{
    struct direct_connection *connection = direct->connection;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct direct_lookup *lookup = mem_alloc(sizeof(*lookup));

    lookup->connection = connection;
    direct_arm(direct);
    int code = uv_getaddrinfo(direct->pool->loop, &lookup->request, on_resolved,
                              direct->request.host.ptr, direct->request.port.ptr, &hints);
    if (code == 0) {
        connection->holds++;
        return;
    }
    mem_free(lookup);
    direct_fail_lookup(direct);
}

static bool address_parse(struct sockaddr_storage *out, const struct direct_request *request)
{
    uint64_t number = 0;

    ENSURE(str_to_u64(request->port, &number) && number < 65536);
    int port = (int)number;
    return uv_ip4_addr(request->host.ptr, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(request->host.ptr, port, (struct sockaddr_in6 *)out) == 0;
}

/* A new connection. From the loop only: it may fail at once. */
void direct_dial(struct direct *direct)
{
    struct sockaddr_storage address = {0};
    const struct direct_request *request = &direct->request;

    direct->connection =
        connection_new(direct->pool, request->authority, hash64(request->authority));
    direct->connection->direct = direct;
    direct->connection->dialer = direct->dialer;
    if (direct->dialer && direct->address_index == 0)
        direct->dialer->attempted++;
    direct->address[0] = '\0';
    if (direct->address_count > 0)
        address = direct->addresses[direct->address_index];
    else if (!address_parse(&address, request)) {
        direct_resolve(direct);
        return;
    }
    direct_connect(direct, (const struct sockaddr *)&address);
}
