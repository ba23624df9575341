/* Unit tests of base/json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/json.h"

static struct json *parse(const char *text)
{
    struct json *root;
    struct err err = {0};
    if (!json_parse(&root, str_of(text), &err))
        fail_msg("%s", err.text);
    return root;
}

static void assert_refused(struct str text, const char *place)
{
    struct json *root;
    struct err err = {0};
    assert_false(json_parse(&root, text, &err));
    assert_null(root);
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_memory_equal(err.text, place, strlen(place));
}

static void test_json_parse__reads_every_type(void **state)
{
    (void)state;
    struct json *root = parse("{\"a\":[1,-2.5,1e3],\"b\":\"\\u00e9\\u0000x\",\"c\":true,\"d\":null,"
                              "\"e\":{},\"f\":99999999999999999999}");

    const struct json *a = json_get(root, "a");
    assert_int_equal(json_type(a), JSON_ARRAY);
    assert_int_equal(json_count(a), 3);
    assert_true(json_number(json_at(a, 1)) == -2.5);
    assert_true(json_number(json_at(a, 2)) == 1000);
    assert_null(json_at(a, 3));
    assert_true(str_eq(json_str(json_get(root, "b")), STR("\xc3\xa9\0x")));
    assert_true(json_bool(json_get(root, "c")));
    assert_int_equal(json_type(json_get(root, "d")), JSON_NULL);
    assert_non_null(json_get(root, "d"));
    assert_int_equal(json_count(json_get(root, "e")), 0);
    assert_true(json_number(json_get(root, "f")) == 1e20);
    assert_null(json_get(root, "g"));
    json_free(root);
    json_free(NULL);
}

/* Wrong types from outside must read as nothing, not crash. */
static void test_json_get__yields_nothing_from_wrong_types(void **state)
{
    (void)state;
    struct json *root = parse("\"text\"");
    struct str key;

    assert_null(json_get(root, "a"));
    assert_null(json_at(root, 0));
    assert_null(json_entry(root, 0, &key));
    assert_int_equal(json_count(root), 0);
    assert_true(json_number(root) == 0);
    assert_false(json_bool(root));
    assert_int_equal(json_type(NULL), JSON_NULL);
    assert_int_equal(json_str(NULL).len, 0);
    assert_null(json_get(NULL, "a"));
    json_free(root);
}

static void test_json_entry__walks_in_the_texts_order(void **state)
{
    (void)state;
    struct json *root = parse("{\"z\":1,\"a\":2,\"m\":3}");
    const char *keys[] = {"z", "a", "m"};
    struct str key;
    size_t index = 0;

    for (const struct json *item; (item = json_entry(root, index, &key)) != NULL; index++) {
        assert_true(str_eq(key, str_of(keys[index])));
        assert_true(json_number(item) == (double)(index + 1));
    }
    assert_int_equal(index, 3);
    json_free(root);
}

static void test_json_parse__refuses_with_line_and_column(void **state)
{
    (void)state;
    assert_refused(STR("{\"a\":1,\n\"a\":2}"), "line 2, column ");
    assert_refused(STR("{\"a\":\n x}"), "line 2, column ");
    assert_refused(STR("[1,]"), "line 1, column ");
    assert_refused(STR(""), "line 1, column ");
    assert_refused(STR("[1] 2"), "line 1, column ");
    assert_refused(STR("\"\xff\""), "line 1, column ");
    assert_refused(STR("{\"a\\u0000\":1}"), "line 1, column ");
    assert_refused(STR("1e999"), "line 1, column ");
}

static void test_json_parse__bounds_depth(void **state)
{
    (void)state;
    struct buf text;

    buf_init(&text, 1 << 20);
    for (int i = 0; i < 64; i++)
        buf_add_char(&text, '[');
    for (int i = 0; i < 64; i++)
        buf_add_char(&text, ']');
    buf_add_char(&text, '\0');
    json_free(parse(text.ptr));
    buf_clear(&text);
    BUF_ADD(&text, "[\"[[[[\\\"{{{\",\n");
    for (int i = 0; i < 500000; i++)
        buf_add_char(&text, '[');
    assert_refused(buf_str(&text), "line 2, column 64: nested deeper than 64");
    buf_deinit(&text);
}

/* http_sd pages hold tens of thousands of targets: an index must not walk. */
static void test_json_at__is_direct_on_large_arrays(void **state)
{
    (void)state;
    struct buf text;
    size_t count = 200000;

    buf_init(&text, 1 << 24);
    for (size_t i = 0; i < count; i++)
        buf_addf(&text, "%c%zu", i ? ',' : '[', i);
    BUF_ADD(&text, "]\0");
    struct json *root = parse(text.ptr);
    assert_int_equal(json_count(root), count);
    for (size_t i = 0; i < count; i++)
        assert_true(json_number(json_at(root, i)) == (double)i);
    json_free(root);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_parse__reads_every_type),
        cmocka_unit_test(test_json_get__yields_nothing_from_wrong_types),
        cmocka_unit_test(test_json_entry__walks_in_the_texts_order),
        cmocka_unit_test(test_json_parse__refuses_with_line_and_column),
        cmocka_unit_test(test_json_parse__bounds_depth),
        cmocka_unit_test(test_json_at__is_direct_on_large_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
