/* log: one structured line per call, by one write(2), so that lines of threads never mix.
 *
 *     time=2026-11-22T10:00:00.000Z level=INFO source=server.c:12 msg="Server is ready" address=...
 *
 * Values are quoted as Go's slog does: when empty, and when a space, '=', '"', a control character
 * or what is not printable is in them. A line past LOG_LINE_MAX is cut, and still ends in a
 * newline. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/timetext.h"
#include "shim.h"

#define LOG_LINE_MAX  (64 * 1024)
#define RING_TEXTS    8
#define RING_TEXT_MAX 2048

static _Atomic int level_set = LOG_INFO;
static _Atomic int format_set = LOG_LOGFMT;

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&level_set, (int)level, memory_order_relaxed);
    atomic_store_explicit(&format_set, (int)format, memory_order_relaxed);
}

bool log_level_parse(struct str text, enum log_level *out)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (str_eq_nocase(text, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&level_set, memory_order_relaxed);
}

static bool needs_quotes(struct str s)
{
    if (s.len == 0)
        return true;
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        size_t next = at + 1;
        if (c <= ' ' || c == '=' || c == '"')
            return true;
        if (c >= 0x80) {
            next = at;
            if (str_next_rune(s, &next) == 0xfffd || !shim_rune_is_print(s.ptr + at, next - at))
                return true;
        }
        at = next;
    }
    return false;
}

static void field_add(struct buf *line, enum log_format format, const char *name, struct str value)
{
    if (format == LOG_JSON) {
        buf_add_char(line, line->len ? ',' : '{');
        buf_add_json_plain(line, str_of(name));
        buf_add_char(line, ':');
        buf_add_json_plain(line, value);
        return;
    }
    if (line->len)
        buf_add_char(line, ' ');
    buf_add_str(line, str_of(name));
    buf_add_char(line, '=');
    if (needs_quotes(value))
        buf_add_go_quoted(line, value);
    else
        buf_add_str(line, value);
}

static void line_write(struct buf *line, enum log_format format)
{
    if (format == LOG_JSON)
        buf_add_char(line, '}');
    line->overflow = false;
    line->len_max++; /* The newline has its place whatever happened before. */
    buf_add_char(line, '\n');
    /* A log that cannot be written has nowhere to be reported. */
    ssize_t written = write(STDERR_FILENO, line->ptr, line->len);
    (void)written;
}

void log_line(enum log_level level, const char *file, int line, const char *message, ...)
{
    struct buf out, text;
    va_list args;

    if (!log_enabled(level))
        return;
    enum log_format format =
        (enum log_format)atomic_load_explicit(&format_set, memory_order_relaxed);
    const char *slash = strrchr(file, '/');
    buf_init(&out, LOG_LINE_MAX);
    buf_init(&text, LOG_LINE_MAX);
    buf_add_rfc3339_ms(&text, clock_wall_ms());
    field_add(&out, format, "time", buf_str(&text));
    field_add(&out, format, "level", str_of(level_names[level]));
    buf_clear(&text);
    buf_addf(&text, "%s:%d", slash ? slash + 1 : file, line);
    field_add(&out, format, "source", buf_str(&text));
    field_add(&out, format, "msg", str_of(message));
    va_start(args, message);
    for (const char *name; (name = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        field_add(&out, format, name, str_of(value ? value : "null"));
        if (!value)
            break; /* The end marker came in a value's place: the caller gave half a pair. */
    }
    va_end(args);
    line_write(&out, format);
    buf_deinit(&text);
    buf_deinit(&out);
}

static char *ring_next(void)
{
    static _Thread_local char texts[RING_TEXTS][RING_TEXT_MAX];
    static _Thread_local unsigned next;
    return texts[next++ % RING_TEXTS];
}

const char *log_str(struct str s)
{
    char *text = ring_next();
    size_t len = s.len < RING_TEXT_MAX ? s.len : RING_TEXT_MAX - 1;
    if (len)
        memcpy(text, s.ptr, len);
    text[len] = '\0';
    return text;
}

const char *log_fmt(const char *format, ...)
{
    char *text = ring_next();
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, RING_TEXT_MAX, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    return text;
}
