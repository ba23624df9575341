/* family: what targets say of their metrics (HELP, TYPE and UNIT), kept per target.
 *
 * All targets of one exporter say the same, so the texts are kept once in a table that the scraper
 * owns; a target keeps (id, last scrape that named it) in exposition order. A family that is no
 * longer named goes ten scrapes later. */
#ifndef SCRAPE_FAMILY_H
#define SCRAPE_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/metadata.h"
#include "text_lex.h"

#define FAMILY_TARGET_MAX  20000 /* Families per target; more are not kept. */
#define FAMILY_HELP_MAX    4096  /* Bytes of a help text or a unit that are kept. */
#define FAMILY_KEEP_ROUNDS 10

struct family {
    uint32_t refs;
    struct metadata metadata; /* Texts in the same allocation. */
};

struct family_table {
    VEC(struct family *) families; /* NULL where free. */
    VEC(uint32_t) free_ids;
    struct map map;
};

void family_table_init(struct family_table *table);
void family_table_deinit(struct family_table *table);
const struct metadata *family_table_get(const struct family_table *table, uint32_t id);

struct family_item {
    uint32_t id;
    uint32_t round;
};
struct family_list {
    VEC(struct family_item) items;
    size_t bytes; /* Of the texts of its items. */
    uint32_t round;
    uint32_t cursor;   /* The family that the next line should name. */
    uint32_t searched; /* Comparisons of the scrape in work. */
    uint32_t noted;    /* Where the last line's family is; UINT32_MAX: it is not kept. */
};

void family_list_deinit(struct family_list *list, struct family_table *table);
/* One HELP, TYPE or UNIT line. */
void family_list_note(struct family_list *list, struct family_table *table,
                      const struct text_line *line, struct arena *arena);
/* Where the family that was noted last stands; UINT32_MAX: it is not kept. */
static inline uint32_t family_list_place(const struct family_list *list)
{
    return list->noted;
}
/* A line that was noted before, in the same place, says the same again. */
static inline void family_list_again(struct family_list *list, uint32_t place)
{
    ENSURE(place < list->items.count);
    list->items.items[place].round = list->round;
    list->cursor = place + 1;
}
/* After a good scrape. True: places have changed. */
bool family_list_end(struct family_list *list, struct family_table *table);

#endif
