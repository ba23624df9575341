/* main: flags -> options -> run. One binary with many faces: the server by default; with a first
 * word, or under the name promtool, a tool. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/regex.h"
#include "cli.h"
#include "feature_flags.h"
#include "options.h"
#include "server.h"

static void print(FILE *to, const struct buf *text)
{
    fwrite(text->ptr, 1, text->len, to);
}

static void print_help(void)
{
    struct buf help;
    buf_init(&help, 1 << 20);
    options_print_help(&help);
    print(stdout, &help);
    buf_deinit(&help);
}

/* Where and with which code as Prometheus: words that it cannot read end with 1 and no help. */
static int usage_error(const struct err *err)
{
    fprintf(stderr, "Error parsing command line arguments: %s\n", err->text);
    if (err->code == ERR_NOT_FOUND) {
        fprintf(stderr, "prometheus: error: %s\n", err->text);
        return 1;
    }
    print_help();
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

static bool check_web(const struct options *options, struct err *err)
{
    struct str url = option_string(options, "web.external-url"),
               origin = option_string(options, "web.cors.origin");
    struct regex *regex = NULL;
    if (!config_check_url(url, err))
        return err_wrap(err, "parse external URL \"" STR_FMT "\"", STR_ARG(url));
    if (!regex_new(&regex, origin, err))
        return err_wrap(err, "could not compile CORS regex string \"" STR_FMT "\"",
                        STR_ARG(origin));
    regex_free(regex);
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

/* What the flags say when the file says nothing: 15 days, unless there is a limit of another kind. */
static void set_retention(const struct options *options)
{
    bool by_size = option_is_set(options, "storage.tsdb.retention.size"),
         by_time = option_is_set(options, "storage.tsdb.retention.time");
    config_set_retention(
        by_time || !by_size ? option_duration_ms(options, "storage.tsdb.retention.time") : 0,
        option_number(options, "storage.tsdb.retention.size"));
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
    set_retention(options);
    config_set_exemplar_storage(feature_is_on(options, "exemplar-storage"));
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
        print_help();
    } else if (outcome == OPTIONS_VERSION) {
        printf("prometheus, version " PROMETHEUS_VERSION " (narthex " NARTHEX_VERSION ")\n");
    } else if (!setup_log(options, &err)) {
        exit_code = usage_error(&err);
    } else if (!options_check_mode(options, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit_code = 3;
    } else if (!check_web(options, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit_code = 2;
    } else {
        exit_code = run_server(options);
    }
    options_free(options);
    return exit_code;
}
