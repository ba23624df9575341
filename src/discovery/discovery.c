/* discovery: jobs and the providers that they share, and when the jobs' owner is told.
 *
 * A provider lives as long as some job of the configuration in force has its block, unchanged: a
 * reload does not disturb it, and two jobs with equal blocks have one. Each change marks the jobs
 * concerned; one timer tells all marked jobs: at once after a configuration, else at most once in
 * tell_ms. */
#include "base/clock.h"
#include "kubernetes.h"

#define TELL_MS_DEFAULT 1000
#define TELL_DELAY_MS   50 /* Changes that come together are told together. */

enum provider_kind { PROVIDER_FILE, PROVIDER_HTTP, PROVIDER_DNS, PROVIDER_KUBERNETES };

struct provider {
    struct discovery *discovery; /* Borrowed. */
    enum provider_kind kind;
    struct str key;        /* Of the block; in `config`. */
    struct config *config; /* Reference: the one with the block that it was opened with. */
    union {
        struct file_sd *file;
        struct http_sd *http;
        struct dns_sd *dns;
        struct kube_sd *kubernetes;
    } as;
    bool used; /* By a job of the configuration that is being applied. */
};

struct sd_job {
    char *name;
    struct group_list static_groups;
    VEC(struct provider *) providers; /* Borrowed from the discovery. */
    bool changed;
    int64_t told_ms; /* Unix time. */
};

struct discovery {
    struct provider_env env;
    discovery_groups_fn on_groups;
    void *ctx;
    VEC(struct sd_job *) jobs;
    VEC(struct provider *) providers;
    struct timer *tell;
    int64_t tell_ms;
    bool tell_armed;
    int64_t told_ms; /* Monotonic: the last time. */
    struct discovery_stats stats;
};

/* --- telling --- */

static void provider_collect(const struct provider *provider, struct group_list *out)
{
    switch (provider->kind) {
    case PROVIDER_FILE:
        file_sd_collect(provider->as.file, out);
        break;
    case PROVIDER_HTTP:
        http_sd_collect(provider->as.http, out);
        break;
    case PROVIDER_DNS:
        dns_sd_collect(provider->as.dns, out);
        break;
    case PROVIDER_KUBERNETES:
        kube_sd_collect(provider->as.kubernetes, out);
        break;
    }
}

static void job_collect(const struct sd_job *job, struct group_list *out)
{
    for (size_t i = 0; i < job->static_groups.groups.count; i++)
        VEC_PUSH(&out->groups, target_group_ref(job->static_groups.groups.items[i]));
    for (size_t i = 0; i < job->providers.count; i++)
        provider_collect(job->providers.items[i], out);
}

/* The owner may not apply a configuration from within. */
static void on_tell(void *ctx)
{
    struct discovery *discovery = ctx;
    bool some = false;

    discovery->tell_armed = false;
    discovery->told_ms = clock_mono_ms();
    for (size_t i = 0; i < discovery->jobs.count; i++) {
        struct sd_job *job = discovery->jobs.items[i];
        struct group_list list = {0};
        if (!job->changed)
            continue;
        job->changed = false;
        job->told_ms = clock_wall_ms();
        some = true;
        job_collect(job, &list);
        discovery->on_groups(discovery->ctx, str_of(job->name), list.groups.items,
                             list.groups.count);
        group_list_deinit(&list);
    }
    discovery->stats.updates += some;
}

static void arm(struct discovery *discovery, int64_t delay_ms)
{
    if (discovery->tell_armed && delay_ms > 0)
        return;
    discovery->tell_armed = true;
    timer_start(discovery->tell, delay_ms, 0);
}

static bool job_has(const struct sd_job *job, const struct provider *provider)
{
    for (size_t i = 0; i < job->providers.count; i++)
        if (job->providers.items[i] == provider)
            return true;
    return false;
}

static void on_changed(void *ctx)
{
    struct provider *provider = ctx;
    struct discovery *discovery = provider->discovery;
    int64_t left_ms = discovery->tell_ms - (clock_mono_ms() - discovery->told_ms);

    discovery->stats.received++;
    discovery->stats.delayed += left_ms > TELL_DELAY_MS;
    VEC_EACH (job, &discovery->jobs)
        (*job)->changed |= job_has(*job, provider);
    arm(discovery, left_ms > TELL_DELAY_MS ? left_ms : TELL_DELAY_MS);
}

