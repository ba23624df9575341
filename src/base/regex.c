/* regex: RE2 with Prometheus' anchoring, Go's error texts and Go's expansion of templates.
 *
 * A pattern p is compiled as ^(?s:p)$ and matched against whole subjects. RE2 matches valid UTF-8
 * only, where Go takes each bad byte of a subject as one U+FFFD: a subject that did not match and
 * is not UTF-8 is tried again with its bad bytes replaced. */
#include "base/regex.h"

#include "base/mem.h"
#include "base/vec.h"
#include "shim.h"

#define PATTERN_BYTES_MAX    (1u << 20)
#define FRAGMENT_BYTES_MAX   2048
#define POSIX_SCAN_BYTES_MAX (64u << 20)
/* Literals may be this many times longer than their pattern: a prefix is repeated in each. */
#define LITERALS_GROWTH_MAX 16
#define LITERALS_BYTES_FREE 65536

struct regex {
    struct shim_regex *shim;
    struct str pattern; /* Owned. */
    int group_count;
};

static const char *const fault_texts[SHIM_REGEX_FAULT_COUNT] = {
    [SHIM_REGEX_OK] = "",
    [SHIM_REGEX_INTERNAL] = "regexp/syntax: internal error",
    [SHIM_REGEX_BAD_ESCAPE] = "invalid escape sequence",
    [SHIM_REGEX_BAD_CHAR_CLASS] = "invalid character class",
    [SHIM_REGEX_BAD_CHAR_RANGE] = "invalid character class range",
    [SHIM_REGEX_MISSING_BRACKET] = "missing closing ]",
    [SHIM_REGEX_MISSING_PAREN] = "missing closing )",
    [SHIM_REGEX_UNEXPECTED_PAREN] = "unexpected )",
    [SHIM_REGEX_TRAILING_BACKSLASH] = "trailing backslash at end of expression",
    [SHIM_REGEX_REPEAT_ARGUMENT] = "missing argument to repetition operator",
    [SHIM_REGEX_REPEAT_SIZE] = "invalid repeat count",
    [SHIM_REGEX_REPEAT_OP] = "invalid nested repetition operator",
    [SHIM_REGEX_BAD_PERL_OP] = "invalid or unsupported Perl syntax",
    [SHIM_REGEX_BAD_UTF8] = "invalid UTF-8",
    [SHIM_REGEX_BAD_NAMED_CAPTURE] = "invalid named capture",
    [SHIM_REGEX_TOO_LARGE] = "expression too large",
};

static struct shim_span span_of(struct str s)
{
    return (struct shim_span){s.ptr, s.len};
}

/* ---- Compiling ---- */

/* Length of the bracket expression that starts at p[at]. */
static size_t class_len(struct str p, size_t at)
{
    size_t i = at + 1;
    if (i < p.len && p.ptr[i] == '^')
        i++;
    if (i < p.len && p.ptr[i] == ']')
        i++;
    while (i < p.len && p.ptr[i] != ']') {
        size_t posix_end = 0;
        if (str_starts(str_after(p, i), STR("[:")))
            posix_end = str_find(str_after(p, i), STR(":]"));
        if (posix_end > 0 && posix_end < p.len - i)
            i += posix_end + 2;
        else
            i += p.ptr[i] == '\\' ? 2 : 1;
    }
    return (i < p.len ? i + 1 : p.len) - at;
}

/* For each "[:" in a bracket RE2 looks for a ":]" up to the pattern's end: where none is left, many
 * of them make parsing quadratic. */
static bool pattern_is_slow(struct str p)
{
    size_t unclosed = 0;
    for (size_t at = 0; at + 1 < p.len; at++) {
        if (p.ptr[at] == ':' && p.ptr[at + 1] == ']')
            unclosed = 0;
        else
            unclosed += p.ptr[at] == '[' && p.ptr[at + 1] == ':';
    }
    return unclosed > POSIX_SCAN_BYTES_MAX / (p.len + 1);
}

/* Go has (?<name>...) beside (?P<name>...), which is all that this RE2 knows; and it lacks RE2's
 * \C, which would match half a code point: then false. */
