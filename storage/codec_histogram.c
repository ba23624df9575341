/* codec_histogram: one native histogram against the one before it in its run.
 *
 *     u8        0x01 same layout as before   0x02 is_integer   0x0c hint   0x10 all counts are integers
 *               0x20 stale: nothing but zeroes, and the stale sum
 *     layout    unless same: zigzag schema  float zero threshold  spans positive  spans negative
 *               varint bound count  float bound*
 *     spans     varint span count  (zigzag offset  varint length)*  varint bucket count
 *     float     against the one before in the list (the first: 0): u8 zero low bytes | bytes << 4, bytes of the XOR
 *     sum       float, against the sum before
 *     counts    count, zero count, positive, negative buckets in one row, as differences: to the same place of the
 *               histogram before when the layout is the same, else to the place before. Integers as
 *                   varint (n - 1) << 1       n differences of zero
 *                   varint zigzag << 1 | 1    a difference
 *               and floats as float, each against the one that it would differ from.
 *
 * Why byte-aligned: it is written once a scrape, read in order, and its counts change by little.
 */
#include "codec_private.h"

#include "model/sample.h"

#define SAME_LAYOUT 0x01
#define IS_INTEGER  0x02
#define HINT_SHIFT  2
#define INTEGERS    0x10
#define IS_STALE    0x20
#define FLAGS_KNOWN 0x3f
#define INTEGER_MAX 9007199254740992.0 /* 2^53 */
#define ROW_COUNTS  2                  /* Count and zero count, before the buckets. */
#define SPANS_MAX   HISTOGRAM_BUCKETS_MAX

static bool spans_same(const struct histogram_span *a, const struct histogram_span *b,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (a[i].offset != b[i].offset || a[i].length != b[i].length)
            return false;
    }
    return true;
}

static bool doubles_same(const double *a, const double *b, uint32_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof(*a)) == 0;
}

static bool layout_same(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema &&
           sample_bits(a->zero_threshold) == sample_bits(b->zero_threshold) &&
           a->positive_span_count == b->positive_span_count &&
           a->negative_span_count == b->negative_span_count &&
           a->positive_count == b->positive_count && a->negative_count == b->negative_count &&
           a->bound_count == b->bound_count &&
           spans_same(a->positive_spans, b->positive_spans, a->positive_span_count) &&
           spans_same(a->negative_spans, b->negative_spans, a->negative_span_count) &&
           doubles_same(a->bounds, b->bounds, a->bound_count);
}

/* Nothing in it but what IS_STALE says. */
static bool is_bare_stale(const struct histogram *histogram)
{
    return histogram_is_stale(histogram) && histogram->schema == 0 &&
           sample_bits(histogram->zero_threshold) == 0 && sample_bits(histogram->zero_count) == 0 &&
           sample_bits(histogram->count) == 0 && histogram->positive_span_count == 0 &&
           histogram->negative_span_count == 0 && histogram->positive_count == 0 &&
           histogram->negative_count == 0 && histogram->bound_count == 0;
}

/* The row of all counts: place 0 is count, 1 the zero count, then the buckets. */
static uint32_t row_len(const struct histogram *histogram)
{
    return ROW_COUNTS + histogram->positive_count + histogram->negative_count;
}

static double row_at(const struct histogram *histogram, uint32_t place)
{
    if (place == 0)
        return histogram->count;
    if (place == 1)
        return histogram->zero_count;
    place -= ROW_COUNTS;
    return place < histogram->positive_count
               ? histogram->positive[place]
               : histogram->negative[place - histogram->positive_count];
}

static bool is_integer(double value)
{
    return value > -INTEGER_MAX && value < INTEGER_MAX &&
           sample_bits((double)(int64_t)value) == sample_bits(value);
}

static bool row_is_integers(const struct histogram *histogram)
{
    uint32_t len = row_len(histogram);
    for (uint32_t i = 0; i < len; i++) {
        if (!is_integer(row_at(histogram, i)))
            return false;
    }
    return true;
}

/* What place `place` differs from: of `previous` when the layouts are the same (NULL: not), else the place before. An
 * integer row may follow one of floats: what is no integer counts as 0. */
static double row_base(const struct histogram *previous, double before, uint32_t place,
                       bool of_integers)
{
    double base = previous ? row_at(previous, place) : before;
    return of_integers && !is_integer(base) ? 0 : base;
}

static void write_float(double value, double base, struct buf *out)
{
    uint64_t changed = sample_bits(value) ^ sample_bits(base);
    uint32_t low = changed ? (uint32_t)__builtin_ctzll(changed) / 8 : 0;
    uint32_t len = (codec_length(changed) + 7) / 8 - low;
    write_u8(out, (uint8_t)(low | len << 4));
    for (uint32_t i = 0; i < len; i++)
        write_u8(out, (uint8_t)(changed >> (low + i) * 8));
}

