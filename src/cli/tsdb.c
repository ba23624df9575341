/* tsdb: see tsdb.h. */
#include "tsdb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timetext.h"

#define COLUMN_WIDTH_MIN 13
#define COLUMN_PADDING   2
#define COLUMNS_MAX      16

/* Both lanes: nothing runs beside a tool. */
static void run_now(void *ctx, struct job *job)
{
    (void)ctx;
    job->run(job);
    job->done(job);
}

bool tsdb_open(struct storage **out, struct str path, bool days_only, struct err *err)
{
    struct storage_options options;
    struct stat info;
    char *narthex = mem_alloc(path.len + 16);
    snprintf(narthex, path.len + 16, STR_FMT "/narthex", STR_ARG(path));
    bool there = stat(narthex, &info) == 0 && S_ISDIR(info.st_mode);
    if (!there)
        err_set(err, ERR_NOT_FOUND, "opening the db dir: %s: no such directory", narthex);
    mem_free(narthex);
    if (!there)
        return false;
    log_setup(LOG_WARN, LOG_LOGFMT);
    if (days_only)
        return storage_open_readonly(out, path, err);
    storage_options_init(&options);
    options.path = path;
    options.retention_ms = 0;
    options.submit_commit = run_now;
    if (storage_open(out, &options, err))
        return true;
    fprintf(stderr,
            "%s\nonly published days are read; newer samples are left out, and so are deletes that "
            "are not cleaned\n",
            err->text);
    err_clear(err);
    return storage_open_readonly(out, path, err);
}

void tsdb_add_duration(struct buf *out, int64_t ms)
{
    if (ms < 1000) {
        buf_addf(out, "%" PRId64 "%s", ms, ms == 0 ? "s" : "ms");
        return;
    }
    int64_t hours = ms / 3600000, minutes = ms / 60000 % 60, rest = ms % 60000;
    if (hours > 0)
        buf_addf(out, "%" PRId64 "h", hours);
    if (hours > 0 || minutes > 0)
        buf_addf(out, "%" PRId64 "m", minutes);
    buf_addf(out, "%" PRId64, rest / 1000);
    if (rest % 1000) {
        char digits[8];
        int len = snprintf(digits, sizeof(digits), "%03d", (int)(rest % 1000));
        while (len > 0 && digits[len - 1] == '0')
            digits[--len] = '\0';
        buf_addf(out, ".%s", digits);
    }
    buf_add_char(out, 's');
}

void tsdb_add_time(struct buf *out, int64_t time_ms, bool for_people)
{
    if (!for_people) {
        buf_addf(out, "%" PRId64, time_ms);
        return;
    }
    struct time_civil civil = time_civil_utc(time_ms / 1000 - (time_ms % 1000 < 0));
    buf_addf(out, "%04" PRId64 "-%02d-%02d %02d:%02d:%02d +0000 UTC", civil.year, civil.month,
             civil.day, civil.hour, civil.minute, civil.second);
}

void tsdb_add_bytes(struct buf *out, uint64_t bytes, bool for_people)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    if (!for_people) {
        buf_addf(out, "%" PRIu64, bytes);
        return;
    }
    for (; value >= 1024 && unit + 1 < COUNT_OF(units); unit++)
        value /= 1024;
    buf_addf(out, unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

void tsdb_print_table(FILE *to, struct str rows)
{
    size_t widths[COLUMNS_MAX] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (struct str rest = rows; rest.len > 0;) {
            struct str line = str_cut(rest, '\n', &rest);
            for (size_t column = 0; line.ptr && column < COLUMNS_MAX; column++) {
                struct str more = {NULL, 0}, cell = str_cut(line, '\t', &more);
                size_t wanted = cell.len + COLUMN_PADDING;
                wanted = wanted < COLUMN_WIDTH_MIN ? COLUMN_WIDTH_MIN : wanted;
                if (pass == 0 && wanted > widths[column])
                    widths[column] = wanted;
                if (pass == 1)
                    fprintf(to, "%-*.*s", more.ptr ? (int)widths[column] : 0, (int)cell.len,
                            cell.ptr);
                line = more;
            }
            if (pass == 1)
                fputc('\n', to);
        }
    }
}

int tsdb_fail(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

int tsdb_usage(const char *what)
{
    fprintf(stderr, "error: %s\n", what);
    return 2;
}
