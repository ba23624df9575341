/* seal_target: see seal_target.h. */
#include "seal_target.h"

#include <string.h>

#include "base/hash.h"
#include "base/log.h"

#define TXN_BYTES_MAX ((size_t)16 << 20)
/* Rows of labels weigh more: LMDB keeps as many small pages as a transaction ever had for the next one, for as long as the
 * file is open, and each label set is written once only. Bundles are large values, whose memory it gives back. */
#define LABELS_WEIGHT 32

void seal_targets_init(struct seal_targets *targets, struct storage *storage, uint64_t group_key,
                       uint64_t slot, size_t column_count)
{
    *targets = (struct seal_targets){
        .storage = storage, .group_key = group_key, .slot = slot, .column_count = column_count};
    buf_init(&targets->value, (size_t)1 << 30);
}

void seal_targets_clear(struct seal_targets *targets)
{
    VEC_EACH (target, &targets->items) {
        bundle_writer_deinit(&target->bundle);
        VEC_FREE(&target->columns);
        VEC_FREE(&target->entries);
    }
    VEC_FREE(&targets->items);
}

void seal_targets_deinit(struct seal_targets *targets)
{
    seal_targets_clear(targets);
    buf_deinit(&targets->value);
}

/* --- transactions --- */

static struct seal_write *write_of(struct seal_writes *writes, const struct partition *partition)
{
    VEC_EACH (write, &writes->items) {
        if (write->partition == partition)
            return write;
    }
    return NULL;
}

/* The partition's transaction, begun when there is none. */
static bool write_for(struct seal_writes *writes, struct partition *partition,
                      struct kv_write **out, struct err *err)
{
    struct seal_write write = {.partition = partition};
    struct seal_write *open = write_of(writes, partition);
    if (!open) {
        if (!kv_write_begin(partition->kv, &write.write, err))
            return false;
        VEC_PUSH(&writes->items, write);
        open = &writes->items.items[writes->items.count - 1];
    }
    *out = open->write;
    return true;
}

static bool write_commit(struct seal_writes *writes, struct seal_write *write, struct err *err)
{
    struct kv_write *ending = write->write;
    *write = writes->items.items[--writes->items.count];
    return kv_commit(ending, err);
}

bool seal_writes_commit(struct seal_writes *writes, struct err *err)
{
    bool good = true;
    while (good && writes->items.count > 0)
        good = write_commit(writes, &writes->items.items[0], err);
    seal_writes_abort(writes);
    return good;
}

bool seal_writes_are_full(const struct seal_writes *writes)
{
    for (size_t i = 0; i < writes->items.count; i++) {
        if (writes->items.items[i].bytes >= TXN_BYTES_MAX)
            return true;
    }
    return false;
}

void seal_writes_abort(struct seal_writes *writes)
{
    VEC_EACH (write, &writes->items) {
        kv_abort(write->write);
    }
    VEC_FREE(&writes->items);
    bundle_encoder_free(writes->encoder);
    writes->encoder = NULL;
}

/* --- targets --- */

static void target_next_bundle(struct seal_targets *targets, struct seal_target *target)
{
    bundle_writer_begin(&target->bundle, targets->group_key, targets->slot);
    if (target->columns.count > 0)
        memset(target->columns.items, 0, target->columns.count * sizeof(uint16_t));
}

static bool bundle_flush(struct seal_targets *targets, struct seal_target *target, struct err *err)
{
    struct bundle_entry entry;
    if (target->bundle.runs.count == 0)
        return true;
    bundle_writer_finish(&target->bundle, &targets->value);
    if (!bundle_entry_of(buf_str(&targets->value), &entry))
        UNREACHABLE();
    entry.key = target->next_key;
    if (!kv_put(target->write, PARTITION_BUNDLES, entry.key, buf_str(&targets->value), err))
        return false;
    write_of(targets->writes, target->partition)->bytes += targets->value.len;
    VEC_PUSH(&target->entries, entry);
    target->next_key++;
    target_next_bundle(targets, target);
    return true;
}

static bool target_begin(struct seal_targets *targets, struct seal_target *target, struct err *err)
{
    bool found;
    uint64_t last = 0;
    if (!write_for(targets->writes, target->partition, &target->write, err))
        return false;
    if (!kv_last_key(target->write, PARTITION_BUNDLES, &found, &last, err))
        return false;
    target->next_key = found ? last + 1 : 1;
    return true;
}

static bool put_dir(struct seal_targets *targets, struct seal_target *target, struct err *err)
{
    const struct bundle_entry *added = target->entries.items + target->dir_count;
    size_t count = target->entries.count - target->dir_count;
    if (count == 0)
        return true;
    bundle_dir_encode(added, count, &targets->value);
    target->dir_count = target->entries.count;
    return kv_put(target->write, PARTITION_DIR, added->key, buf_str(&targets->value), err);
}

static bool target_finish(struct seal_targets *targets, struct seal_target *target, struct err *err)
{
    if (!bundle_flush(targets, target, err) || !put_dir(targets, target, err))
        return false;
    target->write = NULL;
    return true;
}

