/* commands: the words of the command line and who answers them. Private to cli. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* One parsed command line behind the command's words: flags (--name=value, --name value, -o value)
 * and the rest. */
struct command_flag {
    const char *name; /* "time", "o"; without dashes */
    bool takes_value;
    struct str value; /* Out. ptr NULL: not given; "true" for switches. */
};
struct command_line {
    struct command_flag *flags;
    size_t flag_count;
    char **args; /* Out: argv, where they are moved to the front. */
    size_t arg_count;
};
MUST_CHECK bool command_parse(struct command_line *line, int argc, char **argv, struct err *err);
struct str command_flag_value(const struct command_line *line,
                              const char *name); /* ptr NULL when not given. */
struct str command_arg(const struct command_line *line, size_t index, const char *otherwise);

/* POSTs a form to <server><path> and waits for the answer, whatever its status. */
MUST_CHECK bool command_post(struct str server, const char *path, struct str form, struct buf *body,
                             int *status, struct err *err);
/* GETs <server><path> in the same way. */
MUST_CHECK bool command_get(struct str server, const char *path, struct buf *body, int *status,
                            struct err *err);
/* The whole file, as much as fits. */
MUST_CHECK bool command_read_file(const char *path, struct buf *out, struct err *err);

/* What kingpin, which promtool has, says and ends with: 1. */
int command_usage(const struct err *err);
int command_usage_text(const char *text);
int command_unexpected(const char *arg);
/* The first `count` arguments (0: all of at least one) are files that are there. */
MUST_CHECK bool command_need_files(const struct command_line *line, const char *what, size_t count,
                                   struct err *err);

int command_check_config(int argc, char **argv);
int command_check_web_config(int argc, char **argv);
int command_check_discovery(int argc, char **argv);
int command_check_healthy(int argc, char **argv);
int command_check_ready(int argc, char **argv);
int command_query_instant(int argc, char **argv);
int command_query_range(int argc, char **argv);
int command_query_series(int argc, char **argv);
int command_query_labels(int argc, char **argv);
int command_query_analyze(int argc, char **argv);
int command_promql_format(int argc, char **argv);
int command_promql_label_matchers(int argc, char **argv);
int command_test_promql(int argc, char **argv);
int command_kube_explain(int argc, char **argv);
int command_tsdb_list(int argc, char **argv);
int command_tsdb_analyze(int argc, char **argv);
int command_tsdb_dump(int argc, char **argv);
int command_tsdb_dump_openmetrics(int argc, char **argv);
int command_tsdb_create_blocks(int argc, char **argv);

#endif
