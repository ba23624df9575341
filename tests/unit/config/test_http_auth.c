/* What the HTTP client options of a block make of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "net/http_client.h"

struct filled {
    struct config *config;
    struct arena arena;
    struct http_fetch_options options;
    struct err err;
    bool good;
};

static const struct str user_agent = {"User-Agent: x", 13};

/* `block` is a job's lines. */
static void fill(struct filled *out, const char *block)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_addf(&text, "scrape_configs:\n- job_name: a\n%s", block);
    *out = (struct filled){.options = {.headers = &user_agent, .header_count = 1}};
    arena_init(&out->arena, 0);
    if (!config_parse(&out->config, buf_str(&text), STR("dir/prometheus.yml"), &out->err))
        fail_msg("%s", out->err.text);
    out->good =
        config_http_fill(&out->options, &out->config->scrapes[0].http, &out->arena, &out->err);
    buf_deinit(&text);
}

static void filled_free(struct filled *filled)
{
    config_unref(filled->config);
    arena_deinit(&filled->arena);
}

#define assert_str(s, text) assert_string_equal(arena_str(&filled.arena, s).ptr, text)

/* Nothing is written: Prometheus' defaults. */
static void test_config_http_fill__has_defaults(void **state)
{
    (void)state;
    struct filled filled;
    fill(&filled, "");
    assert_true(filled.good && filled.options.follow_redirects && !filled.options.http1_only);
    assert_false(filled.options.insecure_skip_verify || filled.options.proxy_from_environment);
    assert_int_equal(filled.options.tls_min, HTTP_TLS_DEFAULT);
    assert_int_equal(filled.options.private_header_count, 0);
    assert_null(filled.options.oauth2);
    filled_free(&filled);
}

/* Every field arrives where the request is made. */
static void test_config_http_fill__passes_all_on(void **state)
{
    (void)state;
    struct filled filled;
    fill(&filled, "  tls_config: {ca: CA, cert_file: c.pem, key: KEY, server_name: s,\n"
                  "    min_version: TLS11, max_version: TLS13, insecure_skip_verify: true}\n"
                  "  enable_http2: false\n"
                  "  follow_redirects: false\n"
                  "  proxy_url: http://p:1\n"
                  "  no_proxy: a,b\n"
                  "  proxy_connect_header: {X-P: [one, two]}\n"
                  "  authorization: {type: Magic, credentials: abc}\n"
                  "  http_headers: {X-H: {values: [v], secrets: [s]}}\n");
    const struct http_fetch_options *o = &filled.options;
    assert_true(filled.good && o->insecure_skip_verify && o->http1_only && !o->follow_redirects);
    assert_str(o->ca_pem, "CA");
    assert_str(o->cert_file, "dir/c.pem");
    assert_str(o->key_pem, "KEY");
    assert_str(o->server_name, "s");
    assert_int_equal(o->tls_min, HTTP_TLS11);
    assert_int_equal(o->tls_max, HTTP_TLS13);
    assert_str(o->proxy_url, "http://p:1");
    assert_str(o->no_proxy, "a,b");
    assert_int_equal(o->proxy_header_count, 2);
    assert_str(o->proxy_headers[1], "X-P: two");
    assert_int_equal(o->private_header_count, 3);
    assert_str(o->private_headers[0], "Authorization: Magic abc");
    assert_str(o->private_headers[1], "X-H: v");
    assert_str(o->private_headers[2], "X-H: s");
    filled_free(&filled);
}

/* The token request has TLS and proxy of its own, and the block's User-Agent. */
static void test_config_http_fill__describes_the_token(void **state)
{
    (void)state;
    struct filled filled;
    fill(&filled,
         "  proxy_url: http://p:1\n"
         "  oauth2: {client_id: me, client_secret: s, token_url: 'http://t/', scopes: [a, b],\n"
         "    endpoint_params: {k: v}, tls_config: {ca_file: ca.pem}, proxy_url: 'http://q:2'}\n");
    const struct http_oauth2 *oauth2 = filled.options.oauth2;
    assert_true(filled.good && oauth2);
    assert_str(oauth2->client_id, "me");
    assert_str(oauth2->client_secret, "s");
    assert_str(oauth2->token_url, "http://t/");
    assert_int_equal(oauth2->scope_count, 2);
    assert_int_equal(oauth2->param_count, 1);
    assert_str(oauth2->params[0].name, "k");
    assert_str(oauth2->params[0].value, "v");
    assert_str(oauth2->request->ca_file, "dir/ca.pem");
    assert_str(oauth2->request->proxy_url, "http://q:2");
    assert_int_equal(oauth2->request->header_count, 1);
    assert_str(oauth2->request->headers[0], "User-Agent: x");
    filled_free(&filled);
}

/* Files are read each time; one that is missing says which. */
static void test_config_http_fill__reads_files_when_asked(void **state)
{
    (void)state;
    char folder[] = "http-auth-XXXXXX", path[64], block[300], wanted[300];
    struct filled filled;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/token", folder);
    snprintf(block, sizeof(block),
             "  authorization: {credentials_file: ../%s}\n"
             "  http_headers: {X-H: {files: [../%s]}}\n",
             path, path);
    fill(&filled, block);
    assert_false(filled.good);
    snprintf(wanted, sizeof(wanted),
             "unable to read authorization credentials: unable to read file %s: open %s: no such "
             "file or directory",
             path, path);
    assert_string_equal(filled.err.text, wanted);
    for (const char *token = "one"; token; token = token[0] == 'o' ? "two" : NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, " %s\n", token);
        assert_int_equal(fclose(file), 0);
        assert_true(config_http_fill(&filled.options, &filled.config->scrapes[0].http,
                                     &filled.arena, &filled.err));
        assert_str(filled.options.bearer_token, token);
        assert_int_equal(filled.options.private_header_count, 1);
        assert_true(str_ends(filled.options.private_headers[0], str_of(token)));
    }
    filled_free(&filled);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Nobody can look a secret's name up; it must not be taken for "no secret". */
static void test_config_http_fill__refuses_what_cannot_be(void **state)
{
    (void)state;
    struct filled filled;
    fill(&filled, "  basic_auth: {username: u, password_ref: name}\n");
    assert_false(filled.good);
    assert_string_equal(filled.err.text, "cannot use secret ref without manager");
    filled_free(&filled);
    fill(&filled, "  oauth2: {client_id: me, token_url: 'http://t/', client_certificate_key: k,\n"
                  "    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}\n");
    assert_false(filled.good);
    assert_int_equal(filled.config->inactive.count, 1);
    filled_free(&filled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_http_fill__has_defaults),
        cmocka_unit_test(test_config_http_fill__passes_all_on),
        cmocka_unit_test(test_config_http_fill__describes_the_token),
        cmocka_unit_test(test_config_http_fill__reads_files_when_asked),
        cmocka_unit_test(test_config_http_fill__refuses_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