static bool pattern_add(struct buf *out, struct str p)
{
    for (size_t at = 0; at < p.len;) {
        struct str rest = str_after(p, at);
        size_t len = 1;
        if (str_starts(rest, STR("\\C")))
            return false;
        if (str_starts(rest, STR("(?<"))) {
            BUF_ADD(out, "(?P<");
            at += 3;
            continue;
        }
        if (str_starts(rest, STR("\\Q")))
            len = str_find(rest, STR("\\E"));
        else if (rest.ptr[0] == '\\')
            len = rest.len < 2 ? rest.len : 2;
        else if (rest.ptr[0] == '[')
            len = class_len(p, at);
        buf_add(out, rest.ptr, len);
        at += len;
    }
    return true;
}

/* Undoes what pattern_add did to a part of the pattern. */
static void fragment_add(struct buf *out, struct str wrapped, struct str fragment)
{
    while (fragment.len > 0 && str_find(wrapped, fragment) == wrapped.len) {
        size_t at = str_find(fragment, STR("(?P<"));
        buf_add_str(out, str_first(fragment, at));
        if (at < fragment.len)
            BUF_ADD(out, "(?<");
        fragment = str_after(fragment, at + 4);
    }
    buf_add_str(out, fragment);
}

static struct str bad_utf8_on(struct str s)
{
    for (size_t at = 0; at < s.len;) {
        size_t next = at;
        if (str_next_rune(s, &next) == 0xfffd && next == at + 1)
            return str_after(s, at);
        at = next;
    }
    return STR_EMPTY;
}

/* What stands around a pattern when it is compiled; errors show it. */
struct wrapper {
    struct str before, after;
};
static const struct wrapper ANCHORED = {{"^(?s:", 5}, {")$", 2}};
static const struct wrapper BARE = {{"", 0}, {"", 0}};

static bool fault_report(enum shim_regex_fault fault, const struct wrapper *wrapper,
                         struct str pattern, struct str fragment, struct err *err)
{
    struct buf wrapped, text;

    buf_init(&wrapped, pattern.len + 8);
    buf_add_str(&wrapped, wrapper->before);
    buf_add_str(&wrapped, pattern);
    buf_add_str(&wrapped, wrapper->after);
    if (fault == SHIM_REGEX_BAD_UTF8)
        fragment = bad_utf8_on(buf_str(&wrapped));
    else if (fault == SHIM_REGEX_MISSING_PAREN || fault == SHIM_REGEX_UNEXPECTED_PAREN ||
             fault == SHIM_REGEX_TOO_LARGE || fault == SHIM_REGEX_INTERNAL)
        fragment = buf_str(&wrapped);
    else if (fault == SHIM_REGEX_REPEAT_SIZE && str_ends(fragment, STR("?")))
        fragment.len--;
    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text, "error parsing regexp: %s: `", fault_texts[fault]);
    fragment_add(&text, buf_str(&wrapped), str_first(fragment, FRAGMENT_BYTES_MAX));
    buf_add_char(&text, '`');
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    buf_deinit(&wrapped);
    return false;
}

static struct shim_regex *compile(const struct wrapper *wrapper, struct str pattern,
                                  struct err *err)
{
    char fragment[FRAGMENT_BYTES_MAX];
    size_t fragment_len;
    enum shim_regex_fault fault;
    struct shim_regex *shim = NULL;
    struct buf wrapped;

    if (pattern.len > PATTERN_BYTES_MAX || pattern_is_slow(pattern)) {
        err_set(err, ERR_BAD_DATA, "error parsing regexp: expression too large");
        return NULL;
    }
    buf_init(&wrapped, 2 * PATTERN_BYTES_MAX);
    buf_add_str(&wrapped, wrapper->before);
    bool known = pattern_add(&wrapped, pattern);
    buf_add_str(&wrapped, wrapper->after);
    ENSURE(!wrapped.overflow);
    if (known)
        shim = shim_regex_new(span_of(buf_str(&wrapped)), &fault, fragment, sizeof(fragment),
                              &fragment_len);
    buf_deinit(&wrapped);
    if (!known)
        fault_report(SHIM_REGEX_BAD_ESCAPE, wrapper, pattern, STR("\\C"), err);
    else if (!shim)
        fault_report(fault, wrapper, pattern, (struct str){fragment, fragment_len}, err);
    return shim;
}

bool regex_new(struct regex **out, struct str pattern, struct err *err)
{
    struct shim_regex *shim = compile(&ANCHORED, pattern, err);
    *out = NULL;
    if (!shim)
        return false;
    struct regex *regex = MEM_NEW(struct regex);
    regex->shim = shim;
    regex->pattern = (struct str){str_dup(pattern), pattern.len};
    regex->group_count = shim_regex_group_count(shim);
    *out = regex;
    return true;
}

