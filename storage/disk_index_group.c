/* disk_index_group: up to GROUP_ROWS label sets, stored by columns.
 *
 *     varint column count
 *     per column, ascending by name:
 *         varint name - name before - 1
 *         u8     bit 7: a row may lack the label; bits 0-6: its partition: 0 one entry for all rows, 1 an entry per row,
 *                2 runs, 3 index (both follow and become the next number), 4 + n: number n again
 *         [2: u64 bit per row: a new entry starts]  [3: u8 entries; rows * bits(entries - 1) bits]
 *         varint base  u8 width  entries * width bits: rank - base, or 1 + that and 0 for none
 *
 * Neighbours have most labels in common and their labels change together (pod, instance, node), hence shared
 * partitions; and any row's rank in any column is one load, so nothing has to be decoded to look into a group. */
#include "base/bytes.h"
#include "disk_index_private.h"

#define SHAPE_NUMBER 4u
#define SHAPE_ABSENT 0x80u

#define COLUMN_BYTES_MIN 4u

/* ---- Reading ---- */

void group_walk_start(struct group_walk *walk, const uint8_t *at, const uint8_t *end, uint32_t rows)
{
    struct reader in = {.at = at, .end = end, .begin = at};
    uint64_t count = read_varint(&in);
    walk->at = in.at;
    walk->end = end;
    walk->rows = rows;
    walk->name = 0;
    walk->partition_count = 0;
    walk->bad = in.bad || count > (size_t)(end - at) / COLUMN_BYTES_MIN;
    walk->columns_left = walk->bad ? 0 : (uint32_t)count;
}

static bool partition_read(struct group_walk *walk, struct reader *in, unsigned shape,
                           struct partition *out)
{
    *out = (struct partition){.kind = PARTITION_ONE, .count = 1};
    switch (shape) {
    case 0:
        return true;
    case 1:
        out->kind = PARTITION_ALL;
        out->count = walk->rows;
        return true;
    case 2:
        out->kind = PARTITION_RUNS;
        out->starts = read_u64(in);
        out->count = (uint32_t)__builtin_popcountll(out->starts);
        if (!(out->starts & 1) || (out->starts & ~rows_mask(walk->rows)))
            return false;
        break;
    case 3:
        out->kind = PARTITION_INDEX;
        out->count = read_u8(in);
        if (out->count < 2 || out->count > walk->rows)
            return false;
        out->width = bits_of(out->count - 1);
        out->packed = (const uint8_t *)read_bytes(in, (walk->rows * out->width + 7) / 8).ptr;
        break;
    default:
        if (shape - SHAPE_NUMBER >= walk->partition_count)
            return false;
        *out = walk->partitions[shape - SHAPE_NUMBER];
        return true;
    }
    if (in->bad || walk->partition_count == PARTITIONS_MAX)
        return false;
    walk->partitions[walk->partition_count++] = *out;
    return true;
}

/* Most varints here have one byte. */
static uint64_t varint_fast(struct reader *in)
{
    if (LIKELY(in->at < in->end && *in->at < 0x80))
        return *in->at++;
    return read_varint(in);
}

bool group_walk_next(struct group_walk *walk, struct column *column)
{
    if (walk->columns_left == 0)
        return false;
    struct reader in = {.at = walk->at, .end = walk->end, .begin = walk->at};
    uint64_t name = varint_fast(&in);
    uint8_t shape = read_u8(&in);
    walk->columns_left--;
    walk->bad = name >= UINT32_MAX - walk->name ||
                !partition_read(walk, &in, shape & ~SHAPE_ABSENT, &column->partition);
    uint64_t base = varint_fast(&in);
    unsigned width = read_u8(&in);
    if (walk->bad || in.bad || base >= UINT32_MAX || width > 32) {
        walk->bad = true;
        return false;
    }
    column->packed =
        (const uint8_t *)read_bytes(&in, (column->partition.count * width + 7) / 8).ptr;
    column->name = walk->name + (uint32_t)name;
    column->has_absent = shape & SHAPE_ABSENT;
    column->base = (uint32_t)base;
    column->width = width;
    walk->name = column->name + 1;
    walk->at = in.at;
    walk->bad = in.bad;
    return !in.bad;
}

uint64_t partition_rows(const struct partition *partition, uint64_t entries, uint32_t rows)
{
    uint64_t mask = 0;
    switch (partition->kind) {
    case PARTITION_ONE:
        return entries & 1 ? rows_mask(rows) : 0;
    case PARTITION_ALL:
        return entries;
    case PARTITION_RUNS:
        for (uint64_t starts = partition->starts; starts; entries >>= 1) {
            uint64_t start = starts & -starts;
            starts &= starts - 1;
            if (entries & 1) /* From this start up to the next; without a next one up to the top. */
                mask |= (starts & -starts) - start;
        }
        return mask & rows_mask(rows);
    case PARTITION_INDEX:
        for (uint32_t row = 0; row < rows; row++)
            mask |= (entries >> partition_entry(partition, row) & 1) << row;
        return mask;
    }
    UNREACHABLE();
}

/* ---- Writing ---- */

