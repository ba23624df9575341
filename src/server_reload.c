/* server_reload: see server_reload.h. One job at a time: a load, or a look at the files.
 *
 *     idle --ask--> loading --done--> idle, or loading again for those who asked meanwhile
 *     idle --timer--> looking --changed, or asked meanwhile--> loading */
#include "server_reload.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "net/loop.h"

struct waiter {
    reload_done_fn done;
    void *ctx;
};

struct waiter_list {
    struct waiter *items;
    size_t count, capacity;
};

enum reload_work { WORK_NONE, WORK_LOAD, WORK_LOOK };

struct reloader {
    struct reloader_options options;
    struct timer *timer;        /* NULL: no watching. */
    struct config *watched;     /* A reference: its files. NULL: no watching. */
    uint64_t sum;               /* Of those, when they were read. */
    enum reload_work work;      /* Under way. */
    struct waiter_list waiting; /* For a load that has not begun. */
    struct waiter_list served;  /* For the one that is under way. */
    bool stopping;
    /* Of the job; the lane's while it runs: */
    struct job job;
    bool good;
    struct config *loaded;
    struct err err;
    uint64_t files_sum;
};

static bool is_watching(const struct reloader *reloader)
{
    return reloader->timer != NULL;
}

static void watch(struct reloader *reloader, struct config *config)
{
    struct config *before = reloader->watched;

    if (!is_watching(reloader))
        return;
    reloader->watched = config_ref(config);
    reloader->sum = reloader->files_sum + reloader->options.more_checksum(reloader->options.ctx);
    config_unref(before);
}

static void load_run(struct job *job)
{
    struct reloader *reloader = CONTAINER_OF(job, struct reloader, job);

    reloader->good = config_load(&reloader->loaded, reloader->options.path, &reloader->err);
    if (reloader->good && is_watching(reloader))
        reloader->files_sum = config_checksum(reloader->loaded);
}

static void look_run(struct job *job)
{
    struct reloader *reloader = CONTAINER_OF(job, struct reloader, job);

    reloader->files_sum = config_checksum(reloader->watched);
}

static void work_end(struct reloader *reloader);

/* Who is told may ask again. */
static void tell(struct reloader *reloader, const struct err *err)
{
    struct waiter_list told = reloader->served;

    reloader->served = (struct waiter_list){0};
    VEC_EACH (waiter, &told)
        if (waiter->done)
            waiter->done(waiter->ctx, err);
    VEC_FREE(&told);
}

static bool load_apply(struct reloader *reloader, struct err *err)
{
    struct str path = reloader->options.path;
    struct config *config = reloader->loaded;

    reloader->loaded = NULL;
    if (!reloader->good) {
        *err = reloader->err;
        return err_wrap(err, "couldn't load configuration (--config.file=\"" STR_FMT "\")",
                        STR_ARG(path));
    }
    if (reloader->stopping) {
        config_unref(config);
        return err_set(err, ERR_UNAVAILABLE, "the server is shutting down");
    }
    config_ref(config);
    bool good = reloader->options.apply(reloader->options.ctx, config, err);
    if (good)
        watch(reloader, config);
    config_unref(config);
    return good;
}

static void load_done(struct job *job)
{
    struct reloader *reloader = CONTAINER_OF(job, struct reloader, job);
    struct err err = {0};
    bool good = load_apply(reloader, &err);

    if (good) {
        LOG_I("Completed loading of configuration file", "filename",
              log_str(reloader->options.path));
    } else {
        LOG_E("Error reloading config", "err", err.text);
        reloader->options.failed(reloader->options.ctx, &err);
    }
    tell(reloader, good ? NULL : &err);
    work_end(reloader);
}

static void load_begin(struct reloader *reloader)
{
    LOG_I("Loading configuration file", "filename", log_str(reloader->options.path));
    reloader->work = WORK_LOAD;
    reloader->served = reloader->waiting;
    reloader->waiting = (struct waiter_list){0};
    reloader->err = (struct err){0};
    reloader->job = (struct job){.run = load_run, .done = load_done};
    lane_submit(reloader->options.lane, &reloader->job);
}

static void work_end(struct reloader *reloader)
{
    reloader->work = WORK_NONE;
    if (reloader->waiting.count > 0)
        load_begin(reloader);
    else
        reloader->options.idle(reloader->options.ctx);
}

/* A broken file is tried again each time, as files may come one after the other. */
static void look_done(struct job *job)
{
    struct reloader *reloader = CONTAINER_OF(job, struct reloader, job);
    uint64_t sum = reloader->files_sum + reloader->options.more_checksum(reloader->options.ctx);

    if (!reloader->stopping && sum != reloader->sum) {
        struct waiter nobody = {0};
        LOG_I("Configuration file change detected, reloading the configuration.");
        VEC_PUSH(&reloader->waiting, nobody);
    }
    work_end(reloader);
}

static void on_timer(void *ctx)
{
    struct reloader *reloader = ctx;

    if (reloader->stopping || reloader->work != WORK_NONE)
        return;
    reloader->work = WORK_LOOK;
    reloader->job = (struct job){.run = look_run, .done = look_done};
    lane_submit(reloader->options.lane, &reloader->job);
}

struct reloader *reloader_open(const struct reloader_options *options, struct config *config)
{
    struct reloader *reloader = MEM_NEW(struct reloader);

    reloader->options = *options;
    if (options->watch_ms <= 0)
        return reloader;
    reloader->timer = timer_new(options->loop, on_timer, reloader);
    reloader->files_sum = config_checksum(config);
    watch(reloader, config);
    timer_start(reloader->timer, options->watch_ms, options->watch_ms);
    return reloader;
}

void reloader_ask(struct reloader *reloader, reload_done_fn done, void *ctx)
{
    struct waiter waiter = {done, ctx};

    VEC_PUSH(&reloader->waiting, waiter);
    if (reloader->work == WORK_NONE)
        load_begin(reloader);
}

bool reloader_is_busy(const struct reloader *reloader)
{
    return reloader->work != WORK_NONE;
}

void reloader_stop(struct reloader *reloader)
{
    reloader->stopping = true;
}

void reloader_close(struct reloader *reloader)
{
    if (!reloader)
        return;
    ENSURE(!reloader_is_busy(reloader));
    timer_free(reloader->timer);
    config_unref(reloader->watched);
    VEC_FREE(&reloader->waiting);
    VEC_FREE(&reloader->served);
    mem_free(reloader);
}
