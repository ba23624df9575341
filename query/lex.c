/* lex: the scanner. One function per place that we can be in; each returns after one token, or
 * returns LEX_AGAIN when it has only skipped something.
 *
 * What counts as a letter or a digit is ASCII; other runes appear in strings and comments only.
 * Numbers are scanned loosely (the parser finds out whether 1_0e5 means something), but must not
 * run into a letter. */
#include "lex.h"

#include "ast.h"
#include "base/ensure.h"

#define DIGITS    "0123456789"
#define HEXDIGITS "0123456789abcdefABCDEF"

enum lex_result { LEX_TOKEN, LEX_AGAIN, LEX_FAILED };

struct lex_run {
    struct lexer *lexer;
    struct token *out;
    struct err *err;
};

void lexer_init(struct lexer *lexer, struct str text, struct arena *arena)
{
    *lexer = (struct lexer){.text = text, .arena = arena};
}

size_t lexer_previous_paren_end(const struct lexer *lexer, size_t fallback)
{
    struct str text = lexer->text;
    size_t last = lexer->last_position;

    if (fallback == 0 || fallback > text.len || last == 0 || last >= text.len ||
        text.ptr[last] != ')')
        return fallback;
    for (size_t i = last - 1; i > 0; i--) {
        char c = text.ptr[i];
        if (c == ')')
            return i + 1;
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return fallback;
    }
    return fallback;
}

/* --- runes --- */

static bool is_space(int32_t rune)
{
    return rune == ' ' || rune == '\t' || rune == '\n' || rune == '\r';
}

static bool is_digit(int32_t rune)
{
    return rune >= '0' && rune <= '9';
}

