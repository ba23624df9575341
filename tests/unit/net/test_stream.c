/* A stream against sockets that answer, do not answer, vanish, or are not there. */
#include "net/stream.h"

#include "net_test.h"

struct client {
    uv_loop_t loop;
    struct net_stream *stream;
    struct buf read;
    struct err err;
    unsigned opened, ended;
    bool closes_at_open;
};

static void client_opened(void *ctx)
{
    struct client *client = ctx;
    client->opened++;
    if (!client->closes_at_open)
        return;
    net_stream_close(client->stream);
    client->stream = NULL;
}

static void client_read(void *ctx, struct str bytes)
{
    buf_add_str(&((struct client *)ctx)->read, bytes);
}

static void client_ended(void *ctx, const struct err *err)
{
    struct client *client = ctx;
    client->ended++;
    client->err = *err;
    net_stream_close(client->stream);
    client->stream = NULL;
}

static void client_open(struct client *client, const char *host, uint16_t port, int64_t timeout_ms)
{
    struct net_stream_options options = {.host = str_of(host),
                                         .port = port,
                                         .timeout_ms = timeout_ms,
                                         .on_open = client_opened,
                                         .on_bytes = client_read,
                                         .on_end = client_ended,
                                         .ctx = client};
    *client = (struct client){0};
    assert_int_equal(uv_loop_init(&client->loop), 0);
    buf_init(&client->read, BIG_BYTES);
    client->stream = net_stream_open(&client->loop, &options);
    assert_int_equal(client->opened + client->ended, 0); /* Never inside the call. */
}

/* Turns the loop until `fact` is as wanted. */
static void run_until(struct client *client, const unsigned *fact, unsigned wanted)
{
    int64_t end_ms = clock_mono_ms() + WAIT_MS;
    while (*fact < wanted && clock_mono_ms() < end_ms) {
        uv_run(&client->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_true(*fact >= wanted);
}

static void client_close(struct client *client)
{
    if (client->stream)
        net_stream_close(client->stream);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&client->loop), 0); /* Nothing is left behind. */
    buf_deinit(&client->read);
}

