/* lex: from the text of a query to tokens.
 *
 * The lexer knows where it is (inside braces, just after '[', elsewhere), since keywords, ':' and
 * letters mean different things there. It finds unbalanced parentheses itself, so its errors come
 * before the parser's. */
#ifndef QUERY_LEX_H
#define QUERY_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* How an error names a token: by its sort and text, by its text alone, or <op:...>, <aggr:...>,
 * <...>. */
enum token_sort { SORT_VALUE, SORT_SIGN, SORT_OPERATOR, SORT_AGGREGATOR, SORT_KEYWORD };

/* Kind, sort, text: of a value what errors call it, of any other how it is mostly written. */
#define TOKENS(X)                                                                                  \
    X(TOKEN_END, SORT_VALUE, "end of input")                                                       \
    X(TOKEN_ERROR, SORT_VALUE, "error")                                                            \
    X(TOKEN_COMMENT, SORT_VALUE, "comment")                                                        \
    X(TOKEN_IDENTIFIER, SORT_VALUE, "identifier")                                                  \
    X(TOKEN_METRIC_IDENTIFIER, SORT_VALUE, "metric identifier")                                    \
    X(TOKEN_STRING, SORT_VALUE, "string")                                                          \
    X(TOKEN_NUMBER, SORT_VALUE, "number")                                                          \
    X(TOKEN_DURATION, SORT_VALUE, "duration")                                                      \
    X(TOKEN_LEFT_PAREN, SORT_SIGN, "(")                                                            \
    X(TOKEN_RIGHT_PAREN, SORT_SIGN, ")")                                                           \
    X(TOKEN_LEFT_BRACE, SORT_SIGN, "{")                                                            \
    X(TOKEN_RIGHT_BRACE, SORT_SIGN, "}")                                                           \
    X(TOKEN_LEFT_BRACKET, SORT_SIGN, "[")                                                          \
    X(TOKEN_RIGHT_BRACKET, SORT_SIGN, "]")                                                         \
    X(TOKEN_COMMA, SORT_SIGN, ",")                                                                 \
    X(TOKEN_EQUAL, SORT_SIGN, "=")                                                                 \
    X(TOKEN_COLON, SORT_SIGN, ":")                                                                 \
    X(TOKEN_ADD, SORT_OPERATOR, "+")                                                               \
    X(TOKEN_SUB, SORT_OPERATOR, "-")                                                               \
    X(TOKEN_MUL, SORT_OPERATOR, "*")                                                               \
    X(TOKEN_DIV, SORT_OPERATOR, "/")                                                               \
    X(TOKEN_MOD, SORT_OPERATOR, "%")                                                               \
    X(TOKEN_POW, SORT_OPERATOR, "^")                                                               \
    X(TOKEN_EQLC, SORT_OPERATOR, "==")                                                             \
    X(TOKEN_NEQ, SORT_OPERATOR, "!=")                                                              \
    X(TOKEN_LTE, SORT_OPERATOR, "<=")                                                              \
    X(TOKEN_LSS, SORT_OPERATOR, "<")                                                               \
    X(TOKEN_GTE, SORT_OPERATOR, ">=")                                                              \
    X(TOKEN_GTR, SORT_OPERATOR, ">")                                                               \
    X(TOKEN_TRIM_UPPER, SORT_OPERATOR, "</")                                                       \
    X(TOKEN_TRIM_LOWER, SORT_OPERATOR, ">/")                                                       \
    X(TOKEN_EQL_REGEX, SORT_OPERATOR, "=~")                                                        \
    X(TOKEN_NEQ_REGEX, SORT_OPERATOR, "!~")                                                        \
    X(TOKEN_AT, SORT_OPERATOR, "@")                                                                \
    X(TOKEN_AND, SORT_OPERATOR, "and")                                                             \
    X(TOKEN_OR, SORT_OPERATOR, "or")                                                               \
    X(TOKEN_UNLESS, SORT_OPERATOR, "unless")                                                       \
    X(TOKEN_ATAN2, SORT_OPERATOR, "atan2")                                                         \
    X(TOKEN_SUM, SORT_AGGREGATOR, "sum")                                                           \
    X(TOKEN_AVG, SORT_AGGREGATOR, "avg")                                                           \
    X(TOKEN_COUNT, SORT_AGGREGATOR, "count")                                                       \
    X(TOKEN_MIN, SORT_AGGREGATOR, "min")                                                           \
    X(TOKEN_MAX, SORT_AGGREGATOR, "max")                                                           \
    X(TOKEN_GROUP, SORT_AGGREGATOR, "group")                                                       \
    X(TOKEN_STDDEV, SORT_AGGREGATOR, "stddev")                                                     \
    X(TOKEN_STDVAR, SORT_AGGREGATOR, "stdvar")                                                     \
    X(TOKEN_TOPK, SORT_AGGREGATOR, "topk")                                                         \
    X(TOKEN_BOTTOMK, SORT_AGGREGATOR, "bottomk")                                                   \
    X(TOKEN_COUNT_VALUES, SORT_AGGREGATOR, "count_values")                                         \
    X(TOKEN_QUANTILE, SORT_AGGREGATOR, "quantile")                                                 \
    X(TOKEN_LIMITK, SORT_AGGREGATOR, "limitk")                                                     \
    X(TOKEN_LIMIT_RATIO, SORT_AGGREGATOR, "limit_ratio")                                           \
    X(TOKEN_OFFSET, SORT_KEYWORD, "offset")                                                        \
    X(TOKEN_SMOOTHED, SORT_KEYWORD, "smoothed")                                                    \
    X(TOKEN_ANCHORED, SORT_KEYWORD, "anchored")                                                    \
    X(TOKEN_BY, SORT_KEYWORD, "by")                                                                \
    X(TOKEN_WITHOUT, SORT_KEYWORD, "without")                                                      \
    X(TOKEN_ON, SORT_KEYWORD, "on")                                                                \
    X(TOKEN_IGNORING, SORT_KEYWORD, "ignoring")                                                    \
    X(TOKEN_GROUP_LEFT, SORT_KEYWORD, "group_left")                                                \
    X(TOKEN_GROUP_RIGHT, SORT_KEYWORD, "group_right")                                              \
    X(TOKEN_FILL, SORT_KEYWORD, "fill")                                                            \
    X(TOKEN_FILL_LEFT, SORT_KEYWORD, "fill_left")                                                  \
    X(TOKEN_FILL_RIGHT, SORT_KEYWORD, "fill_right")                                                \
    X(TOKEN_BOOL, SORT_KEYWORD, "bool")                                                            \
    X(TOKEN_START, SORT_SIGN, "start")                                                             \
    X(TOKEN_AT_END, SORT_SIGN, "end")                                                              \
    X(TOKEN_STEP, SORT_SIGN, "step")                                                               \
    X(TOKEN_RANGE, SORT_SIGN, "range")                                                             \
    X(TOKEN_MAX_OF, SORT_SIGN, "max_of")                                                           \
    X(TOKEN_MIN_OF, SORT_SIGN, "min_of")

