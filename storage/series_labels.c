/* series_labels: see series_labels.h. */
#include "series_labels.h"

#include <inttypes.h>

#include "base/hash.h"

void series_labels_encode(const struct label *labels, size_t count, struct buf *out)
{
    write_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        write_varint_str(out, labels[i].name);
        write_varint_str(out, labels[i].value);
    }
}

bool series_labels_decode(struct reader *in, struct label *out, size_t count_max, size_t *count,
                          struct err *err)
{
    uint64_t wanted = read_varint(in);
    *count = 0;
    if (in->bad || wanted > count_max)
        return err_set(err, ERR_CORRUPT, "series claims %" PRIu64 " labels", wanted);
    for (; *count < wanted; (*count)++) {
        out[*count].name = read_varint_str(in);
        out[*count].value = read_varint_str(in);
        if (in->bad || out[*count].value.len == 0 ||
            (*count > 0 && str_cmp(out[*count - 1].name, out[*count].name) >= 0))
            return err_set(err, ERR_CORRUPT, "series has bad labels");
    }
    return true;
}

static uint32_t row_crc(uint64_t id, struct str labels)
{
    return hash_crc32c(hash_crc32c(0, str_from((const char *)&id, sizeof(id))), labels);
}

void series_row_encode(uint64_t id, const struct label *labels, size_t count, struct buf *out)
{
    size_t begin = out->len;
    series_labels_encode(labels, count, out);
    write_u32(out, row_crc(id, str_after(buf_str(out), begin)));
}

bool series_row_decode(uint64_t id, struct str row, struct label *out, size_t count_max,
                       size_t *count, struct err *err)
{
    struct reader in = reader_over(row);
    if (!series_labels_decode(&in, out, count_max, count, err))
        return false;
    struct str labels = str_first(row, (size_t)((const char *)in.at - row.ptr));
    uint32_t crc = in.at == in.end ? row_crc(id, labels) : read_u32(&in);
    if (in.bad || in.at != in.end || crc != row_crc(id, labels))
        return err_set(err, ERR_CORRUPT, "series %" PRIu64 " has damaged labels", id);
    return true;
}
