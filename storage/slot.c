/* slot: see slot.h.
 *
 * Which column a sample goes to: its run's, when that column's newest row has its time, or may get a row for it: one that no
 * sample of the same batch has moved on already, unless the run itself stands on the newest row. So a target's scrape makes
 * one row; lines with times of their own (cAdvisor's containers) find each other in columns of their own, and a remote
 * writer's series that lag behind join the rows that are there. */
#include "slot.h"

#include <stddef.h>
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "base/page.h"

#define BLOCK_FIRST      512u
#define BLOCK_PAGES_FROM 3 /* Blocks of 512, 1024, then pages. */
#define UNIT             4 /* A place is block number << UNIT_BITS | units from its begin. */
#define UNIT_BITS        9
#define BLOCK_NUMBER_MAX (UINT32_MAX >> UNIT_BITS)
#define RUN_BLOCK_MAX    251
#define PAGE_FIRST       8u /* Members; then 16, and what a page of memory holds. */
#define PAGE_SMALL       2  /* Pages of members that are smaller. */
#define PAGE_MEMBERS     ((uint32_t)(PAGE_BYTES / (sizeof(struct run) + sizeof(series_ref))))
#define COLUMN_ROWS      16
#define SEARCH_MAX       4096 /* Columns that a sample without a run looks at. */
_Static_assert(PAGE_BYTES / UNIT <= 1 << UNIT_BITS, "places have so many bits");

/* --- blocks --- */

/* Blocks have numbers from 1: place 0 is none. Table k has those from 4^k on. */
static inline uint32_t block_table(uint32_t number)
{
    return (31 - (uint32_t)__builtin_clz(number)) / 2;
}

static inline char **block_link(const struct slot *slot, uint32_t number)
{
    uint32_t table = block_table(number);
    return &slot->tables[table][number - (1u << 2 * table)];
}

static inline struct run_block *block_at(const struct slot *slot, uint32_t place)
{
    char *block = *block_link(slot, place >> UNIT_BITS);
    return (struct run_block *)(block + (size_t)(place & ((1u << UNIT_BITS) - 1)) * UNIT);
}

static void block_add(struct slot *slot)
{
    uint32_t number = slot->block_count + 1;
    bool whole = number >= BLOCK_PAGES_FROM;
    uint32_t size = whole ? PAGE_BYTES : BLOCK_FIRST << (number - 1);
    ENSURE(number <= BLOCK_NUMBER_MAX);
    uint32_t table = block_table(number);
    if (!slot->tables[table]) {
        size_t links = (size_t)3 << 2 * table;
        slot->tables[table] = mem_alloc_array(links, sizeof(char *));
        slot->bytes += links * sizeof(char *);
    }
    *block_link(slot, number) = whole ? page_alloc() : mem_alloc(size);
    slot->block_count = number;
    slot->block_used = 0;
    slot->block_size = size;
    slot->bytes += size;
}

/* The place of so many bytes, at most BLOCK_FIRST. */
static uint32_t slot_alloc(struct slot *slot, uint32_t bytes)
{
    if (bytes > slot->block_size - slot->block_used)
        block_add(slot);
    uint32_t place = slot->block_count << UNIT_BITS | slot->block_used / UNIT;
    slot->block_used += (bytes + UNIT - 1) / UNIT * UNIT;
    return place;
}

struct slot *slot_new(uint32_t group, uint64_t number)
{
    struct slot *slot = MEM_NEW(struct slot);
    slot->group = group;
    slot->number = number;
    return slot;
}

void slot_free(void *ptr)
{
    struct slot *slot = ptr;
    if (!slot)
        return;
    VEC_EACH (column, &slot->columns) {
        mem_free(atomic_load_explicit(&(*column)->times, memory_order_relaxed));
        mem_free(*column);
    }
    VEC_FREE(&slot->columns);
    for (size_t i = 0; i < slot->pages.count; i++)
        (i < PAGE_SMALL ? mem_free : page_free)(slot->pages.items[i]);
    VEC_FREE(&slot->pages);
    for (uint32_t i = 1; i <= slot->block_count; i++)
        (i < BLOCK_PAGES_FROM ? mem_free : page_free)(*block_link(slot, i));
    for (uint32_t i = 0; i < SLOT_TABLES; i++)
        mem_free(slot->tables[i]);
    mem_free(slot);
}

/* --- members --- */

