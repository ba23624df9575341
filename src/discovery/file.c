/* file: targets from files that others write (file_sd_configs).
 *
 * The patterns' directories are watched (a file that is replaced by a rename is seen, too) and
 * everything is read anew each refresh_interval in case an event got lost. Events are gathered for
 * a moment, so that a burst of writes is one read. A file that has changed is read and parsed on the
 * lane, as ten thousand targets take longer than the loop may stand still; one that changes
 * meanwhile is read again after.
 *
 * A file that cannot be read or parsed keeps its last good groups; one that is gone has none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "provider.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define EVENT_DELAY_MS 50

struct file {
    char *path;
    struct timespec modified; /* Of the content that was read last, good or bad. */
    off_t len;
    ino_t inode;
    struct target_group **groups; /* The last good content. */
    size_t group_count;
    bool seen;
    struct load *load; /* Under way. NULL: none. */
    bool again;        /* It has changed since that began. */
};

/* A file on its way. Ends without an owner when the file or the provider has gone. */
struct load {
    struct job job;
    struct file_sd *sd; /* NULL: closed. */
    char *path;
    struct target_group **groups;
    size_t group_count;
    bool good;
    struct err err;
};

struct watch {
    uv_fs_event_t event;
    struct file_sd *sd; /* NULL once closed. */
    char *path;
};

struct file_sd {
    VEC(char *) patterns;
    VEC(struct file) files; /* Sorted by path. */
    VEC(struct watch *) watches;
    const struct provider_env *env; /* Borrowed. */
    bool opened;                    /* Until then files are read at once. */
    provider_changed_fn changed;
    void *ctx;
    int64_t refresh_ms;
    struct timer *refresh;
    struct timer *gather;
    struct uv_loop_s *loop;
};

static bool file_load(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    for (;;) {
        char *room = buf_reserve(out, 65536);
        if (!room) {
            (void)close(fd);
            return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, out->len_max);
        }
        ssize_t got = read(fd, room, 65536);
        if (got < 0) {
            int saved = errno;
            (void)close(fd);
            return err_errno(err, saved, "read %s", path);
        }
        if (got == 0)
            break;
        buf_commit(out, (size_t)got);
    }
    (void)close(fd);
    return true;
}

static bool file_is_same(const struct file *file, const struct stat *stat)
{
    return file->modified.tv_sec == stat->st_mtim.tv_sec &&
           file->modified.tv_nsec == stat->st_mtim.tv_nsec && file->len == stat->st_size &&
           file->inode == stat->st_ino;
}

/* --- one file --- */

/* On the lane, but for the first time. */
static void load_run(struct job *job)
{
    struct load *load = CONTAINER_OF(job, struct load, job);
    struct buf text;

    buf_init(&text, FILE_BYTES_MAX);
    load->good = file_load(load->path, &text, &load->err) &&
                 config_parse_target_groups(buf_str(&text), str_of(load->path), &load->groups,
                                            &load->group_count, &load->err);
    buf_deinit(&text);
}

static void load_free(struct load *load)
{
    target_groups_free(load->groups, load->group_count);
    mem_free(load->path);
    mem_free(load);
}

/* True when the groups are other ones now. */
static bool load_take(struct load *load, struct file *file)
{
    struct file_sd *sd = load->sd;

    file->load = NULL;
    if (!load->good) {
        sd->env->stats->file_read_errors++;
        LOG_E("Error reading file", "path", file->path, "err", load->err.text);
        return false;
    }
    target_groups_free(file->groups, file->group_count);
    file->groups = load->groups;
    file->group_count = load->group_count;
    load->groups = NULL;
    load->group_count = 0;
    return true;
}

static void load_done(struct job *job)
{
    struct load *load = CONTAINER_OF(job, struct load, job);
    struct file_sd *sd = load->sd;
    struct file *file = NULL;

    if (sd)
        VEC_EACH (each, &sd->files)
            file = each->load == load ? each : file;
    if (file) {
        if (file->again)
            timer_start(sd->gather, EVENT_DELAY_MS, 0);
        file->again = false;
        if (load_take(load, file))
            sd->changed(sd->ctx);
    }
    load_free(load);
}

