/* exemplar: a ring of exemplars: the newest `max`, each in a list of its series.
 *
 *     ring     [e7 e8 | e3 e4 e5 e6]     the next one goes where e3 is
 *     series   oldest -> ... -> newest   by index; the ring's oldest is its series' oldest, too
 *
 * Each knows the log segment that a start finds it in, 0: none (exemplar_log.c). Memory: grows with what is stored,
 * counted in `bytes`. Loop thread. */
#ifndef STORAGE_EXEMPLAR_H
#define STORAGE_EXEMPLAR_H

#include "storage.h"

struct exemplar_ring;

struct exemplar_ring *exemplar_ring_new(size_t max);
void exemplar_ring_free(struct exemplar_ring *ring); /* NULL is fine. */
/* Keeps a reference of `series` if it is stored. */
enum exemplar_outcome exemplar_ring_add(struct exemplar_ring *ring, struct labels *series,
                                        const struct exemplar *exemplar);
void exemplar_ring_set_max(struct exemplar_ring *ring, size_t max); /* Above 0. */
struct exemplar_list *exemplar_ring_list(const struct exemplar_ring *ring, int64_t from_ms,
                                         int64_t to_ms);
/* The segment of the one that was added last. */
void exemplar_ring_set_segment(struct exemplar_ring *ring, uint64_t segment);
/* The oldest segment that any is in; UINT64_MAX: none. */
uint64_t exemplar_ring_oldest_segment(const struct exemplar_ring *ring);
/* The first at *at or behind that is in a segment below `below` or in none, of at most `look_max`: borrowed, and now it is in
 * `segment`. False when there is none; *at is then where to look next, exemplar_ring_count at the end. */
bool exemplar_ring_move(struct exemplar_ring *ring, uint64_t below, uint64_t segment, size_t *at,
                        size_t look_max, struct exemplar_item *out);
size_t exemplar_ring_count(const struct exemplar_ring *ring);
/* A start takes its exemplars twice when they are in two segments: that is not out of order. */
void exemplar_ring_forget_out_of_order(struct exemplar_ring *ring);
void exemplar_ring_get_stats(const struct exemplar_ring *ring, struct exemplar_stats *out);

#endif
