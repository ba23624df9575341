/* late: samples older than their series' newest, inside the out-of-order window.
 *
 *     late_add -> late slot (an unsorted array, in the log) --sealed with the others--> bundles of open files and overlays
 *
 * One writer, the loop thread. Readers take the list of late slots and each one's count, under a pinned epoch. Few
 * samples are late; a selection looks at all of them once. */
#ifndef STORAGE_LATE_H
#define STORAGE_LATE_H

#include "base/arena.h"
#include "base/job.h"
#include "model/batch.h"
#include "segments.h"

struct partition;
struct storage;
struct reader;

#define LATE_GROUP_KEY UINT64_MAX /* In head.mdb and bundles. */
#define LATE_SLOT_MAX  65536      /* Samples: then it is sealed. */

struct late_sample {
    int64_t time_ms;
    uint64_t bits;
    const struct histogram *histogram; /* In the slot's arena; NULL: a float. */
    series_ref ref;                    /* Pinned by the slot. */
};

struct late_slot {
    uint64_t number;
    uint64_t segment; /* First log segment with records of it. */
    uint64_t sequence;
    int64_t until_mono_ms;
    struct segments samples; /* struct late_sample */
    struct arena histograms; /* Writer. */
    bool cut;
};
SEGMENTS_TYPED(late, struct late_sample)

struct late_list {
    uint32_t count;
    struct late_slot *items[];
};

/* `bits` is the value's. */
void late_add(struct storage *storage, const struct batch_sample *sample);
/* Ends the log record of the batch's late samples. */
void late_end_batch(struct storage *storage);
/* A record of the log; false when it makes no sense. `sealed` is the newest sealed number. */
bool late_replay(struct storage *storage, struct reader *in, uint64_t sealed, uint64_t *samples);
void late_tick(struct storage *storage, int64_t now_mono_ms);
uint64_t late_oldest_segment(const struct storage *storage, uint64_t oldest);
bool late_touches(const struct storage *storage, int64_t from_ms,
                  int64_t to_ms); /* Not yet sealed. */
/* True while a slot with a number up to this one waits to be sealed. */
bool late_has_slot(const struct storage *storage, uint64_t number);
/* True for a file that the slot which is being sealed goes to, or may go to. */
bool late_uses(const struct storage *storage, const struct partition *partition);
void late_cut(struct storage *storage);
void late_free_all(struct storage *storage);

#endif
