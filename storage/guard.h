/* guard: reads of mapped files that end in an error when the file cannot be read.
 *
 *     guard_map_add(&map, base, len)              a file is mapped: its range is known from now on
 *     guard_run(&map, fn, ctx)                    fn reads it; false: a page could not be read, fn was left in its middle
 *     guard_map_remove(&map)                      before it is unmapped
 *
 * A bad disk block or a file that was cut short under us raises SIGBUS (or SIGSEGV) in whoever touches the page. A fault
 * inside of a known map marks the map as damaged. On a thread that is inside of guard_run for this map, it ends fn by a
 * jump: what fn held in locals is lost, so fn keeps what it allocates in ctx. On any other thread a page of zeroes is
 * put where the bad one was and the reader goes on: all formats here bear any bytes, so it ends in a checksum error.
 * Faults elsewhere go to the handler that was there before.
 *
 * Any thread. The handlers are installed by guard_map_add. */
#ifndef STORAGE_GUARD_H
#define STORAGE_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The run is in a library that believes the map: an access to the zero page is the map's fault as well. A jump ends it. */
void guard_set_in_library(bool in_library);

#define GUARD_MAPS_MAX 4096

struct guard_map {
    const char *begin, *end;
    uint32_t place; /* 1 + position in the table of maps; 0: not in it. */
    atomic_bool damaged;
};

/* When the table is full the map is only guarded inside of guard_run. */
void guard_map_add(struct guard_map *map, const void *base, size_t len);
void guard_map_remove(struct guard_map *map); /* One that was never added is fine. */
bool guard_map_is_damaged(const struct guard_map *map);

/* For a library's assertion about the map's bytes: as a fault inside of guard_run. Returns when there is no guard_run. */
void guard_escape(struct guard_map *map);

/* False when the map faulted while fn ran. May be nested, also for several maps. */
bool guard_run(struct guard_map *map, void (*fn)(void *ctx), void *ctx);

#endif
