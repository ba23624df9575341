/* fake_storage: the select side of storage.h over series in memory, for tests of what reads
 * storage.
 *
 * Include fake_storage.c in the test's own source: its definitions stand in for the storage
 * module's. */
#ifndef TESTS_FAKE_STORAGE_H
#define TESTS_FAKE_STORAGE_H

#include "storage.h"

struct storage *fake_storage_new(void);
void fake_storage_free(struct storage *storage);
void fake_storage_clear(struct storage *storage);
/* Makes the series when it is new. A time that is there already gets the new value. */
void fake_storage_add(struct storage *storage, const struct labels *labels, int64_t time_ms,
                      double value);
/* A copy is kept. Counters get the hint that a storage works out: no reset since the sample before,
 * or unknown. */
void fake_storage_add_histogram(struct storage *storage, const struct labels *labels,
                                int64_t time_ms, const struct histogram *histogram);
/* From now on selects, or the reading of samples, fail with this text; NULL: no more. */
void fake_storage_fail(struct storage *storage, const char *select_text, const char *read_text);
/* How many series have been read since it was made: tests of how often. */
size_t fake_storage_reads(const struct storage *storage);
/* Samples of one block at most; tests of block edges. */
void fake_storage_set_block(struct storage *storage, size_t samples);

#endif
