/* Unit tests of base/epoch; the one with threads is for TSan and ASan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "base/epoch.h"
#include "base/mem.h"

static int freed_count;

static void count_free(void *ptr)
{
    (void)ptr;
    freed_count++;
}

static void test_epoch_collect__waits_for_older_pins_only(void **state)
{
    (void)state;
    struct epoch epoch;

    freed_count = 0;
    epoch_init(&epoch);
    uint32_t old = epoch_pin(&epoch);
    uint64_t old_epoch = epoch_oldest(&epoch);
    epoch_retire(&epoch, count_free, NULL);
    uint32_t young = epoch_pin(&epoch);
    epoch_retire(&epoch, count_free, NULL);
    epoch_collect(&epoch);
    assert_int_equal(freed_count, 0);
    assert_true(epoch_oldest(&epoch) == old_epoch);
    epoch_unpin(&epoch, old);
    epoch_collect(&epoch);
    assert_int_equal(freed_count, 1);
    assert_int_equal(epoch.retired_count, 1);
    epoch_unpin(&epoch, young);
    epoch_collect(&epoch);
    assert_int_equal(freed_count, 2);
    epoch_deinit(&epoch);
    epoch_deinit(NULL);
}

static void test_epoch_deinit__frees_the_rest(void **state)
{
    (void)state;
    struct epoch epoch;

    freed_count = 0;
    epoch_init(&epoch);
    for (int i = 0; i < 10; i++)
        epoch_retire(&epoch, count_free, NULL);
    epoch_deinit(&epoch);
    assert_int_equal(freed_count, 10);
}

/* Every slot can be pinned at once, and each is its own. */
static void test_epoch_pin__fills_the_table(void **state)
{
    (void)state;
    struct epoch epoch;
    bool seen[EPOCH_PINS_MAX] = {false};

    epoch_init(&epoch);
    for (int i = 0; i < EPOCH_PINS_MAX; i++) {
        uint32_t pin = epoch_pin(&epoch);
        assert_true(pin < EPOCH_PINS_MAX && !seen[pin]);
        seen[pin] = true;
    }
    /* Beyond that slots are shared, and what is retired waits for every reader of a slot. */
    uint32_t shared = epoch_pin(&epoch);
    freed_count = 0;
    epoch_retire(&epoch, count_free, NULL);
    for (uint32_t i = 0; i < EPOCH_PINS_MAX; i++)
        epoch_unpin(&epoch, i);
    epoch_collect(&epoch);
    assert_int_equal(freed_count, 0);
    epoch_unpin(&epoch, shared);
    epoch_collect(&epoch);
    assert_int_equal(freed_count, 1);
    epoch_deinit(&epoch);
}

#define READERS 6
#define ROUNDS  20000

struct shared {
    struct epoch epoch;
    _Atomic(int *) published;
    atomic_bool ended;
    atomic_int bad_count;
};

static void *reader_run(void *ctx)
{
    struct shared *shared = ctx;
    while (!atomic_load(&shared->ended)) {
        uint32_t pin = epoch_pin(&shared->epoch);
        for (int i = 0; i < 10; i++) {
            const int *item = atomic_load_explicit(&shared->published, memory_order_acquire);
            if (item[0] + item[1] != 0)
                atomic_fetch_add(&shared->bad_count, 1);
        }
        epoch_unpin(&shared->epoch, pin);
    }
    return NULL;
}

static int *item_new(int value)
{
    int *item = mem_alloc_array(2, sizeof(int));
    item[0] = value;
    item[1] = -value;
    return item;
}

/* Frees what readers must no longer see; poisoned first, so that a plain build notices as well. */
static void item_free(void *ptr)
{
    int *item = ptr;
    item[0] = item[1] = 1;
    mem_free(item);
}

static void test_epoch__never_frees_under_a_reader(void **state)
{
    (void)state;
    static struct shared shared;
    pthread_t threads[READERS];

    epoch_init(&shared.epoch);
    atomic_store(&shared.published, item_new(0));
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &shared), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        int *old = atomic_exchange(&shared.published, item_new(round));
        epoch_retire(&shared.epoch, item_free, old);
        epoch_collect(&shared.epoch);
        if (round % 64 == 0)
            sched_yield();
    }
    atomic_store(&shared.ended, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&shared.bad_count), 0);
    epoch_retire(&shared.epoch, item_free, atomic_load(&shared.published));
    epoch_deinit(&shared.epoch);
    assert_int_equal(shared.epoch.retired_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epoch_collect__waits_for_older_pins_only),
        cmocka_unit_test(test_epoch_deinit__frees_the_rest),
        cmocka_unit_test(test_epoch_pin__fills_the_table),
        cmocka_unit_test(test_epoch__never_frees_under_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
