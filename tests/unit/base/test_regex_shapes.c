/* Shapes spare the automaton; wherever they speak they must agree with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/regex.h"

static void shape_print(struct buf *out, const struct regex_shape *shape)
{
    buf_add_str(out, shape->prefix);
    for (size_t i = 0; i < shape->inner_count; i++) {
        buf_add_char(out, shape->inner[i].gap ? '+' : '*');
        buf_add_str(out, shape->inner[i].text);
    }
    if (shape->open)
        buf_add_char(out, shape->suffix_gap ? '+' : '*');
    buf_add_str(out, shape->suffix);
    if (!shape->exact)
        buf_add_char(out, '~');
}

/* "web-*" is web-.*, "a*b+c~" is what must be true of a text but need not be enough, "-" that nothing is known. */
static void test_regex_shapes__reads_what_is_plain(void **state)
{
    static const struct {
        const char *pattern, *shapes;
    } rows[] = {
        {"abc", "abc"},
        {"web-.*", "web-*"},
        {"^web-.*$", "web-*"},
        {"web-.+", "web-+"},
        {".*web", "*web"},
        {".+web.*", "+web*"},
        {".*web.*db.+x", "*web*db+x"},
        {"web-.*|.*-db", "web-*|*-db"},
        {"(web-.*|api-.*)", "web-*|api-*"},
        {"(?:web-.*|api)", "web-*|api"},
        {"a\\.b.*", "a.b*"},
        {"web[0-9]+-x", "web*-x~"},
        {"web(a|b)?.*c", "web*c~"},
        {"ab?c", "a*c~"},
        {"ab+c", "ab*c~"},
        {"ab{2,3}c", "a*c~"},
        {"a.c", "a*c~"},
        {"aé*", "a*~"},
        {"foo\\d+\\.bar", "foo*.bar~"},
        {"[[:alpha:]]x[]a]y[^]b]z", "*x*y*z~"},
        {"x\\p{Greek}y\\pLz\\x{41}w\\x41v", "x*y*z*w*v~"},
        {".*?a", "*a"},
        {".+.+a", "+a~"},
        {"a|", "a|"},
        {"(?i)web.*", "-"},
        {"web(?i).*x", "-"},
        {"web(?i:y).*x", "-"},
        {"\\Qa.b\\E.*", "-"},
        {"[a-z]+", "-"},
        {"web.*|[a-z]+", "-"},
        {"a^b", "-"},
        {"\xef\xbf\xbd.*", "-"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct regex *regex;
        struct arena arena;
        struct regex_shape *shapes;
        struct buf text;
        struct err err;
        size_t count;
        arena_init(&arena, 0);
        buf_init(&text, 4096);
        assert_true(regex_new(&regex, str_of(rows[i].pattern), &err));
        if (!regex_shapes(regex, &arena, &shapes, &count)) {
            BUF_ADD(&text, "-");
            count = 0;
        }
        for (size_t s = 0; s < count; s++) {
            if (s > 0)
                buf_add_char(&text, '|');
            shape_print(&text, &shapes[s]);
        }
        if (!str_eq(buf_str(&text), str_of(rows[i].shapes)))
            fail_msg("%s: %.*s, not %s", rows[i].pattern, (int)text.len, text.ptr, rows[i].shapes);
        buf_deinit(&text);
        regex_free(regex);
        arena_deinit(&arena);
    }
}

static uint64_t random_state = 7;

static size_t random_below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % bound);
}

static struct str random_text(struct arena *arena, const char *const *parts, size_t part_count,
                              size_t len)
{
    struct str text = STR_EMPTY;
    for (size_t i = random_below(len + 1); i > 0; i--)
        text = arena_strf(arena, STR_FMT "%s", STR_ARG(text), parts[random_below(part_count)]);
    return text;
}

/* Exact shapes are the regex; others never refuse what it matches. Patterns at random, good ones and bad. */
static void test_regex_shape_fits__agrees_with_the_automaton(void **state)
{
    static const char *const pattern_parts[] = {
        "a",     "b",   "ab",  "é", ".*",  ".+",    ".",    "|", "(a|b)",
        "[ab]",  "?",   "*",   "+", "\\.", "\\d",   "{2}",  "^", "$",
        "(?:b)", ".*?", "\\b", "(", ")",   "a{1,}", "(?i)", "x", "[^]a]",
    };
    static const char *const subject_parts[] = {"a", "b", "ab", "é", ".", "x",    "\n", "\xff",
                                                "1", "A", "{",  "-", "",  "\xc3", "]"};
    size_t exact = 0, known = 0;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct arena arena;
        struct regex *regex;
        struct regex_shape *shapes;
        struct err err;
        size_t count;
        arena_init(&arena, 0);
        struct str pattern = random_text(&arena, pattern_parts, COUNT_OF(pattern_parts), 6);
        if (!regex_check(pattern, &err) || !regex_new(&regex, pattern, &err)) {
            arena_deinit(&arena);
            continue;
        }
        bool some = regex_shapes(regex, &arena, &shapes, &count);
        known += some;
        for (int s = 0; some && s < 40; s++) {
            struct str subject = random_text(&arena, subject_parts, COUNT_OF(subject_parts), 6);
            bool matches = regex_matches(regex, subject), fits = false, all_exact = true;
            for (size_t i = 0; i < count; i++) {
                fits |= regex_shape_fits(&shapes[i], subject);
                all_exact &= shapes[i].exact;
            }
            exact += all_exact && matches;
            if ((matches && !fits) || (all_exact && fits && !matches))
                fail_msg("%.*s on %.*s: fits %d, matches %d", STR_ARG(pattern), STR_ARG(subject),
                         fits, matches);
        }
        regex_free(regex);
        arena_deinit(&arena);
    }
    assert_true(known > 2000 && exact > 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_shapes__reads_what_is_plain),
        cmocka_unit_test(test_regex_shape_fits__agrees_with_the_automaton),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
