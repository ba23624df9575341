/* commands: replies of single commands into metrics. Pure; a reply of another shape than the command's yields less or
 * nothing. Private to redis. */
#ifndef REDIS_COMMANDS_H
#define REDIS_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "info.h"
#include "metrics.h"
#include "resp.h"

struct config_options {
    bool all;    /* Every setting as a metric. */
    bool redact; /* But those that hold passwords. */
};

/* CONFIG GET *. *db_count is set when the reply says it, *cluster_db_count, too (Valkey 9). */
MUST_CHECK bool config_extract(struct metrics *metrics, const struct resp *reply,
                               const struct config_options *options, uint64_t *db_count,
                               uint64_t *cluster_db_count, struct err *err);
void slowlog_extract(struct metrics *metrics, const struct resp *reply); /* SLOWLOG GET 1 */
void latency_extract(struct metrics *metrics, const struct resp *reply); /* LATENCY LATEST */
/* LATENCY HISTOGRAM; the sums come from INFO. */
void histogram_extract(struct metrics *metrics, const struct resp *reply,
                       const struct info_usage *usage);
/* CONFIG GET commandlog-* */
void commandlog_extract(struct metrics *metrics, const struct resp *reply);
/* CLIENT LIST */
void clients_extract(struct metrics *metrics, struct str list, bool with_port, int64_t now_s);
/* SERVER EXT of Tile38 */
void tile38_extract(struct metrics *metrics, const struct resp *reply);
/* A script's flat list of names and numbers. False (with err) when one is no number; *count of those added. */
MUST_CHECK bool script_extract(struct metrics *metrics, const struct resp *reply,
                               struct str filename, size_t *count, struct err *err);
/* FT.INFO */
void search_index_extract(struct metrics *metrics, const struct resp *reply);

/* One element of SENTINEL MASTERS; false when it names no master. */
bool sentinel_master_extract(struct metrics *metrics, const struct resp *master, struct str *name,
                             struct str *address, struct arena *arena);
void sentinel_peers_extract(struct metrics *metrics, const struct resp *reply, struct str name,
                            struct str address, bool peer_info); /* SENTINEL SENTINELS */
void sentinel_slaves_extract(struct metrics *metrics, const struct resp *reply, struct str name,
                             struct str address); /* SENTINEL SLAVES */
void sentinel_config_extract(struct metrics *metrics, const struct resp *reply);

/* XINFO STREAM, XINFO GROUPS, XINFO CONSUMERS; false when the reply is not what the command gives. */
bool stream_extract(struct metrics *metrics, const struct resp *reply, struct str db,
                    struct str key);
bool stream_group_extract(struct metrics *metrics, const struct resp *group, struct str db,
                          struct str key, struct str *name);
void stream_consumers_extract(struct metrics *metrics, const struct resp *reply, struct str db,
                              struct str key, struct str group);

#endif
