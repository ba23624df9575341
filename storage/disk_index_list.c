/* disk_index_list: the names, the values, and how many series each pair has.
 *
 * Without a choice of series names and values are simply walked. With one, each group that is chosen from marks the
 * values of its rows first. */
#include "base/mem.h"
#include "disk_index_private.h"

/* ---- Of chosen series ---- */

/* The rows of the next group of `of` from *at on. */
static uint64_t rows_take(const struct ordinal_vec *of, size_t *at, uint32_t *group)
{
    uint64_t rows = 0;
    *group = of->items[*at] / GROUP_ROWS;
    for (; *at < of->count && of->items[*at] / GROUP_ROWS == *group; (*at)++)
        rows |= UINT64_C(1) << (of->items[*at] % GROUP_ROWS);
    return rows;
}

static bool group_start(const struct disk_index *index, const struct ordinal_vec *of, size_t *at,
                        struct group_walk *walk, uint64_t *rows, struct err *err)
{
    uint32_t group;
    *rows = rows_take(of, at, &group);
    if (!group_read(index, group, walk, err))
        return false;
    *rows &= rows_mask(walk->rows);
    return true;
}

static void bit_add(uint64_t *bits, uint32_t at)
{
    bits[at / 64] |= UINT64_C(1) << (at & 63);
}

static bool bit_test(const uint64_t *bits, uint32_t at)
{
    return bits[at / 64] >> (at & 63) & 1;
}

/* Does one of the rows have the label? */
static bool column_is_there(const struct column *column, uint64_t rows)
{
    if (!column->has_absent)
        return rows != 0;
    for (; rows; rows &= rows - 1) {
        uint32_t entry = partition_entry(&column->partition, (uint32_t)__builtin_ctzll(rows));
        if (column_rank(column, entry) != RANK_ABSENT)
            return true;
    }
    return false;
}

static bool names_mark(const struct disk_index *index, const struct ordinal_vec *of, uint64_t *bits,
                       struct err *err)
{
    struct group_walk walk;
    struct column column;
    uint64_t rows;
    for (size_t at = 0; at < of->count;) {
        if (!group_start(index, of, &at, &walk, &rows, err))
            return false;
        while (group_walk_next(&walk, &column)) {
            if (column.name >= index->name_count)
                return index_corrupt(err, "there is no such name");
            if (!bit_test(bits, column.name) && column_is_there(&column, rows))
                bit_add(bits, column.name);
        }
        if (walk.bad)
            return index_corrupt(err, "series are cut short");
    }
    return true;
}

bool disk_index_names(const struct disk_index *index, const struct ordinal_vec *of,
                      disk_index_text_fn fn, void *ctx, struct err *err)
{
    struct name_view name;
    uint64_t *bits = mem_zalloc(((size_t)index->name_count / 64 + 1) * 8);
    bool good = !of || names_mark(index, of, bits, err);
    for (uint32_t i = 0; good && i < index->name_count; i++) {
        if (!of || bit_test(bits, i))
            good = name_read(index, i, &name, err) && fn(ctx, name.text, err);
    }
    mem_free(bits);
    return good;
}

static bool values_mark_column(const struct name_view *name, const struct column *column,
                               uint64_t rows, uint64_t *bits)
{
    for (; rows; rows &= rows - 1) {
        uint32_t entry = partition_entry(&column->partition, (uint32_t)__builtin_ctzll(rows));
        uint32_t rank = column_rank(column, entry);
        if (rank == RANK_ABSENT)
            continue;
        if (rank >= name->value_count)
            return false;
        bit_add(bits, rank);
    }
    return true;
}

static bool values_mark(const struct disk_index *index, const struct name_view *name,
                        const struct ordinal_vec *of, uint64_t *bits, struct err *err)
{
    struct group_walk walk;
    struct column column;
    uint64_t rows;
    for (size_t at = 0; at < of->count;) {
        if (!group_start(index, of, &at, &walk, &rows, err))
            return false;
        bool more = group_walk_next(&walk, &column);
        while (more && column.name < name->number)
            more = group_walk_next(&walk, &column);
        if (walk.bad)
            return index_corrupt(err, "series are cut short");
        if (more && column.name == name->number && !values_mark_column(name, &column, rows, bits))
            return index_corrupt(err, "there is no such value");
    }
    return true;
}

