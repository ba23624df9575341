/* INFO of Redis 3 to 7, as these servers write it, and what redis_exporter makes of it. */
#include "info.h"
#include "redis_test.h"

static const struct info_options OPTIONS = {
    .db_count = 2, .empty_databases = true, .now_s = 1700000000};

static void extract(struct metrics *metrics, const char *info)
{
    metrics_init(metrics, STR("redis"), 0);
    info_extract(metrics, str_of(info), &OPTIONS);
}

static const char REDIS_3[] =
    "# "
    "Server\r\nredis_version:3.0.6\r\nredis_git_sha1:00000000\r\nredis_build_id:"
    "28b6715d3583bf8e\r\n"
    "redis_mode:standalone\r\nos:Linux 4.4.0 "
    "x86_64\r\nprocess_id:12\r\nrun_id:abc\r\ntcp_port:6379\r\n"
    "uptime_in_seconds:100\r\nhz:10\r\n\r\n"
    "# "
    "Clients\r\nconnected_clients:1\r\nclient_longest_output_list:0\r\nclient_biggest_input_buf:"
    "7\r\n\r\n"
    "# Memory\r\nused_memory:508984\r\nused_memory_human:497.05K\r\nused_memory_lua:36864\r\n"
    "mem_fragmentation_ratio:4.83\r\nmem_allocator:jemalloc-3.6.0\r\n\r\n"
    "# Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:-1\r\n"
    "aof_last_write_status:err\r\n\r\n"
    "# Stats\r\ntotal_connections_received:1\r\nlatest_fork_usec:2500000\r\nsync_full:0\r\n\r\n"
    "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"
    "slave0:ip=10.0.0.1,port=6379,state=online,offset=15,lag=1\r\n"
    "slave1:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0\r\nmaster_repl_offset:29\r\n\r\n"
    "# CPU\r\nused_cpu_sys:0.02\r\n\r\n"
    "# Commandstats\r\ncmdstat_get:calls=21,usec=175,usec_per_call=8.33\r\n"
    "cmdstat_bad:calls=x,usec=175,usec_per_call=8.33\r\n\r\n"
    "# Cluster\r\ncluster_enabled:0\r\n\r\n"
    "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=1500\r\n";

/* The oldest shape: two clients' fields that were renamed later, no failed calls, a replica without lag. */
static void test_info_extract__reads_redis_3(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics, REDIS_3);
    assert_lines(&metrics, "redis_aof_last_write_status 0\n"
                           "redis_client_biggest_input_buf 7\n"
                           "redis_client_longest_output_list 0\n"
                           "redis_cluster_enabled 0\n"
                           "redis_commands_duration_seconds_total{cmd=\"get\"} 0.000175\n"
                           "redis_commands_total{cmd=\"get\"} 21\n"
                           "redis_connected_clients 1\n"
                           "redis_connected_slave_lag_seconds{slave_ip=\"10.0.0.1\",slave_port="
                           "\"6379\",slave_state=\"online\"} 1\n"
                           "redis_connected_slave_offset_bytes{slave_ip=\"10.0.0.1\",slave_port="
                           "\"6379\",slave_state=\"online\"} 15\n"
                           "redis_connected_slave_offset_bytes{slave_ip=\"10.0.0.2\",slave_port="
                           "\"6379\",slave_state=\"wait_bgsave\"} 0\n"
                           "redis_connected_slaves 2\n"
                           "redis_connections_received_total 1\n"
                           "redis_cpu_sys_seconds_total 0.02\n"
                           "redis_db_avg_ttl_seconds{db=\"db0\"} 1.5\n"
                           "redis_db_keys{db=\"db0\"} 3\n"
                           "redis_db_keys{db=\"db1\"} 0\n"
                           "redis_db_keys_expiring{db=\"db0\"} 1\n"
                           "redis_db_keys_expiring{db=\"db1\"} 0\n"
                           "redis_hz 10\n"
                           "redis_instance_info{master_replid=\"\",maxmemory_policy=\"\",os="
                           "\"Linux 4.4.0 x86_64\",process_id=\"12\","
                           "redis_build_id=\"28b6715d3583bf8e\",redis_mode=\"standalone\",redis_"
                           "version=\"3.0.6\",role=\"master\","
                           "run_id=\"abc\",tcp_port=\"6379\"} 1\n"
                           "redis_latest_fork_seconds 2.5\n"
                           "redis_loading_dump_file 0\n"
                           "redis_master_repl_offset 29\n"
                           "redis_mem_fragmentation_ratio 4.83\n"
                           "redis_memory_used_bytes 508984\n"
                           "redis_memory_used_lua_bytes 36864\n"
                           "redis_process_id 12\n"
                           "redis_rdb_last_bgsave_duration_sec -1\n"
                           "redis_rdb_last_bgsave_status 1\n"
                           "redis_replica_resyncs_full 0\n"
                           "redis_start_time_seconds 1.6999999e+09\n"
                           "redis_uptime_in_seconds 100\n");
    metrics_deinit(&metrics);
}

