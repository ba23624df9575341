/* lex_literal: numbers, durations and strings. Numbers are scanned loosely (the parser finds out whether 1_0e5 means
 * something), but must not run into a letter. */
#include "lex_private.h"

/* --- numbers --- */

/* After `.`, `e` or `_`; false when the number is bad beyond repair. */
static bool scan_number_part(struct lexer *lexer, const char *digits, bool *dot, bool *exponent)
{
    if ((*dot && rune_accept(lexer, ".")) || (*exponent && rune_accept(lexer, "eE")))
        return false;
    if (rune_accept(lexer, ".")) {
        *dot = true;
        return !rune_accept(lexer, "_.") && strlen(digits) == strlen(DIGITS);
    }
    if (rune_accept(lexer, "eE")) {
        *exponent = true;
        rune_accept(lexer, "+-");
        return !rune_accept(lexer, "._eE") && rune_peek(lexer) != RUNE_END;
    }
    if (rune_accept(lexer, "_"))
        return !rune_accept(lexer, "._eE") && rune_peek(lexer) != RUNE_END;
    while (rune_accept(lexer, digits))
        ;
    return true;
}

static bool scan_number(struct lexer *lexer)
{
    const char *digits = DIGITS;
    size_t begin = lexer->at;
    bool dot = false, exponent = false;

    if (rune_accept(lexer, "0") && rune_accept(lexer, "xX")) {
        rune_accept(lexer, "_");
        digits = HEXDIGITS;
    }
    rune_accept(lexer, ".");
    rune_accept(lexer, digits);
    for (;;) {
        int32_t rune = rune_peek(lexer);
        if (!rune_in(rune, digits) && !rune_in(rune, "._eE"))
            break;
        if (!scan_number_part(lexer, digits, &dot, &exponent))
            return false;
    }
    return lexer->at > begin && !is_alnum(rune_peek(lexer));
}

/* After the first number of a duration. On failure the lexer is behind the rune at fault, for the error's text. */
static bool scan_duration_rest(struct lexer *lexer)
{
    if (!rune_accept(lexer, "smhdwy"))
        return false;
    rune_accept(lexer, "s"); /* ms; others that this lets through are refused by the parser. */
    while (rune_accept(lexer, DIGITS)) {
        while (rune_accept(lexer, DIGITS))
            ;
        if (!rune_accept(lexer, "smhdw"))
            return false;
        rune_accept(lexer, "s");
    }
    return !is_alnum(rune_next(lexer));
}

enum lex_result lex_number(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;

    if (scan_number(lexer))
        return lex_emit(run, TOKEN_NUMBER);
    if (scan_duration_rest(lexer)) {
        rune_back(lexer);
        return lex_emit(run, TOKEN_DURATION);
    }
    return LEX_FAIL(run, "bad number or duration syntax: %s",
                    text_quoted(lexer->arena, token_bytes(lexer)));
}

/* --- strings --- */

static int hex_value(int32_t rune)
{
    if (is_digit(rune))
        return rune - '0';
    if (rune >= 'a' && rune <= 'f')
        return rune - 'a' + 10;
    if (rune >= 'A' && rune <= 'F')
        return rune - 'A' + 10;
    return 16;
}

/* U+0078 'x' */
static const char *rune_named(struct lexer *lexer, int32_t rune)
{
    const char *quoted = rune_quoted(lexer->arena, rune);
    /* What does not print is escaped in the quoted form, and then only the number is shown. */
    bool prints = quoted[1] != '\\' || rune == '\\' || rune == '\'';
    if (rune == '\\')
        quoted = "'\\'";
    else if (rune == '\'')
        quoted = "'''";
    return arena_strf(lexer->arena, "U+%04X%s%s", (unsigned)rune, prints ? " " : "",
                      prints ? quoted : "")
        .ptr;
}

/* After `count` digits of a base have to follow; the first of them has been read. */
static enum lex_result lex_escape_digits(struct lex_run *run, int32_t rune, int count, int base,
                                         uint32_t value_max)
{
    struct lexer *lexer = run->lexer;
    uint32_t value = 0;

    for (; count > 0; count--) {
        int digit = hex_value(rune);
        if (rune == RUNE_END)
            return LEX_FAIL(run, "escape sequence not terminated");
        if (digit >= base)
            return LEX_FAIL(run, "illegal character %s in escape sequence",
                            rune_named(lexer, rune));
        value = value * (uint32_t)base + (uint32_t)digit;
        if (count > 1)
            rune = rune_next(lexer);
    }
    if (value > value_max || (value >= 0xD800 && value < 0xE000))
        return LEX_FAIL(run, "escape sequence is an invalid Unicode code point");
    return LEX_AGAIN;
}

static enum lex_result lex_escape(struct lex_run *run, int32_t quote)
{
    struct lexer *lexer = run->lexer;
    int32_t rune = rune_next(lexer);

    if (rune == quote || rune_in(rune, "abfnrtv\\"))
        return LEX_AGAIN;
    if (rune >= '0' && rune <= '7')
        return lex_escape_digits(run, rune, 3, 8, 255);
    if (rune == 'x')
        return lex_escape_digits(run, rune_next(lexer), 2, 16, 255);
    if (rune == 'u')
        return lex_escape_digits(run, rune_next(lexer), 4, 16, 0x10FFFF);
    if (rune == 'U')
        return lex_escape_digits(run, rune_next(lexer), 8, 16, 0x10FFFF);
    if (rune == RUNE_END)
        return LEX_FAIL(run, "escape sequence not terminated");
    return LEX_FAIL(run, "unknown escape sequence %s", rune_named(lexer, rune));
}

/* The opening quote has been read. */
enum lex_result lex_string(struct lex_run *run, int32_t quote)
{
    struct lexer *lexer = run->lexer;

    for (;;) {
        int32_t rune = rune_next(lexer);
        if (rune == quote)
            return lex_emit(run, TOKEN_STRING);
        if (rune == RUNE_BAD)
            return LEX_FAIL(run, "invalid UTF-8 rune");
        if (rune == RUNE_END)
            return LEX_FAIL(
                run, "%s", quote == '`' ? "unterminated raw string" : "unterminated quoted string");
        if (quote == '`')
            continue;
        if (rune == '\n')
            return LEX_FAIL(run, "unterminated quoted string");
        if (rune == '\\' && lex_escape(run, quote) == LEX_FAILED)
            return LEX_FAILED;
    }
}
