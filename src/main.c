/* main: flags -> options -> run. One binary with many faces: the server by default; with a first
 * word, or under the name promtool, a tool. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "cli.h"
#include "options.h"
#include "server.h"

static void print(FILE *to, const struct buf *text)
{
    fwrite(text->ptr, 1, text->len, to);
}

static int usage_error(const struct err *err)
{
    struct buf help;
    fprintf(stderr, "Error parsing command line arguments: %s\n", err->text);
    buf_init(&help, 1 << 20);
    options_print_help(&help);
    print(stderr, &help);
    buf_deinit(&help);
    return 2;
}

static bool setup_log(const struct options *options, struct err *err)
{
    struct str level_text = option_string(options, "log.level"),
               format = option_string(options, "log.format");
    enum log_level level;
    if (!log_level_parse(level_text, &level))
        return err_set(err, ERR_BAD_DATA, "unrecognized log level " STR_FMT, STR_ARG(level_text));
    if (!str_eq(format, STR("logfmt")) && !str_eq(format, STR("json")))
        return err_set(err, ERR_BAD_DATA, "unrecognized log format " STR_FMT, STR_ARG(format));
    log_setup(level, str_eq(format, STR("json")) ? LOG_JSON : LOG_LOGFMT);
    return true;
}

/* What must not be overlooked: an operator who asked for this must not get something else. */
static bool check_refused(const struct options *options, struct err *err)
{
    int64_t partition_ms = option_duration_ms(options, "storage.narthex.partition-duration");
    if (option_bool(options, "agent"))
        return err_set(err, ERR_BAD_DATA, "--agent: agent mode is not supported");
    if (partition_ms <= 0 || partition_ms % (2 * 60 * 60 * 1000) != 0)
        return err_set(err, ERR_BAD_DATA,
                       "--storage.narthex.partition-duration must be a multiple of 2h");
    if (option_duration_ms(options, "storage.narthex.slot-duration") <= 0)
        return err_set(err, ERR_BAD_DATA, "--storage.narthex.slot-duration must be positive");
    return true;
}

static int run_server(const struct options *options)
{
    struct config *config;
    struct err err = {0};
    struct str path = option_string(options, "config.file");
    if (!check_refused(options, &err)) {
        LOG_E("Refused to start", "err", err.text);
        return 2;
    }
    LOG_I("Starting Narthex", "version", NARTHEX_VERSION, "behaves_as",
          "prometheus " PROMETHEUS_VERSION);
    options_warn(options);
    if (feature_is_on(options, "extra-scrape-metrics")) {
        LOG_W(
            "This feature is a default of the configuration, which has extra_scrape_metrics for it",
            "feature", "extra-scrape-metrics");
        config_set_extra_scrape_metrics(true);
    }
    if (!config_load(&config, path, &err)) {
        LOG_E(log_fmt("Error loading config (--config.file=" STR_FMT ")", STR_ARG(path)), "file",
              log_str(path), "err", err.text);
        return 2;
    }
    return server_run(options, config);
}

int main(int argc, char **argv)
{
    struct options *options = NULL;
    enum options_outcome outcome;
    struct err err = {0};
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    int exit_code = 0;
    if (strcmp(name, "promtool") == 0 || (argc > 1 && argv[1][0] != '-'))
        return cli_main(argc, argv);
    if (!options_parse(&options, argc, argv, &outcome, &err))
        return usage_error(&err);
    if (outcome == OPTIONS_HELP) {
        struct buf help;
        buf_init(&help, 1 << 20);
        options_print_help(&help);
        print(stdout, &help);
        buf_deinit(&help);
    } else if (outcome == OPTIONS_VERSION) {
        printf("prometheus, version " PROMETHEUS_VERSION " (narthex " NARTHEX_VERSION ")\n");
    } else if (!setup_log(options, &err)) {
        exit_code = usage_error(&err);
    } else {
        exit_code = run_server(options);
    }
    options_free(options);
    return exit_code;
}
