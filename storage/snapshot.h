/* snapshot: a copy of the store beside it, as a directory that a server starts on.
 *
 *     storage_snapshot -> slots are cut and sealed -> build lane: <path>/snapshots/<name>.tmp: days and index segments by hard
 *     link, open files and head.mdb by a copy -> synced -> renamed to <name> -> done
 *
 * While it runs no build and no spill begins and no file is removed, so the list that it was given stays true. There is
 * no log in it: all that was appended before the request is sealed. What a killed process left behind ends in .tmp. */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

#include <stdbool.h>

struct storage;

void snapshot_tick(struct storage *storage);
/* Files are to stay: no build, no spill, no unlink. */
bool snapshot_holds_files(const struct storage *storage);
void snapshot_stop(struct storage *storage); /* Those that wait are told. */

#endif
