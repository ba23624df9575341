/* wire: the fields of a protobuf message, one after the other.
 *
 *     while (reader_left(&in) > 0) { wire_next(&in, &field, err); switch (field.number) ... }
 *
 * Each field is a varint key (number << 3 | type) and a payload. A length never reaches past its own
 * message. Not a protobuf library: a library would build the whole tree before the first sample can
 * be looked at. Error texts are those of Go's generated code. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"

enum wire_type {
    WIRE_VARINT,
    WIRE_FIXED64,
    WIRE_BYTES,
    WIRE_GROUP,
    WIRE_GROUP_END,
    WIRE_FIXED32,
};

struct wire_field {
    uint64_t number;
    unsigned type;
};

/* `message` is whose field it is, for errors. */
MUST_CHECK bool wire_next(struct reader *in, const char *message, struct wire_field *out,
                          struct err *err);
/* The same of a key that was read already. */
MUST_CHECK bool wire_key(uint64_t key, const char *message, struct wire_field *out,
                         struct err *err);
/* The payload of a field that nobody wants, groups of old protobuf included. */
MUST_CHECK bool wire_skip(struct reader *in, struct wire_field field, struct err *err);

/* Payloads; `name` is the field's, for the error when the type is another. */
MUST_CHECK bool wire_message(struct reader *in, struct wire_field field, const char *name,
                             struct reader *out, struct err *err);
MUST_CHECK bool wire_text(struct reader *in, struct wire_field field, const char *name,
                          struct str *out, struct err *err);
MUST_CHECK bool wire_u64(struct reader *in, struct wire_field field, const char *name,
                         uint64_t *out, struct err *err);
MUST_CHECK bool wire_i64(struct reader *in, struct wire_field field, const char *name, int64_t *out,
                         struct err *err);
MUST_CHECK bool wire_i32(struct reader *in, struct wire_field field, const char *name, int32_t *out,
                         struct err *err);
MUST_CHECK bool wire_zigzag32(struct reader *in, struct wire_field field, const char *name,
                              int32_t *out, struct err *err);
MUST_CHECK bool wire_double(struct reader *in, struct wire_field field, const char *name,
                            double *out, struct err *err);
/* Repeated numbers, packed or one by one: *out is over the numbers themselves, each of `type`. */
MUST_CHECK bool wire_numbers(struct reader *in, struct wire_field field, const char *name,
                             unsigned type, struct reader *out, struct err *err);
/* What a reader over numbers or a payload says after its end was passed. Always false. */
bool wire_cut(struct err *err);

#endif
