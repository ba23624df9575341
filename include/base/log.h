/* log: structured lines on stderr, as Prometheus writes them (logfmt or JSON). Any thread.
 *
 *     time=2026-11-22T10:00:00.000Z level=INFO source=server.c:12 msg="Server is ready" address=...
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format);
bool log_level_parse(struct str text, enum log_level *out);
bool log_enabled(enum log_level level);

/* LOG_I("message", "name", value, ...): pairs of C strings. */
void log_line(enum log_level level, const char *file, int line, const char *message, ...)
    __attribute__((sentinel));

#define LOG_D(...) log_line(LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__, (char *)0)
#define LOG_I(...) log_line(LOG_INFO, __FILE__, __LINE__, __VA_ARGS__, (char *)0)
#define LOG_W(...) log_line(LOG_WARN, __FILE__, __LINE__, __VA_ARGS__, (char *)0)
#define LOG_E(...) log_line(LOG_ERROR, __FILE__, __LINE__, __VA_ARGS__, (char *)0)

/* A short-lived C string for a field's value: valid until eight more calls on this thread. */
const char *log_str(struct str s);
const char *log_fmt(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
