/* HTTPS of the server: answers of all sizes over real sockets, and clients that misbehave before, in and after the
 * handshake. */
#include "net_test.h"

#include "net/http_client.h"
#include "net/tls.h"

static struct err err;
static struct tls_context *context;
static struct buf cert;

static struct tls_context *world_tls(void *ctx)
{
    (void)ctx;
    return context;
}

static void secure_open(struct world *world, int64_t read_timeout_ms)
{
    struct http_server_options options = world_options(world);
    options.tls_context = world_tls;
    options.read_timeout_ms = read_timeout_ms;
    world_open(world, &options);
}

static int make_context(void **state)
{
    struct str names[] = {STR("localhost"), STR("127.0.0.1")};
    struct tls_issue issue = {
        .common_name = STR("test"), .names = names, .name_count = 2, .days = 2};
    struct buf key;
    (void)state;
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    if (!tls_issue(&issue, &cert, &key, &err))
        return -1;
    struct tls_options options = {
        .server = true, .cert_pem = buf_str(&cert), .key_pem = buf_str(&key), .http1 = true};
    bool good = tls_context_new(&context, &options, &err);
    buf_deinit(&key);
    return good ? 0 : -1;
}

static int free_context(void **state)
{
    (void)state;
    tls_context_unref(context);
    buf_deinit(&cert);
    return 0;
}

/* --- a client of the test's own: TLS over a raw socket --- */

struct secure {
    int fd;
    struct tls_context *context;
    struct tls *tls;
    struct buf wire, plain;
    bool has_failed;
};

static void secure_flush(struct secure *client)
{
    raw_send(client->fd, buf_str(&client->wire));
    buf_clear(&client->wire);
}

/* False at the end of the stream. */
static bool secure_receive(struct secure *client)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    bool open = raw_receive(client->fd, &bytes);
    if (!tls_feed(client->tls, buf_str(&bytes), &client->plain, &client->wire, &err))
        client->has_failed = true;
    else
        secure_flush(client);
    buf_deinit(&bytes);
    return open && !client->has_failed && !tls_has_end(client->tls);
}

static void secure_connect(struct world *world, struct secure *client)
{
    struct tls_options options = {.ca_pem = buf_str(&cert)};
    int64_t deadline = deadline_from_now();
    *client = (struct secure){.fd = raw_connect(world)};
    buf_init(&client->wire, 1 << 20);
    buf_init(&client->plain, 64 << 20);
    if (!tls_context_new(&client->context, &options, &err) ||
        !tls_new(&client->tls, client->context, STR("localhost"), &err) ||
        !tls_handshake(client->tls, &client->wire, &err))
        fail_msg("%s", err.text);
    secure_flush(client);
    while (!tls_is_open(client->tls)) {
        world_turn(world, deadline);
        assert_true(secure_receive(client));
    }
}

static void secure_send(struct secure *client, const char *text)
{
    assert_true(tls_write(client->tls, str_of(text), &client->wire, &err));
    secure_flush(client);
}

static void secure_read_until(struct world *world, struct secure *client, const char *needle,
                              size_t count)
{
    int64_t deadline = deadline_from_now();
    while (count_of(buf_str(&client->plain), str_of(needle)) < count) {
        world_turn(world, deadline);
        if (!secure_receive(client) && count_of(buf_str(&client->plain), str_of(needle)) < count)
            fail_msg("closed after %zu bytes", client->plain.len);
    }
}

static void secure_close(struct secure *client)
{
    close(client->fd);
    tls_free(client->tls);
    tls_context_unref(client->context);
    buf_deinit(&client->wire);
    buf_deinit(&client->plain);
}

