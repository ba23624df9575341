/* dns against a server of the test's own: the types, the search list, servers that fail, lie and
 * keep silent, and queries that end early. */
#include "net/dns.h"

#include <stdlib.h>

#include "base/log.h"
#include "dns_message.h"
#include "dns_server.h"
#include "net_test.h"

struct net {
    uv_loop_t loop;
    struct dns_server server;
    struct dns *dns;
    char conf[256]; /* The resolv.conf. */
};

struct outcome {
    struct buf text; /* "host.:80 " for each record. */
    struct err err;
    unsigned done_count;
    struct dns *close_at_done;
};

static const struct dns_row rows[] = {
    {"_web._tcp.example", 33, "a.example", 80, WAY_RECORD},
    {"_web._tcp.example", 33, "b.example", 81, WAY_RECORD},
    {"_web._tcp.example", 1, "10.0.0.9", 0, WAY_RECORD},
    {"odd.example", 33, "with space\x01(x)", 1, WAY_RECORD},
    {"root.example", 33, "", 1, WAY_RECORD},
    {"a.example", 1, "10.0.0.1", 0, WAY_RECORD},
    {"a.example", 28, "2001:DB8:0::1", 0, WAY_RECORD},
    {"mapped.example", 28, "::ffff:10.0.0.1", 0, WAY_RECORD},
    {"mapped.example", 28, "::10.0.0.1", 0, WAY_RECORD},
    {"mapped.example", 28, "::1", 0, WAY_RECORD},
    {"alias.example", DNS_SERVER_CNAME, "a.example", 0, WAY_RECORD},
    {"alias.example", 1, "10.0.0.1", 0, WAY_RECORD},
    {"mail.example", 15, "mx.example", 0, WAY_RECORD},
    {"zone.example", 2, "ns1.example", 0, WAY_RECORD},
    {"host.corp.test", 1, "10.1.0.1", 0, WAY_RECORD},
    {"two.labels.corp.test", 1, "10.1.0.2", 0, WAY_RECORD},
    {"empty.example", 0, NULL, 0, WAY_EMPTY},
    {"servfail.example", 0, NULL, 0, WAY_SERVFAIL},
    {"shaky", 0, NULL, 0, WAY_SERVFAIL},
    {"good.lab.test", 1, "10.2.0.1", 0, WAY_RECORD},
    {"good.corp.test", 0, NULL, 0, WAY_SERVFAIL},
    {"silent.example", 0, NULL, 0, WAY_SILENT},
    {"wrong-id.example", 1, "10.0.0.66", 0, WAY_WRONG_ID},
    {"wrong-id-first.example", 0, NULL, 0, WAY_WRONG_ID_FIRST},
    {"wrong-id-first.example", 1, "10.0.0.2", 0, WAY_RECORD},
    {"other.example", 1, "10.0.0.66", 0, WAY_OTHER_QUESTION},
    {"long.example", 0, NULL, 0, WAY_TRUNCATED},
    {"long.example", 1, "10.0.0.3", 0, WAY_RECORD},
    {"cut.example", 0, NULL, 0, WAY_CUT},
    {"loop.example", 0, NULL, 0, WAY_LOOP},
    {"old.example", 0, NULL, 0, WAY_NO_EDNS},
    {0},
};

static void net_open(struct net *net, const char *conf)
{
    const char *base = getenv("TMPDIR");
    struct dns_options options = {.try_timeout_ms = 50};
    struct err err = {0};

    snprintf(net->conf, sizeof(net->conf), "%s/narthex-resolv-XXXXXX", base ? base : "/tmp");
    int fd = mkstemp(net->conf);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, conf, strlen(conf)), strlen(conf));
    close(fd);
    assert_int_equal(uv_loop_init(&net->loop), 0);
    dns_server_open(&net->server, &net->loop, rows);
    options.servers = str_of(net->server.address);
    options.resolv_conf = str_of(net->conf);
    if (!dns_open(&net->dns, &net->loop, &options, &err))
        fail_msg("%s", err.text);
}

