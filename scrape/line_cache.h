/* line_cache: which series each line of a target's exposition is, known by the bytes before the
 * value.
 *
 *     line_cache_begin -> predict | find | add, then mark, for each line -> line_cache_end
 *
 * Entries stand in exposition order, so the next line is nearly always the next entry: its length
 * says where the value begins, one hash over that span says whether it is the same text. 16 bytes
 * an entry, no text is kept. Only when the order changes is a hash map built over the entries; it
 * goes again once the order has settled.
 *
 * Comments that say something of a family stand in a list of their own, in order, too: one that is
 * where it was last time needs no lexer either.
 *
 * The hash is seeded per process, and the length is compared, too: a target cannot aim for a
 * collision. */
#ifndef SCRAPE_LINE_CACHE_H
#define SCRAPE_LINE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/batch.h"

#define LINE_NONE    UINT32_MAX
#define LINE_LEN_MAX ((1u << 24) - 1)

enum line_flag {
    LINE_DROPPED = 1, /* Relabelling drops it: no series. */
    LINE_SEEN = 2,    /* In the scrape in work. */
    LINE_TRACKED = 4, /* ... with a sample whose absence next time means staleness. */
    LINE_FOLDED =
        16,        /* Its text has a newline inside: not for the fast path, which counts lines. */
    LINE_LIVE = 8, /* The last scrape left a tracked sample: no stale marker yet. */
};

struct line_entry {
    uint64_t hash;
    series_ref ref; /* Pinned once per entry; SERIES_REF_NONE when dropped. */
    uint32_t len : 24;
    uint32_t flags : 8;
};
_Static_assert(sizeof(struct line_entry) == 16, "the cache is per series");

/* A HELP, TYPE or UNIT line, or a plain comment: the hash is over all of it. */
struct line_comment {
    uint64_t hash;
    uint32_t len : 24;
    uint32_t type : 8; /* What a TYPE line says, plus 1. */
    uint32_t place;    /* Of the family at the owner's; LINE_NONE: none. */
};
_Static_assert(sizeof(struct line_comment) == 16, "the cache is per series");

struct line_cache {
    VEC(struct line_entry) entries;
    uint64_t seed;
    uint32_t cursor; /* The entry that the next line should be. */
    uint32_t
        expected; /* So many first entries came in order; LINE_NONE after the first that did not. */
    uint32_t prefix;     /* `expected` at that moment. */
    VEC(uint32_t) order; /* Entries marked since then. */
    struct map map;      /* Hash to entry; empty unless has_map. */
    bool has_map;
    uint32_t map_idle; /* Scrapes in a row that did not need it. */
    bool map_used;
    uint64_t missed_hash; /* What line_cache_find looked for last. */
    VEC(struct line_comment) comments;
    uint32_t comment_cursor;
    bool comments_changed; /* In the scrape in work: the rest of the list is new. */
};

void line_cache_init(struct line_cache *cache, uint64_t seed);
void line_cache_deinit(struct line_cache *cache); /* Releases no series: line_cache_drain first. */
void line_cache_begin(struct line_cache *cache);

uint32_t line_cache_find(struct line_cache *cache, struct str metric);
/* The same, after a look at the next few entries. */
uint32_t line_cache_look(struct line_cache *cache, struct str metric);
/* The text that line_cache_find has just not found. `flags` are its LINE_DROPPED and LINE_TRACKED;
 * it is marked as seen. */
uint32_t line_cache_add(struct line_cache *cache, struct str metric, series_ref ref, uint8_t flags);

/* Told for each entry as a scrape ends. */
struct line_cache_ops {
    void (*stale)(void *ctx, series_ref ref);   /* It was there and is gone: once per series. */
    void (*release)(void *ctx, series_ref ref); /* The entry goes: its pin, too. */
    void *ctx;
};
/* A good scrape: entries not marked go, the rest takes the order of this scrape. */
void line_cache_end(struct line_cache *cache, const struct line_cache_ops *ops);
/* A failed one: nothing counts as seen; all that lived gets its marker. Entries stay, unless more
 * than `count_max`. */
void line_cache_fail(struct line_cache *cache, size_t count_max, const struct line_cache_ops *ops);
/* The scrape in work never was. */
void line_cache_abort(struct line_cache *cache);
/* Texts mean something else now (another configuration): forget them but not which series live. */
void line_cache_invalidate(struct line_cache *cache, const struct line_cache_ops *ops);
/* Stale markers for what lives (unless ops->stale is NULL), then everything goes. */
void line_cache_drain(struct line_cache *cache, const struct line_cache_ops *ops);

/* --- the fast path --- */

#define LINE_LOOKAHEAD 4

/* The entry whose text stands at `at`, followed by a blank, if it is one of the next few. *len is
 * the text's. */
static inline uint32_t line_cache_predict(const struct line_cache *cache, const char *at,
                                          size_t available, size_t *len)
{
    for (uint32_t i = 0; i < LINE_LOOKAHEAD; i++) {
        size_t index = (size_t)cache->cursor + i;
        if (index >= cache->entries.count)
            return LINE_NONE;
        const struct line_entry *entry = &cache->entries.items[index];
        size_t entry_len = entry->len;
        if (entry_len >= available || (at[entry_len] != ' ' && at[entry_len] != '\t'))
            continue;
        if (hash64_seed(str_from(at, entry_len), cache->seed) == entry->hash) {
            if (UNLIKELY(entry->flags & LINE_FOLDED))
                return LINE_NONE;
            *len = entry_len;
            return (uint32_t)index;
        }
    }
    return LINE_NONE;
}

/* The comment at the beginning of these bytes, if it is the one that was here last time. */
static inline const struct line_comment *line_cache_comment(struct line_cache *cache,
                                                            const char *at, size_t available)
{
    if (cache->comments_changed || cache->comment_cursor >= cache->comments.count)
        return NULL;
    const struct line_comment *comment = &cache->comments.items[cache->comment_cursor];
    if (comment->len > available || at[comment->len - 1] != '\n' ||
        hash64_seed(str_from(at, comment->len), cache->seed) != comment->hash)
        return NULL;
    cache->comment_cursor++;
    return comment;
}
/* One that was not: it and what follows take the place of the list's rest. */
void line_cache_add_comment(struct line_cache *cache, struct str line, struct line_comment comment);
void line_cache_forget_comments(struct line_cache *cache); /* Places mean something else now. */

void line_cache_deviate(struct line_cache *cache, uint32_t index);

/* Notes that the line is there. False when it was already, in this scrape. */
static inline bool line_cache_mark(struct line_cache *cache, uint32_t index, bool tracked)
{
    struct line_entry *entry = &cache->entries.items[index];
    bool first = !(entry->flags & LINE_SEEN);

    cache->cursor = index + 1;
    entry->flags = (uint8_t)(entry->flags | LINE_SEEN | (tracked ? LINE_TRACKED : 0));
    if (!first)
        return false;
    if (LIKELY(index == cache->expected))
        cache->expected++;
    else
        line_cache_deviate(cache, index);
    return true;
}

#endif
