/* dns: c-ares on libuv's loop.
 *
 *   dns_query -> (deferred) query_ask -> on_answer -> (deferred) query_take: done, or the next name
 *   of the search list
 *
 * c-ares calls back from inside its own functions and must not be destroyed there. So whatever
 * happens to a query only marks it and starts the idle handle `deferred`, which does the work in the
 * loop's next turn; done is called from there alone. It may ask anew, cancel and close.
 *
 * c-ares cannot take back a single question. The `ask` is what it knows of a query: a query that
 * ends early leaves its ask behind without an owner.
 *
 * The search list is read here and not by c-ares: that one would, without a list, make one of the
 * host's own name. */
#include "net/dns.h"

#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "dns_message.h"

#define RESOLV_CONF      "/etc/resolv.conf"
#define RESOLV_BYTES_MAX ((size_t)64 << 10)
#define SUFFIXES_MAX     32
#define NDOTS_MAX        15
#define TRY_TIMEOUT_MS   2000
#define TRIES            2
#define EDNS_BYTES       4096

struct dns_socket {
    struct list_node node; /* In dns->sockets. */
    uv_poll_t poll;
    struct dns *dns;
    ares_socket_t fd;
};

struct dns {
    uv_loop_t *loop;
    ares_channel channel;
    uv_timer_t timer; /* When c-ares wants to be called without a socket event. */
    uv_idle_t deferred;
    struct list queries; /* All whose done has not come. */
    struct list due;     /* Those that the next turn shall look at. */
    struct list sockets;
    VEC(char *) suffixes;
    size_t ndots;
    bool closing;
    unsigned handles_open; /* The timer, the idle handle and every socket. */
};

struct ask {
    struct dns_query *query; /* NULL: nobody waits any more. */
};

struct dns_query {
    struct list_node node;     /* In dns->queries. */
    struct list_node due_node; /* In dns->due. */
    struct dns *dns;
    struct ask *ask; /* While c-ares works on it. */
    char *name;
    VEC(char *) names; /* What is asked, in this order. */
    size_t at;
    enum dns_type type;
    struct timer *deadline;
    dns_done_fn done;
    void *ctx;
    struct arena arena; /* Of the answer. */
    struct dns_answer answer;
    struct err err;
    bool known;    /* A server knows the name: the answer is final. */
    bool unsure;   /* A name could neither be found nor excluded. */
    bool finished; /* Only done is left. */
};

static void dns_on_deferred(uv_idle_t *idle);

/* --- resolv.conf --- */

static bool file_load(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = 1;

    if (fd < 0)
        return err_errno(err, errno, "could not load resolv.conf: open %s", path);
    while (got > 0) {
        char *room = buf_reserve(out, 4096);
        if (!room)
            break; /* Longer than any real one: what has been read must do. */
        got = read(fd, room, 4096);
        buf_commit(out, got > 0 ? (size_t)got : 0);
    }
    int saved = errno;
    (void)close(fd);
    return got >= 0 || err_errno(err, saved, "could not load resolv.conf: read %s", path);
}

static struct str next_word(struct str *rest)
{
    size_t from = 0, len = 0;

    while (from < rest->len && strchr(" \t\r\v\f", rest->ptr[from]))
        from++;
    *rest = str_after(*rest, from);
    while (len < rest->len && !strchr(" \t\r\v\f", rest->ptr[len]))
        len++;
    struct str word = str_first(*rest, len);
    *rest = str_after(*rest, len);
    return word;
}

static void suffixes_clear(struct dns *dns)
{
    VEC_EACH (suffix, &dns->suffixes)
        mem_free(*suffix);
    VEC_CLEAR(&dns->suffixes);
}

static void resolv_line(struct dns *dns, struct str line)
{
    struct str key = next_word(&line), word;
    bool search = str_eq(key, STR("search")), domain = str_eq(key, STR("domain"));
    uint64_t ndots;

    if (search || domain)
        suffixes_clear(dns);
    while ((word = next_word(&line)).len > 0) {
        if ((search || domain) && dns->suffixes.count < (domain ? 1 : SUFFIXES_MAX))
            VEC_PUSH(&dns->suffixes, str_dup(word));
        if (str_eq(key, STR("options")) && str_starts(word, STR("ndots:")))
            dns->ndots = !str_to_u64(str_after(word, 6), &ndots) ? 0
                         : ndots > NDOTS_MAX                     ? NDOTS_MAX
                                                                 : (size_t)ndots;
    }
}

