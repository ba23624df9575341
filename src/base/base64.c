/* base64: three bytes are four letters. Strict: what does not end at a byte's edge is refused, as Go's StdEncoding does. */
#include "base/base64.h"

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buf_add_base64(struct buf *buf, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t bits = (uint32_t)(uint8_t)bytes.ptr[i] << 16;
        if (left > 1)
            bits |= (uint32_t)(uint8_t)bytes.ptr[i + 1] << 8;
        if (left > 2)
            bits |= (uint8_t)bytes.ptr[i + 2];
        char quad[4] = {LETTERS[bits >> 18], LETTERS[bits >> 12 & 63],
                        left > 1 ? LETTERS[bits >> 6 & 63] : '=',
                        left > 2 ? LETTERS[bits & 63] : '='};
        buf_add(buf, quad, sizeof(quad));
    }
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* `len` letters, 2 to 4, that are not padding. */
static bool add_group(struct buf *out, const char *letters, size_t len)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(letters[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
    }
    bits <<= 6 * (4 - len);
    for (size_t i = 0; i + 1 < len; i++)
        buf_add_char(out, (char)(uint8_t)(bits >> (16 - 8 * i)));
    return true;
}

bool base64_decode(struct str text, struct buf *out)
{
    size_t padding = 0;
    if (text.len % 4 != 0)
        return false;
    while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.len; i += 4)
        if (!add_group(out, text.ptr + i, i + 4 == text.len ? 4 - padding : 4))
            return false;
    return !out->overflow;
}
