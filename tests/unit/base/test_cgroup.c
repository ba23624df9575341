/* Unit tests of base/cgroup, on made-up trees of /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cgroup.h"
#include "base/mem.h"

#define V1_MOUNT(shown)                                                                            \
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                          \
    "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n"                \
    "35 31 0:32 " shown " /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
#define V2_MOUNT(shown)                                                                            \
    "35 23 0:32 " shown " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
#define MEMINFO "MemTotal:       4194304 kB\nMemFree:        100 kB\n"
#define MIB(n)  ((uint64_t)(n) << 20)

static char root[64];

/* Writes a file below the root, with its folders. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/narthex-test-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    put("/proc/meminfo", MEMINFO);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static void use(const char *groups, const char *mounts)
{
    put("/proc/self/cgroup", groups);
    put("/proc/self/mountinfo", mounts);
}

/* A pod's limit often stands one or two folders above the container's own. */
static void test_cgroup_memory_limit__takes_the_smallest_on_the_way_up_v2(void **state)
{
    (void)state;
    use("0::/kube/pod/box\n", V2_MOUNT("/"));
    put("/sys/fs/cgroup/kube/pod/box/memory.max", "max\n");
    put("/sys/fs/cgroup/kube/pod/memory.max", "268435456\n");
    put("/sys/fs/cgroup/kube/memory.max", "1073741824\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(256));
    put("/sys/fs/cgroup/kube/pod/box/memory.high", "134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
}

static void test_cgroup_memory_limit__takes_the_smallest_on_the_way_up_v1(void **state)
{
    (void)state;
    use("4:cpu,memory:/kube/pod/box\n3:cpuset:/other\n", V1_MOUNT("/"));
    put("/sys/fs/cgroup/memory/kube/pod/box/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/kube/pod/memory.limit_in_bytes", "268435456\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(256));
    put("/sys/fs/cgroup/memory/kube/pod/box/memory.limit_in_bytes", "134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
}

/* A container without a namespace of its own: the mount shows its group, and the path names all of it. */
static void test_cgroup_memory_limit__cuts_what_the_mount_shows(void **state)
{
    (void)state;
    use("4:memory:/docker/abc/inner\n", V1_MOUNT("/docker/abc"));
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
    use("4:memory:/docker/abcdef\n", V1_MOUNT("/docker/abc"));
    assert_int_equal(cgroup_memory_limit(root), MIB(256));
}

/* Limits of groups that are out of sight count as well, where the kernel tells them. */
static void test_cgroup_memory_limit__hears_of_hidden_ancestors_v1(void **state)
{
    (void)state;
    use("4:memory:/\n", V1_MOUNT("/"));
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
}

/* A path from another namespace leads nowhere: what is mounted is what we have. */
static void test_cgroup_memory_limit__falls_back_to_the_mount(void **state)
{
    (void)state;
    use("0::/../../elsewhere\n", V2_MOUNT("/"));
    put("/sys/fs/cgroup/memory.max", "134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
    use("0::/not/here\n", V2_MOUNT("/"));
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
}

/* Half of the machine on version 1, half on 2: the memory controller is where its limit is. */
static void test_cgroup_memory_limit__reads_both_versions(void **state)
{
    (void)state;
    use("4:memory:/a\n0::/b\n",
        V1_MOUNT("/") "41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "268435456\n");
    put("/sys/fs/cgroup/uni fied/b/memory.max", "max\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(256));
    put("/sys/fs/cgroup/uni fied/b/memory.max", "134217728\n");
    assert_int_equal(cgroup_memory_limit(root), MIB(128));
}

static void test_cgroup_memory_usable__never_exceeds_the_machine(void **state)
{
    bool from_group;
    (void)state;
    use("0::/a\n", V2_MOUNT("/"));
    put("/sys/fs/cgroup/a/memory.max", "8589934592\n");
    assert_int_equal(cgroup_memory_usable(root, &from_group), MIB(4096));
    assert_false(from_group);
    put("/sys/fs/cgroup/a/memory.max", "134217728\n");
    assert_int_equal(cgroup_memory_usable(root, &from_group), MIB(128));
    assert_true(from_group);
}

/* Whatever stands there, the answer is "no limit" and not a crash or a wrong number. */
static void test_cgroup_memory_limit__survives_nonsense(void **state)
{
    static const char *const groups[] = {"", "\n\n::\n", "0::", "4:memory", "memory", "0::/a\n4:"};
    static const char *const mounts[] = {"", "\n", " - cgroup2 \n", "1 2 3 4 5 6 - cgroup2 x rw",
                                         "35 31 0:32 \\9 \\ rw - cgroup cgroup rw,memory"};
    bool from_group;
    (void)state;
    assert_true(cgroup_memory_limit(root) == CGROUP_NONE);
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (size_t m = 0; m < sizeof(mounts) / sizeof(mounts[0]); m++) {
            use(groups[g], mounts[m]);
            assert_true(cgroup_memory_limit(root) == CGROUP_NONE);
        }
    }
    use("0::/a\n", V2_MOUNT("/"));
    put("/sys/fs/cgroup/a/memory.max", "twelve\n");
    put("/proc/meminfo", "MemTotal: lots kB\n");
    assert_true(cgroup_memory_usable(root, &from_group) == CGROUP_NONE);
    assert_false(from_group);
}

static void test_cgroup_memory_read__tells_cache_and_working_set(void **state)
{
    struct cgroup_memory memory;
    (void)state;
    use("0::/a\n", V2_MOUNT("/"));
    put("/sys/fs/cgroup/a/memory.max", "1000000\n");
    put("/sys/fs/cgroup/a/memory.current", "900000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 500000\nfile 300000\ninactive_file 200000\n");
    cgroup_memory_read(root, &memory);
    assert_true(memory.known);
    assert_int_equal(memory.limit_bytes, 1000000);
    assert_int_equal(memory.used_bytes, 900000);
    assert_int_equal(memory.anonymous_bytes, 500000);
    assert_int_equal(memory.file_bytes, 300000);
    assert_int_equal(memory.working_set_bytes, 700000);

    use("4:memory:/a\n", V1_MOUNT("/"));
    put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "90\n");
    put("/sys/fs/cgroup/memory/a/memory.stat",
        "cache 1\nrss 2\ntotal_cache 30\ntotal_rss 50\ntotal_inactive_file 20\n");
    cgroup_memory_read(root, &memory);
    assert_true(memory.known);
    assert_int_equal(memory.anonymous_bytes, 50);
    assert_int_equal(memory.file_bytes, 30);
    assert_int_equal(memory.working_set_bytes, 70);
    use("", "");
    cgroup_memory_read(root, &memory);
    assert_false(memory.known);
}

/* The budget stands on this figure: it must follow what is taken and what is given back. */
static void test_resident_read__follows_anonymous_memory(void **state)
{
    struct resident before, during;
    size_t bytes = MIB(64);
    (void)state;
    assert_true(resident_read(&before));
    char *block = mem_alloc(bytes);
    memset(block, 1, bytes);
    assert_true(resident_read(&during));
    assert_true(during.anonymous_bytes >= before.anonymous_bytes + bytes / 8 * 7);
    assert_true(during.file_bytes > 0);
    assert_true(block[bytes - 1] == 1);
    mem_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_cgroup_memory_limit__takes_the_smallest_on_the_way_up_v2, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_cgroup_memory_limit__takes_the_smallest_on_the_way_up_v1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_limit__cuts_what_the_mount_shows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_limit__hears_of_hidden_ancestors_v1,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_limit__falls_back_to_the_mount, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_limit__reads_both_versions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_usable__never_exceeds_the_machine, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_limit__survives_nonsense, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cgroup_memory_read__tells_cache_and_working_set, setup,
                                        teardown),
        cmocka_unit_test(test_resident_read__follows_anonymous_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
