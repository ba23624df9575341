/* info: INFO's text, line by line.
 *
 *     # Section
 *     field:value
 *     field:key=value,key=value
 *
 * The section decides how a line is read; what no section claims goes through the table of plain
 * fields. What does not parse is left out, as redis_exporter does. */
#include "info.h"

#include <math.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/number.h"
#include "base/vec.h"
#include "info_line.h"

#define COMMANDS_MAX    4096
#define PERCENTILES_MAX 32

static const struct info_row {
    struct str field, metric;
    enum metric_kind kind;
} ROWS[] = {
#define INFO_FIELD(field, metric, kind)                                                            \
    {{field, sizeof(field) - 1}, {metric, sizeof(metric) - 1}, kind},
#include "info_table.def"
#undef INFO_FIELD
};

static const struct info_row SYSTEM_ROW = {
    {"total_system_memory", 19}, {"total_system_memory_bytes", 25}, GAUGE};

/* Of one command, from Commandstats. */
struct info_total {
    struct str name;
    double calls, usec;
};

/* What is gathered over all lines. */
struct info_state {
    struct metrics *metrics;
    const struct info_options *options;
    struct str section;
    struct str master_host, master_port; /* Of the newest such lines: KeyDB has several masters. */
    bool *handled_dbs;                   /* db_count of them. */
    struct map commands;                 /* By name, into usage. */
    VEC(struct info_total) totals;
    VEC(struct info_line) percentiles; /* Lines of Latencystats. */
};

/* --- plain fields --- */

static const struct info_row *row_find(struct str field)
{
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        if (str_eq(ROWS[i].field, field))
            return &ROWS[i];
    }
    return NULL;
}

static bool value_parse(struct str text, double *out)
{
    *out = 1;
    if (str_eq(text, STR("ok")) || str_eq(text, STR("true")))
        return true;
    *out = 0;
    if (str_eq(text, STR("err")) || str_eq(text, STR("fail")) || str_eq(text, STR("false")))
        return true;
    return number_parse(text, out);
}

static bool is_thread_time(struct str field, struct str *thread)
{
    const struct str prefix = STR("used_active_time_io_thread_");
    uint64_t number;
    *thread = str_after(field, prefix.len);
    return str_starts(field, prefix) && str_to_u64(*thread, &number);
}

static void field_add(struct metrics *metrics, const struct info_row *row, struct str field,
                      struct str text)
{
    double value;
    if (!value_parse(text, &value))
        return;
    if (str_eq(field, STR("latest_fork_usec")))
        value /= 1e6;
    metrics_add_plain(metrics, row ? row->metric : field, row ? row->kind : GAUGE, value);
}

void info_extract_field(struct metrics *metrics, struct str field, struct str value)
{
    const struct info_row *row = row_find(field);
    struct str thread;
    double seconds;
    if (is_thread_time(field, &thread)) {
        if (number_parse(value, &seconds))
            METRIC_ADD(metrics, METRIC_IO_THREAD_ACTIVE, seconds, thread);
        return;
    }
    if (row || str_starts(field, STR("db")) || str_starts(field, STR("cmdstat_")) ||
        str_starts(field, STR("cluster_")))
        field_add(metrics, row, field, value);
}

/* --- sections --- */

static void take_server(struct info_state *state, struct info_line line)
{
    double uptime;
    int64_t hz;
    if (str_eq(line.field, STR("uptime_in_seconds")) && number_parse(line.value, &uptime))
        metrics_add(state->metrics, METRIC_START_TIME, (double)state->options->now_s - uptime, NULL,
                    0);
    if ((str_eq(line.field, STR("hz")) || str_eq(line.field, STR("configured_hz"))) &&
        str_to_i64(line.value, &hz))
        metrics_add_plain(state->metrics, line.field, GAUGE, (double)hz);
}

