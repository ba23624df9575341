/* residency: see the header.
 *
 * Readers of days let go of large values at once (day_file_let_go). What remains are trees, indexes, and the open
 * partition, whose bundles a query reads again for each of their series: dropping them there would cost more than it
 * saves. Here whole maps are dropped: they are read-only and of files, so a page that is needed again comes back
 * from the page cache with a short fault, and no reader notices.
 *
 * Measured with 200,000 series of which all slots were sealed at once: 387 B of anonymous memory a series before the
 * trim, 123 after (storage knew of 112), 5 ms; the pages that come back cost less than 20 ms. Thresholds of malloc
 * (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD) change nothing: the holes are in the middle. */
#include "residency.h"

#include "base/cgroup.h"
#include "base/mem.h"
#include "base/page.h"
#include "base/spare.h"
#include "store.h"

#define LOOK_MS        5000
#define TRIM_MS        10000
#define FILE_BYTES_MAX ((uint64_t)16 << 20) /* Of mapped files, beyond the program's own pages. */
/* Of holes, and a part of 32 of what is used; or half of it, then it does not wait for its time. */
#define HEAP_BYTES_MAX ((uint64_t)1 << 19)

static void let_go_of_files(struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (list->items[i].day)
            day_file_let_go_all(list->items[i].day);
        else if (list->items[i].open->kv)
            kv_let_go(list->items[i].open->kv);
    }
}

static void look_at_files(struct storage *storage, struct resident *resident)
{
    struct residency *residency = &storage->residency;
    if (residency->file_bytes_floor > resident->file_bytes)
        residency->file_bytes_floor = resident->file_bytes;
    if (resident->file_bytes - residency->file_bytes_floor <= FILE_BYTES_MAX)
        return;
    let_go_of_files(storage);
    if (resident_read(resident))
        residency->file_bytes_floor = resident->file_bytes;
}

static void look_at_heap(struct storage *storage, const struct resident *resident,
                         int64_t now_mono_ms)
{
    struct residency *residency = &storage->residency;
    bool is_time =
        !residency->trimmed_mono_ms || now_mono_ms - residency->trimmed_mono_ms >= TRIM_MS;
    uint64_t used = mem_in_use(), kept = used + (is_time ? used / 32 : used / 2) + HEAP_BYTES_MAX;
    if (is_time)
        residency->trimmed_mono_ms = now_mono_ms;
    if (resident->anonymous_bytes > kept)
        mem_trim();
}

void residency_tick(struct storage *storage, int64_t now_mono_ms)
{
    struct residency *residency = &storage->residency;
    struct resident resident;
    if (residency->looked_mono_ms && now_mono_ms - residency->looked_mono_ms < LOOK_MS)
        return;
    residency->looked_mono_ms = now_mono_ms;
    spare_tick();
    page_trim();
    if (!resident_read(&resident))
        return;
    look_at_files(storage, &resident);
    look_at_heap(storage, &resident, now_mono_ms);
}