bool disk_index_values(const struct disk_index *index, struct str text,
                       const struct ordinal_vec *of, disk_index_text_fn fn, void *ctx,
                       struct err *err)
{
    struct name_view name;
    struct value_scan scan;
    bool found;
    if (!name_find(index, text, &found, &name, err))
        return false;
    if (!found)
        return true;
    uint64_t *bits = of ? mem_zalloc(((size_t)name.value_count / 64 + 1) * 8) : NULL;
    bool good = !of || values_mark(index, &name, of, bits, err);
    value_scan_init(&scan, index, &name, 0, name.value_count);
    while (good && scan.rank < scan.end) {
        good = value_scan_next(&scan, err);
        if (good && (!of || bit_test(bits, scan.rank - 1)))
            good = fn(ctx, buf_str(&scan.text), err);
    }
    value_scan_deinit(&scan);
    mem_free(bits);
    return good;
}

/* ---- Series per pair ---- */

struct pair_counts {
    const struct disk_index *index;
    VEC(struct name_view) names;
    uint64_t *first;  /* Per name: its first place in counts. */
    uint32_t *counts; /* Per pair. */
};

static bool counts_prepare(struct pair_counts *counts, struct err *err)
{
    const struct disk_index *index = counts->index;
    uint64_t pairs = 0, restarts = 0;
    counts->first = mem_alloc_array((size_t)index->name_count + 1, sizeof(*counts->first));
    for (uint32_t i = 0; i < index->name_count; i++) {
        struct name_view name;
        if (!name_read(index, i, &name, err))
            return false;
        if (name.restart != restarts)
            return index_corrupt(err, "a name's values are out of order");
        VEC_PUSH(&counts->names, name);
        counts->first[i] = pairs;
        pairs += name.value_count;
        restarts += ((uint64_t)name.value_count + VALUES_PER_RESTART - 1) / VALUES_PER_RESTART;
    }
    counts->counts = mem_zalloc((pairs + 1) * sizeof(*counts->counts));
    return true;
}

static bool counts_add(struct pair_counts *counts, const struct column *column, uint32_t rows)
{
    if (column->name >= counts->index->name_count)
        return false;
    const struct name_view *name = &counts->names.items[column->name];
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t rank = column_rank(column, partition_entry(&column->partition, row));
        if (rank == RANK_ABSENT)
            continue;
        if (rank >= name->value_count)
            return false;
        counts->counts[counts->first[column->name] + rank]++;
    }
    return true;
}

static bool counts_fill(struct pair_counts *counts, struct err *err)
{
    struct group_walk walk;
    struct column column;
    for (uint32_t group = 0; group < counts->index->group_count; group++) {
        if (!group_read(counts->index, group, &walk, err))
            return false;
        while (group_walk_next(&walk, &column)) {
            if (!counts_add(counts, &column, walk.rows))
                return index_corrupt(err, "there is no such pair");
        }
        if (walk.bad)
            return index_corrupt(err, "series are cut short");
    }
    return true;
}

static bool counts_tell(const struct pair_counts *counts, disk_index_pair_fn fn, void *ctx,
                        struct err *err)
{
    bool good = true;
    for (size_t i = 0; i < counts->names.count && good; i++) {
        const struct name_view *name = &counts->names.items[i];
        struct value_scan scan;
        value_scan_init(&scan, counts->index, name, 0, name->value_count);
        while (good && scan.rank < scan.end) {
            good = value_scan_next(&scan, err);
            if (good)
                fn(ctx, name->text, buf_str(&scan.text),
                   counts->counts[counts->first[i] + scan.rank - 1]);
        }
        value_scan_deinit(&scan);
    }
    return good;
}

bool disk_index_pairs(const struct disk_index *index, disk_index_pair_fn fn, void *ctx,
                      struct err *err)
{
    struct pair_counts counts = {.index = index};
    bool good = counts_prepare(&counts, err) && counts_fill(&counts, err) &&
                counts_tell(&counts, fn, ctx, err);
    VEC_FREE(&counts.names);
    mem_free(counts.first);
    mem_free(counts.counts);
    return good;
}