static bool resolv_conf_read(struct dns *dns, const char *path, struct err *err)
{
    struct buf text;

    buf_init(&text, RESOLV_BYTES_MAX);
    bool good = file_load(path, &text, err);
    for (struct str rest = buf_str(&text); good && rest.len > 0;)
        resolv_line(dns, str_cut(rest, '\n', &rest));
    buf_deinit(&text);
    return good;
}

/* --- queries --- */

static void query_defer(struct dns_query *query)
{
    struct dns *dns = query->dns;

    if (!list_linked(&query->due_node))
        list_push_back(&dns->due, &query->due_node);
    uv_idle_start(&dns->deferred, dns_on_deferred);
}

/* Whatever c-ares still says about it is not heard any more. */
static void query_finish(struct dns_query *query)
{
    if (query->ask)
        query->ask->query = NULL;
    query->ask = NULL;
    query->finished = true;
    query_defer(query);
}

static void query_add_name(struct dns_query *query, struct str name, struct str suffix)
{
    struct buf text;

    buf_init(&text, name.len + suffix.len + 2);
    buf_add_str(&text, name);
    buf_add_str(&text, suffix);
    if (!str_ends(buf_str(&text), STR(".")))
        buf_add_char(&text, '.');
    VEC_PUSH(&query->names, str_dup(buf_str(&text)));
    buf_deinit(&text);
}

/* A name with more labels than ndots comes before the search list, another one after it. */
static void query_make_names(struct dns_query *query, struct str name)
{
    const struct dns *dns = query->dns;
    bool rooted = str_ends(name, STR("."));
    size_t label_count = 1;
    struct buf text;

    for (size_t i = 0; i < name.len; i++)
        label_count += name.ptr[i] == '.';
    if (rooted || label_count > dns->ndots)
        query_add_name(query, name, STR_EMPTY);
    if (rooted)
        return;
    buf_init(&text, name.len + 1);
    buf_add_str(&text, name);
    buf_add_char(&text, '.');
    for (size_t i = 0; i < dns->suffixes.count; i++)
        query_add_name(query, buf_str(&text), str_of(dns->suffixes.items[i]));
    buf_deinit(&text);
    if (label_count <= dns->ndots)
        query_add_name(query, name, STR_EMPTY);
}

static void query_on_deadline(void *ctx)
{
    struct dns_query *query = ctx;

    if (query->finished)
        return;
    err_set(&query->err, ERR_TIMEOUT, "could not resolve \"%s\": i/o timeout", query->name);
    query_finish(query);
}

/* The name is surely known, surely unknown, or neither. */
static void query_take_status(struct dns_query *query, int status, struct str message)
{
    struct err err = {0};

    switch (status) {
    case ARES_SUCCESS:
        query->known = dns_message_parse(message, &query->arena, &query->answer, &err);
        query->unsure |= !query->known;
        break;
    case ARES_ENODATA:
        query->known = true;
        break;
    case ARES_ENOTFOUND:
        break;
    default:
        query->unsure = true;
        break;
    }
    if (err.code != ERR_NONE || (!query->known && status != ARES_ENOTFOUND))
        LOG_W("DNS resolution failed", "name", query->names.items[query->at], "err",
              err.code != ERR_NONE ? err.text : ares_strerror(status));
    query->at++;
}

static void on_answer(void *ctx, int status, int timeouts, unsigned char *bytes, int len)
{
    struct ask *ask = ctx;
    struct dns_query *query = ask->query;

    (void)timeouts;
    mem_free(ask);
    if (!query)
        return;
    query->ask = NULL;
    query_take_status(query, status, str_from((const char *)bytes, len > 0 ? (size_t)len : 0));
    query_defer(query);
}

static void dns_set_timer(struct dns *dns);

static void query_ask(struct dns_query *query)
{
    struct dns *dns = query->dns;
    struct ask *ask = MEM_NEW(struct ask);

    ask->query = query;
    query->ask = ask;
    ares_query(dns->channel, query->names.items[query->at], 1, (int)query->type, on_answer, ask);
    dns_set_timer(dns);
}