static void net_close(struct net *net)
{
    dns_close(net->dns);
    dns_server_close(&net->server);
    uv_run(&net->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&net->loop), 0);
    unlink(net->conf);
}

static void on_done(void *ctx, const struct dns_answer *answer, const struct err *err)
{
    struct outcome *outcome = ctx;

    outcome->done_count++;
    outcome->err = *err;
    for (size_t i = 0; i < answer->count; i++) {
        buf_add_str(&outcome->text, answer->records[i].text);
        if (answer->records[i].type == DNS_SRV)
            buf_addf(&outcome->text, ":%u", answer->records[i].port);
        buf_add_char(&outcome->text, ' ');
    }
    dns_close(outcome->close_at_done);
}

static struct dns_query *ask(struct net *net, struct outcome *outcome, const char *name,
                             enum dns_type type, int64_t timeout_ms)
{
    struct dns *close_at_done = outcome->close_at_done;

    *outcome = (struct outcome){.close_at_done = close_at_done};
    buf_init(&outcome->text, 1 << 20);
    struct dns_query *query = dns_query(net->dns, str_of(name), type, timeout_ms, on_done, outcome);
    assert_int_equal(outcome->done_count, 0);
    return query;
}

static void wait_done(struct net *net, struct outcome *outcome)
{
    int64_t deadline_ms = deadline_from_now();

    while (outcome->done_count == 0) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("nothing more came");
        uv_run(&net->loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
    assert_int_equal(outcome->done_count, 1);
}

static void assert_answer(struct net *net, const char *name, enum dns_type type, const char *want)
{
    struct outcome outcome = {0};

    ask(net, &outcome, name, type, WAIT_MS);
    wait_done(net, &outcome);
    if (outcome.err.code != ERR_NONE)
        fail_msg("%s: %s", name, outcome.err.text);
    buf_add_char(&outcome.text, 0);
    assert_string_equal(outcome.text.ptr, want);
    buf_deinit(&outcome.text);
}

static void assert_refused(struct net *net, const char *name, enum err_code code, const char *want)
{
    struct outcome outcome = {0};

    ask(net, &outcome, name, DNS_A, 400);
    wait_done(net, &outcome);
    assert_int_equal(outcome.err.code, code);
    assert_string_equal(outcome.err.text, want);
    assert_int_equal(outcome.text.len, 0);
    buf_deinit(&outcome.text);
}

/* Each type of record, in the answer's order, with names and addresses as Go writes them. */
static void test_dns_query__reads_every_type(void **state)
{
    struct net net;

    (void)state;
    net_open(&net, "options ndots:1\n");
    assert_answer(&net, "_web._tcp.example", DNS_SRV, "a.example.:80 b.example.:81 ");
    assert_answer(&net, "odd.example", DNS_SRV, "with\\ space\\001\\(x\\).:1 ");
    assert_answer(&net, "root.example", DNS_SRV, ".:1 ");
    assert_answer(&net, "a.example", DNS_A, "10.0.0.1 ");
    assert_answer(&net, "a.example.", DNS_AAAA, "2001:db8::1 ");
    assert_answer(&net, "mapped.example", DNS_AAAA, "10.0.0.1 ::a00:1 ::1 ");
    assert_answer(&net, "alias.example", DNS_A, "10.0.0.1 ");
    assert_answer(&net, "mail.example", DNS_MX, "mx.example. ");
    assert_answer(&net, "zone.example", DNS_NS, "ns1.example. ");
    net_close(&net);
}

/* Known without such records, and unknown: both are an answer, and an empty one. */
static void test_dns_query__nothing_is_an_answer(void **state)
{
    struct net net;

    (void)state;
    net_open(&net, "");
    assert_answer(&net, "empty.example", DNS_A, "");
    assert_answer(&net, "a.example", DNS_MX, "");
    assert_answer(&net, "no.such.name", DNS_A, "");
    net_close(&net);
}

/* A short name is asked with the suffixes first, a longer one as it is first, a rooted one only as
 * it is. A later success makes up for an earlier failure, an NXDOMAIN does not. */
static void test_dns_query__follows_the_search_list(void **state)
{
    struct net net;

    (void)state;
    net_open(&net, "# of the host\ndomain none.test\nsearch\tlab.test corp.test\n"
                   "options rotate ndots:2\n");
    assert_answer(&net, "host", DNS_A, "10.1.0.1 ");
    assert_string_equal(net.server.last_name, "host.corp.test");
    assert_answer(&net, "two.labels", DNS_A, "10.1.0.2 ");
    assert_int_equal(net.server.udp_count, 2 + 2);
    assert_answer(&net, "a.b.c", DNS_A, "");
    assert_string_equal(net.server.last_name, "a.b.c.corp.test");
    assert_answer(&net, "host.", DNS_A, "");
    assert_string_equal(net.server.last_name, "host");
    assert_answer(&net, "good", DNS_A, "10.2.0.1 ");
    assert_refused(&net, "shaky", ERR_UNAVAILABLE,
                   "could not resolve \"shaky\": all servers responded with errors to at least one "
                   "search domain");
    net_close(&net);
}

/* Servers that fail, and answers that lie: an error, never records. */
static void test_dns_query__refuses_hostile_answers(void **state)
{
    static const char *const names[] = {"servfail.example.", "cut.example.", "loop.example.",
                                        "silent.example.", "a..b."};
    struct net net;

    (void)state;
    net_open(&net, "");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char want[256];
        snprintf(want, sizeof(want),
                 "could not resolve \"%s\": all servers responded with errors to at least one "
                 "search domain",
                 names[i]);
        assert_refused(&net, names[i], ERR_UNAVAILABLE, want);
    }
    assert_refused(&net, "wrong-id.example.", ERR_UNAVAILABLE,
                   "could not resolve \"wrong-id.example.\": all servers responded with errors to "
                   "at least one search domain");
    assert_refused(&net, "other.example.", ERR_UNAVAILABLE,
                   "could not resolve \"other.example.\": all servers responded with errors to at "
                   "least one search domain");
    assert_answer(&net, "old.example.", DNS_A, "");
    net_close(&net);
}

