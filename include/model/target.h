/* target: what discovery finds. A group is a list of addresses with common labels, named by its source.
 *
 *     group_writer_add() for each address -> group_writer_end() -> group --last target_group_unref()--> freed
 *
 * A cluster has tens of thousands of these, with long names of labels that are the same in all and are read only when
 * targets are made of them: names are held once by all groups (label_names), and a label is three bytes and its value.
 *
 *     offsets[0]      common labels      (varint name, varint length, value) each, sorted by name
 *     offsets[1 + i]  those of address i
 *
 * Made by discovery on any thread, handed to scrape (which takes a reference); immutable; a group's references are counted on
 * the loop thread. */
#ifndef MODEL_TARGET_H
#define MODEL_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/labels.h"

struct target_group {
    uint32_t refs;
    uint32_t target_count;
    const char *source; /* Unique within a job: "static/0", "file.yml:0", "pod/ns/name". Behind the labels. */
    uint32_t offsets[]; /* Of the labels from the end of this array on: target_count + 2. */
};

struct group_writer {
    struct buf targets;
    VEC(uint32_t) ends;
};

void group_writer_init(struct group_writer *writer);
/* A target's own labels, __address__ at least if it is to be scraped. Copied. */
void group_writer_add(struct group_writer *writer, const struct labels_builder *own);
/* With the labels that all have, __meta_* included; empties the writer. */
struct target_group *group_writer_end(struct group_writer *writer, struct str source,
                                      const struct labels_builder *common);
void group_writer_deinit(struct group_writer *writer);

struct target_group *target_group_ref(struct target_group *group);
void target_group_unref(struct target_group *group);
bool target_group_eq(const struct target_group *a, const struct target_group *b);
/* Replaces what is in the builder by a target's own labels and those common ones that it does not have itself. Texts live as
 * long as the group. */
void target_group_load(const struct target_group *group, size_t index, struct labels_builder *out);
/* Part 0 is the common labels, 1 + i are those of target i alone. */
void target_group_load_part(const struct target_group *group, size_t part,
                            struct labels_builder *out);

#endif
