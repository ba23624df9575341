/* Matching, by thousands of random matchers, against a look at each label set. */
#include "disk_index_world.h"

static const char *const patterns[] = {
    ".*",
    ".+",
    "",
    "web-.*",
    "(web-|api-).*",
    "web-.*|api-.*",
    ".*foo.*",
    ".*-prod",
    "web-.+",
    ".+foo.+",
    ".*foo.*-x",
    "(?i)WEB-.*",
    "web-foo-x",
    "web-foo|api-bar-x|nope",
    "a\\.b.*",
    "日本.*",
    "é.*é",
    ".*é",
    "we(b-)?.*",
    "[a-w]+-.*",
    "fo?o.*",
    "x\n.*",
    "x.foo.*",
    ".*\\|.*",
    ".*\\*.*",
    "web-{1,2}foo.*",
    "metric_[13]",
    "metric_.",
    "metric_1|metric_4",
    "(.*)",
    "^web-.*$",
    "web-(foo|bar).*",
    "|web-foo-x",
    "web-foo-x|",
    ".*oo.*oo.*",
    "web-.*?x",
    "\\w+",
    "\\d+|web-.*",
    "[0-9a-f]{16}",
    "0.*",
    ".*a.*b.*c.*",
    "(?:web-.*)",
    "(a|b)(.b)?.*",
    "...",
    "web-.*foo.+.+",
    ".*[|].*|.*x",
    "W.*|we.*|db.*-.*",
    ".+7",
    "\\Qa.b\\E.*",
    "a\\x2eb.*",
    "(?i:w)eb-.*",
    "\\pL.*",
    "(?s).*foo(?-s).*",
};

static bool random_matcher(struct world *world, struct matcher *matcher)
{
    struct err err;
    enum matcher_type type = (enum matcher_type)random_below(world, 4);
    struct str name = random_below(world, 5) == 0 ? LABEL_NAME : str_of(PICK(world, names));
    struct str value;
    if (random_below(world, 25) == 0)
        name = STR("nowhere");
    if (type == MATCH_REGEX || type == MATCH_NOT_REGEX)
        value = str_of(PICK(world, patterns));
    else if (str_eq(name, LABEL_NAME))
        value = arena_strf(&world->arena, "metric_%zu", random_below(world, 7));
    else
        value = random_below(world, 8) ? random_value(world) : STR_EMPTY;
    if (!matcher_init(matcher, type, name, value, &err))
        fail_msg("%.*s: %s", STR_ARG(value), err.text);
    return true;
}

static bool set_matches(const struct set *set, const struct matcher *matchers, size_t count)
{
    for (size_t m = 0; m < count; m++) {
        struct str value = STR_EMPTY;
        for (size_t i = 0; i < set->count; i++) {
            if (str_eq(set->items[i].name, matchers[m].name))
                value = set->items[i].value;
        }
        if (!matcher_matches(&matchers[m], value))
            return false;
    }
    return true;
}

static void describe(const struct matcher *matchers, size_t count)
{
    struct buf buf;
    buf_init(&buf, 4096);
    for (size_t i = 0; i < count; i++) {
        matcher_print(&buf, &matchers[i]);
        BUF_ADD(&buf, " ");
    }
    print_message("matchers: %.*s\n", (int)buf.len, buf.ptr);
    buf_deinit(&buf);
}

static void check_match(struct world *world, const struct matcher *matchers, size_t count)
{
    struct ordinal_vec found = {0};
    struct err err;
    size_t at = 0;
    if (!disk_index_match(world->index, matchers, count, &found, &err)) {
        describe(matchers, count);
        fail_msg("%s", err.text);
    }
    for (uint32_t i = 0; i < world->sets.count; i++) {
        bool wanted = set_matches(&world->sets.items[i], matchers, count);
        bool have = at < found.count && found.items[at] == i;
        at += have;
        if (wanted != have) {
            describe(matchers, count);
            fail_msg("series %u is %s", i, have ? "too much" : "missing");
        }
    }
    assert_int_equal(at, found.count);
    VEC_FREE(&found);
}

/* The meaning of matchers is Prometheus', by whatever shortcut an answer comes. */
static void test_disk_index_match__agrees_with_a_look_at_each_series(void **state)
{
    struct matcher matchers[5];
    struct world world;
    (void)state;
    for (uint64_t seed = 1; seed < 9; seed++) {
        world_init(&world, seed * 77);
        random_world(&world, seed == 8 ? 3000 : 40 * seed * seed);
        for (int round = 0; round < (seed == 8 ? 400 : 1000); round++) {
            size_t count = random_below(&world, 5);
            for (size_t i = 0; i < count; i++)
                random_matcher(&world, &matchers[i]);
            check_match(&world, matchers, count);
            for (size_t i = 0; i < count; i++)
                matcher_deinit(&matchers[i]);
        }
        world_deinit(&world);
    }
}

/* Each pattern alone and its opposite, on each label: what the random test may miss. */
static void test_disk_index_match__knows_each_pattern(void **state)
{
    struct world world;
    struct err err;
    (void)state;
    world_init(&world, 5);
    random_world(&world, 700);
    for (size_t p = 0; p < COUNT_OF(patterns); p++) {
        for (size_t n = 0; n < COUNT_OF(names); n++) {
            for (int opposite = 0; opposite < 2; opposite++) {
                struct matcher matchers[2];
                assert_true(matcher_init(&matchers[0], opposite ? MATCH_NOT_REGEX : MATCH_REGEX,
                                         str_of(names[n]), str_of(patterns[p]), &err));
                assert_true(
                    matcher_init(&matchers[1], MATCH_EQUAL, LABEL_NAME, STR("metric_2"), &err));
                check_match(&world, matchers, 1);
                check_match(&world, matchers, 2);
                matcher_deinit(&matchers[0]);
                matcher_deinit(&matchers[1]);
            }
        }
    }
    world_deinit(&world);
}

/* A metric over many groups is told without a look at them, but its edges are looked at. */
static void test_disk_index_match__cuts_metrics_at_their_edges(void **state)
{
    struct world world;
    struct err err;
    (void)state;
    world_init(&world, 11);
    for (size_t i = 0; i < 2000; i++) {
        struct set set = {0};
        set_add(&set, LABEL_NAME, arena_strf(&world.arena, "m%zu", i / 333));
        set_add(&set, STR("i"), arena_strf(&world.arena, "%zu", i));
        set_add(&set, STR("Early"), arena_strf(&world.arena, "%zu", i % 7));
        world_add(&world, &set);
    }
    world_write(&world);
    world_open(&world);
    for (size_t i = 0; i < 8; i++) {
        struct matcher matchers[3];
        char metric[8];
        snprintf(metric, sizeof(metric), "m%zu", i);
        assert_true(matcher_init(&matchers[0], MATCH_EQUAL, LABEL_NAME, str_of(metric), &err));
        assert_true(matcher_init(&matchers[1], MATCH_EQUAL, STR("Early"), STR("3"), &err));
        assert_true(matcher_init(&matchers[2], MATCH_REGEX, STR("i"), STR(".*9"), &err));
        check_match(&world, matchers, 1);
        check_match(&world, matchers, 2);
        check_match(&world, matchers, 3);
        for (size_t m = 0; m < 3; m++)
            matcher_deinit(&matchers[m]);
    }
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk_index_match__agrees_with_a_look_at_each_series),
        cmocka_unit_test(test_disk_index_match__knows_each_pattern),
        cmocka_unit_test(test_disk_index_match__cuts_metrics_at_their_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
