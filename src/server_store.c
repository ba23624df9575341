/* server_store: see server_store.h. */
#include "server_store.h"

#include <sys/statvfs.h>

#include "base/cgroup.h"
#include "base/log.h"
#include "base/mem.h"
#include "feature_flags.h"

/* In bytes; a percentage is of the whole file system, which may grow between two reloads. */
static uint64_t retention_bytes(const struct options *options, const struct config *config)
{
    double percentage = config->retention_percentage;
    uint64_t bytes = config->retention_bytes;
    struct statvfs disk;
    if (percentage <= 0)
        return bytes;
    char *path = str_dup(option_string(options, "storage.tsdb.path"));
    bool known = statvfs(path, &disk) == 0;
    mem_free(path);
    double share = known ? (double)disk.f_blocks * (double)disk.f_frsize * percentage / 100 : 0;
    return share >= 1 && (bytes == 0 || share < (double)bytes) ? (uint64_t)share : bytes;
}

/* Exemplars are kept when the feature is on; how many, the configuration says. */
static size_t exemplars_max(const struct options *options, const struct config *config)
{
    int64_t max = config->exemplars_max;
    return feature_is_on(options, "exemplar-storage") && max > 0 ? (size_t)max : 0;
}

/* --storage.memory-budget, or what is sure to be there: then a fifth is left to the kernel, to queries and to what old
 * series need. */
static uint64_t memory_budget(const struct options *options)
{
    bool from_group;
    if (option_is_set(options, "storage.memory-budget"))
        return option_number(options, "storage.memory-budget");
    uint64_t usable = cgroup_memory_usable("", &from_group);
    if (usable == CGROUP_NONE)
        return 0;
    LOG_I("Memory budget", "budget_bytes", log_fmt("%llu", (unsigned long long)(usable / 5 * 4)),
          "of", from_group ? "the cgroup's limit" : "the machine's memory");
    return usable / 5 * 4;
}

void store_options_read(struct storage_options *out, const struct options *options,
                        const struct config *config)
{
    storage_options_init(out);
    out->path = option_string(options, "storage.tsdb.path");
    out->retention_ms = config->retention_ms;
    out->retention_bytes = retention_bytes(options, config);
    out->exemplars_max = exemplars_max(options, config);
    out->out_of_order_ms = config->out_of_order_ms;
    out->build_delay_ms = option_duration_ms(options, "storage.narthex.build-delay");
    out->slot_ms = option_duration_ms(options, "storage.narthex.slot-duration");
    out->partition_ms = option_duration_ms(options, "storage.narthex.partition-duration");
    out->series_max = (uint32_t)option_number(options, "storage.narthex.series-limit");
    out->job_series_max = (uint32_t)option_number(options, "storage.narthex.job-series-limit");
    out->memory_budget = memory_budget(options);
    out->no_lockfile = option_bool(options, "storage.tsdb.no-lockfile");
}

void store_apply_config(struct storage *storage, const struct options *options,
                        const struct config *config)
{
    storage_set_retention(storage, config->retention_ms, retention_bytes(options, config));
    storage_set_out_of_order(storage, config->out_of_order_ms);
    storage_set_exemplars_max(storage, exemplars_max(options, config));
}
