/* text_lex: the lexer's states are those of Prometheus' promlex.l: what may come next decides what
 * a byte is. A value may follow the brace without a space, blanks may stand anywhere between
 * tokens, and a quoted string may hold a raw newline. `at` is where the lexer stopped; an error
 * shows one byte more, as Prometheus does. */
#include "text_lex.h"

#include "lex.h"

enum state {
    STATE_START,
    STATE_META_NAME,
    STATE_LABELS,
    STATE_LABEL_VALUE,
    STATE_VALUE,
    STATE_TIMESTAMP
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Eight bytes at a time up to where a quote or a backslash is near. */
static size_t skip_plain(const char *bytes, size_t at, size_t len, unsigned char *seen)
{
    for (; at + 8 <= len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        if (word_has(word, '"') | word_has(word, '\\'))
            break;
        *seen |= (word & EACH_BYTE(0x80)) ? 0x80 : 0;
    }
    return at;
}

static enum token lex_quoted(struct lexer *lexer, enum token token)
{
    const char *bytes = lexer->bytes;
    size_t at = lexer->at + 1, len = lexer->len;
    unsigned char seen = 0;

    lexer->escaped = lexer->high_bit = false;
    at = skip_plain(bytes, at, len, &seen);
    while (at < len && bytes[at] != '"') {
        seen |= (unsigned char)bytes[at];
        if (bytes[at] == '\\') {
            lexer->escaped = true;
            at++;
            /* Prometheus' lexer steps over zero bytes in values: the next one is escaped. */
            while (token == TOKEN_LABEL_VALUE && at < len && bytes[at] == 0)
                at++;
            if (at < len && bytes[at] == '\n') {
                lexer->at = at;
                return TOKEN_INVALID;
            }
            if (at < len)
                seen |= (unsigned char)bytes[at];
        }
        at++;
    }
    lexer->high_bit = seen & 0x80;
    if (at >= len) {
        lexer->at = len;
        lexer->open = true;
        return TOKEN_INVALID;
    }
    lexer->at = at + 1;
    return token;
}

static enum token lex_comment(struct lexer *lexer)
{
    struct str rest = {lexer->bytes + lexer->at + 1, lexer->len - lexer->at - 1};
    size_t blanks = 0;

    while (blanks < rest.len && is_blank(rest.ptr[blanks]))
        blanks++;
    struct str word = str_after(rest, blanks);
    bool is_help = str_starts(word, STR("HELP"));
    if (blanks == 0 || word.len < 5 || !is_blank(word.ptr[4]) ||
        !(is_help || str_starts(word, STR("TYPE")))) {
        lexer->at = lexer->len - 1;
        return TOKEN_COMMENT;
    }
    lexer->start = (size_t)(word.ptr - lexer->bytes);
    lexer->at = lexer->start + 4;
    lexer->state = STATE_META_NAME;
    return is_help ? TOKEN_HELP : TOKEN_TYPE;
}

static enum token lex_in_labels(struct lexer *lexer)
{
    switch (lexer->bytes[lexer->at]) {
    case '"':
        return lex_quoted(lexer, TOKEN_STRING);
    case '}':
        lexer->state = STATE_VALUE;
        return lex_one(lexer, TOKEN_CLOSE);
    case '=':
        lexer->state = STATE_LABEL_VALUE;
        return lex_one(lexer, TOKEN_EQUAL);
    case ',':
        return lex_one(lexer, TOKEN_COMMA);
    default:
        return lex_name(lexer, LEX_LABEL_NAME, TOKEN_LABEL);
    }
}

static enum token lex_value(struct lexer *lexer)
{
    size_t at = lexer->at;

