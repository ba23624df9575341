/* Unit tests of base/ensure: a failed one must name the place and the job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"

static void child_run(const char *job, char *text, size_t text_max)
{
    int pipe_ends[2], status;
    size_t len = 0;

    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipe_ends[1], STDERR_FILENO);
        ensure_set_job(job);
        volatile int one = 1;
        ENSURE(one == 2);
        _exit(0);
    }
    close(pipe_ends[1]);
    for (ssize_t got; (got = read(pipe_ends[0], text + len, text_max - 1 - len)) > 0;)
        len += (size_t)got;
    text[len] = '\0';
    close(pipe_ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_ensure_failed__names_expression_and_job(void **state)
{
    (void)state;
    char text[2048];

    child_run("scraping node", text, sizeof(text));
    assert_ptr_equal(strstr(text, "narthex: "), text);
    assert_non_null(strstr(text, "test_ensure.c:"));
    assert_non_null(strstr(text, ": ENSURE(one == 2) failed while scraping node\n"));
    child_run(NULL, text, sizeof(text));
    assert_non_null(strstr(text, "failed while "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ensure_failed__names_expression_and_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
