/* kv: see kv.h. MDB_MAP_FULL is told as ERR_NO_SPACE, like ENOSPC. */
#include "kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#ifdef __SANITIZE_THREAD__
#define MAP_BYTES (UINT64_C(1) << 30)
#else
#define MAP_BYTES (UINT64_C(64) << 30)
#endif
#define READERS_MAX 512

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLES_MAX];
    unsigned table_count;
    const char *const *table_names; /* Static. */
    char *path;
    _Atomic(struct kv *)
        spare; /* To read from once LMDB has given the first env up; made on the lane. */
};
struct kv_read {
    MDB_txn *txn;
    struct kv *kv;
};
struct kv_write {
    MDB_txn *txn;
    struct kv *kv;
};

static bool kv_err(struct err *err, const struct kv *kv, int code, const char *what)
{
    enum err_code kind = code == MDB_MAP_FULL || code == 28 /* ENOSPC */ ? ERR_NO_SPACE
                         : code == MDB_READERS_FULL                      ? ERR_LIMIT
                         : code < 0                                      ? ERR_CORRUPT
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

static int open_tables(struct kv *kv, const char *const *tables)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (code)
        return code;
    for (unsigned i = 0; i < kv->table_count && !code; i++)
        code = mdb_dbi_open(txn, tables[i], MDB_CREATE, &kv->tables[i]);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* LMDB maps a file and trusts its meta pages: one that is shorter than they say would end in
 * SIGBUS. Both metas stand in the first two pages: 16 bytes of page head, then magic, version,
 * address, map size, two tables of 48 bytes (the first begins with the page size), last page,
 * transaction id. */
static bool check_size(const char *path, struct err *err)
{
    uint64_t txn_best = 0, len_wanted = 0;
    uint32_t page_bytes = 4096;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0)
        return errno == ENOENT ? true : err_errno(err, errno, "open %s", path);
    bool good = fstat(fd, &info) == 0;
    for (off_t at = 0; good && info.st_size > 0 && at <= (off_t)page_bytes; at += page_bytes) {
        uint8_t head[16 + 136];
        uint32_t magic, page;
        uint64_t last_page, txn;
        good = pread(fd, head, sizeof(head), at) == (ssize_t)sizeof(head);
        memcpy(&magic, head + 16, 4);
        memcpy(&page, head + 16 + 24, 4);
        memcpy(&last_page, head + 16 + 120, 8);
        memcpy(&txn, head + 16 + 128, 8);
        good = good && magic == 0xBEEFC0DE && page >= 512 && page <= 65536 &&
               last_page < UINT64_MAX / 65536 - 1;
        if (!good)
            break;
        page_bytes = page;
        if (txn >= txn_best) {
            txn_best = txn;
            len_wanted = (last_page + 1) * page;
        }
    }
    close(fd);
    if (!good)
        return err_set(err, ERR_CORRUPT, "open %s: not an LMDB file, or its head is damaged", path);
    if ((uint64_t)info.st_size < len_wanted)
        return err_set(err, ERR_CORRUPT, "open %s: the file is cut short: %lld of %llu bytes", path,
                       (long long)info.st_size, (unsigned long long)len_wanted);
    return true;
}

bool kv_open(struct kv **out, const char *path, const char *const *tables, unsigned table_count,
             struct err *err)
{
    if (!check_size(path, err))
        return false;
    struct kv *kv = MEM_NEW(struct kv);
    int code, dead;
    ENSURE(table_count <= KV_TABLES_MAX);
    kv->path = str_dup(str_of(path));
    kv->table_count = table_count;
    kv->table_names = tables;
    code = mdb_env_create(&kv->env);
    if (!code)
        code = mdb_env_set_maxdbs(kv->env, KV_TABLES_MAX);
    if (!code)
        code = mdb_env_set_maxreaders(kv->env, READERS_MAX);
    if (!code)
        code = mdb_env_set_mapsize(kv->env, MAP_BYTES);
    if (!code)
        code = mdb_env_open(kv->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0644);
    if (!code)
        code = mdb_reader_check(kv->env, &dead);
    if (!code)
        code = open_tables(kv, tables);
    if (code) {
        kv_err(err, kv, code, "open");
        kv_close(kv);
        return false;
    }
    *out = kv;
    return true;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    kv_close(atomic_load(&kv->spare));
    if (kv->env)
        mdb_env_close(kv->env);
    mem_free(kv->path);
    mem_free(kv);
}

