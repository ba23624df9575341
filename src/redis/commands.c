/* commands: see commands.h. Sentinels and streams have files of their own. */
#include "commands.h"

#include "base/number.h"
#include "info_line.h"

#define HISTOGRAMS_MAX 4096
#define BUCKETS_MAX    64

/* --- CONFIG GET --- */

static bool is_secret(struct str key)
{
    static const char *const SECRETS[] = {"masterauth", "requirepass", "tls-key-file-pass",
                                          "tls-client-key-file-pass"};
    for (size_t i = 0; i < COUNT_OF(SECRETS); i++) {
        if (str_eq(key, str_of(SECRETS[i])))
            return true;
    }
    return false;
}

/* normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60 */
static void add_buffer_limits(struct metrics *metrics, struct str value)
{
    static const struct {
        enum metric_id id;
        struct str limit;
    } COLUMNS[] = {{METRIC_CONFIG_BUFFER_LIMIT, {"hard", 4}},
                   {METRIC_CONFIG_BUFFER_LIMIT, {"soft", 4}},
                   {METRIC_CONFIG_BUFFER_OVERCOME, {"soft", 4}}};
    while (value.ptr) {
        struct str class = str_cut(value, ' ', &value);
        for (size_t i = 0; i < COUNT_OF(COLUMNS) && value.ptr; i++) {
            double number;
            if (number_parse(str_cut(value, ' ', &value), &number))
                METRIC_ADD(metrics, COLUMNS[i].id, number, class, COLUMNS[i].limit);
        }
    }
}

static void add_setting(struct metrics *metrics, struct str key, struct str value)
{
    static const struct {
        const char *key, *metric;
    } PLAIN[] = {{"maxmemory", "config_maxmemory"},
                 {"maxclients", "config_maxclients"},
                 {"io-threads", "config_io_threads"},
                 {"repl-backlog-size", "config_repl_backlog_size"}};
    double number;
    for (size_t i = 0; i < COUNT_OF(PLAIN); i++) {
        if (str_eq(key, str_of(PLAIN[i].key)) && number_parse(value, &number))
            metrics_add_plain(metrics, str_of(PLAIN[i].metric), GAUGE, number);
    }
    if (str_eq(key, STR("client-output-buffer-limit")))
        add_buffer_limits(metrics, value);
}

bool config_extract(struct metrics *metrics, const struct resp *reply,
                    const struct config_options *options, uint64_t *db_count,
                    uint64_t *cluster_db_count, struct err *err)
{
    if (reply->type != RESP_ARRAY || reply->count % 2 != 0)
        return err_set(err, ERR_CORRUPT, "invalid config: not a list of keys and values");
    for (size_t i = 0; i + 1 < reply->count; i += 2) {
        struct str key, value;
        double number;
        if (!resp_text(reply->items[i], &key) || !resp_text(reply->items[i + 1], &value))
            continue;
        if (str_eq(key, STR("databases")) && !str_to_u64(value, db_count))
            return err_set(err, ERR_CORRUPT,
                           "invalid config value for key databases: \"" STR_FMT "\"",
                           STR_ARG(str_first(value, 100)));
        if (str_eq(key, STR("cluster-databases")) && !str_to_u64(value, cluster_db_count))
            *cluster_db_count = 1;
        if (options->all && !(options->redact && is_secret(key))) {
            METRIC_ADD(metrics, METRIC_CONFIG_KEY_VALUE, 1, key, value);
            if (number_parse(value, &number))
                METRIC_ADD(metrics, METRIC_CONFIG_VALUE, number, key);
        }
        add_setting(metrics, key, value);
    }
    return true;
}

/* --- SLOWLOG, COMMANDLOG --- */

void slowlog_extract(struct metrics *metrics, const struct resp *reply)
{
    int64_t id = 0, usec = 0;
    if (reply->type != RESP_ARRAY)
        return;
    const struct resp *entry = resp_at(reply, 0);
    if (!resp_i64(resp_at(entry, 0), &id))
        id = 0;
    if (!resp_i64(resp_at(entry, 2), &usec))
        usec = 0;
    metrics_add(metrics, METRIC_SLOWLOG_LAST_ID, (double)id, NULL, 0);
    metrics_add(metrics, METRIC_SLOWLOG_LAST_DURATION, (double)usec / 1e6, NULL, 0);
}

void commandlog_extract(struct metrics *metrics, const struct resp *reply)
{
    static const char *const ROWS[][2] = {
        {"commandlog-execution-slower-than", "commandlog_execution_slower_than"},
        {"commandlog-slow-execution-max-len", "commandlog_slow_execution_max_len"},
        {"commandlog-request-larger-than", "commandlog_request_larger_than"},
        {"commandlog-large-request-max-len", "commandlog_large_request_max_len"},
        {"commandlog-reply-larger-than", "commandlog_reply_larger_than"},
        {"commandlog-large-reply-max-len", "commandlog_large_reply_max_len"},
    };
    int64_t value;
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        if (resp_i64(resp_get(reply, ROWS[i][0]), &value))
            metrics_add_plain(metrics, str_of(ROWS[i][1]), GAUGE, (double)value);
    }
}

