/* conn: a stream, a reader, and the queue of those who await a reply. */
#include "conn.h"

#include <stdio.h>

#include "base/mem.h"
#include "net/stream.h"

#define COMMAND_BYTES_MAX ((size_t)4 << 20)

struct conn_call {
    struct conn_call *next;
    conn_reply_fn fn;
    void *ctx;
};

struct conn {
    struct net_stream *stream;
    struct resp_reader *reader;
    struct conn_options options; /* address is NULL. */
    char *user, *password;
    uint64_t db;
    struct conn_call *first, **last;
    struct buf command;
    unsigned busy; /* Ours on the stack: conn_close leaves the memory to them. */
    bool closed, ended;
};

static void conn_free_when_idle(struct conn *conn)
{
    if (!conn->closed || conn->busy > 0)
        return;
    while (conn->first) {
        struct conn_call *call = conn->first;
        conn->first = call->next;
        mem_free(call);
    }
    resp_reader_free(conn->reader);
    buf_deinit(&conn->command);
    mem_free(conn->user);
    mem_free(conn->password);
    mem_free(conn);
}

void conn_close(struct conn *conn)
{
    if (!conn)
        return;
    ENSURE(!conn->closed);
    conn->closed = true;
    net_stream_close(conn->stream);
    conn_free_when_idle(conn);
}

static void conn_end(struct conn *conn, const struct err *err)
{
    if (conn->ended || conn->closed)
        return;
    conn->ended = true;
    conn->busy++;
    conn->options.on_end(conn->options.owner, conn, err);
    conn->busy--;
    conn_free_when_idle(conn);
}

void conn_send(struct conn *conn, const struct str *words, size_t count, conn_reply_fn fn,
               void *ctx)
{
    if (conn->closed || conn->ended)
        return;
    struct conn_call *call = MEM_NEW(struct conn_call);
    call->fn = fn;
    call->ctx = ctx;
    bool first = conn->first == NULL;
    *conn->last = call;
    conn->last = &call->next;
    buf_clear(&conn->command);
    resp_write_command(&conn->command, words, count);
    net_stream_write(conn->stream, buf_str(&conn->command));
    if (first)
        net_stream_await(conn->stream, conn->options.timeout_ms);
}

/* --- opening: AUTH, SELECT, ready --- */

static void conn_fail_reply(struct conn *conn, const struct resp *reply)
{
    struct err err = {0};
    if (reply->type == RESP_ERROR)
        err_set(&err, ERR_IO, STR_FMT, STR_ARG(str_first(reply->text, 1024)));
    else
        err_set(&err, ERR_CORRUPT, "bad reply of Redis to AUTH or SELECT");
    conn_end(conn, &err);
}

static void on_selected(void *ctx, const struct resp *reply)
{
    struct conn *conn = ctx;
    if (reply->type != RESP_STATUS)
        conn_fail_reply(conn, reply);
    else
        conn->options.on_ready(conn->options.owner, conn);
}

static void conn_select(struct conn *conn)
{
    char digits[24];
    if (conn->db == 0) {
        conn->options.on_ready(conn->options.owner, conn);
        return;
    }
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)conn->db);
    const struct str words[] = {STR("SELECT"), str_from(digits, (size_t)len)};
    conn_send(conn, words, COUNT_OF(words), on_selected, conn);
}

static void on_authenticated(void *ctx, const struct resp *reply)
{
    struct conn *conn = ctx;
    if (reply->type != RESP_STATUS)
        conn_fail_reply(conn, reply);
    else
        conn_select(conn);
}

static void on_open(void *ctx)
{
    struct conn *conn = ctx;
    struct str words[3] = {STR("AUTH")};
    size_t count = 1;
    conn->busy++;
    if (conn->password[0] == '\0') {
        conn_select(conn);
    } else {
        if (conn->user[0] != '\0')
            words[count++] = str_of(conn->user);
        words[count++] = str_of(conn->password);
        conn_send(conn, words, count, on_authenticated, conn);
    }
    conn->busy--;
    conn_free_when_idle(conn);
}

/* --- replies --- */

static bool take_reply(struct conn *conn, const struct resp *reply, struct err *err)
{
    struct conn_call *call = conn->first;
    if (!call)
        return err_set(err, ERR_CORRUPT, "bad reply of Redis: nothing was asked");
    conn->first = call->next;
    if (!conn->first)
        conn->last = &conn->first;
    net_stream_await(conn->stream, conn->first ? conn->options.timeout_ms : 0);
    call->fn(call->ctx, reply);
    mem_free(call);
    return true;
}

static void on_bytes(void *ctx, struct str bytes)
{
    struct conn *conn = ctx;
    struct err err = {0};
    const struct resp *reply;
    conn->busy++;
    bool good = resp_reader_feed(conn->reader, bytes, &err);
    while (good && !conn->closed && !conn->ended) {
        good = resp_reader_next(conn->reader, &reply, &err);
        if (!good || !reply)
            break;
        good = take_reply(conn, reply, &err);
    }
    if (!good)
        conn_end(conn, &err);
    conn->busy--;
    conn_free_when_idle(conn);
}

static void on_end(void *ctx, const struct err *err)
{
    conn_end(ctx, err);
}

struct conn *conn_open(struct uv_loop_s *loop, const struct conn_options *options)
{
    struct conn *conn = MEM_NEW(struct conn);
    const struct address *address = options->address;
    conn->options = *options;
    conn->options.address = NULL;
    conn->user = str_dup(options->user);
    conn->password = str_dup(options->password);
    conn->db = address->db;
    conn->last = &conn->first;
    conn->reader = resp_reader_new();
    buf_init(&conn->command, COMMAND_BYTES_MAX);
    struct net_stream_options stream = {
        .host = address->host,
        .port = address->port,
        .unix_path = address->unix_path,
        .tls = address->tls ? options->tls : NULL,
        .server_name = options->server_name,
        .timeout_ms = options->timeout_ms,
        .on_open = on_open,
        .on_bytes = on_bytes,
        .on_end = on_end,
        .ctx = conn,
    };
    conn->stream = net_stream_open(loop, &stream);
    return conn;
}