/* A replica of Redis 4: the master's address comes before the fields that it labels. */
static void test_info_extract__reads_a_replica_of_redis_4(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics,
            "# Server\r\nredis_version:4.0.14\r\n\r\n# "
            "Replication\r\nrole:slave\r\nmaster_host:10.0.0.9\r\n"
            "master_port:6380\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n"
            "master_sync_in_progress:1\r\nslave_repl_offset:77\r\nslave_priority:100\r\n"
            "slave_read_only:1\r\nmaster_replid:8c41\r\nsecond_repl_offset:-1\r\n");
    assert_line(&metrics, "redis_master_link_up{master_host=\"10.0.0.9\",master_port=\"6380\"} 0");
    assert_line(
        &metrics,
        "redis_master_last_io_seconds_ago{master_host=\"10.0.0.9\",master_port=\"6380\"} -1");
    assert_line(&metrics,
                "redis_master_sync_in_progress{master_host=\"10.0.0.9\",master_port=\"6380\"} 1");
    assert_line(&metrics,
                "redis_slave_repl_offset{master_host=\"10.0.0.9\",master_port=\"6380\"} 77");
    assert_line(
        &metrics,
        "redis_slave_info{master_host=\"10.0.0.9\",master_port=\"6380\",read_only=\"1\"} 1");
    assert_line(&metrics, "redis_slave_priority 100");
    assert_line(&metrics, "redis_second_repl_offset -1");
    metrics_deinit(&metrics);
}

/* Redis 5 renamed the clients' buffers; KeyDB has several masters. */
static void test_info_extract__reads_redis_5_and_keydb(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics,
            "# Clients\r\nclient_recent_max_input_buffer:2\r\nclient_recent_max_output_buffer:3\r\n"
            "# Replication\r\nrole:active-replica\r\nmaster_host:a\r\nmaster_port:1\r\n"
            "master_link_status:up\r\nmaster_1_host:b\r\nmaster_1_port:2\r\n"
            "master_1_link_status:down\r\nmaster_1_last_io_seconds_ago:4\r\n"
            "# KeyDB\r\nserver_threads:2\r\nlong_lock_waits:0\r\n"
            "# Keyspace\r\ndb1:keys=5,expires=0,avg_ttl=0,cached_keys=4\r\n");
    assert_line(&metrics, "redis_client_recent_max_input_buffer_bytes 2");
    assert_line(&metrics, "redis_master_link_up{master_host=\"a\",master_port=\"1\"} 1");
    assert_line(&metrics, "redis_master_link_up{master_host=\"b\",master_port=\"2\"} 0");
    assert_line(&metrics,
                "redis_master_last_io_seconds_ago{master_host=\"b\",master_port=\"2\"} 4");
    assert_line(&metrics, "redis_server_threads_total 2");
    assert_line(&metrics, "redis_db_keys_cached{db=\"db1\"} 4");
    assert_line(&metrics, "redis_db_keys{db=\"db0\"} 0");
    metrics_deinit(&metrics);
}

/* Redis 6.2 counts failed and rejected calls and errors. */
static void test_info_extract__reads_redis_6(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics,
            "# Stats\r\nexpired_time_cap_reached_count:1\r\nunexpected_error_replies:0\r\n"
            "# Commandstats\r\n"
            "cmdstat_georadius_ro:calls=2,usec=10,usec_per_call=5.00,rejected_calls=1,failed_calls="
            "3\r\n"
            "# Modules\r\n# Errorstats\r\nerrorstat_ERR:count=2\r\nerrorstat_NOAUTH:count=x\r\n"
            "# CPU\r\nused_cpu_sys_main_thread:0.5\r\n");
    assert_line(&metrics, "redis_commands_rejected_calls_total{cmd=\"georadius_ro\"} 1");
    assert_line(&metrics, "redis_commands_failed_calls_total{cmd=\"georadius_ro\"} 3");
    assert_line(&metrics, "redis_errors_total{err=\"ERR\"} 2");
    assert_line(&metrics, "redis_expired_time_cap_reached_total 1");
    assert_line(&metrics, "redis_cpu_sys_main_thread_seconds_total 0.5");
    metrics_deinit(&metrics);
}

