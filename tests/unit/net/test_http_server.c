/* http_server over real sockets: framing, limits, slow and vanishing clients, closing. */
#include "net_test.h"

#define HOST      "Host: x\r\n"
#define GET_HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"

/* Opens a world with default options, sends `request`, reads to the end of the stream. */
static void exchange_once(struct str request, struct buf *answer)
{
    struct world world;
    struct http_server_options options = world_options(&world);
    world_open(&world, &options);
    buf_init(answer, 64 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, request);
    raw_read_to_end(&world, fd, answer);
    close(fd);
    world_close(&world);
}

static void assert_answer(struct str request, struct str start, struct str body)
{
    struct buf answer;
    exchange_once(request, &answer);
    if (!str_starts(buf_str(&answer), start))
        fail_msg("answer: " STR_FMT, STR_ARG(buf_str(&answer)));
    if (!str_eq(body_of(&answer), body))
        fail_msg("body: " STR_FMT, STR_ARG(body_of(&answer)));
    buf_deinit(&answer);
}

/* Pipelined requests in one segment are answered one after the other, in order. */
static void test_http_server__answers_pipelined_requests_in_order(void **state)
{
    (void)state;
    struct buf answer;
    exchange_once(STR(GET_HELLO "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                                "GET /nowhere HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"),
                  &answer);
    struct str text = buf_str(&answer);
    size_t first = str_find(text, STR("\r\n\r\nhello"));
    size_t second = str_find(text, STR("\r\n\r\nabc"));
    size_t third = str_find(text, STR("\r\n\r\nno such page"));
    assert_true(first < second && second < third && third < text.len);
    assert_int_equal(count_of(text, STR("HTTP/1.1 ")), 3);
    buf_deinit(&answer);
}

/* Hundreds of requests in one segment exceed the read-ahead: none may be lost or doubled. */
static void test_http_server__answers_a_long_pipeline(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf request, answer;
    world_open(&world, &options);
    buf_init(&request, 1 << 20);
    buf_init(&answer, 8 << 20);
    for (int i = 0; i < 5000; i++)
        BUF_ADD(&request, GET_HELLO);
    int fd = raw_connect(&world);
    raw_send(fd, buf_str(&request));
    int64_t deadline = deadline_from_now();
    while (world.request_count < 5000) {
        assert_true(raw_receive(fd, &answer));
        if (clock_mono_ms() > deadline)
            fail_msg("%u requests seen", world.request_count);
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    raw_read_until(&world, fd, &answer, STR("hello"), 5000);
    assert_int_equal(world.request_count, 5000);
    assert_int_equal(count_of(buf_str(&answer), STR("\r\n\r\nhello")), 5000);
    close(fd);
    buf_deinit(&request);
    buf_deinit(&answer);
    world_close(&world);
}

/* A request may come in as many segments as it has bytes. */
static void test_http_server__reads_a_request_byte_by_byte(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct str request = STR("POST /ec%68o HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n");
    struct buf answer;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    for (size_t i = 0; i < request.len; i++) {
        raw_send(fd, str_from(request.ptr + i, 1));
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    raw_read_until(&world, fd, &answer, STR("abcdefg"), 1);
    assert_true(str_starts(buf_str(&answer), STR("HTTP/1.1 200 OK\r\n")));
    assert_true(contains(buf_str(&answer), STR("\r\nContent-Length: 7\r\n")));
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* HEAD tells the length of the body that it does not send. */
static void test_http_server__head_has_length_and_no_body(void **state)
{
    (void)state;
    struct buf answer;
    exchange_once(STR("HEAD /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), &answer);
    assert_true(contains(buf_str(&answer), STR("Content-Length: 5\r\n")));
    assert_true(contains(buf_str(&answer), STR("\r\nDate: ")));
    assert_int_equal(body_of(&answer).len, 0);
    buf_deinit(&answer);
}

/* 204 may carry neither body nor length. */
static void test_http_server__no_content_has_no_length(void **state)
{
    (void)state;
    struct buf answer;
    exchange_once(STR("GET /none HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), &answer);
    assert_true(str_starts(buf_str(&answer), STR("HTTP/1.1 204 No Content\r\n")));
    assert_false(contains(buf_str(&answer), STR("Content-Length")));
    buf_deinit(&answer);
}

/* HTTP/1.0 closes unless asked to keep the connection. */
static void test_http_server__keeps_http_1_0_connections_only_on_demand(void **state)
{
    (void)state;
    struct buf answer;
    assert_answer(STR("GET /hello HTTP/1.0\r\n\r\n"), STR("HTTP/1.0 200 OK\r\n"), STR("hello"));
    exchange_once(STR("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                      "GET /hello HTTP/1.0\r\n\r\n"),
                  &answer);
    assert_int_equal(count_of(buf_str(&answer), STR("hello")), 2);
    assert_true(contains(buf_str(&answer), STR("Connection: keep-alive\r\n")));
    buf_deinit(&answer);
}

/* A client that waits for 100 Continue gets it before its body is read. */
static void test_http_server__sends_100_continue(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR("POST /echo HTTP/1.1\r\n" HOST
                     "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    raw_read_until(&world, fd, &answer, STR("HTTP/1.1 100 Continue\r\n\r\n"), 1);
    assert_int_equal(world.request_count, 0);
    raw_send(fd, STR("body"));
    raw_read_until(&world, fd, &answer, STR("\r\n\r\nbody"), 1);
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* What is no proper request gets a plain answer and the end of the connection. */
static void test_http_server__refuses_bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *request, *start, *body;
    } rows[] = {
        {"\x16\x03\x01 tls\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "400 Bad Request"},
        {"GET /hello HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n",
         "400 Bad Request: missing required Host header"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 ",
         "400 Bad Request: too many Host headers"},
        {"GET /%zz HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 ",
         "400 Bad Request: invalid URL escape \"%zz\""},
        {"GET / HTTP/3.7\r\n" HOST "\r\n", "HTTP/1.1 505 ", "505 HTTP Version Not Supported"},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "HTTP/1.1 501 ",
         "501 Not Implemented: unsupported transfer encoding"},
        {"POST /echo HTTP/1.1\r\n" HOST
         "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
         "HTTP/1.1 400 ", "400 Bad Request"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n", "HTTP/1.1 413 ",
         "413 Request Entity Too Large"},
        {"POST /echo HTTP/1.1\r\n" HOST "Expect: magic\r\nContent-Length: 1\r\n\r\n",
         "HTTP/1.1 417 ", "417 Expectation Failed"},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
         "HTTP/1.1 400 ", "400 Bad Request"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_answer(str_of(rows[i].request), str_of(rows[i].start), str_of(rows[i].body));
}

/* A head has an end: the answer comes although the client never stops. */
static void test_http_server__refuses_an_oversize_head(void **state)
{
    (void)state;
    struct buf request;
    buf_init(&request, 1 << 20);
    BUF_ADD(&request, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 900; i++)
        buf_addf(&request, "X-Filler-%d: %0100d\r\n", i, i);
    assert_answer(buf_str(&request), STR("HTTP/1.1 431 "),
                  STR("431 Request Header Fields Too Large"));
    buf_deinit(&request);
}

/* A chunked body does not tell its length: the limit holds all the same. */
static void test_http_server__refuses_an_oversize_chunked_body(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    options.body_bytes_max = 10;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                     "8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n"));
    raw_read_to_end(&world, fd, &answer);
    assert_true(str_starts(buf_str(&answer), STR("HTTP/1.1 413 ")));
    assert_int_equal(world.request_count, 0);
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* The body limit is for each request, and an exchange before does not use it up. */
static void test_http_server__takes_a_body_of_just_the_limit_twice(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    options.body_bytes_max = 4;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    for (size_t round = 1; round <= 2; round++) {
        raw_send(fd, STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody"));
        raw_read_until(&world, fd, &answer, STR("\r\n\r\nbody"), round);
    }
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* A request that trickles in for ever ends with 408, an idle connection without a word. */
static void test_http_server__ends_slow_and_idle_clients(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf slow, idle;
    options.read_timeout_ms = 30;
    world_open(&world, &options);
    buf_init(&slow, 1 << 20);
    buf_init(&idle, 1 << 20);
    int slow_fd = raw_connect(&world);
    int idle_fd = raw_connect(&world);
    raw_send(slow_fd, STR("GET /hel"));
    raw_read_to_end(&world, slow_fd, &slow);
    raw_read_to_end(&world, idle_fd, &idle);
    assert_true(str_starts(buf_str(&slow), STR("HTTP/1.1 408 Request Timeout\r\n")));
    assert_int_equal(idle.len, 0);
    close(slow_fd);
    close(idle_fd);
    buf_deinit(&slow);
    world_close(&world);
}

/* A peer that asks for much and reads nothing may not hold its answer's memory for ever. */
static void test_http_server__ends_a_client_that_does_not_read(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    options.write_timeout_ms = 30;
    world_open(&world, &options);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /big HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (world.request_count == 0 || http_server_connections(world.server) > 0)
        world_turn(&world, deadline);
    close(fd);
    world_close(&world);
}

/* A big answer arrives whole although no single write takes it. */
static void test_http_server__sends_a_big_body(void **state)
{
    (void)state;
    struct buf answer;
    exchange_once(STR("GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), &answer);
    assert_int_equal(body_of(&answer).len, BIG_BYTES);
    buf_deinit(&answer);
}

/* The handler learns once that nobody waits any more, and its late answer harms nothing. */
static void test_http_exchange_on_gone__comes_once_when_the_client_resets(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    world_open(&world, &options);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    while (world.gone_count == 0 || http_server_connections(world.server) > 0)
        world_turn(&world, deadline);
    reply_copy(world.held, 200, STR("too late"));
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.gone_count, 1);
    world_close(&world);
}

/* "printf ... | nc -N" closes its sending side and still wants the answer. */
static void test_http_server__answers_a_half_closed_client(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    shutdown(fd, SHUT_WR);
    int64_t deadline = deadline_from_now();
    while (world.gone_count == 0)
        world_turn(&world, deadline);
    reply_copy(world.held, 200, STR("after all"));
    raw_read_to_end(&world, fd, &answer);
    assert_true(str_ends(buf_str(&answer), STR("\r\n\r\nafter all")));
    assert_int_equal(world.gone_count, 1);
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* While an answer is awaited a client may not fill our memory with more requests. */
static void test_http_server__stops_reading_while_an_answer_is_awaited(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    char filler[4096];
    size_t sent_bytes = 0;
    memset(filler, '\n', sizeof(filler)); /* Empty lines between requests are skipped. */
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    for (int idle_turns = 0; idle_turns < 100;) {
        ssize_t sent = send(fd, filler, sizeof(filler), MSG_DONTWAIT | MSG_NOSIGNAL);
        idle_turns = sent > 0 ? 0 : idle_turns + 1;
        sent_bytes += sent > 0 ? (size_t)sent : 0;
        uv_run(&world.loop, UV_RUN_NOWAIT);
        assert_true(sent_bytes < (size_t)64 << 20);
    }
    assert_non_null(world.held);
    reply_copy(world.held, 200, STR("done"));
    raw_read_until(&world, fd, &answer, STR("done"), 1);
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* gzip and deflate as Prometheus: first exact token of the list, no weights. */
static void test_http_server__compresses_on_demand(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        const char *encoding; /* NULL: none. */
        enum deflate_format format;
    } rows[] = {
        {"gzip", "gzip", DEFLATE_GZIP},
        {"br, deflate, gzip", "deflate", DEFLATE_ZLIB},
        {"gzip;q=1.0", NULL, DEFLATE_GZIP},
        {"identity", NULL, DEFLATE_GZIP},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf request, answer, plain;
        struct err err = {0};
        buf_init(&request, 4096);
        buf_init(&plain, 4096);
        buf_addf(&request,
                 "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\nAccept-Encoding: %s\r\n\r\n",
                 rows[i].accept);
        exchange_once(buf_str(&request), &answer);
        assert_true(contains(buf_str(&answer), STR("\r\nVary: Accept-Encoding\r\n")));
        if (rows[i].encoding) {
            assert_true(contains(buf_str(&answer), STR("\r\nContent-Encoding: ")));
            assert_true(contains(buf_str(&answer), str_of(rows[i].encoding)));
            assert_true(deflate_decode(rows[i].format, body_of(&answer), &plain, &err));
            assert_true(str_eq(buf_str(&plain), STR("hello")));
        } else {
            assert_false(contains(buf_str(&answer), STR("Content-Encoding")));
            assert_true(str_eq(body_of(&answer), STR("hello")));
        }
        buf_deinit(&request);
        buf_deinit(&answer);
        buf_deinit(&plain);
    }
}

/* At the limit a further client waits in the backlog, and is served when a place is free. */
static void test_http_server__keeps_to_connections_max(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    int fds[5];
    options.connections_max = 2;
    world_open(&world, &options);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = raw_connect(&world);
        raw_send(fds[i], STR(GET_HELLO));
    }
    for (int turn = 0; turn < 50; turn++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(http_server_connections(world.server), 2);
    assert_int_equal(world.request_count, 2);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        buf_init(&answer, 1 << 20);
        raw_read_until(&world, fds[i], &answer, STR("hello"), 1);
        assert_true(http_server_connections(world.server) <= 2);
        close(fds[i]);
        buf_deinit(&answer);
    }
    world_close(&world);
}

/* Clients that send nothing, or half a request, hold no place for long when others wait for one; those in work do. */
static void test_http_server__gives_places_of_the_idle_away(void **state)
{
    static const char *const STARTS[] = {"", "GET /hel", "GET /hello HTTP/1.1\r\nHost: x\r\n", ""};
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    int fds[COUNT_OF(STARTS)];
    options.connections_max = COUNT_OF(STARTS) + 1;
    options.give_way_ms = 100;
    world_open(&world, &options);
    int worker = raw_connect(&world);
    raw_send(worker, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = raw_connect(&world);
        raw_send(fds[i], str_of(STARTS[i]));
    }
    while (http_server_connections(world.server) < options.connections_max)
        world_turn(&world, deadline);
    for (size_t i = 0; i < 2 * COUNT_OF(fds); i++) {
        int fd = raw_connect(&world);
        raw_send(fd, STR(GET_HELLO));
        buf_init(&answer, 1 << 20);
        raw_read_until(&world, fd, &answer, STR("hello"), 1);
        assert_true(http_server_connections(world.server) <= options.connections_max);
        buf_deinit(&answer);
        if (i < COUNT_OF(fds)) /* The first ones stay and are idle. */
            fds[i] = (close(fds[i]), fd);
        else
            close(fd);
    }
    assert_int_equal(world.gone_count, 0);
    buf_init(&answer, 1 << 20);
    reply_copy(world.held, 200, STR("at last"));
    raw_read_until(&world, worker, &answer, STR("at last"), 1);
    buf_deinit(&answer);
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
    close(worker);
    world_close(&world);
}

/* A graceful close lets the request in work end, and tells the client that no other will follow. */
static void test_http_server_close__waits_for_the_request_in_work(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer, idle_answer;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    buf_init(&idle_answer, 1 << 20);
    int idle_fd = raw_connect(&world);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    http_server_close(world.server, 60000, world_note_closed, &world);
    world.server = NULL;
    raw_read_to_end(&world, idle_fd, &idle_answer);
    assert_false(world.server_closed);
    reply_copy(world.held, 200, STR("the last"));
    raw_read_to_end(&world, fd, &answer);
    close(fd);
    close(idle_fd);
    while (!world.server_closed)
        world_turn(&world, deadline);
    assert_true(contains(buf_str(&answer), STR("Connection: close\r\n")));
    assert_true(str_ends(buf_str(&answer), STR("\r\n\r\nthe last")));
    assert_int_equal(world.gone_count, 0);
    buf_deinit(&answer);
    world_close(&world);
}

/* After the grace the server is gone, and an exchange that is left can still be answered into the
 * void. */
static void test_http_server_close__aborts_after_the_grace(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    world_open(&world, &options);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    http_server_close(world.server, 5, world_note_closed, &world);
    world.server = NULL;
    while (!world.server_closed)
        world_turn(&world, deadline);
    assert_int_equal(world.gone_count, 1);
    reply_copy(world.held, 200, STR("nobody"));
    close(fd);
    world_close(&world);
}

/* Operators know this line. Two servers on one port would be worse than none. */
static void test_http_server_open__fails_on_a_taken_port(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct http_server *second;
    struct err err = {0};
    char address[64], wanted[128];
    world_open(&world, &options);
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(world.server));
    snprintf(wanted, sizeof(wanted), "listen tcp %s: bind: address already in use", address);
    options.address = str_of(address);
    assert_false(http_server_open(&second, &world.loop, &options, &err));
    assert_null(second);
    assert_string_equal(err.text, wanted);
    world_close(&world);
}

/* Addresses that cannot be meant are refused in Go's words. */
static void test_http_server_open__refuses_bad_addresses(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"localhost", "listen tcp: address localhost: missing port in address"},
        {"::1:80", "listen tcp: address ::1:80: too many colons in address"},
        {"127.0.0.1:99999", "listen tcp: address 99999: invalid port"},
        {"127.0.0.1:", "listen tcp: address : invalid port"},
        {"127.0.0.1:web", "listen tcp: lookup tcp/web: unknown port"},
    };
    struct world world = {0};
    assert_int_equal(uv_loop_init(&world.loop), 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_server_options options = world_options(&world);
        struct http_server *server;
        struct err err = {0};
        options.address = str_of(rows[i][0]);
        assert_false(http_server_open(&server, &world.loop, &options, &err));
        assert_string_equal(err.text, rows[i][1]);
    }
    world_close(&world);
}

/* ":0" listens on every interface. */
static void test_http_server_open__takes_an_empty_host(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    options.address = STR(":0");
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR(GET_HELLO));
    raw_read_until(&world, fd, &answer, STR("hello"), 1);
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

/* A line break in a header value (a redirect to what the client asked for) must not become a
 * header. */
static void test_http_reply__cannot_be_split_by_a_header_value(void **state)
{
    (void)state;
    struct world world;
    struct http_server_options options = world_options(&world);
    struct buf answer;
    world_open(&world, &options);
    buf_init(&answer, 1 << 20);
    int fd = raw_connect(&world);
    raw_send(fd, STR("GET /later HTTP/1.1\r\n" HOST "\r\n"));
    int64_t deadline = deadline_from_now();
    while (!world.held)
        world_turn(&world, deadline);
    reply_redirect(world.held, STR("/a\r\nSet-Cookie: x"));
    raw_read_until(&world, fd, &answer, STR("\r\n\r\n"), 1);
    assert_true(contains(buf_str(&answer), STR("Location: /a  Set-Cookie: x\r\n")));
    close(fd);
    buf_deinit(&answer);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_server__answers_pipelined_requests_in_order),
        cmocka_unit_test(test_http_server__answers_a_long_pipeline),
        cmocka_unit_test(test_http_server__reads_a_request_byte_by_byte),
        cmocka_unit_test(test_http_server__head_has_length_and_no_body),
        cmocka_unit_test(test_http_server__no_content_has_no_length),
        cmocka_unit_test(test_http_server__keeps_http_1_0_connections_only_on_demand),
        cmocka_unit_test(test_http_server__sends_100_continue),
        cmocka_unit_test(test_http_server__refuses_bad_requests),
        cmocka_unit_test(test_http_server__refuses_an_oversize_head),
        cmocka_unit_test(test_http_server__refuses_an_oversize_chunked_body),
        cmocka_unit_test(test_http_server__takes_a_body_of_just_the_limit_twice),
        cmocka_unit_test(test_http_server__ends_slow_and_idle_clients),
        cmocka_unit_test(test_http_server__ends_a_client_that_does_not_read),
        cmocka_unit_test(test_http_server__sends_a_big_body),
        cmocka_unit_test(test_http_exchange_on_gone__comes_once_when_the_client_resets),
        cmocka_unit_test(test_http_server__answers_a_half_closed_client),
        cmocka_unit_test(test_http_server__stops_reading_while_an_answer_is_awaited),
        cmocka_unit_test(test_http_server__compresses_on_demand),
        cmocka_unit_test(test_http_server__keeps_to_connections_max),
        cmocka_unit_test(test_http_server__gives_places_of_the_idle_away),
        cmocka_unit_test(test_http_server_close__waits_for_the_request_in_work),
        cmocka_unit_test(test_http_server_close__aborts_after_the_grace),
        cmocka_unit_test(test_http_server_open__fails_on_a_taken_port),
        cmocka_unit_test(test_http_server_open__refuses_bad_addresses),
        cmocka_unit_test(test_http_server_open__takes_an_empty_host),
        cmocka_unit_test(test_http_reply__cannot_be_split_by_a_header_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
