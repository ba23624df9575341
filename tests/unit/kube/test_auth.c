/* Who may ask: a door of HTTPS and an API server of the test's own, on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text_file.h"
#include "kube.h"
#include "net/http_client.h"

#define WAIT_MS  60000
#define HELD_MAX 300

static char folder[] = "/tmp/narthex-auth-XXXXXX";

struct world {
    uv_loop_t loop;
    struct http_server *api, *door;
    struct http_client *client;
    struct tls_context *door_tls;
    struct kube_auth *auth;
    unsigned closed;
    /* What the API server says, and was asked. */
    const char *proxy_ca, *client_ca; /* Names of files; NULL: no such ConfigMap. */
    bool is_broken, is_silent, allows;
    bool holds_tokens; /* Token reviews wait in held_tokens. */
    struct http_exchange *held_tokens[HELD_MAX];
    unsigned held_token_count;
    unsigned token_reviews, access_reviews, map_reads;
    struct http_exchange *watch, *held;
    char access[4000]; /* The last SubjectAccessReview. */
    /* The last answer of the door. */
    bool is_done;
    int status;
    struct buf body;
    struct err err;
};

static int make_certificates(void **state)
{
    static const char SCRIPT[] =
        "cd %s && exec >/dev/null 2>&1\n"
        "new=\"-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes\"\n"
        "ca() { openssl req -x509 $new -keyout $1.key -out $1.crt -days 9 -subj /CN=$1; }\n"
        "issue() {\n"
        "  printf \"subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=$4\\n\" > $1.ext\n"
        "  openssl req $new -keyout $1.key -out $1.csr -subj \"$3\" &&\n"
        "  openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key -CAcreateserial -days $5 -extfile "
        "$1.ext -out $1.crt\n"
        "}\n"
        "ca proxy-ca && ca client-ca && ca other-ca &&\n"
        "issue door other-ca /CN=door serverAuth 9 &&\n"
        "issue proxy proxy-ca /CN=front-proxy-client clientAuth 9 &&\n"
        "issue wrong-name proxy-ca /CN=eve clientAuth 9 &&\n"
        "issue late proxy-ca /CN=front-proxy-client clientAuth -1 &&\n"
        "issue wrong-use proxy-ca /CN=front-proxy-client serverAuth 9 &&\n"
        "issue stranger other-ca /CN=front-proxy-client clientAuth 9 &&\n"
        "issue bob client-ca /O=dev/O=ops/CN=bob clientAuth 9\n";
    char command[3000];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(command, sizeof(command), SCRIPT, folder);
    return system(command);
}

static int remove_certificates(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static struct str path_of(char out[120], const char *name, const char *suffix)
{
    snprintf(out, 120, "%s/%s%s", folder, name, suffix);
    return str_of(out);
}

static void add_pem(struct buf *out, const char *name)
{
    char path[120];
    struct buf text;
    struct err err;
    buf_init(&text, 65536);
    if (!text_file_read(path_of(path, name, ".crt"), &text, &err))
        fail_msg("%s", err.text);
    buf_add_json_string(out, buf_str(&text));
    buf_deinit(&text);
}

/* --- the API server --- */

static void reply_json(struct http_exchange *exchange, int status, struct buf *body)
{
    struct http_response response = {.status = status, .content_type = "application/json"};
    http_reply(exchange, &response, body);
    buf_deinit(body);
}

static void add_map(struct world *world, struct buf *out)
{
    BUF_ADD(out, "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"7\"},\"data\":{"
                 "\"requestheader-allowed-names\":\"[\\\"front-proxy-client\\\"]\","
                 "\"requestheader-username-headers\":\"[\\\"X-Remote-User\\\"]\","
                 "\"requestheader-client-ca-file\":");
    add_pem(out, world->proxy_ca);
    BUF_ADD(out, ",\"client-ca-file\":");
    add_pem(out, world->client_ca);
    BUF_ADD(out, "}}");
}

static void answer_map(struct world *world, struct http_exchange *exchange)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    world->map_reads++;
    if (!world->proxy_ca) {
        BUF_ADD(&body, "{\"kind\":\"Status\",\"message\":\"no such map\"}");
        reply_json(exchange, 404, &body);
        return;
    }
    add_map(world, &body);
    reply_json(exchange, 200, &body);
}

