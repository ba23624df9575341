/* check_discovery: what a job's discovery finds, with the labels before and after relabelling, as JSON in promtool's form. Static
 * and file targets are there at once; what has to be asked for is waited for until it has been quiet for a while, or --timeout. */
#include <stdio.h>
#include <uv.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/vec.h"
#include "commands.h"
#include "config.h"
#include "discovery.h"
#include "model/duration.h"
#include "net/http_client.h"
#include "scrape.h"

#define TIMEOUT_MS 30000
#define QUIET_MS   1500 /* Longer than between two updates. */
#define OUT_MAX    ((size_t)1 << 30)

struct finding {
    uv_loop_t loop;
    const struct config_scrape *scrape;
    VEC(struct target_group *) groups; /* References: the last that was told. */
    struct timer *deadline, *quiet;
    bool told, over;
};

static void end_now(void *ctx)
{
    struct finding *finding = ctx;
    finding->over = true;
}

static void groups_clear(struct finding *finding)
{
    VEC_EACH (group, &finding->groups)
        target_group_unref(*group);
    VEC_CLEAR(&finding->groups);
}

static bool must_ask(const struct config_scrape *scrape)
{
    return scrape->http_sd_count + scrape->dns_sd_count + scrape->kubernetes_sd_count > 0;
}

static void on_groups(void *ctx, struct str job, struct target_group *const *groups, size_t count)
{
    struct finding *finding = ctx;
    if (!str_eq(job, finding->scrape->job_name))
        return;
    groups_clear(finding);
    for (size_t i = 0; i < count; i++)
        VEC_PUSH(&finding->groups, target_group_ref(groups[i]));
    if (!must_ask(finding->scrape))
        finding->over = true;
    else if (count > 0)
        timer_start(finding->quiet, QUIET_MS, 0);
}

static bool find_groups(struct finding *finding, struct config *config, int64_t timeout_ms,
                        struct err *err)
{
    struct http_client *client;
    uv_loop_init(&finding->loop);
    if (!http_client_open(&client, &finding->loop, err))
        return false;
    finding->deadline = timer_new(&finding->loop, end_now, finding);
    finding->quiet = timer_new(&finding->loop, end_now, finding);
    timer_start(finding->deadline, timeout_ms, 0);
    struct discovery *discovery =
        discovery_open(&(struct discovery_options){.loop = &finding->loop,
                                                   .client = client,
                                                   .user_agent = STR("Prometheus/3.14.0"),
                                                   .dns_servers = STR_EMPTY,
                                                   .on_groups = on_groups,
                                                   .ctx = finding});
    discovery_apply(discovery, config);
    while (!finding->over)
        uv_run(&finding->loop, UV_RUN_ONCE);
    timer_free(finding->deadline);
    timer_free(finding->quiet);
    discovery_close(discovery);
    http_client_close(client);
    uv_run(&finding->loop, UV_RUN_DEFAULT);
    uv_loop_close(&finding->loop);
    return true;
}

/* --- printing --- */

static void add_labels(struct buf *out, const char *name, const struct labels *labels)
{
    buf_addf(out, "    \"%s\": {", name);
    for (size_t i = 0; i < labels->count; i++) {
        buf_addf(out, "%s\n      ", i ? "," : "");
        buf_add_json_string(out, labels->items[i].name);
        BUF_ADD(out, ": ");
        buf_add_json_string(out, labels->items[i].value);
    }
    buf_addf(out, labels->count ? "\n    }" : "}");
}

/* Each pair of label sets once. */
struct shown {
    VEC(struct labels *) discovered;
    VEC(struct labels *) labels;
};

static bool shown_before(const struct shown *shown, const struct labels *discovered,
                         const struct labels *labels)
{
    for (size_t i = 0; i < shown->labels.count; i++) {
        if (labels_eq(shown->discovered.items[i], discovered) &&
            labels_eq(shown->labels.items[i], labels))
            return true;
    }
    return false;
}

