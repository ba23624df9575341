/* The OpenMetrics parser: whole, in pieces, and with a cache that knows the lines already must all say the
 * same. The first byte of the input seeds the cuts. */
#include <stdint.h>
#include <string.h>

#include "text_dump.h"

#define LINE_MAX_BYTES 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t random_piece(void *ctx)
{
    uint64_t *state = ctx;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return 1 + *state % 40;
}

static void expect_same(struct text_dump *dump, struct str want, struct str text,
                        size_t (*cut)(void *ctx), void *ctx)
{
    buf_clear(&dump->out);
    (void)text_dump_run(dump, text, LINE_MAX_BYTES, cut, ctx);
    ENSURE(str_eq(buf_str(&dump->out), want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct text_dump whole, pieces;
    uint64_t state = 88172645463325252u + (len > 0 ? data[0] : 0u);
    struct str text = str_from((const char *)data, len);

    text_dump_init(&whole);
    text_dump_init(&pieces);
    whole.format = pieces.format = TEXT_OPENMETRICS;
    (void)text_dump_run(&whole, text, LINE_MAX_BYTES, NULL, NULL);
    expect_same(&pieces, buf_str(&whole.out), text, random_piece, &state);
    expect_same(&pieces, buf_str(&whole.out), text, random_piece, &state);
    struct str want = arena_str(&whole.arena, buf_str(&whole.out));
    expect_same(&whole, want, text, NULL, NULL);
    text_dump_deinit(&whole);
    text_dump_deinit(&pieces);
    return 0;
}
