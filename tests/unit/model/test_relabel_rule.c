/* The checks of a rule, with Prometheus' texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/relabel.h"

struct rule_case {
    struct relabel_rule rule; /* Empty texts with has_... unset keep the default. */
    const char *utf8_error;   /* NULL: accepted. */
    const char *legacy_error;
};

static void assert_checks(const struct relabel_rule *fields, bool legacy_names, const char *want)
{
    struct relabel_rule rule;
    struct err err;

    relabel_rule_init(&rule);
    rule.action = fields->action;
    rule.modulus = fields->modulus;
    rule.source_labels = fields->source_labels;
    rule.source_label_count = fields->source_label_count;
    rule.has_source_labels = fields->has_source_labels;
    rule.has_regex = fields->has_regex;
    if (fields->has_regex)
        rule.regex_text = fields->regex_text;
    if (fields->has_separator)
        rule.separator = fields->separator;
    if (fields->has_replacement)
        rule.replacement = fields->replacement;
    if (fields->has_target_label)
        rule.target_label = fields->target_label;
    bool ok = relabel_rule_check(&rule, legacy_names, &err);
    if (want) {
        assert_false(ok);
        assert_string_equal(err.text, want);
        assert_int_equal(err.code, ERR_BAD_DATA);
    } else {
        assert_true(ok);
        assert_true(relabel_rule_check(&rule, legacy_names, &err)); /* And again. */
    }
    relabel_rule_deinit(&rule);
    relabel_rule_deinit(&rule);
}

#define TARGET(text)      .has_target_label = true, .target_label = {"" text, sizeof(text) - 1}
#define REGEX(text)       .has_regex = true, .regex_text = {"" text, sizeof(text) - 1}
#define SEPARATOR(text)   .has_separator = true, .separator = {"" text, sizeof(text) - 1}
#define REPLACEMENT(text) .has_replacement = true, .replacement = {"" text, sizeof(text) - 1}

