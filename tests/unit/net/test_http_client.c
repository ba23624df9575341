/* http_client against our own server: redirects, errors in Go's words, cancelling and pausing at
 * odd moments. */
#include "http_client_err.h"
#include "net/http_client.h"
#include "net_test.h"

enum act { ACT_NONE, ACT_CANCEL, ACT_PAUSE, ACT_FAIL, ACT_CLOSE_CLIENT, ACT_FETCH };

struct outcome {
    struct http_client *client;
    struct http_fetch *fetch;
    struct outcome *next; /* For ACT_FETCH: who waits for the second fetch. */
    const char *next_url;
    enum act at_head, at_bytes, at_done;
    struct buf body;
    struct err err;
    int status;
    char content_type[64], reason[64];
    unsigned head_count, bytes_count, done_count;
    bool paused, called_while_paused;
};

static void fetch_url(struct outcome *outcome, const char *url);

static bool act(struct outcome *outcome, enum act what, struct err *err)
{
    switch (what) {
    case ACT_CANCEL:
        http_fetch_cancel(outcome->fetch);
        http_fetch_cancel(outcome->fetch);
        break;
    case ACT_PAUSE:
        outcome->paused = true;
        http_fetch_pause(outcome->fetch);
        break;
    case ACT_FAIL:
        return err_set(err, ERR_LIMIT, "the owner has enough");
    case ACT_CLOSE_CLIENT:
        http_client_close(outcome->client);
        break;
    case ACT_FETCH:
        fetch_url(outcome->next, outcome->next_url);
        assert_int_equal(outcome->next->done_count, 0);
        break;
    case ACT_NONE:
        break;
    }
    return true;
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct outcome *outcome = ctx;
    outcome->head_count++;
    outcome->status = head->status;
    snprintf(outcome->content_type, sizeof(outcome->content_type), STR_FMT,
             STR_ARG(head->content_type));
    snprintf(outcome->reason, sizeof(outcome->reason), STR_FMT, STR_ARG(head->reason));
    return act(outcome, outcome->at_head, err);
}

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct outcome *outcome = ctx;
    assert_int_equal(outcome->head_count, 1);
    if (outcome->paused)
        outcome->called_while_paused = true;
    buf_add_str(&outcome->body, bytes);
    outcome->bytes_count++;
    return act(outcome, outcome->at_bytes, err);
}

static void on_done(void *ctx, const struct err *err)
{
    struct outcome *outcome = ctx;
    struct err ignored = {0};
    outcome->done_count++;
    outcome->err = *err;
    if (outcome->paused)
        outcome->called_while_paused = true;
    act(outcome, outcome->at_done, &ignored);
    outcome->fetch = NULL;
}

static struct http_fetch_options options_for(struct outcome *outcome, const char *url)
{
    return (struct http_fetch_options){
        .url = str_of(url),
        .timeout_ms = WAIT_MS,
        .on_head = on_head,
        .on_bytes = on_bytes,
        .on_done = on_done,
        .ctx = outcome,
    };
}

static void fetch_with(struct outcome *outcome, const struct http_fetch_options *options)
{
    buf_init(&outcome->body, 64 << 20);
    outcome->fetch = http_fetch(outcome->client, options);
    assert_int_equal(outcome->done_count, 0);
}

static void fetch_url(struct outcome *outcome, const char *url)
{
    struct http_fetch_options options = options_for(outcome, url);
    fetch_with(outcome, &options);
}

/* Each test runs twice: with curl alone, and with what can do without it. */
static bool direct;

struct client_world {
    struct world world;
    struct http_client *client;
    char url[512];
};

static void client_world_open(struct client_world *both)
{
    struct http_server_options options = world_options(&both->world);
    struct err err = {0};
    world_open(&both->world, &options);
    assert_true(http_client_open(&both->client, &both->world.loop, &err));
    http_client_set_direct(both->client, direct);
}

static void client_world_close(struct client_world *both)
{
    http_client_close(both->client);
    world_close(&both->world);
}

