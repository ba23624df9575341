/* base64: the standard alphabet with padding, RFC 4648. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

void buf_add_base64(struct buf *buf, struct str bytes);
/* False: some byte does not belong there, or the padding is wrong. *out may then hold a part. */
MUST_CHECK bool base64_decode(struct str text, struct buf *out);

#endif
