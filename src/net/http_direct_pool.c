/* http_direct_pool: see http_direct_pool.h. */
#include "http_direct_pool.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define IDLE_AGE_MAX_MS 300000 /* As Prometheus' transport. */
#define ODD_MAX         4096
/* Thousands are too many when a job goes; to close one takes 20 us. */
#define SWEEP_MAX         64
#define SWEEP_INTERVAL_MS 5

/* --- connections --- */

static void pool_free_if_done(struct direct_pool *pool)
{
    if (!pool->closing || pool->connection_count > 0)
        return;
    map_deinit(&pool->idle_map);
    map_deinit(&pool->odd);
    VEC_FREE(&pool->slots);
    VEC_FREE(&pool->free_slots);
    mem_free(pool);
}

void connection_unhold(struct direct_connection *connection)
{
    struct direct_pool *pool = connection->pool;

    ENSURE(connection->holds > 0);
    if (--connection->holds > 0)
        return;
    mem_free(connection);
    pool->connection_count--;
    pool_free_if_done(pool);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    connection_unhold(CONTAINER_OF((uv_tcp_t *)(void *)handle, struct direct_connection, tcp));
}

static void on_timer_closed(uv_handle_t *handle)
{
    connection_unhold(CONTAINER_OF((uv_timer_t *)(void *)handle, struct direct_connection, timer));
}

struct direct_connection *connection_new(struct direct_pool *pool, struct str authority,
                                         uint64_t hash)
{
    struct direct_connection *connection = mem_zalloc(sizeof(*connection) + authority.len);

    connection->pool = pool;
    connection->hash = hash;
    connection->authority_len = authority.len;
    memcpy(connection->authority, authority.ptr, authority.len);
    ENSURE(uv_tcp_init(pool->loop, &connection->tcp) == 0);
    ENSURE(uv_timer_init(pool->loop, &connection->timer) == 0);
    connection->holds = 2;
    pool->connection_count++;
    list_push_back(&pool->connections, &connection->node);
    return connection;
}

static void connection_leave_idle(struct direct_connection *connection)
{
    struct direct_pool *pool = connection->pool;

    if (!list_linked(&connection->idle_node))
        return;
    list_remove(&connection->idle_node);
    pool->idle_count--;
    (void)map_remove(&pool->idle_map, connection->hash, connection->slot);
    pool->slots.items[connection->slot] = NULL;
    VEC_PUSH(&pool->free_slots, connection->slot);
}

void connection_close(struct direct_connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    if (connection->dialer && connection->connected)
        connection->dialer->closed++;
    else
        dialer_fail(connection->dialer, HTTP_DIAL_UNKNOWN);
    connection->direct = NULL;
    connection_leave_idle(connection);
    list_remove(&connection->node);
    uv_close((uv_handle_t *)&connection->tcp, on_tcp_closed);
    uv_close((uv_handle_t *)&connection->timer, on_timer_closed);
}

static bool authority_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct direct_pool *pool = ctx;
    const struct direct_connection *connection = pool->slots.items[value];

    return str_eq(str_from(connection->authority, connection->authority_len),
                  *(const struct str *)key);
}

struct direct_connection *pool_take_idle(struct direct_pool *pool, struct str authority,
                                         uint64_t hash)
{
    uint32_t slot = map_find(&pool->idle_map, hash, &authority, authority_equal, pool);

    if (slot == MAP_NONE)
        return NULL;
    struct direct_connection *connection = pool->slots.items[slot];
    connection_leave_idle(connection);
    return connection;
}

/* So many a turn: while the timer runs, only its turns sweep. */
static void pool_sweep(struct direct_pool *pool, int64_t now_ms)
{
    struct list_node *node;

    for (int left = SWEEP_MAX; (node = list_first(&pool->idle)) != NULL; left--) {
        struct direct_connection *oldest = CONTAINER_OF(node, struct direct_connection, idle_node);
        if (pool->idle_count <= pool->idle_max && now_ms - oldest->idle_since_ms < IDLE_AGE_MAX_MS)
            return;
        if (left == 0) {
            pool->sweeping = true;
            timer_start(pool->sweep_timer, SWEEP_INTERVAL_MS, 0);
            return;
        }
        connection_close(oldest);
    }
}

static void on_sweep(void *ctx)
{
    struct direct_pool *pool = ctx;

    pool->sweeping = false;
    pool_sweep(pool, clock_mono_ms());
}

static void connection_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct direct_connection *connection =
        CONTAINER_OF((uv_tcp_t *)(void *)handle, struct direct_connection, tcp);

    (void)suggested;
    *buf = uv_buf_init(connection->pool->read_bytes, DIRECT_READ_BYTES);
}

bool connection_read(struct direct_connection *connection)
{
    int code = uv_read_start((uv_stream_t *)&connection->tcp, connection_alloc, connection_on_read);
    return code == 0 || code == UV_EALREADY;
}

void connection_keep(struct direct_connection *connection)
{
    struct direct_pool *pool = connection->pool;

    connection->direct = NULL;
    uv_timer_stop(&connection->timer);
    if (pool->closing || !connection_read(connection)) {
        connection_close(connection);
        return;
    }
    connection->idle_since_ms = clock_mono_ms();
    if (pool->free_slots.count > 0) {
        connection->slot = VEC_POP(&pool->free_slots);
        pool->slots.items[connection->slot] = connection;
    } else {
        connection->slot = (uint32_t)pool->slots.count;
        VEC_PUSH(&pool->slots, connection);
    }
    map_insert(&pool->idle_map, connection->hash, connection->slot);
    list_push_back(&pool->idle, &connection->idle_node);
    pool->idle_count++;
    if (!pool->sweeping)
        pool_sweep(pool, connection->idle_since_ms);
}

/* --- odd URLs, and the pool's life --- */

static bool odd_equal(const void *ctx, const void *key, uint32_t value)
{
    (void)ctx;
    return *(const uint32_t *)key == value;
}

bool direct_pool_is_odd(const struct direct_pool *pool, struct str url)
{
    if (pool->odd.used == 0)
        return false;
    uint64_t hash = hash64(url);
    uint32_t check = (uint32_t)(hash ^ hash >> 32) & 0x7fffffff;
    return map_find(&pool->odd, hash, &check, odd_equal, NULL) != MAP_NONE;
}

void direct_pool_note_odd(struct direct_pool *pool, struct str url)
{
    uint64_t hash = hash64(url);
    uint32_t check = (uint32_t)(hash ^ hash >> 32) & 0x7fffffff;

    if (pool->odd.used >= ODD_MAX)
        map_clear(&pool->odd);
    map_insert(&pool->odd, hash, check);
}

struct direct_pool *direct_pool_new(struct uv_loop_s *loop, const struct direct_events *events)
{
    struct direct_pool *pool = mem_alloc(sizeof(*pool));

    memset(pool, 0, offsetof(struct direct_pool, read_bytes));
    pool->loop = loop;
    pool->events = *events;
    list_init(&pool->connections);
    list_init(&pool->idle);
    map_init(&pool->idle_map);
    map_init(&pool->odd);
    pool->sweep_timer = timer_new(loop, on_sweep, pool);
    return pool;
}

void direct_pool_set_idle_max(struct direct_pool *pool, unsigned idle_max)
{
    pool->idle_max = idle_max;
}

void direct_pool_close(struct direct_pool *pool)
{
    struct list_node *node;

    pool->closing = true;
    timer_free(pool->sweep_timer);
    while ((node = list_first(&pool->connections)) != NULL)
        connection_close(CONTAINER_OF(node, struct direct_connection, node));
    pool_free_if_done(pool);
}
