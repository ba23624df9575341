/* matcher: one condition of a selector on one label. */
#include "model/matcher.h"

#include "base/ensure.h"
#include "base/mem.h"

static struct str str_copy(struct str s)
{
    return (struct str){str_dup(s), s.len};
}

bool matcher_init(struct matcher *matcher, enum matcher_type type, struct str name,
                  struct str value, struct err *err)
{
    *matcher = (struct matcher){.type = type};
    if ((type == MATCH_REGEX || type == MATCH_NOT_REGEX) &&
        (!regex_check(value, err) || !regex_new(&matcher->regex, value, err))) {
        matcher->regex = NULL;
        return false;
    }
    matcher->name = str_copy(name);
    matcher->value = str_copy(value);
    return true;
}

void matcher_deinit(struct matcher *matcher)
{
    if (!matcher)
        return;
    regex_free(matcher->regex);
    mem_free((char *)matcher->name.ptr);
    mem_free((char *)matcher->value.ptr);
    *matcher = (struct matcher){0};
}

static bool matcher_regex_matches(const struct matcher *matcher, struct str value)
{
    /* The two patterns that dashboards send most; '.' matches any byte here, as it does in Go. */
    if (matcher->value.len == 2 && matcher->value.ptr[0] == '.') {
        if (matcher->value.ptr[1] == '*')
            return true;
        if (matcher->value.ptr[1] == '+')
            return value.len > 0;
    }
    return regex_matches(matcher->regex, value);
}

bool matcher_matches(const struct matcher *matcher, struct str value)
{
    switch (matcher->type) {
    case MATCH_EQUAL:
        return str_eq(matcher->value, value);
    case MATCH_NOT_EQUAL:
        return !str_eq(matcher->value, value);
    case MATCH_REGEX:
        return matcher_regex_matches(matcher, value);
    case MATCH_NOT_REGEX:
        return !matcher_regex_matches(matcher, value);
    }
    UNREACHABLE();
}

bool matchers_match(const struct matcher *matchers, size_t count, const struct labels *labels)
{
    for (size_t i = 0; i < count; i++) {
        if (!matcher_matches(&matchers[i], labels_get(labels, matchers[i].name)))
            return false;
    }
    return true;
}

bool matcher_matches_empty(const struct matcher *matcher)
{
    return matcher_matches(matcher, STR_EMPTY);
}

const char *matcher_type_text(enum matcher_type type)
{
    static const char *const texts[] = {[MATCH_EQUAL] = "=",
                                        [MATCH_NOT_EQUAL] = "!=",
                                        [MATCH_REGEX] = "=~",
                                        [MATCH_NOT_REGEX] = "!~"};

    ENSURE((size_t)type < COUNT_OF(texts));
    return texts[type];
}

void matcher_print(struct buf *buf, const struct matcher *matcher)
{
    if (label_name_is_legacy(matcher->name))
        buf_add_str(buf, matcher->name);
    else
        buf_add_go_quoted(buf, matcher->name);
    buf_add_str(buf, str_of(matcher_type_text(matcher->type)));
    buf_add_go_quoted(buf, matcher->value);
}

void matchers_deinit(struct matchers *matchers)
{
    if (!matchers)
        return;
    for (size_t i = 0; i < matchers->count; i++)
        matcher_deinit(&matchers->items[i]);
    mem_free(matchers->items);
    *matchers = (struct matchers){0};
}
