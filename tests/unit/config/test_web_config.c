/* The file of --web.config.file as OpenSSL and the gate need it. Its words of refusal are compared with promtool's in the
 * end-to-end test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config.h"
#include "net/tls.h"

static struct err err;

#define assert_str(s, text) assert_true(str_eq((s), STR(text)))

/* Names become OpenSSL's, paths are those of the file's folder. */
static void test_config_web_parse__translates(void **state)
{
    struct config_web web;
    struct arena arena;
    (void)state;
    arena_init(&arena, 0);
    assert_true(config_web_parse(
        &web,
        STR("tls_server_config:\n"
            "  cert_file: c.pem\n"
            "  key_file: /k.pem\n"
            "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\n"
            "    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n"
            "  curve_preferences: [X25519, CurveP384]\n"
            "  max_version: TLS12\n"
            "http_server_config: {http2: false, headers: {X-Frame-Options: sameorigin}}\n"),
        STR("dir/web.yml"), &arena, &err));
    assert_true(web.has_tls && !web.http2);
    assert_str(web.cert_file, "dir/c.pem");
    assert_str(web.key_file, "/k.pem");
    assert_str(web.ciphers, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305");
    assert_str(web.groups, "X25519:P-384");
    assert_int_equal(web.version_min, 12);
    assert_int_equal(web.version_max, 12);
    assert_int_equal(web.header_count, 1);
    arena_deinit(&arena);
}

/* Only suites of 1.3: nothing is left for an older handshake, as with Go. */
static void test_config_web_parse__leaves_only_1_3(void **state)
{
    struct config_web web;
    struct arena arena;
    (void)state;
    arena_init(&arena, 0);
    assert_true(
        config_web_parse(&web, STR("tls_server_config: {cipher_suites: [TLS_AES_128_GCM_SHA256]}"),
                         STR("w"), &arena, &err));
    assert_false(web.has_tls);
    assert_int_equal(web.version_min, 13);
    assert_int_equal(web.ciphers.len, 0);
    arena_deinit(&arena);
}

/* Nothing said is no TLS, and no error. */
static void test_config_web_tls__may_be_absent(void **state)
{
    struct config_web web;
    struct arena arena;
    struct tls_context *context;
    (void)state;
    arena_init(&arena, 0);
    assert_true(config_web_parse(&web, STR(""), STR("w"), &arena, &err));
    assert_true(config_web_tls(&context, &web, &err));
    assert_null(context);
    arena_deinit(&arena);
}

/* Every suite and curve that is accepted is one that OpenSSL knows; certificates may stand in the file. */
static void test_config_web_tls__takes_all_names(void **state)
{
    static const char *const LISTS[] = {
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_256_GCM_SHA384",
    };
    struct str names[] = {STR("a.test")};
    struct tls_issue issue = {.common_name = STR("x"), .names = names, .name_count = 1, .days = 2};
    struct buf cert, key;
    (void)state;
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    assert_true(tls_issue(&issue, &cert, &key, &err));
    for (size_t i = 0; i < COUNT_OF(LISTS); i++) {
        struct tls_context *context;
        struct config_web web;
        struct arena arena;
        arena_init(&arena, 0);
        struct str text = arena_strf(
            &arena,
            "tls_server_config: {cert: a, key: b, cipher_suites: [%s], curve_preferences: "
            "[CurveP256, CurveP384, CurveP521, X25519]}",
            LISTS[i]);
        assert_true(config_web_parse(&web, text, STR("w"), &arena, &err));
        web.cert_pem = buf_str(&cert);
        web.key_pem = buf_str(&key);
        if (!config_web_tls(&context, &web, &err))
            fail_msg("%s: %s", LISTS[i], err.text);
        assert_non_null(context);
        tls_context_unref(context);
        arena_deinit(&arena);
    }
    buf_deinit(&cert);
    buf_deinit(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_web_parse__translates),
        cmocka_unit_test(test_config_web_parse__leaves_only_1_3),
        cmocka_unit_test(test_config_web_tls__may_be_absent),
        cmocka_unit_test(test_config_web_tls__takes_all_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
