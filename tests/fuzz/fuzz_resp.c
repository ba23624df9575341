/* A Redis' bytes through the reader of replies, in pieces, and each reply through all that reads replies: no piece of
 * it may be used that is not there, and what a reply may cost is limited. */
#include <stdint.h>

#include "base/ensure.h"
#include "collect.h"
#include "commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t count_values(const struct resp *reply, unsigned depth)
{
    size_t count = 1;
    ENSURE(reply != NULL && depth < 10);
    if (reply->type != RESP_ARRAY)
        return count;
    for (size_t i = 0; i < reply->count; i++)
        count += count_values(reply->items[i], depth + 1);
    return count;
}

static void read_everything(const struct resp *reply)
{
    struct metrics metrics;
    struct info_usage usage = {0};
    struct config_options options = {.all = true};
    struct str name = STR_EMPTY, address;
    struct node_line line;
    struct err err;
    struct buf out;
    uint64_t databases = 0;
    size_t count;
    metrics_init(&metrics, STR("redis"), (size_t)1 << 20);
    if (!config_extract(&metrics, reply, &options, &databases, &databases, &err))
        ENSURE(err.code == ERR_CORRUPT);
    slowlog_extract(&metrics, reply);
    latency_extract(&metrics, reply);
    histogram_extract(&metrics, reply, &usage);
    commandlog_extract(&metrics, reply);
    tile38_extract(&metrics, reply);
    search_index_extract(&metrics, reply);
    if (!script_extract(&metrics, reply, STR("f"), &count, &err))
        ENSURE(err.code == ERR_EXECUTION);
    sentinel_master_extract(&metrics, reply, &name, &address, &metrics.arena);
    sentinel_peers_extract(&metrics, reply, STR("m"), STR("a"), true);
    sentinel_slaves_extract(&metrics, reply, STR("m"), STR("a"));
    sentinel_config_extract(&metrics, reply);
    stream_extract(&metrics, reply, STR("db0"), STR("k"));
    stream_group_extract(&metrics, reply, STR("db0"), STR("k"), &name);
    stream_consumers_extract(&metrics, reply, STR("db0"), STR("k"), STR("g"));
    if (resp_is_text(reply)) {
        clients_extract(&metrics, reply->text, true, 1700000000);
        node_line_parse(reply->text, &metrics.arena, &line);
    }
    buf_init(&out, (size_t)64 << 20);
    metrics_write(&metrics, &out);
    ENSURE(!out.overflow && (out.len == 0 || out.ptr[out.len - 1] == '\n'));
    buf_deinit(&out);
    metrics_deinit(&metrics);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct resp_reader *reader = resp_reader_new();
    struct str rest = {(const char *)data, len};
    const struct resp *reply;
    struct err err;
    bool good = len > 0;
    size_t piece = good ? (size_t)data[len - 1] + 1 : 1;
    while (good && rest.len > 0) {
        good = resp_reader_feed(reader, str_first(rest, piece), &err);
        rest = str_after(rest, piece);
        do {
            good = good && resp_reader_next(reader, &reply, &err);
            if (good && reply) {
                ENSURE(count_values(reply, 0) <= len);
                read_everything(reply);
            }
        } while (good && reply);
    }
    resp_reader_free(reader);
    return 0;
}
