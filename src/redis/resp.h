/* resp: Redis' wire protocol: requests out, bounded replies in. Private to redis.
 *
 *     resp_reader_new -> resp_reader_feed -> resp_reader_next until *out is NULL -> feed ...
 *
 * A reply lives until the next call of resp_reader_next. What a reply may take is limited: bytes,
 * elements, the length of a line; beyond, and on anything that is no RESP, the reader is broken. */
#ifndef REDIS_RESP_H
#define REDIS_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define RESP_BYTES_MAX    ((size_t)16 << 20)
#define RESP_ELEMENTS_MAX ((size_t)1 << 20)
#define RESP_LINE_MAX     ((size_t)64 << 10)

enum resp_type { RESP_STRING, RESP_STATUS, RESP_ERROR, RESP_INTEGER, RESP_NIL, RESP_ARRAY };

struct resp {
    enum resp_type type;
    struct str text; /* STRING, STATUS, ERROR. */
    int64_t integer;
    const struct resp **items; /* ARRAY. */
    size_t count;
};

struct resp_reader;

struct resp_reader *resp_reader_new(void);
void resp_reader_free(struct resp_reader *reader); /* NULL is fine. */
/* All replies that the bytes complete are to be taken before more is fed. */
MUST_CHECK bool resp_reader_feed(struct resp_reader *reader, struct str bytes, struct err *err);
/* *out is NULL when the bytes so far hold no further reply. */
MUST_CHECK bool resp_reader_next(struct resp_reader *reader, const struct resp **out,
                                 struct err *err);

void resp_write_command(struct buf *out, const struct str *words, size_t count);

/* Reading what should be of a type; a reply of another shape yields "no". */
static inline bool resp_is_text(const struct resp *reply)
{
    return reply && (reply->type == RESP_STRING || reply->type == RESP_STATUS);
}
bool resp_text(const struct resp *reply, struct str *out);
bool resp_i64(const struct resp *reply, int64_t *out); /* An integer, or a text that is one. */
const struct resp *resp_at(const struct resp *reply, size_t index); /* NULL past the end. */
/* The value behind `key` in a flat list of keys and values; NULL when absent. */
const struct resp *resp_get(const struct resp *reply, const char *key);

#endif
