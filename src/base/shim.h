/* shim: the C face of what only C++ has: RE2 and <charconv>. Private to base.
 *
 * Nothing here throws; a C++ exception ends as a refusal. Regex functions may be called from any
 * thread at once. */
#ifndef BASE_SHIM_H
#define BASE_SHIM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shim_regex;

enum shim_regex_fault {
    SHIM_REGEX_OK,
    SHIM_REGEX_INTERNAL,
    SHIM_REGEX_BAD_ESCAPE,
    SHIM_REGEX_BAD_CHAR_CLASS,
    SHIM_REGEX_BAD_CHAR_RANGE,
    SHIM_REGEX_MISSING_BRACKET,
    SHIM_REGEX_MISSING_PAREN,
    SHIM_REGEX_UNEXPECTED_PAREN,
    SHIM_REGEX_TRAILING_BACKSLASH,
    SHIM_REGEX_REPEAT_ARGUMENT,
    SHIM_REGEX_REPEAT_SIZE,
    SHIM_REGEX_REPEAT_OP,
    SHIM_REGEX_BAD_PERL_OP,
    SHIM_REGEX_BAD_UTF8,
    SHIM_REGEX_BAD_NAMED_CAPTURE,
    SHIM_REGEX_TOO_LARGE,
    SHIM_REGEX_FAULT_COUNT,
};

/* Part of a text; ptr is NULL for a group that took no part in the match. */
struct shim_span {
    const char *ptr;
    size_t len;
};

/* NULL on a fault; *fragment is then the first bytes of the part that is at fault. */
struct shim_regex *shim_regex_new(struct shim_span pattern, enum shim_regex_fault *fault,
                                  char *fragment, size_t fragment_max, size_t *fragment_len);
void shim_regex_free(struct shim_regex *regex);
/* The whole subject. With span_count > 0 spans[0] is the match and spans[i] group i. */
bool shim_regex_match(const struct shim_regex *regex, struct shim_span subject,
                      struct shim_span *spans, int span_count);
int shim_regex_group_count(const struct shim_regex *regex);
int shim_regex_group_index(const struct shim_regex *regex, struct shim_span name); /* -1: none. */

/* Go's unicode.IsPrint, and unicode.IsLetter or unicode.IsDigit, of one code point in UTF-8. */
bool shim_rune_is_print(const char *utf8, size_t len);
bool shim_rune_is_word(const char *utf8, size_t len);

enum shim_parse { SHIM_PARSE_OK, SHIM_PARSE_RANGE, SHIM_PARSE_BAD };
enum shim_parse shim_double_parse(struct shim_span text, double *out);

#ifdef __cplusplus
}
#endif

#endif
