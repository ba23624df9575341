/* relabel_rule: the life of a rule and the checks that Prometheus makes when it reads one, in its
 * order. */
#include <stdio.h>

#include "base/mem.h"
#include "model/relabel.h"
#include "quoted.h"
#include "relabel_plan.h"

#define DEFAULT_SEPARATOR   STR(";")
#define DEFAULT_REGEX       STR("(.*)")
#define DEFAULT_REPLACEMENT STR("$1")

static const char *const action_texts[] = {
#define X(action, text) [action] = text,
    RELABEL_ACTIONS(X)
#undef X
};

void relabel_rule_init(struct relabel_rule *rule)
{
    *rule = (struct relabel_rule){
        .action = RELABEL_REPLACE,
        .separator = DEFAULT_SEPARATOR,
        .regex_text = DEFAULT_REGEX,
        .replacement = DEFAULT_REPLACEMENT,
        .target_label = STR_EMPTY,
    };
}

void relabel_rule_deinit(struct relabel_rule *rule)
{
    if (!rule)
        return;
    regex_free(rule->regex);
    relabel_plan_free(rule->plan);
    rule->regex = NULL;
    rule->plan = NULL;
}

bool relabel_action_parse(struct str text, enum relabel_action *out)
{
    for (size_t i = 0; i < COUNT_OF(action_texts); i++) {
        if (str_eq_nocase(text, str_of(action_texts[i]))) {
            *out = (enum relabel_action)i;
            return true;
        }
    }
    return false;
}

const char *relabel_action_text(enum relabel_action action)
{
    ENSURE((size_t)action < COUNT_OF(action_texts));
    return action_texts[action];
}

static bool char_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t word_len(struct str s, size_t at)
{
    size_t len = 0;
    while (at + len < s.len && char_is_word(s.ptr[at + len]))
        len++;
    return len;
}

/* Legacy names with $var and ${var} in them: ^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$ */
static bool template_is_legacy(struct str s)
{
    if (s.len == 0 || (s.ptr[0] >= '0' && s.ptr[0] <= '9'))
        return false;
    for (size_t at = 0; at < s.len;) {
        if (s.ptr[at] != '$') {
            if (!char_is_word(s.ptr[at++]))
                return false;
            continue;
        }
        at++;
        bool braces = at < s.len && s.ptr[at] == '{';
        at += braces;
        size_t len = word_len(s, at);
        at += len;
        if (len == 0 || (braces && (at >= s.len || s.ptr[at] != '}')))
            return false;
        at += braces;
    }
    return true;
}

static bool template_is_valid(struct str s, bool legacy_names)
{
    return legacy_names ? template_is_legacy(s) : label_name_is_valid(s);
}

static bool rule_fail(const struct relabel_rule *rule, struct err *err, const char *before,
                      const char *after)
{
    return err_set(err, ERR_BAD_DATA, "%s%s%s", before, relabel_action_text(rule->action), after);
}

static bool rule_fail_quoted(const struct relabel_rule *rule, struct str quoted, const char *what,
                             struct err *err)
{
    char after[100];

    snprintf(after, sizeof(after), " is invalid '%s' for %s action", what,
             relabel_action_text(rule->action));
    return err_set_quoted(err, ERR_BAD_DATA, "", quoted, after);
}

/* Only source_labels and target_label may be there. */
static bool rule_check_equal(const struct relabel_rule *rule, struct err *err)
{
    if (rule->has_regex || rule->modulus != 0 || !str_eq(rule->regex_text, DEFAULT_REGEX) ||
        !str_eq(rule->separator, DEFAULT_SEPARATOR) ||
        !str_eq(rule->replacement, DEFAULT_REPLACEMENT))
        return rule_fail(rule, err, "",
                         " action requires only 'source_labels' and `target_label`, and no other "
                         "fields");
    return true;
}

/* Only the regex may be there. */
static bool rule_check_names(const struct relabel_rule *rule, struct err *err)
{
    if (rule->has_source_labels || rule->source_label_count > 0 || rule->target_label.len > 0 ||
        rule->modulus != 0 || !str_eq(rule->separator, DEFAULT_SEPARATOR) ||
        !str_eq(rule->replacement, DEFAULT_REPLACEMENT))
        return rule_fail(rule, err, "", " action requires only 'regex', and no other fields");
    return true;
}

static bool rule_check_fields(const struct relabel_rule *rule, bool legacy_names, struct err *err)
{
    enum relabel_action action = rule->action;
    bool is_equal = action == RELABEL_KEEPEQUAL || action == RELABEL_DROPEQUAL;
    bool is_case = action == RELABEL_LOWERCASE || action == RELABEL_UPPERCASE;
    bool has_target = is_equal || is_case || action == RELABEL_REPLACE || action == RELABEL_HASHMOD;

    if (action == RELABEL_HASHMOD && rule->modulus == 0)
        return err_set(err, ERR_BAD_DATA,
                       "relabel configuration for hashmod requires non-zero modulus");
    if (has_target && rule->target_label.len == 0)
        return rule_fail(rule, err, "relabel configuration for ",
                         " action requires 'target_label' value");

    bool is_template = action == RELABEL_REPLACE &&
                       str_find_char(rule->target_label, '$') < rule->target_label.len;
    bool target_ok = is_template ? template_is_valid(rule->target_label, legacy_names)
                                 : relabel_name_is_valid(rule->target_label, legacy_names);
    if (has_target && !target_ok)
        return rule_fail_quoted(rule, rule->target_label, "target_label", err);
    if ((is_equal || is_case) && !str_eq(rule->replacement, DEFAULT_REPLACEMENT))
        return rule_fail(rule, err, "'replacement' can not be set for ", " action");
    if (action == RELABEL_LABELMAP && !template_is_valid(rule->replacement, legacy_names))
        return rule_fail_quoted(rule, rule->replacement, "replacement", err);
    if (is_equal)
        return rule_check_equal(rule, err);
    if (action == RELABEL_LABELDROP || action == RELABEL_LABELKEEP)
        return rule_check_names(rule, err);
    return true;
}

bool relabel_rule_check(struct relabel_rule *rule, bool legacy_names, struct err *err)
{
    relabel_rule_deinit(rule); /* A rule may be checked again. */
    if (!regex_new(&rule->regex, rule->regex_text, err)) {
        rule->regex = NULL;
        return false;
    }
    if (!rule_check_fields(rule, legacy_names, err))
        return false;
    rule->plan = relabel_plan_new(rule, legacy_names);
    return true;
}
