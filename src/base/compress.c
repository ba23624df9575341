/* compress: snappy blocks (remote write and read) and gzip or zlib streams (scrapes, answers).
 *
 * What comes in may claim or become anything: a snappy block's claimed length is held against the
 * output's maximum and against what so many bytes can become at most; an inflate stream hands out
 * pieces of 32 KiB and stops as soon as its sink does. Error texts are those of Go's libraries. */
#include "base/compress.h"

#define ZLIB_CONST /* Inputs are const. */
#include <limits.h>
#include <snappy-c.h>
#include <zlib.h>

#include "base/mem.h"

#define INFLATE_PIECE_MAX (32 * 1024)
#define DEFLATE_PIECE_MIN 4096
/* A text answer shrinks about tenfold at level 3, at three times the speed of level 6. */
#define DEFLATE_LEVEL   3
#define WINDOW_BITS_MIN 10
/* The densest snappy element is a 3-byte copy of 64 bytes. */
#define SNAPPY_GROWTH_MAX 22

/* ---- Snappy ---- */

bool snappy_decode(struct str in, struct buf *out, struct err *err)
{
    size_t len;

    if (in.len == 0 || snappy_uncompressed_length(in.ptr, in.len, &len) != SNAPPY_OK)
        return err_set(err, ERR_BAD_DATA, "snappy: corrupt input");
    if (out->overflow || out->len > out->len_max || len > out->len_max - out->len)
        return err_set(err, ERR_LIMIT,
                       "snappy: decoded block is too large: %zu bytes of at most %zu", len,
                       out->len_max);
    if (len / SNAPPY_GROWTH_MAX > in.len)
        return err_set(err, ERR_BAD_DATA, "snappy: corrupt input");
    if (len == 0)
        return snappy_validate_compressed_buffer(in.ptr, in.len) == SNAPPY_OK ||
               err_set(err, ERR_BAD_DATA, "snappy: corrupt input");
    char *at = buf_reserve(out, len);
    ENSURE(at != NULL);
    if (snappy_uncompress(in.ptr, in.len, at, &len) != SNAPPY_OK)
        return err_set(err, ERR_BAD_DATA, "snappy: corrupt input");
    buf_commit(out, len);
    return true;
}

void snappy_encode(struct str in, struct buf *out)
{
    size_t len = snappy_max_compressed_length(in.len);
    size_t room = out->len_max > out->len ? out->len_max - out->len : 0;
    /* The worst case may pass a maximum that the block itself keeps: then it is built beside. */
    char *beside = len > room ? mem_alloc(len) : NULL;
    char *at = beside ? beside : buf_reserve(out, len);

    if (!at)
        return;
    snappy_status status = snappy_compress(in.len ? in.ptr : "", in.len, at, &len);
    ENSURE(status == SNAPPY_OK);
    if (beside)
        buf_add(out, beside, len);
    else
        buf_commit(out, len);
    mem_free(beside);
}

/* ---- Deflate ---- */

/* zlib clears tables as large as its window, a quarter of a megabyte at most: a short text needs less. */
static int window_bits(struct str in)
{
    int bits = WINDOW_BITS_MIN;
    while (bits < MAX_WBITS && (size_t)1 << bits < in.len)
        bits++;
    return bits;
}

static uInt clamp_uint(size_t len)
{
    return len < UINT_MAX ? (uInt)len : UINT_MAX;
}

/* Room for the next piece; less near the buf's maximum. NULL at the maximum. */
static char *piece_reserve(struct buf *out, size_t *len)
{
    size_t room = out->len_max > out->len ? out->len_max - out->len : 0;
    size_t wanted = DEFLATE_PIECE_MIN + out->len / 2;
    *len = wanted < room ? wanted : room ? room : 1;
    return buf_reserve(out, *len);
}

void deflate_encode(enum deflate_format format, struct str in, struct buf *out)
{
    z_stream z = {0};
    int bits = window_bits(in), memory = bits < MAX_WBITS ? bits - 6 : 8;
    int status =
        deflateInit2(&z, DEFLATE_LEVEL, Z_DEFLATED, format == DEFLATE_GZIP ? bits + 16 : bits,
                     memory, Z_DEFAULT_STRATEGY);
    ENSURE(status == Z_OK); /* Only memory can be short. */

    size_t fed = 0;
    do {
        size_t room;
        char *at = piece_reserve(out, &room);
        if (!at)
            break;
        uInt feed = clamp_uint(in.len - fed);
        uInt piece = clamp_uint(room);
        z.next_in = (const Bytef *)(in.len ? in.ptr : "") + fed;
        z.avail_in = feed;
        z.next_out = (Bytef *)at;
        z.avail_out = piece;
        status = deflate(&z, fed + feed == in.len ? Z_FINISH : Z_NO_FLUSH);
        ENSURE(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR);
        fed += feed - z.avail_in;
        buf_commit(out, piece - z.avail_out);
    } while (status != Z_STREAM_END);
    deflateEnd(&z);
}

