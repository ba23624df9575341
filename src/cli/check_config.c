/* check_config: promtool's words about a configuration file and the files that it names. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "commands.h"
#include "config.h"
#include "model/duration.h"
#include "scrape.h"

#define SD_BYTES_MAX ((size_t)256 << 20)

struct check {
    bool syntax_only, agent, lint_interval, lint_fatal;
    int64_t lookback_ms;
    bool failed, has_errors; /* Out: lint findings are no errors. */
};

static bool file_exists(struct str path, struct err *err)
{
    char *name = str_dup(path);
    struct stat found;
    bool good = path.len == 0 || stat(name, &found) == 0;
    if (!good) {
        err_errno(err, errno, "stat %s", name);
        size_t at = path.len + 7;
        if (err->text[at] >= 'A' && err->text[at] <= 'Z') /* As Go says it. */
            err->text[at] = (char)(err->text[at] | 0x20);
    }
    mem_free(name);
    return good;
}

static bool needed_file(struct str path, const char *what, struct err *err)
{
    return file_exists(path, err) ||
           err_wrap(err, "error checking %s file \"" STR_FMT "\"", what, STR_ARG(path));
}

static bool check_client_files(const struct config_http_client *http, struct err *err)
{
    return needed_file(http->credentials_file, "authorization credentials or bearer token", err) &&
           needed_file(http->cert_file, "client cert", err) &&
           needed_file(http->key_file, "client key", err);
}

/* Every rule file that a glob finds; a path without wildcards must be there. */
static bool find_rule_files(const struct config *config, glob_t *found, struct err *err)
{
    int flags = GLOB_NOSORT;
    for (size_t i = 0; i < config->rule_files.count; i++) {
        struct str path = config->rule_files.items[i];
        char *pattern = str_dup(path);
        int code = glob(pattern, flags, NULL, found);
        mem_free(pattern);
        if (code == 0)
            flags |= GLOB_APPEND;
        else if (str_find_char(path, '*') == path.len)
            return err_set(err, ERR_NOT_FOUND, "\"" STR_FMT "\" does not point to an existing file",
                           STR_ARG(path));
    }
    return true;
}

static bool check_groups(const struct config_scrape *scrape, struct target_group *const *groups,
                         size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!scrape_check_group(scrape, groups[i], err))
            return false;
    }
    return true;
}

static bool check_sd_file(const struct config_scrape *scrape, struct str pattern, const char *path,
                          struct err *err)
{
    struct target_group **groups = NULL;
    size_t count = 0;
    struct buf text;
    buf_init(&text, SD_BYTES_MAX);
    bool good = command_read_file(path, &text, err) &&
                config_parse_target_groups(buf_str(&text), str_of(path), &groups, &count, err);
    if (!good)
        err_wrap(err, "checking SD file \"" STR_FMT "\"", STR_ARG(pattern));
    good = good && check_groups(scrape, groups, count, err);
    for (size_t i = 0; i < count; i++)
        target_group_unref(groups[i]);
    mem_free((void *)groups);
    buf_deinit(&text);
    return good;
}

static bool check_sd_files(const struct config_scrape *scrape, struct str pattern, struct err *err)
{
    char *text = str_dup(pattern);
    glob_t found = {0};
    bool good = true;
    if (glob(text, 0, NULL, &found) != 0)
        printf("  WARNING: file \"%s\" for file_sd in scrape job \"" STR_FMT "\" does not exist\n",
               text, STR_ARG(scrape->job_name));
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        good = check_sd_file(scrape, pattern, found.gl_pathv[i], err);
    globfree(&found);
    mem_free(text);
    return good;
}

static bool check_scrape(const struct config_scrape *scrape, bool syntax_only, struct err *err)
{
    if (!syntax_only && !check_client_files(&scrape->http, err))
        return false;
    for (size_t i = 0; !syntax_only && i < scrape->kubernetes_sd_count; i++) {
        if (!needed_file(scrape->kubernetes_sd[i].http.cert_file, "client cert", err) ||
            !needed_file(scrape->kubernetes_sd[i].http.key_file, "client key", err))
            return false;
    }
    for (size_t i = 0; !syntax_only && i < scrape->file_sd_count; i++) {
        const struct str_list *files = &scrape->file_sd[i].files;
        for (size_t f = 0; f < files->count; f++) {
            if (!check_sd_files(scrape, files->items[f], err))
                return false;
        }
    }
    return check_groups(scrape, scrape->static_sd.groups, scrape->static_sd.count, err);
}

