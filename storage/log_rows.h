/* log_rows: the rows of log records back into slots, at a start. Several threads work on different groups at a time: what
 * they find out about the whole store waits in a struct log_rows each. */
#ifndef STORAGE_LOG_ROWS_H
#define STORAGE_LOG_ROWS_H

#include "base/bytes.h"
#include "store.h"

struct slot_cut {
    struct storage_group *group;
    struct slot *slot;
};

/* One thread's. */
struct log_rows {
    struct storage *storage; /* Nothing of it changes but groups, slots and the series of these. */
    const struct open_histograms *histograms_before; /* What the windows before have left. */
    struct open_histograms histograms;               /* Newer ones. */
    bool as_written; /* One thread, all groups: a series may have runs of two of them. */
    bool conflict;   /* Out: a series has runs of two groups. */
    uint64_t samples, corruptions;
    VEC(struct slot_cut) cut; /* Slots that are over, in order. */
    VEC(series_ref) born;     /* Series that had no run before. */
};
void log_rows_init(struct log_rows *rows, struct storage *storage,
                   const struct open_histograms *histograms_before);
void log_rows_deinit(struct log_rows *rows);

/* The payload of a record of rows, behind its kind and group key. False when it makes no sense. */
bool log_rows_take(struct log_rows *rows, struct storage_group *group, struct reader *in);
/* A series' newest sample is that of its newest run: once for each slot, when all rows are in. */
void log_rows_note_newest(struct storage *storage, const struct slot *slot);

#endif
