/* query_log: see query_log.h. */
#include "query_log.h"

#include <errno.h>
#include <unistd.h>

#include "base/job.h"
#include "base/json_lines.h"
#include "base/log.h"
#include "base/mem.h"

#define LINE_BYTES_MAX    ((size_t)8 << 20)
#define PENDING_BYTES_MAX ((size_t)16 << 20)

struct query_log {
    struct job job;
    struct lane *lane; /* Borrowed. */
    int fd;
    struct buf pending, writing; /* `writing` is the job's while it runs. */
    uint64_t failed;             /* Lines of jobs that failed; the job's while it runs. */
    bool running, closed, told;
};

static bool write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t done = write(fd, bytes.ptr, bytes.len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes = str_from(bytes.ptr + done, bytes.len - (size_t)done);
    }
    return true;
}

/* Any thread. */
static void log_write(struct job *job)
{
    struct query_log *log = CONTAINER_OF(job, struct query_log, job);
    struct str bytes = buf_str(&log->writing);

    if (!write_all(log->fd, bytes))
        for (size_t i = 0; i < bytes.len; i++)
            log->failed += bytes.ptr[i] == '\n';
    buf_clear(&log->writing);
}

static void log_submit(struct query_log *log)
{
    buf_swap(&log->pending, &log->writing);
    log->running = true;
    lane_submit(log->lane, &log->job);
}

static void log_written(struct job *job)
{
    struct query_log *log = CONTAINER_OF(job, struct query_log, job);

    log->running = false;
    if (log->closed)
        query_log_close(log);
    else if (log->pending.len > 0)
        log_submit(log);
}

bool query_log_open(struct query_log **out, struct str path, struct lane *lane, struct err *err)
{
    char *name = str_dup(path);
    int fd;
    bool good = json_lines_open(name, &fd, err);

    mem_free(name);
    *out = NULL;
    if (!good)
        return false;
    struct query_log *log = MEM_NEW(struct query_log);
    log->job.run = log_write;
    log->job.done = log_written;
    log->lane = lane;
    log->fd = fd;
    buf_init(&log->pending, PENDING_BYTES_MAX);
    buf_init(&log->writing, PENDING_BYTES_MAX);
    *out = log;
    return true;
}

void query_log_close(struct query_log *log)
{
    if (!log)
        return;
    log->closed = true;
    if (log->running)
        return; /* Its end comes back here. */
    if (!write_all(log->fd, buf_str(&log->pending)))
        LOG_W("Query log could not be written at its end");
    buf_deinit(&log->pending);
    buf_deinit(&log->writing);
    close(log->fd);
    mem_free(log);
}

static struct str host_of(struct str address)
{
    size_t end = address.len;

    while (end > 0 && address.ptr[end - 1] != ':')
        end--;
    struct str host = str_from(address.ptr, end > 0 ? end - 1 : address.len);
    if (host.len > 1 && host.ptr[0] == '[')
        host = str_from(host.ptr + 1, host.len - 2);
    return host;
}

static void line_write(struct buf *out, const struct query_log_line *line)
{
    json_line_begin(out, "INFO", "api/query_log.c");
    json_line_add(out, "msg", STR("promql query logged"));
    BUF_ADD(out, ",\"params\":{\"end\":\"");
    buf_add_utc_ms(out, line->end_ms);
    BUF_ADD(out, "\"");
    json_line_add(out, "query", line->query);
    BUF_ADD(out, ",\"start\":\"");
    buf_add_utc_ms(out, line->start_ms);
    buf_addf(out, "\",\"step\":%lld}", (long long)(line->step_ms / 1000));
    if (line->err->code != ERR_NONE)
        json_line_add(out, "error", str_of(line->err->text));
    query_stats_json(line->stats, out);
    BUF_ADD(out,
            ",\"spanID\":\"0000000000000000\",\"traceID\":\"00000000000000000000000000000000\","
            "\"httpRequest\":{\"clientIP\":");
    buf_add_json_string(out, host_of(line->request->remote_address));
    json_line_add(out, "method", line->request->method_text);
    json_line_add(out, "path", line->request->path);
    BUF_ADD(out, "}}\n");
}

void query_log_add(struct query_log *log, const struct query_log_line *line, uint64_t *failures)
{
    struct buf text;

    if (!log)
        return;
    buf_init(&text, LINE_BYTES_MAX);
    line_write(&text, line);
    if (text.overflow || log->pending.len + text.len > PENDING_BYTES_MAX)
        ++*failures;
    else
        buf_add_str(&log->pending, buf_str(&text));
    buf_deinit(&text);
    if (log->running)
        return;
    *failures += log->failed;
    if (log->failed > 0 && !log->told)
        LOG_E("can't log query");
    log->told = log->failed > 0;
    log->failed = 0;
    log_submit(log);
}