static int listen_on(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void assert_starts(const char *text, const char *start)
{
    if (!str_starts(str_of(text), str_of(start)))
        fail_msg("%s", text);
}

static void test_net_stream__carries_bytes_and_says_eof(void **state)
{
    (void)state;
    struct client client;
    uint16_t port;
    char bytes[10] = {0};
    int listener = listen_on(&port);
    client_open(&client, "localhost", port, WAIT_MS);
    run_until(&client, &client.opened, 1);
    int peer = accept(listener, NULL, NULL);
    net_stream_write(client.stream, STR("hello"));
    uv_run(&client.loop, UV_RUN_NOWAIT);
    assert_int_equal(recv(peer, bytes, 5, MSG_WAITALL), 5);
    assert_string_equal(bytes, "hello");
    assert_int_equal(send(peer, "world", 5, 0), 5);
    close(peer);
    run_until(&client, &client.ended, 1);
    assert_true(str_eq(buf_str(&client.read), STR("world")));
    assert_string_equal(client.err.text, "EOF");
    client_close(&client);
    close(listener);
}

/* What is awaited and does not come ends the stream, once, with the words that Go has for it. */
static void test_net_stream_await__times_out(void **state)
{
    (void)state;
    struct client client;
    char wanted[100];
    uint16_t port;
    int listener = listen_on(&port);
    client_open(&client, "127.0.0.1", port, WAIT_MS);
    run_until(&client, &client.opened, 1);
    net_stream_await(client.stream, 20);
    net_stream_await(client.stream, 0); /* Nothing is awaited any more. */
    for (int i = 0; i < 40; i++) {
        uv_run(&client.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(client.ended, 0);
    net_stream_await(client.stream, 20);
    run_until(&client, &client.ended, 1);
    assert_int_equal(client.err.code, ERR_TIMEOUT);
    assert_starts(client.err.text, "read tcp 127.0.0.1:");
    snprintf(wanted, sizeof(wanted), "->127.0.0.1:%u: i/o timeout", port);
    assert_true(str_ends(str_of(client.err.text), str_of(wanted)));
    client_close(&client);
    close(listener);
}

/* A peer that does not read must not make us keep everything, nor wait for ever. */
static void test_net_stream_write__has_a_deadline_and_a_limit(void **state)
{
    (void)state;
    static char block[1 << 20];
    struct client client;
    uint16_t port;
    int listener = listen_on(&port);
    client_open(&client, "127.0.0.1", port, 300);
    run_until(&client, &client.opened, 1);
    for (int i = 0; i < 12; i++)
        net_stream_write(client.stream, str_from(block, sizeof(block)));
    run_until(&client, &client.ended, 1);
    assert_int_equal(client.err.code, ERR_TIMEOUT);
    assert_starts(client.err.text, "write tcp 127.0.0.1:");
    client_close(&client);
    client_open(&client, "127.0.0.1", port, WAIT_MS);
    run_until(&client, &client.opened, 1);
    for (int i = 0; i < 40; i++)
        net_stream_write(client.stream, str_from(block, sizeof(block)));
    assert_int_equal(client.ended, 0);
    run_until(&client, &client.ended, 1);
    assert_int_equal(client.err.code, ERR_LIMIT);
    client_close(&client);
    close(listener);
}

static void test_net_stream_open__says_why_it_cannot(void **state)
{
    (void)state;
    struct client client;
    char wanted[100];
    uint16_t port;
    close(listen_on(&port));
    client_open(&client, "127.0.0.1", port, WAIT_MS);
    run_until(&client, &client.ended, 1);
    snprintf(wanted, sizeof(wanted), "dial tcp 127.0.0.1:%u: connect: connection refused", port);
    assert_string_equal(client.err.text, wanted);
    client_close(&client);
    client_open(&client, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                1, WAIT_MS);
    run_until(&client, &client.ended, 1);
    assert_starts(client.err.text, "dial tcp: lookup x");
    client_close(&client);
    client_open(&client, "", 1, WAIT_MS);
    run_until(&client, &client.ended, 1);
    client_close(&client);
}

/* At any moment of its life: no callback comes after, and nothing leaks. */
static void test_net_stream_close__at_any_time(void **state)
{
    (void)state;
    struct client client;
    uint16_t port;
    int listener = listen_on(&port);
    static const char *const HOSTS[] = {
        "127.0.0.1", "localhost",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ""};
    for (size_t i = 0; i < COUNT_OF(HOSTS); i++) {
        client_open(&client, HOSTS[i], port, WAIT_MS);
        net_stream_close(client.stream);
        client.stream = NULL;
        uv_run(&client.loop, UV_RUN_DEFAULT);
        assert_int_equal(client.opened + client.ended, 0);
        client_close(&client);
    }
    client_open(&client, "127.0.0.1", port, WAIT_MS);
    client.closes_at_open = true;
    run_until(&client, &client.opened, 1);
    client_close(&client);
    assert_int_equal(client.ended, 0);
    close(listener);
}

/* A TLS handshake with one who says nothing ends by the same deadline as connecting. */
static void test_net_stream_open__limits_the_handshake(void **state)
{
    (void)state;
    struct client client = {0};
    struct tls_context *context;
    struct tls_options tls = {.insecure_skip_verify = true};
    uint16_t port;
    int listener = listen_on(&port);
    assert_true(tls_context_new(&context, &tls, &client.err));
    struct net_stream_options options = {.host = STR("127.0.0.1"),
                                         .port = port,
                                         .tls = context,
                                         .timeout_ms = 100,
                                         .on_open = client_opened,
                                         .on_bytes = client_read,
                                         .on_end = client_ended,
                                         .ctx = &client};
    assert_int_equal(uv_loop_init(&client.loop), 0);
    client.stream = net_stream_open(&client.loop, &options);
    run_until(&client, &client.ended, 1);
    assert_int_equal(client.opened, 0);
    assert_int_equal(client.err.code, ERR_TIMEOUT);
    client_close(&client);
    tls_context_unref(context);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_net_stream__carries_bytes_and_says_eof),
        cmocka_unit_test(test_net_stream_await__times_out),
        cmocka_unit_test(test_net_stream_write__has_a_deadline_and_a_limit),
        cmocka_unit_test(test_net_stream_open__says_why_it_cannot),
        cmocka_unit_test(test_net_stream_close__at_any_time),
        cmocka_unit_test(test_net_stream_open__limits_the_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