static void query_free(struct dns_query *query)
{
    list_remove(&query->node);
    list_remove(&query->due_node);
    timer_free(query->deadline);
    VEC_EACH (name, &query->names)
        mem_free(*name);
    VEC_FREE(&query->names);
    mem_free(query->name);
    arena_deinit(&query->arena);
    mem_free(query);
}

/* What is next for it. */
static void query_step(struct dns_query *query)
{
    if (query->ask)
        return;
    if (!query->finished && !query->known && query->at < query->names.count) {
        query_ask(query);
        return;
    }
    if (!query->finished && !query->known && query->unsure)
        err_set(&query->err, ERR_UNAVAILABLE,
                "could not resolve \"%s\": all servers responded with errors to at least one "
                "search domain",
                query->name);
    if (query->err.code != ERR_NONE)
        query->answer = (struct dns_answer){0};
    query->finished = true;
    list_remove(&query->node);
    query->done(query->ctx, &query->answer, &query->err);
    query_free(query);
}

struct dns_query *dns_query(struct dns *dns, struct str name, enum dns_type type,
                            int64_t timeout_ms, dns_done_fn done, void *ctx)
{
    struct dns_query *query = MEM_NEW(struct dns_query);

    ENSURE(!dns->closing && done);
    query->dns = dns;
    query->name = str_dup(name);
    query->type = type;
    query->done = done;
    query->ctx = ctx;
    arena_init(&query->arena, 0);
    query_make_names(query, name);
    list_push_back(&dns->queries, &query->node);
    query->deadline = timer_new(dns->loop, query_on_deadline, query);
    timer_start(query->deadline, timeout_ms, 0);
    if (strlen(query->name) != name.len) {
        err_set(&query->err, ERR_BAD_DATA, "a name with a NUL byte cannot be resolved");
        query->finished = true;
    }
    query_defer(query);
    return query;
}

void dns_query_cancel(struct dns_query *query)
{
    err_set(&query->err, ERR_CANCELED, "canceled");
    query_finish(query);
}

/* --- c-ares on the loop --- */

static void dns_on_timer(uv_timer_t *timer)
{
    struct dns *dns = CONTAINER_OF(timer, struct dns, timer);

    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    dns_set_timer(dns);
}

