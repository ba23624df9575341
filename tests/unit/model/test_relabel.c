/* Applying rules: each action, what matches, what is skipped; and random rules against a plain
 * model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "model/relabel.h"

#define RULES_MAX   4
#define SOURCES_MAX 4

/* A rule in short. Fields that are NULL keep their defaults; sources are written "a,b". */
struct rule_text {
    const char *action, *sources, *regex, *target, *replacement, *separator;
    uint64_t modulus;
};

struct relabel_case {
    const char *labels; /* name=value, with a '|' between two. */
    struct rule_text rules[RULES_MAX];
    const char *want; /* NULL: dropped. */
    bool legacy_names;
};

static void rule_fill(struct relabel_rule *rule, const struct rule_text *text,
                      struct str sources[SOURCES_MAX])
{
    relabel_rule_init(rule);
    assert_true(relabel_action_parse(str_of(text->action), &rule->action));
    struct str rest = text->sources ? str_of(text->sources) : (struct str){0};
    while (rest.ptr && rule->source_label_count < SOURCES_MAX)
        sources[rule->source_label_count++] = str_cut(rest, ',', &rest);
    rule->source_labels = sources;
    if (text->regex) {
        rule->regex_text = str_of(text->regex);
        rule->has_regex = true;
    }
    if (text->target)
        rule->target_label = str_of(text->target);
    if (text->replacement)
        rule->replacement = str_of(text->replacement);
    if (text->separator)
        rule->separator = str_of(text->separator);
    rule->modulus = text->modulus;
}

static void labels_fill(struct labels_builder *builder, const char *text)
{
    struct str rest = *text ? str_of(text) : (struct str){0};
    while (rest.ptr) {
        struct str value;
        struct str name = str_cut(str_cut(rest, '|', &rest), '=', &value);
        labels_builder_set(builder, name, value);
    }
}

static void assert_labels_are(const struct labels_builder *builder, const char *want)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < builder->count; i++) {
        if (i > 0)
            buf_add_char(&buf, '|');
        buf_add_str(&buf, builder->items[i].name);
        buf_add_char(&buf, '=');
        buf_add_str(&buf, builder->items[i].value);
    }
    buf_add_char(&buf, '\0');
    assert_string_equal(buf.ptr, want);
    buf_deinit(&buf);
}

static void assert_relabels(const struct relabel_case *row)
{
    struct relabel_rule items[RULES_MAX];
    struct str sources[RULES_MAX][SOURCES_MAX];
    struct relabel_rules rules = {.items = items};
    struct labels_builder builder;
    struct arena arena;

    arena_init(&arena, 0);
    labels_builder_init(&builder);
    labels_fill(&builder, row->labels);
    while (rules.count < RULES_MAX && row->rules[rules.count].action) {
        struct err err;
        rule_fill(&items[rules.count], &row->rules[rules.count], sources[rules.count]);
        if (!relabel_rule_check(&items[rules.count], row->legacy_names, &err))
            fail_msg("%s", err.text);
        rules.count++;
    }
    assert_int_equal(relabel_apply(&rules, &builder, &arena), row->want != NULL);
    if (row->want)
        assert_labels_are(&builder, row->want);
    for (size_t i = 0; i < rules.count; i++)
        relabel_rule_deinit(&items[i]);
    labels_builder_deinit(&builder);
    arena_deinit(&arena);
}

static void assert_all(const struct relabel_case *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_relabels(&rows[i]);
}

