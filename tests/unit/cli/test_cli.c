/* cli: the words of a command line, and the exit codes that scripts rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"

/* Flags may stand before, between and behind the words, in all the forms that promtool takes. */
static void test_command_parse__takes_every_form_of_a_flag(void **state)
{
    (void)state;
    struct command_flag flags[] = {{.name = "time", .takes_value = true},
                                   {.name = "o", .takes_value = true},
                                   {.name = "lint-fatal"}};
    struct command_line line = {.flags = flags, .flag_count = 3};
    struct err err = {0};
    char *argv[] = {"--time=4", "http://x", "-o", "json", "up == -1", "--lint-fatal"};
    assert_true(command_parse(&line, 6, argv, &err));
    assert_int_equal(line.arg_count, 2);
    assert_true(str_eq(command_arg(&line, 1, ""), STR("up == -1")));
    assert_true(str_eq(command_flag_value(&line, "time"), STR("4")));
    assert_true(str_eq(command_flag_value(&line, "o"), STR("json")));
    assert_non_null(command_flag_value(&line, "lint-fatal").ptr);
}

/* A mistyped flag must not be taken for an argument. */
static void test_command_parse__refuses_unknown_and_unfinished_flags(void **state)
{
    (void)state;
    struct command_flag flags[] = {{.name = "time", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = 1};
    struct err err = {0};
    char *unknown[] = {"--tiem=4"}, *unfinished[] = {"--time"};
    assert_false(command_parse(&line, 1, unknown, &err));
    assert_string_equal(err.text, "unknown long flag '--tiem=4'");
    assert_false(command_parse(&line, 1, unfinished, &err));
    assert_string_equal(err.text, "expected argument for flag '--time'");
    assert_null(command_flag_value(&line, "time").ptr);
}

static int run(int argc, char **argv)
{
    /* The commands print; the test's own output stays readable. */
    fflush(stdout);
    int saved_out = dup(1), saved_err = dup(2);
    assert_non_null(freopen("/dev/null", "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    int code = cli_main(argc, argv);
    fflush(stdout);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    return code;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* 0 good, 1 bad, 2 wrong usage: what a CI job looks at. */
static void test_cli_main__exits_as_promtool_does(void **state)
{
    (void)state;
    char good[] = "/tmp/narthex-cli-good-XXXXXX", bad[] = "/tmp/narthex-cli-bad-XXXXXX";
    assert_true(close(mkstemp(good)) == 0 && close(mkstemp(bad)) == 0);
    write_file(good, "scrape_configs:\n  - job_name: a\n");
    write_file(bad, "scrape_configs:\n  - jobname: a\n");
    char *check_good[] = {"promtool", "check", "config", good};
    char *check_bad[] = {"promtool", "check", "config", good, bad};
    char *check_none[] = {"promtool", "check", "config"};
    char *unknown[] = {"promtool", "no", "such"};
    char *refused[] = {"promtool", "query", "instant", "http://127.0.0.1:1", "up"};
    char *help[] = {"promtool", "help"};
    assert_int_equal(run(4, check_good), 0);
    assert_int_equal(run(5, check_bad), 1);
    assert_int_equal(run(3, check_none), 1);
    assert_int_equal(run(3, unknown), 2);
    assert_int_equal(run(5, refused), 1);
    assert_int_equal(run(2, help), 0);
    unlink(good);
    unlink(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_parse__takes_every_form_of_a_flag),
        cmocka_unit_test(test_command_parse__refuses_unknown_and_unfinished_flags),
        cmocka_unit_test(test_cli_main__exits_as_promtool_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
