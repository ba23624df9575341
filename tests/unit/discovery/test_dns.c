/* Targets from DNS records: labels, several names, failures that keep the last answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "discovery_rig.h"
#include "dns_server.h"
#include "groups.h"

struct site {
    struct rig rig;
    struct dns_server server;
};

static const struct dns_row first[] = {
    {"_w._tcp.test", 33, "a.test", 80, WAY_RECORD},
    {"_w._tcp.test", 33, "b.test", 81, WAY_RECORD},
    {"a.test", 1, "10.0.0.1", 0, WAY_RECORD},
    {"a.test", 28, "2001:db8::1", 0, WAY_RECORD},
    {"z.test", 15, "mx.test", 0, WAY_RECORD},
    {"z.test", 2, "ns.test", 0, WAY_RECORD},
    {0},
};

static void site_open(struct site *site, const struct dns_row *rows)
{
    rig_begin(&site->rig);
    dns_server_open(&site->server, &site->rig.loop, rows);
    site->rig.dns_servers = site->server.address;
    rig_start(&site->rig);
}

static void site_close(struct site *site)
{
    dns_server_close(&site->server);
    rig_close(&site->rig);
}

static void site_apply(struct site *site, const char *block)
{
    char yaml[1024];

    snprintf(yaml, sizeof(yaml),
             "scrape_configs:\n- job_name: j\n  dns_sd_configs:\n  - refresh_interval: 100ms\n%s",
             block);
    rig_apply(&site->rig, yaml);
}

static struct discovery_stats stats_of(const struct site *site)
{
    struct discovery_stats stats;

    discovery_get_stats(site->rig.discovery, &stats);
    return stats;
}

static void rig_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void site_wait_failure(struct site *site)
{
    int64_t end_ms = clock_mono_ms() + 20000;
    uint64_t before = stats_of(site).dns_lookup_failures;
    uv_timer_t wake;

    uv_timer_init(&site->rig.loop, &wake);
    uv_timer_start(&wake, rig_on_tick, 20, 20);
    while (stats_of(site).dns_lookup_failures == before && clock_mono_ms() < end_ms)
        uv_run(&site->rig.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&site->rig.loop, UV_RUN_NOWAIT);
    assert_true(stats_of(site).dns_lookup_failures > before);
}

/* Each type: where the port comes from, brackets, no dot at the end. */
static void test_dns__makes_addresses(void **state)
{
    struct site site;

    (void)state;
    site_open(&site, first);
    site_apply(&site, "    names: [_w._tcp.test.]\n");
    assert_int_equal(site.rig.calls, 0);
    assert_true(rig_told(&site.rig, "j: a.test:80 b.test:81"));
    site_apply(&site, "    names: [a.test., no.test., a.test.]\n    type: a\n    port: 9\n");
    assert_true(rig_told(&site.rig, "j: 10.0.0.1:9"));
    site_apply(&site, "    names: [a.test.]\n    type: AAAA\n    port: 9\n");
    assert_true(rig_told(&site.rig, "j: [2001:db8::1]:9"));
    site_apply(&site, "    names: [z.test.]\n    type: MX\n    port: 70000\n");
    assert_true(rig_told(&site.rig, "j: mx.test:70000"));
    site_apply(&site, "    names: [z.test.]\n    type: NS\n    port: 53\n");
    assert_true(rig_told(&site.rig, "j: ns.test:53"));
    assert_int_equal(stats_of(&site).dns_lookup_failures, 0);
    assert_true(stats_of(&site).dns_lookups >= 6);
    site_close(&site);
}

struct seen {
    struct buf text;
};

static void on_groups(void *ctx, struct str job, struct target_group *const *groups, size_t count)
{
    struct seen *seen = ctx;

    (void)job;
    buf_clear(&seen->text);
    for (size_t i = 0; i < count; i++) {
        buf_addf(&seen->text, "%s", groups[i]->source);
        for (size_t k = 0; k < groups[i]->target_count; k++) {
            buf_add_char(&seen->text, ' ');
            struct labels *labels = group_part(groups[i], 1 + k);
            labels_print(&seen->text, labels);
            labels_unref(labels);
        }
        buf_add_char(&seen->text, '\n');
    }
}

