/* lex: what the lexers of the two text formats share: tokens, the error texts of Prometheus, names,
 * floats.
 *
 * A lexer stands on one line; `at` is where it stopped. An error shows one byte more, as Prometheus
 * does. */
#ifndef SCRAPE_LEX_H
#define SCRAPE_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "text_lex.h"

enum token {
    TOKEN_INVALID,
    TOKEN_EOF,
    TOKEN_LINEBREAK,
    TOKEN_HELP,
    TOKEN_TYPE,
    TOKEN_UNIT,
    TOKEN_EOF_WORD,
    TOKEN_TEXT,
    TOKEN_COMMENT,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_LABEL,
    TOKEN_LABEL_VALUE,
    TOKEN_COMMA,
    TOKEN_EQUAL,
    TOKEN_TIMESTAMP,
    TOKEN_VALUE,
    TOKEN_COUNT,
};

struct lexer {
    const char *bytes;
    size_t len;
    size_t start;  /* Of the current token. */
    size_t at;     /* Behind it, or where it broke. */
    int state;     /* The lexer's own enum. */
    bool open;     /* A quoted string did not end. */
    bool escaped;  /* The last quoted string has a backslash. */
    bool high_bit; /* ... or a byte beyond ASCII. */
};

const char *lex_token_text(enum token token);

/* "expected what, got "..." ("TOKEN") while parsing: "..."". Always false. */
bool lex_unexpected(const struct lexer *lexer, const char *expected, enum token got,
                    struct err *err);
/* "what while parsing: "line so far"", or without the line when `end` is 0. Always false. */
bool lex_error(const struct lexer *lexer, const char *what, const struct str *quoted,
               const char *after, size_t end, struct err *err);
/* A value or a timestamp; any NaN becomes the one that is stored. */
MUST_CHECK bool lex_float(const struct lexer *lexer, struct str text, double *out, struct err *err);

static inline struct str token_str(const struct lexer *lexer)
{
    return str_from(lexer->bytes + lexer->start, lexer->at - lexer->start);
}

static inline struct str without_quotes(struct str s)
{
    return str_from(s.ptr + 1, s.len - 2);
}

static inline enum token lex_one(struct lexer *lexer, enum token token)
{
    lexer->at++;
    return token;
}

/* What a byte may be in: 1 a label name, 2 a metric name, too, only there (':'), 4 a digit. */
#define LEX_LABEL_NAME  1
#define LEX_METRIC_NAME 3
#define LEX_DIGIT       4
extern const uint8_t lex_name_class[256];

static inline enum token lex_name(struct lexer *lexer, uint8_t start_mask, enum token token)
{
    const uint8_t *bytes = (const uint8_t *)lexer->bytes;
    size_t at = lexer->at;

    if (!(lex_name_class[bytes[at]] & start_mask))
        return TOKEN_INVALID;
    while (at < lexer->len && lex_name_class[bytes[at]] & (start_mask | LEX_DIGIT))
        at++;
    lexer->at = at;
    return token;
}

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* Not zero when one of the eight bytes is `c` (Mycroft's test). */
static inline uint64_t word_has(uint64_t word, uint8_t c)
{
    uint64_t zero_where = word ^ EACH_BYTE(c);
    return (zero_where - EACH_BYTE(1)) & ~zero_where & EACH_BYTE(0x80);
}

#endif
