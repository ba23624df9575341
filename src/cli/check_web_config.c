/* check_web_config: promtool's words about files of --web.config.file. */
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "net/tls.h"

static bool check_file(struct str path)
{
    struct tls_context *context = NULL;
    struct config_web web;
    struct arena arena;
    struct err err = {0};
    arena_init(&arena, 0);
    bool good = config_web_load(&web, path, &arena, &err) && config_web_tls(&context, &web, &err);
    if (good)
        fprintf(stderr, STR_FMT " SUCCESS\n", STR_ARG(path));
    else
        fprintf(stderr, STR_FMT " FAILED: %s\n", STR_ARG(path), err.text);
    tls_context_unref(context);
    arena_deinit(&arena);
    return good;
}

int command_check_web_config(int argc, char **argv)
{
    struct command_line line = {0};
    struct err err = {0};
    bool good = true;
    if (!command_parse(&line, argc, argv, &err) ||
        !command_need_files(&line, "web-config-files", 0, &err))
        return command_usage(&err);
    for (size_t i = 0; i < line.arg_count; i++)
        good = check_file(command_arg(&line, i, "")) && good;
    return good ? 0 : 1;
}
