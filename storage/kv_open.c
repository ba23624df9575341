/* kv_open: environments are opened, closed and, when LMDB has given one up, opened anew. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "kv.h"
#include "kv_private.h"

#ifdef __SANITIZE_THREAD__
#define MAP_BYTES (UINT64_C(1) << 30)
/* A slot that lies in several partitions is written in a transaction of each at once, in the order of its samples, and each
 * holds its file's write lock. That is no deadlock: but for a start and an import, which are alone, there is one writer, the
 * commit lane, and a second process is kept out by the lock of the directory. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "deadlock:liblmdb.so\n";
}
#else
#define MAP_BYTES (UINT64_C(64) << 30)
#endif
#define ALONE         (INT32_MIN / 2)
#define ALONE_WAIT_MS 100

static void nap(void)
{
    struct timespec nap = {.tv_nsec = 1000 * 1000};
    nanosleep(&nap, NULL);
}

/* Before the env is looked at, but by the lane that writes. */
void kv_users_enter(struct kv *kv)
{
    while (atomic_fetch_add_explicit(&kv->users, 1, memory_order_acquire) < 0) {
        atomic_fetch_sub_explicit(&kv->users, 1, memory_order_relaxed);
        nap();
    }
}

void kv_users_leave(struct kv *kv)
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
        code = mdb_env_set_maxreaders(kv->env, KV_READERS_MAX);
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
    kv->begin = base;
    kv->end = base ? kv->begin + kv->map_bytes : NULL;
    if (base)
        guard_map_add(&kv->guard, base, kv->map_bytes);
}

bool kv_open(struct kv **out, const char *path, const char *const *tables, unsigned table_count,
             struct err *err)
{
    int dead;
    if (!kv_file_check(path, tables, table_count, err) || !kv_file_reserve_lock(path, err))
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
void kv_open_spare(struct kv *kv)
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

bool kv_is_given_up(struct kv *kv)
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
bool kv_renew(struct kv *kv, struct err *err)
{
    int dead;
    if (!users_begin_alone(kv))
        return err_set(err, ERR_IO, "write %s: it waits for its readers to be opened anew",
                       kv->path);
    kv_close(atomic_exchange(&kv->spare, NULL));
    guard_map_remove(&kv->guard);
    kv->begin = kv->end = NULL;
    if (kv->env)
        mdb_env_close(kv->env);
    kv->env = NULL;
    bool good = kv_file_check(kv->path, kv->table_names, kv->table_count, err) &&
                kv_file_reserve_lock(kv->path, err);
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
        kv_open_spare(kv);
    }
    users_end_alone(kv);
    return code ? kv_err(err, kv, code, "open") : good;
}
