/* target: the life of a target group. Plain counting: groups stay on the loop thread. */
#include "model/target.h"

#include "base/ensure.h"
#include "base/mem.h"

struct target_group *target_group_new(struct str source, size_t target_count)
{
    struct target_group *group = MEM_NEW(struct target_group);

    ENSURE(target_count <= SIZE_MAX / sizeof(*group->targets));
    group->refs = 1;
    group->source = str_dup(source);
    group->labels = labels_empty();
    group->targets = mem_zalloc(target_count * sizeof(*group->targets));
    group->target_count = target_count;
    return group;
}

struct target_group *target_group_ref(struct target_group *group)
{
    ENSURE(group->refs > 0 && group->refs < UINT32_MAX);
    group->refs++;
    return group;
}

void target_group_unref(struct target_group *group)
{
    if (!group)
        return;
    ENSURE(group->refs > 0);
    if (--group->refs > 0)
        return;
    for (size_t i = 0; i < group->target_count; i++)
        labels_unref(group->targets[i]);
    labels_unref(group->labels);
    mem_free(group->targets);
    mem_free(group->source);
    mem_free(group);
}
