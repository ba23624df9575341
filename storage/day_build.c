/* day_build: the run of a build; its steps are listed in day_build_private.h.
 *
 * The new file is a .tmp until it has been synced, opened as a reader would and walked through; whatever goes wrong
 * before the rename, the inputs are as they were and the .tmp is gone. A .tmp or scratch file that an earlier process
 * left behind is removed first. */
#include "day_build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/timetext.h"
#include "day_build_private.h"
#include "day_file_private.h"

#define PAUSE_NS (2 * 1000 * 1000) /* Of work between two pauses. */

/* --- the job --- */

bool day_job_stopped(const struct day_job *job)
{
    return job->build->stop && atomic_load_explicit(job->build->stop, memory_order_relaxed);
}

bool day_job_step(struct day_job *job, uint64_t bytes, struct err *err)
{
    const struct day_build *build = job->build;
    job->bytes_done += bytes;
    if (day_job_stopped(job))
        return err_set(err, ERR_CANCELED, "the build was stopped");
    if (build->pause && clock_mono_ns() - job->worked_since_ns >= PAUSE_NS) {
        build->pause(build->pause_ctx, job->bytes_done,
                     job->bytes_all > job->bytes_done ? job->bytes_all : job->bytes_done);
        job->worked_since_ns = clock_mono_ns();
    }
    return true;
}

static void stamp(struct buf *out, int64_t time_ms)
{
    struct time_civil civil = time_civil_utc(time_ms / 1000 - (time_ms % 1000 < 0));
    buf_addf(out, "%04" PRId64 "%02d%02dT%02dZ", civil.year, civil.month, civil.day, civil.hour);
}

static char *stem_of(const struct day_build *build)
{
    struct buf path;
    buf_init(&path, 4000);
    buf_addf(&path, "%s/", build->dir);
    stamp(&path, build->from_ms);
    buf_add_char(&path, '-');
    stamp(&path, build->to_ms);
    char *stem = str_dup(buf_str(&path));
    buf_deinit(&path);
    return stem;
}

static char *path_of(const char *stem, const char *tail)
{
    size_t len = strlen(stem) + strlen(tail) + 1;
    char *path = mem_alloc(len);
    snprintf(path, len, "%s%s", stem, tail);
    return path;
}

/* What an earlier process may have left behind under this name. */
static bool remove_leftovers(const struct day_build *build, const char *stem, struct err *err)
{
    struct str name = str_of(strrchr(stem, '/') + 1);
    DIR *dir = opendir(build->dir);
    bool good = true;
    if (!dir)
        return err_errno(err, errno, "open %s", build->dir);
    for (struct dirent *entry = readdir(dir); entry && good; entry = readdir(dir)) {
        struct str found = str_of(entry->d_name);
        if (!str_starts(found, name) ||
            (!str_ends(found, STR(".scratch")) && !str_ends(found, STR(".mdb.tmp"))))
            continue;
        char path[4300];
        snprintf(path, sizeof(path), "%s/%s", build->dir, entry->d_name);
        good = file_unlink(path, err);
    }
    closedir(dir);
    return good;
}

/* --- the steps --- */

struct building {
    struct day_job job;
    struct day_sources sources;
    struct day_deal deal;
    struct day_merge merge;
    struct day_gather gather;
    struct day_chunks chunks;
    struct day_writer writer;
    struct disk_index_writer *index;
    struct day_info info;
};

static void note_series(struct building *building)
{
    const struct day_gather *gather = &building->gather;
    const int64_t *times_ms = gather->result->time_ms + gather->first;
    struct day_info *info = &building->info;
    if (info->series_count == 0 || times_ms[0] < info->time_min_ms)
        info->time_min_ms = times_ms[0];
    if (info->series_count == 0 || times_ms[gather->count - 1] > info->time_max_ms)
        info->time_max_ms = times_ms[gather->count - 1];
    info->series_count++;
    info->sample_count += gather->count;
}

static bool encode_all(struct building *building, struct err *err)
{
    const struct day_build *build = building->job.build;
    uint64_t share = building->job.bytes_all / (building->sources.series_count + 1) + 1;
    bool found = true;
    building->job.bytes_all *= 2;
    if (!day_merge_open(&building->merge, &building->sources, err))
        return false;
    while (true) {
        if (!day_job_step(&building->job, share, err) ||
            !day_merge_next(&building->merge, &found, err))
            return false;
        if (!found)
            break;
        if (!day_gather_series(&building->gather, &building->merge, err))
            return false;
        if (building->gather.count == 0)
            continue;
        if (!day_chunks_encode(&building->chunks, &building->gather, building->merge.labels,
                               building->merge.label_count, building->info.series_count,
                               build->from_ms, build->to_ms, err) ||
            !day_writer_add(&building->writer, &building->writer.chunks,
                            buf_str(&building->chunks.entry), err))
            return false;
        disk_index_writer_add(building->index, building->merge.labels, building->merge.label_count);
        note_series(building);
    }
    return day_writer_flush(&building->writer, &building->writer.chunks, err);
}

static bool write_columns(struct building *building, struct err *err)
{
    struct day_times_table *table = &building->chunks.times;
    struct buf entry;
    bool good = true;
    buf_init(&entry, (size_t)1 << 24);
    for (size_t i = 0; i < table->columns.count && good; i++) {
        const struct day_column *column = &table->columns.items[i];
        buf_clear(&entry);
        write_varint(&entry, column->rows);
        char *room = buf_reserve(&entry, column->len);
        good = day_job_step(&building->job, 0, err) &&
               day_scratch_read(&table->scratch, column->offset, room, column->len, err);
        buf_commit(&entry, column->len);
        good = good &&
               day_writer_add(&building->writer, &building->writer.columns, buf_str(&entry), err);
    }
    buf_deinit(&entry);
    return good && day_writer_flush(&building->writer, &building->writer.columns, err);
}

