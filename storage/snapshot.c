/* snapshot: see snapshot.h. */
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/timetext.h"
#include "store.h"

#define COPY_BYTES ((size_t)1 << 20)
#define PATH_MAX_  4096

struct snapshot {
    struct job job;
    struct list_node node; /* In storage->snapshots. */
    struct storage *storage;
    char name[STORAGE_SNAPSHOT_NAME_MAX];
    char dir[PATH_MAX_]; /* <path>/snapshots/<name> */
    uint64_t slot;       /* Those up to this one are to be sealed before. */
    uint64_t seal_failures;
    const struct file_list *files;
    uint32_t pin;
    bool running, failed;
    storage_snapshot_fn done;
    void *ctx;
    struct err err;
};

/* --- build lane --- */

static bool copy_bytes(int from, int to, const char *path, struct err *err)
{
    char *bytes = mem_alloc(COPY_BYTES);
    bool good = true;
    for (ssize_t got; good && (got = read(from, bytes, COPY_BYTES)) != 0;) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            good = err_errno(err, errno, "copy to %s", path);
        for (ssize_t at = 0; good && at < got;) {
            ssize_t wrote = write(to, bytes + at, (size_t)(got - at));
            if (wrote < 0 && errno != EINTR)
                good = err_errno(err, errno, "write %s", path);
            at += wrote > 0 ? wrote : 0;
        }
    }
    mem_free(bytes);
    return good;
}

/* A file that never changes again: a second name for it, or a copy where the file system has no second names. */
static bool link_or_copy(const char *from, const char *to, struct err *err)
{
    if (link(from, to) == 0)
        return true;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(err, errno, "open %s", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool good = out >= 0 || err_errno(err, errno, "create %s", to);
    good = good && copy_bytes(in, out, to, err) &&
           (fsync(out) == 0 || err_errno(err, errno, "fsync %s", to));
    close(in);
    if (out >= 0)
        close(out);
    return good;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool take_partition(const struct partition *open, const char *dir, struct err *err)
{
    char to[PATH_MAX_ + 300];
    const struct segment_list *segments =
        atomic_load_explicit(&open->spilled, memory_order_acquire);
    snprintf(to, sizeof(to), "%s/%s", dir, base_name(open->path));
    if (!kv_copy(open->kv, to, true, err))
        return false;
    for (uint32_t i = 0; segments && i < segments->count; i++) {
        snprintf(to, sizeof(to), "%s/%s", dir, base_name(segments->items[i]->path));
        if (!link_or_copy(segments->items[i]->path, to, err))
            return false;
    }
    return true;
}

static bool take_files(struct snapshot *snapshot, const char *dir, struct err *err)
{
    char to[PATH_MAX_ + 300];
    for (uint32_t i = 0; snapshot->files && i < snapshot->files->count; i++) {
        const struct store_file *file = &snapshot->files->items[i];
        if (file->open) {
            if (!take_partition(file->open, dir, err))
                return false;
            continue;
        }
        snprintf(to, sizeof(to), "%s/%s", dir, base_name(day_file_path(file->day)));
        if (!link_or_copy(day_file_path(file->day), to, err))
            return false;
    }
    snprintf(to, sizeof(to), "%s/head.mdb", dir);
    return kv_copy(snapshot->storage->head, to, true, err) && file_sync_dir(dir, err);
}

/* A directory of ours, two levels at most. */
static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char below[PATH_MAX_ + 600];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (unlink(below) != 0 && (errno == EISDIR || errno == EPERM))
            remove_tree(below);
    }
    if (dir)
        closedir(dir);
    if (rmdir(path) != 0 && errno != ENOENT)
        LOG_W("A directory could not be removed", "path", path);
}

static void remove_leftovers(const char *snapshots)
{
    DIR *dir = opendir(snapshots);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX_ + 600];
        snprintf(path, sizeof(path), "%s/%s", snapshots, entry->d_name);
        if (str_ends(str_of(entry->d_name), STR(".tmp")))
            remove_tree(path);
    }
    if (dir)
        closedir(dir);
}

static bool take_all(struct snapshot *snapshot, const char *snapshots, const char *temporary,
                     struct err *err)
{
    char inside[PATH_MAX_ + 100];
    snprintf(inside, sizeof(inside), "%s/narthex", temporary);
    return file_mkdirs(inside, err) && take_files(snapshot, inside, err) &&
           file_sync_dir(temporary, err) && file_rename(temporary, snapshot->dir, err) &&
           file_sync_dir(snapshots, err);
}