/* --- providers --- */

static struct provider *provider_find(struct discovery *discovery, enum provider_kind kind,
                                      struct str key)
{
    VEC_EACH (each, &discovery->providers)
        if ((*each)->kind == kind && str_eq((*each)->key, key))
            return *each;
    return NULL;
}

/* `block` is a config_file_sd, config_http_sd, config_dns_sd or config_kubernetes_sd of the config.
 */
static struct provider *provider_open(struct discovery *discovery, enum provider_kind kind,
                                      struct str key, struct config *config, const void *block)
{
    const struct provider_env *env = &discovery->env;
    struct provider *provider = MEM_NEW(struct provider);

    provider->discovery = discovery;
    provider->kind = kind;
    provider->key = key;
    provider->config = config_ref(config);
    switch (kind) {
    case PROVIDER_FILE:
        provider->as.file = file_sd_open(env, block, on_changed, provider);
        break;
    case PROVIDER_HTTP:
        provider->as.http = http_sd_open(env, block, on_changed, provider);
        break;
    case PROVIDER_DNS:
        provider->as.dns = dns_sd_open(env, block, on_changed, provider);
        break;
    case PROVIDER_KUBERNETES:
        provider->as.kubernetes = kube_sd_open(env, config, block, on_changed, provider);
        break;
    }
    return provider;
}

static void provider_close(struct provider *provider)
{
    switch (provider->kind) {
    case PROVIDER_FILE:
        file_sd_close(provider->as.file);
        break;
    case PROVIDER_HTTP:
        http_sd_close(provider->as.http);
        break;
    case PROVIDER_DNS:
        dns_sd_close(provider->as.dns);
        break;
    case PROVIDER_KUBERNETES:
        kube_sd_close(provider->as.kubernetes);
        break;
    }
    config_unref(provider->config);
    mem_free(provider);
}

/* Closes those that no job uses. */
static void providers_sweep(struct discovery *discovery)
{
    size_t kept = 0;

    for (size_t i = 0; i < discovery->providers.count; i++) {
        struct provider *provider = discovery->providers.items[i];
        if (!provider->used) {
            provider_close(provider);
            continue;
        }
        provider->used = false;
        discovery->providers.items[kept++] = provider;
    }
    discovery->providers.count = kept;
}

/* --- jobs --- */

static void job_use(struct discovery *discovery, struct sd_job *job, enum provider_kind kind,
                    struct str key, struct config *config, const void *block)
{
    struct provider *provider = provider_find(discovery, kind, key);

    if (!provider) {
        provider = provider_open(discovery, kind, key, config, block);
        VEC_PUSH(&discovery->providers, provider);
    }
    provider->used = true;
    if (!job_has(job, provider))
        VEC_PUSH(&job->providers, provider);
}

static struct sd_job *job_open(struct discovery *discovery, struct config *config,
                               const struct config_scrape *scrape)
{
    struct sd_job *job = MEM_NEW(struct sd_job);

    job->name = str_dup(scrape->job_name);
    job->changed = true;
    static_sd_collect(&scrape->static_sd, &job->static_groups);
    discovery->stats.received += job->static_groups.groups.count > 0;
    for (size_t i = 0; i < scrape->file_sd_count; i++)
        job_use(discovery, job, PROVIDER_FILE, scrape->file_sd[i].key, config, &scrape->file_sd[i]);
    for (size_t i = 0; i < scrape->http_sd_count; i++)
        job_use(discovery, job, PROVIDER_HTTP, scrape->http_sd[i].key, config, &scrape->http_sd[i]);
    for (size_t i = 0; i < scrape->dns_sd_count; i++)
        job_use(discovery, job, PROVIDER_DNS, scrape->dns_sd[i].key, config, &scrape->dns_sd[i]);
    for (size_t i = 0; i < scrape->kubernetes_sd_count; i++)
        job_use(discovery, job, PROVIDER_KUBERNETES, scrape->kubernetes_sd[i].key, config,
                &scrape->kubernetes_sd[i]);
    return job;
}

static void job_close(struct sd_job *job)
{
    group_list_deinit(&job->static_groups);
    VEC_FREE(&job->providers);
    mem_free(job->name);
    mem_free(job);
}

static void jobs_close(struct discovery *discovery)
{
    VEC_EACH (job, &discovery->jobs)
        job_close(*job);
    VEC_CLEAR(&discovery->jobs);
}

