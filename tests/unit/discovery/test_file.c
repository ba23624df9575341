/* Targets in files that come, change, break and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/log.h"
#include "discovery_rig.h"

static char directory[256];

static int make_directory(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/narthex-file-sd-XXXXXX", base ? base : "/tmp");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"a.json", "b.yml", "c.json", "new.json"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    return rmdir(directory);
}

static void write_file(const char *name, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void rename_file(const char *from, const char *to)
{
    char from_path[512], to_path[512];

    snprintf(from_path, sizeof(from_path), "%s/%s", directory, from);
    snprintf(to_path, sizeof(to_path), "%s/%s", directory, to);
    assert_int_equal(rename(from_path, to_path), 0);
}

static void remove_file(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(unlink(path), 0);
}

static void apply_pattern(struct rig *rig, const char *pattern)
{
    char yaml[1024];

    snprintf(yaml, sizeof(yaml),
             "scrape_configs:\n- job_name: j\n  file_sd_configs:\n  - files: ['%s/%s']\n",
             directory, pattern);
    rig_apply(rig, yaml);
}

/* One life of a pattern: the first read, a new file, a change, a rename over it, damage, and the
 * end. */
static void test_file__follows_its_files(void **state)
{
    struct rig rig;
    struct discovery_stats stats;

    (void)state;
    rig_open(&rig);
    write_file("a.json", "[{\"targets\": [\"a1\", \"a2\"], \"labels\": {\"x\": \"y\"}}]");
    write_file("b.yml", "- targets: [b1]\n");
    apply_pattern(&rig, "*.json");
    assert_true(rig_told(&rig, "j: a1 a2"));
    write_file("c.json", "[{\"targets\": [\"c1\"]}]");
    assert_true(rig_told(&rig, "j: a1 a2 c1"));
    write_file("c.json", "[{\"targets\": [\"c2\"]}]");
    assert_true(rig_told(&rig, "j: a1 a2 c2"));
    write_file("new.json", "[{\"targets\": [\"c3\"]}]");
    rename_file("new.json", "c.json");
    assert_true(rig_told(&rig, "j: a1 a2 c3"));
    write_file("a.json", "[{\"targets\": [");
    remove_file("c.json");
    assert_true(rig_told(&rig, "j: a1 a2"));
    discovery_get_stats(rig.discovery, &stats);
    assert_true(stats.file_read_errors >= 1);
    remove_file("a.json");
    assert_true(rig_told(&rig, "j:"));
    rig_close(&rig);
}

/* A file that is not there yet is no error, and YAML is read, too. */
static void test_file__waits_for_a_file(void **state)
{
    struct rig rig;
    struct discovery_stats stats;

    (void)state;
    rig_open(&rig);
    remove_file("b.yml");
    apply_pattern(&rig, "b.yml");
    assert_true(rig_told(&rig, "j:"));
    write_file("b.yml", "- targets: [b1]\n  labels: {k: v}\n");
    assert_true(rig_told(&rig, "j: b1"));
    discovery_get_stats(rig.discovery, &stats);
    assert_int_equal(stats.file_read_errors, 0);
    rig_close(&rig);
}

/* A file may change, go or lose its owner while the lane reads it. */
static void test_file__is_read_on_the_lane(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    write_file("a.json", "[{\"targets\": [\"a1\"]}]");
    apply_pattern(&rig, "a.json");
    assert_true(rig_told(&rig, "j: a1"));
    rig.lane.held = true;
    write_file("a.json", "[{\"targets\": [\"a2\"]}]");
    assert_true(rig_has_job(&rig));
    write_file("a.json",
               "[{\"targets\": [\"a2\", \"a3\"]}]"); /* Of this the job may see all or nothing. */
    rig.lane.held = false;
    lane_now_run(&rig.lane);
    assert_true(rig_told(&rig, "j: a2 a3"));
    rig.lane.held = true;
    write_file("a.json", "[{\"targets\": [\"a4\"]}]");
    assert_true(rig_has_job(&rig));
    remove_file("a.json");
    assert_true(rig_told(&rig, "j:"));
    write_file("a.json", "[{\"targets\": [\"a5\"]}]");
    rig.lane.held = false;
    lane_now_run(&rig.lane);
    assert_true(rig_told(&rig, "j: a5"));
    rig.lane.held = true;
    write_file("a.json", "[{\"targets\": [\"a6\"]}]");
    assert_true(rig_has_job(&rig));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file__follows_its_files),
        cmocka_unit_test(test_file__waits_for_a_file),
        cmocka_unit_test(test_file__is_read_on_the_lane),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
