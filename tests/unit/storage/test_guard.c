/* guard: a mapped file that is cut short under its readers is an error, not the end of the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard.h"

#define PAGE  4096
#define PAGES 16

struct mapped {
    int fd;
    char *bytes;
    struct guard_map map;
};

static void map_file(struct mapped *mapped)
{
    char path[] = "/tmp/narthex-test-XXXXXX";
    memset(mapped, 0, sizeof(*mapped));
    mapped->fd = mkstemp(path);
    assert_true(mapped->fd >= 0);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < PAGES; i++) {
        char page[PAGE];
        memset(page, 'a' + i, PAGE);
        assert_int_equal(write(mapped->fd, page, PAGE), PAGE);
    }
    mapped->bytes = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, mapped->fd, 0);
    assert_true(mapped->bytes != MAP_FAILED);
    guard_map_add(&mapped->map, mapped->bytes, PAGES * PAGE);
}

static void unmap_file(struct mapped *mapped)
{
    guard_map_remove(&mapped->map);
    munmap(mapped->bytes, PAGES * PAGE);
    close(mapped->fd);
}

static void cut(const struct mapped *mapped, int pages)
{
    assert_int_equal(ftruncate(mapped->fd, (off_t)pages * PAGE), 0);
}

struct sum {
    const char *bytes;
    uint64_t sum, pages_read;
};

static void add_all(void *ctx)
{
    struct sum *sum = ctx;
    for (size_t i = 0; i < (size_t)PAGES * PAGE; i++) {
        sum->sum += (uint64_t)(unsigned char)((const volatile char *)sum->bytes)[i];
        sum->pages_read = i / PAGE + 1;
    }
}

/* What could be read before the fault was read; the rest ends fn and not the process. */
static void test_guard_run__ends_at_a_page_that_is_gone(void **state)
{
    struct mapped mapped;
    (void)state;
    map_file(&mapped);
    struct sum sum = {.bytes = mapped.bytes};
    assert_true(guard_run(&mapped.map, add_all, &sum));
    assert_int_equal(sum.pages_read, PAGES);
    assert_false(guard_map_is_damaged(&mapped.map));
    cut(&mapped, 5);
    for (int i = 0; i < 3; i++) { /* Each time anew: the signal is not left blocked. */
        sum.pages_read = 0;
        assert_false(guard_run(&mapped.map, add_all, &sum));
        assert_int_equal(sum.pages_read, 5);
    }
    assert_true(guard_map_is_damaged(&mapped.map));
    unmap_file(&mapped);
}

struct nested {
    struct mapped *inner;
    struct sum sum;
    bool inner_good, went_on;
};

static void run_inner(void *ctx)
{
    struct nested *nested = ctx;
    nested->inner_good = guard_run(&nested->inner->map, add_all, &nested->sum);
    nested->went_on = true;
}

/* A fault ends the innermost run for its own map only. */
static void test_guard_run__can_be_nested(void **state)
{
    struct mapped outer, inner;
    (void)state;
    map_file(&outer);
    map_file(&inner);
    struct nested nested = {.inner = &inner, .sum = {.bytes = inner.bytes}};
    cut(&inner, 2);
    assert_true(guard_run(&outer.map, run_inner, &nested));
    assert_false(nested.inner_good);
    assert_true(nested.went_on);
    cut(&outer, 1);
    nested = (struct nested){.inner = &inner, .sum = {.bytes = outer.bytes}};
    assert_false(guard_run(&outer.map, run_inner, &nested));
    assert_false(nested.went_on);
    assert_true(guard_map_is_damaged(&outer.map));
    unmap_file(&outer);
    unmap_file(&inner);
}

/* A reader that nobody guards sees zeroes, and the map says that it is damaged. */
static void test_guard_map_add__shows_zeroes_to_others(void **state)
{
    struct mapped mapped;
    (void)state;
    map_file(&mapped);
    cut(&mapped, 3);
    struct sum sum = {.bytes = mapped.bytes};
    add_all(&sum);
    assert_int_equal(sum.pages_read, PAGES);
    assert_int_equal(sum.sum, (uint64_t)PAGE * ('a' + 'b' + 'c'));
    assert_true(guard_map_is_damaged(&mapped.map));
    unmap_file(&mapped);
}

struct worker {
    struct mapped *mapped;
    int faults, wholes;
};

static void *read_often(void *ctx)
{
    struct worker *worker = ctx;
    for (int i = 0; i < 200; i++) {
        struct sum sum = {.bytes = worker->mapped->bytes};
        if (guard_run(&worker->mapped->map, add_all, &sum))
            worker->wholes++;
        else
            worker->faults++;
    }
    return NULL;
}

/* Each thread has its own place to go back to. */
static void test_guard_run__works_on_several_threads(void **state)
{
    struct mapped whole, damaged;
    struct worker workers[4];
    pthread_t threads[4];
    (void)state;
    map_file(&whole);
    map_file(&damaged);
    cut(&damaged, 7);
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.mapped = i % 2 ? &damaged : &whole};
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(i % 2 ? workers[i].faults : workers[i].wholes, 200);
    }
    assert_false(guard_map_is_damaged(&whole.map));
    unmap_file(&whole);
    unmap_file(&damaged);
}

static sigjmp_buf before_jump;
static volatile int before_calls;

static void before_handler(int signal_number)
{
    (void)signal_number;
    before_calls++;
    siglongjmp(before_jump, 1);
}

/* A fault of our own is not hidden: whoever handled it before still does. */
static void test_guard_run__leaves_other_faults_to_the_handler_before(void **state)
{
    struct mapped mapped;
    struct sigaction action, before;
    (void)state;
    memset(&action, 0, sizeof(action));
    action.sa_handler = before_handler;
    assert_int_equal(sigaction(SIGBUS, &action, &before), 0);
    map_file(&mapped);
    cut(&mapped, 1);
    guard_map_remove(&mapped.map); /* Nobody knows the map now. */
    struct sum sum = {.bytes = mapped.bytes};
    before_calls = 0;
    if (sigsetjmp(before_jump, 1) == 0) {
        add_all(&sum);
        fail();
    }
    assert_int_equal(before_calls, 1);
    assert_int_equal(sigaction(SIGBUS, &before, NULL), 0);
    unmap_file(&mapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_run__ends_at_a_page_that_is_gone),
        cmocka_unit_test(test_guard_run__can_be_nested),
        cmocka_unit_test(test_guard_map_add__shows_zeroes_to_others),
        cmocka_unit_test(test_guard_run__works_on_several_threads),
        cmocka_unit_test(test_guard_run__leaves_other_faults_to_the_handler_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
