/* slot: half an hour of one group in memory: columns of times and runs of values over them.
 *
 *     slot_new -> slot_place + run_add_* ... -> cut (frozen) -> sealed -> slot_free through the epoch
 *
 *     slot ---> columns: base, offsets ...        one a scrape; series with times of their own get more columns
 *          ---> members: runs in order of joining, 48 bytes each, with their series' refs
 *          ---> blocks of bytes, bump-allocated, known by number: all memory of a slot goes at once
 *
 * One writer, the loop thread. Published bytes and rows never change and nothing moves: a reader under a pinned epoch
 * takes a run's len and last_row between two looks at its group's gate and may read so far. */
#ifndef STORAGE_SLOT_H
#define STORAGE_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/str.h"
#include "base/vec.h"
#include "bundle.h"
#include "model/batch.h"
#include "stream.h"

#define SLOT_ROWS_AIM 120 /* A slot that has so many is cut soon, */
#define SLOT_ROWS_MAX 152 /* and with so many after the batch. */

struct slot;

struct column_times {
    uint32_t capacity;
    uint32_t offset_ms[]; /* Against the column's base. */
};

struct column {
    struct slot *slot;
    _Atomic(struct column_times *) times;
    int64_t base_ms;
    int64_t last_ms; /* Writer: the newest row's. */
    uint64_t batch;  /* Writer: the append that made the newest row. */
    uint32_t rows;   /* Writer; readers go by runs' last_row. */
    uint32_t number;
};

/* Bytes of a run after its inline ones. All but the newest are full. */
struct run_block {
    uint32_t older; /* As run->tail; 0: the inline bytes come before this one. */
    uint8_t capacity;
    uint8_t bytes[];
};

#define RUN_INLINE 10
enum { RUN_IS_HISTOGRAM = 1, RUN_NO_EXPONENT = 2 };

struct run {
    _Atomic(struct run *) older; /* The series' run before this one, while that is in memory. */
    struct column *column;
    _Atomic uint32_t tail; /* Its newest block's place in the slot (slot.c); 0: none. */
    _Atomic uint32_t len;  /* Published bytes. */
    uint32_t member;
    uint16_t first_row;
    _Atomic uint16_t last_row;
    uint16_t next_row; /* Writer: the first row that no entry speaks of. */
    uint16_t tail_used;
    uint8_t exponent, flags; /* Writer. */
    uint8_t bytes[RUN_INLINE];
};
_Static_assert(sizeof(struct run) == 48, "memory is per series");

/* Runs are of floats or of histograms. Any thread, once the run has an entry. */
static inline bool run_has_floats(const struct run *run)
{
    return (run->bytes[0] & (STREAM_GAP - 1)) != STREAM_HISTOGRAM;
}

#define SLOT_TABLES    12
#define SLOT_BYTES_MAX ((uint64_t)4 << 30) /* A quarter of what blocks have numbers for. */

struct slot {
    uint64_t number; /* Over the whole store. */
    uint32_t group;
    uint32_t member_count;
    int64_t until_mono_ms;
    uint64_t segment;  /* First log segment with records of it. */
    uint64_t sequence; /* Records in the log. */
    uint64_t samples;
    uint64_t bytes; /* Of memory. */
    VEC(struct column *) columns;
    VEC(struct run *) pages; /* Members; each followed by the refs. */
    struct column *hint;     /* Where the sample before went. */
    char **
        tables[SLOT_TABLES]; /* Of blocks; each twice as long as the one before: they never move. */
    uint32_t block_count;
    uint32_t block_used, block_size; /* Of the newest. */
};

struct slot *slot_new(uint32_t group, uint64_t number);
void slot_free(void *slot); /* For the epoch. */
/* Members one after the other, cheaply: slot_walk_to, then slot_walk_next. */
struct slot_walk {
    struct run *run;
    const series_ref *ref;
    uint32_t left; /* In this page, with the one that is stood on. */
};
void slot_walk_to(struct slot_walk *walk, const struct slot *slot, uint32_t member);
static inline void slot_walk_next(struct slot_walk *walk, const struct slot *slot)
{
    uint32_t next = walk->run->member + 1;
    if (--walk->left == 0) {
        if (next < slot->member_count)
            slot_walk_to(walk, slot, next);
        return;
    }
    walk->run++;
    walk->ref++;
}
/* The slot's writer: an entry of this run comes soon. */
void run_prefetch(const struct run *run, const struct slot *slot);
struct run *slot_member(const struct slot *slot, uint32_t member);
series_ref slot_member_ref(const struct slot *slot, uint32_t member);

/* Where a sample goes: the column and row of this time, both made when needed. `run` is the series' open run or NULL; when
 * *column is another than run's, the sample begins a new run. False when the slot is full: cut it first. */
MUST_CHECK bool slot_place(struct slot *slot, struct epoch *epoch, const struct run *run,
                           int64_t time_ms, uint64_t batch, struct column **column, uint32_t *row);
/* As slot_place, for replay, when there are no readers: this column (== count: a new one), this time. */
MUST_CHECK bool slot_place_at(struct slot *slot, uint32_t number, int64_t time_ms,
                              struct column **column, uint32_t *row);
/* A new member; not yet in its series' chain, without an entry. */
struct run *slot_add_run(struct slot *slot, struct column *column, uint32_t row, series_ref ref);
/* The value of the row before goes on. */
void run_repeat(struct run *run, uint32_t row);
/* An entry for `row`: control without gap, and payload. */
void run_add(struct run *run, uint32_t row, struct str entry);

int64_t column_time(const struct column *column, uint32_t row);
/* The times of rows 0..last_row, appended. Any thread. */
void column_read(const struct column *column, uint32_t last_row, struct time_vec *times);
/* The first `len` bytes, copied one after the other. Any thread. */
void run_read(const struct run *run, uint32_t len, uint8_t *out);

#endif
