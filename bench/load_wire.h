/* load_wire: remote write requests over one kept connection, with one in flight while the next is made.
 *
 * A sample's message has always the same 18 bytes: times of today take six bytes as a varint. */
#ifndef LOAD_WIRE_H
#define LOAD_WIRE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/compress.h"
#include "load_set.h"

#define LOAD_SAMPLE_BYTES 18
#define LOAD_REQUEST_MAX  (64U << 20)

struct load_wire {
    int fd;
    bool in_flight;
    struct buf request, packed;
    uint64_t samples, requests, bytes;
};

static inline void load_wire_open(struct load_wire *wire, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    *wire = (struct load_wire){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (wire->fd < 0 || connect(wire->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        load_fail("connect");
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    buf_init(&wire->request, LOAD_REQUEST_MAX);
    buf_init(&wire->packed, LOAD_REQUEST_MAX);
}

static inline size_t load_varint(char *out, uint64_t value)
{
    size_t len = 0;
    for (; value > 127; value >>= 7)
        out[len++] = (char)(value | 128);
    out[len++] = (char)value;
    return len;
}

/* Label messages of "name NUL value NUL ...", as they stand in a TimeSeries. */
static inline void load_add_labels(struct buf *out, const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end) {
        size_t name = strlen(text), value = strlen(text + name + 1);
        char head[24];
        size_t at = 0, inner = 4 + name + value + (name > 127) + (value > 127);
        head[at++] = 0x0a;
        at += load_varint(head + at, inner);
        head[at++] = 0x0a;
        at += load_varint(head + at, name);
        buf_add(out, head, at);
        buf_add(out, text, name);
        head[0] = 0x12;
        buf_add(out, head, 1 + load_varint(head + 1, value));
        buf_add(out, text + name + 1, value);
        text += name + value + 2;
    }
}

static inline void load_add_series(struct load_wire *wire, struct str labels, size_t sample_count)
{
    char head[16] = {0x0a};
    size_t len = 1 + load_varint(head + 1, labels.len + sample_count * LOAD_SAMPLE_BYTES);
    buf_add(&wire->request, head, len);
    buf_add_str(&wire->request, labels);
    wire->samples += sample_count;
}

static inline void load_add_sample(struct load_wire *wire, int64_t time_ms, double value)
{
    char *out = buf_reserve(&wire->request, LOAD_SAMPLE_BYTES);
    ENSURE(out && time_ms >> 35 > 0 && time_ms >> 42 == 0);
    memcpy(out, "\x12\x10\x09", 3);
    memcpy(out + 3, &value, 8);
    out[11] = 0x10;
    load_varint(out + 12, (uint64_t)time_ms);
    buf_commit(&wire->request, LOAD_SAMPLE_BYTES);
}

/* Reads one answer, which must be a success with an empty or a counted body. */
static inline void load_wire_wait(struct load_wire *wire)
{
    char reply[4096];
    size_t have = 0;
    const char *body = NULL;
    if (!wire->in_flight)
        return;
    while (!body && have + 1 < sizeof(reply)) {
        ssize_t got = recv(wire->fd, reply + have, sizeof(reply) - 1 - have, 0);
        if (got <= 0)
            load_fail("the server closed the connection");
        have += (size_t)got;
        reply[have] = '\0';
        body = strstr(reply, "\r\n\r\n");
    }
    if (strncmp(reply, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "refused: %s\n", reply);
        exit(1);
    }
    wire->in_flight = false;
}

static inline void load_wire_push(struct load_wire *wire, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = send(wire->fd, bytes, len, MSG_NOSIGNAL);
        if (done < 0)
            load_fail("send");
        bytes += done;
        len -= (size_t)done;
    }
}

static inline void load_wire_send(struct load_wire *wire)
{
    char head[512];
    if (wire->request.len == 0)
        return;
    ENSURE(!wire->request.overflow);
    buf_clear(&wire->packed);
    snappy_encode(buf_str(&wire->request), &wire->packed);
    int len = snprintf(
        head, sizeof(head),
        "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
        "Content-Length: %zu\r\n\r\n",
        wire->packed.len);
    load_wire_wait(wire);
    load_wire_push(wire, head, (size_t)len);
    load_wire_push(wire, wire->packed.ptr, wire->packed.len);
    wire->in_flight = true;
    wire->requests++;
    wire->bytes += wire->packed.len;
    buf_clear(&wire->request);
}

#endif