static void test_relabel_apply__replaces(void **state)
{
    (void)state;
    const struct relabel_case rows[] = {
        /* The default rule copies. */
        {"a=foo", {{.action = "replace", "a", .target = "d"}}, "a=foo|d=foo", false},
        {"a=foo",
         {{.action = "replace", "a", "f(.*)", "d", "ch${1}-ch${1}"}},
         "a=foo|d=choo-choo",
         false},
        {"a=foo|b=bar|c=baz",
         {{.action = "replace", "a,b", "f(.*);(.*)r", "a", "b${1}${2}m"},
          {.action = "replace", "c,a", "(b).*b(.*)ba(.*)", "d", "$1$2$2$3"}},
         "a=boobam|b=bar|c=baz|d=boooom",
         false},
        {"a=foo|b=bar",
         {{.action = "replace", "a,b", .target = "c", .separator = ""}},
         "a=foo|b=bar|c=foobar",
         false},
        {"a=foo|b=bar",
         {{.action = "replace", "a,x,b", .target = "c"}},
         "a=foo|b=bar|c=foo;;bar",
         false},
        /* No match: nothing happens. */
        {"a=boo", {{.action = "replace", "a", "f", "b", "bar"}}, "a=boo", false},
        {"a=foobar", {{.action = "replace", "a", "foo", "b", "bar"}}, "a=foobar", false},
        /* An empty result deletes. */
        {"a=foo", {{.action = "replace", "a", "f.*", "a", ""}}, "", false},
        {"a=foo|b=1", {{.action = "replace", "x", .target = "b"}}, "a=foo", false},
        {"a=foo|b=1",
         {{.action = "replace", "x", .target = "b", .replacement = "new"}},
         "a=foo|b=new",
         false},
        {"a=foo|b=1",
         {{.action = "replace", NULL, .target = "c", .replacement = "set"}},
         "a=foo|b=1|c=set",
         false},
        {"a=foo", {{.action = "replace", "a", "(.*)x", "b", "$1"}}, "a=foo", false},
        /* One group short: the missing one is empty. */
        {"a=foo", {{.action = "replace", "a", ".*", "b", "$1"}}, "a=foo", false},
        {"a=foo", {{.action = "replace", "a", ".*", "b", "$0"}}, "a=foo|b=foo", false},
        {"a=foo", {{.action = "replace", "a", "(?P<x>f)oo", "b", "${x}$$1"}}, "a=foo|b=f$1", false},
        /* '.' matches a newline. */
        {"a=x\ny", {{.action = "replace", "a", "x(.*)", "b", "[$1]"}}, "a=x\ny|b=[\ny]", false},
        {"a=x\ny", {{.action = "replace", "a", "x(.+)", "b", "${1}"}}, "a=x\ny|b=\ny", false},
        {"a=x", {{.action = "replace", "a", "x(.+)", "b", "${1}"}}, "a=x", false},
        {"a=s1", {{.action = "replace", "a", "s0|s1|s2", "b", "yes"}}, "a=s1|b=yes", false},
        {"a=s3", {{.action = "replace", "a", "s0|s1|s2", "b", "yes"}}, "a=s3", false},
        {"a=s2", {{.action = "replace", "a", "(s0|s1|s2)", "b", "$1!"}}, "a=s2|b=s2!", false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__replaces_into_made_names(void **state)
{
    (void)state;
    const struct relabel_case rows[] = {
        {"a=some-name|b=v",
         {{.action = "replace", "a,b", "some-([^-]+);(.*)", "${1}", "$2"}},
         "a=some-name|b=v|name=v",
         false},
        {"a=foo",
         {{.action = "replace", "a", .target = "$1", .replacement = "x"}},
         "a=foo|foo=x",
         false},
        /* A name that is empty or not valid: nothing happens. */
        {"a=foo", {{.action = "replace", "a", "foo", "${3}", "x"}}, "a=foo", false},
        {"a=f.o", {{.action = "replace", "a", .target = "$1", .replacement = "x"}}, "a=f.o", true},
        {"a=f.o",
         {{.action = "replace", "a", .target = "$1", .replacement = "x"}},
         "a=f.o|f.o=x",
         false},
        {"a=9x", {{.action = "replace", "a", .target = "$1", .replacement = "x"}}, "a=9x", true},
        {"a=9x", {{.action = "replace", "a", .target = "$1_x", .replacement = "x"}}, "a=9x", true},
        {"a=9x",
         {{.action = "replace", "a", .target = "_${1}", .replacement = "x"}},
         "_9x=x|a=9x",
         true},
        {"a=f",
         {{.action = "replace", "a", .target = "a.b", .replacement = "x"}},
         "a=f|a.b=x",
         false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__keeps_and_drops(void **state)
{
    (void)state;
    const struct relabel_case rows[] = {
        {"a=foo", {{.action = "drop", "a", ".*o.*"}}, NULL, false},
        {"a=foo", {{.action = "drop", "a", "o"}}, "a=foo", false},
        {"a=foo", {{.action = "keep", "a", "foo"}}, "a=foo", false},
        {"a=foo", {{.action = "keep", "a", "fo"}}, NULL, false},
        {"a=foo", {{.action = "keep", "a", "foo.+"}}, NULL, false},
        {"a=foo", {{.action = "keep", "a", "fo.+"}}, "a=foo", false},
        {"a=foo", {{.action = "keep", "x", ""}}, "a=foo", false},
        {"a=foo", {{.action = "drop", "x", ""}}, NULL, false},
        {"a=foo|b=1", {{.action = "keep", "a,b", "(foo|bar);1"}}, "a=foo|b=1", false},
        {"a=l", {{.action = "keep", "a", "a|b|c|d|e|f|g|h|i|j|k|l|m"}}, "a=l", false},
        {"a=n", {{.action = "keep", "a", "a|b|c|d|e|f|g|h|i|j|k|l|m"}}, NULL, false},
        {"a=FOO", {{.action = "keep", "a", "(?i)foo"}}, "a=FOO", false},
        {"a=a.c", {{.action = "keep", "a", "a\\.c"}}, "a=a.c", false},
        {"a=abc", {{.action = "keep", "a", "a\\.c"}}, NULL, false},
        /* Nothing runs after a drop. */
        {"a=foo",
         {{.action = "drop", "a"}, {.action = "replace", "a", .target = "b"}},
         NULL,
         false},
        /* Equality with another label. */
        {"a=x|b=x", {{.action = "keepequal", "a", .target = "b"}}, "a=x|b=x", false},
        {"a=x|b=y", {{.action = "keepequal", "a", .target = "b"}}, NULL, false},
        {"a=x|b=x", {{.action = "dropequal", "a", .target = "b"}}, NULL, false},
        {"a=x|b=y", {{.action = "dropequal", "a", .target = "b"}}, "a=x|b=y", false},
        {"a=x", {{.action = "keepequal", "n", .target = "m"}}, "a=x", false},
        {"a=x|b=y|c=x;y", {{.action = "keepequal", "a,b", .target = "c"}}, "a=x|b=y|c=x;y", false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__hashes(void **state)
{
    (void)state;
    /* MD5's last eight bytes, big-endian: the shards of existing installations must not move. */
    const struct relabel_case rows[] = {
        {"c=baz",
         {{.action = "hashmod", "c", .target = "d", .modulus = 1000}},
         "c=baz|d=976",
         false},
        {"c=foo\nbar",
         {{.action = "hashmod", "c", .target = "d", .modulus = 1000}},
         "c=foo\nbar|d=734",
         false},
        {"",
         {{.action = "hashmod", "c", .target = "d", .modulus = UINT64_MAX}},
         "d=16825458760271544958",
         false},
        {"c=x", {{.action = "hashmod", "c", .target = "d", .modulus = 1}}, "c=x|d=0", false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__maps_and_filters_names(void **state)
{
    (void)state;
    const struct relabel_case rows[] = {
        {"a=foo|b1=bar|b2=baz",
         {{.action = "labelmap", .regex = "(b.*)", .replacement = "bar_${1}"}},
         "a=foo|b1=bar|b2=baz|bar_b1=bar|bar_b2=baz",
         false},
        {"__meta_pod_app=x|__meta_pod_=y|job=z",
         {{.action = "labelmap", .regex = "__meta_pod_(.+)"}},
         "__meta_pod_=y|__meta_pod_app=x|app=x|job=z",
         false},
        {"__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc",
         {{.action = "labelmap", .regex = "__meta_(my.*)", .replacement = "${1}"}},
         "__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc|my_bar=aaa|my_baz=bbb",
         false},
        /* Labels that the rule makes are not mapped again. */
        {"a=1|b=2",
         {{.action = "labelmap", .regex = "(.*)", .replacement = "a${1}"}},
         "a=1|aa=1|ab=2|b=2",
         false},
        {"a=1", {{.action = "labelmap", .regex = "b", .replacement = "c"}}, "a=1", false},
        {"a=foo|b1=bar|b2=baz", {{.action = "labeldrop", .regex = "(b.*)"}}, "a=foo", false},
        {"a=foo|b1=bar|b2=baz",
         {{.action = "labelkeep", .regex = "(b.*)"}},
         "b1=bar|b2=baz",
         false},
        {"a=foo|b=bar|c=baz", {{.action = "labelkeep", .regex = "a|c"}}, "a=foo|c=baz", false},
        {"a=foo|b=bar|c=baz", {{.action = "labeldrop", .regex = "[ac]"}}, "b=bar", false},
        {"a=foo", {{.action = "labeldrop"}}, "", false},
        {"", {{.action = "labelmap"}, {.action = "labeldrop"}, {.action = "labelkeep"}}, "", false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__changes_case(void **state)
{
    (void)state;
    const struct relabel_case rows[] = {
        {"a=bAr123Foo",
         {{.action = "lowercase", "a", .target = "l"}, {.action = "uppercase", "a", .target = "u"}},
         "a=bAr123Foo|l=bar123foo|u=BAR123FOO",
         false},
        {"a=Gr\xc3\xb6\xc3\x9f\x65 \xd0\x96", /* Gröẞe-like: ß has no single upper case. */
         {{.action = "lowercase", "a", .target = "l"}, {.action = "uppercase", "a", .target = "u"}},
         "a=Gr\xc3\xb6\xc3\x9f\x65 \xd0\x96|l=gr\xc3\xb6\xc3\x9f\x65 \xd0\xb6|"
         "u=GR\xc3\x96\xc3\x9f\x45 \xd0\x96",
         false},
        {"a=x\xff",
         {{.action = "uppercase", "a", .target = "u"}},
         "a=x\xff|u=X\xef\xbf\xbd",
         false},
        /* Two bytes become three. */
        {"a=\xc8\xba",
         {{.action = "lowercase", "a", .target = "l"}},
         "a=\xc8\xba|l=\xe2\xb1\xa5",
         false},
        {"a=x|l=1", {{.action = "lowercase", "n", .target = "l"}}, "a=x", false},
    };
    assert_all(rows, COUNT_OF(rows));
}

static void test_relabel_apply__bounds_what_doubles(void **state)
{
    (void)state;
    /* 64 doublings of a label would not fit into any memory. */
    struct relabel_rule rule;
    struct str source = STR("a");
    struct relabel_rules rules = {&rule, 1};
    struct labels_builder builder;
    struct arena arena;
    struct err err;

    relabel_rule_init(&rule);
    rule.source_labels = &source;
    rule.source_label_count = 1;
    rule.target_label = STR("a");
    rule.replacement = STR("$1$1");
    assert_true(relabel_rule_check(&rule, false, &err));
    arena_init(&arena, 0);
    labels_builder_init(&builder);
    labels_builder_set(&builder, STR("a"), STR("xy"));
    for (int i = 0; i < 64; i++)
        assert_true(relabel_apply(&rules, &builder, &arena));
    assert_int_equal(labels_builder_get(&builder, STR("a")).len, 1024 * 1024);
    relabel_rule_deinit(&rule);
    labels_builder_deinit(&builder);
    arena_deinit(&arena);
}

static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static const char *pick(uint64_t *seed, const char *const *texts, size_t count)
{
    return texts[random_next(seed) % count];
}

static void rule_random(struct relabel_rule *rule, struct str sources[SOURCES_MAX], uint64_t *seed)
{
    static const char *const names[] = {"a", "b", "__meta_x", "a.b", "\xc3\xa4", "", "job"};
    static const char *const regexes[] = {"(.*)",        ".+",    "a(.*)", "",          "a|b|c",
                                          "(a|b)(c)?",   "[",     "\\d+",  "(.+)_(.+)", "x*",
                                          "__meta_(.+)", "(?i)A", "a.*b",  "^a$"};
    static const char *const texts[] = {"$1", "",  "x",  "$0",  "${1}_$2",
                                        "$$", "$", "${", "b$1", "\xff"};

    relabel_rule_init(rule);
    rule->action = (enum relabel_action)(random_next(seed) % (RELABEL_UPPERCASE + 1));
    rule->source_label_count = random_next(seed) % (SOURCES_MAX + 1);
    rule->source_labels = sources;
    for (size_t i = 0; i < rule->source_label_count; i++)
        sources[i] = str_of(pick(seed, names, COUNT_OF(names)));
    if (random_next(seed) % 2)
        rule->regex_text = str_of(pick(seed, regexes, COUNT_OF(regexes)));
    if (random_next(seed) % 2)
        rule->replacement = str_of(pick(seed, texts, COUNT_OF(texts)));
    if (random_next(seed) % 4 == 0)
        rule->separator = str_of(pick(seed, texts, COUNT_OF(texts)));
    rule->target_label = str_of(random_next(seed) % 2 ? pick(seed, names, COUNT_OF(names))
                                                      : pick(seed, texts, COUNT_OF(texts)));
    rule->modulus = random_next(seed) % 3;
    if (rule->action == RELABEL_LABELDROP || rule->action == RELABEL_LABELKEEP) {
        rule->source_label_count = 0;
        rule->target_label = STR_EMPTY;
        rule->modulus = 0;
    }
}

/* Whatever is applied, the set stays sorted and unique, without empty values. */
static void assert_is_set(const struct labels_builder *builder)
{
    for (size_t i = 0; i < builder->count; i++) {
        assert_true(builder->items[i].value.len > 0);
        if (i > 0)
            assert_true(str_cmp(builder->items[i - 1].name, builder->items[i].name) < 0);
    }
}

/* For one-source keep rules the answer must be the regex's own, whatever short way was taken. */
static void assert_keep_is_regex(const struct relabel_rule *rule, struct str value, bool kept)
{
    assert_int_equal(kept, regex_matches(rule->regex, value));
}

static void test_relabel_apply__survives_random_rules(void **state)
{
    (void)state;
    static const char *const values[] = {"a",  "b", "abc",  "a_b",      "x",
                                         "12", "A", "x\ny", "\xc3\xa4", ""};
    size_t accepted = 0;
    for (uint64_t round = 1; round <= 20000; round++) {
        uint64_t seed = round * UINT64_C(0x9e3779b97f4a7c15);
        struct relabel_rule items[RULES_MAX], candidate;
        struct str sources[RULES_MAX][SOURCES_MAX];
        struct relabel_rules rules = {.items = items};
        struct labels_builder builder;
        struct arena arena;
        struct err err;

        while (rules.count < RULES_MAX && random_next(&seed) % 8) {
            rule_random(&candidate, sources[rules.count], &seed);
            if (relabel_rule_check(&candidate, random_next(&seed) % 2, &err))
                items[rules.count++] = candidate;
            else
                relabel_rule_deinit(&candidate);
        }
        accepted += rules.count;
        arena_init(&arena, 0);
        labels_builder_init(&builder);
        labels_builder_set(&builder, STR("a"), str_of(pick(&seed, values, COUNT_OF(values))));
        labels_builder_set(&builder, STR("__meta_x"),
                           str_of(pick(&seed, values, COUNT_OF(values))));
        labels_builder_set(&builder, STR("b"), str_of(pick(&seed, values, COUNT_OF(values))));
        struct str first = STR_EMPTY;
        bool one_keep =
            rules.count == 1 && items[0].action == RELABEL_KEEP && items[0].source_label_count == 1;
        if (one_keep)
            first = labels_builder_get(&builder, items[0].source_labels[0]);
        bool kept = relabel_apply(&rules, &builder, &arena);
        if (one_keep)
            assert_keep_is_regex(&items[0], first, kept);
        assert_is_set(&builder);
        for (size_t i = 0; i < rules.count; i++)
            relabel_rule_deinit(&items[i]);
        labels_builder_deinit(&builder);
        arena_deinit(&arena);
    }
    assert_true(accepted > 10000); /* Else the test looks at nothing. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relabel_apply__replaces),
        cmocka_unit_test(test_relabel_apply__replaces_into_made_names),
        cmocka_unit_test(test_relabel_apply__keeps_and_drops),
        cmocka_unit_test(test_relabel_apply__hashes),
        cmocka_unit_test(test_relabel_apply__maps_and_filters_names),
        cmocka_unit_test(test_relabel_apply__changes_case),
        cmocka_unit_test(test_relabel_apply__bounds_what_doubles),
        cmocka_unit_test(test_relabel_apply__survives_random_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
