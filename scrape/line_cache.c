/* line_cache: the slow half: order, the map for lines that moved, and what the end of a scrape
 * means.
 *
 * Two texts may name one series (labels in another order, a relabelling that joins them): such a
 * series is gone only when no text of it was seen, so before any marker is written the refs of the
 * gone entries are checked against those that stay. This costs a pass over the entries, and only
 * when something is gone. */
#include "line_cache.h"

#include "base/ensure.h"

/* The map is 16 bytes a slot: not kept for targets whose order is steady. */
#define MAP_IDLE_MAX 4

void line_cache_init(struct line_cache *cache, uint64_t seed)
{
    *cache = (struct line_cache){.seed = seed};
    map_init(&cache->map);
}

static void map_forget(struct line_cache *cache)
{
    if (!cache->has_map)
        return;
    map_deinit(&cache->map);
    map_init(&cache->map);
    cache->has_map = false;
}

void line_cache_deinit(struct line_cache *cache)
{
    map_forget(cache);
    VEC_FREE(&cache->entries);
    VEC_FREE(&cache->order);
    VEC_FREE(&cache->comments);
}

void line_cache_add_comment(struct line_cache *cache, struct str line, struct line_comment comment)
{
    if (line.len > LINE_LEN_MAX)
        return;
    if (!cache->comments_changed)
        cache->comments.count = cache->comment_cursor;
    cache->comments_changed = true;
    comment.len = (uint32_t)line.len & LINE_LEN_MAX;
    comment.hash = hash64_seed(line, cache->seed);
    VEC_PUSH(&cache->comments, comment);
}

void line_cache_forget_comments(struct line_cache *cache)
{
    VEC_FREE(&cache->comments);
    cache->comment_cursor = 0;
}

void line_cache_begin(struct line_cache *cache)
{
    cache->comment_cursor = 0;
    cache->comments_changed = false;
    cache->cursor = cache->expected = cache->prefix = 0;
    cache->map_used = false;
    VEC_CLEAR(&cache->order);
}

void line_cache_deviate(struct line_cache *cache, uint32_t index)
{
    if (cache->expected != LINE_NONE) {
        cache->prefix = cache->expected;
        cache->expected = LINE_NONE;
    }
    VEC_PUSH(&cache->order, index);
}

struct line_key {
    uint64_t hash;
    size_t len;
};

static bool entry_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct line_cache *cache = ctx;
    const struct line_key *wanted = key;
    const struct line_entry *entry = &cache->entries.items[value];
    return entry->hash == wanted->hash && entry->len == wanted->len;
}

uint32_t line_cache_find(struct line_cache *cache, struct str metric)
{
    struct line_key key = {hash64_seed(metric, cache->seed), metric.len};

    cache->map_used = true;
    cache->missed_hash = key.hash;
    if (!cache->has_map) {
        for (size_t i = 0; i < cache->entries.count; i++)
            if (cache->entries.items[i].len > 0)
                map_insert(&cache->map, cache->entries.items[i].hash, (uint32_t)i);
        cache->has_map = true;
    }
    uint32_t index = map_find(&cache->map, key.hash, &key, entry_equal, cache);
    return index == MAP_NONE ? LINE_NONE : index;
}

uint32_t line_cache_look(struct line_cache *cache, struct str metric)
{
    uint64_t hash = hash64_seed(metric, cache->seed);
    size_t from = cache->cursor, to = from + LINE_LOOKAHEAD;

    for (size_t i = from; i < to && i < cache->entries.count; i++) {
        const struct line_entry *entry = &cache->entries.items[i];
        if (entry->hash == hash && entry->len == metric.len)
            return (uint32_t)i;
    }
    return line_cache_find(cache, metric);
}

uint32_t line_cache_add(struct line_cache *cache, struct str metric, series_ref ref, uint8_t flags)
{
    uint32_t index = (uint32_t)cache->entries.count;
    struct line_entry entry = {.hash = cache->missed_hash, .ref = ref};

    ENSURE(metric.len > 0 && metric.len <= LINE_LEN_MAX && cache->entries.count < LINE_NONE);
    ENSURE_SLOW(entry.hash == hash64_seed(metric, cache->seed));
    entry.len = (uint32_t)metric.len & LINE_LEN_MAX;
    bool folded = memchr(metric.ptr, '\n', metric.len) != NULL;
    entry.flags = (uint8_t)(flags | LINE_SEEN | (folded ? LINE_FOLDED : 0));
    VEC_PUSH(&cache->entries, entry);
    if (cache->has_map)
        map_insert(&cache->map, entry.hash, index);
    if (index == cache->cursor)
        cache->cursor++;
    if (index == cache->expected)
        cache->expected++;
    else
        line_cache_deviate(cache, index);
    return index;
}

static uint64_t ref_hash(series_ref ref)
{
    return hash64_mix(ref, 0x9e3779b97f4a7c15u);
}

static bool ref_equal(const void *ctx, const void *key, uint32_t value)
{
    (void)ctx;
    return *(const series_ref *)key == value;
}

/* One marker for each series of an entry that has `gone` set exactly so, if no entry that was seen
 * names it, too. */
