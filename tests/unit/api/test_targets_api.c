/* targets_api: the shapes that Grafana, the pages and operators read, to the character. */
#include "fixture.h"

static struct labels *discovered, *first_labels, *second_labels;

static int set_up_targets(void **state)
{
    set_up(state);
    discovered = labels_make("__address__", "localhost:1", NULL);
    first_labels = labels_make("instance", "localhost:1", "job", "node", NULL);
    second_labels = labels_make("instance", "b:2", "job", "web", NULL);
    fake.targets[0] = (struct target_view){.discovered = discovered,
                                           .labels = first_labels,
                                           .pool = STR("node"),
                                           .url = STR("http://localhost:1/metrics"),
                                           .last_scrape_ms = 1700000000123,
                                           .last_duration_seconds = 0.0000005,
                                           .health = TARGET_UP,
                                           .interval_ms = 15000,
                                           .timeout_ms = 90000};
    fake.targets[1] = (struct target_view){.discovered = discovered,
                                           .labels = second_labels,
                                           .pool = STR("web"),
                                           .url = STR("https://b:2/<m>"),
                                           .error = STR("dial \"x\" <refused>"),
                                           .health = TARGET_UNKNOWN,
                                           .interval_ms = 60000,
                                           .timeout_ms = 10000};
    fake.targets[2] = (struct target_view){.discovered = discovered, .pool = STR("web")};
    fake.target_count = 3;
    fake.dropped_from = 2;
    return 0;
}

static int tear_down_targets(void **state)
{
    labels_unref(discovered);
    labels_unref(first_labels);
    labels_unref(second_labels);
    return tear_down(state);
}

#define NODE                                                                                       \
    "{\"discoveredLabels\":{\"__address__\":\"localhost:1\"},\"labels\":{\"instance\":"            \
    "\"localhost:1\","                                                                             \
    "\"job\":\"node\"},\"scrapePool\":\"node\",\"scrapeUrl\":\"http://localhost:1/metrics\","      \
    "\"globalUrl\":\"http://prometheus.example:1/metrics\",\"lastError\":\"\","                    \
    "\"lastScrape\":\"2023-11-14T22:13:20.123Z\",\"lastScrapeDuration\":5e-7,\"health\":\"up\","   \
    "\"scrapeInterval\":\"15s\",\"scrapeTimeout\":\"1m30s\"}"
#define WEB                                                                                        \
    "{\"discoveredLabels\":{\"__address__\":\"localhost:1\"},\"labels\":{\"instance\":\"b:2\","    \
    "\"job\":\"web\"},\"scrapePool\":\"web\",\"scrapeUrl\":\"https://b:2/\\u003cm\\u003e\","       \
    "\"globalUrl\":\"https://b:2/\\u003cm\\u003e\",\"lastError\":\"dial \\\"x\\\" "                \
    "\\u003crefused\\u003e\","                                                                     \
    "\"lastScrape\":\"0001-01-01T00:00:00Z\",\"lastScrapeDuration\":0,\"health\":\"unknown\","     \
    "\"scrapeInterval\":\"1m\",\"scrapeTimeout\":\"10s\"}"
#define DROPPED "{\"discoveredLabels\":{\"__address__\":\"localhost:1\"},\"scrapePool\":\"web\"}"

static void test_serve_targets__answers_all(void **state)
{
    (void)state;
    get("/api/v1/targets");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"activeTargets\":[" NODE "," WEB
                      "],\"droppedTargets\":[" DROPPED
                      "],\"droppedTargetCounts\":{\"node \\\"x\\\"\":1}}}");
}

static void test_serve_targets__filters_by_state_and_pool(void **state)
{
    (void)state;
    get("/api/v1/targets?state=ACTIVE&scrapePool=node");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"activeTargets\":[" NODE
                      "],\"droppedTargets\":[],\"droppedTargetCounts\":null}}");
    get("/api/v1/targets?state=dropped");
    assert_reply(
        200, "{\"status\":\"success\",\"data\":{\"activeTargets\":[],\"droppedTargets\":[" DROPPED
             "],\"droppedTargetCounts\":{\"node \\\"x\\\"\":1}}}");
    get("/api/v1/targets?state=nonsense");
    assert_reply(200,
                 "{\"status\":\"success\",\"data\":{\"activeTargets\":[],\"droppedTargets\":[],"
                 "\"droppedTargetCounts\":null}}");
}

