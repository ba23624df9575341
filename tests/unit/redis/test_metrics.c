/* The text format as Go's client library writes it. */
#include "redis_test.h"

static void open_metrics(struct metrics *metrics)
{
    metrics_init(metrics, STR("redis"), 0);
}

/* Scrapers diff answers and people read them: families by name, samples by their labels. */
static void test_metrics_write__sorts_families_and_labels(void **state)
{
    (void)state;
    struct metrics metrics;
    struct buf text;
    open_metrics(&metrics);
    METRIC_ADD(&metrics, METRIC_DB_KEYS, 7, STR("db1"));
    METRIC_ADD(&metrics, METRIC_SLAVE_INFO, 1, STR("h"), STR("1"), STR("0"));
    METRIC_ADD(&metrics, METRIC_DB_KEYS, 1048576, STR("db0"));
    metrics_add_plain(&metrics, STR("uptime_in_seconds"), GAUGE, 5);
    buf_init(&text, TEXT_BYTES_MAX);
    metrics_write(&metrics, &text);
    assert_text(buf_str(&text),
                STR("# HELP redis_db_keys Total number of keys by DB\n"
                    "# TYPE redis_db_keys gauge\n"
                    "redis_db_keys{db=\"db0\"} 1.048576e+06\n"
                    "redis_db_keys{db=\"db1\"} 7\n"
                    "# HELP redis_slave_info Information about the Redis slave\n"
                    "# TYPE redis_slave_info gauge\n"
                    "redis_slave_info{master_host=\"h\",master_port=\"1\",read_only=\"0\"} 1\n"
                    "# HELP redis_uptime_in_seconds uptime_in_seconds metric\n"
                    "# TYPE redis_uptime_in_seconds gauge\n"
                    "redis_uptime_in_seconds 5\n"));
    buf_deinit(&text);
    metrics_deinit(&metrics);
}

/* Names of keys are anybody's bytes. */
static void test_metrics_add__escapes_labels_and_drops_what_is_no_utf8(void **state)
{
    (void)state;
    struct metrics metrics;
    open_metrics(&metrics);
    METRIC_ADD(&metrics, METRIC_KEY_SIZE, 1, STR("db0"), STR("a\"b\\c\nd"));
    METRIC_ADD(&metrics, METRIC_KEY_SIZE, 2, STR("db0"), STR("\xff"));
    METRIC_ADD(&metrics, METRIC_KEY_SIZE, 3, STR("db0"), STR(""));
    assert_lines(&metrics, "redis_key_size{db=\"db0\",key=\"\"} 3\n"
                           "redis_key_size{db=\"db0\",key=\"a\\\"b\\\\c\\nd\"} 1\n");
    metrics_deinit(&metrics);
}

/* Two samples with one name and labels are an error for who reads us: the first stays. */
static void test_metrics_write__drops_doubles(void **state)
{
    (void)state;
    struct metrics metrics;
    open_metrics(&metrics);
    METRIC_ADD(&metrics, METRIC_KEY_SIZE, 1, STR("db0"), STR("k"));
    METRIC_ADD(&metrics, METRIC_KEY_SIZE, 1, STR("db0"), STR("k"));
    metrics_add_plain(&metrics, STR("db_keys"), COUNTER, 1);
    METRIC_ADD(&metrics, METRIC_DB_KEYS, 2, STR("db0"));
    assert_lines(&metrics, "redis_db_keys 1\nredis_key_size{db=\"db0\",key=\"k\"} 1\n");
    metrics_deinit(&metrics);
}

/* A name from a field that no metric may have must not break the whole answer. */
static void test_metrics_add_plain__makes_names_valid(void **state)
{
    (void)state;
    struct metrics metrics;
    open_metrics(&metrics);
    metrics_add_plain(&metrics, STR("db0 \xff-x"), GAUGE, 1);
    assert_lines(&metrics, "redis_db0___x 1\n");
    metrics_deinit(&metrics);
    metrics_init(&metrics, STR(""), 0);
    metrics_add(&metrics, METRIC_UP, 1, NULL, 0);
    assert_lines(&metrics, "up 1\n");
    metrics_deinit(&metrics);
}

