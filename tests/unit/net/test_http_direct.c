/* http_direct against a raw server: answers in all shapes, whole and byte by byte; ends in Go's
 * words; used connections that are closed; what is left to curl. */
#include "http_direct.h"
#include "net_test.h"

struct raw_server {
    int listener, client;
    uint16_t port;
    unsigned accepted, requests;
    struct str answer;
    size_t sent;
    bool bytewise, close_after; /* The answer. */
    unsigned close_unanswered;  /* So many requests from now on. */
    char tail[4];
};

struct outcome {
    struct buf body;
    struct err err;
    unsigned heads, dones;
};

struct raw_world {
    uv_loop_t loop;
    struct http_client *client;
    struct raw_server server;
    char url[64];
};

static void world_begin(struct raw_world *world)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    struct err err;

    *world = (struct raw_world){.server = {.client = -1}};
    world->server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(world->server.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(world->server.listener, 16), 0);
    assert_int_equal(getsockname(world->server.listener, (struct sockaddr *)&at, &len), 0);
    world->server.port = ntohs(at.sin_port);
    snprintf(world->url, sizeof(world->url), "http://127.0.0.1:%u/m", world->server.port);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_true(http_client_open(&world->client, &world->loop, &err));
}

static void world_end(struct raw_world *world)
{
    http_client_close(world->client);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    close(world->server.listener);
    if (world->server.client >= 0)
        close(world->server.client);
}

static void server_drop(struct raw_server *server)
{
    close(server->client);
    server->client = -1;
}

/* An answer is on its way, or the next request is looked for. */
static void server_step(struct raw_server *server)
{
    char byte;
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd >= 0) {
        if (server->client >= 0)
            close(server->client);
        server->client = fd;
        server->accepted++;
        server->sent = server->answer.len;
        memset(server->tail, 0, 4);
    }
    if (server->client < 0)
        return;
    if (server->sent < server->answer.len || (server->sent == 0 && server->requests > 0)) {
        size_t len = server->bytewise ? 1 : server->answer.len - server->sent;
        if (server->answer.len > 0)
            (void)!send(server->client, server->answer.ptr + server->sent, len, MSG_NOSIGNAL);
        server->sent += len;
        if (server->sent >= server->answer.len && server->close_after)
            server_drop(server);
        return;
    }
    while (recv(server->client, &byte, 1, 0) == 1) {
        memmove(server->tail, server->tail + 1, 3);
        server->tail[3] = byte;
        if (memcmp(server->tail, "\r\n\r\n", 4) != 0)
            continue;
        server->requests++;
        server->sent = 0;
        if (server->close_unanswered > 0 || server->answer.len == 0) {
            server->close_unanswered -= server->close_unanswered > 0;
            server_drop(server);
        }
        return;
    }
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    (void)err;
    assert_int_equal(head->status, 200);
    ((struct outcome *)ctx)->heads++;
    return true;
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    (void)err;
    buf_add_str(&((struct outcome *)ctx)->body, bytes);
    return true;
}

static void on_done(void *ctx, const struct err *err)
{
    ((struct outcome *)ctx)->err = *err;
    ((struct outcome *)ctx)->dones++;
}