/* Redis 7: subcommands, percentiles; Latencystats without its command in Commandstats yields nothing. */
static void test_info_extract__reads_redis_7(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics, "# Server\r\nredis_version:7.0.15\r\nconfigured_hz:10\r\n"
                      "# Clients\r\nmaxclients:10000\r\n"
                      "# Memory\r\nmaxmemory_policy:noeviction\r\ntotal_system_memory:8000\r\n"
                      "# Stats\r\nacl_access_denied_auth:3\r\n"
                      "# Commandstats\r\n"
                      "cmdstat_config|get:calls=4,usec=100,usec_per_call=25.00,rejected_calls=0,"
                      "failed_calls=0\r\n"
                      "# Latencystats\r\n"
                      "latency_percentiles_usec_config|get:p50=8.031,p99=27.007,p99.9=27.007\r\n"
                      "latency_percentiles_usec_ping:p50=1\r\n");
    assert_line(&metrics,
                "redis_latency_percentiles_usec{cmd=\"config|get\",quantile=\"50\"} 8.031");
    assert_line(&metrics,
                "redis_latency_percentiles_usec{cmd=\"config|get\",quantile=\"99.9\"} 27.007");
    assert_line(&metrics, "redis_latency_percentiles_usec_sum{cmd=\"config|get\"} 100");
    assert_line(&metrics, "redis_latency_percentiles_usec_count{cmd=\"config|get\"} 4");
    assert_line(&metrics, "redis_max_clients 10000");
    assert_line(&metrics, "redis_configured_hz 10");
    assert_line(&metrics, "redis_acl_access_denied_auth_total 3");
    assert_no_name(&metrics, "redis_total_system_memory_bytes");
    metrics_deinit(&metrics);
}

/* Valkey and Redis 8: new labels, sections and keyspace fields in any order. */
static void test_info_extract__reads_newer_servers(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics,
            "# Server\r\nredis_version:7.2.4\r\nserver_mode:cluster\r\nvalkey_version:9.1.0\r\n"
            "valkey_release_stage:ga\r\navailability_zone:\r\n"
            "# TLS\r\ntls_server_cert_serial:0A\r\n"
            "# Scripting Engines\r\nengines_count:1\r\n"
            "engine_0:name=LUA,module=built-in,abi_version=4,used_memory=10,memory_overhead=2\r\n"
            "# Cluster Info\r\ncluster_state:ok\r\n"
            "# CPU\r\nused_active_time_io_thread_1:2.5\r\n"
            "# "
            "Commandstats\r\ncmdstat_get:calls=1,usec=2,usec_per_call=2,rejected_calls=0,failed_"
            "calls=0,"
            "slowlog_count=3,slowlog_time_ms_sum=1500,slowlog_time_ms_max=1000\r\n"
            "# Keyspace\r\ndb0:subexpiry=7,avg_ttl=2500,expires=5,keys=17\r\n");
    assert_line(
        &metrics,
        "redis_instance_info{master_replid=\"\",maxmemory_policy=\"\",os=\"\",process_id=\"\","
        "redis_build_id=\"\",redis_mode=\"cluster\",redis_version=\"7.2.4\",role=\"\",run_id=\"\","
        "tcp_port=\"\",valkey_release_stage=\"ga\",valkey_version=\"9.1.0\"} 1");
    assert_line(&metrics, "redis_tls_certificate_info{certificate=\"server\",serial=\"0A\"} 1");
    assert_line(&metrics, "redis_scripting_engine_memory_used_bytes{abi_version=\"4\",module="
                          "\"built-in\",name=\"LUA\"} 10");
    assert_line(&metrics, "redis_active_time_io_thread_seconds_total{thread=\"1\"} 2.5");
    assert_line(&metrics, "redis_commands_slowlog_duration_seconds_total{cmd=\"get\"} 1.5");
    assert_line(&metrics, "redis_db_keys_with_expiring_items{db=\"db0\"} 7");
    assert_line(&metrics, "redis_db_keys{db=\"db0\"} 17");
    assert_no_name(&metrics, "redis_cluster_state");
    metrics_deinit(&metrics);
}

/* The master's line of a Sentinel, and its plain figures. */
static void test_info_extract__reads_a_sentinel(void **state)
{
    (void)state;
    struct metrics metrics;
    extract(&metrics,
            "# Sentinel\r\nsentinel_masters:2\r\nsentinel_tilt:0\r\n"
            "master0:name=user03,status=sdown,address=192.169.2.52:6381,slaves=1,sentinels=5\r\n"
            "master1:name=user02,status=ok,address=192.169.2.54:6380,slaves=x,sentinels=5\r\n");
    assert_line(&metrics, "redis_sentinel_masters 2");
    assert_line(
        &metrics,
        "redis_sentinel_master_status{master_address=\"192.169.2.52:6381\",master_name=\"user03\","
        "master_status=\"sdown\"} 0");
    assert_line(&metrics, "redis_sentinel_master_sentinels{master_address=\"192.169.2.52:6381\","
                          "master_name=\"user03\"} 5");
    metrics_deinit(&metrics);
}

