/* check_config: promtool's words about a configuration file and the files that it names. */
#include <glob.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "commands.h"
#include "config.h"

static bool has_wildcard(struct str path)
{
    return str_find_char(path, '*') < path.len || str_find_char(path, '?') < path.len ||
           str_find_char(path, '[') < path.len;
}

/* Every rule file that a glob finds; a path without wildcards must be there. Prints "Checking" for
 * each later. */
static bool find_rule_files(const struct config *config, glob_t *found, struct err *err)
{
    int flags = GLOB_NOSORT;
    for (size_t i = 0; i < config->rule_files.count; i++) {
        char *path = str_dup(config->rule_files.items[i]);
        bool missing = !has_wildcard(config->rule_files.items[i]) && access(path, F_OK) != 0;
        int code = missing ? 0 : glob(path, flags, NULL, found);
        if (missing)
            err_set(err, ERR_NOT_FOUND, "\"%s\" does not point to an existing file", path);
        mem_free(path);
        if (missing)
            return false;
        if (code == 0)
            flags |= GLOB_APPEND;
    }
    return true;
}

static void warn_of_missing_sd_files(const struct config *config)
{
    for (size_t i = 0; i < config->scrape_count; i++) {
        const struct config_scrape *scrape = &config->scrapes[i];
        for (size_t k = 0; k < scrape->file_sd_count; k++) {
            for (size_t f = 0; f < scrape->file_sd[k].files.count; f++) {
                struct str file = scrape->file_sd[k].files.items[f];
                char *path = str_dup(file);
                if (!has_wildcard(file) && access(path, F_OK) != 0)
                    printf("  WARNING: file \"%s\" for file_sd in scrape job \"" STR_FMT
                           "\" does not exist\n",
                           path, STR_ARG(scrape->job_name));
                mem_free(path);
            }
        }
    }
}

static bool check_file(struct str path, bool syntax_only)
{
    struct config *config = NULL;
    struct err err = {0};
    glob_t found = {0};
    printf("Checking " STR_FMT "\n", STR_ARG(path));
    bool good =
        config_load(&config, path, &err) && (syntax_only || find_rule_files(config, &found, &err));
    if (!good) {
        fprintf(stderr, "  FAILED: %s\n", err.text);
    } else {
        if (!syntax_only)
            warn_of_missing_sd_files(config);
        if (found.gl_pathc > 0)
            printf("  SUCCESS: %zu rule files found\n", found.gl_pathc);
        printf(" SUCCESS: " STR_FMT " is valid prometheus config file syntax\n", STR_ARG(path));
    }
    printf("\n");
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        printf("Checking %s\n  WARNING: rules are not evaluated yet: this file was not checked\n\n",
               found.gl_pathv[i]);
    if (found.gl_pathv)
        globfree(&found);
    config_unref(config);
    return good;
}

int command_check_config(int argc, char **argv)
{
    struct command_flag flags[] = {
        {.name = "syntax-only"},
        {.name = "lint", .takes_value = true},
        {.name = "lint-fatal"},
    };
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    bool good = true;
    if (!command_parse(&line, argc, argv, &err) ||
        (line.arg_count == 0 &&
         !err_set(&err, ERR_BAD_DATA, "required argument 'config-files' not provided"))) {
        fprintf(stderr, "error: %s\n", err.text);
        return 2;
    }
    for (size_t i = 0; i < line.arg_count; i++)
        good =
            check_file(line.args[i], command_flag_value(&line, "syntax-only").ptr != NULL) && good;
    fflush(stdout);
    return good ? 0 : 1;
}
