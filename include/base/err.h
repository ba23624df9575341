/* err: what went wrong for outside reasons, in words for a person and a kind for the API.
 *
 * A function that can fail returns bool, takes `struct err *err` last (never NULL) and fills it only
 * when it returns false. Callers add context on the way up with err_wrap and log once at the rim. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/ensure.h"
#include "base/str.h"

/* Kind, HTTP status, the API's errorType. "unavailable" answers 500 in Prometheus, too. */
#define ERR_TABLE(X)                             \
    X(ERR_BAD_DATA, 400, "bad_data")             \
    X(ERR_EXECUTION, 422, "execution")           \
    X(ERR_NOT_FOUND, 404, "not_found")           \
    X(ERR_NOT_ACCEPTABLE, 406, "not_acceptable") \
    X(ERR_CANCELED, 499, "canceled")             \
    X(ERR_TIMEOUT, 503, "timeout")               \
    X(ERR_UNAVAILABLE, 500, "unavailable")       \
    X(ERR_BUSY, 503, "unavailable")              \
    X(ERR_INTERNAL, 500, "internal")             \
    X(ERR_IO, 500, "internal")                   \
    X(ERR_NO_SPACE, 500, "internal")             \
    X(ERR_LIMIT, 500, "internal")                \
    X(ERR_CORRUPT, 500, "internal")

enum err_code {
    ERR_NONE,
#define X(code, status, type) code,
    ERR_TABLE(X)
#undef X
};

#define ERR_TEXT_MAX 4096

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX]; /* NUL-terminated; cut at a UTF-8 boundary when too long. */
};

/* Sets code and text. Always returns false, so `return err_set(...)` reads well. */
bool err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);
/* For texts with bytes that printf would stop at, or that are long. */
bool err_set_str(struct err *err, enum err_code code, struct str text);
/* Prefixes "context: " to the text. Returns false. */
bool err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
/* "what: strerror(errno_value)", code ERR_NO_SPACE for ENOSPC and EDQUOT, else ERR_IO. Returns false. */
bool err_errno(struct err *err, int errno_value, const char *format, ...) PRINTF_LIKE(3, 4);
void err_clear(struct err *err);

int err_http_status(enum err_code code);
const char *err_api_type(enum err_code code);

#endif
