/* bench: base
 *
 * Many targets in one process: every address of 127.0.0.0/8 at one port is a target of its own, with
 * its own connections. A page has some series in families of ten, with values of the mix that
 * exporters have, and changes every interval.
 *
 *     load_targets <series> <interval ms>
 *
 * Prints the port. Each line of its input is answered with one: "reset" forgets what came before;
 * "report" prints how many requests and targets there were, how many scrapes were missed, and the
 * scheduling error's median, 99th percentile and maximum in ms. A target's schedule is taken from
 * its requests: the earliest one, reckoned modulo the interval, is when it is due; how much later
 * than that the others come is the error. Kernel stamps are not needed: this process does little. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"

#define VERSIONS 16
#define LABELS   4

struct arrival {
    uint32_t target; /* The address. */
    int64_t time_ns;
};

struct client {
    int fd;
    uint32_t target;
    char tail[4]; /* The last bytes read: an empty line ends a request. */
};

static struct buf pages[VERSIONS];
static VEC(struct arrival) arrivals;
static int64_t interval_ns;

static double next_value(uint32_t kind, double value)
{
    switch (kind % 5) {
    case 0:
    case 1:
        return value;
    case 2:
        return value + (rand() % 3 == 0);
    case 3:
        return value + rand() % 4000;
    default:
        return (double)(rand() % 100000) / 100;
    }
}

static void pages_fill(int series)
{
    double *values = mem_alloc_array((size_t)series, sizeof(*values));
    struct buf body;

    for (int i = 0; i < series; i++)
        values[i] = rand() % 100000;
    buf_init(&body, (size_t)1 << 28);
    for (int version = 0; version < VERSIONS; version++) {
        buf_clear(&body);
        for (int i = 0; i < series; i++) {
            values[i] = next_value((uint32_t)i * 7, values[i]);
            if (i % 10 == 0)
                buf_addf(&body,
                         "# HELP app_family_%d_total What it is.\n"
                         "# TYPE app_family_%d_total counter\n",
                         i / 10, i / 10);
            buf_addf(
                &body,
                "app_family_%d_total{code=\"%d\",handler=\"/api/v1/%d\",method=\"get\"} %.10g\n",
                i / 10, 200 + i % 10, i, values[i]);
        }
        buf_init(&pages[version], (size_t)1 << 28);
        buf_addf(&pages[version],
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 body.len);
        buf_add_str(&pages[version], buf_str(&body));
    }
    buf_deinit(&body);
    mem_free(values);
}

static int arrival_compare(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One target's requests: their lateness, and the ticks between the first and the last without one. */
static size_t judge(const struct arrival *from, size_t count, double *late_ms)
{
    int64_t first_ns = from[0].time_ns, least_ns = INT64_MAX;
    size_t missed = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t tick = (from[i].time_ns - first_ns + interval_ns / 2) / interval_ns;
        int64_t phase = from[i].time_ns - tick * interval_ns;
        least_ns = phase < least_ns ? phase : least_ns;
        if (i > 0) {
            int64_t gap = from[i].time_ns - from[i - 1].time_ns;
            missed += (size_t)((gap + interval_ns / 2) / interval_ns) - (gap > interval_ns / 2);
        }
    }
    for (size_t i = 0; i < count; i++) {
        int64_t tick = (from[i].time_ns - first_ns + interval_ns / 2) / interval_ns;
        late_ms[i] = (double)(from[i].time_ns - tick * interval_ns - least_ns) / 1e6;
    }
    return missed;
}

static void report(void)
{
    size_t count = arrivals.count, targets = 0, missed = 0;
    double *late_ms = mem_alloc_array(count + 1, sizeof(*late_ms));

    if (count > 0)
        qsort(arrivals.items, count, sizeof(*arrivals.items), arrival_compare);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && arrivals.items[to].target == arrivals.items[from].target;)
            to++;
        missed += judge(&arrivals.items[from], to - from, &late_ms[from]);
        targets++;
    }
    if (count > 0)
        qsort(late_ms, count, sizeof(*late_ms), double_compare);
    else
        late_ms[0] = 0;
    size_t last = count ? count - 1 : 0;
    printf("%zu %zu %zu %.3f %.3f %.3f\n", count, targets, missed, late_ms[last / 2],
           late_ms[(size_t)((double)last * 0.99)], late_ms[last]);
    mem_free(late_ms);
}

static bool answer(struct client *client)
{
    int64_t now_ns = clock_mono_ns();
    struct arrival arrival = {client->target, now_ns};
    const struct buf *page = &pages[(uint64_t)(now_ns / interval_ns) % VERSIONS];

    VEC_PUSH(&arrivals, arrival);
    for (size_t sent = 0; sent < page->len;) {
        ssize_t step = send(client->fd, page->ptr + sent, page->len - sent, MSG_NOSIGNAL);
        if (step <= 0)
            return false;
        sent += (size_t)step;
    }
    return true;
}

static void client_read(struct client *client)
{
    char bytes[8192];
    ssize_t len = recv(client->fd, bytes, sizeof(bytes), 0);
    bool good = len > 0;

    for (ssize_t i = 0; i < len && good; i++) {
        memmove(client->tail, client->tail + 1, 3);
        client->tail[3] = bytes[i];
        if (memcmp(client->tail, "\r\n\r\n", 4) == 0)
            good = answer(client);
    }
    if (good)
        return;
    close(client->fd);
    mem_free(client);
}

static void client_accept(int listener, int poll)
{
    struct sockaddr_in own = {0};
    socklen_t own_len = sizeof(own);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    (void)getsockname(fd, (struct sockaddr *)&own, &own_len);
    struct client *client = MEM_NEW(struct client);
    client->fd = fd;
    client->target = ntohl(own.sin_addr.s_addr);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    (void)epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

/* False: the input has ended. */
static bool command(void)
{
    char line[64];

    if (!fgets(line, sizeof(line), stdin))
        return false;
    if (strcmp(line, "report\n") == 0) {
        report();
    } else {
        VEC_CLEAR(&arrivals);
        puts("ok");
    }
    fflush(stdout);
    return true;
}

/* At all addresses of the loopback device, and nowhere else. */
static int listen_anywhere(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t len = sizeof(any);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&any, &len) != 0) {
        perror("load_targets");
        return -1;
    }
    printf("%u\n", (unsigned)ntohs(any.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[256], event = {.events = EPOLLIN};
    struct rlimit files;

    if (argc != 3)
        return 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    interval_ns = strtoll(argv[2], NULL, 10) * 1000000;
    pages_fill((int)strtol(argv[1], NULL, 10));
    int poll = epoll_create1(EPOLL_CLOEXEC), listener = listen_anywhere();
    if (poll < 0 || listener < 0)
        return 1;
    (void)epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = events; /* Not NULL, and no client: the input. */
    (void)epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        int count = epoll_wait(poll, events + 1, (int)COUNT_OF(events) - 1, -1);
        for (int i = 1; i <= count; i++) {
            if (!events[i].data.ptr)
                client_accept(listener, poll);
            else if (events[i].data.ptr != events)
                client_read(events[i].data.ptr);
            else if (!command())
                return 0;
        }
        if (count < 0 && errno != EINTR)
            return 1;
    }
}