/* A forged answer before the right one does no harm; a truncated one is asked for again over TCP. */
static void test_dns_query__finds_the_right_answer(void **state)
{
    struct net net;

    (void)state;
    net_open(&net, "");
    assert_answer(&net, "wrong-id-first.example.", DNS_A, "10.0.0.2 ");
    assert_answer(&net, "long.example.", DNS_A, "10.0.0.3 ");
    assert_int_equal(net.server.tcp_count, 1);
    net_close(&net);
}

/* The deadline is for the whole query, and a server's silence does not outlast it. */
static void test_dns_query__ends_at_its_deadline(void **state)
{
    struct net net;
    struct outcome outcome = {0};

    (void)state;
    net_open(&net, "");
    ask(&net, &outcome, "silent.example", DNS_A, 20);
    wait_done(&net, &outcome);
    assert_int_equal(outcome.err.code, ERR_TIMEOUT);
    assert_string_equal(outcome.err.text, "could not resolve \"silent.example\": i/o timeout");
    buf_deinit(&outcome.text);
    net_close(&net);
}

/* Each done comes once: after a cancel (also a second one), and for all that a close ends. */
static void test_dns_query_cancel__is_told_once(void **state)
{
    struct net net;
    struct outcome a = {0}, b = {0}, c = {0};

    (void)state;
    net_open(&net, "");
    struct dns_query *query = ask(&net, &a, "a.example", DNS_A, WAIT_MS);
    dns_query_cancel(query);
    dns_query_cancel(query);
    assert_int_equal(a.done_count, 0);
    ask(&net, &b, "silent.example", DNS_A, WAIT_MS);
    wait_done(&net, &a);
    assert_int_equal(a.err.code, ERR_CANCELED);
    query = ask(&net, &c, "a.example", DNS_A, WAIT_MS);
    while (net.server.udp_count < 2)
        uv_run(&net.loop, UV_RUN_ONCE);
    dns_query_cancel(query);
    net_close(&net);
    assert_int_equal(b.done_count, 1);
    assert_int_equal(b.err.code, ERR_CANCELED);
    assert_int_equal(c.done_count, 1);
    assert_int_equal(c.err.code, ERR_CANCELED);
    assert_int_equal(a.done_count, 1);
    buf_deinit(&a.text);
    buf_deinit(&b.text);
    buf_deinit(&c.text);
}

