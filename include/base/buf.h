/* buf: a growing byte buffer that names its maximum.
 *
 * Past the maximum nothing more is added and `overflow` stays set: write straight through, test once. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ensure.h"
#include "base/str.h"

struct buf {
    char *ptr; /* Owned. */
    size_t len;
    size_t capacity;
    size_t len_max;
    bool overflow;
    bool reuses; /* Once it is large, its memory comes from base/spare.h and goes there: for the caller to set. */
};

void buf_init(struct buf *buf, size_t len_max);
void buf_deinit(struct buf *buf);  /* NULL is fine. Leaves an empty buf with the same maximum. */
void buf_clear(struct buf *buf);   /* Empties it, keeps the memory, clears overflow. */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_char(struct buf *buf, char c);
void buf_add_str(struct buf *buf, struct str s);
void buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes to be written by the caller at the returned place, then buf_commit.
 * NULL (and overflow) when that would pass the maximum. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_commit(struct buf *buf, size_t len);
void buf_shrink(struct buf *buf);                 /* Gives memory back that holds nothing. */
void buf_drop_front(struct buf *buf, size_t len); /* Removes the first len bytes. */
void buf_swap(struct buf *a, struct buf *b);

#define BUF_ADD(buf, literal) buf_add((buf), "" literal, sizeof(literal) - 1)

/* Texts that several floors write. */
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_u64(struct buf *buf, uint64_t value);
/* Quoted; bad UTF-8 becomes U+FFFD. As Go's encoding/json does it: < > & U+2028 U+2029 as \u003c and so on. */
void buf_add_json_string(struct buf *buf, struct str s);
void buf_add_json_plain(struct buf *buf, struct str s); /* The same without these: labels, log lines. */
void buf_add_go_quoted(struct buf *buf, struct str s);    /* As Go's strconv.Quote ("%q"). */
void buf_add_html(struct buf *buf, struct str s);         /* & < > " ' escaped. */
void buf_add_url_escaped(struct buf *buf, struct str s);  /* Query component. */

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->ptr, buf->len};
}

#endif
