/* rule_name: `name: {matches, as}` of a rule.
 *
 * Go looks for the pattern anywhere in the name and expands `as` with what it found. Our regexes match
 * whole texts, so the pattern stands in `.*?( ... ).*`, lazy in front: the leftmost find is kept, and
 * the groups move by one, in `as` too.
 *
 * A request names the metric, and the store knows names of series. Most rules can be turned around
 * (^(.*)_total$ as "$1"): then one name is looked up instead of all. */
#include "rules.h"

#include "base/mem.h"

#define PATTERN_BYTES_MAX ((size_t)1 << 20)

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == ':';
}

bool regex_new_unanchored(struct regex **out, struct str pattern, struct arena *arena,
                          struct err *err)
{
    if (!regex_check(pattern, err))
        return false;
    return regex_new(out, arena_strf(arena, ".*?(" STR_FMT ").*", STR_ARG(pattern)), err);
}

/* Capturing groups of a pattern that compiles. */
static size_t group_count(struct str pattern)
{
    size_t count = 0;
    bool in_class = false;

    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i], next = i + 1 < pattern.len ? pattern.ptr[i + 1] : '\0';
        if (c == '\\') {
            i++;
        } else if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            i += next == '^';
            if (i + 1 < pattern.len && pattern.ptr[i + 1] == ']')
                i++; /* A bracket that stands first is itself. */
        } else if (c == '(') {
            bool named = str_starts(str_after(pattern, i), STR("(?P<")) ||
                         str_starts(str_after(pattern, i), STR("(?<"));
            count += next != '?' || named;
        }
    }
    return count;
}

/* $1 -> ${2}, ${0} -> ${1}; names stay. */
static struct str shift_groups(struct str as, struct arena *arena)
{
    struct buf out;

    buf_init(&out, PATTERN_BYTES_MAX);
    for (size_t i = 0; i < as.len;) {
        struct str rest = str_after(as, i);
        if (rest.ptr[0] != '$' || rest.len == 1 || rest.ptr[1] == '$') {
            size_t len = rest.ptr[0] == '$' && rest.len > 1 ? 2 : 1;
            buf_add(&out, rest.ptr, len);
            i += len;
            continue;
        }
        bool braced = rest.ptr[1] == '{';
        size_t start = braced ? 2 : 1, end = start;
        uint64_t number;
        while (end < rest.len && is_plain(rest.ptr[end]) && rest.ptr[end] != ':')
            end++;
        struct str name = {rest.ptr + start, end - start};
        bool closed = !braced || (end < rest.len && rest.ptr[end] == '}');
        if (closed && str_to_u64(name, &number) && number < 1000) {
            buf_addf(&out, "${%u}", (unsigned)number + 1);
            end += braced;
        } else {
            end = end > start ? end : start;
            buf_add(&out, rest.ptr, end);
        }
        i += end;
    }
    struct str shifted = arena_str(arena, buf_str(&out));
    buf_deinit(&out);
    return shifted;
}

static struct str cut_plain(struct str *rest)
{
    size_t len = 0;

    while (len < rest->len && is_plain(rest->ptr[len]))
        len++;
    struct str plain = str_first(*rest, len);
    *rest = str_after(*rest, len);
    return plain;
}

static bool cut_text(struct str *rest, const char *text)
{
    if (!str_starts(*rest, str_of(text)))
        return false;
    *rest = str_after(*rest, strlen(text));
    return true;
}

/* ^plain(.*)plain$ and the like. *whole: `as` may use $0 only. */
static bool reverse_pattern(struct rule_name *name, bool *grouped)
{
    struct str rest = name->matches;
    bool anchored = cut_text(&rest, "^");

    name->series_prefix = cut_plain(&rest);
    *grouped = cut_text(&rest, "(.*)") || cut_text(&rest, "(.+)");
    bool any = *grouped || cut_text(&rest, ".*");
    name->constant = !any;
    if (!anchored && !(any && name->series_prefix.len == 0))
        return false;
    name->series_suffix = any ? cut_plain(&rest) : STR_EMPTY;
    bool open_end = any && name->series_suffix.len == 0;
    return cut_text(&rest, "$") ? rest.len == 0 : rest.len == 0 && open_end;
}

static bool reverse_as(struct rule_name *name, bool grouped)
{
    struct str rest = name->as;

    name->metric_prefix = cut_plain(&rest);
    bool whole = cut_text(&rest, "${0}") || (str_eq(rest, STR("$0")) && cut_text(&rest, "$0"));
    bool group = !whole && grouped &&
                 (cut_text(&rest, "${1}") || (str_eq(rest, STR("$1")) && cut_text(&rest, "$1")));
    name->metric_suffix = cut_plain(&rest);
    if (rest.len > 0)
        return false;
    if (whole) { /* X is the whole name; what the pattern asks for is checked afterwards. */
        name->series_prefix = name->series_suffix = STR_EMPTY;
        name->constant = false;
        return true;
    }
    return group || name->constant;
}

bool rule_name_init(struct rule_name *name, struct str matches, struct str as, struct arena *arena,
                    struct err *err)
{
    size_t groups = group_count(matches);
    bool grouped;

    *name = (struct rule_name){.matches = matches, .as = as};
    if (matches.len > 0 && !regex_new_unanchored(&name->regex, matches, arena, err))
        return false;
    if (as.len == 0 && groups > 1)
        return err_set(err, ERR_BAD_DATA,
                       "must specify an 'as' value for name matcher \"" STR_FMT "\"",
                       STR_ARG(matches));
    if (as.len == 0)
        name->as = groups == 1 ? STR("$1") : STR("$0");
    if (matches.len == 0)
        name->matches = STR("^.*$");
    if (!name->regex && !str_eq(name->as, STR("$0")) &&
        !regex_new_unanchored(&name->regex, STR(".*"), arena, err))
        return false;
    name->expand = shift_groups(name->as, arena);
    name->reversible = reverse_pattern(name, &grouped) && reverse_as(name, grouped);
    return true;
}

void rule_name_deinit(struct rule_name *name)
{
    regex_free(name->regex);
    name->regex = NULL;
}

bool rule_name_metric(const struct rule_name *name, struct str series, struct buf *out)
{
    if (name->regex)
        return regex_expand(name->regex, series, name->expand, out);
    buf_add_str(out, series);
    return true;
}

bool rule_name_series(const struct rule_name *name, struct str metric, struct arena *arena,
                      struct str *out)
{
    size_t around = name->metric_prefix.len + name->metric_suffix.len;

    if (!name->reversible)
        return false;
    *out = STR_EMPTY; /* The empty name is no series': nothing gives this metric. */
    if (metric.len < around || !str_starts(metric, name->metric_prefix) ||
        !str_ends(metric, name->metric_suffix) || (name->constant && metric.len != around))
        return true;
    struct str middle = {metric.ptr + name->metric_prefix.len, metric.len - around};
    *out = arena_strf(arena, STR_FMT STR_FMT STR_FMT, STR_ARG(name->series_prefix), STR_ARG(middle),
                      STR_ARG(name->series_suffix));
    return true;
}
