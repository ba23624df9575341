/* The client credentials grant as texts, and tokens that fetches share. */
#include "net_test.h"

#include "net/http_client.h"
#include "oauth2.h"

static void assert_form(const struct http_oauth2 *oauth2, bool secret_in_form, const char *wanted)
{
    struct buf form;
    struct err err = {0};
    buf_init(&form, 10000);
    assert_true(oauth2_form(&form, oauth2, secret_in_form, &err));
    if (!str_eq(buf_str(&form), str_of(wanted)))
        fail_msg(STR_FMT, STR_ARG(buf_str(&form)));
    buf_deinit(&form);
}

/* What servers see: sorted, escaped, and with another grant type when the parameters have one. */
static void test_oauth2_form__says_who_asks_for_what(void **state)
{
    (void)state;
    const struct str scopes[] = {STR("read"), STR("write all")};
    const struct http_oauth2_param params[] = {{STR("zone"), STR("a&b")}, {STR("aud"), STR("x")}};
    const struct http_oauth2_param grant = {STR("grant_type"), STR("odd")};
    const struct http_oauth2_param scope = {STR("scope"), STR("x")};
    struct http_oauth2 oauth2 = {.client_id = STR("me"), .client_secret = STR("s=")};
    struct buf form;
    struct err err = {0};

    assert_form(&oauth2, false, "grant_type=client_credentials");
    assert_form(&oauth2, true, "client_id=me&client_secret=s%3D&grant_type=client_credentials");
    oauth2.scopes = scopes;
    oauth2.scope_count = 2;
    oauth2.params = params;
    oauth2.param_count = 2;
    assert_form(&oauth2, false,
                "aud=x&grant_type=client_credentials&scope=read+write+all&zone=a%26b");
    oauth2.params = &grant;
    oauth2.param_count = 1;
    assert_form(&oauth2, false, "grant_type=odd&scope=read+write+all");
    oauth2.params = &scope;
    buf_init(&form, 10000);
    assert_false(oauth2_form(&form, &oauth2, false, &err));
    assert_string_equal(err.text, "oauth2: cannot overwrite parameter \"scope\"");
    buf_deinit(&form);
}

struct answer {
    int status;
    const char *type, *body;
    const char *authorization; /* NULL: an error, which is */
    int64_t lives_s;
    const char *error;
};

static const struct answer answers[] = {
    {200, "application/json", "{\"access_token\":\"abc\"}", "Bearer abc", 0, NULL},
    {200, "", "{\"access_token\":\"abc\",\"token_type\":\"bEARer\",\"expires_in\":60}",
     "Bearer abc", 60, NULL},
    {201, "application/json; charset=utf-8",
     "{\"access_token\":\"abc\",\"token_type\":\"mac\",\"expires_in\":\"3600\"}", "MAC abc", 3600,
     NULL},
    {200, "application/json",
     "{\"access_token\":\"abc\",\"token_type\":\"DPoP\",\"expires_in\":1e99}", "DPoP abc",
     INT32_MAX, NULL},
    {200, "application/json", "{\"access_token\":\"abc\",\"expires_in\":-5}", "Bearer abc", -1,
     NULL},
    {200, "text/plain", "access_token=a%2Bc&token_type=basic&expires_in=9", "Basic a+c", 9, NULL},
    {200, "application/x-www-form-urlencoded", "access_token=x&expires_in=soon", "Bearer x", 0,
     NULL},
    {200, "application/json", "{}", NULL, 0, "oauth2: server response missing access_token"},
    {200, "application/json", "{\"error\":\"slow_down\"}", NULL, 0, "oauth2: \"slow_down\""},
    {400, "application/json",
     "{\"error\":\"invalid_client\",\"error_description\":\"no\",\"error_uri\":\"http://x\"}", NULL,
     0, "oauth2: \"invalid_client\" \"no\" \"http://x\""},
    {401, "text/html", "<b>no</b>", NULL, 0,
     "oauth2: cannot fetch token: 401 Reason\nResponse: <b>no</b>"},
    {400, "text/plain", "error=invalid_scope", NULL, 0, "oauth2: \"invalid_scope\""},
    {500, "application/json", "{\"access_token\":\"abc\"}", NULL, 0,
     "oauth2: cannot fetch token: 500 Reason\nResponse: {\"access_token\":\"abc\"}"},
    {200, "text/plain", "access_token=%zz", NULL, 0,
     "oauth2: cannot parse response: invalid URL escape \"%zz\""},
};

/* Servers differ in all that can differ. */
static void test_oauth2_token_parse__reads_what_servers_send(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *answer = &answers[i];
        struct oauth2_reply reply = {.status = answer->status,
                                     .reason = STR("Reason"),
                                     .content_type = str_of(answer->type),
                                     .body = str_of(answer->body)};
        struct oauth2_token token;
        struct arena arena;
        struct err err = {0};
        arena_init(&arena, 0);
        bool good = oauth2_token_parse(&token, &reply, &arena, &err);
        if (good != (answer->authorization != NULL))
            fail_msg("%s: %s", answer->body, err.text);
        if (good) {
            assert_true(str_eq(token.authorization, str_of(answer->authorization)));
            assert_int_equal(token.lives_s, answer->lives_s);
        } else {
            assert_string_equal(err.text, answer->error);
        }
        arena_deinit(&arena);
    }
}

/* --- shared tokens, against a server in the same loop --- */

struct asked {
    struct world world;
    unsigned token_requests;
    struct http_exchange *held;
    bool hold, in_form;
};