static double read_float(struct reader *in, double base)
{
    uint32_t control = read_u8(in), low = control & 15, len = control >> 4;
    uint64_t bits = sample_bits(base);
    if (low + len > 8)
        in->bad = true;
    for (uint32_t i = 0; i < len && !in->bad; i++)
        bits ^= (uint64_t)read_u8(in) << (low + i) * 8;
    return sample_from_bits(bits);
}

static void write_spans(const struct histogram_span *spans, uint32_t span_count,
                        uint32_t bucket_count, struct buf *out)
{
    ENSURE(span_count <= SPANS_MAX && bucket_count <= HISTOGRAM_BUCKETS_MAX);
    write_varint(out, span_count);
    for (uint32_t i = 0; i < span_count; i++) {
        write_zigzag(out, spans[i].offset);
        write_varint(out, spans[i].length);
    }
    write_varint(out, bucket_count);
}

static void write_layout(const struct histogram *histogram, struct buf *out)
{
    ENSURE(histogram->bound_count <= HISTOGRAM_BUCKETS_MAX);
    write_zigzag(out, histogram->schema);
    write_float(histogram->zero_threshold, 0, out);
    write_spans(histogram->positive_spans, histogram->positive_span_count,
                histogram->positive_count, out);
    write_spans(histogram->negative_spans, histogram->negative_span_count,
                histogram->negative_count, out);
    write_varint(out, histogram->bound_count);
    double before = 0;
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        write_float(histogram->bounds[i], before, out);
        before = histogram->bounds[i];
    }
}

static void write_integers(const struct histogram *histogram, const struct histogram *previous,
                           struct buf *out)
{
    uint32_t len = row_len(histogram), zeros = 0;
    double before = 0;
    for (uint32_t i = 0; i < len; i++) {
        double value = row_at(histogram, i);
        int64_t difference = (int64_t)value - (int64_t)row_base(previous, before, i, true);
        before = value;
        if (difference == 0) {
            zeros++;
            continue;
        }
        if (zeros)
            write_varint(out, (uint64_t)(zeros - 1) << 1);
        zeros = 0;
        write_varint(out, zigzag_encode(difference) << 1 | 1);
    }
    if (zeros)
        write_varint(out, (uint64_t)(zeros - 1) << 1);
}

static void write_floats(const struct histogram *histogram, const struct histogram *previous,
                         struct buf *out)
{
    uint32_t len = row_len(histogram);
    double before = 0;
    for (uint32_t i = 0; i < len; i++) {
        double value = row_at(histogram, i);
        write_float(value, row_base(previous, before, i, false), out);
        before = value;
    }
}

void codec_histogram_encode(const struct histogram *histogram, const struct histogram *previous,
                            struct buf *out)
{
    bool same = previous && layout_same(histogram, previous);
    bool of_integers = row_is_integers(histogram), stale = is_bare_stale(histogram);
    ENSURE(histogram->hint <= HISTOGRAM_GAUGE);
    write_u8(out,
             (uint8_t)((same && !stale ? SAME_LAYOUT : 0) |
                       (histogram->is_integer ? IS_INTEGER : 0) | histogram->hint << HINT_SHIFT |
                       (of_integers && !stale ? INTEGERS : 0) | (stale ? IS_STALE : 0)));
    if (stale)
        return;
    if (!same)
        write_layout(histogram, out);
    write_float(histogram->sum, previous ? previous->sum : 0, out);
    if (of_integers)
        write_integers(histogram, same ? previous : NULL, out);
    else
        write_floats(histogram, same ? previous : NULL, out);
}

static bool read_spans(struct reader *in, struct arena *arena, const struct histogram_span **out,
                       uint32_t *span_count, uint32_t *bucket_count)
{
    uint64_t count = read_varint(in);
    if (in->bad || count > SPANS_MAX || count > reader_left(in) / 2)
        return false;
    struct histogram_span *spans = NULL;
    if (count > 0)
        spans = arena_alloc_array(arena, count, sizeof(*spans));
    for (uint64_t i = 0; i < count; i++) {
        int64_t offset = read_zigzag(in);
        uint64_t length = read_varint(in);
        if (offset < INT32_MIN || offset > INT32_MAX || length > UINT32_MAX)
            return false;
        spans[i] = (struct histogram_span){(int32_t)offset, (uint32_t)length};
    }
    uint64_t buckets = read_varint(in);
    *out = spans;
    *span_count = (uint32_t)count;
    *bucket_count = (uint32_t)buckets;
    return !in->bad && buckets <= HISTOGRAM_BUCKETS_MAX;
}

static bool read_bounds(struct reader *in, struct arena *arena, struct histogram *histogram)
{
    uint64_t count = read_varint(in);
    if (in->bad || count > HISTOGRAM_BUCKETS_MAX || count > reader_left(in))
        return false;
    if (count == 0)
        return true;
    double *bounds = arena_alloc_array(arena, count, sizeof(*bounds)), before = 0;
    for (uint64_t i = 0; i < count; i++)
        before = bounds[i] = read_float(in, before);
    histogram->bounds = bounds;
    histogram->bound_count = (uint32_t)count;
    return !in->bad;
}

