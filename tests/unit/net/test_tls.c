/* TLS in memory: a client and a server of ours talk through two buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text_file.h"
#include "net/tls.h"

static struct err err;
static char folder[] = "/tmp/narthex-tls-XXXXXX";

/* Certificates made by the openssl program: a CA, and a server's pair for redis.test. */
static int make_certificates(void **state)
{
    (void)state;
    char command[2000];
    if (!mkdtemp(folder))
        return -1;
    snprintf(command, sizeof(command),
             "cd %s && exec >/dev/null 2>&1 && "
             "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj "
             "/CN=ca && "
             "openssl req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=s && "
             "echo subjectAltName=DNS:redis.test,IP:127.0.0.1 > san && "
             "openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "
             "s.crt -extfile san",
             folder);
    return system(command);
}

static int remove_certificates(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static struct str path(char out[100], const char *name)
{
    snprintf(out, 100, "%s/%s", folder, name);
    return str_of(out);
}

struct pair {
    struct tls_context *contexts[2];
    struct tls *ends[2]; /* Client, server. */
    struct buf wire[2];  /* What each has to send. */
    struct buf plain[2]; /* What each has read. */
};

static void pair_open(struct pair *pair, const struct tls_options *client, bool asks_client,
                      const char *name)
{
    char texts[3][100];
    struct tls_options server = {
        .server = true, .cert_file = path(texts[0], "s.crt"), .key_file = path(texts[1], "s.key")};
    if (asks_client)
        server.ca_file = path(texts[2], "ca.crt");
    if (!tls_context_new(&pair->contexts[0], client, &err) ||
        !tls_context_new(&pair->contexts[1], &server, &err) ||
        !tls_new(&pair->ends[0], pair->contexts[0], str_of(name), &err) ||
        !tls_new(&pair->ends[1], pair->contexts[1], STR(""), &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        buf_init(&pair->wire[i], 1 << 20);
        buf_init(&pair->plain[i], 1 << 20);
        assert_true(tls_handshake(pair->ends[i], &pair->wire[i], &err));
    }
}

static void pair_close(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        tls_free(pair->ends[i]);
        tls_context_unref(pair->contexts[i]);
        buf_deinit(&pair->wire[i]);
        buf_deinit(&pair->plain[i]);
    }
}

/* Carries bytes until nobody has any, `piece` at a time. False (with err) when an end refuses. */
static bool carry(struct pair *pair, size_t piece)
{
    while (pair->wire[0].len > 0 || pair->wire[1].len > 0) {
        for (int from = 0; from < 2; from++) {
            int to = 1 - from;
            char bytes[70000];
            size_t len = pair->wire[from].len < piece ? pair->wire[from].len : piece;
            if (len == 0)
                continue;
            memcpy(bytes, pair->wire[from].ptr, len);
            buf_drop_front(&pair->wire[from], len);
            if (!tls_feed(pair->ends[to], str_from(bytes, len), &pair->plain[to], &pair->wire[to],
                          &err))
                return false;
        }
    }
    return true;
}

/* The network cuts where it likes: every byte alone must do. */
static void test_tls_feed__talks_in_any_pieces(void **state)
{
    (void)state;
    static const size_t PIECES[] = {1, 7, 1000, 65536};
    for (size_t i = 0; i < COUNT_OF(PIECES); i++) {
        char text[100];
        struct tls_options options = {.ca_file = path(text, "ca.crt")};
        struct pair pair;
        char big[50000];
        memset(big, 'x', sizeof(big));
        pair_open(&pair, &options, false, i % 2 ? "redis.test" : "127.0.0.1");
        if (!carry(&pair, PIECES[i]))
            fail_msg("%s", err.text);
        assert_true(tls_is_open(pair.ends[0]) && tls_is_open(pair.ends[1]));
        assert_true(tls_peer_verified(pair.ends[0]) && !tls_peer_verified(pair.ends[1]));
        assert_true(tls_write(pair.ends[0], str_from(big, sizeof(big)), &pair.wire[0], &err));
        assert_true(carry(&pair, PIECES[i]));
        assert_int_equal(pair.plain[1].len, sizeof(big));
        assert_true(tls_write(pair.ends[1], STR("+OK"), &pair.wire[1], &err));
        tls_close(pair.ends[1], &pair.wire[1]);
        assert_true(carry(&pair, PIECES[i]));
        assert_true(str_eq(buf_str(&pair.plain[0]), STR("+OK")));
        assert_true(tls_has_end(pair.ends[0]));
        pair_close(&pair);
    }
}

static void assert_client_refuses(const struct tls_options *options, const char *name,
                                  const char *words)
{
    struct pair pair;
    pair_open(&pair, options, false, name);
    assert_false(carry(&pair, 65536));
    if (str_find(str_of(err.text), str_of(words)) == strlen(err.text))
        fail_msg("%s", err.text);
    assert_false(tls_is_open(pair.ends[0]));
    assert_true(pair.wire[0].len > 0); /* An alert tells the server. */
    pair_close(&pair);
}

/* A certificate of somebody else's, or for another name, is not taken, unless told so. */
static void test_tls_feed__checks_the_server(void **state)
{
    (void)state;
    char text[100];
    struct pair pair;
    struct tls_options trusts = {.ca_file = path(text, "ca.crt")}, trusts_system = {0},
                       trusts_all = {.insecure_skip_verify = true};
    assert_client_refuses(&trusts_system, "redis.test", "signed by unknown authority");
    assert_client_refuses(&trusts, "other.test", "certificate is not valid for other.test");
    assert_client_refuses(&trusts, "127.0.0.2", "certificate is not valid for 127.0.0.2");
    pair_open(&pair, &trusts_all, false, "");
    assert_true(carry(&pair, 65536));
    assert_true(tls_is_open(pair.ends[0]) && !tls_peer_verified(pair.ends[0]));
    pair_close(&pair);
}

static void test_tls_feed__checks_the_client(void **state)
{
    (void)state;
    char ca[100], cert[100], key[100];
    struct pair pair;
    struct tls_options options = {.ca_file = path(ca, "ca.crt")};
    pair_open(&pair, &options, true, "redis.test");
    assert_false(carry(&pair, 65536)); /* It has no certificate. */
    pair_close(&pair);
    options.cert_file = path(cert, "s.crt");
    options.key_file = path(key, "s.key");
    pair_open(&pair, &options, true, "redis.test");
    if (!carry(&pair, 65536))
        fail_msg("%s", err.text);
    assert_true(tls_peer_verified(pair.ends[1]));
    pair_close(&pair);
}

/* Junk instead of a handshake ends in an error at once, on both sides. */
static void test_tls_feed__refuses_junk(void **state)
{
    (void)state;
    static const char *const JUNK[] = {
        "-ERR Protocol error\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\x16\x03\x01\xff\xff zzzzzzzzzzzzzzzzzzzzzz", "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00"};
    for (size_t i = 0; i < COUNT_OF(JUNK); i++) {
        for (int end = 0; end < 2; end++) {
            struct tls_options options = {.insecure_skip_verify = true};
            struct pair pair;
            char bytes[64] = {0};
            memcpy(bytes, JUNK[i], i == 3 ? 10 : strlen(JUNK[i]));
            pair_open(&pair, &options, false, "x");
            assert_false(tls_feed(pair.ends[end], str_from(bytes, i == 3 ? 10 : strlen(JUNK[i])),
                                  &pair.plain[end], &pair.wire[end], &err) &&
                         tls_feed(pair.ends[end], str_from(bytes, sizeof(bytes)), &pair.plain[end],
                                  &pair.wire[end], &err) &&
                         tls_is_open(pair.ends[end]));
            pair_close(&pair);
        }
    }
}

/* Files that are not there or not what they should be are named at the start. */
static void test_tls_context_new__names_what_is_wrong(void **state)
{
    (void)state;
    char cert[100], key[100];
    struct tls_context *context;
    struct tls_options options = {.ca_file = STR("/nonexistent")};
    assert_false(tls_context_new(&context, &options, &err));
    assert_true(str_find(str_of(err.text), STR("/nonexistent")) < strlen(err.text));
    options = (struct tls_options){.cert_file = path(cert, "s.crt")};
    assert_false(tls_context_new(&context, &options, &err));
    options.key_file = path(key, "ca.key");
    assert_false(tls_context_new(&context, &options, &err));
    assert_true(str_starts(str_of(err.text), STR("tls: private key does not match public key")));
    options = (struct tls_options){.ca_pem = STR("no certificate")};
    assert_false(tls_context_new(&context, &options, &err));
    options = (struct tls_options){.server = true};
    assert_false(tls_context_new(&context, &options, &err));
    assert_null(context);
}

/* --- clients' certificates, judged later --- */

/* A client's pair signed by `ca` (an authority's pair), with what tls_issue does not make: by openssl. */
static void make_client(const char *name, const char *ca, const char *subject, const char *use,
                        const char *days)
{
    char command[2000];
    snprintf(
        command, sizeof(command),
        "cd %s && exec >/dev/null 2>&1 && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key "
        "-out %s.csr -subj %s && printf 'extendedKeyUsage=%s\\nsubjectAltName=DNS:c.test\\n' > "
        "%s.ext && openssl x509 -req -in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial -days "
        "%s -extfile %s.ext -out %s.crt",
        folder, name, name, subject, use, name, name, ca, ca, days, name, name);
    assert_int_equal(system(command), 0);
}

static void read_text(struct buf *out, const char *name)
{
    char text[100];
    buf_init(out, 65536);
    if (!text_file_read(path(text, name), out, &err))
        fail_msg("%s", err.text);
}

/* The client shows a pair, or nothing; the server asks for any. */
static void pair_open_any(struct pair *pair, const char *name)
{
    char texts[5][100];
    struct tls_options client = {.ca_file = path(texts[0], "ca.crt")};
    struct tls_options server = {.server = true,
                                 .cert_file = path(texts[1], "s.crt"),
                                 .key_file = path(texts[2], "s.key"),
                                 .client_cert_any = true};
    char cert[60], key[60];
    snprintf(cert, sizeof(cert), "%s.crt", name ? name : "");
    snprintf(key, sizeof(key), "%s.key", name ? name : "");
    if (name) {
        client.cert_file = path(texts[3], cert);
        client.key_file = path(texts[4], key);
    }
    if (!tls_context_new(&pair->contexts[0], &client, &err) ||
        !tls_context_new(&pair->contexts[1], &server, &err) ||
        !tls_new(&pair->ends[0], pair->contexts[0], STR("redis.test"), &err) ||
        !tls_new(&pair->ends[1], pair->contexts[1], STR(""), &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        buf_init(&pair->wire[i], 1 << 20);
        buf_init(&pair->plain[i], 1 << 20);
        assert_true(tls_handshake(pair->ends[i], &pair->wire[i], &err));
    }
    if (!carry(pair, 65536))
        fail_msg("%s", err.text);
    assert_true(tls_is_open(pair->ends[1]));
}

/* The handshake takes what comes; the verdict is that of the authorities which are asked. */
static void test_tls_peer_verify__judges_by_the_trust(void **state)
{
    static const struct {
        const char *name, *words;
    } CASES[] = {
        {"c-good", NULL},
        {"c-late", "certificate has expired or is not yet valid"},
        {"c-use", "certificate specifies an incompatible key usage"},
        {"c-other", "certificate signed by unknown authority"},
        {NULL, "client didn't provide a certificate"},
    };
    (void)state;
    struct tls_issue authority = {.common_name = STR("other"), .days = 2};
    struct buf ca, other_ca, other_key;
    struct tls_trust *trust, *other;
    char text[100];
    buf_init(&other_ca, 65536);
    buf_init(&other_key, 65536);
    assert_true(tls_issue(&authority, &other_ca, &other_key, &err));
    assert_true(text_file_write(path(text, "o.crt"), buf_str(&other_ca), &err));
    assert_true(text_file_write(path(text, "o.key"), buf_str(&other_key), &err));
    make_client("c-good", "ca", "/O=dev/O=ops/CN=bob", "clientAuth", "2");
    make_client("c-late", "ca", "/CN=bob", "clientAuth", "-1");
    make_client("c-use", "ca", "/CN=bob", "serverAuth", "2");
    make_client("c-other", "o", "/CN=bob", "clientAuth", "2");
    read_text(&ca, "ca.crt");
    assert_true(tls_trust_new(&trust, buf_str(&ca), &err));
    assert_true(tls_trust_new(&other, buf_str(&other_ca), &err));
    assert_false(tls_trust_new(&(struct tls_trust *){NULL}, STR("junk"), &err));
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        struct pair pair;
        pair_open_any(&pair, CASES[i].name);
        assert_false(tls_peer_verified(pair.ends[1]));
        assert_int_equal(tls_peer_verify(pair.ends[1], trust, &err), CASES[i].words == NULL);
        if (CASES[i].words && !strstr(err.text, CASES[i].words))
            fail_msg("%s", err.text);
        /* Asked again, the answer is the same; another trust has its own. */
        assert_int_equal(tls_peer_verify(pair.ends[1], trust, &err), CASES[i].words == NULL);
        bool is_other = CASES[i].name && strcmp(CASES[i].name, "c-other") == 0;
        assert_int_equal(tls_peer_verify(pair.ends[1], other, &err), is_other);
        pair_close(&pair);
    }
    tls_trust_unref(trust);
    tls_trust_unref(other);
    buf_deinit(&ca);
    buf_deinit(&other_ca);
    buf_deinit(&other_key);
}

/* Who it is: common name and organizations, of whoever shows a certificate. */
static void test_tls_peer_read__tells_the_subject(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_peer peer;
    struct arena arena;
    arena_init(&arena, 0);
    pair_open_any(&pair, "c-good");
    assert_true(tls_peer_read(pair.ends[1], &arena, &peer));
    assert_true(str_eq(peer.common_name, STR("bob")));
    assert_int_equal(peer.organization_count, 2);
    assert_true(str_eq(peer.organizations[0], STR("dev")));
    assert_true(str_eq(peer.organizations[1], STR("ops")));
    pair_close(&pair);
    pair_open_any(&pair, NULL);
    assert_false(tls_peer_read(pair.ends[1], &arena, &peer));
    pair_close(&pair);
    arena_deinit(&arena);
}

/* A name of the certificate cannot smuggle in another one. */
static void test_tls_issue__refuses_odd_names(void **state)
{
    (void)state;
    static const struct str BAD[] = {{"a,DNS:b", 7}, {"a b", 3}, {"a\n", 2}, {"a/b", 3}};
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        struct tls_issue issue = {
            .common_name = STR("x"), .names = &BAD[i], .name_count = 1, .days = 2};
        struct buf cert, key;
        buf_init(&cert, 65536);
        buf_init(&key, 65536);
        assert_false(tls_issue(&issue, &cert, &key, &err));
        assert_int_equal(cert.len + key.len, 0);
        buf_deinit(&cert);
        buf_deinit(&key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_feed__talks_in_any_pieces),
        cmocka_unit_test(test_tls_feed__checks_the_server),
        cmocka_unit_test(test_tls_feed__checks_the_client),
        cmocka_unit_test(test_tls_feed__refuses_junk),
        cmocka_unit_test(test_tls_context_new__names_what_is_wrong),
        cmocka_unit_test(test_tls_peer_verify__judges_by_the_trust),
        cmocka_unit_test(test_tls_peer_read__tells_the_subject),
        cmocka_unit_test(test_tls_issue__refuses_odd_names),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
