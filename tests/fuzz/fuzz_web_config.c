/* Any bytes as a web configuration: something to serve by, or an error that says why not. */
#include <stdint.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config_web web;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 0);
    bool good =
        config_web_parse(&web, str_from((const char *)data, len), STR("dir/web.yml"), &arena, &err);
    ENSURE(good || (err.code != ERR_NONE && err.text[0] != '\0'));
    ENSURE(!good || (web.version_min >= 10 && web.version_min <= 13));
    arena_deinit(&arena);
    return 0;
}
