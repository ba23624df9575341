/* feature_flags: what --enable-feature names. */
#ifndef FEATURE_FLAGS_H
#define FEATURE_FLAGS_H

#include <stdbool.h>

#include "options.h"

bool feature_is_on(const struct options *options, const char *wanted);
/* QUERY_* bits; a name that means nothing here is told in the log. */
unsigned features_of_queries(const struct options *options);
void features_tell(const struct options *options); /* In the log, as Prometheus does. */

#endif
