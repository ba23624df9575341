/* cgroup: see the header.
 *
 *     /proc/self/cgroup     4:memory:/a/b         version 1: our group among those of the memory controller
 *                           0::/a/b               version 2: our group
 *     /proc/self/mountinfo  ... /a /sys/fs/cgroup/memory ... - cgroup cgroup rw,memory
 *                               ^ the group that is seen at that place: a container without a namespace of its
 *                                 own sees itself there, and paths begin with this
 *
 * The group's folder is the place, then the group's path without the beginning that the mount has. From there upwards
 * to the place itself each folder may have a limit, and the smallest counts. Groups above the mount are out of sight in
 * version 2; version 1 names the smallest of them in memory.stat. */
#include "base/cgroup.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"

#define PATH_BYTES_MAX  4096
#define FILE_BYTES_MAX  ((size_t)1 << 20) /* mountinfo of a machine with thousands of containers. */
#define STAT_BYTES_MAX  16384
#define LIMIT_NONE_FROM ((uint64_t)1 << 62) /* Version 1 writes a huge number for "none". */

/* Our group in one of the hierarchies. */
struct group {
    bool found;
    bool is_v2;
    char top[PATH_BYTES_MAX];  /* The folder where the hierarchy begins for us, root included. */
    char path[PATH_BYTES_MAX]; /* Our group's folder: top or below. */
};

static bool read_whole(const char *root, const char *path, struct buf *out)
{
    char full[2 * PATH_BYTES_MAX], piece[8192];
    snprintf(full, sizeof(full), "%s%s", root, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (ssize_t len; (len = read(fd, piece, sizeof(piece))) > 0;)
        buf_add(out, piece, (size_t)len);
    close(fd);
    return !out->overflow && out->len > 0;
}

/* A small file of one folder. */
static struct str read_small(const char *folder, const char *name, char bytes[STAT_BYTES_MAX])
{
    char path[PATH_BYTES_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STR_EMPTY;
    ssize_t len = read(fd, bytes, STAT_BYTES_MAX);
    close(fd);
    return len > 0 ? str_from(bytes, (size_t)len) : STR_EMPTY;
}

static bool has_word(struct str list, struct str word)
{
    for (struct str rest = list; rest.ptr;) {
        if (str_eq(str_cut(rest, ',', &rest), word))
            return true;
    }
    return false;
}

/* Our path among the groups of version 1 with the memory controller, or of version 2. */
static bool own_path(struct str text, bool is_v2, struct str *path)
{
    for (struct str rest = text; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest), controllers;
        struct str number = str_cut(line, ':', &line);
        controllers = str_cut(line, ':', path);
        if (!path->ptr)
            continue;
        if (is_v2 ? str_eq(number, STR("0")) && controllers.len == 0
                  : has_word(controllers, STR("memory")))
            return true;
    }
    return false;
}

/* mountinfo writes blanks and the like as \040. */
static void unescape(struct str text, char out[PATH_BYTES_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < PATH_BYTES_MAX - 1; i++) {
        const char *at = text.ptr + i;
        bool octal = *at == '\\' && i + 3 < text.len && at[1] >= '0' && at[1] <= '3' &&
                     at[2] >= '0' && at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
        out[len++] = octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
        i += octal ? 3 : 0;
    }
    out[len] = '\0';
}

/* The mount of the hierarchy: which group it shows, and where. */
static bool find_mount(struct str text, bool is_v2, char shown[PATH_BYTES_MAX],
                       char place[PATH_BYTES_MAX])
{
    for (struct str rest = text; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest), fields[5] = {{0}};
        size_t dash = str_find(line, STR(" - "));
        struct str before = str_first(line, dash), after = str_after(line, dash + 3), source;
        for (size_t i = 0; i < 5 && before.ptr; i++)
            fields[i] = str_cut(before, ' ', &before);
        struct str type = str_cut(after, ' ', &after);
        source = str_cut(after, ' ', &after);
        (void)source;
        if (!fields[4].ptr || !after.ptr || !str_eq(type, is_v2 ? STR("cgroup2") : STR("cgroup")))
            continue;
        if (!is_v2 && !has_word(after, STR("memory")))
            continue;
        unescape(fields[3], shown);
        unescape(fields[4], place);
        return true;
    }
    return false;
}

