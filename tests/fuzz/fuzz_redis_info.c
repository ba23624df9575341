/* Any text as INFO, CLUSTER INFO, INFO MODULES and CLIENT LIST, as an address and as a list of keys: what is written
 * out is lines of the text format, whatever came in. */
#include <stdint.h>

#include "base/ensure.h"
#include "collect.h"
#include "commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Name, maybe labels, a blank, a value: no line that a scraper would refuse for a name. */
static void check_lines(struct str text)
{
    while (text.len > 0) {
        struct str line = str_cut(text, '\n', &text);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        ENSURE(str_starts(line, STR("redis_")));
        size_t end = 0;
        while (end < line.len && line.ptr[end] != '{' && line.ptr[end] != ' ') {
            char c = line.ptr[end++];
            ENSURE(c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'));
        }
        ENSURE(end < line.len && str_is_utf8(line));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str text = {(const char *)data, len};
    struct info_options options = {
        .db_count = 20, .empty_databases = true, .system_metrics = true, .now_s = 1700000000};
    struct metrics metrics;
    struct info_usage usage;
    struct address address;
    key_ref_list refs = {0};
    struct err err;
    struct buf out;
    metrics_init(&metrics, STR("redis"), (size_t)4 << 20);
    info_extract(&metrics, text, &options);
    info_extract_cluster(&metrics, text);
    info_extract_modules(&metrics, text);
    info_usage_read(&usage, text, &metrics.arena);
    clients_extract(&metrics, text, len % 2 == 0, 1700000000);
    buf_init(&out, (size_t)64 << 20);
    metrics_write(&metrics, &out);
    ENSURE(!out.overflow);
    check_lines(buf_str(&out));
    if (redis_address_parse(&address, text, &metrics.arena, &err))
        ENSURE(address.unix_path.len > 0 || (address.port > 0 && address.host.len > 0));
    if (key_refs_parse(&refs, text, &metrics.arena, &err))
        VEC_EACH (ref, &refs)
            ENSURE(ref->key.len > 0 && ref->db.len > 0);
    VEC_FREE(&refs);
    buf_deinit(&out);
    metrics_deinit(&metrics);
    return 0;
}
