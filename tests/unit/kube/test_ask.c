/* ask: paths of the metrics APIs, and what their authorisation is asked about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "ask.h"

static struct arena arena;
static const struct ask_groups all = {.external = true, .resource = true};

static struct ask ask_of(const char *target)
{
    struct ask ask;
    struct err err = {0};

    ask_parse(&ask, str_of(target), &all, &arena, &err);
    return ask;
}

static void is(struct str found, const char *wanted)
{
    assert_true(str_eq(found, str_of(wanted)));
}

static void check_refused(const char *target, const char *wanted)
{
    struct ask ask;
    struct err err = {0};

    ask_parse(&ask, str_of(target), &all, &arena, &err);
    assert_int_equal(ask.kind, ASK_NOTHING);
    assert_string_equal(err.text, wanted);
    is(ask.attributes.verb, "get");
}

#define CUSTOM "/apis/custom.metrics.k8s.io/v1beta2/"

/* An HPA escapes the star; the attributes are those of the API server's own check. */
static void test_ask_parse__reads_custom_paths(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    struct ask ask = ask_of(CUSTOM "namespaces/ode/pods/%2A/redis_db_keys?labelSelector=a");
    assert_int_equal(ask.kind, ASK_OBJECTS);
    is(ask.version, "v1beta2");
    is(ask.namespace_name, "ode");
    is(ask.resource.plural, "pods");
    is(ask.name, "");
    is(ask.metric, "redis_db_keys");
    is(ask.attributes.verb, "get");
    is(ask.attributes.group, "custom.metrics.k8s.io");
    is(ask.attributes.resource, "pods");
    is(ask.attributes.name, "*");
    is(ask.attributes.subresource, "redis_db_keys");
    is(ask.attributes.namespace_name, "ode");

    ask = ask_of(CUSTOM "namespaces/ode/deployments.apps/api/m");
    is(ask.resource.kind, "Deployment");
    is(ask.resource.group, "apps");
    is(ask.name, "api");
    is(ask.attributes.resource, "deployments.apps");

    ask = ask_of(CUSTOM "namespaces/ode/metrics/m");
    is(ask.resource.plural, "namespaces");
    is(ask.namespace_name, "");
    is(ask.name, "ode");
    is(ask.attributes.resource, "metrics");
    is(ask.attributes.namespace_name, "ode");

    ask = ask_of(CUSTOM "nodes/n%2F1/m");
    is(ask.resource.plural, "nodes");
    is(ask.name, "n/1");
    arena_deinit(&arena);
}

/* The other groups. */
static void test_ask_parse__reads_external_and_resource_paths(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    struct ask ask = ask_of("/apis/external.metrics.k8s.io/v1beta1/namespaces/ode/m");
    assert_int_equal(ask.kind, ASK_EXTERNAL);
    is(ask.attributes.verb, "list");
    is(ask.attributes.resource, "m");
    ask = ask_of("/apis/metrics.k8s.io/v1beta1/namespaces/ode/pods");
    assert_int_equal(ask.kind, ASK_PODS);
    is(ask.attributes.verb, "list");
    ask = ask_of("/apis/metrics.k8s.io/v1beta1/namespaces/ode/pods/w-0");
    is(ask.attributes.verb, "get");
    is(ask.name, "w-0");
    ask = ask_of("/apis/metrics.k8s.io/v1beta1/nodes/n");
    assert_int_equal(ask.kind, ASK_NODES);
    ask = ask_of("/apis/metrics.k8s.io/v1beta1?timeout=32s");
    assert_int_equal(ask.kind, ASK_DOCUMENT);
    is(ask.attributes.path, "/apis/metrics.k8s.io/v1beta1");
    assert_int_equal(ask_of("/livez/ping").kind, ASK_HEALTH);
    assert_int_equal(ask_of("/openapi/v2").kind, ASK_DOCUMENT);
    assert_int_equal(ask_of("/openapi/v3?hash=1").kind, ASK_DOCUMENT);
    arena_deinit(&arena);
}

