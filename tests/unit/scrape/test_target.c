/* What discovery says becomes labels, URL and times; and when a target is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "scraper.h"

struct built {
    enum target_verdict verdict;
    struct target_spec spec;
    struct err err;
    struct config *config;
};

/* `yaml` is a scrape config whose first target is built. */
static struct built build(const char *yaml)
{
    struct built built = {0};
    struct arena arena;
    struct buf text;

    arena_init(&arena, 0);
    buf_init(&text, 65536);
    buf_addf(&text, "scrape_configs:\n- job_name: j\n%s", yaml);
    if (!config_parse(&built.config, buf_str(&text), STR("test.yml"), &built.err))
        fail_msg("%s", built.err.text);
    buf_deinit(&text);
    const struct config_scrape *options = &built.config->scrapes[0];
    built.verdict =
        target_build(&built.spec, options, options->static_sd.groups[0], 0, &arena, &built.err);
    arena_deinit(&arena);
    return built;
}

static void built_free(struct built *built)
{
    target_spec_deinit(&built->spec);
    config_unref(built->config);
}

static void expect_labels(const struct labels *labels, const char *want)
{
    struct buf text;

    buf_init(&text, 65536);
    labels_print(&text, labels);
    if (!str_eq(buf_str(&text), str_of(want)))
        fail_msg("got " STR_FMT "\nnot %s", STR_ARG(buf_str(&text)), want);
    buf_deinit(&text);
}

/* Defaults are filled in before relabelling, hidden labels go after it. */
static void test_target_build__fills_defaults(void **state)
{
    struct built built = build("  params: {m: [x, y]}\n"
                               "  static_configs: [{targets: ['h:1'], labels: {a: b}}]\n");

    (void)state;
    assert_int_equal(built.verdict, TARGET_KEEP);
    struct labels *discovered = target_discovered(&built.config->scrapes[0],
                                                  built.config->scrapes[0].static_sd.groups[0], 0);
    expect_labels(discovered,
                  "{__address__=\"h:1\", __always_scrape_classic_histograms__=\"false\", "
                  "__convert_classic_histograms_to_nhcb__=\"false\", "
                  "__metrics_path__=\"/metrics\", __param_m=\"x\", __scheme__=\"http\", "
                  "__scrape_interval__=\"1m\", __scrape_native_histograms__=\"false\", "
                  "__scrape_timeout__=\"10s\", "
                  "a=\"b\", job=\"j\"}");
    labels_unref(discovered);
    expect_labels(built.spec.labels, "{a=\"b\", instance=\"h:1\", job=\"j\"}");
    assert_string_equal(built.spec.url, "http://h:1/metrics?m=x&m=y");
    assert_int_equal(built.spec.interval_ms, 60000);
    assert_int_equal(built.spec.timeout_ms, 10000);
    built_free(&built);
}

/* Labels decide over scheme, path, parameters and times. */
static void test_target_build__obeys_labels(void **state)
{
    struct built built =
        build("  params: {m: [x, y]}\n"
              "  static_configs: [{targets: ['h'], labels: {__scheme__: https, "
              "__metrics_path__: 'a b/?', __param_m: z, __param_q: '1&2', "
              "__scrape_interval__: 30s, __scrape_timeout__: 5s, instance: me, __meta_x: y}}]\n"
              "  relabel_configs: [{source_labels: [__meta_x], target_label: k}]\n");

    (void)state;
    assert_int_equal(built.verdict, TARGET_KEEP);
    expect_labels(built.spec.labels, "{instance=\"me\", job=\"j\", k=\"y\"}");
    assert_string_equal(built.spec.url, "https://h/a%20b/%3F?m=z&m=y&q=1%262");
    assert_int_equal(built.spec.interval_ms, 30000);
    assert_int_equal(built.spec.timeout_ms, 5000);
    built_free(&built);
}

/* Dropped is no error; what cannot be scraped is one, in Prometheus' words. */
static void test_target_build__drops_and_refuses(void **state)
{
    static const struct {
        const char *labels, *relabel;
        enum target_verdict verdict;
        const char *error;
    } cases[] = {
        {"a: b", "{source_labels: [a], regex: b, action: drop}", TARGET_DROP, ""},
        {"a: b", "{target_label: __address__, replacement: ''}", TARGET_BAD, "no address"},
        {"a: b", "{target_label: __address__, replacement: 'h/x'}", TARGET_BAD,
         "\"h/x\" is not a valid hostname"},
        {"__scrape_interval__: x", "{target_label: a, replacement: b}", TARGET_BAD,
         "error parsing scrape interval: not a valid duration string: \"x\""},
        {"__scrape_timeout__: '0'", "{target_label: a, replacement: b}", TARGET_BAD,
         "scrape timeout cannot be 0"},
        {"__scrape_timeout__: 2m", "{target_label: a, replacement: b}", TARGET_BAD,
         "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof(yaml),
                 "  static_configs: [{targets: ['h'], labels: {%s}}]\n  relabel_configs: [%s]\n",
                 cases[i].labels, cases[i].relabel);
        struct built built = build(yaml);
        assert_int_equal(built.verdict, cases[i].verdict);
        if (built.verdict == TARGET_BAD)
            assert_string_equal(built.err.text, cases[i].error);
        built_free(&built);
    }
}

/* The grid is the same whenever one looks: points are one interval apart, at the offset, never in
 * the past. */
static void test_schedule_next__keeps_to_the_grid(void **state)
{
    (void)state;
    for (int64_t now = 1000000; now < 1000030; now++) {
        int64_t next = schedule_next(now, 15, 1234567);
        assert_true(next > now && next <= now + 15);
        assert_int_equal(next % 15, 1234567 % 15);
    }
    assert_int_equal(schedule_next(-3, 10, 4), 4);
    assert_int_equal(schedule_next(4, 10, 4), 14);
}

/* Steps are what lets targets start together; all of them are used, and another seed (a server's
 * twin) has other points. */
static void test_schedule_phase__stands_in_steps(void **state)
{
    bool seen[100] = {false};
    size_t steps = 0, same = 0;

    (void)state;
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t hash = hash64_mix(i, 7), seed = hash64_mix(1, 1), twin = hash64_mix(2, 2);
        int64_t phase = schedule_phase(5000, hash, seed);
        assert_true(phase >= 0 && phase < 5000);
        assert_int_equal(phase % 50, seed % 50);
        steps += !seen[phase / 50];
        seen[phase / 50] = true;
        same += phase == schedule_phase(5000, hash, twin);
        assert_int_equal(schedule_phase(3600000, hash, seed) % 50, seed % 50);
        assert_int_equal(schedule_phase(1000, hash, seed) % 10, seed % 10);
        phase = schedule_phase(1, hash, seed);
        assert_int_equal(phase, 0);
        phase = schedule_phase(157, hash, seed);
        assert_true(phase >= 0 && phase < 157);
    }
    assert_int_equal(steps, 100);
    assert_true(same < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_build__fills_defaults),
        cmocka_unit_test(test_target_build__obeys_labels),
        cmocka_unit_test(test_target_build__drops_and_refuses),
        cmocka_unit_test(test_schedule_next__keeps_to_the_grid),
        cmocka_unit_test(test_schedule_phase__stands_in_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