/* Quantiles are percents, buckets cumulative, and +Inf is added when the server does not name it. */
static void test_metrics_add_points__writes_summaries_and_histograms(void **state)
{
    (void)state;
    struct metrics metrics;
    struct metric_point percents[] = {{99.9, 4.015}, {50, 1.003}};
    struct metric_point buckets[] = {{1, 3}, {1048576, 5}};
    open_metrics(&metrics);
    metrics_add_points(&metrics, METRIC_PERCENTILES, STR("get"), 3, 12, percents, 2);
    metrics_add_points(&metrics, METRIC_LATENCIES, STR("get"), 5, 12, buckets, 2);
    metrics_add_points(&metrics, METRIC_SCRAPE_DURATION, STR_EMPTY, 2, 0.5, NULL, 0);
    assert_lines(&metrics,
                 "redis_commands_latencies_usec_bucket{cmd=\"get\",le=\"1\"} 3\n"
                 "redis_commands_latencies_usec_bucket{cmd=\"get\",le=\"1.048576e+06\"} 5\n"
                 "redis_commands_latencies_usec_bucket{cmd=\"get\",le=\"+Inf\"} 5\n"
                 "redis_commands_latencies_usec_sum{cmd=\"get\"} 12\n"
                 "redis_commands_latencies_usec_count{cmd=\"get\"} 5\n"
                 "redis_exporter_scrape_duration_seconds_sum 0.5\n"
                 "redis_exporter_scrape_duration_seconds_count 2\n"
                 "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"50\"} 1.003\n"
                 "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"99.9\"} 4.015\n"
                 "redis_latency_percentiles_usec_sum{cmd=\"get\"} 12\n"
                 "redis_latency_percentiles_usec_count{cmd=\"get\"} 3\n");
    metrics_deinit(&metrics);
}

/* The role is a label of what is the instance's, not of what is the exporter's own. */
static void test_metrics_add__appends_the_role(void **state)
{
    (void)state;
    struct metrics metrics;
    open_metrics(&metrics);
    metrics.instance_role = STR("slave");
    metrics_add(&metrics, METRIC_UP, 1, NULL, 0);
    metrics_add(&metrics, METRIC_SCRAPES, 1, NULL, 0);
    METRIC_ADD(&metrics, METRIC_DB_KEYS, 1, STR("db0"));
    assert_lines(&metrics, "redis_db_keys{db=\"db0\",instance_role=\"slave\"} 1\n"
                           "redis_exporter_scrapes_total 1\n"
                           "redis_up{instance_role=\"slave\"} 1\n");
    metrics_deinit(&metrics);
}

/* The budget is a limit of memory that a server cannot argue with. */
static void test_metrics_add__stops_at_its_budget(void **state)
{
    (void)state;
    struct metrics metrics;
    char key[1000];
    memset(key, 'k', sizeof(key));
    metrics_init(&metrics, STR("redis"), 1 << 20);
    for (int i = 0; i < 100000; i++)
        METRIC_ADD(&metrics, METRIC_KEY_SIZE, i, STR("db0"), str_from(key, sizeof(key)));
    assert_true(metrics.arena.over_budget);
    assert_true(metrics.items.count < 2000);
    metrics_deinit(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_write__sorts_families_and_labels),
        cmocka_unit_test(test_metrics_add__escapes_labels_and_drops_what_is_no_utf8),
        cmocka_unit_test(test_metrics_write__drops_doubles),
        cmocka_unit_test(test_metrics_add_plain__makes_names_valid),
        cmocka_unit_test(test_metrics_add_points__writes_summaries_and_histograms),
        cmocka_unit_test(test_metrics_add__appends_the_role),
        cmocka_unit_test(test_metrics_add__stops_at_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