static void run_at_once(void *ctx, struct job *job)
{
    (void)ctx;
    job->run(job);
    job->done(job);
}

struct discovery *discovery_open(const struct discovery_options *options)
{
    struct discovery *discovery = MEM_NEW(struct discovery);

    ENSURE(options->client && options->on_groups);
    discovery->env = (struct provider_env){
        .loop = options->loop,
        .client = options->client,
        .user_agent = str_dup(options->user_agent),
        .dns_servers = str_dup(options->dns_servers),
        .stats = &discovery->stats,
        .submit = options->submit ? options->submit : run_at_once,
        .submit_ctx = options->submit_ctx,
    };
    discovery->env.kube = kube_hub_new(&discovery->env);
    discovery->tell_ms = options->tell_ms > 0 ? options->tell_ms : TELL_MS_DEFAULT;
    discovery->on_groups = options->on_groups;
    discovery->ctx = options->ctx;
    discovery->tell = timer_new(options->loop, on_tell, discovery);
    return discovery;
}

void discovery_apply(struct discovery *discovery, struct config *config)
{
    jobs_close(discovery);
    for (size_t i = 0; i < config->scrape_count; i++)
        VEC_PUSH(&discovery->jobs, job_open(discovery, config, &config->scrapes[i]));
    providers_sweep(discovery);
    arm(discovery, 0);
}

void discovery_close(struct discovery *discovery)
{
    if (!discovery)
        return;
    timer_free(discovery->tell);
    jobs_close(discovery);
    VEC_FREE(&discovery->jobs);
    providers_sweep(discovery); /* No job uses any. */
    VEC_FREE(&discovery->providers);
    kube_hub_free(discovery->env.kube);
    mem_free(discovery->env.user_agent);
    mem_free(discovery->env.dns_servers);
    mem_free(discovery);
}

void discovery_get_stats(const struct discovery *discovery, struct discovery_stats *out)
{
    *out = discovery->stats;
}

enum kubernetes_watched discovery_each_object(struct discovery *discovery, struct str resource,
                                              struct str namespace_name, kubernetes_object_fn fn,
                                              void *ctx)
{
    return kube_hub_each_object(discovery->env.kube, resource, namespace_name, fn, ctx);
}

static bool provider_refresh(const struct provider *provider, struct refresh_view *view)
{
    const struct refresh_figures *figures = NULL;

    if (provider->kind == PROVIDER_HTTP) {
        view->mechanism = "http";
        figures = http_sd_figures(provider->as.http);
    } else if (provider->kind == PROVIDER_DNS) {
        view->mechanism = "dns";
        figures = dns_sd_figures(provider->as.dns);
    }
    if (!figures)
        return false;
    view->length = &figures->length;
    view->failures = figures->failures;
    return true;
}

void discovery_each_refresh(const struct discovery *discovery, refresh_view_fn fn, void *ctx)
{
    for (size_t i = 0; i < discovery->jobs.count; i++) {
        const struct sd_job *job = discovery->jobs.items[i];
        struct refresh_view view = {.job = str_of(job->name)};
        for (size_t j = 0; j < job->providers.count; j++)
            if (provider_refresh(job->providers.items[j], &view))
                fn(ctx, &view);
    }
}

int64_t discovery_told_ms(const struct discovery *discovery, struct str job)
{
    for (size_t i = 0; i < discovery->jobs.count; i++)
        if (str_eq(str_of(discovery->jobs.items[i]->name), job))
            return discovery->jobs.items[i]->told_ms;
    return 0;
}

void discovery_each_file(const struct discovery *discovery, sd_file_fn fn, void *ctx)
{
    for (size_t i = 0; i < discovery->providers.count; i++)
        if (discovery->providers.items[i]->kind == PROVIDER_FILE)
            file_sd_each(discovery->providers.items[i]->as.file, fn, ctx);
}

size_t discovery_target_count(const struct discovery *discovery, struct str job)
{
    size_t count = 0;

    for (size_t i = 0; i < discovery->jobs.count; i++) {
        struct group_list list = {0};
        if (!str_eq(str_of(discovery->jobs.items[i]->name), job))
            continue;
        job_collect(discovery->jobs.items[i], &list);
        VEC_EACH (group, &list.groups)
            count += (*group)->target_count;
        group_list_deinit(&list);
    }
    return count;
}
