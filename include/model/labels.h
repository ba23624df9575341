/* labels: an immutable, sorted label set of a result, a target or a batch; refcounted.
 *
 *     labels_builder --labels_build()--> labels --last labels_unref()--> freed
 *
 * Sorted by name in byte order, names unique, no empty values. Text and items live in one allocation.
 * Any thread may hold a reference. The head does not use this struct per series: it keeps pair ids. */
#ifndef MODEL_LABELS_H
#define MODEL_LABELS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct label {
    struct str name;
    struct str value;
};

struct labels {
    _Atomic uint32_t refs;
    uint32_t count;
    uint64_t hash; /* labels_hash over all pairs; equal sets have equal hashes in any process. */
    struct label items[];
};

#define LABEL_NAME     STR("__name__")
#define LABEL_JOB      STR("job")
#define LABEL_INSTANCE STR("instance")
#define LABEL_LE       STR("le")
#define LABEL_QUANTILE STR("quantile")

/* Copies the texts. `sorted` must be sorted and unique; empty values are the caller's bug. */
struct labels *labels_new(const struct label *sorted, size_t count);
struct labels *labels_ref(struct labels *labels);
void labels_unref(struct labels *labels); /* NULL is fine. */
struct labels *labels_empty(void);        /* A shared empty set; still ref/unref it. */

struct str labels_get(const struct labels *labels, struct str name); /* Empty when absent. */
bool labels_has(const struct labels *labels, struct str name);
bool labels_eq(const struct labels *a, const struct labels *b);
int labels_cmp(const struct labels *a, const struct labels *b); /* Go's labels.Compare: pair by pair, name then value, then length. */
uint64_t labels_hash(const struct label *sorted, size_t count);

/* {__name__="up", job="x"} as Go's Labels.String(): values quoted by %q; names that are not legacy are quoted. */
void labels_print(struct buf *buf, const struct labels *labels);
/* up{job="x"} as Go's Metric.String() in promtool's output. {} for the empty set. */
void labels_print_metric(struct buf *buf, const struct labels *labels);
void labels_print_json(struct buf *buf, const struct labels *labels);

/* Legacy means [a-zA-Z_][a-zA-Z0-9_]* (and ':' in metric names). Valid in UTF-8 mode: not empty, valid UTF-8. */
bool label_name_is_legacy(struct str name);
bool metric_name_is_legacy(struct str name);
bool label_name_is_valid(struct str name);
/* U__ escaping of names in URLs (/label/U__x/values): decodes into the arena; a name without the prefix is itself. */
struct str label_name_unescape(struct arena *arena, struct str name);

/* A mutable scratch set: kept sorted by name. Texts are borrowed from wherever the caller has them (mostly an
 * arena) and must live until labels_build or the last use. Setting an empty value deletes. */
struct labels_builder {
    struct label *items; /* Owned array. */
    size_t count;
    size_t capacity;
};

void labels_builder_init(struct labels_builder *builder);
void labels_builder_deinit(struct labels_builder *builder);
void labels_builder_clear(struct labels_builder *builder);
void labels_builder_load(struct labels_builder *builder, const struct labels *labels); /* Replaces all. */
void labels_builder_set(struct labels_builder *builder, struct str name, struct str value);
void labels_builder_del(struct labels_builder *builder, struct str name);
struct str labels_builder_get(const struct labels_builder *builder, struct str name);
bool labels_builder_has(const struct labels_builder *builder, struct str name);
struct labels *labels_build(const struct labels_builder *builder);

#endif
