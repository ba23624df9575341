/* openmetrics_lex: the lexer's states are those of Prometheus' openmetricslex.l, which never goes
 * back: `at` is where a token broke off, and errors show it.
 *
 * Three of its ways are kept because they decide what is accepted and what an error says. Zero
 * bytes are passed over inside comments and label values. What follows a value and is no token does
 * not spoil the sample: it is the next entry that begins badly there (TEXT_TRAILED). And an
 * exemplar may stand behind any sample. One is not kept: zero bytes at the start of a line do not
 * join the comment before. */
#include "openmetrics_lex.h"

#include <math.h>

#include "base/buf.h"
#include "lex.h"

enum state {
    STATE_START,
    STATE_META_NAME,
    STATE_META_TEXT,
    STATE_LABELS,
    STATE_LABEL_VALUE,
    STATE_VALUE,
    STATE_TIMESTAMP,
    STATE_EXEMPLAR,
    STATE_EXEMPLAR_VALUE,
    STATE_EXEMPLAR_TIMESTAMP
};

static char byte_at(const struct lexer *lexer, size_t at)
{
    return at < lexer->len ? lexer->bytes[at] : 0;
}

/* One byte on, and past zero bytes. */
static void skip_with_zeros(struct lexer *lexer)
{
    do {
        lexer->at++;
    } while (lexer->at < lexer->len && lexer->bytes[lexer->at] == 0);
}

static enum token lex_comment(struct lexer *lexer)
{
    static const struct {
        struct str word;
        enum token token;
    } words[] = {
        {{"HELP ", 5}, TOKEN_HELP},
        {{"TYPE ", 5}, TOKEN_TYPE},
        {{"UNIT ", 5}, TOKEN_UNIT},
        {{"EOF", 3}, TOKEN_EOF_WORD},
    };
    size_t which = 0;

    lexer->at++;
    if (byte_at(lexer, lexer->at) != ' ')
        return TOKEN_INVALID;
    lexer->at++;
    while (which < COUNT_OF(words) && words[which].word.ptr[0] != byte_at(lexer, lexer->at))
        which++;
    if (which == COUNT_OF(words))
        return TOKEN_INVALID;
    for (size_t i = 1; i < words[which].word.len; i++) {
        skip_with_zeros(lexer);
        if (byte_at(lexer, lexer->at) != words[which].word.ptr[i])
            return TOKEN_INVALID;
    }
    skip_with_zeros(lexer);
    if (words[which].token == TOKEN_EOF_WORD && byte_at(lexer, lexer->at) == '\n')
        skip_with_zeros(lexer);
    lexer->state = STATE_META_NAME;
    return words[which].token;
}

/* Eight bytes at a time up to where something in a quoted string wants a look. */
static size_t skip_plain(const char *bytes, size_t at, size_t len, unsigned char *seen)
{
    for (; at + 8 <= len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        if (word_has(word, '"') | word_has(word, '\\') | word_has(word, '\n') | word_has(word, 0))
            break;
        *seen |= (word & EACH_BYTE(0x80)) ? 0x80 : 0;
    }
    return at;
}

struct quoted_rules {
    bool newlines, zeros; /* May stand inside. */
};
static const struct quoted_rules name_rules = {.newlines = true}, value_rules = {.zeros = true},
                                 exemplar_rules = {.newlines = false};

/* True: `at` is on the closing quote. */
static bool find_closing_quote(struct lexer *lexer, struct quoted_rules rules)
{
    unsigned char seen = 0;
    bool after_backslash = false;

    lexer->escaped = lexer->high_bit = false;
    for (lexer->at++; lexer->at < lexer->len; lexer->at++) {
        if (!after_backslash)
            lexer->at = skip_plain(lexer->bytes, lexer->at, lexer->len, &seen);
        char c = byte_at(lexer, lexer->at);
        if (lexer->at == lexer->len)
            break;
        if (c == 0 && rules.zeros)
            continue;
        if (c == 0 || (c == '\n' && (after_backslash || !rules.newlines)))
            return false;
        if (c == '"' && !after_backslash) {
            lexer->high_bit = seen & 0x80;
            return true;
        }
        after_backslash = c == '\\' && !after_backslash;
        lexer->escaped |= after_backslash;
        seen |= (unsigned char)c;
    }
    lexer->open = rules.newlines;
    return false;
}

