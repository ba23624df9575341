/* http_reply: an answer as bytes: head, and body with its compression. */
#ifndef NET_HTTP_REPLY_H
#define NET_HTTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/http_server.h"

#define HTTP_REPLY_HEAD_BYTES_MAX (1 << 20)

/* What the request says about the form of its answer. */
struct http_reply_form {
    bool is_head;
    bool keep_alive;
    int version_minor;
    struct str accept_encoding;
};

/* Writes the head to *head and leaves in *body what goes on the wire after it. */
void http_reply_build(const struct http_reply_form *form, const struct http_response *response,
                      struct buf *head, struct buf *body);

#endif
