/* kv: the LMDB fence. One env is one file (NOSUBDIR); no other file of the project includes lmdb.h.
 *
 *     kv_open            a file that changes: locks, a reader table, synced commits
 *     kv_open_builder    a new file that one thread writes in key order and nobody else sees: no locks, no syncs
 *     kv_open_published  a file that never changes again: read-only, no locks
 *
 * Rules (design: the LMDB part): no WRITEMAP (SIGBUS on a full disk); NOTLS, so that a read
 * transaction belongs to its cursor and not to a thread; NORDAHEAD; keys are u64, big-endian, so
 * that they sort as numbers. A write transaction is begun and ended on one lane. Values are
 * borrowed from the map until the transaction ends. A file that LMDB refuses after an error is opened anew by the next
 * write that finds no reader. */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define KV_TABLES_MAX 8

struct kv;
struct kv_read;  /* A read transaction: a snapshot. */
struct kv_write; /* The write transaction. */

/* Opens or makes the file with these tables (at most KV_TABLES_MAX; numbers in calls are their
 * positions). */
MUST_CHECK bool kv_open(struct kv **out, const char *path, const char *const *tables,
                        unsigned table_count, struct err *err);
/* A new file (one that is there is an error). map_bytes: how large it may grow. Its operations ask file_faults. */
MUST_CHECK bool kv_open_builder(struct kv **out, const char *path, const char *const *tables,
                                unsigned table_count, uint64_t map_bytes, struct err *err);
/* `pages` of `page_bytes` are mapped; whoever calls has checked that the file has them and that its tree is whole. */
MUST_CHECK bool kv_open_published(struct kv **out, const char *path, const char *const *tables,
                                  unsigned table_count, uint64_t pages, uint32_t page_bytes,
                                  struct err *err);
void kv_close(struct kv *kv); /* No transaction may be open. NULL is fine. */

MUST_CHECK bool kv_read_begin(struct kv *kv, struct kv_read **out, struct err *err);
void kv_read_end(struct kv_read *read); /* NULL is fine. */
/* False without err when there is no such key: *found tells. */
MUST_CHECK bool kv_get(struct kv_read *read, unsigned table, uint64_t key, bool *found,
                       struct str *value, struct err *err);
/* The entry with the highest key that is not above `key`. */
MUST_CHECK bool kv_floor(struct kv_read *read, unsigned table, uint64_t key, bool *found,
                         uint64_t *found_key, struct str *value, struct err *err);
/* All entries in key order until fn returns false (then err is fn's). */
typedef bool (*kv_each_fn)(void *ctx, uint64_t key, struct str value, struct err *err);
MUST_CHECK bool kv_each(struct kv_read *read, unsigned table, kv_each_fn fn, void *ctx,
                        struct err *err);

MUST_CHECK bool kv_write_begin(struct kv *kv, struct kv_write **out, struct err *err);
MUST_CHECK bool kv_put(struct kv_write *write, unsigned table, uint64_t key, struct str value,
                       struct err *err);
/* `key` is higher than all others of the table: pages are filled to the brim. */
MUST_CHECK bool kv_append(struct kv_write *write, unsigned table, uint64_t key, struct str value,
                          struct err *err);
MUST_CHECK bool kv_has(struct kv_write *write, unsigned table, uint64_t key, bool *found,
                       struct err *err);
MUST_CHECK bool kv_delete(struct kv_write *write, unsigned table, uint64_t key,
                          struct err *err); /* Missing is fine. */
/* Highest key of a table; *found false when it is empty. */
MUST_CHECK bool kv_last_key(struct kv_write *write, unsigned table, bool *found, uint64_t *key,
                            struct err *err);
MUST_CHECK bool kv_commit(struct kv_write *write,
                          struct err *err); /* Synced to disk. Ends the transaction in any case. */
void kv_abort(struct kv_write *write);

/* What the file's own head says: its pages, all 0 for an empty file; and its length. */
MUST_CHECK bool kv_file_pages(const char *path, uint64_t *pages, uint32_t *page_bytes,
                              uint64_t *file_len, struct err *err);
/* From the first bytes of a page: of how many pages the large value is that begins here; 0: a page of the tree. */
#define KV_PAGE_HEAD 16
uint32_t kv_page_overflow(const uint8_t head[KV_PAGE_HEAD]);

/* The mapped pages of the whole file are not needed now. Any thread; readers get them again when they touch them. */
void kv_let_go(struct kv *kv);
/* Where the file is mapped. */
MUST_CHECK bool kv_map(struct kv *kv, const void **base, uint64_t *len, struct err *err);
/* A consistent copy to a file that is not there yet, while others read and write; compact: without free pages. Synced. */
MUST_CHECK bool kv_copy(struct kv *kv, const char *path, bool compact, struct err *err);

/* Readers of a file that changes. LMDB uses no page again that was freed after the oldest reader began: one that never
 * ends lets the file grow. */
struct kv_readers {
    uint32_t count;
    uint32_t dead;           /* Of processes that are gone: removed by this call. */
    uint64_t commits_behind; /* Of the oldest. */
    uint64_t oldest;         /* Number of the commit that it sees; 0 when none is behind. */
};
MUST_CHECK bool kv_watch_readers(struct kv *kv, struct kv_readers *out, struct err *err);

#endif
