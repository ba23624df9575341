/* A remote write body: snappy, then the protobuf inside; and the same bytes as protobuf at once, so
 * that the mutations reach the reader behind the compression. */
#include <stdint.h>

#include "base/compress.h"
#include "proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t touched; /* So that nothing is optimised away. */

static void read_all(struct str bytes)
{
    struct proto_write write;
    struct err err = {0};

    proto_write_init(&write, bytes);
    while (proto_write_next(&write, &err)) {
        VEC_EACH (label, &write.labels) {
            for (size_t i = 0; i < label->name.len; i++)
                touched += (unsigned char)label->name.ptr[i];
            for (size_t i = 0; i < label->value.len; i++)
                touched += (unsigned char)label->value.ptr[i];
        }
        ENSURE(write.labels.count <= PROTO_LABELS_MAX);
        ENSURE(write.samples.count <= PROTO_SAMPLES_MAX);
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
        read_all(buf_str(&decoded));
    buf_deinit(&decoded);
    read_all(bytes);
    return 0;
}
