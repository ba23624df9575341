/* nodes: the members of a cluster: CLUSTER NODES, connections to all masters, redirections, and the
 * database that a connection has selected.
 *
 *     id ip:port@cport[,hostname] flags master ping pong epoch link slots...
 */
#include "base/log.h"
#include "collect.h"

#define LINES_MAX 16384

static bool has_flag(struct str flags, struct str wanted)
{
    while (flags.ptr) {
        if (str_eq(str_cut(flags, ',', &flags), wanted))
            return true;
    }
    return false;
}

bool node_line_parse(struct str line, struct arena *arena, struct node_line *out)
{
    struct str rest, id = str_cut(line, ' ', &rest);
    struct str where = str_cut(rest, ' ', &rest), flags = str_cut(rest, ' ', &rest);
    struct str bus, name, extra, address = str_cut(where, '@', &bus);
    *out = (struct node_line){0};
    if (id.len == 0 || flags.len == 0)
        return false;
    str_cut(bus, ',', &name); /* Before Redis 4 there is no bus port. */
    name = name.ptr ? str_cut(name, ',', &extra) : STR_EMPTY;
    size_t colon = address.len;
    while (colon > 0 && address.ptr[colon - 1] != ':')
        colon--;
    if (colon <= 1 || colon == address.len) /* ":0" while a node does not know its own address. */
        return false;
    struct str host = str_first(address, colon - 1), port = str_after(address, colon);
    bool bare_v6 = str_find_char(host, ':') < host.len && host.ptr[0] != '[';
    out->address =
        arena_strf(arena, bare_v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", STR_ARG(host), STR_ARG(port));
    if (name.len > 0)
        out->hostname = arena_strf(arena, "%.*s:%.*s", STR_ARG(name), STR_ARG(port));
    out->is_master = has_flag(flags, STR("master"));
    out->is_myself = has_flag(flags, STR("myself"));
    out->is_usable = !has_flag(flags, STR("fail")) && !has_flag(flags, STR("noaddr")) &&
                     !has_flag(flags, STR("handshake"));
    return true;
}

bool step_nodes(struct collect *collect)
{
    struct str text = collect->nodes_text;
    struct node *main_node = collect->nodes.items[0];
    struct err err;
    main_node->is_master = true;
    if (collect->phase > 0 || text.len == 0)
        return false;
    for (size_t lines = 0; text.ptr && lines < LINES_MAX; lines++) {
        struct node_line line;
        struct address address;
        if (!node_line_parse(str_trim(str_cut(text, '\n', &text)), &collect->arena, &line))
            continue;
        if (line.is_myself) {
            main_node->is_master = line.is_master;
            main_node->address = line.address;
            continue;
        }
        if (!line.is_master || !line.is_usable || collect->nodes.count >= NODES_MAX)
            continue;
        if (!redis_address_parse(&address, line.address, &collect->arena, &err)) {
            LOG_W("A node of the cluster has a bad address", "err", err.text);
            continue;
        }
        address.tls = collect->options.address.tls;
        collect_open_node(collect, &address)->is_master = true;
    }
    return true;
}

struct node *node_moved(struct collect *collect, const struct resp *reply)
{
    struct str slot, address;
    if (reply->type != RESP_ERROR || !str_starts(reply->text, STR("MOVED ")))
        return NULL;
    str_cut(reply->text, ' ', &slot);
    str_cut(slot, ' ', &address);
    VEC_EACH (node, &collect->nodes) {
        if (!(*node)->dead && address.len > 0 && str_eq((*node)->address, address))
            return *node;
    }
    return NULL;
}

struct select_call {
    struct node *node;
    uint64_t db;
};

static void on_selected(struct collect *collect, struct node *node, const struct resp *reply,
                        void *arg)
{
    (void)collect;
    const struct select_call *call = arg;
    if (reply->type == RESP_STATUS) {
        node->db = call->db;
        return;
    }
    node->refused_db = call->db;
    LOG_W("Couldn't select database", "db", log_fmt("%llu", (unsigned long long)call->db), "err",
          log_str(reply->type == RESP_ERROR ? str_first(reply->text, 200) : STR("bad reply")));
}

enum node_db node_select(struct collect *collect, struct node *node, uint64_t db)
{
    if (node->dead || node->refused_db == db)
        return NODE_REFUSED;
    if (collect->options.flags.is_cluster || node->db == db)
        return NODE_SELECTED; /* A cluster has one database. */
    struct select_call *call = ARENA_NEW(&collect->arena, struct select_call);
    struct str digits = arena_strf(&collect->arena, "%llu", (unsigned long long)db);
    *call = (struct select_call){node, db};
    COLLECT_SEND(collect, node, on_selected, call, STR("SELECT"), digits);
    return NODE_ASKED;
}
