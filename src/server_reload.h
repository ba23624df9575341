/* server_reload: the configuration is read again, beside the loop.
 *
 *     reloader_ask -> side lane: read, parse, check -> loop: apply -> done of all who asked before it began
 *
 * Ten thousand targets in the file take a tenth of a second to read; the loop only puts what has been read in force. Who
 * asks while a load is under way gets one of his own after it, as the files may have changed since: one for all of them.
 * With an interval the files are looked at from time to time, on the lane, too. Loop thread. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include <stdint.h>

#include "base/err.h"
#include "config.h"
#include "net/worker.h"

struct reloader;

/* err is NULL when the new configuration is in force. */
typedef void (*reload_done_fn)(void *ctx, const struct err *err);

struct reloader_options {
    struct uv_loop_s *loop;
    struct lane *lane;  /* Borrowed. Ends before the reloader. */
    struct str path;    /* Borrowed. */
    int64_t watch_ms;   /* Between two looks at the files; 0: none. */
    /* Takes the reference. False: something of it cannot be in force. */
    bool (*apply)(void *ctx, struct config *config, struct err *err);
    void (*failed)(void *ctx, const struct err *err); /* Nothing, or not all, has changed. */
    uint64_t (*more_checksum)(void *ctx);             /* Of other files that a reload reads; on the loop. */
    void (*idle)(void *ctx);                          /* Nothing is under way any more. */
    void *ctx;
};

/* `config` is the one in force, whose files are watched. */
struct reloader *reloader_open(const struct reloader_options *options, struct config *config);
void reloader_ask(struct reloader *reloader, reload_done_fn done, void *ctx); /* done NULL: nobody waits. */
bool reloader_is_busy(const struct reloader *reloader);
void reloader_stop(struct reloader *reloader);  /* What is under way changes nothing any more. */
void reloader_close(struct reloader *reloader); /* Not busy. NULL is fine. */

#endif