/* `path` without the group that the mount shows; empty when it is not below it: then the mount itself is ours. */
static struct str below(struct str path, struct str shown)
{
    while (shown.len > 0 && shown.ptr[shown.len - 1] == '/')
        shown.len--;
    if (!str_starts(path, shown))
        return STR_EMPTY;
    struct str rest = str_after(path, shown.len);
    if (rest.len > 0 && rest.ptr[0] != '/')
        return STR_EMPTY;
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    bool leaves = str_find(rest, STR("/../")) < rest.len || str_ends(rest, STR("/.."));
    return leaves ? STR_EMPTY : rest;
}

static void find_group(const char *root, bool is_v2, struct str groups, struct str mounts,
                       struct group *out)
{
    char shown[PATH_BYTES_MAX], place[PATH_BYTES_MAX];
    struct str path;
    *out = (struct group){.is_v2 = is_v2};
    if (!own_path(groups, is_v2, &path) || !find_mount(mounts, is_v2, shown, place))
        return;
    struct str rest = below(path, str_of(shown));
    int top_len = snprintf(out->top, sizeof(out->top), "%s%s", root, place);
    int len = snprintf(out->path, sizeof(out->path), "%s%s" STR_FMT, root, place, STR_ARG(rest));
    out->found = top_len > 0 && len > 0 && (size_t)len < sizeof(out->path);
    /* A path of another namespace: what is mounted is all that we can see. */
    if (out->found && access(out->path, F_OK) != 0)
        memcpy(out->path, out->top, sizeof(out->path));
}

/* [0]: version 1; [1]: version 2. */
static void find_groups(const char *root, struct group out[2])
{
    struct buf groups, mounts;
    buf_init(&groups, FILE_BYTES_MAX);
    buf_init(&mounts, FILE_BYTES_MAX);
    out[0] = out[1] = (struct group){0};
    if (read_whole(root, "/proc/self/cgroup", &groups) &&
        read_whole(root, "/proc/self/mountinfo", &mounts)) {
        find_group(root, false, buf_str(&groups), buf_str(&mounts), &out[0]);
        find_group(root, true, buf_str(&groups), buf_str(&mounts), &out[1]);
    }
    buf_deinit(&groups);
    buf_deinit(&mounts);
}

static uint64_t read_number(const char *folder, const char *name)
{
    char bytes[STAT_BYTES_MAX];
    uint64_t value;
    if (!str_to_u64(str_trim(read_small(folder, name, bytes)), &value))
        return CGROUP_NONE; /* "max" too. */
    return value;
}

/* `name 123` of a file with such lines. */
static bool field(struct str text, struct str name, uint64_t *out)
{
    for (struct str rest = text; rest.ptr;) {
        struct str value, line = str_cut(rest, '\n', &rest);
        if (str_eq(str_cut(line, ' ', &value), name))
            return str_to_u64(str_trim(value), out);
    }
    return false;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Version 2's `high` counts like a limit: beyond it everything stands still, for anonymous memory cannot go. */
static uint64_t folder_limit(const struct group *group, const char *folder)
{
    if (group->is_v2)
        return least(read_number(folder, "memory.max"), read_number(folder, "memory.high"));
    uint64_t limit = read_number(folder, "memory.limit_in_bytes");
    return limit >= LIMIT_NONE_FROM ? CGROUP_NONE : limit;
}

static uint64_t group_limit(const struct group *group)
{
    char folder[PATH_BYTES_MAX], bytes[STAT_BYTES_MAX];
    uint64_t limit = CGROUP_NONE, above;
    size_t top_len = strlen(group->top);
    if (!group->found)
        return CGROUP_NONE;
    memcpy(folder, group->path, sizeof(folder));
    for (;;) {
        limit = least(limit, folder_limit(group, folder));
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= top_len || !slash)
            break;
        *slash = '\0';
    }
    if (!group->is_v2 &&
        field(read_small(group->path, "memory.stat", bytes), STR("hierarchical_memory_limit"),
              &above) &&
        above < LIMIT_NONE_FROM)
        limit = least(limit, above);
    return limit;
}

