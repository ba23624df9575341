/* kv_check: is the tree of a file whole? Asked by plain reads before LMDB maps a file that is to be written.
 *
 * LMDB believes its pages: a flipped byte in one sends a later write through memory that is not the page's, or has a page
 * that is in use taken for a free one. So all pages of the newest commit's trees are looked at: each is where it says that
 * it is and used once, its entries lie in it side by side, keys rise, and what is free is used by nobody. Values have
 * checksums of their own; large ones are not read here.
 *
 *     page     u64 its number  u16  u16 flags (1 branch, 2 leaf)  u16 lower  u16 upper  u16 offset of each entry
 *     entry    u16 low  u16 high  u16 flags  u16 key length  key, then of a leaf the value or, flag 1, a u64 page number
 *              of a branch low, high and flags are the child's page number
 *     table    u32  u16 flags  u16 depth  u64 branches  u64 leaves  u64 large pages  u64 entries  u64 root */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "kv_private.h"

#define PAGE_BYTES_MAX 65536u
#define META_PAGES     2u
#define ENTRY_HEAD     8u
#define TABLE_BYTES    48u
#define DEPTH_MAX      32u
#define NO_PAGE        UINT64_MAX
#define FLAG_BRANCH    1u
#define FLAG_LEAF      2u
#define FLAG_DIRTY     0x10u
#define ENTRY_LARGE    1u
#define ENTRY_TABLE    2u
#define KEY_MAX        511u

enum tree_kind { TREE_FREE, TREE_NAMES, TREE_TABLE };

struct check {
    int fd;
    uint32_t page_bytes;
    uint64_t pages;
    uint8_t *used; /* A bit a page. */
    enum tree_kind kind;
    unsigned depth; /* Of the tree's leaves. */
    uint64_t entries;
    bool has_key;
    uint8_t key[8]; /* The last one; of numbers in the order of their bytes. */
    const char *const *names;
    unsigned name_count, names_found;
    uint64_t tables[KV_TABLES_MAX]; /* Roots, found in the names. */
    uint16_t depths[KV_TABLES_MAX];
    uint64_t counts[KV_TABLES_MAX];
    unsigned table_count;
    uint8_t *buffers; /* A page for each level, and one more for free lists. */
    const char *why;
};

