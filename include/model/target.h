/* target: what discovery finds. A group is a list of addresses with common labels, named by its source.
 *
 * Made by discovery, handed to scrape (which takes a reference); immutable; loop thread. */
#ifndef MODEL_TARGET_H
#define MODEL_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "model/labels.h"

struct target_group {
    uint32_t refs;
    char *source;            /* Owned. Unique within a job: "static/0", "file.yml:0", "pod/ns/name". */
    struct labels *labels;   /* Common labels, __meta_* included. */
    struct labels **targets; /* Each with its own labels, __address__ at least. Owned references. */
    size_t target_count;
};

struct target_group *target_group_new(struct str source, size_t target_count); /* labels empty, targets NULL. */
struct target_group *target_group_ref(struct target_group *group);
void target_group_unref(struct target_group *group);

#endif