uint64_t cgroup_memory_limit(const char *root)
{
    struct group groups[2];
    find_groups(root, groups);
    return least(group_limit(&groups[0]), group_limit(&groups[1]));
}

/* `Name:   123 kB` of /proc's files, in bytes; 0 when it is not there. */
static uint64_t kilobytes_of(struct str text, struct str name)
{
    size_t at = str_find(text, name);
    struct str line = str_trim(str_after(text, at + name.len)), unit;
    uint64_t kilobytes;
    if (at >= text.len || !str_to_u64(str_cut(line, ' ', &unit), &kilobytes))
        return 0;
    return kilobytes < LIMIT_NONE_FROM / 1024 ? kilobytes * 1024 : 0;
}

static uint64_t machine_bytes(const char *root)
{
    struct buf text;
    uint64_t total = CGROUP_NONE;
    buf_init(&text, FILE_BYTES_MAX);
    if (read_whole(root, "/proc/meminfo", &text)) {
        uint64_t bytes = kilobytes_of(buf_str(&text), STR("MemTotal:"));
        total = bytes > 0 ? bytes : CGROUP_NONE;
    }
    buf_deinit(&text);
    return total;
}

uint64_t cgroup_memory_usable(const char *root, bool *from_group)
{
    uint64_t limit = cgroup_memory_limit(root), machine = machine_bytes(root);
    *from_group = limit < machine;
    return least(limit, machine);
}

/* The one whose memory.stat can be read: both are never in charge at once. */
void cgroup_memory_read(const char *root, struct cgroup_memory *out)
{
    static const struct {
        const char *used;
        struct str anonymous, file, inactive;
    } names[2] = {
        {"memory.usage_in_bytes",
         {"total_rss", 9},
         {"total_cache", 11},
         {"total_inactive_file", 19}},
        {"memory.current", {"anon", 4}, {"file", 4}, {"inactive_file", 13}},
    };
    struct group groups[2];
    char bytes[STAT_BYTES_MAX];
    *out = (struct cgroup_memory){.limit_bytes = CGROUP_NONE};
    find_groups(root, groups);
    for (size_t i = 0; i < 2; i++) {
        if (!groups[i].found)
            continue;
        struct str stat = read_small(groups[i].path, "memory.stat", bytes);
        if (!field(stat, names[i].anonymous, &out->anonymous_bytes))
            continue;
        (void)field(stat, names[i].file, &out->file_bytes);
        (void)field(stat, names[i].inactive, &out->inactive_file_bytes);
        uint64_t used = read_number(groups[i].path, names[i].used);
        /* The root group of version 2 has no such file. */
        out->used_bytes = used == CGROUP_NONE ? out->anonymous_bytes + out->file_bytes : used;
        out->working_set_bytes = out->used_bytes > out->inactive_file_bytes
                                     ? out->used_bytes - out->inactive_file_bytes
                                     : 0;
        out->known = true;
        break;
    }
    out->limit_bytes = least(group_limit(&groups[0]), group_limit(&groups[1]));
}

/* --- this process --- */

bool resident_read(struct resident *out)
{
    char bytes[STAT_BYTES_MAX];
    struct str status = read_small("/proc/self", "status", bytes);
    *out = (struct resident){
        .anonymous_bytes = kilobytes_of(status, STR("\nRssAnon:")),
        .file_bytes = kilobytes_of(status, STR("\nRssFile:")),
        .shared_bytes = kilobytes_of(status, STR("\nRssShmem:")),
    };
    return out->anonymous_bytes > 0;
}
