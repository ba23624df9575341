/* api: the HTTP routes: the Prometheus API, health, own metrics and the pages. Loop thread; queries run on the query lane.
 *
 * server.c fills struct api_options once; the API borrows everything in it and owns only what is in flight. */
#ifndef API_H
#define API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "config.h"
#include "discovery.h"
#include "net/http_server.h"
#include "net/worker.h"
#include "remote.h"
#include "scrape.h"
#include "storage.h"

struct api;

struct api_flag { /* One row of /status/flags. */
    struct str name;
    struct str value;
};

struct api_options {
    struct uv_loop_s *loop;
    struct storage *storage;     /* NULL until it is open (api_attach_storage): then 503 but for what works early. */
    struct scraper *scraper;
    struct http_client *client;  /* Whose connections are told. NULL: nobody's. */
    struct discovery *discovery;
    struct write_receiver *write_receiver; /* NULL: not enabled. */
    struct lane *query_lane;
    struct lane *side_lane;      /* What takes a while and is no query: labels, series, formatting. NULL: the query lane. */
    const struct api_flag *flags;
    size_t flag_count;
    struct str cors_origin;      /* Anchored regex, default ".*". */
    struct str external_url;     /* http://host:9090/ ; its path is the prefix of links. */
    struct str route_prefix;     /* "/" or "/prometheus". */
    struct str page_title;
    bool enable_lifecycle;
    bool enable_admin;
    int64_t lookback_ms;
    int64_t query_timeout_ms;
    unsigned query_concurrency;  /* Queries at once; more wait. */
    unsigned query_threads;      /* So many of them run at a time: they share what memory is left. */
    uint64_t query_samples_max;
    size_t query_bytes_max;
    unsigned query_features;
    int64_t start_time_ms;
    struct str version;          /* 3.14.0: what we behave as; Grafana reads it. */
    struct str narthex_version;
    /* Both run on the loop. reload tells done, at once or later, with an error or NULL; quit begins the shutdown. */
    void (*reload)(void *ctx, void (*done)(void *done_ctx, const struct err *err), void *done_ctx);
    void (*quit)(void *ctx);
    void *ctx;
};

MUST_CHECK bool api_open(struct api **out, const struct api_options *options, struct err *err);
/* Storage was opened after the API: with what works on it. write_receiver NULL: not enabled. */
void api_attach_storage(struct api *api, struct storage *storage, struct scraper *scraper,
                        struct write_receiver *write_receiver);
/* A new configuration is in force (or the load at start): takes a reference. */
void api_set_config(struct api *api, struct config *config, int64_t now_ms);
/* Opens what query_log_file names, at each load, and closes the one before; empty: none. When it cannot be opened the one
 * before stays. */
MUST_CHECK bool api_set_query_log(struct api *api, struct str path, struct err *err);
void api_set_reload_failed(struct api *api); /* The last reload was refused. */
void api_set_ready(struct api *api, bool ready);
void api_set_stopping(struct api *api);
void api_set_server(struct api *api, const struct http_server *server); /* For its own figures. */
/* Who answers /api/v1/kube/explain; without one the metrics APIs are off. Borrows ctx. */
void api_set_explain(struct api *api, void (*explain)(void *ctx, struct http_exchange *exchange), void *ctx);
/* More of /metrics, from who serves those. Borrows ctx, until it is told NULL. */
void api_set_more_metrics(struct api *api, void (*write)(void *ctx, struct buf *out), void *ctx);
/* The handler for http_server_options. ctx is the api. */
void api_handle(void *api, struct http_exchange *exchange);
/* Cancels queries in flight; they still answer. */
void api_cancel_queries(struct api *api);
void api_close(struct api *api); /* No exchange may be in flight. NULL is fine. */

#endif