static void snapshot_run(struct job *base)
{
    struct snapshot *snapshot = CONTAINER_OF(base, struct snapshot, job);
    char snapshots[PATH_MAX_], temporary[PATH_MAX_ + 8];
    ensure_set_job("take a snapshot");
    snprintf(snapshots, sizeof(snapshots), "%s", snapshot->dir);
    *strrchr(snapshots, '/') = '\0';
    snprintf(temporary, sizeof(temporary), "%s.tmp", snapshot->dir);
    remove_leftovers(snapshots);
    snapshot->failed = !take_all(snapshot, snapshots, temporary, &snapshot->err);
    if (snapshot->failed && access(temporary, F_OK) == 0)
        remove_tree(temporary);
    ensure_set_job("build lane");
}

/* --- loop --- */

static void snapshot_end(struct snapshot *snapshot)
{
    if (snapshot->failed)
        LOG_E("A snapshot could not be taken", "err", snapshot->err.text);
    else
        LOG_I("Snapshot is taken", "dir", snapshot->dir);
    list_remove(&snapshot->node);
    snapshot->done(snapshot->ctx, snapshot->name, &snapshot->err);
    mem_free(snapshot);
}

static void snapshot_done(struct job *base)
{
    struct snapshot *snapshot = CONTAINER_OF(base, struct snapshot, job);
    epoch_unpin(&snapshot->storage->epoch, snapshot->pin);
    snapshot_end(snapshot);
}

static void name_it(struct snapshot *snapshot)
{
    struct time_civil civil = time_civil_utc(clock_wall_ms() / 1000);
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        number = hash64_mix((uint64_t)clock_mono_ns(), (uint64_t)getpid());
    snprintf(snapshot->name, sizeof(snapshot->name), "%04d%02d%02dT%02d%02d%02dZ-%016llx",
             (int)civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
             (unsigned long long)(number >> 1));
    snprintf(snapshot->dir, sizeof(snapshot->dir), STR_FMT "/snapshots/%s",
             STR_ARG(snapshot->storage->options.path), snapshot->name);
}

void storage_snapshot(struct storage *storage, bool skip_head, storage_snapshot_fn done, void *ctx)
{
    struct snapshot *snapshot = MEM_NEW(struct snapshot);
    snapshot->storage = storage;
    snapshot->done = done;
    snapshot->ctx = ctx;
    snapshot->seal_failures = storage->stats.seal_failures;
    snapshot->job.run = snapshot_run;
    snapshot->job.done = snapshot_done;
    name_it(snapshot);
    if (!skip_head) {
        seal_cut_all(storage);
        snapshot->slot = storage->next_slot - 1;
    }
    list_push_back(&storage->snapshots, &snapshot->node);
    if (storage->options.wake)
        storage->options.wake(storage->options.wake_ctx, 0);
}

static struct snapshot *snapshot_first(const struct storage *storage)
{
    struct list_node *node = list_first(&storage->snapshots);
    return node ? CONTAINER_OF(node, struct snapshot, node) : NULL;
}

bool snapshot_holds_files(const struct storage *storage)
{
    return snapshot_first(storage) != NULL;
}

static bool is_drained(const struct storage *storage, const struct snapshot *snapshot)
{
    return !storage->publish && !storage->spill && !seal_has_slot(storage, snapshot->slot) &&
           !late_has_slot(storage, snapshot->slot);
}

void snapshot_tick(struct storage *storage)
{
    struct snapshot *snapshot = snapshot_first(storage);
    if (!snapshot || snapshot->running)
        return;
    if (storage->stats.seal_failures != snapshot->seal_failures) {
        snapshot->failed = true;
        err_set(&snapshot->err, ERR_IO, "samples in memory could not be written to the files");
        snapshot_end(snapshot);
        return;
    }
    if (!is_drained(storage, snapshot))
        return;
    snapshot->running = true;
    snapshot->pin = epoch_pin(&storage->epoch);
    snapshot->files = file_list_now(storage);
    storage->options.submit_build(storage->options.build_ctx, &snapshot->job);
}

void snapshot_stop(struct storage *storage)
{
    for (struct snapshot *snapshot; (snapshot = snapshot_first(storage)) && !snapshot->running;) {
        snapshot->failed = true;
        err_set(&snapshot->err, ERR_CANCELED, "the server is stopping");
        snapshot_end(snapshot);
    }
}
