/* main: flags -> options -> run. One binary with many faces: the server by default; with a first
 * word, or under the name promtool, a tool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/number.h"
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

static bool address_error(struct err *err, struct str address, const char *text)
{
    return address.len > 0
               ? err_set(err, ERR_BAD_DATA, "address " STR_FMT ": %s", STR_ARG(address), text)
               : err_set(err, ERR_BAD_DATA, "%s", text);
}

/* The port behind the host, in the words of Go's net.SplitHostPort. */
static bool port_of(struct str address, struct str *out, struct err *err)
{
    size_t colon = address.len, end = 0;
    while (colon > 0 && address.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return address_error(err, address, "missing port in address");
    *out = str_after(address, colon);
    if (address.ptr[0] == '[') {
        end = str_find_char(address, ']') + 1;
        if (end > address.len)
            return address_error(err, address, "missing ']' in address");
        if (end != colon - 1)
            return address_error(err, address,
                                 end < address.len && address.ptr[end] == ':'
                                     ? "too many colons in address"
                                     : "missing port in address");
        return true;
    }
    return str_find_char(str_first(address, colon - 1), ':') == colon - 1 ||
           address_error(err, address, "too many colons in address");
}

/* Prometheus makes its own URL of the first address when it is not told one. */
static bool check_external_url(const struct options *options, struct err *err)
{
    struct str url = option_string(options, "web.external-url"), port = STR_EMPTY;
    char host[256] = "localhost", made[1024];
    if (url.len == 0) {
        (void)gethostname(host, sizeof(host) - 1);
        if (!port_of(option_string(options, "web.listen-address"), &port, err))
            return false;
        (void)snprintf(made, sizeof(made), "http://%s:" STR_FMT "/", host,
                       STR_ARG(str_first(port, 256)));
        return config_check_url(str_of(made), err);
    }
    if (strchr("\"'", url.ptr[0]) || strchr("\"'", url.ptr[url.len - 1]))
        return err_set(err, ERR_BAD_DATA, "URL must not begin or end with quotes");
    return config_check_url(url, err);
}

static bool check_web(const struct options *options, struct err *err)
{
    double ratio = 0;
    if (!number_parse_go(option_string(options, "auto-gomemlimit.ratio"), &ratio) || ratio <= 0 ||
        ratio > 1)
        return err_set(err, ERR_LIMIT,
                       "--auto-gomemlimit.ratio must be greater than 0 and less than or equal to "
                       "1.");
    struct str url = option_string(options, "web.external-url"),
               origin = option_string(options, "web.cors.origin");
    struct regex *regex = NULL;
    if (!check_external_url(options, err)) {
        struct buf quoted;
        buf_init(&quoted, ERR_TEXT_MAX);
        buf_add_go_quoted(&quoted, url);
        err_wrap(err, "parse external URL " STR_FMT, STR_ARG(buf_str(&quoted)));
        buf_deinit(&quoted);
        return false;
    }
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
    features_tell(options);
    config_set_extra_scrape_metrics(feature_is_on(options, "extra-scrape-metrics"));
    set_retention(options);
    config_set_exemplar_storage(feature_is_on(options, "exemplar-storage"));
    if (!config_load(&config, path, &err)) {
        char *folder = path.len > 0 && path.ptr[0] == '/' ? NULL : getcwd(NULL, 0);
        LOG_E(log_fmt("Error loading config (--config.file=" STR_FMT ")", STR_ARG(path)), "file",
              log_fmt("%s%s" STR_FMT, folder ? folder : "", folder ? "/" : "", STR_ARG(path)),
              "err", err.text);
        free(folder);
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
    if (strcmp(name, "promtool") == 0 || (argc > 1 && argv[1][0] != '-' && argv[1][0] != '@'))
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
        exit_code = err.code == ERR_LIMIT ? 1 : 2;
    } else {
        exit_code = run_server(options);
    }
    options_free(options);
    return exit_code;
}
