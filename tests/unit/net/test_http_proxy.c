/* Which requests go through a proxy: the lists that people copy from their environment must mean what
 * they mean to Go programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "http_proxy.h"

static bool has(const char *list, const char *host, uint16_t port)
{
    struct proxy_aim aim = {.scheme = STR("http"), .host = str_of(host), .port = port};
    return no_proxy_has(str_of(list), &aim);
}

/* A name stands for itself and what is below; a dot in front for what is below only. */
static void test_no_proxy_has__domains(void **state)
{
    (void)state;
    assert_true(has("example.com", "example.com", 80));
    assert_true(has("EXAMPLE.com", "a.b.Example.COM", 80));
    assert_false(has("example.com", "notexample.com", 80));
    assert_false(has(".example.com", "example.com", 80));
    assert_true(has(".example.com", "a.example.com", 80));
    assert_false(has("*.example.com", "example.com", 80));
    assert_true(has("*.example.com", "a.example.com", 80));
    assert_true(has(" a.test , b.test ", "b.test", 80));
    assert_false(has("com", "example.org", 80));
    assert_true(has("*", "anything", 80));
    assert_false(has(",,:80,", "anything", 80));
    assert_false(has(".", "anything", 80));
}

/* A port limits an item to it. */
static void test_no_proxy_has__ports(void **state)
{
    (void)state;
    assert_true(has("example.com:8080", "example.com", 8080));
    assert_false(has("example.com:8080", "example.com", 80));
    assert_true(has("10.1.2.3:80", "10.1.2.3", 80));
    assert_false(has("10.1.2.3:81", "10.1.2.3", 80));
    assert_true(has("[2001:db8::1]:80", "2001:db8::1", 80));
    assert_false(has("[2001:db8::1]:81", "2001:db8::1", 80));
}

/* Addresses and networks of both families. */
static void test_no_proxy_has__addresses(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1", 80));
    assert_false(has("10.0.0.0/8", "11.0.0.1", 80));
    assert_true(has("10.64.0.0/10", "10.127.255.255", 80));
    assert_false(has("10.64.0.0/10", "10.128.0.0", 80));
    assert_true(has("2001:db8::/32", "2001:db8:1::2", 80));
    assert_false(has("2001:db8::/32", "2001:db9::2", 80));
    assert_false(has("::/0", "10.0.0.1", 80));
    assert_true(has("2001:db8::1", "2001:db8:0::1", 80));
    assert_false(has("10.0.0.0/33", "10.0.0.1", 80));
    assert_false(has("10.0.0.0/8", "example.com", 80));
}

/* Loopback is never behind a proxy that has a list at all. */
static void test_no_proxy_has__loopback(void **state)
{
    (void)state;
    assert_true(has("x.test", "localhost", 80));
    assert_true(has("x.test", "127.9.9.9", 80));
    assert_true(has("x.test", "::1", 80));
    assert_false(has("x.test", "128.0.0.1", 80));
}

static void assert_chosen(const struct proxy_rule *rule, const char *scheme, const char *host,
                          const char *wanted)
{
    struct proxy_aim aim = {.scheme = str_of(scheme), .host = str_of(host), .port = 80};
    struct buf out;
    buf_init(&out, 1000);
    proxy_choose(&out, rule, &aim);
    if (!str_eq(buf_str(&out), str_of(wanted)))
        fail_msg("%s %s: " STR_FMT, scheme, host, STR_ARG(buf_str(&out)));
    buf_deinit(&out);
}

/* Without a list even loopback goes through; the environment has a proxy per scheme, and both
 * spellings of its names. */
static void test_proxy_choose__follows_rule_and_environment(void **state)
{
    (void)state;
    struct proxy_rule plain = {.url = STR("http://p:1")};
    struct proxy_rule listed = {.url = STR("socks5://p:1"), .no_proxy = STR("a.test")};
    struct proxy_rule environment = {.from_environment = true};

    assert_chosen(&(struct proxy_rule){0}, "http", "a.test", "");
    assert_chosen(&plain, "http", "127.0.0.1", "http://p:1");
    assert_chosen(&listed, "http", "127.0.0.1", "");
    assert_chosen(&listed, "http", "a.test", "");
    assert_chosen(&listed, "http", "b.test", "socks5h://p:1");
    setenv("HTTP_PROXY", "p:2", 1);
    setenv("https_proxy", "https://p:3", 1);
    setenv("NO_PROXY", "a.test", 1);
    assert_chosen(&environment, "http", "b.test", "http://p:2");
    assert_chosen(&environment, "https", "b.test", "https://p:3");
    assert_chosen(&environment, "https", "a.test", "");
    assert_chosen(&environment, "https", "localhost", "");
    assert_chosen(&plain, "https", "a.test", "http://p:1");
    unsetenv("HTTP_PROXY");
    unsetenv("https_proxy");
    unsetenv("NO_PROXY");
    assert_chosen(&environment, "http", "b.test", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_proxy_has__domains),
        cmocka_unit_test(test_no_proxy_has__ports),
        cmocka_unit_test(test_no_proxy_has__addresses),
        cmocka_unit_test(test_no_proxy_has__loopback),
        cmocka_unit_test(test_proxy_choose__follows_rule_and_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
