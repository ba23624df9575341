/* kv: see kv.h. MDB_MAP_FULL is told as ERR_NO_SPACE, like ENOSPC. */
#include "kv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "file.h"
#include "guard.h"

#ifdef __SANITIZE_THREAD__
#define MAP_BYTES (UINT64_C(1) << 30)
#else
#define MAP_BYTES (UINT64_C(64) << 30)
#endif
#define READERS_MAX   512
#define ALONE         (INT32_MIN / 2)
#define ALONE_WAIT_MS 100

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLES_MAX];
    unsigned table_count;
    const char *const *table_names; /* Static. */
    char *path;
    uint64_t map_bytes;
    bool is_builder;
    struct guard_map guard; /* Of what kv_open has mapped. */
    _Atomic(struct kv *)
        spare; /* To read from once LMDB has given the first env up; made on the lane. */
    _Atomic int32_t
        users; /* Who reads now, through the spare too; from ALONE on: the env is made anew. */
};
/* Cursors are kept here and not in locals: a fault in the map may end a call by a jump (guard.h). */
struct kv_read {
    MDB_txn *txn;
    struct kv *kv;                     /* Whose env it is: the spare's maybe. */
    struct kv *used;                   /* Whose user it is. */
    MDB_cursor *floors[KV_TABLES_MAX]; /* Of kv_floor; NULL: not used yet. */
    MDB_cursor *walk;                  /* Of kv_each. */
};
struct kv_write {
    MDB_txn *txn;
    struct kv *kv;
};

/* What LMDB writes does not pass through file.h; a test can still make it fail where it would write. */
static int kv_fault(const struct kv *kv, enum file_op op)
{
    size_t len = 0;
    return kv->is_builder && file_faults ? file_faults(op, kv->path, &len) : 0;
}

static bool kv_fault_err(struct err *err, const struct kv *kv)
{
    return err_set(err, ERR_CORRUPT, "read %s: a page is damaged or cannot be read", kv->path);
}

static bool kv_err(struct err *err, const struct kv *kv, int code, const char *what)
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

static void nap(void)
{
    struct timespec nap = {.tv_nsec = 1000 * 1000};
    nanosleep(&nap, NULL);
}

/* Before the env is looked at, but by the lane that writes. */
static void users_enter(struct kv *kv)
{
    while (atomic_fetch_add_explicit(&kv->users, 1, memory_order_acquire) < 0) {
        atomic_fetch_sub_explicit(&kv->users, 1, memory_order_relaxed);
        nap();
    }
}

static void users_leave(struct kv *kv)
{
    atomic_fetch_sub_explicit(&kv->users, 1, memory_order_release);
}

/* Until users_end_alone nobody reads. False when somebody does so for longer than a look-up takes. */
static bool users_begin_alone(struct kv *kv)
{
    for (int waited_ms = 0; waited_ms < ALONE_WAIT_MS; waited_ms++) {
        int32_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&kv->users, &none, ALONE, memory_order_acq_rel,
                                                    memory_order_relaxed))
            return true;
        nap();
    }
    return false;
}

