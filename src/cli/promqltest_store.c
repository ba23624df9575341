/* promqltest_store: a store of its own for each test, in a directory that goes with it. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "promqltest_runner.h"

#define GROUP_KEY  1
#define CENTURY_MS (INT64_C(100) * 365 * 24 * 60 * 60 * 1000)

static void store_submit(void *ctx, struct job *job)
{
    struct test_store *store = ctx;
    list_push_back(&store->jobs, &job->node);
}

/* Both lanes: what the store has asked for, in its order. */
static void store_work(struct test_store *store)
{
    for (struct list_node *node; (node = list_pop_front(&store->jobs));) {
        struct job *job = CONTAINER_OF(node, struct job, node);
        job->run(job);
        job->done(job);
    }
}

bool test_store_open(struct test_store *store, struct err *err)
{
    struct storage_options options;
    const char *parent = getenv("TMPDIR");
    *store = (struct test_store){0};
    list_init(&store->jobs);
    snprintf(store->dir, sizeof(store->dir), "%s/narthex-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(store->dir)) {
        store->dir[0] = '\0';
        return err_errno(err, errno, "make a directory for the test");
    }
    storage_options_init(&options);
    options.path = str_of(store->dir);
    options.retention_ms = 0;
    options.out_of_order_ms = CENTURY_MS; /* One load may come after another of later times. */
    options.build_delay_ms = CENTURY_MS;
    options.submit_commit = store_submit;
    options.submit_ctx = store;
    if (!storage_open(&store->storage, &options, err))
        return false;
    store->group = storage_group_open(store->storage, GROUP_KEY);
    return true;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

void test_store_close(struct test_store *store)
{
    if (store->storage) {
        store_work(store);
        storage_group_close(store->group);
        storage_close(store->storage);
    }
    if (store->dir[0])
        (void)nftw(store->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    VEC_FREE(&store->refs);
    batch_deinit(&store->batch);
    *store = (struct test_store){0};
}

static series_ref store_series(struct test_store *store, const struct labels *labels,
                               struct err *err)
{
    series_ref ref = storage_series(store->storage, store->group, labels->items, labels->count,
                                    labels->hash, err);
    if (ref != SERIES_REF_NONE)
        VEC_PUSH(&store->refs, ref);
    return ref;
}

bool test_store_add(struct test_store *store, const struct labels *labels, int64_t time_ms,
                    double value, const struct histogram *histogram, struct err *err)
{
    series_ref ref = store_series(store, labels, err);
    if (ref == SERIES_REF_NONE)
        return false;
    if (histogram)
        batch_add_histogram(&store->batch, ref, time_ms, histogram);
    else
        batch_add(&store->batch, ref, time_ms, value);
    return true;
}

bool test_store_commit(struct test_store *store, struct err *err)
{
    struct append_options options = {.all_or_nothing = true, .now_ms = INT64_MAX};
    struct append_result result;
    bool good = store->batch.samples.count == 0 ||
                storage_append(store->storage, store->group, &store->batch, &options, &result, err);
    store_work(store);
    VEC_EACH (ref, &store->refs) {
        storage_series_release(store->storage, *ref);
    }
    VEC_CLEAR(&store->refs);
    VEC_CLEAR(&store->batch.samples);
    return good;
}