static void reply_token(struct asked *asked, struct http_exchange *exchange)
{
    struct http_response response = {.status = 200, .content_type = "application/json"};
    struct buf body;
    buf_init(&body, 1000);
    buf_addf(&body, "{\"access_token\":\"t%u\"}", asked->token_requests);
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void asked_handle(void *ctx, struct http_exchange *exchange)
{
    struct asked *asked = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    if (!str_eq(request->path, STR("/token"))) {
        reply_copy(exchange, 200, http_request_header(request, "Authorization"));
        return;
    }
    asked->token_requests++;
    if (asked->in_form && http_request_header(request, "Authorization").len > 0)
        reply_copy(exchange, 401, STR("not like this"));
    else if (asked->hold)
        asked->held = exchange;
    else
        reply_token(asked, exchange);
}

struct got {
    struct buf body;
    struct err err;
    unsigned done_count;
};

static bool got_bytes(void *ctx, struct str bytes, struct err *err)
{
    (void)err;
    buf_add_str(&((struct got *)ctx)->body, bytes);
    return true;
}

static void got_done(void *ctx, const struct err *err)
{
    struct got *got = ctx;
    got->err = *err;
    got->done_count++;
}

static struct http_fetch *get(struct asked *asked, struct http_client *client, struct got *got,
                              const char *secret, int64_t timeout_ms)
{
    char url[100], token_url[100];
    struct http_fetch_options request = {0};
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", http_server_port(asked->world.server));
    snprintf(token_url, sizeof(token_url), "http://127.0.0.1:%u/token",
             http_server_port(asked->world.server));
    struct http_oauth2 oauth2 = {.client_id = STR("me"),
                                 .client_secret = str_of(secret),
                                 .token_url = str_of(token_url),
                                 .request = &request};
    struct http_fetch_options options = {.url = str_of(url),
                                         .timeout_ms = timeout_ms,
                                         .oauth2 = &oauth2,
                                         .on_bytes = got_bytes,
                                         .on_done = got_done,
                                         .ctx = got};
    *got = (struct got){0};
    buf_init(&got->body, 1000);
    return http_fetch(client, &options);
}

static void asked_open(struct asked *asked, struct http_client **client)
{
    static struct err err;
    *asked = (struct asked){0};
    struct http_server_options options = world_options(&asked->world);
    options.handler = asked_handle;
    options.ctx = asked;
    world_open(&asked->world, &options);
    assert_true(http_client_open(client, &asked->world.loop, &err));
}

static void wait_done(struct asked *asked, const struct got *got)
{
    int64_t deadline = deadline_from_now();
    while (got->done_count == 0)
        world_turn(&asked->world, deadline);
}

/* One token for all that mean the same; another secret is another token; a server that wants the
 * secret in the form gets it there, at once the next time. */
static void test_token__is_shared(void **state)
{
    (void)state;
    struct asked asked;
    struct http_client *client;
    static struct got got[4];
    asked_open(&asked, &client);
    asked.in_form = true;
    for (size_t i = 0; i < 3; i++)
        get(&asked, client, &got[i], "secret", WAIT_MS);
    get(&asked, client, &got[3], "other", WAIT_MS);
    for (size_t i = 0; i < 4; i++)
        wait_done(&asked, &got[i]);
    assert_int_equal(asked.token_requests, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(got[i].err.text, "");
        assert_true(str_starts(buf_str(&got[i].body), STR("Bearer t")));
    }
    assert_true(str_eq(buf_str(&got[0].body), buf_str(&got[2].body)));
    assert_false(str_eq(buf_str(&got[0].body), buf_str(&got[3].body)));
    for (size_t i = 0; i < 4; i++)
        buf_deinit(&got[i].body);
    get(&asked, client, &got[0], "secret", WAIT_MS);
    wait_done(&asked, &got[0]);
    assert_int_equal(asked.token_requests, 4);
    buf_deinit(&got[0].body);
    http_client_close(client);
    world_close(&asked.world);
}

/* Who waits for a token has a deadline, can be canceled, and ends with the client; the others are
 * not hurt by it. */
static void test_token__waiters_may_leave(void **state)
{
    (void)state;
    struct asked asked;
    struct http_client *client;
    static struct got late, canceled, patient, last;
    asked_open(&asked, &client);
    asked.hold = true;
    get(&asked, client, &late, "secret", 50);
    struct http_fetch *fetch = get(&asked, client, &canceled, "secret", 0);
    get(&asked, client, &patient, "secret", WAIT_MS);
    int64_t deadline = deadline_from_now();
    while (!asked.held)
        world_turn(&asked.world, deadline);
    http_fetch_cancel(fetch);
    wait_done(&asked, &canceled);
    assert_int_equal(canceled.err.code, ERR_CANCELED);
    wait_done(&asked, &late);
    assert_int_equal(late.err.code, ERR_TIMEOUT);
    assert_true(str_ends(str_of(late.err.text), STR("/x\": context deadline exceeded")));
    assert_int_equal(patient.done_count, 0);
    reply_token(&asked, asked.held);
    wait_done(&asked, &patient);
    assert_true(str_eq(buf_str(&patient.body), STR("Bearer t1")));
    asked.held = NULL;
    get(&asked, client, &last, "new", 0);
    while (!asked.held)
        world_turn(&asked.world, deadline);
    http_client_close(client);
    assert_int_equal(last.err.code, ERR_CANCELED);
    http_reply_text(asked.held, 500, "too late");
    buf_deinit(&patient.body);
    world_close(&asked.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oauth2_form__says_who_asks_for_what),
        cmocka_unit_test(test_oauth2_token_parse__reads_what_servers_send),
        cmocka_unit_test(test_token__is_shared),
        cmocka_unit_test(test_token__waiters_may_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
