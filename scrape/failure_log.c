/* failure_log: see failure_log.h. The line's fields and their order are those of Prometheus. */
#include "failure_log.h"

#include <unistd.h>

#include "base/json_lines.h"
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
        struct err err = {0};
        if (!json_lines_open(log.path, &log.fd, &err))
            LOG_E("Scrape failures are not logged", "err", err.text);
        VEC_PUSH(&logs->items, log);
    }
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
    json_line_begin(&line, "ERROR", "scrape/fetch.c");
    json_line_add(&line, "msg", str_of(error));
    json_line_add(&line, "job_name", options->job_name);
    json_line_add(&line, "target", str_of(target));
    BUF_ADD(&line, "}\n");
    if (!line.overflow)
        (void)!write(log->fd, line.ptr, line.len);
    buf_deinit(&line);
}