static bool read_layout(struct reader *in, struct arena *arena, struct histogram *histogram)
{
    int64_t schema = read_zigzag(in);
    if (in->bad || schema < INT32_MIN || schema > INT32_MAX)
        return false;
    histogram->schema = (int32_t)schema;
    histogram->zero_threshold = read_float(in, 0);
    return read_spans(in, arena, &histogram->positive_spans, &histogram->positive_span_count,
                      &histogram->positive_count) &&
           read_spans(in, arena, &histogram->negative_spans, &histogram->negative_span_count,
                      &histogram->negative_count) &&
           read_bounds(in, arena, histogram);
}

/* Spans and bounds are copied: the histogram before may live elsewhere, and shorter. */
static void copy_layout(const struct histogram *previous, struct arena *arena,
                        struct histogram *histogram)
{
    size_t positive = previous->positive_span_count * sizeof(struct histogram_span);
    size_t negative = previous->negative_span_count * sizeof(struct histogram_span);
    size_t bounds = previous->bound_count * sizeof(double);
    char *room =
        positive + negative + bounds ? arena_alloc(arena, positive + negative + bounds) : NULL;
    histogram->schema = previous->schema;
    histogram->zero_threshold = previous->zero_threshold;
    histogram->positive_span_count = previous->positive_span_count;
    histogram->negative_span_count = previous->negative_span_count;
    histogram->positive_count = previous->positive_count;
    histogram->negative_count = previous->negative_count;
    histogram->bound_count = previous->bound_count;
    if (bounds) {
        memcpy(room, previous->bounds, bounds);
        histogram->bounds = (double *)(void *)room;
    }
    if (positive) {
        memcpy(room + bounds, previous->positive_spans, positive);
        histogram->positive_spans = (struct histogram_span *)(void *)(room + bounds);
    }
    if (negative) {
        memcpy(room + bounds + positive, previous->negative_spans, negative);
        histogram->negative_spans = (struct histogram_span *)(void *)(room + bounds + positive);
    }
}

static bool read_integers(struct reader *in, const struct histogram *previous, uint32_t len,
                          double *row)
{
    uint64_t zeros = 0;
    double before = 0;
    for (uint32_t i = 0; i < len; i++) {
        int64_t difference = 0;
        if (zeros > 0) {
            zeros--;
        } else {
            uint64_t token = read_varint(in);
            if (in->bad)
                return false;
            if (token & 1)
                difference = zigzag_decode(token >> 1);
            else
                zeros = token >> 1;
        }
        int64_t base = (int64_t)row_base(previous, before, i, true);
        before = row[i] = (double)(int64_t)((uint64_t)base + (uint64_t)difference);
        if (!is_integer(before))
            return false;
    }
    return zeros == 0;
}

static bool read_row(struct reader *in, const struct histogram *previous, bool of_integers,
                     struct arena *arena, struct histogram *histogram)
{
    uint32_t len = row_len(histogram);
    if (!of_integers && len > reader_left(in))
        return false;
    double *row = arena_alloc_array(arena, len, sizeof(*row)), before = 0;
    if (of_integers && !read_integers(in, previous, len, row))
        return false;
    for (uint32_t i = 0; !of_integers && i < len; i++)
        before = row[i] = read_float(in, row_base(previous, before, i, false));
    histogram->count = row[0];
    histogram->zero_count = row[1];
    if (histogram->positive_count)
        histogram->positive = row + ROW_COUNTS;
    if (histogram->negative_count)
        histogram->negative = row + ROW_COUNTS + histogram->positive_count;
    return !in->bad;
}

bool codec_histogram_decode(struct reader *in, const struct histogram *previous,
                            struct arena *arena, struct histogram **out)
{
    uint8_t flags = read_u8(in);
    bool same = flags & SAME_LAYOUT, stale = flags & IS_STALE;
    *out = NULL;
    if (in->bad || (flags & ~FLAGS_KNOWN) || arena->over_budget)
        return false;
    if ((same && !previous) || (stale && (flags & (SAME_LAYOUT | INTEGERS))))
        return false;
    struct histogram *histogram = ARENA_NEW(arena, struct histogram);
    histogram->is_integer = flags & IS_INTEGER;
    histogram->hint = flags >> HINT_SHIFT & 3;
    if (stale) {
        histogram->sum = sample_stale();
        *out = histogram;
        return true;
    }
    if (same)
        copy_layout(previous, arena, histogram);
    else if (!read_layout(in, arena, histogram))
        return false;
    histogram->sum = read_float(in, previous ? previous->sum : 0);
    if (!read_row(in, same ? previous : NULL, flags & INTEGERS, arena, histogram))
        return false;
    *out = histogram;
    return true;
}
