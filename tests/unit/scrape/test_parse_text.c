/* Golden files: <name>.prom is what a target says, <name>.want what the parser must make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "text_dump.h"

static struct str load(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    char *bytes = arena_alloc(arena, 1 << 20);
    size_t len = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return str_from(bytes, len);
}

static size_t one_byte(void *ctx)
{
    (void)ctx;
    return 1;
}

static size_t seven_bytes(void *ctx)
{
    (void)ctx;
    return 7;
}

static void expect_dump(struct text_dump *dump, struct str text, struct str want, bool good,
                        size_t (*cut)(void *ctx), const char *path)
{
    buf_clear(&dump->out);
    bool ok = text_dump_run(dump, text, PARSE_LINE_BYTES_MAX, cut, NULL);
    if (!str_eq(buf_str(&dump->out), want))
        fail_msg("%s\n--- got\n" STR_FMT "--- want\n" STR_FMT, path, STR_ARG(buf_str(&dump->out)),
                 STR_ARG(want));
    assert_int_equal(ok, good);
}

/* Each file whole, in bytes, in sevens, and again with a warm cache. */
static size_t run_directory(const char *kind, bool good)
{
    struct arena arena;
    char path[4096];
    size_t count = 0;

    arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/golden/exposition/%s", TEST_SOURCE_DIR, kind);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct text_dump whole, cut;
        if (!str_ends(str_of(entry->d_name), STR(".prom")))
            continue;
        snprintf(path, sizeof(path), "%s/golden/exposition/%s/%s", TEST_SOURCE_DIR, kind,
                 entry->d_name);
        struct str text = load(&arena, path);
        snprintf(path, sizeof(path), "%s/golden/exposition/%s/%.*s.want", TEST_SOURCE_DIR, kind,
                 (int)strlen(entry->d_name) - 5, entry->d_name);
        struct str want = load(&arena, path);
        text_dump_init(&whole);
        text_dump_init(&cut);
        expect_dump(&whole, text, want, good, NULL, path);
        expect_dump(&whole, text, want, good, seven_bytes, path);
        expect_dump(&whole, text, want, good, NULL, path);
        expect_dump(&cut, text, want, good, one_byte, path);
        expect_dump(&cut, text, want, good, one_byte, path);
        text_dump_deinit(&whole);
        text_dump_deinit(&cut);
        arena_reset(&arena);
        count++;
    }
    closedir(dir);
    arena_deinit(&arena);
    return count;
}

/* What Prometheus takes, we take, and say the same of it. */
static void test_parse_text__golden_good(void **state)
{
    (void)state;
    assert_true(run_directory("good", true) >= 6);
}

/* One bad line fails the scrape, with Prometheus' words and the line. */
static void test_parse_text__golden_bad(void **state)
{
    (void)state;
    assert_true(run_directory("bad", false) >= 20);
}

/* The second time nothing may take the slow path: that is where the speed comes from. */
static void test_parse_text__knows_lines_again(void **state)
{
    struct text_dump dump;
    struct str text = STR("a 1\nb{x=\"y z}\"} 2.5 17\n# HELP c d\nc -1e3\nd NaN\n");

    (void)state;
    text_dump_init(&dump);
    assert_true(text_dump_run(&dump, text, PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 0);
    assert_true(text_dump_run(&dump, text, PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 4);
    assert_int_equal(dump.cache.entries.count, 4);
    assert_false(dump.cache.has_map && dump.cache.map_used && dump.cache.map_idle > 0);
    text_dump_deinit(&dump);
}

/* A prefix that is known must not hide that more follows. */
static void test_parse_text__name_then_brace_is_not_the_known_name(void **state)
{
    struct text_dump dump;

    (void)state;
    text_dump_init(&dump);
    assert_true(text_dump_run(&dump, STR("a 1\n"), PARSE_LINE_BYTES_MAX, NULL, NULL));
    buf_clear(&dump.out);
    assert_true(text_dump_run(&dump, STR("a {b=\"c\"} 2\n"), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_true(str_eq(buf_str(&dump.out), STR("{__name__=\"a\", b=\"c\"} 2\n")));
    text_dump_deinit(&dump);
}

/* The fast path for numbers must round as the exact one does. */
static void test_parse_text__fast_numbers_are_exact(void **state)
{
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "1",
                                          "9007199254740992",
                                          "9007199254740993",
                                          "0.1",
                                          "123456.789",
                                          "1e22",
                                          "1e23",
                                          "1e-22",
                                          "1e-23",
                                          "5e-324",
                                          "1.",
                                          ".5",
                                          "+5",
                                          "1E5",
                                          "1e+05",
                                          "179769313486231570000",
                                          "0.30000000000000004",
                                          "00001",
                                          "1e05",
                                          "-12.5e-3",
                                          "123456789012345678",
                                          "1234567890123456789012"};
    struct text_dump dump;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct buf text, want;
        double value;
        text_dump_init(&dump);
        buf_init(&text, 1000);
        buf_init(&want, 1000);
        buf_addf(&text, "a %s\n", numbers[i]);
        assert_true(number_parse(str_of(numbers[i]), &value));
        BUF_ADD(&want, "{__name__=\"a\"} ");
        buf_add_number(&want, value, NUMBER_G);
        buf_add_char(&want, '\n');
        for (int round = 0; round < 2; round++) {
            buf_clear(&dump.out);
            assert_true(text_dump_run(&dump, buf_str(&text), PARSE_LINE_BYTES_MAX, NULL, NULL));
            assert_true(str_eq(buf_str(&dump.out), buf_str(&want)));
        }
        buf_deinit(&text);
        buf_deinit(&want);
        text_dump_deinit(&dump);
    }
}

/* Memory is bounded by the line: one that never ends is an error, however it comes. */
static void test_parse_text__refuses_long_lines(void **state)
{
    struct text_dump dump;
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    BUF_ADD(&text, "a 1\nb{c=\"");
    for (int i = 0; i < 2000; i++)
        buf_add_char(&text, i % 50 ? 'x' : '\n');
    for (int round = 0; round < 2; round++) {
        text_dump_init(&dump);
        assert_false(text_dump_run(&dump, buf_str(&text), 1000, round ? one_byte : NULL, NULL));
        assert_true(str_eq(buf_str(&dump.out), STR("{__name__=\"a\"} 1\n"
                                                   "line 2: line is longer than 1000 bytes\n")));
        text_dump_deinit(&dump);
    }
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_text__golden_good),
        cmocka_unit_test(test_parse_text__golden_bad),
        cmocka_unit_test(test_parse_text__knows_lines_again),
        cmocka_unit_test(test_parse_text__name_then_brace_is_not_the_known_name),
        cmocka_unit_test(test_parse_text__fast_numbers_are_exact),
        cmocka_unit_test(test_parse_text__refuses_long_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
