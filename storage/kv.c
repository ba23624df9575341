/* kv: see kv.h. MDB_MAP_FULL is told as ERR_NO_SPACE, like ENOSPC. */
#include "kv.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "kv_private.h"

/* What LMDB writes does not pass through file.h; a test can still make it fail where it would write. */
int kv_fault(const struct kv *kv, enum file_op op)
{
    size_t len = 0;
    return kv->is_builder && file_faults ? file_faults(op, kv->path, &len) : 0;
}

static bool kv_fault_err(struct err *err, const struct kv *kv)
{
    return err_set(err, ERR_CORRUPT, "read %s: a page is damaged or cannot be read", kv->path);
}

bool kv_err(struct err *err, const struct kv *kv, int code, const char *what)
{
    enum err_code kind = code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT ? ERR_NO_SPACE
                         : code == MDB_READERS_FULL                               ? ERR_LIMIT
                         : code < 0                                               ? ERR_CORRUPT
                                                                                  : ERR_IO;
    return err_set(err, kind, "%s %s: %s", what, kv->path, mdb_strerror(code));
}

static MDB_val key_value(const uint8_t bytes[8])
{
    return (MDB_val){.mv_size = 8, .mv_data = (void *)(uintptr_t)bytes};
}

static void key_encode(uint64_t key, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(key >> (56 - 8 * i));
}

static uint64_t key_decode(const MDB_val *value)
{
    uint64_t key = 0;
    const uint8_t *bytes = value->mv_data;
    for (size_t i = 0; i < 8 && value->mv_size == 8; i++)
        key = key << 8 | bytes[i];
    return key;
}

bool kv_read_begin(struct kv *kv, struct kv_read **out, struct err *err)
{
    MDB_txn *txn;
    kv_users_enter(kv);
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn) : MDB_PANIC;
    struct kv *spare =
        code == MDB_PANIC ? atomic_load_explicit(&kv->spare, memory_order_acquire) : NULL;
    if (spare)
        code = mdb_txn_begin(spare->env, NULL, MDB_RDONLY, &txn);
    if (code) {
        kv_users_leave(kv);
        return kv_err(err, kv, code, "read");
    }
    *out = MEM_NEW(struct kv_read);
    (*out)->txn = txn;
    (*out)->kv = spare ? spare : kv;
    (*out)->used = kv;
    return true;
}

void kv_read_end(struct kv_read *read)
{
    if (!read)
        return;
    for (unsigned i = 0; i < KV_TABLES_MAX; i++) {
        if (read->floors[i])
            mdb_cursor_close(read->floors[i]);
    }
    if (read->walk)
        mdb_cursor_close(read->walk);
    mdb_txn_abort(read->txn);
    kv_users_leave(read->used);
    mem_free(read);
}

/* An entry of a damaged page may say that its value lies anywhere. */
static bool is_in_map(const struct kv *kv, const MDB_val *value)
{
    const char *at = value->mv_data;
    return !kv->begin ||
           (at >= kv->begin && at <= kv->end && value->mv_size <= (size_t)(kv->end - at));
}

/* One look-up, guarded: a damaged tree page may send LMDB anywhere in its map. */
struct guarded_get {
    struct kv_read *read;
    unsigned table;
    MDB_val key, data;
    int code;
};

static void run_get(void *ctx)
{
    struct guarded_get *get = ctx;
    guard_set_in_library(true);
    get->code = mdb_get(get->read->txn, get->read->kv->tables[get->table], &get->key, &get->data);
    guard_set_in_library(false);
}

bool kv_get(struct kv_read *read, unsigned table, uint64_t key, bool *found, struct str *value,
            struct err *err)
{
    uint8_t bytes[8];
    struct guarded_get get = {.read = read, .table = table};
    key_encode(key, bytes);
    get.key = key_value(bytes);
    *found = false;
    if (!guard_run(&read->kv->guard, run_get, &get) ||
        (get.code == 0 && !is_in_map(read->kv, &get.data)))
        return kv_fault_err(err, read->kv);
    *found = get.code == 0;
    if (get.code && get.code != MDB_NOTFOUND)
        return kv_err(err, read->kv, get.code, "read");
    if (*found)
        *value = str_from(get.data.mv_data, get.data.mv_size);
    return true;
}

/* A look at the table first: LMDB reads its root then, and not after it has allocated the cursor. */
static int cursor_open(struct kv_read *read, unsigned table, MDB_cursor **out)
{
    MDB_stat ignored;
    int code = mdb_stat(read->txn, read->kv->tables[table], &ignored);
    return code ? code : mdb_cursor_open(read->txn, read->kv->tables[table], out);
}

bool kv_floor(struct kv_read *read, unsigned table, uint64_t key, bool *found, uint64_t *found_key,
              struct str *value, struct err *err)
{
    uint8_t bytes[8];
    MDB_val key_val, data;
    key_encode(key, bytes);
    key_val = key_value(bytes);
    *found = false;
    int code = read->floors[table] ? 0 : cursor_open(read, table, &read->floors[table]);
    if (code)
        return kv_err(err, read->kv, code, "read");
    MDB_cursor *cursor = read->floors[table];
    guard_set_in_library(true);
    code = mdb_cursor_get(cursor, &key_val, &data, MDB_SET_RANGE);
    if (code == MDB_NOTFOUND)
        code = mdb_cursor_get(cursor, &key_val, &data, MDB_LAST);
    else if (code == 0 && key_decode(&key_val) != key)
        code = mdb_cursor_get(cursor, &key_val, &data, MDB_PREV);
    guard_set_in_library(false);
    if (code == 0 && (!is_in_map(read->kv, &key_val) || !is_in_map(read->kv, &data)))
        return kv_fault_err(err, read->kv);
    *found = code == 0;
    if (*found) {
        *found_key = key_decode(&key_val);
        *value = str_from(data.mv_data, data.mv_size);
    }
    return code && code != MDB_NOTFOUND ? kv_err(err, read->kv, code, "read") : true;
}