static bool take_keyspace(struct info_state *state, struct info_line line)
{
    static const struct {
        struct str fields[2];
        enum metric_id id;
        double divisor;
        bool required;
    } PARTS[] = {
        {{{"keys", 4}, {"keys", 4}}, METRIC_DB_KEYS, 1, true},
        {{{"expires", 7}, {"expires", 7}}, METRIC_DB_KEYS_EXPIRING, 1, true},
        {{{"avg_ttl", 7}, {"avg_ttl", 7}}, METRIC_DB_AVG_TTL, 1000, false},
        {{{"cached_keys", 11}, {"cached_keys", 11}}, METRIC_DB_KEYS_CACHED, 1, false},
        {{{"subexpiry", 9}, {"keys_with_volatile_items", 24}},
         METRIC_DB_KEYS_WITH_EXPIRING_ITEMS,
         1,
         false},
    };
    double values[COUNT_OF(PARTS)];
    uint64_t number;
    if (!str_starts(line.field, STR("db")) || !info_pairs_valid(line.value))
        return false;
    for (size_t i = 0; i < COUNT_OF(PARTS); i++) {
        struct str text = info_pair(line.value, PARTS[i].fields[0]);
        values[i] = (double)NAN;
        if (!text.ptr)
            text = info_pair(line.value, PARTS[i].fields[1]);
        if (text.ptr ? !number_parse(text, &values[i]) : PARTS[i].required)
            return false;
    }
    for (size_t i = 0; i < COUNT_OF(PARTS); i++) {
        if (!isnan(values[i]))
            METRIC_ADD(state->metrics, PARTS[i].id, values[i] / PARTS[i].divisor, line.field);
    }
    struct str digits = str_after(line.field, 2);
    if (str_to_u64(digits, &number) && number < state->options->db_count &&
        number < INFO_DATABASES_MAX)
        state->handled_dbs[number] = true;
    return true;
}

/* master_link_status, master_1_link_status: the text between master and `suffix`. */
static bool is_master_field(struct str field, struct str suffix)
{
    const struct str prefix = STR("master");
    if (!str_starts(field, prefix))
        return false;
    struct str rest = str_after(field, prefix.len);
    if (rest.len > 1 && rest.ptr[0] == '_' && rest.ptr[1] >= '0' && rest.ptr[1] <= '9') {
        size_t at = 1;
        while (at < rest.len && rest.ptr[at] >= '0' && rest.ptr[at] <= '9')
            at++;
        rest = str_after(rest, at);
    }
    return str_starts(rest, suffix);
}

static bool take_slave(struct info_state *state, struct info_line line)
{
    double offset, lag = -1;
    if (!str_starts(line.field, STR("slave")) || line.field.len < 6 || line.field.ptr[5] < '0' ||
        line.field.ptr[5] > '9' || !info_pairs_valid(line.value))
        return false;
    struct str ip = info_pair(line.value, STR("ip")), port = info_pair(line.value, STR("port")),
               at = info_pair(line.value, STR("state")),
               lag_text = info_pair(line.value, STR("lag"));
    if (!number_parse(info_pair(line.value, STR("offset")), &offset) ||
        (lag_text.ptr && !number_parse(lag_text, &lag)))
        return false;
    METRIC_ADD(state->metrics, METRIC_SLAVE_OFFSET, offset, ip, port, at);
    if (lag > -1) /* Before Redis 3.0 there was none. */
        METRIC_ADD(state->metrics, METRIC_SLAVE_LAG, lag, ip, port, at);
    return true;
}

static bool take_replication(struct info_state *state, struct info_line line)
{
    static const struct {
        struct str suffix;
        enum metric_id id;
    } DIRECT[] = {{{"_last_io_seconds_ago", 20}, METRIC_MASTER_LAST_IO},
                  {{"_sync_in_progress", 17}, METRIC_MASTER_SYNC}};
    int64_t value = 0;
    if (is_master_field(line.field, STR("_link_status"))) {
        METRIC_ADD(state->metrics, METRIC_MASTER_LINK_UP, str_eq(line.value, STR("up")) ? 1 : 0,
                   state->master_host, state->master_port);
        return true;
    }
    if (!str_to_i64(line.value, &value))
        value = 0;
    for (size_t i = 0; i < COUNT_OF(DIRECT); i++) {
        if (is_master_field(line.field, DIRECT[i].suffix)) {
            METRIC_ADD(state->metrics, DIRECT[i].id, (double)value, state->master_host,
                       state->master_port);
            return true;
        }
    }
    if (str_eq(line.field, STR("slave_repl_offset"))) {
        METRIC_ADD(state->metrics, METRIC_SLAVE_REPL_OFFSET, (double)value, state->master_host,
                   state->master_port);
        return true;
    }
    return take_slave(state, line);
}

static bool total_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct info_state *state = ctx;
    return str_eq(state->totals.items[value].name, *(const struct str *)key);
}

static void take_slow_commands(struct info_state *state, struct str command, struct str value)
{
    double count, sum_ms, max_ms;
    if (!number_parse(info_pair(value, STR("slowlog_count")), &count) ||
        !number_parse(info_pair(value, STR("slowlog_time_ms_sum")), &sum_ms) ||
        !number_parse(info_pair(value, STR("slowlog_time_ms_max")), &max_ms))
        return;
    METRIC_ADD(state->metrics, METRIC_COMMANDS_SLOWLOG, count, command);
    METRIC_ADD(state->metrics, METRIC_COMMANDS_SLOWLOG_DURATION, sum_ms / 1e3, command);
    METRIC_ADD(state->metrics, METRIC_COMMANDS_SLOWLOG_MAX, max_ms / 1e3, command);
}

