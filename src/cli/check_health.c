/* check_health: asks a server whether it is healthy or ready, as promtool does: exit code 0 or 1. */
#include <stdio.h>

#include "base/mem.h"
#include "commands.h"
#include "config.h"

#define ANSWER_MAX ((size_t)1 << 20)

static bool url_check(struct str url, struct err *err)
{
    return config_check_url(url, err) || err_wrap(err, "invalid URL");
}

static int check(int argc, char **argv, const char *path)
{
    struct command_flag flags[] = {{.name = "url", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf body;
    int status = 0;
    bool good = command_parse(&line, argc, argv, &err) &&
                (line.arg_count == 0 || err_set(&err, ERR_BAD_DATA, "unexpected " STR_FMT,
                                                STR_ARG(command_arg(&line, 0, ""))));
    struct str url = flags[0].value.ptr ? flags[0].value : STR("http://localhost:9090");
    if (!good || !url_check(url, &err))
        return command_usage(&err);
    buf_init(&body, ANSWER_MAX);
    good = command_get(url, path, &body, &status, &err);
    if (!good)
        fprintf(stderr, "%s\n", err.text);
    else if (status != 200)
        fprintf(stderr, "check failed: URL=" STR_FMT ", status=%d\n", STR_ARG(url), status);
    else
        fprintf(stderr, "  SUCCESS:  " STR_FMT "\n", STR_ARG(buf_str(&body)));
    buf_deinit(&body);
    return good && status == 200 ? 0 : 1;
}

int command_check_healthy(int argc, char **argv)
{
    return check(argc, argv, "/-/healthy");
}

int command_check_ready(int argc, char **argv)
{
    return check(argc, argv, "/-/ready");
}