static void dns_set_timer(struct dns *dns)
{
    struct timeval wait;

    if (!ares_timeout(dns->channel, NULL, &wait)) {
        uv_timer_stop(&dns->timer);
        return;
    }
    uint64_t wait_ms = (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000;
    uv_timer_start(&dns->timer, dns_on_timer, wait_ms + 1, 0);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *socket = CONTAINER_OF(poll, struct dns_socket, poll);
    struct dns *dns = socket->dns;
    /* On an error both: c-ares finds out by itself. */
    bool readable = status < 0 || (events & UV_READABLE);
    bool writable = status < 0 || (events & UV_WRITABLE);

    ares_process_fd(dns->channel, readable ? socket->fd : ARES_SOCKET_BAD,
                    writable ? socket->fd : ARES_SOCKET_BAD);
    dns_set_timer(dns);
}

static void dns_on_handle_closed(struct dns *dns)
{
    if (--dns->handles_open > 0)
        return;
    suffixes_clear(dns);
    VEC_FREE(&dns->suffixes);
    mem_free(dns);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct dns_socket *socket = CONTAINER_OF((uv_poll_t *)(void *)handle, struct dns_socket, poll);
    struct dns *dns = socket->dns;

    mem_free(socket);
    dns_on_handle_closed(dns);
}

static struct dns_socket *socket_find(struct dns *dns, ares_socket_t fd)
{
    LIST_EACH (node, &dns->sockets) {
        struct dns_socket *socket = CONTAINER_OF(node, struct dns_socket, node);
        if (socket->fd == fd)
            return socket;
    }
    return NULL;
}

static struct dns_socket *socket_add(struct dns *dns, ares_socket_t fd)
{
    struct dns_socket *socket = MEM_NEW(struct dns_socket);

    socket->dns = dns;
    socket->fd = fd;
    ENSURE(uv_poll_init_socket(dns->loop, &socket->poll, fd) == 0);
    list_push_back(&dns->sockets, &socket->node);
    dns->handles_open++;
    return socket;
}

/* Neither to be read nor written: c-ares closes it right after this call. */
static void on_socket_wanted(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct dns *dns = ctx;
    struct dns_socket *socket = socket_find(dns, fd);
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

    if (!socket && events)
        socket = socket_add(dns, fd);
    if (!socket)
        return;
    if (events) {
        ENSURE(uv_poll_start(&socket->poll, events, on_socket_ready) == 0);
        return;
    }
    list_remove(&socket->node);
    uv_poll_stop(&socket->poll);
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

/* --- life --- */

static void on_timer_closed(uv_handle_t *handle)
{
    dns_on_handle_closed(CONTAINER_OF((uv_timer_t *)(void *)handle, struct dns, timer));
}

static void on_deferred_closed(uv_handle_t *handle)
{
    dns_on_handle_closed(CONTAINER_OF((uv_idle_t *)(void *)handle, struct dns, deferred));
}

/* One round: what becomes due meanwhile waits for the next turn. */
static void dns_on_deferred(uv_idle_t *idle)
{
    struct dns *dns = CONTAINER_OF(idle, struct dns, deferred);
    struct list_node *node;
    struct list round;

    uv_idle_stop(idle);
    list_init(&round);
    while ((node = list_pop_front(&dns->due)) != NULL)
        list_push_back(&round, node);
    while ((node = list_pop_front(&round)) != NULL)
        query_step(CONTAINER_OF(node, struct dns_query, due_node));
    if (!dns->closing || !list_empty(&dns->queries))
        return;
    uv_close((uv_handle_t *)&dns->timer, on_timer_closed);
    uv_close((uv_handle_t *)&dns->deferred, on_deferred_closed);
}

static bool channel_open(struct dns *dns, const struct dns_options *options, const char *path,
                         struct err *err)
{
    char resolv_conf[4096], lookups[] = "b";
    char *servers = str_dup(options->servers);
    struct ares_options ares = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = (int)(options->try_timeout_ms > 0 ? options->try_timeout_ms : TRY_TIMEOUT_MS),
        .tries = TRIES,
        .ednspsz = EDNS_BYTES,
        .lookups = lookups,
        .sock_state_cb = on_socket_wanted,
        .sock_state_cb_data = dns,
        .resolvconf_path = resolv_conf,
    };

    (void)snprintf(resolv_conf, sizeof(resolv_conf), "%s", path);
    int status = ares_init_options(&dns->channel, &ares,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS |
                                       ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF);
    if (status != ARES_SUCCESS) {
        dns->channel = NULL;
        mem_free(servers);
        return err_set(err, ERR_UNAVAILABLE, "could not set up DNS: %s", ares_strerror(status));
    }
    if (servers[0])
        status = ares_set_servers_ports_csv(dns->channel, servers);
    mem_free(servers);
    return status == ARES_SUCCESS ||
           err_set(err, ERR_BAD_DATA, "bad list of DNS servers \"" STR_FMT "\": %s",
                   STR_ARG(options->servers), ares_strerror(status));
}

bool dns_open(struct dns **out, struct uv_loop_s *loop, const struct dns_options *options,
              struct err *err)
{
    char *path = str_dup(options->resolv_conf.len > 0 ? options->resolv_conf : STR(RESOLV_CONF));
    struct dns *dns = MEM_NEW(struct dns);

    *out = NULL;
    dns->loop = loop;
    dns->ndots = 1;
    list_init(&dns->queries);
    list_init(&dns->due);
    list_init(&dns->sockets);
    bool good = (resolv_conf_read(dns, path, err) ||
                 (options->servers.len > 0 && options->resolv_conf.len == 0)) &&
                channel_open(dns, options, path, err);
    mem_free(path);
    if (!good) {
        if (dns->channel)
            ares_destroy(dns->channel);
        dns->handles_open = 1;
        dns_on_handle_closed(dns);
        return false;
    }
    ENSURE(uv_timer_init(loop, &dns->timer) == 0);
    ENSURE(uv_idle_init(loop, &dns->deferred) == 0);
    dns->handles_open = 2;
    *out = dns;
    return true;
}

void dns_close(struct dns *dns)
{
    if (!dns)
        return;
    ENSURE(!dns->closing);
    dns->closing = true;
    LIST_EACH (node, &dns->queries)
        dns_query_cancel(CONTAINER_OF(node, struct dns_query, node));
    ares_destroy(dns->channel);
    dns->channel = NULL;
    uv_timer_stop(&dns->timer);
    uv_idle_start(&dns->deferred, dns_on_deferred);
}
