/* budget: what new series are refused for, and what queries may still take. Old series always go on.
 *
 *     memory < budget                              new series are taken
 *     memory >= budget, after a trim, too          refusing, until it is a sixteenth below
 *
 * Memory is the process' anonymous memory as the kernel counts it, read once a second, plus an estimate of what the
 * series since then have taken; when that grows, it is read again. Loop thread. */
#ifndef STORAGE_BUDGET_H
#define STORAGE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"
#include "storage.h"

/* Live series of one value of the label `job`. */
struct budget_job {
    uint32_t pair; /* Of the index; while count > 0 it is not used again. */
    uint32_t count;
};

struct budget {
    uint64_t used_bytes;  /* When it was read. */
    uint64_t grown_bytes; /* Estimate of what came since. */
    int64_t read_mono_ms; /* 0: never. */
    int64_t trimmed_mono_ms;
    bool refusing;
    unsigned query_count;                 /* Among so many queries the room is shared. */
    _Atomic uint64_t selection_bytes_max; /* Readers: no selection may be larger. */
    struct map job_of_pair; /* Only with a limit per job. */
    VEC(struct budget_job) jobs;
    VEC(uint32_t) jobs_free;
    int64_t told_mono_ms[STORAGE_REFUSAL_COUNT]; /* When a line was logged; 0: never. */
    uint64_t told_count[STORAGE_REFUSAL_COUNT];  /* Refused until then. */
    struct storage_guilty guilty;
};

struct series;
void budget_init(struct budget *budget);
void budget_deinit(struct budget *budget);
void budget_tick(struct storage *storage, int64_t now_mono_ms);
/* A series became live, or dead. */
void budget_note_live(struct storage *storage, const struct series *series, bool is_live);
/* Whether a new series may come; it is on its way in then. */
MUST_CHECK bool budget_take(struct storage *storage, const struct label *labels, size_t count,
                            struct err *err);
/* Counts a refusal and tells of it, seldom. */
void budget_refused(struct storage *storage, enum storage_refusal why, const struct err *err);
#endif
