/* Golden files: <name>.om is what a target says, <name>.want what the parser must make of it: what
 * Prometheus 3.14 makes of it, to the letter of its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "openmetrics_lex.h"
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

static size_t some_bytes(void *ctx)
{
    return *(size_t *)ctx;
}

static void expect_dump(struct text_dump *dump, struct str text, struct str want, bool good,
                        size_t piece, const char *path)
{
    buf_clear(&dump->out);
    bool ok = text_dump_run(dump, text, PARSE_LINE_BYTES_MAX, some_bytes, &piece);
    if (!str_eq(buf_str(&dump->out), want))
        fail_msg("%s in pieces of %zu\n--- got\n" STR_FMT "--- want\n" STR_FMT, path, piece,
                 STR_ARG(buf_str(&dump->out)), STR_ARG(want));
    assert_int_equal(ok, good);
}

/* Each file whole and cut small, each with a cold cache and again with a warm one. */
static void run_file(const char *directory, const char *name, bool good)
{
    static const size_t pieces[] = {0, 1, 2, 3, 7, 64};
    struct arena arena;
    char path[8192];

    arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/%s.want", directory, name);
    struct str want = load(&arena, path);
    snprintf(path, sizeof(path), "%s/%s.om", directory, name);
    struct str text = load(&arena, path);
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        struct text_dump dump;
        text_dump_init(&dump);
        dump.format = TEXT_OPENMETRICS;
        for (int round = 0; round < 3; round++)
            expect_dump(&dump, text, want, good, pieces[i], path);
        for (size_t k = 0; k < COUNT_OF(pieces); k++)
            expect_dump(&dump, text, want, good, pieces[k], path);
        text_dump_deinit(&dump);
    }
    arena_deinit(&arena);
}

static size_t run_directory(const char *kind, bool good)
{
    char directory[4096];
    size_t count = 0;

    snprintf(directory, sizeof(directory), "%s/golden/openmetrics/%s", TEST_SOURCE_DIR, kind);
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct str name = str_of(entry->d_name);
        char stem[256];
        if (!str_ends(name, STR(".om")))
            continue;
        snprintf(stem, sizeof(stem), STR_FMT, STR_ARG(str_first(name, name.len - 3)));
        run_file(directory, stem, good);
        count++;
    }
    closedir(dir);
    return count;
}

/* What Prometheus takes, we take, and say the same of it. */
static void test_openmetrics__golden_good(void **state)
{
    (void)state;
    assert_true(run_directory("good", true) >= 35);
}

/* One bad line fails the scrape, with Prometheus' words and the line. */
static void test_openmetrics__golden_bad(void **state)
{
    (void)state;
    assert_true(run_directory("bad", false) >= 150);
}

/* The second time nothing may take the slow path, exemplars and timestamps or not: that is where the
 * speed comes from. */
