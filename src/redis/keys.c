/* keys: names of keys from flags, SCAN, and what is told of single keys and of counts.
 *
 *     scan: for each pattern, for each node: SELECT, SCAN 0, SCAN cursor ... until the cursor is 0
 *     then, BATCH jobs at a time: TYPE -> MEMORY USAGE and the type's size -> GET of short strings
 */
#include <stdio.h>

#include "base/log.h"
#include "base/number.h"
#include "collect.h"
#include "commands.h"

#define BATCH           200
#define HOPS_MAX        3
#define VALUE_BYTES_MAX (64 << 10) /* Longer strings are measured, not read. */

/* --- flags --- */

static bool is_glob(struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        if (strchr("?*[]^", key.ptr[i]) && key.ptr[i] != '\0')
            return true;
    }
    return false;
}

/* "db0" -> "0": all that is "db" goes, as in redis_exporter. */
static struct str strip_db(struct str text, struct arena *arena)
{
    char *bytes = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (str_starts(str_after(text, i), STR("db")))
            i++;
        else
            bytes[len++] = text.ptr[i];
    }
    return str_from(bytes, len);
}

bool key_refs_parse(key_ref_list *out, struct str text, struct arena *arena, struct err *err)
{
    while (text.ptr) {
        struct key_ref ref = {.db = STR("0")};
        struct str key, extra, part = str_cut(text, ',', &text), db = str_cut(part, '=', &key);
        if (part.len == 0)
            continue;
        if (key.ptr)
            ref.db = strip_db(str_trim(db), arena);
        else
            key = db;
        str_cut(key, '=', &extra);
        if (extra.ptr)
            return err_set(err, ERR_BAD_DATA, "invalid key list argument: " STR_FMT, STR_ARG(part));
        if (!percent_decode(str_trim(key), true, arena, &ref.key))
            return err_set(err, ERR_BAD_DATA, "couldn't parse db/key string: " STR_FMT,
                           STR_ARG(part));
        if (ref.db.len == 0 || ref.key.len == 0)
            continue;
        if (!str_to_u64(ref.db, &ref.db_number) || ref.db_number > INT32_MAX)
            return err_set(err, ERR_BAD_DATA, "invalid database index for db \"" STR_FMT "\"",
                           STR_ARG(ref.db));
        ref.is_glob = is_glob(ref.key);
        VEC_PUSH(out, ref);
    }
    return true;
}

/* --- SCAN --- */

static void on_page(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    struct key_scan *scan = arg;
    const struct key_ref *ref = &scan->refs.items[scan->at];
    const struct resp *keys = resp_at(reply, 1);
    struct str cursor, key;
    uint64_t number;
    if (!resp_text(resp_at(reply, 0), &cursor) || !str_to_u64(cursor, &number) || !keys ||
        keys->type != RESP_ARRAY) {
        LOG_E("SCAN failed", "pattern", log_str(str_first(ref->key, 200)), "err",
              log_str(reply->type == RESP_ERROR ? str_first(reply->text, 200) : STR("bad reply")));
        scan->node_done = scan->incomplete = true;
        return;
    }
    scan->found += keys->count;
    for (size_t i = 0; i < keys->count && !scan->all_globs; i++) {
        if (resp_text(keys->items[i], &key))
            scan->on_key(collect, node, ref, arena_str(&collect->arena, key));
    }
    scan->cursor = arena_str(&collect->arena, cursor);
    scan->node_done = number == 0;
}

static void ask_page(struct collect *collect, struct node *node, struct key_scan *scan)
{
    const struct key_ref *ref = &scan->refs.items[scan->at];
    int64_t batch = collect->options.flags.check_keys_batch_size;
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)(batch > 0 ? batch : 1000));
    COLLECT_SEND(collect, node, on_page, scan, STR("SCAN"),
                 scan->cursor.len > 0 ? scan->cursor : STR("0"), STR("MATCH"), ref->key,
                 STR("COUNT"), str_from(digits, (size_t)len));
}

static bool scan_nodes(struct collect *collect, struct key_scan *scan)
{
    const struct key_ref *ref = &scan->refs.items[scan->at];
    for (; scan->node < collect->nodes.count;
         scan->node++, scan->node_done = false, scan->cursor = STR_EMPTY) {
        struct node *node = collect->nodes.items[scan->node];
        if (scan->node_done || !node->is_master || node->dead)
            continue;
        enum node_db selected = node_select(collect, node, ref->db_number);
        scan->incomplete = scan->incomplete || selected == NODE_REFUSED;
        if (selected == NODE_REFUSED)
            continue;
        if (selected == NODE_SELECTED)
            ask_page(collect, node, scan);
        return true;
    }
    return false;
}

bool key_scan_next(struct collect *collect, struct key_scan *scan)
{
    while (scan->at < scan->refs.count) {
        const struct key_ref *ref = &scan->refs.items[scan->at];
        if (!ref->is_glob && !scan->all_globs)
            scan->on_key(collect, collect->nodes.items[0], ref, ref->key);
        else if (scan_nodes(collect, scan))
            return true;
        else if (scan->all_globs && !scan->incomplete)
            scan->on_key(collect, NULL, ref, ref->key);
        scan->at++;
        scan->node = 0;
        scan->found = 0;
        scan->incomplete = false;
    }
    return false;
}