/* Lines that are half there must not be half exported. */
static void test_info_extract__leaves_broken_lines_out(void **state)
{
    (void)state;
    struct metrics metrics;
    metrics_init(&metrics, STR("redis"), 0);
    struct info_options options = {.db_count = 0, .now_s = 5};
    info_extract(
        &metrics,
        STR("# Keyspace\ndb0:keys=1\ndb1:keys=a,expires=1\ndbx\n:\n# "
            "Replication\nslave0:ip=1,port\n"
            "slave1:ip=1,port=2,state=online,offset=x\n# "
            "Commandstats\ncmdstat_get:calls=1\ncmdstat_\n"
            "# Latencystats\nlatency_percentiles_usec_get:p50=1\n# Server\nuptime_in_seconds:long\n"
            "used_memory:12x\nused_memory_rss:0x10\n"),
        &options);
    assert_int_equal(metrics.items.count, 1); /* instance_info, which is always there. */
    metrics_deinit(&metrics);
}

/* CLUSTER INFO: numbers and the state's "ok". */
static void test_info_extract_cluster__reads_state_and_slots(void **state)
{
    (void)state;
    struct metrics metrics;
    metrics_init(&metrics, STR("redis"), 0);
    info_extract_cluster(&metrics,
                         STR("cluster_state:fail\r\ncluster_slots_assigned:16384\r\n"
                             "cluster_stats_messages_sent:12\r\ntotal_cluster_links:3\r\n"));
    assert_lines(&metrics, "redis_cluster_messages_sent_total 12\n"
                           "redis_cluster_slots_assigned 16384\n"
                           "redis_cluster_state 0\n");
    metrics_deinit(&metrics);
}

/* INFO MODULES: seven parts or nothing. */
static void test_info_extract_modules__reads_modules(void **state)
{
    (void)state;
    struct metrics metrics;
    metrics_init(&metrics, STR("redis"), 0);
    info_extract_modules(
        &metrics, STR("# "
                      "Modules\r\nmodule:name=search,ver=21005,api=1,filters=0,usedby=[],using=[x],"
                      "options=[]\r\n"
                      "module:name=y,ver=1\r\nsearch_number_of_indexes:2\r\nsearch_other:5\r\n"));
    assert_lines(&metrics, "redis_module_info{api=\"1\",filters=\"0\",name=\"search\",usedby=\"[]"
                           "\",using=\"[x]\",ver=\"21005\"} 1\n"
                           "redis_search_number_of_indexes 2\n");
    metrics_deinit(&metrics);
}

/* "get" sums "getset" in and "config" its subcommands, names with other bytes count nowhere: as redis_exporter. */
static void test_info_usage_of__sums_by_prefix(void **state)
{
    (void)state;
    struct arena arena;
    struct info_usage usage;
    arena_init(&arena, 0);
    info_usage_read(&usage,
                    STR("cmdstat_get:calls=1,usec=5,usec_per_call=5\r\ncmdstat_getset:calls=1,usec="
                        "7,usec_per_call=7\r\n"
                        "cmdstat_get_x:calls=1,usec=100,usec_per_call=1\r\ncmdstat_config|get:"
                        "calls=1,usec=9,usec_per_call=9\r\n"),
                    &arena);
    assert_int_equal(info_usage_of(&usage, STR("get")), 12);
    assert_int_equal(info_usage_of(&usage, STR("config")), 9);
    assert_int_equal(info_usage_of(&usage, STR("set")), 0);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_extract__reads_redis_3),
        cmocka_unit_test(test_info_extract__reads_a_replica_of_redis_4),
        cmocka_unit_test(test_info_extract__reads_redis_5_and_keydb),
        cmocka_unit_test(test_info_extract__reads_redis_6),
        cmocka_unit_test(test_info_extract__reads_redis_7),
        cmocka_unit_test(test_info_extract__reads_newer_servers),
        cmocka_unit_test(test_info_extract__reads_a_sentinel),
        cmocka_unit_test(test_info_extract__leaves_broken_lines_out),
        cmocka_unit_test(test_info_extract_cluster__reads_state_and_slots),
        cmocka_unit_test(test_info_extract_modules__reads_modules),
        cmocka_unit_test(test_info_usage_of__sums_by_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
