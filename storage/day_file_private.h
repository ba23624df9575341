/* day_file_private: what day_file*.c share: the open file, and how a reader finds packs in it. */
#ifndef STORAGE_DAY_FILE_PRIVATE_H
#define STORAGE_DAY_FILE_PRIVATE_H

#include "day_file.h"
#include "day_file_format.h"
#include "guard.h"
#include "kv.h"

struct day_file {
    _Atomic uint32_t refs;
    char *path;
    struct kv *kv;
    struct kv_read *read; /* As long as the file: the index's sections lie in the map. */
    struct disk_index *index;
    struct guard_map map;
    struct day_info info;
    uint32_t column_count, page_bytes;
};

/* Begins a transaction under the guard. */
MUST_CHECK bool day_file_begin(struct day_file *day, struct kv_read **out, struct err *err);

/* The pack that has the number in it; checked. Moves *pack there unless it is there already; lets go of the pages of the
 * one before. */
MUST_CHECK bool day_file_pack(struct day_file *day, struct kv_read *read, unsigned table,
                              uint32_t number, struct day_pack *pack, struct err *err);
/* Tells the kernel that the mapped pages of a large value are not needed now. */
void day_file_let_go(struct str value);
bool day_file_corrupt(const struct day_file *day, struct err *err, const char *what);

/* The meta table's record. */
void day_info_write(struct buf *out, const struct day_info *info, uint32_t column_count);

#endif
