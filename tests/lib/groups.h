/* groups: labels of target groups for assertions. */
#ifndef TESTS_LIB_GROUPS_H
#define TESTS_LIB_GROUPS_H

#include "model/target.h"

/* Part 0: the common ones; 1 + i: those of target i alone. A reference for the caller. */
static inline struct labels *group_part(const struct target_group *group, size_t part)
{
    struct labels_builder builder;
    labels_builder_init(&builder);
    target_group_load_part(group, part, &builder);
    struct labels *labels = labels_build(&builder);
    labels_builder_deinit(&builder);
    return labels;
}

/* Lives as long as the group. */
static inline struct str group_value(const struct target_group *group, size_t part, struct str name)
{
    struct labels_builder builder;
    labels_builder_init(&builder);
    target_group_load_part(group, part, &builder);
    struct str value = labels_builder_get(&builder, name);
    labels_builder_deinit(&builder);
    return value;
}

#endif
