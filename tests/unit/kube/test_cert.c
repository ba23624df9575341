/* The listener's certificate: what is made is what the aggregator accepts, what is given is read again, and the
 * APIServices learn of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text_file.h"
#include "kube.h"
#include "net/http_client.h"

static struct err err;

struct world {
    uv_loop_t loop;
    struct http_server *api;
    struct http_client *client;
    unsigned refused, patched;
    bool closed;
    char path[200], type[100];
    struct buf bundle;
};

static int remove_folder(const char *folder)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

/* A handshake of the aggregator's kind; false when the client does not believe the certificate. */
static bool is_believed(struct kube_cert *cert, struct str ca, const char *name)
{
    struct tls_options options = {.ca_pem = ca};
    struct tls_context *context;
    struct tls *ends[2];
    struct buf wire[2], plain;
    bool good = true;
    if (!tls_context_new(&context, &options, &err) ||
        !tls_new(&ends[0], context, str_of(name), &err) ||
        !tls_new(&ends[1], kube_cert_context(cert), STR_EMPTY, &err))
        fail_msg("%s", err.text);
    buf_init(&wire[0], 1 << 20);
    buf_init(&wire[1], 1 << 20);
    buf_init(&plain, 1 << 20);
    assert_true(tls_handshake(ends[0], &wire[0], &err));
    for (int from = 0; good && wire[from].len > 0; from = 1 - from) {
        good = tls_feed(ends[1 - from], buf_str(&wire[from]), &plain, &wire[1 - from], &err);
        buf_clear(&wire[from]);
    }
    good = good && tls_is_open(ends[0]);
    for (int i = 0; i < 2; i++) {
        tls_free(ends[i]);
        buf_deinit(&wire[i]);
    }
    buf_deinit(&plain);
    tls_context_unref(context);
    return good;
}

/* The authority outlives a restart, the certificate has the Service's names, and junk in the folder is no obstacle. */
static void test_cert__is_made_for_the_service(void **state)
{
    char folder[] = "/tmp/narthex-cert-XXXXXX", path[100];
    uv_loop_t loop;
    (void)state;
    assert_non_null(mkdtemp(folder));
    uv_loop_init(&loop);
    struct kube_cert_options options = {
        .loop = &loop, .service = STR("narthex.ode"), .dir = str_of(folder)};
    struct kube_cert *cert;
    struct buf ca, key;
    buf_init(&ca, 65536);
    buf_init(&key, 65536);
    assert_true(kube_cert_open(&cert, &options, &err));
    buf_add_str(&ca, kube_cert_authority(cert));
    static const char *const GOOD[] = {
        "narthex.ode.svc", "narthex.ode", "narthex", "localhost", "narthex.ode.svc.cluster.local",
        "127.0.0.1"};
    for (size_t i = 0; i < COUNT_OF(GOOD); i++)
        assert_true(is_believed(cert, buf_str(&ca), GOOD[i]));
    assert_false(is_believed(cert, buf_str(&ca), "other.ode.svc"));
    kube_cert_close(cert);

    assert_true(kube_cert_open(&cert, &options, &err));
    assert_true(str_eq(kube_cert_authority(cert), buf_str(&ca)));
    assert_true(is_believed(cert, buf_str(&ca), "narthex.ode.svc"));
    kube_cert_close(cert);

    snprintf(path, sizeof(path), "%s/kube-ca.key", folder);
    assert_true(text_file_write(str_of(path), STR("junk"), &err));
    assert_true(kube_cert_open(&cert, &options, &err));
    assert_false(str_eq(kube_cert_authority(cert), buf_str(&ca)));
    assert_false(is_believed(cert, buf_str(&ca), "narthex.ode.svc"));
    kube_cert_close(cert);

    options.service = STR("no-namespace");
    assert_false(kube_cert_open(&cert, &options, &err));
    assert_non_null(strstr(err.text, "NAME.NAMESPACE"));
    buf_deinit(&ca);
    buf_deinit(&key);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(remove_folder(folder), 0);
}

static void write_pair(const char *folder, const char *name, struct buf *cert)
{
    struct str names[] = {STR("a.test")};
    struct tls_issue issue = {
        .common_name = str_of(name), .names = names, .name_count = 1, .days = 3};
    char path[100];
    struct buf key;
    buf_init(&key, 65536);
    buf_clear(cert);
    assert_true(tls_issue(&issue, cert, &key, &err));
    snprintf(path, sizeof(path), "%s/key.pem", folder);
    assert_true(text_file_write(str_of(path), buf_str(&key), &err));
    snprintf(path, sizeof(path), "%s/cert.pem", folder);
    assert_true(text_file_write(str_of(path), buf_str(cert), &err));
    buf_deinit(&key);
}