/* calls=21,usec=175,usec_per_call=8.33[,rejected_calls=0,failed_calls=0], by position. */
static void take_command(struct info_state *state, struct info_line line)
{
    const struct str prefix = STR("cmdstat_");
    double numbers[5];
    size_t count = 0;
    struct str rest = line.value, command = str_after(line.field, prefix.len);
    if (!str_starts(line.field, prefix))
        return;
    for (; rest.ptr && count < COUNT_OF(numbers); count++) {
        struct str value, part = str_cut(rest, ',', &rest);
        str_cut(part, '=', &value);
        if (count != 2 && !number_parse(value, &numbers[count]))
            return;
    }
    if (count < 3)
        return;
    METRIC_ADD(state->metrics, METRIC_COMMANDS, numbers[0], command);
    METRIC_ADD(state->metrics, METRIC_COMMANDS_DURATION, numbers[1] / 1e6, command);
    if (count == 5) {
        METRIC_ADD(state->metrics, METRIC_COMMANDS_REJECTED, numbers[3], command);
        METRIC_ADD(state->metrics, METRIC_COMMANDS_FAILED, numbers[4], command);
    }
    take_slow_commands(state, command, line.value);
    struct info_total total = {command, numbers[0], numbers[1]};
    if (state->totals.count < MAP_VALUE_LIMIT) {
        map_insert(&state->commands, hash64(command), (uint32_t)state->totals.count);
        VEC_PUSH(&state->totals, total);
    }
}

static void take_error(struct info_state *state, struct info_line line)
{
    const struct str prefix = STR("errorstat_");
    struct str value;
    double count;
    str_cut(line.value, '=', &value);
    if (str_starts(line.field, prefix) && number_parse(value, &count))
        METRIC_ADD(state->metrics, METRIC_ERRORS, count, str_after(line.field, prefix.len));
}

static void take_percentiles(struct info_state *state, struct info_line line)
{
    const struct str prefix = STR("latency_percentiles_usec_");
    struct metric_point points[PERCENTILES_MAX];
    size_t count = 0;
    struct str rest = line.value, command = str_after(line.field, prefix.len);
    if (!str_starts(line.field, prefix))
        return;
    uint32_t index = map_find(&state->commands, hash64(command), &command, total_equal, state);
    if (index == MAP_NONE)
        return;
    while (rest.ptr && count < COUNT_OF(points)) {
        struct str value, name = str_cut(str_cut(rest, ',', &rest), '=', &value);
        if (!number_parse(str_after(name, 1), &points[count].at) ||
            !number_parse(value, &points[count].value))
            return;
        count++;
    }
    const struct info_total *total = &state->totals.items[index];
    double calls = total->calls > 0 && total->calls < 1.8e19 ? total->calls : 0;
    metrics_add_points(state->metrics, METRIC_PERCENTILES, command, (uint64_t)calls, total->usec,
                       points, count);
}

static bool take_tls(struct info_state *state, struct info_line line)
{
    static const struct {
        struct str field, certificate;
    } SERIALS[] = {{{"tls_server_cert_serial", 22}, {"server", 6}},
                   {{"tls_client_cert_serial", 22}, {"client", 6}},
                   {{"tls_ca_cert_serial", 18}, {"ca", 2}}};
    for (size_t i = 0; i < COUNT_OF(SERIALS); i++) {
        if (str_eq(line.field, SERIALS[i].field)) {
            METRIC_ADD(state->metrics, METRIC_TLS_CERTIFICATE, 1, SERIALS[i].certificate,
                       line.value);
            return true;
        }
    }
    return false;
}

static bool take_engine(struct info_state *state, struct info_line line)
{
    uint64_t used, overhead;
    struct str name = info_pair(line.value, STR("name")),
               module = info_pair(line.value, STR("module")),
               version = info_pair(line.value, STR("abi_version"));
    if (!str_starts(line.field, STR("engine_")))
        return false;
    if (!name.ptr || !module.ptr || !version.ptr ||
        !str_to_u64(info_pair(line.value, STR("used_memory")), &used) ||
        !str_to_u64(info_pair(line.value, STR("memory_overhead")), &overhead))
        return true;
    METRIC_ADD(state->metrics, METRIC_ENGINE_INFO, 1, name, module, version);
    METRIC_ADD(state->metrics, METRIC_ENGINE_USED, (double)used, name, module, version);
    METRIC_ADD(state->metrics, METRIC_ENGINE_OVERHEAD, (double)overhead, name, module, version);
    return true;
}