static void test_relabel_rule_check__wants_what_the_action_needs(void **state)
{
    (void)state;
    const char *no_target =
        "relabel configuration for replace action requires 'target_label' value";
    const char *no_modulus = "relabel configuration for hashmod requires non-zero modulus";
    const char *no_keepequal =
        "relabel configuration for keepequal action requires 'target_label' value";
    const struct rule_case rows[] = {
        {{.action = RELABEL_KEEP}, NULL, NULL},
        {{.action = RELABEL_REPLACE}, no_target, no_target},
        {{.action = RELABEL_HASHMOD, TARGET("a")}, no_modulus, no_modulus},
        {{.action = RELABEL_HASHMOD}, no_modulus, no_modulus},
        {{.action = RELABEL_HASHMOD, .modulus = 1, TARGET("a")}, NULL, NULL},
        {{.action = RELABEL_KEEPEQUAL}, no_keepequal, no_keepequal},
        {{.action = RELABEL_KEEP, REGEX("(")},
         "error parsing regexp: missing closing ): `^(?s:()$`",
         "error parsing regexp: missing closing ): `^(?s:()$`"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_checks(&rows[i].rule, false, rows[i].utf8_error);
        assert_checks(&rows[i].rule, true, rows[i].legacy_error);
    }
}

static void test_relabel_rule_check__looks_at_target_names(void **state)
{
    (void)state;
    const struct rule_case rows[] = {
        {{.action = RELABEL_REPLACE, TARGET("a-b")},
         NULL,
         "\"a-b\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("\xff")},
         "\"\\xff\" is invalid 'target_label' for replace action",
         "\"\\xff\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("${1}")}, NULL, NULL},
        {{.action = RELABEL_REPLACE, TARGET("a_${1}_$b9")}, NULL, NULL},
        {{.action = RELABEL_REPLACE, TARGET("$1$2${a}")}, NULL, NULL},
        {{.action = RELABEL_REPLACE, TARGET("a${")},
         NULL,
         "\"a${\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("${1")},
         NULL,
         "\"${1\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("${}")},
         NULL,
         "\"${}\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("9$1")},
         NULL,
         "\"9$1\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("a-$1")},
         NULL,
         "\"a-$1\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_REPLACE, TARGET("a$")},
         NULL,
         "\"a$\" is invalid 'target_label' for replace action"},
        {{.action = RELABEL_LOWERCASE, TARGET("${1}")},
         NULL,
         "\"${1}\" is invalid 'target_label' for lowercase action"},
        {{.action = RELABEL_HASHMOD, .modulus = 8, TARGET("a.b")},
         NULL,
         "\"a.b\" is invalid 'target_label' for hashmod action"},
        {{.action = RELABEL_LABELMAP, REPLACEMENT("a-$1")},
         NULL,
         "\"a-$1\" is invalid 'replacement' for labelmap action"},
        {{.action = RELABEL_LABELMAP, REPLACEMENT("")},
         "\"\" is invalid 'replacement' for labelmap action",
         "\"\" is invalid 'replacement' for labelmap action"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_checks(&rows[i].rule, false, rows[i].utf8_error);
        assert_checks(&rows[i].rule, true, rows[i].legacy_error);
    }
}

static void test_relabel_rule_check__refuses_fields_without_meaning(void **state)
{
    (void)state;
    const char *keepequal =
        "keepequal action requires only 'source_labels' and `target_label`, and no "
        "other fields";
    const char *labeldrop = "labeldrop action requires only 'regex', and no other fields";
    const char *labelkeep = "labelkeep action requires only 'regex', and no other fields";
    struct str source = STR("a");
    const struct rule_case rows[] = {
        {{.action = RELABEL_UPPERCASE, TARGET("a"), REPLACEMENT("x")},
         "'replacement' can not be set for uppercase action",
         NULL},
        {{.action = RELABEL_DROPEQUAL, TARGET("a"), REPLACEMENT("x")},
         "'replacement' can not be set for dropequal action",
         NULL},
        {{.action = RELABEL_KEEPEQUAL, TARGET("a"), REGEX("x")}, keepequal, NULL},
        {{.action = RELABEL_KEEPEQUAL, TARGET("a"), REGEX("(.*)")}, keepequal, NULL},
        {{.action = RELABEL_KEEPEQUAL, TARGET("a"), SEPARATOR("x")}, keepequal, NULL},
        {{.action = RELABEL_KEEPEQUAL, TARGET("a"), .modulus = 1}, keepequal, NULL},
        {{.action = RELABEL_KEEPEQUAL, TARGET("a"), SEPARATOR(";")}, NULL, NULL},
        {{.action = RELABEL_LABELDROP, REGEX("x")}, NULL, NULL},
        {{.action = RELABEL_LABELDROP, .source_labels = &source, .source_label_count = 1},
         labeldrop,
         NULL},
        {{.action = RELABEL_LABELDROP, .has_source_labels = true}, labeldrop, NULL},
        {{.action = RELABEL_LABELDROP, TARGET("a")}, labeldrop, NULL},
        {{.action = RELABEL_LABELKEEP, .modulus = 1}, labelkeep, NULL},
        {{.action = RELABEL_LABELKEEP, SEPARATOR("")}, labelkeep, NULL},
        {{.action = RELABEL_LABELKEEP, REPLACEMENT("")}, labelkeep, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_checks(&rows[i].rule, false, rows[i].utf8_error);
        assert_checks(&rows[i].rule, true, rows[i].utf8_error);
    }
}

static void test_relabel_action_parse__takes_any_case(void **state)
{
    (void)state;
    for (int i = 0; i <= RELABEL_UPPERCASE; i++) {
        enum relabel_action action;
        assert_true(
            relabel_action_parse(str_of(relabel_action_text((enum relabel_action)i)), &action));
        assert_int_equal(action, i);
    }
    enum relabel_action action;
    assert_true(relabel_action_parse(STR("LabelMap"), &action));
    assert_int_equal(action, RELABEL_LABELMAP);
    assert_false(relabel_action_parse(STR(""), &action));
    assert_false(relabel_action_parse(STR("copy"), &action));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relabel_rule_check__wants_what_the_action_needs),
        cmocka_unit_test(test_relabel_rule_check__looks_at_target_names),
        cmocka_unit_test(test_relabel_rule_check__refuses_fields_without_meaning),
        cmocka_unit_test(test_relabel_action_parse__takes_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