/* --- LATENCY --- */

void latency_extract(struct metrics *metrics, const struct resp *reply)
{
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        const struct resp *event = reply->items[i];
        struct str name;
        int64_t last, spike_ms;
        if (!resp_text(resp_at(event, 0), &name) || !resp_i64(resp_at(event, 1), &last) ||
            !resp_i64(resp_at(event, 2), &spike_ms))
            continue;
        METRIC_ADD(metrics, METRIC_SPIKE_LAST, (double)last, name);
        METRIC_ADD(metrics, METRIC_SPIKE_DURATION, (double)spike_ms / 1e3, name);
    }
}

/* [command, [calls, N, histogram_usec, [bound, cumulative count, ...]], command, ...] */
void histogram_extract(struct metrics *metrics, const struct resp *reply,
                       const struct info_usage *usage)
{
    struct metric_point points[BUCKETS_MAX];
    for (size_t i = 0; reply->type == RESP_ARRAY && i + 1 < reply->count && i < 2 * HISTOGRAMS_MAX;
         i += 2) {
        const struct resp *details = reply->items[i + 1], *buckets = resp_at(details, 3);
        struct str command;
        int64_t calls, bound, cumulative;
        size_t count = 0;
        if (!resp_text(reply->items[i], &command) || !resp_i64(resp_at(details, 1), &calls) ||
            !buckets || buckets->type != RESP_ARRAY || calls < 0)
            return;
        for (size_t b = 0; b + 1 < buckets->count && count < BUCKETS_MAX; b += 2) {
            if (!resp_i64(buckets->items[b], &bound) ||
                !resp_i64(buckets->items[b + 1], &cumulative))
                return;
            points[count++] = (struct metric_point){(double)bound, (double)cumulative};
        }
        metrics_add_points(metrics, METRIC_LATENCIES, command, (uint64_t)calls,
                           (double)info_usage_of(usage, command), points, count);
    }
}

/* --- CLIENT LIST --- */

struct client {
    struct str id, name, user, flags, db, host, port, resp;
    int64_t created_at, idle_since, sub, psub, ssub, watch, qbuf, qbuf_free, obl, oll, omem,
        tot_mem;
};

/* id=3 addr=127.0.0.1:6380 fd=8 name= age=5 idle=0 flags=N db=0 sub=0 ...: false when it is none such. */
static bool client_parse(struct str line, int64_t now_s, struct client *out)
{
    const struct {
        struct str name;
        struct str *text;
        int64_t *number;
    } fields[] = {
        {STR("id"), &out->id, NULL},
        {STR("name"), &out->name, NULL},
        {STR("user"), &out->user, NULL},
        {STR("flags"), &out->flags, NULL},
        {STR("db"), &out->db, NULL},
        {STR("addr"), &out->host, NULL},
        {STR("resp"), &out->resp, NULL},
        {STR("age"), NULL, &out->created_at},
        {STR("idle"), NULL, &out->idle_since},
        {STR("sub"), NULL, &out->sub},
        {STR("psub"), NULL, &out->psub},
        {STR("ssub"), NULL, &out->ssub},
        {STR("watch"), NULL, &out->watch},
        {STR("qbuf"), NULL, &out->qbuf},
        {STR("qbuf-free"), NULL, &out->qbuf_free},
        {STR("obl"), NULL, &out->obl},
        {STR("oll"), NULL, &out->oll},
        {STR("omem"), NULL, &out->omem},
        {STR("tot-mem"), NULL, &out->tot_mem},
    };
    *out = (struct client){.ssub = -1, .watch = -1, .created_at = now_s, .idle_since = now_s};
    while (line.ptr) {
        struct str value, name = str_cut(str_cut(line, ' ', &line), '=', &value);
        if (!value.ptr)
            return false;
        for (size_t i = 0; i < COUNT_OF(fields); i++) {
            if (!str_eq(name, fields[i].name))
                continue;
            if (fields[i].text)
                *fields[i].text = value;
            else if (!str_to_i64(value, fields[i].number))
                return false;
        }
    }
    out->created_at = now_s - out->created_at;
    out->idle_since = now_s - out->idle_since;
    size_t colon = out->host.len;
    while (colon > 0 && out->host.ptr[colon - 1] != ':')
        colon--;
    if (out->id.len == 0 || colon == 0)
        return false;
    out->port = str_after(out->host, colon);
    out->host = str_first(out->host, colon - 1);
    return true;
}