    if (lexer->bytes[at] == '{') {
        lexer->state = STATE_LABELS;
        return lex_one(lexer, TOKEN_OPEN);
    }
    while (at < lexer->len && !is_blank(lexer->bytes[at]) && lexer->bytes[at] != '\n' &&
           lexer->bytes[at] != '{')
        at++;
    if (at == lexer->at)
        return TOKEN_INVALID;
    lexer->at = at;
    lexer->state = STATE_TIMESTAMP;
    return TOKEN_VALUE;
}

static enum token lex_start(struct lexer *lexer)
{
    switch (lexer->bytes[lexer->at]) {
    case '#':
        return lex_comment(lexer);
    case '\n':
        return lex_one(lexer, TOKEN_LINEBREAK);
    case '\0':
        return TOKEN_EOF;
    case '{':
        lexer->state = STATE_LABELS;
        return lex_one(lexer, TOKEN_OPEN);
    default:
        lexer->state = STATE_VALUE;
        return lex_name(lexer, LEX_METRIC_NAME, TOKEN_NAME);
    }
}

static enum token lex_timestamp(struct lexer *lexer)
{
    size_t at = lexer->at;

    if (lexer->bytes[at] == '\n')
        return lex_one(lexer, TOKEN_LINEBREAK);
    while (at < lexer->len && lexer->bytes[at] >= '0' && lexer->bytes[at] <= '9')
        at++;
    if (at == lexer->at)
        return TOKEN_INVALID;
    lexer->at = at;
    return TOKEN_TIMESTAMP;
}

static enum token lex_next(struct lexer *lexer)
{
    while (lexer->at < lexer->len && is_blank(lexer->bytes[lexer->at]))
        lexer->at++;
    lexer->start = lexer->at;
    if (lexer->at >= lexer->len)
        return TOKEN_EOF;
    switch ((enum state)lexer->state) {
    case STATE_START:
        return lex_start(lexer);
    case STATE_META_NAME:
        if (lexer->bytes[lexer->at] == '"')
            return lex_quoted(lexer, TOKEN_NAME);
        return lex_name(lexer, LEX_METRIC_NAME, TOKEN_NAME);
    case STATE_LABELS:
        return lex_in_labels(lexer);
    case STATE_LABEL_VALUE:
        if (lexer->bytes[lexer->at] != '"')
            return TOKEN_INVALID;
        lexer->state = STATE_LABELS;
        return lex_quoted(lexer, TOKEN_LABEL_VALUE);
    case STATE_VALUE:
        return lex_value(lexer);
    case STATE_TIMESTAMP:
        return lex_timestamp(lexer);
    }
    UNREACHABLE();
}

/* One `name="value"`; the name token has been read. */
static bool lex_label_value(struct lexer *lexer, enum token token, struct text_label *label,
                            struct err *err)
{
    if (token != TOKEN_EQUAL)
        return lex_unexpected(lexer, "expected equal", token, err);
    token = lex_next(lexer);
    if (token != TOKEN_LABEL_VALUE)
        return lex_unexpected(lexer, "expected label value", token, err);
    struct str quoted = token_str(lexer);
    if (lexer->high_bit && !str_is_utf8(quoted))
        return lex_error(lexer, "invalid UTF-8 label value: ", &quoted, "", 0, err);
    label->value = without_quotes(quoted);
    label->value_escaped = lexer->escaped;
    return true;
}

/* The usual labels, name="value", with nothing in them that needs a second look, without a token
 * each. Stops before the first other one, or before the closing brace. */
static void lex_plain_labels(struct lexer *lexer, struct text_line *line)
{
    const char *bytes = lexer->bytes;
    const uint8_t *class_of = lex_name_class;
    size_t at = lexer->at, len = lexer->len;

    for (;;) { /* The last byte, a newline, is in no class. */
        size_t name_at = at;
        unsigned char seen = 0;
        if (!(class_of[(uint8_t)bytes[at]] & LEX_LABEL_NAME))
            return;
        while (class_of[(uint8_t)bytes[at]] & (LEX_LABEL_NAME | LEX_DIGIT))
            at++;
        size_t name_len = at - name_at, value_at = at + 2;
        if (value_at >= len || bytes[at] != '=' || bytes[at + 1] != '"')
            return;
        at = skip_plain(bytes, value_at, len, &seen);
        while (at < len && bytes[at] != '"' && bytes[at] != '\\')
            seen |= (unsigned char)bytes[at++];
        if (at + 1 >= len || bytes[at] != '"' || (seen & 0x80) ||
            (bytes[at + 1] != ',' && bytes[at + 1] != '}'))
            return;
        struct text_label label = {.name = str_from(bytes + name_at, name_len),
                                   .value = str_from(bytes + value_at, at - value_at)};
        VEC_PUSH(&line->labels, label);
        lexer->at = bytes[at + 1] == ',' ? at + 2 : at + 1;
        at += 2;
        if (bytes[lexer->at] == '}')
            return;
    }
}

/* Behind the opening brace, up to the closing one. A quoted string alone is the metric's name. */
static bool lex_labels(struct lexer *lexer, struct text_line *line, struct err *err)
{
    lex_plain_labels(lexer, line);
    enum token token = lex_next(lexer);

    while (token != TOKEN_CLOSE) {
        if (token != TOKEN_LABEL && token != TOKEN_STRING)
            return lex_unexpected(lexer, "expected label name", token, err);
        struct str name = token_str(lexer);
        struct text_label label = {.name = name};
        if (token == TOKEN_STRING) {
            label.name = without_quotes(name);
            label.name_quoted = true;
            label.name_escaped = lexer->escaped;
        }
        token = lex_next(lexer);
        if (label.name_quoted && (token == TOKEN_COMMA || token == TOKEN_CLOSE)) {
            if (line->name.ptr)
                return lex_error(lexer, "metric name already set", NULL, "", lexer->at, err);
            line->name = label.name;
            line->name_quoted = true;
            line->name_escaped = label.name_escaped;
            if (token == TOKEN_COMMA)
                token = lex_next(lexer);
            continue;
        }
        if (!lex_label_value(lexer, token, &label, err))
            return false;
        VEC_PUSH(&line->labels, label);
        token = lex_next(lexer);
        if (token == TOKEN_COMMA)
            token = lex_next(lexer);
    }
    return true;
}

static bool lex_suffix(struct lexer *lexer, enum token token, struct text_line *line,
                       struct err *err)
{
    if (!line->name.ptr)
        return lex_error(lexer, "metric name not set", NULL, "", lexer->at, err);
    if (token != TOKEN_VALUE)
        return lex_unexpected(lexer, "expected value after metric", token, err);
    if (!lex_float(lexer, token_str(lexer), &line->value, err))
        return false;
    token = lex_next(lexer);
    if (token == TOKEN_LINEBREAK)
        return true;
    if (token != TOKEN_TIMESTAMP)
        return lex_unexpected(lexer, "expected timestamp or new record", token, err);
    struct str text = token_str(lexer);
    if (!str_to_i64(text, &line->time_ms))
        return lex_error(lexer, "strconv.ParseInt: parsing ", &text, ": value out of range",
                         lexer->at, err);
    line->has_time = true;
    token = lex_next(lexer);
    if (token != TOKEN_LINEBREAK)
        return lex_unexpected(lexer, "expected next entry after timestamp", token, err);
    return true;
}

static bool lex_sample(struct lexer *lexer, enum token token, struct text_line *line,
                       struct err *err)
{
    size_t begin = token == TOKEN_NAME ? 0 : lexer->start;