static uint16_t get_u16(const uint8_t *at)
{
    uint16_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static bool bad(struct check *check, const char *why)
{
    if (!check->why)
        check->why = why;
    return false;
}

static bool read_at(struct check *check, void *out, size_t len, uint64_t at)
{
    uint8_t *to = out;
    while (len > 0) {
        ssize_t got = pread(check->fd, to, len, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return bad(check, "a page of it cannot be read");
        to += got;
        at += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

/* Pages are somebody's once. */
static bool use_pages(struct check *check, uint64_t first, uint64_t count)
{
    if (first < META_PAGES || first >= check->pages || count > check->pages - first)
        return bad(check, "a page number in it is out of bounds");
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1u << page % 8);
        if (check->used[page / 8] & bit)
            return bad(check, "a page of it is used twice");
        check->used[page / 8] |= bit;
    }
    return true;
}

struct entry {
    uint64_t child; /* Of a branch; of a large value its first page. */
    uint32_t value_len;
    uint16_t flags, key_len;
    const uint8_t *key, *value;
};

/* Entry `index` of a page; `taken` has a bit for each two bytes of the page. */
static bool read_entry(struct check *check, const uint8_t *page, unsigned index, bool is_leaf,
                       uint8_t *taken, struct entry *out)
{
    uint32_t at = get_u16(page + KV_PAGE_HEAD + 2 * index), upper = get_u16(page + 14);
    if (at < upper || at % 2 || at + ENTRY_HEAD > check->page_bytes)
        return bad(check, "an entry is out of its page");
    const uint8_t *head = page + at;
    uint64_t low = get_u16(head), high = get_u16(head + 2);
    out->flags = get_u16(head + 4);
    out->key_len = get_u16(head + 6);
    out->key = head + ENTRY_HEAD;
    out->value = out->key + out->key_len;
    out->child = low | high << 16 | (uint64_t)out->flags << 32;
    out->value_len = (uint32_t)(low | high << 16);
    uint64_t len = ENTRY_HEAD + out->key_len;
    if (is_leaf)
        len += out->flags & ENTRY_LARGE ? 8 : out->value_len;
    if (out->key_len > KEY_MAX || len > check->page_bytes - at)
        return bad(check, "an entry is longer than its page");
    if (is_leaf && (out->flags & ENTRY_LARGE))
        out->child = get_u64(out->value);
    for (uint32_t unit = at / 2; unit < (at + len + 1) / 2; unit++) {
        uint8_t bit = (uint8_t)(1u << unit % 8);
        if (taken[unit / 8] & bit)
            return bad(check, "two entries lie over each other");
        taken[unit / 8] |= bit;
    }
    return true;
}

/* Keys of tables are big-endian numbers, those of the free list numbers of this machine; of names only one page is read. */
static bool key_rises(struct check *check, const struct entry *entry)
{
    uint8_t key[8];
    if (check->kind == TREE_NAMES)
        return entry->key_len > 0 || bad(check, "a table has no name");
    if (entry->key_len != 8)
        return bad(check, "a key has another length");
    for (unsigned i = 0; i < 8; i++)
        key[i] = entry->key[check->kind == TREE_FREE ? 7 - i : i];
    if (check->has_key && memcmp(check->key, key, 8) >= 0)
        return bad(check, "keys are out of order");
    memcpy(check->key, key, 8);
    check->has_key = true;
    return true;
}

/* u64 count, then page numbers, highest first. */
static bool check_free_list(struct check *check, const struct entry *entry)
{
    uint8_t *buffer = check->buffers + (size_t)DEPTH_MAX * check->page_bytes;
    uint64_t len = entry->value_len, before = NO_PAGE, count = 0;
    for (uint64_t at = 0; at < len;) {
        const uint8_t *numbers = entry->value;
        uint64_t piece = len - at < check->page_bytes ? len - at : check->page_bytes;
        if (entry->flags & ENTRY_LARGE) {
            uint64_t from = entry->child * check->page_bytes + KV_PAGE_HEAD + at;
            if (!read_at(check, buffer, piece, from))
                return false;
            numbers = buffer;
        }
        if (piece % 8)
            return bad(check, "a free list has a part of a number");
        for (uint64_t i = 0; i < piece; i += 8) {
            uint64_t number = get_u64(numbers + i);
            if (at + i == 0) {
                count = number;
            } else if (at + i <= count * 8) {
                if (number >= before)
                    return bad(check, "a free list is out of order");
                before = number;
                if (!use_pages(check, number, 1))
                    return false;
            }
        }
        at += piece;
        if (count > len / 8 - 1)
            return bad(check, "a free list is longer than its value");
    }
    return len >= 8 || bad(check, "a free list is empty");
}

static bool is_known(const struct check *check, const struct entry *entry)
{
    for (unsigned i = 0; i < check->name_count; i++) {
        if (str_eq(str_of(check->names[i]), str_from((const char *)entry->key, entry->key_len)))
            return true;
    }
    return false;
}

static bool note_table(struct check *check, const struct entry *entry)
{
    check->names_found += is_known(check, entry);
    if (entry->flags != ENTRY_TABLE || entry->value_len != TABLE_BYTES ||
        check->table_count == KV_TABLES_MAX || get_u16(entry->value + 4) != 0)
        return bad(check, "a table's entry is damaged");
    check->depths[check->table_count] = get_u16(entry->value + 6);
    check->counts[check->table_count] = get_u64(entry->value + 32);
    check->tables[check->table_count++] = get_u64(entry->value + 40);
    return true;
}

static bool check_leaf_entry(struct check *check, const struct entry *entry)
{
    check->entries++;
    if (!key_rises(check, entry))
        return false;
    if (check->kind == TREE_NAMES)
        return note_table(check, entry);
    if (entry->flags & ~ENTRY_LARGE)
        return bad(check, "an entry is of an unknown kind");
    if (entry->flags & ENTRY_LARGE) {
        uint64_t bytes = (uint64_t)KV_PAGE_HEAD + entry->value_len;
        if (!use_pages(check, entry->child, (bytes + check->page_bytes - 1) / check->page_bytes))
            return false;
    }
    return check->kind == TREE_TABLE || check_free_list(check, entry);
}

/* What is in a branch stands between its keys: the first key behind one is not below it. */
static bool check_separator(struct check *check, unsigned index, const struct entry *entry)
{
    if (index == 0 || check->kind == TREE_NAMES)
        return true;
    uint8_t key[8];
    if (entry->key_len != 8)
        return bad(check, "a branch's key has another length");
    for (unsigned i = 0; i < 8; i++)
        key[i] = entry->key[check->kind == TREE_FREE ? 7 - i : i];
    return !check->has_key || memcmp(check->key, key, 8) < 0 ||
           bad(check, "a branch's keys are out of order");
}

/* A page on the way down. */
struct level {
    unsigned index, count;
};

static bool open_page(struct check *check, uint64_t number, unsigned depth, struct level *level)
{
    uint8_t *page = check->buffers + (size_t)depth * check->page_bytes;
    if (!use_pages(check, number, 1) ||
        !read_at(check, page, check->page_bytes, number * check->page_bytes))
        return false;
    uint32_t lower = get_u16(page + 12), upper = get_u16(page + 14);
    uint16_t wanted = depth + 1 == check->depth ? FLAG_LEAF : FLAG_BRANCH;
    if (get_u64(page) != number || (get_u16(page + 10) & ~FLAG_DIRTY) != wanted)
        return bad(check, "a page is another one");
    if (lower < KV_PAGE_HEAD || lower % 2 || lower > upper || upper > check->page_bytes)
        return bad(check, "a page's head is damaged");
    level->index = 0;
    level->count = (lower - KV_PAGE_HEAD) / 2;
    return level->count > 0 || bad(check, "a page is empty");
}

static bool check_leaf(struct check *check, const uint8_t *page, unsigned count)
{
    uint8_t taken[PAGE_BYTES_MAX / 16] = {0};
    struct entry entry;
    for (unsigned i = 0; i < count; i++) {
        if (!read_entry(check, page, i, true, taken, &entry) || !check_leaf_entry(check, &entry))
            return false;
    }
    return true;
}

/* The entries of a branch lie well; the children come one by one. */
static bool check_branch(struct check *check, const uint8_t *page, unsigned count)
{
    uint8_t taken[PAGE_BYTES_MAX / 16] = {0};
    struct entry entry;
    for (unsigned i = 0; i < count; i++) {
        if (!read_entry(check, page, i, false, taken, &entry))
            return false;
    }
    return true;
}

static bool walk(struct check *check, uint64_t root)
{
    struct level levels[DEPTH_MAX];
    unsigned depth = 0;
    bool opened = open_page(check, root, 0, &levels[0]);
    while (opened) {
        struct level *level = &levels[depth];
        const uint8_t *page = check->buffers + (size_t)depth * check->page_bytes;
        bool is_leaf = depth + 1 == check->depth;
        if (is_leaf && !check_leaf(check, page, level->count))
            return false;
        if (!is_leaf && level->index == 0 && !check_branch(check, page, level->count))
            return false;
        if (is_leaf || level->index == level->count) {
            if (depth == 0)
                return true;
            depth--;
            continue;
        }
        uint8_t ignored[PAGE_BYTES_MAX / 16];
        struct entry entry;
        memset(ignored, 0, check->page_bytes / 16);
        if (!read_entry(check, page, level->index, false, ignored, &entry) ||
            !check_separator(check, level->index, &entry))
            return false;
        level->index++;
        depth++;
        opened = open_page(check, entry.child, depth, &levels[depth]);
    }
    return false;
}

static bool check_tree(struct check *check, enum tree_kind kind, uint64_t root, uint16_t depth,
                       uint64_t entries)
{
    check->kind = kind;
    check->depth = depth;
    check->entries = 0;
    check->has_key = false;
    if (root == NO_PAGE)
        return (depth == 0 && entries == 0) || bad(check, "an empty tree has entries");
    if (depth == 0 || depth >= DEPTH_MAX)
        return bad(check, "a tree has no sane depth");
    if (!walk(check, root))
        return false;
    return check->entries == entries || bad(check, "a tree has another number of entries");
}

/* The newest commit's meta page, as LMDB chooses it. */
static bool read_meta(struct check *check, uint8_t out[136])
{
    uint8_t metas[META_PAGES][136];
    for (unsigned i = 0; i < META_PAGES; i++) {
        if (!read_at(check, metas[i], sizeof(metas[i]),
                     (uint64_t)i * check->page_bytes + KV_PAGE_HEAD))
            return false;
    }
    memcpy(out, metas[get_u64(metas[0] + 128) < get_u64(metas[1] + 128)], 136);
    return true;
}

static bool check_all(struct check *check)
{
    uint8_t meta[136];
    if (!read_meta(check, meta))
        return false;
    const uint8_t *free_list = meta + 24, *names = meta + 72;
    /* Flag 8: keys are numbers; 0x4000: the file is no folder. */
    if ((get_u16(free_list + 4) & ~0x4000) != 8 || get_u16(names + 4) != 0 ||
        get_u32(free_list) != check->page_bytes || get_u64(meta + 120) + 1 != check->pages)
        return bad(check, "its head is damaged");
    if (!check_tree(check, TREE_NAMES, get_u64(names + 40), get_u16(names + 6),
                    get_u64(names + 32)))
        return false;
    /* One that is unknown may be of a later program; where one of ours is missing as well, its name is damaged. */
    if (check->names_found < check->table_count && check->names_found < check->name_count)
        return bad(check, "a table has another name");
    for (unsigned i = 0; i < check->table_count; i++) {
        if (!check_tree(check, TREE_TABLE, check->tables[i], check->depths[i], check->counts[i]))
            return false;
    }
    return check_tree(check, TREE_FREE, get_u64(free_list + 40), get_u16(free_list + 6),
                      get_u64(free_list + 32));
}

bool kv_check(const char *path, uint64_t pages, uint32_t page_bytes, const char *const *names,
              unsigned name_count, struct err *err)
{
    struct check check = {
        .pages = pages, .page_bytes = page_bytes, .names = names, .name_count = name_count};
    check.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (check.fd < 0)
        return err_errno(err, errno, "open %s", path);
    check.used = mem_zalloc(pages / 8 + 1);
    check.buffers = mem_alloc((size_t)(DEPTH_MAX + 1) * page_bytes);
    bool good = check_all(&check);
    close(check.fd);
    mem_free(check.used);
    mem_free(check.buffers);
    return good || err_set(err, ERR_CORRUPT, "open %s: %s", path, check.why);
}