static void answer_token(struct world *world, struct http_exchange *exchange, struct str request)
{
    struct buf body;
    bool good = str_find(request, STR("\"token\":\"good\"")) < request.len;
    buf_init(&body, 1 << 20);
    world->token_reviews++;
    if (good)
        BUF_ADD(&body,
                "{\"status\":{\"authenticated\":true,\"user\":{\"username\":\"carol\",\"uid\":"
                "\"u-1\",\"groups\":[\"team\"],\"extra\":{\"scopes\":[\"a\",\"b\"]}}}}");
    else
        BUF_ADD(&body, "{\"status\":{\"error\":\"no\"}}");
    reply_json(exchange, 201, &body);
}

static void answer_access(struct world *world, struct http_exchange *exchange, struct str request)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    world->access_reviews++;
    snprintf(world->access, sizeof(world->access), STR_FMT, STR_ARG(request));
    buf_addf(&body, "{\"status\":{\"allowed\":%s,\"reason\":\"RBAC\"}}",
             world->allows ? "true" : "false");
    reply_json(exchange, 201, &body);
}

static void api_answer(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    if (str_ends(request->path, STR("/extension-apiserver-authentication")))
        answer_map(world, exchange);
    else if (str_ends(request->path, STR("/configmaps")))
        world->watch = exchange;
    else if (world->is_silent)
        world->held = exchange;
    else if (world->is_broken)
        http_reply_text(exchange, 500, "etcd is gone");
    else if (str_ends(request->path, STR("/tokenreviews")) && world->holds_tokens)
        world->held_tokens[world->held_token_count++] = exchange;
    else if (str_ends(request->path, STR("/tokenreviews")))
        answer_token(world, exchange, request->body);
    else
        answer_access(world, exchange, request->body);
}

/* --- the door --- */

static void door_verdict(void *ctx, const struct kube_verdict *verdict)
{
    struct http_exchange *exchange = ctx;
    struct buf text;
    buf_init(&text, 65536);
    buf_addf(&text, STR_FMT "|" STR_FMT "|" STR_FMT, STR_ARG(verdict->reason),
             STR_ARG(verdict->user), STR_ARG(verdict->message));
    struct http_response response = {.status = verdict->status, .content_type = "text/plain"};
    http_reply(exchange, &response, &text);
    buf_deinit(&text);
}

static struct tls_context *door_context(void *ctx)
{
    return ((struct world *)ctx)->door_tls;
}

static void door_answer(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct kube_attributes path = {.verb = STR("get"), .path = request->path};
    struct kube_attributes pods = {
        .verb = STR("get"),
        .group = STR("custom.metrics.k8s.io"),
        .version = STR("v1beta2"),
        .resource = STR("pods"),
        .subresource = STR("redis_db_keys"),
        .name = STR("*"),
        .namespace_name = STR("ode"),
    };
    bool is_path = str_starts(request->path, STR("/apis"));
    kube_auth_check(world->auth, exchange, is_path ? &path : &pods, door_verdict, exchange);
}

/* --- the world --- */

