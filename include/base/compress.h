/* compress: gzip and zlib streams both ways, snappy blocks. Outputs are bounded by the caller's buf. */
#ifndef BASE_COMPRESS_H
#define BASE_COMPRESS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* One snappy block. A claimed length over out->len_max is refused before anything is allocated. */
MUST_CHECK bool snappy_decode(struct str in, struct buf *out, struct err *err);
void snappy_encode(struct str in, struct buf *out);

enum deflate_format { DEFLATE_GZIP, DEFLATE_ZLIB };

/* All at once, for answers and tests; added to the end of *out. */
void deflate_encode(enum deflate_format format, struct str in, struct buf *out);
MUST_CHECK bool deflate_decode(enum deflate_format format, struct str in, struct buf *out, struct err *err);

/* As bytes arrive. */
struct inflate_stream;
struct inflate_stream *inflate_new(enum deflate_format format);
void inflate_free(struct inflate_stream *stream);
void inflate_restart(struct inflate_stream *stream);
/* Takes all of `in`, hands what comes out to `sink` piece by piece (at most 32 KiB each) until it returns
 * false (then this returns false with the sink's own err). Concatenated members are read on. */
typedef bool (*inflate_sink_fn)(void *ctx, struct str bytes, struct err *err);
MUST_CHECK bool inflate_feed(struct inflate_stream *stream, struct str in, inflate_sink_fn sink,
                             void *ctx, struct err *err);
/* After the last byte: false when the stream is cut short. */
MUST_CHECK bool inflate_finish(struct inflate_stream *stream, struct err *err);

#endif
