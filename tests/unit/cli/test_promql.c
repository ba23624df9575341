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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden__all_files)};
    if (argc > 1)
        return run_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