bool seal_target_for(struct seal_targets *targets, int64_t time_ms, struct seal_target **out,
                     struct err *err)
{
    struct seal_target target = {0};
    VEC_EACH (have, &targets->items) {
        if (time_ms >= have->partition->from_ms && time_ms < have->partition->to_ms) {
            *out = have;
            return true;
        }
    }
    if (!partition_for(targets->storage, time_ms, &target.partition, err))
        return false;
    if (!targets->writes->encoder)
        targets->writes->encoder = bundle_encoder_new();
    bundle_writer_init(&target.bundle);
    target.bundle.shared = targets->writes->encoder;
    VEC_RESERVE(&target.columns, targets->column_count + 1);
    target.columns.count = targets->column_count + 1;
    target_next_bundle(targets, &target);
    VEC_PUSH(&targets->items, target);
    *out = &targets->items.items[targets->items.count - 1];
    return target_begin(targets, *out, err);
}

uint16_t seal_target_column(struct seal_target *target, uint32_t number,
                            const struct time_vec *times)
{
    /* A column of which only a part belongs here goes in whole: it is times only. */
    uint16_t *known = &target->columns.items[number];
    if (*known == 0)
        *known =
            (uint16_t)(bundle_writer_column(&target->bundle, times->items, (uint32_t)times->count) +
                       1);
    return (uint16_t)(*known - 1);
}

bool seal_target_labels(struct seal_targets *targets, struct seal_target *target,
                        const struct series *series, struct err *err)
{
    struct label labels[SERIES_LABELS_MAX];
    struct buf row;
    bool known;
    if (!kv_has(target->write, PARTITION_SERIES, series->id, &known, err))
        return false;
    if (known)
        return true;
    buf_init(&row, (size_t)64 << 20);
    series_row_encode(series->id, labels, series_labels(targets->storage, series, labels), &row);
    bool good = kv_put(target->write, PARTITION_SERIES, series->id, buf_str(&row), err);
    write_of(targets->writes, target->partition)->bytes += LABELS_WEIGHT * row.len;
    buf_deinit(&row);
    return good;
}

bool seal_target_after_run(struct seal_targets *targets, struct seal_target *target,
                           struct err *err)
{
    if (!bundle_writer_is_full(&target->bundle))
        return true;
    if (!bundle_flush(targets, target, err))
        return false;
    struct seal_write *write = write_of(targets->writes, target->partition);
    if (write->bytes < TXN_BYTES_MAX)
        return true;
    return target_finish(targets, target, err) && write_commit(targets->writes, write, err) &&
           target_begin(targets, target, err);
}

/* Scratch of a slot whose batch goes on with others: together they would have as much as the batch. */
static void targets_trim(struct seal_targets *targets)
{
    VEC_EACH (target, &targets->items) {
        bundle_writer_deinit(&target->bundle);
        VEC_FREE(&target->columns);
    }
    buf_deinit(&targets->value);
}

bool seal_targets_finish(struct seal_targets *targets, struct err *err)
{
    for (size_t i = 0; i < targets->items.count; i++) {
        if (!target_finish(targets, &targets->items.items[i], err))
            return false;
    }
    targets_trim(targets);
    return true;
}

static uint32_t sealed_crc(uint64_t group_key, uint64_t slot)
{
    const uint64_t both[2] = {group_key, slot};
    return hash_crc32c(0, str_from((const char *)both, sizeof(both)));
}

void sealed_encode(uint64_t group_key, uint64_t slot, char out[SEALED_BYTES])
{
    uint32_t crc = sealed_crc(group_key, slot);
    memcpy(out, &slot, 8);
    memcpy(out + 8, &crc, 4);
}

bool sealed_decode(uint64_t group_key, struct str value, uint64_t *slot)
{
    struct reader in = reader_over(value);
    *slot = read_u64(&in);
    bool has_crc = in.at != in.end;
    return !in.bad && *slot <= NUMBER_MAX &&
           (!has_crc || (read_u32(&in) == sealed_crc(group_key, *slot) && in.at == in.end));
}

static bool put_mark(struct kv_write *write, const struct seal_mark *mark, struct err *err)
{
    char value[SEALED_BYTES];
    sealed_encode(mark->group_key, mark->slot, value);
    return kv_put(write, HEAD_SEALED, mark->group_key, str_from(value, sizeof(value)), err);
}

bool seal_mark(struct storage *storage, const struct seal_mark *marks, size_t count,
               uint64_t next_id, uint64_t next_slot, struct err *err)
{
    struct kv_write *write;
    bool good = true;
    if (!kv_write_begin(storage->head, &write, err))
        return false;
    for (size_t i = 0; i < count && good; i++)
        good = put_mark(write, &marks[i], err);
    if (good && kv_put(write, HEAD_META, META_NEXT_ID, str_from((const char *)&next_id, 8), err) &&
        kv_put(write, HEAD_META, META_NEXT_SLOT, str_from((const char *)&next_slot, 8), err))
        return kv_commit(write, err);
    kv_abort(write);
    return false;
}

void seal_targets_take_back(struct seal_targets *targets)
{
    VEC_EACH (target, &targets->items) {
        struct err ignored = {0};
        struct kv_write *write = NULL;
        bool good = true;
        target->write = NULL;
        if (target->entries.count == 0 || !kv_write_begin(target->partition->kv, &write, &ignored))
            continue;
        VEC_EACH (entry, &target->entries) {
            good = good && kv_delete(write, PARTITION_BUNDLES, entry->key, &ignored) &&
                   kv_delete(write, PARTITION_DIR, entry->key, &ignored);
        }
        if (good)
            good = kv_commit(write, &ignored);
        else
            kv_abort(write);
        if (!good)
            LOG_W("A failed seal could not be taken back", "err", ignored.text);
    }
}
