/* tombstone: a delete: samples in [from, to] of the series that match, as far as they were written before it.
 *
 *     storage_delete -> open slots are cut, slot = the newest number given so far -> lane: head.mdb -> loop: in the list
 *     select: left out        day build: not written        nothing left that it speaks of -> dropped
 *
 * "Written before it" means: in a slot with a number up to `slot`, or in a day file whose build did not know its sequence
 * (such a day has no later slots). Immutable once made; counted, because a build keeps them for minutes without a
 * pin. The list is replaced as a whole: readers load it under a pinned epoch and before they look at files, because a
 * tombstone is dropped after the last file that needed it.
 *
 * Value in head.mdb, key = sequence: u32 CRC32C of all that follows, i64 from, i64 to, u64 slot, varint count of matchers,
 * each u8 type (0 =, 1 !=, 2 =~, 3 !~), varint length and bytes of name and value. */
#ifndef STORAGE_TOMBSTONE_H
#define STORAGE_TOMBSTONE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "day_build.h"
#include "model/matcher.h"

#define TOMBSTONES_MAX DAY_DELETES_MAX

struct storage;

struct tombstone {
    _Atomic uint32_t refs;
    uint64_t sequence, slot;
    int64_t from_ms, to_ms;
    struct matchers matchers; /* Owned. */
};

/* By sequence; holds a reference of each. */
struct tombstone_list {
    uint64_t sequence_last; /* Newest that had been committed when it was made. */
    uint32_t count;
    struct tombstone *items[];
};

struct tombstone *tombstone_ref(struct tombstone *tombstone);
void tombstone_unref(struct tombstone *tombstone); /* NULL is fine. Any thread. */
bool tombstone_matches(const struct tombstone *tombstone, const struct label *labels, size_t count);
void tombstone_encode(const struct tombstone *tombstone, struct buf *out);
/* A new one with one reference. ERR_CORRUPT on bytes that tombstone_encode does not write. */
MUST_CHECK bool tombstone_decode(struct tombstone **out, uint64_t sequence, struct str bytes,
                                 struct err *err);

/* Those that are in force; NULL: the store is open for reading only. Any thread, under a pinned epoch. */
const struct tombstone_list *tombstone_list_now(const struct storage *storage);
/* A list of its own of those that touch [from, to). Loop thread. */
struct tombstone_list *tombstone_list_over(const struct storage *storage, int64_t from_ms,
                                           int64_t to_ms);
void tombstone_list_free(void *list); /* NULL is fine. */
/* day_build's `deleted`; ctx is a list. */
size_t tombstone_ranges(void *list, const struct label *labels, size_t count,
                        struct delete_range *out, size_t max);

/* At a start: from head.mdb, before the log is replayed; and after it: no open slot may take what comes after a delete. */
MUST_CHECK bool tombstone_load_all(struct storage *storage, struct err *err);
void tombstone_cut(struct storage *storage);
/* Drops those that nothing needs any more. Those up to `cleaned` are known not to be in days. */
void tombstone_forget(struct storage *storage, uint64_t cleaned);
void tombstone_free_all(struct storage *storage);

/* tombstone_clean.c */
void tombstone_clean_tick(struct storage *storage);
/* The next day that is to be rebuilt for a clean. */
bool tombstone_clean_due(const struct storage *storage, int64_t *from_ms, int64_t *to_ms);
/* The build of this span has failed: who waits for it is told. */
void tombstone_clean_failed(struct storage *storage, int64_t from_ms, int64_t to_ms,
                            const struct err *err);
void tombstone_clean_stop(struct storage *storage);

#endif
