/* proto_text: protobuf messages written down as text, and made bytes.
 *
 *     { 1 "name"  3 u 4          one message, its length before it; fields: number, kind, value
 *       4 { 1 { 1 "l" 2 "v" } }  a message inside
 *       5 z -3   6 d 1.5         zigzag, double;  i -1: a negative varint
 *       7 pz 1 -2 ;  8 pd 1 2 ;  9 pu 0 1 ;       packed ones
 *     }
 *     x ff00                     bytes as they are
 *     # to the end of the line   nothing
 *
 * Included by tests (static functions only). A text that is wrong ends the test. */
#ifndef TESTS_PROTO_TEXT_H
#define TESTS_PROTO_TEXT_H

#include <stdlib.h>

#include "base/bytes.h"
#include "base/number.h"

struct proto_text {
    const char *at, *end;
};

static struct str proto_token(struct proto_text *text)
{
    while (text->at < text->end && (*text->at <= ' ' || *text->at == '#')) {
        if (*text->at == '#')
            while (text->at < text->end && *text->at != '\n')
                text->at++;
        else
            text->at++;
    }
    const char *from = text->at;
    if (from < text->end && *from == '"') {
        const char *close = memchr(from + 1, '"', (size_t)(text->end - from - 1));
        ENSURE(close);
        text->at = close + 1;
        return str_from(from, (size_t)(text->at - from));
    }
    while (text->at<text->end && * text->at> ' ')
        text->at++;
    return str_from(from, (size_t)(text->at - from));
}

static int64_t proto_integer(struct str token)
{
    double value;

    ENSURE(number_parse(token, &value));
    return (int64_t)value;
}

static double proto_double(struct str token)
{
    double value;

    if (str_eq(token, STR("stale")))
        return 0;
    ENSURE(number_parse(token, &value));
    return value;
}

static void proto_add_double(struct buf *out, struct str token)
{
    uint64_t bits = UINT64_C(0x7ff0000000000002);
    double value = proto_double(token);

    if (!str_eq(token, STR("stale")))
        memcpy(&bits, &value, sizeof(bits));
    write_u64(out, bits);
}

static void proto_add_packed(struct buf *out, struct proto_text *text, char kind)
{
    struct buf packed;

    buf_init(&packed, 1 << 20);
    for (;;) {
        struct str token = proto_token(text);
        ENSURE(token.len > 0);
        if (str_eq(token, STR(";")))
            break;
        if (kind == 'd')
            proto_add_double(&packed, token);
        else if (kind == 'z')
            write_zigzag(&packed, proto_integer(token));
        else
            write_varint(&packed, (uint64_t)proto_integer(token));
    }
    write_varint_str(out, buf_str(&packed));
    buf_deinit(&packed);
}

/* The fields up to the closing brace. */
static void proto_add_fields(struct buf *out, struct proto_text *text)
{
    for (;;) {
        struct str token = proto_token(text);
        if (str_eq(token, STR("}")))
            return;
        ENSURE(token.len > 0);
        uint64_t key = (uint64_t)proto_integer(token) << 3;
        struct str kind = proto_token(text);
        if (str_eq(kind, STR("{"))) {
            struct buf inner;
            buf_init(&inner, 1 << 20);
            proto_add_fields(&inner, text);
            write_varint(out, key | 2);
            write_varint_str(out, buf_str(&inner));
            buf_deinit(&inner);
        } else if (kind.ptr[0] == '"') {
            write_varint(out, key | 2);
            write_varint_str(out, str_from(kind.ptr + 1, kind.len - 2));
        } else if (kind.ptr[0] == 'p') {
            write_varint(out, key | 2);
            proto_add_packed(out, text, kind.ptr[1]);
        } else if (kind.ptr[0] == 'd') {
            write_varint(out, key | 1);
            proto_add_double(out, proto_token(text));
        } else if (kind.ptr[0] == 'z') {
            write_varint(out, key);
            write_zigzag(out, proto_integer(proto_token(text)));
        } else {
            ENSURE(kind.ptr[0] == 'u' || kind.ptr[0] == 'i');
            write_varint(out, key);
            write_varint(out, (uint64_t)proto_integer(proto_token(text)));
        }
    }
}

static void proto_add_hex(struct buf *out, struct str hex)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        char pair[3] = {hex.ptr[i], hex.ptr[i + 1], 0};
        buf_add_char(out, (char)strtol(pair, NULL, 16));
    }
}

/* All messages of a text, each with its length before it unless `plain`. */
static void proto_text_encode(struct buf *out, struct str source, bool plain)
{
    struct proto_text text = {source.ptr, source.ptr + source.len};

    for (struct str token; (token = proto_token(&text)).len > 0;) {
        struct buf message;
        if (str_eq(token, STR("x"))) {
            proto_add_hex(out, proto_token(&text));
            continue;
        }
        ENSURE(str_eq(token, STR("{")));
        buf_init(&message, 1 << 20);
        proto_add_fields(&message, &text);
        if (plain)
            buf_add_str(out, buf_str(&message));
        else
            write_varint_str(out, buf_str(&message));
        buf_deinit(&message);
    }
}

#endif