static void take_sentinel(struct info_state *state, struct info_line line)
{
    static const struct {
        struct str field;
        enum metric_id id;
    } PLAIN[] = {{{"sentinel_masters", 16}, METRIC_SENTINEL_MASTERS},
                 {{"sentinel_tilt", 13}, METRIC_SENTINEL_TILT},
                 {{"sentinel_running_scripts", 24}, METRIC_SENTINEL_RUNNING_SCRIPTS},
                 {{"sentinel_scripts_queue_length", 29}, METRIC_SENTINEL_SCRIPTS_QUEUE},
                 {{"sentinel_simulate_failure_flags", 31}, METRIC_SENTINEL_FAILURE_FLAGS}};
    int64_t number = 0;
    double slaves, sentinels;
    for (size_t i = 0; i < COUNT_OF(PLAIN); i++) {
        if (!str_eq(line.field, PLAIN[i].field))
            continue;
        if (!str_to_i64(line.value, &number))
            number = 0;
        metrics_add(state->metrics, PLAIN[i].id, (double)number, NULL, 0);
        return;
    }
    if (!str_starts(line.field, STR("master")) || line.field.len < 7 || line.field.ptr[6] < '0' ||
        line.field.ptr[6] > '9')
        return;
    struct str name = info_pair(line.value, STR("name")),
               status = info_pair(line.value, STR("status")),
               address = info_pair(line.value, STR("address"));
    if (!number_parse(info_pair(line.value, STR("slaves")), &slaves) ||
        !number_parse(info_pair(line.value, STR("sentinels")), &sentinels))
        return;
    METRIC_ADD(state->metrics, METRIC_SENTINEL_STATUS, str_eq(status, STR("ok")) ? 1 : 0, name,
               address, status);
    METRIC_ADD(state->metrics, METRIC_SENTINEL_SLAVES, slaves, name, address);
    METRIC_ADD(state->metrics, METRIC_SENTINEL_SENTINELS, sentinels, name, address);
}

/* True when the line is used up; else the plain fields may have it. */
static bool take_section(struct info_state *state, struct info_line line)
{
    struct str section = state->section;
    if (str_eq(section, STR("Replication")))
        return take_replication(state, line);
    if (str_eq(section, STR("Keyspace")))
        return take_keyspace(state, line);
    if (str_eq(section, STR("TLS")))
        return take_tls(state, line);
    if (str_eq(section, STR("Scripting Engines")))
        return take_engine(state, line);
    if (str_eq(section, STR("Cluster Info")))
        return true; /* Valkey 9.1 says it here, too; CLUSTER INFO is asked anyway. */
    if (str_eq(section, STR("Server")))
        take_server(state, line);
    else if (str_eq(section, STR("Sentinel")))
        take_sentinel(state, line);
    else if (str_eq(section, STR("Commandstats")))
        return take_command(state, line), true;
    else if (str_eq(section, STR("Errorstats")))
        return take_error(state, line), true;
    else if (str_eq(section, STR("Latencystats")))
        return VEC_PUSH(&state->percentiles, line), true;
    return false;
}

/* --- the whole text --- */

static void add_empty_databases(struct info_state *state)
{
    char name[16];
    for (uint64_t i = 0; i < state->options->db_count && i < INFO_DATABASES_MAX; i++) {
        if (state->handled_dbs[i])
            continue;
        int len = snprintf(name, sizeof(name), "db%llu", (unsigned long long)i);
        METRIC_ADD(state->metrics, METRIC_DB_KEYS, 0, str_from(name, (size_t)len));
        METRIC_ADD(state->metrics, METRIC_DB_KEYS_EXPIRING, 0, str_from(name, (size_t)len));
    }
}

static void add_instance(struct metrics *metrics, struct str info)
{
    static const char *const ALWAYS[] = {
        "role",     "redis_version", "redis_build_id", "redis_mode",   "os", "maxmemory_policy",
        "tcp_port", "run_id",        "process_id",     "master_replid"};
    static const char *const SOMETIMES[] = {"valkey_version", "valkey_release_stage",
                                            "availability_zone"};
    struct metric_label labels[COUNT_OF(ALWAYS) + COUNT_OF(SOMETIMES)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(ALWAYS); i++) {
        struct str name = str_of(ALWAYS[i]), value = info_field(info, name);
        if (value.len == 0 && str_eq(name, STR("redis_mode")))
            value = info_field(info, STR("server_mode"));
        labels[count++] = (struct metric_label){name, value};
    }
    for (size_t i = 0; i < COUNT_OF(SOMETIMES); i++) {
        struct str name = str_of(SOMETIMES[i]), value = info_field(info, name);
        if (value.len > 0)
            labels[count++] = (struct metric_label){name, value};
    }
    metrics_add_labelled(metrics, METRIC_INSTANCE_INFO, 1, labels, count);
    if (str_eq(info_field(info, STR("role")), STR("slave")))
        METRIC_ADD(metrics, METRIC_SLAVE_INFO, 1, info_field(info, STR("master_host")),
                   info_field(info, STR("master_port")), info_field(info, STR("slave_read_only")));
}

