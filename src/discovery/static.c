/* static: targets that the configuration itself lists. */
#include "provider.h"

void static_sd_collect(const struct config_static_sd *config, struct group_list *out)
{
    for (size_t i = 0; i < config->count; i++)
        VEC_PUSH(&out->groups, target_group_ref(config->groups[i]));
}
