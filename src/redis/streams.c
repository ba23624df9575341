/* streams: XINFO's replies into metrics. */
#include "base/number.h"
#include "commands.h"

/* 1638006862416-0: the milliseconds; 0 when there is none. */
static double entry_time(struct str id)
{
    struct str rest;
    double value;
    return number_parse(str_cut(str_trim(id), '-', &rest), &value) ? value : 0;
}

static double time_of(const struct resp *map, const char *key)
{
    struct str id;
    return resp_text(resp_get(map, key), &id) ? entry_time(id) : 0;
}

/* first-entry and last-entry are [id, fields]. */
static double time_of_entry(const struct resp *map, const char *key)
{
    struct str id;
    return resp_text(resp_at(resp_get(map, key), 0), &id) ? entry_time(id) : 0;
}

static double number_of(const struct resp *map, const char *key)
{
    int64_t value;
    return resp_i64(resp_get(map, key), &value) ? (double)value : 0;
}

bool stream_extract(struct metrics *metrics, const struct resp *reply, struct str db,
                    struct str key)
{
    if (reply->type != RESP_ARRAY || !resp_get(reply, "length"))
        return false;
    const struct {
        enum metric_id id;
        double value;
    } figures[] = {
        {METRIC_STREAM_LENGTH, number_of(reply, "length")},
        {METRIC_STREAM_TREE_KEYS, number_of(reply, "radix-tree-keys")},
        {METRIC_STREAM_TREE_NODES, number_of(reply, "radix-tree-nodes")},
        {METRIC_STREAM_LAST_GENERATED, time_of(reply, "last-generated-id")},
        {METRIC_STREAM_GROUPS, number_of(reply, "groups")},
        {METRIC_STREAM_MAX_DELETED, time_of(reply, "max-deleted-entry-id")},
        {METRIC_STREAM_FIRST_ENTRY, time_of_entry(reply, "first-entry")},
        {METRIC_STREAM_LAST_ENTRY, time_of_entry(reply, "last-entry")},
        {METRIC_STREAM_ENTRIES_ADDED, number_of(reply, "entries-added")},
    };
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        METRIC_ADD(metrics, figures[i].id, figures[i].value, db, key);
    return true;
}

bool stream_group_extract(struct metrics *metrics, const struct resp *group, struct str db,
                          struct str key, struct str *name)
{
    if (!resp_text(resp_get(group, "name"), name))
        return false;
    const struct {
        enum metric_id id;
        double value;
    } figures[] = {
        {METRIC_GROUP_CONSUMERS, number_of(group, "consumers")},
        {METRIC_GROUP_PENDING, number_of(group, "pending")},
        {METRIC_GROUP_LAST_DELIVERED, time_of(group, "last-delivered-id")},
        {METRIC_GROUP_ENTRIES_READ, number_of(group, "entries-read")},
        {METRIC_GROUP_LAG, number_of(group, "lag")},
    };
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        METRIC_ADD(metrics, figures[i].id, figures[i].value, db, key, *name);
    return true;
}

void stream_consumers_extract(struct metrics *metrics, const struct resp *reply, struct str db,
                              struct str key, struct str group)
{
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        const struct resp *consumer = reply->items[i];
        struct str name;
        if (!resp_text(resp_get(consumer, "name"), &name))
            continue;
        METRIC_ADD(metrics, METRIC_CONSUMER_PENDING, number_of(consumer, "pending"), db, key, group,
                   name);
        METRIC_ADD(metrics, METRIC_CONSUMER_IDLE, number_of(consumer, "idle") / 1e3, db, key, group,
                   name);
    }
}
