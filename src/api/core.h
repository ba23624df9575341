/* core: what the files of the API share: the API itself, a call (one request being answered) and
 * its answer.
 *
 *     api_handle -> route -> serve_x(call) -> answer_x(call, ...)             at once, on the loop
 * thread
 *                                          -> work_submit -> lane -> answer    later
 *
 * A call lives in its request's arena and ends with its answer, which is given exactly once. */
#ifndef API_CORE_H
#define API_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/regex.h"
#include "base/summary.h"
#include "net/loop.h"

#define ANSWER_BYTES_MAX   ((size_t)1 << 30)
#define ROUTE_CODES_MAX    12
#define ROUTE_BUCKETS      9
#define ROUTE_SIZE_BUCKETS 8
#define CONTENT_JSON       "application/json"
#define CONTENT_TEXT       "text/plain; charset=utf-8"
#define CONTENT_HTML       "text/html; charset=utf-8"

/* In the order of their names. */
enum engine_slice { SLICE_EVAL, SLICE_PREPARE, SLICE_QUEUE, SLICE_SORT, SLICE_COUNT };

/* How long queries take, by what they do. */
struct engine_figures {
    uint64_t queries, samples, samples_read;
    struct summary slices[SLICE_COUNT]; /* Seconds. */
};

struct route_histogram {
    uint64_t buckets[ROUTE_BUCKETS]; /* Not cumulative. */
    uint64_t count;
    double sum;
};

struct route_figures {
    struct {
        int status;
        uint64_t count;
    } codes[ROUTE_CODES_MAX];
    size_t code_count;
    struct route_histogram seconds, bytes;
};

struct api {
    struct api_options options;
    struct config *config; /* A reference; NULL before the first. */
    const struct http_server *server;
    struct regex *cors_origin; /* NULL: any. */
    struct str route_prefix;   /* Empty or /x, without a slash at its end. */
    struct str link_prefix;    /* The same of external_url: what links begin with. */
    char default_url[300];     /* What external_url is when nobody gave one. */
    bool ready, stopping;
    bool reload_failed;
    int64_t config_ms; /* When the configuration in force was loaded. */
    int64_t reload_failed_ms;
    struct route_figures *routes; /* One for each row of routes.def. */
    struct engine_figures engine;
    struct list works;       /* struct work: all that are not answered. */
    struct list admin_waits; /* struct admin_wait: those that wait for storage. */
    struct list waiting;     /* struct work: queries beyond the concurrency, first come first. */
    unsigned queries_running;
    unsigned query_workers; /* Threads that could really run side by side. */
    struct timer *sweep;    /* Runs while works are there: ends those that waited too long. */
    bool sweeping;
    uint64_t federation_errors;
    struct query_log *query_log; /* NULL: queries are not logged. */
    uint64_t query_log_failures;
    void (*explain)(void *ctx, struct http_exchange *exchange); /* NULL: no metrics APIs. */
    void *explain_ctx;
    void (*more_metrics)(void *ctx, struct buf *out); /* NULL: there are none. */
    void *more_metrics_ctx;
};

struct route;

struct call {
    struct api *api;
    struct http_exchange *exchange;
    const struct http_request *request;
    const struct route *route; /* NULL when there is none. */
    struct http_params params;
    struct str name; /* What stands for :name in the route's path. */
    int64_t begin_ns;
};

enum route_flag {
    ROUTE_EARLY = 1 << 0,  /* Also before storage is open, and while stopping. */
    ROUTE_API = 1 << 1,    /* CORS headers. */
    ROUTE_STRICT = 1 << 2, /* A parameter that cannot be read is an error, not left out. */
};

struct route {
    unsigned methods; /* Bits 1 << enum http_method. */
    const char *path;
    void (*serve)(struct call *call);
    unsigned flags;
};

extern const struct route api_routes[];
extern const size_t api_route_count;
extern const double route_bucket_seconds[ROUTE_BUCKETS], route_bucket_bytes[ROUTE_SIZE_BUCKETS];

/* --- answers; each ends the call --- */

/* `body` is taken; NULL: empty. */
void answer(struct call *call, int status, const char *content_type, struct buf *body);
/* Text, or nothing, with headers. */
void answer_with(struct call *call, int status, const struct http_header *extra, size_t extra_count,
                 struct buf *body);
void answer_text(struct call *call, int status, struct str text);
/* The same as Go's http.Error: a newline after the text. */
void answer_plain_error(struct call *call, int status, struct str text);
void answer_redirect(struct call *call, int status, struct str location);
/* 405, or 200 to OPTIONS: `GET, OPTIONS`. */
void answer_no_method(struct call *call, struct str allowed);
void answer_preflight(struct call *call);   /* 204 with the CORS headers, whatever the path. */
void answer_unavailable(struct call *call); /* 503 before ready and while stopping. */
/* {"status":"error",...} */
void answer_error(struct call *call, const struct err *err);

/* --- {"status":"success","data":...}: begin, write the data, finish, answer --- */
void envelope_begin(struct buf *out);
void envelope_end(struct buf *out);
void envelope_end_cut(struct buf *out,
                      bool cut); /* With the warning that the limit has cut something. */
/* Ends the envelope and answers it. Takes `out`. */
void answer_data(struct call *call, struct buf *out);

/* --- JSON as it is written here; `first` is cleared by the first use --- */
void json_comma(struct buf *out, bool *first);
void json_key(struct buf *out, bool *first, const char *key); /* "key": with the comma before it. */
void json_text(struct buf *out, bool *first, const char *key, struct str value);
void json_seconds(struct buf *out, double seconds); /* As Go's JSON writes a float64. */

/* All routes. */
#define ROUTE(methods, path, name, flags) void serve_##name(struct call *call);
#include "routes.def"
#undef ROUTE

#endif
