/* parse_text: lines out of bytes, and the fast path for lines that the last scrape had, too.
 *
 * The bytes of one feed up to their last newline are read in place. What follows is carried over
 * and completed by the next feed. A newline inside a quoted string belongs to the line; the lexer
 * says so (TEXT_OPEN), then the line is carried as well, and scan_byte finds its end without lexing
 * it again for each newline.
 *
 * The formats differ in their lexers and in the end: after # EOF, and after an OpenMetrics line that
 * a blank ends (its error shows the next byte), there are no more lines but a `phase`.
 *
 * Fast path: the cache names the length of the text that should stand here; one hash proves it;
 * digits follow, and mantissa * 10^exponent is exact when both are small (Clinger, "How to read
 * floating point numbers accurately", 1990). Anything unusual falls through to the lexer, which
 * alone knows how to complain. */
#include "parse_text.h"

#include <math.h>

#include "base/number.h"
#include "model/sample.h"
#include "openmetrics_lex.h"

enum scan {
    SCAN_START,
    SCAN_COMMENT,
    SCAN_PLAIN,
    SCAN_QUOTED,
    SCAN_ESCAPED,
    SCAN_NAME, /* Quoted, in a comment: only once the lexer has said so. */
    SCAN_NAME_ESCAPED,
};

enum phase { PHASE_LINES, PHASE_BROKEN, PHASE_EOF };

void parse_text_init(struct parse_text *parser, struct line_cache *cache,
                     const struct parse_text_sink *sink, size_t line_bytes_max)
{
    ENSURE(line_bytes_max > 0 && line_bytes_max <= LINE_LEN_MAX);
    *parser = (struct parse_text){.sink = sink, .cache = cache, .line_bytes_max = line_bytes_max};
    buf_init(&parser->carry, line_bytes_max + 2);
}

void parse_text_deinit(struct parse_text *parser)
{
    text_line_deinit(&parser->line);
    buf_deinit(&parser->carry);
}

void parse_text_set_format(struct parse_text *parser, enum text_format format)
{
    ENSURE(!parser->fed && format != PROTOBUF_DELIMITED);
    parser->format = format;
}

void parse_text_set_uncached(struct parse_text *parser)
{
    ENSURE(!parser->fed);
    parser->uncached = true;
}

