/* serve: what the requests of the metrics APIs have in common.
 *
 *     kube_handle -> ask -> kube_auth_check -> serve -> answer                at once, on the loop
 *                                                   -> call_submit -> lane: run -> loop: answer
 *
 * A call lives in its request's arena and ends with its answer, which is given exactly once. */
#ifndef KUBE_SERVE_H
#define KUBE_SERVE_H

#include <stdatomic.h>

#include "base/job.h"
#include "base/list.h"
#include "documents.h"
#include "kube.h"
#include "usage.h"

#define ANSWER_BYTES_MAX ((size_t)64 << 20)

#define REQUEST_CODES_MAX 12

/* How often which status was answered. */
struct request_figures {
    struct {
        int status;
        uint64_t count;
    } codes[REQUEST_CODES_MAX];
    size_t code_count;
};

/* A list of metrics as it was just now: many ask for the same, and each costs a walk over all series. So one that took
 * long is kept long, and who asks for one that is being made waits for it. */
struct list_cache {
    char *path;             /* NULL: none. */
    struct rule_set *rules; /* A reference. */
    struct buf body;
    int64_t until_ms; /* Monotonic. */
};

struct kube {
    struct kube_options options;
    struct rule_set *rules; /* A reference. */
    struct ask_groups groups;
    char *rules_file, *version; /* Owned copies of the options'. */
    struct list calls;          /* On the lane, or on their way. */
    struct request_figures requests[ASK_NODES + 1];
    struct list_cache lists[4]; /* One for each API and version. */
};

struct call {
    struct kube *kube;
    struct http_exchange *exchange;
    const struct http_request *request;
    struct ask ask;
    struct err path_err; /* Of an ask that is nothing. */
    bool is_counted;     /* In the figures. */
    /* From call_submit on: */
    struct job job;
    struct list_node node; /* In kube->calls, or in another call's followers. */
    struct list followers; /* Of a list of metrics: calls for the same, that came meanwhile. */
    atomic_bool canceled;
    struct storage *storage;
    struct rule_set *rules; /* A reference. */
    struct objects objects;
    struct arena arena; /* The lane's. */
    struct buf out;
    struct err err;
    int64_t now_ms, begun_mono_ms;
    /* On the lane: writes the answer, or fills err. */
    bool (*run)(struct call *call, struct buf *out, struct err *err);
    /* On the loop; NULL: JSON with status 200, or a Status. Must answer; takes out. */
    void (*finish)(struct call *call);
};

void request_count(struct kube *kube, enum ask_kind kind, int status);
/* NULL: none that is new enough. */
const struct buf *list_cache_find(const struct kube *kube, struct str path);
void list_cache_put(struct kube *kube, struct str path, struct rule_set *rules,
                    const struct buf *body, int64_t took_ms);
void list_caches_clear(struct kube *kube);

void call_submit(struct call *call);
struct finder call_finder(struct call *call);
struct evaluator call_evaluator(const struct call *call);
void call_answer(struct call *call, int status, struct buf *body); /* JSON; takes body. */

#endif
