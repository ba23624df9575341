/* http_bad_head: why Go's net/http would not read the head of an answer. */
#ifndef NET_HTTP_BAD_HEAD_H
#define NET_HTTP_BAD_HEAD_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* Its words for the first fault in these bytes, an answer's first; false: none is known. Outside bytes. */
bool http_bad_head_tell(struct buf *out, struct str bytes);

#endif
