/* How an answer is cut into pieces, and who asks whom: kubeconfig, service account, token files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "kubernetes.h"

/* --- streams --- */

/* "key:piece;" of all pieces when the text comes in portions of this size; "!" at an error, "." when
 * the text may end there. */
static void cut(enum kube_stream_mode mode, struct str text, size_t portion, struct buf *out)
{
    struct kube_stream stream;
    struct str key, piece;
    struct err err;
    enum kube_stream_step step = KUBE_STREAM_MORE;

    buf_clear(out);
    kube_stream_init(&stream, mode);
    for (size_t at = 0; at < text.len && step != KUBE_STREAM_BAD; at += portion) {
        struct str rest = str_first(str_after(text, at), portion);
        while ((step = kube_stream_next(&stream, &rest, &key, &piece, &err)) == KUBE_STREAM_PIECE)
            buf_addf(out, STR_FMT ":" STR_FMT ";", STR_ARG(key), STR_ARG(piece));
    }
    buf_add_str(out, step == KUBE_STREAM_BAD         ? STR("!")
                     : kube_stream_is_whole(&stream) ? STR(".")
                                                     : STR(""));
    buf_add_char(out, '\0');
    kube_stream_deinit(&stream);
}

static void check_cut(enum kube_stream_mode mode, const char *text, const char *wanted)
{
    struct buf out;

    buf_init(&out, 65536);
    for (size_t portion = 1; portion <= strlen(text); portion++) {
        cut(mode, str_of(text), portion, &out);
        assert_string_equal(out.ptr, wanted);
    }
    buf_deinit(&out);
}

/* However the bytes come, the pieces are the same. */
static void test_stream__cuts_a_list_into_items(void **state)
{
    (void)state;
    check_cut(KUBE_LIST,
              " {\"kind\":\"PodList\", \"metadata\":{\"continue\":\"}]\\\"\"},\"n\":-1.5e3 ,\n"
              "\"items\":[{\"a\":[{}]},\n{\"b\":\"\\\\\"}],\"t\":true}\n",
              "kind:\"PodList\";metadata:{\"continue\":\"}]\\\"\"};n:-1.5e3;items:{\"a\":[{}]};"
              "items:{\"b\":\"\\\\\"};t:true;.");
    check_cut(KUBE_LIST, "{}", ".");
    check_cut(KUBE_LIST, "{\"items\":[]}", ".");
    check_cut(KUBE_LIST, "{\"items\":null}", "items:null;.");
}

static void test_stream__cuts_a_watch_into_events(void **state)
{
    (void)state;
    check_cut(KUBE_WATCH, "{\"type\":\"ADDED\"}\n{\"a\":{\"b\":[]}}\n\n",
              ":{\"type\":\"ADDED\"};:{\"a\":{\"b\":[]}};.");
    check_cut(KUBE_WATCH, "", "");
    check_cut(KUBE_WATCH, "{\"type\":", "");
}

/* No answer of an API server; and one that ends too early is not whole. */
static void test_stream__refuses_other_texts(void **state)
{
    static const char *const bad[] = {"[",
                                      "x",
                                      "{1",
                                      "{\"a\" 1",
                                      "{\"a\":}",
                                      "{\"a\":1]",
                                      "{}{",
                                      "{\"items\":[1",
                                      "{\"items\":[{}:",
                                      "{\"a\":1,,"};
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cut(KUBE_LIST, str_of(bad[i]), 1, &out);
        assert_int_equal(out.ptr[out.len - 2], '!');
    }
    cut(KUBE_WATCH, STR("[{}]"), 1, &out);
    assert_string_equal(out.ptr, "!");
    cut(KUBE_LIST, STR("{\"items\":[{}"), 1, &out);
    assert_string_equal(out.ptr, "items:{};");
    buf_deinit(&out);
}

