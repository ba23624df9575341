/* template: see template.h. */
#include "template.h"

#include "base/vec.h"

enum part_kind {
    PART_TEXT,
    PART_SERIES,
    PART_MATCHERS,
    PART_GROUP_BY,
    PART_GROUP_BY_AT,
    PART_VALUE,
    PART_RESOURCE,
    PART_GROUP,
};

struct template_part {
    enum part_kind kind;
    struct str text; /* Of a text; the name of a value. */
    uint64_t index;
};

/* A word or a quoted text at the front of an action. */
static struct str cut_word(struct str *rest, bool *quoted)
{
    struct str s = str_trim(*rest);
    size_t len = 0;

    *quoted = s.len > 0 && (s.ptr[0] == '"' || s.ptr[0] == '`');
    if (*quoted) {
        struct str inside = str_after(s, 1);
        size_t end = str_find_char(inside, s.ptr[0]);
        *rest = str_after(inside, end + 1);
        return str_first(inside, end);
    }
    while (len < s.len && s.ptr[len] != ' ' && s.ptr[len] != '\t' && s.ptr[len] != '\n')
        len++;
    *rest = str_after(s, len);
    return str_first(s, len);
}

static bool parse_index(struct str rest, struct template_part *part)
{
    bool quoted, key_quoted;
    struct str what = cut_word(&rest, &quoted), key = cut_word(&rest, &key_quoted);

    if (str_trim(rest).len > 0 || quoted)
        return false;
    if (str_eq(what, STR(".LabelValuesByName")) && key_quoted) {
        *part = (struct template_part){.kind = PART_VALUE, .text = key};
        return true;
    }
    *part = (struct template_part){.kind = PART_GROUP_BY_AT};
    return str_eq(what, STR(".GroupBySlice")) && !key_quoted && str_to_u64(key, &part->index);
}

static bool parse_action(struct str action, enum template_use use, struct template_part *part)
{
    static const struct {
        const char *text;
        enum template_use use;
        enum part_kind kind;
    } fields[] = {
        {".Series", TEMPLATE_QUERY, PART_SERIES},
        {".LabelMatchers", TEMPLATE_QUERY, PART_MATCHERS},
        {".GroupBy", TEMPLATE_QUERY, PART_GROUP_BY},
        {".Resource", TEMPLATE_LABEL, PART_RESOURCE},
        {".Group", TEMPLATE_LABEL, PART_GROUP},
    };
    struct str values = STR(".LabelValuesByName."), rest = action;
    bool quoted;

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (fields[i].use == use && str_eq(action, str_of(fields[i].text))) {
            *part = (struct template_part){.kind = fields[i].kind};
            return true;
        }
    }
    if (use != TEMPLATE_QUERY)
        return false;
    if (str_starts(action, values) && label_name_is_legacy(str_after(action, values.len))) {
        *part = (struct template_part){.kind = PART_VALUE, .text = str_after(action, values.len)};
        return true;
    }
    return str_eq(cut_word(&rest, &quoted), STR("index")) && !quoted && parse_index(rest, part);
}

static struct str trim_end(struct str s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static struct str trim_start(struct str s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]))
        s = str_after(s, 1);
    return s;
}

static struct str action_inside(struct str action, bool trims_before, bool trims_after)
{
    if (trims_before)
        action = str_after(action, 1);
    if (trims_after && action.len > 0)
        action.len--;
    return str_trim(action);
}

static bool refuse_action(struct str action, enum template_use use, struct err *err)
{
    return err_set(err, ERR_BAD_DATA, "<<" STR_FMT ">> is not supported in a template here; %s",
                   STR_ARG(action),
                   use == TEMPLATE_QUERY
                       ? "known are .Series, .LabelMatchers, .GroupBy, index .GroupBySlice 0 and "
                         "index .LabelValuesByName \"label\""
                       : "known are .Resource and .Group");
}

bool template_parse(struct template *out, struct str text, enum template_use use,
                    struct arena *arena, struct err *err)
{
    VEC(struct template_part) parts = {0};
    bool good = true, trims = false;