static const char *url_of(struct client_world *both, const char *path)
{
    snprintf(both->url, sizeof(both->url), "http://127.0.0.1:%u%s",
             http_server_port(both->world.server), path);
    return both->url;
}

static void wait_for_done(struct client_world *both, const struct outcome *outcome)
{
    int64_t deadline = deadline_from_now();
    while (outcome->done_count == 0)
        world_turn(&both->world, deadline);
}

/* A plain fetch: one head, the body, one end; and the connection is used again. */
static void test_http_fetch__tells_head_body_and_end(void **state)
{
    (void)state;
    struct client_world both;
    client_world_open(&both);
    for (int round = 0; round < 3; round++) {
        struct outcome outcome = {.client = both.client};
        fetch_url(&outcome, url_of(&both, "/hello"));
        wait_for_done(&both, &outcome);
        assert_int_equal(outcome.err.code, ERR_NONE);
        assert_int_equal(outcome.status, 200);
        assert_string_equal(outcome.content_type, "text/plain");
        assert_string_equal(outcome.reason, "OK");
        assert_true(str_eq(buf_str(&outcome.body), STR("hello")));
        assert_int_equal(outcome.head_count, 1);
        buf_deinit(&outcome.body);
    }
    assert_int_equal(http_server_connections(both.world.server), 1);
    client_world_close(&both);
}

/* An answer without a body has a head, too; any status is a success here. */
static void test_http_fetch__tells_the_head_of_an_empty_answer(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome none = {0}, missing = {0};
    client_world_open(&both);
    none.client = missing.client = both.client;
    fetch_url(&none, url_of(&both, "/none"));
    fetch_url(&missing, url_of(&both, "/nowhere"));
    wait_for_done(&both, &none);
    wait_for_done(&both, &missing);
    assert_int_equal(none.status, 204);
    assert_int_equal(none.head_count, 1);
    assert_int_equal(missing.status, 404);
    assert_string_equal(missing.reason, "Not Found");
    assert_int_equal(missing.err.code, ERR_NONE);
    buf_deinit(&missing.body);
    client_world_close(&both);
}

/* Methods, bodies and both kinds of authorization arrive as given. */
static void test_http_fetch__sends_method_body_and_authorization(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome echo = {0}, basic = {0}, bearer = {0};
    struct str header = STR("Content-Type: application/x-protobuf");
    client_world_open(&both);
    echo.client = basic.client = bearer.client = both.client;

    struct http_fetch_options options = options_for(&echo, url_of(&both, "/echo"));
    options.method = STR("POST");
    options.body = STR("a\0b");
    options.headers = &header;
    options.header_count = 1;
    fetch_with(&echo, &options);
    wait_for_done(&both, &echo);
    assert_true(str_eq(buf_str(&echo.body), STR("a\0b")));

    options = options_for(&basic, url_of(&both, "/auth"));
    options.user = STR("me");
    options.password = STR("secret");
    fetch_with(&basic, &options);
    wait_for_done(&both, &basic);
    assert_true(str_eq(buf_str(&basic.body), STR("Basic bWU6c2VjcmV0")));

    options = options_for(&bearer, url_of(&both, "/auth"));
    options.bearer_token = STR("t0k.en");
    fetch_with(&bearer, &options);
    wait_for_done(&both, &bearer);
    assert_true(str_eq(buf_str(&bearer.body), STR("Bearer t0k.en")));

    buf_deinit(&echo.body);
    buf_deinit(&basic.body);
    buf_deinit(&bearer.body);
    client_world_close(&both);
}