static bool is_alpha(int32_t rune)
{
    return rune == '_' || (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
}

static bool is_alnum(int32_t rune)
{
    return is_alpha(rune) || is_digit(rune);
}

static int32_t rune_next(struct lexer *lexer)
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

static void rune_back(struct lexer *lexer)
{
    lexer->at -= lexer->width;
}

static int32_t rune_peek(struct lexer *lexer)
{
    int32_t rune = rune_next(lexer);
    rune_back(lexer);
    return rune;
}

static bool rune_in(int32_t rune, const char *set)
{
    return rune > 0 && rune < 0x80 && strchr(set, rune) != NULL;
}

static bool rune_accept(struct lexer *lexer, const char *set)
{
    if (rune_in(rune_next(lexer), set))
        return true;
    rune_back(lexer);
    return false;
}

static void skip_space(struct lexer *lexer)
{
    while (is_space(rune_peek(lexer)))
        rune_next(lexer);
    lexer->start = lexer->at;
}

static struct str token_bytes(const struct lexer *lexer)
{
    return str_from(lexer->text.ptr + lexer->start, lexer->at - lexer->start);
}

static enum lex_result emit(struct lex_run *run, enum token_kind kind)
{
    struct lexer *lexer = run->lexer;
    *run->out = (struct token){.kind = kind, .position = lexer->start, .text = token_bytes(lexer)};
    lexer->start = lexer->at;
    return LEX_TOKEN;
}

#define LEX_FAIL(run, ...)                                                                         \
    (parse_error((run)->err, (run)->lexer->text, (run)->lexer->start, __VA_ARGS__), LEX_FAILED)

/* Fails with a text that ends in this rune. */
static enum lex_result fail_rune(struct lex_run *run, const char *text, int32_t rune)
{
    return LEX_FAIL(run, "%s%s", text, rune_quoted(run->lexer->arena, rune));
}

/* --- words --- */

static enum token_kind keyword_find(struct str word)
{
    for (enum token_kind kind = TOKEN_AND; kind < TOKEN_KIND_COUNT; kind++) {
        if (str_eq_nocase(word, str_of(token_text(kind))))
            return kind;
    }
    if (str_eq_nocase(word, STR("inf")) || str_eq_nocase(word, STR("nan")))
        return TOKEN_NUMBER;
    return TOKEN_IDENTIFIER;
}

/* fill, fill_left and fill_right stay metric names unless a '(' follows. */
static bool paren_follows(const struct lexer *lexer)
{
    size_t at = lexer->at;
    while (at < lexer->text.len && is_space(lexer->text.ptr[at]))
        at++;
    return at < lexer->text.len && lexer->text.ptr[at] == '(';
}

static enum lex_result lex_word(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    bool has_colon = false;
    int32_t rune;

    while (is_alnum(rune = rune_next(lexer)) || rune == ':')
        has_colon = has_colon || rune == ':';
    rune_back(lexer);
    if (has_colon)
        return emit(run, TOKEN_METRIC_IDENTIFIER);
    enum token_kind kind = keyword_find(token_bytes(lexer));
    bool is_fill = kind == TOKEN_FILL || kind == TOKEN_FILL_LEFT || kind == TOKEN_FILL_RIGHT;
    if (is_fill && !paren_follows(lexer))
        kind = TOKEN_IDENTIFIER;
    return emit(run, kind);
}

/* The rest of step, range, max_of or min_of, of which one letter has been read. */
static bool duration_word(struct lexer *lexer, enum token_kind *out)
{
    while (is_alpha(rune_next(lexer)))
        ;
    rune_back(lexer);
    *out = keyword_find(token_bytes(lexer));
    return *out == TOKEN_STEP || *out == TOKEN_RANGE || *out == TOKEN_MAX_OF ||
           *out == TOKEN_MIN_OF;
}

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

/* After the first number of a duration. On failure the cursor is behind the rune at fault, for the
 * error text. */
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

static enum lex_result lex_number(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;

    if (scan_number(lexer))
        return emit(run, TOKEN_NUMBER);
    if (scan_duration_rest(lexer)) {
        rune_back(lexer);
        return emit(run, TOKEN_DURATION);
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
static enum lex_result lex_string(struct lex_run *run, int32_t quote)
{
    struct lexer *lexer = run->lexer;

    for (;;) {
        int32_t rune = rune_next(lexer);
        if (rune == quote)
            return emit(run, TOKEN_STRING);
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

/* --- the three places --- */

static enum lex_result lex_comment(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    int32_t rune;

    do
        rune = rune_next(lexer);
    while (rune != '\r' && rune != '\n' && rune != RUNE_END);
    rune_back(lexer);
    return emit(run, TOKEN_COMMENT);
}

/* Signs that mean one thing everywhere outside braces. */
static enum token_kind sign_kind(int32_t rune)
{
    switch (rune) {
    case ',':
        return TOKEN_COMMA;
    case '*':
        return TOKEN_MUL;
    case '/':
        return TOKEN_DIV;
    case '%':
        return TOKEN_MOD;
    case '+':
        return TOKEN_ADD;
    case '-':
        return TOKEN_SUB;
    case '^':
        return TOKEN_POW;
    default:
        return TOKEN_ERROR;
    }
}

static enum lex_result lex_paren(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;

    if (rune == '(') {
        lexer->paren_depth++;
        return emit(run, TOKEN_LEFT_PAREN);
    }
    if (lexer->paren_depth == 0) {
        /* The place is behind the parenthesis, as in Prometheus. */
        lexer->start = lexer->at;
        return LEX_FAIL(run, "unexpected right parenthesis ')'");
    }
    lexer->paren_depth--;
    return emit(run, TOKEN_RIGHT_PAREN);
}

static enum lex_result lex_bracket(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;

    if (rune == '[') {
        if (lexer->bracket_open)
            return LEX_FAIL(run, "unexpected left bracket '['");
        lexer->bracket_open = true;
        lexer->after_bracket = true;
        lexer->got_colon = false;
        return emit(run, TOKEN_LEFT_BRACKET);
    }
    if (!lexer->bracket_open)
        return LEX_FAIL(run, "unexpected right bracket ']'");
    lexer->bracket_open = false;
    return emit(run, TOKEN_RIGHT_BRACKET);
}

/* One of = ! < >, all of which may have a second character. */
static enum lex_result lex_comparison(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;
    int32_t second = rune_peek(lexer);

    if (rune == '!') {
        rune_next(lexer);
        return second == '=' ? emit(run, TOKEN_NEQ)
                             : fail_rune(run, "unexpected character after '!': ", second);
    }
    if (rune == '=' && second == '~')
        return LEX_FAIL(run, "unexpected character after '=': '~'");
    bool is_trim = rune != '=' && second == '/';
    if (second != '=' && !is_trim)
        return emit(run, rune == '=' ? TOKEN_EQUAL : rune == '<' ? TOKEN_LSS : TOKEN_GTR);
    rune_next(lexer);
    if (is_trim)
        return emit(run, rune == '<' ? TOKEN_TRIM_UPPER : TOKEN_TRIM_LOWER);
    return emit(run, rune == '=' ? TOKEN_EQLC : rune == '<' ? TOKEN_LTE : TOKEN_GTE);
}

/* A letter or ':', which has been read. Between brackets only ':' and the duration functions may
 * stand. */
static enum lex_result lex_letter(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;
    enum token_kind kind;

    if (!lexer->bracket_open) {
        rune_back(lexer);
        return lex_word(run);
    }
    if (rune == ':') {
        if (lexer->got_colon)
            return LEX_FAIL(run, "unexpected colon ':'");
        lexer->got_colon = true;
        return emit(run, TOKEN_COLON);
    }
    if (rune_in(rune, "sSrRmM") && duration_word(lexer, &kind))
        return emit(run, kind);
    return LEX_FAIL(run, "unexpected character: '%c', expected ':'", (char)rune);
}

static enum lex_result lex_end(struct lex_run *run)
{
    if (run->lexer->paren_depth != 0)
        return LEX_FAIL(run, "unclosed left parenthesis");
    if (run->lexer->bracket_open)
        return LEX_FAIL(run, "unclosed left bracket");
    return emit(run, TOKEN_END);
}

static enum lex_result lex_statement(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    int32_t rune = rune_next(lexer);

    if (rune == RUNE_END)
        return lex_end(run);
    if (rune == '#')
        return lex_comment(run);
    if (is_space(rune)) {
        skip_space(lexer);
        return LEX_AGAIN;
    }
    if (sign_kind(rune) != TOKEN_ERROR)
        return emit(run, sign_kind(rune));
    if (is_digit(rune) || (rune == '.' && is_digit(rune_peek(lexer)))) {
        lexer->at = lexer->start;
        return lex_number(run);
    }
    if (is_alpha(rune) || rune == ':')
        return lex_letter(run, rune);
    switch (rune) {
    case '=':
    case '!':
    case '<':
    case '>':
        return lex_comparison(run, rune);
    case '"':
    case '\'':
    case '`':
        return lex_string(run, rune);
    case '(':
    case ')':
        return lex_paren(run, rune);
    case '[':
    case ']':
        return lex_bracket(run, rune);
    case '{':
        lexer->brace_open = true;
        return emit(run, TOKEN_LEFT_BRACE);
    case '@':
        return emit(run, TOKEN_AT);
    default:
        return fail_rune(run, "unexpected character: ", rune);
    }
}

/* Just behind '[', up to the first literal or ']'. */
static enum lex_result lex_after_bracket(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    enum token_kind kind;

    skip_space(lexer);
    int32_t rune = rune_next(lexer);
    if (rune == RUNE_END)
        return LEX_FAIL(run, "unexpected end of input in duration expression");
    if (rune == '(' || rune == ')')
        return lex_paren(run, rune);
    if (sign_kind(rune) != TOKEN_ERROR)
        return emit(run, sign_kind(rune));
    if (is_digit(rune) || (rune == '.' && is_digit(rune_peek(lexer)))) {
        lexer->at = lexer->start;
        lexer->got_duration = true;
        lexer->after_bracket = false;
        return lex_number(run);
    }
    if (rune_in(rune, "sSrRmM") && duration_word(lexer, &kind))
        return emit(run, kind);
    if (rune == ']') {
        lexer->bracket_open = lexer->got_colon = lexer->after_bracket = false;
        return emit(run, TOKEN_RIGHT_BRACKET);
    }
    if (rune != ':')
        return fail_rune(run, "unexpected character in duration expression: ", rune);
    if (lexer->got_duration && !lexer->got_colon) {
        lexer->got_colon = true;
        return emit(run, TOKEN_COLON);
    }
    lexer->start = lexer->at;
    return LEX_FAIL(run, "%s",
                    lexer->got_duration
                        ? "unexpected repeated colon in duration expression"
                        : "unexpected colon before duration in duration expression");
}

static enum lex_result lex_brace_operator(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;
    int32_t second = rune_next(lexer);

    if (second == '~')
        return emit(run, rune == '=' ? TOKEN_EQL_REGEX : TOKEN_NEQ_REGEX);
    if (rune == '!' && second == '=')
        return emit(run, TOKEN_NEQ);
    if (rune == '!')
        return fail_rune(run, "unexpected character after '!' inside braces: ", second);
    rune_back(lexer);
    return emit(run, TOKEN_EQUAL);
}

/* Inside { } no word is a keyword. */
static enum lex_result lex_inside_braces(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    int32_t rune = rune_next(lexer);

    if (rune == RUNE_END)
        return LEX_FAIL(run, "unexpected end of input inside braces");
    if (rune == '#')
        return lex_comment(run);
    if (is_space(rune)) {
        skip_space(lexer);
        return LEX_AGAIN;
    }
    if (is_alpha(rune)) {
        while (is_alnum(rune_next(lexer)))
            ;
        rune_back(lexer);
        return emit(run, TOKEN_IDENTIFIER);
    }
    switch (rune) {
    case ',':
        return emit(run, TOKEN_COMMA);
    case '"':
    case '\'':
    case '`':
        return lex_string(run, rune);
    case '=':
    case '!':
        return lex_brace_operator(run, rune);
    case '{':
        return LEX_FAIL(run, "unexpected left brace '{'");
    case '}':
        lexer->brace_open = false;
        return emit(run, TOKEN_RIGHT_BRACE);
    default:
        return fail_rune(run, "unexpected character inside braces: ", rune);
    }
}

bool lexer_next(struct lexer *lexer, struct token *out, struct err *err)
{
    struct lex_run run = {lexer, out, err};
    enum lex_result result;

    do {
        if (lexer->brace_open)
            result = lex_inside_braces(&run);
        else if (lexer->after_bracket)
            result = lex_after_bracket(&run);
        else
            result = lex_statement(&run);
    } while (result == LEX_AGAIN);
    if (result == LEX_FAILED)
        return false;
    lexer->last_position = out->position;
    return true;
}
