/* Any bytes as a configuration and as a file of target groups: an answer or an error, and what is
 * printed is valid input again. */
#include <stdint.h>

#include "base/mem.h"
#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fuzz_config(struct str text)
{
    struct config *config, *again;
    struct err err = {0};
    if (!config_parse(&config, text, STR("dir/fuzz.yml"), &err)) {
        ENSURE(err.code != ERR_NONE && err.text[0] != '\0' && config == NULL);
        return;
    }
    ENSURE(config->printed.len > 0);
    if (config_parse(&again, config->printed, STR("fuzz.yml"), &err))
        config_unref(again);
    config_unref(config);
}

static void fuzz_groups(struct str text, struct str path)
{
    struct target_group **groups;
    size_t count;
    struct err err = {0};
    if (!config_parse_target_groups(text, path, &groups, &count, &err)) {
        ENSURE(err.code != ERR_NONE && groups == NULL && count == 0);
        return;
    }
    for (size_t i = 0; i < count; i++)
        target_group_unref(groups[i]);
    mem_free(groups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str text = {(const char *)data, len};
    fuzz_config(text);
    fuzz_groups(text, STR("fuzz.yml"));
    fuzz_groups(text, STR("fuzz.json"));
    return 0;
}
