/* groups: lists of target groups, and whether two groups say the same; the figures of rounds. */
#include "base/clock.h"
#include "provider.h"

void refresh_begin(struct refresh_figures *figures)
{
    figures->begin_ns = clock_mono_ns();
}

void refresh_end(struct refresh_figures *figures, bool good)
{
    figures->failures += !good;
    summary_add(&figures->length, (double)(clock_mono_ns() - figures->begin_ns) / 1e9,
                clock_mono_ms());
}

void group_list_deinit(struct group_list *list)
{
    VEC_EACH (group, &list->groups)
        target_group_unref(*group);
    VEC_FREE(&list->groups);
}

void target_groups_free(struct target_group **groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        target_group_unref(groups[i]);
    mem_free(groups);
}

bool target_group_eq(const struct target_group *a, const struct target_group *b)
{
    if (!a || !b)
        return a == b;
    if (strcmp(a->source, b->source) != 0 || !labels_eq(a->labels, b->labels) ||
        a->target_count != b->target_count)
        return false;
    for (size_t i = 0; i < a->target_count; i++)
        if (!labels_eq(a->targets[i], b->targets[i]))
            return false;
    return true;
}