static void turn_until(struct world *world, const bool *flag)
{
    int64_t end_ms = clock_mono_ms() + WAIT_MS;
    while (!*flag) {
        if (clock_mono_ms() > end_ms)
            fail_msg("nothing more came");
        uv_run(&world->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static void world_listen(struct world *world)
{
    char paths[2][120];
    struct tls_options tls = {.server = true,
                              .cert_file = path_of(paths[0], "door", ".crt"),
                              .key_file = path_of(paths[1], "door", ".key"),
                              .client_cert_any = true,
                              .http1 = true};
    struct http_server_options api = {
        .address = STR("127.0.0.1:0"), .handler = api_answer, .ctx = world};
    struct http_server_options door = {.address = STR("127.0.0.1:0"),
                                       .handler = door_answer,
                                       .ctx = world,
                                       .tls_context = door_context,
                                       .tls_ctx = world};
    if (!tls_context_new(&world->door_tls, &tls, &world->err) ||
        !http_server_open(&world->api, &world->loop, &api, &world->err) ||
        !http_server_open(&world->door, &world->loop, &door, &world->err) ||
        !http_client_open(&world->client, &world->loop, &world->err))
        fail_msg("%s", world->err.text);
}

/* `files`: the authorities come from files instead of the ConfigMap. */
static void world_open(struct world *world, bool files)
{
    char url[100], paths[2][120];
    *world = (struct world){.proxy_ca = "proxy-ca", .client_ca = "client-ca", .allows = true};
    uv_loop_init(&world->loop);
    buf_init(&world->body, 65536);
    world_listen(world);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(world->api));
    struct kube_auth_options options = {
        .loop = &world->loop, .client = world->client, .api_server = str_of(url)};
    if (files) {
        options.requestheader_ca_file = path_of(paths[0], "proxy-ca", ".crt");
        options.client_ca_file = path_of(paths[1], "client-ca", ".crt");
        options.requestheader_names = STR("front-proxy-client, other");
    }
    if (!kube_auth_open(&world->auth, &options, &world->err))
        fail_msg("%s", world->err.text);
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed++;
}

static void world_close(struct world *world)
{
    kube_auth_close(world->auth);
    http_client_close(world->client);
    if (world->watch)
        http_reply_text(world->watch, 200, "");
    if (world->held)
        http_reply_text(world->held, 200, "");
    http_server_close(world->api, 0, on_closed, world);
    http_server_close(world->door, 0, on_closed, world);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(world->closed, 2);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    tls_context_unref(world->door_tls);
    buf_deinit(&world->body);
}

/* Until the ConfigMap is known and watched. */
static void wait_map(struct world *world)
{
    int64_t end_ms = clock_mono_ms() + WAIT_MS;
    while (!world->watch && clock_mono_ms() < end_ms) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_non_null(world->watch);
}

static bool take_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    (void)err;
    ((struct world *)ctx)->status = head->status;
    return true;
}

static bool take_bytes(void *ctx, struct str bytes, struct err *err)
{
    (void)err;
    buf_add_str(&((struct world *)ctx)->body, bytes);
    return true;
}

static void take_done(void *ctx, const struct err *err)
{
    struct world *world = ctx;
    world->err = *err;
    buf_add_char(&world->body, '\0');
    world->is_done = true;
}

static void ask_begin(struct world *world, const char *cert, const char *path,
                      const struct str *headers, size_t header_count)
{
    char url[200], paths[2][120];
    world->is_done = false;
    world->status = 0;
    buf_clear(&world->body);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u%s", http_server_port(world->door), path);
    struct http_fetch_options options = {
        .url = str_of(url),
        .headers = headers,
        .header_count = header_count,
        .timeout_ms = WAIT_MS,
        .insecure_skip_verify = true,
        .on_head = take_head,
        .on_bytes = take_bytes,
        .on_done = take_done,
        .ctx = world,
    };
    if (cert) {
        options.cert_file = path_of(paths[0], cert, ".crt");
        options.key_file = path_of(paths[1], cert, ".key");
    }
    (void)http_fetch(world->client, &options);
}

static void ask(struct world *world, const char *cert, const char *path, const struct str *headers,
                size_t header_count)
{
    ask_begin(world, cert, path, headers, header_count);
    turn_until(world, &world->is_done);
    if (world->err.code != ERR_NONE)
        fail_msg("%s", world->err.text);
}

static const struct str ALICE[] = {
    {"X-Remote-User: alice", 20},
    {"X-Remote-Group: g1", 18},
    {"X-Remote-Group: g2", 18},
    {"X-Remote-Extra-Acme%2Ekey: v", 28},
};

#define POD_PATH "/pods"

/* --- tests --- */

/* The aggregator's connection: who it speaks for is asked about, with all that it says of them. */
static void test_check__believes_the_front_proxy(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    wait_map(&world);
    ask(&world, "proxy", POD_PATH, ALICE, COUNT_OF(ALICE));
    assert_int_equal(world.status, 200);
    assert_string_equal(
        world.access,
        "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"spec\":{"
        "\"user\":\"alice\",\"groups\":[\"g1\",\"g2\",\"system:authenticated\"],"
        "\"extra\":{\"acme.key\":[\"v\"]},\"resourceAttributes\":{\"namespace\":\"ode\",\"verb\":"
        "\"get\",\"group\":\"custom.metrics.k8s.io\",\"version\":\"v1beta2\",\"resource\":\"pods\","
        "\"subresource\":\"redis_db_keys\",\"name\":\"*\"}}}");
    /* Discovery comes without groups: system:authenticated is added. */
    ask(&world, "proxy", "/apis", ALICE, 1);
    assert_non_null(strstr(world.access,
                           "\"groups\":[\"system:authenticated\"],"
                           "\"nonResourceAttributes\":{\"path\":\"/apis\",\"verb\":\"get\"}"));
    world_close(&world);
}

/* The words that users search for. */
static void test_check__refuses_in_the_words_of_kubernetes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    wait_map(&world);
    world.allows = false;
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 403);
    assert_string_equal(world.body.ptr,
                        "Forbidden|alice|pods.custom.metrics.k8s.io \"*\" is forbidden: User "
                        "\"alice\" cannot get resource \"pods/redis_db_keys\" in API group "
                        "\"custom.metrics.k8s.io\" in the namespace \"ode\": RBAC");
    ask(&world, "proxy", "/apis/x", ALICE, 1);
    assert_string_equal(world.body.ptr, "Forbidden|alice|forbidden: User \"alice\" cannot get path "
                                        "\"/apis/x\": RBAC");
    world_close(&world);
}

