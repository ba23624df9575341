/* buf: the growing byte buffer and the escapes that several floors write.
 *
 * Invariant: len <= capacity, len <= len_max. Once `overflow` is set nothing more is added until
 * buf_clear, so that a text that was cut is never continued after the hole. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/spare.h"
#include "decimal.h"
#include "shim.h"

#define BUF_CAPACITY_MIN 64
/* Larger ones grow by half: the kernel moves their pages, not bytes. */
#define BUF_HALF_FROM ((size_t)4 << 20)

void buf_init(struct buf *buf, size_t len_max)
{
    *buf = (struct buf){.len_max = len_max};
}

void buf_deinit(struct buf *buf)
{
    if (!buf)
        return;
    if (buf->reuses)
        spare_give(buf->ptr, buf->capacity);
    else
        mem_free(buf->ptr);
    *buf = (struct buf){.len_max = buf->len_max};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
}

/* A block that another buf has had is larger than asked for, mostly, and its pages are there. */
static bool buf_take_spare(struct buf *buf, size_t wanted)
{
    size_t capacity;
    char *spare = spare_take(&capacity);
    if (capacity < wanted) {
        if (spare)
            spare_give(spare, capacity);
        return false;
    }
    if (buf->len > 0)
        memcpy(spare, buf->ptr, buf->len);
    mem_free(buf->ptr);
    buf->ptr = spare;
    buf->capacity = capacity;
    return true;
}

static char *buf_grow(struct buf *buf, size_t len)
{
    if (buf->overflow || buf->len > buf->len_max || len > buf->len_max - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    size_t wanted = buf->len + len, capacity = buf->capacity;
    capacity += capacity < BUF_HALF_FROM ? capacity : capacity / 2;
    if (capacity > buf->len_max)
        capacity = buf->len_max;
    if (capacity < BUF_CAPACITY_MIN)
        capacity = BUF_CAPACITY_MIN;
    if (capacity < wanted)
        capacity = wanted;
    if (buf->reuses && capacity >= SPARE_MIN && buf->capacity < SPARE_MIN &&
        buf_take_spare(buf, wanted))
        return buf->ptr + buf->len;
    buf->ptr = mem_realloc(buf->ptr, capacity);
    buf->capacity = capacity;
    return buf->ptr + buf->len;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    size_t end;
    /* BUF_CAPACITY_MIN may give more capacity than len_max allows bytes: both are tested. */
    if (LIKELY(!buf->overflow && buf->ptr && !__builtin_add_overflow(buf->len, len, &end) &&
               end <= buf->capacity && end <= buf->len_max))
        return buf->ptr + buf->len;
    return buf_grow(buf, len);
}

void buf_commit(struct buf *buf, size_t len)
{
    ENSURE(len <= buf->capacity - buf->len);
    buf->len += len;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    char *at = buf_reserve(buf, len);
    if (!at)
        return;
    memcpy(at, bytes, len);
    buf->len += len;
}

void buf_add_char(struct buf *buf, char c)
{
    char *at = buf_reserve(buf, 1);
    if (!at)
        return;
    *at = c;
    buf->len++;
}

void buf_add_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.ptr, s.len);
}

void buf_addf(struct buf *buf, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ENSURE(len >= 0);
    if ((size_t)len < sizeof(text)) {
        buf_add(buf, text, (size_t)len);
        return;
    }
    /* vsnprintf writes a NUL: it gets room beside the buf, not a byte of the maximum. */
    char *copy = mem_alloc((size_t)len + 1);
    va_start(args, format);
    vsnprintf(copy, (size_t)len + 1, format, args);
    va_end(args);
    buf_add(buf, copy, (size_t)len);
    mem_free(copy);
}

void buf_shrink(struct buf *buf)
{
    if (buf->len == buf->capacity)
        return;
    if (buf->len == 0) {
        buf_deinit(buf);
        return;
    }
    buf->ptr = mem_realloc(buf->ptr, buf->len);
    buf->capacity = buf->len;
}

void buf_drop_front(struct buf *buf, size_t len)
{
    ENSURE(len <= buf->len);
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->ptr, buf->ptr + len, buf->len);
}

void buf_swap(struct buf *a, struct buf *b)
{
    struct buf kept = *a;
    *a = *b;
    *b = kept;
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
    char text[DECIMAL_U64_MAX];
    char *end = text + sizeof(text);
    char *begin = decimal_u64_before(end, value);
    buf_add(buf, begin, (size_t)(end - begin));
}

void buf_add_i64(struct buf *buf, int64_t value)
{
    char text[DECIMAL_U64_MAX + 1];
    char *end = text + sizeof(text);
    char *begin = decimal_u64_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0)
        *--begin = '-';
    buf_add(buf, begin, (size_t)(end - begin));
}

/* A run of bytes that need no escape is added at once. */
static void run_add(struct buf *buf, struct str s, size_t begin, size_t end)
{
    buf_add(buf, s.ptr + begin, end - begin);
}

