/* http_form: percent-decoding, shared by paths and forms. */
#ifndef NET_HTTP_FORM_H
#define NET_HTTP_FORM_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum url_part { URL_PATH, URL_QUERY }; /* In a query '+' is a space. */

/* As Go's url.PathUnescape and url.QueryUnescape. *out is `s` itself when there is nothing to
 * decode. */
MUST_CHECK bool url_unescape(struct arena *arena, struct str s, enum url_part part, struct str *out,
                             struct err *err);

#endif
