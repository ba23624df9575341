/* Runs tests/golden/promql/ *.test against the evaluator. With arguments: runs those files,
 * verbosely, with delayed name removal; so other corpora can be tried by hand. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "promqltest.h"

static bool run_file(const char *path, const struct promqltest_options *options,
                     struct promqltest_result *result)
{
    struct buf text;
    struct err err;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    buf_init(&text, 1 << 24);
    for (;;) {
        char *room = buf_reserve(&text, 65536);
        size_t got = fread(room, 1, 65536, file);
        if (got == 0)
            break;
        buf_commit(&text, got);
    }
    fclose(file);
    bool ok = promqltest_run(path, buf_str(&text), options, result, &err);
    if (!ok)
        printf("%s\n", err.text);
    buf_deinit(&text);
    return ok;
}

#define FEATURES (QUERY_EXPERIMENTAL_FUNCTIONS | QUERY_FILL_MODIFIERS | QUERY_EXTENDED_RANGES)

/* Every value in these files follows from the language's specification. */
static void test_golden__all_files(void **state)
{
    (void)state;
    struct promqltest_options options = {.features = FEATURES, .verbose = true};
    struct promqltest_result result = {0};
    char path[4096];
    DIR *dir = opendir(TEST_SOURCE_DIR "/golden/promql");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!str_ends(str_of(entry->d_name), STR(".test")))
            continue;
        snprintf(path, sizeof(path), "%s/golden/promql/%s", TEST_SOURCE_DIR, entry->d_name);
        assert_true(run_file(path, &options, &result));
    }
    closedir(dir);
    printf("%zu evals\n", result.evals);
    assert_int_equal(result.failures, 0);
    assert_true(result.evals >= 2000);
}

/* A bad file is told with its place, and never runs on. */
static void test_promqltest_run__names_the_place_of_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } files[] = {
        {"nonsense", "f:1: invalid command"},
        {"\n\n  x 1 2", "f:3: invalid command"},
        {"evaluate instant at 0 x", "f:1: invalid command"},
        {"load x\n  a 1", "f:1: invalid step definition \"x\": not a valid duration string: \"x\""},
        {"load 1m\n  a{ 1", "f:2: "},
        {"load 1m\n  a 1 junk", "f:2: bad series value"},
        {"load 1m\n  a 1x99999999999", "f:2: bad series value"},
        {"load 1m\n  a {{schema:1", "f:2: bad series value"},
        {"load 1m\n  a {{buckets:[1 2}}", "f:2: bad series value"},
        {"eval", "f:1: invalid evaluation command"},
        {"eval instant 5m x", "f:1: invalid evaluation command"},
        {"eval instant at 5m", "f:1: invalid evaluation command"},
        {"eval instant at x y", "f:1: invalid timestamp definition \"x\""},
        {"eval range from 0 to 1m x", "f:1: invalid evaluation command"},
        {"eval range from 2m to 1m step 1m x", "f:1: invalid test definition, end timestamp is"},
        {"eval range from 0 to 1m step 0 x", "f:1: invalid step definition"},
        {"eval instant at 0 x\n  a 1 2", "f:2: expecting multiple values in instant evaluation"},
        {"eval instant at 0 x\n  expect", "f:2: "},
        {"eval instant at 0 x\n  expect junk", "f:2: invalid expect statement"},
        {"eval instant at 0 x\n  expect warn text", "f:2: invalid expect statement"},
        {"eval instant at 0 x\n  expect warn regex: (", "f:2: "},
        {"eval instant at 0 x\n  expect info\n  expect no_info", "f:3: invalid expect lines"},
        {"eval instant at 0 x\n  expect no_warn\n  expect warn", "f:3: invalid expect lines"},
        {"eval instant at 0 x\n  expect fail\n  expect fail", "f:3: invalid expect lines"},
        {"eval instant at 0 x\n  expect string x", "f:2: expected string literal not valid"},
        {"eval instant at 0 x\n  expect range vector", "f:2: invalid range vector definition"},
        {"load 1m\n  a 1\n\nload 1m\n  a 2", "f:4: duplicate sample for timestamp"},
    };
    struct promqltest_options options = {.features = FEATURES};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct promqltest_result result = {0};
        struct err err = {0};
        if (promqltest_run("f", str_of(files[i].text), &options, &result, &err) ||
            !str_starts(str_of(err.text), str_of(files[i].error)))
            fail_msg("%s: %s", files[i].text, err.text);
    }
}

/* What an eval finds otherwise than expected fails it. */
static void test_promqltest_run__counts_what_is_not_as_expected(void **state)
{
    (void)state;
    static const char *const evals[] = {
        "eval instant at 0 a\n  a 2\n",
        "eval instant at 0 a\n",
        "eval instant at 0 a\n  a 1\n  b 1\n",
        "eval instant at 0 a\n  expect fail\n",
        "eval instant at 0 a + on(\n  a 1\n",
        "eval instant at 0 a\n  expect warn\n  a 1\n",
        "eval instant at 0 quantile(2, a)\n  expect no_warn\n  {} +Inf\n",
        "eval instant at 0 quantile(2, a)\n  expect warn msg: PromQL warning: quantile value\n  {} "
        "+Inf\n",
        "eval instant at 0 quantile(2, a) + quantile(3, a)\n  expect warn regex: got 2$\n  {} "
        "+Inf\n",
        "eval instant at 0 \"x\"\n  expect string \"y\"\n",
        "eval instant at 0 1\n  2\n",
        "eval_ordered instant at 0 sort({__name__=~\"a|b\"})\n  b 3\n  a 1\n",
        "eval instant at 1m a[2m]\n  expect range vector from 0 to 1m step 1m\n  a 1 1\n",
        "eval range from 0 to 1m step 1m a\n  a 1\n",
    };
    struct promqltest_options options = {.features = FEATURES};
    for (size_t i = 0; i < COUNT_OF(evals); i++) {
        struct promqltest_result result = {0};
        struct err err = {0};
        char text[1024];
        snprintf(text, sizeof(text), "load 1m\n  a 1 2\n  b 3 4\n\n%s", evals[i]);
        assert_true(promqltest_run("f", str_of(text), &options, &result, &err));
        if (result.failures != 1)
            fail_msg("%s", evals[i]);
    }
}

static int run_arguments(int argc, char **argv)
{
    struct promqltest_options options = {
        .features = FEATURES | QUERY_DELAYED_NAMES, .verbose = true, .skip_start = true};
    struct promqltest_result result = {0};
    bool ok = true;
    for (int i = 1; i < argc; i++)
        ok = run_file(argv[i], &options, &result) && ok;
    printf("%zu evals, %zu failures, %zu skipped\n", result.evals, result.failures, result.skipped);
    return ok && result.failures == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__all_files),
        cmocka_unit_test(test_promqltest_run__names_the_place_of_what_is_wrong),
        cmocka_unit_test(test_promqltest_run__counts_what_is_not_as_expected),
    };
    if (argc > 1)
        return run_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
