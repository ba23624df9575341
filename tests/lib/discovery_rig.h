/* discovery_rig: a discovery on a loop that notes what it tells. Included by the discovery tests.
 */
#ifndef TESTS_DISCOVERY_RIG_H
#define TESTS_DISCOVERY_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "discovery.h"

struct rig {
    uv_loop_t loop;
    struct discovery *discovery;
    struct config *config;
    struct buf told; /* "job: address address;" of the last call for each job. */
    size_t calls;
    const char *wanted;
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
                     STR_ARG(labels_get(groups[i]->targets[j], STR("__address__"))));
}

static void rig_open(struct rig *rig)
{
    *rig = (struct rig){0};
    ENSURE(uv_loop_init(&rig->loop) == 0);
    buf_init(&rig->told, 65536);
    rig->discovery = discovery_open(&rig->loop, rig_on_groups, rig);
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

/* Turns the loop until the last call said this, at most ten seconds. */
static bool rig_told(struct rig *rig, const char *wanted)
{
    int64_t end_ms = clock_mono_ms() + 10000;
    uv_timer_t wake;

    uv_timer_init(&rig->loop, &wake);
    uv_timer_start(&wake, rig_on_wake, 20, 20);
    while (!str_eq(buf_str(&rig->told), str_of(wanted)) && clock_mono_ms() < end_ms)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    return str_eq(buf_str(&rig->told), str_of(wanted));
}

static void rig_close(struct rig *rig)
{
    discovery_close(rig->discovery);
    config_unref(rig->config);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&rig->loop) == 0);
    buf_deinit(&rig->told);
}

#endif
