/* bundle_write: see bundle.h. Runs that hardly change stay streams: these say nothing about rows that repeat the one before,
 * and cost nothing to keep. Others are decoded and coded by codec_quick.c, alone or against a neighbour: equal ones (a
 * histogram's count and its last bucket), and buckets in le order. Native histograms stay streams, too. */
#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "bundle.h"
#include "codec.h"
#include "stream.h"

#define BUNDLE_BYTES_MAX ((size_t)1 << 30)
#define RING             (BUNDLE_DISTANCE_MAX + 1)
#define STREAM_SHARE     6 /* A stream of less than a byte for so many rows is left alone, */
#define STREAM_SHORT     6 /* and one of so few bytes. */
#define PAGE_BYTES       4096
#define PAGE_LEFT        96 /* A bundle of enough bytes ends where a page of the file is nearly full. */
#define PAGE_HEAD        16 /* LMDB's, of a large value. */
#define BYTES_ENOUGH     (BUNDLE_BYTES_AIM / 4 * 3)

struct bundle_encoder {
    const struct bundle_writer *writer; /* Whose runs `columns` are. */
    struct codec_quick *quick;
    /* The values of the runs before, run i at i % RING; of others than values, or coded too deep, the count is 0. */
    struct codec_column *columns[RING];
    uint32_t depth[RING];
    struct samples samples;        /* Of one run; times are rows. */
    int64_t rows[STREAM_ROWS_MAX]; /* 0, 1, 2 ... */
    uint32_t row_count;
    struct buf bytes;
};

struct bundle_encoder *bundle_encoder_new(void)
{
    struct bundle_encoder *encoder = mem_alloc(sizeof(*encoder));
    encoder->writer = NULL;
    encoder->quick = codec_quick_new();
    for (int i = 0; i < RING; i++) {
        encoder->columns[i] = mem_alloc(sizeof(struct codec_column));
        encoder->columns[i]->count = 0;
    }
    samples_init(&encoder->samples);
    encoder->row_count = 0;
    buf_init(&encoder->bytes, BUNDLE_BYTES_MAX);
    return encoder;
}

void bundle_encoder_free(struct bundle_encoder *encoder)
{
    if (!encoder)
        return;
    codec_quick_free(encoder->quick);
    for (int i = 0; i < RING; i++)
        mem_free(encoder->columns[i]);
    samples_deinit(&encoder->samples);
    buf_deinit(&encoder->bytes);
    mem_free(encoder);
}

void bundle_writer_init(struct bundle_writer *writer)
{
    *writer = (struct bundle_writer){0};
    buf_init(&writer->columns, BUNDLE_BYTES_MAX);
    buf_init(&writer->payload, BUNDLE_BYTES_MAX);
}

void bundle_writer_deinit(struct bundle_writer *writer)
{
    VEC_FREE(&writer->runs);
    VEC_FREE(&writer->column_rows);
    VEC_FREE(&writer->column_lens);
    buf_deinit(&writer->columns);
    buf_deinit(&writer->payload);
    bundle_encoder_free(writer->encoder);
    writer->encoder = NULL;
}

void bundle_writer_begin(struct bundle_writer *writer, uint64_t group_key, uint64_t slot)
{
    writer->group_key = group_key;
    writer->slot = slot;
    writer->time_min_ms = INT64_MAX;
    writer->time_max_ms = INT64_MIN;
    VEC_CLEAR(&writer->runs);
    VEC_CLEAR(&writer->column_rows);
    VEC_CLEAR(&writer->column_lens);
    buf_clear(&writer->columns);
    buf_clear(&writer->payload);
    struct bundle_encoder *encoder = writer->shared ? writer->shared : writer->encoder;
    if (encoder && encoder->writer == writer)
        encoder->writer = NULL;
}

/* The encoder, knowing no other writer's runs. */
static struct bundle_encoder *encoder_of(struct bundle_writer *writer)
{
    if (!writer->shared && !writer->encoder)
        writer->encoder = bundle_encoder_new();
    struct bundle_encoder *encoder = writer->shared ? writer->shared : writer->encoder;
    for (int i = 0; encoder->writer != writer && i < RING; i++)
        encoder->columns[i]->count = 0;
    encoder->writer = writer;
    return encoder;
}

uint16_t bundle_writer_column(struct bundle_writer *writer, const int64_t *times_ms, uint32_t rows)
{
    size_t start = writer->columns.len;
    ENSURE(writer->column_rows.count < UINT16_MAX && rows > 0 && rows <= STREAM_ROWS_MAX);
    codec_quick_times(encoder_of(writer)->quick, times_ms, rows, &writer->columns);
    VEC_PUSH(&writer->column_rows, rows);
    VEC_PUSH(&writer->column_lens, (uint32_t)(writer->columns.len - start));
    return (uint16_t)(writer->column_rows.count - 1);
}