/* Our own port on localhost is what the external URL stands for. */
static void test_serve_targets__shows_itself_by_its_external_url(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/m", http_server_port(fixture.server));
    fake.targets[0].url = str_of(url);
    get("/api/v1/targets?scrapePool=node");
    assert_has(reply.body, "\"globalUrl\":\"http://prometheus.example:8080/m\"");
}

/* Without an external URL the host's own name stands for it: localhost means nothing to who looks
 * from outside. */
static void test_api_set_server__makes_an_external_url(void **state)
{
    (void)state;
    char host[256], url[512];

    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.external_url = STR_EMPTY;
    fixture_open(&options);
    struct labels *labels = labels_make("job", "node", NULL);
    fake.targets[0] = (struct target_view){
        .discovered = labels, .labels = labels, .url = STR("http://localhost:1/m")};
    fake.target_count = fake.dropped_from = 1;
    get("/api/v1/targets");
    assert_int_equal(gethostname(host, sizeof(host)), 0);
    snprintf(url, sizeof(url), "\"globalUrl\":\"http://%s:1/m\"", host);
    assert_has(reply.body, url);
    get("/");
    assert_has(reply.head, "Location: /query\r\n");
    fixture_close();
    labels_unref(labels);
}

static void test_serve_scrape_pools__lists_names(void **state)
{
    (void)state;
    get("/api/v1/scrape_pools");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"scrapePools\":[\"node \\\"x\\\"\"]}}");
}

static void add_metadata(size_t target, struct str metric, enum metric_type type, struct str help)
{
    fake.metadata_target[fake.metadata_count] = target;
    fake.metadata[fake.metadata_count++] =
        (struct metadata){.metric = metric, .type = type, .help = help, .unit = STR_EMPTY};
}

static void add_usual_metadata(void)
{
    add_metadata(0, STR("up"), METRIC_GAUGE, STR("Up."));
    add_metadata(0, STR("a_total"), METRIC_COUNTER, STR("A."));
    add_metadata(1, STR("up"), METRIC_GAUGE, STR("Up."));
    add_metadata(1, STR("a_total"), METRIC_COUNTER, STR("Other."));
}

/* Targets that say the same are told once. */
static void test_serve_metadata__joins_targets(void **state)
{
    (void)state;
    add_usual_metadata();
    get("/api/v1/metadata");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"a_total\":[{\"type\":\"counter\","
                      "\"unit\":\"\",\"help\":\"A.\"},{\"type\":\"counter\",\"unit\":\"\",\"help\":"
                      "\"Other.\"}],\"up\":[{"
                      "\"type\":\"gauge\","
                      "\"unit\":\"\",\"help\":\"Up.\"}]}}");
    get("/api/v1/metadata?limit=1&limit_per_metric=1");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"a_total\":[{\"type\":\"counter\","
                      "\"unit\":\"\",\"help\":\"A.\"}]}}");
    get("/api/v1/metadata?metric=none");
    assert_reply(200, "{\"status\":\"success\",\"data\":{}}");
    get("/api/v1/metadata?limit=0");
    assert_reply(200, "{\"status\":\"success\",\"data\":{}}");
}

static void test_serve_metadata__refuses_bad_limits(void **state)
{
    (void)state;
    get("/api/v1/metadata?limit=x");
    assert_reply(
        400,
        "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit must be a number\"}");
    get("/api/v1/metadata?limit_per_metric=x");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit_per_"
                      "metric must be a number\"}");
    get("/api/v1/targets/metadata?limit=x");
    assert_reply(
        400,
        "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit must be a number\"}");
}