static void test_openmetrics__knows_lines_again(void **state)
{
    struct text_dump dump;
    struct str text =
        STR("# TYPE a counter\na_total 1\nb_bucket{le=\"1\"} 2 # {t=\"x y\"} 0.5 17.5\n"
            "c -1e3 1520879607.789\nd NaN\n{\"e f\"} 0.30000000000000004\n"
            "g 1 2 # {} 3\n# EOF\n");

    (void)state;
    text_dump_init(&dump);
    dump.format = TEXT_OPENMETRICS;
    assert_true(text_dump_run(&dump, text, PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 0);
    assert_true(text_dump_run(&dump, text, PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 6);
    assert_int_equal(dump.cache.entries.count, 6);
    assert_false(dump.cache.map_used);
    text_dump_deinit(&dump);
}

/* A known text must not let the rest of its line pass unseen. */
static void test_openmetrics__known_text_hides_no_error(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"a\t1\n",
         "expected value after metric, got \"\\t\" (\"INVALID\") while parsing: \"a\\t\""},
        {"a  1\n", "expected value after metric, got \"  \" (\"INVALID\") while parsing: \"a  \""},
        {"a 1\r\n",
         "strconv.ParseFloat: parsing \"1\\r\": invalid syntax while parsing: \"a 1\\r\""},
        {"a 1 x\n", "strconv.ParseFloat: parsing \"x\": invalid syntax while parsing: \"a 1 x\""},
        {"a 1 # {x=\"y\"}\n",
         "expected value after exemplar labels, got \"\\n\" (\"INVALID\") while "
         "parsing: \"a 1 # {x=\\\"y\\\"}\\n\""},
        {"a {b=\"c\"} 1\n", "strconv.ParseFloat: parsing \"{b=\\\"c\\\"}\": invalid syntax while "
                            "parsing: \"a {b=\\\"c\\\"}\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct text_dump dump;
        char want[512];
        text_dump_init(&dump);
        dump.format = TEXT_OPENMETRICS;
        assert_true(text_dump_run(&dump, STR("a 1\n# EOF"), PARSE_LINE_BYTES_MAX, NULL, NULL));
        buf_clear(&dump.out);
        assert_false(text_dump_run(&dump, str_of(cases[i].text), PARSE_LINE_BYTES_MAX, NULL, NULL));
        snprintf(want, sizeof(want), "line 1: %s\n", cases[i].error);
        assert_true(str_eq(buf_str(&dump.out), str_of(want)));
        text_dump_deinit(&dump);
    }
}

/* No bytes at all are an empty scrape, as in Prometheus; the first one makes # EOF needed. */
static void test_openmetrics__empty_is_good(void **state)
{
    struct text_dump dump;

    (void)state;
    text_dump_init(&dump);
    dump.format = TEXT_OPENMETRICS;
    assert_true(text_dump_run(&dump, STR_EMPTY, PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.out.len, 0);
    text_dump_deinit(&dump);
}

/* Memory is bounded by the line: one that never ends is an error, however it comes. */
static void test_openmetrics__refuses_long_lines(void **state)
{
    static const char *const begins[] = {"{\"", "# HELP \"", "b{c=\"d\",\""};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(begins); i++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        buf_addf(&text, "a 1\n%s", begins[i]);
        for (int k = 0; k < 2000; k++)
            buf_add_char(&text, k % 50 ? 'x' : '\n');
        for (size_t piece = 0; piece < 2; piece++) {
            struct text_dump dump;
            text_dump_init(&dump);
            dump.format = TEXT_OPENMETRICS;
            assert_false(text_dump_run(&dump, buf_str(&text), 1000, some_bytes, &piece));
            assert_true(
                str_eq(buf_str(&dump.out), STR("{__name__=\"a\"} 1\n"
                                               "line 2: line is longer than 1000 bytes\n")));
            text_dump_deinit(&dump);
        }
        buf_deinit(&text);
    }
}

/* A name with newlines must not be lexed again for each of them. */
static void test_openmetrics__newlines_in_names_cost_no_square(void **state)
{
    struct text_dump dump;
    struct buf text;

    (void)state;
    buf_init(&text, 4 << 20);
    BUF_ADD(&text, "{\"");
    for (int i = 0; i < 250000; i++)
        buf_add_str(&text, i % 2 ? STR("\n") : STR("ab"));
    BUF_ADD(&text, "\"} 1\n# EOF\n");
    text_dump_init(&dump);
    dump.format = TEXT_OPENMETRICS;
    assert_true(text_dump_run(&dump, buf_str(&text), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.line, 125002);
    buf_deinit(&text);
    text_dump_deinit(&dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openmetrics__golden_good),
        cmocka_unit_test(test_openmetrics__golden_bad),
        cmocka_unit_test(test_openmetrics__knows_lines_again),
        cmocka_unit_test(test_openmetrics__known_text_hides_no_error),
        cmocka_unit_test(test_openmetrics__empty_is_good),
        cmocka_unit_test(test_openmetrics__refuses_long_lines),
        cmocka_unit_test(test_openmetrics__newlines_in_names_cost_no_square),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