/* One step of a walk, guarded. */
struct guarded_step {
    struct kv_read *read;
    unsigned table;
    bool first;
    MDB_val key, data;
    int code;
};

static void run_step(void *ctx)
{
    struct guarded_step *step = ctx;
    step->code = step->first ? cursor_open(step->read, step->table, &step->read->walk) : 0;
    if (!step->code)
        step->code = mdb_cursor_get(step->read->walk, &step->key, &step->data,
                                    step->first ? MDB_FIRST : MDB_NEXT);
}

bool kv_each(struct kv_read *read, unsigned table, kv_each_fn fn, void *ctx, struct err *err)
{
    MDB_cursor *outer = read->walk; /* fn may walk as well. */
    struct guarded_step step = {.read = read, .table = table, .first = true};
    bool good = true, fault = false;
    read->walk = NULL;
    while (good) {
        fault = !guard_run(&read->kv->guard, run_step, &step);
        fault = fault || (step.code == 0 &&
                          (!is_in_map(read->kv, &step.key) || !is_in_map(read->kv, &step.data)));
        if (fault || step.code)
            break;
        step.first = false;
        MDB_cursor *walk = read->walk;
        good = fn(ctx, key_decode(&step.key), str_from(step.data.mv_data, step.data.mv_size), err);
        read->walk = walk;
    }
    if (read->walk)
        mdb_cursor_close(read->walk);
    read->walk = outer;
    if (fault)
        return kv_fault_err(err, read->kv);
    if (good && step.code && step.code != MDB_NOTFOUND)
        return kv_err(err, read->kv, step.code, "read");
    return good;
}

bool kv_write_begin(struct kv *kv, struct kv_write **out, struct err *err)
{
    MDB_txn *txn;
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, 0, &txn) : MDB_PANIC;
    if (code == MDB_PANIC) {
        if (!kv_renew(kv, err))
            return false;
        code = mdb_txn_begin(kv->env, NULL, 0, &txn);
    }
    if (code)
        return kv_err(err, kv, code, "write");
    *out = MEM_NEW(struct kv_write);
    (*out)->txn = txn;
    (*out)->kv = kv;
    return true;
}

static bool put(struct kv_write *write, unsigned table, uint64_t key, struct str value,
                unsigned flags, struct err *err)
{
    uint8_t bytes[8];
    MDB_val data = {.mv_size = value.len, .mv_data = (void *)(uintptr_t)value.ptr};
    key_encode(key, bytes);
    MDB_val key_val = key_value(bytes);
    int code = mdb_put(write->txn, write->kv->tables[table], &key_val, &data, flags);
    return code ? kv_err(err, write->kv, code, "write") : true;
}

bool kv_put(struct kv_write *write, unsigned table, uint64_t key, struct str value, struct err *err)
{
    return put(write, table, key, value, 0, err);
}

bool kv_append(struct kv_write *write, unsigned table, uint64_t key, struct str value,
               struct err *err)
{
    return put(write, table, key, value, MDB_APPEND, err);
}

bool kv_has(struct kv_write *write, unsigned table, uint64_t key, bool *found, struct err *err)
{
    uint8_t bytes[8];
    MDB_val data;
    key_encode(key, bytes);
    MDB_val key_val = key_value(bytes);
    int code = mdb_get(write->txn, write->kv->tables[table], &key_val, &data);
    *found = code == 0;
    return code && code != MDB_NOTFOUND ? kv_err(err, write->kv, code, "read") : true;
}

bool kv_delete(struct kv_write *write, unsigned table, uint64_t key, struct err *err)
{
    uint8_t bytes[8];
    key_encode(key, bytes);
    MDB_val key_val = key_value(bytes);
    int code = mdb_del(write->txn, write->kv->tables[table], &key_val, NULL);
    return code && code != MDB_NOTFOUND ? kv_err(err, write->kv, code, "delete") : true;
}

bool kv_last_key(struct kv_write *write, unsigned table, bool *found, uint64_t *key,
                 struct err *err)
{
    MDB_cursor *cursor;
    MDB_val key_val, data;
    int code = mdb_cursor_open(write->txn, write->kv->tables[table], &cursor);
    if (code)
        return kv_err(err, write->kv, code, "read");
    code = mdb_cursor_get(cursor, &key_val, &data, MDB_LAST);
    *found = code == 0;
    if (*found)
        *key = key_decode(&key_val);
    mdb_cursor_close(cursor);
    return code && code != MDB_NOTFOUND ? kv_err(err, write->kv, code, "read") : true;
}

bool kv_commit(struct kv_write *write, struct err *err)
{
    struct kv *kv = write->kv;
    int code = kv_fault(kv, FILE_WRITE);
    if (code)
        mdb_txn_abort(write->txn);
    else
        code = mdb_txn_commit(write->txn);
    mem_free(write);
    if (code && kv_is_given_up(kv))
        kv_open_spare(kv);
    return code ? kv_err(err, kv, code, "commit") : true;
}

void kv_abort(struct kv_write *write)
{
    if (!write)
        return;
    mdb_txn_abort(write->txn);
    mem_free(write);
}
