/* process: reads /proc/self. The files are small and made by the kernel on the spot, so reading
 * them on the loop does not wait. */
#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define FILE_BYTES_MAX 8192
#define STAT_STARTTIME 22 /* Field numbers of proc(5), from 1. */
#define STAT_UTIME     14
#define STAT_STIME     15
#define STAT_COMM      2

static struct str read_file(const char *path, char bytes[FILE_BYTES_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STR_EMPTY;
    ssize_t len = read(fd, bytes, FILE_BYTES_MAX);
    close(fd);
    return len > 0 ? str_from(bytes, (size_t)len) : STR_EMPTY;
}

/* `VmRSS:     1234 kB` of /proc/self/status, in its own unit. */
static uint64_t status_field(struct str status, struct str name)
{
    for (struct str rest = status; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        uint64_t value;
        if (!str_starts(line, name))
            continue;
        struct str text = str_trim(str_after(line, name.len));
        struct str after;
        text = str_cut(text, ' ', &after);
        return str_to_u64(text, &value) ? value : 0;
    }
    return 0;
}

/* The fields after the program's name, which may itself hold blanks and brackets. */
static uint64_t stat_field(struct str stat, unsigned number)
{
    size_t at = stat.len;
    while (at > 0 && stat.ptr[at - 1] != ')')
        at--;
    struct str rest = str_trim(str_after(stat, at));
    struct str field = STR_EMPTY;
    for (unsigned i = STAT_COMM; i < number && rest.ptr; i++)
        field = str_cut(rest, ' ', &rest);
    uint64_t value;
    return str_to_u64(field, &value) ? value : 0;
}

static double boot_seconds(void)
{
    char bytes[FILE_BYTES_MAX];
    struct str stat = read_file("/proc/stat", bytes);
    size_t at = str_find(stat, STR("btime "));
    if (at < stat.len)
        return (double)status_field(str_after(stat, at), STR("btime "));
    return 0;
}

/* Since Linux 6.2 the directory's size is their number; to read the names of 10,000 takes 10 ms. */
static uint64_t count_open_files(void)
{
    struct stat size;
    if (stat("/proc/self/fd", &size) == 0 && size.st_size > 0)
        return (uint64_t)size.st_size;
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* Without ".", ".." and the directory itself. */
}

/* The two IpExt lines of netstat(8): names, then values in the same order. */
static void read_network(struct process_figures *out)
{
    char bytes[FILE_BYTES_MAX];
    struct str names = {NULL, 0}, values = {NULL, 0};
    for (struct str rest = read_file("/proc/self/net/netstat", bytes); rest.ptr && !values.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        if (!str_starts(line, STR("IpExt: ")))
            continue;
        if (!names.ptr)
            names = line;
        else
            values = line;
    }
    while (names.ptr && values.ptr) {
        struct str name = str_cut(names, ' ', &names), text = str_cut(values, ' ', &values);
        uint64_t value;
        if (!str_to_u64(text, &value))
            continue;
        if (str_eq(name, STR("InOctets")))
            out->received_bytes = value;
        else if (str_eq(name, STR("OutOctets")))
            out->sent_bytes = value;
    }
}

static uint64_t soft_limit(int resource)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

void process_get_figures(struct process_figures *out)
{
    static double boot; /* Constant while we live. */
    char bytes[FILE_BYTES_MAX];
    double ticks = (double)sysconf(_SC_CLK_TCK);

    *out = (struct process_figures){0};
    struct str stat = read_file("/proc/self/stat", bytes);
    if (boot == 0)
        boot = boot_seconds();
    out->cpu_seconds =
        (double)(stat_field(stat, STAT_UTIME) + stat_field(stat, STAT_STIME)) / ticks;
    out->start_seconds = boot + (double)stat_field(stat, STAT_STARTTIME) / ticks;
    struct str status = read_file("/proc/self/status", bytes);
    out->virtual_bytes = status_field(status, STR("VmSize:")) * 1024;
    out->resident_bytes = status_field(status, STR("VmRSS:")) * 1024;
    out->anonymous_bytes = status_field(status, STR("RssAnon:")) * 1024;
    out->file_bytes = status_field(status, STR("RssFile:")) * 1024;
    out->shared_bytes = status_field(status, STR("RssShmem:")) * 1024;
    out->threads = status_field(status, STR("Threads:"));
    out->open_files = count_open_files();
    read_network(out);
    out->open_files_max = soft_limit(RLIMIT_NOFILE);
    out->virtual_bytes_max = soft_limit(RLIMIT_AS);
}
