/* quoted: error texts that hold an outside text as Go's %q prints it. */
#ifndef MODEL_QUOTED_H
#define MODEL_QUOTED_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* "before" "quoted" "after"; always returns false. */
static inline bool err_set_quoted(struct err *err, enum err_code code, const char *before,
                                  struct str quoted, const char *after)
{
    struct buf text;

    /* One byte prints as ten at most ("\U0001f4a9" is the longest), so cutting first bounds the
     * rest. */
    buf_init(&text, 16 * ERR_TEXT_MAX);
    buf_add_str(&text, str_of(before));
    buf_add_go_quoted(&text, str_first(quoted, ERR_TEXT_MAX));
    buf_add_str(&text, str_of(after));
    err_set_str(err, code, buf_str(&text));
    buf_deinit(&text);
    return false;
}

#endif