static void add_target(struct buf *out, struct shown *shown, const struct config_scrape *scrape,
                       const struct target_group *group, size_t index)
{
    struct labels *discovered, *labels;
    struct err err = {0};
    bool good = scrape_target_labels(&discovered, &labels, scrape, group, index, &err);
    if (shown_before(shown, discovered, labels)) {
        labels_unref(discovered);
        labels_unref(labels);
        return;
    }
    buf_addf(out, "%s\n  {\n", shown->labels.count ? "," : "");
    add_labels(out, "discoveredLabels", discovered);
    BUF_ADD(out, ",\n");
    add_labels(out, "labels", labels);
    if (!good)
        BUF_ADD(out, ",\n    \"error\": {}");
    BUF_ADD(out, "\n  }");
    VEC_PUSH(&shown->discovered, discovered);
    VEC_PUSH(&shown->labels, labels);
}

static void print_groups(const struct finding *finding)
{
    struct shown shown = {0};
    struct buf out;
    buf_init(&out, OUT_MAX);
    BUF_ADD(&out, "[");
    for (size_t i = 0; i < finding->groups.count; i++) {
        const struct target_group *group = finding->groups.items[i];
        for (size_t k = 0; k < group->target_count; k++)
            add_target(&out, &shown, finding->scrape, group, k);
    }
    buf_addf(&out, shown.labels.count ? "\n]" : "]");
    fwrite(out.ptr, 1, out.len, stdout);
    buf_deinit(&out);
    for (size_t i = 0; i < shown.labels.count; i++) {
        labels_unref(shown.discovered.items[i]);
        labels_unref(shown.labels.items[i]);
    }
    VEC_FREE(&shown.discovered);
    VEC_FREE(&shown.labels);
}

/* --- the command --- */

static const struct config_scrape *job_find(const struct config *config, struct str job)
{
    for (size_t i = 0; i < config->scrape_count; i++) {
        if (str_eq(config->scrapes[i].job_name, job))
            return &config->scrapes[i];
    }
    fprintf(stderr, "Job " STR_FMT " not found. Select one of:\n", STR_ARG(job));
    for (size_t i = 0; i < config->scrape_count; i++)
        fprintf(stderr, "\t" STR_FMT "\n", STR_ARG(config->scrapes[i].job_name));
    return NULL;
}

static int check_job(struct config *config, struct str job, int64_t timeout_ms)
{
    struct finding finding = {.scrape = job_find(config, job)};
    struct err err = {0};
    if (!finding.scrape)
        return 1;
    struct config_scrape *all = config->scrapes;
    size_t all_count = config->scrape_count;
    config->scrapes = all + (finding.scrape - all); /* The others are not asked for. */
    config->scrape_count = 1;
    bool good = find_groups(&finding, config, timeout_ms, &err);
    if (good)
        print_groups(&finding);
    else
        fprintf(stderr, "%s\n", err.text);
    groups_clear(&finding);
    VEC_FREE(&finding.groups);
    config->scrapes = all; /* They belong to it again. */
    config->scrape_count = all_count;
    return good ? 0 : 1;
}

int command_check_discovery(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "timeout", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct err err = {0};
    int64_t timeout_ms = TIMEOUT_MS;
    bool good = command_parse(&line, argc, argv, &err) &&
                command_need_files(&line, "config-file", 1, &err) &&
                (line.arg_count > 1 ||
                 err_set(&err, ERR_BAD_DATA, "required argument 'job' not provided")) &&
                (!flags[0].value.ptr || duration_parse(flags[0].value, &timeout_ms, &err));
    if (!good)
        return command_usage(&err);
    struct config *config = NULL;
    if (!config_load(&config, command_arg(&line, 0, ""), &err)) {
        fprintf(stderr, "Cannot load config %s\n", err.text);
        return 1;
    }
    int code = check_job(config, command_arg(&line, 1, ""), timeout_ms);
    config_unref(config);
    return code;
}
