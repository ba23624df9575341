/* Targets that stand in the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "discovery_rig.h"

/* The owner hears soon, but not from within apply. */
static void test_static__is_told_after_apply(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_apply(&rig, "scrape_configs:\n- job_name: j\n  static_configs:\n"
                    "  - targets: [a, b]\n  - targets: [c]\n");
    assert_int_equal(rig.calls, 0);
    assert_true(rig_told(&rig, "j: a b c"));
    assert_int_equal(discovery_target_count(rig.discovery, STR("j")), 3);
    rig_close(&rig);
}

/* A reload tells every job, changed or not; a job without targets, too. */
static void test_static__is_told_again_after_reload(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_apply(&rig, "scrape_configs:\n- job_name: j\n  static_configs: [{targets: [a]}]\n");
    assert_true(rig_told(&rig, "j: a"));
    rig_apply(&rig, "scrape_configs:\n- job_name: j\n  static_configs: [{targets: [b]}]\n");
    assert_true(rig_told(&rig, "j: b"));
    buf_clear(&rig.told);
    rig_apply(&rig, "scrape_configs:\n- job_name: j\n  static_configs: [{targets: [b]}]\n");
    assert_true(rig_told(&rig, "j: b"));
    assert_int_equal(rig.calls, 3);
    rig_apply(&rig, "scrape_configs:\n- job_name: k\n");
    assert_true(rig_told(&rig, "k:"));
    assert_int_equal(discovery_target_count(rig.discovery, STR("j")), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static__is_told_after_apply),
        cmocka_unit_test(test_static__is_told_again_after_reload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
