/* lex: tokens with their kinds and places, and how errors name them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lex.h"

struct lexed {
    struct arena arena;
    struct token tokens[64];
    size_t count;
    bool failed;
    struct err err;
};

static void lex_all(struct lexed *lexed, struct str text)
{
    struct lexer lexer;
    struct token token;

    *lexed = (struct lexed){0};
    arena_init(&lexed->arena, 0);
    lexer_init(&lexer, text, &lexed->arena);
    do {
        if (!lexer_next(&lexer, &token, &lexed->err)) {
            lexed->failed = true;
            return;
        }
        lexed->tokens[lexed->count++] = token;
        assert_true(lexed->count < COUNT_OF(lexed->tokens));
    } while (token.kind != TOKEN_END);
}

static void assert_kinds(struct str text, const enum token_kind *kinds, size_t count)
{
    struct lexed lexed;

    lex_all(&lexed, text);
    assert_false(lexed.failed);
    assert_int_equal(lexed.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(lexed.tokens[i].kind, kinds[i]);
    arena_deinit(&lexed.arena);
}

#define ASSERT_KINDS(text, ...)                                                                    \
    do {                                                                                           \
        const enum token_kind kinds[] = {__VA_ARGS__};                                             \
        assert_kinds(STR(text), kinds, COUNT_OF(kinds));                                           \
    } while (0)

/* A word is a keyword in any case, but only outside braces, where it is a label's name. */
static void test_lexer_next__knows_keywords_outside_braces_only(void **state)
{
    (void)state;
    ASSERT_KINDS("sum BY Offset", TOKEN_SUM, TOKEN_BY, TOKEN_OFFSET, TOKEN_END);
    ASSERT_KINDS("{sum=\"a\"}", TOKEN_LEFT_BRACE, TOKEN_IDENTIFIER, TOKEN_EQUAL, TOKEN_STRING,
                 TOKEN_RIGHT_BRACE, TOKEN_END);
    ASSERT_KINDS("inf NaN infx", TOKEN_NUMBER, TOKEN_NUMBER, TOKEN_IDENTIFIER, TOKEN_END);
    ASSERT_KINDS("a:b :c d", TOKEN_METRIC_IDENTIFIER, TOKEN_METRIC_IDENTIFIER, TOKEN_IDENTIFIER,
                 TOKEN_END);
}

/* Metrics named fill existed before the modifier did. */
static void test_lexer_next__takes_fill_as_keyword_before_a_parenthesis(void **state)
{
    (void)state;
    ASSERT_KINDS("fill + fill_left", TOKEN_IDENTIFIER, TOKEN_ADD, TOKEN_IDENTIFIER, TOKEN_END);
    ASSERT_KINDS("fill \n (1)", TOKEN_FILL, TOKEN_LEFT_PAREN, TOKEN_NUMBER, TOKEN_RIGHT_PAREN,
                 TOKEN_END);
}

/* ':' separates range and step between brackets and is a letter elsewhere. */
static void test_lexer_next__reads_colons_by_place(void **state)
{
    (void)state;
    ASSERT_KINDS("a[5m:1m]", TOKEN_IDENTIFIER, TOKEN_LEFT_BRACKET, TOKEN_DURATION, TOKEN_COLON,
                 TOKEN_DURATION, TOKEN_RIGHT_BRACKET, TOKEN_END);
    ASSERT_KINDS("a[1 : max_of(1,2)] a:b", TOKEN_IDENTIFIER, TOKEN_LEFT_BRACKET, TOKEN_NUMBER,
                 TOKEN_COLON, TOKEN_MAX_OF, TOKEN_LEFT_PAREN, TOKEN_NUMBER, TOKEN_COMMA,
                 TOKEN_NUMBER, TOKEN_RIGHT_PAREN, TOKEN_RIGHT_BRACKET, TOKEN_METRIC_IDENTIFIER,
                 TOKEN_END);
}

