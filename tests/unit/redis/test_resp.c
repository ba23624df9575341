/* Replies: whole, in pieces, too large, and none. */
#include "redis_test.h"

static struct err err;

static bool feed(struct resp_reader *reader, struct str bytes, const struct resp **out)
{
    return resp_reader_feed(reader, bytes, &err) && resp_reader_next(reader, out, &err);
}

/* Every kind of reply, cut at every place, as the network may. */
static void test_resp_reader__takes_replies_in_pieces(void **state)
{
    (void)state;
    const struct str text =
        STR("*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n*1\r\n*0\r\n");
    for (size_t cut = 1; cut < text.len; cut++) {
        struct resp_reader *reader = resp_reader_new();
        const struct resp *reply;
        assert_true(feed(reader, str_first(text, cut), &reply));
        assert_null(reply);
        assert_true(feed(reader, str_after(text, cut), &reply));
        assert_non_null(reply);
        assert_int_equal(reply->count, 6);
        assert_int_equal(reply->items[0]->type, RESP_STATUS);
        assert_text(reply->items[1]->text, STR("ERR no"));
        assert_int_equal(reply->items[1]->type, RESP_ERROR);
        assert_int_equal(reply->items[2]->integer, -7);
        assert_text(reply->items[3]->text, STR("a\r\nbc"));
        assert_int_equal(reply->items[4]->type, RESP_NIL);
        assert_int_equal(reply->items[5]->items[0]->count, 0);
        resp_reader_free(reader);
    }
}

/* A pipeline's replies come one by one. */
static void test_resp_reader__keeps_order(void **state)
{
    (void)state;
    struct resp_reader *reader = resp_reader_new();
    const struct resp *reply;
    assert_true(resp_reader_feed(reader, STR(":1\r\n:2\r\n:"), &err));
    for (int i = 1; i <= 2; i++) {
        assert_true(resp_reader_next(reader, &reply, &err));
        assert_int_equal(reply->integer, i);
    }
    assert_true(resp_reader_next(reader, &reply, &err));
    assert_null(reply);
    assert_true(feed(reader, STR("3\r\n"), &reply));
    assert_int_equal(reply->integer, 3);
    resp_reader_free(reader);
}

static void assert_refused(struct str text, enum err_code code)
{
    struct resp_reader *reader = resp_reader_new();
    const struct resp *reply;
    if (feed(reader, text, &reply))
        fail_msg("taken: " STR_FMT, STR_ARG(str_first(text, 60)));
    assert_int_equal(err.code, code);
    assert_false(feed(reader, STR("+OK\r\n"), &reply)); /* Broken for good. */
    resp_reader_free(reader);
}

/* Not Redis at all, or Redis with claims that would cost all memory before their bytes come. */
static void test_resp_reader__refuses_nonsense_and_huge_claims(void **state)
{
    (void)state;
    assert_refused(STR("HTTP/1.1 400 Bad Request\r\n"), ERR_CORRUPT);
    assert_refused(STR("$x\r\n"), ERR_CORRUPT);
    assert_refused(STR("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"),
                   ERR_CORRUPT);
    assert_refused(STR("*2000000000\r\n"), ERR_LIMIT);
    assert_refused(STR("*1000000\r\n*1000000\r\n"), ERR_LIMIT);
}

/* What never ends must end for us: a line, a string, an array. */
static void test_resp_reader__ends_what_does_not_end(void **state)
{
    (void)state;
    static const char *const STARTS[] = {"+", "$2000000000\r\n", "*1000000\r\n", ":", "$"};
    char block[4096];
    for (size_t i = 0; i < COUNT_OF(STARTS); i++) {
        struct resp_reader *reader = resp_reader_new();
        const struct resp *reply;
        size_t fed = 0;
        bool is_array = STARTS[i][0] == '*';
        for (size_t b = 0; b < sizeof(block); b++)
            block[b] = is_array ? "$9\r\nabcdefghi\r\n"[b % 15] : '1';
        bool taken = feed(reader, str_of(STARTS[i]), &reply);
        while (taken && fed < 2 * RESP_BYTES_MAX) {
            taken = feed(reader, str_from(block, is_array ? 4095 : sizeof(block)), &reply);
            fed += sizeof(block);
        }
        if (taken)
            fail_msg("endless: %s", STARTS[i]);
        resp_reader_free(reader);
    }
}

/* What a server must not be able to do with a word of ours: inject another command. */
static void test_resp_write_command__is_binary_safe(void **state)
{
    (void)state;
    struct buf out;
    const struct str words[] = {STR("GET"), STR("a\r\nb"), STR("")};
    buf_init(&out, 1000);
    resp_write_command(&out, words, COUNT_OF(words));
    assert_text(buf_str(&out), STR("*3\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"));
    buf_deinit(&out);
}

/* Readers of replies live with any shape. */
static void test_resp_get__reads_flat_maps(void **state)
{
    (void)state;
    struct resp_reader *reader = resp_reader_new();
    const struct resp *reply =
        reply_of(reader, "*5\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n");
    int64_t value;
    assert_true(resp_i64(resp_get(reply, "a"), &value) && value == 1);
    assert_true(resp_i64(resp_get(reply, "b"), &value) && value == 2);
    assert_null(resp_get(reply, "c"));
    assert_null(resp_get(resp_at(reply, 0), "a"));
    assert_null(resp_at(reply, 9));
    assert_false(resp_i64(NULL, &value));
    resp_reader_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resp_reader__takes_replies_in_pieces),
        cmocka_unit_test(test_resp_reader__keeps_order),
        cmocka_unit_test(test_resp_reader__refuses_nonsense_and_huge_claims),
        cmocka_unit_test(test_resp_reader__ends_what_does_not_end),
        cmocka_unit_test(test_resp_write_command__is_binary_safe),
        cmocka_unit_test(test_resp_get__reads_flat_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