static void take_line(struct info_state *state, struct str text)
{
    struct info_line line;
    if (str_starts(text, STR("# "))) {
        state->section = str_after(text, 2);
        return;
    }
    if (!info_line_parse(text, &line))
        return;
    if (is_master_field(line.field, STR("_host")))
        state->master_host = line.value;
    if (is_master_field(line.field, STR("_port")))
        state->master_port = line.value;
    if (take_section(state, line))
        return;
    if (state->options->system_metrics && str_eq(line.field, SYSTEM_ROW.field))
        field_add(state->metrics, &SYSTEM_ROW, line.field, line.value);
    else
        info_extract_field(state->metrics, line.field, line.value);
}

void info_extract(struct metrics *metrics, struct str info, const struct info_options *options)
{
    uint64_t databases =
        options->db_count < INFO_DATABASES_MAX ? options->db_count : INFO_DATABASES_MAX;
    struct info_state state = {.metrics = metrics,
                               .options = options,
                               .handled_dbs = mem_zalloc(databases * sizeof(bool) + 1)};
    map_init(&state.commands);
    for (struct str rest = info; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        take_line(&state, str_trim(line));
    }
    VEC_EACH (line, &state.percentiles)
        take_percentiles(&state, *line);
    if (options->empty_databases)
        add_empty_databases(&state);
    add_instance(metrics, info);
    mem_free(state.handled_dbs);
    map_deinit(&state.commands);
    VEC_FREE(&state.totals);
    VEC_FREE(&state.percentiles);
}

void info_extract_cluster(struct metrics *metrics, struct str info)
{
    for (struct str rest = info; rest.ptr;) {
        struct str value, line = str_trim(str_cut(rest, '\n', &rest));
        struct str field = str_cut(line, ':', &value);
        if (value.ptr && str_find_char(value, ':') == value.len)
            info_extract_field(metrics, field, value);
    }
}

static void take_module(struct metrics *metrics, struct str value)
{
    struct str parts[7];
    size_t count = 0;
    for (struct str rest = value; rest.ptr; count++) {
        struct str part = str_cut(rest, ',', &rest);
        if (count == COUNT_OF(parts))
            return;
        str_cut(part, '=', &parts[count]);
    }
    if (count == COUNT_OF(parts))
        metrics_add(metrics, METRIC_MODULE_INFO, 1, parts, 6);
}

void info_extract_modules(struct metrics *metrics, struct str info)
{
    for (struct str rest = info; rest.ptr;) {
        struct info_line line;
        if (!info_line_parse(str_trim(str_cut(rest, '\n', &rest)), &line))
            continue;
        if (str_eq(line.field, STR("module")))
            take_module(metrics, line.value);
        else
            info_extract_field(metrics, line.field, line.value);
    }
}

/* --- time per command --- */

static bool is_counted(struct str command)
{
    for (size_t i = 0; i < command.len; i++) {
        char c = command.ptr[i], lower = (char)(c | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '|')
            return false; /* redis_exporter's expression knows no others: georadius_ro is left out. */
    }
    return command.len > 0;
}

void info_usage_read(struct info_usage *out, struct str info, struct arena *arena)
{
    const struct str prefix = STR("cmdstat_");
    *out = (struct info_usage){
        .items = arena_alloc_array(arena, COMMANDS_MAX, sizeof(struct info_command))};
    for (struct str rest = info; rest.ptr && out->count < COMMANDS_MAX;) {
        struct info_line line;
        uint64_t usec;
        if (!info_line_parse(str_trim(str_cut(rest, '\n', &rest)), &line) ||
            !str_starts(line.field, prefix) ||
            !str_to_u64(info_pair(line.value, STR("usec")), &usec))
            continue;
        struct str name = str_after(line.field, prefix.len);
        if (is_counted(name))
            out->items[out->count++] = (struct info_command){name, usec};
    }
}

uint64_t info_usage_of(const struct info_usage *usage, struct str command)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < usage->count; i++) {
        if (str_starts(usage->items[i].name, command))
            sum += usage->items[i].usec;
    }
    return sum;
}