/* --- runs --- */

/* How far before this run one is whose values are the same; 0: none is. */
static uint32_t find_equal(const struct bundle_encoder *encoder, uint32_t index,
                           const double *values, uint32_t count)
{
    for (uint32_t distance = 1; distance <= BUNDLE_DISTANCE_MAX && distance <= index; distance++) {
        uint32_t place = (index - distance) % RING;
        const struct codec_column *column = encoder->columns[place];
        if (column->count == count && encoder->depth[place] + 1 < BUNDLE_CHAIN_MAX &&
            memcmp(column->values, values, count * sizeof(values[0])) == 0)
            return distance;
    }
    return 0;
}

/* The codec chunk, in encoder->bytes; how far before the run is that it is coded against. False: no good way is known. */
static bool encode_values(struct bundle_encoder *encoder, uint32_t index, uint32_t *distance)
{
    const double *values = encoder->samples.value;
    uint32_t count = (uint32_t)encoder->samples.count;
    struct codec_column *column = encoder->columns[index % RING];
    const struct codec_column *base = NULL;
    buf_clear(&encoder->bytes);
    *distance = find_equal(encoder, index, values, count);
    if (*distance == 0 && index > 0 && encoder->columns[(index - 1) % RING]->count == count &&
        encoder->depth[(index - 1) % RING] + 1 < BUNDLE_CHAIN_MAX)
        *distance = 1;
    if (*distance > 0)
        base = encoder->columns[(index - *distance) % RING];
    if (!codec_quick_encode(encoder->quick, values, count, base, column, &encoder->bytes))
        return false;
    if (!codec_needs_previous(buf_str(&encoder->bytes)))
        *distance = 0;
    encoder->depth[index % RING] = *distance ? encoder->depth[(index - *distance) % RING] + 1 : 0;
    return true;
}

/* Rows of one run without samples, told by the samples' rows. */
static void write_holes(const struct samples *samples, struct buf *out)
{
    uint32_t holes = 0, begin = 0;
    for (size_t i = 1; i < samples->count; i++)
        holes += samples->time_ms[i] != samples->time_ms[i - 1] + 1;
    if (holes == 0)
        return;
    write_varint(out, holes - 1);
    for (uint32_t i = 1; i < samples->count; i++) {
        uint64_t step = (uint64_t)(samples->time_ms[i] - samples->time_ms[i - 1]);
        if (step == 1)
            continue;
        write_varint(out, i - begin - 1);
        write_varint(out, step - 2);
        begin = i;
    }
}

static void put_run(struct bundle_writer *writer, uint8_t flags, uint32_t first_row,
                    uint32_t last_row, const struct samples *samples, struct str bytes)
{
    struct buf *out = &writer->payload;
    write_u8(out, flags);
    if (!(flags & BUNDLE_ALL_ROWS)) {
        write_varint(out, first_row);
        write_varint(out, last_row - first_row);
    }
    if (flags & BUNDLE_HOLES)
        write_holes(samples, out);
    buf_add_str(out, bytes);
}

/* Writes the run as values; false when its stream is as good. */
static bool put_values(struct bundle_writer *writer, uint32_t first_row, uint32_t last_row,
                       uint8_t flags, struct str stream)
{
    struct bundle_encoder *encoder = encoder_of(writer);
    struct samples *samples = &encoder->samples;
    uint32_t rows = last_row - first_row + 1, distance;
    for (; encoder->row_count <= last_row; encoder->row_count++)
        encoder->rows[encoder->row_count] = encoder->row_count;
    samples_clear(samples);
    bool good = stream_read(stream, first_row, last_row, encoder->rows, last_row + 1, samples);
    ENSURE(good && samples->count > 0);
    if (samples->histogram || !encode_values(encoder, (uint32_t)writer->runs.count, &distance))
        return false;
    flags = (uint8_t)(flags | BUNDLE_VALUES | distance << BUNDLE_DISTANCE_SHIFT);
    flags = (uint8_t)(flags | (samples->count < rows ? BUNDLE_HOLES : 0));
    size_t before = writer->payload.len;
    put_run(writer, flags, first_row, last_row, samples, buf_str(&encoder->bytes));
    if (writer->payload.len - before <= stream.len)
        return true;
    writer->payload.len = before;
    return false;
}

