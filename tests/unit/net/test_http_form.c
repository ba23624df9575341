/* http_form: parameters as Go's ParseForm sees them. */
#include "http_form.h"
#include "net_test.h"

struct form_case {
    struct arena arena;
    struct http_header header;
    struct http_request request;
};

static void form_case_init(struct form_case *form, const char *method, const char *body,
                           const char *query)
{
    arena_init(&form->arena, 0);
    form->header = (struct http_header){STR("content-TYPE"),
                                        STR("application/x-www-form-urlencoded; charset=utf-8")};
    form->request = (struct http_request){
        .method_text = str_of(method),
        .query = str_of(query),
        .headers = &form->header,
        .header_count = 1,
        .body = str_of(body),
        .arena = &form->arena,
    };
}

static void assert_param(const struct http_params *params, size_t index, const char *name,
                         const char *value)
{
    assert_true(index < params->count);
    assert_true(str_eq(params->items[index].name, str_of(name)));
    assert_true(str_eq(params->items[index].value, str_of(value)));
}

/* Prometheus reads "query" from either place; the body's value wins because it is first. */
static void test_http_request_params__puts_the_body_before_the_query(void **state)
{
    (void)state;
    struct form_case form;
    struct http_params params;
    struct err err = {0};
    form_case_init(&form, "POST", "query=a%2Bb+c&match[]=1&match[]=2", "query=later&x&&=e");
    assert_true(http_request_params(&form.request, &params, &err));
    assert_int_equal(params.count, 6);
    assert_param(&params, 0, "query", "a+b c");
    assert_param(&params, 1, "match[]", "1");
    assert_param(&params, 2, "match[]", "2");
    assert_param(&params, 3, "query", "later");
    assert_param(&params, 4, "x", "");
    assert_param(&params, 5, "", "e");
    assert_true(str_eq(http_params_get(&params, "query"), STR("a+b c")));
    assert_true(http_params_has(&params, "x"));
    assert_false(http_params_has(&params, "y"));
    assert_int_equal(http_params_get(&params, "y").len, 0);
    arena_deinit(&form.arena);
}

/* A body counts only when it says that it is a form, and never with GET. */
static void test_http_request_params__ignores_other_bodies(void **state)
{
    (void)state;
    struct form_case form;
    struct http_params params;
    struct err err = {0};
    form_case_init(&form, "GET", "a=1", "b=2");
    assert_true(http_request_params(&form.request, &params, &err));
    assert_int_equal(params.count, 1);
    assert_param(&params, 0, "b", "2");
    form.request.method_text = STR("POST");
    form.header.value = STR("application/json");
    assert_true(http_request_params(&form.request, &params, &err));
    assert_int_equal(params.count, 1);
    arena_deinit(&form.arena);
}

/* The error texts end up in API answers, in Go's words. */
#define PART "--x y\r\nContent-Disposition: form-data; name="

/* curl -F query=up; what is no parameter or has no end is left out, as Go does. */
static void test_http_request_params__reads_forms_in_parts(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t count; /* Beside the query's own. */
    } rows[] = {
        {PART "\"query\"\r\n\r\nup\r\n1\r\n" PART "ti\\me\r\n\r\n\r\n--x y--\r\n", 2},
        {"before\r\n" PART "\"query\"\r\n\r\nup\r\n1\r\n--x y--", 1},
        {"--x y\ncontent-disposition: Form-Data;NAME=query\nA: b\n\nup\r\n1\n--x y--\n", 1},
        {PART "\"query\"; filename=\"f\"\r\n\r\nup\r\n--x y--\r\n", 0},
        {PART "\"query\"\r\n\r\nup\r\n", 0},
        {PART "\"query\"\r\n\r\nup\r\n--x y", 0},
        {PART "\"query\"", 0},
        {"--x y--", 0},
        {"--x y\r\n", 0},
        {"", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct form_case form;
        struct http_params params;
        struct err err = {0};
        form_case_init(&form, "POST", rows[i].body, "time=1");
        form.header.value = STR("Multipart/form-data; charset=u; boundary=\"x y\"");
        assert_true(http_request_params(&form.request, &params, &err));
        assert_int_equal(params.count, 1 + rows[i].count);
        assert_param(&params, 0, "time", "1");
        if (rows[i].count > 0)
            assert_param(&params, 1, "query", "up\r\n1");
        if (rows[i].count > 1)
            assert_param(&params, 2, "ti\\me", "");
        arena_deinit(&form.arena);
    }
}

static void test_http_request_params__refuses_what_go_refuses(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a=%zz", "invalid URL escape \"%zz\""},
        {"a=%4", "invalid URL escape \"%4\""},
        {"%", "invalid URL escape \"%\""},
        {"a=1;b=2", "invalid semicolon separator in query"},
        {"ok=1&%g1=", "invalid URL escape \"%g1\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct form_case form;
        struct http_params params;
        struct err err = {0};
        form_case_init(&form, "GET", "", rows[i][0]);
        assert_false(http_request_params(&form.request, &params, &err));
        assert_int_equal(err.code, ERR_BAD_DATA);
        assert_string_equal(err.text, rows[i][1]);
        arena_deinit(&form.arena);
    }
}

/* A small body may not become a huge table. */
static void test_http_request_params__limits_their_number(void **state)
{
    (void)state;
    static char many[40001];
    struct form_case form;
    struct http_params params;
    struct err err = {0};
    for (size_t i = 0; i < 40000; i++)
        many[i] = i % 2 == 0 ? 'a' : '&';
    form_case_init(&form, "POST", many, "");
    assert_false(http_request_params(&form.request, &params, &err));
    assert_string_equal(err.text, "number of URL query parameters exceeded limit");
    arena_deinit(&form.arena);
}

/* '+' is a space in queries only; NUL and high bytes pass. */
static void test_url_unescape__knows_paths_from_queries(void **state)
{
    (void)state;
    struct arena arena;
    struct str out;
    struct err err = {0};
    arena_init(&arena, 0);
    assert_true(url_unescape(&arena, STR("a+b%2fc%00%FF"), URL_PATH, &out, &err));
    assert_true(str_eq(out, STR("a+b/c\0\xff")));
    assert_true(url_unescape(&arena, STR("a+b"), URL_QUERY, &out, &err));
    assert_true(str_eq(out, STR("a b")));
    assert_false(url_unescape(&arena, STR("%\"1"), URL_PATH, &out, &err));
    assert_string_equal(err.text, "invalid URL escape \"%\\\"1\"");
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_request_params__puts_the_body_before_the_query),
        cmocka_unit_test(test_http_request_params__ignores_other_bodies),
        cmocka_unit_test(test_http_request_params__reads_forms_in_parts),
        cmocka_unit_test(test_http_request_params__refuses_what_go_refuses),
        cmocka_unit_test(test_http_request_params__limits_their_number),
        cmocka_unit_test(test_url_unescape__knows_paths_from_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
