/* kv: the LMDB fence. One env is one file (NOSUBDIR); no other file of the project includes lmdb.h.
 *
 * Rules (design: the LMDB part): no WRITEMAP (SIGBUS on a full disk); NOTLS, so that a read
 * transaction belongs to its cursor and not to a thread; NORDAHEAD; keys are u64, big-endian, so
 * that they sort as numbers. A write transaction is begun and ended on one lane. Values are
 * borrowed from the map until the transaction ends. */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define KV_TABLES_MAX 4

struct kv;
struct kv_read;  /* A read transaction: a snapshot. */
struct kv_write; /* The write transaction. */

/* Opens or makes the file with these tables (at most KV_TABLES_MAX; numbers in calls are their
 * positions). */
MUST_CHECK bool kv_open(struct kv **out, const char *path, const char *const *tables,
                        unsigned table_count, struct err *err);
void kv_close(struct kv *kv); /* No transaction may be open. NULL is fine. */

MUST_CHECK bool kv_read_begin(struct kv *kv, struct kv_read **out, struct err *err);
void kv_read_end(struct kv_read *read); /* NULL is fine. */
/* False without err when there is no such key: *found tells. */
MUST_CHECK bool kv_get(struct kv_read *read, unsigned table, uint64_t key, bool *found,
                       struct str *value, struct err *err);
/* All entries in key order until fn returns false (then err is fn's). */
typedef bool (*kv_each_fn)(void *ctx, uint64_t key, struct str value, struct err *err);
MUST_CHECK bool kv_each(struct kv_read *read, unsigned table, kv_each_fn fn, void *ctx,
                        struct err *err);

MUST_CHECK bool kv_write_begin(struct kv *kv, struct kv_write **out, struct err *err);
MUST_CHECK bool kv_put(struct kv_write *write, unsigned table, uint64_t key, struct str value,
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

#endif