/* Redirects are followed only when wanted, at most ten, and the head is that of the last answer. */
static void test_http_fetch__follows_redirects_on_demand(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome followed = {0}, stayed = {0}, endless = {0};
    client_world_open(&both);
    followed.client = stayed.client = endless.client = both.client;

    struct http_fetch_options options = options_for(&followed, url_of(&both, "/redirect"));
    options.follow_redirects = true;
    fetch_with(&followed, &options);
    wait_for_done(&both, &followed);
    assert_int_equal(followed.head_count, 1);
    assert_int_equal(followed.status, 200);
    assert_true(str_eq(buf_str(&followed.body), STR("hello")));

    fetch_url(&stayed, url_of(&both, "/redirect"));
    wait_for_done(&both, &stayed);
    assert_int_equal(stayed.status, 302);
    assert_string_equal(stayed.reason, "Found");

    options = options_for(&endless, url_of(&both, "/loop"));
    options.follow_redirects = true;
    fetch_with(&endless, &options);
    wait_for_done(&both, &endless);
    assert_int_equal(endless.err.code, ERR_IO);
    assert_true(str_ends(str_of(endless.err.text), STR(": stopped after 10 redirects")));

    buf_deinit(&followed.body);
    client_world_close(&both);
}

/* A token is for the host that it was configured for. "localhost" and 127.0.0.1 are different
 * hosts. */
static void test_http_fetch__keeps_credentials_from_other_hosts(void **state)
{
    (void)state;
    struct client_world both;
    char path[160];
    client_world_open(&both);
    snprintf(path, sizeof(path), "/redirect?http://localhost:%u/auth",
             http_server_port(both.world.server));
    for (int round = 0; round < 2; round++) {
        struct outcome outcome = {.client = both.client};
        struct http_fetch_options options = options_for(&outcome, url_of(&both, path));
        options.follow_redirects = true;
        if (round == 0) {
            options.bearer_token = STR("secret");
        } else {
            options.user = STR("me");
            options.password = STR("secret");
        }
        fetch_with(&outcome, &options);
        wait_for_done(&both, &outcome);
        assert_int_equal(outcome.err.code, ERR_NONE);
        assert_int_equal(outcome.status, 200);
        assert_int_equal(outcome.body.len, 0);
        buf_deinit(&outcome.body);
    }
    client_world_close(&both);
}

/* The texts of the targets page: what Prometheus' users know and search for. */
static void test_http_fetch__fails_in_gos_words(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome refused = {0}, late = {0}, scheme = {0}, secret = {0};
    char wanted[600];
    client_world_open(&both);
    refused.client = late.client = scheme.client = secret.client = both.client;

    fetch_url(&refused, "http://127.0.0.1:1/metrics");
    wait_for_done(&both, &refused);
    assert_int_equal(refused.err.code, ERR_IO);
    assert_string_equal(refused.err.text, "Get \"http://127.0.0.1:1/metrics\": dial tcp "
                                          "127.0.0.1:1: connect: connection refused");

    struct http_fetch_options options = options_for(&late, url_of(&both, "/later"));
    options.timeout_ms = 30;
    snprintf(wanted, sizeof(wanted), "Get \"%s\": context deadline exceeded", both.url);
    fetch_with(&late, &options);
    wait_for_done(&both, &late);
    assert_int_equal(late.err.code, ERR_TIMEOUT);
    assert_string_equal(late.err.text, wanted);

    fetch_url(&scheme, "ftp://127.0.0.1/x");
    wait_for_done(&both, &scheme);
    assert_string_equal(scheme.err.text,
                        "Get \"ftp://127.0.0.1/x\": unsupported protocol scheme \"ftp\"");

    options = options_for(&secret, "http://me:pw@127.0.0.1:1/");
    options.method = STR("POST");
    fetch_with(&secret, &options);
    wait_for_done(&both, &secret);
    assert_string_equal(secret.err.text, "Post \"http://me:***@127.0.0.1:1/\": dial tcp "
                                         "127.0.0.1:1: connect: connection refused");

    if (both.world.held)
        reply_copy(both.world.held, 200, STR_EMPTY);
    client_world_close(&both);
}

/* The failures that loopback cannot bring about, by their table. Go names method and URL only
 * before the head. */
