/* watch: readers of open files that do not end. LMDB uses no page again that was freed after the oldest reader began, so
 * one that is stuck lets its file grow with each seal: it is told in the log and in stats. Queries have a deadline of their own
 * (query.timeout), builds read files that get no writes; so this is about errors, of ours or of the kernel's. */
#include <inttypes.h>

#include "base/log.h"
#include "store.h"

#define LOOK_MS  30000
#define STUCK_MS (5 * 60 * 1000)

static bool is_stuck(struct partition *partition, const struct kv_readers *readers,
                     int64_t now_mono_ms)
{
    if (readers->oldest == 0 || readers->oldest != partition->reader_oldest) {
        partition->reader_oldest = readers->oldest;
        partition->reader_since_mono_ms = now_mono_ms;
        return false;
    }
    return now_mono_ms - partition->reader_since_mono_ms >= STUCK_MS;
}

static void tell(struct partition *partition, const struct kv_readers *readers, int64_t now_mono_ms)
{
    if (partition->reader_told_mono_ms && now_mono_ms - partition->reader_told_mono_ms < STUCK_MS)
        return;
    partition->reader_told_mono_ms = now_mono_ms;
    LOG_W("A reader of an open file does not end: the file grows until it does", "file",
          partition->path, "seconds",
          log_fmt("%" PRId64, (now_mono_ms - partition->reader_since_mono_ms) / 1000), "readers",
          log_fmt("%" PRIu32, readers->count), "commits_behind",
          log_fmt("%" PRIu64, readers->commits_behind));
}

void watch_tick(struct storage *storage, int64_t now_mono_ms)
{
    const struct file_list *list = file_list_now(storage);
    uint64_t stuck = 0;
    if (storage->watched_mono_ms && now_mono_ms - storage->watched_mono_ms < LOOK_MS)
        return;
    storage->watched_mono_ms = now_mono_ms;
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct partition *partition = list->items[i].open;
        struct kv_readers readers;
        struct err ignored = {0};
        if (!partition || !kv_watch_readers(partition->kv, &readers, &ignored) ||
            !is_stuck(partition, &readers, now_mono_ms))
            continue;
        stuck++;
        tell(partition, &readers, now_mono_ms);
    }
    storage->stats.stuck_readers = stuck;
}
