/* open_histograms: the last histogram of each open run of histograms, which the next one is coded against. One thread. */
#ifndef STORAGE_OPEN_HISTOGRAMS_H
#define STORAGE_OPEN_HISTOGRAMS_H

#include "base/map.h"
#include "base/vec.h"
#include "model/batch.h"
#include "model/histogram.h"

struct open_histogram;
struct open_histograms {
    struct map by_ref; /* ref -> position below */
    VEC(struct open_histogram *) items;
};

void open_histograms_init(struct open_histograms *all);
void open_histograms_deinit(struct open_histograms *all);
const struct histogram *open_histograms_find(const struct open_histograms *all,
                                             series_ref ref); /* NULL: none. */
void open_histograms_set(struct open_histograms *all, series_ref ref,
                         const struct histogram *histogram);
void open_histograms_forget(struct open_histograms *all, series_ref ref); /* None is fine. */
/* What is in `from` counts from now on; `from` is empty then. */
void open_histograms_move(struct open_histograms *all, struct open_histograms *from);

#endif
