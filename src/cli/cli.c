/* cli: the table of commands. A command is two words and a function; usage errors end with 2, as
 * its own errors with 1. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "redis.h"

static const struct command {
    const char *words[2];
    int (*run)(int argc, char **argv);
    const char *help;
} COMMANDS[] = {
    {{"check", "config"},
     command_check_config,
     "check config [--syntax-only] [--lint=all|none|NAMES] [--lint-fatal] [--agent] FILE...\n      "
     "Check if the config files are valid or not."},
    {{"check", "web-config"},
     command_check_web_config,
     "check web-config FILE...\n      Check if the web config files are valid or not."},
    {{"check", "service-discovery"},
     command_check_discovery,
     "check service-discovery [--timeout=30s] FILE JOB\n      Perform service discovery for the "
     "given job name and report the results, including relabeling."},
    {{"check", "healthy"},
     command_check_healthy,
     "check healthy [--url=http://localhost:9090]\n      Check if the server is healthy."},
    {{"check", "ready"},
     command_check_ready,
     "check ready [--url=http://localhost:9090]\n      Check if the server is ready."},
    {{"query", "instant"},
     command_query_instant,
     "query instant [--time=T] [-o promql|json] URL EXPR\n      Run instant query."},
    {{"query", "range"},
     command_query_range,
     "query range [--start=T] [--end=T] [--step=D] [-o promql|json] URL EXPR\n      Run range "
     "query."},
    {{"query", "series"},
     command_query_series,
     "query series --match=SELECTOR... [--start=T] [--end=T] [-o promql|json] URL\n      Run "
     "series "
     "query."},
    {{"query", "labels"},
     command_query_labels,
     "query labels [--match=SELECTOR]... [--start=T] [--end=T] [-o promql|json] URL NAME\n      "
     "Run "
     "labels query."},
    {{"query", "analyze"},
     command_query_analyze,
     "query analyze --server=URL --type=histogram --match=SELECTOR... [--duration=1h] "
     "[--time=T]\n      Run queries against your Prometheus to analyze the usage pattern of "
     "certain "
     "metrics."},
    {{"promql", "format"},
     command_promql_format,
     "promql format --experimental QUERY\n      Format PromQL query to pretty printed form."},
    {{"promql", "label-matchers"},
     command_promql_label_matchers,
     "promql label-matchers --experimental set [-t =|!=|=~|!~] QUERY NAME VALUE\n"
     "  promql label-matchers --experimental delete QUERY NAME\n      Edit label matchers "
     "contained "
     "within a query."},
    {{"test", "promql"},
     command_test_promql,
     "test promql [--enable-feature=NAMES] FILE...\n      Run files of the language of Prometheus' "
     "tests of PromQL (load, eval, clear)."},
    {{"kube", "explain"},
     command_kube_explain,
     "kube explain [--namespace=NS] [--resource=pods] [--name=NAME] [--selector=S] "
     "[--metric-selector=S] [--external] URL METRIC\n      Why a metric of the metrics APIs has "
     "its "
     "value, or none."},
    {{"tsdb", "list"},
     command_tsdb_list,
     "tsdb list [-r] [DIR]\n      List the published days. A server may run on the directory."},
    {{"tsdb", "analyze"},
     command_tsdb_analyze,
     "tsdb analyze [--limit=20] [DIR [DAY]]\n      Analyze churn, label pair cardinality and size "
     "of a published day (the newest). A server may run on the directory."},
    {{"tsdb", "dump"},
     command_tsdb_dump,
     "tsdb dump [--min-time=MS] [--max-time=MS] [--match=SELECTOR]... [DIR]\n      Dump samples. "
     "While a server runs on the directory: of published days only."},
    {{"tsdb", "dump-openmetrics"},
     command_tsdb_dump_openmetrics,
     "tsdb dump-openmetrics [--min-time=MS] [--max-time=MS] [--match=SELECTOR]... [DIR]\n      "
     "The same as OpenMetrics text, without native histograms."},
    {{"tsdb", "create-blocks-from"},
     command_tsdb_create_blocks,
     "tsdb create-blocks-from openmetrics [-r] [-q] [--label=NAME=VALUE]... FILE [DIR]\n      "
     "Import samples from OpenMetrics text into days. No server may run on the directory."},
};

static void print_help(FILE *to)
{
    fprintf(to, "usage: narthex [<flags>]           the server; see narthex --help\n"
                "       narthex <command> [<args>]  also as promtool <command>\n\nCommands:\n");
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++)
        fprintf(to, "  %s\n", COMMANDS[i].help);
    fprintf(
        to,
        "  redis-exporter [<flags>]\n      Serve the metrics of a Redis, as redis_exporter; see "
        "redis-exporter --help.\n");
}

/* promtool takes these before and behind any command. */
static bool is_global_flag(struct str name)
{
    return str_eq(name, STR("experimental")) || str_eq(name, STR("no-experimental")) ||
           str_eq(name, STR("enable-feature"));
}