static enum token lex_quoted(struct lexer *lexer, struct quoted_rules rules, enum token token)
{
    if (!find_closing_quote(lexer, rules))
        return TOKEN_INVALID;
    if (rules.zeros)
        skip_with_zeros(lexer);
    else
        lexer->at++;
    return token;
}

/* A space and what is up to the next one. */
static enum token lex_word(struct lexer *lexer, int state, enum token token)
{
    size_t first = lexer->at + 1;

    if (byte_at(lexer, lexer->at) != ' ')
        return TOKEN_INVALID;
    for (lexer->at = first; lexer->at < lexer->len; lexer->at++) {
        char c = lexer->bytes[lexer->at];
        if (c == ' ' || c == '\n' || c == 0)
            break;
    }
    if (lexer->at == first)
        return TOKEN_INVALID;
    lexer->state = state;
    return token;
}

static enum token lex_meta_text(struct lexer *lexer)
{
    const char *begin = lexer->bytes + lexer->at;

    if (*begin != ' ')
        return TOKEN_INVALID;
    const char *newline = memchr(begin, '\n', lexer->len - lexer->at);
    lexer->at = newline ? (size_t)(newline + 1 - lexer->bytes) : lexer->len;
    return newline ? TOKEN_TEXT : TOKEN_INVALID;
}

static enum token lex_in_labels(struct lexer *lexer)
{
    bool exemplar = lexer->state == STATE_EXEMPLAR;

    switch (lexer->bytes[lexer->at]) {
    case '"':
        return lex_quoted(lexer, exemplar ? exemplar_rules : name_rules, TOKEN_STRING);
    case '}':
        lexer->state = exemplar ? STATE_EXEMPLAR_VALUE : STATE_VALUE;
        return lex_one(lexer, TOKEN_CLOSE);
    case '=':
        lexer->state = exemplar ? STATE_EXEMPLAR_VALUE : STATE_LABEL_VALUE;
        return lex_one(lexer, TOKEN_EQUAL);
    case ',':
        return lex_one(lexer, TOKEN_COMMA);
    default:
        return lex_name(lexer, LEX_LABEL_NAME, TOKEN_LABEL);
    }
}

static enum token lex_start(struct lexer *lexer)
{
    switch (lexer->bytes[lexer->at]) {
    case '#':
        return lex_comment(lexer);
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
    struct str rest = {lexer->bytes + lexer->at, lexer->len - lexer->at};

    if (rest.ptr[0] == '\n')
        return lex_one(lexer, TOKEN_LINEBREAK);
    if (!str_starts(rest, STR(" # ")))
        return lex_word(lexer, STATE_TIMESTAMP, TOKEN_TIMESTAMP);
    lexer->at += 3;
    if (byte_at(lexer, lexer->at) != '{')
        return TOKEN_INVALID;
    lexer->state = STATE_EXEMPLAR;
    return lex_one(lexer, TOKEN_COMMENT);
}

static enum token lex_exemplar_value(struct lexer *lexer)
{
    if (lexer->bytes[lexer->at] != '"')
        return lex_word(lexer, STATE_EXEMPLAR_TIMESTAMP, TOKEN_VALUE);
    enum token token = lex_quoted(lexer, exemplar_rules, TOKEN_LABEL_VALUE);
    lexer->state = STATE_EXEMPLAR;
    return token;
}

/* At the end `start` stays with the last token, and errors show it. */
static enum token lex_next(struct lexer *lexer)
{
    enum token token;

