/* series_labels: see series_labels.h. */
#include "series_labels.h"

#include <inttypes.h>

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
