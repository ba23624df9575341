/* sentinel: what a Sentinel says of its masters, of their other sentinels and of their replicas. */
#include "base/number.h"
#include "collect.h"
#include "commands.h"

#define MASTERS_MAX 4096

static struct str text_of(const struct resp *map, const char *key)
{
    struct str text = STR_EMPTY;
    return resp_text(resp_get(map, key), &text) ? text : STR_EMPTY;
}

bool sentinel_master_extract(struct metrics *metrics, const struct resp *master, struct str *name,
                             struct str *address, struct arena *arena)
{
    static const struct {
        const char *key;
        enum metric_id id;
        double divisor;
    } SETTINGS[] = {{"quorum", METRIC_SENTINEL_CKQUORUM, 1},
                    {"failover-timeout", METRIC_SENTINEL_FAILOVER_TIMEOUT, 1},
                    {"parallel-syncs", METRIC_SENTINEL_PARALLEL_SYNCS, 1},
                    {"down-after-milliseconds", METRIC_SENTINEL_DOWN_AFTER, 1},
                    {"config-epoch", METRIC_SENTINEL_CONFIG_EPOCH, 1},
                    {"last-ok-ping-reply", METRIC_SENTINEL_LAST_OK_PING, 1000}};
    if (!resp_get(master, "name") || !resp_get(master, "ip") || !resp_get(master, "port"))
        return false;
    *name = arena_str(arena, text_of(master, "name"));
    struct str ip = text_of(master, "ip"), port = text_of(master, "port");
    *address = arena_strf(arena, STR_FMT ":" STR_FMT, STR_ARG(ip), STR_ARG(port));
    for (size_t i = 0; i < COUNT_OF(SETTINGS); i++) {
        double value;
        if (!number_parse(text_of(master, SETTINGS[i].key), &value))
            value = 0;
        METRIC_ADD(metrics, SETTINGS[i].id, value / SETTINGS[i].divisor, *name, *address);
    }
    return true;
}

static bool is_down(struct str flags)
{
    return str_find(flags, STR("o_down")) < flags.len || str_find(flags, STR("s_down")) < flags.len;
}

void sentinel_peers_extract(struct metrics *metrics, const struct resp *reply, struct str name,
                            struct str address, bool peer_info)
{
    double ok = 1; /* The one that answers. */
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        const struct resp *peer = reply->items[i];
        struct str flags = text_of(peer, "flags");
        if (peer_info)
            METRIC_ADD(metrics, METRIC_SENTINEL_PEER, 1, name, address, text_of(peer, "name"),
                       text_of(peer, "ip"), text_of(peer, "port"), text_of(peer, "runid"), flags);
        if (resp_get(peer, "flags") && !is_down(flags))
            ok++;
    }
    METRIC_ADD(metrics, METRIC_SENTINEL_OK_SENTINELS, ok, name, address);
}

void sentinel_slaves_extract(struct metrics *metrics, const struct resp *reply, struct str name,
                             struct str address)
{
    double ok = 0;
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        const struct resp *slave = reply->items[i];
        if (resp_get(slave, "flags") && !is_down(text_of(slave, "flags")))
            ok++;
    }
    METRIC_ADD(metrics, METRIC_SENTINEL_OK_SLAVES, ok, name, address);
}

void sentinel_config_extract(struct metrics *metrics, const struct resp *reply)
{
    for (size_t i = 0; reply->type == RESP_ARRAY && i + 1 < reply->count; i += 2) {
        struct str key, value;
        double number;
        if (!resp_text(reply->items[i], &key) || !resp_text(reply->items[i + 1], &value))
            continue;
        METRIC_ADD(metrics, METRIC_SENTINEL_CONFIG_KEY_VALUE, 1, key, value);
        if (number_parse(value, &number))
            METRIC_ADD(metrics, METRIC_SENTINEL_CONFIG_VALUE, number, key);
    }
}

/* --- the step --- */

struct master_call {
    struct str name, address;
};

static void on_quorum(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node;
    const struct master_call *call = arg;
    bool is_text = resp_is_text(reply);
    if (is_text || reply->type == RESP_ERROR)
        METRIC_ADD(&collect->metrics, METRIC_SENTINEL_CKQUORUM_STATUS, is_text ? 1 : 0, call->name,
                   reply->text);
}

static void on_peers(struct collect *collect, struct node *node, const struct resp *reply,
                     void *arg)
{
    (void)node;
    const struct master_call *call = arg;
    sentinel_peers_extract(&collect->metrics, reply, call->name, call->address,
                           collect->options.flags.sentinel_peer_info);
}

static void on_slaves(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node;
    const struct master_call *call = arg;
    sentinel_slaves_extract(&collect->metrics, reply, call->name, call->address);
}

static void on_masters(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)arg;
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count && i < MASTERS_MAX; i++) {
        struct master_call *call = ARENA_NEW(&collect->arena, struct master_call);
        if (!sentinel_master_extract(&collect->metrics, reply->items[i], &call->name,
                                     &call->address, &collect->arena))
            continue;
        COLLECT_SEND(collect, node, on_quorum, call, STR("SENTINEL"), STR("CKQUORUM"), call->name);
        COLLECT_SEND(collect, node, on_peers, call, STR("SENTINEL"), STR("SENTINELS"), call->name);
        COLLECT_SEND(collect, node, on_slaves, call, STR("SENTINEL"), STR("SLAVES"), call->name);
    }
}

static void on_config(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node, (void)arg;
    sentinel_config_extract(&collect->metrics, reply);
}

bool step_sentinel(struct collect *collect)
{
    struct node *node = collect->nodes.items[0];
    if (str_find(collect->info, STR("# Sentinel")) == collect->info.len)
        return false;
    COLLECT_SEND(collect, node, on_masters, NULL, STR("SENTINEL"), STR("MASTERS"));
    if (collect->options.flags.config_metrics)
        COLLECT_SEND(collect, node, on_config, NULL, STR("SENTINEL"), STR("CONFIG"), STR("GET"),
                     STR("*"));
    return false;
}