/* --- single keys --- */

static struct str db_label(struct key_job *job)
{
    bool cluster = job->collect->options.flags.is_cluster;
    return arena_strf(&job->collect->metrics.arena, "db" STR_FMT,
                      STR_ARG(cluster ? STR("0") : job->ref->db));
}

static void add_size(struct key_job *job, double size)
{
    METRIC_ADD(&job->collect->metrics, METRIC_KEY_SIZE, size, db_label(job), job->key);
}

static void on_size(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    (void)collect, (void)node;
    if (reply->type == RESP_INTEGER)
        add_size(arg, (double)reply->integer);
}

/* PFCOUNT of what began like a HyperLogLog. */
static void on_cardinality(struct collect *collect, struct node *node, const struct resp *reply,
                           void *arg)
{
    (void)collect, (void)node;
    struct key_job *job = arg;
    add_size(job, (double)(reply->type == RESP_INTEGER ? reply->integer : job->size));
}

static void on_value(struct collect *collect, struct node *node, const struct resp *reply,
                     void *arg)
{
    struct key_job *job = arg;
    struct str value;
    double number;
    if (!resp_text(reply, &value)) {
        add_size(job, (double)job->size);
        return;
    }
    if (str_starts(value, STR("HYLL"))) {
        COLLECT_SEND(collect, node, on_cardinality, job, STR("PFCOUNT"), job->key);
        return;
    }
    add_size(job, (double)job->size);
    if (collect->options.flags.disable_key_values || value.len == 0)
        return;
    if (number_parse(value, &number))
        METRIC_ADD(&collect->metrics, METRIC_KEY_VALUE, number, db_label(job), job->key);
    else
        METRIC_ADD(&collect->metrics, METRIC_KEY_VALUE_AS_STRING, 1, db_label(job), job->key,
                   value);
}

static void on_string_length(struct collect *collect, struct node *node, const struct resp *reply,
                             void *arg)
{
    struct key_job *job = arg;
    if (reply->type != RESP_INTEGER)
        return;
    job->size = reply->integer;
    if (job->size > VALUE_BYTES_MAX)
        add_size(job, (double)job->size);
    else
        COLLECT_SEND(collect, node, on_value, job, STR("GET"), job->key);
}

static void on_memory(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node;
    struct key_job *job = arg;
    if (reply->type == RESP_INTEGER)
        METRIC_ADD(&collect->metrics, METRIC_KEY_MEMORY, (double)reply->integer, db_label(job),
                   job->key);
}

static void ask_type(struct collect *collect, struct key_job *job);

static void on_type(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    static const struct {
        const char *type, *command;
    } SIZES[] = {{"list", "LLEN"}, {"set", "SCARD"},   {"zset", "ZCARD"},
                 {"hash", "HLEN"}, {"stream", "XLEN"}, {"string", "STRLEN"}};
    struct key_job *job = arg;
    struct node *moved = node_moved(collect, reply);
    struct str type;
    if (moved && job->hops++ < HOPS_MAX) {
        job->node = moved;
        ask_type(collect, job);
        return;
    }
    if (!resp_text(reply, &type)) {
        LOG_W("TYPE failed", "key", log_str(str_first(job->key, 200)), "err",
              log_str(reply->type == RESP_ERROR ? str_first(reply->text, 200) : STR("bad reply")));
        return;
    }
    if (str_eq(type, STR("none"))) {
        add_size(job, 0);
        return;
    }
    COLLECT_SEND(collect, node, on_memory, job, STR("MEMORY"), STR("USAGE"), job->key);
    for (size_t i = 0; i < COUNT_OF(SIZES); i++) {
        if (str_eq(type, str_of(SIZES[i].type))) {
            COLLECT_SEND(collect, node, str_eq(type, STR("string")) ? on_string_length : on_size,
                         job, str_of(SIZES[i].command), job->key);
            return;
        }
    }
    LOG_D("A key of unknown type", "key", log_str(str_first(job->key, 200)), "type", log_str(type));
}

static void ask_type(struct collect *collect, struct key_job *job)
{
    COLLECT_SEND(collect, job->node, on_type, job, STR("TYPE"), job->key);
}

/* --- jobs, shared by keys and streams --- */

static void add_job(struct collect *collect, struct node *node, const struct key_ref *ref,
                    struct str key)
{
    struct key_job *job = ARENA_NEW(&collect->arena, struct key_job);
    *job = (struct key_job){.collect = collect, .node = node, .ref = ref, .key = key};
    VEC_PUSH(&collect->jobs, job);
}