bool regex_check(struct str pattern, struct err *err)
{
    struct shim_regex *shim = compile(&BARE, pattern, err);
    shim_regex_free(shim);
    return shim != NULL;
}

void regex_free(struct regex *regex)
{
    if (!regex)
        return;
    shim_regex_free(regex->shim);
    mem_free((char *)(uintptr_t)regex->pattern.ptr);
    mem_free(regex);
}

struct str regex_pattern(const struct regex *regex)
{
    return regex->pattern;
}

/* ---- Matching ---- */

static void utf8_repair(struct buf *out, struct str s)
{
    for (size_t at = 0; at < s.len;) {
        size_t next = at;
        if (str_next_rune(s, &next) == 0xfffd)
            BUF_ADD(out, "\xef\xbf\xbd");
        else
            buf_add(out, s.ptr + at, next - at);
        at = next;
    }
}

bool regex_matches(const struct regex *regex, struct str subject)
{
    struct buf repaired;

    if (LIKELY(shim_regex_match(regex->shim, span_of(subject), NULL, 0)))
        return true;
    if (LIKELY(str_is_utf8(subject)))
        return false;
    buf_init(&repaired, 3 * subject.len);
    utf8_repair(&repaired, subject);
    bool matches = shim_regex_match(regex->shim, span_of(buf_str(&repaired)), NULL, 0);
    buf_deinit(&repaired);
    return matches;
}

/* ---- Expanding ---- */

struct reference {
    struct str name;
    int number; /* -1: by name. */
    size_t len; /* In the template, after the '$'. */
};

static size_t name_len(struct str s)
{
    size_t at = 0;
    while (at < s.len) {
        unsigned char c = (unsigned char)s.ptr[at];
        size_t next = at;
        str_next_rune(s, &next);
        bool word = c < 0x80 ? c == '_' || (c >= '0' && c <= '9') ||
                                   ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
                             : shim_rune_is_word(s.ptr + at, next - at);
        if (!word)
            break;
        at = next;
    }
    return at;
}

static int name_number(struct str name)
{
    int number = 0;
    if (name.ptr[0] == '0' && name.len > 1)
        return -1;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || number >= 100000000)
            return -1;
        number = number * 10 + (name.ptr[i] - '0');
    }
    return number;
}

/* s follows a '$'. False when it is no reference: the '$' is then text. */
static bool reference_scan(struct str s, struct reference *out)
{
    bool brace = s.len > 0 && s.ptr[0] == '{';
    s = str_after(s, brace ? 1 : 0);
    size_t len = name_len(s);
    if (len == 0 || (brace && (len == s.len || s.ptr[len] != '}')))
        return false;
    out->name = str_first(s, len);
    out->number = name_number(out->name);
    out->len = len + (brace ? 2 : 0);
    return true;
}

static void template_expand(const struct regex *regex, const struct shim_span *spans,
                            struct str template, struct buf *out)
{
    struct reference reference;

    while (template.len > 0) {
        size_t dollar = str_find_char(template, '$');
        buf_add_str(out, str_first(template, dollar));
        if (dollar == template.len)
            return;
        template = str_after(template, dollar + 1);
        if (!reference_scan(template, &reference)) {
            buf_add_char(out, '$');
            template = str_after(template, template.len > 0 && template.ptr[0] == '$' ? 1 : 0);
            continue;
        }
        template = str_after(template, reference.len);
        int group = reference.number >= 0
                        ? reference.number
                        : shim_regex_group_index(regex->shim, span_of(reference.name));
        if (group >= 0 && group <= regex->group_count && spans[group].ptr)
            buf_add(out, spans[group].ptr, spans[group].len);
    }
}

bool regex_expand(const struct regex *regex, struct str subject, struct str replacement,
                  struct buf *out)
{
    struct shim_span few[16];
    int span_count = regex->group_count + 1;
    struct buf repaired;

    buf_init(&repaired, 3 * subject.len);
    struct shim_span *spans = span_count <= (int)COUNT_OF(few)
                                  ? few
                                  : mem_alloc_array((size_t)span_count, sizeof(struct shim_span));
    bool matches = shim_regex_match(regex->shim, span_of(subject), spans, span_count);
    if (!matches && !str_is_utf8(subject)) {
        utf8_repair(&repaired, subject);
        matches = shim_regex_match(regex->shim, span_of(buf_str(&repaired)), spans, span_count);
    }
    if (matches)
        template_expand(regex, spans, replacement, out);
    if (spans != few)
        mem_free(spans);
    buf_deinit(&repaired);
    return matches;
}