static void users_end_alone(struct kv *kv)
{
    atomic_fetch_sub_explicit(&kv->users, ALONE, memory_order_release);
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
static bool read_metas(int fd, uint64_t *pages, uint32_t *page_bytes)
{
    uint64_t txn_best = 0;
    *page_bytes = 4096;
    *pages = 0;
    for (off_t at = 0; at <= (off_t)*page_bytes; at += *page_bytes) {
        uint8_t head[16 + 136];
        uint32_t magic, page;
        uint64_t last_page, txn;
        if (pread(fd, head, sizeof(head), at) != (ssize_t)sizeof(head))
            return false;
        memcpy(&magic, head + 16, 4);
        memcpy(&page, head + 16 + 24, 4);
        memcpy(&last_page, head + 16 + 120, 8);
        memcpy(&txn, head + 16 + 128, 8);
        if (magic != 0xBEEFC0DE || page < 512 || page > 65536 ||
            last_page >= UINT64_MAX / 65536 - 1)
            return false;
        *page_bytes = page;
        if (txn >= txn_best) {
            txn_best = txn;
            *pages = last_page + 1;
        }
    }
    return true;
}

bool kv_file_pages(const char *path, uint64_t *pages, uint32_t *page_bytes, uint64_t *file_len,
                   struct err *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *pages = *file_len = *page_bytes = 0;
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    bool good = fstat(fd, &info) == 0;
    if (good && info.st_size > 0)
        good = read_metas(fd, pages, page_bytes);
    close(fd);
    if (!good)
        return err_set(err, ERR_CORRUPT, "open %s: not an LMDB file, or its head is damaged", path);
    *file_len = (uint64_t)info.st_size;
    return true;
}

static bool check_size(const char *path, struct err *err)
{
    uint64_t pages, file_len;
    uint32_t page_bytes;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return true;
    if (!kv_file_pages(path, &pages, &page_bytes, &file_len, err))
        return false;
    if (file_len / (page_bytes ? page_bytes : 1) < pages)
        return err_set(err, ERR_CORRUPT,
                       "open %s: the file is cut short: %" PRIu64 " of %" PRIu64 " bytes", path,
                       file_len, pages * page_bytes);
    return true;
}

/* Page head: u64 number, u16 unused, u16 flags, then of overflow pages u32 how many. */
uint32_t kv_page_overflow(const uint8_t head[KV_PAGE_HEAD])
{
    uint16_t flags;
    uint32_t count;
    memcpy(&flags, head + 10, 2);
    memcpy(&count, head + 12, 4);
    return flags & 4 ? count : 0;
}

static struct kv *kv_new(const char *path, const char *const *tables, unsigned table_count,
                         uint64_t map_bytes)
{
    struct kv *kv = MEM_NEW(struct kv);
    ENSURE(table_count <= KV_TABLES_MAX);
    kv->path = str_dup(str_of(path));
    kv->table_count = table_count;
    kv->table_names = tables;
    kv->map_bytes = map_bytes;
    return kv;
}

static int open_env(struct kv *kv, unsigned flags)
{
    int code = mdb_env_create(&kv->env);
    if (!code)
        code = mdb_env_set_maxdbs(kv->env, KV_TABLES_MAX);
    if (!code)
        code = mdb_env_set_maxreaders(kv->env, READERS_MAX);
    if (!code)
        code = mdb_env_set_mapsize(kv->env, kv->map_bytes);
    if (!code)
        code =
            mdb_env_open(kv->env, kv->path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | flags, 0644);
    return code;
}

/* LMDB finds bytes that cannot be: a read in progress ends like one of a bad page. */
static void on_assert(MDB_env *env, const char *text)
{
    struct kv *kv = mdb_env_get_userctx(env);
    (void)text;
    guard_escape(&kv->guard);
}

/* Where the file is mapped: LMDB does not tell, and its pages are not to be believed yet. */
static const void *map_base(const char *path)
{
    struct stat info;
    char line[512];
    const void *base = NULL;
    FILE *maps = stat(path, &info) == 0 ? fopen("/proc/self/maps", "re") : NULL;
    while (maps && !base && fgets(line, sizeof(line), maps)) {
        unsigned long long begin, end, offset, inode;
        unsigned major_number, minor_number;
        if (sscanf(line, "%llx-%llx %*4s %llx %x:%x %llu", &begin, &end, &offset, &major_number,
                   &minor_number, &inode) == 6 &&
            offset == 0 && inode == info.st_ino &&
            makedev(major_number, minor_number) == info.st_dev)
            base = (const void *)(uintptr_t)begin;
    }
    if (maps)
        fclose(maps);
    return base;
}

static void guard_begin(struct kv *kv)
{
    const void *base = map_base(kv->path);
    (void)mdb_env_set_userctx(kv->env, kv);
    (void)mdb_env_set_assert(kv->env, on_assert);
    if (base)
        guard_map_add(&kv->guard, base, kv->map_bytes);
}

bool kv_open(struct kv **out, const char *path, const char *const *tables, unsigned table_count,
             struct err *err)
{
    int dead;
    if (!check_size(path, err))
        return false;
    struct kv *kv = kv_new(path, tables, table_count, MAP_BYTES);
    int code = open_env(kv, 0);
    if (!code)
        guard_begin(kv);
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

bool kv_open_builder(struct kv **out, const char *path, const char *const *tables,
                     unsigned table_count, uint64_t map_bytes, struct err *err)
{
    struct kv *kv = kv_new(path, tables, table_count, map_bytes);
    kv->is_builder = true;
    int code = access(path, F_OK) == 0 ? EEXIST : kv_fault(kv, FILE_OPEN);
    if (!code)
        code = open_env(kv, MDB_NOLOCK | MDB_NOSYNC);
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
    guard_map_remove(&kv->guard);
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

bool kv_open_published(struct kv **out, const char *path, const char *const *tables,
                       unsigned table_count, uint64_t pages, uint32_t page_bytes, struct err *err)
{
    struct kv *kv = kv_new(path, tables, table_count, pages * page_bytes);
    int code = open_env(kv, MDB_RDONLY | MDB_NOLOCK);
    if (!code)
        code = open_tables_to_read(kv, tables);
    if (code) {
        kv_err(err, kv, code, "open");
        kv_close(kv);
        return false;
    }
    *out = kv;
    return true;
}

/* When the write of a meta page fails, LMDB refuses the env for good, to readers as well. What had
 * been committed is still there: a second env, which takes no locks and never writes, shows it
 * until the first can be made anew (renew). */
static void open_spare(struct kv *kv)
{
    if (atomic_load(&kv->spare))
        return;
    struct kv *spare = kv_new(kv->path, kv->table_names, kv->table_count, kv->map_bytes);
    int code = open_env(spare, MDB_RDONLY | MDB_NOLOCK);
    if (!code)
        code = open_tables_to_read(spare, kv->table_names);
    if (code)
        kv_close(spare);
    else
        atomic_store_explicit(&kv->spare, spare, memory_order_release);
}

static bool is_given_up(struct kv *kv)
{
    MDB_txn *txn;
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn) : MDB_PANIC;
    if (code == 0)
        mdb_txn_abort(txn);
    return code == MDB_PANIC;
}

/* An env that LMDB has given up is closed and opened again, between two readers: nobody may still stand on pages of the old
 * one or of the spare when the new one writes. False when somebody does, or when the disk does not let it: the
 * next write tries again. */
static bool renew(struct kv *kv, struct err *err)
{
    int dead;
    if (!users_begin_alone(kv))
        return err_set(err, ERR_IO, "write %s: it waits for its readers to be opened anew",
                       kv->path);
    kv_close(atomic_exchange(&kv->spare, NULL));
    guard_map_remove(&kv->guard);
    if (kv->env)
        mdb_env_close(kv->env);
    kv->env = NULL;
    bool good = check_size(kv->path, err);
    int code = good ? open_env(kv, 0) : 0;
    if (good && !code) {
        guard_begin(kv);
        code = mdb_reader_check(kv->env, &dead);
    }
    if (good && !code)
        code = open_tables(kv, kv->table_names);
    if (good && !code) {
        LOG_I("File is opened anew after an error", "file", kv->path);
    } else {
        guard_map_remove(&kv->guard);
        if (kv->env)
            mdb_env_close(kv->env);
        kv->env = NULL;
        open_spare(kv);
    }
    users_end_alone(kv);
    return code ? kv_err(err, kv, code, "open") : good;
}

bool kv_read_begin(struct kv *kv, struct kv_read **out, struct err *err)
{
    MDB_txn *txn;
    users_enter(kv);
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn) : MDB_PANIC;
    struct kv *spare =
        code == MDB_PANIC ? atomic_load_explicit(&kv->spare, memory_order_acquire) : NULL;
    if (spare)
        code = mdb_txn_begin(spare->env, NULL, MDB_RDONLY, &txn);
    if (code) {
        users_leave(kv);
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
    users_leave(read->used);
    mem_free(read);
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
    get->code = mdb_get(get->read->txn, get->read->kv->tables[get->table], &get->key, &get->data);
}

bool kv_get(struct kv_read *read, unsigned table, uint64_t key, bool *found, struct str *value,
            struct err *err)
{
    uint8_t bytes[8];
    struct guarded_get get = {.read = read, .table = table};
    key_encode(key, bytes);
    get.key = key_value(bytes);
    *found = false;
    if (!guard_run(&read->kv->guard, run_get, &get))
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
    code = mdb_cursor_get(cursor, &key_val, &data, MDB_SET_RANGE);
    if (code == MDB_NOTFOUND)
        code = mdb_cursor_get(cursor, &key_val, &data, MDB_LAST);
    else if (code == 0 && key_decode(&key_val) != key)
        code = mdb_cursor_get(cursor, &key_val, &data, MDB_PREV);
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
        if (!renew(kv, err))
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
    if (code && is_given_up(kv))
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

void kv_let_go(struct kv *kv)
{
    if (kv->guard.begin)
        (void)madvise((void *)(uintptr_t)kv->guard.begin, (size_t)(kv->guard.end - kv->guard.begin),
                      MADV_DONTNEED);
}

/* LMDB does not tell: but a name of the main table stands in a page that begins with its own number. */
bool kv_map(struct kv *kv, const void **base, uint64_t *len, struct err *err)
{
    MDB_txn *txn;
    MDB_dbi names;
    MDB_cursor *cursor = NULL;
    MDB_stat stat_now;
    MDB_val key, data;
    users_enter(kv);
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn) : MDB_PANIC;
    if (code) {
        users_leave(kv);
        return kv_err(err, kv, code, "read");
    }
    code = mdb_dbi_open(txn, NULL, 0, &names);
    if (!code)
        code = mdb_stat(txn, names, &stat_now);
    if (!code)
        code = mdb_cursor_open(txn, names, &cursor);
    if (!code)
        code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    if (!code) {
        const char *page = key.mv_data;
        uint64_t number;
        page -= (uintptr_t)page % stat_now.ms_psize;
        memcpy(&number, page, 8);
        *base = page - number * stat_now.ms_psize;
        *len = kv->map_bytes;
    }
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    users_leave(kv);
    return code ? kv_err(err, kv, code, "read") : true;
}

bool kv_copy(struct kv *kv, const char *path, bool compact, struct err *err)
{
    users_enter(kv);
    int code = kv->env ? mdb_env_copy2(kv->env, path, compact ? MDB_CP_COMPACT : 0) : MDB_PANIC;
    users_leave(kv);
    int fd = code ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (!code && (fd < 0 || fsync(fd) != 0))
        code = errno;
    if (fd >= 0)
        close(fd);
    if (code && code != EEXIST)
        (void)unlink(path);
    return code ? kv_err(err, kv, code, "copy") : true;
}

/* LMDB tells the reader table as lines of text: process, thread, transaction ("-": idle). */
struct reader_lines {
    uint32_t count;
    uint64_t oldest;
};

static int see_reader(const char *line, void *ctx)
{
    struct reader_lines *lines = ctx;
    uint64_t txn;
    if (sscanf(line, "%*d %*x %" SCNu64, &txn) == 1) {
        lines->count++;
        lines->oldest = txn < lines->oldest ? txn : lines->oldest;
    }
    return 0;
}

static int watch_readers(struct kv *kv, struct kv_readers *out, int *dead)
{
    struct reader_lines lines = {.oldest = UINT64_MAX};
    MDB_envinfo info;
    int code = mdb_reader_check(kv->env, dead);
    if (!code)
        code = mdb_env_info(kv->env, &info);
    if (!code && mdb_reader_list(kv->env, see_reader, &lines) < 0)
        code = EIO;
    if (code)
        return code;
    *out = (struct kv_readers){.count = lines.count, .dead = (uint32_t)*dead};
    if (lines.count > 0 && lines.oldest < info.me_last_txnid) {
        out->commits_behind = info.me_last_txnid - lines.oldest;
        out->oldest = lines.oldest;
    }
    return 0;
}

bool kv_watch_readers(struct kv *kv, struct kv_readers *out, struct err *err)
{
    int dead = 0;
    users_enter(kv);
    int code = kv->env ? watch_readers(kv, out, &dead) : MDB_PANIC;
    users_leave(kv);
    return code ? kv_err(err, kv, code, "watch") : true;
}