static void fetch(struct raw_world *world, struct outcome *outcome)
{
    struct http_fetch_options options = {.url = str_of(world->url),
                                         .timeout_ms = 3 * WAIT_MS,
                                         .on_head = on_head,
                                         .on_bytes = on_bytes,
                                         .on_done = on_done,
                                         .ctx = outcome};
    int64_t deadline_ms = deadline_from_now();

    *outcome = (struct outcome){0};
    buf_init(&outcome->body, 1 << 20);
    (void)http_fetch(world->client, &options);
    while (outcome->dones == 0) {
        assert_true(clock_mono_ms() < deadline_ms);
        server_step(&world->server);
        uv_run(&world->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(outcome->dones, 1);
}

#define STR_INIT(text)                                                                             \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define BROKEN  "net/http: HTTP/1.x transport connection broken: "

/* The shapes of answers and of their ends; `error` is what stands behind "Get "url": ", or all when
 * the head was good. */
static void test_http_direct__reads_answers_in_every_shape(void **state)
{
    static const struct {
        struct str answer;
        bool close;
        const char *body, *error;
        bool after_head, whole_only;
    } rows[] = {
        {STR_INIT(OK_HEAD "Content-Length: 2\r\n\r\nhi"), false, "hi", NULL, false, false},
        {STR_INIT(OK_HEAD
                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n"),
         false, "abcde", NULL, false, false},
        {STR_INIT("HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD "Content-Length: 2\r\n\r\nhi"), false,
         "hi", NULL, false, false},
        {STR_INIT("HTTP/1.0 200 OK\r\n\r\nhi"), true, "hi", NULL, false, false},
        {STR_INIT(OK_HEAD "Content-Length: 5\r\n\r\nhi"), true, "hi", "unexpected EOF", true,
         false},
        {STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nab"), true, "ab",
         "unexpected EOF", true, false},
        {STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), true, "",
         "invalid byte in chunk length", true, false},
        {STR_INIT(""), true, "", "EOF", false, false},
        {STR_INIT(OK_HEAD "Content-"), true, "", BROKEN "unexpected EOF", false, false},
        {STR_INIT("\x15\x03\x01\x00\x02\x02"), true, "",
         BROKEN "malformed HTTP response \"\\x15\\x03\\x01\\x00\\x02\\x02\"", false, true},
        {STR_INIT("220 mail ready\r\nmore"), true, "",
         BROKEN "malformed HTTP response \"220 mail ready\"", false, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows) * 2; i++) {
        struct raw_world world;
        struct outcome outcome;
        char wanted[256] = "";
        size_t row = i / 2;
        if (i % 2 && rows[row].whole_only)
            continue;
        world_begin(&world);
        world.server.answer = rows[row].answer;
        world.server.close_after = rows[row].close;
        world.server.bytewise = i % 2;
        fetch(&world, &outcome);
        if (rows[row].error && !rows[row].after_head)
            snprintf(wanted, sizeof(wanted), "Get \"%s\": ", world.url);
        if (rows[row].error)
            snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "%s",
                     rows[row].error);
        assert_string_equal(outcome.err.code == ERR_NONE ? "" : outcome.err.text, wanted);
        assert_true(str_eq(buf_str(&outcome.body), str_of(rows[row].body)));
        assert_int_equal(world.server.accepted, 1);
        buf_deinit(&outcome.body);
        world_end(&world);
    }
}

/* A connection is used again; one that its server closes at that moment costs a second try, once. */
static void test_http_direct__tries_again_on_a_new_connection(void **state)
{
    struct raw_world world;
    struct outcome outcome;
    char wanted[128];

    (void)state;
    world_begin(&world);
    world.server.answer = STR(OK_HEAD "Content-Length: 2\r\n\r\nhi");
    for (int round = 0; round < 3; round++) {
        world.server.close_unanswered = round == 2;
        fetch(&world, &outcome);
        assert_int_equal(outcome.err.code, ERR_NONE);
        assert_true(str_eq(buf_str(&outcome.body), STR("hi")));
        assert_int_equal(world.server.accepted, round < 2 ? 1 : 2);
        buf_deinit(&outcome.body);
    }
    world.server.close_unanswered = 2;
    fetch(&world, &outcome);
    snprintf(wanted, sizeof(wanted), "Get \"%s\": EOF", world.url);
    assert_string_equal(outcome.err.text, wanted);
    assert_int_equal(world.server.accepted, 3);
    assert_int_equal(world.server.requests, 6);
    world_end(&world);
}

/* A head that only curl reads is asked for again with curl, and from then on at once. */
static void test_http_direct__leaves_odd_answers_to_curl(void **state)
{
    struct raw_world world;
    struct outcome outcome;

    (void)state;
    world_begin(&world);
    world.server.answer = STR("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi");
    for (unsigned round = 0; round < 2; round++) {
        world.server.close_after = true;
        fetch(&world, &outcome);
        assert_int_equal(outcome.err.code, ERR_NONE);
        assert_int_equal(outcome.heads, 1);
        assert_true(str_eq(buf_str(&outcome.body), STR("hi")));
        assert_int_equal(world.server.accepted, 2 + round);
        buf_deinit(&outcome.body);
    }
    world_end(&world);
}

/* What may go without curl, and the bytes of it. */
static void test_direct_request_build__takes_what_is_plain(void **state)
{
    static const struct {
        const char *url, *host, *port, *first;
    } rows[] = {
        {"http://10.0.0.1:9090/metrics?a=b", "10.0.0.1", "9090",
         "GET /metrics?a=b HTTP/1.1\r\nHost: 10.0.0.1:9090\r\n"},
        {"HTTP://Example", "Example", "80", "GET / HTTP/1.1\r\nHost: Example\r\n"},
        {"http://[::1]:80/", "::1", "80", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n"},
        {"http://[::1]/x", "::1", "80", "GET /x HTTP/1.1\r\nHost: [::1]\r\n"},
        {"https://a/", NULL, NULL, NULL},
        {"http://u:p@a/", NULL, NULL, NULL},
        {"http://a:0/", NULL, NULL, NULL},
        {"http://a:65536/", NULL, NULL, NULL},
        {"http://a:/", NULL, NULL, NULL},
        {"http:///x", NULL, NULL, NULL},
        {"http://a?x", NULL, NULL, NULL},
        {"http://a/#x", NULL, NULL, NULL},
        {"http://a/\xc3\xa4", NULL, NULL, NULL},
        {"http://[::1/x", NULL, NULL, NULL},
        {"http://[::1]x/", NULL, NULL, NULL},
        {"http://[::1%lo]/", NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_fetch_options options = {.url = str_of(rows[i].url)};
        struct direct_request request;
        bool plain = direct_request_build(&request, &options);
        if (plain != (rows[i].host != NULL))
            fail_msg("%s", rows[i].url);
        if (!plain)
            continue;
        assert_true(str_eq(request.host, str_of(rows[i].host)));
        assert_true(str_eq(request.port, str_of(rows[i].port)));
        assert_true(str_starts(request.wire, str_of(rows[i].first)));
        direct_request_deinit(&request);
    }
}

/* What is handed to curl later is what came in: public lines apart from private ones. */
static void test_direct_request_build__keeps_its_lines(void **state)
{
    const struct str public_line = STR("Accept: a, b"), private_line = STR("X-Key: k");
    const struct str steering = STR("Host: elsewhere"), evil = STR("X: a\r\nY: b");
    struct http_fetch_options options = {.url = STR("http://a/"),
                                         .headers = &public_line,
                                         .header_count = 1,
                                         .private_headers = &private_line,
                                         .private_header_count = 1,
                                         .user = STR("me"),
                                         .password = STR("secret")};
    struct direct_request request;
    struct str lines[3];

    (void)state;
    assert_true(direct_request_build(&request, &options));
    assert_int_equal(request.public_lines, 1);
    assert_int_equal(request.private_lines, 2);
    direct_request_lines(&request, lines);
    assert_true(str_eq(lines[0], public_line));
    assert_true(str_eq(lines[1], private_line));
    assert_true(str_eq(lines[2], STR("Authorization: Basic bWU6c2VjcmV0")));
    direct_request_deinit(&request);
    options.headers = &steering;
    assert_false(direct_request_build(&request, &options));
    options.headers = &evil;
    assert_false(direct_request_build(&request, &options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_direct__reads_answers_in_every_shape),
        cmocka_unit_test(test_http_direct__tries_again_on_a_new_connection),
        cmocka_unit_test(test_http_direct__leaves_odd_answers_to_curl),
        cmocka_unit_test(test_direct_request_build__takes_what_is_plain),
        cmocka_unit_test(test_direct_request_build__keeps_its_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