/* Headers are worth what the certificate is worth. */
static void test_check__believes_headers_from_nobody_else(void **state)
{
    static const char *const BAD[] = {"wrong-name", "late", "wrong-use", "stranger"};
    (void)state;
    struct world world;
    world_open(&world, false);
    wait_map(&world);
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        ask(&world, BAD[i], POD_PATH, ALICE, COUNT_OF(ALICE));
        assert_int_equal(world.status, 401);
        assert_string_equal(world.body.ptr, "Unauthorized||Unauthorized");
    }
    assert_int_equal(world.access_reviews, 0);
    ask(&world, NULL, POD_PATH, ALICE, COUNT_OF(ALICE));
    assert_non_null(strstr(world.access, "\"user\":\"system:anonymous\",\"groups\":["
                                         "\"system:unauthenticated\"],\"res"));
    ask(&world, "bob", POD_PATH, ALICE, COUNT_OF(ALICE));
    assert_non_null(strstr(world.access, "\"user\":\"bob\",\"groups\":[\"dev\",\"ops\","
                                         "\"system:authenticated\"],\"res"));
    world_close(&world);
}

/* Where one authority signs proxies and users, a proxy is still no user of its own. */
static void test_check__takes_no_proxy_for_a_user(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    world.client_ca = "proxy-ca";
    wait_map(&world);
    ask(&world, "proxy", POD_PATH, NULL, 0);
    assert_non_null(strstr(world.access, "\"user\":\"system:anonymous\",\"groups\":["
                                         "\"system:unauthenticated\"],\"res"));
    ask(&world, "proxy", POD_PATH, ALICE + 1, 2);
    assert_non_null(strstr(world.access, "\"user\":\"system:anonymous\",\"groups\":["
                                         "\"system:unauthenticated\"],\"res"));
    world_close(&world);
}

