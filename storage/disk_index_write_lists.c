/* disk_index_write_lists: from groups to postings.
 *
 * Names go in batches, so that the lists of a batch fit BATCH_ENTRIES_MAX: one walk over all groups counts how often each
 * pair is met, a second one puts the group numbers where they belong. */
#include "base/mem.h"
#include "disk_index_writer.h"

#define BATCH_ENTRIES_MAX (4u << 20)

/* Names [first, end) of the order, whose lists are made in one go. */
struct batch {
    uint32_t first, end;
    uint64_t
        *places; /* Per pair: where its groups begin; while filling: where the next one goes. */
    uint64_t
        *name_first; /* Per name: its first pair in places; the pair in front is the name itself. */
    uint32_t *groups;
};

typedef void (*batch_fn)(struct batch *batch, uint64_t pair, uint32_t group);

static void batch_count(struct batch *batch, uint64_t pair, uint32_t group)
{
    (void)group;
    batch->places[pair + 1]++;
}

static void batch_fill(struct batch *batch, uint64_t pair, uint32_t group)
{
    uint64_t at = batch->places[pair];
    batch->groups[at] = group;
    batch->places[pair] = at + 1;
}

/* Tells each (pair, group) of the batch; a pair may be told more than once for a group. */
static void batch_walk(const struct disk_index_writer *writer, struct batch *batch,
                       const struct buf *series, const struct buf *starts, batch_fn fn)
{
    for (uint32_t group = 0; group < writer->group_lens.count; group++) {
        const uint8_t *start = (const uint8_t *)starts->ptr + (size_t)group * 4;
        const uint8_t *base = (const uint8_t *)series->ptr;
        uint32_t left = writer->series_count - group * GROUP_ROWS;
        struct group_walk walk;
        struct column column;
        group_walk_start(&walk, base + load_u32(start), base + load_u32(start + 4),
                         left < GROUP_ROWS ? left : GROUP_ROWS);
        while (group_walk_next(&walk, &column) && column.name < batch->end) {
            if (column.name < batch->first)
                continue;
            uint64_t pair = batch->name_first[column.name - batch->first];
            fn(batch, pair - 1, group);
            for (uint32_t i = 0; i < column.partition.count; i++) {
                uint32_t rank = column_rank(&column, i);
                if (rank != RANK_ABSENT && (i == 0 || rank != column_rank(&column, i - 1)))
                    fn(batch, pair + rank, group);
            }
        }
        ENSURE(!walk.bad);
    }
}

/* A pair's groups came in order, some more than once. */
static void batch_list(const struct batch *batch, uint64_t from, uint64_t to, struct buf *out)
{
    uint32_t *items = batch->groups + from;
    uint32_t count = 0;
    for (uint64_t i = 0; i < to - from; i++) {
        if (count == 0 || items[count - 1] != items[i])
            items[count++] = items[i];
    }
    ENSURE(count > 0);
    list_write(out, items, count);
}

static void batch_write(struct disk_index_writer *writer, struct batch *batch, struct buf *out)
{
    uint64_t from = 0, pair = 0;
    for (uint32_t i = batch->first; i < batch->end; i++) {
        struct name *name = writer_name(writer, i);
        name->postings_at = (uint32_t)out->len;
        batch_list(batch, from, batch->places[pair], out);
        from = batch->places[pair++];
        for (uint32_t rank = 0; rank < name->value_count; rank++) {
            if (rank % VALUES_PER_RESTART == 0)
                writer->restarts.items[name->restart + rank / VALUES_PER_RESTART].postings_at =
                    (uint32_t)out->len;
            batch_list(batch, from, batch->places[pair], out);
            from = batch->places[pair++];
        }
    }
}

static void batch_run(struct disk_index_writer *writer, struct batch *batch,
                      const struct buf *series, const struct buf *starts, struct buf *out)
{
    uint64_t pairs = 0;
    batch->name_first = mem_alloc_array(batch->end - batch->first, sizeof(uint64_t));
    for (uint32_t i = batch->first; i < batch->end; i++) {
        batch->name_first[i - batch->first] = pairs + 1;
        pairs += 1 + (uint64_t)writer_name(writer, i)->value_count;
    }
    batch->places = mem_zalloc((pairs + 1) * sizeof(uint64_t));
    batch_walk(writer, batch, series, starts, batch_count);
    for (uint64_t i = 0; i < pairs; i++)
        batch->places[i + 1] += batch->places[i];
    batch->groups = mem_alloc_array(batch->places[pairs] + 1, sizeof(uint32_t));
    batch_walk(writer, batch, series, starts, batch_fill);
    batch_write(writer, batch, out);
    mem_free(batch->groups);
    mem_free(batch->places);
    mem_free(batch->name_first);
}

/* Entries of each name, to cut batches by. */
static void entries_count(struct disk_index_writer *writer, const struct buf *series,
                          const struct buf *starts)
{
    const uint8_t *base = (const uint8_t *)series->ptr;
    for (uint32_t group = 0; group < writer->group_lens.count; group++) {
        const uint8_t *start = (const uint8_t *)starts->ptr + (size_t)group * 4;
        uint32_t left = writer->series_count - group * GROUP_ROWS;
        struct group_walk walk;
        struct column column;
        group_walk_start(&walk, base + load_u32(start), base + load_u32(start + 4),
                         left < GROUP_ROWS ? left : GROUP_ROWS);
        while (group_walk_next(&walk, &column))
            writer_name(writer, column.name)->entry_count += 1 + column.partition.count;
    }
}

void writer_lists(struct disk_index_writer *writer, const struct buf *series,
                  const struct buf *starts, struct buf *out)
{
    uint32_t names = (uint32_t)writer->names.count;
    entries_count(writer, series, starts);
    for (uint32_t first = 0, end; first < names; first = end) {
        uint64_t entries = 0;
        for (end = first; end < names; end++) {
            const struct name *name = writer_name(writer, end);
            entries += name->entry_count + name->value_count;
            if (entries > BATCH_ENTRIES_MAX && end > first)
                break;
        }
        struct batch batch = {.first = first, .end = end};
        batch_run(writer, &batch, series, starts, out);
    }
    writer->restarts.items[writer->restarts.count - 1].postings_at = (uint32_t)out->len;
}
