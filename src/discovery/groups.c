/* groups: lists of target groups; the figures of rounds. */
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
