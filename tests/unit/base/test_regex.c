/* Unit tests of base/regex: texts and expansions are those of Go and its regexp package. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/regex.h"

static struct regex *compile(const char *pattern)
{
    struct regex *regex;
    struct err err = {0};
    if (!regex_new(&regex, str_of(pattern), &err))
        fail_msg("%s", err.text);
    assert_true(str_eq(regex_pattern(regex), str_of(pattern)));
    return regex;
}

static bool matches(const char *pattern, struct str subject)
{
    struct regex *regex = compile(pattern);
    bool result = regex_matches(regex, subject);
    regex_free(regex);
    return result;
}

static void test_regex_matches__is_anchored_and_dot_takes_newlines(void **state)
{
    (void)state;
    assert_true(matches("a|bc", STR("bc")));
    assert_false(matches("a|bc", STR("xbc")));
    assert_false(matches("a|bc", STR("ab")));
    assert_true(matches("a.b", STR("a\nb")));
    assert_false(matches("a", STR("a\n")));
    assert_true(matches("", (struct str){NULL, 0}));
    assert_true(matches(".*", STR("")));
    assert_true(matches("(?i)AbC", STR("aBc")));
    assert_true(matches("(?<n>a)[(?<]", STR("a?")));
    assert_true(matches("[[:alpha:]]+(?<n>x)", STR("abx")));
    assert_true(matches("\\Q(?<n>\\E", STR("(?<n>")));
    assert_true(matches("a\\(?<n", STR("a(<n")));
}

/* Matchers are checked bare first, as in Go: an error shows no wrapper, and a pattern cannot close ours. */
static void test_regex_check__judges_the_bare_pattern(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(regex_check(STR("a(b|c)"), &err));
    assert_false(regex_check(STR("a)(b"), &err));
    assert_string_equal(err.text, "error parsing regexp: unexpected ): `a)(b`");
    assert_false(regex_check(STR("(a"), &err));
    assert_string_equal(err.text, "error parsing regexp: missing closing ): `(a`");
}

/* Go takes each bad byte of a subject as U+FFFD. */
static void test_regex_matches__takes_bad_utf8_as_replacement(void **state)
{
    (void)state;
    assert_true(matches("a.b", STR("a\xff"
                                   "b")));
    assert_false(matches("a.b", STR("a\xff\xff"
                                    "b")));
    assert_true(matches("a[^x]{2}b", STR("a\xe2\x82"
                                         "b")));
    assert_false(matches("abc", STR("\xff")));
}

static void test_regex_new__gives_gos_error_texts(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"(a", "missing closing ): `^(?s:(a)$`"},
        {"a)", "unexpected ): `^(?s:a))$`"},
        {"[a", "missing closing ]: `[a)$`"},
        {"*", "missing argument to repetition operator: `*`"},
        {"a**", "invalid nested repetition operator: `**`"},
        {"a{1001}", "invalid repeat count: `{1001}`"},
        {"a{2,1}?", "invalid repeat count: `{2,1}`"},
        {"[z-a]", "invalid character class range: `z-a`"},
        {"[[:foo:]]", "invalid character class range: `[:foo:]`"},
        {"\\8", "invalid escape sequence: `\\8`"},
        {"\\C", "invalid escape sequence: `\\C`"},
        {"a\\", "missing closing ): `^(?s:a\\)$`"},
        {"\\p{Foo}", "invalid character class range: `\\p{Foo}`"},
        {"(?z)", "invalid or unsupported Perl syntax: `(?z`"},
        {"(?P<n", "invalid named capture: `(?P<n)$`"},
        {"(?<n", "invalid named capture: `(?<n)$`"},
        {"(?<=a)", "invalid named capture: `(?<=a))$`"},
        {"(?<n>a", "missing closing ): `^(?s:(?<n>a)$`"},
        {"a\xff", "invalid UTF-8: `\xff)$`"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct regex *regex;
        struct err err = {0};
        assert_false(regex_new(&regex, str_of(rows[i][0]), &err));
        assert_null(regex);
        assert_int_equal(err.code, ERR_BAD_DATA);
        assert_memory_equal(err.text, "error parsing regexp: ", 22);
        assert_string_equal(err.text + 22, rows[i][1]);
    }
    regex_free(NULL);
}

/* Patterns come with queries: none may take long or much. */
static void test_regex_new__bounds_hostile_patterns(void **state)
{
    (void)state;
    static const char *const units[] = {"(", "a|", "[[:", "(?<a>", "(.{1000}){1000}", "[", "\\Qa"};
    size_t len = 1 << 20;
    char *text = mem_alloc(len + 1);

    for (size_t u = 0; u < COUNT_OF(units); u++) {
        struct regex *regex;
        struct err err = {0};
        for (size_t i = 0; i < len; i++)
            text[i] = units[u][i % strlen(units[u])];
        if (regex_new(&regex, (struct str){text, len}, &err))
            regex_free(regex);
        assert_false(regex_new(&regex, (struct str){text, len + 1}, &err));
    }
    mem_free(text);
}

