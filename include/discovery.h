/* discovery: finds targets and tells who they are, job by job. Loop thread.
 *
 *     discovery_apply(config) -> for each job: on_groups(job, groups) whenever the list changed
 */
#ifndef DISCOVERY_H
#define DISCOVERY_H

#include <stddef.h>
#include <stdint.h>

#include "base/job.h"
#include "base/str.h"
#include "base/summary.h"
#include "config.h"
#include "model/labels.h"
#include "model/target.h"
#include "net/loop.h"

struct discovery;
struct http_client;

/* All groups of a job, each time the whole list; references are the discovery's: target_group_ref
 * what is kept. Never called inside discovery_apply. */
typedef void (*discovery_groups_fn)(void *ctx, struct str job, struct target_group *const *groups,
                                    size_t count);

struct discovery_options {
    struct uv_loop_s *loop;
    struct http_client *client; /* Outlives the discovery. */
    struct str user_agent;      /* Of http_sd. Copied. */
    struct str dns_servers; /* "127.0.0.1:53,..." of dns_sd; empty: those of resolv.conf. Copied. */
    int64_t tell_ms;        /* Changes are told once in this time. 0: a second. */
    discovery_groups_fn on_groups;
    void *ctx;
    job_submit_fn submit; /* A lane's, that parses long lists. May outlive the discovery. NULL: the loop does it. */
    void *submit_ctx;
};

struct discovery *discovery_open(const struct discovery_options *options);
/* Starts, keeps (equal blocks, of any job) and stops providers so that they match the configuration.
 * Takes references. Every job of the new configuration is told its groups once soon after. */
void discovery_apply(struct discovery *discovery, struct config *config);
void discovery_close(struct discovery *discovery);

/* In the order of Prometheus' roles: node, pod, service, endpoints, endpointslice, ingress. */
#define KUBERNETES_ROLE_COUNT 6
enum kubernetes_event { KUBERNETES_ADD, KUBERNETES_UPDATE, KUBERNETES_DELETE };

struct discovery_stats {
    uint64_t updates;          /* Times that the jobs' owner was told. */
    uint64_t received, delayed; /* What providers said; what had to wait for its turn. */
    uint64_t file_read_errors, file_watch_errors;
    struct summary file_scan; /* Seconds. */
    uint64_t http_failures;
    uint64_t dns_lookups, dns_lookup_failures;
    uint64_t kubernetes_events[KUBERNETES_ROLE_COUNT][3];
    uint64_t kubernetes_failures;
};
void discovery_get_stats(const struct discovery *discovery, struct discovery_stats *out);

/* A job's block that is asked again and again: "http", "dns". */
struct refresh_view {
    struct str job;
    const char *mechanism;
    const struct summary *length; /* Seconds. */
    uint64_t failures;
};
typedef void (*refresh_view_fn)(void *ctx, const struct refresh_view *view);
void discovery_each_refresh(const struct discovery *discovery, refresh_view_fn fn, void *ctx);
/* When the job's groups were told last, Unix time. 0: never. */
int64_t discovery_told_ms(const struct discovery *discovery, struct str job);
/* Files of file_sd_configs, and from when their content is. */
typedef void (*sd_file_fn)(void *ctx, struct str path, double modified_seconds);
void discovery_each_file(const struct discovery *discovery, sd_file_fn fn, void *ctx);
/* --- the objects that the watches of kubernetes_sd_configs know --- */

struct kubernetes_object {
    struct str namespace_name, name; /* namespace_name is empty of what is in none. */
    const struct label *labels;      /* Sorted by name; a value may be empty. */
    size_t label_count;
};

enum kubernetes_watched {
    KUBERNETES_NOT_WATCHED,
    KUBERNETES_SYNCING, /* Watched, but the first list is not here yet. */
    KUBERNETES_PARTIAL, /* Only some: each watch has a selector, or other namespaces. */
    KUBERNETES_WATCHED,
};

typedef void (*kubernetes_object_fn)(void *ctx, const struct kubernetes_object *object);
/* Tells each object of a resource ("pods") in a namespace (empty: in any), in no order; when some only are watched, maybe
 * one more than once. Nothing is told unless PARTIAL or WATCHED. Texts live until the loop goes on. */
enum kubernetes_watched discovery_each_object(struct discovery *discovery, struct str resource,
                                              struct str namespace_name, kubernetes_object_fn fn, void *ctx);
/* Number of targets that discovery knows for a job. */
size_t discovery_target_count(const struct discovery *discovery, struct str job);

#endif
