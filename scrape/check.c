/* check: would the targets of a group be scraped? For the command line, which scrapes nothing. */
#include "scrape.h"
#include "scraper.h"

bool scrape_check_group(const struct config_scrape *options, const struct target_group *group,
                        struct err *err)
{
    bool good = true;
    for (size_t i = 0; good && i < group->target_count; i++) {
        struct target_spec spec;
        struct arena arena;
        arena_init(&arena, 0);
        good = target_build(&spec, options, group, i, &arena, err) != TARGET_BAD;
        if (!good)
            err_wrap(err, "instance %zu in group %s", i, group->source);
        target_spec_deinit(&spec);
        arena_deinit(&arena);
    }
    return good;
}
