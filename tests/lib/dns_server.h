/* dns_server: a small DNS server on loopback, UDP and TCP, on the test's loop. It answers from a
 * table of the test's; a name that is not in it does not exist. Names may misbehave. */
#ifndef TESTS_DNS_SERVER_H
#define TESTS_DNS_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"

#define DNS_SERVER_CNAME 5

enum dns_server_way {
    WAY_RECORD,
    WAY_EMPTY, /* The name is known, nothing else. */
    WAY_SERVFAIL,
    WAY_SILENT,
    WAY_WRONG_ID,       /* And nothing after it. */
    WAY_WRONG_ID_FIRST, /* Then the right one. */
    WAY_OTHER_QUESTION,
    WAY_TRUNCATED, /* On UDP: TC set, no records. */
    WAY_CUT,       /* The count promises more than is there. */
    WAY_LOOP,      /* The record's name points at itself. */
    WAY_NO_EDNS,   /* FORMERR to a question with EDNS. */
};

struct dns_row {
    const char *name; /* NULL ends the table. */
    unsigned type;
    const char *text;
    unsigned port;
    enum dns_server_way way;
};

struct dns_server {
    uv_udp_t udp;
    uv_tcp_t tcp;
    const struct dns_row *rows;
    char address[32]; /* "127.0.0.1:4711" */
    unsigned udp_count, tcp_count;
    char last_name[512];
    char bytes[65536];
};

struct dns_server_reply {
    uv_udp_send_t udp;
    uv_write_t tcp;
    struct buf bytes;
};

struct dns_server_peer {
    uv_tcp_t tcp;
    struct dns_server *server;
    struct buf in;
    char bytes[65536];
};

static void wire_u16(struct buf *out, unsigned value)
{
    buf_add_char(out, (char)(value >> 8));
    buf_add_char(out, (char)value);
}

static void wire_name(struct buf *out, const char *name)
{
    for (struct str rest = str_of(name); rest.len > 0;) {
        struct str label = str_cut(rest, '.', &rest);
        buf_add_char(out, (char)label.len);
        buf_add_str(out, label);
    }
    buf_add_char(out, 0);
}

static void wire_record(struct buf *out, const struct dns_row *row, const char *owner)
{
    struct buf data;
    unsigned char address[16];

    buf_init(&data, 4096);
    if (row->type == 1 || row->type == 28) {
        ENSURE(inet_pton(row->type == 1 ? AF_INET : AF_INET6, row->text, address) == 1);
        buf_add(&data, address, row->type == 1 ? 4 : 16);
    } else {
        if (row->type == 33) {
            wire_u16(&data, 10);
            wire_u16(&data, 20);
            wire_u16(&data, row->port);
        }
        if (row->type == 15)
            wire_u16(&data, 5);
        wire_name(&data, row->text);
    }
    wire_name(out, owner);
    wire_u16(out, row->type);
    wire_u16(out, 1);
    wire_u16(out, 0);
    wire_u16(out, 60);
    wire_u16(out, (unsigned)data.len);
    buf_add_str(out, buf_str(&data));
    buf_deinit(&data);
}

/* Id, flags, the question as it came; the counts are set at the end. */
static void wire_begin(struct buf *out, struct str query, size_t question_len, unsigned rcode)
{
    buf_add(out, query.ptr, 2);
    wire_u16(out, 0x8180 | rcode);
    wire_u16(out, 1);
    wire_u16(out, 0);
    wire_u16(out, 0);
    wire_u16(out, 0);
    buf_add(out, query.ptr + 12, question_len);
}

static bool row_matches(const struct dns_row *row, const char *name, unsigned type)
{
    bool follows = row->type == DNS_SERVER_CNAME;
    return strcasecmp(row->name, name) == 0 &&
           (row->way != WAY_RECORD || row->type == type || follows || type == 0);
}

static void server_misbehave(struct buf *out, enum dns_server_way way, size_t question_len)
{
    static const unsigned char loop[] = {0xc0, 0, 0, 33, 0, 1, 0, 0, 0, 9, 0, 8, 0, 1, 0, 1, 0, 80};
    size_t at = out->len;

    switch (way) {
    case WAY_SERVFAIL:
        out->ptr[3] = (char)(out->ptr[3] | 2);
        break;
    case WAY_WRONG_ID:
    case WAY_WRONG_ID_FIRST:
        out->ptr[0] ^= 0x55;
        break;
    case WAY_OTHER_QUESTION:
        out->ptr[13] ^= 1;
        break;
    case WAY_TRUNCATED:
        out->ptr[2] = (char)(out->ptr[2] | 2);
        break;
    case WAY_CUT:
        out->ptr[7] = 100;
        break;
    case WAY_LOOP:
        out->ptr[7] = 1;
        buf_add(out, loop, sizeof(loop));
        out->ptr[at + 1] = (char)at;
        buf_add_char(out, (char)0xc0);
        buf_add_char(out, (char)(12 + question_len));
        break;
    default:
        break;
    }
}

