/* self: see self.h. The files of /proc are made on the spot, so reading them does not wait. */
#include "self.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "file.h"

#define STAT_BYTES_MAX ((size_t)1 << 20)

/* Fields of /proc/self/stat after the program's name, which may hold anything, from field 3 on. */
enum stat_field {
    STAT_UTIME = 11,
    STAT_STIME = 12,
    STAT_START = 19,
    STAT_VSIZE = 20,
    STAT_RSS = 21,
    STAT_END
};

static void read_stat(double out[STAT_END])
{
    struct buf text;
    struct err err;
    uint64_t value;
    buf_init(&text, STAT_BYTES_MAX);
    if (file_read_whole(STR("/proc/self/stat"), &text, &err)) {
        struct str rest = buf_str(&text);
        size_t at = rest.len;
        while (at > 0 && rest.ptr[at - 1] != ')')
            at--;
        rest = str_trim(str_after(rest, at));
        for (int i = 0; i < STAT_END && rest.ptr; i++) {
            struct str field = str_cut(rest, ' ', &rest);
            out[i] = str_to_u64(field, &value) ? (double)value : 0;
        }
    }
    buf_deinit(&text);
}

static double boot_seconds(void)
{
    static double boot; /* Constant while we live. */
    struct buf text;
    struct err err;
    uint64_t value;
    if (boot > 0)
        return boot;
    buf_init(&text, STAT_BYTES_MAX);
    if (file_read_whole(STR("/proc/stat"), &text, &err)) {
        struct str rest = buf_str(&text), key = STR("btime ");
        rest = str_after(rest, str_find(rest, key) + key.len);
        if (str_to_u64(str_cut(rest, '\n', &rest), &value))
            boot = (double)value;
    }
    buf_deinit(&text);
    return boot;
}

static double open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = 0;
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count > 3 ? count - 3 : 0; /* Without ".", ".." and the folder itself. */
}

static double soft_limit(int resource, double none)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? none : (double)limit.rlim_cur;
}

void self_add(struct metrics *metrics)
{
    double stat[STAT_END] = {0}, ticks = (double)sysconf(_SC_CLK_TCK);
    read_stat(stat);
    const struct {
        const char *name, *help;
        enum metric_kind kind;
        double value;
    } rows[] = {
        {"process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", COUNTER,
         (stat[STAT_UTIME] + stat[STAT_STIME]) / ticks},
        {"process_max_fds", "Maximum number of open file descriptors.", GAUGE,
         soft_limit(RLIMIT_NOFILE, 0)},
        {"process_open_fds", "Number of open file descriptors.", GAUGE, open_files()},
        {"process_resident_memory_bytes", "Resident memory size in bytes.", GAUGE,
         stat[STAT_RSS] * (double)sysconf(_SC_PAGESIZE)},
        {"process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
         GAUGE, boot_seconds() + stat[STAT_START] / ticks},
        {"process_virtual_memory_bytes", "Virtual memory size in bytes.", GAUGE, stat[STAT_VSIZE]},
        {"process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.",
         GAUGE, soft_limit(RLIMIT_AS, 18446744073709551615.0)},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        metrics_add_bare(metrics, str_of(rows[i].name), str_of(rows[i].help), rows[i].kind,
                         rows[i].value);
}