static bool sink_to_buf(void *ctx, struct str bytes, struct err *err)
{
    struct buf *out = ctx;
    buf_add_str(out, bytes);
    if (out->overflow)
        return err_set(err, ERR_LIMIT, "decompressed body is larger than %zu bytes", out->len_max);
    return true;
}

bool deflate_decode(enum deflate_format format, struct str in, struct buf *out, struct err *err)
{
    struct inflate_stream *stream = inflate_new(format);
    bool good = inflate_feed(stream, in, sink_to_buf, out, err) && inflate_finish(stream, err);
    inflate_free(stream);
    return good;
}

/* ---- Inflate as bytes arrive ---- */

/*     between --a byte--> inside --the member's end--> between   ; any fault --> broken
 * `started` tells an empty body, which is cut short, from the end of a member. */
struct inflate_stream {
    z_stream z;
    enum deflate_format format;
    bool inside;
    bool started;
    bool broken;
    char piece[INFLATE_PIECE_MAX];
};

struct inflate_stream *inflate_new(enum deflate_format format)
{
    struct inflate_stream *stream = mem_alloc(sizeof(*stream));
    stream->z = (z_stream){0};
    stream->format = format;
    int status = inflateInit2(&stream->z, format == DEFLATE_GZIP ? MAX_WBITS + 16 : MAX_WBITS);
    ENSURE(status == Z_OK);
    stream->inside = stream->started = stream->broken = false;
    return stream;
}

void inflate_free(struct inflate_stream *stream)
{
    if (!stream)
        return;
    inflateEnd(&stream->z);
    mem_free(stream);
}

void inflate_restart(struct inflate_stream *stream)
{
    int status = inflateReset(&stream->z);
    ENSURE(status == Z_OK);
    stream->inside = stream->started = stream->broken = false;
}

static bool inflate_fault(struct inflate_stream *stream, int status, struct err *err)
{
    const char *name = stream->format == DEFLATE_GZIP ? "gzip" : "zlib";
    const char *reason = stream->z.msg ? stream->z.msg : "";

    stream->broken = true;
    if (status == Z_NEED_DICT)
        return err_set(err, ERR_BAD_DATA, "%s: invalid dictionary", name);
    if (strcmp(reason, "incorrect data check") == 0 ||
        strcmp(reason, "incorrect length check") == 0)
        return err_set(err, ERR_BAD_DATA, "%s: invalid checksum", name);
    if (stream->z.total_out == 0 && stream->z.total_in <= 3)
        return err_set(err, ERR_BAD_DATA, "%s: invalid header", name);
    return err_set(err, ERR_BAD_DATA, "flate: corrupt input: %s", reason);
}

/* One step: consumes from z.next_in and hands at most one piece out. */
static bool inflate_step(struct inflate_stream *stream, inflate_sink_fn sink, void *ctx,
                         struct err *err)
{
    z_stream *z = &stream->z;

    z->next_out = (Bytef *)stream->piece;
    z->avail_out = sizeof(stream->piece);
    int status = inflate(z, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return inflate_fault(stream, status, err);
    struct str bytes = {stream->piece, sizeof(stream->piece) - z->avail_out};
    if (bytes.len > 0 && !sink(ctx, bytes, err)) {
        stream->broken = true;
        return false;
    }
    if (status == Z_STREAM_END)
        stream->inside = false;
    return true;
}

bool inflate_feed(struct inflate_stream *stream, struct str in, inflate_sink_fn sink, void *ctx,
                  struct err *err)
{
    z_stream *z = &stream->z;

    if (stream->broken)
        return err_set(err, ERR_BAD_DATA, "flate: corrupt input: read on after an error");
    while (in.len > 0) {
        uInt feed = clamp_uint(in.len);
        if (!stream->inside) {
            int status = inflateReset(z);
            ENSURE(status == Z_OK);
            stream->inside = stream->started = true;
        }
        z->next_in = (const Bytef *)in.ptr;
        z->avail_in = feed;
        do {
            if (!inflate_step(stream, sink, ctx, err))
                return false;
        } while (stream->inside && (z->avail_in > 0 || z->avail_out == 0));
        in = str_after(in, feed - z->avail_in);
    }
    return true;
}

bool inflate_finish(struct inflate_stream *stream, struct err *err)
{
    if (stream->broken || stream->inside || !stream->started)
        return err_set(err, ERR_BAD_DATA, stream->started ? "unexpected EOF" : "EOF");
    return true;
}
