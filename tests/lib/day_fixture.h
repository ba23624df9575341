/* day_fixture: open partitions made by hand, for tests and benchmarks of day files. */
#ifndef DAY_FIXTURE_H
#define DAY_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/vec.h"
#include "bundle.h"
#include "day_build.h"
#include "kv.h"
#include "series_labels.h"
#include "stream.h"

enum { FIXTURE_META, FIXTURE_SERIES, FIXTURE_BUNDLES, FIXTURE_DIR, FIXTURE_TABLES };
static const char *const FIXTURE_TABLE_NAMES[FIXTURE_TABLES] = {"meta", "series", "bundles", "dir"};

/* One open partition that is being written. */
struct fixture {
    struct kv *kv;
    struct kv_write *write;
    struct bundle_writer bundle;
    uint64_t next_key;
    struct buf bytes;
};

static inline void fixture_must(bool good, const struct err *err)
{
    if (!good) {
        fprintf(stderr, "fixture: %s\n", err->text);
        abort();
    }
}

static inline void fixture_open(struct fixture *fixture, const char *path)
{
    struct err err = {0};
    *fixture = (struct fixture){.next_key = 1};
    fixture_must(kv_open(&fixture->kv, path, FIXTURE_TABLE_NAMES, FIXTURE_TABLES, &err), &err);
    fixture_must(kv_write_begin(fixture->kv, &fixture->write, &err), &err);
    bundle_writer_init(&fixture->bundle);
    buf_init(&fixture->bytes, (size_t)1 << 30);
}

static inline void fixture_commit(struct fixture *fixture)
{
    struct err err = {0};
    fixture_must(kv_commit(fixture->write, &err), &err);
    fixture->write = NULL;
}

static inline void fixture_close(struct fixture *fixture)
{
    kv_abort(fixture->write);
    kv_close(fixture->kv);
    bundle_writer_deinit(&fixture->bundle);
    buf_deinit(&fixture->bytes);
}

static inline void fixture_series(struct fixture *fixture, uint64_t id, const struct label *labels,
                                  size_t count)
{
    struct err err = {0};
    buf_clear(&fixture->bytes);
    series_labels_encode(labels, count, &fixture->bytes);
    fixture_must(kv_put(fixture->write, FIXTURE_SERIES, id, buf_str(&fixture->bytes), &err), &err);
}

/* A run of a series on a column of the bundle that is open; all sample times are rows of the column. */
static inline void fixture_run(struct fixture *fixture, uint64_t id, uint16_t column,
                               const struct samples *samples, const int64_t *times_ms,
                               uint32_t rows)
{
    uint32_t first_row, last_row;
    buf_clear(&fixture->bytes);
    stream_write(samples, 0, samples->count, times_ms, rows, &fixture->bytes, &first_row,
                 &last_row);
    bundle_writer_run(&fixture->bundle, id, column, first_row, last_row, samples->time_ms[0],
                      samples->time_ms[samples->count - 1], buf_str(&fixture->bytes));
}

static inline void fixture_end_bundle(struct fixture *fixture)
{
    struct err err = {0};
    if (fixture->bundle.runs.count == 0)
        return;
    bundle_writer_finish(&fixture->bundle, &fixture->bytes);
    fixture_must(kv_put(fixture->write, FIXTURE_BUNDLES, fixture->next_key++,
                        buf_str(&fixture->bytes), &err),
                 &err);
}

#endif