void bundle_writer_run(struct bundle_writer *writer, uint64_t id, uint16_t column,
                       uint32_t first_row, uint32_t last_row, int64_t time_first_ms,
                       int64_t time_last_ms, struct str bytes)
{
    uint32_t rows = last_row - first_row + 1, index = (uint32_t)writer->runs.count;
    bool all = first_row == 0 && last_row + 1 == writer->column_rows.items[column];
    uint8_t flags = all ? BUNDLE_ALL_ROWS : 0;
    ENSURE(first_row <= last_row && last_row < writer->column_rows.items[column]);
    bool is_short = bytes.len <= STREAM_SHORT || bytes.len <= rows / STREAM_SHARE;
    if (is_short || !put_values(writer, first_row, last_row, flags, bytes)) {
        put_run(writer, flags, first_row, last_row, NULL, bytes);
        encoder_of(writer)->columns[index % RING]->count = 0;
    }
    struct bundle_row run = {id, (uint32_t)writer->payload.len, column};
    VEC_PUSH(&writer->runs, run);
    writer->time_min_ms = time_first_ms < writer->time_min_ms ? time_first_ms : writer->time_min_ms;
    writer->time_max_ms = time_last_ms > writer->time_max_ms ? time_last_ms : writer->time_max_ms;
}

/* --- the value --- */

struct widths {
    uint64_t id_min;
    uint8_t id, end, number;
};

static struct widths widths_of(const struct bundle_writer *writer)
{
    uint64_t first = writer->runs.items[0].id, least = first, most = first;
    bool is_dense = true;
    for (size_t i = 0; i < writer->runs.count; i++) {
        uint64_t id = writer->runs.items[i].id;
        is_dense &= id == first + i;
        least = id < least ? id : least;
        most = id > most ? id : most;
    }
    most -= least;
    return (struct widths){.id_min = least,
                           .id = is_dense             ? 0
                                 : most <= UINT8_MAX  ? 1
                                 : most <= UINT16_MAX ? 2
                                 : most <= UINT32_MAX ? 4
                                                      : 8,
                           .end = writer->payload.len <= UINT16_MAX ? 2 : 4,
                           .number = writer->column_rows.count == 1               ? 0
                                     : writer->column_rows.count <= UINT8_MAX + 1 ? 1
                                                                                  : 2};
}

static size_t bytes_of(const struct bundle_writer *writer, struct widths widths)
{
    size_t run_bytes = (size_t)widths.id + widths.end + widths.number;
    return BUNDLE_HEAD + writer->runs.count * run_bytes +
           writer->column_rows.count * BUNDLE_COLUMN + writer->columns.len + writer->payload.len;
}

bool bundle_writer_is_full(const struct bundle_writer *writer)
{
    if (writer->runs.count >= BUNDLE_RUNS_MAX || writer->payload.len >= BUNDLE_BYTES_AIM ||
        writer->columns.len >= BUNDLE_BYTES_AIM)
        return true;
    if (writer->payload.len < BYTES_ENOUGH)
        return false;
    size_t used = (bytes_of(writer, widths_of(writer)) + PAGE_HEAD) % PAGE_BYTES;
    return used == 0 || used > PAGE_BYTES - PAGE_LEFT;
}

static void write_number(struct buf *out, uint64_t number, uint32_t bytes)
{
    buf_add(out, &number, bytes);
}

void bundle_writer_finish(struct bundle_writer *writer, struct buf *out)
{
    ENSURE(writer->runs.count > 0 && writer->column_rows.count > 0);
    struct widths widths = widths_of(writer);
    buf_clear(out);
    write_u32(out, BUNDLE_MAGIC);
    write_u32(out, 0);
    write_u64(out, writer->group_key);
    write_u64(out, writer->slot);
    write_u64(out, (uint64_t)writer->time_min_ms);
    write_u64(out, (uint64_t)writer->time_max_ms);
    write_u32(out, (uint32_t)writer->runs.count);
    write_u32(out, (uint32_t)writer->column_rows.count);
    write_u64(out, widths.id_min);
    write_u8(out, widths.id);
    write_u8(out, widths.end);
    write_u8(out, widths.number);
    write_number(out, 0, BUNDLE_HEAD - BUNDLE_HEAD_1 - 11);
    VEC_EACH (run, &writer->runs) {
        write_number(out, run->id - widths.id_min, widths.id);
    }
    VEC_EACH (run, &writer->runs) {
        write_number(out, run->end, widths.end);
    }
    VEC_EACH (run, &writer->runs) {
        write_number(out, run->column, widths.number);
    }
    for (size_t i = 0; i < writer->column_rows.count; i++) {
        write_u32(out, writer->column_rows.items[i]);
        write_u32(out, writer->column_lens.items[i]);
    }
    buf_add_str(out, buf_str(&writer->columns));
    buf_add_str(out, buf_str(&writer->payload));
    ENSURE(out->len == bytes_of(writer, widths));
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 8));
    memcpy(out->ptr + 4, &crc, 4);
}