/* A server gone mad does not eat the memory. */
static void test_stream__limits_an_object(void **state)
{
    struct kube_stream stream;
    char chunk[65536];
    struct str key, piece;
    struct err err;
    enum kube_stream_step step = KUBE_STREAM_MORE;
    struct str open = STR("{\"a\":\"");

    (void)state;
    memset(chunk, 'x', sizeof(chunk));
    kube_stream_init(&stream, KUBE_WATCH);
    assert_int_equal(kube_stream_next(&stream, &open, &key, &piece, &err), KUBE_STREAM_MORE);
    for (int i = 0; i < 1000 && step == KUBE_STREAM_MORE; i++) {
        struct str rest = {chunk, sizeof(chunk)};
        step = kube_stream_next(&stream, &rest, &key, &piece, &err);
    }
    assert_int_equal(step, KUBE_STREAM_BAD);
    assert_string_equal(err.text, "an object is larger than 8388608 bytes");
    kube_stream_deinit(&stream);
}

/* --- requests --- */

struct folder {
    char path[64];
    struct arena arena;
};

static void folder_open(struct folder *folder)
{
    (void)snprintf(folder->path, sizeof(folder->path), "/tmp/kube-test-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    arena_init(&folder->arena, 0);
}

static void folder_write(const struct folder *folder, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void folder_close(struct folder *folder)
{
    static const char *const names[] = {"token", "ca.crt", "namespace", "config"};
    char path[256];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder->path), 0);
    arena_deinit(&folder->arena);
}

static bool request(struct folder *folder, const struct config_kubernetes_sd *block,
                    struct http_fetch_options *out, struct err *err)
{
    struct kube_api api = {.block = block, .user_agent = STR("Prometheus/3.14.0")};

    return kube_api_request(&api, STR("/api/v1/pods?x"), out, &folder->arena, err);
}

static void assert_text(struct str got, const char *wanted)
{
    char *text = str_dup(got);

    assert_string_equal(text, wanted);
    mem_free(text);
}

/* The token is read for each request: kubelets renew it. */
static void test_request__in_the_cluster(void **state)
{
    struct config_kubernetes_sd block = {0};
    struct http_fetch_options options;
    struct folder folder;
    struct str own;
    struct err err;

    (void)state;
    folder_open(&folder);
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_false(request(&folder, &block, &options, &err));
    assert_string_equal(err.text,
                        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
                        "KUBERNETES_SERVICE_PORT must be defined");
    setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    kube_api_set_account_dir(folder.path);
    assert_false(request(&folder, &block, &options, &err));
    assert_non_null(strstr(err.text, "token: No such file or directory"));
    folder_write(&folder, "token", "t1\n");
    folder_write(&folder, "ca.crt", "PEM\n");
    folder_write(&folder, "namespace", "mine");
    assert_true(request(&folder, &block, &options, &err));
    assert_text(options.url, "https://10.96.0.1:443/api/v1/pods?x");
    assert_text(options.bearer_token, "t1");
    assert_text(options.ca_pem, "PEM\n");
    assert_text(options.headers[0], "User-Agent: Prometheus/3.14.0");
    folder_write(&folder, "token", "t2");
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    assert_true(request(&folder, &block, &options, &err));
    assert_text(options.url, "https://[fd00::1]:443/api/v1/pods?x");
    assert_text(options.bearer_token, "t2");
    assert_true(kube_api_own_namespace(&own, &folder.arena, &err));
    assert_text(own, "mine");
    kube_api_set_account_dir(NULL);
    folder_close(&folder);
}

/* A path prefix stays, a slash at the end does not double. */
static void test_request__to_a_given_server(void **state)
{
    struct config_kubernetes_sd block = {.api_server = STR("https://h/k8s/")};
    struct http_fetch_options options;
    struct folder folder;
    struct err err;

    (void)state;
    folder_open(&folder);
    block.http.credentials = STR("secret");
    block.http.insecure_skip_verify = true;
    assert_true(request(&folder, &block, &options, &err));
    assert_text(options.url, "https://h/k8s/api/v1/pods?x");
    assert_text(options.bearer_token, "secret");
    assert_true(options.insecure_skip_verify);
    block.http.credentials_file = STR("/nonexistent/token");
    assert_false(request(&folder, &block, &options, &err));
    folder_close(&folder);
}

#define KUBECONFIG(CLUSTER, USER)                                                                  \
    "current-context: b\ncontexts: [{name: a}, {name: b, context: {cluster: c, user: u}}]\n"       \
    "clusters: [{name: c, cluster: {" CLUSTER "}}]\nusers: [{name: u, user: {" USER "}}]\n"

