/* exemplar_log: exemplars in the log, so that a restart keeps what the ring has.
 *
 *     added -> record -> segment ... its slots are sealed -> what the ring still has of it is written anew -> unlinked
 *
 * Loop thread; at the start the opener's. */
#ifndef STORAGE_EXEMPLAR_LOG_H
#define STORAGE_EXEMPLAR_LOG_H

#include "base/bytes.h"
#include "base/vec.h"
#include "storage.h"

/* The newest of the ring goes to the log, when that takes anything. */
void exemplar_log_add(struct storage *storage, series_ref ref, const struct exemplar *exemplar);
/* The first log segment that has to stay, when all others would let those below `oldest` go. */
uint64_t exemplar_log_oldest_segment(struct storage *storage, uint64_t oldest);
/* Writes some of what is in segments that are to go; true when there is more to do soon. */
bool exemplar_log_tick(struct storage *storage);

/* What a start finds, in any order. */
struct exemplar_found {
    int64_t time_ms;
    double value;
    uint64_t segment;
    series_ref ref;        /* SERIES_REF_NONE: `series` has it. */
    struct labels *series; /* A reference. */
    struct labels *labels; /* A reference. */
};
struct exemplar_finds {
    VEC(struct exemplar_found) items;
};
/* Takes the records of one payload, behind its kind. False when it makes no sense. */
bool exemplar_log_replay(struct storage *storage, struct reader *in, uint64_t segment,
                         struct exemplar_finds *finds);
/* Into the ring, oldest first. */
void exemplar_log_replay_end(struct storage *storage, struct exemplar_finds *finds);

#endif
