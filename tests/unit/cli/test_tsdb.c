/* tsdb: the words of the tsdb commands, from an import to a dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "tsdb.h"

static char dir[64], said[1 << 16];

/* Runs a command; what it prints is in `said`. */
static int run(int argc, char **argv)
{
    fflush(stdout);
    char path[128];
    snprintf(path, sizeof(path), "%s/out", dir);
    int saved_out = dup(1), saved_err = dup(2);
    assert_non_null(freopen(path, "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    int code = cli_main(argc, argv);
    fflush(stdout);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    said[fread(said, 1, sizeof(said) - 1, file)] = '\0';
    fclose(file);
    return code;
}
#define RUN(...)                                                                                   \
    run((int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), (char *[]){__VA_ARGS__})

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/narthex-cli-XXXXXX");
    return mkdtemp(dir) ? 0 : 1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static char *write_text(const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/in.om", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

/* What goes in as OpenMetrics comes out as promtool prints it. */
static void test_tsdb_dump__prints_what_was_imported(void **state)
{
    char data[128];
    (void)state;
    snprintf(data, sizeof(data), "%s/data", dir);
    char *in = write_text("# TYPE a counter\na_total{x=\"q\\\"\"} 1e6 1700000000\nb NaN "
                          "1700000000.5\n# EOF\n");
    assert_int_equal(RUN("narthex", "tsdb", "create-blocks-from", "openmetrics", "-q",
                         "--label=env=e", in, data),
                     0);
    assert_string_equal(said, "");
    assert_int_equal(RUN("narthex", "tsdb", "dump", data), 0);
    assert_string_equal(said, "{__name__=\"a_total\", env=\"e\", x=\"q\\\"\"} 1e+06 1700000000000\n"
                              "{__name__=\"b\", env=\"e\"} NaN 1700000000500\n");
    assert_int_equal(RUN("narthex", "tsdb", "dump-openmetrics", "--match=b", data), 0);
    assert_string_equal(said, "b{env=\"e\"} NaN 1700000000.500\n# EOF\n");
    assert_int_equal(RUN("narthex", "tsdb", "analyze", "--limit", "1", data), 0);
    assert_non_null(strstr(said, "Total Series: 2\nLabel names: 3\n"));
    assert_non_null(strstr(said, "Most common label pairs:\n2 env=e\n\n"));
}

static void test_tsdb__has_exit_codes(void **state)
{
    char data[128];
    (void)state;
    snprintf(data, sizeof(data), "%s/data", dir);
    assert_int_equal(RUN("narthex", "tsdb", "dump", data), 1);
    assert_int_equal(RUN("narthex", "tsdb", "list", data), 1);
    assert_int_equal(RUN("narthex", "tsdb", "dump", "--min-time=x", data), 2);
    assert_int_equal(RUN("narthex", "tsdb", "list", "--wrong", data), 2);
    assert_int_equal(RUN("narthex", "tsdb", "create-blocks-from", "rules", "x"), 2);
    assert_int_equal(RUN("narthex", "tsdb", "create-blocks-from", "openmetrics"), 2);
    assert_int_equal(
        RUN("narthex", "tsdb", "create-blocks-from", "openmetrics", "--label=x", "f", data), 2);
    assert_int_equal(RUN("narthex", "tsdb", "create-blocks-from", "openmetrics",
                         write_text("a 1\n# EOF\n"), data),
                     1);
    assert_int_equal(RUN("narthex", "tsdb", "analyze", data), 1);
    assert_int_equal(RUN("narthex", "tsdb", "list", data), 0);
}

/* As Go prints a time.Duration. */
static void test_tsdb_add_duration__is_gos(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "0s"},         {7, "7ms"},          {1000, "1s"},         {15001, "15.001s"},
                {61500, "1m1.5s"}, {7200000, "2h0m0s"}, {86400000, "24h0m0s"}};
    struct buf out;
    (void)state;
    buf_init(&out, 100);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_clear(&out);
        tsdb_add_duration(&out, rows[i].ms);
        assert_true(str_eq(buf_str(&out), str_of(rows[i].text)));
    }
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tsdb_dump__prints_what_was_imported, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tsdb__has_exit_codes, setup, teardown),
        cmocka_unit_test(test_tsdb_add_duration__is_gos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
