/* A remote write body: snappy, then the protobuf inside; and the same bytes as protobuf at once, so
 * that the mutations reach the reader behind the compression. */
#include <stdint.h>

#include "base/compress.h"
#include "proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t touched; /* So that nothing is optimised away. */

static void read_all(struct str bytes, bool is_v2)
{
    struct proto_write write;
    struct err err = {0};
    bool ok = true;

    if (is_v2)
        ok = proto_write_init_v2(&write, bytes, &err);
    else
        proto_write_init(&write, bytes);
    while (ok && proto_write_next(&write, &err)) {
        VEC_EACH (label, &write.labels) {
            for (size_t i = 0; i < label->name.len; i++)
                touched += (unsigned char)label->name.ptr[i];
            for (size_t i = 0; i < label->value.len; i++)
                touched += (unsigned char)label->value.ptr[i];
        }
        ENSURE(write.labels.count <= PROTO_LABELS_MAX);
        ENSURE(write.samples.count <= PROTO_SAMPLES_MAX);
        VEC_EACH (exemplar, &write.exemplars)
            ENSURE(exemplar->first_label + exemplar->label_count <= write.exemplar_labels.count);
        VEC_EACH (item, &write.histograms) {
            ENSURE(!item->histogram == (item->wrong.len > 0));
            ENSURE(!item->histogram || histogram_same(item->histogram, item->histogram));
        }
    }
    ENSURE(err.code == ERR_NONE || err.code == ERR_BAD_DATA);
    proto_write_deinit(&write);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str bytes = str_from((const char *)data, len);
    struct err err = {0};
    struct buf decoded;

    buf_init(&decoded, 1 << 20);
    if (snappy_decode(bytes, &decoded, &err))
        read_all(buf_str(&decoded), false);
    buf_deinit(&decoded);
    read_all(bytes, false);
    read_all(bytes, true);
    return 0;
}