/* The current context, with files beside the file and embedded bytes. */
static void test_request__by_kubeconfig(void **state)
{
    struct config_kubernetes_sd block = {0};
    struct http_fetch_options options;
    struct folder folder;
    char path[256];
    struct err err;

    (void)state;
    folder_open(&folder);
    (void)snprintf(path, sizeof(path), "%s/config", folder.path);
    block.kubeconfig_file = str_of(path);
    assert_false(request(&folder, &block, &options, &err));
    folder_write(&folder, "token", "from-file\n");
    folder_write(&folder, "config",
                 KUBECONFIG("server: 'https://h:6443', certificate-authority-data: UEVN, "
                            "tls-server-name: n",
                            "token: t, tokenFile: token, client-certificate-data: Q0VSVA==, "
                            "client-key: k.pem"));
    if (!request(&folder, &block, &options, &err))
        fail_msg("%s", err.text);
    assert_text(options.url, "https://h:6443/api/v1/pods?x");
    assert_text(options.bearer_token, "from-file");
    assert_text(options.ca_pem, "PEM");
    assert_text(options.cert_pem, "CERT");
    assert_text(options.server_name, "n");
    (void)snprintf(path, sizeof(path), "%s/k.pem", folder.path);
    assert_text(options.key_file, path);
    folder_close(&folder);
}

/* As whom to ask goes along in headers; keys of further facts are escaped as client-go does. */
static void test_request__as_somebody_else(void **state)
{
    static const char *const wanted[] = {
        "Impersonate-User: system:serviceaccount:a:b",
        "Impersonate-Uid: 42",
        "Impersonate-Group: system:authenticated",
        "Impersonate-Group: dev",
        "Impersonate-Extra-reason: a b",
        "Impersonate-Extra-a.b%2Fc%25d%C3%A4: x",
        "Impersonate-Extra-a.b%2Fc%25d%C3%A4: y",
    };
    struct config_kubernetes_sd block = {0};
    struct http_fetch_options options;
    struct folder folder;
    char path[256];
    struct err err;

    (void)state;
    folder_open(&folder);
    (void)snprintf(path, sizeof(path), "%s/config", folder.path);
    block.kubeconfig_file = str_of(path);
    folder_write(&folder, "config",
                 KUBECONFIG("server: 'h:6443', insecure-skip-tls-verify: true, "
                            "proxy-url: 'socks5://p:1'",
                            "as: 'system:serviceaccount:a:b', as-uid: 42, "
                            "as-groups: ['system:authenticated', dev], "
                            "as-user-extra: {reason: [a b], 'a.b/c%dä': [x, y], none: []}"));
    if (!request(&folder, &block, &options, &err))
        fail_msg("%s", err.text);
    assert_text(options.url, "https://h:6443/api/v1/pods?x");
    assert_text(options.proxy_url, "socks5://p:1");
    assert_false(options.proxy_from_environment);
    assert_int_equal(options.private_header_count, COUNT_OF(wanted));
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        assert_text(options.private_headers[i], wanted[i]);
    folder_write(&folder, "config", KUBECONFIG("server: 'h:6443'", "token: t"));
    assert_true(request(&folder, &block, &options, &err));
    assert_text(options.url, "http://h:6443/api/v1/pods?x");
    assert_true(options.proxy_from_environment);
    assert_int_equal(options.private_header_count, 0);
    folder_close(&folder);
}

static void check_kubeconfig(const char *text, const char *wanted)
{
    struct config_kubeconfig file;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 0);
    bool good = config_kubeconfig_parse(&file, str_of(text), STR("dir/config"), &arena, &err);
    assert_string_equal(good ? "" : err.text, wanted);
    arena_deinit(&arena);
}

