/* partition_length: how long the next partition is to be.
 *
 * Retention drops whole files, and the newest always stays. So a file must be a small part of what is kept: a third of
 * the time at most, and with the reserve for its build a quarter of the size. The rate is that of the newest file; while
 * nothing is known of it, partitions are as short as they can be. Where a longer one would cross others it ends or begins
 * with them (partition_for), so the length may change at any time, also from one start to the next. */
#include "store.h"

#define LENGTH_MIN_MS  INT64_C(7200000)
#define EVIDENCE_MS    INT64_C(3600000)
#define TIME_PARTS     3
#define SIZE_PARTS     4
#define OPEN_AND_BUILD 2 /* An open file and what its build may take. */
#define DAY_DENSITY    2 /* A day file is so much smaller than its open one was. */

static const struct store_file *newest_file(const struct file_list *list, int64_t newest_ms)
{
    for (uint32_t i = list ? list->count : 0; i-- > 0;) {
        const struct store_file *file = &list->items[i];
        if (file->from_ms <= newest_ms && (!file->open || !file->open->is_overlay))
            return file;
    }
    return NULL;
}

/* Bytes of an open file that grow in `length_ms`; false while nobody knows. */
static bool bytes_of(const struct storage *storage, int64_t length_ms, double *out)
{
    int64_t newest = storage_newest_ms(storage);
    const struct store_file *file = newest_file(file_list_now(storage), newest);
    int64_t oldest = atomic_load_explicit(&storage->time_min_ms, memory_order_relaxed);
    if (!file || newest == INT64_MIN)
        return false;
    int64_t from = oldest > file->from_ms ? oldest : file->from_ms;
    int64_t to = newest < file->to_ms ? newest : file->to_ms;
    if (to < from || to - from < EVIDENCE_MS)
        return false;
    double bytes = (double)store_file_bytes(file) * (file->day ? DAY_DENSITY : 1);
    *out = bytes / (double)(to - from) * (double)length_ms;
    return true;
}

static bool fits(const struct storage *storage, int64_t length_ms)
{
    const struct storage_options *options = &storage->options;
    double bytes;
    if (options->retention_ms > 0 && length_ms > options->retention_ms / TIME_PARTS)
        return false;
    return options->retention_bytes == 0 ||
           (bytes_of(storage, length_ms, &bytes) &&
            bytes * OPEN_AND_BUILD <= (double)options->retention_bytes / SIZE_PARTS);
}

void partition_length_update(struct storage *storage)
{
    int64_t length = storage->options.partition_ms;
    while (length > LENGTH_MIN_MS && !fits(storage, length))
        length = length % (2 * LENGTH_MIN_MS) == 0 ? length / 2 : LENGTH_MIN_MS;
    atomic_store_explicit(&storage->partition_length_ms, length, memory_order_relaxed);
}
