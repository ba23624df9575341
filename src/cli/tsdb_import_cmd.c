/* tsdb_import_cmd: tsdb create-blocks-from openmetrics: samples of any past time into the days of a store.
 *
 * The file is read once, a piece at a time ("-": stdin). The store's lock is held: a server that runs is refused. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands.h"
#include "scrape/openmetrics_reader.h"
#include "tsdb.h"

#define READ_BYTES  ((size_t)1 << 18)
#define PROGRESS_MS 2000

struct import {
    struct storage_import *storage;
    struct openmetrics_reader *reader;
    uint64_t samples, bytes, bytes_all; /* 0: not known. */
    int64_t told_ms;
    bool quiet, for_people;
    struct buf rows;
    struct label extra[32]; /* Of --label: added to each series. */
    size_t extra_count;
    struct labels_builder builder;
};

static bool on_sample(void *ctx, const struct openmetrics_sample *sample, struct err *err)
{
    struct import *import = ctx;
    const struct label *labels = sample->labels;
    size_t count = sample->label_count;
    if (!sample->has_time)
        return err_set(err, ERR_BAD_DATA, "expected timestamp for series got none");
    if (import->extra_count > 0) {
        labels_builder_clear(&import->builder);
        for (size_t i = 0; i < count; i++)
            labels_builder_set(&import->builder, labels[i].name, labels[i].value);
        for (size_t i = 0; i < import->extra_count; i++)
            labels_builder_set(&import->builder, import->extra[i].name, import->extra[i].value);
        labels = import->builder.items;
        count = import->builder.count;
    }
    import->samples++;
    return storage_import_add(import->storage, labels, count, sample->time_ms, sample->value, err);
}

static void tell_progress(struct import *import)
{
    int64_t now_ms = clock_mono_ms();
    if (import->quiet || now_ms - import->told_ms < PROGRESS_MS)
        return;
    import->told_ms = now_ms;
    if (import->bytes_all > 0)
        fprintf(stderr, "read %.0f %%, %" PRIu64 " samples\n",
                100 * (double)import->bytes / (double)import->bytes_all, import->samples);
    else
        fprintf(stderr, "read %" PRIu64 " samples\n", import->samples);
}

static bool read_file(struct import *import, int fd, const char *path, struct err *err)
{
    char *bytes = mem_alloc(READ_BYTES);
    bool good = true;
    ssize_t got = 1;
    while (good && got != 0) {
        got = read(fd, bytes, READ_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            good = err_errno(err, errno, "read %s", path);
        else if (got > 0)
            good = openmetrics_reader_feed(import->reader, str_from(bytes, (size_t)got), err);
        import->bytes += got > 0 ? (uint64_t)got : 0;
        tell_progress(import);
    }
    good = good && openmetrics_reader_end(import->reader, err);
    mem_free(bytes);
    if (!good && err->code == ERR_BAD_DATA)
        err_wrap(err, "%s: line %" PRIu64, path, openmetrics_reader_line(import->reader));
    return good;
}

static bool tell_day(void *ctx, const struct storage_file *file)
{
    struct import *import = ctx;
    struct str name = file->name;
    name.len -= str_ends(name, STR(".mdb")) ? strlen(".mdb") : 0;
    buf_addf(&import->rows, STR_FMT "\t", STR_ARG(name));
    tsdb_add_time(&import->rows, file->time_min_ms, import->for_people);
    buf_add_char(&import->rows, '\t');
    tsdb_add_time(&import->rows, file->time_max_ms + 1, import->for_people);
    buf_add_char(&import->rows, '\t');
    tsdb_add_duration(&import->rows, file->time_max_ms + 1 - file->time_min_ms);
    buf_addf(&import->rows, "\t%" PRIu64 "\t%" PRIu64 "\t", file->samples, file->series);
    tsdb_add_bytes(&import->rows, file->bytes, import->for_people);
    buf_add_char(&import->rows, '\n');
    if (!import->quiet && clock_mono_ms() - import->told_ms >= PROGRESS_MS) {
        import->told_ms = clock_mono_ms();
        fprintf(stderr, "wrote " STR_FMT "\n", STR_ARG(name));
    }
    return true;
}

static bool run(struct import *import, const char *path, struct str dir, struct err *err)
{
    struct stat info;
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        import->bytes_all = (uint64_t)info.st_size;
    bool good = storage_import_open(&import->storage, dir, err);
    if (good) {
        import->reader = openmetrics_reader_new(on_sample, import);
        good = read_file(import, fd, path, err) &&
               storage_import_finish(import->storage, tell_day, import, err);
    }
    close(fd);
    openmetrics_reader_free(import->reader);
    storage_import_close(import->storage);
    return good;
}

/* --label=name=value may be there several times: taken out of argv. */
static bool take_labels(struct import *import, int *argc, char **argv)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]), text = {NULL, 0};
        if (str_starts(arg, STR("--label="))) {
            text = str_after(arg, strlen("--label="));
        } else if (str_eq(arg, STR("--label")) && i + 1 < *argc) {
            text = str_of(argv[++i]);
        } else {
            argv[kept++] = argv[i];
            continue;
        }
        struct label label = {0};
        label.name = str_cut(text, '=', &label.value);
        if (!label.value.ptr || !label_name_is_valid(label.name) ||
            import->extra_count == COUNT_OF(import->extra))
            return false;
        import->extra[import->extra_count++] = label;
    }
    *argc = kept;
    return true;
}

int command_tsdb_create_blocks(int argc, char **argv)
{
    struct command_flag flags[] = {
        {.name = "r"}, {.name = "human-readable"}, {.name = "q"}, {.name = "quiet"}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct import import = {0};
    struct err err = {0};
    if (!take_labels(&import, &argc, argv))
        return tsdb_usage("a label is name=value");
    if (!command_parse(&line, argc, argv, &err))
        return tsdb_usage(err.text);
    if (line.arg_count == 0 || !str_eq(command_arg(&line, 0, ""), STR("openmetrics")))
        return tsdb_usage("create-blocks-from makes days from openmetrics only");
    if (line.arg_count < 2 || line.arg_count > 3)
        return tsdb_usage("required arguments: input file, and optionally the data directory");
    import.quiet = command_flag_value(&line, "q").ptr || command_flag_value(&line, "quiet").ptr;
    import.for_people =
        command_flag_value(&line, "r").ptr || command_flag_value(&line, "human-readable").ptr;
    buf_init(&import.rows, (size_t)64 << 20);
    BUF_ADD(&import.rows, "DAY\tMIN TIME\tMAX TIME\tDURATION\tNUM SAMPLES\tNUM SERIES\tSIZE\n");
    labels_builder_init(&import.builder);
    log_setup(LOG_WARN, LOG_LOGFMT);
    import.told_ms = clock_mono_ms();
    char *path = str_dup(command_arg(&line, 1, ""));
    bool good = run(&import, path, command_arg(&line, 2, "data/"), &err);
    if (good && !import.quiet && import.samples > 0)
        tsdb_print_table(stdout, buf_str(&import.rows));
    mem_free(path);
    labels_builder_deinit(&import.builder);
    buf_deinit(&import.rows);
    return good ? 0 : tsdb_fail(&err);
}