    while (good && text.len > 0) {
        size_t open = str_find(text, STR("<<"));
        struct str before = str_first(text, open), rest = str_after(text, open + 2), action;
        bool has_action = open < text.len;
        size_t close = str_find(rest, STR(">>"));
        if (has_action && close == rest.len) {
            good = err_set(err, ERR_BAD_DATA, "<< without >> in the template");
            break;
        }
        action = str_first(rest, close);
        text = has_action ? str_after(rest, close + 2) : STR_EMPTY;
        bool trims_before = has_action && str_starts(action, STR("- "));
        before = trims ? trim_start(before) : before;
        before = trims_before ? trim_end(before) : before;
        trims = has_action && str_ends(action, STR(" -"));
        struct template_part part = {.kind = PART_TEXT, .text = before};
        if (before.len > 0)
            VEC_PUSH(&parts, part);
        if (!has_action)
            break;
        good = parse_action(action_inside(action, trims_before, trims), use, &part) ||
               refuse_action(action, use, err);
        VEC_PUSH(&parts, part);
    }
    *out = (struct template){0};
    if (good && parts.count > 0) {
        out->count = parts.count;
        out->parts = arena_alloc_array(arena, parts.count, sizeof(*parts.items));
        for (size_t i = 0; i < parts.count; i++) {
            out->parts[i] = parts.items[i];
            out->parts[i].text = arena_str(arena, parts.items[i].text);
        }
    }
    VEC_FREE(&parts);
    return good;
}

bool template_has_values(const struct template *template)
{
    for (size_t i = 0; i < template->count; i++)
        if (template->parts[i].kind == PART_VALUE)
            return true;
    return false;
}

static void add_group_by(const struct template_values *values, struct buf *out)
{
    for (size_t i = 0; i < values->group_by_count; i++) {
        if (i > 0)
            BUF_ADD(out, ",");
        buf_add_str(out, values->group_by[i]);
    }
}

/* Names come from whoever asks, and a template may have them between quotes of its own: what could end those stays out. */
static bool value_is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._:/|", c);
        if (!plain || c == '\0')
            return false;
    }
    return true;
}

/* Of what is not there: nothing, as Go's index of a map of strings. */
static bool render_value(struct str name, const struct template_values *values, struct buf *out,
                         struct err *err)
{
    for (size_t i = 0; i < values->value_count; i++) {
        if (!str_eq(values->values[i].name, name))
            continue;
        if (!value_is_plain(values->values[i].value))
            return err_set(err, ERR_BAD_DATA,
                           "the value of label " STR_FMT " has characters that are no part of a "
                           "name; the rule's query cannot be made with it",
                           STR_ARG(name));
        buf_add_str(out, values->values[i].value);
    }
    return true;
}

static bool render_part(const struct template_part *part, const struct template_values *values,
                        struct buf *out, struct err *err)
{
    switch (part->kind) {
    case PART_TEXT:
        buf_add_str(out, part->text);
        break;
    case PART_SERIES:
        buf_add_str(out, values->series);
        break;
    case PART_MATCHERS:
        buf_add_str(out, values->matchers);
        break;
    case PART_GROUP_BY:
        add_group_by(values, out);
        break;
    case PART_GROUP_BY_AT:
        if (part->index >= values->group_by_count)
            return err_set(err, ERR_BAD_DATA, "index out of range: .GroupBySlice has %zu items",
                           values->group_by_count);
        buf_add_str(out, values->group_by[part->index]);
        break;
    case PART_VALUE:
        return render_value(part->text, values, out, err);
    case PART_RESOURCE:
        buf_add_str(out, values->resource);
        break;
    case PART_GROUP:
        buf_add_str(out, values->group);
        break;
    }
    return true;
}

bool template_render(const struct template *template, const struct template_values *values,
                     struct buf *out, struct err *err)
{
    for (size_t i = 0; i < template->count; i++)
        if (!render_part(&template->parts[i], values, out, err))
            return false;
    return true;
}