static void test_fetch_err_set__speaks_as_go(void **state)
{
    (void)state;
    static const struct {
        enum fetch_failure failure;
        bool head_seen;
        enum err_code code;
        const char *text;
    } rows[] = {
        {FETCH_RESOLVE, false, ERR_IO,
         "Get \"http://h/m?a=\\\"\": dial tcp: lookup h: no such host"},
        {FETCH_CONNECT_TIMEOUT, false, ERR_TIMEOUT,
         "Get \"http://h/m?a=\\\"\": dial tcp 10.0.0.1:80: i/o timeout"},
        {FETCH_EMPTY_ANSWER, false, ERR_IO, "Get \"http://h/m?a=\\\"\": EOF"},
        {FETCH_CUT_SHORT, true, ERR_IO, "unexpected EOF"},
        {FETCH_RECEIVE, true, ERR_IO, "read tcp 10.0.0.1:80: connection reset by peer"},
        {FETCH_OTHER, false, ERR_IO, "Get \"http://h/m?a=\\\"\": what curl says"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct fetch_failure_facts facts = {
            .failure = rows[i].failure,
            .method = STR("GET"),
            .url = STR("http://h/m?a=\""),
            .host = STR("h"),
            .address = "10.0.0.1:80",
            .text = "what curl says",
            .head_seen = rows[i].head_seen,
        };
        fetch_err_set(&err, &facts);
        assert_int_equal(err.code, rows[i].code);
        assert_string_equal(err.text, rows[i].text);
    }
}

/* A proxy that is down is named as such, not as the target. */
static void test_http_fetch__names_the_proxy_that_refuses(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome outcome = {0};
    client_world_open(&both);
    outcome.client = both.client;
    struct http_fetch_options options = options_for(&outcome, "http://target.invalid/metrics");
    options.proxy_url = STR("http://127.0.0.1:1");
    fetch_with(&outcome, &options);
    wait_for_done(&both, &outcome);
    assert_string_equal(outcome.err.text,
                        "Get \"http://target.invalid/metrics\": proxyconnect tcp: dial tcp "
                        "127.0.0.1:1: connect: connection refused");
    client_world_close(&both);
}

/* A line break from a token file must not become a header of the request. */
static void test_http_fetch__refuses_control_characters(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome token = {0}, url = {0};
    client_world_open(&both);
    token.client = url.client = both.client;
    struct http_fetch_options options = options_for(&token, url_of(&both, "/auth"));
    options.bearer_token = STR("a\r\nX-Evil: 1");
    fetch_with(&token, &options);
    fetch_url(&url, "http://127.0.0.1/a\nb");
    wait_for_done(&both, &token);
    wait_for_done(&both, &url);
    assert_int_equal(token.err.code, ERR_BAD_DATA);
    assert_true(str_starts(str_of(token.err.text), STR("Get \"http://127.0.0.1:")));
    assert_true(
        str_ends(str_of(token.err.text), STR("/auth\": net/http: invalid header field value for "
                                             "\"Authorization\"")));
    assert_int_equal(url.err.code, ERR_BAD_DATA);
    assert_int_equal(both.world.request_count, 0);
    client_world_close(&both);
}

/* Cancelling is safe before the start, in the head, in the body and in the end itself. */
static void test_http_fetch_cancel__is_safe_anywhere(void **state)
{
    (void)state;
    struct client_world both;
    client_world_open(&both);
    struct outcome rows[4] = {
        {.at_head = ACT_CANCEL}, {.at_bytes = ACT_CANCEL}, {.at_done = ACT_CANCEL}, {0}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].client = both.client;
        fetch_url(&rows[i], url_of(&both, "/big"));
    }
    act(&rows[3], ACT_CANCEL, &rows[3].err);
    assert_int_equal(rows[3].done_count, 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        wait_for_done(&both, &rows[i]);
        bool whole = rows[i].at_done == ACT_CANCEL;
        assert_int_equal(rows[i].done_count, 1);
        assert_int_equal(rows[i].err.code, whole ? ERR_NONE : ERR_CANCELED);
        assert_true(rows[i].bytes_count <= 1 || whole);
        buf_deinit(&rows[i].body);
    }
    client_world_close(&both);
}

