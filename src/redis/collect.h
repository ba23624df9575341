/* collect: one look at one Redis: connects, asks step by step, fills metrics. Private to redis; loop thread.
 *
 *     collect_start -> (steps) -> done, once -> collect_free          or collect_free at any time
 *
 * A step sends commands and is called again when no reply is awaited any more, until it says that it has nothing more to
 * ask. So a reply may lead to further commands, of which the step need not know. A step's function returns false when it
 * is through.
 *
 * Each reply has a deadline (flags.timeout_ms), the whole has one (deadline_ms), memory has a budget. */
#ifndef REDIS_COLLECT_H
#define REDIS_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "base/err.h"
#include "base/map.h"
#include "base/regex.h"
#include "base/vec.h"
#include "conn.h"
#include "flags.h"
#include "info.h"
#include "metrics.h"

#define NODES_MAX 1000

struct collect;
struct node;

struct script {
    struct str path, text;
};

/* What is asked of whom. All texts and pointers are borrowed until collect_free. */
struct collect_options {
    struct flags flags; /* With the request's own keys and streams. */
    struct address address;
    struct str user, password;
    struct tls_context *tls;
    const struct script *scripts;
    size_t script_count;
    const struct regex *search_indexes;
    int64_t deadline_ms;
    bool nodes_only; /* Nothing but CLUSTER NODES: for discovery. */
    void (*done)(void *ctx, struct collect *collect);
    void *ctx;
};

/* A key of a command line: db0=name. */
struct key_ref {
    struct str db; /* "0" */
    uint64_t db_number;
    struct str key;
    bool is_glob;
};
typedef VEC(struct key_ref) key_ref_list;

/* Finds keys: what is no pattern as it is, patterns with SCAN on every node. */
struct key_scan {
    key_ref_list refs;
    bool all_globs; /* For counting: all are scanned for, on_key comes once for each, with the pattern. */
    size_t at, node;
    struct str cursor;
    bool node_done;
    void (*on_key)(struct collect *collect, struct node *node, const struct key_ref *ref,
                   struct str key);
    uint64_t found;  /* Of refs[at]. */
    bool incomplete; /* A node did not answer for refs[at]. */
};

struct key_job {
    struct collect *collect;
    struct node *node;
    const struct key_ref *ref;
    struct str key;
    unsigned hops; /* Followed redirections. */
    int64_t size;
};

struct key_group {
    struct str name;
    double count, bytes;
};

struct node {
    struct collect *collect;
    struct conn *conn;
    struct str address; /* host:port */
    size_t pending;
    uint64_t db;         /* The one selected. */
    uint64_t refused_db; /* UINT64_MAX: none. */
    bool ready, dead;
    bool is_master;
};

typedef void (*collect_reply_fn)(struct collect *collect, struct node *node,
                                 const struct resp *reply, void *arg);

struct collect_call {
    struct collect_call *next_free;
    struct node *node;
    collect_reply_fn fn;
    void *arg;
};

struct collect {
    struct uv_loop_s *loop;
    struct collect_options options;
    struct arena arena;
    struct metrics metrics;
    struct timer *timer;
    VEC(struct node *) nodes; /* The first is the one asked for. */
    struct collect_call *free_calls;
    size_t pending, step;
    unsigned phase; /* How often the step was called before. */
    bool finished, failed;
    struct err err; /* When failed. */
    int64_t started_ns, pinged_ns;
    /* Found out on the way: */
    struct str info;
    struct str nodes_text; /* CLUSTER NODES */
    uint64_t db_count, cluster_db_count;
    bool cluster_enabled;
    /* Steps: */
    struct key_scan scan;
    VEC(struct key_job *) jobs;
    size_t job_at;
    VEC(struct str) patterns; /* Of key groups. */
    VEC(struct key_group) groups;
    struct map group_map;
    uint64_t group_db;
    struct str group_cursor;
    int64_t groups_started_ns;
};

struct collect *collect_start(struct uv_loop_s *loop, const struct collect_options *options);
void collect_free(struct collect *collect); /* NULL is fine. done does not come any more. */

/* --- for steps --- */

void collect_fail(struct collect *collect, const struct err *err); /* Ends it after the current callback. */
void collect_send(struct collect *collect, struct node *node, const struct str *words, size_t count,
                  collect_reply_fn fn, void *arg);
#define COLLECT_SEND(collect, node, fn, arg, ...)                        \
    collect_send((collect), (node), (const struct str[]){__VA_ARGS__},   \
                 COUNT_OF(((const struct str[]){__VA_ARGS__})), (fn), (arg))
struct node *collect_open_node(struct collect *collect, const struct address *address);

enum node_db { NODE_SELECTED, NODE_ASKED, NODE_REFUSED };
/* Is this database the connection's? If not it is asked for: the step comes back. */
enum node_db node_select(struct collect *collect, struct node *node, uint64_t db);
/* The node that a MOVED error names; NULL when it is none, or unknown. */
struct node *node_moved(struct collect *collect, const struct resp *reply);

bool step_nodes(struct collect *collect);
bool step_check_keys(struct collect *collect);
bool step_count_keys(struct collect *collect);
bool step_streams(struct collect *collect);
bool step_key_groups(struct collect *collect);
bool step_sentinel(struct collect *collect);

/* keys */
MUST_CHECK bool key_refs_parse(key_ref_list *out, struct str text, struct arena *arena,
                               struct err *err);
/* False when all keys were found. */
bool key_scan_next(struct collect *collect, struct key_scan *scan);

/* nodes: calls fn for each node's address as the cluster says it; is_master and is_myself from its flags. */
struct node_line {
    struct str address, hostname; /* host:port; the name may be empty. */
    bool is_master, is_myself, is_usable;
};
bool node_line_parse(struct str line, struct arena *arena, struct node_line *out);

#endif
