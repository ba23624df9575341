/* provider: one source of target groups. Loop thread.
 *
 * discovery.c owns the providers and shares them between jobs; a provider tells it `changed`, never
 * from within its own open, and answers with its groups when asked. */
#ifndef DISCOVERY_PROVIDER_H
#define DISCOVERY_PROVIDER_H

#include <uv.h>

#include "base/job.h"
#include "base/vec.h"
#include "discovery.h"
#include "net/http_client.h"

typedef void (*provider_changed_fn)(void *ctx);

/* What all providers have in common. Borrowed from the discovery, which outlives them. */
struct provider_env {
    struct uv_loop_s *loop;
    struct http_client *client;
    char *user_agent;
    char *dns_servers;
    struct discovery_stats *stats;
    struct kube_hub *kube; /* The watches of kubernetes.c. */
    job_submit_fn submit;  /* Long lists are parsed there. */
    void *submit_ctx;
};

/* How the rounds of a provider go that asks for everything each time. */
struct refresh_figures {
    int64_t begin_ns; /* Of the round that runs. */
    struct summary length;
    uint64_t failures;
};

void refresh_begin(struct refresh_figures *figures);
void refresh_end(struct refresh_figures *figures, bool good);

/* --- groups.c --- */

struct group_list {
    VEC(struct target_group *) groups; /* References of the list's owner. */
};

void group_list_deinit(struct group_list *list);
void target_groups_free(struct target_group **groups, size_t count); /* An array of references. */
/* Same sources, labels and targets in the same order; NULL equals only NULL. */

/* --- static.c --- */

/* Adds references to the groups of static_configs. */
void static_sd_collect(const struct config_static_sd *config, struct group_list *out);

/* --- file.c --- */

struct file_sd;

/* Reads everything once before it returns; `changed` is for later, when files are parsed on the lane.
 * Copies what it needs of the config. */
struct file_sd *file_sd_open(const struct provider_env *env, const struct config_file_sd *config,
                             provider_changed_fn changed, void *ctx);
void file_sd_collect(const struct file_sd *sd, struct group_list *out); /* Adds references. */
void file_sd_each(const struct file_sd *sd, sd_file_fn fn, void *ctx);
void file_sd_close(struct file_sd *sd);

/* --- http.c, dns.c: the config is borrowed until close --- */

struct http_sd;

struct http_sd *http_sd_open(const struct provider_env *env, const struct config_http_sd *config,
                             provider_changed_fn changed, void *ctx);
void http_sd_collect(const struct http_sd *sd, struct group_list *out);
const struct refresh_figures *http_sd_figures(const struct http_sd *sd);
void http_sd_close(struct http_sd *sd);

struct dns_sd;

struct dns_sd *dns_sd_open(const struct provider_env *env, const struct config_dns_sd *config,
                           provider_changed_fn changed, void *ctx);
void dns_sd_collect(const struct dns_sd *sd, struct group_list *out);
const struct refresh_figures *dns_sd_figures(const struct dns_sd *sd);
void dns_sd_close(struct dns_sd *sd);

/* --- kubernetes.c: the config is borrowed until close --- */

struct kube_sd;

struct kube_sd *kube_sd_open(const struct provider_env *env, struct config *owner,
                             const struct config_kubernetes_sd *config, provider_changed_fn changed,
                             void *ctx);
void kube_sd_collect(const struct kube_sd *sd, struct group_list *out);
void kube_sd_close(struct kube_sd *sd);

#endif