/* An owner may be done with it all at the first answer. */
static void test_dns_close__from_done(void **state)
{
    struct net net;
    struct outcome a = {0}, b = {0};

    (void)state;
    net_open(&net, "");
    a.close_at_done = net.dns;
    ask(&net, &a, "a.example", DNS_A, WAIT_MS);
    ask(&net, &b, "silent.example", DNS_A, WAIT_MS);
    wait_done(&net, &a);
    assert_int_equal(a.err.code, ERR_NONE);
    net.dns = NULL;
    net_close(&net);
    assert_int_equal(b.done_count, 1);
    assert_int_equal(b.err.code, ERR_CANCELED);
    buf_deinit(&a.text);
    buf_deinit(&b.text);
}

/* Without a resolv.conf there is no search list to trust. */
static void test_dns_open__needs_its_files(void **state)
{
    struct dns_options options = {.resolv_conf = STR("/nonexistent/resolv.conf")};
    struct err err = {0};
    struct dns *dns;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_false(dns_open(&dns, &loop, &options, &err));
    assert_string_equal(err.text, "could not load resolv.conf: open /nonexistent/resolv.conf: No "
                                  "such file or directory");
    options = (struct dns_options){.servers = STR("no.address")};
    assert_false(dns_open(&dns, &loop, &options, &err));
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* Damage at every place of a good answer: records or an error, never a read past the end. */
static void test_dns_message_parse__survives_damage(void **state)
{
    static const struct dns_row row = {"a", 33, "host.example", 80, WAY_RECORD};
    static const struct dns_row other = {"a", 28, "2001:db8::1", 0, WAY_RECORD};
    struct dns_answer answer;
    struct arena arena;
    struct buf good;
    struct err err;

    (void)state;
    buf_init(&good, 4096);
    wire_begin(&good, STR("\0\1\0\0\0\0\0\0\0\0\0\0\1a\0\0\1\0\1"), 7, 0);
    wire_record(&good, &row, "a");
    wire_record(&good, &other, "a");
    good.ptr[7] = 2;
    arena_init(&arena, 0);
    assert_true(dns_message_parse(buf_str(&good), &arena, &answer, &err));
    assert_int_equal(answer.count, 2);
    for (size_t len = 0; len < good.len; len++) {
        char *copy = mem_dup(good.ptr, len);
        assert_false(dns_message_parse(str_from(copy, len), &arena, &answer, &err));
        mem_free(copy);
    }
    for (size_t at = 0; at < good.len * 256; at++) {
        char *copy = mem_dup(good.ptr, good.len);
        copy[at / 256] = (char)(at % 256);
        if (dns_message_parse(str_from(copy, good.len), &arena, &answer, &err))
            assert_true(answer.count <= 2);
        mem_free(copy);
    }
    arena_deinit(&arena);
    buf_deinit(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dns_query__reads_every_type),
        cmocka_unit_test(test_dns_query__nothing_is_an_answer),
        cmocka_unit_test(test_dns_query__follows_the_search_list),
        cmocka_unit_test(test_dns_query__refuses_hostile_answers),
        cmocka_unit_test(test_dns_query__finds_the_right_answer),
        cmocka_unit_test(test_dns_query__ends_at_its_deadline),
        cmocka_unit_test(test_dns_query_cancel__is_told_once),
        cmocka_unit_test(test_dns_close__from_done),
        cmocka_unit_test(test_dns_open__needs_its_files),
        cmocka_unit_test(test_dns_message_parse__survives_damage),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