static bool write_section(void *ctx, unsigned section, struct str bytes, struct err *err)
{
    struct building *building = ctx;
    return day_job_step(&building->job, 0, err) &&
           day_writer_put(&building->writer, DAY_INDEX, section, bytes, err);
}

static bool write_info(struct building *building, struct err *err)
{
    struct day_info *info = &building->info;
    const struct day_build *build = building->job.build;
    const uint64_t *bytes = building->writer.table_bytes;
    struct buf value;
    buf_init(&value, 4096);
    info->from_ms = build->from_ms;
    info->to_ms = build->to_ms;
    info->slot_last = building->deal.slot_last;
    info->sequence_last = build->sequence_last;
    info->index_bytes = bytes[DAY_INDEX];
    info->column_bytes = bytes[DAY_COLUMNS];
    info->chunk_bytes = bytes[DAY_CHUNKS];
    day_info_write(&value, info, (uint32_t)building->chunks.times.columns.count);
    bool good = day_writer_put(&building->writer, DAY_META, DAY_META_INFO, buf_str(&value), err);
    buf_deinit(&value);
    return good;
}

static uint64_t bytes_at_most(const struct building *building)
{
    uint64_t bytes = building->sources.bundle_bytes;
    for (size_t i = 0; i < building->sources.count; i++) {
        const struct day_file *day = building->sources.items[i].input->day;
        bytes += day ? day_file_info(day)->bytes : 0;
    }
    /* Values that overlap are decoded and coded anew: never more than 9 bytes a sample, of which a run of equal values
     * may have none. The map is address space only. */
    return bytes * 16 + ((uint64_t)building->sources.series_count << 16);
}

static bool write_file(struct building *building, const char *path, struct err *err)
{
    struct day_job *job = &building->job;
    if (!day_sources_open(&building->sources, job, err) ||
        !day_deal_open(&building->deal, &building->sources, err))
        return false;
    day_gather_init(&building->gather, &building->deal);
    if (!day_chunks_open(&building->chunks, job->stem, err) ||
        !day_writer_open(&building->writer, path, bytes_at_most(building), err) ||
        !encode_all(building, err))
        return false;
    if (building->info.series_count == 0)
        return err_set(err, ERR_NOT_FOUND, "no sample is left");
    return write_columns(building, err) &&
           disk_index_writer_finish(building->index, write_section, building, err) &&
           write_info(building, err) && day_writer_commit(&building->writer, err);
}

static void building_free(struct building *building)
{
    disk_index_writer_free(building->index);
    day_writer_close(&building->writer);
    if (building->chunks.encoder)
        day_chunks_close(&building->chunks);
    day_gather_deinit(&building->gather);
    if (building->merge.sources)
        day_merge_close(&building->merge);
    day_deal_close(&building->deal);
    day_sources_close(&building->sources);
    mem_free(building);
}

/* Opens the file as a reader would, before anybody relies on it. */
static bool check_file(const struct day_job *job, const struct day_info *wanted, const char *path,
                       struct err *err)
{
    struct day_file *day;
    if (!day_file_open(&day, path, err))
        return false;
    const struct day_info *info = day_file_info(day);
    bool good =
        info->series_count == wanted->series_count && info->sample_count == wanted->sample_count &&
        info->time_min_ms == wanted->time_min_ms && info->time_max_ms == wanted->time_max_ms;
    good = good || err_set(err, ERR_CORRUPT, "%s: it is not what was written", path);
    good = good && day_file_verify(day, job->build->stop, err);
    day_file_unref(day);
    return good;
}

/* Nobody reads it now: its pages need not take the place of others. */
static void drop_from_cache(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void tell_left_out(const struct day_job *job)
{
    if (job->bad_bundles + job->bad_runs + job->bad_series == 0)
        return;
    LOG_E("Damaged data was left out of a partition", "file", job->stem, "bundles",
          log_fmt("%" PRIu64, job->bad_bundles), "runs", log_fmt("%" PRIu64, job->bad_runs),
          "series", log_fmt("%" PRIu64, job->bad_series));
}

static bool publish(const struct day_job *job, const struct day_info *info, const char *temporary,
                    const char *path, struct err *err)
{
    if (!day_trailer_append(temporary, err) || !check_file(job, info, temporary, err))
        return false;
    drop_from_cache(temporary);
    if (day_job_stopped(job))
        return err_set(err, ERR_CANCELED, "the build was stopped");
    return file_rename(temporary, path, err) && file_sync_dir(job->build->dir, err);
}

bool day_build_run(const struct day_build *build, char **out_path, struct err *err)
{
    struct building *building = MEM_NEW(struct building);
    char *stem = stem_of(build);
    char *temporary = path_of(stem, ".mdb.tmp"), *path = path_of(stem, ".mdb");
    struct err ignored = {0};
    ENSURE(build->from_ms < build->to_ms);
    building->job =
        (struct day_job){.build = build, .stem = stem, .worked_since_ns = clock_mono_ns()};
    building->index = disk_index_writer_new();
    bool good = remove_leftovers(build, stem, err) && write_file(building, temporary, err);
    struct day_job job = building->job;
    struct day_info info = building->info;
    building_free(building);
    good = good && publish(&job, &info, temporary, path, err);
    if (good)
        tell_left_out(&job);
    else if (access(temporary, F_OK) == 0 && !file_unlink(temporary, &ignored))
        err_wrap(err, "%s is left behind", temporary);
    mem_free(stem);
    mem_free(temporary);
    *out_path = good ? path : NULL;
    if (!good)
        mem_free(path);
    return good;
}