/* The path that is in so many how-tos names no object. */
static void test_ask_parse__names_the_right_path(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    check_refused(
        CUSTOM "namespaces/ode/pods/redis_db_keys",
        "the server could not find the requested resource: the path names no object; did you "
        "mean /apis/custom.metrics.k8s.io/v1beta2/namespaces/ode/pods/*/redis_db_keys (all "
        "pods) or .../pods/NAME/redis_db_keys (one)?");
    check_refused(
        CUSTOM "pods/redis_db_keys",
        "the server could not find the requested resource: the path names no object; did you "
        "mean /apis/custom.metrics.k8s.io/v1beta2/namespaces/NAMESPACE/pods/*/redis_db_keys?");
    check_refused(CUSTOM "nodes/load",
                  "the server could not find the requested resource: the path names no object; did "
                  "you mean /apis/custom.metrics.k8s.io/v1beta2/nodes/*/load?");
    check_refused(
        CUSTOM "pods/x/m",
        "the server could not find the requested resource: pods are in namespaces; did you "
        "mean /apis/custom.metrics.k8s.io/v1beta2/namespaces/NAMESPACE/pods/x/m?");
    check_refused(
        CUSTOM "namespaces/ode/redis_db_keys",
        "the server could not find the requested resource: did you mean "
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ode/metrics/redis_db_keys (a metric "
        "of the namespace itself)?");
    check_refused(
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/ode/pods/%2A/m",
        "the server could not find the requested resource: did you mean "
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/ode/m? External metrics have no "
        "objects");
    check_refused("/apis/external.metrics.k8s.io/v1beta1/m",
                  "the server could not find the requested resource: did you mean "
                  "/apis/external.metrics.k8s.io/v1beta1/namespaces/NAMESPACE/m? External metrics "
                  "have no objects");
    check_refused("/apis/external.metrics.k8s.io/v1beta1/namespaces/ode",
                  "the server could not find the requested resource");
    check_refused("/apis/metrics.k8s.io/v1beta1/namespaces/ode/nodes",
                  "the server could not find the requested resource");
    check_refused("/apis/custom.metrics.k8s.io/v1/x",
                  "the server could not find the requested resource");
    check_refused("/openapi/v3/apis/custom.metrics.k8s.io/v1beta1",
                  "the server could not find the requested resource");
    check_refused("/apis/%zz", "the server could not find the requested resource");
    arena_deinit(&arena);
}

/* Whoever may ask for all in one namespace may not ask for another one, however it is spelled. */
static void test_ask_parse__has_no_namespaces_in_a_namespace(void **state)
{
    const char *spellings[] = {"namespaces", "namespace", "NameSpaces", "namespaces.",
                               "namespace%73"};
    char target[200];

    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < COUNT_OF(spellings); i++) {
        snprintf(target, sizeof(target), CUSTOM "namespaces/ode/%s/other/m", spellings[i]);
        check_refused(target, "the server could not find the requested resource");
        snprintf(target, sizeof(target), CUSTOM "namespaces/ode/%s/%%2A/m", spellings[i]);
        check_refused(target, "the server could not find the requested resource");
    }
    arena_deinit(&arena);
}

/* Without the switches the other groups are not there, not even in part. */
static void test_ask_parse__hides_groups_that_are_off(void **state)
{
    const struct ask_groups none = {0};
    const char *targets[] = {"/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1",
                             "/apis/metrics.k8s.io/v1beta1/nodes",
                             "/apis/external.metrics.k8s.io/v1beta1",
                             "/apis/external.metrics.k8s.io/v1beta1/namespaces/a/m"};
    struct ask ask;
    struct err err = {0};

    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        ask_parse(&ask, str_of(targets[i]), &none, &arena, &err);
        assert_int_equal(ask.kind, ASK_NOTHING);
    }
    arena_deinit(&arena);
}

/* Only the name may be a field, and it may not say something else than the path. */
static void test_ask_parse_query__takes_names_as_fields(void **state)
{
    struct http_param items[] = {{STR("fieldSelector"), STR("metadata.name=w-0")},
                                 {STR("limit"), STR("500")}};
    struct http_params params = {.items = items, .count = 2};
    struct err err = {0};

    (void)state;
    arena_init(&arena, 0);
    struct ask ask = ask_of(CUSTOM "namespaces/ode/pods/*/m");
    assert_true(ask_parse_query(&ask, &params, &arena, &err));
    is(ask.name, "w-0");
    ask = ask_of(CUSTOM "namespaces/ode/pods/w-1/m");
    assert_false(ask_parse_query(&ask, &params, &arena, &err));
    items[0].value = STR("spec.nodeName=x");
    ask = ask_of(CUSTOM "namespaces/ode/pods/*/m");
    assert_false(ask_parse_query(&ask, &params, &arena, &err));
    assert_string_equal(err.text,
                        "field label not supported: spec.nodeName: only metadata.name=NAME is");
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask_parse__reads_custom_paths),
        cmocka_unit_test(test_ask_parse__reads_external_and_resource_paths),
        cmocka_unit_test(test_ask_parse__names_the_right_path),
        cmocka_unit_test(test_ask_parse__has_no_namespaces_in_a_namespace),
        cmocka_unit_test(test_ask_parse__hides_groups_that_are_off),
        cmocka_unit_test(test_ask_parse_query__takes_names_as_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
