/* proto: prometheus.WriteRequest (remote write 1) in protobuf's wire format, read series by series.
 *
 *     proto_write_init(bytes) -> proto_write_next ... -> false: the end, or err
 *
 * One series is held at a time, so a hostile request costs a few scratch arrays with maxima, not a
 * tree. */
#ifndef REMOTE_PROTO_H
#define REMOTE_PROTO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/labels.h"
#include "model/sample.h"

#define PROTO_LABELS_MAX  1024      /* Of one series. */
#define PROTO_SAMPLES_MAX (1 << 21) /* Of one request: two bytes may claim a whole sample. */

struct proto_write {
    struct reader in;
    size_t sample_count;   /* So far, for the maximum. */
    size_t metadata_count; /* So far. */
    VEC(struct label)
    labels; /* As sent: any order, empty and repeated ones too. Texts borrowed from the bytes. */
    VEC(struct sample) samples;
    size_t exemplar_count, histogram_count; /* Of the current series. */
};

void proto_write_init(struct proto_write *write, struct str bytes); /* Bytes are borrowed. */
void proto_write_deinit(struct proto_write *write);
/* Reads the next series into labels, samples and the counts. False at the end (err->code stays as
 * it was) and on damage (ERR_BAD_DATA). */
bool proto_write_next(struct proto_write *write, struct err *err);

#endif
