/* str: a borrowed run of bytes, passed by value. Never owned, not NUL-terminated. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr; /* May be NULL when len is 0. */
    size_t len;
};

#define STR(literal)      ((struct str){"" literal, sizeof(literal) - 1})
#define STR_FMT           "%.*s"
#define STR_ARG(s)        (int)(s).len, (s).ptr
#define STR_EMPTY         ((struct str){"", 0})
#define STR_MAX_FORMATTED INT32_MAX

static inline struct str str_of(const char *text) { return (struct str){text, strlen(text)}; }
static inline struct str str_from(const char *ptr, size_t len) { return (struct str){ptr, len}; }

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Byte order, as Go compares strings. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* The bytes from `from` on; `from` past the end yields an empty str. */
static inline struct str str_after(struct str s, size_t from)
{
    if (from > s.len)
        from = s.len;
    return (struct str){s.ptr ? s.ptr + from : s.ptr, s.len - from};
}

static inline struct str str_first(struct str s, size_t len)
{
    return (struct str){s.ptr, len < s.len ? len : s.len};
}

bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only. */

/* Position of the first byte or needle, or s.len when there is none. */
size_t str_find_char(struct str s, char c);
size_t str_find(struct str s, struct str needle);

/* Splits at the first `separator`: the part before is returned, *rest is what follows. Without one the
 * whole is returned and *rest is empty with ptr NULL (so a loop can end on rest->ptr == NULL). */
struct str str_cut(struct str s, char separator, struct str *rest);

struct str str_trim(struct str s); /* ASCII white space at both ends. */

/* Decimal only, no sign (u64) or an optional '-' (i64), the whole of s; false on overflow or anything else. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_i64(struct str s, int64_t *out);

bool str_is_utf8(struct str s); /* Strict: no surrogates, no overlong forms. */

/* Decodes one code point at *at and moves *at on. Bad bytes yield U+FFFD and move by one. */
uint32_t str_next_rune(struct str s, size_t *at);

char *str_dup(struct str s); /* NUL-terminated copy; free with mem_free. */

#endif
