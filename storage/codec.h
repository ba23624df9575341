/* codec: the dense bytes of one chunk of a day file: up to CODEC_VALUES_MAX values of one series, or times.
 *
 *     encode: tries what may fit, keeps the shortest, decodes it again and compares each bit
 *     decode: suspect bytes in, exact bits out; AVX2 where the machine has it, the same values without
 *
 * Modes: constant; exact decimal integers (exponent 0..12 tested bit for bit, greatest common divisor divided out,
 * values that are none in a list); true floats as the integers of their bits. Integers are kept as values, delta or
 * delta of delta: a list of the few changes, blocks of 128 with patched exceptions, or ranged ANS of the residuals'
 * lengths, whatever is shortest. A histogram's buckets follow each other in le order on the same times: a column may
 * be coded against the one before it (codec_column), which for cumulative buckets leaves next to nothing.
 * NaN payloads, -0, infinities and integers beyond 2^53 come back as they were.
 *
 * No state but what is passed in. Any thread. Bytes are drawn in docs/formats.md.
 * Sources: PFOR (Zukowski et al., "Super-scalar RAM-CPU cache compression", 2006), ALP's decimal test (Afroozeh et al.,
 * 2023), asymmetric numeral systems (Duda, 2013; interleaved: Giesen, 2014). */
#ifndef STORAGE_CODEC_H
#define STORAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include "model/histogram.h"

#define CODEC_VALUES_MAX 8192

/* A decoded column, kept for the next one of its family. */
struct codec_column {
    uint32_t count;
    bool has_integers; /* integers[] / 10^exponent are the values, bit for bit. */
    bool has_values;   /* values[] are filled: always, but after codec_decode_base. */
    bool has_base; /* So are most of them; at the others (NaN, stale) the integer before goes on. */
    uint8_t exponent;
    double values[CODEC_VALUES_MAX];
    int64_t integers[CODEC_VALUES_MAX];
};

/* Working memory of an encoder; large, so the caller has one for all its chunks. */
struct codec_encoder;
struct codec_encoder *codec_encoder_new(void);
void codec_encoder_free(struct codec_encoder *encoder);

/* Appends the chunk of `count` (1..CODEC_VALUES_MAX) values. `previous` (NULL: none) is a column on the same times that a
 * reader will have decoded before. Fills *column (may be NULL or `previous`) with the values for the next of the
 * family. */
void codec_encode(struct codec_encoder *encoder, const double *values, uint32_t count,
                  const struct codec_column *previous, struct codec_column *column,
                  struct buf *out);
/* True when codec_decode will want the column before. False for empty or unknown bytes. */
bool codec_needs_previous(struct str bytes);
/* False when the bytes are not a chunk of `count` values (or `previous` is missing or of another count). Fills
 * column->values, and column->integers when the chunk has them. `column` is not `previous`. */
MUST_CHECK bool codec_decode(struct str bytes, uint32_t count, const struct codec_column *previous,
                             struct codec_column *column);

/* The same, but where integers tell all values, these are left out: enough for a column that only the next of its family
 * is decoded against. */
MUST_CHECK bool codec_decode_base(struct str bytes, uint32_t count,
                                  const struct codec_column *previous, struct codec_column *column);
/* Fills the values that were left out. */
void codec_column_fill(struct codec_column *column);

/* An encoder for chunks that live for a day: about the same size for short ones, at a tenth of the price. False (and nothing
 * written) when it knows no good way. `column` gets the values, decoded from what was written; it is not `previous`. */
struct codec_quick;
struct codec_quick *codec_quick_new(void);
void codec_quick_free(struct codec_quick *quick);
MUST_CHECK bool codec_quick_encode(struct codec_quick *quick, const double *values, uint32_t count,
                                   const struct codec_column *previous, struct codec_column *column,
                                   struct buf *out);

/* Strictly increasing times, `count` of them (1..CODEC_VALUES_MAX): regular ones cost a few bytes in all. */
void codec_times_encode(const int64_t *times_ms, uint32_t count, struct buf *out);
void codec_quick_times(struct codec_quick *quick, const int64_t *times_ms, uint32_t count,
                       struct buf *out);
MUST_CHECK bool codec_times_decode(struct str bytes, uint32_t count, int64_t *times_ms);

/* One native histogram against the one before it in its run (NULL: none): self-delimiting bytes, used by the head, the
 * log and day files alike. All fields come back bit for bit. */
void codec_histogram_encode(const struct histogram *histogram, const struct histogram *previous,
                            struct buf *out);
/* The histogram is made in the arena. False on bytes that no encoder writes; bounded work and memory. */
MUST_CHECK bool codec_histogram_decode(struct reader *in, const struct histogram *previous,
                                       struct arena *arena, struct histogram **out);

#endif