    line->kind = TEXT_SAMPLE;
    if (token == TOKEN_NAME) {
        /* Blanks before a name are part of it, as in Prometheus. */
        line->name = str_from(lexer->bytes, lexer->at);
        line->name_quoted = lexer->start > 0;
        line->metric = line->name;
        token = lex_next(lexer);
    }
    if (token == TOKEN_OPEN) {
        if (!lex_labels(lexer, line, err))
            return false;
        line->metric = str_from(lexer->bytes + begin, lexer->at - begin);
        token = lex_next(lexer);
    }
    return lex_suffix(lexer, token, line, err);
}

static bool type_parse(struct str text, enum metric_type *out)
{
    static const struct {
        struct str text;
        enum metric_type type;
    } types[] = {
        {{"counter", 7}, METRIC_COUNTER},     {{"gauge", 5}, METRIC_GAUGE},
        {{"histogram", 9}, METRIC_HISTOGRAM}, {{"summary", 7}, METRIC_SUMMARY},
        {{"untyped", 7}, METRIC_UNKNOWN},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(types[i].text, text)) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

static bool lex_metadata(struct lexer *lexer, enum token token, struct text_line *line,
                         struct err *err)
{
    bool is_help = token == TOKEN_HELP;
    enum token name_token = lex_next(lexer);

    if (name_token != TOKEN_NAME)
        return lex_unexpected(
            lexer, is_help ? "expected metric name after HELP" : "expected metric name after TYPE",
            name_token, err);
    line->kind = is_help ? TEXT_HELP : TEXT_TYPE;
    line->name = token_str(lexer);
    if (line->name.ptr[0] == '"') {
        line->name = without_quotes(line->name);
        line->name_quoted = true;
        line->name_escaped = lexer->escaped;
    }
    /* One blank separates the name from the text; all else belongs to the text, but blanks alone
     * are no text. */
    struct str text = str_from(lexer->bytes + lexer->at, lexer->len - 1 - lexer->at);
    text = str_trim(text).len == 0 ? STR_EMPTY : str_after(text, 1);
    if (is_help) {
        line->help = text;
        return str_is_utf8(text) ||
               lex_error(lexer, "help text ", &text, " is not a valid utf8 string", 0, err);
    }
    return type_parse(text, &line->type) ||
           lex_error(lexer, "invalid metric type ", &text, "", 0, err);
}

void text_line_reset(struct text_line *line)
{
    VEC_CLEAR(&line->labels);
    VEC_CLEAR(&line->exemplar_labels);
    line->kind = TEXT_BLANK;
    line->name = line->metric = line->help = line->unit = (struct str){NULL, 0};
    line->name_quoted = line->name_escaped = line->help_quotes = false;
    line->help_plain = false;
    line->has_time = line->has_exemplar = false;
}

enum text_result text_lex(struct text_line *line, struct str bytes, bool last, struct err *err)
{
    struct lexer lexer = {.bytes = bytes.ptr, .len = bytes.len};
    bool ok = true;

    ENSURE_SLOW(bytes.len > 0 && bytes.ptr[bytes.len - 1] == '\n');
    text_line_reset(line);
    enum token token = lex_next(&lexer);
    switch (token) {
    case TOKEN_LINEBREAK:
        break;
    case TOKEN_COMMENT:
        line->kind = memchr(bytes.ptr, 0, bytes.len) ? TEXT_EOF : TEXT_COMMENT;
        break;
    case TOKEN_EOF:
        line->kind = TEXT_EOF;
        break;
    case TOKEN_HELP:
    case TOKEN_TYPE:
        last = true; /* A newline always ends a comment. */
        ok = lex_metadata(&lexer, token, line, err);
        break;
    case TOKEN_NAME:
    case TOKEN_OPEN:
        ok = lex_sample(&lexer, token, line, err);
        break;
    default:
        ok = lex_unexpected(&lexer, "expected a valid start token", token, err);
        break;
    }
    if (ok)
        return TEXT_OK;
    return lexer.open && !last ? TEXT_OPEN : TEXT_BAD;
}

void text_line_deinit(struct text_line *line)
{
    VEC_FREE(&line->labels);
    VEC_FREE(&line->exemplar_labels);
}

struct str text_unescape(struct arena *arena, struct str s, bool quotes)
{
    if (!s.len || !memchr(s.ptr, '\\', s.len))
        return s;
    char *out = arena_alloc(arena, s.len);
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        char next = i + 1 < s.len ? s.ptr[i + 1] : 0;
        if (s.ptr[i] == '\\' && (next == '\\' || next == 'n' || (quotes && next == '"'))) {
            out[len++] = next;
            if (next == 'n')
                out[len - 1] = '\n';
            i++;
            continue;
        }
        out[len++] = s.ptr[i];
    }
    return str_from(out, len);
}
