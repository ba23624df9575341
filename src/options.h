/* options: the command line of the server, from flags.def. Read once at start, then constant. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct options;

enum options_outcome { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/* argv is borrowed for ever (as main's is). The error is the part behind "Error parsing command
 * line arguments: "; ERR_NOT_FOUND when the words themselves are wrong, ERR_BAD_DATA for values. */
MUST_CHECK bool options_parse(struct options **out, int argc, char **argv,
                              enum options_outcome *outcome, struct err *err);
void options_free(struct options *options);
/* Flags of the other mode: the whole text for the user. */
MUST_CHECK bool options_check_mode(const struct options *options, struct err *err);

/* By name; asking for a name that is not in flags.def is the programmer's error. */
struct str option_string(const struct options *options, const char *name);
bool option_bool(const struct options *options, const char *name);
int64_t option_duration_ms(const struct options *options, const char *name);
uint64_t option_number(const struct options *options, const char *name); /* Sizes in bytes, too. */
bool option_is_set(const struct options *options, const char *name);
/* Repeatable flags: all values, comma lists split for enable-feature by the caller. */
size_t option_count(const struct options *options, const char *name);
struct str option_at(const struct options *options, const char *name, size_t index);

/* "/" or "/x", of --web.route-prefix and --web.external-url. */
struct str options_route_prefix(const struct options *options);

/* Rows for /status/flags; owned by the options. */
const struct api_flag *options_flags(const struct options *options, size_t *count);
/* One warning a flag that was given and has no effect. */
void options_warn(const struct options *options);

void options_print_help(struct buf *out);

#endif