    if (lexer->at >= lexer->len)
        return TOKEN_EOF;
    lexer->start = lexer->at;
    char c = lexer->bytes[lexer->at];
    switch ((enum state)lexer->state) {
    case STATE_START:
        return lex_start(lexer);
    case STATE_META_NAME:
        lexer->state = STATE_META_TEXT;
        return c == '"' ? lex_quoted(lexer, name_rules, TOKEN_NAME)
                        : lex_name(lexer, LEX_METRIC_NAME, TOKEN_NAME);
    case STATE_META_TEXT:
        return lex_meta_text(lexer);
    case STATE_LABELS:
    case STATE_EXEMPLAR:
        return lex_in_labels(lexer);
    case STATE_LABEL_VALUE:
        token = c == '"' ? lex_quoted(lexer, value_rules, TOKEN_LABEL_VALUE) : TOKEN_INVALID;
        lexer->state = STATE_LABELS;
        return token;
    case STATE_VALUE:
        if (c != '{')
            return lex_word(lexer, STATE_TIMESTAMP, TOKEN_VALUE);
        lexer->state = STATE_LABELS;
        return lex_one(lexer, TOKEN_OPEN);
    case STATE_TIMESTAMP:
        return lex_timestamp(lexer);
    case STATE_EXEMPLAR_VALUE:
        return lex_exemplar_value(lexer);
    case STATE_EXEMPLAR_TIMESTAMP:
        return c == '\n' ? lex_one(lexer, TOKEN_LINEBREAK)
                         : lex_word(lexer, STATE_EXEMPLAR_TIMESTAMP, TOKEN_TIMESTAMP);
    }
    UNREACHABLE();
}

static bool is_between_labels(enum token token)
{
    return token == TOKEN_COMMA || token == TOKEN_CLOSE;
}

/* `="value"` and the comma behind it; *token is the equal sign, and then what follows. */
static bool lex_label_value(struct lexer *lexer, enum token *token, struct text_label *label,
                            struct err *err)
{
    if (*token != TOKEN_EQUAL)
        return lex_unexpected(lexer, "expected equal", *token, err);
    *token = lex_next(lexer);
    if (*token != TOKEN_LABEL_VALUE)
        return lex_unexpected(lexer, "expected label value", *token, err);
    struct str quoted = token_str(lexer);
    if (lexer->high_bit && !str_is_utf8(quoted))
        return lex_error(lexer, "invalid UTF-8 label value: ", &quoted, "", 0, err);
    label->value = without_quotes(quoted);
    label->value_escaped = lexer->escaped;
    *token = lex_next(lexer);
    if (!is_between_labels(*token))
        return lex_unexpected(lexer, "expected comma or brace close", *token, err);
    if (*token == TOKEN_COMMA)
        *token = lex_next(lexer);
    return true;
}

/* A quoted string alone is the metric's name. */
static bool lex_quoted_metric(const struct lexer *lexer, enum token token, bool exemplar,
                              const struct text_label *label, struct text_line *line,
                              struct err *err)
{
    if (exemplar)
        return lex_unexpected(lexer, "expected label name", token, err);
    if (line->name.ptr)
        return lex_error(lexer, "metric name already set", NULL, "", lexer->at, err);
    line->name = label->name;
    line->name_quoted = true;
    line->name_escaped = label->name_escaped;
    return true;
}

/* Behind the opening brace, up to the closing one. */
static bool lex_labels(struct lexer *lexer, bool exemplar, struct text_line *line, struct err *err)
{
    enum token token = lex_next(lexer);

    while (token != TOKEN_CLOSE) {
        if (token != TOKEN_LABEL && token != TOKEN_STRING)
            return lex_unexpected(lexer, "expected label name", token, err);
        struct text_label label = {.name = token_str(lexer)};
        if (token == TOKEN_STRING) {
            label.name = without_quotes(label.name);
            label.name_quoted = true;
            label.name_escaped = lexer->escaped;
        }
        token = lex_next(lexer);
        if (label.name_quoted && is_between_labels(token)) {
            if (!lex_quoted_metric(lexer, token, exemplar, &label, line, err))
                return false;
            if (token == TOKEN_COMMA)
                token = lex_next(lexer);
            continue;
        }
        if (!lex_label_value(lexer, &token, &label, err))
            return false;
        if (exemplar)
            VEC_PUSH(&line->exemplar_labels, label);
        else
            VEC_PUSH(&line->labels, label);
    }
    return true;
}

/* A timestamp's seconds, cut to milliseconds. Where a Go program on amd64 leaves the range of its
 * integers it gets their minimum. */
static bool lex_time(const struct lexer *lexer, const char *what, int64_t *out, struct err *err)
{
    struct str text = str_after(token_str(lexer), 1);
    double seconds;

    if (!lex_float(lexer, text, &seconds, err))
        return false;
    if (!isfinite(seconds))
        return err_set(err, ERR_BAD_DATA, "invalid %s %s", what,
                       isnan(seconds)  ? "NaN"
                       : seconds > 0.0 ? "+Inf"
                                       : "-Inf");
    double milliseconds = seconds * 1000;
    bool fits = milliseconds >= -0x1p63 && milliseconds < 0x1p63;
    *out = fits ? (int64_t)milliseconds : INT64_MIN;
    return true;
}

static enum text_result no_eof(struct err *err)
{
    (void)err_set(err, ERR_BAD_DATA, OPENMETRICS_NO_EOF);
    return TEXT_BAD;
}

static enum text_result lex_exemplar(struct lexer *lexer, struct text_line *line, struct err *err)
{
    struct text_exemplar *exemplar = &line->exemplar;

