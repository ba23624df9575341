/* flags: the command line and the environment of the exporter, as redis_exporter reads them. Private to redis. */
#ifndef REDIS_FLAGS_H
#define REDIS_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct flags {
#define FLAG_TYPE_TEXT   struct str
#define FLAG_TYPE_BOOL   bool
#define FLAG_TYPE_NUMBER int64_t
#define OPTION(type, field, name, environment, value, help) FLAG_TYPE_##type field;
#include "flags.def"
#undef OPTION
    bool version, help;
    int64_t timeout_ms; /* Of connection_timeout. */
};

/* argv[0] is skipped. Texts are argv's, the environment's or constants. -name, --name, =value or the next word. */
MUST_CHECK bool flags_parse(struct flags *out, int argc, char **argv, struct err *err);
void flags_print_help(void); /* On stderr. */

/* Go's durations: 15s, 1m30s, 1.5h, 300ms. */
bool flag_duration_parse(struct str text, int64_t *out_ms);

#endif
