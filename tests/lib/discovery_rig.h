/* discovery_rig: a discovery on a loop that notes what it tells. Included by the discovery tests.
 */
#ifndef TESTS_DISCOVERY_RIG_H
#define TESTS_DISCOVERY_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "discovery.h"
#include "lane_now.h"
#include "net/http_client.h"
#include "groups.h"

struct rig {
    uv_loop_t loop;
    struct http_client *client;
    struct discovery *discovery;
    const char *dns_servers; /* NULL: the host's. */
    struct config *config;
    struct buf told; /* "job: address address;" of the last call for each job. */
    size_t calls;
    const char *wanted;
    struct lane_now lane; /* Runs jobs at once, unless it is held. */
};

static void rig_on_groups(void *ctx, struct str job, struct target_group *const *groups,
                          size_t count)
{
    struct rig *rig = ctx;

    rig->calls++;
    buf_clear(&rig->told);
    buf_addf(&rig->told, STR_FMT ":", STR_ARG(job));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < groups[i]->target_count; j++)
            buf_addf(&rig->told, " " STR_FMT,
                     STR_ARG(group_value(groups[i], 1 + j, STR("__address__"))));
}

/* The loop and what the discovery stands on; rig_start opens it. */
static void rig_begin(struct rig *rig)
{
    *rig = (struct rig){0};
    ENSURE(uv_loop_init(&rig->loop) == 0);
}

static void rig_start(struct rig *rig)
{
    struct err err;

    buf_init(&rig->told, 65536);
    ENSURE(http_client_open(&rig->client, &rig->loop, &err));
    struct discovery_options options = {
        .loop = &rig->loop,
        .client = rig->client,
        .user_agent = STR("Prometheus/3.14.0"),
        .dns_servers = rig->dns_servers ? str_of(rig->dns_servers) : STR_EMPTY,
        .on_groups = rig_on_groups,
        .ctx = rig,
        .submit = lane_now_submit,
        .submit_ctx = &rig->lane,
    };
    lane_now_init(&rig->lane);
    rig->lane.held = false;
    rig->discovery = discovery_open(&options);
}

static inline void rig_open(struct rig *rig)
{
    rig_begin(rig);
    rig_start(rig);
}

static void rig_apply(struct rig *rig, const char *yaml)
{
    struct config *config;
    struct err err;

    if (!config_parse(&config, str_of(yaml), STR("test.yml"), &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    discovery_apply(rig->discovery, config);
    config_unref(rig->config);
    rig->config = config;
}

static void rig_on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static bool rig_last_is(const struct rig *rig, const char *wanted)
{
    return str_eq(buf_str(&rig->told), str_of(wanted));
}

/* Turns the loop until the last call said one of these, at most a minute. */
static bool rig_told_either(struct rig *rig, const char *wanted, const char *other)
{
    int64_t end_ms = clock_mono_ms() + 60000;
    uv_timer_t wake;

    uv_timer_init(&rig->loop, &wake);
    uv_timer_start(&wake, rig_on_wake, 20, 20);
    while (!rig_last_is(rig, wanted) && !rig_last_is(rig, other) && clock_mono_ms() < end_ms)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    return rig_last_is(rig, wanted) || rig_last_is(rig, other);
}

static bool rig_told(struct rig *rig, const char *wanted)
{
    return rig_told_either(rig, wanted, wanted);
}

/* Turns the loop until a job waits on the lane, which is held. */
static inline bool rig_has_job(struct rig *rig)
{
    int64_t end_ms = clock_mono_ms() + 60000;
    uv_timer_t wake;

    uv_timer_init(&rig->loop, &wake);
    uv_timer_start(&wake, rig_on_wake, 20, 20);
    while (list_empty(&rig->lane.jobs) && clock_mono_ms() < end_ms)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    return !list_empty(&rig->lane.jobs);
}

static void rig_close(struct rig *rig)
{
    discovery_close(rig->discovery);
    lane_now_run(&rig->lane); /* What is left there has no owner any more. */
    http_client_close(rig->client);
    config_unref(rig->config);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&rig->loop) == 0);
    buf_deinit(&rig->told);
}

#endif
