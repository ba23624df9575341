/* Addresses, lists of keys and flags: what people write. */
#include <stdlib.h>

#include "collect.h"
#include "redis_test.h"

static struct err err;

/* All forms that redis_exporter's documentation names. */
static void test_redis_address_parse__knows_all_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool tls;
        const char *user, *password;
        uint64_t db;
    } CASES[] = {
        {"redis://localhost:6379", "localhost", 6379, false, "", "", 0},
        {"redis.example.com:6380", "redis.example.com", 6380, false, "", "", 0},
        {"redis.example.com", "redis.example.com", 6379, false, "", "", 0},
        {"rediss://h", "h", 6379, true, "", "", 0},
        {"valkeys://u:p%40%3A@[::1]:7000/3", "::1", 7000, true, "u", "p@:", 3},
        {"valkey://:pw@h:1/", "h", 1, false, "", "pw", 0},
        {"redis://u@h?db=4", "h", 6379, false, "u", "", 4},
        {"redis://u:a/b@h:5/2", "h", 5, false, "u", "a/b", 2},
        {"redis://:6379", "localhost", 6379, false, "", "", 0},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        struct address address;
        struct arena arena;
        arena_init(&arena, 0);
        if (!redis_address_parse(&address, str_of(CASES[i].text), &arena, &err))
            fail_msg("%s: %s", CASES[i].text, err.text);
        assert_text(address.host, str_of(CASES[i].host));
        assert_int_equal(address.port, CASES[i].port);
        assert_int_equal(address.tls, CASES[i].tls);
        assert_text(address.user, str_of(CASES[i].user));
        assert_text(address.password, str_of(CASES[i].password));
        assert_int_equal(address.db, CASES[i].db);
        arena_deinit(&arena);
    }
}

static void test_redis_address_parse__refuses_the_rest(void **state)
{
    (void)state;
    static const char *const CASES[] = {"http://h",        "redis://h:x",  "redis://h:0",
                                        "redis://h:65536", "redis://[::1", "redis://[::1]x",
                                        "redis://%zz:p@h", "redis://h/x",  "unix://"};
    struct address address;
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        if (redis_address_parse(&address, str_of(CASES[i]), &arena, &err))
            fail_msg("taken: %s", CASES[i]);
        assert_int_equal(err.code, ERR_BAD_DATA);
    }
    assert_true(redis_address_parse(&address, STR("unix:///run/redis.sock"), &arena, &err));
    assert_text(address.unix_path, STR("/run/redis.sock"));
    assert_true(redis_address_parse(&address, STR("valkey://x:1/2"), &arena, &err));
    assert_text(redis_address_key(&address, STR("u"), &arena), STR("redis://u@x:1"));
    arena_deinit(&arena);
}

static void test_key_refs_parse__reads_databases_and_escapes(void **state)
{
    (void)state;
    struct arena arena;
    key_ref_list refs = {0};
    arena_init(&arena, 0);
    assert_true(key_refs_parse(&refs, STR("a,db3=b*, 7 = c+d%2C ,,db=x,=y"), &arena, &err));
    assert_int_equal(refs.count, 3);
    assert_text(refs.items[0].db, STR("0"));
    assert_text(refs.items[1].key, STR("b*"));
    assert_true(refs.items[1].is_glob && !refs.items[0].is_glob);
    assert_int_equal(refs.items[2].db_number, 7);
    assert_text(refs.items[2].key, STR("c d,"));
    VEC_CLEAR(&refs);
    assert_false(key_refs_parse(&refs, STR("a=b=c"), &arena, &err));
    assert_false(key_refs_parse(&refs, STR("dbx=c"), &arena, &err));
    assert_false(key_refs_parse(&refs, STR("a%zz"), &arena, &err));
    assert_false(key_refs_parse(&refs, STR("db99999999999=c"), &arena, &err));
    VEC_FREE(&refs);
    arena_deinit(&arena);
}

static bool parse(struct flags *flags, int argc, const char **argv)
{
    return flags_parse(flags, argc, (char **)argv, &err);
}

