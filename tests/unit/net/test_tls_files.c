/* Files that are replaced while we run, and what is said about certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http_client_err.h"
#include "tls_files.h"

struct place {
    char folder[64], path[100];
};

static void place_make(struct place *place)
{
    snprintf(place->folder, sizeof(place->folder), "tls-files-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof(place->path), "%s/ca.pem", place->folder);
}

static void place_write(const struct place *place, const char *text)
{
    char path[120];
    snprintf(path, sizeof(path), "%s.new", place->path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(path, place->path), 0);
}

static void place_remove(struct place *place)
{
    (void)unlink(place->path);
    assert_int_equal(rmdir(place->folder), 0);
}

static void name_now(const struct place *place, struct buf *name)
{
    struct file_state state;
    struct err err = {0};
    assert_true(file_look(&state, str_of(place->path), "CA cert", &err));
    buf_clear(name);
    file_name_add(name, str_of(place->path), state);
    buf_add_char(name, '\0');
}

/* Names must open the file, stay while it stays, and change with it: by them curl tells connections
 * apart. */
static void test_file_name_add__changes_with_the_file(void **state)
{
    (void)state;
    struct place place;
    struct buf before, again, after;
    buf_init(&before, 4096);
    buf_init(&again, 4096);
    buf_init(&after, 4096);
    place_make(&place);
    place_write(&place, "one");
    name_now(&place, &before);
    name_now(&place, &again);
    assert_string_equal(before.ptr, again.ptr);
    assert_int_equal(access(before.ptr, R_OK), 0);
    place_write(&place, "two");
    name_now(&place, &after);
    assert_string_not_equal(before.ptr, after.ptr);
    assert_int_equal(access(after.ptr, R_OK), 0);
    place_remove(&place);
    buf_deinit(&before);
    buf_deinit(&again);
    buf_deinit(&after);
}

/* Neither what is missing nor a pipe may stop the loop or go unsaid. */
static void test_file_look__refuses_what_is_no_file(void **state)
{
    (void)state;
    struct place place;
    struct file_state look;
    struct err err = {0};
    char wanted[400];
    place_make(&place);
    assert_false(file_look(&look, str_of(place.path), "client key", &err));
    snprintf(
        wanted, sizeof(wanted),
        "unable to read client key: unable to read file %s: open %s: no such file or directory",
        place.path, place.path);
    assert_string_equal(err.text, wanted);
    assert_int_equal(mkfifo(place.path, 0600), 0);
    assert_false(file_look(&look, str_of(place.path), "client key", &err));
    assert_true(str_ends(str_of(err.text), STR(": is no plain file")));
    assert_false(file_look(&look, str_of(place.folder), "client key", &err));
    assert_true(str_ends(str_of(err.text), STR(": is a directory")));
    place_remove(&place);
}

struct wrong_name {
    const char *names, *host, *text;
};

/* Operators search for these sentences. */
static void test_fetch_err_set__says_which_names_a_certificate_has(void **state)
{
    (void)state;
    static const struct wrong_name cases[] = {
        {"DNS:a.test, IP Address:10.0.0.1, DNS:b.test", "c.test",
         "certificate is valid for a.test, b.test, not c.test"},
        {"DNS:a.test, IP Address:10.0.0.1", "10.0.0.2",
         "certificate is valid for 10.0.0.1, not 10.0.0.2"},
        {"DNS:a.test", "10.0.0.2",
         "cannot validate certificate for 10.0.0.2 because it doesn't contain any IP SANs"},
        {"URI:x", "c.test", "certificate is not valid for any names, but wanted to match c.test"},
        {"", "[::1]",
         "cannot validate certificate for [::1] because it doesn't contain any IP SANs"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fetch_failure_facts facts = {
            .failure = FETCH_CERTIFICATE,
            .method = STR("GET"),
            .url = STR("https://x/"),
            .address = "",
            .server_name = str_of(cases[i].host),
            .certificate_names = str_of(cases[i].names),
            .text = "SSL: no alternative certificate subject name matches target host name 'x'",
        };
        struct err err = {0};
        char wanted[400];
        fetch_err_set(&err, &facts);
        snprintf(wanted, sizeof(wanted),
                 "Get \"https://x/\": tls: failed to verify certificate: x509: %s", cases[i].text);
        assert_string_equal(err.text, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_name_add__changes_with_the_file),
        cmocka_unit_test(test_file_look__refuses_what_is_no_file),
        cmocka_unit_test(test_fetch_err_set__says_which_names_a_certificate_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
