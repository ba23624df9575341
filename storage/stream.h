/* stream: the bytes of one run: one series' values over rows of a column of times, as the head keeps them, as log
 * records carry them and as bundles of sealed slots hold them.
 *
 * A column is a list of times, a row one of them. A run covers rows first..last of its column: a row that no entry
 * speaks of repeats the value before it, so what does not change costs nothing. An entry is
 *
 *     control  g ccccccc     g = 1: a varint follows, how many rows repeat the value before this entry's row
 *                            c =   0        varint n: the series has no sample in n rows
 *                                  1..36    XOR with the bits before: n bytes at byte offset o, little-endian
 *                                  37       the stale marker
 *                                  38       u8 exponent e, zigzag m: the value is m / 10^e, and so are the next
 *                                  39       the value's 8 bytes
 *                                  40..103  m grows by c - 72 (m of the bits before, at the run's exponent)
 *                                  104      m grows by a zigzag
 *                                  105      a native histogram against the one before it in the run: varint length,
 *                                           codec_histogram bytes
 *     [gap varint] [payload]
 *
 * The first entry is coded against bits 0 and exponent 0: each run stands alone. Exponents only rise in a run; decimal
 * means that (double)m / 10^e has exactly the value's bits. Pure functions; the bytes are suspect when read. */
#ifndef STORAGE_STREAM_H
#define STORAGE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "samples.h"

#define STREAM_ENTRY_MAX    32 /* Of a value, with its gap; histograms are longer. */
#define STREAM_ROWS_MAX     8192
#define STREAM_EXPONENT_MAX 12
#define STREAM_NO_EXPONENT                                                                         \
    255 /* A true float was seen: no more search for exponents. Writer only. */

enum {
    STREAM_ABSENT = 0,
    STREAM_XOR_FIRST = 1,
    STREAM_XOR_LAST = 36,
    STREAM_STALE = 37,
    STREAM_DECIMAL = 38,
    STREAM_RAW = 39,
    STREAM_STEP_FIRST = 40,
    STREAM_STEP_LAST = 103,
    STREAM_STEP = 104,
    STREAM_HISTOGRAM = 105,
    STREAM_GAP = 128
};

/* What the next entry is coded against. */
struct stream_state {
    uint64_t bits;
    uint8_t exponent; /* As the reader knows it. */
    uint8_t wanted;   /* Writer: == exponent, or STREAM_NO_EXPONENT. */
};

/* Encodes a value that differs from state->bits, or the first of a run; moves the state on. Control byte (without gap)
 * and payload; returns the length. */
size_t stream_encode(struct stream_state *state, uint64_t bits, uint8_t out[STREAM_ENTRY_MAX]);
/* Decodes the payload of a value entry (1..104); false on bytes that no encoder writes. */
bool stream_decode(struct stream_state *state, uint8_t code, struct reader *in);
/* Steps over a payload of any kind. */
bool stream_skip(uint8_t code, struct reader *in);

/* Appends the samples of a run whose column has these times (`rows` of them; last_row < rows). False when the bytes do
 * not describe exactly the rows first_row..last_row. */
MUST_CHECK bool stream_read(struct str bytes, uint32_t first_row, uint32_t last_row,
                            const int64_t *times_ms, uint32_t rows, struct samples *out);
/* The same where `beyond` bytes after these can be read (and mean nothing): it may take larger strides. */
MUST_CHECK bool stream_read_amid(struct str bytes, size_t beyond, uint32_t first_row,
                                 uint32_t last_row, const int64_t *times_ms, uint32_t rows,
                                 struct samples *out);
#define STREAM_BEYOND_MAX 16 /* More is of no use. */
/* The inverse, for samples that lie on the rows of a column: appends the bytes and tells the rows. times_ms must
 * contain every sample's time. */
void stream_write(const struct samples *samples, size_t first, size_t count,
                  const int64_t *times_ms, uint32_t rows, struct buf *out, uint32_t *first_row,
                  uint32_t *last_row);

#endif