static int open_tables_to_read(struct kv *kv, const char *const *tables)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (code)
        return code;
    for (unsigned i = 0; i < kv->table_count && !code; i++)
        code = mdb_dbi_open(txn, tables[i], 0, &kv->tables[i]);
    if (!code)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

/* When the write of a meta page fails, LMDB refuses the env for good, to readers as well. What had
 * been committed is still there: a second env, which takes no locks and never writes, shows it
 * until the next start. */
static void open_spare(struct kv *kv)
{
    MDB_txn *txn;
    struct kv *spare;
    int code = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (code == 0)
        mdb_txn_abort(txn);
    if (code != MDB_PANIC || atomic_load(&kv->spare))
        return;
    spare = MEM_NEW(struct kv);
    spare->path = str_dup(str_of(kv->path));
    spare->table_count = kv->table_count;
    spare->table_names = kv->table_names;
    code = mdb_env_create(&spare->env);
    if (!code)
        code = mdb_env_set_maxdbs(spare->env, KV_TABLES_MAX);
    if (!code)
        code = mdb_env_set_mapsize(spare->env, MAP_BYTES);
    if (!code)
        code =
            mdb_env_open(spare->env, kv->path,
                         MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | MDB_RDONLY | MDB_NOLOCK, 0644);
    if (!code)
        code = open_tables_to_read(spare, kv->table_names);
    if (code)
        kv_close(spare);
    else
        atomic_store_explicit(&kv->spare, spare, memory_order_release);
}

bool kv_read_begin(struct kv *kv, struct kv_read **out, struct err *err)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    struct kv *spare =
        code == MDB_PANIC ? atomic_load_explicit(&kv->spare, memory_order_acquire) : NULL;
    if (spare)
        return kv_read_begin(spare, out, err);
    if (code)
        return kv_err(err, kv, code, "read");
    *out = MEM_NEW(struct kv_read);
    (*out)->txn = txn;
    (*out)->kv = kv;
    return true;
}

void kv_read_end(struct kv_read *read)
{
    if (!read)
        return;
    mdb_txn_abort(read->txn);
    mem_free(read);
}

bool kv_get(struct kv_read *read, unsigned table, uint64_t key, bool *found, struct str *value,
            struct err *err)
{
    uint8_t bytes[8];
    MDB_val key_val, data;
    key_encode(key, bytes);
    key_val = key_value(bytes);
    int code = mdb_get(read->txn, read->kv->tables[table], &key_val, &data);
    *found = code == 0;
    if (code && code != MDB_NOTFOUND)
        return kv_err(err, read->kv, code, "read");
    if (*found)
        *value = str_from(data.mv_data, data.mv_size);
    return true;
}

bool kv_each(struct kv_read *read, unsigned table, kv_each_fn fn, void *ctx, struct err *err)
{
    MDB_cursor *cursor;
    MDB_val key, data;
    bool good = true;
    int code = mdb_cursor_open(read->txn, read->kv->tables[table], &cursor);
    if (code)
        return kv_err(err, read->kv, code, "read");
    for (code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST); !code && good;) {
        good = fn(ctx, key_decode(&key), str_from(data.mv_data, data.mv_size), err);
        if (good)
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (good && code && code != MDB_NOTFOUND)
        return kv_err(err, read->kv, code, "read");
    return good;
}

bool kv_write_begin(struct kv *kv, struct kv_write **out, struct err *err)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (code)
        return kv_err(err, kv, code, "write");
    *out = MEM_NEW(struct kv_write);
    (*out)->txn = txn;
    (*out)->kv = kv;
    return true;
}

bool kv_put(struct kv_write *write, unsigned table, uint64_t key, struct str value, struct err *err)
{
    uint8_t bytes[8];
    MDB_val data = {.mv_size = value.len, .mv_data = (void *)(uintptr_t)value.ptr};
    key_encode(key, bytes);
    MDB_val key_val = key_value(bytes);
    int code = mdb_put(write->txn, write->kv->tables[table], &key_val, &data, 0);
    return code ? kv_err(err, write->kv, code, "write") : true;
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
    int code = mdb_txn_commit(write->txn);
    mem_free(write);
    if (code)
        open_spare(kv);
    return code ? kv_err(err, kv, code, "commit") : true;
}

void kv_abort(struct kv_write *write)
{
    if (!write)
        return;
    mdb_txn_abort(write->txn);
    mem_free(write);
}
