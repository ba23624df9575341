/* http_form: percent-decoding, shared by paths and forms. */
#ifndef NET_HTTP_FORM_H
#define NET_HTTP_FORM_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "net/http_server.h"

enum url_part { URL_PATH, URL_QUERY }; /* In a query '+' is a space. */

/* As Go's url.PathUnescape and url.QueryUnescape. *out is `s` itself when there is nothing to
 * decode. */
MUST_CHECK bool url_unescape(struct arena *arena, struct str s, enum url_part part, struct str *out,
                             struct err *err);

/* --- http_multipart.c --- */

/* Is that the Content-Type of a form in parts? */
bool multipart_is(struct str type);
/* The parameters in such a body, at most count_max: how many there are. They point into it. */
size_t multipart_parse(struct arena *arena, struct str type, struct str body,
                       struct http_param *out, size_t count_max);

#endif