/* A rotation shows at the next handshake; half of one keeps what was there. */
static void test_cert__is_read_again(void **state)
{
    char folder[] = "/tmp/narthex-cert-XXXXXX", paths[2][100];
    struct kube_cert *cert;
    struct buf pem;
    (void)state;
    assert_non_null(mkdtemp(folder));
    buf_init(&pem, 65536);
    write_pair(folder, "one", &pem);
    snprintf(paths[0], 100, "%s/cert.pem", folder);
    snprintf(paths[1], 100, "%s/key.pem", folder);
    struct kube_cert_options options = {.cert_file = str_of(paths[0]),
                                        .key_file = str_of(paths[1])};
    assert_true(kube_cert_open(&cert, &options, &err));
    assert_true(is_believed(cert, buf_str(&pem), "a.test"));
    assert_int_equal(kube_cert_authority(cert).len, 0);
    struct buf second;
    buf_init(&second, 65536);
    write_pair(folder, "two", &second);
    assert_true(is_believed(cert, buf_str(&second), "a.test"));
    assert_false(is_believed(cert, buf_str(&pem), "a.test"));
    assert_true(text_file_write(str_of(paths[1]), STR("half"), &err));
    assert_true(is_believed(cert, buf_str(&second), "a.test"));
    kube_cert_close(cert);
    assert_false(kube_cert_open(&cert, &options, &err));
    buf_deinit(&pem);
    buf_deinit(&second);
    assert_int_equal(remove_folder(folder), 0);
}

static void api_answer(void *ctx, struct http_exchange *exchange)
{
    struct world *world = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct json *body;
    if (world->refused == 0) {
        world->refused++;
        http_reply_text(exchange, 404, "not yet");
        return;
    }
    assert_true(str_eq(request->method_text, STR("PATCH")));
    snprintf(world->path, sizeof(world->path), STR_FMT, STR_ARG(request->path));
    struct str type = http_request_header(request, "Content-Type");
    snprintf(world->type, sizeof(world->type), STR_FMT, STR_ARG(type));
    assert_true(json_parse(&body, request->body, &err));
    const struct json *spec = json_get(body, "spec");
    assert_false(json_bool(json_get(spec, "insecureSkipTLSVerify")));
    buf_clear(&world->bundle);
    assert_true(base64_decode(json_str(json_get(spec, "caBundle")), &world->bundle));
    json_free(body);
    world->patched++;
    http_reply_text(exchange, 200, "{}");
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed = true;
}

/* The caBundle is set even when the APIService comes later than we do. */
static void test_cert__is_made_known(void **state)
{
    struct world world = {0};
    struct kube_cert *cert;
    char url[100];
    (void)state;
    uv_loop_init(&world.loop);
    buf_init(&world.bundle, 65536);
    struct http_server_options api = {
        .address = STR("127.0.0.1:0"), .handler = api_answer, .ctx = &world};
    assert_true(http_server_open(&world.api, &world.loop, &api, &err));
    assert_true(http_client_open(&world.client, &world.loop, &err));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", http_server_port(world.api));
    struct kube_cert_options options = {
        .loop = &world.loop,
        .client = world.client,
        .api_server = str_of(url),
        .service = STR("narthex.ode"),
        .api_services = STR("v1beta1.custom.metrics.k8s.io, v1beta2.custom.metrics.k8s.io"),
    };
    assert_true(kube_cert_open(&cert, &options, &err));
    int64_t end_ms = clock_mono_ms() + 60000;
    while (world.patched < 3 && clock_mono_ms() < end_ms) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(world.patched, 3); /* The second, then both again. */
    assert_string_equal(
        world.path, "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io");
    assert_string_equal(world.type, "application/merge-patch+json");
    assert_true(str_eq(buf_str(&world.bundle), kube_cert_authority(cert)));
    kube_cert_close(cert);
    http_client_close(world.client);
    http_server_close(world.api, 0, on_closed, &world);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_true(world.closed);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    buf_deinit(&world.bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cert__is_made_for_the_service),
        cmocka_unit_test(test_cert__is_read_again),
        cmocka_unit_test(test_cert__is_made_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