/* An owner that has enough (a body limit) ends the transfer with its own words. */
static void test_http_fetch__ends_with_the_callbacks_error(void **state)
{
    (void)state;
    struct client_world both;
    client_world_open(&both);
    struct outcome rows[2] = {{.at_head = ACT_FAIL}, {.at_bytes = ACT_FAIL}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].client = both.client;
        fetch_url(&rows[i], url_of(&both, "/big"));
        wait_for_done(&both, &rows[i]);
        assert_int_equal(rows[i].err.code, ERR_LIMIT);
        assert_string_equal(rows[i].err.text, "the owner has enough");
        assert_int_equal(rows[i].bytes_count, i);
        buf_deinit(&rows[i].body);
    }
    client_world_close(&both);
}

/* The scraper pauses after each slice of parsing: all bytes arrive, and none while it is paused. */
static void test_http_fetch_pause__loses_nothing(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome outcome = {.at_bytes = ACT_PAUSE};
    client_world_open(&both);
    outcome.client = both.client;
    fetch_url(&outcome, url_of(&both, "/big"));
    int64_t deadline = deadline_from_now();
    while (outcome.done_count == 0) {
        if (clock_mono_ms() > deadline)
            fail_msg("%zu bytes came", outcome.body.len);
        uv_run(&both.world.loop, UV_RUN_NOWAIT);
        if (outcome.paused) {
            uv_run(&both.world.loop, UV_RUN_NOWAIT);
            outcome.paused = false;
            http_fetch_resume(outcome.fetch);
        }
    }
    assert_int_equal(outcome.err.code, ERR_NONE);
    assert_int_equal(outcome.body.len, BIG_BYTES);
    assert_false(outcome.called_while_paused);
    assert_true(outcome.bytes_count > 10);
    buf_deinit(&outcome.body);
    client_world_close(&both);
}

/* A small answer is complete when its only bytes are told: its end, too, waits for the owner. */
static void test_http_fetch_pause__holds_the_end_back(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome outcome = {.at_bytes = ACT_PAUSE};
    client_world_open(&both);
    outcome.client = both.client;
    fetch_url(&outcome, url_of(&both, "/hello"));
    int64_t deadline = deadline_from_now();
    while (!outcome.paused)
        world_turn(&both.world, deadline);
    for (int turn = 0; turn < 20; turn++)
        world_turn(&both.world, deadline);
    assert_int_equal(outcome.done_count, 0);
    outcome.paused = false;
    http_fetch_resume(outcome.fetch);
    wait_for_done(&both, &outcome);
    assert_int_equal(outcome.err.code, ERR_NONE);
    buf_deinit(&outcome.body);
    client_world_close(&both);
}

/* A paused transfer still has its deadline. */
static void test_http_fetch_pause__does_not_stop_the_timeout(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome outcome = {.at_head = ACT_PAUSE};
    client_world_open(&both);
    outcome.client = both.client;
    struct http_fetch_options options = options_for(&outcome, url_of(&both, "/big"));
    options.timeout_ms = 1000; /* The head comes before. */
    fetch_with(&outcome, &options);
    wait_for_done(&both, &outcome);
    assert_int_equal(outcome.err.code, ERR_TIMEOUT);
    assert_string_equal(outcome.err.text, "context deadline exceeded");
    assert_int_equal(outcome.bytes_count, 0);
    client_world_close(&both);
}

