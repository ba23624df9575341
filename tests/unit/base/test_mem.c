/* Unit tests of base/mem. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static void test_mem_alloc__gives_a_pointer_for_nothing(void **state)
{
    (void)state;
    void *ptr = mem_alloc(0);
    assert_non_null(ptr);
    ptr = mem_realloc(ptr, 10);
    assert_non_null(ptr);
    mem_free(ptr);
    mem_free(NULL);
}

static void test_mem_zalloc__is_zeroed_and_dup_copies(void **state)
{
    (void)state;
    static const char zeroes[64];
    char *ptr = mem_zalloc(64);
    assert_memory_equal(ptr, zeroes, 64);
    ptr[3] = 'x';
    char *copy = mem_dup(ptr, 64);
    assert_memory_equal(copy, ptr, 64);
    mem_free(copy);
    mem_free(ptr);
}

/* A product that wraps round would give a small block for a large array. */
static void test_mem_alloc_array__aborts_on_overflow(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        volatile size_t count = SIZE_MAX / 2;
        mem_alloc_array(count, 4);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_alloc__gives_a_pointer_for_nothing),
        cmocka_unit_test(test_mem_zalloc__is_zeroed_and_dup_copies),
        cmocka_unit_test(test_mem_alloc_array__aborts_on_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
