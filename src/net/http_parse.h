/* http_parse: bytes of a connection into requests, one at a time, without sockets.
 *
 *     init -> idle --first byte--> head -> body -> done --http_parse_next--> idle ...
 *                                    \_______\--> bad (stays bad)
 *
 * Holds at most head_bytes_max of texts, HTTP_PARSE_FIELDS_MAX fields and body_bytes_max of body.
 * Does not know the public request type: llhttp's names clash with those of net/http_server.h, so
 * llhttp.h and that header never meet. */
#ifndef NET_HTTP_PARSE_H
#define NET_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"

#define HTTP_PARSE_FIELDS_MAX 1000

enum http_parse_state {
    HTTP_PARSE_IDLE, /* No byte of the request yet; empty lines before it do not count. */
    HTTP_PARSE_HEAD,
    HTTP_PARSE_BODY,
    HTTP_PARSE_DONE,
    HTTP_PARSE_BAD,
};

/* Places in `text`. */
struct http_parse_field {
    uint32_t name_at, name_len;
    uint32_t value_at, value_len;
};

struct http_parse_engine;

struct http_parse {
    enum http_parse_state state;
    size_t head_bytes_max;
    size_t head_bytes; /* Eaten so far. */
    struct buf text;   /* Method, target, then each field's name and value. */
    uint32_t method_len, target_len, name_at;
    bool name_open;
    VEC(struct http_parse_field) fields;
    struct buf body;
    bool keep_alive;                  /* From done on. */
    bool expect_continue;             /* From body on. */
    int version_minor;                /* From body on: HTTP/1.x. */
    int bad_status;                   /* When bad: what to answer. */
    const char *bad_why;              /* When bad: more words for the answer, or NULL. */
    struct http_parse_engine *engine; /* Owned: llhttp's state. */
};

void http_parse_init(struct http_parse *parse, size_t head_bytes_max, size_t body_bytes_max);
void http_parse_deinit(struct http_parse *parse);

/* Eats up to the end of the request and returns how many bytes that were: all of them unless done
 * or bad. */
size_t http_parse_feed(struct http_parse *parse, struct str bytes);
void http_parse_next(struct http_parse *parse); /* After done: forgets the request. */

struct str http_parse_method(const struct http_parse *parse);
struct str http_parse_target(const struct http_parse *parse);
struct str http_parse_name(const struct http_parse *parse, size_t index);
struct str http_parse_value(const struct http_parse *parse, size_t index);

#endif