uint64_t parse_text_line(const struct parse_text *parser)
{
    return parser->line_number;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define POWER_MAX ((int)COUNT_OF(powers_of_ten) - 1)

/* e+05 and the like: adds to *exponent. NULL: not for the fast path. */
static const char *read_exponent(const char *at, int *exponent)
{
    bool negative = *at == '-';
    int digits = 0, value = 0;

    if (*at == '-' || *at == '+')
        at++;
    for (; is_digit(*at) && digits < 4; digits++)
        value = value * 10 + (*at++ - '0');
    if (digits == 0 || is_digit(*at))
        return NULL;
    *exponent += negative ? -value : value;
    return at;
}

/* A plain decimal that a double holds exactly or is one rounding away from. The bytes end with a
 * newline, so no read passes it. NULL: the slow path must look. */
static const char *read_value(const char *at, double *out)
{
    bool negative = *at == '-';
    uint64_t mantissa = 0;
    int exponent = 0;

    at += negative;
    const char *first = at;
    for (; is_digit(*at); at++)
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
    ptrdiff_t digits = at - first;
    if (*at == '.') {
        const char *fraction = ++at;
        for (; is_digit(*at); at++)
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        exponent = (int)(fraction - at);
        digits += at - fraction;
    }
    if (digits == 0 || digits > 18)
        return NULL;
    if (*at == 'e' || *at == 'E') {
        at = read_exponent(at + 1, &exponent);
        if (!at)
            return NULL;
    }
    if (mantissa > (UINT64_C(1) << 53) || exponent > POWER_MAX || exponent < -POWER_MAX)
        return NULL;
    double value = (double)mantissa;
    if (exponent < 0)
        value /= powers_of_ten[-exponent];
    else if (exponent > 0)
        value *= powers_of_ten[exponent];
    *out = negative ? -value : value;
    return at;
}

/* Any float text that is not a plain decimal, as long as nothing is wrong with it. */
static const char *read_any_value(const char *at, double *out)
{
    const char *begin = at;

    while (*at != ' ' && *at != '\t' && *at != '\n' && *at != '{')
        at++;
    if (!number_parse(str_from(begin, (size_t)(at - begin)), out))
        return NULL;
    if (isnan(*out))
        *out = sample_nan();
    return at;
}

static const char *read_time(const char *at, int64_t *out)
{
    const char *first = at;
    int64_t value = 0;

    for (; is_digit(*at) && at - first < 18; at++)
        value = value * 10 + (*at - '0');
    *out = value;
    return at == first || *at != '\n' ? NULL : at;
}

/* The line at `at` if it is the one that the cache expects, and well formed: returns where the next
 * begins. NULL: it takes the slow path; nothing was handed out. `limit` is behind a newline. */
static const char *parse_known(struct parse_text *parser, const char *at, const char *limit)
{
    size_t len = 0;
    int64_t time_ms = 0;
    double value = 0;
    bool has_time = false;

    uint32_t index = line_cache_predict(parser->cache, at, (size_t)(limit - at), &len);
    if (index == LINE_NONE)
        return NULL;
    const char *begin = at + len + 1;
    const char *end = read_value(begin, &value);
    if (UNLIKELY(!end || (*end != '\n' && *end != ' '))) {
        end = read_any_value(begin, &value);
        if (!end)
            return NULL;
    }
    if (UNLIKELY(*end != '\n')) {
        end = *end == ' ' ? read_time(end + 1, &time_ms) : NULL;
        if (!end)
            return NULL;
        has_time = true;
    }
    if (UNLIKELY((size_t)(end + 1 - at) > parser->line_bytes_max))
        return NULL;
    parser->line_number++;
    parser->sink->known(parser->sink->ctx, index, value, has_time ? &time_ms : NULL);
    return end + 1;
}

static void hand_out_exemplar(struct parse_text *parser)
{
    if (!parser->line.has_exemplar)
        return;
    parser->exemplar_count++;
    if (parser->sink->exemplar)
        parser->sink->exemplar(parser->sink->ctx, &parser->line.exemplar);
}

/* The same for OpenMetrics: one space, and what is more than a value goes to the lexer. */
static const char *parse_known_openmetrics(struct parse_text *parser, const char *at,
                                           const char *limit)
{
    struct text_line *line = &parser->line;
    size_t len = 0;
    double value = 0;

    uint32_t index = line_cache_predict(parser->cache, at, (size_t)(limit - at), &len);
    if (index == LINE_NONE || at[len] != ' ')
        return NULL;
    const char *end = read_value(at + len + 1, &value);
    if (LIKELY(end && *end == '\n' && (size_t)(end + 1 - at) <= parser->line_bytes_max)) {
        parser->line_number++;
        parser->sink->known(parser->sink->ctx, index, value, NULL);
        return end + 1;
    }
    end = memchr(at + len, '\n', (size_t)(limit - at) - len);
    struct str bytes = {at, (size_t)(end + 1 - at)};
    if (bytes.len > parser->line_bytes_max || !openmetrics_lex_known(line, bytes, len))
        return NULL;
    parser->line_number++;
    parser->sink->known(parser->sink->ctx, index, line->value,
                        line->has_time ? &line->time_ms : NULL);
    hand_out_exemplar(parser);
    return end + 1;
}

/* A comment that stood here last time. */
static const char *parse_known_comment(struct parse_text *parser, const char *at, const char *limit)
{
    const struct line_comment *comment =
        line_cache_comment(parser->cache, at, (size_t)(limit - at));

    if (!comment)
        return NULL;
    parser->line_number++;
    if (comment->type > 0)
        parser->type = (enum metric_type)(comment->type - 1);
    if (comment->place != LINE_NONE)
        parser->sink->metadata_again(parser->sink->ctx, comment->place);
    return at + comment->len;
}

/* For next time, unless nobody keeps what it says. */
static void keep_comment(struct parse_text *parser, struct str bytes)
{
    const struct text_line *line = &parser->line;
    struct line_comment comment = {.place = LINE_NONE};

    if (parser->uncached || !parser->sink->metadata_again || line->kind == TEXT_EOF ||
        line->kind == TEXT_SAMPLE || line->kind == TEXT_BLANK)
        return;
    if (line->kind != TEXT_COMMENT) {
        comment.place = parser->sink->metadata_place(parser->sink->ctx);
        if (comment.place == LINE_NONE)
            return;
    }
    if (line->kind == TEXT_TYPE)
        comment.type = ((uint32_t)line->type + 1) & 0xff;
    line_cache_add_comment(parser->cache, bytes, comment);
}

static enum text_result lex(struct parse_text *parser, struct str bytes, bool last, struct err *err)
{
    enum text_result result = parser->format == TEXT_OPENMETRICS
                                  ? openmetrics_lex(&parser->line, bytes, last, err)
                                  : text_lex(&parser->line, bytes, last, err);
    if (result == TEXT_OPEN) /* What the lexer said is not so. */
        err_clear(err);
    return result;
}

bool parse_text_deliver(const struct parse_text_sink *sink, struct line_cache *cache,
                        const struct text_line *line, enum metric_type type, struct err *err)
{
    const int64_t *time_ms = line->has_time ? &line->time_ms : NULL;
    uint32_t index = line_cache_look(cache, line->metric);

    if (index == LINE_NONE)
        return sink->sample(sink->ctx, line, type, err);
    if (line->histogram)
        sink->known_histogram(sink->ctx, index, line->histogram, time_ms);
    else
        sink->known(sink->ctx, index, line->value, time_ms);
    return true;
}

static bool hand_out(struct parse_text *parser, struct err *err)
{
    const struct text_line *line = &parser->line;

    if (line->kind == TEXT_TYPE)
        parser->type = line->type;
    if (line->kind == TEXT_TYPE || line->kind == TEXT_HELP || line->kind == TEXT_UNIT)
        parser->sink->metadata(parser->sink->ctx, line);
    if (line->kind == TEXT_EOF)
        parser->phase = PHASE_EOF;
    if (line->kind != TEXT_SAMPLE)
        return true;
    const struct parse_text_sink *sink = parser->sink;
    bool ok = parser->uncached ? sink->sample(sink->ctx, line, parser->type, err)
                               : parse_text_deliver(sink, parser->cache, line, parser->type, err);
    if (ok)
        hand_out_exemplar(parser);
    return ok;
}

/* What is to be done with a line that was not open. */
static bool take_line(struct parse_text *parser, enum text_result result, struct err *err)
{
    struct err trail;

    ENSURE(result != TEXT_OPEN);
    if (result == TEXT_BAD)
        return false;
    if (result == TEXT_BROKEN)
        parser->phase = PHASE_BROKEN;
    if (result != TEXT_TRAILED)
        return hand_out(parser, err);
    trail = *err;
    if (hand_out(parser, err))
        *err = trail;
    return false;
}

static bool too_long(const struct parse_text *parser, struct err *err)
{
    return err_set(err, ERR_LIMIT, "line is longer than %zu bytes", parser->line_bytes_max);
}

/* Bytes that end with a newline, line by line. Returns how far it came: to the end, to a line that
 * stays open, or to where the phase is another; NULL after an error. */
static const char *parse_lines(struct parse_text *parser, const char *at, const char *limit,
                               struct err *err)
{
    bool openmetrics = parser->format == TEXT_OPENMETRICS;

    while (at < limit && parser->phase == PHASE_LINES) {
        const char *next = parser->uncached ? NULL
                           : *at == '#'     ? parse_known_comment(parser, at, limit)
                           : openmetrics    ? parse_known_openmetrics(parser, at, limit)
                                            : parse_known(parser, at, limit);
        if (LIKELY(next != NULL)) {
            at = next;
            continue;
        }
        next = (const char *)memchr(at, '\n', (size_t)(limit - at)) + 1;
        parser->line_number++;
        if ((size_t)(next - at) > parser->line_bytes_max) {
            (void)too_long(parser, err);
            return NULL;
        }
        struct str bytes = {at, (size_t)(next - at)};
        enum text_result result = lex(parser, bytes, false, err);
        if (result == TEXT_OPEN) {
            parser->line_number--;
            return at;
        }
        if (!take_line(parser, result, err))
            return NULL;
        if (result == TEXT_OK && *bytes.ptr == '#')
            keep_comment(parser, bytes);
        at = next;
    }
    return at;
}

/* Moves on by one byte of a carried line. True: the line ends here. */
static bool scan_byte(struct parse_text *parser, char c)
{
    switch ((enum scan)parser->scan) {
    case SCAN_START:
        if (c != ' ' && c != '\t')
            parser->scan = c == '#' ? SCAN_COMMENT : c == '"' ? SCAN_QUOTED : SCAN_PLAIN;
        return c == '\n';
    case SCAN_COMMENT:
        return c == '\n';
    case SCAN_PLAIN:
        if (c == '"')
            parser->scan = SCAN_QUOTED;
        return c == '\n';
    case SCAN_QUOTED:
        if (c == '"')
            parser->scan = SCAN_PLAIN;
        if (c == '\\')
            parser->scan = SCAN_ESCAPED;
        return false;
    case SCAN_ESCAPED: /* OpenMetrics passes over zero bytes in values. */
        if (c != 0 || parser->format != TEXT_OPENMETRICS)
            parser->scan = SCAN_QUOTED;
        return false;
    case SCAN_NAME:
        if (c == '"')
            parser->scan = SCAN_COMMENT;
        if (c == '\\')
            parser->scan = SCAN_NAME_ESCAPED;
        return false;
    case SCAN_NAME_ESCAPED:
        parser->scan = SCAN_NAME;
        return false;
    }
    UNREACHABLE();
}

/* The carried bytes are one line, whatever newlines it has inside. */
static bool parse_joined(struct parse_text *parser, struct err *err)
{
    struct str bytes = buf_str(&parser->carry);
    uint64_t newlines = 0;

    for (size_t i = 0; i < bytes.len; i++)
        newlines += bytes.ptr[i] == '\n';
    parser->line_number++;
    if (!take_line(parser, lex(parser, bytes, true, err), err))
        return false;
    parser->line_number += newlines - (newlines > 0);
    buf_clear(&parser->carry);
    return true;
}

/* The carried line is whole, it seems. It stays when it is a comment with an open name. */
static bool parse_carry(struct parse_text *parser, struct err *err)
{
    struct str bytes = buf_str(&parser->carry);

    if (parser->joined)
        return parse_joined(parser, err);
    const char *end = parse_lines(parser, bytes.ptr, bytes.ptr + bytes.len, err);
    if (!end)
        return false;
    if (end == bytes.ptr + bytes.len) {
        buf_clear(&parser->carry);
        return true;
    }
    parser->joined = true;
    if (parser->scan != SCAN_COMMENT)
        return parse_joined(parser, err);
    parser->scan = SCAN_NAME;
    return true;
}

/* At a newline inside quotes, once a line: is it an open string, or was it wrong before? */
static bool check_joined(struct parse_text *parser, struct err *err)
{
    if (parser->joined)
        return true;
    parser->joined = true;
    enum text_result result = lex(parser, buf_str(&parser->carry), false, err);
    if (result == TEXT_OPEN)
        return true;
    parser->line_number++;
    bool ok = take_line(parser, result, err);
    buf_clear(&parser->carry);
    return ok;
}

/* Takes bytes for the carried line until it is whole, and parses it. NULL after an error. */
static const char *carry_take(struct parse_text *parser, const char *at, const char *end,
                              struct err *err)
{
    const char *from = at;

    while (at < end) {
        bool whole = scan_byte(parser, *at++);
        bool inner = at[-1] == '\n' && !whole;
        if (parser->carry.len + (size_t)(at - from) > parser->line_bytes_max) {
            parser->line_number++;
            (void)too_long(parser, err);
            return NULL;
        }
        if (!whole && !inner)
            continue;
        buf_add(&parser->carry, from, (size_t)(at - from));
        from = at;
        if (whole ? !parse_carry(parser, err) : !check_joined(parser, err))
            return NULL;
        if (parser->carry.len == 0)
            return at;
    }
    buf_add(&parser->carry, from, (size_t)(at - from));
    return at;
}

static const char *carry_begin(struct parse_text *parser, const char *at, const char *end,
                               bool joined, struct err *err)
{
    ENSURE(parser->carry.len == 0);
    parser->scan = SCAN_START;
    parser->joined = joined && *at != '#'; /* Where a comment's name ends is not known yet. */
    return carry_take(parser, at, end, err);
}

static const char *lines_take(struct parse_text *parser, const char *at, const char *end,
                              struct err *err)
{
    const char *last = memrchr(at, '\n', (size_t)(end - at));

    if (!last)
        return carry_begin(parser, at, end, false, err);
    at = parse_lines(parser, at, last + 1, err);
    if (at && at <= last && parser->phase == PHASE_LINES)
        at = carry_begin(parser, at, end, true, err);
    return at;
}

/* Bytes where no line may be any more. */
static const char *tail_take(struct parse_text *parser, const char *at, const char *end,
                             struct err *err)
{
    if (parser->format != TEXT_OPENMETRICS)
        return end; /* A zero byte where a line begins ends the text, as in Prometheus. */
    if (parser->phase == PHASE_BROKEN)
        openmetrics_broken((unsigned char)*at, err);
    else if (openmetrics_check_tail(str_from(at, (size_t)(end - at)), err))
        return end;
    return NULL;
}

bool parse_text_feed(struct parse_text *parser, struct str bytes, struct err *err)
{
    const char *at = bytes.ptr, *end = bytes.ptr + bytes.len;

    parser->fed |= bytes.len > 0;
    while (at && at < end) {
        if (parser->phase != PHASE_LINES)
            at = tail_take(parser, at, end, err);
        else if (parser->carry.len > 0)
            at = carry_take(parser, at, end, err);
        else
            at = lines_take(parser, at, end, err);
    }
    return bytes.len == 0 || at != NULL;
}

static bool end_openmetrics(struct parse_text *parser, struct err *err)
{
    if (parser->carry.len > 0 && !parse_joined(parser, err))
        return false;
    if (parser->phase == PHASE_BROKEN) {
        openmetrics_broken(-1, err);
        return false;
    }
    return parser->phase == PHASE_EOF || !parser->fed ||
           err_set(err, ERR_BAD_DATA, OPENMETRICS_NO_EOF);
}

bool parse_text_end(struct parse_text *parser, struct err *err)
{
    if (parser->format == TEXT_OPENMETRICS)
        return end_openmetrics(parser, err);
    if (parser->carry.len == 0)
        return true;
    buf_add_char(&parser->carry, '\n');
    return parse_carry(parser, err);
}
