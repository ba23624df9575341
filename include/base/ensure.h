/* ensure: assertions that are always on, and the few compiler attributes that we use.
 *
 * ENSURE is for the programmer's errors only, never for outside bytes: it prints the expression,
 * the place and what the thread was doing, then aborts. ENSURE_SLOW is compiled into sanitizer and
 * test builds. */
#ifndef BASE_ENSURE_H
#define BASE_ENSURE_H

#include <stddef.h>

#define MUST_CHECK                     __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, arguments)   __attribute__((format(printf, text, arguments)))
#define NORETURN                       __attribute__((noreturn))
#define LIKELY(x)                      __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                    __builtin_expect(!!(x), 0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ENSURE(x) (LIKELY(x) ? (void)0 : ensure_failed(#x, __FILE__, __LINE__))
#ifdef NARTHEX_SLOW_CHECKS
#define ENSURE_SLOW(x) ENSURE(x)
#else
#define ENSURE_SLOW(x) ((void)sizeof(x))
#endif
#define UNREACHABLE() ensure_failed("unreachable", __FILE__, __LINE__)

NORETURN void ensure_failed(const char *expression, const char *file, int line);

/* Names what this thread does now, for ensure_failed. The text is borrowed until the next call. */
void ensure_set_job(const char *job);

#endif
