/* What a start finds in its directory that is not its own, or not as it left it: things of other kinds under its names, names
 * of others, other versions. Either it goes on without it, or it ends in a text that names the file; it never waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "file.h"
#include "store_fixture.h"

#define T0   INT64_C(1700000000000)
#define HOUR (INT64_C(60) * 60 * 1000)

static int begin(void **state)
{
    struct store_fixture *f = MEM_NEW(struct store_fixture);
    store_setup(f);
    series_ref ref = store_series(f, "a", 1);
    for (int i = 0; i < 10; i++)
        (void)store_add(f, ref, T0 + i * 1000, i);
    storage_series_release(f->storage, ref);
    store_tick(f, 3 * HOUR);
    ref = store_series(f, "log", 1);
    (void)store_add(f, ref, T0 + 20000, 1);
    storage_series_release(f->storage, ref);
    store_tick(f, 0);
    store_close(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct store_fixture *f = *state;
    store_teardown(f);
    mem_free(f);
    return 0;
}

static void in_dir(const struct store_fixture *f, const char *command)
{
    char line[512];
    snprintf(line, sizeof(line), "cd %s/narthex && { %s; }", f->dir, command);
    assert_int_equal(system(line), 0);
}

static size_t count_of(struct store_fixture *f, const char *name)
{
    struct store_samples samples = store_read(f, name, 1, INT64_MIN, INT64_MAX);
    size_t count = samples.count;
    store_samples_free(&samples);
    return count;
}

/* Opening a pipe to read waits for a writer: a start would wait for ever. */
static void test_open__does_not_wait_for_pipes(void **state)
{
    struct store_fixture *f = *state;
    in_dir(f, "rm head.mdb && mkfifo head.mdb 20300101T00Z-20300102T00Z.mdb "
              "20300101T00Z-20300102T00Z.open.mdb 20231114T00Z-20231115T00Z.7.idx log/00000099");
    store_open(f);
    assert_int_equal(count_of(f, "a"), 10);
    assert_int_equal(count_of(f, "log"), 1);
    store_close(f);
    in_dir(f, "test -p 20300101T00Z-20300102T00Z.mdb.damaged-*");
}

/* A segment cannot be made under the name of a directory: the log goes on behind it. */
static void test_open__logs_behind_a_name_that_is_taken(void **state)
{
    struct store_fixture *f = *state;
    in_dir(f, "mkdir log/00000098");
    store_open(f);
    series_ref ref = store_series(f, "new", 1);
    assert_int_equal(store_add(f, ref, T0 + 60000, 1), SAMPLE_STORED);
    storage_series_release(f->storage, ref);
    store_tick(f, 0);
    store_close(f);
    in_dir(f, "test -s log/00000099 && test -d log/00000098");
    store_open(f);
    assert_int_equal(count_of(f, "new"), 1);
}

/* Whoever keeps something beside our files finds it there again. */
static void test_open__leaves_the_files_of_others_alone(void **state)
{
    struct store_fixture *f = *state;
    in_dir(f, "for n in data.mdb .hidden.mdb x.open.mdb note.tmp index.idx 2023.mdb "
              "20231114T00Z.mdb log/abc log/1 log/00000000; do echo mine > $n; done");
    store_open(f);
    assert_int_equal(count_of(f, "a"), 10);
    store_close(f);
    in_dir(f, "for n in data.mdb .hidden.mdb x.open.mdb note.tmp index.idx 2023.mdb "
              "20231114T00Z.mdb log/abc log/1 log/00000000; do grep -q mine $n || exit 1; done");
    in_dir(f, "! ls *.damaged-* 2>/dev/null");
}

struct refusal {
    const char *command, *text;
};

/* The text of the error names the file, whatever is wrong with it. */
static void test_open__names_the_file_that_ends_it(void **state)
{
    struct store_fixture *f = *state;
    static const struct refusal refusals[] = {
        {"rm -f lock && mkdir lock", "/narthex/lock: Is a directory"},
        {"rm -f head.mdb-lock && mkdir head.mdb-lock", "/narthex/head.mdb-lock: Is a directory"},
        {"rm -rf log && echo x > log", "/narthex/log cannot be written to: Not a directory"},
        {"rm -f 20231114T00Z-20231115T00Z.open.mdb && "
         "ln -s 20231114T00Z-20231115T00Z.open.mdb 20231114T00Z-20231115T00Z.open.mdb",
         "/narthex/20231114T00Z-20231115T00Z.open.mdb: Too many levels of symbolic links"},
        {"rm -f 20231114T00Z-20231115T00Z.open.mdb && "
         "ln -s /not/there 20231114T00Z-20231115T00Z.mdb",
         "/narthex/20231114T00Z-20231115T00Z.mdb: No such file or directory"},
    };
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct err err = {0};
        in_dir(f, "rm -rf ../kept && cp -a . ../kept");
        in_dir(f, refusals[i].command);
        assert_false(store_try_open(f, &err));
        if (!strstr(err.text, refusals[i].text))
            fail_msg("%s: %s", refusals[i].command, err.text);
        in_dir(f, "cd .. && rm -rf narthex && mv kept narthex");
    }
    store_open(f);
    assert_int_equal(count_of(f, "a"), 10);
}

static void poke_version(const struct store_fixture *f, uint32_t version)
{
    char path[512];
    assert_true(store_last_file(f, "log", "", path));
    store_poke(path, 4, &version, 4);
}

/* A file of the next version is not touched; a number that no version will have soon is damage. */
static void test_open__tells_another_version_from_damage(void **state)
{
    struct store_fixture *f = *state;
    struct err err = {0};
    poke_version(f, 2);
    assert_false(store_try_open(f, &err));
    assert_non_null(strstr(err.text, "/narthex/log/0"));
    assert_non_null(strstr(err.text, "has format version 2; this program reads version 1"));
    poke_version(f, 1);
    store_open(f);
    assert_int_equal(count_of(f, "log"), 1);
    store_close(f);
    poke_version(f, 0x101);
    store_open(f);
    assert_int_equal(count_of(f, "a"), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(test_open__does_not_wait_for_pipes),
        T(test_open__logs_behind_a_name_that_is_taken),
        T(test_open__leaves_the_files_of_others_alone),
        T(test_open__names_the_file_that_ends_it),
        T(test_open__tells_another_version_from_damage),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
