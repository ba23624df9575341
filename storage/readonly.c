/* readonly: the published days of a store, for tools: no lock, nothing is written, a server may run on the same directory.
 *
 * A day is immutable: what a server replaces or unlinks meanwhile stays readable here. What is in open files, overlays and
 * the log is not shown; nor are deletes applied that are not yet in the days. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store.h"

static bool is_day(struct str name)
{
    return str_ends(name, STR(".mdb")) && !str_ends(name, STR(".open.mdb")) &&
           !str_ends(name, STR(".ooo.mdb")) && !str_eq(name, STR("head.mdb"));
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void load_day(struct storage *storage, const char *name)
{
    struct day_file *day;
    struct err err = {0};
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", storage->dir, name);
    if (!day_file_open(&day, path, &err)) {
        LOG_W("A day cannot be read and is left out", "err", err.text);
        return;
    }
    const struct day_info *info = day_file_info(day);
    struct store_file file = {.from_ms = info->from_ms, .to_ms = info->to_ms, .day = day};
    head_note_time(storage, info->time_min_ms);
    head_note_time(storage, info->time_max_ms);
    file_list_update(storage, &file);
}

bool storage_open_readonly(struct storage **out, struct str path, struct err *err)
{
    struct storage_options options;
    VEC(char *) names = {0};
    storage_options_init(&options);
    options.path = path;
    options.retention_ms = 0;
    struct storage *storage = storage_new(&options);
    DIR *dir = opendir(storage->dir);
    if (!dir) {
        err_errno(err, errno, "open %s", storage->dir);
        storage_close(storage);
        return false;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (is_day(str_of(entry->d_name)))
            VEC_PUSH(&names, str_dup(str_of(entry->d_name)));
    }
    closedir(dir);
    VEC_SORT(&names, compare_text);
    VEC_EACH (name, &names) {
        load_day(storage, *name);
        mem_free(*name);
    }
    VEC_FREE(&names);
    *out = storage;
    return true;
}

bool storage_each_file(const struct storage *storage, storage_file_fn fn, void *ctx)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct store_file *file = &list->items[i];
        const char *path = file->day ? day_file_path(file->day) : file->open->path;
        const char *slash = strrchr(path, '/');
        struct storage_file told = {.name = str_of(slash ? slash + 1 : path),
                                    .from_ms = file->from_ms,
                                    .to_ms = file->to_ms,
                                    .bytes = store_file_bytes(file)};
        if (file->day) {
            const struct day_info *info = day_file_info(file->day);
            told.is_day = true;
            told.time_min_ms = info->time_min_ms;
            told.time_max_ms = info->time_max_ms;
            told.series = info->series_count;
            told.samples = info->sample_count;
            told.index_bytes = info->index_bytes;
            told.column_bytes = info->column_bytes;
            told.chunk_bytes = info->chunk_bytes;
        }
        if (!fn(ctx, &told))
            return false;
    }
    return true;
}
