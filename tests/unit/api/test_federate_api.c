/* federate_api: what another server scrapes from us. */
#include "fixture.h"

static void test_serve_federate__writes_last_samples_as_text(void **state)
{
    (void)state;
    fake_add_series(labels_make("__name__", "up", "instance", "a:1", "job", "x\n\"\\", NULL), 1000,
                    1e6);
    fake_add_series(labels_make("__name__", "down", "job", "x", NULL), 2000, 0.5);
    fake.series[0].count = 3; /* Only the last counts. */
    fake.series[0].time_ms[2] = 3000;
    fake.series[0].value[2] = 12345678;
    get("/federate?match[]=up&match[]=down&match[]=up");
    assert_reply(200, "# TYPE down untyped\n"
                      "down{job=\"x\",instance=\"\"} 0.5 2000\n"
                      "# TYPE up untyped\n"
                      "up{instance=\"a:1\",job=\"x\\n\\\"\\\\\"} 1.2345678e+07 3000\n");
    assert_has(reply.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
    assert_int_equal(fake.select_to_ms - fake.select_from_ms, 300000);
}

/* A stale marker means that the series has ended: it must not come back to life elsewhere. */
static void test_serve_federate__leaves_stale_series_out(void **state)
{
    (void)state;
    fake_add_series(labels_make("__name__", "up", NULL), 1000, sample_stale());
    get("/federate?match[]=up");
    assert_reply(200, "");
    get("/federate");
    assert_reply(200, "");
}

static void test_serve_federate__adds_external_labels(void **state)
{
    (void)state;
    struct labels *external = labels_make("a", "1", "job", "ext", "zone", "z", NULL);
    fixture.config.global.external_labels = external;
    fake_add_series(labels_make("__name__", "up", "job", "x", NULL), 1000, -0.0);
    get("/federate?match[]=up");
    assert_reply(200, "# TYPE up untyped\nup{job=\"x\",a=\"1\",instance=\"\",zone=\"z\"} 0 1000\n");
    fixture.config.global.external_labels = NULL;
    labels_unref(external);
}

/* Old scrapers cannot read quoted names. */
static void test_serve_federate__escapes_names_as_accepted(void **state)
{
    (void)state;
    fake_add_series(labels_make("__name__", "my.name", "a.b", "1", "instance", "i", NULL), 1000, 1);
    get("/federate?match[]=my.name");
    assert_reply(200, "# TYPE my_name untyped\nmy_name{a_b=\"1\",instance=\"i\"} 1 1000\n");
    ask("GET", "/federate?match[]=my.name",
        "Accept: text/plain;version=1.0.0;escaping=allow-utf-8\r\n", NULL);
    assert_reply(200,
                 "# TYPE \"my.name\" untyped\n{\"my.name\",\"a.b\"=\"1\",instance=\"i\"} 1 1000\n");
}

static void ask_for(const char *accept, const char *wanted, const char *content_type)
{
    char head[512];

    (void)snprintf(head, sizeof(head), "Accept: %s\r\n", accept);
    ask("GET", "/federate?match[]=my.n_1", head, NULL);
    assert_reply(200, wanted);
    (void)snprintf(head, sizeof(head), "Content-Type: %s\r\n", content_type);
    assert_has(reply.head, head);
}

#define TEXT "text/plain; version=0.0.4; charset=utf-8; escaping="

/* What Prometheus 3.14 answers. */
static void test_serve_federate__negotiates_schemes(void **state)
{
    (void)state;
    fake_add_series(
        labels_make("__name__", "my.n_1", "a_b", "1", "instance", "i", "\xc3\xa4:", "2", NULL),
        1000, 1);
    ask_for("text/plain;escaping=dots",
            "# TYPE my_dot_n__1 untyped\nmy_dot_n__1{a_b=\"1\",instance=\"i\",__:=\"2\"} 1 1000\n",
            TEXT "dots");
    ask_for("text/plain;escaping=values",
            "# TYPE U__my_2e_n__1 untyped\n"
            "U__my_2e_n__1{a_b=\"1\",instance=\"i\",U___e4_:=\"2\"} 1 1000\n",
            TEXT "values");
    ask_for("text/plain;escaping=nonsense",
            "# TYPE my_n_1 untyped\nmy_n_1{a_b=\"1\",instance=\"i\",_:=\"2\"} 1 1000\n",
            TEXT "underscores");
    /* The better range decides, though it is not ours. */
    ask_for("text/plain;escaping=dots;q=0.4,application/openmetrics-text;escaping=values;q=0.9",
            "# TYPE my_dot_n__1 untyped\nmy_dot_n__1{a_b=\"1\",instance=\"i\",__:=\"2\"} 1 1000\n",
            TEXT "dots");
    ask_for("text/plain;q=0.4,application/openmetrics-text;escaping=allow-utf-8;q=0.9",
            "# TYPE \"my.n_1\" untyped\n"
            "{\"my.n_1\",a_b=\"1\",instance=\"i\",\"\xc3\xa4:\"=\"2\"} 1 1000\n",
            TEXT "allow-utf-8");
}

/* Byte for byte: the length, then the message. */
static void test_serve_federate__writes_protobuf(void **state)
{
    static const char wanted[] = "\x2e"
                                 "\x0a\x02up\x18\x03\x22\x26"
                                 "\x0a\x08\x0a\x03job\x12\x01x"
                                 "\x0a\x0c\x0a\x08instance\x12\x00"
                                 "\x2a\x09\x09\x00\x00\x00\x00\x00\x00\xe0\x3f"
                                 "\x30\xe8\x07";

    (void)state;
    fake_add_series(labels_make("__name__", "up", "job", "x", NULL), 1000, 0.5);
    ask("GET", "/federate?match[]=up",
        "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
        "encoding=delimited;q=0.6,text/plain;q=0.2\r\n",
        NULL);
    assert_has(reply.head, "Content-Type: application/vnd.google.protobuf; "
                           "proto=io.prometheus.client.MetricFamily; encoding=delimited; "
                           "escaping=underscores\r\n");
    assert_has(reply.head, "Content-Length: 47\r\n");
    assert_memory_equal(reply.body, wanted, sizeof(wanted) - 1);
}

static void test_serve_federate__answers_errors_as_text(void **state)
{
    (void)state;
    get("/federate?match[]=(");
    assert_reply(400, "1:1: parse error: unexpected \"(\"\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_federate__writes_last_samples_as_text),
        TEST(test_serve_federate__leaves_stale_series_out),
        TEST(test_serve_federate__adds_external_labels),
        TEST(test_serve_federate__escapes_names_as_accepted),
        TEST(test_serve_federate__negotiates_schemes),
        TEST(test_serve_federate__writes_protobuf),
        TEST(test_serve_federate__answers_errors_as_text),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
