/* discovery: jobs and their providers, and when the jobs' owner is told.
 *
 * A job whose discovery sections a reload does not change keeps its providers (equal sd_key). Each
 * change marks its job; one timer tells all marked jobs: at once after a configuration, else at
 * most once a second. */
#include "base/clock.h"
#include "provider.h"

#define TELL_INTERVAL_MS 1000
#define TELL_DELAY_MS    50 /* Changes that come together are told together. */

struct sd_job {
    struct discovery *discovery; /* Borrowed. */
    char *name;
    char *sd_key;
    struct group_list static_groups;
    VEC(struct file_sd *) files;
    bool changed;
};

struct discovery {
    struct uv_loop_s *loop;
    discovery_groups_fn on_groups;
    void *ctx;
    VEC(struct sd_job *) jobs;
    struct timer *tell;
    bool tell_armed;
    int64_t told_ms; /* Monotonic: the last time. */
    struct discovery_stats stats;
    struct config *config; /* Reference: the one in force. */
};

static void group_list_deinit(struct group_list *list)
{
    VEC_EACH (group, &list->groups)
        target_group_unref(*group);
    VEC_FREE(&list->groups);
}

static void job_collect(const struct sd_job *job, struct group_list *out)
{
    for (size_t i = 0; i < job->static_groups.groups.count; i++)
        VEC_PUSH(&out->groups, target_group_ref(job->static_groups.groups.items[i]));
    for (size_t i = 0; i < job->files.count; i++)
        file_sd_collect(job->files.items[i], out);
}

/* The owner may not apply a configuration from within. */
static void on_tell(void *ctx)
{
    struct discovery *discovery = ctx;

    discovery->tell_armed = false;
    discovery->told_ms = clock_mono_ms();
    for (size_t i = 0; i < discovery->jobs.count; i++) {
        struct sd_job *job = discovery->jobs.items[i];
        struct group_list list = {0};
        if (!job->changed)
            continue;
        job->changed = false;
        discovery->stats.updates++;
        job_collect(job, &list);
        discovery->on_groups(discovery->ctx, str_of(job->name), list.groups.items,
                             list.groups.count);
        group_list_deinit(&list);
    }
}

static void arm(struct discovery *discovery, int64_t delay_ms)
{
    if (discovery->tell_armed && delay_ms > 0)
        return;
    discovery->tell_armed = true;
    timer_start(discovery->tell, delay_ms, 0);
}

static void on_changed(void *ctx)
{
    struct sd_job *job = ctx;

    int64_t since_ms = clock_mono_ms() - job->discovery->told_ms;
    int64_t left_ms = TELL_INTERVAL_MS - since_ms;

    job->changed = true;
    arm(job->discovery, left_ms > TELL_DELAY_MS ? left_ms : TELL_DELAY_MS);
}

static struct sd_job *job_open(struct discovery *discovery, const struct config_scrape *scrape)
{
    struct sd_job *job = MEM_NEW(struct sd_job);

    job->discovery = discovery;
    job->name = str_dup(scrape->job_name);
    job->sd_key = str_dup(scrape->sd_key);
    static_sd_collect(&scrape->static_sd, &job->static_groups);
    for (size_t i = 0; i < scrape->file_sd_count; i++)
        VEC_PUSH(&job->files, file_sd_open(discovery->loop, &scrape->file_sd[i], &discovery->stats,
                                           on_changed, job));
    return job;
}

static void job_close(struct sd_job *job)
{
    group_list_deinit(&job->static_groups);
    VEC_EACH (file, &job->files)
        file_sd_close(*file);
    VEC_FREE(&job->files);
    mem_free(job->name);
    mem_free(job->sd_key);
    mem_free(job);
}

struct discovery *discovery_open(struct uv_loop_s *loop, discovery_groups_fn on_groups, void *ctx)
{
    struct discovery *discovery = MEM_NEW(struct discovery);

    discovery->loop = loop;
    discovery->on_groups = on_groups;
    discovery->ctx = ctx;
    discovery->tell = timer_new(loop, on_tell, discovery);
    return discovery;
}

/* The old job that may go on as this one, taken out of its place. */
static struct sd_job *take_job(struct sd_job **jobs, size_t count,
                               const struct config_scrape *scrape)
{
    for (size_t i = 0; i < count; i++) {
        struct sd_job *job = jobs[i];
        if (!job || !str_eq(str_of(job->name), scrape->job_name) ||
            !str_eq(str_of(job->sd_key), scrape->sd_key))
            continue;
        jobs[i] = NULL;
        return job;
    }
    return NULL;
}

void discovery_apply(struct discovery *discovery, struct config *config)
{
    struct sd_job **old = discovery->jobs.items;
    size_t old_count = discovery->jobs.count;

    discovery->jobs.items = NULL;
    discovery->jobs.count = discovery->jobs.capacity = 0;
    for (size_t i = 0; i < config->scrape_count; i++) {
        const struct config_scrape *scrape = &config->scrapes[i];
        struct sd_job *job = take_job(old, old_count, scrape);
        if (!job)
            job = job_open(discovery, scrape);
        job->changed = true;
        VEC_PUSH(&discovery->jobs, job);
    }
    for (size_t i = 0; i < old_count; i++)
        if (old[i])
            job_close(old[i]);
    mem_free(old);
    struct config *before = discovery->config;
    discovery->config = config_ref(config);
    config_unref(before);
    arm(discovery, 0);
}

void discovery_close(struct discovery *discovery)
{
    if (!discovery)
        return;
    timer_free(discovery->tell);
    VEC_EACH (job, &discovery->jobs)
        job_close(*job);
    VEC_FREE(&discovery->jobs);
    config_unref(discovery->config);
    mem_free(discovery);
}

void discovery_get_stats(const struct discovery *discovery, struct discovery_stats *out)
{
    *out = discovery->stats;
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
