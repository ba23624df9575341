/* A DNS server's answer into records: whatever it is, records have texts that make sense and there
 * are no more of them than the bytes can hold. */
#include <stdint.h>

#include "base/ensure.h"
#include "dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dns_answer answer;
    struct arena arena;
    struct err err;

    if (len > 65535)
        return 0;
    arena_init(&arena, 0);
    if (dns_message_parse(str_from((const char *)data, len), &arena, &answer, &err)) {
        ENSURE(answer.count <= len / 11);
        for (size_t i = 0; i < answer.count; i++)
            ENSURE(answer.records[i].text.len > 0 && answer.records[i].text.len <= 4 * 255);
    } else {
        ENSURE(err.code == ERR_BAD_DATA);
    }
    arena_deinit(&arena);
    return 0;
}
