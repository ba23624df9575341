/* day_file_histogram: the bytes of a chunk that has native histograms in it, floats among them or not.
 *
 *     varint n << 1 | h     n rows (at least 1) have this value
 *     h = 1: codec_histogram bytes, against the histogram before it in the chunk
 *     h = 0: 8 bytes of a float */
#include "day_file_format.h"
#include "model/sample.h"

static bool same_value(const struct samples *samples, size_t a, size_t b)
{
    const struct histogram *x = samples->histogram[a], *y = samples->histogram[b];
    if (!x || !y)
        return x == y && sample_bits(samples->value[a]) == sample_bits(samples->value[b]);
    return x == y || histogram_same(x, y);
}

uint32_t day_histograms_write(const struct samples *samples, size_t first, uint32_t rows,
                              size_t bytes_max, struct buf *out)
{
    const struct histogram *before = NULL;
    size_t begin = out->len, end = first + rows, at = first;
    while (at < end && (at == first || out->len - begin < bytes_max)) {
        const struct histogram *histogram = samples->histogram[at];
        size_t same = at + 1;
        while (same < end && same_value(samples, at, same))
            same++;
        write_varint(out, (same - at) << 1 | (histogram != NULL));
        if (histogram) {
            codec_histogram_encode(histogram, before, out);
            before = histogram;
        } else {
            write_u64(out, sample_bits(samples->value[at]));
        }
        at = same;
    }
    return (uint32_t)(at - first);
}

bool day_histograms_read(struct str bytes, const int64_t *times_ms, uint32_t rows, int64_t from_ms,
                         int64_t to_ms, struct samples *out)
{
    struct reader in = reader_over(bytes);
    struct histogram *histogram = NULL;
    uint32_t row = 0;
    samples_reserve(out, rows);
    while (row < rows) {
        uint64_t head = read_varint(&in), count = head >> 1;
        double value = 0;
        if (in.bad || count == 0 || count > rows - row)
            return false;
        if (head & 1) {
            if (!codec_histogram_decode(&in, histogram, &out->histograms, &histogram))
                return false;
        } else {
            value = sample_from_bits(read_u64(&in));
        }
        for (uint32_t end = row + (uint32_t)count; row < end; row++) {
            if (times_ms[row] < from_ms || times_ms[row] > to_ms)
                continue;
            if (head & 1)
                samples_add_histogram(out, times_ms[row], histogram);
            else
                samples_add(out, times_ms[row], value);
        }
    }
    return !in.bad && in.at == in.end;
}
