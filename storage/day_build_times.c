/* day_build_times: each list of times is kept once.
 *
 * The series of a target have the same times, or a part of them: a new list is looked for by its hash; then as at most
 * DAY_RANGES_MAX ranges of one of the last columns of the same target and span; only then it becomes a column of its
 * own. Columns wait in a scratch file in their final bytes, so that memory holds a few words of each; the few that are
 * compared with are kept decoded. */
#include <string.h>

#include "base/hash.h"
#include "day_build_private.h"

#define SCRATCH_NUMBER 0

bool day_times_open(struct day_times_table *table, const char *stem, struct err *err)
{
    *table = (struct day_times_table){0};
    day_scratch_init(&table->scratch);
    map_init(&table->by_hash);
    map_init(&table->by_key);
    buf_init(&table->bytes, (size_t)1 << 24);
    return day_scratch_open(&table->scratch, stem, SCRATCH_NUMBER, err);
}

void day_times_close(struct day_times_table *table)
{
    for (size_t i = 0; i < DAY_TIMES_DECODED; i++)
        mem_free(table->decoded[i].times_ms);
    day_scratch_close(&table->scratch);
    VEC_FREE(&table->columns);
    VEC_FREE(&table->candidates);
    map_deinit(&table->by_hash);
    map_deinit(&table->by_key);
    buf_deinit(&table->bytes);
}

static struct day_decoded *decoded_place(struct day_times_table *table, uint32_t column)
{
    struct day_decoded *decoded = &table->decoded[column % DAY_TIMES_DECODED];
    if (!decoded->times_ms)
        decoded->times_ms = mem_alloc(CODEC_VALUES_MAX * sizeof(int64_t));
    return decoded;
}

static const int64_t *decode(struct day_times_table *table, uint32_t number, struct err *err)
{
    const struct day_column *column = &table->columns.items[number];
    bool was_empty = !table->decoded[number % DAY_TIMES_DECODED].times_ms;
    struct day_decoded *decoded = decoded_place(table, number);
    if (!was_empty && decoded->column == number)
        return decoded->times_ms;
    decoded->column = DAY_NONE;
    buf_clear(&table->bytes);
    char *room = buf_reserve(&table->bytes, column->len);
    if (!day_scratch_read(&table->scratch, column->offset, room, column->len, err))
        return NULL;
    if (!codec_times_decode(str_from(room, column->len), column->rows, decoded->times_ms)) {
        err_set(err, ERR_IO, "%s: a scratch file is damaged", table->scratch.file.path);
        return NULL;
    }
    decoded->column = number;
    return decoded->times_ms;
}

struct wanted {
    const struct day_times_table *table;
    uint64_t hash, key;
    uint32_t count;
};

static bool same_hash(const void *ctx, const void *key, uint32_t value)
{
    const struct wanted *wanted = key;
    (void)ctx;
    return wanted->table->columns.items[value].hash == wanted->hash &&
           wanted->table->columns.items[value].rows == wanted->count;
}

static bool same_key(const void *ctx, const void *key, uint32_t value)
{
    const struct wanted *wanted = key;
    (void)ctx;
    return wanted->table->candidates.items[value].key == wanted->key;
}

/* True when the times are some ranges of rows of a column. */
static bool match_ranges(const int64_t *times_ms, uint32_t count, const int64_t *column_ms,
                         uint32_t rows, struct day_times *out)
{
    uint32_t row = 0, at = 0;
    out->whole = false;
    out->range_count = 0;
    while (at < count) {
        uint32_t low = row, high = rows;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (column_ms[middle] < times_ms[at])
                low = middle + 1;
            else
                high = middle;
        }
        row = low;
        while (row < rows && at < count && column_ms[row] == times_ms[at]) {
            row++;
            at++;
        }
        if (row == low || out->range_count == DAY_RANGES_MAX)
            return false;
        out->ranges[out->range_count++] = (struct day_range){low, row - low};
    }
    return true;
}

static bool add_column(struct day_times_table *table, uint64_t hash, const int64_t *times_ms,
                       uint32_t count, uint32_t *number, struct err *err)
{
    struct day_column column = {
        .hash = hash, .offset = day_scratch_len(&table->scratch), .rows = count};
    if (table->columns.count >= MAP_VALUE_LIMIT)
        return err_set(err, ERR_LIMIT, "too many columns of times for one file");
    *number = (uint32_t)table->columns.count;
    buf_clear(&table->bytes);
    codec_times_encode(times_ms, count, &table->bytes);
    column.len = (uint32_t)table->bytes.len;
    if (!day_scratch_add(&table->scratch, buf_str(&table->bytes), err))
        return false;
    VEC_PUSH(&table->columns, column);
    map_insert(&table->by_hash, hash, *number);
    struct day_decoded *decoded = decoded_place(table, *number);
    memcpy(decoded->times_ms, times_ms, count * sizeof(int64_t));
    decoded->column = *number;
    return true;
}

static struct day_candidates *candidates_of(struct day_times_table *table, uint64_t key)
{
    struct wanted wanted = {.table = table, .key = key};
    uint32_t at = map_find(&table->by_key, key, &wanted, same_key, NULL);
    if (at == MAP_NONE) {
        struct day_candidates candidates = {.key = key};
        at = (uint32_t)table->candidates.count;
        VEC_PUSH(&table->candidates, candidates);
        map_insert(&table->by_key, key, at);
    }
    return &table->candidates.items[at];
}

/* The longest columns stay: others are more likely to be parts of them. */
static void add_candidate(struct day_times_table *table, struct day_candidates *candidates,
                          uint32_t column)
{
    const struct day_column *columns = table->columns.items;
    uint32_t shortest = 0;
    if (candidates->count < DAY_CANDIDATES) {
        candidates->columns[candidates->count++] = column;
        return;
    }
    for (uint32_t i = 1; i < DAY_CANDIDATES; i++) {
        if (columns[candidates->columns[i]].rows < columns[candidates->columns[shortest]].rows)
            shortest = i;
    }
    if (columns[column].rows > columns[candidates->columns[shortest]].rows)
        candidates->columns[shortest] = column;
}

bool day_times_find(struct day_times_table *table, uint64_t key, const int64_t *times_ms,
                    uint32_t count, struct day_times *out, struct err *err)
{
    struct str bytes = str_from((const char *)times_ms, count * sizeof(int64_t));
    struct wanted wanted = {.table = table, .hash = hash64(bytes), .count = count};
    uint32_t number = map_find(&table->by_hash, wanted.hash, &wanted, same_hash, NULL);
    const int64_t *column_ms;
    *out = (struct day_times){.whole = true, .range_count = 1, .ranges = {{0, count}}};
    if (number != MAP_NONE) {
        if (!(column_ms = decode(table, number, err)))
            return false;
        out->column = number;
        if (memcmp(column_ms, times_ms, bytes.len) == 0)
            return true;
    }
    struct day_candidates *candidates = candidates_of(table, key);
    for (uint32_t i = 0; i < candidates->count; i++) {
        uint32_t rows = table->columns.items[candidates->columns[i]].rows;
        if (rows <= count)
            continue;
        if (!(column_ms = decode(table, candidates->columns[i], err)))
            return false;
        out->column = candidates->columns[i];
        if (match_ranges(times_ms, count, column_ms, rows, out))
            return true;
    }
    *out = (struct day_times){.whole = true, .range_count = 1, .ranges = {{0, count}}};
    if (!add_column(table, wanted.hash, times_ms, count, &out->column, err))
        return false;
    add_candidate(table, candidates, out->column);
    return true;
}