static void assert_expands(const char *pattern, const char *subject, const char *template,
                           const char *wanted)
{
    struct regex *regex = compile(pattern);
    struct buf out;

    buf_init(&out, 1000);
    assert_true(regex_expand(regex, str_of(subject), str_of(template), &out));
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
    regex_free(regex);
}

static void test_regex_expand__follows_gos_rules(void **state)
{
    (void)state;
    assert_expands("(.*)", "abc", "$1", "abc");
    assert_expands("(a)(b)", "ab", "$2-$1-$0", "b-a-ab");
    assert_expands("(a)", "a", "$1x", ""); /* The name is "1x". */
    assert_expands("(a)", "a", "${1}x", "ax");
    assert_expands("(a)", "a", "$$1$", "$1$");
    assert_expands("(a)", "a", "${1", "${1");
    assert_expands("(a)", "a", "${}", "${}");
    assert_expands("(a)", "a", "$-", "$-");
    assert_expands("(a)", "a", "$9|$01|$none|", "|||");
    assert_expands("(?P<host>[^:]+):(?<port>\\d+)", "h:80", "$port/${host}", "80/h");
    assert_expands("(a)|(b)", "b", "[$1][$2]", "[][b]");
    assert_expands("(a)", "a", "$1\xc3\xa9", ""); /* A letter: part of the name. */
    assert_expands("(a)", "a", "$1\xe2\x82\xac", "a\xe2\x82\xac");
    assert_expands("(a)", "a", "$99999999999999999999", "");
    assert_expands("(1)(2)(3)(4)(5)(6)(7)(8)(9)(a)(b)(c)(d)(e)(f)(g)(h)", "123456789abcdefgh",
                   "$17$10", "ha");
}

static void test_regex_expand__leaves_out_alone_without_a_match(void **state)
{
    (void)state;
    struct regex *regex = compile("a(.)");
    struct buf out;

    buf_init(&out, 100);
    assert_false(regex_expand(regex, STR("ba"), STR("$1"), &out));
    assert_int_equal(out.len, 0);
    assert_true(regex_expand(regex, STR("a\xff"), STR("$1"), &out));
    assert_true(str_eq(buf_str(&out), STR("\xef\xbf\xbd")));
    buf_deinit(&out);
    regex_free(regex);
}

/* `wanted` is joined by spaces; NULL when the pattern is no list of literals. */
static void assert_literals(const char *pattern, const char *wanted)
{
    struct regex *regex = compile(pattern);
    struct arena arena;
    struct buf joined;
    struct str *literals;
    size_t count;

    arena_init(&arena, 0);
    buf_init(&joined, 1000);
    bool listed = regex_literals(regex, &arena, &literals, &count);
    assert_int_equal(listed, wanted != NULL);
    for (size_t i = 0; listed && i < count; i++) {
        assert_true(regex_matches(regex, literals[i]));
        buf_addf(&joined, i ? " " STR_FMT : STR_FMT, STR_ARG(literals[i]));
    }
    if (listed)
        assert_true(str_eq(buf_str(&joined), str_of(wanted)));
    buf_deinit(&joined);
    arena_deinit(&arena);
    regex_free(regex);
}

static void test_regex_literals__lists_simple_alternations(void **state)
{
    (void)state;
    assert_literals("abc", "abc");
    assert_literals("a|b|c", "a b c");
    assert_literals("a|", "a ");
    assert_literals("pre(x|y)post", "prexpost preypost");
    assert_literals("(?:x|y)", "x y");
    assert_literals("a(1|2)|b", "a1 a2 b");
    assert_literals("a\\.b\\|c", "a.b|c");
    assert_literals("", "");
    assert_literals("a.b", NULL);
    assert_literals("(a|b)+", NULL);
    assert_literals("(a|b)(c)", NULL);
    assert_literals("((a))", NULL);
    assert_literals("\\d", NULL);
    assert_literals("(?i:a)", NULL);
    assert_literals("[ab]", NULL);
    assert_literals("^a$", NULL);
    assert_literals("a{2}", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_matches__is_anchored_and_dot_takes_newlines),
        cmocka_unit_test(test_regex_matches__takes_bad_utf8_as_replacement),
        cmocka_unit_test(test_regex_new__gives_gos_error_texts),
        cmocka_unit_test(test_regex_new__bounds_hostile_patterns),
        cmocka_unit_test(test_regex_expand__follows_gos_rules),
        cmocka_unit_test(test_regex_expand__leaves_out_alone_without_a_match),
        cmocka_unit_test(test_regex_check__judges_the_bare_pattern),
        cmocka_unit_test(test_regex_literals__lists_simple_alternations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