static void emit_stale(struct line_cache *cache, bool spare_seen, const struct line_cache_ops *ops)
{
    struct map gone;

    if (!ops->stale)
        return;
    map_init(&gone);
    VEC_EACH (entry, &cache->entries) {
        bool is_gone = (entry->flags & LINE_LIVE) && !(spare_seen && (entry->flags & LINE_SEEN));
        if (is_gone &&
            map_find(&gone, ref_hash(entry->ref), &entry->ref, ref_equal, NULL) == MAP_NONE)
            map_insert(&gone, ref_hash(entry->ref), entry->ref);
    }
    if (gone.used > 0 && spare_seen) {
        VEC_EACH (entry, &cache->entries)
            if ((entry->flags & LINE_SEEN) && entry->ref != SERIES_REF_NONE)
                map_remove(&gone, ref_hash(entry->ref), entry->ref);
    }
    uint32_t ref;
    for (size_t at = 0; map_next(&gone, &at, &ref);)
        ops->stale(ops->ctx, ref);
    map_deinit(&gone);
}

static void entry_release(const struct line_entry *entry, const struct line_cache_ops *ops)
{
    if (entry->ref != SERIES_REF_NONE)
        ops->release(ops->ctx, entry->ref);
}

static struct line_entry entry_settled(struct line_entry entry)
{
    bool live = entry.flags & LINE_TRACKED;

    entry.flags = (uint8_t)((entry.flags & (LINE_DROPPED | LINE_FOLDED)) | (live ? LINE_LIVE : 0));
    return entry;
}

/* The entries seen, in the order of this scrape. */
static void entries_reorder(struct line_cache *cache, const struct line_cache_ops *ops)
{
    size_t prefix = cache->expected != LINE_NONE ? cache->expected : cache->prefix;
    size_t count = prefix + cache->order.count;
    struct line_entry *entries = mem_alloc_array(count ? count : 1, sizeof(*entries));

    for (size_t i = 0; i < prefix; i++)
        entries[i] = cache->entries.items[i];
    for (size_t i = 0; i < cache->order.count; i++)
        entries[prefix + i] = cache->entries.items[cache->order.items[i]];
    VEC_EACH (entry, &cache->entries)
        if (!(entry->flags & LINE_SEEN))
            entry_release(entry, ops);
    mem_free(cache->entries.items);
    cache->entries.items = entries;
    cache->entries.count = cache->entries.capacity = count;
    map_forget(cache);
}

void line_cache_end(struct line_cache *cache, const struct line_cache_ops *ops)
{
    bool in_order = cache->expected == cache->entries.count;

    if (!in_order) {
        emit_stale(cache, true, ops);
        entries_reorder(cache, ops);
    } else if (cache->entries.capacity > cache->entries.count + cache->entries.count / 8) {
        cache->entries.capacity = cache->entries.count ? cache->entries.count : 1;
        cache->entries.items =
            mem_realloc(cache->entries.items, cache->entries.capacity * sizeof(struct line_entry));
    }
    VEC_EACH (entry, &cache->entries)
        *entry = entry_settled(*entry);
    if (cache->comments.capacity > cache->comments.count + cache->comments.count / 8) {
        cache->comments.capacity = cache->comments.count ? cache->comments.count : 1;
        cache->comments.items = mem_realloc(cache->comments.items,
                                            cache->comments.capacity * sizeof(struct line_comment));
    }
    VEC_FREE(&cache->order);
    cache->map_idle = cache->map_used ? 0 : cache->map_idle + 1;
    if (cache->map_idle >= MAP_IDLE_MAX)
        map_forget(cache);
}

void line_cache_fail(struct line_cache *cache, size_t count_max, const struct line_cache_ops *ops)
{
    emit_stale(cache, false, ops);
    VEC_EACH (entry, &cache->entries)
        entry->flags &= LINE_DROPPED | LINE_FOLDED;
    VEC_FREE(&cache->order);
    if (cache->entries.count > count_max)
        line_cache_drain(cache, ops);
}

void line_cache_abort(struct line_cache *cache)
{
    VEC_EACH (entry, &cache->entries)
        entry->flags &= LINE_DROPPED | LINE_FOLDED | LINE_LIVE;
    VEC_FREE(&cache->order);
    line_cache_begin(cache);
}

/* An entry of length 0 matches no line: it only holds a live series until the next scrape ends. */
void line_cache_invalidate(struct line_cache *cache, const struct line_cache_ops *ops)
{
    size_t kept = 0;

    for (size_t i = 0; i < cache->entries.count; i++) {
        struct line_entry entry = cache->entries.items[i];
        if (!(entry.flags & LINE_LIVE)) {
            entry_release(&entry, ops);
            continue;
        }
        entry.len = 0;
        entry.hash = 0;
        cache->entries.items[kept++] = entry;
    }
    cache->entries.count = kept;
    line_cache_forget_comments(cache);
    map_forget(cache);
}

void line_cache_drain(struct line_cache *cache, const struct line_cache_ops *ops)
{
    emit_stale(cache, false, ops);
    VEC_EACH (entry, &cache->entries)
        entry_release(entry, ops);
    VEC_FREE(&cache->entries);
    VEC_FREE(&cache->order);
    line_cache_forget_comments(cache);
    map_forget(cache);
    line_cache_begin(cache);
}