static struct load *load_new(struct file_sd *sd, struct file *file)
{
    struct load *load = MEM_NEW(struct load);

    load->job = (struct job){.run = load_run, .done = load_done};
    load->sd = sd;
    load->path = str_dup(str_of(file->path));
    return load;
}

/* True when the groups are other ones now; later, `changed` says so. */
static bool file_read(struct file_sd *sd, struct file *file, const struct stat *stat)
{
    struct load *load;

    if (file->load) {
        file->again = true;
        return false;
    }
    file->modified = stat->st_mtim;
    file->len = stat->st_size;
    file->inode = stat->st_ino;
    load = load_new(sd, file);
    if (sd->opened) {
        file->load = load;
        sd->env->submit(sd->env->submit_ctx, &load->job);
        return false;
    }
    load_run(&load->job);
    bool changed = load_take(load, file);
    load_free(load);
    return changed;
}

/* What is on its way ends without it. */
static void file_deinit(struct file *file)
{
    if (file->load)
        file->load->sd = NULL;
    target_groups_free(file->groups, file->group_count);
    mem_free(file->path);
}

static int file_compare(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

/* One path that exists: read when it is new or has changed. */
static bool visit_file(struct file_sd *sd, const char *path)
{
    struct stat stat_now;
    struct file *file = NULL;

    /* Plain files only: a FIFO would block the loop, a device never ends. */
    if (stat(path, &stat_now) != 0 || !S_ISREG(stat_now.st_mode))
        return false;
    VEC_EACH (each, &sd->files)
        if (strcmp(each->path, path) == 0)
            file = each;
    if (!file) {
        struct file added = {.path = str_dup(str_of(path)), .len = -1};
        VEC_PUSH(&sd->files, added);
        file = &sd->files.items[sd->files.count - 1];
    }
    if (file->seen)
        return false;
    file->seen = true;
    return !file_is_same(file, &stat_now) && file_read(sd, file, &stat_now);
}

/* The directory of a pattern, "." when there is none. Free with mem_free. */
static char *pattern_directory(const char *pattern)
{
    const char *slash = strrchr(pattern, '/');

    if (!slash)
        return str_dup(STR("."));
    return str_dup(str_from(pattern, slash == pattern ? 1 : (size_t)(slash - pattern)));
}

/* Only the last part may hold wildcards, so it is one directory. */
static bool visit_pattern(struct file_sd *sd, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    const char *last = slash ? slash + 1 : pattern;
    bool changed = false;

    if (!strpbrk(last, "*?["))
        return visit_file(sd, pattern);
    char *directory = pattern_directory(pattern);
    DIR *dir = opendir(directory);
    mem_free(directory);
    if (!dir)
        return false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct buf path;
        if (entry->d_name[0] == '.' || fnmatch(last, entry->d_name, 0) != 0)
            continue;
        buf_init(&path, 8192);
        buf_add(&path, pattern, (size_t)(last - pattern));
        buf_add(&path, entry->d_name, strlen(entry->d_name) + 1);
        if (!path.overflow)
            changed |= visit_file(sd, path.ptr);
        buf_deinit(&path);
    }
    (void)closedir(dir);
    return changed;
}

/* Forgets what was not visited. */
static bool sweep_files(struct file_sd *sd)
{
    size_t kept = 0;
    bool changed = false;

    for (size_t i = 0; i < sd->files.count; i++) {
        struct file *file = &sd->files.items[i];
        if (file->seen) {
            file->seen = false;
            sd->files.items[kept++] = *file;
            continue;
        }
        LOG_D("File disappeared", "path", file->path);
        changed |= file->group_count > 0;
        file_deinit(file);
    }
    sd->files.count = kept;
    return changed;
}

static bool read_all(struct file_sd *sd)
{
    bool changed = false;
    int64_t begin_ns = clock_mono_ns();

    VEC_EACH (pattern, &sd->patterns)
        changed |= visit_pattern(sd, *pattern);
    changed |= sweep_files(sd);
    VEC_SORT(&sd->files, file_compare);
    summary_add(&sd->env->stats->file_scan, (double)(clock_mono_ns() - begin_ns) / 1e9,
                clock_mono_ms());
    return changed;
}

