/* wire: see wire.h. */
#include "base/wire.h"

#include <inttypes.h>
#include <string.h>

bool wire_cut(struct err *err)
{
    return err_set(err, ERR_BAD_DATA, "unexpected EOF");
}

bool wire_next(struct reader *in, const char *message, struct wire_field *out, struct err *err)
{
    uint64_t key = read_varint(in);

    if (in->bad)
        return wire_cut(err);
    return wire_key(key, message, out, err);
}

bool wire_key(uint64_t key, const char *message, struct wire_field *out, struct err *err)
{
    out->number = key >> 3;
    out->type = (unsigned)(key & 7);
    if (out->type == WIRE_GROUP_END)
        return err_set(err, ERR_BAD_DATA, "proto: %s: wiretype end group for non-group", message);
    if (out->number == 0 || out->number > INT32_MAX)
        return err_set(err, ERR_BAD_DATA, "proto: %s: illegal tag %d (wire type %" PRIu64 ")",
                       message, (int32_t)(uint32_t)out->number, key);
    return true;
}

/* A group is skipped by counting its nested starts and ends. */
bool wire_skip(struct reader *in, struct wire_field field, struct err *err)
{
    size_t depth = 0;

    for (;;) {
        switch (field.type) {
        case WIRE_VARINT:
            read_varint(in);
            break;
        case WIRE_FIXED64:
            read_u64(in);
            break;
        case WIRE_BYTES:
            read_varint_str(in);
            break;
        case WIRE_GROUP:
            depth++;
            break;
        case WIRE_GROUP_END:
            if (depth == 0)
                return err_set(err, ERR_BAD_DATA, "proto: unexpected end of group");
            depth--;
            break;
        case WIRE_FIXED32:
            read_u32(in);
            break;
        default:
            return err_set(err, ERR_BAD_DATA, "proto: illegal wireType %u", field.type);
        }
        if (in->bad)
            return wire_cut(err);
        if (depth == 0)
            return true;
        uint64_t key = read_varint(in);
        if (in->bad)
            return wire_cut(err);
        field = (struct wire_field){key >> 3, (unsigned)(key & 7)};
    }
}

static bool check_type(struct wire_field field, unsigned wanted, const char *name, struct err *err)
{
    return field.type == wanted ||
           err_set(err, ERR_BAD_DATA, "proto: wrong wireType = %u for field %s", field.type, name);
}

bool wire_text(struct reader *in, struct wire_field field, const char *name, struct str *out,
               struct err *err)
{
    if (!check_type(field, WIRE_BYTES, name, err))
        return false;
    *out = read_varint_str(in);
    return in->bad ? wire_cut(err) : true;
}

bool wire_message(struct reader *in, struct wire_field field, const char *name, struct reader *out,
                  struct err *err)
{
    struct str bytes;

    if (!wire_text(in, field, name, &bytes, err))
        return false;
    *out = reader_over(bytes);
    return true;
}

bool wire_u64(struct reader *in, struct wire_field field, const char *name, uint64_t *out,
              struct err *err)
{
    if (!check_type(field, WIRE_VARINT, name, err))
        return false;
    *out = read_varint(in);
    return in->bad ? wire_cut(err) : true;
}

bool wire_i64(struct reader *in, struct wire_field field, const char *name, int64_t *out,
              struct err *err)
{
    uint64_t value = 0;

    if (!wire_u64(in, field, name, &value, err))
        return false;
    *out = (int64_t)value;
    return true;
}

bool wire_i32(struct reader *in, struct wire_field field, const char *name, int32_t *out,
              struct err *err)
{
    uint64_t value = 0;

    if (!wire_u64(in, field, name, &value, err))
        return false;
    *out = (int32_t)(uint32_t)value;
    return true;
}

bool wire_zigzag32(struct reader *in, struct wire_field field, const char *name, int32_t *out,
                   struct err *err)
{
    uint64_t value = 0;

    if (!wire_u64(in, field, name, &value, err))
        return false;
    *out = (int32_t)(uint32_t)zigzag_decode((uint32_t)value);
    return true;
}

bool wire_double(struct reader *in, struct wire_field field, const char *name, double *out,
                 struct err *err)
{
    if (!check_type(field, WIRE_FIXED64, name, err))
        return false;
    uint64_t bits = read_u64(in);
    memcpy(out, &bits, sizeof(*out));
    return in->bad ? wire_cut(err) : true;
}

bool wire_numbers(struct reader *in, struct wire_field field, const char *name, unsigned type,
                  struct reader *out, struct err *err)
{
    if (field.type == WIRE_BYTES)
        return wire_message(in, field, name, out, err);
    if (!check_type(field, type, name, err))
        return false;
    *out = *in;
    if (!wire_skip(in, field, err))
        return false;
    out->begin = out->at;
    out->end = in->at;
    return true;
}
