/* kv_tools: an environment as a whole: copied, measured, watched, its pages given back. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kv.h"
#include "kv_private.h"

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
    kv_users_enter(kv);
    int code = kv->env ? mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn) : MDB_PANIC;
    if (code) {
        kv_users_leave(kv);
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
        kv->begin = *base;
        kv->end = kv->begin + kv->map_bytes;
    }
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    kv_users_leave(kv);
    return code ? kv_err(err, kv, code, "read") : true;
}

bool kv_copy(struct kv *kv, const char *path, bool compact, struct err *err)
{
    kv_users_enter(kv);
    int code = kv->env ? mdb_env_copy2(kv->env, path, compact ? MDB_CP_COMPACT : 0) : MDB_PANIC;
    kv_users_leave(kv);
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
    kv_users_enter(kv);
    int code = kv->env ? watch_readers(kv, out, &dead) : MDB_PANIC;
    kv_users_leave(kv);
    return code ? kv_err(err, kv, code, "watch") : true;
}