/* The page of a member, and its place there: pages of 8, 16 and then as many as fit. */
static uint32_t page_of(uint32_t member, uint32_t *at, uint32_t *size)
{
    uint32_t first = 0;
    for (uint32_t page = 0; page < PAGE_SMALL; page++) {
        *size = PAGE_FIRST << page;
        if (member < first + *size) {
            *at = member - first;
            return page;
        }
        first += *size;
    }
    *size = PAGE_MEMBERS;
    *at = (member - first) % PAGE_MEMBERS;
    return PAGE_SMALL + (member - first) / PAGE_MEMBERS;
}

void slot_walk_to(struct slot_walk *walk, const struct slot *slot, uint32_t member)
{
    uint32_t at, size;
    struct run *page = slot->pages.items[page_of(member, &at, &size)];
    walk->run = page + at;
    walk->ref = (const series_ref *)(page + size) + at;
    walk->left = size - at;
}

struct run *slot_member(const struct slot *slot, uint32_t member)
{
    uint32_t at, size;
    return slot->pages.items[page_of(member, &at, &size)] + at;
}

series_ref slot_member_ref(const struct slot *slot, uint32_t member)
{
    uint32_t at, size;
    const struct run *page = slot->pages.items[page_of(member, &at, &size)];
    return ((const series_ref *)(page + size))[at];
}

struct run *slot_add_run(struct slot *slot, struct column *column, uint32_t row, series_ref ref)
{
    uint32_t at, size, page = page_of(slot->member_count, &at, &size);
    if (page == slot->pages.count) {
        size_t bytes = size * (sizeof(struct run) + sizeof(series_ref));
        struct run *runs = page < PAGE_SMALL ? mem_alloc(bytes) : page_alloc();
        memset(runs, 0, bytes);
        VEC_PUSH(&slot->pages, runs);
        slot->bytes += bytes;
    }
    struct run *run = slot->pages.items[page] + at;
    ((series_ref *)(slot->pages.items[page] + size))[at] = ref;
    run->column = column;
    run->member = slot->member_count++;
    run->first_row = run->next_row = (uint16_t)row;
    atomic_init(&run->last_row, (uint16_t)row);
    return run;
}

/* --- columns --- */

static struct column *column_new(struct slot *slot, int64_t time_ms)
{
    struct column *column = MEM_NEW(struct column);
    column->slot = slot;
    column->base_ms = time_ms;
    column->number = (uint32_t)slot->columns.count;
    VEC_PUSH(&slot->columns, column);
    slot->bytes += sizeof(*column);
    return column;
}

static bool column_has_room(const struct column *column, int64_t time_ms)
{
    return column->rows < STREAM_ROWS_MAX && time_ms - column->base_ms <= UINT32_MAX;
}

static void column_add_row(struct column *column, struct epoch *epoch, int64_t time_ms,
                           uint64_t batch)
{
    struct column_times *times = atomic_load_explicit(&column->times, memory_order_relaxed);
    if (!times || column->rows == times->capacity) {
        uint32_t capacity = times ? times->capacity * 2 : COLUMN_ROWS;
        struct column_times *grown =
            mem_alloc(sizeof(*grown) + capacity * sizeof(grown->offset_ms[0]));
        grown->capacity = capacity;
        if (times)
            memcpy(grown->offset_ms, times->offset_ms, column->rows * sizeof(uint32_t));
        column->slot->bytes += (capacity - (times ? times->capacity : 0)) * sizeof(uint32_t);
        atomic_store_explicit(&column->times, grown, memory_order_release);
        if (times && epoch)
            epoch_retire(epoch, mem_free, times);
        else
            mem_free(times);
        times = grown;
    }
    times->offset_ms[column->rows++] = (uint32_t)(time_ms - column->base_ms);
    column->last_ms = time_ms;
    column->batch = batch;
}

int64_t column_time(const struct column *column, uint32_t row)
{
    const struct column_times *times = atomic_load_explicit(&column->times, memory_order_acquire);
    return column->base_ms + times->offset_ms[row];
}

void column_read(const struct column *column, uint32_t last_row, struct time_vec *out)
{
    const struct column_times *times = atomic_load_explicit(&column->times, memory_order_acquire);
    VEC_RESERVE(out, last_row + 1);
    for (uint32_t row = 0; row <= last_row; row++)
        out->items[out->count++] = column->base_ms + times->offset_ms[row];
}