/* ---- Literals ----
 *
 * Accepted: alternatives of plain text with escaped punctuation, each with at most one group of
 * such alternatives in it: a|b|pre(x|y)post. All else is left to the automaton. */

struct alternative {
    struct str prefix, suffix;
    VEC(struct str) middles; /* Of the group; one empty text when there is none. */
};

struct literal_scan {
    struct arena *arena;
    struct str rest;
    size_t bytes_left; /* That literals may still take. */
    VEC(struct str) literals;
};

static bool is_plain(char c)
{
    return c != '\0' && !strchr("|()^$.*+?[]{}\\", c);
}

static bool is_escaped_punctuation(struct str s)
{
    if (s.len < 2 || s.ptr[0] != '\\')
        return false;
    char c = s.ptr[1], lower = (char)(c | 0x20);
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z');
}

/* Takes plain text up to what is none. */
static struct str text_scan(struct literal_scan *scan)
{
    struct str s = scan->rest;
    size_t end = 0, len = 0;

    while (end < s.len && (is_plain(s.ptr[end]) || is_escaped_punctuation(str_after(s, end))))
        end += is_plain(s.ptr[end]) ? 1 : 2;
    char *text = arena_alloc(scan->arena, end + 1);
    for (size_t at = 0; at < end; at++) {
        at += s.ptr[at] == '\\';
        text[len++] = s.ptr[at];
    }
    scan->rest = str_after(s, end);
    return (struct str){text, len};
}

static bool next_is(struct literal_scan *scan, char c)
{
    if (scan->rest.len == 0 || scan->rest.ptr[0] != c)
        return false;
    scan->rest = str_after(scan->rest, 1);
    return true;
}

static bool group_scan(struct literal_scan *scan, struct alternative *alternative)
{
    if (str_starts(scan->rest, STR("?:")))
        scan->rest = str_after(scan->rest, 2);
    do {
        VEC_PUSH(&alternative->middles, text_scan(scan));
    } while (next_is(scan, '|'));
    return next_is(scan, ')');
}

static bool alternative_add(struct literal_scan *scan, const struct alternative *alternative)
{
    for (size_t i = 0; i < alternative->middles.count; i++) {
        struct str middle = alternative->middles.items[i];
        size_t len = alternative->prefix.len + middle.len + alternative->suffix.len;
        if (len > scan->bytes_left)
            return false;
        scan->bytes_left -= len;
        char *text = arena_alloc(scan->arena, len + 1);
        char *at = text;
        memcpy(at, alternative->prefix.ptr, alternative->prefix.len);
        at += alternative->prefix.len;
        memcpy(at, middle.ptr, middle.len);
        at += middle.len;
        memcpy(at, alternative->suffix.ptr, alternative->suffix.len);
        text[len] = '\0';
        VEC_PUSH(&scan->literals, ((struct str){text, len}));
    }
    return true;
}

static bool alternative_scan(struct literal_scan *scan)
{
    struct alternative alternative = {.prefix = text_scan(scan), .suffix = STR_EMPTY};
    bool good = true;

    if (next_is(scan, '(')) {
        good = group_scan(scan, &alternative);
        alternative.suffix = text_scan(scan);
    } else {
        VEC_PUSH(&alternative.middles, STR_EMPTY);
    }
    good = good && alternative_add(scan, &alternative);
    VEC_FREE(&alternative.middles);
    return good;
}

bool regex_literals(const struct regex *regex, struct arena *arena, struct str **literals,
                    size_t *count)
{
    struct literal_scan scan = {.arena = arena,
                                .rest = regex->pattern,
                                .bytes_left =
                                    LITERALS_BYTES_FREE + LITERALS_GROWTH_MAX * regex->pattern.len};
    bool good;

    do
        good = alternative_scan(&scan);
    while (good && next_is(&scan, '|'));
    good = good && scan.rest.len == 0;
    if (good) {
        *count = scan.literals.count;
        *literals = arena_alloc_array(arena, *count, sizeof(struct str));
        memcpy(*literals, scan.literals.items, *count * sizeof(struct str));
    }
    VEC_FREE(&scan.literals);
    return good;
}