/* A flag wins over the environment, which wins over the default. */
static void test_flags_parse__takes_go_flags_and_environment(void **state)
{
    (void)state;
    struct flags flags;
    const char *argv[] = {"redis-exporter",   "-redis.addr", "h:1",
                          "--check-keys=a=b", "-debug",      "-set-client-name=F"};
    setenv("REDIS_USER", "someone", 1);
    setenv("REDIS_ADDR", "other", 1);
    setenv("REDIS_EXPORTER_IS_CLUSTER", "1", 1);
    setenv("REDIS_EXPORTER_PING_ON_CONNECT", "perhaps", 1);
    if (!parse(&flags, COUNT_OF(argv), argv))
        fail_msg("%s", err.text);
    assert_text(flags.redis_addr, STR("h:1"));
    assert_text(flags.redis_user, STR("someone"));
    assert_text(flags.check_keys, STR("a=b"));
    assert_true(flags.debug && flags.is_cluster && !flags.set_client_name &&
                !flags.ping_on_connect);
    assert_true(flags.empty_databases);
    assert_int_equal(flags.timeout_ms, 15000);
    assert_int_equal(flags.check_keys_batch_size, 1000);
    unsetenv("REDIS_USER");
    unsetenv("REDIS_ADDR");
    unsetenv("REDIS_EXPORTER_IS_CLUSTER");
    unsetenv("REDIS_EXPORTER_PING_ON_CONNECT");
    assert_false(parse(&flags, 2, (const char *[]){"x", "-nosuch"}));
    assert_false(parse(&flags, 2, (const char *[]){"x", "-redis.addr"}));
    assert_false(parse(&flags, 2, (const char *[]){"x", "-check-keys-batch-size=many"}));
    assert_false(parse(&flags, 2, (const char *[]){"x", "word"}));
}

static void test_flag_duration_parse__reads_go_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } CASES[] = {{"15s", 15000}, {"1m30s", 90000}, {"1.5h", 5400000}, {"300ms", 300},
                 {"", -1},       {"15", -1},       {"s", -1},         {"1x", -1},
                 {"0s", -1},     {"-1s", -1},      {"99999h", -1},    {"1.2.3s", -1}};
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        int64_t ms = -1;
        bool good = flag_duration_parse(str_of(CASES[i].text), &ms);
        if (good != (CASES[i].ms >= 0) || (good && ms != CASES[i].ms))
            fail_msg("%s: %d %lld", CASES[i].text, good, (long long)ms);
    }
}

/* The shapes of CLUSTER NODES from Redis 3 to 7. */
static void test_node_line_parse__reads_all_versions(void **state)
{
    (void)state;
    struct arena arena;
    struct node_line line;
    arena_init(&arena, 0);
    assert_true(node_line_parse(STR("id 127.0.0.1:30001 master - 0 0 1 connected"), &arena, &line));
    assert_text(line.address, STR("127.0.0.1:30001"));
    assert_true(node_line_parse(STR("id 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5"),
                                &arena, &line));
    assert_text(line.address, STR("127.0.0.1:30001"));
    assert_true(line.is_master && line.is_myself && line.is_usable);
    assert_true(node_line_parse(STR("id ::1:6379@16379,h.example slave,fail x 0 0 1 connected"),
                                &arena, &line));
    assert_text(line.address, STR("[::1]:6379"));
    assert_text(line.hostname, STR("h.example:6379"));
    assert_true(!line.is_master && !line.is_usable);
    assert_false(node_line_parse(STR("id :0@0 master,noaddr - 0 0 1 connected"), &arena, &line));
    assert_false(node_line_parse(STR(""), &arena, &line));
    assert_false(node_line_parse(STR("x y"), &arena, &line));
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_address_parse__knows_all_forms),
        cmocka_unit_test(test_redis_address_parse__refuses_the_rest),
        cmocka_unit_test(test_key_refs_parse__reads_databases_and_escapes),
        cmocka_unit_test(test_flags_parse__takes_go_flags_and_environment),
        cmocka_unit_test(test_flag_duration_parse__reads_go_durations),
        cmocka_unit_test(test_node_line_parse__reads_all_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