/* The entries of a column, numbered by first appearance. */
struct entries {
    uint32_t count;
    uint32_t values[GROUP_ROWS];
    uint8_t numbers[GROUP_ROWS]; /* Of each row. */
    uint32_t min, max;           /* Of values but 0. */
    bool has_absent, ascending;  /* ascending: a row's number is never below the one before. */
};

#define SLOTS 128u

static void entries_find(struct entries *entries, const uint32_t *values, uint32_t rows)
{
    uint8_t slots[SLOTS] = {0}; /* 1 + number. */
    *entries = (struct entries){.min = UINT32_MAX, .ascending = true};
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t value = values[row];
        if (row > 0 && value == values[row - 1]) {
            entries->numbers[row] = entries->numbers[row - 1];
            continue;
        }
        uint32_t slot = value * UINT32_C(2654435761) >> 25;
        while (slots[slot] && entries->values[slots[slot] - 1] != value)
            slot = (slot + 1) % SLOTS;
        if (!slots[slot]) {
            entries->values[entries->count++] = value;
            slots[slot] = (uint8_t)entries->count;
            entries->has_absent |= value == 0;
            entries->min = value && value < entries->min ? value : entries->min;
            entries->max = value > entries->max ? value : entries->max;
        } else {
            entries->ascending = false;
        }
        entries->numbers[row] = (uint8_t)(slots[slot] - 1);
    }
}

static void bits_write(struct buf *out, const uint32_t *values, uint32_t count, unsigned width)
{
    uint64_t bits = 0;
    unsigned filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        bits |= (uint64_t)values[i] << filled;
        for (filled += width; filled >= 8; filled -= 8, bits >>= 8)
            write_u8(out, (uint8_t)bits);
    }
    if (filled > 0)
        write_u8(out, (uint8_t)bits);
}

struct group_writer {
    struct buf *out;
    uint32_t rows;
    uint32_t partition_count;
    uint8_t numbers[PARTITIONS_MAX][GROUP_ROWS];
};

static unsigned partition_find(const struct group_writer *writer, const struct entries *entries)
{
    unsigned i = 0;
    while (i < writer->partition_count &&
           memcmp(writer->numbers[i], entries->numbers, writer->rows) != 0)
        i++;
    return i;
}

/* The cheapest shape; may add a partition. */
static unsigned shape_choose(struct group_writer *writer, const struct entries *entries,
                             unsigned width)
{
    if (entries->count == 1)
        return 0;
    unsigned known = partition_find(writer, entries);
    if (known < writer->partition_count)
        return SHAPE_NUMBER + known;
    unsigned index_bits = entries->ascending ? 64 : 8 + writer->rows * bits_of(entries->count - 1);
    if (entries->count == writer->rows || writer->partition_count == PARTITIONS_MAX ||
        index_bits + entries->count * width >= writer->rows * width)
        return 1;
    memcpy(writer->numbers[writer->partition_count++], entries->numbers, writer->rows);
    return entries->ascending ? 2 : 3;
}

static void partition_write(struct group_writer *writer, const struct entries *entries,
                            unsigned shape)
{
    uint32_t numbers[GROUP_ROWS], rows = writer->rows;
    uint64_t starts = 1;
    ENSURE(rows <= GROUP_ROWS);
    if (shape == 2) {
        for (uint32_t row = 1; row < rows; row++)
            starts |= (uint64_t)(entries->numbers[row] != entries->numbers[row - 1]) << row;
        write_u64(writer->out, starts);
    } else if (shape == 3) {
        for (uint32_t row = 0; row < rows; row++)
            numbers[row] = entries->numbers[row];
        write_u8(writer->out, (uint8_t)entries->count);
        bits_write(writer->out, numbers, rows, bits_of(entries->count - 1));
    }
}

static void column_write(struct group_writer *writer, const struct group_column *column,
                         uint32_t name_step)
{
    struct entries entries;
    uint32_t coded[GROUP_ROWS];

    entries_find(&entries, column->values, writer->rows);
    uint32_t low = entries.has_absent ? entries.min - 1 : entries.min;
    unsigned width = bits_of(entries.max - low);
    unsigned shape = shape_choose(writer, &entries, width);
    const uint32_t *values = shape == 1 ? column->values : entries.values;
    uint32_t count = shape == 1 ? writer->rows : entries.count;
    for (uint32_t i = 0; i < count; i++)
        coded[i] = values[i] == 0 ? 0 : values[i] - low;
    write_varint(writer->out, name_step);
    write_u8(writer->out, (uint8_t)(shape | (entries.has_absent ? SHAPE_ABSENT : 0)));
    partition_write(writer, &entries, shape);
    write_varint(writer->out, entries.min - 1);
    write_u8(writer->out, (uint8_t)width);
    bits_write(writer->out, coded, count, width);
}

void group_write(struct buf *out, const struct group_column *const *columns, uint32_t count,
                 uint32_t rows)
{
    struct group_writer writer; /* Not zeroed: large, and its rows are filled as they are added. */
    uint32_t name = 0;
    writer.out = out;
    writer.rows = rows;
    writer.partition_count = 0;
    write_varint(out, count);
    for (uint32_t i = 0; i < count; i++) {
        column_write(&writer, columns[i], columns[i]->name - name);
        name = columns[i]->name + 1;
    }
}
