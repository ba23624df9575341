/* regex_shapes: what a text must look like to match, read off the pattern without the automaton.
 *
 * A pattern is cut at its top-level '|'. An alternative is a row of plain texts with gaps between them: `.*` and `.+` are
 * gaps that are understood; a class, a group, a lone '.' or a repeated character is a gap about which nothing is known
 * (the shape is then not exact). Flags, \Q and U+FFFD (which matches any bad byte of a subject) make us give up. */
#include "base/regex.h"
#include "base/vec.h"

struct shape_scan {
    struct arena *arena;
    struct str pattern;
    size_t at;
    bool failed; /* Something that is not understood at all. */
};

struct shape_build {
    VEC(struct regex_piece) pieces;
    char *text; /* The text that grows; room for the whole pattern. */
    size_t text_len;
    bool gap;      /* A gap stands in front of that text, */
    bool gap_char; /* of at least one character. */
    bool exact;
};

static char peek(const struct shape_scan *scan, size_t ahead)
{
    size_t at = scan->at + ahead;
    return at < scan->pattern.len ? scan->pattern.ptr[at] : '\0';
}

/* ---- Steps over what is not understood ---- */

static void class_skip(struct shape_scan *scan)
{
    scan->at++;
    if (peek(scan, 0) == '^')
        scan->at++;
    if (peek(scan, 0) == ']')
        scan->at++;
    while (scan->at < scan->pattern.len && peek(scan, 0) != ']') {
        if (peek(scan, 0) == '\\') {
            scan->failed |= peek(scan, 1) == 'Q';
            scan->at += 2;
        } else if (peek(scan, 0) == '[' && peek(scan, 1) == ':') {
            struct str rest = str_after(scan->pattern, scan->at);
            size_t len = str_find(rest, STR(":]"));
            scan->at += len < rest.len ? len + 2 : 1;
        } else {
            scan->at++;
        }
    }
    scan->failed |= scan->at >= scan->pattern.len;
    scan->at++;
}

/* \d \pN \p{Greek} \x{10ff} \x41 \101: the backslash, the letter and what belongs to it. */
static void escape_skip(struct shape_scan *scan)
{
    char c = peek(scan, 1);
    scan->failed |= c == 'Q' || c == '\0';
    scan->at += 2;
    if (c == 'p' || c == 'P' || c == 'x') {
        if (peek(scan, 0) == '{') {
            struct str rest = str_after(scan->pattern, scan->at);
            scan->at += str_find_char(rest, '}') + 1;
        } else {
            scan->at += c == 'x' ? 2 : 1;
        }
    }
    while (c >= '0' && c <= '9' && peek(scan, 0) >= '0' && peek(scan, 0) <= '9')
        scan->at++;
}

static void group_skip(struct shape_scan *scan)
{
    size_t depth = 0;
    do {
        switch (peek(scan, 0)) {
        case '\\':
            scan->failed |= peek(scan, 1) == 'Q';
            scan->at += 2;
            continue;
        case '[':
            class_skip(scan);
            continue;
        case '(':
            depth++;
            break;
        case ')':
            depth--;
            break;
        }
        scan->at++;
    } while (depth > 0 && scan->at < scan->pattern.len);
    scan->failed |= depth > 0;
}

/* Groups that change no flags. */
static bool group_is_plain(const struct shape_scan *scan)
{
    struct str rest = str_after(scan->pattern, scan->at);
    return !str_starts(rest, STR("(?")) || str_starts(rest, STR("(?:")) ||
           str_starts(rest, STR("(?P<")) || str_starts(rest, STR("(?<"));
}

static bool repeat_is_next(const struct shape_scan *scan)
{
    char c = peek(scan, 0);
    return c == '*' || c == '+' || c == '?' || c == '{';
}

static void repeats_skip(struct shape_scan *scan)
{
    while (repeat_is_next(scan)) {
        if (peek(scan, 0) == '{') {
            struct str rest = str_after(scan->pattern, scan->at);
            size_t len = str_find_char(rest, '}');
            scan->at += len < rest.len ? len : 0;
        }
        scan->at++;
    }
}

/* ---- An alternative ---- */

static void text_end(struct shape_scan *scan, struct shape_build *build)
{
    struct regex_piece piece = {.text =
                                    arena_str(scan->arena, str_from(build->text, build->text_len)),
                                .gap = build->gap_char};
    bool first = build->pieces.count == 0;
    if (build->text_len == 0 && !first)
        return;
    VEC_PUSH(&build->pieces, piece);
    build->text_len = 0;
    build->gap_char = false;
}

static void gap_add(struct shape_scan *scan, struct shape_build *build, bool known, bool one)
{
    text_end(scan, build);
    build->exact &= known && !(one && build->gap_char);
    build->gap = true;
    build->gap_char |= known && one;
}

/* One character of plain text. */
static void text_add(struct shape_scan *scan, struct shape_build *build)
{
    size_t from, before = build->text_len;
    if (peek(scan, 0) == '\\')
        scan->at++;
    from = scan->at++;
    while (((unsigned char)peek(scan, 0) & 0xc0) == 0x80 && scan->at < scan->pattern.len)
        scan->at++;
    memcpy(build->text + before, scan->pattern.ptr + from, scan->at - from);
    build->text_len += scan->at - from;
    if (!repeat_is_next(scan))
        return;
    if (peek(scan, 0) != '+')
        build->text_len = before; /* It may be missing. */
    gap_add(scan, build, false, false);
    repeats_skip(scan);
}