/* system:masters may do all, and the API server is not asked. */
static void test_check__lets_masters_in(void **state)
{
    static const struct str HEADERS[] = {{"X-Remote-User: system:kube-aggregator", 37},
                                         {"X-Remote-Group: system:masters", 30}};
    (void)state;
    struct world world;
    world_open(&world, true);
    world.allows = false;
    ask(&world, "proxy", "/apis", HEADERS, COUNT_OF(HEADERS));
    assert_int_equal(world.status, 200);
    assert_int_equal(world.access_reviews, 0);
    ask(&world, NULL, "/apis", HEADERS, COUNT_OF(HEADERS));
    assert_int_equal(world.status, 403);
    world_close(&world);
}

/* A token costs one review in ten seconds, and so does the access; a bad one is 401, not anonymous. */
static void test_check__reviews_tokens_once(void **state)
{
    static const struct str GOOD = {"Authorization: Bearer good", 26},
                            WRONG = {"Authorization: bearer wrong", 27};
    (void)state;
    struct world world;
    world_open(&world, true);
    for (int i = 0; i < 3; i++) {
        ask(&world, NULL, POD_PATH, &GOOD, 1);
        assert_int_equal(world.status, 200);
        assert_string_equal(world.body.ptr, "|carol|");
    }
    assert_int_equal(world.token_reviews, 1);
    assert_int_equal(world.access_reviews, 1);
    assert_non_null(strstr(world.access,
                           "\"user\":\"carol\",\"uid\":\"u-1\",\"groups\":[\"team\","
                           "\"system:authenticated\"],\"extra\":{\"scopes\":[\"a\",\"b\"]},"));
    for (int i = 0; i < 2; i++) {
        ask(&world, NULL, POD_PATH, &WRONG, 1);
        assert_int_equal(world.status, 401);
    }
    assert_int_equal(world.token_reviews, 2);
    /* A token goes where a certificate is not believed. */
    ask(&world, "stranger", POD_PATH, &GOOD, 1);
    assert_int_equal(world.status, 200);
    world_close(&world);
}

/* Nobody gets in because the API server cannot be asked. */
static void test_check__needs_the_api_server(void **state)
{
    static const struct str GOOD = {"Authorization: Bearer good", 26};
    (void)state;
    struct world world;
    world_open(&world, true);
    world.is_broken = true;
    ask(&world, NULL, POD_PATH, &GOOD, 1);
    assert_int_equal(world.status, 500);
    assert_string_equal(world.body.ptr, "InternalError||Internal error occurred: cannot review a "
                                        "token: server returned HTTP status 500: etcd is gone");
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 500);
    world.is_broken = false; /* A failure is not kept. */
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 200);
    world_close(&world);
}

struct flood {
    unsigned refused, other, waiting;
};

static bool flood_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct flood *flood = ctx;
    (void)err;
    if (head->status == 503)
        flood->refused++;
    else
        flood->other++;
    return true;
}

static bool flood_bytes(void *ctx, struct str bytes, struct err *err)
{
    (void)ctx, (void)bytes, (void)err;
    return true;
}

static void flood_done(void *ctx, const struct err *err)
{
    (void)err;
    ((struct flood *)ctx)->waiting--;
}

/* One more stranger with a token of his own. */
static void flood_add(struct world *world, struct flood *flood, unsigned number)
{
    char url[100], token[60];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u" POD_PATH, http_server_port(world->door));
    snprintf(token, sizeof(token), "Authorization: Bearer made-up-%u", number);
    struct str header = str_of(token);
    struct http_fetch_options options = {
        .url = str_of(url),
        .headers = &header,
        .header_count = 1,
        .timeout_ms = WAIT_MS,
        .insecure_skip_verify = true,
        .on_head = flood_head,
        .on_bytes = flood_bytes,
        .on_done = flood_done,
        .ctx = flood,
    };
    flood->waiting++;
    (void)http_fetch(world->client, &options);
}

