/* proto: a remote write request in protobuf's wire format, read series by series: version 1
 * (prometheus.WriteRequest) or 2 (io.prometheus.write.v2.Request, labels by number in a table of
 * symbols).
 *
 *     proto_write_init(bytes) -> proto_write_next ... -> false: the end, or err
 *
 * One series is held at a time, so a hostile request costs a few scratch arrays with maxima, not a
 * tree. Only histograms live until proto_write_deinit: the batch has them. */
#ifndef REMOTE_PROTO_H
#define REMOTE_PROTO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/histogram_parts.h"
#include "model/labels.h"
#include "model/sample.h"

#define PROTO_LABELS_MAX          1024      /* Of one series. */
#define PROTO_SAMPLES_MAX         (1 << 21) /* Of one request: two bytes may claim a whole sample. */
#define PROTO_SYMBOLS_MAX         (1 << 20)
#define PROTO_EXEMPLARS_MAX       10000 /* Of one series. */
#define PROTO_HISTOGRAM_BYTES_MAX ((size_t)128 << 20)

struct proto_histogram {
    int64_t time_ms;
    const struct histogram *histogram; /* NULL: it is not valid, and `wrong` says why. */
    struct str wrong;
};

struct proto_exemplar {
    int64_t time_ms;
    double value;
    size_t first_label, label_count; /* In exemplar_labels. */
};

/* Whether the bytes of a series' labels as they stand, one field after the other, are known: then nobody looks inside. */
typedef bool (*proto_known_fn)(void *ctx, struct str label_bytes);

struct proto_write {
    struct reader in;
    bool is_v2;
    proto_known_fn known; /* Version 1; NULL: none are. Set after proto_write_init. */
    void *known_ctx;
    VEC(struct str) symbols;
    size_t sample_count;   /* So far, for the maximum. */
    size_t metadata_count; /* So far. */
    struct arena kept;     /* Histograms. */
    struct histogram_parts parts;
    VEC(struct label)
    labels; /* As sent: any order, empty and repeated ones too. Texts borrowed from the bytes. */
    struct str label_bytes;  /* Version 1: what `known` was asked; empty when labels stand apart. */
    bool is_known;           /* Then `labels` is empty. */
    struct str wrong_labels; /* Version 2: references that lead nowhere. Else empty. */
    VEC(struct sample) samples;
    VEC(struct proto_histogram) histograms;
    VEC(struct proto_exemplar) exemplars;
    VEC(struct label) exemplar_labels;
};

void proto_write_init(struct proto_write *write, struct str bytes); /* Bytes are borrowed. */
/* The same for version 2; false when the symbols cannot be read. */
MUST_CHECK bool proto_write_init_v2(struct proto_write *write, struct str bytes, struct err *err);
void proto_write_deinit(struct proto_write *write);
/* Reads the next series into labels, samples and so on. False at the end (err->code stays as it was)
 * and on damage (ERR_BAD_DATA). */
bool proto_write_next(struct proto_write *write, struct err *err);

/* --- proto_value.c --- */

MUST_CHECK bool proto_read_sample(struct reader in, struct sample *out, struct err *err);
/* prometheus.Histogram; that of version 2 has the same fields. */
MUST_CHECK bool proto_read_histogram(struct proto_write *write, struct reader in, struct err *err);
/* Adds to exemplars and exemplar_labels. */
MUST_CHECK bool proto_read_exemplar(struct proto_write *write, struct reader in, struct err *err);
MUST_CHECK bool proto_read_label(struct reader in, struct label *out, struct err *err);
/* labels_refs of version 2: pairs of numbers of symbols. Appends to `labels`; what leads nowhere sets
 * *wrong. */
struct proto_labels {
    struct label *items;
    size_t count, capacity;
};
MUST_CHECK bool proto_read_refs(struct proto_write *write, struct reader *in,
                                struct wire_field field, struct proto_labels *out, size_t max,
                                struct str *wrong, struct err *err);

#endif
