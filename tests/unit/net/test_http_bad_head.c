/* Heads that no parser takes, in the words of Go's net/http. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_bad_head.h"

static void check(const char *head, const char *wanted)
{
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(http_bad_head_tell(&out, str_of(head)), wanted[0] != '\0');
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
}

#define BROKEN "net/http: HTTP/1.x transport connection broken: "

/* Texts as Prometheus 3.14 shows them for the same bytes. */
static void test_http_bad_head_tell__names_the_first_fault(void **state)
{
    (void)state;
    check("HTTP/1.1 abc OK\r\n\r\n", BROKEN "malformed HTTP status code \"abc\"");
    check("HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: x\r\n\r\n",
          BROKEN "malformed MIME header: missing colon: \"no colon here\"");
    check("HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n", BROKEN "bad Content-Length \"abc\"");
    check("HTTP/1.0 200 OK\ncontent-length: -4\n\n", BROKEN "bad Content-Length \"-4\"");
    check("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
          BROKEN "http: message cannot contain multiple Content-Length headers; got [\"4\" \"5\"]");
}

/* What is fine, not there yet or no HTTP is left to others. */
static void test_http_bad_head_tell__knows_its_limits(void **state)
{
    (void)state;
    check("", "");
    check("SSH-2.0\r\n\r\n", "");
    check("HTTP/1.1", "");
    check("HTTP/1.1\r\n\r\n", "");
    check("HTTP/1.1 200 OK\r\nContent-Le", "");
    check("HTTP/1.1 200 OK\r\nContent-Length: 4\r\ncontent-length: 4\r\n\r\nno colon\r\n", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_bad_head_tell__names_the_first_fault),
        cmocka_unit_test(test_http_bad_head_tell__knows_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
