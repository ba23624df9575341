/* err: filling and wrapping of struct err.
 *
 * A text is formatted beside the err and then copied in, so an err's own text may be an argument of
 * the next one. Too long texts are cut, never in the middle of a code point. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void text_take(struct err *err, const char *text, size_t len)
{
    if (len >= ERR_TEXT_MAX) {
        len = ERR_TEXT_MAX - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memmove(err->text, text, len);
    err->text[len] = '\0';
}

/* One byte more than an err holds, so that text_take sees where the cut falls. */
struct scratch {
    char text[ERR_TEXT_MAX + 1];
    size_t len;
};

static void scratch_add(struct scratch *scratch, const char *text, size_t len)
{
    size_t room = ERR_TEXT_MAX - scratch->len;
    len = len < room ? len : room;
    memcpy(scratch->text + scratch->len, text, len);
    scratch->len += len;
    scratch->text[scratch->len] = '\0';
}

static void scratch_format(struct scratch *scratch, const char *format, va_list args)
{
    scratch->text[0] = '\0';
    int len = vsnprintf(scratch->text, sizeof(scratch->text), format, args);
    if (len < 0)
        len = 0;
    scratch->len = (size_t)len < ERR_TEXT_MAX ? (size_t)len : ERR_TEXT_MAX;
}

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
    struct scratch scratch;
    va_list args;

    va_start(args, format);
    scratch_format(&scratch, format, args);
    va_end(args);
    err->code = code;
    text_take(err, scratch.text, scratch.len);
    return false;
}

bool err_set_str(struct err *err, enum err_code code, struct str text)
{
    err->code = code;
    text_take(err, text.len ? text.ptr : "", text.len);
    return false;
}

bool err_wrap(struct err *err, const char *format, ...)
{
    struct scratch scratch;
    va_list args;

    va_start(args, format);
    scratch_format(&scratch, format, args);
    va_end(args);
    scratch_add(&scratch, ": ", 2);
    scratch_add(&scratch, err->text, strlen(err->text));
    text_take(err, scratch.text, scratch.len);
    return false;
}

bool err_errno(struct err *err, int errno_value, const char *format, ...)
{
    struct scratch scratch;
    char reason_memory[128];
    va_list args;

    const char *reason = strerror_r(errno_value, reason_memory, sizeof(reason_memory));
    va_start(args, format);
    scratch_format(&scratch, format, args);
    va_end(args);
    scratch_add(&scratch, ": ", 2);
    scratch_add(&scratch, reason, strlen(reason));
    err->code = errno_value == ENOSPC || errno_value == EDQUOT ? ERR_NO_SPACE : ERR_IO;
    text_take(err, scratch.text, scratch.len);
    return false;
}

void err_clear(struct err *err)
{
    err->code = ERR_NONE;
    err->text[0] = '\0';
}

static const struct {
    int http_status;
    const char *api_type;
} err_rows[] = {[ERR_NONE] = {200, ""},
#define X(code, status, type) [code] = {status, type},
                ERR_TABLE(X)
#undef X
};

int err_http_status(enum err_code code)
{
    ENSURE((size_t)code < COUNT_OF(err_rows));
    return err_rows[code].http_status;
}

const char *err_api_type(enum err_code code)
{
    ENSURE((size_t)code < COUNT_OF(err_rows));
    return err_rows[code].api_type;
}
