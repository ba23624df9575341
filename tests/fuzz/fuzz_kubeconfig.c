/* Any bytes as a kubeconfig: where a server is, or an error that says why not. */
#include <stdint.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config_kubeconfig file;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 0);
    bool good = config_kubeconfig_parse(&file, str_from((const char *)data, len), STR("dir/config"),
                                        &arena, &err);
    ENSURE(good ? file.server.len > 0 : err.code != ERR_NONE && err.text[0] != '\0');
    arena_deinit(&arena);
    return 0;
}
