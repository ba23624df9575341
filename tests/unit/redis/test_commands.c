/* Replies of single commands into metrics. */
#include "commands.h"
#include "redis_test.h"

static struct err err;
static struct resp_reader *reader;
static struct metrics metrics;

static int set_up(void **state)
{
    (void)state;
    reader = resp_reader_new();
    metrics_init(&metrics, STR("redis"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    resp_reader_free(reader);
    metrics_deinit(&metrics);
    return 0;
}

/* Settings with passwords never leave, whatever else is asked for. */
static void test_config_extract__redacts_and_counts_databases(void **state)
{
    (void)state;
    uint64_t databases = 0, cluster_databases = 0;
    struct config_options options = {.all = true, .redact = true};
    const struct resp *reply = reply_of(
        reader, "*8\r\n$9\r\ndatabases\r\n$2\r\n32\r\n$11\r\nrequirepass\r\n$6\r\nsecret\r\n"
                "$10\r\nio-threads\r\n$1\r\n4\r\n$26\r\nclient-output-buffer-limit\r\n"
                "$30\r\nnormal 0 0 0 slave 100 50 60 x\r\n");
    assert_true(config_extract(&metrics, reply, &options, &databases, &cluster_databases, &err));
    assert_int_equal(databases, 32);
    assert_lines(
        &metrics,
        "redis_config_client_output_buffer_limit_bytes{class=\"normal\",limit=\"hard\"} 0\n"
        "redis_config_client_output_buffer_limit_bytes{class=\"normal\",limit=\"soft\"} 0\n"
        "redis_config_client_output_buffer_limit_bytes{class=\"slave\",limit=\"hard\"} 100\n"
        "redis_config_client_output_buffer_limit_bytes{class=\"slave\",limit=\"soft\"} 50\n"
        "redis_config_client_output_buffer_limit_overcome_seconds{class=\"normal\",limit=\"soft\"} "
        "0\n"
        "redis_config_client_output_buffer_limit_overcome_seconds{class=\"slave\",limit=\"soft\"} "
        "60\n"
        "redis_config_io_threads 4\n"
        "redis_config_key_value{key=\"client-output-buffer-limit\",value=\"normal 0 0 0 slave 100 "
        "50 60 x\"} 1\n"
        "redis_config_key_value{key=\"databases\",value=\"32\"} 1\n"
        "redis_config_key_value{key=\"io-threads\",value=\"4\"} 1\n"
        "redis_config_value{key=\"databases\"} 32\n"
        "redis_config_value{key=\"io-threads\"} 4\n");
}

static void test_config_extract__refuses_what_is_no_map(void **state)
{
    (void)state;
    uint64_t databases = 0;
    struct config_options options = {0};
    assert_false(config_extract(&metrics, reply_of(reader, "*1\r\n$1\r\na\r\n"), &options,
                                &databases, &databases, &err));
    assert_false(config_extract(&metrics, reply_of(reader, ":1\r\n"), &options, &databases,
                                &databases, &err));
    assert_false(config_extract(&metrics, reply_of(reader, "*2\r\n$9\r\ndatabases\r\n$1\r\nx\r\n"),
                                &options, &databases, &databases, &err));
}

/* An empty slow log still says 0 and 0. */
static void test_slowlog_extract__takes_the_newest(void **state)
{
    (void)state;
    slowlog_extract(&metrics,
                    reply_of(reader,
                             "*1\r\n*6\r\n:7\r\n:1700000000\r\n:20000\r\n*1\r\n$5\r\nDEBUG\r\n"
                             "$1\r\nx\r\n$0\r\n\r\n"));
    assert_lines(&metrics,
                 "redis_last_slow_execution_duration_seconds 0.02\nredis_slowlog_last_id 7\n");
    tear_down(NULL);
    set_up(NULL);
    slowlog_extract(&metrics, reply_of(reader, "*0\r\n"));
    assert_lines(&metrics,
                 "redis_last_slow_execution_duration_seconds 0\nredis_slowlog_last_id 0\n");
    slowlog_extract(&metrics, reply_of(reader, "-ERR unknown command\r\n"));
    assert_int_equal(metrics.items.count, 2);
}

static void test_latency_extract__reads_spikes_and_histograms(void **state)
{
    (void)state;
    struct info_command command = {STR("set"), 9};
    struct info_usage usage = {&command, 1};
    latency_extract(
        &metrics,
        reply_of(reader, "*2\r\n*4\r\n$7\r\ncommand\r\n:1700000000\r\n:250\r\n:300\r\n:5\r\n"));
    histogram_extract(
        &metrics,
        reply_of(reader, "*4\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:3\r\n$14\r\nhistogram_usec\r\n"
                         "*4\r\n:1\r\n:2\r\n:2\r\n:3\r\n$3\r\nget\r\n:1\r\n"),
        &usage);
    assert_lines(&metrics, "redis_commands_latencies_usec_bucket{cmd=\"set\",le=\"1\"} 2\n"
                           "redis_commands_latencies_usec_bucket{cmd=\"set\",le=\"2\"} 3\n"
                           "redis_commands_latencies_usec_bucket{cmd=\"set\",le=\"+Inf\"} 3\n"
                           "redis_commands_latencies_usec_sum{cmd=\"set\"} 9\n"
                           "redis_commands_latencies_usec_count{cmd=\"set\"} 3\n"
                           "redis_latency_spike_duration_seconds{event_name=\"command\"} 0.25\n"
                           "redis_latency_spike_last{event_name=\"command\"} 1.7e+09\n");
}

/* A v6 address has colons of its own; a line that does not parse is no client. */
static void test_clients_extract__reads_all_versions(void **state)
{
    (void)state;
    clients_extract(
        &metrics,
        STR("id=11 addr=127.0.0.1:63508 fd=8 name= age=10 idle=3 flags=N db=0 sub=1 psub=2 "
            "multi=-1 "
            "qbuf=4 qbuf-free=5 obl=6 oll=7 omem=8 events=r cmd=setex user=default resp=2\n"
            "id=12 addr=fd40::1a06:44426 name=x age=1 idle=0 flags=N db=1 ssub=1 watch=2 "
            "tot-mem=9\n"
            "id=13 addr=1.2.3.4:5 age=x\nnonsense\n"),
        true, 100);
    assert_line(
        &metrics,
        "redis_connected_client_info{db=\"0\",flags=\"N\",host=\"127.0.0.1\",id=\"11\",name=\"\","
        "port=\"63508\",resp=\"2\",user=\"default\"} 1");
    assert_line(&metrics, "redis_connected_clients_details{db=\"1\",flags=\"N\",host=\"fd40::"
                          "1a06\",id=\"12\",name=\"x\","
                          "port=\"44426\"} 1");
    assert_line(&metrics, "redis_connected_client_created_at_timestamp{id=\"11\",name=\"\"} 90");
    assert_line(&metrics, "redis_connected_client_idle_since_timestamp{id=\"11\",name=\"\"} 97");
    assert_line(&metrics,
                "redis_connected_client_shard_channel_watched_keys{id=\"12\",name=\"x\"} 2");
    assert_int_equal(metrics.items.count, 12 + 14);
}

static void test_stream_extract__reads_ids_as_times(void **state)
{
    (void)state;
    struct str name;
    assert_true(stream_extract(
        &metrics,
        reply_of(
            reader,
            "*8\r\n$6\r\nlength\r\n:2\r\n$17\r\nlast-generated-id\r\n$15\r\n1638006862416-3\r\n"
            "$11\r\nfirst-entry\r\n*2\r\n$3\r\n5-0\r\n*0\r\n$10\r\nlast-entry\r\n$-1\r\n"),
        STR("db0"), STR("s")));
    assert_line(&metrics,
                "redis_stream_last_generated_id{db=\"db0\",stream=\"s\"} 1.638006862416e+12");
    assert_line(&metrics, "redis_stream_first_entry_id{db=\"db0\",stream=\"s\"} 5");
    assert_line(&metrics, "redis_stream_last_entry_id{db=\"db0\",stream=\"s\"} 0");
    assert_false(
        stream_extract(&metrics, reply_of(reader, "-ERR no such key\r\n"), STR("db0"), STR("s")));
    assert_true(stream_group_extract(
        &metrics, reply_of(reader, "*4\r\n$4\r\nname\r\n$1\r\ng\r\n$7\r\npending\r\n:3\r\n"),
        STR("db0"), STR("s"), &name));
    assert_text(name, STR("g"));
    assert_line(&metrics,
                "redis_stream_group_messages_pending{db=\"db0\",group=\"g\",stream=\"s\"} 3");
    stream_consumers_extract(
        &metrics,
        reply_of(reader, "*2\r\n*4\r\n$4\r\nname\r\n$1\r\nc\r\n$4\r\nidle\r\n:1500\r\n:1\r\n"),
        STR("db0"), STR("s"), STR("g"));
    assert_line(&metrics, "redis_stream_group_consumer_idle_seconds{consumer=\"c\",db=\"db0\","
                          "group=\"g\",stream=\"s\"} 1.5");
}

static void test_script_extract__wants_numbers(void **state)
{
    (void)state;
    size_t count;
    assert_true(script_extract(&metrics, reply_of(reader, "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
                               STR("f"), &count, &err));
    assert_int_equal(count, 1);
    assert_line(&metrics, "redis_script_values{filename=\"f\",key=\"a\"} 1.5");
    assert_true(script_extract(&metrics, reply_of(reader, "*0\r\n"), STR("f"), &count, &err) &&
                count == 0);
    assert_true(script_extract(&metrics, reply_of(reader, "$-1\r\n"), STR("f"), &count, &err) &&
                count == 0);
    assert_false(script_extract(&metrics, reply_of(reader, "*2\r\n$1\r\na\r\n$1\r\nx\r\n"),
                                STR("f"), &count, &err));
    assert_false(
        script_extract(&metrics, reply_of(reader, "-ERR bad\r\n"), STR("f"), &count, &err));
    assert_string_equal(err.text, "ERR bad");
}

/* Those that are down, by anybody's or by the sentinel's own opinion, do not count as ok. */
static void test_sentinel_extract__counts_the_healthy(void **state)
{
    (void)state;
    struct str name, address;
    assert_true(
        sentinel_master_extract(&metrics,
                                reply_of(reader, "*8\r\n$4\r\nname\r\n$1\r\nm\r\n$2\r\nip\r\n$"
                                                 "7\r\n1.2.3.4\r\n$4\r\nport\r\n$4\r\n6379\r\n"
                                                 "$6\r\nquorum\r\n$1\r\n2\r\n"),
                                &name, &address, &metrics.arena));
    assert_text(address, STR("1.2.3.4:6379"));
    sentinel_peers_extract(
        &metrics,
        reply_of(reader, "*2\r\n*2\r\n$5\r\nflags\r\n$8\r\nsentinel\r\n*2\r\n$5\r\nflags\r\n"
                         "$15\r\ns_down,sentinel\r\n"),
        name, address, false);
    sentinel_slaves_extract(&metrics,
                            reply_of(reader, "*1\r\n*2\r\n$5\r\nflags\r\n$12\r\nslave,o_down\r\n"),
                            name, address);
    assert_line(
        &metrics,
        "redis_sentinel_master_ok_sentinels{master_address=\"1.2.3.4:6379\",master_name=\"m\"} 2");
    assert_line(
        &metrics,
        "redis_sentinel_master_ok_slaves{master_address=\"1.2.3.4:6379\",master_name=\"m\"} 0");
    assert_line(&metrics, "redis_sentinel_master_setting_ckquorum{master_address=\"1.2.3.4:6379\","
                          "master_name=\"m\"} 2");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_config_extract__redacts_and_counts_databases),
        TEST(test_config_extract__refuses_what_is_no_map),
        TEST(test_slowlog_extract__takes_the_newest),
        TEST(test_latency_extract__reads_spikes_and_histograms),
        TEST(test_clients_extract__reads_all_versions),
        TEST(test_stream_extract__reads_ids_as_times),
        TEST(test_script_extract__wants_numbers),
        TEST(test_sentinel_extract__counts_the_healthy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