/* Callbacks may start other fetches: retries and follow-ups do. */
static void test_http_fetch__can_be_called_in_callbacks(void **state)
{
    (void)state;
    struct client_world both;
    struct outcome second = {0}, third = {0}, fourth = {0};
    client_world_open(&both);
    char hello[512];
    snprintf(hello, sizeof(hello), "%s", url_of(&both, "/hello"));
    struct outcome rows[3] = {{.at_head = ACT_FETCH, .next = &second},
                              {.at_bytes = ACT_FETCH, .next = &third},
                              {.at_done = ACT_FETCH, .next = &fourth}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i].client = rows[i].next->client = both.client;
        rows[i].next_url = hello;
        fetch_url(&rows[i], hello);
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        wait_for_done(&both, &rows[i]);
        wait_for_done(&both, rows[i].next);
        assert_true(str_eq(buf_str(&rows[i].body), STR("hello")));
        assert_true(str_eq(buf_str(&rows[i].next->body), STR("hello")));
        buf_deinit(&rows[i].body);
        buf_deinit(&rows[i].next->body);
    }
    client_world_close(&both);
}

/* Closing ends everything in flight, at once from outside, later from inside a callback. */
static void test_http_client_close__cancels_what_is_in_flight(void **state)
{
    (void)state;
    struct client_world both;
    client_world_open(&both);
    struct outcome waiting = {.client = both.client}, fresh = {.client = both.client};
    fetch_url(&waiting, url_of(&both, "/later"));
    int64_t deadline = deadline_from_now();
    while (!both.world.held)
        world_turn(&both.world, deadline);
    fetch_url(&fresh, url_of(&both, "/hello"));
    http_client_close(both.client);
    assert_int_equal(waiting.done_count, 1);
    assert_int_equal(waiting.err.code, ERR_CANCELED);
    assert_int_equal(fresh.done_count, 1);
    assert_int_equal(fresh.err.code, ERR_CANCELED);
    reply_copy(both.world.held, 200, STR_EMPTY);
    world_close(&both.world);
}

static void test_http_client_close__works_in_any_callback(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct client_world both;
        client_world_open(&both);
        struct outcome closer = {.client = both.client}, other = {.client = both.client};
        *(round == 0   ? &closer.at_head
          : round == 1 ? &closer.at_bytes
                       : &closer.at_done) = ACT_CLOSE_CLIENT;
        fetch_url(&other, url_of(&both, "/later"));
        fetch_url(&closer, url_of(&both, "/hello"));
        wait_for_done(&both, &closer);
        assert_int_equal(closer.done_count, 1);
        assert_int_equal(closer.err.code, round == 2 ? ERR_NONE : ERR_CANCELED);
        assert_int_equal(other.done_count, 1);
        assert_int_equal(other.err.code, ERR_CANCELED);
        buf_deinit(&closer.body);
        if (both.world.held)
            reply_copy(both.world.held, 200, STR_EMPTY);
        world_close(&both.world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_fetch__tells_head_body_and_end),
        cmocka_unit_test(test_http_fetch__tells_the_head_of_an_empty_answer),
        cmocka_unit_test(test_http_fetch__sends_method_body_and_authorization),
        cmocka_unit_test(test_http_fetch__follows_redirects_on_demand),
        cmocka_unit_test(test_http_fetch__keeps_credentials_from_other_hosts),
        cmocka_unit_test(test_http_fetch__fails_in_gos_words),
        cmocka_unit_test(test_fetch_err_set__speaks_as_go),
        cmocka_unit_test(test_http_fetch__names_the_proxy_that_refuses),
        cmocka_unit_test(test_http_fetch__refuses_control_characters),
        cmocka_unit_test(test_http_fetch_cancel__is_safe_anywhere),
        cmocka_unit_test(test_http_fetch__ends_with_the_callbacks_error),
        cmocka_unit_test(test_http_fetch_pause__loses_nothing),
        cmocka_unit_test(test_http_fetch_pause__holds_the_end_back),
        cmocka_unit_test(test_http_fetch_pause__does_not_stop_the_timeout),
        cmocka_unit_test(test_http_fetch__can_be_called_in_callbacks),
        cmocka_unit_test(test_http_client_close__cancels_what_is_in_flight),
        cmocka_unit_test(test_http_client_close__works_in_any_callback),
    };
    int failed = cmocka_run_group_tests_name("curl", tests, NULL, NULL);
    direct = true;
    return failed + cmocka_run_group_tests_name("direct", tests, NULL, NULL);
}