static void test_serve_targets_metadata__names_the_target(void **state)
{
    (void)state;
    add_usual_metadata();
    get("/api/v1/targets/metadata?metric=up&limit=1");
    assert_reply(200, "{\"status\":\"success\",\"data\":[{\"target\":{\"instance\":\"localhost:1\","
                      "\"job\":\"node\"},"
                      "\"type\":\"gauge\",\"help\":\"Up.\",\"unit\":\"\"}]}");
    get("/api/v1/targets/metadata?limit=1"); /* The limit is looked at between targets. */
    assert_reply(200, "{\"status\":\"success\",\"data\":[{\"target\":{\"instance\":\"localhost:1\","
                      "\"job\":\"node\"},"
                      "\"metric\":\"up\",\"type\":\"gauge\",\"help\":\"Up.\",\"unit\":\"\"},{"
                      "\"target\":{\"instance\":"
                      "\"localhost:1\",\"job\":\"node\"},\"metric\":\"a_total\",\"type\":"
                      "\"counter\",\"help\":\"A.\","
                      "\"unit\":\"\"}]}");
    get("/api/v1/targets/metadata?match_target=none");
    assert_reply(200, "{\"status\":\"success\",\"data\":[]}");
    get("/api/v1/targets/metadata?match_target=(");
    assert_reply(400,
                 "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid parameter "
                 "\\\"match_target\\\": 1:1: parse error: unexpected \\\"(\\\"\"}");
}

static void test_serve_alertmanagers__is_empty(void **state)
{
    (void)state;
    get("/api/v1/alertmanagers");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"activeAlertmanagers\":[],"
                      "\"droppedAlertmanagers\":[]}}");
}

static void test_serve_rules__checks_its_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *target, *error;
    } cases[] = {
        {"/api/v1/rules?type=x", "invalid parameter \\\"type\\\": not supported value \\\"x\\\""},
        {"/api/v1/rules?exclude_alerts=x", "invalid parameter \\\"exclude_alerts\\\": error "
                                           "converting exclude_alerts: strconv.ParseBool: parsing "
                                           "\\\"x\\\": invalid syntax"},
        {"/api/v1/rules?group_limit=0",
         "invalid parameter \\\"group_limit\\\": group_limit needs to be greater than 0"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        get(cases[i].target);
        assert_int_equal(reply.status, 400);
        assert_has(reply.body, cases[i].error);
    }
    get("/api/v1/rules?group_next_token=abc");
    assert_int_equal(reply.status, 400);
    get("/api/v1/rules?type=ALERT&exclude_alerts=true&group_limit=5");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"groups\":[]}}");
}

/* What a target says of itself is shown, never run. */
static void test_serve_targets_page__escapes_what_targets_say(void **state)
{
    (void)state;
    static struct str inactive[] = {STR("rule_files: rules are not <evaluated> yet")};
    fixture.config.inactive = (struct str_list){inactive, 1};
    fake.targets[1].pool = STR("node \"x\""); /* The one pool that the fake scraper names. */
    get("/targets");
    assert_int_equal(reply.status, 200);
    assert_has(reply.head, "Content-Type: text/html; charset=utf-8");
    assert_has(reply.body, "dial &#34;x&#34; &lt;refused&gt;");
    assert_has(reply.body, "rules are not &lt;evaluated&gt; yet");
    assert_has(reply.body, "https://b:2/&lt;m&gt;");
    assert_null(strstr(reply.body, "<refused>"));
    assert_null(strstr(reply.body, "<evaluated>"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_targets, tear_down_targets)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_targets__answers_all),
        TEST(test_serve_targets__filters_by_state_and_pool),
        TEST(test_serve_targets__shows_itself_by_its_external_url),
        cmocka_unit_test(test_api_set_server__makes_an_external_url),
        TEST(test_serve_scrape_pools__lists_names),
        TEST(test_serve_metadata__joins_targets),
        TEST(test_serve_metadata__refuses_bad_limits),
        TEST(test_serve_targets_metadata__names_the_target),
        TEST(test_serve_alertmanagers__is_empty),
        TEST(test_serve_rules__checks_its_parameters),
        TEST(test_serve_targets_page__escapes_what_targets_say),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
