/* series_labels: a label set on disk: varint count, then (varint length, bytes) of each name and value, sorted by name.
 * A row of a table of series has a u32 CRC32C of id and label set behind it; those that earlier builds wrote have none.
 * Reading is suspicious. */
#ifndef STORAGE_SERIES_LABELS_H
#define STORAGE_SERIES_LABELS_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "model/labels.h"

void series_labels_encode(const struct label *labels, size_t count, struct buf *out);
/* Texts are borrowed from the bytes. */
MUST_CHECK bool series_labels_decode(struct reader *in, struct label *out, size_t count_max,
                                     size_t *count, struct err *err);

void series_row_encode(uint64_t id, const struct label *labels, size_t count, struct buf *out);
MUST_CHECK bool series_row_decode(uint64_t id, struct str row, struct label *out, size_t count_max,
                                  size_t *count, struct err *err);

#endif