    line->has_exemplar = true;
    if (!lex_labels(lexer, true, line, err))
        return TEXT_BAD;
    *exemplar = (struct text_exemplar){.labels = line->exemplar_labels.items,
                                       .label_count = line->exemplar_labels.count};
    enum token token = lex_next(lexer);
    if (token != TOKEN_VALUE) {
        (void)lex_unexpected(lexer, "expected value after exemplar labels", token, err);
        return TEXT_BAD;
    }
    if (!lex_float(lexer, str_after(token_str(lexer), 1), &exemplar->value, err))
        return TEXT_BAD;
    token = lex_next(lexer);
    if (token == TOKEN_LINEBREAK)
        return TEXT_OK;
    if (token == TOKEN_EOF)
        return no_eof(err);
    if (token != TOKEN_TIMESTAMP) {
        (void)lex_unexpected(lexer, "expected timestamp or comment", token, err);
        return TEXT_BAD;
    }
    exemplar->has_time = true;
    if (!lex_time(lexer, "exemplar timestamp", &exemplar->time_ms, err))
        return TEXT_BAD;
    token = lex_next(lexer);
    if (token == TOKEN_LINEBREAK)
        return TEXT_OK;
    (void)lex_unexpected(lexer, "expected next entry after exemplar timestamp", token, err);
    return TEXT_BAD;
}

/* The next entry begins where the sample broke off. */
static enum text_result lex_trail(const struct lexer *lexer, struct err *err)
{
    struct lexer rest = {
        .bytes = lexer->bytes + lexer->at, .len = lexer->len - lexer->at, .state = STATE_TIMESTAMP};

    if (rest.len > 0 && rest.bytes[0] == '\n')
        return TEXT_BROKEN;
    enum token token = lex_next(&rest);
    if (token == TOKEN_EOF)
        (void)no_eof(err);
    else
        (void)lex_unexpected(&rest, "expected a valid start token", token, err);
    return TEXT_TRAILED;
}

/* From the value on; `token` is the value. */
static enum text_result lex_suffix(struct lexer *lexer, enum token token, struct text_line *line,
                                   struct err *err)
{
    if (token != TOKEN_VALUE) {
        (void)lex_unexpected(lexer, "expected value after metric", token, err);
        return TEXT_BAD;
    }
    if (!lex_float(lexer, str_after(token_str(lexer), 1), &line->value, err))
        return TEXT_BAD;
    token = lex_next(lexer);
    if (token == TOKEN_LINEBREAK)
        return TEXT_OK;
    if (token == TOKEN_COMMENT)
        return lex_exemplar(lexer, line, err);
    if (token == TOKEN_EOF)
        return no_eof(err);
    if (token != TOKEN_TIMESTAMP)
        return lex_trail(lexer, err);
    line->has_time = true;
    if (!lex_time(lexer, "timestamp", &line->time_ms, err))
        return TEXT_BAD;
    token = lex_next(lexer);
    if (token == TOKEN_LINEBREAK)
        return TEXT_OK;
    if (token == TOKEN_COMMENT)
        return lex_exemplar(lexer, line, err);
    (void)lex_unexpected(lexer, "expected next entry after timestamp", token, err);
    return TEXT_BAD;
}

static enum text_result lex_sample(struct lexer *lexer, enum token token, struct text_line *line,
                                   struct err *err)
{
    line->kind = TEXT_SAMPLE;
    if (token == TOKEN_NAME) {
        line->name = line->metric = token_str(lexer);
        token = lex_next(lexer);
    }
    if (token == TOKEN_OPEN) {
        if (!lex_labels(lexer, false, line, err))
            return TEXT_BAD;
        line->metric = str_from(lexer->bytes, lexer->at);
        token = lex_next(lexer);
    }
    if (!line->name.ptr) {
        (void)lex_error(lexer, "metric name not set", NULL, "", lexer->at, err);
        return TEXT_BAD;
    }
    return lex_suffix(lexer, token, line, err);
}

static bool type_parse(struct str text, enum metric_type *out)
{
    static const enum metric_type types[] = {
        METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_GAUGEHISTOGRAM,
        METRIC_SUMMARY, METRIC_INFO,  METRIC_STATESET,  METRIC_UNKNOWN,
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(str_of(metric_type_text(types[i])), text)) {
            *out = types[i];
            return true;
        }
    }
    return false;
}