/* Tokens that are made up keep the API server busy; who has a certificate gets his review all the same. */
static void test_check__keeps_reviews_for_who_is_known(void **state)
{
    (void)state;
    struct world world;
    struct flood flood = {0};
    world_open(&world, true);
    world.holds_tokens = true;
    int64_t end_ms = clock_mono_ms() + WAIT_MS;
    for (unsigned i = 0; i < 270; i++) {
        flood_add(&world, &flood, i);
        while (world.held_token_count + flood.refused + flood.other <= i) {
            uv_run(&world.loop, UV_RUN_NOWAIT);
            assert_true(clock_mono_ms() < end_ms);
        }
    }
    assert_int_equal(world.held_token_count, 192);
    assert_int_equal(flood.refused, 270 - 192);
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 200);
    world.holds_tokens = false;
    for (unsigned i = 0; i < world.held_token_count; i++)
        answer_token(&world, world.held_tokens[i],
                     http_exchange_request(world.held_tokens[i])->body);
    while (flood.waiting > 0) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        assert_true(clock_mono_ms() < end_ms);
    }
    world_close(&world);
}

/* Before the ConfigMap is there a certificate cannot be judged; it comes, and then it changes. */
static void test_trust__follows_the_config_map(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    world.proxy_ca = NULL;
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 503);
    world.proxy_ca = "proxy-ca";
    wait_map(&world);
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 200);
    ask(&world, "stranger", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 401);

    struct http_exchange *watch = world.watch;
    struct buf event;
    buf_init(&event, 1 << 20);
    world.proxy_ca = "other-ca";
    world.watch = NULL;
    BUF_ADD(&event, "{\"type\":\"MODIFIED\",\"object\":");
    add_map(&world, &event);
    BUF_ADD(&event, "}\n");
    reply_json(watch, 200, &event);
    wait_map(&world); /* Read again, and watched again. */
    ask(&world, "stranger", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 200);
    ask(&world, "proxy", POD_PATH, ALICE, 1);
    assert_int_equal(world.status, 401);
    world_close(&world);
}

/* What is no ConfigMap of this kind changes nothing. */
static void test_trust_parse__refuses_nonsense(void **state)
{
    static const char *const BAD[] = {
        "{\"requestheader-client-ca-file\":\"junk\"}",
        "{\"requestheader-allowed-names\":\"{}\"}",
        "{\"requestheader-username-headers\":\"[\"}",
    };
    (void)state;
    struct world world;
    world_open(&world, false);
    wait_map(&world);
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        struct http_exchange *watch = world.watch;
        struct buf event;
        buf_init(&event, 65536);
        world.watch = NULL;
        buf_addf(&event, "{\"type\":\"MODIFIED\",\"object\":{\"data\":%s}}\n", BAD[i]);
        reply_json(watch, 200, &event);
        ask(&world, "proxy", POD_PATH, ALICE, 1);
        assert_int_equal(world.status, 200);
        wait_map(&world);
    }
    world_close(&world);
}

/* The end of the server does not wait for the API server. */
static void test_close__answers_what_is_in_flight(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, true);
    world.is_silent = true;
    ask_begin(&world, "proxy", POD_PATH, ALICE, 1);
    int64_t end_ms = clock_mono_ms() + WAIT_MS;
    while (!world.held && clock_mono_ms() < end_ms) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_non_null(world.held);
    kube_auth_close(world.auth);
    world.auth = NULL;
    turn_until(&world, &world.is_done);
    assert_int_equal(world.status, 503);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check__believes_the_front_proxy),
        cmocka_unit_test(test_check__refuses_in_the_words_of_kubernetes),
        cmocka_unit_test(test_check__believes_headers_from_nobody_else),
        cmocka_unit_test(test_check__takes_no_proxy_for_a_user),
        cmocka_unit_test(test_check__lets_masters_in),
        cmocka_unit_test(test_check__reviews_tokens_once),
        cmocka_unit_test(test_check__needs_the_api_server),
        cmocka_unit_test(test_check__keeps_reviews_for_who_is_known),
        cmocka_unit_test(test_trust__follows_the_config_map),
        cmocka_unit_test(test_trust_parse__refuses_nonsense),
        cmocka_unit_test(test_close__answers_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
