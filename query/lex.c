/* lex: the scanner. One function per place that we can be in; each returns after one token, or
 * returns LEX_AGAIN when it has only skipped something.
 *
 * What counts as a letter or a digit is ASCII; other runes appear in strings and comments only. */
#include "lex_private.h"

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

/* --- words --- */

static enum token_kind keyword_find(struct str word)
{
    for (enum token_kind kind = TOKEN_AND; kind < TOKEN_KIND_COUNT; kind++) {
        const char *text = token_text(kind);
        if ((word.ptr[0] | 0x20) == text[0] && str_eq_nocase(word, str_of(text)))
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
        return lex_emit(run, TOKEN_METRIC_IDENTIFIER);
    enum token_kind kind = keyword_find(token_bytes(lexer));
    bool is_fill = kind == TOKEN_FILL || kind == TOKEN_FILL_LEFT || kind == TOKEN_FILL_RIGHT;
    if (is_fill && !paren_follows(lexer))
        kind = TOKEN_IDENTIFIER;
    return lex_emit(run, kind);
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

/* --- the three places --- */

static enum lex_result lex_comment(struct lex_run *run)
{
    struct lexer *lexer = run->lexer;
    int32_t rune;

    do
        rune = rune_next(lexer);
    while (rune != '\r' && rune != '\n' && rune != RUNE_END);
    rune_back(lexer);
    return lex_emit(run, TOKEN_COMMENT);
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
        return lex_emit(run, TOKEN_LEFT_PAREN);
    }
    if (lexer->paren_depth == 0) {
        /* The place is behind the parenthesis, as in Prometheus. */
        lexer->start = lexer->at;
        return LEX_FAIL(run, "unexpected right parenthesis ')'");
    }
    lexer->paren_depth--;
    return lex_emit(run, TOKEN_RIGHT_PAREN);
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
        return lex_emit(run, TOKEN_LEFT_BRACKET);
    }
    if (!lexer->bracket_open)
        return LEX_FAIL(run, "unexpected right bracket ']'");
    lexer->bracket_open = false;
    return lex_emit(run, TOKEN_RIGHT_BRACKET);
}

/* One of = ! < >, all of which may have a second character. */
static enum lex_result lex_comparison(struct lex_run *run, int32_t rune)
{
    struct lexer *lexer = run->lexer;
    int32_t second = rune_peek(lexer);

    if (rune == '!') {
        rune_next(lexer);
        return second == '=' ? lex_emit(run, TOKEN_NEQ)
                             : lex_fail_rune(run, "unexpected character after '!': ", second);
    }
    if (rune == '=' && second == '~')
        return LEX_FAIL(run, "unexpected character after '=': '~'");
    bool is_trim = rune != '=' && second == '/';
    if (second != '=' && !is_trim)
        return lex_emit(run, rune == '=' ? TOKEN_EQUAL : rune == '<' ? TOKEN_LSS : TOKEN_GTR);
    rune_next(lexer);
    if (is_trim)
        return lex_emit(run, rune == '<' ? TOKEN_TRIM_UPPER : TOKEN_TRIM_LOWER);
    return lex_emit(run, rune == '=' ? TOKEN_EQLC : rune == '<' ? TOKEN_LTE : TOKEN_GTE);
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
        return lex_emit(run, TOKEN_COLON);
    }
    if (rune_in(rune, "sSrRmM") && duration_word(lexer, &kind))
        return lex_emit(run, kind);
    return LEX_FAIL(run, "unexpected character: '%c', expected ':'", (char)rune);
}

static enum lex_result lex_end(struct lex_run *run)
{
    if (run->lexer->paren_depth != 0)
        return LEX_FAIL(run, "unclosed left parenthesis");
    if (run->lexer->bracket_open)
        return LEX_FAIL(run, "unclosed left bracket");
    return lex_emit(run, TOKEN_END);
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
        return lex_emit(run, sign_kind(rune));
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
        return lex_emit(run, TOKEN_LEFT_BRACE);
    case '@':
        return lex_emit(run, TOKEN_AT);
    default:
        return lex_fail_rune(run, "unexpected character: ", rune);
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
        return lex_emit(run, sign_kind(rune));
    if (is_digit(rune) || (rune == '.' && is_digit(rune_peek(lexer)))) {
        lexer->at = lexer->start;
        lexer->got_duration = true;
        lexer->after_bracket = false;
        return lex_number(run);
    }
    if (rune_in(rune, "sSrRmM") && duration_word(lexer, &kind))
        return lex_emit(run, kind);
    if (rune == ']') {
        lexer->bracket_open = lexer->got_colon = lexer->after_bracket = false;
        return lex_emit(run, TOKEN_RIGHT_BRACKET);
    }
    if (rune != ':')
        return lex_fail_rune(run, "unexpected character in duration expression: ", rune);
    if (lexer->got_duration && !lexer->got_colon) {
        lexer->got_colon = true;
        return lex_emit(run, TOKEN_COLON);
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
        return lex_emit(run, rune == '=' ? TOKEN_EQL_REGEX : TOKEN_NEQ_REGEX);
    if (rune == '!' && second == '=')
        return lex_emit(run, TOKEN_NEQ);
    if (rune == '!')
        return lex_fail_rune(run, "unexpected character after '!' inside braces: ", second);
    rune_back(lexer);
    return lex_emit(run, TOKEN_EQUAL);
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
        return lex_emit(run, TOKEN_IDENTIFIER);
    }
    switch (rune) {
    case ',':
        return lex_emit(run, TOKEN_COMMA);
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
        return lex_emit(run, TOKEN_RIGHT_BRACE);
    default:
        return lex_fail_rune(run, "unexpected character inside braces: ", rune);
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
