/* sample_labels: from the labels of a line to those of its series: target labels, relabelling,
 * limits. */
#ifndef SCRAPE_SAMPLE_LABELS_H
#define SCRAPE_SAMPLE_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "config.h"
#include "model/labels.h"
#include "text_lex.h"

/* Scratch and rules of one scrape. */
struct sample_labels {
    const struct config_scrape *options; /* Borrowed. */
    const struct labels *target;         /* Borrowed. */
    struct arena *arena;                 /* Borrowed; reset by the owner. */
    struct labels_builder builder;       /* Holds the result. */
    VEC(struct label) own;               /* The line's labels, sorted. */
};

void sample_labels_init(struct sample_labels *labels, const struct config_scrape *options,
                        const struct labels *target, struct arena *arena);
void sample_labels_deinit(struct sample_labels *labels);

/* Fills labels->builder; it is empty when relabelling drops the line. The texts live as long as the
 * line and the arena. Errors end the scrape; *over_limit says that a label limit was it. */
MUST_CHECK bool sample_labels_build(struct sample_labels *labels, const struct text_line *line,
                                    enum metric_type type, bool *over_limit, struct err *err);

#endif