enum token_kind {
#define X(kind, sort, text) kind,
    TOKENS(X)
#undef X
        TOKEN_KIND_COUNT,
};

struct token {
    enum token_kind kind;
    size_t position; /* Of its first byte. */
    struct str text; /* As written; borrowed from the query. */
};

struct lexer {
    struct str text;
    struct arena *arena;  /* For error texts. */
    size_t at;            /* The next byte. */
    size_t width;         /* Bytes of the rune read last, 0 at the end. */
    size_t start;         /* Where the token being read began. */
    size_t last_position; /* Of the token returned last. */
    int64_t paren_depth;
    bool brace_open;
    bool bracket_open;
    bool after_bracket; /* Between '[' and the end of the first literal. */
    bool got_colon;
    bool got_duration; /* Never reset: a quirk that users may see in which error they get. */
};

void lexer_init(struct lexer *lexer, struct str text, struct arena *arena);
/* The next token, TOKEN_COMMENT included; TOKEN_END again and again at the end. An error fills err
 * with place and text; the lexer may not be used after it. */
MUST_CHECK bool lexer_next(struct lexer *lexer, struct token *out, struct err *err);
/* The place after the ')' before the one that was read last, if only space is between; else
 * `fallback`. An aggregation's end, when the parser had to look one token ahead for `by`. */
size_t lexer_previous_paren_end(const struct lexer *lexer, size_t fallback);

/* As an error names it after "unexpected ". In the arena. */
const char *token_describe(struct arena *arena, struct token token);
enum token_sort token_sort(enum token_kind kind);
const char *token_text(enum token_kind kind);

/* What reading a rune yields at the end of the text, and for bytes that are not UTF-8. */
#define RUNE_END (-1)
#define RUNE_BAD 0xFFFD

/* Go's %q of a text, and of a rune: 'x'. NUL-terminated, in the arena. */
const char *text_quoted(struct arena *arena, struct str text);
const char *rune_quoted(struct arena *arena, int32_t rune);
size_t rune_encode(char out[4], uint32_t rune); /* As UTF-8. */

#endif
