/* bundle: the values of a partition file: up to 256 series of one slot, and the labels of a series. Drawn in
 * docs/formats.md. The bytes come from disk: each is suspect. */
#include <inttypes.h>

#include "base/hash.h"
#include "store.h"

bool bundle_head(struct str bytes, struct bundle_entry *out, uint32_t *row_count)
{
    struct reader in = reader_over(bytes);
    uint32_t magic = read_u32(&in);
    (void)read_u32(&in);
    *row_count = read_u32(&in);
    out->time_min_ms = (int64_t)read_u64(&in);
    out->time_max_ms = (int64_t)read_u64(&in);
    if (in.bad || magic != BUNDLE_MAGIC || *row_count == 0 ||
        *row_count > (bytes.len - BUNDLE_HEAD_BYTES) / BUNDLE_ENTRY_BYTES)
        return false;
    out->id_min = read_u64(&in);
    in = reader_over(
        str_after(bytes, BUNDLE_HEAD_BYTES + (size_t)(*row_count - 1) * BUNDLE_ENTRY_BYTES));
    out->id_max = read_u64(&in);
    return out->id_min <= out->id_max;
}

bool bundle_verify(struct str bytes)
{
    struct reader in = reader_over(bytes);
    (void)read_u32(&in);
    uint32_t crc = read_u32(&in);
    return !in.bad && hash_crc32c(0, str_after(bytes, 8)) == crc;
}

bool bundle_find(struct str bytes, uint64_t id, struct bundle_row *out, struct str *payload)
{
    struct bundle_entry entry;
    uint32_t count;
    if (!bundle_head(bytes, &entry, &count))
        return false;
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct reader in =
            reader_over(str_after(bytes, BUNDLE_HEAD_BYTES + middle * BUNDLE_ENTRY_BYTES));
        out->id = read_u64(&in);
        if (out->id < id) {
            low = middle + 1;
        } else if (out->id > id) {
            high = middle;
        } else {
            out->offset = read_u32(&in);
            out->len = read_u32(&in);
            out->count = read_u32(&in);
            (void)read_u32(&in);
            out->time_min_ms = (int64_t)read_u64(&in);
            out->time_max_ms = (int64_t)read_u64(&in);
            struct str data =
                str_after(bytes, BUNDLE_HEAD_BYTES + (size_t)count * BUNDLE_ENTRY_BYTES);
            if (in.bad || out->offset > data.len || out->len > data.len - out->offset ||
                out->count > out->len)
                return false;
            *payload = str_from(data.ptr + out->offset, out->len);
            return true;
        }
    }
    return false;
}

/* --- labels of a series on disk --- */

void series_encode_labels(const struct storage *storage, const struct series *series,
                          struct buf *out)
{
    struct label labels[SERIES_LABELS_MAX];
    series_text_labels(storage, series, labels);
    write_varint(out, series->pair_count);
    for (uint32_t i = 0; i < series->pair_count; i++) {
        write_varint_str(out, labels[i].name);
        write_varint_str(out, labels[i].value);
    }
}

bool series_decode_labels(struct reader *in, struct label *out, size_t count_max, size_t *count,
                          struct err *err)
{
    uint64_t wanted = read_varint(in);
    *count = 0;
    if (in->bad || wanted > count_max)
        return err_set(err, ERR_CORRUPT, "series claims %" PRIu64 " labels", wanted);
    for (; *count < wanted; (*count)++) {
        out[*count].name = read_varint_str(in);
        out[*count].value = read_varint_str(in);
        if (in->bad || (*count > 0 && str_cmp(out[*count - 1].name, out[*count].name) >= 0))
            return err_set(err, ERR_CORRUPT, "series has bad labels");
    }
    return true;
}