/* The question's name as text and its type; false for what is no question. */
static bool question_read(struct str query, char *name, size_t name_max, size_t *len,
                          unsigned *type)
{
    size_t at = 12, used = 0;

    name[0] = 0;
    while (at < query.len && query.ptr[at]) {
        size_t size = (unsigned char)query.ptr[at];
        if (at + 1 + size >= query.len || used + size + 2 > name_max)
            return false;
        if (used > 0)
            name[used++] = '.';
        memcpy(name + used, query.ptr + at + 1, size);
        used += size;
        name[used] = 0;
        at += size + 1;
    }
    if (at + 5 > query.len)
        return false;
    *type = (unsigned)((unsigned char)query.ptr[at + 1] << 8 | (unsigned char)query.ptr[at + 2]);
    *len = at + 5 - 12;
    return true;
}

/* Fills `out` with the answer, `second` with one that follows it (or leaves it empty). */
static void server_answer(struct dns_server *server, struct str query, bool tcp, struct buf *out,
                          struct buf *second)
{
    unsigned type, count = 0;
    size_t question_len;
    enum dns_server_way way = WAY_RECORD;
    bool known = false;

    if (query.len < 12 ||
        !question_read(query, server->last_name, sizeof(server->last_name), &question_len, &type))
        return;
    wire_begin(out, query, question_len, 0);
    for (const struct dns_row *row = server->rows; row->name; row++) {
        known |= row_matches(row, server->last_name, 0);
        if (!row_matches(row, server->last_name, type))
            continue;
        way = row->way != WAY_RECORD ? row->way : way;
        if (row->text &&
            (way == WAY_RECORD || way == WAY_WRONG_ID_FIRST || (way == WAY_TRUNCATED && tcp))) {
            wire_record(out, row, server->last_name);
            count++;
        }
    }
    out->ptr[6] = (char)(count >> 8);
    out->ptr[7] = (char)count;
    if (!known)
        out->ptr[3] = (char)(out->ptr[3] | 3);
    if (way == WAY_NO_EDNS && query.ptr[11])
        out->ptr[3] = (char)(out->ptr[3] | 1);
    if (way == WAY_WRONG_ID_FIRST)
        buf_add_str(second, buf_str(out));
    if (way == WAY_SILENT)
        buf_clear(out);
    else if (!tcp || way != WAY_TRUNCATED)
        server_misbehave(out, way, question_len);
}

static void reply_free(struct dns_server_reply *reply)
{
    buf_deinit(&reply->bytes);
    mem_free(reply);
}

static void on_udp_sent(uv_udp_send_t *sent, int status)
{
    (void)status;
    reply_free(CONTAINER_OF(sent, struct dns_server_reply, udp));
}

static void udp_send(struct dns_server *server, struct buf *bytes, const struct sockaddr *to)
{
    struct dns_server_reply *reply = MEM_NEW(struct dns_server_reply);

    buf_init(&reply->bytes, 65536);
    buf_add_str(&reply->bytes, buf_str(bytes));
    uv_buf_t part = uv_buf_init(reply->bytes.ptr, (unsigned)reply->bytes.len);
    if (bytes->len == 0 || uv_udp_send(&reply->udp, &server->udp, &part, 1, to, on_udp_sent) != 0)
        reply_free(reply);
}

static void on_udp_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct dns_server *server = CONTAINER_OF((uv_udp_t *)(void *)handle, struct dns_server, udp);

    (void)wanted;
    *out = uv_buf_init(server->bytes, sizeof(server->bytes));
}

static void on_udp_query(uv_udp_t *udp, ssize_t len, const uv_buf_t *bytes,
                         const struct sockaddr *from, unsigned flags)
{
    struct dns_server *server = CONTAINER_OF(udp, struct dns_server, udp);
    struct buf out, second;

    (void)flags;
    if (len <= 0 || !from)
        return;
    server->udp_count++;
    buf_init(&out, 65000);
    buf_init(&second, 65000);
    server_answer(server, str_from(bytes->base, (size_t)len), false, &out, &second);
    udp_send(server, &out, from);
    udp_send(server, &second, from);
    buf_deinit(&out);
    buf_deinit(&second);
}

