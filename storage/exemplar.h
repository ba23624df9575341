/* exemplar: a ring of exemplars: the newest `max`, each in a list of its series.
 *
 *     ring     [e7 e8 | e3 e4 e5 e6]     the next one goes where e3 is
 *     series   oldest -> ... -> newest   by index; the ring's oldest is its series' oldest, too
 *
 * Memory: grows with what is stored, counted in `bytes`. Loop thread. */
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
void exemplar_ring_get_stats(const struct exemplar_ring *ring, struct exemplar_stats *out);

#endif