static void dot_add(struct shape_scan *scan, struct shape_build *build)
{
    char repeat = peek(scan, 1);
    scan->at++;
    if (repeat == '*' || repeat == '+') {
        gap_add(scan, build, true, repeat == '+');
        scan->at++;
        if (peek(scan, 0) == '?') /* Lazy: the same texts match. */
            scan->at++;
        build->exact &= !repeat_is_next(scan);
    } else {
        gap_add(scan, build, false, false);
    }
    repeats_skip(scan);
}

static bool is_punctuation(char c)
{
    char lower = (char)(c | 0x20);
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z');
}

static void part_scan(struct shape_scan *scan, struct shape_build *build)
{
    switch (peek(scan, 0)) {
    case '.':
        dot_add(scan, build);
        return;
    case '\\':
        if (is_punctuation(peek(scan, 1))) {
            text_add(scan, build);
            return;
        }
        gap_add(scan, build, false, false);
        escape_skip(scan);
        break;
    case '[':
        gap_add(scan, build, false, false);
        class_skip(scan);
        break;
    case '(':
        gap_add(scan, build, false, false);
        scan->failed |= !group_is_plain(scan);
        group_skip(scan);
        break;
    case '\0':
    case '^':
    case '$':
    case ')':
    case ']':
    case '{':
    case '}':
    case '*':
    case '+':
    case '?':
        scan->failed = true;
        return;
    default:
        text_add(scan, build);
        return;
    }
    repeats_skip(scan);
}

static void shape_finish(struct shape_scan *scan, struct shape_build *build,
                         struct regex_shape *out)
{
    bool ends_in_text = build->text_len > 0;
    text_end(scan, build);
    struct regex_piece *pieces = build->pieces.items;
    size_t count = build->pieces.count;
    *out = (struct regex_shape){.prefix = pieces[0].text,
                                .suffix = STR_EMPTY,
                                .suffix_gap = build->gap_char,
                                .open = build->gap,
                                .exact = build->exact};
    size_t inner_end = count;
    if (build->gap && ends_in_text && count > 1) {
        inner_end--;
        out->suffix = pieces[inner_end].text;
        out->suffix_gap = pieces[inner_end].gap;
    }
    out->inner_count = inner_end - 1;
    out->inner = arena_alloc_array(scan->arena, out->inner_count + 1, sizeof(*out->inner));
    memcpy(out->inner, pieces + 1, out->inner_count * sizeof(*out->inner));
}

static struct regex_shape shape_scan_one(struct shape_scan *scan)
{
    struct shape_build build = {.exact = true};
    struct regex_shape shape = {0};
    build.text = arena_alloc(scan->arena, scan->pattern.len + 1);
    while (!scan->failed && scan->at < scan->pattern.len && peek(scan, 0) != '|')
        part_scan(scan, &build);
    if (!scan->failed)
        shape_finish(scan, &build, &shape);
    VEC_FREE(&build.pieces);
    return shape;
}

/* (pattern) and (?:pattern) are the pattern; ^pattern$ is, too, as we anchor it anyway. */
static struct str pattern_strip(struct str p)
{
    for (;;) {
        struct shape_scan scan = {.pattern = p};
        struct str inner = str_after(p, str_starts(p, STR("(?:")) ? 3 : 1);
        if (!str_starts(p, STR("(")) || str_starts(inner, STR("?")))
            break;
        group_skip(&scan);
        if (scan.failed || scan.at != p.len)
            break;
        inner.len--;
        p = inner;
    }
    if (str_find_char(p, '|') == p.len) {
        if (str_starts(p, STR("^")))
            p = str_after(p, 1);
        bool escaped = p.len > 1 && p.ptr[p.len - 2] == '\\';
        if (str_ends(p, STR("$")) && !escaped)
            p.len--;
    }
    return p;
}

static bool tells_nothing(const struct regex_shape *shape)
{
    return shape->open && !shape->exact && shape->prefix.len == 0 && shape->suffix.len == 0 &&
           shape->inner_count == 0;
}

#define SHAPES_MAX 64u

bool regex_shapes(const struct regex *regex, struct arena *arena, struct regex_shape **shapes,
                  size_t *count)
{
    struct shape_scan scan = {.arena = arena, .pattern = pattern_strip(regex_pattern(regex))};
    VEC(struct regex_shape) found = {0};
    bool more = str_find(scan.pattern, STR("\xef\xbf\xbd")) == scan.pattern.len;
    bool good = more;

    while (good && more) {
        struct regex_shape shape = shape_scan_one(&scan);
        good = !scan.failed && !tells_nothing(&shape) && found.count < SHAPES_MAX;
        VEC_PUSH(&found, shape);
        more = scan.at < scan.pattern.len;
        scan.at++; /* The '|'. */
    }
    if (good) {
        *count = found.count;
        *shapes = arena_alloc_array(arena, found.count, sizeof(**shapes));
        memcpy(*shapes, found.items, found.count * sizeof(**shapes));
    }
    VEC_FREE(&found);
    return good;
}

bool regex_shape_fits(const struct regex_shape *shape, struct str subject)
{
    if (!shape->open)
        return str_eq(subject, shape->prefix);
    if (!str_starts(subject, shape->prefix) || !str_ends(subject, shape->suffix) ||
        subject.len < shape->prefix.len + shape->suffix.len)
        return false;
    struct str rest = {subject.ptr + shape->prefix.len,
                       subject.len - shape->prefix.len - shape->suffix.len};
    for (size_t i = 0; i < shape->inner_count; i++) {
        const struct regex_piece *piece = &shape->inner[i];
        if (piece->gap && rest.len == 0)
            return false;
        rest = str_after(rest, piece->gap ? 1 : 0);
        size_t at = str_find(rest, piece->text);
        if (at == rest.len && piece->text.len > 0)
            return false;
        rest = str_after(rest, at + piece->text.len);
    }
    return !shape->suffix_gap || rest.len > 0;
}
