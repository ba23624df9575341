/* provider: one source of target groups of a job. Loop thread.
 *
 * discovery.c owns the jobs; a provider tells it `changed` and answers with its groups when asked.
 */
#ifndef DISCOVERY_PROVIDER_H
#define DISCOVERY_PROVIDER_H

#include <uv.h>

#include "base/vec.h"
#include "discovery.h"

struct group_list {
    VEC(struct target_group *) groups; /* References of the list's owner. */
};

typedef void (*provider_changed_fn)(void *ctx);

/* --- static.c --- */

/* Adds references to the groups of static_configs. */
void static_sd_collect(const struct config_static_sd *config, struct group_list *out);

/* --- file.c --- */

struct file_sd;

/* Reads everything once before it returns; `changed` is for later. Copies what it needs of the
 * config. */
struct file_sd *file_sd_open(struct uv_loop_s *loop, const struct config_file_sd *config,
                             struct discovery_stats *stats, provider_changed_fn changed, void *ctx);
void file_sd_collect(const struct file_sd *sd, struct group_list *out); /* Adds references. */
void file_sd_close(struct file_sd *sd);

#endif