bool command_parse(struct command_line *line, int argc, char **argv, struct err *err)
{
    line->args = argv;
    for (int i = 0; i < argc; i++) {
        struct str arg = str_of(argv[i]), value = {NULL, 0};
        if (arg.len < 2 || arg.ptr[0] != '-') {
            argv[line->arg_count++] = argv[i];
            continue;
        }
        struct str name = str_cut(str_after(arg, arg.ptr[1] == '-' ? 2 : 1), '=', &value);
        struct command_flag *flag = NULL;
        for (size_t f = 0; f < line->flag_count && !flag; f++) {
            if (str_eq(name, str_of(line->flags[f].name)))
                flag = &line->flags[f];
        }
        if (!flag && is_global_flag(name)) {
            i += str_eq(name, STR("enable-feature")) && !value.ptr;
            continue;
        }
        if (!flag)
            return err_set(err, ERR_BAD_DATA, "unknown %s flag '" STR_FMT "'",
                           arg.ptr[1] == '-' ? "long" : "short", STR_ARG(arg));
        if (flag->takes_value && !value.ptr) {
            if (i + 1 >= argc)
                return err_set(err, ERR_BAD_DATA, "expected argument for flag '" STR_FMT "'",
                               STR_ARG(arg));
            value = str_of(argv[++i]);
        }
        flag->value = flag->takes_value ? value : STR("true");
    }
    return true;
}

struct str command_flag_value(const struct command_line *line, const char *name)
{
    for (size_t f = 0; f < line->flag_count; f++) {
        if (strcmp(line->flags[f].name, name) == 0)
            return line->flags[f].value;
    }
    UNREACHABLE();
}

struct str command_arg(const struct command_line *line, size_t index, const char *otherwise)
{
    return str_of(index < line->arg_count ? line->args[index] : otherwise);
}

int command_usage(const struct err *err)
{
    return command_usage_text(err->text);
}

int command_usage_text(const char *text)
{
    fprintf(stderr, "promtool: error: %s, try --help\n", text);
    return 1;
}

int command_unexpected(const char *arg)
{
    struct err err;
    err_set(&err, ERR_BAD_DATA, "unexpected %s", arg);
    return command_usage(&err);
}

bool command_need_files(const struct command_line *line, const char *what, size_t count,
                        struct err *err)
{
    if (line->arg_count == 0)
        return err_set(err, ERR_BAD_DATA, "required argument '%s' not provided", what);
    for (size_t i = 0; i < line->arg_count && (count == 0 || i < count); i++) {
        struct stat found;
        if (stat(line->args[i], &found) != 0)
            return err_set(err, ERR_NOT_FOUND, "path '%s' does not exist", line->args[i]);
        if (S_ISDIR(found.st_mode))
            return err_set(err, ERR_BAD_DATA, "'%s' is a directory", line->args[i]);
    }
    return true;
}

bool command_read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    char chunk[1 << 16];
    size_t len;
    if (!file)
        return err_errno(err, errno, "open %s", path);
    while ((len = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buf_add(out, chunk, len);
    bool good = !ferror(file) || err_errno(err, errno, "read %s", path);
    fclose(file);
    return good && (!out->overflow || err_set(err, ERR_LIMIT, "%s is too large", path));
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* Global flags before the command go to the end, where commands look for them. */
static void move_global_flags(int argc, char **argv)
{
    int count = 0, limit = argc - 1;
    while (count < limit) {
        struct str arg = str_of(argv[1 + count]), value = {0};
        if (!str_starts(arg, STR("--")))
            break;
        struct str name = str_cut(str_after(arg, 2), '=', &value);
        if (!is_global_flag(name))
            break;
        count += str_eq(name, STR("enable-feature")) && !value.ptr ? 2 : 1;
    }
    for (count = count < limit ? count : 0; count > 0; count--) {
        char *first = argv[1];
        for (int i = 1; i < limit; i++)
            argv[i] = argv[i + 1];
        argv[limit] = first;
    }
}

int cli_main(int argc, char **argv)
{
    move_global_flags(argc, argv);
    const char *first = argc > 1 ? argv[1] : "";
    const char *second = argc > 2 ? argv[2] : "";
    if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(first, "--version") == 0) {
        printf("promtool, version 3.14.0 (narthex)\n");
        return 0;
    }
    if (strcmp(first, "redis-exporter") == 0)
        return redis_exporter_main(argc - 1, argv + 1);
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].words[0], first) != 0 || strcmp(COMMANDS[i].words[1], second) != 0)
            continue;
        if (!asks_for_help(argc - 3, argv + 3))
            return COMMANDS[i].run(argc - 3, argv + 3);
        printf("usage: narthex %s\n", COMMANDS[i].help);
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
        struct err err;
        if (strcmp(COMMANDS[i].words[0], first) != 0)
            continue;
        if (second[0])
            err_set(&err, ERR_BAD_DATA, "expected command but got \"%s\"", second);
        else
            err_set(&err, ERR_BAD_DATA, "must select a subcommand of '%s'", first);
        return command_usage(&err);
    }
    if (argc > 1)
        fprintf(stderr, "error: expected command but got \"%s%s%s\"\n", first, second[0] ? " " : "",
                second);
    print_help(stderr);
    return 2;
}
