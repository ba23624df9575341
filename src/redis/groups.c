/* groups: keys put into groups by Lua patterns, with their number and memory per database. The
 * classifying runs inside Redis, a SCAN page at a time. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "collect.h"

#define GROUPS_MAX   100000
#define PATTERNS_MAX 256

/* ARGV: cursor, count, patterns... The first pattern that finds something in the key names its group: its captures, joined. */
static const char SCRIPT[] =
    "local page = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])\n"
    "local order, sums = {}, {}\n"
    "for _, key in ipairs(page[2]) do\n"
    "  local name = 'unclassified'\n"
    "  for i = 3, #ARGV do\n"
    "    local found = {string.find(key, ARGV[i])}\n"
    "    if found[1] then name = table.concat(found, '', 3) break end\n"
    "  end\n"
    "  local sum = sums[name]\n"
    "  if not sum then sum = {0, 0} sums[name] = sum order[#order + 1] = name end\n"
    "  sum[1] = sum[1] + 1\n"
    "  sum[2] = sum[2] + (redis.call('MEMORY', 'USAGE', key) or 0)\n"
    "end\n"
    "local out = {}\n"
    "for i, name in ipairs(order) do out[i] = {name, sums[name][1], sums[name][2]} end\n"
    "return {page[1], out}\n";

/* One line of CSV: a,"b,c",d. */
static void parse_patterns(struct collect *collect, struct str text)
{
    while (text.ptr && collect->patterns.count < PATTERNS_MAX) {
        struct str field;
        text = str_trim(text);
        if (text.len > 0 && text.ptr[0] == '"') {
            char *bytes = arena_alloc(&collect->arena, text.len);
            size_t at = 1, len = 0;
            for (; at < text.len; at++) {
                if (text.ptr[at] == '"' && at + 1 < text.len && text.ptr[at + 1] == '"')
                    at++;
                else if (text.ptr[at] == '"')
                    break;
                bytes[len++] = text.ptr[at];
            }
            field = str_from(bytes, len);
            str_cut(str_after(text, at), ',', &text);
        } else {
            field = str_cut(text, ',', &text);
        }
        field = str_trim(field);
        if (field.len > 0)
            VEC_PUSH(&collect->patterns, field);
    }
}

static bool group_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct collect *collect = ctx;
    return str_eq(collect->groups.items[value].name, *(const struct str *)key);
}

static void group_count(struct collect *collect, struct str name, double count, double bytes)
{
    uint32_t index = map_find(&collect->group_map, hash64(name), &name, group_equal, collect);
    if (index == MAP_NONE && collect->groups.count >= GROUPS_MAX)
        return;
    if (index == MAP_NONE) {
        struct key_group group = {.name = arena_str(&collect->arena, name)};
        index = (uint32_t)collect->groups.count;
        map_insert(&collect->group_map, hash64(name), index);
        VEC_PUSH(&collect->groups, group);
    }
    collect->groups.items[index].count += count;
    collect->groups.items[index].bytes += bytes;
}

static void on_page(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    (void)node, (void)arg;
    const struct resp *groups = resp_at(reply, 1);
    struct str cursor, name;
    uint64_t number;
    int64_t count, bytes;
    if (!resp_text(resp_at(reply, 0), &cursor) || !str_to_u64(cursor, &number) || !groups ||
        groups->type != RESP_ARRAY) {
        LOG_E("Key groups failed", "err",
              log_str(reply->type == RESP_ERROR ? str_first(reply->text, 300) : STR("bad reply")));
        VEC_CLEAR(&collect->groups);
        map_clear(&collect->group_map);
        collect->group_cursor = STR("0");
        return;
    }
    for (size_t i = 0; i < groups->count; i++) {
        const struct resp *group = groups->items[i];
        if (resp_text(resp_at(group, 0), &name) && resp_i64(resp_at(group, 1), &count) &&
            resp_i64(resp_at(group, 2), &bytes))
            group_count(collect, name, (double)count, (double)bytes);
    }
    collect->group_cursor = arena_str(&collect->arena, cursor);
}

static void ask_page(struct collect *collect, struct node *node)
{
    int64_t batch = collect->options.flags.check_keys_batch_size;
    struct str words[5 + PATTERNS_MAX] = {
        STR("EVAL"), str_from(SCRIPT, sizeof(SCRIPT) - 1), STR("0"),
        collect->group_cursor.len > 0 ? collect->group_cursor : STR("0"),
        arena_strf(&collect->arena, "%lld", (long long)(batch > 0 ? batch : 1000))};
    for (size_t i = 0; i < collect->patterns.count; i++)
        words[5 + i] = collect->patterns.items[i];
    collect_send(collect, node, words, 5 + collect->patterns.count, on_page, NULL);
}

static int compare_groups(const void *a, const void *b)
{
    const struct key_group *left = a, *right = b;
    int order = (left->bytes < right->bytes) - (left->bytes > right->bytes);
    if (order == 0)
        order = (left->count > right->count) - (left->count < right->count);
    return order ? order : str_cmp(left->name, right->name);
}

static void add_group(struct collect *collect, struct str db, struct str name, double count,
                      double bytes)
{
    METRIC_ADD(&collect->metrics, METRIC_GROUP_COUNT, count, db, name);
    METRIC_ADD(&collect->metrics, METRIC_GROUP_MEMORY, bytes, db, name);
}

static void add_groups(struct collect *collect)
{
    int64_t max = collect->options.flags.max_distinct_key_groups;
    struct str db =
        arena_strf(&collect->metrics.arena, "db%llu", (unsigned long long)collect->group_db);
    double count = 0, bytes = 0;
    bool overflow = max >= 0 && collect->groups.count > (uint64_t)max;
    VEC_SORT(&collect->groups, compare_groups);
    for (size_t i = 0; i < collect->groups.count; i++) {
        const struct key_group *group = &collect->groups.items[i];
        if (!overflow || i < (uint64_t)max) {
            add_group(collect, db, group->name, group->count, group->bytes);
            continue;
        }
        count += group->count;
        bytes += group->bytes;
    }
    if (overflow)
        add_group(collect, db, STR("overflow"), count, bytes);
    METRIC_ADD(&collect->metrics, METRIC_GROUPS, (double)collect->groups.count, db);
    VEC_CLEAR(&collect->groups);
    map_clear(&collect->group_map);
}

bool step_key_groups(struct collect *collect)
{
    struct node *node = collect->nodes.items[0];
    if (collect->phase == 0) {
        collect->groups_started_ns = clock_mono_ns();
        parse_patterns(collect, collect->options.flags.check_key_groups);
    }
    while (collect->patterns.count > 0 && collect->group_db < collect->db_count) {
        if (str_eq(collect->group_cursor, STR("0"))) {
            add_groups(collect);
            collect->group_db++;
            collect->group_cursor = STR_EMPTY;
            continue;
        }
        enum node_db selected = node_select(collect, node, collect->group_db);
        if (selected == NODE_SELECTED)
            ask_page(collect, node);
        if (selected != NODE_REFUSED)
            return true;
        collect->group_db++;
    }
    double spent_ms = (double)((clock_mono_ns() - collect->groups_started_ns) / 1000000);
    metrics_add(&collect->metrics, METRIC_GROUPS_DURATION, spent_ms, NULL, 0);
    return false;
}
