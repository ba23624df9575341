/* The life of target groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/target.h"

static void test_target_group_unref__frees_what_it_owns(void **state)
{
    (void)state;
    struct label pair = {STR("__address__"), STR("localhost:9100")};
    struct target_group *group = target_group_new(STR("static/0"), 2);
    struct labels *labels = labels_new(&pair, 1);

    assert_string_equal(group->source, "static/0");
    assert_int_equal(group->labels->count, 0);
    assert_null(group->targets[0]);
    group->targets[0] =
        labels_ref(labels); /* The second stays empty: a group half filled may be dropped. */
    assert_ptr_equal(target_group_ref(group), group);
    target_group_unref(group);
    assert_string_equal(group->source, "static/0");
    target_group_unref(group);
    assert_int_equal(labels->refs, 1);
    labels_unref(labels);
    target_group_unref(NULL);
}

static void test_target_group_new__may_be_empty(void **state)
{
    (void)state;
    /* An empty group takes a source's targets away. */
    struct target_group *group = target_group_new(STR(""), 0);
    assert_int_equal(group->target_count, 0);
    assert_string_equal(group->source, "");
    target_group_unref(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_group_unref__frees_what_it_owns),
        cmocka_unit_test(test_target_group_new__may_be_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