/* The message says what is missing, or what is of no use here. */
static void test_kubeconfig__names_its_faults(void **state)
{
    (void)state;
    check_kubeconfig("", "not a kubeconfig");
    check_kubeconfig("[]", "not a kubeconfig");
    check_kubeconfig("a: 1", "current-context is not set");
    check_kubeconfig("current-context: x", "context \"x\" does not exist");
    check_kubeconfig("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]",
                     "cluster \"c\" does not exist");
    check_kubeconfig("current-context: x\ncontexts: [{name: x, context: [1]}]",
                     "line 2: context is not a mapping");
    check_kubeconfig(KUBECONFIG("a: 1", ""), "cluster has no server");
    check_kubeconfig(KUBECONFIG("server: h, certificate-authority-data: '*'", ""),
                     "certificate-authority-data: illegal base64 data");
    check_kubeconfig(KUBECONFIG("server: h, certificate-authority: f, "
                                "insecure-skip-tls-verify: true",
                                ""),
                     "specifying a root certificates file with the insecure flag is not allowed");
    check_kubeconfig(KUBECONFIG("server: h", "exec: {command: aws}"),
                     "user has exec credentials, which need a program to run: not supported; use a "
                     "token, a tokenFile or a client certificate");
    check_kubeconfig(KUBECONFIG("server: h", "auth-provider: {name: gcp}"),
                     "user has auth-provider credentials, which need a program to run: not "
                     "supported; use a token, a tokenFile or a client certificate");
    check_kubeconfig(KUBECONFIG("server: h", "client-certificate: k"),
                     "user has a client certificate without its key");
    check_kubeconfig(KUBECONFIG("server: h", "client-key: k"), "");
    check_kubeconfig(KUBECONFIG("server: h", "client-key: k, client-certificate: c, "
                                             "client-certificate-data: Q0VSVA=="),
                     "client-certificate-data and client-certificate are both specified");
    check_kubeconfig(KUBECONFIG("server: h, certificate-authority: f, "
                                "certificate-authority-data: UEVN",
                                ""),
                     "certificate-authority-data and certificate-authority are both specified");
    check_kubeconfig(KUBECONFIG("server: h", "token: t, username: u"),
                     "more than one authentication method found; found [token basicAuth], only one "
                     "is allowed");
    check_kubeconfig(KUBECONFIG("server: h, proxy-url: 'ftp://p'", ""),
                     "invalid 'proxy-url' \"ftp://p\": unsupported scheme, must be http, https, or "
                     "socks5");
    check_kubeconfig(KUBECONFIG("server: 'https://h:x'", ""),
                     "parse \"https://h:x\": invalid port \":x\" after host");
    check_kubeconfig(KUBECONFIG("server: h", "as-groups: [g]"),
                     "requesting uid, groups or user-extra without impersonating a user");
    check_kubeconfig(KUBECONFIG("server: h", "as-uid: '', as-groups: []"), "");
    check_kubeconfig(KUBECONFIG("server: h", "as: u, as-groups: g"),
                     "line 4: the values are not a list");
    check_kubeconfig(KUBECONFIG("server: h", "as: [u]"), "line 4: the value is not a text");
    check_kubeconfig(KUBECONFIG("server: h", "as: \"u\\nX: y\""),
                     "net/http: invalid header field value for \"Impersonate-User\"");
    check_kubeconfig(KUBECONFIG("server: h, insecure-skip-tls-verify: true", "username: x"), "");
}

/* Selectors and names may hold any character. */
static void test_path__is_escaped(void **state)
{
    char *path = kube_api_path(KUBE_POD, STR("a/b")), *nodes = kube_api_path(KUBE_NODE, STR("x"));
    char *slices = kube_api_path(KUBE_ENDPOINTSLICE, STR_EMPTY);
    char *query = kube_api_query(STR("a in (b)&c"), STR("d=e"));

    (void)state;
    assert_string_equal(path, "/api/v1/namespaces/a%2Fb/pods");
    assert_string_equal(nodes, "/api/v1/nodes");
    assert_string_equal(slices, "/apis/discovery.k8s.io/v1/endpointslices");
    assert_non_null(strstr(query, "%26c&fieldSelector=d%3De&"));
    mem_free(path);
    mem_free(nodes);
    mem_free(slices);
    mem_free(query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream__cuts_a_list_into_items),
        cmocka_unit_test(test_stream__cuts_a_watch_into_events),
        cmocka_unit_test(test_stream__refuses_other_texts),
        cmocka_unit_test(test_stream__limits_an_object),
        cmocka_unit_test(test_request__in_the_cluster),
        cmocka_unit_test(test_request__to_a_given_server),
        cmocka_unit_test(test_request__by_kubeconfig),
        cmocka_unit_test(test_request__as_somebody_else),
        cmocka_unit_test(test_kubeconfig__names_its_faults),
        cmocka_unit_test(test_path__is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