/* Longest match: none of these may fall apart into two tokens. */
static void test_lexer_next__reads_two_character_operators(void **state)
{
    (void)state;
    ASSERT_KINDS("== != <= >= </ >/ < > =", TOKEN_EQLC, TOKEN_NEQ, TOKEN_LTE, TOKEN_GTE,
                 TOKEN_TRIM_UPPER, TOKEN_TRIM_LOWER, TOKEN_LSS, TOKEN_GTR, TOKEN_EQUAL, TOKEN_END);
    ASSERT_KINDS("{a=~\"b\",c!~\"d\",e!=\"f\"}", TOKEN_LEFT_BRACE, TOKEN_IDENTIFIER,
                 TOKEN_EQL_REGEX, TOKEN_STRING, TOKEN_COMMA, TOKEN_IDENTIFIER, TOKEN_NEQ_REGEX,
                 TOKEN_STRING, TOKEN_COMMA, TOKEN_IDENTIFIER, TOKEN_NEQ, TOKEN_STRING,
                 TOKEN_RIGHT_BRACE, TOKEN_END);
}

/* Places are bytes, so that they agree with Prometheus' in texts that are not ASCII. */
static void test_lexer_next__gives_places_in_bytes(void **state)
{
    struct lexed lexed;

    (void)state;
    lex_all(&lexed, STR("\"\xc3\xa9\" # \xc3\xa9\n foo"));
    assert_int_equal(lexed.count, 4);
    assert_int_equal(lexed.tokens[1].kind, TOKEN_COMMENT);
    assert_int_equal(lexed.tokens[2].position, 11);
    assert_int_equal(lexed.tokens[3].position, 14);
    arena_deinit(&lexed.arena);
}

static void assert_lex_error(struct str text, const char *expected)
{
    struct lexed lexed;

    lex_all(&lexed, text);
    assert_true(lexed.failed);
    assert_string_equal(lexed.err.text, expected);
    arena_deinit(&lexed.arena);
}

/* Bytes that are no text at all end in an error with a place, never in a read past the end. */
static void test_lexer_next__refuses_bad_bytes(void **state)
{
    (void)state;
    assert_lex_error(STR("foo \xff"), "1:5: parse error: unexpected character: '\xef\xbf\xbd'");
    assert_lex_error(STR("\"\xff\""), "1:1: parse error: invalid UTF-8 rune");
    assert_lex_error(STR("\"\\"), "1:1: parse error: escape sequence not terminated");
    assert_lex_error(STR("\"\\x4"), "1:1: parse error: escape sequence not terminated");
    assert_lex_error(STR("a\n\n  $"), "3:3: parse error: unexpected character: '$'");
    assert_lex_error(str_from("a \0", 3), "1:3: parse error: unexpected character: '\\x00'");
    assert_lex_error(STR("\"\\\x01\""), "1:1: parse error: unknown escape sequence U+0001");
    assert_lex_error(STR("\"\\!\""), "1:1: parse error: unknown escape sequence U+0021 '!'");
}

/* The three ways in which an error names a token, and the cut of long ones. */
static void test_token_describe__names_by_sort(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"foo", "identifier \"foo\""},
        {"a:b", "metric identifier \"a:b\""},
        {"a_name_longer_than_ten", "identifier \"a_name_longer_than_ten\""},
        {"12", "number \"12\""},
        {"12345678901", "number \"1234567890\"..."},
        {"5m", "duration \"5m\""},
        {"\"a\"", "string \"\\\"a\\\"\""},
        {"sum", "<aggr:sum>"},
        {"Offset", "<Offset>"},
        {"==", "<op:==>"},
        {"and", "<op:and>"},
        {"@", "<op:@>"},
        {"(", "\"(\""},
        {"start", "\"start\""},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct lexer lexer;
        struct token token;
        struct err err;
        lexer_init(&lexer, str_of(rows[i].text), &arena);
        assert_true(lexer_next(&lexer, &token, &err));
        assert_string_equal(token_describe(&arena, token), rows[i].expected);
    }
    assert_string_equal(token_describe(&arena, (struct token){.kind = TOKEN_END}), "end of input");
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lexer_next__knows_keywords_outside_braces_only),
        cmocka_unit_test(test_lexer_next__takes_fill_as_keyword_before_a_parenthesis),
        cmocka_unit_test(test_lexer_next__reads_two_character_operators),
        cmocka_unit_test(test_lexer_next__reads_colons_by_place),
        cmocka_unit_test(test_lexer_next__gives_places_in_bytes),
        cmocka_unit_test(test_lexer_next__refuses_bad_bytes),
        cmocka_unit_test(test_token_describe__names_by_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
