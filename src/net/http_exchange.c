/* http_exchange: a request that is in work, until its answer; it outlives its connection when the client goes. */
#include <string.h>

#include "base/mem.h"
#include "http_connection_private.h"
#include "http_reply.h"
#include "http_request.h"

static void exchange_free(struct http_exchange *exchange)
{
    buf_deinit(&exchange->body);
    arena_deinit(&exchange->arena);
    mem_free(exchange);
}

void http_exchange_tell_gone(struct http_exchange *exchange)
{
    http_gone_fn fn = exchange->gone_fn;
    exchange->gone_fn = NULL;
    if (fn)
        fn(exchange->gone_ctx);
}

void http_exchange_begin(struct http_connection *connection)
{
    struct http_exchange *exchange = MEM_NEW(struct http_exchange);
    struct err err;
    arena_init(&exchange->arena, 0);
    exchange->request.arena = &exchange->arena;
    if (!http_request_build(&connection->parse, &exchange->request, &err)) {
        exchange_free(exchange);
        http_connection_refuse(connection, 400, err.text);
        return;
    }
    exchange->body = connection->parse.body;
    buf_init(&connection->parse.body, exchange->body.len_max);
    exchange->connection = connection;
    exchange->request.body = buf_str(&exchange->body);
    exchange->request.remote_address = arena_str(&exchange->arena, str_of(connection->remote));
    connection->exchange = exchange;
    http_connection_set_state(connection, CONNECTION_WORKING);
    connection->server->options.handler(connection->server->options.ctx, exchange);
}

struct tls *http_exchange_tls(const struct http_exchange *exchange)
{
    return exchange->connection ? exchange->connection->secure.tls : NULL;
}

void http_exchange_add_header(struct http_exchange *exchange, struct str name, struct str value)
{
    struct exchange_header *added = ARENA_NEW(&exchange->arena, struct exchange_header);
    struct exchange_header **at = &exchange->more_headers;
    added->header.name = arena_str(&exchange->arena, name);
    added->header.value = arena_str(&exchange->arena, value);
    while (*at)
        at = &(*at)->next;
    *at = added;
}

/* Those of the exchange, then those of the response. */
static void exchange_join_headers(struct http_exchange *exchange, struct http_response *response)
{
    size_t count = 0;
    if (!exchange->more_headers)
        return;
    for (struct exchange_header *at = exchange->more_headers; at; at = at->next)
        count++;
    struct http_header *all =
        arena_alloc_array(&exchange->arena, count + response->header_count, sizeof(*all));
    count = 0;
    for (struct exchange_header *at = exchange->more_headers; at; at = at->next)
        all[count++] = at->header;
    for (size_t i = 0; i < response->header_count; i++)
        all[count++] = response->headers[i];
    response->headers = all;
    response->header_count = count;
}

const struct http_request *http_exchange_request(const struct http_exchange *exchange)
{
    return &exchange->request;
}

void http_exchange_on_gone(struct http_exchange *exchange, http_gone_fn fn, void *ctx)
{
    exchange->gone_fn = fn;
    exchange->gone_ctx = ctx;
}

void http_reply(struct http_exchange *exchange, const struct http_response *response,
                struct buf *body)
{
    struct http_connection *connection = exchange->connection;
    if (!connection) {
        buf_deinit(body);
        exchange_free(exchange);
        return;
    }
    ENSURE(connection->state == CONNECTION_WORKING && connection->exchange == exchange);
    struct http_reply_form form = {
        .is_head = exchange->request.method == HTTP_HEAD,
        .keep_alive = connection->parse.keep_alive && !connection->server->closing,
        .version_minor = connection->parse.version_minor,
        .accept_encoding = http_request_header(&exchange->request, "Accept-Encoding"),
    };
    buf_init(&connection->body, 0);
    if (body) {
        connection->body = *body;
        buf_init(body, body->len_max);
    }
    struct http_response whole = *response;
    exchange_join_headers(exchange, &whole);
    http_reply_build(&form, &whole, &connection->head, &connection->body);
    connection->last_answer = !form.keep_alive;
    connection->exchange = NULL;
    exchange_free(exchange);
    http_connection_write(connection);
}

void http_reply_text(struct http_exchange *exchange, int status, const char *text)
{
    struct http_response response = {.status = status, .content_type = "text/plain; charset=utf-8"};
    struct str bytes = str_of(text);
    struct buf body;
    buf_init(&body, bytes.len);
    buf_add_str(&body, bytes);
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}
