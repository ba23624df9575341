/* http_answer: bytes of a connection into one answer, without sockets.
 *
 *     start -> head (on_head) -> body (on_body ...) -> DONE
 *                  \_______________\--> BAD
 *
 * Heads of 1xx answers are passed over. Holds at most HTTP_ANSWER_HEAD_MAX bytes of texts. Like
 * http_parse.h it does not know the public types of net/http_server.h, whose names clash with
 * llhttp's. */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define HTTP_ANSWER_HEAD_MAX ((size_t)256 << 10)

enum http_answer_state { HTTP_ANSWER_HEAD, HTTP_ANSWER_BODY, HTTP_ANSWER_DONE, HTTP_ANSWER_BAD };

enum http_answer_field { /* Those that are kept; of several equal ones the first. */
                         HTTP_ANSWER_CONTENT_TYPE,
                         HTTP_ANSWER_CONTENT_ENCODING,
                         HTTP_ANSWER_LOCATION,
                         HTTP_ANSWER_REASON, /* Of the status line. */
                         HTTP_ANSWER_FIELDS,
};

struct http_answer_engine;

struct http_answer {
    enum http_answer_state state;
    /* False ends the answer: it is BAD, and whoever said so knows why. */
    bool (*on_head)(void *ctx);
    bool (*on_body)(void *ctx, struct str bytes);
    void *ctx;
    int status;
    bool keep_alive; /* From DONE on. */
    bool any;        /* A byte has come. */
    bool bad_chunk_size;
    size_t head_bytes;
    struct buf text; /* The kept fields, and the name of the one in work. */
    struct {
        uint32_t at, len;
    } fields[HTTP_ANSWER_FIELDS];
    int field;                         /* Being read; -1: none of ours. */
    struct http_answer_engine *engine; /* Owned: llhttp's state. */
};

/* The struct must stay where it is until deinit. */
void http_answer_init(struct http_answer *answer);
void http_answer_deinit(struct http_answer *answer);
/* Returns how many bytes were the answer's: all of them unless DONE or BAD. */
size_t http_answer_feed(struct http_answer *answer, struct str bytes);
/* No more bytes come. DONE when that is how this answer ends, else BAD. */
void http_answer_finish(struct http_answer *answer);
/* Trimmed; from on_head on. */
struct str http_answer_get(const struct http_answer *answer, enum http_answer_field field);

#endif