/* The row with this time, which is not the newest; UINT32_MAX when there is none. */
static uint32_t column_find(const struct column *column, int64_t time_ms)
{
    const struct column_times *times = atomic_load_explicit(&column->times, memory_order_relaxed);
    uint32_t low = 0, high = column->rows;
    if (time_ms < column->base_ms)
        return UINT32_MAX;
    int64_t offset = time_ms - column->base_ms;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (times->offset_ms[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < column->rows && times->offset_ms[low] == offset ? low : UINT32_MAX;
}

/* The row of a time in this column, if it may go there. */
static bool column_take(struct column *column, struct epoch *epoch, const struct run *run,
                        int64_t time_ms, uint64_t batch, uint32_t *row)
{
    uint32_t last = run ? atomic_load_explicit(&run->last_row, memory_order_relaxed) : 0;
    if (column->rows > 0 && time_ms <= column->last_ms) {
        *row = time_ms == column->last_ms ? column->rows - 1 : column_find(column, time_ms);
        return *row != UINT32_MAX && (!run || *row > last);
    }
    bool moved_on = column->rows > 0 && column->batch == batch;
    if (!column_has_room(column, time_ms) || (moved_on && !(run && last == column->rows - 1)))
        return false;
    *row = column->rows;
    column_add_row(column, epoch, time_ms, batch);
    return true;
}

bool slot_place(struct slot *slot, struct epoch *epoch, const struct run *run, int64_t time_ms,
                uint64_t batch, struct column **out, uint32_t *row)
{
    struct column *hint = slot->hint;
    *out = run ? run->column : hint;
    if (*out && column_take(*out, epoch, run, time_ms, batch, row))
        return true;
    if (run && hint && hint != *out && hint->last_ms == time_ms) {
        *out = hint;
        *row = hint->rows - 1;
        return true;
    }
    /* The columns behind the hint first: lines of the same sources come in the same order. */
    size_t count = slot->columns.count, begin = hint ? hint->number : 0;
    for (size_t i = 1; i <= count && i <= SEARCH_MAX; i++) {
        struct column *column = slot->columns.items[(begin + i) % count];
        if (column->last_ms == time_ms && column != *out) {
            *out = slot->hint = column;
            *row = column->rows - 1;
            return true;
        }
    }
    if (count >= UINT16_MAX || (*out && !column_has_room(*out, time_ms)))
        return false;
    *out = slot->hint = column_new(slot, time_ms);
    *row = 0;
    column_add_row(*out, epoch, time_ms, batch);
    return true;
}

bool slot_place_at(struct slot *slot, uint32_t number, int64_t time_ms, struct column **out,
                   uint32_t *row)
{
    if (number > slot->columns.count || number >= UINT16_MAX)
        return false;
    *out = number < slot->columns.count ? slot->columns.items[number] : column_new(slot, time_ms);
    slot->hint = *out;
    if ((*out)->rows > 0 && time_ms <= (*out)->last_ms) {
        *row = column_find(*out, time_ms);
        return *row != UINT32_MAX;
    }
    if (!column_has_room(*out, time_ms))
        return false;
    *row = (*out)->rows;
    column_add_row(*out, NULL, time_ms, 0);
    return true;
}

/* --- runs --- */

/* A new tail: half of it is empty on average and its head takes 5 bytes, so the least is lost with the root of 10 times what
 * the run has. What an entry needs beyond that it gets. */
static struct run_block *run_grow(struct run *run, size_t len)
{
    struct slot *slot = run->column->slot;
    size_t used = atomic_load_explicit(&run->len, memory_order_relaxed) + 16;
    size_t next = used < 40 ? 15 : used < 70 ? 19 : used < 120 ? 27 : used < 200 ? 35 : 51;
    next = next < len ? len + 4 : next;
    next = next < RUN_BLOCK_MAX ? next : RUN_BLOCK_MAX;
    uint32_t place = slot_alloc(slot, (uint32_t)(offsetof(struct run_block, bytes) + next));
    struct run_block *block = block_at(slot, place);
    block->older = atomic_load_explicit(&run->tail, memory_order_relaxed);
    block->capacity = (uint8_t)next;
    atomic_store_explicit(&run->tail, place, memory_order_release);
    run->tail_used = 0;
    return block;
}

/* Where the next byte goes, and how many fit there. */
static inline uint8_t *run_room(struct run *run, size_t *room)
{
    uint32_t tail = atomic_load_explicit(&run->tail, memory_order_relaxed);
    struct run_block *block = tail ? block_at(run->column->slot, tail) : NULL;
    *room = (block ? block->capacity : (size_t)RUN_INLINE) - run->tail_used;
    return (block ? block->bytes : run->bytes) + run->tail_used;
}

void run_prefetch(const struct run *run, const struct slot *slot)
{
    uint32_t tail = atomic_load_explicit(&run->tail, memory_order_relaxed);
    if (tail)
        __builtin_prefetch(block_at(slot, tail)->bytes + run->tail_used, 1);
}

static void run_put(struct run *run, const uint8_t *from, size_t len)
{
    size_t room;
    uint8_t *to = run_room(run, &room);
    for (;;) {
        size_t part = len < room ? len : room;
        if (part <= 4) { /* Most entries: a call costs more than the bytes. */
            for (size_t i = 0; i < part; i++)
                to[i] = from[i];
        } else {
            memcpy(to, from, part);
        }
        run->tail_used = (uint16_t)(run->tail_used + part);
        from += part;
        len -= part;
        if (len == 0)
            return;
        struct run_block *block = run_grow(run, len);
        to = block->bytes;
        room = block->capacity;
    }
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t len = 0;
    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

/* control [gap] in front of an entry; the length. */
static size_t put_control(uint8_t *out, uint8_t code, uint32_t gap)
{
    out[0] = gap ? code | STREAM_GAP : code;
    return gap ? 1 + put_varint(out + 1, gap) : 1;
}

/* Rows between the run's last and `row` have no sample. */
static void run_skip_to(struct run *run, uint32_t row, uint32_t *len)
{
    uint32_t last = atomic_load_explicit(&run->last_row, memory_order_relaxed);
    uint8_t bytes[16];
    if (*len == 0 || row <= last + 1)
        return;
    size_t put = put_control(bytes, STREAM_ABSENT, last + 1 - run->next_row);
    put += put_varint(bytes + put, row - last - 1);
    run_put(run, bytes, put);
    *len += (uint32_t)put;
    run->next_row = (uint16_t)row;
    atomic_store_explicit(&run->len, *len, memory_order_release);
}

void run_repeat(struct run *run, uint32_t row)
{
    uint32_t len = atomic_load_explicit(&run->len, memory_order_relaxed);
    run_skip_to(run, row, &len);
    atomic_store_explicit(&run->last_row, (uint16_t)row, memory_order_release);
}

void run_add(struct run *run, uint32_t row, struct str entry)
{
    uint32_t len = atomic_load_explicit(&run->len, memory_order_relaxed);
    uint8_t head[8];
    if (row != run->next_row)
        run_skip_to(run, row, &len);
    if (row == run->next_row) {
        run_put(run, (const uint8_t *)entry.ptr, entry.len);
        len += (uint32_t)entry.len;
    } else {
        size_t put = put_control(head, (uint8_t)entry.ptr[0], row - run->next_row);
        run_put(run, head, put);
        if (entry.len > 1)
            run_put(run, (const uint8_t *)entry.ptr + 1, entry.len - 1);
        len += (uint32_t)(put + entry.len - 1);
    }
    run->next_row = (uint16_t)(row + 1);
    atomic_store_explicit(&run->len, len, memory_order_release);
    atomic_store_explicit(&run->last_row, (uint16_t)row, memory_order_release);
}

void run_read(const struct run *run, uint32_t len, uint8_t *out)
{
    uint32_t first = len < RUN_INLINE ? len : RUN_INLINE;
    memcpy(out, run->bytes, first);
    if (len == first)
        return;
    /* From the newest block back to the first: those that came after `len` was loaded are beyond it. */
    const struct slot *slot = run->column->slot;
    uint32_t tail = atomic_load_explicit(&run->tail, memory_order_acquire);
    size_t end = RUN_INLINE;
    for (uint32_t place = tail; place;) {
        const struct run_block *block = block_at(slot, place);
        end += block->capacity;
        place = block->older;
    }
    for (uint32_t place = tail; place;) {
        const struct run_block *block = block_at(slot, place);
        size_t begin = end - block->capacity;
        if (begin < len)
            memcpy(out + begin, block->bytes, (end < len ? end : len) - begin);
        end = begin;
        place = block->older;
    }
    ENSURE(end == RUN_INLINE);
}
