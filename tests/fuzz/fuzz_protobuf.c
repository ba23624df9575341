/* The protobuf exposition: whole, in pieces, and with a cache that knows the series already must all
 * say the same. The first byte of the input seeds the cuts, the second chooses the switches. */
#include <stdint.h>
#include <string.h>

#include "text_dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t random_piece(void *ctx)
{
    uint64_t *state = ctx;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return 1 + *state % 40;
}

static void dump_open(struct text_dump *dump, uint8_t switches)
{
    text_dump_init(dump);
    dump->format = PROTOBUF_DELIMITED;
    dump->protobuf = (struct parse_protobuf_options){
        .native = switches & 1, .always_classic = switches & 2, .classic_to_native = switches & 4};
}

static void expect_same(struct text_dump *dump, struct str want, struct str bytes,
                        size_t (*cut)(void *ctx), void *ctx)
{
    buf_clear(&dump->out);
    (void)text_dump_run(dump, bytes, PARSE_LINE_BYTES_MAX, cut, ctx);
    ENSURE(str_eq(buf_str(&dump->out), want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct text_dump whole, pieces;
    uint64_t state;

    if (len < 2)
        return 0;
    state = 88172645463325252u + data[0];
    struct str bytes = str_from((const char *)data + 2, len - 2);
    dump_open(&whole, data[1]);
    dump_open(&pieces, data[1]);
    (void)text_dump_run(&whole, bytes, PARSE_LINE_BYTES_MAX, NULL, NULL);
    expect_same(&pieces, buf_str(&whole.out), bytes, random_piece, &state);
    expect_same(&pieces, buf_str(&whole.out), bytes, random_piece, &state);
    struct str want = arena_str(&whole.arena, buf_str(&whole.out));
    expect_same(&whole, want, bytes, NULL, NULL);
    text_dump_deinit(&whole);
    text_dump_deinit(&pieces);
    return 0;
}
