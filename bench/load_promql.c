/* bench: base
 *
 * Makes a set of promql_set.h for bench_query.py, and asks a server the same light question over many connections.
 *
 *     load_promql make <hundred|many|counters> <series> <rows> <end ms> <file>
 *     load_promql ask <port> <path> <clients> <seconds> [<encoding>]    prints requests, and their median and 99 % in us
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "promql_set.h"

#define CLIENTS_MAX  256
#define ANSWER_MAX   65536
#define REQUESTS_MAX (1 << 22)

struct client {
    int fd;
    int64_t sent_ns;
    size_t len;
    char answer[ANSWER_MAX];
};

static void client_connect(struct client *client, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    int one = 1;
    to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        load_fail("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void client_send(struct client *client, const char *request, size_t len)
{
    client->len = 0;
    client->sent_ns = clock_mono_ns();
    if (write(client->fd, request, len) != (ssize_t)len)
        load_fail("write");
}

/* Is the whole answer there? A good one that is not empty is asked for. */
static bool client_read(struct client *client)
{
    ssize_t got = read(client->fd, client->answer + client->len, ANSWER_MAX - 1 - client->len);
    if (got <= 0)
        load_fail("read");
    client->len += (size_t)got;
    client->answer[client->len] = 0;
    const char *body = strstr(client->answer, "\r\n\r\n");
    if (!body)
        return false;
    const char *length = strcasestr(client->answer, "\r\nContent-Length: ");
    const char *chunked = strcasestr(client->answer, "\r\nTransfer-Encoding: chunked");
    if (strncmp(client->answer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "unexpected answer: %s\n", client->answer);
        exit(1);
    }
    if (chunked && chunked < body)
        return memcmp(client->answer + client->len - 5, "0\r\n\r\n", 5) == 0;
    if (!length || length > body)
        load_fail("length of the answer");
    size_t head = (size_t)(body + 4 - client->answer);
    return client->len >= head + strtoul(length + 18, NULL, 10);
}

static int compare_latency(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void ask(const char *port, const char *path, size_t count, double seconds,
                const char *encoding)
{
    static struct client clients[CLIENTS_MAX];
    struct pollfd polls[CLIENTS_MAX];
    uint32_t *latency = mem_alloc(REQUESTS_MAX * sizeof(*latency));
    char request[2048];
    size_t done = 0;
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: %s\r\n\r\n", path, encoding);
    ENSURE(len > 0 && (size_t)len < sizeof(request) && count <= CLIENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        client_connect(&clients[i], port);
        polls[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        client_send(&clients[i], request, (size_t)len);
    }
    int64_t begin_ns = clock_mono_ns(), end_ns = begin_ns + (int64_t)(seconds * 1e9);
    while (clock_mono_ns() < end_ns && done + count < REQUESTS_MAX) {
        if (poll(polls, count, 1000) <= 0)
            load_fail("poll");
        for (size_t i = 0; i < count; i++) {
            if (!(polls[i].revents & POLLIN) || !client_read(&clients[i]))
                continue;
            latency[done++] = (uint32_t)((clock_mono_ns() - clients[i].sent_ns) / 1000);
            client_send(&clients[i], request, (size_t)len);
        }
    }
    double spent = (double)(clock_mono_ns() - begin_ns) / 1e9;
    ENSURE(done > 0);
    qsort(latency, done, sizeof(*latency), compare_latency);
    printf("%.0f %u %u\n", (double)done / spent, latency[done / 2], latency[done * 99 / 100]);
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "make") == 0) {
        struct promql_set set;
        promql_make(&set, argv[2], (uint32_t)strtoul(argv[3], NULL, 10),
                    (uint32_t)strtoul(argv[4], NULL, 10));
        promql_write(&set, strtoll(argv[5], NULL, 10), argv[6]);
        return 0;
    }
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "ask") == 0) {
        ask(argv[2], argv[3], strtoul(argv[4], NULL, 10), strtod(argv[5], NULL),
            argc == 7 ? argv[6] : "identity");
        return 0;
    }
    fprintf(stderr, "load_promql make <set> <series> <rows> <end ms> <file> | ask <port> <path> "
                    "<clients> <seconds>\n");
    return 2;
}