static void client_add(struct metrics *metrics, const struct client *client, bool with_port)
{
    struct metric_label labels[8] = {{STR("id"), client->id},
                                     {STR("name"), client->name},
                                     {STR("flags"), client->flags},
                                     {STR("db"), client->db},
                                     {STR("host"), client->host}};
    const struct {
        enum metric_id id;
        int64_t value;
        bool sometimes;
    } numbers[] = {
        {METRIC_CLIENT_OUTPUT_MEMORY, client->omem, false},
        {METRIC_CLIENT_TOTAL_MEMORY, client->tot_mem, false},
        {METRIC_CLIENT_CREATED, client->created_at, false},
        {METRIC_CLIENT_IDLE, client->idle_since, false},
        {METRIC_CLIENT_CHANNELS, client->sub, false},
        {METRIC_CLIENT_PATTERNS, client->psub, false},
        {METRIC_CLIENT_SHARDS, client->ssub, true},
        {METRIC_CLIENT_WATCHED, client->watch, true},
        {METRIC_CLIENT_QUERY_BUFFER, client->qbuf, false},
        {METRIC_CLIENT_QUERY_FREE, client->qbuf_free, false},
        {METRIC_CLIENT_OUTPUT_BUFFER, client->obl, false},
        {METRIC_CLIENT_OUTPUT_LIST, client->oll, false},
    };
    size_t count = 5;
    if (with_port)
        labels[count++] = (struct metric_label){STR("port"), client->port};
    if (client->user.len > 0)
        labels[count++] = (struct metric_label){STR("user"), client->user};
    if (client->resp.len > 0)
        labels[count++] = (struct metric_label){STR("resp"), client->resp};
    metrics_add_labelled(metrics, METRIC_CLIENT_INFO, 1, labels, count);
    metrics_add_labelled(metrics, METRIC_CLIENT_DETAILS, 1, labels, count);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!numbers[i].sometimes || numbers[i].value != -1)
            METRIC_ADD(metrics, numbers[i].id, (double)numbers[i].value, client->id, client->name);
    }
}

void clients_extract(struct metrics *metrics, struct str list, bool with_port, int64_t now_s)
{
    while (list.ptr) {
        struct client client;
        if (client_parse(str_trim(str_cut(list, '\n', &list)), now_s, &client))
            client_add(metrics, &client, with_port);
    }
}

/* --- Tile38, scripts, search --- */

void tile38_extract(struct metrics *metrics, const struct resp *reply)
{
    for (size_t i = 0; reply->type == RESP_ARRAY && i + 1 < reply->count; i += 2) {
        struct str field, value;
        if (!resp_text(reply->items[i], &field) || !resp_text(reply->items[i + 1], &value))
            continue;
        if (!str_starts(field, STR("tile38_")))
            field = arena_strf(&metrics->arena, "tile38_" STR_FMT, STR_ARG(field));
        info_extract_field(metrics, field, value);
    }
}

bool script_extract(struct metrics *metrics, const struct resp *reply, struct str filename,
                    size_t *count, struct err *err)
{
    *count = 0;
    if (reply->type == RESP_ERROR)
        return err_set(err, ERR_EXECUTION, STR_FMT, STR_ARG(str_first(reply->text, 1024)));
    if (reply->type == RESP_NIL)
        return true;
    if (reply->type != RESP_ARRAY || reply->count % 2 != 0)
        return err_set(err, ERR_EXECUTION, "script " STR_FMT " gives no list of names and numbers",
                       STR_ARG(filename));
    for (size_t i = 0; i + 1 < reply->count; i += 2) {
        struct str key, value;
        double number;
        if (!resp_text(reply->items[i], &key) || !resp_text(reply->items[i + 1], &value) ||
            !number_parse(value, &number))
            return err_set(err, ERR_EXECUTION, "script " STR_FMT ": a value is no number",
                           STR_ARG(filename));
        METRIC_ADD(metrics, METRIC_SCRIPT_VALUES, number, key, filename);
        (*count)++;
    }
    return true;
}

void search_index_extract(struct metrics *metrics, const struct resp *reply)
{
    static const struct search_row {
        const char *field;
        enum metric_id id;
        bool mebibytes;
    } ROWS[] = {
#define SEARCH(field, id, mebibytes) {field, METRIC_##id, mebibytes},
#include "search.def"
#undef SEARCH
    };
    struct str name, text;
    int64_t integer;
    double value;
    if (!resp_text(resp_get(reply, "index_name"), &name))
        return;
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        const struct resp *found = resp_get(reply, ROWS[i].field);
        if (found && found->type == RESP_INTEGER && resp_i64(found, &integer))
            value = (double)integer;
        else if (!resp_text(found, &text) || !number_parse(text, &value))
            value = 0;
        METRIC_ADD(metrics, ROWS[i].id, ROWS[i].mebibytes ? value * 1048576 : value, name);
    }
}
