/* json_lines: see json_lines.h. */
#include "base/json_lines.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

bool json_lines_open(const char *path, int *fd, struct err *err)
{
    struct str name = str_of(path);

    *fd = open(path, O_APPEND | O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    if (*fd >= 0)
        return true;
    err_errno(err, errno, "open " STR_FMT, STR_ARG(name));
    char *reason = err->text + strlen("open : ") + name.len;
    if (reason < err->text + strlen(err->text))
        *reason = (char)tolower((unsigned char)*reason); /* As Go says it. */
    return err_wrap(err, "can't create json log file");
}

void buf_add_utc_ms(struct buf *out, int64_t time_ms)
{
    int64_t fraction = time_ms % 1000 + (time_ms % 1000 < 0 ? 1000 : 0);
    time_t seconds = (time_t)((time_ms - fraction) / 1000);
    struct tm parts = {0};

    (void)gmtime_r(&seconds, &parts);
    buf_addf(out, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", 1900 + (long long)parts.tm_year,
             parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
             (int)fraction);
}

void json_line_begin(struct buf *out, const char *level, const char *source)
{
    BUF_ADD(out, "{\"time\":\"");
    buf_add_utc_ms(out, clock_wall_ms());
    buf_addf(out, "\",\"level\":\"%s\",\"source\":\"%s\"", level, source);
}

void json_line_add(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, ",\"%s\":", name);
    buf_add_json_string(out, value);
}
