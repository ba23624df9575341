/* failure_log: see failure_log.h. The line's fields and their order are those of Prometheus. */
#include "failure_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LINE_BYTES_MAX ((size_t)64 << 10)

static const struct failure_log *logs_find(const struct failure_logs *logs, struct str path)
{
    for (size_t i = 0; i < logs->items.count; i++)
        if (str_eq(str_of(logs->items.items[i].path), path))
            return &logs->items.items[i];
    return NULL;
}

void failure_logs_deinit(struct failure_logs *logs)
{
    VEC_EACH (log, &logs->items) {
        if (log->fd >= 0)
            close(log->fd);
        mem_free(log->path);
    }
    VEC_FREE(&logs->items);
}

void failure_logs_apply(struct failure_logs *logs, const struct config *config)
{
    failure_logs_deinit(logs);
    for (size_t i = 0; i < config->scrape_count; i++) {
        struct str path = config->scrapes[i].failure_log_file;
        if (path.len == 0 || logs_find(logs, path))
            continue;
        struct failure_log log = {.path = str_dup(path)};
        log.fd = open(log.path, O_APPEND | O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        if (log.fd < 0)
            LOG_E("Scrape failures are not logged: can't create json log file", "file", log.path,
                  "err", strerror(errno));
        VEC_PUSH(&logs->items, log);
    }
}

/* 2026-11-22T10:00:00.000Z */
static void add_time(struct buf *out, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char text[32] = "";

    if (gmtime_r(&seconds, &parts))
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    buf_addf(out, "%s.%03dZ", text, (int)(wall_ms % 1000));
}

static void add_field(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, ",\"%s\":", name);
    buf_add_json_string(out, value);
}

void failure_logs_write(const struct failure_logs *logs, const struct config_scrape *options,
                        const char *target, const char *error)
{
    const struct failure_log *log =
        options->failure_log_file.len > 0 ? logs_find(logs, options->failure_log_file) : NULL;
    struct buf line;

    if (!log || log->fd < 0)
        return;
    buf_init(&line, LINE_BYTES_MAX);
    BUF_ADD(&line, "{\"time\":\"");
    add_time(&line, clock_wall_ms());
    BUF_ADD(&line, "\",\"level\":\"ERROR\",\"source\":\"scrape/fetch.c\"");
    add_field(&line, "msg", str_of(error));
    add_field(&line, "job_name", options->job_name);
    add_field(&line, "target", str_of(target));
    BUF_ADD(&line, "}\n");
    if (!line.overflow)
        (void)!write(log->fd, line.ptr, line.len);
    buf_deinit(&line);
}