/* A batch of jobs on one node and database; false when there are none left. */
static bool jobs_next(struct collect *collect, void (*ask)(struct collect *, struct key_job *))
{
    while (collect->job_at < collect->jobs.count) {
        struct key_job *first = collect->jobs.items[collect->job_at];
        struct node *node = first->node;
        uint64_t db = first->ref->db_number;
        enum node_db selected = node_select(collect, node, db);
        if (selected == NODE_ASKED)
            return true;
        for (unsigned sent = 0; sent < BATCH && collect->job_at < collect->jobs.count; sent++) {
            struct key_job *job = collect->jobs.items[collect->job_at];
            if (job->node != node || job->ref->db_number != db)
                break;
            collect->job_at++;
            if (selected == NODE_SELECTED)
                ask(collect, job);
        }
        if (collect->pending > 0)
            return true;
    }
    return false;
}

static void drop_work(struct collect *collect)
{
    VEC_FREE(&collect->scan.refs);
    VEC_FREE(&collect->jobs);
    collect->scan = (struct key_scan){0};
    collect->job_at = 0;
}

/* Fills the scan with both lists; those of `single` are no patterns. */
static void begin_jobs(struct collect *collect, struct str single, struct str patterns,
                       const char *what)
{
    struct err err = {0};
    drop_work(collect);
    collect->scan.on_key = add_job;
    if (!key_refs_parse(&collect->scan.refs, single, &collect->arena, &err))
        LOG_E("Couldn't parse single keys", "of", what, "err", err.text);
    VEC_EACH (ref, &collect->scan.refs)
        ref->is_glob = false;
    if (!key_refs_parse(&collect->scan.refs, patterns, &collect->arena, &err))
        LOG_E("Couldn't parse key patterns", "of", what, "err", err.text);
}

bool step_check_keys(struct collect *collect)
{
    const struct flags *flags = &collect->options.flags;
    if (flags->check_keys.len == 0 && flags->check_single_keys.len == 0)
        return false;
    if (flags->skip_checkkeys_for_master &&
        !str_eq(info_field(collect->info, STR("role")), STR("slave")))
        return false;
    if (collect->phase == 0)
        begin_jobs(collect, flags->check_single_keys, flags->check_keys, "check-keys");
    return key_scan_next(collect, &collect->scan) || jobs_next(collect, ask_type);
}

static void add_count(struct collect *collect, struct node *node, const struct key_ref *ref,
                      struct str key)
{
    (void)node;
    struct str db = arena_strf(&collect->metrics.arena, "db" STR_FMT,
                               STR_ARG(collect->options.flags.is_cluster ? STR("0") : ref->db));
    METRIC_ADD(&collect->metrics, METRIC_KEYS_COUNT, (double)collect->scan.found, db, key);
}

bool step_count_keys(struct collect *collect)
{
    struct err err = {0};
    if (collect->options.flags.count_keys.len == 0)
        return false;
    if (collect->phase == 0) {
        drop_work(collect);
        collect->scan.all_globs = true;
        collect->scan.on_key = add_count;
        if (!key_refs_parse(&collect->scan.refs, collect->options.flags.count_keys, &collect->arena,
                            &err))
            LOG_E("Couldn't parse count-keys", "err", err.text);
    }
    return key_scan_next(collect, &collect->scan);
}

/* --- streams --- */

struct group_call {
    struct key_job *job;
    struct str group;
};

static void on_consumers(struct collect *collect, struct node *node, const struct resp *reply,
                         void *arg)
{
    (void)node;
    const struct group_call *call = arg;
    stream_consumers_extract(&collect->metrics, reply, db_label(call->job), call->job->key,
                             call->group);
}

static void on_groups(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    struct key_job *job = arg;
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        struct str name;
        if (!stream_group_extract(&collect->metrics, reply->items[i], db_label(job), job->key,
                                  &name) ||
            collect->options.flags.streams_exclude_consumers)
            continue;
        struct group_call *call = ARENA_NEW(&collect->arena, struct group_call);
        *call = (struct group_call){job, arena_str(&collect->arena, name)};
        COLLECT_SEND(collect, node, on_consumers, call, STR("XINFO"), STR("CONSUMERS"), job->key,
                     call->group);
    }
}

static void ask_stream(struct collect *collect, struct key_job *job);

static void on_stream(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    struct key_job *job = arg;
    struct node *moved = node_moved(collect, reply);
    if (moved && job->hops++ < HOPS_MAX) {
        job->node = moved;
        ask_stream(collect, job);
    } else if (stream_extract(&collect->metrics, reply, db_label(job), job->key)) {
        COLLECT_SEND(collect, node, on_groups, job, STR("XINFO"), STR("GROUPS"), job->key);
    } else {
        LOG_W("Couldn't get info for stream", "stream", log_str(str_first(job->key, 200)), "err",
              log_str(reply->type == RESP_ERROR ? str_first(reply->text, 200) : STR("bad reply")));
    }
}

static void ask_stream(struct collect *collect, struct key_job *job)
{
    COLLECT_SEND(collect, job->node, on_stream, job, STR("XINFO"), STR("STREAM"), job->key);
}

bool step_streams(struct collect *collect)
{
    const struct flags *flags = &collect->options.flags;
    if (flags->check_streams.len == 0 && flags->check_single_streams.len == 0)
        return false;
    if (collect->phase == 0)
        begin_jobs(collect, flags->check_single_streams, flags->check_streams, "check-streams");
    return key_scan_next(collect, &collect->scan) || jobs_next(collect, ask_stream);
}
