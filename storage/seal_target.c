/* seal_target: see seal_target.h. */
#include "seal_target.h"

#include <string.h>

#include "base/log.h"

#define TXN_BYTES_MAX ((size_t)16 << 20)

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
        kv_abort(target->write);
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
    target->write_bytes += targets->value.len;
    VEC_PUSH(&target->entries, entry);
    target->next_key++;
    target_next_bundle(targets, target);
    return true;
}

static bool target_begin(struct seal_target *target, struct err *err)
{
    bool found;
    uint64_t last = 0;
    if (!kv_write_begin(target->partition->kv, &target->write, err))
        return false;
    target->write_bytes = 0;
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

static bool target_commit(struct seal_targets *targets, struct seal_target *target, struct err *err)
{
    struct kv_write *write = target->write;
    if (!bundle_flush(targets, target, err) || !put_dir(targets, target, err))
        return false;
    target->write = NULL;
    return kv_commit(write, err);
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
    bundle_writer_init(&target.bundle);
    VEC_RESERVE(&target.columns, targets->column_count + 1);
    target.columns.count = targets->column_count + 1;
    target_next_bundle(targets, &target);
    VEC_PUSH(&targets->items, target);
    *out = &targets->items.items[targets->items.count - 1];
    return target_begin(*out, err);
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
    series_labels_encode(labels, series_labels(targets->storage, series, labels), &row);
    bool good = kv_put(target->write, PARTITION_SERIES, series->id, buf_str(&row), err);
    target->write_bytes += row.len;
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
    if (target->write_bytes < TXN_BYTES_MAX)
        return true;
    return target_commit(targets, target, err) && target_begin(target, err);
}

bool seal_targets_commit(struct seal_targets *targets, struct err *err)
{
    for (size_t i = 0; i < targets->items.count; i++) {
        if (!target_commit(targets, &targets->items.items[i], err))
            return false;
    }
    return true;
}

bool seal_mark(struct storage *storage, uint64_t group_key, uint64_t slot, uint64_t next_id,
               uint64_t next_slot, struct err *err)
{
    struct kv_write *write;
    uint64_t numbers[3] = {slot, next_id, next_slot};
    if (!kv_write_begin(storage->head, &write, err))
        return false;
    if (kv_put(write, HEAD_SEALED, group_key, str_from((const char *)&numbers[0], 8), err) &&
        kv_put(write, HEAD_META, META_NEXT_ID, str_from((const char *)&numbers[1], 8), err) &&
        kv_put(write, HEAD_META, META_NEXT_SLOT, str_from((const char *)&numbers[2], 8), err))
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
        kv_abort(target->write);
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