static void on_peer_closed(uv_handle_t *handle)
{
    struct dns_server_peer *peer =
        CONTAINER_OF((uv_tcp_t *)(void *)handle, struct dns_server_peer, tcp);

    buf_deinit(&peer->in);
    mem_free(peer);
}

static void on_peer_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct dns_server_peer *peer =
        CONTAINER_OF((uv_tcp_t *)(void *)handle, struct dns_server_peer, tcp);

    (void)wanted;
    *out = uv_buf_init(peer->bytes, sizeof(peer->bytes));
}

static void on_peer_sent(uv_write_t *write, int status)
{
    (void)status;
    reply_free(CONTAINER_OF(write, struct dns_server_reply, tcp));
}

static void on_peer_bytes(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct dns_server_peer *peer =
        CONTAINER_OF((uv_tcp_t *)(void *)stream, struct dns_server_peer, tcp);
    struct dns_server_reply *reply;
    struct buf out, second;

    if (len < 0) {
        uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
        return;
    }
    buf_add(&peer->in, bytes->base, (size_t)len);
    size_t size =
        peer->in.len < 2
            ? 0
            : (size_t)((unsigned char)peer->in.ptr[0] << 8 | (unsigned char)peer->in.ptr[1]);
    if (peer->in.len < 2 || peer->in.len < 2 + size)
        return;
    peer->server->tcp_count++;
    buf_init(&out, 65000);
    buf_init(&second, 65000);
    server_answer(peer->server, str_after(buf_str(&peer->in), 2), true, &out, &second);
    reply = MEM_NEW(struct dns_server_reply);
    buf_init(&reply->bytes, 65536);
    wire_u16(&reply->bytes, (unsigned)out.len);
    buf_add_str(&reply->bytes, buf_str(&out));
    uv_buf_t part = uv_buf_init(reply->bytes.ptr, (unsigned)reply->bytes.len);
    ENSURE(uv_write(&reply->tcp, stream, &part, 1, on_peer_sent) == 0);
    buf_clear(&peer->in);
    buf_deinit(&out);
    buf_deinit(&second);
}

static void on_peer(uv_stream_t *listener, int status)
{
    struct dns_server *server = CONTAINER_OF((uv_tcp_t *)(void *)listener, struct dns_server, tcp);
    struct dns_server_peer *peer = MEM_NEW(struct dns_server_peer);

    ENSURE(status == 0);
    peer->server = server;
    buf_init(&peer->in, 65536);
    uv_tcp_init(listener->loop, &peer->tcp);
    ENSURE(uv_accept(listener, (uv_stream_t *)&peer->tcp) == 0);
    uv_read_start((uv_stream_t *)&peer->tcp, on_peer_room, on_peer_bytes);
}

/* One free port for both protocols. */
static unsigned sockets_bind(int *tcp, int *udp)
{
    for (;;) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        *tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        *udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ENSURE(bind(*tcp, (struct sockaddr *)&address, len) == 0);
        ENSURE(getsockname(*tcp, (struct sockaddr *)&address, &len) == 0);
        if (bind(*udp, (struct sockaddr *)&address, len) == 0)
            return ntohs(address.sin_port);
        close(*tcp);
        close(*udp);
    }
}

static void dns_server_open(struct dns_server *server, uv_loop_t *loop, const struct dns_row *rows)
{
    int tcp, udp;
    unsigned port = sockets_bind(&tcp, &udp);

    *server = (struct dns_server){.rows = rows};
    ENSURE(uv_udp_init(loop, &server->udp) == 0);
    ENSURE(uv_udp_open(&server->udp, udp) == 0);
    ENSURE(uv_udp_recv_start(&server->udp, on_udp_room, on_udp_query) == 0);
    ENSURE(uv_tcp_init(loop, &server->tcp) == 0);
    ENSURE(uv_tcp_open(&server->tcp, tcp) == 0);
    ENSURE(uv_listen((uv_stream_t *)&server->tcp, 16, on_peer) == 0);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", port);
}

static void dns_server_close(struct dns_server *server)
{
    uv_close((uv_handle_t *)&server->udp, NULL);
    uv_close((uv_handle_t *)&server->tcp, NULL);
}

#endif