/* The unit must be the name's last word. */
static bool unit_check(const struct lexer *lexer, struct str unit, struct str name, struct err *err)
{
    struct buf text;

    if (unit.len == 0 ||
        (name.len > unit.len && str_ends(name, unit) && name.ptr[name.len - unit.len - 1] == '_'))
        return true;
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, " not a suffix of metric ");
    buf_add_go_quoted(&text, str_first(name, 512));
    buf_add_char(&text, 0);
    (void)lex_error(lexer, "unit ", &unit, text.ptr, 0, err);
    buf_deinit(&text);
    return false;
}

static bool lex_metadata(struct lexer *lexer, enum token token, struct text_line *line,
                         struct err *err)
{
    static const struct {
        enum text_kind kind;
        const char *no_name, *no_text;
    } kinds[] = {
        [TOKEN_HELP] = {TEXT_HELP, "expected metric name after HELP", "expected text in HELP"},
        [TOKEN_TYPE] = {TEXT_TYPE, "expected metric name after TYPE", "expected text in TYPE"},
        [TOKEN_UNIT] = {TEXT_UNIT, "expected metric name after UNIT", "expected text in UNIT"},
    };
    enum token name_token = lex_next(lexer);

    if (name_token != TOKEN_NAME)
        return lex_unexpected(lexer, kinds[token].no_name, name_token, err);
    line->kind = kinds[token].kind;
    line->name = token_str(lexer);
    if (line->name.ptr[0] == '"') {
        line->name = without_quotes(line->name);
        line->name_quoted = true;
        line->name_escaped = lexer->escaped;
    }
    if (lex_next(lexer) != TOKEN_TEXT)
        return err_set(err, ERR_BAD_DATA, "%s", kinds[token].no_text);
    struct str text = without_quotes(token_str(lexer)); /* Without the blank and the newline. */
    if (line->kind == TEXT_TYPE)
        return type_parse(text, &line->type) ||
               lex_error(lexer, "invalid metric type ", &text, "", 0, err);
    if (line->kind == TEXT_UNIT) {
        line->unit = text;
        return unit_check(lexer, text, line->name, err);
    }
    line->help = text;
    line->help_quotes = true;
    return str_is_utf8(text) ||
           lex_error(lexer, "help text ", &text, " is not a valid utf8 string", 0, err);
}

enum text_result openmetrics_lex(struct text_line *line, struct str bytes, bool last,
                                 struct err *err)
{
    struct lexer lexer = {.bytes = bytes.ptr, .len = bytes.len};
    enum text_result result = TEXT_BAD;

    ENSURE_SLOW(bytes.len > 0 && (last || bytes.ptr[bytes.len - 1] == '\n'));
    text_line_reset(line);
    enum token token = lex_next(&lexer);
    switch (token) {
    case TOKEN_EOF_WORD:
        line->kind = TEXT_EOF;
        result = openmetrics_check_tail(str_after(bytes, lexer.at), err) ? TEXT_OK : TEXT_BAD;
        break;
    case TOKEN_HELP:
    case TOKEN_TYPE:
    case TOKEN_UNIT:
        result = lex_metadata(&lexer, token, line, err) ? TEXT_OK : TEXT_BAD;
        break;
    case TOKEN_NAME:
    case TOKEN_OPEN:
        result = lex_sample(&lexer, token, line, err);
        break;
    default:
        (void)lex_unexpected(&lexer, "expected a valid start token", token, err);
        break;
    }
    return lexer.open && !last ? TEXT_OPEN : result;
}

bool openmetrics_lex_known(struct text_line *line, struct str bytes, size_t metric_len)
{
    struct lexer lexer = {
        .bytes = bytes.ptr, .len = bytes.len, .at = metric_len, .state = STATE_VALUE};
    struct err err;

    text_line_reset(line);
    enum token token = lex_next(&lexer);
    return lex_suffix(&lexer, token, line, &err) == TEXT_OK;
}

void openmetrics_broken(int next_byte, struct err *err)
{
    char bytes[] = {'\n', (char)next_byte};
    struct lexer lexer = {.bytes = bytes, .len = next_byte < 0 ? 1 : 2, .at = 1};

    (void)lex_unexpected(&lexer, "expected a valid start token", TOKEN_LINEBREAK, err);
}

bool openmetrics_check_tail(struct str bytes, struct err *err)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.ptr[i] != 0)
            return err_set(err, ERR_BAD_DATA, "unexpected data after # EOF");
    return true;
}