static bool check_all(const struct check *check, const struct config *config, glob_t *rule_files,
                      struct err *err)
{
    if (check->agent && !config_check_agent(config, err))
        return false;
    if (!check->syntax_only && !find_rule_files(config, rule_files, err))
        return false;
    for (size_t i = 0; i < config->scrape_count; i++) {
        if (!check_scrape(&config->scrapes[i], check->syntax_only, err))
            return false;
    }
    return true;
}

static void lint_scrapes(struct check *check, const struct config *config)
{
    for (size_t i = 0; i < config->scrape_count; i++) {
        const struct config_scrape *scrape = &config->scrapes[i];
        struct buf interval;
        if (scrape->interval_ms < check->lookback_ms)
            continue;
        buf_init(&interval, 64);
        duration_print(&interval, scrape->interval_ms);
        fprintf(stderr,
                "  FAILED: too long scrape interval found, data point will be marked as stale - "
                "job: " STR_FMT ", interval: " STR_FMT "\n",
                STR_ARG(scrape->job_name), STR_ARG(buf_str(&interval)));
        buf_deinit(&interval);
        check->failed = true;
    }
}

static void check_file(struct check *check, struct str path)
{
    struct config *config = NULL;
    struct err err = {0};
    glob_t found = {0};
    printf("Checking " STR_FMT "\n", STR_ARG(path));
    bool good = config_load(&config, path, &err) && check_all(check, config, &found, &err);
    if (!good) {
        fprintf(stderr, "  FAILED: %s\n", err.text);
        check->failed = check->has_errors = true;
    } else {
        if (found.gl_pathc > 0)
            printf("  SUCCESS: %zu rule files found\n", found.gl_pathc);
        printf(" SUCCESS: " STR_FMT " is valid prometheus config file syntax\n", STR_ARG(path));
    }
    printf("\n");
    if (good && !check->syntax_only && check->lint_interval)
        lint_scrapes(check, config);
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        printf("Checking %s\n  WARNING: rules are not evaluated yet: this file was not checked\n\n",
               found.gl_pathv[i]);
    globfree(&found);
    config_unref(config);
}

/* all, none, duplicate-rules (nothing to look at before rules are read), too-long-scrape-interval. One `none` is enough. */
static void lint_parse(struct check *check, struct str options)
{
    struct str rest = options;
    bool none = false;
    while (rest.ptr && options.len > 0) {
        struct str name = str_cut(rest, ',', &rest);
        if (str_eq(name, STR("all")) || str_eq(name, STR("too-long-scrape-interval")))
            check->lint_interval = true;
        else if (str_eq(name, STR("none")))
            none = true;
        else if (!str_eq(name, STR("duplicate-rules")))
            printf("WARNING: unknown lint option: \"" STR_FMT "\"\n", STR_ARG(name));
    }
    check->lint_interval = check->lint_interval && !none;
}

static bool arguments_parse(struct check *check, struct command_line *line, int argc, char **argv,
                            struct err *err)
{
    if (!command_parse(line, argc, argv, err))
        return false;
    struct str lint = command_flag_value(line, "lint"),
               lookback = command_flag_value(line, "query.lookback-delta");
    check->syntax_only = command_flag_value(line, "syntax-only").ptr != NULL;
    check->agent = command_flag_value(line, "agent").ptr != NULL;
    check->lint_fatal = command_flag_value(line, "lint-fatal").ptr != NULL;
    if (!command_need_files(line, "config-files", 0, err))
        return false;
    if (lookback.ptr && !duration_parse(lookback, &check->lookback_ms, err))
        return false;
    lint_parse(check, lint);
    return true;
}

int command_check_config(int argc, char **argv)
{
    struct command_flag flags[] = {
        {.name = "syntax-only"},
        {.name = "lint", .takes_value = true},
        {.name = "lint-fatal"},
        {.name = "agent"},
        {.name = "ignore-unknown-fields"},
        {.name = "query.lookback-delta", .takes_value = true},
    };
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct check check = {.lookback_ms = 5 * 60 * 1000};
    struct err err = {0};
    if (!arguments_parse(&check, &line, argc, argv, &err))
        return command_usage(&err);
    for (size_t i = 0; i < line.arg_count; i++)
        check_file(&check, command_arg(&line, i, ""));
    fflush(stdout);
    if (check.failed && check.has_errors)
        return 1;
    return check.failed && check.lint_fatal ? 3 : 0;
}
