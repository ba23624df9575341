/* info: the text of INFO (and of CLUSTER INFO, INFO MODULES) into metrics. Pure; any bytes may come. Private to redis. */
#ifndef REDIS_INFO_H
#define REDIS_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "metrics.h"

#define INFO_DATABASES_MAX 65536 /* Empty ones beyond get no metric. */

struct info_options {
    uint64_t db_count;    /* Databases that there are; those that INFO does not name are empty. */
    bool empty_databases; /* Say 0 for the empty ones. */
    bool system_metrics;  /* total_system_memory. */
    int64_t now_s;
};

void info_extract(struct metrics *metrics, struct str info, const struct info_options *options);
void info_extract_cluster(struct metrics *metrics, struct str info);
void info_extract_modules(struct metrics *metrics, struct str info);
/* One field, in the conversions of INFO's; nothing when the tables do not have it. */
void info_extract_field(struct metrics *metrics, struct str field, struct str value);

/* The value of the last line `field:value`; ptr NULL when there is none. */
struct str info_field(struct str info, struct str field);

/* Sum of the microseconds of all commands whose name begins with `command` ("get" takes "getset" in, as redis_exporter
 * does), for the histograms. Built once from the text, which must stay. */
struct info_usage {
    struct info_command {
        struct str name;
        uint64_t usec;
    } * items;
    size_t count;
};
void info_usage_read(struct info_usage *out, struct str info, struct arena *arena);
uint64_t info_usage_of(const struct info_usage *usage, struct str command);

#endif
