/* lex_private: what the files of the scanner share: lex.c (places and words), lex_literal.c (numbers and strings). */
#ifndef QUERY_LEX_PRIVATE_H
#define QUERY_LEX_PRIVATE_H

#include <string.h>

#include "ast.h"
#include "lex.h"

#define DIGITS    "0123456789"
#define HEXDIGITS "0123456789abcdefABCDEF"

enum lex_result { LEX_TOKEN, LEX_AGAIN, LEX_FAILED };

struct lex_run {
    struct lexer *lexer;
    struct token *out;
    struct err *err;
};

static inline bool is_space(int32_t rune)
{
    return rune == ' ' || rune == '\t' || rune == '\n' || rune == '\r';
}

static inline bool is_digit(int32_t rune)
{
    return rune >= '0' && rune <= '9';
}

static inline bool is_alpha(int32_t rune)
{
    return rune == '_' || (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
}

static inline bool is_alnum(int32_t rune)
{
    return is_alpha(rune) || is_digit(rune);
}

static inline int32_t rune_next(struct lexer *lexer)
{
    if (lexer->at >= lexer->text.len) {
        lexer->width = 0;
        return RUNE_END;
    }
    size_t before = lexer->at;
    uint32_t rune = str_next_rune(lexer->text, &lexer->at);
    lexer->width = lexer->at - before;
    return (int32_t)rune;
}

static inline void rune_back(struct lexer *lexer)
{
    lexer->at -= lexer->width;
}

static inline int32_t rune_peek(struct lexer *lexer)
{
    int32_t rune = rune_next(lexer);
    rune_back(lexer);
    return rune;
}

static inline bool rune_in(int32_t rune, const char *set)
{
    return rune > 0 && rune < 0x80 && strchr(set, rune) != NULL;
}

static inline bool rune_accept(struct lexer *lexer, const char *set)
{
    if (rune_in(rune_next(lexer), set))
        return true;
    rune_back(lexer);
    return false;
}

static inline void skip_space(struct lexer *lexer)
{
    while (is_space(rune_peek(lexer)))
        rune_next(lexer);
    lexer->start = lexer->at;
}

static inline struct str token_bytes(const struct lexer *lexer)
{
    return str_from(lexer->text.ptr + lexer->start, lexer->at - lexer->start);
}

static inline enum lex_result lex_emit(struct lex_run *run, enum token_kind kind)
{
    struct lexer *lexer = run->lexer;
    *run->out = (struct token){.kind = kind, .position = lexer->start, .text = token_bytes(lexer)};
    lexer->start = lexer->at;
    return LEX_TOKEN;
}

#define LEX_FAIL(run, ...)                                                                         \
    (parse_error((run)->err, (run)->lexer->text, (run)->lexer->start, __VA_ARGS__), LEX_FAILED)

/* Fails with a text that ends in this rune. */
static inline enum lex_result lex_fail_rune(struct lex_run *run, const char *text, int32_t rune)
{
    return LEX_FAIL(run, "%s%s", text, rune_quoted(run->lexer->arena, rune));
}

/* A number or a duration; the lexer is at its first rune. */
enum lex_result lex_number(struct lex_run *run);
/* The rest of a string, after the quote. */
enum lex_result lex_string(struct lex_run *run, int32_t quote);

#endif
