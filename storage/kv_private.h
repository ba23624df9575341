/* kv_private: what the files of the LMDB fence share. */
#ifndef STORAGE_KV_PRIVATE_H
#define STORAGE_KV_PRIVATE_H

#include <lmdb.h>
#include <stdatomic.h>

#include "file.h"
#include "guard.h"
#include "kv.h"

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLES_MAX];
    unsigned table_count;
    const char *const *table_names; /* Static. */
    char *path;
    uint64_t map_bytes;
    bool is_builder;
    struct guard_map guard; /* Of what kv_open has mapped. */
    const char *begin, *end; /* Of the map, where that is known. */
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

/* kv_file.c: a file that is shorter than its meta pages say would end in SIGBUS. One that is not there is good. */
MUST_CHECK bool kv_file_check(const char *path, const char *const *names, unsigned name_count,
                              struct err *err);

/* The lock file has its bytes on the disk: 64 for each reader, of which its head has one. */
#define KV_READERS_MAX 512
#define KV_LOCK_BYTES  ((uint64_t)(KV_READERS_MAX - 1) * 64 + 192)
MUST_CHECK bool kv_file_reserve_lock(const char *path, struct err *err);

/* kv_check.c: the trees of the newest commit are whole. */
MUST_CHECK bool kv_check(const char *path, uint64_t pages, uint32_t page_bytes,
                         const char *const *names, unsigned name_count, struct err *err);

/* kv_open.c: between enter and leave the env is not made anew under a reader. */
void kv_users_enter(struct kv *kv);
void kv_users_leave(struct kv *kv);
bool kv_is_given_up(struct kv *kv);
void kv_open_spare(struct kv *kv);
bool kv_renew(struct kv *kv, struct err *err);

/* kv.c: the error that a test wants, or 0; false with *err set. */
int kv_fault(const struct kv *kv, enum file_op op);
bool kv_err(struct err *err, const struct kv *kv, int code, const char *what);

#endif