/* All meta labels: targets as DNS has them, with the dot; those of other types are left out. */
static void test_dns__has_all_meta_labels(void **state)
{
    static const char *const blocks[] = {"    names: [_w._tcp.test.]\n",
                                         "    names: [z.test.]\n    type: MX\n    port: 1\n",
                                         "    names: [z.test.]\n    type: NS\n    port: 1\n",
                                         "    names: [a.test.]\n    type: A\n    port: 1\n"};
    static const char *const wanted[] = {
        "_w._tcp.test. {__address__=\"a.test:80\", __meta_dns_name=\"_w._tcp.test.\", "
        "__meta_dns_srv_record_port=\"80\", __meta_dns_srv_record_target=\"a.test.\"} "
        "{__address__=\"b.test:81\", __meta_dns_name=\"_w._tcp.test.\", "
        "__meta_dns_srv_record_port=\"81\", __meta_dns_srv_record_target=\"b.test.\"}\n",
        "z.test. {__address__=\"mx.test:1\", __meta_dns_mx_record_target=\"mx.test.\", "
        "__meta_dns_name=\"z.test.\"}\n",
        "z.test. {__address__=\"ns.test:1\", __meta_dns_name=\"z.test.\", "
        "__meta_dns_ns_record_target=\"ns.test.\"}\n",
        "a.test. {__address__=\"10.0.0.1:1\", __meta_dns_name=\"a.test.\"}\n",
    };
    struct site site;
    struct seen seen;

    (void)state;
    buf_init(&seen.text, 65536);
    site_open(&site, first);
    discovery_close(site.rig.discovery);
    struct discovery_options options = {
        .loop = &site.rig.loop,
        .client = site.rig.client,
        .dns_servers = str_of(site.server.address),
        .on_groups = on_groups,
        .ctx = &seen,
    };
    site.rig.discovery = discovery_open(&options);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        int64_t end_ms = clock_mono_ms() + 10000;
        site_apply(&site, blocks[i]);
        while (!str_eq(buf_str(&seen.text), str_of(wanted[i])) && clock_mono_ms() < end_ms)
            uv_run(&site.rig.loop, UV_RUN_ONCE);
        buf_add_char(&seen.text, 0);
        assert_string_equal(seen.text.ptr, wanted[i]);
    }
    site_close(&site);
    buf_deinit(&seen.text);
}

/* A failing name keeps what it had while others change; a name that is surely gone has nothing. */
static void test_dns__keeps_what_it_had(void **state)
{
    static const struct dns_row failing[] = {
        {"a.test", 0, NULL, 0, WAY_SERVFAIL},
        {"b.test", 1, "10.0.0.3", 0, WAY_RECORD},
        {0},
    };
    static const struct dns_row before[] = {
        {"a.test", 1, "10.0.0.1", 0, WAY_RECORD},
        {"b.test", 1, "10.0.0.2", 0, WAY_RECORD},
        {0},
    };
    static const struct dns_row gone[] = {{"b.test", 0, NULL, 0, WAY_EMPTY}, {0}};
    struct site site;

    (void)state;
    site_open(&site, before);
    site_apply(&site, "    names: [a.test., b.test.]\n    type: A\n    port: 1\n");
    assert_true(rig_told(&site.rig, "j: 10.0.0.1:1 10.0.0.2:1"));
    site.server.rows = failing;
    site_wait_failure(&site);
    assert_true(rig_told(&site.rig, "j: 10.0.0.1:1 10.0.0.3:1"));
    site.server.rows = gone;
    assert_true(rig_told(&site.rig, "j:"));
    site_close(&site);
}

/* A server that says nothing, an answer that lies, servers that are none: a close does not wait. */
static void test_dns__ends_with_questions_in_flight(void **state)
{
    static const struct dns_row silent[] = {
        {"a.test", 0, NULL, 0, WAY_SILENT}, {"b.test", 0, NULL, 0, WAY_LOOP}, {0}};
    struct site site;

    (void)state;
    site_open(&site, silent);
    site_apply(&site, "    names: [a.test., b.test., c.test.]\n    type: A\n    port: 1\n");
    site_wait_failure(&site);
    assert_true(site.server.udp_count >= 3);
    site_close(&site);

    rig_begin(&site.rig);
    site.rig.dns_servers = "no address";
    rig_start(&site.rig);
    site_apply(&site, "    names: [a.test., b.test.]\n    type: A\n    port: 1\n");
    site_wait_failure(&site);
    assert_int_equal(stats_of(&site).dns_lookups % 2, 0);
    assert_int_equal(stats_of(&site).dns_lookups, stats_of(&site).dns_lookup_failures);
    rig_close(&site.rig);
}

/* More names than are asked at a time. */
static void test_dns__asks_for_many_names(void **state)
{
    struct site site;
    struct buf block;

    (void)state;
    site_open(&site, first);
    buf_init(&block, 65536);
    BUF_ADD(&block, "    type: A\n    port: 1\n    names: [a.test.");
    for (int i = 0; i < 30; i++)
        buf_addf(&block, ", n%d.test.", i);
    BUF_ADD(&block, ", A.test., a.TEST., A.TEST.]\n");
    buf_add_char(&block, 0);
    site_apply(&site, block.ptr);
    assert_true(rig_told(&site.rig, "j: 10.0.0.1:1 10.0.0.1:1 10.0.0.1:1 10.0.0.1:1"));
    assert_true(stats_of(&site).dns_lookups >= 34);
    buf_deinit(&block);
    site_close(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dns__makes_addresses),
        cmocka_unit_test(test_dns__has_all_meta_labels),
        cmocka_unit_test(test_dns__keeps_what_it_had),
        cmocka_unit_test(test_dns__ends_with_questions_in_flight),
        cmocka_unit_test(test_dns__asks_for_many_names),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
