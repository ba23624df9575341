/* promql_cmd: promtool's promql commands, and test promql, which runs files in the language of Prometheus' own tests of PromQL. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "commands.h"
#include "model/labels.h"
#include "promqltest.h"
#include "query.h"

#define TEXT_MAX     ((size_t)1 << 26)
#define ALL_FEATURES (QUERY_EXPERIMENTAL_FUNCTIONS | QUERY_FILL_MODIFIERS | QUERY_EXTENDED_RANGES)

static const struct {
    const char *name;
    unsigned bit;
} FEATURES[] = {
    {"promql-experimental-functions", QUERY_EXPERIMENTAL_FUNCTIONS},
    {"promql-binop-fill-modifiers", QUERY_FILL_MODIFIERS},
    {"promql-extended-range-selectors", QUERY_EXTENDED_RANGES},
    {"promql-delayed-name-removal", QUERY_DELAYED_NAMES},
};

static int failure(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static unsigned features_parse(struct str names)
{
    unsigned features = 0;
    struct str rest = names;
    while (rest.ptr) {
        struct str name = str_cut(rest, ',', &rest);
        for (size_t i = 0; i < COUNT_OF(FEATURES); i++)
            features |= str_eq(name, str_of(FEATURES[i].name)) ? FEATURES[i].bit : 0;
    }
    return features;
}

static unsigned features_of(const struct command_line *line)
{
    return features_parse(command_flag_value(line, "enable-feature"));
}

/* --- format, label-matchers --- */

static bool experimental(const struct command_line *line)
{
    if (command_flag_value(line, "experimental").ptr)
        return true;
    fprintf(stderr,
            "This command is experimental and requires the --experimental flag to be set.\n");
    return false;
}

static int print_line(const struct buf *text)
{
    bool good = fwrite(text->ptr, 1, text->len, stdout) == text->len && fputc('\n', stdout) != EOF;
    return good ? 0 : 1;
}

int command_promql_format(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "experimental"},
                                   {.name = "enable-feature", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct buf out;
    if (!command_parse(&line, argc, argv, &err))
        return command_usage(&err);
    if (line.arg_count == 0)
        return command_usage_text("required argument 'query' not provided");
    if (line.arg_count > 1)
        return command_unexpected(line.args[1]);
    if (!experimental(&line))
        return 1;
    buf_init(&out, TEXT_MAX);
    bool good = query_format(command_arg(&line, 0, ""), features_of(&line), &out, &err);
    int code = good ? print_line(&out) : failure(&err);
    buf_deinit(&out);
    return code;
}

static bool matcher_type_parse(struct str text, enum matcher_type *out)
{
    static const enum matcher_type types[] = {MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX,
                                              MATCH_NOT_REGEX};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        *out = types[i];
        if (str_eq(text, str_of(matcher_type_text(types[i]))))
            return true;
    }
    return false;
}

/* label-matchers set QUERY NAME VALUE, label-matchers delete QUERY NAME */
int command_promql_label_matchers(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "experimental"},
                                   {.name = "enable-feature", .takes_value = true},
                                   {.name = "type", .takes_value = true},
                                   {.name = "t", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    struct matcher matcher = {0};
    enum matcher_type type = MATCH_EQUAL;
    struct buf out;
    if (!command_parse(&line, argc, argv, &err))
        return command_usage(&err);
    bool set = str_eq(command_arg(&line, 0, ""), STR("set"));
    struct str name = command_arg(&line, 2, ""), text = command_flag_value(&line, "type");
    text = text.ptr ? text : command_flag_value(&line, "t");
    if (line.arg_count == 0)
        return command_usage_text("must select a subcommand of 'promql label-matchers'");
    if (!set && !str_eq(command_arg(&line, 0, ""), STR("delete")))
        return command_unexpected(line.args[0]);
    if (line.arg_count < (set ? 4U : 3U))
        return command_usage_text(line.arg_count < 2   ? "required argument 'query' not provided"
                                  : line.arg_count < 3 ? "required argument 'name' not provided"
                                                       : "required argument 'value' not provided");
    if (line.arg_count > (set ? 4U : 3U))
        return command_unexpected(line.args[set ? 4 : 3]);
    if (text.ptr && !matcher_type_parse(text, &type) &&
        !err_set(&err, ERR_BAD_DATA, "enum value must be one of =,!=,=~,!~, got '" STR_FMT "'",
                 STR_ARG(text)))
        return command_usage(&err);
    if (!experimental(&line))
        return 1;
    if (set && (name.len == 0 || !str_is_utf8(name)) &&
        !err_set(&err, ERR_BAD_DATA, "invalid label name: " STR_FMT, STR_ARG(name)))
        return failure(&err);
    if (set && !matcher_init(&matcher, type, name, command_arg(&line, 3, ""), &err))
        return failure(&err);
    buf_init(&out, TEXT_MAX);
    bool good = query_edit_matchers(command_arg(&line, 1, ""), features_of(&line), name,
                                    set ? &matcher : NULL, &out, &err);
    int code = good ? print_line(&out) : failure(&err);
    buf_deinit(&out);
    if (set)
        matcher_deinit(&matcher);
    return code;
}

/* --- test promql --- */

static bool test_file(const char *path, const struct promqltest_options *options)
{
    struct promqltest_result result = {0};
    struct err err = {0};
    struct buf text;
    buf_init(&text, TEXT_MAX);
    printf("Unit Testing:  %s\n", path);
    bool good = command_read_file(path, &text, &err) &&
                promqltest_run(path, buf_str(&text), options, &result, &err);
    if (!good)
        printf("  FAILED:\n    %s\n", err.text);
    else if (result.failures > 0)
        printf("  FAILED: %zu of %zu evals\n", result.failures, result.evals);
    else
        printf("  SUCCESS: %zu evals\n", result.evals);
    printf("\n");
    buf_deinit(&text);
    return good && result.failures == 0;
}

int command_test_promql(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "enable-feature", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    /* The language's own files are written for an engine that removes names late. */
    struct promqltest_options options = {.features = ALL_FEATURES | QUERY_DELAYED_NAMES,
                                         .verbose = true};
    struct err err = {0};
    bool good = true;
    if (!command_parse(&line, argc, argv, &err))
        return command_usage(&err);
    if (line.arg_count == 0)
        return command_usage_text("required argument 'test-file' not provided");
    options.features |= features_of(&line);
    log_setup(LOG_WARN, LOG_LOGFMT);
    for (size_t i = 0; i < line.arg_count; i++)
        good = test_file(line.args[i], &options) && good;
    fflush(stdout);
    return good ? 0 : 1;
}