static void watch_all(struct file_sd *sd);

static void on_gathered(void *ctx)
{
    struct file_sd *sd = ctx;

    watch_all(sd);
    if (read_all(sd))
        sd->changed(sd->ctx);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct watch *watch = CONTAINER_OF(event, struct watch, event);

    (void)name;
    (void)events;
    if (!watch->sd)
        return;
    watch->sd->env->stats->file_watch_errors += status < 0;
    timer_start(watch->sd->gather, EVENT_DELAY_MS, 0);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = CONTAINER_OF(handle, struct watch, event);

    mem_free(watch->path);
    mem_free(watch);
}

static bool is_watched(const struct file_sd *sd, const char *path)
{
    for (size_t i = 0; i < sd->watches.count; i++)
        if (strcmp(sd->watches.items[i]->path, path) == 0)
            return true;
    return false;
}

static void watch_directory(struct file_sd *sd, const char *path)
{
    struct watch *watch = MEM_NEW(struct watch);

    watch->path = str_dup(str_of(path));
    watch->sd = sd;
    uv_fs_event_init(sd->loop, &watch->event);
    if (uv_fs_event_start(&watch->event, on_event, path, 0) == 0) {
        VEC_PUSH(&sd->watches, watch);
        return;
    }
    sd->env->stats->file_watch_errors++;
    uv_close((uv_handle_t *)&watch->event, on_watch_closed);
}

/* A directory that is not there yet is tried again at each refresh. */
static void watch_all(struct file_sd *sd)
{
    VEC_EACH (pattern, &sd->patterns) {
        char *directory = pattern_directory(*pattern);
        if (!is_watched(sd, directory))
            watch_directory(sd, directory);
        mem_free(directory);
    }
}

struct file_sd *file_sd_open(const struct provider_env *env, const struct config_file_sd *config,
                             provider_changed_fn changed, void *ctx)
{
    struct file_sd *sd = MEM_NEW(struct file_sd);

    for (size_t i = 0; i < config->files.count; i++)
        VEC_PUSH(&sd->patterns, str_dup(config->files.items[i]));
    sd->loop = env->loop;
    sd->env = env;
    sd->changed = changed;
    sd->ctx = ctx;
    sd->refresh_ms = config->refresh_ms;
    sd->gather = timer_new(env->loop, on_gathered, sd);
    sd->refresh = timer_new(env->loop, on_gathered, sd);
    watch_all(sd);
    (void)read_all(sd);
    sd->opened = true;
    timer_start(sd->refresh, sd->refresh_ms, sd->refresh_ms);
    return sd;
}

void file_sd_collect(const struct file_sd *sd, struct group_list *out)
{
    for (size_t i = 0; i < sd->files.count; i++)
        for (size_t j = 0; j < sd->files.items[i].group_count; j++)
            VEC_PUSH(&out->groups, target_group_ref(sd->files.items[i].groups[j]));
}

void file_sd_each(const struct file_sd *sd, sd_file_fn fn, void *ctx)
{
    for (size_t i = 0; i < sd->files.count; i++) {
        const struct file *file = &sd->files.items[i];
        fn(ctx, str_of(file->path),
           (double)file->modified.tv_sec + (double)file->modified.tv_nsec / 1e9);
    }
}

void file_sd_close(struct file_sd *sd)
{
    if (!sd)
        return;
    timer_free(sd->refresh);
    timer_free(sd->gather);
    VEC_EACH (watch, &sd->watches) {
        (*watch)->sd = NULL;
        uv_close((uv_handle_t *)&(*watch)->event, on_watch_closed);
    }
    VEC_FREE(&sd->watches);
    VEC_EACH (file, &sd->files)
        file_deinit(file);
    VEC_FREE(&sd->files);
    VEC_EACH (pattern, &sd->patterns)
        mem_free(*pattern);
    VEC_FREE(&sd->patterns);
    mem_free(sd);
}
