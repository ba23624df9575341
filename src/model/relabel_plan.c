/* relabel_plan: finding the short ways to apply a rule, and the match that uses them. */
#include "relabel_plan.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "base/regex.h"

#define LINEAR_COUNT_MAX 8

static int literal_cmp(const void *left, const void *right)
{
    return str_cmp(*(const struct str *)left, *(const struct str *)right);
}

/* Where the first character stands that means something in a regex. */
static size_t pattern_literal_len(struct str pattern)
{
    size_t len = 0;
    while (len < pattern.len && !memchr("\\.+*?()|[]{}^$", pattern.ptr[len], 14))
        len++;
    return len;
}

/* True for a literal prefix before one "anything" at the end. */
static bool plan_find_prefix(struct relabel_plan *plan, struct str pattern)
{
    static const struct {
        struct str text;
        bool needed, captured;
    } tails[] = {
        {{".*", 2}, false, false},
        {{".+", 2}, true, false},
        {{"(.*)", 4}, false, true},
        {{"(.+)", 4}, true, true},
    };
    size_t prefix_len = pattern_literal_len(pattern);

    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        if (!str_eq(str_after(pattern, prefix_len), tails[i].text))
            continue;
        plan->prefix = str_first(pattern, prefix_len);
        plan->rest_needed = tails[i].needed;
        plan->rest_captured = tails[i].captured;
        return true;
    }
    return false;
}

static enum relabel_template plan_template(const struct relabel_plan *plan, struct str text)
{
    if (str_find_char(text, '$') == text.len)
        return RELABEL_TEMPLATE_PLAIN;
    if (str_eq(text, STR("$0")) || str_eq(text, STR("${0}")))
        return RELABEL_TEMPLATE_WHOLE;
    if (plan->match == RELABEL_MATCH_PREFIX && plan->rest_captured &&
        (str_eq(text, STR("$1")) || str_eq(text, STR("${1}"))))
        return RELABEL_TEMPLATE_REST;
    return RELABEL_TEMPLATE_REGEX;
}

struct relabel_plan *relabel_plan_new(const struct relabel_rule *rule, bool legacy_names)
{
    struct relabel_plan *plan = MEM_NEW(struct relabel_plan);

    arena_init(&plan->arena, 0);
    plan->legacy_names = legacy_names;
    if (plan_find_prefix(plan, rule->regex_text)) {
        plan->match = RELABEL_MATCH_PREFIX;
    } else if (regex_literals(rule->regex, &plan->arena, &plan->literals, &plan->literal_count)) {
        plan->match = RELABEL_MATCH_LITERALS;
        if (plan->literal_count > 1)
            qsort(plan->literals, plan->literal_count, sizeof(*plan->literals), literal_cmp);
    }
    plan->target = plan_template(plan, rule->target_label);
    plan->replacement = plan_template(plan, rule->replacement);
    return plan;
}

void relabel_plan_free(struct relabel_plan *plan)
{
    if (!plan)
        return;
    arena_deinit(&plan->arena);
    mem_free(plan);
}

static bool plan_has_literal(const struct relabel_plan *plan, struct str value)
{
    if (plan->literal_count > LINEAR_COUNT_MAX)
        return bsearch(&value, plan->literals, plan->literal_count, sizeof(*plan->literals),
                       literal_cmp) != NULL;
    for (size_t i = 0; i < plan->literal_count; i++) {
        if (str_eq(plan->literals[i], value))
            return true;
    }
    return false;
}

bool relabel_plan_matches(const struct relabel_rule *rule, struct str value)
{
    const struct relabel_plan *plan = rule->plan;

    switch (plan->match) {
    case RELABEL_MATCH_REGEX:
        return regex_matches(rule->regex, value);
    case RELABEL_MATCH_PREFIX:
        return value.len >= plan->prefix.len + (plan->rest_needed ? 1 : 0) &&
               str_starts(value, plan->prefix);
    case RELABEL_MATCH_LITERALS:
        return plan_has_literal(plan, value);
    }
    UNREACHABLE();
}

bool relabel_name_is_valid(struct str name, bool legacy_names)
{
    return legacy_names ? label_name_is_legacy(name) : label_name_is_valid(name);
}