static void json_escape_add(struct buf *buf, unsigned char c)
{
    static const char short_forms[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char text[7] = {'\\', (char)c};

    if (c == '"' || c == '\\') {
        buf_add(buf, text, 2);
    } else if (c < 0x20 && short_forms[c]) {
        text[1] = short_forms[c];
        buf_add(buf, text, 2);
    } else {
        snprintf(text, sizeof(text), "\\u%04x", c);
        buf_add(buf, text, 6);
    }
}

static bool is_plain_json(unsigned char c, bool for_html)
{
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
        return false;
    return !for_html || (c != '<' && c != '>' && c != '&');
}

/* How many bytes from the first on JSON takes as they are: printable ASCII but for quote and backslash; eight at a time. */
static size_t plain_len(struct str s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    size_t at = 0;
    for (; at + 8 <= s.len; at += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + at, 8);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        uint64_t bad = word | (word - ones * 0x20) | (quote - ones) | (backslash - ones);
        if (bad & highs) /* May be wrong about ASCII that follows such a byte. */
            break;
    }
    while (at < s.len && (unsigned char)s.ptr[at] >= 0x20 && (unsigned char)s.ptr[at] < 0x80 &&
           s.ptr[at] != '"' && s.ptr[at] != '\\')
        at++;
    return at;
}

static void add_json(struct buf *buf, struct str s, bool for_html)
{
    size_t begin = 0, plain = for_html ? 0 : plain_len(s);

    if (plain == s.len && !for_html) {
        char *out = buf_reserve(buf, s.len + 2);
        if (!out)
            return;
        out[0] = '"';
        if (s.len)
            memcpy(out + 1, s.ptr, s.len);
        out[s.len + 1] = '"';
        buf->len += s.len + 2;
        return;
    }
    buf_add_char(buf, '"');
    for (size_t at = plain; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (is_plain_json(c, for_html)) {
            at++;
            continue;
        }
        size_t next = at;
        uint32_t rune = str_next_rune(s, &next);
        bool is_line_end = for_html && (rune == 0x2028 || rune == 0x2029);
        if (c >= 0x80 && !is_line_end && !(rune == 0xfffd && next == at + 1)) {
            at = next;
            continue;
        }
        run_add(buf, s, begin, at);
        if (is_line_end)
            buf_addf(buf, "\\u%04x", (unsigned)rune);
        else if (c >= 0x80)
            BUF_ADD(buf, "\xef\xbf\xbd");
        else
            json_escape_add(buf, c);
        begin = at = next;
    }
    run_add(buf, s, begin, s.len);
    buf_add_char(buf, '"');
}

void buf_add_json_string(struct buf *buf, struct str s)
{
    add_json(buf, s, true);
}

void buf_add_json_plain(struct buf *buf, struct str s)
{
    add_json(buf, s, false);
}

static void go_escape_add(struct buf *buf, uint32_t rune)
{
    static const char letters[] = "abtnvfr"; /* From 0x07 on. */
    static const char *const order = "\a\b\t\n\v\f\r";
    char text[12];

    if (rune == '"' || rune == '\\') {
        buf_add_char(buf, '\\');
        buf_add_char(buf, (char)rune);
        return;
    }
    const char *at = rune ? strchr(order, (int)rune) : NULL;
    if (rune < 0x20 && at) {
        buf_add_char(buf, '\\');
        buf_add_char(buf, letters[at - order]);
        return;
    }
    const char *format = rune < 0x80 ? "\\x%02x" : rune < 0x10000 ? "\\u%04x" : "\\U%08x";
    int len = snprintf(text, sizeof(text), format, rune);
    buf_add(buf, text, (size_t)len);
}

void buf_add_go_quoted(struct buf *buf, struct str s)
{
    size_t begin = 0;

    buf_add_char(buf, '"');
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            at++;
            continue;
        }
        size_t next = at;
        uint32_t rune = str_next_rune(s, &next);
        bool bad = c >= 0x80 && rune == 0xfffd && next == at + 1;
        if (c >= 0x80 && !bad && shim_rune_is_print(s.ptr + at, next - at)) {
            at = next;
            continue;
        }
        run_add(buf, s, begin, at);
        if (bad)
            buf_addf(buf, "\\x%02x", c);
        else
            go_escape_add(buf, rune);
        begin = at = next;
    }
    run_add(buf, s, begin, s.len);
    buf_add_char(buf, '"');
}

/* The names that Go's html/template writes. */
static struct str html_escape(char c)
{
    switch (c) {
    case '&':
        return STR("&amp;");
    case '<':
        return STR("&lt;");
    case '>':
        return STR("&gt;");
    case '"':
        return STR("&#34;");
    case '\'':
        return STR("&#39;");
    default:
        return STR_EMPTY;
    }
}

void buf_add_html(struct buf *buf, struct str s)
{
    size_t begin = 0;

    for (size_t at = 0; at < s.len; at++) {
        struct str escape = html_escape(s.ptr[at]);
        if (escape.len == 0)
            continue;
        run_add(buf, s, begin, at);
        buf_add_str(buf, escape);
        begin = at + 1;
    }
    run_add(buf, s, begin, s.len);
}

static bool is_url_safe(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void buf_add_url_escaped(struct buf *buf, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t at = 0; at < s.len; at++) {
        unsigned char c = (unsigned char)s.ptr[at];
        char text[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (is_url_safe(s.ptr[at]))
            buf_add_char(buf, s.ptr[at]);
        else if (c == ' ')
            buf_add_char(buf, '+');
        else
            buf_add(buf, text, sizeof(text));
    }
}