/* Keep-alive, pipelining, and an answer of many pieces, which a client takes slowly. */
static void test_https__answers_small_and_large(void **state)
{
    (void)state;
    struct world world;
    struct secure client;
    secure_open(&world, 0);
    secure_connect(&world, &client);
    secure_send(&client,
                "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    secure_read_until(&world, &client, "hello", 2);
    buf_clear(&client.plain);
    secure_send(
        &client,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    secure_read_until(&world, &client, "100 Continue", 1);
    secure_send(&client, "abcde");
    secure_read_until(&world, &client, "abcde", 1);
    buf_clear(&client.plain);
    secure_send(&client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200; i++)
        world_turn(&world,
                   deadline_from_now()); /* The socket's buffers are full long before the end. */
    int64_t deadline = deadline_from_now();
    while (client.plain.len < BIG_BYTES) {
        world_turn(&world, deadline);
        assert_true(secure_receive(&client));
    }
    secure_send(&client, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    secure_read_until(&world, &client, "hello", 1);
    deadline = deadline_from_now();
    while (secure_receive(&client))
        world_turn(&world, deadline);
    assert_true(tls_has_end(client.tls)); /* A goodbye, so that nobody takes a cut for the end. */
    secure_close(&client);
    world_close(&world);
}

/* As Go: it is told what is wrong. */
static void test_https__tells_who_speaks_http(void **state)
{
    (void)state;
    struct world world;
    struct buf got;
    secure_open(&world, 0);
    buf_init(&got, 65536);
    int fd = raw_connect(&world);
    for (const char *at = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"; *at; at++) {
        raw_send(fd, str_from(at, 1)); /* However it is cut. */
        world_turn(&world, deadline_from_now());
        if (!raw_receive(fd, &got) || got.len > 0)
            break;
    }
    raw_read_to_end(&world, fd, &got);
    assert_true(str_eq(buf_str(&got), STR("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP "
                                          "request to an HTTPS server.\n")));
    close(fd);
    buf_deinit(&got);
    assert_int_equal(world.request_count, 0);
    world_close(&world);
}

/* A handshake that does not come, or comes as junk, ends; a record in the clear ends a session. */
static void test_https__ends_what_is_no_tls(void **state)
{
    static const struct str JUNK[] = {
        {"", 0},
        {"\x16\x03\x01", 3},
        {"\x16\x03\x01\x02\x00\x01\x00", 7},
        {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", 10},
        {"\x16\x03\x01\xff\xff\x00", 6},
        {"\x80\x2e\x01\x03\x01\x00", 6},
        {"SSH-2.0-OpenSSH\r\n", 17},
    };
    (void)state;
    struct world world;
    struct secure client;
    secure_open(&world, 300);
    for (size_t i = 0; i < COUNT_OF(JUNK); i++) {
        struct buf got;
        buf_init(&got, 65536);
        int fd = raw_connect(&world);
        raw_send(fd, JUNK[i]);
        raw_read_to_end(&world, fd, &got);
        assert_true(got.len < 100);
        close(fd);
        buf_deinit(&got);
    }
    secure_connect(&world, &client);
    secure_send(&client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    secure_read_until(&world, &client, "hello", 1);
    raw_send(client.fd, STR("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
    int64_t deadline = deadline_from_now();
    while (secure_receive(&client))
        world_turn(&world, deadline);
    assert_true(client.has_failed || tls_has_end(client.tls));
    assert_int_equal(world.request_count, 1);
    secure_close(&client);
    world_close(&world);
}

/* Who goes while a request is in work is noticed; what is answered then is freed. */
static void test_https__notices_who_goes(void **state)
{
    (void)state;
    struct world world;
    struct secure client;
    secure_open(&world, 0);
    secure_connect(&world, &client);
    secure_send(&client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    assert_non_null(http_exchange_tls(world.held));
    tls_close(client.tls, &client.wire);
    secure_flush(&client);
    while (world.gone_count == 0)
        world_turn(&world, deadline);
    reply_copy(world.held, 200, STR("late"));
    secure_read_until(&world, &client, "late", 1); /* It had only closed its side. */
    secure_close(&client);

    world.held = NULL;
    secure_connect(&world, &client);
    secure_send(&client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!world.held)
        world_turn(&world, deadline);
    secure_close(&client);
    while (world.gone_count < 2)
        world_turn(&world, deadline);
    http_exchange_add_header(world.held, STR("X-A"), STR("1"));
    reply_copy(world.held, 200, STR("nobody"));
    world_close(&world);
}

/* Without a context there is no connection, and nothing else. */
static void test_https__needs_a_context(void **state)
{
    (void)state;
    struct world world;
    struct buf got;
    struct tls_context *kept = context;
    secure_open(&world, 0);
    context = NULL;
    buf_init(&got, 65536);
    int fd = raw_connect(&world);
    raw_read_to_end(&world, fd, &got);
    assert_int_equal(got.len, 0);
    close(fd);
    context = kept;
    buf_deinit(&got);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_https__answers_small_and_large),
        cmocka_unit_test(test_https__tells_who_speaks_http),
        cmocka_unit_test(test_https__ends_what_is_no_tls),
        cmocka_unit_test(test_https__notices_who_goes),
        cmocka_unit_test(test_https__needs_a_context),
    };
    return cmocka_run_group_tests(tests, make_context, free_context);
}
