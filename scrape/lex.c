/* lex: error texts are cut where they would not fit an err anyway. */
#include "lex.h"

#include <math.h>

#include "base/buf.h"
#include "base/number.h"
#include "model/sample.h"

#define SHOWN_TOKEN_MAX 512
#define SHOWN_LINE_MAX  768

const uint8_t lex_name_class[256] = {
    ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, ['_'] = 1, [':'] = 2, ['0' ... '9'] = LEX_DIGIT,
};

static const char *const token_texts[TOKEN_COUNT] = {
    [TOKEN_INVALID] = "INVALID",  [TOKEN_EOF] = "EOF",        [TOKEN_LINEBREAK] = "LINEBREAK",
    [TOKEN_HELP] = "HELP",        [TOKEN_TYPE] = "TYPE",      [TOKEN_UNIT] = "UNIT",
    [TOKEN_EOF_WORD] = "EOFWORD", [TOKEN_TEXT] = "TEXT",      [TOKEN_COMMENT] = "COMMENT",
    [TOKEN_NAME] = "MNAME",       [TOKEN_STRING] = "QSTRING", [TOKEN_OPEN] = "BOPEN",
    [TOKEN_CLOSE] = "BCLOSE",     [TOKEN_LABEL] = "LNAME",    [TOKEN_LABEL_VALUE] = "LVALUE",
    [TOKEN_COMMA] = "COMMA",      [TOKEN_EQUAL] = "EQUAL",    [TOKEN_TIMESTAMP] = "TIMESTAMP",
    [TOKEN_VALUE] = "VALUE",
};

const char *lex_token_text(enum token token)
{
    ENSURE(token < TOKEN_COUNT);
    return token_texts[token];
}

bool lex_unexpected(const struct lexer *lexer, const char *expected, enum token got,
                    struct err *err)
{
    size_t end = lexer->at + 1 < lexer->len ? lexer->at + 1 : lexer->len;
    struct str shown = {lexer->bytes + lexer->start, end - lexer->start};
    struct str line = {lexer->bytes, end};
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text, "%s, got ", expected);
    buf_add_go_quoted(&text, str_first(shown, SHOWN_TOKEN_MAX));
    buf_addf(&text, " (\"%s\") while parsing: ", lex_token_text(got));
    buf_add_go_quoted(&text, str_first(line, SHOWN_LINE_MAX));
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    return false;
}

bool lex_error(const struct lexer *lexer, const char *what, const struct str *quoted,
               const char *after, size_t end, struct err *err)
{
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text, "%s", what);
    if (quoted)
        buf_add_go_quoted(&text, str_first(*quoted, SHOWN_TOKEN_MAX));
    buf_addf(&text, "%s", after);
    if (end > 0) {
        BUF_ADD(&text, " while parsing: ");
        buf_add_go_quoted(&text, str_first(str_from(lexer->bytes, end), SHOWN_LINE_MAX));
    }
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    return false;
}

/* Go keeps to the float texts of before 1.13: no hexadecimal exponents, no underscores. */
bool lex_float(const struct lexer *lexer, struct str text, double *out, struct err *err)
{
    *out = 0;
    if (number_parse(text, out)) {
        if (isnan(*out))
            *out = sample_nan();
        return true;
    }
    bool odd = memchr(text.ptr, 'p', text.len) || memchr(text.ptr, 'P', text.len) ||
               memchr(text.ptr, '_', text.len);
    if (odd)
        return lex_error(lexer, "unsupported character in float", NULL, "", lexer->at, err);
    return lex_error(lexer, "strconv.ParseFloat: parsing ", &text,
                     isinf(*out) ? ": value out of range" : ": invalid syntax", lexer->at, err);
}
