/* str: searching, splitting, numbers and UTF-8 over borrowed bytes.
 *
 * Nothing here allocates but str_dup. UTF-8 is decoded strictly: what RFC 3629 forbids (overlong
 * forms, surrogates, anything past U+10FFFF) is bad, and a bad byte counts as one U+FFFD. */
#include "base/str.h"

#include "base/mem.h"

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    if (s.len < suffix.len)
        return false;
    return suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

static unsigned char ascii_lower(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    return true;
}

size_t str_find_char(struct str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    if (needle.len > s.len)
        return s.len;
    const char *at = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return at ? (size_t)(at - s.ptr) : s.len;
}

struct str str_cut(struct str s, char separator, struct str *rest)
{
    size_t at = str_find_char(s, separator);
    if (at == s.len) {
        *rest = (struct str){NULL, 0};
        return s;
    }
    *rest = str_after(s, at + 1);
    return str_first(s, at);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0]))
        s = str_after(s, 1);
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    uint64_t value;
    bool negative = s.len > 0 && s.ptr[0] == '-';

    if (!str_to_u64(str_after(s, negative ? 1 : 0), &value))
        return false;
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = (int64_t)(negative ? 0 - value : value);
    return true;
}

/* Length of the code point at ptr, of which `left` bytes are there; 0 when bad. *rune is set when
 * good. */
static size_t rune_decode(const unsigned char *ptr, size_t left, uint32_t *rune)
{
    /* The second byte's range is narrower after E0, ED, F0 and F4: that forbids overlong forms,
     * surrogates and too large code points at once. */
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (ptr[0] < 0x80) {
        *rune = ptr[0];
        return 1;
    }
    if (ptr[0] >= 0xc2 && ptr[0] <= 0xdf) {
        len = 2;
        *rune = ptr[0] & 0x1fu;
    } else if ((ptr[0] & 0xf0) == 0xe0) {
        len = 3;
        *rune = ptr[0] & 0x0fu;
        low = ptr[0] == 0xe0 ? 0xa0 : low;
        high = ptr[0] == 0xed ? 0x9f : high;
    } else if (ptr[0] >= 0xf0 && ptr[0] <= 0xf4) {
        len = 4;
        *rune = ptr[0] & 0x07u;
        low = ptr[0] == 0xf0 ? 0x90 : low;
        high = ptr[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < len || ptr[1] < low || ptr[1] > high)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((ptr[i] & 0xc0) != 0x80)
            return 0;
        *rune = *rune << 6 | (ptr[i] & 0x3fu);
    }
    return len;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *at = (const unsigned char *)s.ptr;
    size_t left = s.len;
    uint32_t rune;

    while (left > 0) {
        uint64_t eight;
        if (left >= sizeof(eight)) { /* Most texts are ASCII: eight bytes at a step. */
            memcpy(&eight, at, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(eight);
                left -= sizeof(eight);
                continue;
            }
        }
        size_t len = rune_decode(at, left, &rune);
        if (len == 0)
            return false;
        at += len;
        left -= len;
    }
    return true;
}

uint32_t str_next_rune(struct str s, size_t *at)
{
    uint32_t rune;

    if (*at >= s.len)
        return 0xfffd;
    size_t len = rune_decode((const unsigned char *)s.ptr + *at, s.len - *at, &rune);
    if (len == 0) {
        *at += 1;
        return 0xfffd;
    }
    *at += len;
    return rune;
}

char *str_dup(struct str s)
{
    char *copy = mem_alloc(s.len + 1);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}
